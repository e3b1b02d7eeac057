/* tree.h - a user's files: folders and plain files that never change.
 *
 *      root --+-- data --+-- a.csv  --> content
 *             |          +-- b.csv  --> content
 *             +-- etc ------ ...
 *
 * A change makes a new root, and new folders down to what is changed; everything else is shared
 * by both (a persistent tree).  So a call sees one state of all names from its start to its end,
 * and nobody locks.  Nodes are counted; whoever has a root has everything below it.
 *
 * Paths are components between single slashes, without one at either end, none of them empty, `.`
 * or `..`.  Any thread. */
#pragma once

#include "base/base.h"

struct fm_content;
struct fm_node; /* a file or a folder; immutable, counted */

/* An empty folder.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_node_folder_new(uint64_t modified_ns, struct fm_node **ret_root);

/* For who reads a tree from a disk, from the bottom to the top; `name` is "" for a root.
 * FM_ERR_NOMEM. The content is held once more; the children, each of another name, go over on
 * success. */
FM_MUST_CHECK int fm_node_file_new(const char *name, uint64_t modified_ns,
                                   struct fm_content *content, struct fm_node **ret_file);
FM_MUST_CHECK int fm_node_folder_of(const char *name, uint64_t modified_ns,
                                    struct fm_node *const *children, size_t children_count,
                                    struct fm_node **ret_folder);

struct fm_node *fm_node_hold(struct fm_node *node);    /* returns it */
struct fm_node *fm_node_release(struct fm_node *node); /* NULL is fine; returns NULL */

/* A new root with the file at `path`, in place of one that was there; folders are made as needed.
 * The content is held once more.  FM_ERR_CONFLICT: there is a folder, or a file where a folder
 * must be.  FM_ERR_TOO_LARGE: deeper than FM_FILE_DEPTH_MAX.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_tree_put(struct fm_node *root, const char *path, uint64_t modified_ns,
                              struct fm_content *content, struct fm_node **ret_root);

/* A new root without what is at `path`, a folder with all that is in it; folders above it stay,
 * even empty.  FM_ERR_NOT_FOUND, FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_tree_remove_at(struct fm_node *root, const char *path, uint64_t modified_ns,
                                    struct fm_node **ret_root);

struct fm_node *fm_tree_find(struct fm_node *root, const char *path); /* NULL: nothing there */

/* --- one node; what is returned is borrowed --------------------------------------------------- */

bool fm_node_is_folder(const struct fm_node *node);
const char *fm_node_name(const struct fm_node *node); /* "" for a root */
uint64_t fm_node_bytes(const struct fm_node *node);   /* of a file; 0 for a folder */
uint64_t fm_node_modified_ns(const struct fm_node *node);
uint64_t fm_node_inode(const struct fm_node *node); /* of no other node of the process */
struct fm_content *fm_node_content(const struct fm_node *node); /* NULL for a folder */

/* The names in a folder, sorted by byte values. */
size_t fm_node_children_count(const struct fm_node *node);
struct fm_node *fm_node_child(const struct fm_node *node, size_t index);
struct fm_node *fm_node_child_find(const struct fm_node *node, const char *name, size_t length);

/* The place of the first name that sorts after this one, whether this one is there or not. */
size_t fm_node_child_after(const struct fm_node *node, const char *name);

/* All below a folder. */
uint64_t fm_node_files_count(const struct fm_node *node);
uint64_t fm_node_files_bytes(const struct fm_node *node);
uint64_t fm_node_folders_count(const struct fm_node *node);
