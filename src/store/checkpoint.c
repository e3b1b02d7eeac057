/* checkpoint.c - what is in the log (calls.db-wal) is carried over into the database.
 *
 *      log:  [ carried over | new frames ............ ]  at most about FM_CALLS_WAL_BYTES, then:
 *
 *        1. a job on the pool, with a connection of its own, carries over what is there; commits go
 *           on meanwhile, and append
 *        2. when it has ended the writer carries over what came since, which is little, between two
 *           transactions: now the log is through, and the next commit begins it anew
 *
 * SQLite's own way is that the commit which fills the log also carries all of it over: that commit
 * and everybody behind it would wait for thousands of random writes and an fsync of the database.
 * With step 1 alone a steady load would never see the end of the log, which would grow for ever.
 *
 * Where another program reads the database for long (a backup), the log cannot be begun anew and
 * grows until it ends; so each try waits for as many new frames as the first.
 *
 * Threading: the writer's; the job on the pool. */
#include <stdatomic.h>

#include "base/limits.h"
#include "store/calls_private.h"

#define FRAME_BYTES 4096 /* about: a page and its head */
#define FRAMES_MAX (FM_CALLS_WAL_BYTES / FRAME_BYTES)

/* SQLite tells after each commit how long the log is. */
static int on_commit(void *data, sqlite3 *sqlite, const char *name, int frames)
{
    struct fm_calls *calls = data;
    (void)sqlite;
    (void)name;
    if ((uint64_t)frames < calls->wal_frames)
        calls->checkpoint_frames = FRAMES_MAX; /* it was begun anew */
    calls->wal_frames = (uint64_t)frames;
    return SQLITE_OK;
}

void fm_calls_checkpoint_watch(struct fm_calls *calls)
{
    calls->checkpoint_frames = FRAMES_MAX;
    (void)sqlite3_wal_hook(calls->writer.sqlite, on_commit, calls); /* the hook before: none */
}

bool fm_calls_checkpoint_now(struct fm_calls *calls)
{
    int frames = 0;
    int carried = 0;
    int rc = sqlite3_wal_checkpoint_v2(calls->writer.sqlite, NULL, SQLITE_CHECKPOINT_PASSIVE,
                                       &frames, &carried);
    return rc == SQLITE_OK && frames == carried;
}

static void run_checkpoint(struct fm_job *job)
{
    struct fm_calls *calls = FM_CONTAINER_OF(job, struct fm_calls, checkpoint);
    /* A failure leaves the log as it is: longer than it should be.  The next try is not far. */
    (void)sqlite3_wal_checkpoint_v2(calls->carrier.sqlite, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
                                    NULL);
    atomic_store_explicit(&calls->checkpointing, false, memory_order_release);
    fm_inbox_job_done(&calls->writes);
}

void fm_calls_checkpoint_turn(struct fm_calls *calls)
{
    if (atomic_load_explicit(&calls->checkpointing, memory_order_acquire))
        return;
    if (calls->checkpointed) {
        calls->checkpointed = false;
        calls->checkpoint_frames = calls->wal_frames + FRAMES_MAX;
        (void)fm_calls_checkpoint_now(
            calls); /* whether it got to the end shows at the next commit */
        return;
    }
    if (calls->wal_frames < calls->checkpoint_frames)
        return;
    calls->checkpoint.run = run_checkpoint;
    atomic_store_explicit(&calls->checkpointing, true, memory_order_relaxed);
    calls->checkpointed = true;
    if (fm_inbox_job(&calls->writes, calls->config.pool, &calls->checkpoint) == 0)
        return;
    atomic_store_explicit(&calls->checkpointing, false, memory_order_relaxed);
    calls->checkpointed = false; /* the pool is full: after the next transaction */
}
