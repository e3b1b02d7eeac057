/* users_change.h - changes to a user's quotas while the server runs: PATCH /users/<user>. */
#pragma once

#include "base/limits.h"
#include "loop/pool.h"
#include "sched/users.h"

/* One change, as JSON merge-patch (RFC 7396) has it; embedded in the asker, who keeps it until
 * on_done is called on its own loop.  By then it is on disk and every worker knows it, or
 * error.code says why not: FM_ERR_STORAGE_FULL, FM_ERR_IO, FM_ERR_NOMEM, FM_ERR_BUSY (too many
 * users). */
struct fm_users_change {
    /* The asker's part. */
    char name[FM_NAME_LENGTH_MAX + 1];
    struct fm_quota_set set;     /* these get values */
    struct fm_quota_set cleared; /* these (by `given`) go back to what is configured */
    void (*on_done)(struct fm_users_change *change);

    /* The answer. */
    struct fm_error error;

    /* Private. */
    struct fm_users *users;
    struct fm_job job;
    struct fm_mailbox *home;
    struct fm_message told; /* the way back */
};

/* FM_ERR_BUSY: the pool is full; nothing was taken. */
FM_MUST_CHECK int fm_users_change_start(struct fm_users *users, struct fm_users_change *change,
                                        struct fm_mailbox *home);
