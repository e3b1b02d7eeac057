/* queue.h - asynchronous calls: accepted once they are on disk, run when their turn comes, tried
 * again when that may help; bounded in number and memory.
 *
 *      submit --> [row on disk] --> due --> [claim on disk] --> scheduler --> [its end on disk]
 *                      |             ^                                               |
 *                      +-- later ----+<--------------- another attempt --------------+
 *
 * One queue per worker, on top of its scheduler.  In memory it has a light entry for every call
 * that has not ended; all that must last is in the store (store/calls.h).  A call's home is the
 * worker that its id names; who asks for one of another worker sends a message (ask.h).
 *
 * At least once: an attempt whose end did not reach the disk is made again, with a higher number.
 *
 * Unless said otherwise everything is for the worker's thread, and objects that an asker embeds are
 * ours until their callback, which is never called before the asking function has returned. */
#pragma once

#include "base/error.h"
#include "call/recent.h"
#include "call/record.h"
#include "store/calls_read.h"
#include "store/calls_write.h"

struct fm_call;
struct fm_function;
struct fm_loop;
struct fm_queue; /* one worker's; opaque */
struct fm_queue_batch;
struct fm_sched;
struct fm_under_way;

struct fm_queue_config {
    unsigned worker;
    struct fm_loop *loop;
    struct fm_sched *sched;
    struct fm_calls *calls;         /* shared by all workers */
    struct fm_recent *recent;       /* of this worker */
    struct fm_under_way *under_way; /* the same; those who wait are ours */
    uint32_t calls_max;             /* that have not ended; more are FM_ERR_BUSY */
    uint32_t running_max;           /* claimed at once; at least 1 */
    uint64_t inputs_bytes_max;      /* in memory; the others wait on disk */
    uint64_t retention_ns_max;      /* however long a function's limit is */
    uint64_t stored_rows_max;       /* on disk; of calls that have ended the oldest go */
    uint64_t stored_bytes_max;
    struct fm_queue *const *all; /* of all workers, by index; filled in before the loops start */
    unsigned all_count;
};

FM_MUST_CHECK int fm_queue_new(const struct fm_queue_config *config, struct fm_queue **ret_queue);

/* A call that the store has from an earlier process.  Before the loops run, in the order of
 * fm_calls_each_open(), to its home among `all`.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_queue_restore(struct fm_queue *const *all, unsigned all_count,
                                   const struct fm_calls_open_call *call);

/* Takes no new calls and starts no attempts; what runs goes on.  Over when counts.busy is 0. */
void fm_queue_drain(struct fm_queue *queue);

/* When time is up: attempts under way are broken off and their calls are QUEUED again, for the next
 * start, without having lost an attempt.  Those writes are answered by messages. */
void fm_queue_stop(struct fm_queue *queue);

/* After the store was stopped and its answers were heard.  NULL is fine; returns NULL. */
struct fm_queue *fm_queue_free(struct fm_queue *queue);

/* --- accepting -------------------------------------------------------------------------------- */

struct fm_queue_submit {
    struct fm_function *function; /* only until fm_queue_submit() returns */
    uint8_t *input;               /* from malloc; taken, if 0 is returned.  NULL: no bytes */
    size_t input_bytes;
    const char *key;   /* Idempotency-Key; NULL: none */
    uint64_t delay_ns; /* before its first attempt; at most FM_QUEUE_DELAY_S_MAX */
    void (*on_done)(struct fm_queue_submit *submit);

    int error;                  /* answer: those of fm_calls_accept() */
    struct fm_id id;            /* answer: of the call, or of the earlier one with that key */
    enum fm_call_status status; /* answer */

    struct fm_calls_accept accept; /* private */
    struct fm_queue_batch *batch;
};

/* Accepts a call; on_done comes when it is on disk.  FM_ERR_BUSY: too many calls have not ended, or
 * the server is shutting down.  FM_ERR_QUOTA: the user's queue_length.  FM_ERR_NOMEM.  Then there
 * is no on_done. */
FM_MUST_CHECK int fm_queue_submit(struct fm_queue *queue, struct fm_queue_submit *submit,
                                  struct fm_error *error);

/* Stores what `parent`, which was synchronous and has ended well, chained (call->chains).  All or
 * none: if one target does not exist, none starts. */
struct fm_queue_chains {
    const struct fm_call *parent;
    void (*on_done)(struct fm_queue_chains *chains);

    struct fm_error error;  /* answer: FM_ERR_CHAIN_TARGET, FM_ERR_TOO_LARGE (an input),
                               FM_ERR_GUEST_LIMIT (chain_depth), FM_ERR_QUOTA (queue_length),
                               FM_ERR_BUSY, FM_ERR_NOMEM, those of fm_calls_accept() */
    struct fm_id *children; /* answer: from malloc, the asker's; NULL after an error */
    size_t children_count;

    struct fm_calls_accept accept; /* private */
    struct fm_queue_batch *batch;
};

/* 0, and on_done comes; or the error is there at once, and on_done does not come. */
FM_MUST_CHECK int fm_queue_chains(struct fm_queue *queue, struct fm_queue_chains *chains);

/* --- numbers ---------------------------------------------------------------------------------- */

struct fm_queue_counts {
    uint64_t accepted; /* calls on disk for the first time, chained ones too */
    uint64_t attempts; /* that were begun */
    uint64_t retries;  /* attempts that were followed by another */
    uint64_t ended;    /* calls, and of these: */
    uint64_t failed;
    uint64_t cancelled;
    uint64_t dead;
    uint64_t forgotten; /* by time, or for want of room */
    uint64_t writes;    /* answered by the store */
    uint64_t write_errors;
    uint32_t due;          /* now: wait for their turn */
    uint32_t later;        /* now: wait for their time */
    uint32_t running;      /* now: claimed */
    uint32_t writing;      /* now: writes under way, or to be tried again */
    uint32_t busy;         /* now: what drain waits for */
    uint64_t inputs_bytes; /* now, in memory */
    uint64_t recent;       /* synchronous calls that are remembered */
    uint64_t recent_bytes;
};

void fm_queue_counts(const struct fm_queue *queue, struct fm_queue_counts *ret_counts);
