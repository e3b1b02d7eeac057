/* life.h - a worker's scheduler for whoever has the worker's loop: made, given its turns, counted,
 * drained, ended.  What others do with it is in sched.h.
 *
 * All of it on the worker's thread, or on the one that is left before and after there are any. */
#pragma once

#include "base/error.h"
#include "base/id.h"

struct fm_call;
struct fm_code;
struct fm_engine;
struct fm_loop;
struct fm_modules;
struct fm_peers;
struct fm_pool;
struct fm_recent;
struct fm_sched; /* opaque */
struct fm_ticker;
struct fm_under_way;
struct fm_user_trees;
struct fm_users;

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

/* A function that is there from the start, before the loop runs.  Later ones come as news
 * (deploy.h). One hold of `code` goes over.  FM_ERR_NOMEM: the hold is given back. */
FM_MUST_CHECK int fm_sched_publish(struct fm_sched *sched, struct fm_code *code, uint64_t sequence);

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
