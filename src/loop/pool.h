/* pool.h - a few threads for work that blocks: files, fsync, hashing, loading machine code.
 *
 * A job runs on one of the pool's threads and comes back to the mailbox of whoever submitted it.
 * Jobs start in the order in which they were submitted. */
#pragma once

#include "base/base.h"
#include "loop/mailbox.h"

struct fm_pool; /* opaque */

struct fm_job {
    struct fm_message message;           /* private: the way back */
    struct fm_mailbox *home;             /* private */
    void (*run)(struct fm_job *job);     /* on a pool thread; may block */
    void (*on_done)(struct fm_job *job); /* on the submitter's loop, after run */
};

/* FM_ERR_NOMEM, FM_ERR_BUSY (no thread could be started). */
FM_MUST_CHECK int fm_pool_new(unsigned threads, size_t jobs_max, struct fm_pool **ret_pool);

/* The first half of fm_pool_free(): all jobs finish, the threads end, and later ones are refused
 * with FM_ERR_BUSY.  The pool can still be asked.  NULL is fine. */
void fm_pool_stop(struct fm_pool *pool);

/* Lets running and queued jobs finish, then ends the threads.  Their messages are still posted, so
 * the loops must outlive the pool.  NULL is fine; returns NULL. */
struct fm_pool *fm_pool_free(struct fm_pool *pool);

/* Any thread.  `home` NULL: nobody hears of the end, and `run` may free the job.
 * FM_ERR_BUSY: `jobs_max` are waiting; the job was not taken. */
FM_MUST_CHECK int fm_pool_submit(struct fm_pool *pool, struct fm_job *job, struct fm_mailbox *home);
