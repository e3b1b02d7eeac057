/* web.c - ANY /h/<user>/<function>/...: the function answers the request itself, while it runs.
 *
 *      headers   is there such a function? may a body have that size?
 *      body      its first piece starts the call; pieces go to the guest as it reads them
 *      whole     no body: this starts the call
 *                   |
 *                   +-- the call has ended ---------> a whole answer: 200 with its length, a
 * problem
 *                   +-- it wants to begin already --> a stream: chunks, until the call has ended
 *                   +-- neither --------------------> put aside, until one of them
 *
 * Half duplex.  The library cannot answer while a body arrives, so nothing is sent before the body
 * is whole; what the function writes is held (web_io.c).  A call that ends earlier has its answer
 * when the rest of the body has come and was dropped, up to 8 MiB and 5 s, as for any request.
 *
 * The connection is put aside in three places: no room for more of the body; whole, but no answer
 * yet; and an answer under way with nothing to send.  It is woken by the guest's side for whichever
 * it is.  The decision what to answer is made when the library asks again, not when it is woken: a
 * function that writes and ends at once has a whole answer, with its length.
 *
 * An answer is whole when its call has ended, not before: the last chunk waits for that, or of a
 * body of known length the last byte, or all of an answer without a body.  So a client that has it
 * all knows that the call has succeeded, and nobody cancels a call that has nothing left but to
 * return. The exception is HEAD, since the body that it leaves out may be endless: the head is
 * sent, and the call cancelled.  When the call fails in the middle of its answer the connection is
 * closed, by which the client sees that it is not whole; and a client that leaves cancels the call.
 *
 * Such a call is pinned to its worker, so what is said here happens on one thread.  It is freed
 * with its request when both the library and the scheduler have let go.
 *
 * Discarded: answering on the raw socket beside the library, for full duplex: it means writing HTTP
 * by hand. */
#include "http/web.h"

#include <stdlib.h>
#include <string.h>

#include "call/function.h"
#include "http/answer.h"
#include "http/chaining.h"
#include "http/routes.h"
#include "sched/sched.h"

#define SERVER_HEAD_BYTES FM_KIB /* of an answer, at most: status line, date, X-Faasm-... */

/* --- life ------------------------------------------------------------------------------------- */

/* A function that says nothing to HTTP but prints is a CGI program. */
static bool prints(const struct fm_module_facts *facts)
{
    static const char *const native[] = {"faasm.http_flush", "faasm.http_header_set",
                                         "faasm.http_status", "faasm.output_write"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(native); i++)
        if (fm_module_imports(facts, native[i]))
            return false;
    return true;
}

/* Its input and output are no streams: those of 2018, and of the Faasm that came later, whose
 * imports are of `env`. */
static bool is_of_the_past(const struct fm_module_facts *facts)
{
    bool imports_env = false;
    for (size_t i = 0; i < facts->imports_count; i++)
        imports_env |= strncmp(facts->imports[i], "env.", 4) == 0;
    return facts->abi == FM_ABI_FAASM_2018 || imports_env;
}

static void web_free(struct fm_web *web)
{
    struct fm_request *request = web->request;
    request->web = NULL;
    request->call = NULL;
    fm_sched_call_free(web->http->config.sched, web->call);
    web->http->bodies_bytes -= web->counted_bytes;
    fm_buffer_done(&web->kept);
    fm_fifo_done(&web->body);
    fm_cgi_done(&web->head);
    fm_reply_done(&web->reply);
    fm_fifo_done(&web->output);
    free(web);
}

static int web_new(struct fm_request *request, struct fm_function *function)
{
    struct fm_web *web = calloc(1, sizeof(*web));
    if (!web)
        return FM_ERR_NOMEM;
    int failed = fm_sched_call_new(request->http->config.sched, function, &web->call);
    if (failed) {
        free(web);
        return failed;
    }
    web->request = request;
    web->http = request->http;
    web->cgi = prints(&web->call->version->facts);
    fm_buffer_init(&web->kept, FM_WEB_KEPT_BYTES);
    fm_fifo_init(&web->body);
    fm_fifo_init(&web->output);
    fm_reply_init(&web->reply);
    fm_cgi_init(&web->head, &web->reply);
    request->web = web;
    request->call = web->call;
    return 0;
}

/* --- the end of the call ---------------------------------------------------------------------- */

static void close_or_wake(struct fm_web *web)
{
    struct fm_request *request = web->request;
    if (!request->suspended)
        return; /* it is being asked, or will be */
    if (request->hung_up && !web->sending)
        fm_request_close(request);
    else
        fm_request_wake(request);
}

/* All that follows from the call is on disk, or never will be. */
static void complete(struct fm_request *request, const struct fm_queue_chains *chains)
{
    struct fm_web *web = request->web;
    fm_sched_remember(web->http->config.sched, web->call, chains ? &chains->error : NULL,
                      chains ? chains->children : NULL, chains ? chains->children_count : 0);
    fm_under_way_end(web->http->config.under_way, &request->under_way);
    web->over = true;
    if (chains)
        web->chains_error = chains->error;
    web->broken |= web->call->error || web->chains_error.code;
    if (!request->client) {
        web_free(web);
        fm_request_free(request);
    } else if (request->phase != FM_REQUEST_CLOSE) { /* else leave() is about to come */
        close_or_wake(web);
    }
}

static void on_call_done(struct fm_call *call)
{
    struct fm_web *web = call->owner;
    struct fm_request *request = web->request;
    request->call_ended = true;
    if (fm_chaining_needed(call))
        fm_chaining_start(request, complete);
    else
        complete(request, NULL);
}

/* Ends it for a reason of ours, which may be in the call already. */
static void end_call(struct fm_web *web, int error)
{
    if (!web->request->call_ended)
        fm_sched_cancel(web->http->config.sched, web->call, error);
}

/* --- the answer ------------------------------------------------------------------------------- */

static void add_head(struct fm_web *web, bool whole)
{
    struct fm_request *request = web->request;
    const struct fm_reply *reply = &web->reply;
    for (size_t i = 0; i < reply->headers_count; i++)
        fm_answer_header(request, fm_reply_name(reply, i), fm_reply_value(reply, i));
    bool typed = fm_reply_find(reply, "content-type") != NULL;
    bool body = reply->status != MHD_HTTP_NO_CONTENT && reply->status != MHD_HTTP_NOT_MODIFIED;
    if (!typed && body && (!whole || web->call->streamed_bytes > 0))
        fm_answer_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, FM_TYPE_BYTES);
    if (whole)
        fm_invoke_headers(request, web->call);
    else
        fm_invoke_headers_early(request, web->call);
}

/* Called by the library for the next piece of the body. */
static ssize_t read_answer(void *data, uint64_t position, char *buffer, size_t bytes)
{
    (void)position;
    struct fm_web *web = data;
    size_t ready = web->output.length;
    if (!web->over && ready > 0 && web->sent_bytes + ready == web->reply.content_length)
        ready--; /* which is only not 0 where it was said */
    size_t got = fm_fifo_get(&web->output, buffer, bytes < ready ? bytes : ready);
    web->sent_bytes += got;
    web->http->counts.bytes_out += got;
    if (got > 0) {
        fm_web_sent(web);
        return (ssize_t)got;
    }
    if (web->broken)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (web->over)
        return MHD_CONTENT_READER_END_OF_STREAM;
    web->reader_waits = true;
    fm_request_wait(web->request, true);
    return 0;
}

/* Its length is told where it is known, also of a body that is not sent since the method is HEAD.
 */
static void answer(struct fm_web *web, bool whole)
{
    struct fm_request *request = web->request;
    const struct fm_reply *reply = &web->reply;
    unsigned status = reply->status ? reply->status : MHD_HTTP_OK;
    uint64_t bytes = whole ? web->call->streamed_bytes : MHD_SIZE_UNKNOWN;
    size_t front_bytes = 0;
    const uint8_t *front = fm_fifo_front(&web->output, &front_bytes);
    if (reply->has_length)
        bytes = reply->content_length;
    web->sending = true;
    if (bytes == 0 || (fm_web_bodiless(web) && !request->head))
        fm_answer_empty(request, status);
    else if (whole && front_bytes == bytes)
        fm_answer_bytes(request, status, NULL, (uint8_t *)(uintptr_t)front, front_bytes);
    else
        fm_answer_stream(request, status, NULL, bytes, read_answer, web);
    if (front_bytes != bytes || !whole)
        request->answer_bytes = 0; /* they are counted as they go */
    add_head(web, whole);
    if (request->head && bytes == MHD_SIZE_UNKNOWN)
        /* The library (0.9.75) ends what has no body with the last chunk of one, which the next
         * answer on this connection must not begin with. */
        fm_answer_header(request, MHD_HTTP_HEADER_CONNECTION, "close");
}

/* Whether the answer can begin before the call has ended: there is something to send. */
static bool can_begin(const struct fm_web *web)
{
    const struct fm_request *request = web->request;
    bool nothing =
        fm_web_bodiless(web) || (web->reply.has_length && web->reply.content_length == 0);
    return web->committed && !request->call_ended && (request->head || !nothing);
}

/* The body is whole, and the library asks. */
static void proceed(struct fm_request *request)
{
    struct fm_web *web = request->web;
    if (web->over && web->broken)
        fm_invoke_failed(request, &web->chains_error);
    else if (web->over)
        answer(web, true);
    else if (can_begin(web))
        answer(web, false);
    else
        fm_request_wait(request, true);
}

void fm_web_notify(struct fm_web *web)
{
    struct fm_request *request = web->request;
    if (!request->suspended || request->hung_up)
        return;
    if (web->reader_waits) {
        web->reader_waits = false;
        fm_request_wake(request);
    } else if (request->phase == FM_REQUEST_WORK && can_begin(web)) {
        fm_request_wake(request);
    }
}

/* --- the handler ------------------------------------------------------------------------------ */

static int check_size(struct fm_request *request, const struct fm_version *version)
{
    if (request->content_length <= version->limits.input_bytes)
        return 0;
    return fm_error_set(&request->error, FM_ERR_TOO_LARGE,
                        "the body has %llu bytes, the function's limit input_bytes is %llu",
                        (unsigned long long)request->content_length,
                        (unsigned long long)version->limits.input_bytes);
}

/* The library has one piece of memory for the heads of request and answer, and closes a connection
 * for which it is too small: so there must be room for the largest that a function may make, and
 * for what the server adds. */
static int check_room(struct fm_request *request)
{
    uint64_t bytes_max = request->http->config.header_bytes_max - SERVER_HEAD_BYTES;
    if (request->head_bytes <= bytes_max)
        return 0;
    request->status = MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    return fm_error_set(&request->error, FM_ERR_TOO_LARGE,
                        "the request line and headers take %llu bytes, with 64 for each header, at "
                        "most %llu are accepted here",
                        (unsigned long long)request->head_bytes, (unsigned long long)bytes_max);
}

static int find(struct fm_request *request, struct fm_function **ret_function)
{
    int failed = fm_invoke_find(request, ret_function);
    if (failed)
        return failed;
    const struct fm_version *version = fm_function_version(*ret_function);
    if (is_of_the_past(&version->facts))
        return fm_error_set(&request->error, FM_ERR_UNSUPPORTED_MODULE,
                            "a function for the Faasm of 2018 or later knows no HTTP: POST "
                            "/f/%s/%s",
                            version->user, version->function);
    return check_size(request, version);
}

static int begin(struct fm_request *request)
{
    struct fm_function *function = NULL;
    int failed = fm_invoke_names(request);
    if (!failed)
        failed = check_room(request);
    return failed ? failed : find(request, &function);
}

/* On failure there is no call, and request->error says why. */
static int prepare(struct fm_request *request)
{
    struct fm_function *function = NULL;
    int failed = find(request, &function);
    if (failed)
        return failed;
    failed = web_new(request, function);
    if (failed)
        return fm_error_set(&request->error, failed, "%s", fm_err_meaning(failed));
    struct fm_call *call = request->call;
    call->principal = request->principal;
    call->owner = request->web;
    call->on_done = on_call_done;
    call->web = &fm_web_ops;
    call->io = &fm_web_io;
    call->pinned = true;
    failed = fm_web_request(request->web);
    if (!failed)
        return 0;
    web_free(request->web);
    return fm_error_set(&request->error, failed, "%s", fm_err_meaning(failed));
}

static void submit(struct fm_request *request)
{
    const struct fm_http_config *config = &request->http->config;
    if (fm_sched_submit(config->sched, request->call) == FM_SUBMIT_LATER)
        fm_under_way_begin(config->under_way, &request->under_way, request->call);
    else
        on_call_done(request->call);
}

/* The first piece: with it there is something to read. */
static int take_first(struct fm_request *request, const uint8_t *data, size_t bytes,
                      size_t *ret_put)
{
    int failed = prepare(request);
    if (failed)
        return failed;
    failed = fm_web_put_body(request->web, data, bytes, ret_put);
    if (failed)
        web_free(request->web);
    else
        submit(request);
    return failed;
}

static void take_more(struct fm_request *request, const uint8_t *data, size_t bytes,
                      size_t *ret_put)
{
    int failed = fm_web_put_body(request->web, data, bytes, ret_put);
    if (!failed)
        return;
    fm_call_fail(request->call, failed, request->error.text);
    end_call(request->web, failed);
}

/* There was no room for all of a piece. */
static void wait_for_reader(struct fm_request *request)
{
    if (fm_web_is_stuck(request->web)) {
        fm_web_fail_stuck(request->web);
        end_call(request->web, FM_ERR_GUEST_LIMIT);
    }
    if (!request->call_ended)
        fm_request_wait(request, true);
}

/* Nobody reads it. */
static int drop(struct fm_request *request, size_t bytes)
{
    if (request->drop_bytes == 0)
        fm_deadline_set(&request->http->drops, &request->client->deadline);
    request->drop_bytes += bytes;
    if (request->drop_bytes <= FM_HTTP_DROP_BYTES_MAX)
        return 0;
    return fm_error_set(&request->error, FM_ERR_TOO_LARGE, "too much of the body is not read");
}

static int take(struct fm_request *request, const uint8_t *data, size_t bytes, size_t *ret_taken)
{
    size_t put = 0;
    if (!request->web) {
        int failed = take_first(request, data, bytes, &put);
        if (failed)
            return failed;
    } else if (!request->call_ended) {
        take_more(request, data, bytes, &put);
    }
    if (!request->call_ended && put < bytes)
        wait_for_reader(request);
    *ret_taken = put;
    if (!request->call_ended || put == bytes || request->phase == FM_REQUEST_CLOSE)
        return 0;
    *ret_taken = bytes;
    return drop(request, bytes - put);
}

static void run(struct fm_request *request)
{
    int failed = 0;
    if (!request->web)
        failed = prepare(request);
    if (failed) {
        fm_answer_error(request, &request->error);
        return;
    }
    fm_web_end_body(request->web);
    if (request->call->state == FM_CALL_NEW)
        submit(request);
    proceed(request);
}

static void cancel(struct fm_request *request)
{
    struct fm_web *web = request->web;
    web->broken = true;
    if (!request->call_ended)
        fm_sched_cancel(request->http->config.sched, request->call, FM_ERR_CANCELLED);
    else
        close_or_wake(web); /* what it chained is accepted all the same */
}

static bool leave(struct fm_request *request)
{
    struct fm_web *web = request->web;
    if (!web)
        return true;
    if (!request->call_ended) {
        cancel(request); /* complete() frees both, perhaps already has */
        return false;
    }
    if (request->chaining)
        return false; /* the same, later */
    web_free(web);
    return true;
}

const struct fm_handler fm_web_handler = {
    .intake = FM_INTAKE_STREAM,
    .begin = begin,
    .take = take,
    .run = run,
    .resume = proceed,
    .cancel = cancel,
    .leave = leave,
};
