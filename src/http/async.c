/* async.c - POST /fa/<user>/<function>, and /calls/<id> in its forms.
 *
 * A call that was accepted belongs to the queue of the worker that took it, and its record may be
 * on another worker than the connection that asks for it.  So every question goes to the queue as a
 * message (struct fm_query) and the request is put aside until the answer comes back.
 *
 * The question lives on its own: when the client leaves before the answer, the request goes at once
 * and the question follows when the answer has come.  Threading: the worker's. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "http/json.h"
#include "http/routes.h"
#include "queue/queue.h"
#include "sched/sched.h"

/* --- accepting -------------------------------------------------------------------------------- */

static void run_accept(struct fm_request *request)
{
    struct fm_function *function = NULL;
    struct fm_id id = {0};
    int failed = fm_invoke_find(request, &function);
    if (!failed)
        failed = fm_queue_submit(request->http->config.queue, function, request->body.data,
                                 request->body.length, &id);
    if (failed) {
        if (!request->error.code)
            (void)fm_error_set(&request->error, failed, "%s", fm_err_meaning(failed));
        fm_answer_error(request, &request->error);
        return;
    }
    char text[FM_ID_TEXT_SIZE];
    fm_id_format(id, text);
    struct fm_json json;
    fm_json_init(&json, &request->text);
    fm_json_begin(&json, NULL, '{');
    fm_json_string(&json, "id", text);
    fm_json_string(&json, "status", fm_record_status_text(FM_RECORD_QUEUED));
    fm_json_end(&json, '}');
    fm_answer_text(request, MHD_HTTP_ACCEPTED, FM_TYPE_JSON, fm_json_done(&json));

    char location[sizeof("/calls/") + FM_ID_TEXT_SIZE] = "/calls/";
    memcpy(location + strlen("/calls/"), text, FM_ID_TEXT_SIZE);
    fm_answer_header(request, MHD_HTTP_HEADER_LOCATION, location);
    fm_answer_header(request, "X-Faasm-Durable", "no");
}

const struct fm_handler fm_async_handler = {
    .intake = FM_INTAKE_KEEP,
    .begin = fm_invoke_begin,
    .run = run_accept,
};

/* --- asking ----------------------------------------------------------------------------------- */

struct fm_ask {
    struct fm_query query;
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    void (*reply)(struct fm_request *request, struct fm_record *record);
    bool answered;
};

static void free_ask(struct fm_ask *ask)
{
    fm_record_done(&ask->query.record);
    free(ask);
}

static void reply(struct fm_ask *ask)
{
    struct fm_request *request = ask->request;
    struct fm_record *record = &ask->query.record;
    if (ask->query.found) {
        ask->reply(request, record);
        return;
    }
    struct fm_error error = {0};
    if (record->error) /* it may well be there, but could not be told */
        (void)fm_error_set(&error, record->error, "%s", fm_err_meaning(record->error));
    else
        (void)fm_error_set(&error, FM_ERR_NOT_FOUND, "no call '%s' (any more)",
                           request->target.segments[1].text);
    fm_answer_error(request, &error);
}

static void on_answer(struct fm_query *query)
{
    struct fm_ask *ask = FM_CONTAINER_OF(query, struct fm_ask, query);
    struct fm_request *request = ask->request;
    ask->answered = true;
    ask->http->counts.operations--;
    if (!request) {
        free_ask(ask);
        return;
    }
    reply(ask);
    if (request->suspended) /* not when the queue answered at once */
        fm_request_wake(request);
}

static int begin_ask(struct fm_request *request)
{
    const struct fm_segment *id = &request->target.segments[1];
    struct fm_id parsed;
    if (id->deceptive)
        return fm_target_name(&request->target, 1, "call", &request->error);
    if (fm_id_parse(id->text, id->length, &parsed) != 0)
        return fm_error_set(&request->error, FM_ERR_NOT_FOUND, "no call '%s'", id->text);
    return fm_request_no_query(request);
}

static void ask_about(struct fm_request *request, bool want_output, bool cancel,
                      void (*to_reply)(struct fm_request *request, struct fm_record *record))
{
    struct fm_ask *ask = calloc(1, sizeof(*ask));
    if (!ask)
        return; /* no answer: the connection is closed */
    const struct fm_segment *id = &request->target.segments[1];
    int failed = fm_id_parse(id->text, id->length, &ask->query.id);
    FM_ASSERT(!failed); /* begin_ask() did the same */
    ask->http = request->http;
    ask->request = request;
    ask->reply = to_reply;
    ask->query.want_output = want_output;
    ask->query.cancel = cancel;
    ask->query.on_answer = on_answer;
    request->ask = ask;
    request->http->counts.operations++;
    fm_queue_ask(request->http->config.queue, &ask->query);
    if (!ask->answered)
        fm_request_wait(request, false);
}

static bool leave_ask(struct fm_request *request)
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

/* --- the call JSON ---------------------------------------------------------------------------- */

static void write_time(struct fm_json *json, const char *name, uint64_t real_ns)
{
    if (real_ns == 0) {
        fm_json_null(json, name);
        return;
    }
    char text[FM_CLOCK_TEXT_SIZE];
    fm_clock_format(real_ns, text);
    fm_json_string(json, name, text);
}

static void write_id(struct fm_json *json, const char *name, struct fm_id id)
{
    char text[FM_ID_TEXT_SIZE];
    fm_id_format(id, text);
    fm_json_string(json, name, text);
}

static const char *text_of(const char *text)
{
    return text ? text : "";
}

static void write_error(struct fm_json *json, const struct fm_record *record)
{
    if (!record->error) {
        fm_json_null(json, "error");
        return;
    }
    const char *detail = text_of(record->detail);
    fm_json_begin(json, "error", '{');
    fm_json_string(json, "code", fm_err_code(record->error));
    fm_json_string(json, "detail", detail[0] ? detail : fm_err_meaning(record->error));
    fm_json_string(json, "backtrace", text_of(record->backtrace));
    if (text_of(record->trap)[0])
        fm_json_string(json, "trap", record->trap);
    if (text_of(record->limit)[0])
        fm_json_string(json, record->error == FM_ERR_GUEST_LIMIT ? "limit" : "quota",
                       record->limit);
    fm_json_end(json, '}');
}

static bool has_ended(const struct fm_record *record)
{
    return record->status != FM_RECORD_QUEUED && record->status != FM_RECORD_RUNNING;
}

static int write_record(struct fm_buffer *text, const struct fm_record *record)
{
    struct fm_json json;
    fm_json_init(&json, text);
    fm_json_begin(&json, NULL, '{');
    write_id(&json, "id", record->id);
    fm_json_string(&json, "user", text_of(record->user));
    fm_json_string(&json, "function", text_of(record->function));
    fm_json_string(&json, "version", text_of(record->version));
    fm_json_string(&json, "status", fm_record_status_text(record->status));
    fm_json_number(&json, "attempt", 1);
    write_time(&json, "created_at", record->created_real_ns);
    write_time(&json, "started_at", record->started_real_ns);
    write_time(&json, "finished_at", record->finished_real_ns);
    fm_json_number(&json, "cpu_us", record->cpu_ns / FM_NS_PER_US);
    fm_json_number(&json, "wall_us", record->wall_ns / FM_NS_PER_US);
    fm_json_number(&json, "memory_bytes", record->memory_bytes);
    if (has_ended(record))
        fm_json_integer(&json, "exit_code", record->exit_code);
    else
        fm_json_null(&json, "exit_code");
    fm_json_number(&json, "input_bytes", record->input_bytes);
    fm_json_number(&json, "output_bytes", record->output_bytes);
    write_error(&json, record);
    if (record->parent.high || record->parent.low)
        write_id(&json, "parent", record->parent);
    else
        fm_json_null(&json, "parent");
    fm_json_begin(&json, "children", '[');
    for (size_t i = 0; i < record->children_count; i++)
        write_id(&json, NULL, record->children[i]);
    fm_json_end(&json, ']');
    fm_json_end(&json, '}');
    return fm_json_done(&json);
}

/* --- the four questions ----------------------------------------------------------------------- */

static void reply_record(struct fm_request *request, struct fm_record *record)
{
    int failed = write_record(&request->text, record);
    fm_answer_text(request, MHD_HTTP_OK, FM_TYPE_JSON, failed);
}

static void reply_accepted(struct fm_request *request, struct fm_record *record)
{
    int failed = write_record(&request->text, record);
    fm_answer_text(request, MHD_HTTP_ACCEPTED, FM_TYPE_JSON, failed);
}

static void reply_output(struct fm_request *request, struct fm_record *record)
{
    if (!has_ended(record)) {
        struct fm_error error = {0};
        (void)fm_error_set(&error, FM_ERR_CONFLICT, "the call has not ended, it is %s",
                           fm_record_status_text(record->status));
        fm_answer_error(request, &error);
        return;
    }
    fm_answer_bytes(request, MHD_HTTP_OK, FM_TYPE_BYTES, record->output, record->output_bytes);
    if (record->exit_code >= 0)
        fm_answer_number(request, "X-Faasm-Exit-Code", (uint64_t)record->exit_code);
}

static void reply_log(struct fm_request *request, struct fm_record *record)
{
    fm_answer_bytes(request, MHD_HTTP_OK, FM_TYPE_TEXT, record->log, record->log_bytes);
    if (record->log_truncated)
        fm_answer_header(request, "X-Faasm-Log-Truncated", "1");
}

static void run_get(struct fm_request *request)
{
    ask_about(request, false, false, reply_record);
}

static void run_delete(struct fm_request *request)
{
    ask_about(request, false, true, reply_accepted);
}

static void run_output(struct fm_request *request)
{
    ask_about(request, true, false, reply_output);
}

static void run_log(struct fm_request *request)
{
    ask_about(request, true, false, reply_log);
}

const struct fm_handler fm_call_get_handler = {
    .begin = begin_ask,
    .run = run_get,
    .leave = leave_ask,
};
const struct fm_handler fm_call_delete_handler = {
    .begin = begin_ask,
    .run = run_delete,
    .leave = leave_ask,
};
const struct fm_handler fm_call_output_handler = {
    .begin = begin_ask,
    .run = run_output,
    .leave = leave_ask,
};
const struct fm_handler fm_call_log_handler = {
    .begin = begin_ask,
    .run = run_log,
    .leave = leave_ask,
};
