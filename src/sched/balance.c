/* balance.c - gives calls to workers that have too few.
 *
 * Discarded: stealing, where the idle worker takes from the other's queue, because then every queue
 * would need a lock, for a rare case; and a request with an answer, since both sides would have to
 * remember it through draining, and one flag does the same.
 *
 * Which call: a new one, since there is nothing to move but the right to a sandbox; otherwise one
 * that has started.  Of an idle worker's gift the user is the one that is next here, because it has
 * waited longest; so no user's share is worse for it. */
#include "sched/balance.h"

#include <stdlib.h>

#include "base/error.h"

#define LOOKS_MAX 8 /* at the first tasks of a user, for one that can move */

int fm_peers_new(unsigned count, struct fm_peers **ret_peers)
{
    size_t bytes = sizeof(struct fm_peers) + count * sizeof(struct fm_peer);
    size_t line = _Alignof(struct fm_peers);
    struct fm_peers *peers = aligned_alloc(line, (bytes + line - 1) / line * line);
    if (!peers)
        return FM_ERR_NOMEM;
    peers->count = count;
    for (unsigned i = 0; i < count; i++) {
        atomic_init(&peers->peers[i].idle, true);
        atomic_init(&peers->peers[i].claimed, false);
        peers->peers[i].sched = NULL;
    }
    *ret_peers = peers;
    return 0;
}

struct fm_peers *fm_peers_free(struct fm_peers *peers)
{
    free(peers);
    return NULL;
}

static bool claim(struct fm_peer *peer)
{
    bool claimed = false;
    return atomic_compare_exchange_strong(&peer->claimed, &claimed, true);
}

static bool reads(const atomic_bool *flag)
{
    return atomic_load_explicit(flag, memory_order_relaxed);
}

static bool has_some(const struct fm_turns *turns, unsigned worker)
{
    struct fm_turns *there =
        atomic_load_explicit(&turns->share->turns[worker], memory_order_acquire);
    return there && atomic_load_explicit(&there->runnable, memory_order_relaxed) > 0;
}

static uint32_t tasks_of(const struct fm_turns *turns)
{
    uint32_t count = 0;
    for (int lane = 0; lane < FM_LANES; lane++)
        count += fm_turns_in(turns, (enum fm_lane)lane) ? turns->counts[lane] : 0;
    return count;
}

static struct fm_list *first_movable(const struct fm_giver *giver, struct fm_turns *turns,
                                     enum fm_lane lane)
{
    if (!fm_turns_in(turns, lane) || !(giver->lanes & FM_LANE_BIT(lane)))
        return NULL;
    struct fm_list *head = &turns->tasks[lane];
    struct fm_list *link = head->next;
    for (int looks = 0; looks < LOOKS_MAX && link != head; looks++, link = link->next)
        if (!giver->can_move || giver->can_move(link))
            return link;
    return NULL;
}

/* Takes the call that `turns` would give to that worker out of the queue, if there is one and
 * nobody else is giving. */
static bool give(struct fm_peer *peer, const struct fm_giver *giver, struct fm_runqueue *queue,
                 struct fm_turns *turns, struct fm_gift *gift)
{
    static const enum fm_lane order[] = {FM_LANE_FIRST, FM_LANE_NEW, FM_LANE_STARTED};
    gift->link = NULL;
    for (size_t i = 0; i < FM_LANES && !gift->link; i++) {
        gift->lane = order[i];
        gift->link = first_movable(giver, turns, order[i]);
    }
    if (!gift->link || !claim(peer))
        return false;
    fm_runqueue_remove(queue, gift->lane, turns, gift->link);
    return true;
}

/* To a worker that has nothing: of the user that has waited longest or, where its calls must stay,
 * of one that stands near it. */
static bool give_any(struct fm_peer *peer, const struct fm_giver *giver, struct fm_runqueue *queue,
                     struct fm_gift *gift)
{
    struct fm_turns *longest = fm_runqueue_least(queue, giver->lanes);
    if (longest && give(peer, giver, queue, longest, gift))
        return true;
    for (int lane = 0; lane < FM_LANES; lane++) {
        const struct fm_runheap *heap = &queue->heaps[lane];
        for (size_t i = 0; i < LOOKS_MAX && i < heap->count; i++)
            if (give(peer, giver, queue, heap->turns[i], gift))
                return true;
    }
    return false;
}

/* One call stays, since this worker is about to run it. */
static bool can_spare(const struct fm_giver *giver, const struct fm_runqueue *queue)
{
    return fm_runqueue_count(queue, giver->lanes) >= 2;
}

bool fm_balance_give(struct fm_peers *peers, const struct fm_giver *giver,
                     struct fm_runqueue *queue, struct fm_turns *turns, struct fm_gift *ret_gift)
{
    if (FM_LIKELY(!can_spare(giver, queue)))
        return false;
    bool spread = turns && tasks_of(turns) >= 2;
    for (unsigned i = 1; i < peers->count; i++) {
        unsigned worker = (giver->worker + i) % peers->count;
        struct fm_peer *peer = &peers->peers[worker];
        if (reads(&peer->claimed))
            continue;
        bool given =
            spread && !has_some(turns, worker) && give(peer, giver, queue, turns, ret_gift);
        if (!given && reads(&peer->idle))
            given = give_any(peer, giver, queue, ret_gift);
        if (given) {
            ret_gift->worker = worker;
            return true;
        }
    }
    return false;
}

void fm_balance_received(struct fm_peers *peers, unsigned self)
{
    atomic_store_explicit(&peers->peers[self].idle, false, memory_order_relaxed);
    atomic_store(&peers->peers[self].claimed, false);
}

void fm_balance_idle(struct fm_peers *peers, unsigned self, bool idle)
{
    atomic_store_explicit(&peers->peers[self].idle, idle, memory_order_relaxed);
}

bool fm_balance_close(struct fm_peers *peers, unsigned self)
{
    return claim(&peers->peers[self]);
}
