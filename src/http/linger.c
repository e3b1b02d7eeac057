/* linger.c - half-closed sockets on their last metres.
 *
 *      shutdown(WR) --> read and drop --> the client's FIN, a reset, 256 MiB, or 5 s --> close
 *
 * Bytes are dropped by the kernel (MSG_TRUNC on TCP), without a buffer of ours, so the bound on
 * them is generous: many clients look for an answer only when they have sent everything.
 *
 * Everything here is best effort: when memory or the table is full the socket is closed at once,
 * and the worst that happens is what would have happened without it.
 *
 * Discarded: SO_LINGER, which is about our unsent bytes and not about the client's.
 *
 * Lifetime: one object per socket, from the heap, until it is closed.  Threading: the loop's own.
 */
#include "http/linger.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

#define DROP_AT_ONCE (256 * FM_KIB) /* then others get their turn */

struct socket {
    struct fm_linger *linger;
    struct fm_watch watch;
    struct fm_deadline deadline;
    struct fm_list link;
    uint64_t bytes; /* dropped so far */
};

static void end(struct socket *socket)
{
    int fd = socket->watch.fd;
    fm_loop_watch_remove(socket->linger->loop, &socket->watch);
    fm_deadline_clear(&socket->deadline);
    fm_list_remove(&socket->link);
    socket->linger->sockets_count--;
    (void)close(fd); /* a socket: nothing of it can be lost any more */
    free(socket);
}

static void on_late(struct fm_deadline *deadline)
{
    end(FM_CONTAINER_OF(deadline, struct socket, deadline));
}

static void on_ready(struct fm_watch *watch, uint32_t events)
{
    (void)events; /* recv() tells the same, and more exactly */
    struct socket *socket = FM_CONTAINER_OF(watch, struct socket, watch);
    /* With MSG_TRUNC the kernel throws the bytes away and writes none, which the C library's recv()
     * does not say to the sanitizers; so the system call itself. */
    ssize_t got = (ssize_t)syscall(SYS_recvfrom, watch->fd, NULL, (size_t)DROP_AT_ONCE,
                                   MSG_TRUNC | MSG_DONTWAIT, NULL, NULL);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0)
        socket->bytes += (uint64_t)got;
    if (got <= 0 || socket->bytes > FM_LINGER_BYTES_MAX)
        end(socket);
}

int fm_linger_init(struct fm_linger *linger, struct fm_loop *loop)
{
    linger->loop = loop;
    linger->sockets_count = 0;
    fm_list_init(&linger->sockets);
    return fm_deadlines_init(&linger->deadlines, loop, FM_LINGER_TIME_NS, on_late);
}

void fm_linger_done(struct fm_linger *linger)
{
    FM_LIST_FOREACH(&linger->sockets, link)
    end(FM_LIST_ENTRY(link, struct socket, link));
    fm_deadlines_done(&linger->deadlines);
}

void fm_linger_take(struct fm_linger *linger, int fd)
{
    (void)shutdown(fd, SHUT_WR); /* fails only when the client is gone already */
    struct socket *socket =
        linger->sockets_count < FM_LINGER_SOCKETS_MAX ? calloc(1, sizeof(*socket)) : NULL;
    if (!socket) {
        (void)close(fd);
        return;
    }
    socket->linger = linger;
    socket->watch = (struct fm_watch){.fd = -1, .on_ready = on_ready};
    fm_deadline_init(&socket->deadline);
    if (fm_loop_watch_add(linger->loop, &socket->watch, fd, EPOLLIN) != 0) {
        free(socket);
        (void)close(fd);
        return;
    }
    fm_deadline_set(&linger->deadlines, &socket->deadline);
    fm_list_push_back(&linger->sockets, &socket->link);
    linger->sockets_count++;
}
