/* users.h - the users of the whole process: what is one for all workers.
 *
 * An account is made when a worker first runs a call of its user, and stays until the process ends;
 * there are no more of them than users with functions.  One mutex guards the table; it is taken
 * once per worker and user, never for a call. */
#pragma once

#include "base/map.h"
#include "sched/runqueue.h"

struct fm_users; /* opaque; any thread */

struct fm_account {
    struct fm_map_node node; /* by name */
    char *name;
    struct fm_share share; /* of the CPU: runqueue.h */
};

FM_MUST_CHECK int fm_users_new(unsigned workers, struct fm_users **ret_users); /* FM_ERR_NOMEM */
struct fm_users *fm_users_free(struct fm_users *users); /* no worker is left; NULL is fine */

/* The account of that name, made if need be; as long as `users` is there.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_users_account(struct fm_users *users, const char *name, size_t name_length,
                                   struct fm_account **ret_account);
