/* web_io.c - a web call's guest reads, writes and asks (call/web.h).
 *
 * Input.  The first 64 KiB of a body stay, so that a function may read them again, as it may with
 * an ordinary input: faasm.h does, to fill memory->input.  What comes behind them is gone once it
 * was read, or read past.
 *
 *      body   [ kept: 64 KiB | gone | body (ring): <= 256 KiB | not here yet ]
 *                                   body_start                body_bytes
 *
 * Output waits in a ring until the library fetches it.  Before the end of the request nothing can
 * be sent, since the library cannot answer while a body arrives; so the ring is larger then, and
 * behind its end lies a trap: a function that writes much before it reads would wait for the client
 * to finish, and the client for the function to read.  That is noticed on either side, and fails
 * the call at once instead of at its deadline.
 *
 * Threading: the worker's; on the guest's fiber. */
#include "http/web.h"

#include <stdio.h>
#include <string.h>

#include "call/function.h"
#include "http/front.h"
#include "sched/sched.h"

static struct fm_web *web_of(const struct fm_call *call)
{
    return call->owner;
}

static void wake_guest(struct fm_web *web)
{
    if (web->call && !web->request->call_ended)
        fm_sched_wake(web->http->config.sched, web->call);
}

/* --- the body --------------------------------------------------------------------------------- */

/* Memory of bodies is bounded for the worker as a whole. */
static void count_memory(struct fm_web *web)
{
    uint64_t bytes = web->kept.capacity + web->body.capacity;
    web->http->bodies_bytes += bytes - web->counted_bytes; /* may be less than before */
    web->counted_bytes = bytes;
}

int fm_web_put_body(struct fm_web *web, const uint8_t *data, size_t bytes, size_t *ret_put)
{
    const struct fm_http *http = web->http;
    if (bytes > web->call->limits.input_bytes - web->body_bytes)
        return fm_error_set(&web->request->error, FM_ERR_TOO_LARGE,
                            "the body is larger than the limit input_bytes = %llu",
                            (unsigned long long)web->call->limits.input_bytes);
    if (http->bodies_bytes + bytes > http->config.bodies_bytes_max)
        return fm_error_set(&web->request->error, FM_ERR_BUSY,
                            "too many request bodies are in memory, try again later");
    size_t kept = (size_t)fm_min_u64(bytes, web->kept.length_max - web->kept.length);
    size_t put = 0;
    int failed = fm_buffer_append(&web->kept, data, kept);
    if (!failed && bytes > kept)
        failed = fm_fifo_put(&web->body, data + kept, bytes - kept, FM_WEB_BODY_BYTES_MAX, &put);
    if (failed)
        return fm_error_set(&web->request->error, failed, "%s", fm_err_meaning(failed));
    web->body_start += kept;
    web->body_bytes += kept + put;
    web->call->input_bytes = (size_t)web->body_bytes;
    web->body_ended = web->request->has_length && web->body_bytes == web->request->content_length;
    count_memory(web);
    *ret_put = kept + put;
    wake_guest(web);
    return 0;
}

void fm_web_end_body(struct fm_web *web)
{
    web->body_ended = true;
    wake_guest(web);
}

static void drop_body(struct fm_web *web, uint64_t bytes)
{
    web->body_start += fm_fifo_get(&web->body, NULL, (size_t)bytes);
}

/* Half of the room is free again: it is worth asking for more. */
static void resume_intake(struct fm_web *web)
{
    if (!web->intake_waits || web->body.length > FM_WEB_BODY_BYTES_MAX / 2)
        return;
    web->intake_waits = false;
    if (web->request->suspended && !web->request->hung_up)
        fm_request_wake(web->request);
}

static int64_t read_body(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes)
{
    struct fm_web *web = web_of(call);
    web->blocked = false;
    if (offset < web->kept.length) {
        size_t got = (size_t)fm_min_u64(bytes, web->kept.length - offset);
        memcpy(data, web->kept.data + offset, got);
        return (int64_t)got;
    }
    if (offset < web->body_start)
        return FM_ERR_BAD_REQUEST;
    drop_body(web, fm_min_u64(offset - web->body_start, web->body.length));
    size_t got = offset < web->body_bytes ? fm_fifo_get(&web->body, data, bytes) : 0;
    web->body_start += got;
    resume_intake(web);
    if (got > 0)
        return (int64_t)got;
    return web->body_ended ? 0 : FM_WEB_WAIT;
}

static int64_t size_of_body(struct fm_call *call)
{
    const struct fm_web *web = web_of(call);
    if (web->request->has_length)
        return (int64_t)web->request->content_length; /* checked against input_bytes */
    if (web->body_ended)
        return (int64_t)web->body_bytes;
    return web->body.length < FM_WEB_BODY_BYTES_MAX ? FM_WEB_WAIT : FM_ERR_BUSY;
}

/* --- the answer ------------------------------------------------------------------------------- */

static int fail(struct fm_web *web, int error, const char *detail)
{
    fm_call_fail(web->call, error, detail);
    return error;
}

bool fm_web_is_stuck(struct fm_web *web)
{
    web->intake_waits = true;
    wake_guest(web); /* one that asks for the size is told now */
    return web->blocked;
}

void fm_web_fail_stuck(struct fm_web *web)
{
    char text[200];
    (void)snprintf(text, sizeof(text),
                   "the function has written %llu bytes before it had read the request's body, and "
                   "nothing can be sent before that has come",
                   (unsigned long long)FM_WEB_HELD_BYTES_MAX);
    (void)fail(web, FM_ERR_GUEST_LIMIT, text);
    web->call->limit = "held_bytes";
}

bool fm_web_bodiless(const struct fm_web *web)
{
    return web->request->head || web->reply.status == MHD_HTTP_NO_CONTENT ||
           web->reply.status == MHD_HTTP_NOT_MODIFIED;
}

static size_t room_max(const struct fm_web *web)
{
    return web->body_ended ? FM_WEB_UNSENT_BYTES_MAX : FM_WEB_HELD_BYTES_MAX;
}

/* Bytes of the header block. */
static int64_t write_head(struct fm_web *web, const uint8_t *data, size_t bytes)
{
    struct fm_error error = {0};
    size_t taken = 0;
    int failed = fm_cgi_take(&web->head, data, bytes, &taken, &error);
    if (failed)
        return fail(web, failed, error.text);
    if (web->head.complete) {
        web->committed = true;
        fm_web_notify(web);
    }
    return (int64_t)taken;
}

static int64_t wait_for_room(struct fm_web *web)
{
    web->committed = true;
    web->wants_room = true;
    web->blocked = true;
    fm_web_notify(web);
    if (!web->body_ended && web->intake_waits) {
        fm_web_fail_stuck(web);
        return FM_ERR_GUEST_LIMIT;
    }
    return FM_WEB_WAIT;
}

static int64_t write_output(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    struct fm_web *web = web_of(call);
    if (web->cgi && !web->head.complete)
        return write_head(web, data, bytes);
    if (bytes > call->limits.output_bytes - call->streamed_bytes)
        return FM_ERR_GUEST_LIMIT;
    if (web->reply.has_length && call->streamed_bytes + bytes > web->reply.content_length)
        return fail(web, FM_ERR_BAD_RESPONSE,
                    "the function has written more than its header Content-Length says");
    size_t put = bytes;
    int failed = 0;
    if (!fm_web_bodiless(web))
        failed = fm_fifo_put(&web->output, data, bytes, room_max(web), &put);
    if (failed)
        return failed;
    if (put == 0)
        return wait_for_room(web);
    web->wants_room = false;
    web->blocked = false;
    call->streamed_bytes += put;
    fm_web_notify(web);
    return (int64_t)put;
}

void fm_web_sent(struct fm_web *web)
{
    if (!web->wants_room || web->output.length > FM_WEB_UNSENT_BYTES_MAX / 2)
        return;
    web->wants_room = false;
    wake_guest(web);
}

static void ready(struct fm_call *call, uint64_t offset, struct fm_web_ready *ret_ready)
{
    struct fm_web *web = web_of(call);
    uint64_t here = web->body_bytes > offset ? web->body_bytes - offset : 0;
    size_t used = web->output.length;
    size_t room = used < room_max(web) ? room_max(web) - used : 0;
    *ret_ready = (struct fm_web_ready){
        .readable = here > 0 || web->body_ended,
        .ended = here == 0 && web->body_ended,
        .writable = room > 0,
        .readable_bytes = here,
        .writable_bytes = room,
    };
    web->wants_room |= room == 0;
    web->blocked = false;
}

/* --- what knows no streams -------------------------------------------------------------------- */

/* Functions with such imports are refused (web.c), so nobody comes here; but the call's input is
 * nowhere in memory, and whoever does must not find that out. */
static int64_t read_nothing(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes)
{
    (void)call;
    (void)offset;
    (void)data;
    (void)bytes;
    return FM_ERR_IO;
}

static int write_nothing(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    (void)call;
    (void)data;
    (void)bytes;
    return FM_ERR_IO;
}

static void write_log(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    fm_call_io_memory.write_log(call, data, bytes);
}

const struct fm_call_io fm_web_io = {
    .read_input = read_nothing,
    .write_output = write_nothing,
    .set_output = write_nothing,
    .write_log = write_log,
};

/* --- questions and answers -------------------------------------------------------------------- */

static const char *find_header(struct fm_call *call, const char *name, size_t name_length)
{
    return fm_web_find(web_of(call), name, name_length);
}

static int set_status(struct fm_call *call, uint32_t status)
{
    struct fm_web *web = web_of(call);
    return web->committed ? FM_ERR_CONFLICT : fm_reply_status(&web->reply, status);
}

static int set_header(struct fm_call *call, const char *name, size_t name_length, const char *value,
                      size_t value_length)
{
    struct fm_web *web = web_of(call);
    if (web->committed)
        return FM_ERR_CONFLICT;
    return fm_reply_header(&web->reply, FM_REPLY_SET, name, name_length, value, value_length, NULL);
}

static void flush(struct fm_call *call)
{
    struct fm_web *web = web_of(call);
    if (web->cgi)
        return; /* what it writes goes out as it comes */
    web->committed = true;
    fm_web_notify(web);
}

static void end(struct fm_call *call)
{
    struct fm_web *web = web_of(call);
    struct fm_error error = {0};
    if (web->cgi && fm_cgi_end(&web->head, &error) != 0)
        (void)fail(web, FM_ERR_BAD_RESPONSE, error.text);
    else if (web->reply.has_length && !fm_web_bodiless(web) &&
             call->streamed_bytes != web->reply.content_length)
        (void)fail(web, FM_ERR_BAD_RESPONSE,
                   "the function has written less than its header Content-Length says");
}

const struct fm_web_ops fm_web_ops = {
    .read = read_body,
    .size = size_of_body,
    .write = write_output,
    .ready = ready,
    .header = find_header,
    .set_status = set_status,
    .set_header = set_header,
    .flush = flush,
    .end = end,
};
