/* sched_private.h - a scheduler from the inside, for the files of sched/. */
#pragma once

#include "base/id.h"
#include "loop/loop.h"
#include "sched/blocked.h"
#include "sched/policy.h"
#include "sched/registry.h"
#include "sched/runqueue.h"
#include "sched/sched.h"
#include "sched/ticker.h"
#include "sched/user.h"

struct fm_guest;

enum fm_task_place {
    FM_TASK_NOWHERE, /* not submitted, or finished */
    FM_TASK_BLOCKED, /* waits for a unit of concurrency: blocked.h */
    FM_TASK_READY,   /* in the run queue */
    FM_TASK_LOADING, /* in slot->waiting */
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
    struct fm_sched *sched;
    struct fm_slot *slot; /* version that it runs; held by slot->calls */
    struct fm_user *user;
    struct fm_guest *guest; /* NULL before its first turn and after its last */
    enum fm_task_place place;
    unsigned holds;        /* fm_holds */
    enum fm_units missing; /* while it is BLOCKED */
    uint64_t memory_bytes; /* of its guest, as its user was charged for it */
    bool announce;         /* on_done is to be called */
    struct fm_list link;
    struct fm_timer timer; /* deadline, or the earlier wake of a parked guest */
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

    uint64_t slice_cpu_ns;  /* thread CPU clock when the present guest got the thread */
    uint64_t pass_guest_ns; /* guest CPU time since the last turn ended */
    bool draining;
    uint64_t news_lost; /* publications that could not be applied for want of memory */
    struct fm_sched_counts counts;
};

/* --- for the files of sched/ (sched.c) -------------------------------------------------------- */

/* Ends a call that has not run. */
void fm_task_refuse(struct fm_task *task, int error, const char *limit, const char *detail);

/* An admitted call goes on: to its module, to its turn, or with `may_run` at once. */
void fm_task_proceed(struct fm_task *task, bool may_run);

/* The timer, to the call's deadline.  False: out of memory. */
FM_MUST_CHECK bool fm_task_arm(struct fm_task *task);
