/* loop.h - one thread's event loop: descriptors (epoll), timers, a mailbox.
 *
 * A worker owns one loop and everything on it.  All functions are for the loop's own thread, except
 * fm_mailbox_post() (mailbox.h).  One pass is: wait, descriptors, mailbox, timers; then the owner
 * does its own work (its run queue) and passes again. */
#pragma once

#include "base/base.h"
#include "base/list.h"

struct fm_loop; /* opaque */
struct fm_mailbox;

FM_MUST_CHECK int fm_loop_new(struct fm_loop **ret_loop); /* FM_ERR_NOMEM, FM_ERR_IO (EMFILE...) */
struct fm_loop *fm_loop_free(struct fm_loop *loop);       /* NULL is fine; returns NULL */

/* The mailbox of this loop, for other threads to post to.  Lives as long as the loop. */
struct fm_mailbox *fm_loop_mailbox(struct fm_loop *loop);

/* One pass.  Waits for an event, until the next timer, or until `wait_until_ns` (monotonic; 0: does
 * not wait at all, UINT64_MAX: no bound). */
void fm_loop_pass(struct fm_loop *loop, uint64_t wait_until_ns);

/* The monotonic time at which the last wait ended: good for timers, cheaper than the clock. */
uint64_t fm_loop_now_ns(const struct fm_loop *loop);

/* --- descriptors ------------------------------------------------------------------------------ */

/* Embedded in its owner, who keeps it until fm_loop_watch_remove().  `events` is epoll's mask. */
struct fm_watch {
    int fd; /* -1: not watched */
    void (*on_ready)(struct fm_watch *watch, uint32_t events);
};

/* FM_ERR_NOMEM, FM_ERR_IO.  The descriptor stays the caller's; remove it before closing it. */
FM_MUST_CHECK int fm_loop_watch_add(struct fm_loop *loop, struct fm_watch *watch, int fd,
                                    uint32_t events);
FM_MUST_CHECK int fm_loop_watch_change(struct fm_loop *loop, struct fm_watch *watch,
                                       uint32_t events);

/* Safe from inside any callback of the same pass: a removed watch is not called any more, and its
 * owner may free it at once. */
void fm_loop_watch_remove(struct fm_loop *loop, struct fm_watch *watch);

/* --- timers ----------------------------------------------------------------------------------- */

/* Embedded in its owner.  Clear with fm_timer_init() before first use. */
struct fm_timer {
    uint64_t at_ns; /* monotonic */
    size_t index;   /* place in the heap; FM_TIMER_IDLE when not armed */
    void (*on_time)(struct fm_timer *timer);
};

#define FM_TIMER_IDLE SIZE_MAX

void fm_timer_init(struct fm_timer *timer, void (*on_time)(struct fm_timer *timer));

/* Arms, or moves an armed timer.  Fires once, not before its time.  FM_ERR_NOMEM (a timer that was
 * armed stays armed at its old time). */
FM_MUST_CHECK int fm_loop_timer_set(struct fm_loop *loop, struct fm_timer *timer, uint64_t at_ns);
void fm_loop_timer_cancel(struct fm_loop *loop, struct fm_timer *timer); /* idle is fine */
bool fm_timer_armed(const struct fm_timer *timer);
