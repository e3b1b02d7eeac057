/* timer_heap.h - the timers of one loop, the earliest first.  Private to loop/ and its tests. */
#pragma once

#include "loop/loop.h"

/* The time is kept beside the pointer, so that comparing does not touch the timers themselves. */
struct fm_timer_slot {
    uint64_t at_ns; /* timer->at_ns, or heap->floor_ns if that was later */
    struct fm_timer *timer;
};

struct fm_timer_heap {
    struct fm_timer_slot *slots; /* NULL while capacity is 0 */
    size_t count;
    size_t capacity;
    uint64_t floor_ns; /* nothing is set to fire before this; 0 except while timers fire */
};

void fm_timer_heap_init(struct fm_timer_heap *heap); /* allocates nothing yet */
void fm_timer_heap_done(struct fm_timer_heap *heap); /* the timers are not touched */

/* As fm_loop_timer_set() and fm_loop_timer_cancel(). */
FM_MUST_CHECK int fm_timer_heap_set(struct fm_timer_heap *heap, struct fm_timer *timer,
                                    uint64_t at_ns);
void fm_timer_heap_cancel(struct fm_timer_heap *heap, struct fm_timer *timer);

/* When the earliest timer is due; UINT64_MAX when there is none. */
uint64_t fm_timer_heap_next_ns(const struct fm_timer_heap *heap);

/* Fires what is due at `now_ns`, in the order of time. */
void fm_timer_heap_run(struct fm_timer_heap *heap, uint64_t now_ns);
