/* users.c - one table of accounts under one mutex. */
#include "sched/users.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

struct fm_users {
    pthread_mutex_t mutex;
    unsigned workers;
    struct fm_map accounts;
};

int fm_users_new(unsigned workers, struct fm_users **ret_users)
{
    struct fm_users *users = calloc(1, sizeof(*users));
    if (!users)
        return FM_ERR_NOMEM;
    if (pthread_mutex_init(&users->mutex, NULL) != 0) {
        free(users);
        return FM_ERR_NOMEM;
    }
    users->workers = workers;
    fm_map_init(&users->accounts);
    *ret_users = users;
    return 0;
}

static void lock(struct fm_users *users)
{
    int failed = pthread_mutex_lock(&users->mutex);
    FM_ASSERT(!failed);
}

static void unlock(struct fm_users *users)
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
    (void)pthread_mutex_destroy(&users->mutex); /* not held */
    free(users);
    return NULL;
}

/* NULL: out of memory. */
static struct fm_account *make_account(struct fm_users *users, const char *name, size_t length)
{
    size_t line = _Alignof(struct fm_account);
    struct fm_account *account = aligned_alloc(line, sizeof(*account));
    if (!account)
        return NULL;
    memset(account, 0, sizeof(*account));
    account->name = strndup(name, length);
    account->share.workers = users->workers;
    account->share.turns = calloc(users->workers, sizeof(account->share.turns[0]));
    if (!account->name || !account->share.turns ||
        fm_map_put(&users->accounts, &account->node, account->name, length) != 0) {
        free_account(account);
        return NULL;
    }
    return account;
}

int fm_users_account(struct fm_users *users, const char *name, size_t name_length,
                     struct fm_account **ret_account)
{
    lock(users);
    struct fm_map_node *node = fm_map_get(&users->accounts, name, name_length);
    struct fm_account *account = node ? FM_CONTAINER_OF(node, struct fm_account, node)
                                      : make_account(users, name, name_length);
    unlock(users);
    if (!account)
        return FM_ERR_NOMEM;
    *ret_account = account;
    return 0;
}
