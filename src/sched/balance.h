/* balance.h - which worker should have which call: decisions only, as in policy.h.
 *
 * A worker with calls that wait gives one away, at the end of a slice, in two cases: another worker
 * has nothing to do; or another worker has nothing of a user that has two or more calls here, so
 * that it could not give that user its share.
 *
 *      nothing to do:   it sets `idle`.  Whoever sees that takes `claimed`, and gives.
 *      receives:        clears both.
 *
 * One call at a time is under way to a worker (`claimed`), which bounds the messages to about one a
 * slice and receiver.  Nobody spins and nobody is asked: who has nothing to give never looks. */
#pragma once

#include "sched/runqueue.h"

struct fm_sched;

struct fm_peer {
    _Alignas(64) atomic_bool idle; /* has nothing to run */
    atomic_bool claimed;           /* somebody is giving it a call, or it takes none any more */
    struct fm_sched *sched;        /* whom to send it to; set before the threads start */
};

/* All workers of a process. */
struct fm_peers {
    unsigned count;
    struct fm_peer peers[];
};

FM_MUST_CHECK int fm_peers_new(unsigned count, struct fm_peers **ret_peers); /* FM_ERR_NOMEM */
struct fm_peers *fm_peers_free(struct fm_peers *peers);                      /* NULL is fine */

/* Who gives. */
struct fm_giver {
    unsigned worker; /* index */
    unsigned lanes;  /* calls of these can go: it has a sandbox for each, if they need one */
    bool (*can_move)(struct fm_list *link); /* NULL: each task can */
};

struct fm_gift {
    struct fm_list *link; /* out of the queue */
    enum fm_lane lane;
    unsigned worker; /* who gets it; claimed */
};

/* At the end of a slice that `turns` has had (NULL: of nobody's).  True: one call is to be given
 * away. */
FM_MUST_CHECK bool fm_balance_give(struct fm_peers *peers, const struct fm_giver *giver,
                                   struct fm_runqueue *queue, struct fm_turns *turns,
                                   struct fm_gift *ret_gift);

/* The receiver: a call has come. */
void fm_balance_received(struct fm_peers *peers, unsigned self);

/* The worker has nothing to run; or has again.  Only for changes. */
void fm_balance_idle(struct fm_peers *peers, unsigned self, bool idle);

/* The worker takes nothing any more.  False: something is on its way, ask again when it has come.
 */
FM_MUST_CHECK bool fm_balance_close(struct fm_peers *peers, unsigned self);
