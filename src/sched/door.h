/* door.h - admission: what a call must have before it may run, and giving it back.  Private to
 * sched/.
 *
 *      units    one of its function's concurrency and one of its user's
 *      place    one of its user's queue_length: while it waits for its first turn
 *      memory   what its guest has, of its user's memory_bytes
 *
 * A task notes what it holds, and fm_door_leave() gives all of it back, whatever the way out. */
#pragma once

#include "base/error.h"

struct fm_task;

/* True: the call may proceed.  False: it is DONE (refused), or waits in line (blocked.h). */
FM_MUST_CHECK bool fm_door_admit(struct fm_task *task);

/* The call is about to wait for its first turn.  False: its user's queue is full; it is DONE. */
FM_MUST_CHECK bool fm_door_wait(struct fm_task *task);

void fm_door_started(struct fm_task *task); /* it waits no longer */
void fm_door_leave(struct fm_task *task);   /* it ends, admitted or not */
