/* user.h - a user on one worker.  Private to sched/. */
#pragma once

#include "base/map.h"
#include "sched/runqueue.h"
#include "sched/users.h"

struct fm_sched;

/* Made with the user's first call on this worker, freed with the scheduler: what it has consumed
 * must not be forgotten between its calls. */
struct fm_user {
    struct fm_map_node node; /* by name, in sched->users */
    struct fm_account *account;
    struct fm_turns turns;
};

/* NULL: out of memory. */
FM_MUST_CHECK struct fm_user *fm_user_get(struct fm_sched *sched, const char *name,
                                          size_t name_length);
void fm_user_free_all(struct fm_sched *sched); /* no calls are left */

static inline struct fm_user *fm_user_of(struct fm_turns *turns)
{
    return FM_CONTAINER_OF(turns, struct fm_user, turns);
}
