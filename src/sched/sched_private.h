/* sched_private.h - a scheduler from the inside, for the files of sched/. */
#pragma once

#include "base/id.h"
#include "loop/loop.h"
#include "sched/registry.h"
#include "sched/runqueue.h"
#include "sched/sched.h"
#include "sched/ticker.h"

struct fm_guest;

enum fm_task_place {
    FM_TASK_NOWHERE, /* not submitted, or finished */
    FM_TASK_READY,   /* in the run queue */
    FM_TASK_LOADING, /* in slot->waiting */
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
    bool admitted; /* counts in sched->counts.calls, holds a unit of concurrency */
    bool announce; /* on_done is to be called */
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

    uint64_t slice_cpu_ns;  /* thread CPU clock when the present guest got the thread */
    uint64_t pass_guest_ns; /* guest CPU time since the last turn ended */
    bool draining;
    struct fm_id nobody; /* where suspects are noted when nobody looks */
    uint64_t news_lost;  /* publications that could not be applied for want of memory */
    struct fm_sched_counts counts;
};
