/* deadlines.c - a queue of deadlines and one timer that runs behind it.
 *
 * Nearly every deadline is cleared long before its time, once or twice a request, so setting and
 * clearing must be a few pointers and no more.  The timer is therefore not moved when its first
 * deadline is cleared: it fires at the old time, finds nothing due, and goes to the new first. That
 * is at most one idle wake-up per period, and none at all when there is no connection.
 *
 * Discarded: a timer for each connection in the loop's heap (a heap operation for each of them),
 * and the library's own timeout, which starts again with every byte and so never ends a slow
 * client.
 *
 * The timer is armed all the time, at the end of days when it has nothing to do: moving an armed
 * timer needs no memory, so only the start can fail.
 *
 * Threading: the loop's own. */
#include "http/deadlines.h"

#include "base/error.h"

#define NEVER UINT64_MAX

static void move_timer(struct fm_deadlines *deadlines, uint64_t at_ns)
{
    int failed = fm_loop_timer_set(deadlines->loop, &deadlines->timer, at_ns);
    FM_ASSERT(!failed); /* armed, or fired a moment ago: its place is still there */
}

static uint64_t first_ns(const struct fm_deadlines *deadlines)
{
    if (fm_list_empty(&deadlines->queue))
        return NEVER;
    return FM_LIST_ENTRY(deadlines->queue.next, struct fm_deadline, link)->at_ns;
}

static void on_time(struct fm_timer *timer)
{
    struct fm_deadlines *deadlines = FM_CONTAINER_OF(timer, struct fm_deadlines, timer);
    uint64_t now_ns = fm_loop_now_ns(deadlines->loop);
    move_timer(deadlines, NEVER);
    while (first_ns(deadlines) <= now_ns) {
        struct fm_list *link = fm_list_pop_front(&deadlines->queue);
        deadlines->on_late(FM_LIST_ENTRY(link, struct fm_deadline, link));
    }
    move_timer(deadlines, first_ns(deadlines));
}

int fm_deadlines_init(struct fm_deadlines *deadlines, struct fm_loop *loop, uint64_t after_ns,
                      void (*on_late)(struct fm_deadline *deadline))
{
    deadlines->loop = loop;
    deadlines->after_ns = after_ns;
    deadlines->on_late = on_late;
    fm_list_init(&deadlines->queue);
    fm_timer_init(&deadlines->timer, on_time);
    return fm_loop_timer_set(loop, &deadlines->timer, NEVER);
}

void fm_deadlines_done(struct fm_deadlines *deadlines)
{
    FM_ASSERT(fm_list_empty(&deadlines->queue));
    fm_loop_timer_cancel(deadlines->loop, &deadlines->timer);
}

void fm_deadline_init(struct fm_deadline *deadline)
{
    fm_list_init(&deadline->link);
    deadline->at_ns = 0;
}

void fm_deadline_set(struct fm_deadlines *deadlines, struct fm_deadline *deadline)
{
    fm_list_remove(&deadline->link);
    deadline->at_ns = fm_loop_now_ns(deadlines->loop) + deadlines->after_ns;
    fm_list_push_back(&deadlines->queue, &deadline->link);
    if (deadlines->timer.at_ns > deadline->at_ns)
        move_timer(deadlines, deadline->at_ns);
}

void fm_deadline_clear(struct fm_deadline *deadline)
{
    fm_list_remove(&deadline->link);
}
