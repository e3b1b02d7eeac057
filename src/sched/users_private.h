/* users_private.h - the table of users from the inside, for users.c and users_change.c. */
#pragma once

#include <pthread.h>

#include "sched/users.h"

struct fm_users {
    struct fm_users_config config;
    pthread_mutex_t mutex;
    struct fm_map accounts;
    size_t changed_count;    /* accounts with changed quotas */
    pthread_mutex_t changes; /* one change at a time: read, keep, put in force */
};

void fm_users_lock(struct fm_users *users);
void fm_users_unlock(struct fm_users *users);

/* NULL: none.  Under the lock. */
struct fm_account *fm_users_find(struct fm_users *users, const char *name, size_t length);
