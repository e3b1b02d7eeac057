/* scan.h - a user's folder read into a tree.  Private to store/.  Any thread; blocks. */
#pragma once

#include "base/error.h"

struct fm_contents;
struct fm_node;

/* `path` is what the open folder is called.  What is neither a plain file nor a folder is left out,
 * and so is what no path can name (paths.h).  FM_ERR_TOO_LARGE: more than FM_TREE_FILES_MAX files
 * and folders; FM_ERR_NOMEM, FM_ERR_BUSY, FM_ERR_IO. */
FM_MUST_CHECK int fm_scan(struct fm_contents *contents, int folder, const char *path,
                          struct fm_node **ret_root, struct fm_error *error);
