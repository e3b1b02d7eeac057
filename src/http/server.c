/* server.c - the library's daemon as a guest on the worker's loop.
 *
 * GNU libmicrohttpd runs here without threads, without a listening socket and without sleeping: its
 * epoll descriptor is watched like any other, and once a pass, after the loop has handed out
 * events, messages and timers, fm_http_turn() lets it do what is due.  Not from within the watch: a
 * pass then runs it once, however many reasons there were.
 *
 *      due:  its descriptor is readable | a connection came | a request was woken | it said "again"
 *
 * A request may be woken after the turn (a queued call ends when the scheduler has its turn), so
 * that the loop would go to sleep over it.  A timer set to "now" prevents that: two steps in a heap
 * and no system call.
 *
 * Discarded: the library's own threads (a call would have to cross threads twice), and writing HTTP
 * by hand (design.md: what a well-kept library does, the library does).
 *
 * MHD_USE_TURBO spares system calls: a new connection is read at once, without asking epoll first,
 * and a closed one is not shut down before it is closed.  Where the latter matters, linger.c does
 * it.
 *
 * A client that does not read its answer is ended by the kernel (TCP_USER_TIMEOUT), which costs one
 * system call per connection and nothing per request.
 *
 * Lifetime: an object of its worker.  Threading: the worker's. */
#include "http/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "http/client.h"
#include "http/request.h"
#include "http/routes.h"

/* A connection's memory, besides the request's head.  web.c counts on room for the head of a
 * function's answer. */
#define NOTES_BYTES (8 * FM_KIB)
_Static_assert(NOTES_BYTES >= FM_WEB_HEAD_BYTES_MAX, "see web.c");

#define NEVER UINT64_MAX

static void on_ready(struct fm_watch *watch, uint32_t events)
{
    (void)events;
    FM_CONTAINER_OF(watch, struct fm_http, watch)->due = true;
}

/* The timer is always armed, so moving it cannot fail. */
static void set_kick(struct fm_http *http, uint64_t at_ns)
{
    int failed = fm_loop_timer_set(http->config.loop, &http->kick, at_ns);
    FM_ASSERT(!failed);
}

static void on_kick(struct fm_timer *timer)
{
    struct fm_http *http = FM_CONTAINER_OF(timer, struct fm_http, kick);
    set_kick(http, NEVER);
    http->due = true;
}

void fm_http_kick(struct fm_http *http)
{
    if (!http->due && !http->closed)
        set_kick(http, 0);
    http->due = true;
}

/* A connection's memory holds the request's head, a note of 64 bytes about each header, and the
 * answer's head.  The library clears all of it for each request, so it is not larger than it must
 * be. */
static size_t connection_bytes(const struct fm_http_config *config)
{
    return (size_t)config->header_bytes_max + NOTES_BYTES;
}

static int start_daemon(struct fm_http *http, struct fm_error *error)
{
    const struct fm_http_config *config = &http->config;
    unsigned flags = (unsigned)MHD_USE_EPOLL | (unsigned)MHD_USE_NO_LISTEN_SOCKET |
                     (unsigned)MHD_ALLOW_SUSPEND_RESUME | (unsigned)MHD_USE_TURBO;
    errno = 0;
    http->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, fm_request_step, http,                    /* */
        MHD_OPTION_URI_LOG_CALLBACK, fm_request_start, http,            /* */
        MHD_OPTION_NOTIFY_COMPLETED, fm_request_completed, http,        /* */
        MHD_OPTION_NOTIFY_CONNECTION, fm_client_notice, http,           /* */
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)config->connections_max, /* */
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, connection_bytes(config), MHD_OPTION_END);
    if (!http->daemon)
        return fm_error_errno(error, errno ? errno : ENOMEM, "cannot start the HTTP library");
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    FM_ASSERT(info && info->epoll_fd >= 0);
    int failed = fm_loop_watch_add(config->loop, &http->watch, info->epoll_fd, EPOLLIN);
    if (failed)
        return fm_error_set(error, failed, "cannot watch the HTTP library's descriptor");
    return 0;
}

static int start_deadlines(struct fm_http *http, struct fm_error *error)
{
    const struct fm_http_config *config = &http->config;
    const int results[] = {
        /* all of them in any case, so that all of them can be undone */
        fm_deadlines_init(&http->heads, config->loop, config->header_time_ns, fm_client_late),
        fm_deadlines_init(&http->bodies, config->loop, config->body_time_ns, fm_client_late),
        fm_deadlines_init(&http->drops, config->loop, FM_HTTP_DROP_TIME_NS, fm_client_late),
        fm_linger_init(&http->linger, config->loop),
        fm_loop_timer_set(config->loop, &http->kick, NEVER),
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(results); i++)
        if (results[i] != 0)
            return fm_error_set(error, results[i], "%s", fm_err_meaning(results[i]));
    return 0;
}

int fm_http_new(const struct fm_http_config *config, struct fm_http **ret_http,
                struct fm_error *error)
{
    FM_ASSERT(config->metrics && config->ready && config->connections_max > 0);
    struct fm_http *http = calloc(1, sizeof(*http));
    if (!http)
        return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    http->config = *config;
    if (http->config.bodies_bytes_max == 0)
        http->config.bodies_bytes_max = FM_HTTP_BODIES_BYTES_DEFAULT;
    http->watch = (struct fm_watch){.fd = -1, .on_ready = on_ready};
    fm_timer_init(&http->kick, on_kick);
    fm_list_init(&http->clients);
    fm_list_init(&http->to_stir);
    fm_list_init(&http->waits);
    fm_list_init(&http->free_requests);
    int failed = start_deadlines(http, error);
    if (!failed)
        failed = start_daemon(http, error);
    if (failed) {
        fm_http_free(http);
        return failed;
    }
    *ret_http = http;
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

static struct fm_client *client_at(struct fm_list *link)
{
    return FM_LIST_ENTRY(link, struct fm_client, link);
}

void fm_http_drain(struct fm_http *http)
{
    http->draining = true;
    fm_calls_waits_end(http);
    FM_LIST_FOREACH(&http->clients, link)
    fm_client_drain(client_at(link));
}

/* The library must not be stopped while a request is put aside. */
static void cut_waiting(struct fm_http *http)
{
    FM_LIST_FOREACH(&http->clients, link)
    {
        struct fm_request *request = client_at(link)->request;
        if (request && request->suspended)
            fm_request_cut(request);
    }
}

void fm_http_close(struct fm_http *http)
{
    http->draining = true;
    http->closed = true;
    cut_waiting(http);
    fm_loop_watch_remove(http->config.loop, &http->watch);
    if (http->daemon)
        MHD_stop_daemon(http->daemon);
    http->daemon = NULL;
    http->due = false;
    FM_ASSERT(fm_list_empty(&http->clients) && http->counts.suspended == 0);
}

struct fm_http *fm_http_free(struct fm_http *http)
{
    if (!http)
        return NULL;
    fm_http_close(http);
    while (http->counts.operations > 0) /* they refer to us */
        fm_loop_pass(http->config.loop, UINT64_MAX);
    fm_request_free_all(http);
    fm_linger_done(&http->linger);
    fm_deadlines_done(&http->drops);
    fm_deadlines_done(&http->bodies);
    fm_deadlines_done(&http->heads);
    fm_loop_timer_cancel(http->config.loop, &http->kick);
    free(http);
    return NULL;
}

/* --- connections ------------------------------------------------------------------------------ */

/* Best effort: a fresh socket has room for it, unless the client is gone. */
static void turn_away(struct fm_http *http, int fd)
{
    static const char body[] =
        "{\"type\":\"urn:faasm:problem:busy\",\"title\":\"busy\",\"status\":503,"
        "\"code\":\"busy\",\"detail\":\"too many connections\"}\n";
    char text[512];
    int length = snprintf(text, sizeof(text),
                          "HTTP/1.1 503 Service Unavailable\r\n"
                          "Content-Type: application/problem+json\r\n"
                          "Content-Length: %zu\r\n"
                          "Retry-After: 1\r\n"
                          "Connection: close\r\n"
                          "\r\n"
                          "%s",
                          strlen(body), body);
    (void)send(fd, text, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
    http->counts.responses[5]++;
    fm_linger_take(&http->linger, fd);
}

void fm_http_connection(struct fm_http *http, int fd)
{
    if (http->draining) {
        (void)close(fd);
        return;
    }
    if (http->counts.open >= http->config.connections_max) {
        turn_away(http, fd);
        return;
    }
    unsigned stall_ms = FM_HTTP_STALL_MS;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &stall_ms, sizeof(stall_ms));
    /* The library wants an address to keep; nobody here asks for it. */
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    (void)MHD_add_connection(http->daemon, fd, &nobody, sizeof(nobody)); /* closes it if it fails */
    fm_http_kick(http);
}

bool fm_http_turn(struct fm_http *http)
{
    if (!http->due)
        return false;
    http->due = false;
    if (http->kick.at_ns != NEVER)
        set_kick(http, NEVER);
    http->pass++;
    (void)MHD_run(http->daemon); /* fails only for a daemon with threads of its own */
    fm_client_stir_all(http);
    MHD_UNSIGNED_LONG_LONG wait_ms = 0;
    if (MHD_get_timeout(http->daemon, &wait_ms) == MHD_YES && wait_ms == 0)
        http->due = true;
    return http->due;
}

void fm_http_counts(const struct fm_http *http, struct fm_http_counts *ret_counts)
{
    *ret_counts = http->counts;
}
