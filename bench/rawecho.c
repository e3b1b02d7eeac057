/* rawecho.c - the limit to compare with: the HTTP library alone, echoing a body in plain C.
 *
 *      bench_rawecho [PORT [THREADS [BYTES]]]    0: any port, one thread a core, as below
 *
 * BYTES is a connection's memory.  The library clears it after each request, so its default suits
 * small bodies; large ones come in faster with more.  A reference must be given what suits it.
 *
 * What the server does for a body is done here too: a buffer of the announced size, one copy into
 * it, the answer sent from where it lies, the buffer kept for the next request.  What makes a
 * platform is not: no routes, no limits beyond the body's size, no metrics, no function.
 *
 * Each thread has a daemon of its own on epoll; connections are dealt out in turn by the thread
 * that accepts them.  SO_REUSEPORT would be shorter, but spreads a few long-lived connections
 * unevenly by its hash, and a reference that is slow by bad luck flatters whoever is compared.
 *
 * Lifetime: until it is killed.  Threading: a request belongs to its daemon's thread. */
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"

#define BODY_BYTES_MAX (16 * FM_MIB)
#define KEEP_BYTES (64 * FM_KIB)               /* of a free body's buffer */
#define CONNECTION_BYTES_DEFAULT (32 * FM_KIB) /* the library's */
#define CONNECTIONS_MAX 4096u
#define THREADS_MAX 256
#define BACKLOG 4096

struct body {
    struct body *next; /* in the list of free ones */
    uint8_t *data;
    size_t length;
    size_t size;
};

struct thread {
    struct MHD_Daemon *daemon;
    struct body *free_bodies; /* only this thread's callbacks touch it */
};

static _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "rawecho: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* --- bodies
 * --------------------------------------------------------------------------------------- */

static struct body *body_new(struct thread *thread)
{
    struct body *body = thread->free_bodies;
    if (!body)
        return calloc(1, sizeof(*body));
    thread->free_bodies = body->next;
    body->length = 0;
    return body;
}

static void body_free(struct thread *thread, struct body *body)
{
    if (body->size > KEEP_BYTES) {
        free(body->data);
        body->data = NULL;
        body->size = 0;
    }
    body->next = thread->free_bodies;
    thread->free_bodies = body;
}

static bool body_reserve(struct body *body, size_t size)
{
    if (size <= body->size)
        return true;
    uint8_t *data = size <= BODY_BYTES_MAX ? realloc(body->data, size) : NULL;
    if (!data)
        return false;
    body->data = data;
    body->size = size;
    return true;
}

static size_t announced_bytes(struct MHD_Connection *connection)
{
    const char *text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    return text ? (size_t)strtoull(text, NULL, 10) : 0;
}

static bool body_append(struct body *body, struct MHD_Connection *connection, const char *piece,
                        size_t bytes)
{
    if (body->length == 0 && !body_reserve(body, announced_bytes(connection)))
        return false;
    if (!body_reserve(body, body->length + bytes))
        return false;
    memcpy(body->data + body->length, piece, bytes);
    body->length += bytes;
    return true;
}

/* --- the library's callbacks
 * ---------------------------------------------------------------------- */

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *piece,
                                  size_t *piece_bytes, void **context)
{
    (void)url;
    (void)method;
    (void)version;
    struct body *body = *context;
    if (!body) {
        *context = body_new(data);
        return *context ? MHD_YES : MHD_NO;
    }
    if (*piece_bytes > 0) {
        bool kept = body_append(body, connection, piece, *piece_bytes);
        *piece_bytes = 0;
        return kept ? MHD_YES : MHD_NO;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->length, body->data, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    enum MHD_Result result =
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream");
    if (result == MHD_YES)
        result = MHD_queue_response(connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

static void on_completed(void *data, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    (void)connection;
    (void)code;
    if (*context)
        body_free(data, *context);
    *context = NULL;
}

/* --- start
 * ---------------------------------------------------------------------------------------- */

static int listen_at(uint16_t port)
{
    const int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* Accepted sockets inherit TCP_NODELAY. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        fail("cannot listen");
    (void)fprintf(stderr, "info listening address=127.0.0.1:%d\n", ntohs(address.sin_port));
    return fd;
}

static void start(struct thread *thread, size_t connection_bytes)
{
    unsigned flags = (unsigned)MHD_USE_EPOLL_INTERNAL_THREAD | (unsigned)MHD_USE_NO_LISTEN_SOCKET |
                     (unsigned)MHD_USE_ITC | (unsigned)MHD_USE_TURBO;
    thread->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, thread,             /* */
                                      MHD_OPTION_NOTIFY_COMPLETED, on_completed, thread,    /* */
                                      MHD_OPTION_CONNECTION_MEMORY_LIMIT, connection_bytes, /* */
                                      MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_END);
    if (!thread->daemon)
        fail("cannot start the HTTP library");
}

int main(int argc, char **argv)
{
    static struct thread threads[THREADS_MAX];
    long port = argc > 1 ? strtol(argv[1], NULL, 10) : 0;
    long count = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    long bytes = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    if (count == 0)
        count = sysconf(_SC_NPROCESSORS_ONLN);
    if (bytes == 0)
        bytes = (long)CONNECTION_BYTES_DEFAULT;
    if (argc > 4 || bytes < 0 || port < 0 || port > UINT16_MAX || count < 1 ||
        count > THREADS_MAX) {
        (void)fprintf(stderr, "usage: bench_rawecho [PORT [THREADS [BYTES]]]\n");
        return 64;
    }
    for (long i = 0; i < count; i++)
        start(&threads[i], (size_t)bytes);
    int listener = listen_at((uint16_t)port);
    for (long next = 0;; next = (next + 1) % count) {
        struct sockaddr_in address = {0};
        socklen_t length = sizeof(address);
        int fd =
            accept4(listener, (struct sockaddr *)&address, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && errno != EINTR && errno != ECONNABORTED)
            fail("cannot accept");
        if (fd >= 0) /* when it fails, the library has closed the socket */
            (void)MHD_add_connection(threads[next].daemon, fd, (struct sockaddr *)&address, length);
    }
}
