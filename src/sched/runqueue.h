/* runqueue.h - the calls of one worker that could run now, by user, in three lanes.
 *
 *      lane STARTED   heap of users by tag:   eve(4)  ada(7)       have a sandbox, go on
 *      lane NEW       heap of users by tag:   ada(7)  bob(9)       need a free one first
 *      lane FIRST     heap of users by tag:   joe(5)               the same, of users without any
 *                                              |
 *                                              t1 t2 t3            FIFO inside a user
 *
 * New calls of a user are all in NEW or all in FIRST (fm_runqueue_move()): that is what allows to
 * keep sandboxes for those who have none (sched.c).
 *
 * A user stands in a lane's heap while it has a task there and is not held.  What a tag means, and
 * when it moves, is the policy's business (policy.h); here is only the order.  Heaps have room for
 * all their users from the moment a user is added, so that nothing else here can fail.
 *
 * A queue is one worker's.  What other workers see of a user is in fm_share, and `runnable`. */
#pragma once

#include <stdatomic.h>

#include "base/list.h"

enum fm_lane {
    FM_LANE_STARTED, /* has a sandbox */
    FM_LANE_NEW,     /* needs one; its user has others */
    FM_LANE_FIRST,   /* needs one; its user has none */
    FM_LANES,
};

/* Sets of lanes. */
#define FM_LANE_BIT(lane) (1u << (lane))
#define FM_LANES_FRESH (FM_LANE_BIT(FM_LANE_NEW) | FM_LANE_BIT(FM_LANE_FIRST))
#define FM_LANES_ALL (FM_LANE_BIT(FM_LANE_STARTED) | FM_LANES_FRESH)

struct fm_turns;

/* One user, of the whole process: what its workers tell one another.  The address of each worker's
 * part is written once, when that worker first hears of the user. */
struct fm_share {
    _Alignas(64) atomic_uint_least64_t served; /* virtual time that all workers gave it; wraps */
    unsigned workers;
    struct fm_turns *_Atomic *turns; /* by worker; NULL: not there yet */
};

/* One user on one worker. */
struct fm_turns {
    struct fm_share *share;
    struct fm_list tasks[FM_LANES]; /* links of those that wait for their turn */
    uint32_t counts[FM_LANES];      /* of these */
    size_t places[FM_LANES];        /* in the heap; FM_TURNS_NOWHERE: not there */
    unsigned held;                  /* bits of the lanes that must wait for something else */
    uint64_t tag;                   /* virtual time; the least is next; wraps */
    uint64_t picked;                /* the queue's `picks` when it last had its turn: ties */
    uint64_t seen;                  /* of share->served, what is in the tag */
    uint64_t unpublished;           /* of the tag, what is not in share->served */
    uint64_t rate;                  /* virtual time per CPU time, in 1/65536 */
    uint32_t round;                 /* started tasks that have their turn before a new one */
    atomic_uint_least32_t runnable; /* tasks, also the one that has the thread; others read it */
};

#define FM_TURNS_NOWHERE SIZE_MAX

struct fm_runheap {
    struct fm_turns **turns;
    size_t count;
};

struct fm_runqueue {
    struct fm_runheap heaps[FM_LANES];
    size_t capacity;           /* of each heap */
    size_t members;            /* users added; <= capacity */
    uint32_t counts[FM_LANES]; /* tasks that can be picked */
    uint32_t held;             /* tasks that cannot, because their user is held */
    uint64_t clock;            /* virtual time: the tag of whoever was picked last */
    uint64_t picks;            /* so far */
    struct fm_turns *inside;   /* who was picked and is not charged yet; NULL: nobody */
    struct fm_turns *last;     /* who was charged last, nobody having been picked since */
};

void fm_runqueue_init(struct fm_runqueue *queue);
void fm_runqueue_done(struct fm_runqueue *queue); /* empty, without members */

/* Makes room for one more user.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_runqueue_add(struct fm_runqueue *queue, struct fm_turns *turns,
                                  struct fm_share *share);
void fm_runqueue_drop(struct fm_runqueue *queue, struct fm_turns *turns); /* it has no tasks */

/* How many tasks can be picked from these lanes. */
static inline uint32_t fm_runqueue_count(const struct fm_runqueue *queue, unsigned lanes)
{
    uint32_t count = 0;
    for (int lane = 0; lane < FM_LANES; lane++)
        count += lanes & FM_LANE_BIT(lane) ? queue->counts[lane] : 0;
    return count;
}

static inline bool fm_runqueue_empty(const struct fm_runqueue *queue)
{
    return fm_runqueue_count(queue, FM_LANES_ALL) == 0;
}

static inline bool fm_turns_in(const struct fm_turns *turns, enum fm_lane lane) /* in its heap */
{
    return turns->places[lane] != FM_TURNS_NOWHERE;
}

static inline bool fm_turns_waiting(const struct fm_turns *turns) /* in a heap */
{
    for (int lane = 0; lane < FM_LANES; lane++)
        if (fm_turns_in(turns, (enum fm_lane)lane))
            return true;
    return false;
}

static inline uint32_t fm_turns_tasks(const struct fm_turns *turns) /* held ones, too */
{
    uint32_t count = 0;
    for (int lane = 0; lane < FM_LANES; lane++)
        count += turns->counts[lane];
    return count;
}

/* `link` is the task's. */
void fm_runqueue_push(struct fm_runqueue *queue, enum fm_lane lane, struct fm_turns *turns,
                      struct fm_list *link);
void fm_runqueue_remove(struct fm_runqueue *queue, enum fm_lane lane, struct fm_turns *turns,
                        struct fm_list *link);

/* All tasks of a user that are in one lane go to another, in which it has none; both are held or
 * neither is. */
void fm_runqueue_move(struct fm_runqueue *queue, struct fm_turns *turns, enum fm_lane from,
                      enum fm_lane to);

/* The user with the least tag in these lanes; NULL: they are empty. */
struct fm_turns *fm_runqueue_least(const struct fm_runqueue *queue, unsigned lanes);

/* Moves a user to where its tag, which has changed, says. */
void fm_runqueue_moved(struct fm_runqueue *queue, struct fm_turns *turns);

/* Whether `a` comes before `b`. */
bool fm_turns_before(const struct fm_turns *a, const struct fm_turns *b);

/* From now on only the tasks in other lanes can be picked; the rest keep their places. */
void fm_runqueue_hold(struct fm_runqueue *queue, struct fm_turns *turns, unsigned lanes);
