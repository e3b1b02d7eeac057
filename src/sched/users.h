/* users.h - the users of the whole process: what is one for all workers.
 *
 * An account is made when a worker first runs a call of its user, or when its quotas are changed,
 * and stays until the process ends.  One mutex guards the table; it is taken once per worker and
 * user, and by those who ask about users, never for a call.
 *
 * What quotas bound is shared by the workers in credits that they take in batches (lease.h), so a
 * bound is exceeded by nobody, and may refuse up to a batch per worker early; small ones are exact.
 * Of what is known only afterwards (CPU time, memory that a guest grew) each worker may be over by
 * one slice, or by what one call grew in it. */
#pragma once

#include "base/map.h"
#include "base/quotas.h"
#include "sched/bucket.h"
#include "sched/lease.h"
#include "sched/runqueue.h"

struct fm_audience;
struct fm_pool;
struct fm_users; /* opaque; any thread */

struct fm_users_config {
    unsigned workers;
    struct fm_pool *pool;               /* changes are kept there; NULL: there are none */
    const struct fm_audience *audience; /* who hears of changes */
    /* What the configuration says of a user; NULL: the defaults. */
    void (*configured)(void *data, const char *user, struct fm_quotas *quotas);
    /* Keeps what was changed, durably, in place of what was kept before; on a pool thread. */
    int (*persist)(void *data, const char *user, const struct fm_quota_set *changed,
                   struct fm_error *error);
    void *data;
};

struct fm_account {
    struct fm_map_node node; /* by name */
    char *name;
    struct fm_users *users;
    atomic_uint starving; /* workers that wait for credits of this user */

    /* Under the mutex. */
    struct fm_quotas quotas;     /* in force */
    struct fm_quota_set changed; /* over HTTP: beats what is configured */

    struct fm_share share;       /* of the CPU: runqueue.h */
    struct fm_quota concurrency; /* calls */
    struct fm_quota waiting;     /* calls: queue_length */
    struct fm_quota backlog;     /* asynchronous calls: queue_length, too */
    struct fm_quota memory;      /* bytes; only counted while there is a bound */
    struct fm_bucket requests;
    struct fm_bucket cpu;
};

FM_MUST_CHECK int fm_users_new(const struct fm_users_config *config, struct fm_users **ret_users);
struct fm_users *fm_users_free(struct fm_users *users); /* no worker is left; NULL is fine */

unsigned fm_users_workers(const struct fm_users *users);

/* The account of that name, made if need be; as long as `users` is there.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_users_account(struct fm_users *users, const char *name, size_t name_length,
                                   struct fm_account **ret_account);

/* The quotas in force now. */
void fm_account_quotas(struct fm_account *account, struct fm_quotas *ret_quotas);

/* --- changes ---------------------------------------------------------------------------------- */

/* Makes `changed` all that differs from the configuration, for workers that come to know the user
 * from now on; the others hear it by news.  FM_ERR_NOMEM.  For what was kept of an earlier run. */
FM_MUST_CHECK int fm_users_set(struct fm_users *users, const char *name,
                               const struct fm_quota_set *changed);

#define FM_USERS_CHANGED_MAX 100000 /* users whose quotas were changed */

/* --- questions -------------------------------------------------------------------------------- */

/* What a user has and had, over all workers, since the process started. */
#define FM_USE_MAP(X)                                                                              \
    X(calls)        /* now, admitted and not ended */                                              \
    X(queued)       /* of these, waiting for their first turn; without asynchronous ones */        \
    X(accepted)     /* asynchronous calls, now, accepted and not ended */                          \
    X(memory_bytes) /* now */                                                                      \
    X(requests)     /* calls that came to the door */                                              \
    X(refused)      /* of these, for a quota */                                                    \
    X(finished)     /* admitted and ended */                                                       \
    X(failed)       /* of these */                                                                 \
    X(cpu_ns)                                                                                      \
    X(wall_ns) /* of the finished, from arrival to end */                                          \
    X(bytes_in)                                                                                    \
    X(bytes_out)

struct fm_use {
#define X(name) uint64_t name;
    FM_USE_MAP(X)
#undef X
};

struct fm_user_state {
    const char *name; /* in a visit; else NULL */
    struct fm_quotas quotas;
    struct fm_use use;
};

/* Of a user that nobody has heard of, too: what it would be given. */
void fm_users_state(struct fm_users *users, const char *name, struct fm_user_state *ret_state);

/* Visits all accounts, in no order; the table is locked meanwhile. */
void fm_users_each(struct fm_users *users, void (*visit)(const struct fm_user_state *, void *data),
                   void *data);
