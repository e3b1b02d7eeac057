/* queue.h - asynchronous calls: accepted now, run when their turn comes, result kept for a while.
 *
 * One queue per worker, on top of its scheduler; it lives in memory.  The worker that accepted a
 * call keeps its record; its index is in the call's id, so any worker can ask the right one.
 * Chained calls of a finished parent enter here as well.
 *
 * A record holds what the call JSON shows, and the output, until `retention` after the end, or
 * until records take more than their share of memory: then the oldest finished ones go first. */
#pragma once

#include "base/error.h"
#include "call/call.h"
#include "loop/mailbox.h"

struct fm_function;
struct fm_loop;
struct fm_queue; /* one worker's; opaque */
struct fm_sched;

struct fm_queue_config {
    unsigned worker;
    struct fm_loop *loop;
    struct fm_sched *sched;
    uint64_t retention_ns;      /* how long a finished call's record is kept */
    uint64_t records_bytes_max; /* of all records together */
    uint32_t records_max;
    struct fm_queue *const *all; /* of all workers, by index; filled in before the loops start */
    unsigned all_count;
};

FM_MUST_CHECK int fm_queue_new(const struct fm_queue_config *config, struct fm_queue **ret_queue);
struct fm_queue *fm_queue_free(struct fm_queue *queue); /* after the scheduler has drained */

/* Accepts a call of `function` with a copy of the input; `*ret_id` is valid at once.
 * FM_ERR_BUSY: too many records.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_queue_submit(struct fm_queue *queue, struct fm_function *function,
                                  const uint8_t *input, size_t input_bytes, struct fm_id *ret_id);

/* Starts what `parent`, which has ended well, chained (call->chains).  All or none: if one target
 * does not exist, none starts and it is FM_ERR_CHAIN_TARGET with the name; FM_ERR_QUOTA when the
 * parent is too deep (chain_depth); FM_ERR_BUSY. */
FM_MUST_CHECK int fm_queue_chains(struct fm_queue *queue, const struct fm_call *parent,
                                  struct fm_error *error);

enum fm_record_status {
    FM_RECORD_QUEUED,
    FM_RECORD_RUNNING,
    FM_RECORD_SUCCEEDED,
    FM_RECORD_FAILED,
    FM_RECORD_CANCELLED,
};

const char *fm_record_status_text(enum fm_record_status status);

/* What is known of a call.  Texts and output are copies; fm_record_done() frees them. */
struct fm_record {
    struct fm_id id;
    enum fm_record_status status;
    char *user;
    char *function;
    char *version;
    struct fm_id parent; /* both words 0: none */
    struct fm_id *children;
    size_t children_count;
    uint64_t created_real_ns;
    uint64_t started_real_ns;  /* 0: not yet */
    uint64_t finished_real_ns; /* 0: not yet */
    uint64_t cpu_ns;
    uint64_t wall_ns;
    uint64_t memory_bytes;
    uint64_t input_bytes;
    int error; /* 0 or FM_ERR_* */
    int exit_code;
    const char *limit; /* static */
    char *trap;
    char *detail;
    char *backtrace;
    uint8_t *output;
    size_t output_bytes;
    uint8_t *log;
    size_t log_bytes;
    bool log_truncated;
};

void fm_record_done(struct fm_record *record);

/* One question about one call, to whichever worker has it.  The asker embeds it and keeps it until
 * on_answer, which is called on the asker's loop.  `found` false: no such call (any more). */
struct fm_query {
    struct fm_id id;
    bool want_output; /* copy output and log too */
    bool cancel;      /* also end it, if it has not ended */
    bool found;
    struct fm_record record; /* the asker's, after on_answer */
    void (*on_answer)(struct fm_query *query);

    struct fm_message message; /* private: the way there and back */
    struct fm_queue *target;   /* private */
    struct fm_mailbox *asker;  /* private */
};

/* Never fails; on_answer is never called before this returns.  Without memory for the copies the
 * answer has record.error = FM_ERR_NOMEM. */
void fm_queue_ask(struct fm_queue *queue, struct fm_query *query);
