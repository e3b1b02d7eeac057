/* reads.c - one job of the I/O pool for each guest that waits for a content.
 *
 * The job holds its content, and has the pin that loading it gives, until it is back on the worker:
 * there the pin goes over to the guest, or is given back if the guest has gone in the meantime (the
 * deadline, a cancellation).  While a read is under way nothing else wakes its task, so the task
 * does not move to another worker before it is back. */
#include "sched/reads.h"

#include <errno.h>
#include <stdlib.h>

#include "files/content.h"
#include "guest/guest.h"
#include "loop/pool.h"
#include "sched/sched_private.h"

struct fm_read {
    struct fm_job job;
    struct fm_content *content; /* held */
    struct fm_task *task;       /* NULL: its guest has gone */
    int error;                  /* a negative errno; 0: it is pinned */
};

/* On a thread of the pool. */
static void run_read(struct fm_job *job)
{
    struct fm_read *read = FM_CONTAINER_OF(job, struct fm_read, job);
    read->error = fm_content_load(read->content);
}

static void on_read(struct fm_job *job)
{
    struct fm_read *read = FM_CONTAINER_OF(job, struct fm_read, job);
    struct fm_task *task = read->task;
    if (task) {
        task->read = NULL;
        fm_guest_content_loaded(task->guest, read->error);
    } else if (!read->error) {
        fm_content_unpin(read->content);
    }
    fm_content_release(read->content);
    free(read);
    if (task)
        fm_task_wake(task);
}

static int submit(struct fm_sched *sched, struct fm_read *read)
{
    return fm_pool_submit(sched->config.pool, &read->job, fm_loop_mailbox(sched->config.loop));
}

void fm_reads_start(struct fm_task *task, struct fm_content *content)
{
    struct fm_read *read = calloc(1, sizeof(*read));
    int error = -ENOMEM;
    FM_ASSERT(task->place == FM_TASK_PARKED && !task->read);
    if (read) {
        read->job.run = run_read;
        read->job.on_done = on_read;
        read->content = fm_content_hold(content);
        read->task = task;
        task->read = read;
        if (submit(task->sched, read) == 0)
            return;
        error = -EAGAIN;
        task->read = NULL;
        fm_content_release(content);
        free(read);
    }
    fm_guest_content_loaded(task->guest, error);
    fm_task_wake(task);
}

void fm_reads_leave(struct fm_task *task)
{
    if (task->read)
        task->read->task = NULL;
    task->read = NULL;
}
