/* loop.c - one thread's event loop.
 *
 *      pass:   wait -> descriptors -> mailbox -> timers         then the owner's own work
 *
 * A thin layer over epoll, for what epoll leaves open: who owns what, and what may be taken away
 * while events are being handed out.  Discarded: a library (libuv, libev).  They bring their own
 * idea of threads, timers and handles that die later, and we would use a tenth of them.
 *
 * Stale events.  One wait returns up to EVENTS_MAX events, each with a pointer to its watch.  The
 * callback of the first may remove, and free, the watch of the last:
 *
 *      events:   done | done | now | to do | to do | to do
 *                                    ^ events_next         ^ events_count
 *
 * So removing a watch looks through what is still to do and strikes its event out; changing a watch
 * strikes out what it no longer asks for.  Each watch is there at most once.  Discarded: putting
 * dead watches on a list until the pass ends, because then they could not be freed at once; and a
 * table by descriptor with generation numbers, because it needs memory where striking out needs
 * none.
 *
 * The bound on the batch keeps a pass short, so that timers and messages are not kept waiting by
 * ten thousand busy connections.  What did not fit comes first in the next pass: the kernel hands
 * ready descriptors out in turn.  The mailbox would have to wait for its turn there too, so after a
 * full batch it is looked at in any case.
 *
 * Waiting takes nanoseconds (epoll_pwait2, Linux 5.11).  On an older kernel, or where a filter
 * hides the call, it is epoll_wait with the time rounded up to milliseconds: timers are late rather
 * than early.
 *
 * Lifetime: an object of its worker.  Watches and timers belong to their owners; freeing the loop
 * does not touch those that are still there.  Allocates in fm_loop_new() and when the heap of
 * timers grows.
 *
 * Threading: everything on the loop's own thread, except posting to the mailbox. */
#include "loop/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "loop/mailbox_private.h"
#include "loop/timer_heap.h"

enum {
    EVENTS_MAX = 256, /* of one pass */
};

struct fm_loop {
    int epoll_fd;
    bool coarse;  /* no epoll_pwait2 here: wait in milliseconds */
    bool passing; /* inside fm_loop_pass() */
    bool mail;    /* the mailbox was reported ready in this pass */
    uint64_t now_ns;
    struct fm_timer_heap timers;
    struct fm_watch mail_watch;
    int events_count; /* of the last wait */
    int events_next;  /* the first that is still to be handed out */
    struct epoll_event events[EVENTS_MAX];
    /* Written by other threads: kept apart from what this thread writes all the time. */
    struct fm_mailbox mailbox;
};

/* Not fm_err_from_errno(): ENOSPC, say, is about watches here and not about storage. */
static int error_of(int errnum)
{
    return errnum == ENOMEM ? FM_ERR_NOMEM : FM_ERR_IO;
}

static void on_mail_ready(struct fm_watch *watch, uint32_t events)
{
    (void)events; /* an eventfd is readable, nothing else */
    FM_CONTAINER_OF(watch, struct fm_loop, mail_watch)->mail = true;
}

int fm_loop_new(struct fm_loop **ret_loop)
{
    struct fm_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return FM_ERR_NOMEM;
    loop->now_ns = fm_clock_monotonic_ns();
    loop->mailbox.event_fd = -1;
    loop->mail_watch = (struct fm_watch){.fd = -1, .on_ready = on_mail_ready};
    fm_timer_heap_init(&loop->timers);

    int error = 0;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0)
        error = error_of(errno);
    if (!error)
        error = fm_mailbox_init(&loop->mailbox);
    if (!error)
        error = fm_loop_watch_add(loop, &loop->mail_watch, loop->mailbox.event_fd, EPOLLIN);
    if (error) {
        fm_loop_free(loop);
        return error;
    }
    *ret_loop = loop;
    return 0;
}

struct fm_loop *fm_loop_free(struct fm_loop *loop)
{
    if (!loop)
        return NULL;
    FM_ASSERT(!loop->passing);
    fm_mailbox_done(&loop->mailbox);
    fm_timer_heap_done(&loop->timers);
    if (loop->epoll_fd >= 0)
        (void)close(loop->epoll_fd); /* holds no data that could be lost */
    free(loop);
    return NULL;
}

struct fm_mailbox *fm_loop_mailbox(struct fm_loop *loop)
{
    return &loop->mailbox;
}

uint64_t fm_loop_now_ns(const struct fm_loop *loop)
{
    return loop->now_ns;
}

/* --- descriptors ------------------------------------------------------------------------------ */

int fm_loop_watch_add(struct fm_loop *loop, struct fm_watch *watch, int fd, uint32_t events)
{
    FM_ASSERT(watch->on_ready);
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        return error_of(errno);
    watch->fd = fd;
    return 0;
}

/* Of the events that are still to be handed out, `watch` gets only those in `events`. */
static void strike_out(struct fm_loop *loop, const struct fm_watch *watch, uint32_t events)
{
    for (int i = loop->events_next; i < loop->events_count; i++) {
        struct epoll_event *event = &loop->events[i];
        if (event->data.ptr != watch)
            continue;
        event->events &= events;
        if (!event->events)
            event->data.ptr = NULL;
        return;
    }
}

int fm_loop_watch_change(struct fm_loop *loop, struct fm_watch *watch, uint32_t events)
{
    FM_ASSERT(watch->fd >= 0);
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0)
        return error_of(errno);
    strike_out(loop, watch, events | EPOLLERR | EPOLLHUP); /* the kernel always reports these two */
    return 0;
}

void fm_loop_watch_remove(struct fm_loop *loop, struct fm_watch *watch)
{
    if (watch->fd < 0)
        return;
    /* Fails only for a descriptor that was closed too early.  Then its number may by now be another
     * one's, and the kernel may still hold the pointer to this watch: there is no way to go on. */
    int result = epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    FM_ASSERT(result == 0);
    strike_out(loop, watch, 0);
    watch->fd = -1;
}

static void hand_out_events(struct fm_loop *loop)
{
    while (loop->events_next < loop->events_count) {
        const struct epoll_event *event = &loop->events[loop->events_next];
        struct fm_watch *watch = event->data.ptr;
        loop->events_next += 1;
        if (watch)
            watch->on_ready(watch, event->events); /* may free the watch */
    }
}

/* --- timers ----------------------------------------------------------------------------------- */

int fm_loop_timer_set(struct fm_loop *loop, struct fm_timer *timer, uint64_t at_ns)
{
    return fm_timer_heap_set(&loop->timers, timer, at_ns);
}

void fm_loop_timer_cancel(struct fm_loop *loop, struct fm_timer *timer)
{
    fm_timer_heap_cancel(&loop->timers, timer);
}

/* --- the pass --------------------------------------------------------------------------------- */

/* Both waits: `wait_ns` UINT64_MAX is for ever; -1 with errno on failure. */
static int wait_fine(struct fm_loop *loop, uint64_t wait_ns)
{
    struct timespec time = {
        .tv_sec = (time_t)(wait_ns / FM_NS_PER_S),
        .tv_nsec = (long)(wait_ns % FM_NS_PER_S),
    };
    return epoll_pwait2(loop->epoll_fd, loop->events, EVENTS_MAX,
                        wait_ns == UINT64_MAX ? NULL : &time, NULL);
}

static int wait_coarse(struct fm_loop *loop, uint64_t wait_ns)
{
    uint64_t wait_ms = wait_ns / FM_NS_PER_MS + (wait_ns % FM_NS_PER_MS != 0);
    int timeout = wait_ns == UINT64_MAX ? -1 : (int)fm_min_u64(wait_ms, INT_MAX);
    return epoll_wait(loop->epoll_fd, loop->events, EVENTS_MAX, timeout);
}

/* 0: nothing is ready, or a signal came; whether the time is over is not said. */
static int wait_once(struct fm_loop *loop, uint64_t wait_ns)
{
    int count = -1;
    if (!loop->coarse) {
        count = wait_fine(loop, wait_ns);
        loop->coarse = count < 0 && (errno == ENOSYS || errno == EPERM); /* EPERM: from a filter */
    }
    if (loop->coarse)
        count = wait_coarse(loop, wait_ns);
    FM_ASSERT(count >= 0 || errno == EINTR);
    return count >= 0 ? count : 0;
}

/* Until something is ready or the clock says `until_ns`. */
static void wait_for_events(struct fm_loop *loop, uint64_t until_ns)
{
    loop->events_next = 0;
    loop->events_count = 0;
    uint64_t now_ns = until_ns == 0 ? 0 : fm_clock_monotonic_ns();
    do {
        uint64_t wait_ns = now_ns < until_ns ? until_ns - now_ns : 0;
        if (until_ns == UINT64_MAX)
            wait_ns = UINT64_MAX;
        loop->events_count = wait_once(loop, wait_ns);
        now_ns = fm_clock_monotonic_ns();
    } while (loop->events_count == 0 && now_ns < until_ns);
    loop->now_ns = now_ns;
}

void fm_loop_pass(struct fm_loop *loop, uint64_t wait_until_ns)
{
    FM_ASSERT(!loop->passing);
    loop->passing = true;
    loop->mail = false;

    wait_for_events(loop, fm_min_u64(wait_until_ns, fm_timer_heap_next_ns(&loop->timers)));
    bool full = loop->events_count == EVENTS_MAX;
    hand_out_events(loop);
    if (loop->mail || full)
        fm_mailbox_receive(&loop->mailbox);
    fm_timer_heap_run(&loop->timers, loop->now_ns);

    loop->passing = false;
}
