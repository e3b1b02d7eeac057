/* cgroup.h - the control group (version 2) that this process is in, and what it allows.
 *
 * `root` stands before every path: "" but for tests, which make such folders themselves.  Nothing
 * is kept: limits may change at any time, and each call reads anew.  Any thread; blocks as long as
 * the kernel takes to write a line. */
#pragma once

#include "base/base.h"

#define FM_CGROUP_PATH_SIZE 4096

struct fm_cgroup {
    char path[FM_CGROUP_PATH_SIZE]; /* of its folder */
    size_t top_length;              /* of the part that is the topmost group's folder */
};

/* FM_ERR_NOT_FOUND: it is in none that can be seen from here, or in one of version 1. */
FM_MUST_CHECK int fm_cgroup_find(const char *root, struct fm_cgroup *ret_group);

/* What one of its files says, such as memory.max; UINT64_MAX for "max".  FM_ERR_NOT_FOUND: there is
 * no such file, or it holds something else. */
FM_MUST_CHECK int fm_cgroup_number(const struct fm_cgroup *group, const char *file,
                                   uint64_t *ret_number);

/* The memory that this process may use: the machine's, or less where memory.max of its group, or of
 * one above it, says so. */
uint64_t fm_cgroup_memory_bytes(const char *root);
