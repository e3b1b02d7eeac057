/* run_tree.h - a folder of this machine as a user's files, for `faasm run --files`.  One thread. */
#pragma once

#include "base/error.h"

struct fm_contents;
struct fm_node;

/* The folder with all that is in it as it is now; of the files their names and sizes, contents are
 * read when they are opened.  What users' files cannot be (links, devices, names that are not
 * UTF-8) is left out and counted.  FM_ERR_NOT_FOUND, FM_ERR_TOO_LARGE (more than FM_TREE_FILES_MAX,
 * deeper than FM_FILE_DEPTH_MAX), FM_ERR_NOMEM, FM_ERR_IO. */
FM_MUST_CHECK int fm_run_tree_read(const char *path, struct fm_contents *contents,
                                   struct fm_node **ret_root, uint64_t *ret_left_out,
                                   struct fm_error *error);
