/* calls.h - asynchronous calls on disk: what must outlive the process.
 *
 *      <data>/calls.db, -wal, -shm          SQLite: one row a call
 *      <data>/blobs/<id>.<kind>.<random>    inputs, outputs, logs over `inline_bytes_max`
 *
 *      worker --- fm_calls_accept()... ---> [ waiting writes ] ---> writer: one transaction
 *        ^                  |                      ^                for all that wait
 *        |                  +-> I/O pool: blobs ---+                         |
 *        +---------------------- on_done, by mailbox <-----------------------+
 *
 * A write is answered after its transaction is on disk, and in the order of the transactions.  What
 * a write said is seen by every read that is asked after its on_done.
 *
 * Writes and reads are embedded in whatever the asker is doing, as messages are: handing one over
 * neither blocks nor allocates nor fails, and on_done is called on the asker's loop, later, with
 * `error` 0 or:
 *   FM_ERR_STORAGE_FULL, FM_ERR_IO   the disk; nothing is to be seen of the write
 *   FM_ERR_NOMEM, FM_ERR_BUSY        memory; too much waits already, or the store was stopped
 * and what else each says.  Until then the object, and all that it points at, is ours.  Answers
 * (records, contents) are the asker's then: from malloc, also to be released after an error, where
 * they are empty.  Clear an object with {0} before its first use, and its answers before each.
 *
 * The asking functions are for any thread. */
#pragma once

#include "call/record.h"
#include "loop/mailbox.h"
#include "loop/pool.h"

#define FM_CALLS_FILE_SIZE 56 /* the name of a blob and its NUL */
#define FM_CALLS_NOTICE_SIZE 512

struct fm_calls; /* opaque; one for the process */

struct fm_calls_config {
    const char *data;             /* the data folder, which exists and is locked (functions.h) */
    struct fm_pool *pool;         /* blobs and checkpoints; lives longer than the store */
    const char *vfs;              /* SQLite's, by name; NULL: the usual */
    uint64_t now_real_ns;         /* what recovery stamps */
    uint64_t retention_ns;        /* of calls that recovery ends */
    const struct fm_id *suspects; /* calls that ran when the last server crashed */
    size_t suspects_count;
    uint64_t inline_bytes_max;  /* larger contents are files */
    uint64_t check_bytes_max;   /* a larger database is not read through at the start */
    uint64_t waiting_bytes_max; /* see FM_CALLS_WAITING_MAX */
    uint32_t waiting_max;
    uint32_t batch_max; /* writes in one transaction */
    uint64_t batch_bytes_max;
};

void fm_calls_config_defaults(struct fm_calls_config *config); /* data, pool, now are left */

/* What opening found and did. */
struct fm_calls_notice {
    bool damaged;                    /* something was kept aside, and a fresh database begun */
    char kept[FM_CALLS_NOTICE_SIZE]; /* its names in the data folder */
    char reason[FM_CALLS_NOTICE_SIZE];
    uint64_t requeued; /* calls that ran when the process ended, by what became of them */
    uint64_t cancelled;
    uint64_t dead;
    uint64_t orphans; /* blobs without a call, removed */
};

/* Makes, or opens and recovers:
 *   - a database that is damaged or not ours is kept aside, whole, with its blobs (see notice);
 *   - calls that were RUNNING are CANCELLED if that had been asked, DEAD if they were suspects for
 *     the FM_CALLS_STRIKES_MAXth time or had no attempt left, and QUEUED, due at once, otherwise;
 *   - blobs without a call are removed.
 * Blocks on the disk.  FM_ERR_CONFLICT: the database is of a later version of this program; it is
 * left as it is.  FM_ERR_NOMEM, FM_ERR_BUSY, FM_ERR_STORAGE_FULL, FM_ERR_IO. */
FM_MUST_CHECK int fm_calls_open(const struct fm_calls_config *config, struct fm_calls **ret_calls,
                                struct fm_calls_notice *ret_notice, struct fm_error *error);

/* What waits is written and answered; later writes and reads are FM_ERR_BUSY.  NULL is fine. */
void fm_calls_stop(struct fm_calls *calls);

/* Stops, closes, frees.  Answers are still posted, so the loops must outlive the store, and whoever
 * asked must be done with asking.  NULL is fine; returns NULL. */
struct fm_calls *fm_calls_free(struct fm_calls *calls);

/* A call that has not ended: all QUEUED, right after opening.  Texts are borrowed. */
struct fm_calls_open_call {
    struct fm_id id;
    struct fm_id parent;
    const char *user;
    const char *function;
    const char *version;
    uint64_t created_real_ns;
    uint64_t run_at_real_ns;
    uint64_t input_bytes;
    uint32_t attempt; /* those that were made */
    uint32_t attempts_max;
    uint32_t strikes;
    uint32_t depth;
};

/* Every such call, in the order in which they were accepted.  `visit` returns 0, or an error that
 * ends the walk.  Blocks: for the start, before the first write. */
FM_MUST_CHECK int fm_calls_each_open(struct fm_calls *calls,
                                     int (*visit)(const struct fm_calls_open_call *call,
                                                  void *data),
                                     void *data, struct fm_error *error);
