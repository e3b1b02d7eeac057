/* user_trees_private.h - the table of users' trees from the inside. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "loop/pool.h"
#include "store/user_trees.h"

struct fm_contents;

/* One user.  Stays while somebody works with it, or its tree is in memory. */
struct fm_tree_entry {
    struct fm_map_node node; /* by name */
    char name[FM_NAME_LENGTH_MAX + 1];
    pthread_mutex_t changes; /* reading it, and changes, one at a time; before the table's mutex */

    /* Under the table's mutex. */
    unsigned holders;
    struct fm_user_tree tree; /* root NULL: not in memory */
    uint64_t names;           /* of the tree, as they count for names_max */
    struct fm_list incoming;  /* files that are just coming: struct fm_new_file.link */
    uint64_t incoming_bytes;  /* of these */
    struct fm_list used;      /* in trees->used, while it has a root */
};

struct fm_user_trees {
    struct fm_user_trees_config config;
    struct fm_contents *contents;
    int files_fd;
    atomic_uint_least64_t generation;
    struct fm_job tidy;
    atomic_bool tidying; /* `tidy` is on its way */

    pthread_mutex_t mutex;
    struct fm_map entries;
    struct fm_list used; /* struct fm_tree_entry.used, the least recently used first */
    uint64_t stamp_ns;   /* the last time that was given to a change */
    struct fm_user_trees_counts counts;
};

void fm_user_trees_lock(struct fm_user_trees *trees);
void fm_user_trees_unlock(struct fm_user_trees *trees);

/* The entry of a user, to be left again.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_tree_entry_enter(struct fm_user_trees *trees, const char *user,
                                      struct fm_tree_entry **ret_entry);
void fm_tree_entry_leave(struct fm_user_trees *trees, struct fm_tree_entry *entry);

/* The following are for who has entry->changes. */
void fm_tree_entry_lock(struct fm_tree_entry *entry);
void fm_tree_entry_unlock(struct fm_tree_entry *entry);

/* Its tree, read if need be; held. */
FM_MUST_CHECK int fm_tree_entry_read(struct fm_user_trees *trees, struct fm_tree_entry *entry,
                                     struct fm_user_tree *ret_tree, struct fm_error *error);

/* Puts a root in place of the present one, and takes it.  NULL: nobody knows what is on disk now;
 * it is read again when it is needed. */
void fm_tree_entry_change(struct fm_user_trees *trees, struct fm_tree_entry *entry,
                          struct fm_node *root, bool exists);

/* A time later than all that were given before. */
uint64_t fm_user_trees_stamp(struct fm_user_trees *trees);
