/* balance.c - gives calls to workers that have too few.
 *
 * Discarded: stealing, where the idle worker takes from the other's queue, because then every queue
 * would need a lock, for a rare case; and a request with an answer, since both sides would have to
 * remember it through draining, and one flag does the same.
 *
 * Which call: a new one if the receiver has a free sandbox (there is nothing to move), otherwise
 * one that has started.  Of an idle worker's gift the user is the one that is next here, because it
 * has waited longest; so no user's share is worse for it. */
#include "sched/balance.h"

#include <stdlib.h>

#include "base/error.h"

int fm_peers_new(unsigned count, struct fm_peers **ret_peers)
{
    size_t bytes = sizeof(struct fm_peers) + count * sizeof(struct fm_peer);
    size_t line = _Alignof(struct fm_peers);
    struct fm_peers *peers = aligned_alloc(line, (bytes + line - 1) / line * line);
    if (!peers)
        return FM_ERR_NOMEM;
    peers->count = count;
    for (unsigned i = 0; i < count; i++) {
        atomic_init(&peers->peers[i].idle, false);
        atomic_init(&peers->peers[i].full, false);
        atomic_init(&peers->peers[i].claimed, false);
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
        count += turns->places[lane] == FM_TURNS_NOWHERE ? 0 : turns->counts[lane];
    return count;
}

/* Takes the call that `turns` would give to that worker out of the queue, if there is one and
 * nobody else is giving. */
static bool give(struct fm_peer *peer, struct fm_runqueue *queue, struct fm_turns *turns,
                 struct fm_gift *gift)
{
    bool fresh = turns->places[FM_LANE_NEW] != FM_TURNS_NOWHERE && !reads(&peer->full);
    enum fm_lane lane = fresh ? FM_LANE_NEW : FM_LANE_STARTED;
    if (turns->places[lane] == FM_TURNS_NOWHERE || !claim(peer))
        return false;
    gift->lane = lane;
    gift->link = turns->tasks[lane].next;
    fm_runqueue_remove(queue, lane, turns, gift->link);
    return true;
}

static struct fm_turns *longest_waiting(const struct fm_runqueue *queue, bool full)
{
    struct fm_turns *started = fm_runqueue_top(queue, FM_LANE_STARTED);
    struct fm_turns *fresh = full ? NULL : fm_runqueue_top(queue, FM_LANE_NEW);
    if (!started || !fresh)
        return started ? started : fresh;
    return fm_turns_before(fresh, started) ? fresh : started;
}

bool fm_balance_give(struct fm_peers *peers, unsigned self, struct fm_runqueue *queue,
                     struct fm_turns *turns, struct fm_gift *ret_gift)
{
    if (queue->counts[FM_LANE_STARTED] + queue->counts[FM_LANE_NEW] < 2)
        return false;
    bool spread = turns && tasks_of(turns) >= 2;
    for (unsigned i = 1; i < peers->count; i++) {
        unsigned worker = (self + i) % peers->count;
        struct fm_peer *peer = &peers->peers[worker];
        if (reads(&peer->claimed))
            continue;
        struct fm_turns *giver = spread && !has_some(turns, worker) ? turns : NULL;
        if (!giver && reads(&peer->idle))
            giver = longest_waiting(queue, reads(&peer->full));
        if (giver && give(peer, queue, giver, ret_gift)) {
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

void fm_balance_full(struct fm_peers *peers, unsigned self, bool full)
{
    atomic_store_explicit(&peers->peers[self].full, full, memory_order_relaxed);
}

bool fm_balance_close(struct fm_peers *peers, unsigned self)
{
    return claim(&peers->peers[self]);
}
