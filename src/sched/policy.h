/* policy.h - who is next: the one decision of the scheduler that is a matter of opinion.
 *
 * A policy is a struct of functions over a run queue.  It knows no clock, no engine and no thread:
 * what was consumed is told to it.  So a simulation drives the same code as a worker does
 * (tests/unit/sched/test_fairness.c). */
#pragma once

#include "sched/runqueue.h"

#define FM_WEIGHT_DEFAULT 100

struct fm_policy {
    /* A task that can run from now on. */
    void (*push)(struct fm_runqueue *queue, enum fm_lane lane, struct fm_turns *turns,
                 struct fm_list *link);
    /* The next task from these lanes, and its user.  NULL: there is none to take.  Its user is
     * charged before anything else is asked. */
    struct fm_list *(*pick)(struct fm_runqueue *queue, unsigned lanes, struct fm_turns **ret_turns);
    /* A task that was never queued is about to run, since nobody waits; it is charged after. */
    void (*begin)(struct fm_runqueue *queue, struct fm_turns *turns);
    /* What the task that had the thread has consumed. */
    void (*charge)(struct fm_runqueue *queue, struct fm_turns *turns, uint64_t cpu_ns);
    void (*set_weight)(struct fm_turns *turns, uint64_t weight);
};

/* Weighted fair queueing between users by consumed CPU, first in first out inside a user. */
extern const struct fm_policy fm_policy_fair;
