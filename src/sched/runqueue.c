/* runqueue.c - heaps of users and lists of tasks; the mechanism below a policy.
 *
 * Binary heaps of pointers, each user knowing its places: ten thousand users with one call each
 * cost fourteen comparisons a turn.  Discarded: a sorted list (linear), a tree of nodes (no faster
 * at these sizes, and more code). */
#include "sched/runqueue.h"

#include <stdlib.h>

#include "base/error.h"

#define CAPACITY_MIN 16

void fm_runqueue_init(struct fm_runqueue *queue)
{
    *queue = (struct fm_runqueue){0};
}

void fm_runqueue_done(struct fm_runqueue *queue)
{
    FM_ASSERT(queue->members == 0 && fm_runqueue_empty(queue) && queue->held == 0);
    for (int lane = 0; lane < FM_LANES; lane++)
        free(queue->heaps[lane].turns);
}

static int reserve(struct fm_runqueue *queue, size_t capacity)
{
    if (capacity <= queue->capacity)
        return 0;
    capacity = queue->capacity ? 2 * queue->capacity : CAPACITY_MIN;
    for (int lane = 0; lane < FM_LANES; lane++) {
        struct fm_turns **turns =
            realloc(queue->heaps[lane].turns, capacity * sizeof(struct fm_turns *));
        if (!turns)
            return FM_ERR_NOMEM; /* the first heap may be larger than it must be */
        queue->heaps[lane].turns = turns;
    }
    queue->capacity = capacity;
    return 0;
}

int fm_runqueue_add(struct fm_runqueue *queue, struct fm_turns *turns, struct fm_share *share)
{
    int failed = reserve(queue, queue->members + 1);
    if (failed)
        return failed;
    *turns = (struct fm_turns){.share = share, .tag = queue->clock};
    turns->seen = atomic_load_explicit(&share->served, memory_order_relaxed);
    for (int lane = 0; lane < FM_LANES; lane++) {
        fm_list_init(&turns->tasks[lane]);
        turns->places[lane] = FM_TURNS_NOWHERE;
    }
    queue->members++;
    return 0;
}

void fm_runqueue_drop(struct fm_runqueue *queue, struct fm_turns *turns)
{
    FM_ASSERT(queue->members > 0 && queue->inside != turns);
    FM_ASSERT(fm_turns_tasks(turns) == 0);
    if (queue->last == turns)
        queue->last = NULL;
    queue->members--;
}

/* --- heaps ------------------------------------------------------------------------------------ */

bool fm_turns_before(const struct fm_turns *a, const struct fm_turns *b)
{
    int64_t difference = (int64_t)(a->tag - b->tag); /* tags wrap; they are never far apart */
    return difference != 0 ? difference < 0 : a->picked < b->picked;
}

static void put(struct fm_runheap *heap, enum fm_lane lane, size_t place, struct fm_turns *turns)
{
    heap->turns[place] = turns;
    turns->places[lane] = place;
}

static void sift_up(struct fm_runheap *heap, enum fm_lane lane, size_t place)
{
    struct fm_turns *turns = heap->turns[place];
    while (place > 0) {
        size_t above = (place - 1) / 2;
        if (!fm_turns_before(turns, heap->turns[above]))
            break;
        put(heap, lane, place, heap->turns[above]);
        place = above;
    }
    put(heap, lane, place, turns);
}

static void sift_down(struct fm_runheap *heap, enum fm_lane lane, size_t place)
{
    struct fm_turns *turns = heap->turns[place];
    for (;;) {
        size_t below = 2 * place + 1;
        if (below >= heap->count)
            break;
        if (below + 1 < heap->count && fm_turns_before(heap->turns[below + 1], heap->turns[below]))
            below++;
        if (!fm_turns_before(heap->turns[below], turns))
            break;
        put(heap, lane, place, heap->turns[below]);
        place = below;
    }
    put(heap, lane, place, turns);
}

static void enter(struct fm_runqueue *queue, struct fm_turns *turns, enum fm_lane lane)
{
    struct fm_runheap *heap = &queue->heaps[lane];
    FM_ASSERT(heap->count < queue->capacity);
    heap->turns[heap->count] = turns;
    sift_up(heap, lane, heap->count++);
}

static void leave(struct fm_runqueue *queue, struct fm_turns *turns, enum fm_lane lane)
{
    struct fm_runheap *heap = &queue->heaps[lane];
    size_t place = turns->places[lane];
    turns->places[lane] = FM_TURNS_NOWHERE;
    struct fm_turns *moved = heap->turns[--heap->count];
    if (moved == turns)
        return;
    heap->turns[place] = moved;
    sift_up(heap, lane, place);
    sift_down(heap, lane, moved->places[lane]);
}

struct fm_turns *fm_runqueue_least(const struct fm_runqueue *queue, unsigned lanes)
{
    struct fm_turns *least = NULL;
    for (int lane = 0; lane < FM_LANES; lane++) {
        const struct fm_runheap *heap = &queue->heaps[lane];
        if (!(lanes & FM_LANE_BIT(lane)) || heap->count == 0)
            continue;
        if (!least || fm_turns_before(heap->turns[0], least))
            least = heap->turns[0];
    }
    return least;
}

void fm_runqueue_moved(struct fm_runqueue *queue, struct fm_turns *turns)
{
    for (int lane = 0; lane < FM_LANES; lane++) {
        if (!fm_turns_in(turns, (enum fm_lane)lane))
            continue;
        struct fm_runheap *heap = &queue->heaps[lane];
        sift_up(heap, (enum fm_lane)lane, turns->places[lane]);
        sift_down(heap, (enum fm_lane)lane, turns->places[lane]);
    }
}

/* --- tasks ------------------------------------------------------------------------------------ */

static uint32_t *counter(struct fm_runqueue *queue, const struct fm_turns *turns, enum fm_lane lane)
{
    return turns->held & FM_LANE_BIT(lane) ? &queue->held : &queue->counts[lane];
}

/* Only this worker writes it. */
static void add_runnable(struct fm_turns *turns, uint32_t change)
{
    uint32_t now = atomic_load_explicit(&turns->runnable, memory_order_relaxed);
    atomic_store_explicit(&turns->runnable, now + change, memory_order_relaxed);
}

void fm_runqueue_push(struct fm_runqueue *queue, enum fm_lane lane, struct fm_turns *turns,
                      struct fm_list *link)
{
    fm_list_push_back(&turns->tasks[lane], link);
    turns->counts[lane]++;
    ++*counter(queue, turns, lane);
    add_runnable(turns, 1);
    bool held = turns->held & FM_LANE_BIT(lane);
    if (!held && !fm_turns_in(turns, lane))
        enter(queue, turns, lane);
}

void fm_runqueue_remove(struct fm_runqueue *queue, enum fm_lane lane, struct fm_turns *turns,
                        struct fm_list *link)
{
    FM_ASSERT(turns->counts[lane] > 0);
    fm_list_remove(link);
    turns->counts[lane]--;
    --*counter(queue, turns, lane);
    add_runnable(turns, UINT32_MAX);
    if (turns->counts[lane] == 0 && fm_turns_in(turns, lane))
        leave(queue, turns, lane);
}

void fm_runqueue_hold(struct fm_runqueue *queue, struct fm_turns *turns, unsigned lanes)
{
    for (int i = 0; i < FM_LANES; i++) {
        enum fm_lane lane = (enum fm_lane)i;
        unsigned bit = FM_LANE_BIT(lane);
        if (((turns->held ^ lanes) & bit) == 0)
            continue;
        *counter(queue, turns, lane) -= turns->counts[lane];
        turns->held ^= bit;
        *counter(queue, turns, lane) += turns->counts[lane];
        if (fm_turns_in(turns, lane))
            leave(queue, turns, lane);
        else if (turns->counts[lane] > 0)
            enter(queue, turns, lane);
    }
}

void fm_runqueue_move(struct fm_runqueue *queue, struct fm_turns *turns, enum fm_lane from,
                      enum fm_lane to)
{
    uint32_t count = turns->counts[from];
    if (count == 0)
        return;
    FM_ASSERT(turns->counts[to] == 0);
    bool waits = fm_turns_in(turns, from);
    *counter(queue, turns, from) -= count;
    *counter(queue, turns, to) += count;
    turns->counts[from] = 0;
    turns->counts[to] = count;
    fm_list_move_all(&turns->tasks[from], &turns->tasks[to]);
    if (waits) {
        leave(queue, turns, from);
        enter(queue, turns, to);
    }
}
