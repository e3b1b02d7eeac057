/* request.c - a request on its way through the library.
 *
 * The library calls the same function again and again: once when the headers are complete, once for
 * each piece of the body, once when all is there, and again after each time the request was put
 * aside.  What a call means follows from the request's phase (request.h), never from the library's
 * arguments alone; one table holds the legal moves.
 *
 * When a request is refused.  The library can send an answer before the body, or after it, but not
 * in its middle, and after an early answer it must close the connection.  So:
 *
 *      no body, or a small one       read and dropped, then answered:
 *      that is on its way            the connection stays
 *
 *      a large one, or one that      answered at once, and closed
 *      is held back                  (linger.c)
 *
 *      in the middle of it           read and dropped, up to 8 MiB and 5 s, then
 *                                    answered; beyond that closed without an answer
 *
 * Lifetime: made when the request line was read, freed when the library has let go of it and the
 * handler has too; kept in a short list then, with its buffers, so that a steady stream of requests
 * allocates nothing here.  Threading: the worker's. */
#include "http/request.h"

#include <stdlib.h>
#include <string.h>

#include "http/answer.h"
#include "http/head.h"
#include "http/routes.h"

#define PATIENCE_S 3600u /* see fm_request_wait(); any time but the library's default of none */
#define BIT(phase) (1u << (phase))

static const unsigned legal_moves[] = {
    [FM_REQUEST_HEAD] = BIT(FM_REQUEST_BODY) | BIT(FM_REQUEST_DROP) | BIT(FM_REQUEST_ANSWER),
    [FM_REQUEST_BODY] = BIT(FM_REQUEST_DROP) | BIT(FM_REQUEST_WORK) | BIT(FM_REQUEST_CLOSE),
    [FM_REQUEST_DROP] = BIT(FM_REQUEST_ANSWER),
    [FM_REQUEST_WORK] = BIT(FM_REQUEST_ANSWER) | BIT(FM_REQUEST_CLOSE),
    [FM_REQUEST_ANSWER] = 0,
    [FM_REQUEST_CLOSE] = 0,
};

static void set_phase(struct fm_request *request, enum fm_request_phase phase)
{
    FM_ASSERT(legal_moves[request->phase] & BIT(phase));
    request->phase = phase;
}

/* --- memory ----------------------------------------------------------------------------------- */

static void init(struct fm_request *request, struct fm_http *http, struct fm_client *client)
{
    struct fm_buffer body = request->body;
    struct fm_buffer query = request->query;
    struct fm_buffer path = request->path;
    struct fm_buffer text = request->text;
    *request = (struct fm_request){
        .http = http,
        .client = client,
        .phase = FM_REQUEST_HEAD,
        .principal = "anonymous",
        .body = body,
        .query = query,
        .path = path,
        .text = text,
    };
    fm_list_init(&request->link);
}

static struct fm_request *make(struct fm_http *http, struct fm_client *client)
{
    struct fm_request *request = NULL;
    struct fm_list *link = fm_list_pop_front(&http->free_requests);
    if (link) {
        request = FM_LIST_ENTRY(link, struct fm_request, link);
        http->free_requests_count--;
    } else {
        request = calloc(1, sizeof(*request));
        if (!request)
            return NULL;
        fm_buffer_init(&request->text, FM_HTTP_TEXT_BYTES_MAX);
    }
    init(request, http, client);
    request->query.length_max = http->config.header_bytes_max;
    request->path.length_max = http->config.header_bytes_max;
    return request;
}

static void forget_body(struct fm_request *request, size_t keep_bytes)
{
    request->http->bodies_bytes -= request->body.length;
    fm_buffer_clear(&request->body, keep_bytes);
}

void fm_request_forget_body(struct fm_request *request)
{
    forget_body(request, FM_HTTP_KEEP_BYTES);
}

uint8_t *fm_request_take_body(struct fm_request *request, size_t *ret_bytes)
{
    size_t room = request->body.capacity;
    request->http->bodies_bytes -= request->body.length;
    uint8_t *body = fm_buffer_take(&request->body, ret_bytes);
    if (body && room - *ret_bytes > *ret_bytes / 8) { /* it may have doubled while it came */
        uint8_t *tight = realloc(body, *ret_bytes);
        body = tight ? tight : body;
    }
    return body;
}

static void destroy(struct fm_request *request)
{
    fm_buffer_done(&request->body);
    fm_buffer_done(&request->query);
    fm_buffer_done(&request->path);
    fm_buffer_done(&request->text);
    free(request);
}

void fm_request_free(struct fm_request *request)
{
    struct fm_http *http = request->http;
    FM_ASSERT(!request->client && !request->suspended);
    fm_request_forget_body(request);
    fm_buffer_clear(&request->query, FM_HTTP_KEEP_BYTES);
    fm_buffer_clear(&request->path, FM_HTTP_KEEP_BYTES);
    fm_buffer_clear(&request->text, FM_HTTP_KEEP_BYTES);
    if (http->free_requests_count == FM_HTTP_FREE_REQUESTS_MAX) {
        destroy(request);
        return;
    }
    fm_list_push_front(&http->free_requests, &request->link);
    http->free_requests_count++;
}

void fm_request_free_all(struct fm_http *http)
{
    struct fm_list *link = NULL;
    while ((link = fm_list_pop_front(&http->free_requests)) != NULL)
        destroy(FM_LIST_ENTRY(link, struct fm_request, link));
    http->free_requests_count = 0;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* After a resume the library (0.9.75) reads before it asks the handler, and closes a connection
 * that is at its end, answer or not.  Except for connections with a timeout of their own: these it
 * asks first.  So a request that is to be answered even when the client has closed its sending side
 * gets one, of no consequence otherwise. */
static void be_patient(struct fm_request *request, bool patient)
{
    request->patient = patient;
    (void)MHD_set_connection_option(request->client->connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                    patient ? PATIENCE_S : 0u);
}

void fm_request_wait(struct fm_request *request, bool hang_up)
{
    FM_ASSERT(!request->suspended);
    struct fm_http *http = request->http;
    if (!request->patient && !(hang_up && http->config.cancel_on_half_close))
        be_patient(request, true);
    MHD_suspend_connection(request->client->connection);
    request->suspended = true;
    http->counts.suspended++;
    if (hang_up && fm_client_has_left(request->client))
        fm_client_hang_up(request->client);
}

void fm_request_wake(struct fm_request *request)
{
    FM_ASSERT(request->suspended);
    struct fm_http *http = request->http;
    request->suspended = false;
    http->counts.suspended--;
    MHD_resume_connection(request->client->connection);
    fm_http_kick(http);
}

void fm_request_close(struct fm_request *request)
{
    set_phase(request, FM_REQUEST_CLOSE);
    fm_request_wake(request);
}

void fm_request_cut(struct fm_request *request)
{
    request->hung_up = true;
    if (request->handler->cancel)
        request->handler->cancel(request);
    else if (request->phase == FM_REQUEST_ANSWER)
        fm_request_wake(request); /* who gives the rest of it sees that it has hung up */
    else
        fm_request_close(request);
}

/* --- answering -------------------------------------------------------------------------------- */

static enum MHD_Result send_answer(struct fm_request *request)
{
    struct fm_http *http = request->http;
    if (http->draining)
        fm_answer_header(request, MHD_HTTP_HEADER_CONNECTION, "close");
    if (!request->response)
        return MHD_NO; /* there was no memory for it */
    set_phase(request, FM_REQUEST_ANSWER);
    enum MHD_Result result =
        MHD_queue_response(request->client->connection, request->status, request->response);
    MHD_destroy_response(request->response); /* the library has its own reference */
    request->response = NULL;
    if (result == MHD_NO)
        return MHD_NO;
    http->counts.requests++;
    http->counts.responses[request->status / 100]++;
    http->counts.bytes_out += request->head ? 0 : request->answer_bytes;
    return MHD_YES;
}

static enum MHD_Result refuse_early(struct fm_request *request)
{
    request->client->early = true;
    fm_answer_error(request, &request->error);
    return send_answer(request);
}

/* In the middle of the body. */
static void refuse(struct fm_request *request, int error)
{
    if (!request->error.code)
        (void)fm_error_set(&request->error, error, "%s", fm_err_meaning(error));
    set_phase(request, FM_REQUEST_DROP);
    forget_body(request, 0);
    fm_deadline_set(&request->http->drops, &request->client->deadline);
}

/* --- the head --------------------------------------------------------------------------------- */

static int examine(struct fm_request *request, const char *method, const char *version)
{
    int failed = fm_head_check(request, version);
    if (!failed)
        failed = fm_route_find(request, method);
    if (!failed && request->handler->begin)
        failed = request->handler->begin(request);
    if (failed || request->handler->intake != FM_INTAKE_NONE ||
        request->content_length <= FM_HTTP_SMALL_BODY_BYTES)
        return failed;
    return fm_error_set(&request->error, FM_ERR_TOO_LARGE, "this request takes no body");
}

static enum MHD_Result step_head(struct fm_request *request, const char *method,
                                 const char *version)
{
    struct fm_http *http = request->http;
    request->method = method;
    request->version = version;
    int failed = examine(request, method, version);
    bool body = request->chunked || request->content_length > 0;
    bool on_its_way = !request->expects && !request->chunked &&
                      request->content_length <= FM_HTTP_SMALL_BODY_BYTES;
    if (body)
        fm_deadline_set(&http->bodies, &request->client->deadline);
    else
        fm_deadline_clear(&request->client->deadline);
    if (failed && (request->broken || (body && !on_its_way)))
        return refuse_early(request);
    set_phase(request, failed ? FM_REQUEST_DROP : FM_REQUEST_BODY);
    return MHD_YES;
}

/* --- the body --------------------------------------------------------------------------------- */

static int keep(struct fm_request *request, const uint8_t *data, size_t bytes)
{
    struct fm_http *http = request->http;
    struct fm_buffer *body = &request->body;
    if (bytes > body->length_max - body->length)
        return fm_error_set(&request->error, FM_ERR_TOO_LARGE,
                            "the body is larger than the limit input_bytes = %zu",
                            body->length_max);
    if (http->bodies_bytes + bytes > http->config.bodies_bytes_max)
        return fm_error_set(&request->error, FM_ERR_BUSY,
                            "too many request bodies are in memory, try again later");
    int failed = 0;
    if (body->length == 0) /* once, now that some of it has come */
        failed = fm_buffer_reserve(body, fm_max_u64(request->content_length, bytes));
    if (!failed)
        failed = fm_buffer_append(body, data, bytes);
    if (!failed)
        http->bodies_bytes += bytes;
    return failed;
}

static int ignore(struct fm_request *request, size_t bytes)
{
    request->drop_bytes += bytes;
    if (request->drop_bytes <= FM_HTTP_SMALL_BODY_BYTES)
        return 0;
    request->drop_bytes = 0;
    return fm_error_set(&request->error, FM_ERR_TOO_LARGE, "this request takes no body");
}

static enum MHD_Result step_body(struct fm_request *request, const uint8_t *data, size_t *bytes)
{
    if (request->suspended)
        return MHD_YES; /* chunks go on coming in the call that put it aside: they stay for later */
    size_t taken = *bytes;
    int failed = 0;
    switch (request->handler->intake) {
    case FM_INTAKE_NONE:
        failed = ignore(request, *bytes);
        break;
    case FM_INTAKE_KEEP:
        failed = keep(request, data, *bytes);
        break;
    case FM_INTAKE_STREAM:
        failed = request->handler->take(request, data, *bytes, &taken);
        break;
    }
    if (failed) {
        refuse(request, failed);
        taken = *bytes;
    }
    request->http->counts.bytes_in += taken;
    *bytes -= taken;
    return MHD_YES;
}

static enum MHD_Result step_drop(struct fm_request *request, size_t *bytes)
{
    request->http->counts.bytes_in += *bytes;
    request->drop_bytes += *bytes;
    *bytes = 0;
    return request->drop_bytes > FM_HTTP_DROP_BYTES_MAX ? MHD_NO : MHD_YES;
}

static enum MHD_Result send_or_wait(struct fm_request *request)
{
    bool later = request->suspended || request->phase == FM_REQUEST_CLOSE;
    return later ? MHD_YES : send_answer(request);
}

static enum MHD_Result step_whole(struct fm_request *request)
{
    fm_deadline_clear(&request->client->deadline);
    if (request->phase == FM_REQUEST_DROP) {
        fm_answer_error(request, &request->error);
        return send_answer(request);
    }
    set_phase(request, FM_REQUEST_WORK);
    request->handler->run(request);
    return send_or_wait(request);
}

/* It was put aside, and perhaps woken. */
static enum MHD_Result step_work(struct fm_request *request)
{
    if (!request->suspended && !request->response && request->handler->resume)
        request->handler->resume(request);
    return send_or_wait(request);
}

/* --- the library's callbacks ------------------------------------------------------------------ */

/* Of a web page, before the library decodes the target in place. */
static int keep_path(struct fm_request *request, const char *raw)
{
    const char *rest = raw + request->target.segments[2].end;
    int failed = fm_buffer_append(&request->path, rest, strcspn(rest, "?"));
    return failed ? failed : fm_buffer_append(&request->path, "", 1);
}

/* Of those routes that want more of it than the segments. */
static int take_path(struct fm_request *request, const char *raw)
{
    const struct fm_target *target = &request->target;
    const char *first = target->segments[0].text;
    int failed = 0;
    if (target->count > 1 && strcmp(first, "files") == 0)
        failed = fm_target_rest(raw, &request->path, &request->path_slash, &request->error);
    else if (target->count > 2 && strcmp(first, "h") == 0)
        failed = keep_path(request, raw);
    if (failed && !request->error.code)
        (void)fm_error_set(&request->error, failed, "%s", fm_err_meaning(failed));
    return failed;
}

void *fm_request_start(void *data, const char *target, struct MHD_Connection *connection)
{
    struct fm_http *http = data;
    struct fm_client *client = fm_client_of(connection);
    const char *raw = target ? target : "";
    struct fm_request *request = client && !client->request ? make(http, client) : NULL;
    if (!request)
        return NULL; /* the next step closes the connection */
    client->request = request;
    request->raw_target = raw;
    request->raw_length = strlen(raw);
    int failed = fm_target_parse(raw, &request->target, &request->error);
    if (!failed)
        failed = take_path(request, raw);
    if (failed || request->target.query_position == 0)
        return request;

    size_t position = request->target.query_position;
    failed = fm_buffer_append(&request->query, raw + position, request->raw_length - position + 1);
    if (failed)
        (void)fm_error_set(&request->error, failed, "the query is too long, or no memory is left");
    /* The library would now make a list of the parameters, which nobody reads, and if that does not
     * fit into the connection's memory it loses track of its own state.  So it sees an empty query.
     */
    char *query = strchr(raw, '?');
    if (query)
        query[1] = '\0';
    return request;
}

enum MHD_Result fm_request_step(void *data, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload_data,
                                size_t *upload_bytes, void **context)
{
    (void)data;
    (void)connection;
    (void)url; /* decoded twice over; see target.h */
    struct fm_request *request = *context;
    if (!request)
        return MHD_NO;
    bool piece = *upload_bytes > 0;
    switch (request->phase) {
    case FM_REQUEST_HEAD:
        return step_head(request, method, version);
    case FM_REQUEST_BODY:
        return piece ? step_body(request, (const uint8_t *)upload_data, upload_bytes)
                     : step_whole(request);
    case FM_REQUEST_DROP:
        return piece ? step_drop(request, upload_bytes) : step_whole(request);
    case FM_REQUEST_WORK:
        return step_work(request);
    case FM_REQUEST_ANSWER:
    case FM_REQUEST_CLOSE:
        break;
    }
    return MHD_NO;
}

void fm_request_leave(struct fm_request *request)
{
    struct fm_client *client = request->client;
    struct fm_http *http = request->http;
    if (request->suspended)
        http->counts.suspended--;
    if (request->response)
        MHD_destroy_response(request->response);
    request->suspended = false;
    request->response = NULL;
    request->client = NULL;
    client->request = NULL;
    client->served = true;
    fm_deadline_set(&http->heads, &client->deadline);
    if (!request->handler || !request->handler->leave || request->handler->leave(request))
        fm_request_free(request);
}

void fm_request_completed(void *data, struct MHD_Connection *connection, void **context,
                          enum MHD_RequestTerminationCode code)
{
    (void)data;
    (void)connection;
    (void)code; /* what matters is the request's own phase */
    struct fm_request *request = *context;
    *context = NULL;
    if (!request)
        return;
    if (request->patient && !request->client->late)
        be_patient(request, false);
    fm_request_leave(request);
}

int fm_request_no_query(struct fm_request *request)
{
    size_t cursor = 0;
    struct fm_parameter parameter;
    if (request->query.length == 0)
        return 0;
    if (fm_query_next((char *)request->query.data, &cursor, &parameter, &request->error))
        return fm_error_set(&request->error, FM_ERR_BAD_REQUEST, "unknown parameter '%s'",
                            parameter.name);
    return request->error.code;
}
