/* new_files.h - what `faasm new` writes: the files of sdk/, kept in the program. */
#pragma once

#include "base/base.h"

struct fm_new_file {
    const char *language;
    const char *path; /* in the project */
    const char *text; /* of `bytes`, without a NUL; `@NAME@` stands for the function's name */
    const uint64_t *bytes;
    bool executable;
};

/* Sorted by language. */
extern const struct fm_new_file fm_new_files[];
extern const size_t fm_new_files_count;
