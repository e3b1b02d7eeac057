/* async.c - POST /fa/<user>/<function>: answered when the call is on disk.
 *
 * The body goes over to the queue as it is, without a copy; so the request holds nothing that the
 * write needs, and a client that leaves early takes its request with it.  Its call is accepted all
 * the same, as an upload is: it may have been written already.
 *
 * Threading: the worker's. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "http/record_json.h"
#include "http/routes.h"
#include "queue/queue.h"
#include "sched/sched.h"

#define KEY_HEADER "Idempotency-Key"
#define DELAY_HEADER "X-Faasm-Delay"

struct fm_accepting {
    struct fm_queue_submit submit;
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    char key[FM_CALLS_KEY_BYTES_MAX + 1];
};

/* --- headers ---------------------------------------------------------------------------------- */

static int read_key(struct fm_request *request, const char *value, char *key, const char **ret_key)
{
    size_t length = strlen(value);
    if (length == 0 || length > FM_CALLS_KEY_BYTES_MAX)
        return fm_error_set(&request->error, FM_ERR_BAD_REQUEST,
                            "the header " KEY_HEADER " must have 1 to %d bytes, not %zu",
                            FM_CALLS_KEY_BYTES_MAX, length);
    for (size_t i = 0; i < length; i++)
        if (value[i] < ' ' || value[i] > '~')
            return fm_error_set(&request->error, FM_ERR_BAD_REQUEST,
                                "the header " KEY_HEADER " is not printable ASCII, at byte %zu", i);
    memcpy(key, value, length + 1);
    *ret_key = key;
    return 0;
}

static int read_headers(struct fm_request *request, struct fm_accepting *accepting)
{
    struct MHD_Connection *connection = request->client->connection;
    struct fm_queue_submit *submit = &accepting->submit;
    const char *key = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, KEY_HEADER);
    const char *delay = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, DELAY_HEADER);
    int failed = key ? read_key(request, key, accepting->key, &submit->key) : 0;
    if (!failed && delay)
        failed = fm_seconds_parse(delay, FM_QUEUE_DELAY_S_MAX * FM_NS_PER_S,
                                  "the header " DELAY_HEADER, &submit->delay_ns, &request->error);
    return failed;
}

/* --- the answer ------------------------------------------------------------------------------- */

static void answer(struct fm_request *request, const struct fm_queue_submit *submit)
{
    if (submit->error) {
        bool other = submit->error == FM_ERR_CONFLICT && submit->key;
        (void)fm_error_set(&request->error, submit->error, "%s",
                           other ? "the function has a call with this " KEY_HEADER
                                   " and another input"
                                 : fm_err_meaning(submit->error));
        fm_answer_error(request, &request->error);
        return;
    }
    char text[FM_ID_TEXT_SIZE];
    fm_id_format(submit->id, text);
    struct fm_json json;
    fm_json_init(&json, &request->text);
    fm_json_begin(&json, NULL, '{');
    fm_json_string(&json, "id", text);
    fm_json_string(&json, "status", fm_call_status_text(submit->status));
    fm_json_end(&json, '}');
    fm_answer_text(request, MHD_HTTP_ACCEPTED, FM_TYPE_JSON, fm_json_done(&json));

    char location[sizeof("/calls/") + FM_ID_TEXT_SIZE] = "/calls/";
    memcpy(location + strlen("/calls/"), text, FM_ID_TEXT_SIZE);
    fm_answer_header(request, MHD_HTTP_HEADER_LOCATION, location);
    fm_answer_header(request, "X-Faasm-Durable", "yes");
}

static void on_submitted(struct fm_queue_submit *submit)
{
    struct fm_accepting *accepting = FM_CONTAINER_OF(submit, struct fm_accepting, submit);
    struct fm_request *request = accepting->request;
    accepting->http->counts.operations--;
    if (request) {
        request->accepting = NULL;
        answer(request, submit);
        fm_request_wake(request);
    }
    free(accepting);
}

/* --- the handler ------------------------------------------------------------------------------ */

/* 0: `accepting` is the queue's.  FM_ERR_QUOTA: with its name. */
static int submit(struct fm_request *request, struct fm_accepting *accepting,
                  const char **ret_quota, uint64_t *ret_retry_ns)
{
    const struct fm_http_config *config = &request->http->config;
    struct fm_function *function = NULL;
    int failed = fm_invoke_find(request, &function);
    if (!failed)
        failed = read_headers(request, accepting);
    if (failed)
        return failed;
    failed = fm_sched_request(config->sched, function, ret_retry_ns);
    if (failed) {
        *ret_quota = "requests_per_s";
        return fm_error_set(&request->error, failed, "%s",
                            failed == FM_ERR_QUOTA
                                ? "the limit requests_per_s of the user is reached"
                                : fm_err_meaning(failed));
    }
    accepting->submit.function = function;
    accepting->submit.input = fm_request_take_body(request, &accepting->submit.input_bytes);
    failed = fm_queue_submit(config->queue, &accepting->submit, &request->error);
    if (failed) {
        free(accepting->submit.input);
        *ret_quota = "queue_length";
    }
    return failed;
}

static void refuse(struct fm_request *request, const char *quota, uint64_t retry_ns)
{
    struct fm_problem problem = {
        .error = request->error.code,
        .detail = request->error.text,
    };
    if (problem.error == FM_ERR_QUOTA) {
        problem.quota = quota;
        problem.retry_ns = retry_ns;
    }
    fm_answer_problem(request, &problem);
}

static void run(struct fm_request *request)
{
    struct fm_accepting *accepting = calloc(1, sizeof(*accepting));
    if (!accepting)
        return; /* no answer: the connection is closed */
    accepting->http = request->http;
    accepting->request = request;
    accepting->submit.on_done = on_submitted;
    const char *quota = NULL;
    uint64_t retry_ns = 0;
    if (submit(request, accepting, &quota, &retry_ns) != 0) {
        free(accepting);
        refuse(request, quota, retry_ns);
        return;
    }
    request->accepting = accepting;
    request->http->counts.operations++;
    fm_request_wait(request, false);
}

static bool leave(struct fm_request *request)
{
    if (request->accepting)
        request->accepting->request = NULL;
    request->accepting = NULL;
    return true;
}

const struct fm_handler fm_async_handler = {
    .intake = FM_INTAKE_KEEP,
    .begin = fm_invoke_begin,
    .run = run,
    .leave = leave,
};
