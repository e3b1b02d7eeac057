/* tree.h - what lies in a folder: to list it, to delete it.  Private to store/.  Any thread. */
#pragma once

#include "base/error.h"
#include "base/limits.h"

/* Sorted by byte values. */
struct fm_names {
    char **names; /* from malloc, each too */
    size_t count;
    size_t capacity;
};

/* Appends the names that `wanted` accepts, then sorts all of them.  FM_ERR_NOMEM, FM_ERR_BUSY,
 * FM_ERR_IO; the names are to be released in any case. */
FM_MUST_CHECK int fm_tree_list(int folder, bool (*wanted)(const char *name), struct fm_names *names,
                               struct fm_error *error);
void fm_names_done(struct fm_names *names); /* stays usable */

/* Folders inside one another, below the one that is given: a user's files, with their own folder.
 */
#define FM_TREE_DEPTH_MAX (FM_FILE_DEPTH_MAX + 2)

/* Deletes what is in the folder; links are deleted, not followed.  On failure some of it is left:
 * FM_ERR_BUSY, FM_ERR_NOMEM, FM_ERR_IO (also for a tree that is deeper than any of ours).  That may
 * be ignored where a later try will come: it costs space and nothing else. */
int fm_tree_empty(int folder, struct fm_error *error);

/* The same with `name` itself, which may also be a file.  What is not there is fine. */
int fm_tree_remove(int folder, const char *name, struct fm_error *error);
