/* users_change.c - a change is kept on disk, put in force, told to all workers, and then answered.
 *
 * On a thread of the pool, since it writes a file.  A second mutex lets changes happen one after
 * the other, so that of two to one user none is lost; it is only ever waited for by pool threads.
 * News says no more than "look again": the values are in the account, so their order does not
 * matter. */
#include "sched/users_change.h"

#include <string.h>

#include "sched/news.h"
#include "sched/users_private.h"

static void merge(const struct fm_users_change *change, struct fm_quota_set *changed)
{
    for (size_t i = 0; i < fm_quota_rows_count; i++) {
        const struct fm_quota_row *row = &fm_quota_rows[i];
        if (fm_quota_set_has(&change->cleared, row))
            fm_quota_set_clear(changed, row);
        if (fm_quota_set_has(&change->set, row))
            fm_quota_set_put(changed, row, fm_quotas_value(&change->set.values, row));
    }
}

static int keep(struct fm_users_change *change, const struct fm_quota_set *changed)
{
    const struct fm_users_config *config = &change->users->config;
    if (!config->persist)
        return 0;
    return config->persist(config->data, change->name, changed, &change->error);
}

/* Under `changes`. */
static int apply(struct fm_users_change *change)
{
    struct fm_users *users = change->users;
    struct fm_quota_set changed = {0};
    fm_users_lock(users);
    const struct fm_account *account = fm_users_find(users, change->name, strlen(change->name));
    if (account)
        changed = account->changed;
    bool one_more = changed.given == 0;
    merge(change, &changed);
    bool full = one_more && changed.given && users->changed_count >= FM_USERS_CHANGED_MAX;
    fm_users_unlock(users);
    if (full)
        return fm_error_set(&change->error, FM_ERR_BUSY,
                            "the quotas of %d users have been changed, there can be no more",
                            FM_USERS_CHANGED_MAX);
    int failed = keep(change, &changed);
    if (!failed)
        failed = fm_users_set(users, change->name, &changed);
    if (!failed)
        failed = fm_news_tell(users->config.audience, FM_NEWS_USER, NULL, change->name, "", 0,
                              &change->told, change->home);
    return failed;
}

static void run(struct fm_job *job)
{
    struct fm_users_change *change = FM_CONTAINER_OF(job, struct fm_users_change, job);
    struct fm_users *users = change->users;
    int failed = pthread_mutex_lock(&users->changes);
    FM_ASSERT(!failed);
    int outcome = apply(change);
    failed = pthread_mutex_unlock(&users->changes);
    FM_ASSERT(!failed);
    if (!outcome)
        return; /* the last worker that hears answers; perhaps it has, and `change` is gone */
    if (!change->error.code)
        (void)fm_error_set(&change->error, outcome, "%s", fm_err_meaning(outcome));
    fm_mailbox_post(change->home, &change->told);
}

static void on_told(struct fm_message *message)
{
    struct fm_users_change *change = FM_CONTAINER_OF(message, struct fm_users_change, told);
    change->on_done(change);
}

int fm_users_change_start(struct fm_users *users, struct fm_users_change *change,
                          struct fm_mailbox *home)
{
    change->users = users;
    change->home = home;
    change->error = (struct fm_error){0};
    change->told.on_message = on_told;
    change->job.run = run;
    return fm_pool_submit(users->config.pool, &change->job, NULL);
}
