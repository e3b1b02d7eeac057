/* children.h - calls that calls have started (call_start), as the scheduler has them.
 *
 * Private to sched/.  sched.c says when a ticket is free or given back and when a call ends;
 * children.c makes the children, keeps what came of them for their parent, and ends what outlives
 * it. */
#pragma once

#include "call/child.h"
#include "sched/sched_private.h"

/* The children of one call; opaque.  Made with the first, goes when the parent has ended and none
 * is under way any more. */
struct fm_children;

extern const struct fm_child_ops fm_children_ops; /* for fm_call.child_ops */

/* FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_children_init(struct fm_sched *sched);
void fm_children_done(struct fm_sched *sched);

/* A child without a ticket waits until there is one for its level; then fm_task_ready() follows. */
void fm_children_crowd(struct fm_task *task);
void fm_children_uncrowd(struct fm_task *task);

/* A ticket was given back. */
void fm_children_admit(struct fm_sched *sched);

/* The parent has ended: nothing is told to it any more.  Its children end in the next turn. */
void fm_children_orphan(struct fm_children *children);

/* Ends orphans: all of them, or until this pass has used its share of time. */
void fm_children_reap(struct fm_sched *sched, bool all);
