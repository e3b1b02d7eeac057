/* coredump.h - what a failed guest leaves behind, as a file for debuggers.
 *
 * The form is that of WebAssembly's tool conventions (Coredump.md): a module with the sections
 * core, coremodules, coreinstances and corestack, the memory and the globals with their values.
 * The engine knows no locals and no operands, so there are none.
 *
 * A memory can be large, and a worker must not be held up: the dump is made in steps. */
#pragma once

#include "base/error.h"

struct fm_sandbox;
struct fm_coredump; /* one that is being made; opaque; one thread at a time */

/* After the sandbox is DONE, and before its next call.  `name` is the module's in the dump.
 * FM_ERR_NOT_FOUND: the guest did not end by a trap, an exit or its host.  FM_ERR_TOO_LARGE: over
 * `bytes_max`.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_coredump_begin(struct fm_sandbox *sandbox, const char *name, size_t bytes_max,
                                    struct fm_coredump **ret_dump);
struct fm_coredump *fm_coredump_free(struct fm_coredump *dump); /* NULL is fine; returns NULL */

/* A step of up to FM_COREDUMP_STEP_BYTES of memory.  FM_COREDUMP_MORE: another is needed.  0: it is
 * complete.  FM_ERR_TOO_LARGE, FM_ERR_NOMEM. */
#define FM_COREDUMP_MORE 1
#define FM_COREDUMP_STEP_BYTES 1048576
FM_MUST_CHECK int fm_coredump_step(struct fm_coredump *dump);

/* The complete dump, from malloc, the caller's. */
uint8_t *fm_coredump_take(struct fm_coredump *dump, size_t *ret_bytes);
