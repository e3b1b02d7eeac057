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
 * deadlines.  Calls that a call starts and waits for (call_start) come to the same door. */
#pragma once

#include "base/error.h"
#include "call/call.h"
#include "call/function.h"

struct fm_code;
struct fm_engine;
struct fm_function; /* one function as this worker knows it; opaque */
struct fm_loop;
struct fm_modules;
struct fm_peers;
struct fm_recent;
struct fm_sched; /* opaque */
struct fm_ticker;
struct fm_under_way;
struct fm_user; /* one user as this worker knows it; opaque */
struct fm_users;

/* The last byte of a call's id names the worker that has it. */
#define FM_SCHED_WORKERS_MASK 0xffu
#define FM_SCHED_WORKERS_MAX 256

/* What a call that another one has started (call_start) chained, on its way to the disk. */
struct fm_sched_chains {
    const struct fm_call *call; /* DONE, without an error */
    void (*on_done)(struct fm_sched_chains *chains);

    struct fm_error error;  /* answer: why they were not stored; then none of them is */
    struct fm_id *children; /* answer: from malloc, the asker's; NULL after an error */
    size_t children_count;
};

struct fm_sched_config {
    unsigned worker;  /* index; also in the ids of its calls */
    unsigned workers; /* how many there are */
    struct fm_loop *loop;
    struct fm_modules *modules;     /* shared by all workers */
    struct fm_ticker *ticker;       /* the same */
    struct fm_engine *engine;       /* the same; NULL: its call stacks are not trimmed */
    struct fm_user_trees *trees;    /* the same; NULL: calls see no files */
    struct fm_pool *pool;           /* the same; reads these; NULL where there are none */
    struct fm_users *users;         /* the same; NULL: the worker is alone and has its own */
    struct fm_peers *peers;         /* the same: balance.h; NULL: calls stay where they are made */
    struct fm_recent *recent;       /* of this worker; NULL: nothing is remembered */
    struct fm_under_way *under_way; /* the same; for calls that calls have started; NULL: none */
    uint32_t calls_max;             /* sandboxes of this worker at once */
    uint32_t queue_max;             /* calls waiting for one; more are FM_ERR_BUSY */
    uint32_t await_depth; /* calls that may wait for one another; as many sandboxes more */

    /* Where the id of the call whose guest runs is noted, for whoever looks at it after a crash;
     * all 0 in between.  NULL: nobody will. */
    volatile struct fm_id *suspect;

    /* Stores what a call that another one started chained.  0: chains->on_done() comes later; else
     * the error is there at once, and on_done() does not come.  NULL: nothing can be stored. */
    int (*chains)(void *data, struct fm_sched_chains *chains);
    void *data;
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

/* --- the worker's loop ------------------------------------------------------------------------ */

/* Runs queued calls, about one slice in all. */
void fm_sched_turn(struct fm_sched *sched);

/* There is something to run: do not wait. */
bool fm_sched_busy(const struct fm_sched *sched);

/* Stops taking calls: from now on the door answers FM_ERR_BUSY, and nothing comes from other
 * workers. */
void fm_sched_drain(struct fm_sched *sched);

/* Nothing is left to do here, and no call will come: as far as it goes the server may end. */
bool fm_sched_drained(const struct fm_sched *sched);

/* The threads have ended: what this worker has of others goes home, with the messages that are
 * delivered next.  For all workers, before their calls are cancelled. */
void fm_sched_recall(struct fm_sched *sched);

/* Ends at once what the following turns would end bit by bit: calls whose parents have ended. */
void fm_sched_reap(struct fm_sched *sched);

struct fm_sched_counts {
    uint64_t submitted;
    uint64_t finished;
    uint64_t failed;    /* of the finished */
    uint64_t cancelled; /* of the failed */
    uint64_t inlined;   /* ran to its end inside submit */
    uint64_t slices;    /* times a guest was given the thread */
    uint64_t guest_cpu_ns;
    uint64_t cold;      /* calls that waited for their module */
    uint64_t given;     /* calls that went to other workers, */
    uint64_t received;  /* and that came from them, or back as a gift */
    uint64_t news_lost; /* published versions that did not get here, for want of memory */
    uint32_t queued;    /* now */
    uint32_t parked;    /* now */
    uint32_t sandboxes; /* now */
    uint32_t calls;     /* now, not yet DONE; of this worker, wherever they are */
    uint32_t children;  /* of these: started by another call */
    uint32_t away;      /* of these, now with other workers or on the way */
    uint32_t borrowed;  /* now, of other workers */
};

void fm_sched_counts(const struct fm_sched *sched, struct fm_sched_counts *ret_counts);
