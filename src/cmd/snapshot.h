/* snapshot.h - runs a module's initialisation and makes a snapshot of what is left: for the compile
 * process and `faasm run`. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "call/function.h"

struct fm_snapshot {
    uint8_t *wasm; /* from malloc */
    size_t bytes;
    uint64_t took_ns; /* CPU time of the initialisation */
};

/* Of a binary module with the export FM_SNAPSHOT_EXPORT (engine/snapshot.h).  Blocks, for as long
 * as the initialisation runs: at most FM_SNAPSHOT_CPU_MS.  Takes FM_SNAPSHOT_MEMORY_BYTES of
 * addresses, and compiles a variant of the module.  FM_ERR_UNSUPPORTED_MODULE, FM_ERR_BAD_MODULE:
 * also when it trapped or broke a limit.  What there is to say about it comes from `arena`, into
 * `refusal`: its log also when all went well. */
FM_MUST_CHECK int fm_snapshot_make(const uint8_t *wasm, size_t bytes, bool compile_parallel,
                                   struct fm_arena *arena, struct fm_snapshot *ret_snapshot,
                                   struct fm_refusal *refusal, struct fm_error *error);
