/* acceptor.c - one place where connections come in, so that they can be spread evenly.
 *
 * The kernel's own spreading (SO_REUSEPORT) goes by a hash and puts a few long-lived connections on
 * one core as often as not.  Here worker 0 accepts, and hands each socket to the worker with the
 * fewest.  Out of descriptors: it pauses for a moment, since the listening socket would otherwise
 * stay readable and the loop would spin. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd/server.h"
#include "loop/loop.h"

#define ACCEPTS_PER_PASS 64
#define PAUSE_NS (50 * FM_NS_PER_MS)

struct fm_acceptor {
    struct fm_server *server;
    struct fm_loop *loop;
    int listener;
    bool stopped;
    struct fm_watch watch;
    struct fm_timer pause;
};

static uint64_t connections_of(const struct fm_worker *worker)
{
    return worker->handed - atomic_load_explicit(&worker->closed, memory_order_relaxed);
}

static struct fm_worker *least_busy(struct fm_server *server)
{
    struct fm_worker *least = &server->workers[0];
    for (unsigned i = 1; i < server->workers_count; i++)
        if (connections_of(&server->workers[i]) < connections_of(least))
            least = &server->workers[i];
    return least;
}

static void on_resume(struct fm_timer *timer)
{
    struct fm_acceptor *acceptor = FM_CONTAINER_OF(timer, struct fm_acceptor, pause);
    if (!acceptor->stopped && fm_loop_watch_change(acceptor->loop, &acceptor->watch, EPOLLIN) != 0)
        fm_log(FM_LOG_ERROR, "accept_stopped", "reason", strerror(errno), NULL);
}

static void pause_accepting(struct fm_acceptor *acceptor, int errnum)
{
    fm_log(FM_LOG_WARNING, "accept_paused", "reason", strerror(errnum), NULL);
    uint64_t until_ns = fm_clock_monotonic_ns() + PAUSE_NS;
    if (fm_loop_timer_set(acceptor->loop, &acceptor->pause, until_ns) == 0)
        (void)!fm_loop_watch_change(acceptor->loop, &acceptor->watch,
                                    0); /* or it spins: harmless */
}

static void on_connections(struct fm_watch *watch, uint32_t events)
{
    (void)events;
    struct fm_acceptor *acceptor = FM_CONTAINER_OF(watch, struct fm_acceptor, watch);
    for (int i = 0; i < ACCEPTS_PER_PASS; i++) {
        int fd = accept4(acceptor->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            bool lasting =
                errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
            if (lasting)
                pause_accepting(acceptor, errno);
            return; /* none waits, or one that has gone again */
        }
        if (fm_worker_connection(least_busy(acceptor->server), fd) != 0)
            (void)close(fd); /* out of memory: the client sees a reset */
    }
}

int fm_acceptor_new(struct fm_server *server, int listener, struct fm_acceptor **ret_acceptor)
{
    struct fm_acceptor *acceptor = calloc(1, sizeof(*acceptor));
    if (!acceptor)
        return FM_ERR_NOMEM;
    acceptor->server = server;
    acceptor->loop = server->workers[0].loop;
    acceptor->listener = listener;
    acceptor->watch.on_ready = on_connections;
    fm_timer_init(&acceptor->pause, on_resume);
    int failed = fm_loop_watch_add(acceptor->loop, &acceptor->watch, listener, EPOLLIN);
    if (failed) {
        free(acceptor);
        return failed;
    }
    *ret_acceptor = acceptor;
    return 0;
}

void fm_acceptor_stop(struct fm_acceptor *acceptor)
{
    if (!acceptor || acceptor->stopped)
        return;
    acceptor->stopped = true;
    fm_loop_timer_cancel(acceptor->loop, &acceptor->pause);
    fm_loop_watch_remove(acceptor->loop, &acceptor->watch);
}

struct fm_acceptor *fm_acceptor_free(struct fm_acceptor *acceptor)
{
    fm_acceptor_stop(acceptor);
    free(acceptor);
    return NULL;
}
