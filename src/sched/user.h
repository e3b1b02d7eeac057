/* user.h - a user on one worker: its turns, its part of the quotas, its counts.  Private to sched/.
 */
#pragma once

#include "loop/loop.h"
#include "loop/mailbox.h"
#include "sched/roots.h"
#include "sched/users.h"

struct fm_function;
struct fm_sched;

enum fm_user_bound { /* quotas that are not "no bound" */
                     FM_BOUND_REQUESTS = 1u << 0,
                     FM_BOUND_CPU = 1u << 1,
                     FM_BOUND_MEMORY = 1u << 2,
};

/* Made with the user's first call on this worker, freed with the scheduler: what it has consumed
 * must not be forgotten between its calls. */
struct fm_user {
    struct fm_map_node node; /* by name, in sched->users */
    struct fm_account *account;
    struct fm_sched *sched;
    struct fm_turns turns;
    uint32_t sandboxes; /* of this worker's that its calls have, wherever they are */

    struct fm_quotas quotas; /* as of the last news */
    unsigned bounds;         /* fm_user_bound */
    struct fm_lease concurrency;
    struct fm_lease waiting;
    struct fm_lease backlog;
    uint64_t requests;       /* credits taken and not spent */
    uint64_t cpu_pending_ns; /* used, and not yet taken from the bucket */
    bool throttled;          /* no CPU time left; the timer ends that */
    struct fm_timer throttle;

    int64_t memory_taken;   /* bytes, of the account's */
    int64_t memory_used;    /* bytes, of guests here; over memory_taken while there is no bound */
    int64_t memory_keep;    /* bytes that stay here when they are not used */
    uint64_t memory_wanted; /* by the first of the new calls, which are held; 0: they are not */

    struct fm_roots roots; /* its files, for the next call */

    struct fm_list blocked;       /* calls that wait for a unit of concurrency: task.link */
    struct fm_list blocked_slots; /* fm_slot.blocked_link: functions with calls that do */
    bool admitting;               /* blocked.c is at it */
    atomic_bool starving;         /* credits are wanted: who gives some back sends `credit` */
    struct fm_message credit;
    atomic_bool asked;       /* `spare` is under way */
    struct fm_message spare; /* another worker needs what is kept here */

    /* Written here only, read by anyone. */
    struct {
#define X(name) atomic_uint_least64_t name;
        FM_USE_MAP(X)
#undef X
    } use;
};

/* NULL: out of memory. */
FM_MUST_CHECK struct fm_user *fm_user_get(struct fm_sched *sched, const char *name,
                                          size_t name_length);
struct fm_user *fm_function_user(struct fm_sched *sched, struct fm_function *function);
void fm_user_free_all(struct fm_sched *sched); /* no calls are left */

static inline struct fm_user *fm_user_of(struct fm_turns *turns)
{
    return FM_CONTAINER_OF(turns, struct fm_user, turns);
}

/* News: the quotas are others now. */
void fm_user_changed(struct fm_sched *sched, const char *name);

/* The same of its files: nothing of the old ones is kept in memory, or on disk, for its sake. */
void fm_user_files_changed(struct fm_sched *sched, const char *name);

/* --- counts ----------------------------------------------------------------------------------- */

/* A plain addition: there is one writer. */
#define FM_USER_COUNT(user, name, change)                                                          \
    atomic_store_explicit(&(user)->use.name,                                                       \
                          atomic_load_explicit(&(user)->use.name, memory_order_relaxed) +          \
                              (uint64_t)(change),                                                  \
                          memory_order_relaxed)

void fm_user_use_add(const struct fm_user *user, struct fm_use *sum); /* any thread */

/* --- quotas (quotas.c) ------------------------------------------------------------------------ */

void fm_quotas_init(struct fm_user *user, const struct fm_quotas *quotas);
void fm_quotas_changed(struct fm_user *user, const struct fm_quotas *quotas);
void fm_quotas_done(struct fm_user *user);

/* requests_per_s.  False: `*ret_wait_ns` is when there will be one. */
FM_MUST_CHECK bool fm_quotas_request(struct fm_user *user, uint64_t *ret_wait_ns);

/* cpu_percent: what was used; and whether the user may run now.  If not, its calls are held until
 * it may. */
void fm_quotas_cpu(struct fm_user *user, uint64_t cpu_ns);
bool fm_quotas_may_run(struct fm_user *user);
uint64_t fm_quotas_cpu_wait_ns(const struct fm_user *user); /* 0: it may */

/* memory_bytes: whether a call with that limit can begin here.  What is missing is taken. */
FM_MUST_CHECK bool fm_quotas_memory_room(struct fm_user *user, uint64_t bytes);

/* The same for a call that waits: if not, the user's new calls are held until it can. */
FM_MUST_CHECK bool fm_quotas_memory_ready(struct fm_user *user, uint64_t bytes);

/* A guest that had `*bytes` has `now_bytes`.  False: that is more than the user may have. */
FM_MUST_CHECK bool fm_quotas_memory_set(struct fm_user *user, uint64_t *bytes, uint64_t now_bytes);

/* A guest with that memory goes to another worker, and comes from one; the credits travel along. */
void fm_quotas_memory_leave(struct fm_user *user, uint64_t bytes, uint64_t *ret_credits);
void fm_quotas_memory_arrive(struct fm_user *user, uint64_t bytes, uint64_t credits);

/* Calls of this user wait for credits: whoever gives some back will say so. */
void fm_quotas_starve(struct fm_user *user);

/* Something was given back: those who wait for it look again, here and on other workers. */
void fm_quotas_gave(struct fm_user *user);
