/* recent.h - what is remembered of synchronous calls that have ended: the latest of each user.
 *
 *      user "ada" --> ring of up to FM_RECENT_CALLS_MAX records, the oldest first
 *           ^
 *           +-- fm_recent_function ("echo", version 7) --- held by the scheduler's slot
 *
 * One per worker, in memory, and its thread's alone.  Adding a call is a handful of stores: no
 * lock, and no allocation but for texts (of a call that failed, or wrote a log) and while a user's
 * ring grows.  Outputs are not kept. */
#pragma once

#include "call/record.h"

struct fm_call;
struct fm_dump;
struct fm_recent;          /* opaque */
struct fm_recent_function; /* one version's names; opaque */
struct fm_version;

/* `bytes_max`: of all records and their texts; those of users that called longest ago go first. */
FM_MUST_CHECK int fm_recent_new(uint64_t bytes_max, struct fm_recent **ret_recent);

/* All functions must have been dropped.  NULL is fine; returns NULL. */
struct fm_recent *fm_recent_free(struct fm_recent *recent);

/* Names to add calls under.  FM_ERR_NOMEM, FM_ERR_IO (no random seed for a map). */
FM_MUST_CHECK int fm_recent_function_new(struct fm_recent *recent, const struct fm_version *version,
                                         struct fm_recent_function **ret_function);

/* No more calls are added under it; what was added stays.  NULL is fine. */
void fm_recent_function_drop(struct fm_recent_function *function);

/* How a call ended, beyond what it says itself. */
struct fm_recent_end {
    const struct fm_call *call;  /* DONE */
    int error;                   /* the call's own, or why its chained calls were not started */
    const char *detail;          /* of that error */
    const struct fm_id *chained; /* calls that it chained; those that it started it knows itself */
    size_t chained_count;
};

/* A call will be added soon: has the cache fetch what that will touch, some lines that were last
 * written thousands of calls ago. */
void fm_recent_expect(const struct fm_recent_function *function);

/* Remembers the call.  Without memory for its texts it is remembered without them, without memory
 * for a ring not at all. */
void fm_recent_add(struct fm_recent_function *function, const struct fm_recent_end *end);

/* A copy of what is remembered, and of the log (from malloc, NULL if it is empty; `ret_log` NULL:
 * not wanted).  FM_ERR_NOT_FOUND, FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_recent_get(const struct fm_recent *recent, const struct fm_id *id,
                                struct fm_call_record *ret_record, uint8_t **ret_log);

/* Core dumps of calls of any kind (call/dump.h): fm_recent_add() keeps those of the calls that it
 * is given, the others are handed over here, if there is one.  With a reference for the asker;
 * NULL: there is none. */
void fm_recent_dump_add(struct fm_recent *recent, const struct fm_call *call);
struct fm_dump *fm_recent_dump_get(const struct fm_recent *recent, const struct fm_id *id);

/* Which calls somebody wants to see, the latest first. */
struct fm_recent_filter {
    const char *user;     /* NULL: all */
    const char *function; /* NULL: all */
    bool by_status;       /* only those with `status` */
    enum fm_call_status status;
    struct fm_id after; /* only older ones; 0: from the start */
};

/* Calls visit() with each that fits, in no order.  What it is given is on loan: texts too. */
void fm_recent_each(const struct fm_recent *recent, const struct fm_recent_filter *filter,
                    void (*visit)(const struct fm_call_record *record, void *data), void *data);

bool fm_recent_fits(const struct fm_recent_filter *filter, const struct fm_call_record *record);

struct fm_recent_counts {
    uint64_t calls; /* remembered */
    uint64_t bytes; /* of them and of their texts */
};

void fm_recent_counts(const struct fm_recent *recent, struct fm_recent_counts *ret_counts);
