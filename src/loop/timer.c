/* timer.c - the timers of one loop, in a heap.
 *
 * Every call has a deadline, and nearly every deadline is cancelled before its time, so setting and
 * cancelling must both be cheap and the memory must not fill up with dead timers.  Hence a heap
 * that holds pointers to the timers, while each timer knows its place in the heap:
 *
 *      slots:  0 | 1  2  3  4 | 5 .. 8 | 9 .. 12 | ...       the children of i are 4i+1 .. 4i+4
 *              ^
 *              the earliest; no child is earlier than its parent
 *
 * With four children a node the heap is half as deep as a binary one, and the children that are
 * compared lie side by side.  Discarded: a timing wheel.  It sets in constant time, but rounds to
 * its tick, and finding out how long the loop may sleep means searching it.
 *
 * Timers that are due at the same time fire in no particular order.
 *
 * No starvation: a timer that is set while timers fire is put after the present moment, whatever
 * time was asked for.  So a callback that arms itself again for "now" waits for the next pass,
 * where descriptors and messages get their turn first.
 *
 * Lifetime: a timer belongs to its owner, who cancels it before freeing it.  It is out of the heap
 * before its callback runs, so the callback may free it, set it again, or cancel any other.
 *
 * Threading: the loop's own thread only. */
#include <stdlib.h>

#include "base/error.h"
#include "loop/timer_heap.h"

enum {
    CHILDREN = 4,
    CAPACITY_FIRST = 64,
};

void fm_timer_init(struct fm_timer *timer, void (*on_time)(struct fm_timer *timer))
{
    timer->at_ns = 0;
    timer->index = FM_TIMER_IDLE;
    timer->on_time = on_time;
}

bool fm_timer_armed(const struct fm_timer *timer)
{
    return timer->index != FM_TIMER_IDLE;
}

void fm_timer_heap_init(struct fm_timer_heap *heap)
{
    *heap = (struct fm_timer_heap){0};
}

void fm_timer_heap_done(struct fm_timer_heap *heap)
{
    free(heap->slots);
    *heap = (struct fm_timer_heap){0};
}

static void place(struct fm_timer_heap *heap, size_t index, struct fm_timer_slot slot)
{
    heap->slots[index] = slot;
    slot.timer->index = index;
}

static void sift_up(struct fm_timer_heap *heap, size_t index, struct fm_timer_slot slot)
{
    while (index > 0) {
        size_t parent = (index - 1) / CHILDREN;
        if (heap->slots[parent].at_ns <= slot.at_ns)
            break;
        place(heap, index, heap->slots[parent]);
        index = parent;
    }
    place(heap, index, slot);
}

static void sift_down(struct fm_timer_heap *heap, size_t index, struct fm_timer_slot slot)
{
    for (;;) {
        size_t least = index * CHILDREN + 1;
        size_t end = fm_min_u64(least + CHILDREN, heap->count);
        if (least >= heap->count)
            break;
        for (size_t child = least + 1; child < end; child++)
            if (heap->slots[child].at_ns < heap->slots[least].at_ns)
                least = child;
        if (heap->slots[least].at_ns >= slot.at_ns)
            break;
        place(heap, index, heap->slots[least]);
        index = least;
    }
    place(heap, index, slot);
}

/* Puts `slot` at the hole `index` and moves it to where its time belongs. */
static void settle(struct fm_timer_heap *heap, size_t index, struct fm_timer_slot slot)
{
    if (index > 0 && heap->slots[(index - 1) / CHILDREN].at_ns > slot.at_ns)
        sift_up(heap, index, slot);
    else
        sift_down(heap, index, slot);
}

/* A timer that was never initialised, or that belongs to another loop, ends here. */
static void check_own(const struct fm_timer_heap *heap, const struct fm_timer *timer)
{
    FM_ASSERT(timer->index < heap->count && heap->slots[timer->index].timer == timer);
}

static int reserve_one(struct fm_timer_heap *heap)
{
    if (heap->count < heap->capacity)
        return 0;
    if (heap->capacity > SIZE_MAX / 2 / sizeof(*heap->slots))
        return FM_ERR_NOMEM;
    size_t capacity = heap->capacity ? heap->capacity * 2 : CAPACITY_FIRST;
    struct fm_timer_slot *slots = realloc(heap->slots, capacity * sizeof(*slots));
    if (!slots)
        return FM_ERR_NOMEM;
    heap->slots = slots;
    heap->capacity = capacity;
    return 0;
}

int fm_timer_heap_set(struct fm_timer_heap *heap, struct fm_timer *timer, uint64_t at_ns)
{
    struct fm_timer_slot slot = {.at_ns = fm_max_u64(at_ns, heap->floor_ns), .timer = timer};
    if (fm_timer_armed(timer)) {
        check_own(heap, timer);
        settle(heap, timer->index, slot);
    } else {
        int error = reserve_one(heap);
        if (error)
            return error;
        heap->count += 1;
        sift_up(heap, heap->count - 1, slot);
    }
    timer->at_ns = at_ns;
    return 0;
}

void fm_timer_heap_cancel(struct fm_timer_heap *heap, struct fm_timer *timer)
{
    if (!fm_timer_armed(timer))
        return;
    check_own(heap, timer);
    size_t hole = timer->index;
    timer->index = FM_TIMER_IDLE;
    heap->count -= 1;
    if (hole < heap->count)
        settle(heap, hole, heap->slots[heap->count]);
}

uint64_t fm_timer_heap_next_ns(const struct fm_timer_heap *heap)
{
    return heap->count > 0 ? heap->slots[0].at_ns : UINT64_MAX;
}

void fm_timer_heap_run(struct fm_timer_heap *heap, uint64_t now_ns)
{
    heap->floor_ns = now_ns + 1;
    while (fm_timer_heap_next_ns(heap) <= now_ns) {
        struct fm_timer *timer = heap->slots[0].timer;
        fm_timer_heap_cancel(heap, timer);
        timer->on_time(timer);
    }
    heap->floor_ns = 0;
}
