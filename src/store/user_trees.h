/* user_trees.h - users' files: folders on disk, and in memory the trees that calls see of them.
 *
 *      <data>/files/<user>/...     real folders and files, with real names
 *
 * The folder is the only truth.  It is read when a user's files are first needed, and what was read
 * stays in memory (the least recently used user's goes first); changes go to the disk, and then
 * into the tree.  A change is one rename: a file is there as it was, or as it is now, as a whole.
 *
 * A file that is replaced or deleted while somebody holds its content is kept in <data>/trash/,
 * if there is room for one more such file, until the last of them is gone or the server ends.
 *
 * What blocks says so and is for threads that may; the rest is for any thread. */
#pragma once

#include "base/quotas.h"

struct fm_contents_counts;
struct fm_functions;
struct fm_node;
struct fm_pool;
struct fm_user_trees; /* opaque; one for the process */

struct fm_user_trees_config {
    const struct fm_functions *functions; /* its data folder; must outlive this */
    struct fm_pool
        *pool; /* gives memory and disk back, and outlives this; NULL: who gives up does */
    uint64_t contents_bytes_max; /* of files in memory */
    uint64_t kept_bytes_max;     /* on disk, of files that were replaced and may still be read */
    uint64_t names_max;          /* of trees in memory: files, folders, and one a user */
    void (*quotas)(void *data, const char *user, struct fm_quotas *ret_quotas);
    /* A user's files have changed, or their root goes from memory: who caches it should let go of
     * it.  NULL is fine. */
    void (*changed)(void *data, const char *user);
    void *data;
};

/* Makes the folder if it is missing. */
FM_MUST_CHECK int fm_user_trees_open(const struct fm_user_trees_config *config,
                                     struct fm_user_trees **ret_trees, struct fm_error *error);

/* Nobody holds a root or a content.  NULL is fine; returns NULL. */
struct fm_user_trees *fm_user_trees_close(struct fm_user_trees *trees);

/* --- looking ---------------------------------------------------------------------------------- */

struct fm_user_tree {
    struct fm_node *root; /* held; an empty folder for a user without files */
    bool exists;          /* the user has a folder */
};

/* Changes with every change of any user's files, and before it is told to anybody.  Who reads it
 * before a root knows later whether that root is still the last one. */
uint64_t fm_user_trees_generation(const struct fm_user_trees *trees);

/* True: it is in memory, as the last change has left it. */
FM_MUST_CHECK bool fm_user_trees_get(struct fm_user_trees *trees, const char *user,
                                     struct fm_user_tree *ret_tree);

/* The same; reads it if need be, and blocks.  FM_ERR_TOO_LARGE: more files than can be;
 * FM_ERR_NOMEM, FM_ERR_BUSY, FM_ERR_IO. */
FM_MUST_CHECK int fm_user_trees_load(struct fm_user_trees *trees, const char *user,
                                     struct fm_user_tree *ret_tree, struct fm_error *error);

struct fm_user_trees_counts {
    uint64_t users; /* whose trees are in memory */
    uint64_t names; /* of these: files, folders, and one a user */
    uint64_t scans;
};

void fm_user_trees_counts(struct fm_user_trees *trees, struct fm_user_trees_counts *ret_counts,
                          struct fm_contents_counts *ret_contents);

/* --- changing; all of it blocks --------------------------------------------------------------- */

struct fm_new_file; /* opaque; one thread at a time */

/* A file that comes in pieces, to be `path` (which fm_path_check() has let pass).  `bytes` is how
 * large it will be, 0 if that is not known.  FM_ERR_CONFLICT: a folder is there, or a file where a
 * folder must be; FM_ERR_QUOTA, with the quota's name in `*ret_quota`; FM_ERR_STORAGE_FULL,
 * FM_ERR_NOMEM, FM_ERR_BUSY, FM_ERR_IO. */
FM_MUST_CHECK int fm_new_file_begin(struct fm_user_trees *trees, const char *user, const char *path,
                                    uint64_t bytes, struct fm_new_file **ret_file,
                                    const char **ret_quota, struct fm_error *error);

/* The same errors. */
FM_MUST_CHECK int fm_new_file_write(struct fm_new_file *file, const void *data, size_t bytes,
                                    const char **ret_quota, struct fm_error *error);

#define FM_SHA256_TEXT_SIZE 65 /* hexadecimal digits and a NUL */

struct fm_new_file_facts {
    bool replaced;
    uint64_t bytes;
    uint64_t modified_ns;
    char sha256[FM_SHA256_TEXT_SIZE];
};

/* When it returns 0 the file is on disk, and whoever looks from now on sees it.  The same errors,
 * and FM_ERR_BAD_NAME: the file system cannot have such a name.  Only once. */
FM_MUST_CHECK int fm_new_file_commit(struct fm_new_file *file, struct fm_new_file_facts *ret_facts,
                                     const char **ret_quota, struct fm_error *error);

struct fm_new_file *fm_new_file_end(struct fm_new_file *file); /* what is left; NULL is fine */

/* Deletes a file, or a folder; "" is all that the user has.  FM_ERR_NOT_FOUND; FM_ERR_CONFLICT:
 * there is something in the folder, and `recursive` is not set.  If it fails in the middle some of
 * it is gone. */
FM_MUST_CHECK int fm_user_trees_remove(struct fm_user_trees *trees, const char *user,
                                       const char *path, bool recursive, struct fm_error *error);
