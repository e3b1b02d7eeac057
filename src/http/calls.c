/* calls.c - /calls/<id> in its forms: what a call is, its output and log, waiting for it, ending
 * it.
 *
 *      GET ?wait --> waits for the end (ask.h) ----+
 *                                                  v
 *      GET ----------------------------------> the store --- unknown ---> the memory of its worker
 *                                                  |                      (synchronous calls)
 *      DELETE, redrive --> its worker's queue -----+--> answer
 *
 * The disk is asked first and believed: a result is seen when it is committed and not before.  Only
 * what the disk does not know can be a synchronous call.
 *
 * A question lives on its own: when the client leaves before the answer, the request goes at once
 * and the question follows when the answer has come.  Somebody who waits holds a connection and a
 * timer, no thread; when the server drains, all who wait get the present state.
 *
 * Threading: the worker's. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "call/dump.h"
#include "http/record_json.h"
#include "http/routes.h"
#include "queue/ask.h"

struct fm_ask {
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    void (*reply)(struct fm_ask *ask, struct fm_request *request);
    struct fm_id id;
    bool answered;
    bool remembered; /* the answer is of a synchronous call */
    bool refused;    /* the answer was given: there is no such thing */

    struct fm_list wait_link; /* in http->waits, while it can be ended early */
    struct fm_timer timer;
    struct fm_queue_wait wait;

    struct fm_calls_get get;
    struct fm_queue_ask question;
};

static void free_ask(struct fm_ask *ask)
{
    fm_loop_timer_cancel(ask->http->config.loop, &ask->timer);
    fm_list_remove(&ask->wait_link);
    fm_calls_get_done(&ask->get);
    fm_call_record_done(&ask->question.record);
    free(ask->question.log);
    fm_dump_unref(ask->question.dump);
    free(ask);
}

static void reply_record(struct fm_ask *ask, struct fm_request *request);

static const struct fm_call_record *record_of(const struct fm_ask *ask)
{
    return ask->remembered ? &ask->question.record : &ask->get.record;
}

/* Without it where it is empty, or was not asked for. */
static uint8_t *log_of(const struct fm_ask *ask, size_t *ret_bytes)
{
    uint8_t *log = ask->remembered ? ask->question.log : ask->get.log.data;
    size_t bytes = ask->remembered ? ask->question.record.log_bytes : ask->get.log.bytes;
    *ret_bytes = log ? bytes : 0;
    return log;
}

/* --- the answer has come ---------------------------------------------------------------------- */

/* Nothing is under way for it any more. */
static void over(struct fm_ask *ask, int error, const char *detail)
{
    struct fm_request *request = ask->request;
    ask->answered = true;
    ask->http->counts.operations--;
    if (!request) {
        free_ask(ask);
        return;
    }
    if (error) {
        struct fm_error problem = {0};
        if (error == FM_ERR_NOT_FOUND)
            (void)fm_error_set(&problem, error, "no call '%s' (any more)",
                               request->target.segments[1].text);
        else
            (void)fm_error_set(&problem, error, "%s", detail ? detail : fm_err_meaning(error));
        fm_answer_error(request, &problem);
    } else {
        ask->reply(ask, request);
    }
    fm_request_wake(request);
}

static void on_recalled(struct fm_queue_ask *question)
{
    struct fm_ask *ask = FM_CONTAINER_OF(question, struct fm_ask, question);
    ask->remembered = true;
    over(ask, question->error, NULL);
}

/* Of one that is on disk: perhaps its worker has a dump. */
static void on_looked_for_dump(struct fm_queue_ask *question)
{
    over(FM_CONTAINER_OF(question, struct fm_ask, question), 0, NULL);
}

static void on_got(struct fm_calls_read *read)
{
    struct fm_calls_get *get = FM_CONTAINER_OF(read, struct fm_calls_get, read);
    struct fm_ask *ask = FM_CONTAINER_OF(get, struct fm_ask, get);
    if (!read->error && get->want_log_of_error && get->record.error) {
        ask->question = (struct fm_queue_ask){
            .verb = FM_QUEUE_DUMP, .id = ask->id, .on_answer = on_looked_for_dump};
        fm_queue_ask(ask->http->config.queue, &ask->question);
        return;
    }
    if (read->error != FM_ERR_NOT_FOUND) {
        over(ask, read->error, NULL);
        return;
    }
    ask->question =
        (struct fm_queue_ask){.verb = FM_QUEUE_RECALL, .id = ask->id, .on_answer = on_recalled};
    fm_queue_ask(ask->http->config.queue, &ask->question);
}

static void look(struct fm_ask *ask)
{
    const struct fm_http_config *config = &ask->http->config;
    ask->get.read.on_done = on_got;
    ask->get.want_log_of_error = ask->reply == reply_record;
    ask->get.id = ask->id;
    fm_calls_get(config->calls, &ask->get, fm_loop_mailbox(config->loop));
}

/* --- asking ----------------------------------------------------------------------------------- */

static int check_id(struct fm_request *request)
{
    const struct fm_segment *id = &request->target.segments[1];
    struct fm_id parsed;
    if (id->deceptive)
        return fm_target_name(&request->target, 1, "call", &request->error);
    if (fm_id_parse(id->text, id->length, &parsed) != 0)
        return fm_error_set(&request->error, FM_ERR_NOT_FOUND, "no call '%s'", id->text);
    return 0;
}

static int begin(struct fm_request *request)
{
    int failed = check_id(request);
    return failed ? failed : fm_request_no_query(request);
}

/* NULL: no memory, so there is no answer and the connection is closed. */
static struct fm_ask *make_ask(struct fm_request *request,
                               void (*reply)(struct fm_ask *ask, struct fm_request *request))
{
    struct fm_ask *ask = calloc(1, sizeof(*ask));
    if (!ask)
        return NULL;
    const struct fm_segment *id = &request->target.segments[1];
    int failed = fm_id_parse(id->text, id->length, &ask->id);
    FM_ASSERT(!failed); /* check_id() did the same */
    ask->http = request->http;
    ask->request = request;
    ask->reply = reply;
    fm_list_init(&ask->wait_link);
    fm_timer_init(&ask->timer, NULL);
    request->ask = ask;
    request->http->counts.operations++;
    return ask;
}

static bool leave(struct fm_request *request)
{
    struct fm_ask *ask = request->ask;
    if (!ask)
        return true;
    request->ask = NULL;
    ask->request = NULL;
    if (ask->answered)
        free_ask(ask);
    return true;
}

/* --- what it is ------------------------------------------------------------------------------- */

static void answer_record(struct fm_request *request, unsigned status,
                          const struct fm_call_record *record, const struct fm_record_more *more)
{
    struct fm_json json;
    fm_json_init(&json, &request->text);
    fm_record_json(&json, record, more);
    fm_answer_text(request, status, FM_TYPE_JSON, fm_json_done(&json));
}

static void reply_record(struct fm_ask *ask, struct fm_request *request)
{
    struct fm_record_more more = {0};
    more.log = log_of(ask, &more.log_bytes);
    more.dump_bytes = ask->question.dump ? ask->question.dump->bytes : 0;
    answer_record(request, MHD_HTTP_OK, record_of(ask), &more);
}

static void run_get(struct fm_request *request)
{
    struct fm_ask *ask = make_ask(request, reply_record);
    if (!ask)
        return;
    look(ask);
    fm_request_wait(request, false);
}

static void refuse(struct fm_request *request, int error, const char *detail)
{
    struct fm_error problem = {0};
    (void)fm_error_set(&problem, error, "%s", detail);
    fm_answer_error(request, &problem);
}

static bool refuse_early(struct fm_request *request, const struct fm_call_record *record)
{
    if (fm_call_status_ended(record->status))
        return false;
    struct fm_error problem = {0};
    (void)fm_error_set(&problem, FM_ERR_CONFLICT, "the call has not ended, it is %s",
                       fm_call_status_text(record->status));
    fm_answer_error(request, &problem);
    return true;
}

static void reply_output(struct fm_ask *ask, struct fm_request *request)
{
    const struct fm_call_record *record = record_of(ask);
    if (refuse_early(request, record))
        return;
    if (ask->remembered) {
        refuse(request, FM_ERR_NOT_FOUND, "the output of a synchronous call is not kept");
        return;
    }
    fm_answer_bytes(request, MHD_HTTP_OK, FM_TYPE_BYTES, ask->get.output.data,
                    ask->get.output.bytes);
    if (record->started_real_ns && record->exit_code >= 0)
        fm_answer_number(request, "X-Faasm-Exit-Code", (uint64_t)record->exit_code);
}

static void run_output(struct fm_request *request)
{
    struct fm_ask *ask = make_ask(request, reply_output);
    if (!ask)
        return;
    ask->get.want_output = true;
    look(ask);
    fm_request_wait(request, false);
}

static void reply_log(struct fm_ask *ask, struct fm_request *request)
{
    const struct fm_call_record *record = record_of(ask);
    size_t bytes = 0;
    uint8_t *log = log_of(ask, &bytes);
    fm_answer_bytes(request, MHD_HTTP_OK, FM_TYPE_TEXT, log, bytes);
    if (record->log_truncated)
        fm_answer_header(request, "X-Faasm-Log-Truncated", "1");
}

static void run_log(struct fm_request *request)
{
    struct fm_ask *ask = make_ask(request, reply_log);
    if (!ask)
        return;
    ask->get.want_log = true;
    look(ask);
    fm_request_wait(request, false);
}

/* --- its core dump ---------------------------------------------------------------------------- */

static void on_dump(struct fm_queue_ask *question)
{
    struct fm_ask *ask = FM_CONTAINER_OF(question, struct fm_ask, question);
    if (question->error == FM_ERR_NOT_FOUND && ask->request) {
        refuse(ask->request, FM_ERR_NOT_FOUND, "no core dump of that call (any more)");
        ask->refused = true;
    }
    over(ask, ask->refused ? 0 : question->error, NULL);
}

static void reply_dump(struct fm_ask *ask, struct fm_request *request)
{
    const struct fm_dump *dump = ask->question.dump;
    if (!ask->refused)
        fm_answer_bytes(request, MHD_HTTP_OK, FM_TYPE_WASM, dump->data, dump->bytes);
}

/* Dumps are not on disk: its worker is asked at once. */
static void run_dump(struct fm_request *request)
{
    struct fm_ask *ask = make_ask(request, reply_dump);
    if (!ask)
        return;
    ask->question =
        (struct fm_queue_ask){.verb = FM_QUEUE_DUMP, .id = ask->id, .on_answer = on_dump};
    fm_queue_ask(request->http->config.queue, &ask->question);
    fm_request_wait(request, false);
}

/* --- waiting for its end ---------------------------------------------------------------------- */

static const struct fm_handler wait_handler;

static int begin_get(struct fm_request *request)
{
    size_t cursor = 0;
    struct fm_parameter parameter;
    bool seen = false;
    int failed = check_id(request);
    if (failed || request->query.length == 0)
        return failed;
    while (fm_query_next((char *)request->query.data, &cursor, &parameter, &request->error)) {
        if (strcmp(parameter.name, "wait") != 0 || seen)
            return fm_error_set(&request->error, FM_ERR_BAD_REQUEST, "%s '%s', at byte %zu",
                                seen ? "one parameter too many:" : "unknown parameter",
                                parameter.name, parameter.position);
        seen = true;
        failed = fm_seconds_parse(parameter.value, FM_QUEUE_WAIT_S_MAX * FM_NS_PER_S,
                                  "parameter 'wait'", &request->wait_ns, &request->error);
        if (failed)
            return failed;
    }
    if (request->wait_ns > 0)
        request->handler = &wait_handler;
    return request->error.code;
}

static void stop_waiting(struct fm_ask *ask)
{
    fm_loop_timer_cancel(ask->http->config.loop, &ask->timer);
    if (!fm_list_linked(&ask->wait_link))
        return; /* stopped, or over */
    fm_list_remove(&ask->wait_link);
    fm_queue_wait_stop(&ask->wait);
}

static void on_wait_time(struct fm_timer *timer)
{
    stop_waiting(FM_CONTAINER_OF(timer, struct fm_ask, timer));
}

static void on_wait_end(struct fm_queue_wait *wait)
{
    struct fm_ask *ask = FM_CONTAINER_OF(wait, struct fm_ask, wait);
    fm_loop_timer_cancel(ask->http->config.loop, &ask->timer);
    fm_list_remove(&ask->wait_link);
    if (ask->request)
        look(ask);
    else
        over(ask, 0, NULL);
}

static void run_wait(struct fm_request *request)
{
    struct fm_http *http = request->http;
    struct fm_loop *loop = http->config.loop;
    struct fm_ask *ask = make_ask(request, reply_record);
    if (!ask)
        return;
    fm_timer_init(&ask->timer, on_wait_time);
    if (http->draining ||
        fm_loop_timer_set(loop, &ask->timer, fm_loop_now_ns(loop) + request->wait_ns) != 0) {
        look(ask); /* as if its time were over */
    } else {
        fm_list_push_back(&http->waits, &ask->wait_link);
        ask->wait = (struct fm_queue_wait){.id = ask->id, .on_end = on_wait_end};
        fm_queue_wait(http->config.queue, &ask->wait);
    }
    fm_request_wait(request, true);
}

static bool leave_wait(struct fm_request *request)
{
    if (request->ask && !request->ask->answered)
        stop_waiting(request->ask);
    return leave(request);
}

/* What is under way for it ends by itself, soon. */
static void cancel_wait(struct fm_request *request)
{
    (void)leave_wait(request);
    fm_request_close(request);
}

void fm_calls_waits_end(struct fm_http *http)
{
    while (!fm_list_empty(&http->waits))
        stop_waiting(FM_LIST_ENTRY(http->waits.next, struct fm_ask, wait_link));
}

/* --- changing it ------------------------------------------------------------------------------ */

static void on_changed(struct fm_queue_ask *question)
{
    struct fm_ask *ask = FM_CONTAINER_OF(question, struct fm_ask, question);
    struct fm_error error = {0};
    ask->remembered = true; /* the record is in the question */
    if (question->verb == FM_QUEUE_REDRIVE && question->error == FM_ERR_CONFLICT)
        (void)fm_error_set(&error, FM_ERR_CONFLICT, "only a dead call is driven again, it is %s",
                           fm_call_status_text(question->record.status));
    over(ask, question->error, error.code ? error.text : NULL);
}

static void reply_changed(struct fm_ask *ask, struct fm_request *request)
{
    answer_record(request, MHD_HTTP_ACCEPTED, &ask->question.record, NULL);
}

static void change(struct fm_request *request, enum fm_queue_verb verb)
{
    struct fm_ask *ask = make_ask(request, reply_changed);
    if (!ask)
        return;
    ask->question = (struct fm_queue_ask){.verb = verb, .id = ask->id, .on_answer = on_changed};
    fm_queue_ask(request->http->config.queue, &ask->question);
    fm_request_wait(request, false);
}

static void run_delete(struct fm_request *request)
{
    change(request, FM_QUEUE_CANCEL);
}

static void run_redrive(struct fm_request *request)
{
    change(request, FM_QUEUE_REDRIVE);
}

static const struct fm_handler wait_handler = {
    .run = run_wait,
    .cancel = cancel_wait,
    .leave = leave_wait,
};
const struct fm_handler fm_call_get_handler = {
    .begin = begin_get,
    .run = run_get,
    .leave = leave,
};
const struct fm_handler fm_call_delete_handler = {
    .begin = begin,
    .run = run_delete,
    .leave = leave,
};
const struct fm_handler fm_call_redrive_handler = {
    .begin = begin,
    .run = run_redrive,
    .leave = leave,
};
const struct fm_handler fm_call_output_handler = {
    .begin = begin,
    .run = run_output,
    .leave = leave,
};
const struct fm_handler fm_call_coredump_handler = {
    .begin = begin,
    .run = run_dump,
    .leave = leave,
};
const struct fm_handler fm_call_log_handler = {
    .begin = begin,
    .run = run_log,
    .leave = leave,
};
