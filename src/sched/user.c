/* user.c - the users of one worker, each tied to its account. */
#include "sched/user.h"

#include <stdlib.h>

#include "sched/sched_private.h"

static void forget(struct fm_sched *sched, struct fm_user *user)
{
    struct fm_share *share = &user->account->share;
    atomic_store_explicit(&share->turns[sched->config.worker], NULL, memory_order_release);
    fm_runqueue_drop(&sched->queue, &user->turns);
    free(user);
}

static struct fm_user *make(struct fm_sched *sched, const char *name, size_t name_length)
{
    struct fm_account *account = NULL;
    if (fm_users_account(sched->all_users, name, name_length, &account) != 0)
        return NULL;
    struct fm_user *user = calloc(1, sizeof(*user));
    if (!user)
        return NULL;
    user->account = account;
    if (fm_runqueue_add(&sched->queue, &user->turns, &account->share) != 0) {
        free(user);
        return NULL;
    }
    if (fm_map_put(&sched->users, &user->node, account->name, name_length) != 0) {
        forget(sched, user);
        return NULL;
    }
    sched->policy->set_weight(&user->turns, FM_WEIGHT_DEFAULT);
    atomic_store_explicit(&account->share.turns[sched->config.worker], &user->turns,
                          memory_order_release);
    return user;
}

struct fm_user *fm_user_get(struct fm_sched *sched, const char *name, size_t name_length)
{
    struct fm_map_node *node = fm_map_get(&sched->users, name, name_length);
    return node ? FM_CONTAINER_OF(node, struct fm_user, node) : make(sched, name, name_length);
}

void fm_user_free_all(struct fm_sched *sched)
{
    struct fm_map_node *node = NULL;
    while ((node = fm_map_next(&sched->users, NULL)) != NULL) {
        fm_map_remove(&sched->users, node);
        forget(sched, FM_CONTAINER_OF(node, struct fm_user, node));
    }
    fm_map_done(&sched->users);
}
