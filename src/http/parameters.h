/* parameters.h - what an upload's query says: `?limit.memory_bytes=64MiB&env.K=V&arg=x`.
 * Private to http/.  Any thread. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "call/function.h"

#define FM_PARAMETERS_ARENA_BYTES_MAX FM_MIB

/* Sets limits, env and args of `wanted`, with memory from `arena`; what is not mentioned gets its
 * default.  `query` (NUL-ended, without `?`) is decoded in place.  FM_ERR_BAD_REQUEST with the
 * parameter's name in the text: unknown, given twice, malformed, out of its range.
 * FM_ERR_TOO_LARGE: too much environment, too many arguments.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_parameters_parse(char *query, struct fm_arena *arena,
                                      struct fm_version *wanted, struct fm_error *error);
