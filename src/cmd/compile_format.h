/* compile_format.h - the end of a compile process's output (compile.h has the picture): what it
 * found out about the module, as JSON, and a footer. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "call/function.h"
#include "cmd/compile.h"

#define FM_COMPILE_MAGIC "FAASMOUT"
#define FM_COMPILE_JSON_MAX (4 * 1024 * 1024) /* mostly names of imports */

struct fm_compile_footer {
    uint64_t json_length;
    char magic[8];
};

struct fm_compile_result {
    struct fm_error error;        /* code 0: it was compiled */
    struct fm_module_facts facts; /* if it was */
    struct fm_compile_counts bodies;
    struct fm_refusal refusal; /* if it was not */
};

/* From malloc, at most FM_COMPILE_JSON_MAX bytes and a NUL; NULL: out of memory. */
FM_MUST_CHECK char *fm_compile_result_write(const struct fm_compile_result *result);

/* Texts come from `arena`.  FM_ERR_INTERNAL: this is nothing that the above has written.
 * FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_compile_result_read(const char *text, size_t length, struct fm_arena *arena,
                                         struct fm_compile_result *ret_result);
