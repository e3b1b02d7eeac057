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
 * deadlines. */
#pragma once

#include "base/error.h"
#include "call/call.h"
#include "call/function.h"

struct fm_code;
struct fm_function; /* one function as this worker knows it; opaque */
struct fm_loop;
struct fm_modules;
struct fm_recent;
struct fm_recent_function;
struct fm_sched; /* opaque */
struct fm_ticker;

/* The last byte of a call's id names the worker that has it. */
#define FM_SCHED_WORKERS_MASK 0xffu
#define FM_SCHED_WORKERS_MAX 256

struct fm_sched_config {
    unsigned worker;  /* index; also in the ids of its calls */
    unsigned workers; /* how many there are */
    struct fm_loop *loop;
    struct fm_modules *modules; /* shared by all workers */
    struct fm_ticker *ticker;   /* the same */
    struct fm_recent *recent;   /* of this worker; NULL: nothing is remembered */

    /* Where the id of the call whose guest runs is noted, for whoever looks at it after a crash;
     * all 0 in between.  NULL: nobody will. */
    volatile struct fm_id *suspect;
    uint32_t calls_max; /* sandboxes of this worker at once */
    uint32_t queue_max; /* calls waiting for one; more are FM_ERR_BUSY */
};

FM_MUST_CHECK int fm_sched_new(const struct fm_sched_config *config, struct fm_sched **ret_sched);
struct fm_sched *fm_sched_free(struct fm_sched *sched); /* no call may be left; NULL is fine */

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

/* A function that is there from the start, before the loop runs.  Later ones come as news
 * (deploy.h). One hold of `code` goes over.  FM_ERR_NOMEM: the hold is given back. */
FM_MUST_CHECK int fm_sched_publish(struct fm_sched *sched, struct fm_code *code, uint64_t sequence);

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

/* The door.  Refusals are outcomes: the call is DONE with FM_ERR_BUSY or FM_ERR_QUOTA. */
FM_MUST_CHECK enum fm_submit fm_sched_submit(struct fm_sched *sched, struct fm_call *call);

/* What the call is remembered under (recent.h), when it is DONE.  NULL: it is not. */
struct fm_recent_function *fm_sched_recent(struct fm_sched *sched, const struct fm_call *call);

/* Ends a submitted call with `error` (FM_ERR_CANCELLED...), in any state; on_done is called,
 * perhaps before this returns.  A call that is DONE stays as it is. */
void fm_sched_cancel(struct fm_sched *sched, struct fm_call *call, int error);

/* --- the worker's loop ------------------------------------------------------------------------ */

/* Runs queued calls, about one slice in all. */
void fm_sched_turn(struct fm_sched *sched);

/* There is something to run: do not wait. */
bool fm_sched_busy(const struct fm_sched *sched);

/* Stops taking calls: from now on the door answers FM_ERR_BUSY. */
void fm_sched_drain(struct fm_sched *sched);

struct fm_sched_counts {
    uint64_t submitted;
    uint64_t finished;
    uint64_t failed;    /* of the finished */
    uint64_t cancelled; /* of the failed */
    uint64_t inlined;   /* ran to its end inside submit */
    uint64_t slices;    /* times a guest was given the thread */
    uint64_t guest_cpu_ns;
    uint64_t cold;      /* calls that waited for their module */
    uint32_t queued;    /* now */
    uint32_t parked;    /* now */
    uint32_t sandboxes; /* now */
    uint32_t calls;     /* now, not yet DONE */
};

void fm_sched_counts(const struct fm_sched *sched, struct fm_sched_counts *ret_counts);
