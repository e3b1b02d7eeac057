/* reads.h - a parked guest that waits for the content of a file.  Private to sched/; for the home
 * worker of the task, where it stays meanwhile. */
#pragma once

struct fm_content;
struct fm_task;

/* Has the content brought into memory; then the guest hears of it, and the task is woken.  At once,
 * with an error for the guest, when that cannot be started.  The task is parked. */
void fm_reads_start(struct fm_task *task, struct fm_content *content);

/* The guest is about to go.  What is under way ends without it. */
void fm_reads_leave(struct fm_task *task);
