/* sched_private.h - a scheduler from the inside, for the files of sched/. */
#pragma once

#include "base/id.h"
#include "loop/loop.h"
#include "sched/balance.h"
#include "sched/blocked.h"
#include "sched/cputime.h"
#include "sched/handover.h"
#include "sched/life.h"
#include "sched/policy.h"
#include "sched/registry.h"
#include "sched/runqueue.h"
#include "sched/sched.h"
#include "sched/ticker.h"
#include "sched/trimmer.h"
#include "sched/user.h"

struct fm_children;
struct fm_guest;
struct fm_read;

#define FM_SLICE_MIN_NS (FM_SLICE_NS / 2)   /* guest time of a turn, and of a slice that yields */
#define FM_CALL_SHARE_NS (FM_SLICE_NS / 50) /* guest time of a short call; see has_time() */
#define FM_PASS_NS_MAX (4 * FM_SLICE_NS)    /* guest time of a pass with nothing but these */

enum fm_task_place {
    FM_TASK_NOWHERE, /* not submitted, or finished */
    FM_TASK_BLOCKED, /* waits for a unit of concurrency: blocked.h */
    FM_TASK_READY,   /* in the run queue */
    FM_TASK_LOADING, /* in slot->waiting, or in user->roots.waiting */
    FM_TASK_CROWDED, /* a child that waits for a sandbox: children.c */
    FM_TASK_INSIDE,  /* its guest has the thread */
    FM_TASK_PARKED,  /* only its timer, or a waker, knows it */
};

enum fm_holds {                           /* what a task must give back; door.h */
                FM_HOLDS_CALL = 1u << 0,  /* it counts as one under way */
                FM_HOLDS_UNITS = 1u << 1, /* of concurrency: its function's and its user's */
                FM_HOLDS_PLACE = 1u << 2, /* in its user's queue */
};

/* A call on its way through the scheduler; recycled together with the call. */
struct fm_task {
    struct fm_call *call;
    struct fm_sched *sched; /* where it is: written by whoever has it */
    struct fm_slot *slot;   /* version that it runs; held by slot->calls */
    struct fm_user *user;   /* on the worker where it is */
    struct fm_guest *guest; /* NULL before its first turn and after its last */
    enum fm_task_place place;
    unsigned holds;        /* fm_holds */
    enum fm_units missing; /* while it is BLOCKED */
    uint32_t level;        /* calls that wait for this one, one above the other; 0: not a child */
    struct fm_read *read;  /* its guest waits for that; NULL: for nothing like it */
    struct fm_children *children; /* that it has started; NULL: none.  Its home's alone */
    uint64_t memory_bytes;        /* of its guest, as its user was charged for it */
    bool sandbox;  /* holds one of its home's sandboxes, with a guest in it or not yet */
    bool announce; /* on_done is to be called */
    bool streams;  /* it is parked for call->web, which may wake it */
    struct fm_list link;
    struct fm_timer timer;   /* deadline, or the earlier wake of a parked guest */
    atomic_int cancel_error; /* it is to end with that; 0: it is not */

    /* Moving between workers: handover.c.  The first five are the home worker's alone. */
    struct fm_sched *home; /* who made it */
    struct fm_user *home_user;
    bool away;
    bool cancelling;         /* `cancel` is under way */
    struct fm_progress left; /* as it was when it left home */
    atomic_uint where;       /* the worker that has it, or is about to get it */
    enum fm_return returned;
    uint64_t memory_credits; /* of its user's memory_bytes, that travel with it */
    struct fm_message message;
    struct fm_message cancel;
    struct fm_sched *cancel_at;   /* where `cancel` was sent */
    struct fm_list borrowed_link; /* in sched->borrowed, while it is not at home */
};

struct fm_sched {
    struct fm_sched_config config;
    struct fm_registry registry;
    const struct fm_policy *policy;
    struct fm_runqueue queue;
    struct fm_users *all_users; /* of the process */
    struct fm_users *own_users; /* the same, if there is no other worker; else NULL */
    struct fm_map users;        /* of this worker: struct fm_user.node */
    struct fm_id_generator ids;
    struct fm_ticker_seat *seat;
    struct fm_list free_tasks;
    uint32_t free_tasks_count;

    struct fm_list *crowds; /* by level - 1: fm_children with a child that waits for a sandbox */
    uint32_t crowded;       /* such children */
    struct fm_list orphans; /* fm_children whose parent has ended */
    uint32_t chaining;      /* children that have ended, but for what they chained */

    struct fm_cputime cputime; /* of the guest that has the thread */
    struct fm_trimmer trimmer;
    uint64_t pass_guest_ns; /* guest CPU time since the last turn ended */
    uint64_t pass_runs;     /* guests that have had the thread since then */
    uint64_t answers;       /* calls that ended, children aside: somebody waits for each */
    bool draining;
    bool closed;             /* nothing comes from other workers any more */
    bool recalled;           /* nothing runs here any more */
    bool told_idle;          /* what others see: balance.h */
    struct fm_list borrowed; /* tasks of other workers: borrowed_link */
    struct fm_id nobody;     /* where suspects are noted when nobody looks */
    struct fm_sched_counts counts;
};

/* A call of level l may have a sandbox while fewer than calls_max + l others have one: children.c
 * says why.  For level 0 there is another rule beside it: fm_sched_lanes(). */
static inline bool fm_sandbox_free_for(const struct fm_sched *sched, uint32_t level)
{
    return sched->counts.sandboxes < (uint64_t)sched->config.calls_max + level;
}

/* --- for the files of sched/ (sched.c) -------------------------------------------------------- */

/* Ends a call that has not run. */
void fm_task_refuse(struct fm_task *task, int error, const char *limit, const char *detail);

/* An admitted call goes on: to its module, to its turn, or with `may_run` at once. */
void fm_task_proceed(struct fm_task *task, bool may_run);

/* A task that has no place: to its turn; to wait for what its guest waits for; to its end with an
 * error, its guest unwound; to its end. */
void fm_task_ready(struct fm_task *task);
void fm_task_park(struct fm_task *task);
void fm_task_wake(struct fm_task *task); /* it is parked, and what it waits for has come */
void fm_task_end(struct fm_task *task, int error);
void fm_task_finish(struct fm_task *task);

/* One of its home's sandboxes, if it has none yet; on the home worker. */
void fm_task_take_sandbox(struct fm_task *task);

enum fm_lane fm_task_lane(const struct fm_task *task);

/* Lanes whose calls have a sandbox, or would get one. */
unsigned fm_sched_lanes(const struct fm_sched *sched);

/* The timer, to the call's deadline.  False: out of memory. */
FM_MUST_CHECK bool fm_task_arm(struct fm_task *task);
