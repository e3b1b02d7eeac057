/* backlog.c - what a user's quotas say of calls that are accepted now and come to the door later.
 *
 *      requests_per_s    taken when the call is accepted, not at the door, where it may come often
 *      queue_length      so many may be accepted and not have ended.  Calls that wait at the door
 *                        without having been accepted before are counted apart, with the same
 *                        bound, so that neither kind keeps the other out
 *
 * A place is taken and given on one worker, the call's home.  Calls that an earlier process has
 * accepted, or that are driven again, get one in any case: they were promised.
 *
 * Threading: the worker's. */
#include <string.h>

#include "sched/sched_private.h"

int fm_sched_request(struct fm_sched *sched, struct fm_function *function, uint64_t *ret_retry_ns)
{
    struct fm_user *user = fm_function_user(sched, function);
    if (!user)
        return FM_ERR_NOMEM;
    if (fm_quotas_request(user, ret_retry_ns))
        return 0;
    FM_USER_COUNT(user, requests, 1);
    FM_USER_COUNT(user, refused, 1);
    return FM_ERR_QUOTA;
}

int fm_sched_backlog_enter(struct fm_sched *sched, const char *user, bool anyway,
                           struct fm_user **ret_user)
{
    struct fm_user *found = fm_user_get(sched, user, strlen(user));
    if (!found)
        return FM_ERR_NOMEM;
    if (anyway) {
        fm_lease_take_anyway(&found->backlog);
    } else if (!fm_lease_take(&found->backlog)) {
        FM_USER_COUNT(found, requests, 1);
        FM_USER_COUNT(found, refused, 1);
        return FM_ERR_QUOTA;
    }
    FM_USER_COUNT(found, accepted, 1);
    *ret_user = found;
    return 0;
}

void fm_sched_backlog_leave(struct fm_user *user)
{
    FM_USER_COUNT(user, accepted, -1);
    fm_lease_give(&user->backlog);
}

uint64_t fm_sched_backlog_concurrency(const struct fm_user *user)
{
    return user->quotas.concurrency;
}
