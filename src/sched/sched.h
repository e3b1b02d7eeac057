/* sched.h - the one door through which every call goes, and the worker's turn-taking behind it.
 *
 * One scheduler per worker thread; it owns the worker's sandboxes and run queue.  Nothing here
 * locks or blocks.  The HTTP front, chaining and the queue of asynchronous calls all do the same:
 *
 *      fm_sched_call_new()  ->  fill in the input  ->  fm_sched_submit()  ->  ... DONE
 *                                                                         ->  fm_sched_call_free()
 *
 * What happens behind the door: admission (slots, the function's concurrency), loading the module
 * on first use, running inline when that is fair, else queueing by user, slices, parking,
 * deadlines.  Calls that a call starts and waits for (call_start) come to the same door.
 *
 * How a scheduler is made, and gets its turns from the worker's loop: sched/life.h. */
#pragma once

#include "base/error.h"
#include "call/call.h"
#include "call/function.h"

struct fm_function; /* one function as this worker knows it; opaque */
struct fm_sched;    /* opaque */
struct fm_user;     /* one user as this worker knows it; opaque */

/* The last byte of a call's id names the worker that has it. */
#define FM_SCHED_WORKERS_MASK 0xffu
#define FM_SCHED_WORKERS_MAX 256

/* --- functions (registry.c) ------------------------------------------------------------------- */

/* NULL: no such function.  Valid until control returns to the loop. */
FM_MUST_CHECK struct fm_function *fm_sched_function(struct fm_sched *sched, const char *user,
                                                    size_t user_length, const char *function,
                                                    size_t function_length);

/* The version that a call made now would run; borrowed, valid as long as `function`. */
const struct fm_version *fm_function_version(const struct fm_function *function);

/* Calls that ended on this worker: all of them, and those that failed. */
void fm_function_counts(const struct fm_function *function, uint64_t *ret_total,
                        uint64_t *ret_failed);

/* Visits the functions of one user (NULL: of all), in no order; stops when `visit` returns false.
 */
void fm_sched_functions_each(struct fm_sched *sched, const char *user,
                             bool (*visit)(const struct fm_function *function, void *data),
                             void *data);

/* --- calls ------------------------------------------------------------------------------------ */

enum fm_submit {
    FM_SUBMIT_DONE,  /* it has ended (well or not); on_done is not called */
    FM_SUBMIT_LATER, /* it goes on by itself; call->on_done is called on this thread when it ended
                      */
};

/* A call of the function's current version, in state NEW, with an id.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_sched_call_new(struct fm_sched *sched, struct fm_function *function,
                                    struct fm_call **ret_call);
void fm_sched_call_free(struct fm_sched *sched, struct fm_call *call); /* NEW or DONE */

/* The door.  Refusals are outcomes: the call is DONE with FM_ERR_BUSY or FM_ERR_QUOTA.  With
 * call->wait_for_quota it waits for concurrency and memory instead of being refused; requests_per_s
 * and queue_length are then not asked: it has been accepted before. */
FM_MUST_CHECK enum fm_submit fm_sched_submit(struct fm_sched *sched, struct fm_call *call);

/* For whoever accepts a call now to submit it later: takes one of the user's requests_per_s.
 * FM_ERR_QUOTA, with how long until there is one.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_sched_request(struct fm_sched *sched, struct fm_function *function,
                                   uint64_t *ret_retry_ns);

/* The same for its queue_length: a place among the user's accepted calls, until that call has
 * ended. With `anyway` there always is one.  FM_ERR_QUOTA, FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_sched_backlog_enter(struct fm_sched *sched, const char *user, bool anyway,
                                         struct fm_user **ret_user);
void fm_sched_backlog_leave(struct fm_user *user); /* on the same worker */

/* How many calls of it may be under way: more of them would only wait at the door. */
uint64_t fm_sched_backlog_concurrency(const struct fm_user *user);

/* Ends a submitted call with `error` (FM_ERR_CANCELLED...), in any state; on_done is called, before
 * this returns unless the call has a thread now, or is with another worker: then soon.  A call that
 * is DONE stays as it is. */
void fm_sched_cancel(struct fm_sched *sched, struct fm_call *call, int error);

/* A call with streams (call/web.h), which must be pinned: if it is parked for one of them it asks
 * again, in its turn.  Otherwise it will by itself. */
void fm_sched_wake(struct fm_sched *sched, struct fm_call *call);

/* How far a call has come.  While another worker has it, as it was when it left; the call's own
 * fields (but id, version, limits and what is its owner's) are not to be looked at before on_done.
 */
struct fm_progress {
    enum fm_call_state state;
    uint64_t started_ns;
    uint64_t finished_ns;
    uint64_t cpu_ns;
    uint64_t memory_bytes;
    bool cancelled; /* it is to end, and has not yet */
    bool away;      /* another worker has it, where it may have begun meanwhile */
};

void fm_sched_progress(const struct fm_call *call, struct fm_progress *ret_progress);

/* Remembers a call that is DONE (call/recent.h), unless the door refused it: in a flood these would
 * push out what did run.  `chained` are the calls that it chained; `chains_error`, why it could
 * not: NULL or code 0 if it could. */
void fm_sched_remember(struct fm_sched *sched, const struct fm_call *call,
                       const struct fm_error *chains_error, const struct fm_id *chained,
                       size_t chained_count);
