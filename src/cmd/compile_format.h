/* compile_format.h - the end of a compile process's output (compile.h has the picture). */
#pragma once

#include <stdint.h>

#define FM_COMPILE_MAGIC "FAASMOUT"
#define FM_COMPILE_JSON_MAX (4 * 1024 * 1024) /* of facts: names of imports */

struct fm_compile_footer {
    uint64_t json_length;
    char magic[8];
};
