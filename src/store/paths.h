/* paths.h - paths of users' files: which there can be, and the way to one.  Private to store/, but
 * for the check.  Any thread. */
#pragma once

#include "base/error.h"

/* 0: `path` has components between single slashes, all of them names that a file can have.
 * FM_ERR_BAD_NAME says what is wrong. */
FM_MUST_CHECK int fm_path_check(const char *path, struct fm_error *error);

/* The same of one component, without words. */
FM_MUST_CHECK bool fm_path_name_valid(const char *name);

/* Opens, below the folder `base`, the folder that has the last component of `path`; `*ret_name` is
 * that component, in `path`.  No link is followed.  With `make`, missing folders are made, and are
 * on disk when it returns.  FM_ERR_NOT_FOUND; with `make` FM_ERR_CONFLICT: something else than a
 * folder is in the way, FM_ERR_BAD_NAME: the file system cannot have such a name,
 * FM_ERR_STORAGE_FULL. */
FM_MUST_CHECK int fm_path_open(int base, const char *path, bool make, const char **ret_name,
                               int *ret_folder, struct fm_error *error);

/* For an errno of a call that makes or replaces `name`: one of the errors above, or FM_ERR_IO. */
int fm_path_error(struct fm_error *error, int errnum, const char *what, const char *name);
