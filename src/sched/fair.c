/* fair.c - CPU in proportion to weights, on each worker and over all of them.
 *
 * On one worker this is start-time fair queueing (Goyal, Vin, Cheng 1996).  Each user has a tag:
 * the virtual time (CPU time / weight) up to which it has been served.  The least tag is next, and
 * the queue's clock is the tag of whoever was picked last.  A user that comes after a pause starts
 * at the clock: it has saved nothing up, and owes nothing for what it got while nobody else wanted
 * it.  Costs need not be known beforehand, which is why it is this algorithm and not another.
 *
 * Over all workers it is the distributed form (Wang, Merchant 2007): a tag also moves by what the
 * user got on other workers, so that who was served there waits here.  There is no common queue and
 * no common clock, only one number per user, `served`, to which each worker adds:
 *
 *      worker 0:  ada's tag += her slice here            \
 *      worker 1:  ada's tag += what is new in `served`   /  ada.served += each slice, as it begins
 *
 * A slice is added when it begins and put right when it ends.  Otherwise all workers that decide
 * within one slice would see the same user behind and serve it all at once: the difference between
 * two users would grow with the number of workers.
 *
 * What a user got elsewhere while it had nothing to run here counts for at most LAG: a user that
 * had a machine to itself must not pay for that when others come.  The other way round, a user that
 * has calls on other workers and for a moment none here (the one it had has just ended) may come
 * back up to LAG behind the clock.
 *
 * For this to work a user with enough calls must have one on every worker: balance.c.
 *
 * Calls that never wait publish what they used in pieces of PUBLISH, so that a short call touches
 * nothing that other workers read or write.
 *
 * All arithmetic on tags is modulo 2^64 and compared by differences. */
#include "sched/policy.h"

#include "base/limits.h"

#define RATE_ONE UINT64_C(65536)
#define LAG_NS (4 * FM_SLICE_NS)     /* CPU time */
#define PUBLISH_NS (FM_SLICE_NS / 4) /* CPU time */
#define LOOKS_MAX 8                  /* at changed tags, for one pick */

static uint64_t virtual_of(const struct fm_turns *turns, uint64_t cpu_ns)
{
    return (cpu_ns * turns->rate) / RATE_ONE; /* a day of CPU at weight 1 does not overflow */
}

static void set_weight(struct fm_turns *turns, uint64_t weight)
{
    FM_ASSERT(weight > 0);
    turns->rate = FM_WEIGHT_DEFAULT * RATE_ONE / weight;
}

/* --- what others gave ------------------------------------------------------------------------- */

static void publish(struct fm_turns *turns, uint64_t amount)
{
    atomic_fetch_add_explicit(&turns->share->served, amount, memory_order_relaxed);
    turns->seen += amount;
}

/* What has come from other workers since the last look; it can be negative. */
static int64_t news_of(struct fm_turns *turns)
{
    uint64_t served = atomic_load_explicit(&turns->share->served, memory_order_relaxed);
    int64_t news = (int64_t)(served - turns->seen);
    turns->seen = served;
    return news;
}

static bool runs_elsewhere(const struct fm_turns *turns)
{
    const struct fm_share *share = turns->share;
    for (unsigned i = 0; i < share->workers; i++) {
        struct fm_turns *other = atomic_load_explicit(&share->turns[i], memory_order_acquire);
        if (other && other != turns &&
            atomic_load_explicit(&other->runnable, memory_order_relaxed) > 0)
            return true;
    }
    return false;
}

/* --- tags ------------------------------------------------------------------------------------- */

/* The first of these lanes, its tag brought up to date.  A tag that others have moved back while it
 * stood further down is noticed a little late. */
static struct fm_turns *first(struct fm_runqueue *queue, unsigned lanes)
{
    struct fm_turns *turns = NULL;
    for (int looks = 0; looks < LOOKS_MAX; looks++) {
        turns = fm_runqueue_least(queue, lanes);
        int64_t news = turns ? news_of(turns) : 0;
        if (news == 0)
            break;
        turns->tag += (uint64_t)news;
        fm_runqueue_moved(queue, turns);
    }
    return turns;
}

/* Whoever waits here has meanwhile been served elsewhere, so its turn has come nearer for others.
 */
static void bring_clock(struct fm_runqueue *queue)
{
    const struct fm_turns *least = first(queue, FM_LANES_ALL);
    if (least && (int64_t)(least->tag - queue->clock) > 0)
        queue->clock = least->tag;
}

/* The user has had nothing to run here, and now has. */
static void join(struct fm_runqueue *queue, struct fm_turns *turns)
{
    bring_clock(queue);
    int64_t lag = (int64_t)virtual_of(turns, LAG_NS);
    int64_t news = news_of(turns);
    turns->tag += (uint64_t)(news < lag ? news : lag);
    int64_t behind = (int64_t)(queue->clock - turns->tag);
    if (behind > lag || (behind > 0 && !runs_elsewhere(turns)))
        turns->tag = queue->clock;
}

static void push(struct fm_runqueue *queue, enum fm_lane lane, struct fm_turns *turns,
                 struct fm_list *link)
{
    /* Back from its own slice, with nobody served in between, it has not been away. */
    if (!fm_turns_waiting(turns) && queue->last != turns && queue->inside != turns)
        join(queue, turns);
    fm_runqueue_push(queue, lane, turns, link);
}

static void begin(struct fm_runqueue *queue, struct fm_turns *turns)
{
    if (queue->last != turns)
        join(queue, turns);
    queue->clock = turns->tag;
    queue->last = NULL;
}

/* --- picking ---------------------------------------------------------------------------------- */

/* Within a user it is a round: each started task once, then one new one.  So what has been begun is
 * ended, instead of ever more being begun: with an even share for new calls a user who sends more
 * than can be done would have thousands of calls in the middle, and few at their end. */
static enum fm_lane next_lane(struct fm_turns *turns, unsigned lanes)
{
    enum fm_lane fresh = fm_turns_in(turns, FM_LANE_NEW) ? FM_LANE_NEW : FM_LANE_FIRST;
    bool can_begin = (lanes & FM_LANE_BIT(fresh)) && fm_turns_in(turns, fresh);
    bool can_go_on = (lanes & FM_LANE_BIT(FM_LANE_STARTED)) && fm_turns_in(turns, FM_LANE_STARTED);
    if (can_go_on && (!can_begin || turns->round > 0)) {
        turns->round -= turns->round > 0;
        return FM_LANE_STARTED;
    }
    turns->round = turns->counts[FM_LANE_STARTED];
    return fresh;
}

static struct fm_list *pick(struct fm_runqueue *queue, unsigned lanes, struct fm_turns **ret_turns)
{
    FM_ASSERT(!queue->inside);
    struct fm_turns *turns = first(queue, lanes);
    if (!turns)
        return NULL;
    enum fm_lane lane = next_lane(turns, lanes);

    queue->clock = turns->tag;
    queue->inside = turns;
    queue->last = NULL;
    turns->picked = ++queue->picks;
    publish(turns, virtual_of(turns, FM_SLICE_NS));
    struct fm_list *link = turns->tasks[lane].next;
    fm_runqueue_remove(queue, lane, turns, link);
    /* It still has a call that runs: the one that has the thread. */
    atomic_store_explicit(&turns->runnable, fm_turns_tasks(turns) + 1, memory_order_relaxed);
    fm_runqueue_moved(queue, turns);
    *ret_turns = turns;
    return link;
}

static void charge(struct fm_runqueue *queue, struct fm_turns *turns, uint64_t cpu_ns)
{
    uint64_t amount = virtual_of(turns, cpu_ns);
    turns->tag += amount;
    if (queue->inside == turns) {
        publish(turns, amount - virtual_of(turns, FM_SLICE_NS));
        atomic_store_explicit(&turns->runnable, fm_turns_tasks(turns), memory_order_relaxed);
        queue->inside = NULL;
        fm_runqueue_moved(queue, turns);
    } else {
        turns->unpublished += amount;
        if (turns->unpublished >= virtual_of(turns, PUBLISH_NS)) {
            publish(turns, turns->unpublished);
            turns->unpublished = 0;
        }
    }
    queue->last = turns;
}

const struct fm_policy fm_policy_fair = {
    .push = push,
    .pick = pick,
    .begin = begin,
    .charge = charge,
    .set_weight = set_weight,
};
