/* calls_private.h - what the files behind calls.h share.  Private to store/ and its tests.
 *
 *      calls.c       life, asking and answering        calls_open.c   the start: check, keep aside
 *      calls_each.c  what the start hands on           calls_recover.c   and put right
 *      schema.c      the tables                        db.c, sql.h, rows.c   SQLite
 *      inbox.c       what waits for a thread           blobs.c        contents that are files
 *      writer.c      transactions                      checkpoint.c   the log, carried over
 *      entries.c     new calls: accept, children       attempts.c     claim, finish
 *      changes.c     cancel, redrive, forget           found.c        what they share
 *      reader.c      what each read does
 */
#pragma once

#include <pthread.h>

#include "store/calls_read.h"
#include "store/calls_write.h"
#include "store/db.h"
#include "store/inbox.h"

#define FM_CALLS_DB "calls.db"
#define FM_CALLS_BLOBS "blobs"

#define FM_CALLS_APPLICATION_ID 0x6661736d /* "fasm": this file is ours */
#define FM_CALLS_VERSION 1                 /* of the schema */

/* --- the store -------------------------------------------------------------------------------- */

struct fm_calls_files { /* names of blobs */
    char (*names)[FM_CALLS_FILE_SIZE];
    size_t count;
    size_t capacity;
};

struct fm_calls_sums {
    uint64_t rows;
    uint64_t rows_open;
    uint64_t bytes;
};

struct fm_calls {
    struct fm_calls_config config; /* never changes; its texts are not ours after opening */
    char *path;                    /* of calls.db */
    char *vfs;                     /* NULL: the usual */
    int data_fd;
    int blobs_fd;

    struct fm_calls_inbox writes;
    struct fm_calls_inbox reads;
    pthread_t writer_thread;
    pthread_t reader_thread;
    unsigned threads; /* that run */

    /* The writer's. */
    struct fm_db writer;
    struct fm_calls_sums sums;    /* with the changes of the present transaction */
    struct fm_calls_files doomed; /* blobs that go when the transaction is on disk */
    uint64_t wal_frames;          /* in the log after the last commit */
    uint64_t checkpoint_frames;   /* a checkpoint begins when the log has so many */

    struct fm_db reader; /* the reader's */

    /* The checkpoint on the pool: its own while `checkpointing`, the writer's otherwise. */
    struct fm_db carrier;
    struct fm_job checkpoint;
    _Atomic bool checkpointing;
    bool checkpointed; /* one has ended, and the writer has not looked yet */
};

/* fm_calls_open() without its threads: for tests, which then call the turns themselves. */
FM_MUST_CHECK int fm_calls_open_idle(const struct fm_calls_config *config,
                                     struct fm_calls **ret_calls,
                                     struct fm_calls_notice *ret_notice, struct fm_error *error);

/* Adds to the notice what became of the calls that ran, and the orphans. */
FM_MUST_CHECK int fm_calls_recover(struct fm_calls *calls, struct fm_calls_notice *notice,
                                   struct fm_error *error);

/* Another connection to a store that is open; the caller closes it.  FM_ERR_NOMEM and those of
 * SQLite. */
FM_MUST_CHECK int fm_calls_connect(const struct fm_calls *calls, struct fm_db *db,
                                   struct fm_error *error);

/* --- asking and answering: calls.c ------------------------------------------------------------ */

struct fm_calls_kind {
    enum fm_calls_lane lane; /* the first or the second */
    /* On the asker's thread: sets bytes, inline_bytes and blobs.  An error is the answer. */
    int (*prepare)(struct fm_calls *calls, struct fm_calls_write *write);
    /* Where blobs was set: writes them (blobs.c), on the pool. */
    int (*blobs)(struct fm_calls *calls, struct fm_calls_write *write);
    /* In the transaction.  What it answers is in write->error; only a failure that ends the
     * transaction is returned.  Of a write that has an error no row is changed. */
    int (*apply)(struct fm_calls *calls, struct fm_calls_write *write);
    /* Takes the answers back, after the transaction failed. */
    void (*undo)(struct fm_calls_write *write);
    /* Dooms the blobs that were written for it and are not needed. */
    void (*unused)(struct fm_calls *calls, struct fm_calls_write *write);
    /* After the transaction: true if it is not to be answered yet (and answers itself). */
    bool (*after)(struct fm_calls *calls, struct fm_calls_write *write);
};

void fm_calls_write_ask(struct fm_calls *calls, struct fm_calls_write *write,
                        const struct fm_calls_kind *kind, struct fm_mailbox *home);
void fm_calls_write_answer(struct fm_calls_write *write); /* not counted out */
enum fm_calls_lane fm_calls_write_lane(const struct fm_calls_write *write);

struct fm_calls_question {
    /* On the reader's thread.  True if it is not to be answered yet (and answers itself). */
    bool (*ask)(struct fm_calls *calls, struct fm_calls_read *read);
};

void fm_calls_read_ask(struct fm_calls *calls, struct fm_calls_read *read,
                       const struct fm_calls_question *question, struct fm_mailbox *home);
void fm_calls_read_answer(struct fm_calls *calls, struct fm_calls_read *read);

/* --- entries.c: new calls, of an accept and of a finish ----------------------------------------
 */

FM_MUST_CHECK int fm_entries_prepare(struct fm_calls *calls, struct fm_calls_write *write,
                                     struct fm_calls_entry *entries, size_t count);
FM_MUST_CHECK int fm_entries_blobs(struct fm_calls *calls, struct fm_calls_entry *entries,
                                   size_t count); /* removes them again if it fails */

/* `*ret_taken`: an id is taken, and nothing was inserted. */
FM_MUST_CHECK int fm_entries_insert(struct fm_calls *calls, const struct fm_calls_entry *entries,
                                    size_t count, bool *ret_taken);
void fm_entries_doom(struct fm_calls *calls, const struct fm_calls_entry *entries, size_t count);

/* --- writer.c, reader.c, checkpoint.c --------------------------------------------------------- */

void *fm_calls_writer(void *calls); /* the threads */
void *fm_calls_reader(void *calls);

bool fm_calls_writer_turn(struct fm_calls *calls); /* one transaction; false: it is all over */
bool fm_calls_reader_turn(struct fm_calls *calls);

void fm_calls_checkpoint_watch(struct fm_calls *calls); /* once, when the writer is open */
void fm_calls_checkpoint_turn(struct fm_calls *calls);  /* after each transaction */

/* All of the log that can be carried over, now.  Whether that was all there is. */
bool fm_calls_checkpoint_now(struct fm_calls *calls);
