/* calls_write.h - changes of calls on disk (calls.h has the rules that are common to all).
 *
 * A write is handed over by fm_calls_<write>() and answered by on_done after its transaction, which
 * many writes share.  Each comment says what the write does, and which errors it has beside those
 * of calls.h; after an error nothing of it is to be seen. */
#pragma once

#include "store/calls.h"

struct fm_calls_write {
    void (*on_done)(struct fm_calls_write *write);
    int error; /* the answer */

    struct fm_message message; /* from here on: private */
    struct fm_mailbox *home;
    struct fm_calls *calls;
    struct fm_job job;
    const struct fm_calls_kind *kind;
    uint64_t bytes;        /* of contents */
    uint64_t inline_bytes; /* of these, in the database */
    bool blobs;            /* the rest goes to files first */
};

/* A call to be. */
struct fm_calls_entry {
    struct fm_id id;
    struct fm_id parent; /* both words 0: none */
    const char *user;
    const char *function;
    const char *version;
    const char *key; /* Idempotency-Key; NULL: none */
    const uint8_t *input;
    size_t input_bytes;
    uint64_t created_real_ns;
    uint64_t run_at_real_ns;
    uint64_t started_real_ns; /* not 0: RUNNING at once, attempt 1 */
    uint32_t attempts_max;
    uint32_t depth;

    char input_file[FM_CALLS_FILE_SIZE]; /* private */
    uint8_t input_sha256[32];            /* private; for the key */
};

/* New calls: all or none.  A key is for a lone one.  If the user's function has a call with that
 * key, nothing is written, and `existing` is that call if its input was the same; if not it is
 * FM_ERR_CONFLICT.  FM_ERR_CONFLICT also: an id is taken.  FM_ERR_TOO_LARGE: over
 * FM_CALLS_ENTRIES_MAX.  FM_ERR_BAD_REQUEST: a key that is empty or over FM_CALLS_KEY_BYTES_MAX. */
struct fm_calls_accept {
    struct fm_calls_write write;
    struct fm_calls_entry *entries;
    size_t entries_count;

    bool found; /* answer: `existing` is set, nothing was written */
    struct fm_call_record existing;
};

/* QUEUED -> RUNNING, the next attempt.  FM_ERR_NOT_FOUND.  FM_ERR_NOMEM, FM_ERR_BUSY or FM_ERR_IO
 * with `won`: the claim stands, but its input could not be read (fm_calls_get can try again). */
struct fm_calls_claim {
    struct fm_calls_write write;
    struct fm_id id;
    uint64_t started_real_ns;
    bool want_input;

    bool won;                  /* answer: false: it was not QUEUED */
    enum fm_call_status found; /* what it was */
    uint32_t attempt;          /* of this claim */
    uint8_t *input;            /* from malloc; not NULL if wanted and won, even with 0 bytes */
    size_t input_bytes;

    char input_file[FM_CALLS_FILE_SIZE]; /* private */
};

/* RUNNING -> `status`: ended, or QUEUED for another attempt; and, if it SUCCEEDED, its children,
 * in the same transaction.  The input is dropped unless it may be needed again (QUEUED, DEAD).
 * If a cancellation came first, the call is CANCELLED instead: without output and children.
 * FM_ERR_CONFLICT: it was not RUNNING, or a child's id is taken.  FM_ERR_NOT_FOUND.
 * FM_ERR_TOO_LARGE: over FM_CALLS_ENTRIES_MAX children.  Children have no keys. */
struct fm_calls_finish {
    struct fm_calls_write write;
    struct fm_id id;
    enum fm_call_status status;
    bool uncounted; /* QUEUED: it may have one attempt more for the one that it lost */
    bool log_truncated;
    uint64_t run_at_real_ns; /* of the next attempt */
    uint64_t finished_real_ns;
    uint64_t keep_until_real_ns; /* not before this is it forgotten; needed with QUEUED, too */
    uint64_t cpu_ns;
    uint64_t wall_ns;
    uint64_t memory_bytes;
    int exit_code;
    int error;
    const char *limit; /* texts: NULL or "" for none */
    const char *trap;
    const char *detail;
    const char *backtrace;
    const uint8_t *output;
    size_t output_bytes;
    const uint8_t *log;
    size_t log_bytes;
    const struct fm_id *started; /* calls that it started and waited for: ids, and no rows */
    size_t started_count;
    struct fm_calls_entry *children;
    size_t children_count;

    enum fm_call_status result; /* answer: what it is now */

    char output_file[FM_CALLS_FILE_SIZE]; /* private */
    char log_file[FM_CALLS_FILE_SIZE];
};

/* QUEUED -> CANCELLED.  RUNNING: its attempt becomes the last, and its end will be CANCELLED.
 * Ended already: nothing happens.  FM_ERR_NOT_FOUND. */
struct fm_calls_cancel {
    struct fm_calls_write write;
    struct fm_id id;
    uint64_t finished_real_ns;
    uint64_t keep_until_real_ns;

    enum fm_call_status found;    /* answer: what it was */
    struct fm_call_record record; /* and is now */
};

/* DEAD -> QUEUED, as if it were new: no attempts, no strikes, no outcome.  FM_ERR_NOT_FOUND,
 * FM_ERR_CONFLICT: it is not DEAD. */
struct fm_calls_redrive {
    struct fm_calls_write write;
    struct fm_id id;
    uint64_t run_at_real_ns;

    struct fm_call_record record; /* answer: as it is now; also with FM_ERR_CONFLICT */
};

/* Removes calls that have ended, those first whose time is over first: all whose keep_until is
 * past, and more while there are more rows or bytes than that.  At most FM_CALLS_FORGET_MAX at
 * once. */
struct fm_calls_forget {
    struct fm_calls_write write;
    uint64_t now_real_ns;
    uint64_t rows_max;
    uint64_t bytes_max;

    uint64_t forgotten;    /* answer */
    bool more;             /* ask again, there is more to do */
    uint64_t next_real_ns; /* the earliest keep_until that is left; 0: none */
};

void fm_calls_accept(struct fm_calls *calls, struct fm_calls_accept *accept,
                     struct fm_mailbox *home);
void fm_calls_claim(struct fm_calls *calls, struct fm_calls_claim *claim, struct fm_mailbox *home);
void fm_calls_finish(struct fm_calls *calls, struct fm_calls_finish *finish,
                     struct fm_mailbox *home);
void fm_calls_cancel(struct fm_calls *calls, struct fm_calls_cancel *cancel,
                     struct fm_mailbox *home);
void fm_calls_redrive(struct fm_calls *calls, struct fm_calls_redrive *redrive,
                      struct fm_mailbox *home);
void fm_calls_forget(struct fm_calls *calls, struct fm_calls_forget *forget,
                     struct fm_mailbox *home);
