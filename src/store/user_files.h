/* user_files.h - what was changed of users' quotas, kept over restarts.
 *
 *      <data>/users/<user>.json     {"concurrency":5,"weight":200}
 *
 * Only what was changed: the rest is configuration.  A file appears whole, by one rename, after it
 * was fsynced.  Any thread; the caller sees to it that there is one change of a user at a time. */
#pragma once

#include "base/quotas.h"

struct fm_functions;
struct fm_user_files; /* opaque */

/* In the data folder of `functions`, which must outlive it; the folder is made if it is missing. */
FM_MUST_CHECK int fm_user_files_open(const struct fm_functions *functions,
                                     struct fm_user_files **ret_files, struct fm_error *error);
struct fm_user_files *fm_user_files_close(struct fm_user_files *files); /* NULL is fine */

/* In place of what was kept before; nothing of it when `changed` is empty.  When it returns 0 it is
 * on disk.  FM_ERR_STORAGE_FULL, FM_ERR_IO, FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_user_files_put(const struct fm_user_files *files, const char *user,
                                    const struct fm_quota_set *changed, struct fm_error *error);

/* Visits all that is kept; stops at an error of `visit`.  A file that cannot be understood is told
 * to `on_bad`, and left alone. */
FM_MUST_CHECK int
fm_user_files_each(const struct fm_user_files *files,
                   int (*visit)(const char *user, const struct fm_quota_set *changed, void *data),
                   void (*on_bad)(const char *name, const char *reason, void *data), void *data,
                   struct fm_error *error);
