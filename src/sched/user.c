/* user.c - the users of one worker, each tied to its account. */
#include "sched/user.h"

#include <stdlib.h>
#include <string.h>

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
    user->sched = sched;
    if (fm_runqueue_add(&sched->queue, &user->turns, &account->share) != 0) {
        free(user);
        return NULL;
    }
    if (fm_map_put(&sched->users, &user->node, account->name, name_length) != 0) {
        forget(sched, user);
        return NULL;
    }
    struct fm_quotas quotas;
    fm_account_quotas(account,
                      &quotas); /* later changes come as news, to a user that is in the map */
    fm_quotas_init(user, &quotas);
    fm_roots_init(user);
    atomic_store_explicit(&account->share.turns[sched->config.worker], &user->turns,
                          memory_order_release);
    return user;
}

static struct fm_user *find(struct fm_sched *sched, const char *name, size_t name_length)
{
    struct fm_map_node *node = fm_map_get(&sched->users, name, name_length);
    return node ? FM_CONTAINER_OF(node, struct fm_user, node) : NULL;
}

struct fm_user *fm_user_get(struct fm_sched *sched, const char *name, size_t name_length)
{
    struct fm_user *user = find(sched, name, name_length);
    return user ? user : make(sched, name, name_length);
}

struct fm_user *fm_function_user(struct fm_sched *sched, struct fm_function *function)
{
    if (!function->user)
        function->user = fm_user_get(sched, function->key, function->user_length);
    return function->user;
}

void fm_user_free_all(struct fm_sched *sched)
{
    struct fm_map_node *node = NULL;
    while ((node = fm_map_next(&sched->users, NULL)) != NULL) {
        struct fm_user *user = FM_CONTAINER_OF(node, struct fm_user, node);
        fm_map_remove(&sched->users, node);
        fm_quotas_done(user);
        fm_roots_done(user);
        forget(sched, user);
    }
    fm_map_done(&sched->users);
}

void fm_user_changed(struct fm_sched *sched, const char *name)
{
    struct fm_user *user = find(sched, name, strlen(name));
    if (!user)
        return;
    struct fm_quotas quotas;
    fm_account_quotas(user->account, &quotas);
    fm_quotas_changed(user, &quotas);
}

void fm_user_files_changed(struct fm_sched *sched, const char *name)
{
    struct fm_user *user = find(sched, name, strlen(name));
    if (user)
        fm_roots_forget(user);
}

void fm_user_use_add(const struct fm_user *user, struct fm_use *sum)
{
#define X(name) sum->name += atomic_load_explicit(&user->use.name, memory_order_relaxed);
    FM_USE_MAP(X)
#undef X
}
