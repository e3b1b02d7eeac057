/* swap_guard.c - page scanning is only used while nothing can be swapped out (engine/scan.c).
 *
 * The kernel lists swap areas in /proc/swaps and wakes whoever polls it (POLLPRI) when one appears
 * or goes.  While there is one, scanning may still be used if this process's own memory control
 * group forbids swap (memory.swap.max = 0); that can be changed without notice, so then it is
 * looked at once a second.  When in doubt scanning is off: calls get slower, nothing leaks. */
#include "cmd/swap_guard.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "loop/loop.h"

#define RECHECK_NS FM_NS_PER_S

struct fm_swap_guard {
    struct fm_loop *loop;
    struct fm_engine *engine;
    int fd; /* /proc/swaps, kept open: it is what the kernel wakes */
    struct fm_watch watch;
    struct fm_timer timer;
};

/* One heading, then a line per swap area. */
static bool swap_exists(const struct fm_swap_guard *guard)
{
    char text[4096];
    ssize_t got = pread(guard->fd, text, sizeof(text) - 1, 0);
    if (got < 0)
        return true;
    text[got] = '\0';
    const char *heading_end = strchr(text, '\n');
    return heading_end && heading_end[1] != '\0';
}

/* No page may go to swap, and none is there from before. */
static bool cgroup_forbids_swap(void)
{
    struct fm_cgroup group;
    uint64_t most;
    uint64_t now;
    return fm_cgroup_find("", &group) == 0 &&
           fm_cgroup_number(&group, "memory.swap.max", &most) == 0 && most == 0 &&
           fm_cgroup_number(&group, "memory.swap.current", &now) == 0 && now == 0;
}

static void look(struct fm_swap_guard *guard)
{
    bool swap = swap_exists(guard);
    bool safe = !swap || cgroup_forbids_swap();
    bool before = fm_engine_page_scanning(guard->engine);
    if (safe != before && fm_engine_page_scanning_set(guard->engine, safe))
        fm_log(FM_LOG_INFO, safe ? "page_scanning_on" : "page_scanning_off", "reason",
               safe ? "memory of this server cannot be swapped" : "there is swap", NULL);
    if (swap && safe)
        /* Without memory for a timer there is no second look: then rather be slow. */
        if (fm_loop_timer_set(guard->loop, &guard->timer, fm_clock_monotonic_ns() + RECHECK_NS) !=
            0)
            (void)fm_engine_page_scanning_set(guard->engine, false);
}

static void on_change(struct fm_watch *watch, uint32_t events)
{
    (void)events;
    look(FM_CONTAINER_OF(watch, struct fm_swap_guard, watch));
}

static void on_time(struct fm_timer *timer)
{
    look(FM_CONTAINER_OF(timer, struct fm_swap_guard, timer));
}

int fm_swap_guard_new(struct fm_loop *loop, struct fm_engine *engine, const char *swaps_path,
                      struct fm_swap_guard **ret_guard)
{
    if (!fm_engine_page_scanning(engine)) { /* not built in: nothing to guard */
        *ret_guard = NULL;
        return 0;
    }
    struct fm_swap_guard *guard = calloc(1, sizeof(*guard));
    if (!guard)
        return FM_ERR_NOMEM;
    guard->loop = loop;
    guard->engine = engine;
    fm_timer_init(&guard->timer, on_time);
    guard->watch.on_ready = on_change;
    guard->fd = open(swaps_path, O_RDONLY | O_CLOEXEC);
    int failed = guard->fd < 0 ? FM_ERR_IO : 0;
    if (!failed)
        failed = fm_loop_watch_add(loop, &guard->watch, guard->fd, EPOLLPRI | EPOLLET);
    if (failed) { /* cannot tell: then rather be slow */
        (void)fm_engine_page_scanning_set(engine, false);
        fm_log(FM_LOG_WARNING, "page_scanning_off", "reason", "cannot watch swap areas", NULL);
        if (guard->fd >= 0)
            (void)close(guard->fd); /* only read */
        free(guard);
        *ret_guard = NULL;
        return 0;
    }
    look(guard);
    *ret_guard = guard;
    return 0;
}

struct fm_swap_guard *fm_swap_guard_free(struct fm_swap_guard *guard)
{
    if (!guard)
        return NULL;
    fm_loop_timer_cancel(guard->loop, &guard->timer);
    fm_loop_watch_remove(guard->loop, &guard->watch);
    (void)close(guard->fd); /* only read */
    free(guard);
    return NULL;
}
