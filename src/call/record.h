/* record.h - what is known of a call, as plain data: what `/calls` shows and what store/ keeps.
 *
 *      QUEUED --> RUNNING --> SUCCEEDED | FAILED | CANCELLED | DEAD
 *        |  ^        |                                          |
 *        |  +--------+ (another attempt)                        |
 *        |  +---------------------------------------------------+ (redriven)
 *        +--> CANCELLED
 *
 * A record owns its texts.  It knows nothing of who moves it; input, output and log are not part of
 * it, only their sizes.  One thread at a time. */
#pragma once

#include "base/error.h"
#include "base/id.h"

/* The numbers are on disk and never change; a new status gets the next one. */
enum fm_call_status {
    FM_STATUS_QUEUED = 0,    /* waits for its time and its turn */
    FM_STATUS_RUNNING = 1,   /* an attempt is under way */
    FM_STATUS_SUCCEEDED = 2, /* the rest has ended */
    FM_STATUS_FAILED = 3,
    FM_STATUS_CANCELLED = 4,
    FM_STATUS_DEAD = 5, /* out of attempts, or it crashed the server; can be redriven */
    FM_STATUS_COUNT_
};

const char *fm_call_status_text(enum fm_call_status status); /* as in api: "queued"... */
bool fm_call_status_ended(enum fm_call_status status);

/* FM_ERR_BAD_REQUEST: not one of the texts. */
FM_MUST_CHECK int fm_call_status_parse(const char *text, size_t length,
                                       enum fm_call_status *ret_status);

/* Texts are from malloc, or NULL where there is none; times are since 1970, 0 where there is none.
 */
struct fm_call_record {
    struct fm_id id;
    enum fm_call_status status;
    uint32_t attempt;      /* 1 is the first; 0 while none has begun */
    uint32_t attempts_max; /* 0: no bound */
    uint32_t strikes;      /* crashes of the server that are laid to this call */
    uint32_t depth;        /* calls above it */
    char *user;
    char *function;
    char *version;
    char *key;           /* Idempotency-Key */
    struct fm_id parent; /* both words 0: none */
    struct fm_id *children;
    size_t children_count;

    uint64_t created_real_ns;
    uint64_t run_at_real_ns;   /* the next attempt starts no earlier */
    uint64_t started_real_ns;  /* of the latest attempt */
    uint64_t finished_real_ns; /* 0 until it has ended */

    uint64_t cpu_ns; /* these: of the latest attempt that ended */
    uint64_t wall_ns;
    uint64_t memory_bytes;
    uint64_t input_bytes;
    uint64_t output_bytes;
    uint64_t log_bytes;
    bool log_truncated;
    bool cancelled; /* RUNNING, and its cancellation is on disk */

    int exit_code;
    int error; /* 0 or FM_ERR_*; while QUEUED: of the attempt before */
    char *limit;
    char *trap;
    char *detail;
    char *backtrace;
};

/* Frees the texts and clears all; a cleared record is fine. */
void fm_call_record_done(struct fm_call_record *record);

/* A deep copy into `ret_record`, whose old content is not freed.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_call_record_copy(const struct fm_call_record *record,
                                      struct fm_call_record *ret_record);

/* An error as a text that stays the same in later versions, whatever the table in base/error.h
 * comes to look like: "" for 0.  fm_err_code() would not do: two errors can share a code. */
const char *fm_call_error_text(int error);

/* The way back.  A text that this version does not know is answered by the first error that has
 * this `code` (fm_err_code(); NULL is fine), and if there is none by FM_ERR_INTERNAL. */
int fm_call_error_parse(const char *text, const char *code);
