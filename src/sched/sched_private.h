/* sched_private.h - a scheduler from the inside, for the files of sched/. */
#pragma once

#include "base/id.h"
#include "loop/loop.h"
#include "sched/cputime.h"
#include "sched/registry.h"
#include "sched/runqueue.h"
#include "sched/sched.h"
#include "sched/ticker.h"
#include "sched/trimmer.h"

struct fm_children;
struct fm_guest;

#define FM_SLICE_MIN_NS (FM_SLICE_NS / 2) /* guest time of a turn, and of a slice that yields */

enum fm_task_place {
    FM_TASK_NOWHERE, /* not submitted, or finished */
    FM_TASK_READY,   /* in the run queue */
    FM_TASK_LOADING, /* in slot->waiting */
    FM_TASK_CROWDED, /* a child that waits for a ticket (children.c) */
    FM_TASK_INSIDE,  /* its guest has the thread */
    FM_TASK_PARKED,  /* only its timer, or a waker, knows it */
};

/* A call on its way through the scheduler; recycled together with the call. */
struct fm_task {
    struct fm_call *call;
    struct fm_sched *sched;
    struct fm_slot *slot;   /* version that it runs; held by slot->calls */
    struct fm_user *user;   /* referenced */
    struct fm_guest *guest; /* NULL before its first turn and after its last */
    enum fm_task_place place;
    uint32_t level; /* calls that wait for this one, one above the other; 0: not a child */
    struct fm_children *children; /* that it has started; NULL: none.  A call with children does
                                     not leave its worker */
    bool ticket;                  /* may have a sandbox; before it has one, and while it has */
    bool admitted;                /* counts in sched->counts.calls, holds a unit of concurrency */
    bool announce;                /* on_done is to be called */
    struct fm_list link;
    struct fm_timer timer; /* deadline, or the earlier wake of a parked guest */
};

struct fm_sched {
    struct fm_sched_config config;
    struct fm_registry registry;
    struct fm_runqueue queue;
    struct fm_id_generator ids;
    struct fm_ticker_seat *seat;
    struct fm_list free_tasks;
    uint32_t free_tasks_count;

    uint32_t tickets;       /* given out, at most config.calls_max + config.await_depth */
    struct fm_list *crowds; /* by level - 1: fm_children with a child that waits for a ticket */
    uint32_t crowded;       /* such children */
    struct fm_list orphans; /* fm_children whose parent has ended */

    struct fm_cputime cputime; /* of the guest that has the thread */
    struct fm_trimmer trimmer;
    uint64_t pass_guest_ns; /* guest CPU time since the last turn ended */
    bool draining;
    struct fm_sched_counts counts;
};

/* A call of level l may have a sandbox while fewer than calls_max + l others have one: children.c
 * says why. */
static inline bool fm_ticket_free(const struct fm_sched *sched, uint32_t level)
{
    return sched->tickets < (uint64_t)sched->config.calls_max + level;
}

/* sched.c, for children.c.  Both may end the call when memory is out. */
void fm_task_queue(struct fm_task *task); /* it is nowhere: it may run, when its turn comes */
void fm_task_wake(struct fm_task *task);  /* it is parked: the event that it waits for has come */
