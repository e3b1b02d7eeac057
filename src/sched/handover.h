/* handover.h - calls that run on another worker than their own.  Private to sched/.
 *
 *      home                                    borrower
 *      READY -- give ------ task.message ----> READY -> INSIDE -> READY ...
 *        ^                                        |        |
 *        +-------- return: ended, parked ---------+--------+
 *        |                                        |
 *        +-- cancel ------- task.cancel --------> ends it, if it is still there
 *        +<----------------- the same, back ------+
 *
 * The home worker made the call: it owns the connection, the units and the module that the call
 * holds, and alone finishes, parks and frees it.  A borrower gives it the thread, keeps its
 * deadline and charges its user, nothing else; when the call ends or wants to wait, it goes home.
 */
#pragma once

#include "base/error.h"
#include "sched/runqueue.h"

struct fm_sched;
struct fm_task;

/* At the end of a slice of `turns` (NULL: of nobody's): gives away what others should have. */
void fm_handover_give(struct fm_sched *sched, struct fm_turns *turns);

/* The worker has nothing to run, or has again: others look at it before they give. */
void fm_handover_tell(struct fm_sched *sched);

enum fm_return {
    FM_RETURN_READY,  /* has not ended, and could go on */
    FM_RETURN_ENDED,  /* its outcome is set, its guest is gone */
    FM_RETURN_PARKED, /* its guest waits for something */
};

/* A borrowed task, which has no place here any more, goes home. */
void fm_handover_return(struct fm_task *task, enum fm_return how);

/* Ends a call that is away: its task comes home, soon. */
void fm_handover_cancel(struct fm_task *task, int error);

/* The worker takes nothing any more. */
void fm_handover_close(struct fm_sched *sched);

/* Its thread has ended: what it borrowed goes home, with the messages that are delivered next. */
void fm_handover_recall(struct fm_sched *sched);
