/* users.c - one table of accounts under one mutex, and the quotas that are in force. */
#include "sched/users.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/limits.h"
#include "sched/user.h"
#include "sched/users_private.h"

int fm_users_new(const struct fm_users_config *config, struct fm_users **ret_users)
{
    FM_ASSERT(config->workers > 0);
    struct fm_users *users = calloc(1, sizeof(*users));
    if (!users)
        return FM_ERR_NOMEM;
    if (pthread_mutex_init(&users->mutex, NULL) != 0) {
        free(users);
        return FM_ERR_NOMEM;
    }
    if (pthread_mutex_init(&users->changes, NULL) != 0) {
        (void)pthread_mutex_destroy(&users->mutex); /* not held */
        free(users);
        return FM_ERR_NOMEM;
    }
    users->config = *config;
    fm_map_init(&users->accounts);
    *ret_users = users;
    return 0;
}

void fm_users_lock(struct fm_users *users)
{
    int failed = pthread_mutex_lock(&users->mutex);
    FM_ASSERT(!failed);
}

void fm_users_unlock(struct fm_users *users)
{
    int failed = pthread_mutex_unlock(&users->mutex);
    FM_ASSERT(!failed);
}

static void free_account(struct fm_account *account)
{
    free(account->share.turns);
    free(account->name);
    free(account);
}

struct fm_users *fm_users_free(struct fm_users *users)
{
    if (!users)
        return NULL;
    struct fm_map_node *node = NULL;
    while ((node = fm_map_next(&users->accounts, NULL)) != NULL) {
        fm_map_remove(&users->accounts, node);
        free_account(FM_CONTAINER_OF(node, struct fm_account, node));
    }
    fm_map_done(&users->accounts);
    (void)pthread_mutex_destroy(&users->changes); /* not held */
    (void)pthread_mutex_destroy(&users->mutex);
    free(users);
    return NULL;
}

unsigned fm_users_workers(const struct fm_users *users)
{
    return users->config.workers;
}

/* --- accounts --------------------------------------------------------------------------------- */

static void configured(const struct fm_users *users, const char *name, struct fm_quotas *quotas)
{
    const struct fm_users_config *config = &users->config;
    fm_quotas_defaults(quotas);
    if (config->configured)
        config->configured(config->data, name, quotas);
}

/* NULL: out of memory. */
static struct fm_account *make_account(struct fm_users *users, const char *name, size_t length)
{
    unsigned workers = users->config.workers;
    struct fm_account *account =
        aligned_alloc(_Alignof(struct fm_account), sizeof(struct fm_account));
    if (!account)
        return NULL;
    memset(account, 0, sizeof(*account));
    account->users = users;
    account->name = strndup(name, length);
    account->share.workers = workers;
    account->share.turns = calloc(workers, sizeof(account->share.turns[0]));
    if (!account->name || !account->share.turns ||
        fm_map_put(&users->accounts, &account->node, account->name, length) != 0) {
        free_account(account);
        return NULL;
    }
    configured(users, account->name, &account->quotas);
    fm_quota_init(&account->concurrency, account->quotas.concurrency, workers);
    fm_quota_init(&account->waiting, account->quotas.queue_length, workers);
    fm_quota_init(&account->backlog, account->quotas.queue_length, workers);
    fm_quota_init(&account->memory, account->quotas.memory_bytes, workers);
    return account;
}

struct fm_account *fm_users_find(struct fm_users *users, const char *name, size_t length)
{
    struct fm_map_node *node = fm_map_get(&users->accounts, name, length);
    return node ? FM_CONTAINER_OF(node, struct fm_account, node) : NULL;
}

static struct fm_account *get(struct fm_users *users, const char *name, size_t length)
{
    struct fm_account *account = fm_users_find(users, name, length);
    return account ? account : make_account(users, name, length);
}

int fm_users_account(struct fm_users *users, const char *name, size_t name_length,
                     struct fm_account **ret_account)
{
    fm_users_lock(users);
    struct fm_account *account = get(users, name, name_length);
    fm_users_unlock(users);
    if (!account)
        return FM_ERR_NOMEM;
    *ret_account = account;
    return 0;
}

void fm_account_quotas(struct fm_account *account, struct fm_quotas *ret_quotas)
{
    fm_users_lock(account->users);
    *ret_quotas = account->quotas;
    fm_users_unlock(account->users);
}

/* --- quotas ----------------------------------------------------------------------------------- */

static void put_in_force(struct fm_account *account, const struct fm_quota_set *changed)
{
    unsigned workers = account->users->config.workers;
    struct fm_quotas before = account->quotas;
    struct fm_quotas *now = &account->quotas;
    account->changed = *changed;
    configured(account->users, account->name, now);
    fm_quota_set_apply(changed, now);
    fm_quota_change(&account->concurrency, before.concurrency, now->concurrency, workers);
    fm_quota_change(&account->waiting, before.queue_length, now->queue_length, workers);
    fm_quota_change(&account->backlog, before.queue_length, now->queue_length, workers);
    fm_quota_change(&account->memory, before.memory_bytes, now->memory_bytes, workers);
}

int fm_users_set(struct fm_users *users, const char *name, const struct fm_quota_set *changed)
{
    fm_users_lock(users);
    struct fm_account *account = get(users, name, strlen(name));
    if (account) {
        users->changed_count -= account->changed.given != 0;
        put_in_force(account, changed);
        users->changed_count += account->changed.given != 0;
    }
    fm_users_unlock(users);
    return account ? 0 : FM_ERR_NOMEM;
}

/* --- questions -------------------------------------------------------------------------------- */

static void sum_use(const struct fm_account *account, struct fm_use *use)
{
    const struct fm_share *share = &account->share;
    *use = (struct fm_use){0};
    for (unsigned i = 0; i < share->workers; i++) {
        struct fm_turns *turns = atomic_load_explicit(&share->turns[i], memory_order_acquire);
        if (turns)
            fm_user_use_add(fm_user_of(turns), use);
    }
}

void fm_users_state(struct fm_users *users, const char *name, struct fm_user_state *ret_state)
{
    *ret_state = (struct fm_user_state){0};
    fm_users_lock(users);
    struct fm_account *account = fm_users_find(users, name, strlen(name));
    if (account) {
        ret_state->quotas = account->quotas;
        sum_use(account, &ret_state->use);
    } else {
        configured(users, name, &ret_state->quotas);
    }
    fm_users_unlock(users);
}

void fm_users_each(struct fm_users *users, void (*visit)(const struct fm_user_state *, void *data),
                   void *data)
{
    fm_users_lock(users);
    struct fm_map_node *node = NULL;
    while ((node = fm_map_next(&users->accounts, node)) != NULL) {
        const struct fm_account *account = FM_CONTAINER_OF(node, struct fm_account, node);
        struct fm_user_state state = {.name = account->name, .quotas = account->quotas};
        sum_use(account, &state.use);
        visit(&state, data);
    }
    fm_users_unlock(users);
}
