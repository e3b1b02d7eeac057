/* snapshot.h - a module whose initialisation has run already.
 *
 *      module --> instrumented module --> sandbox, initialised --> snapshot
 *                 (shows all its state)                             (begins in that state)
 *
 * The first and the last step are here; running it in between is the caller's.  All modules are in
 * the binary format.  Compile process and tools only. */
#pragma once

#include "base/error.h"

struct fm_sandbox;

/* A module that exports this, a function without parameters and results, wants a snapshot. */
#define FM_SNAPSHOT_EXPORT "wizer-initialize"

bool fm_snapshot_wanted(const uint8_t *wasm, size_t bytes);

/* From malloc.  FM_ERR_UNSUPPORTED_MODULE: it is malformed, or has state that no snapshot can hold.
 * FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_snapshot_instrument(const uint8_t *wasm, size_t bytes, uint8_t **ret_wasm,
                                         size_t *ret_bytes, struct fm_error *error);

/* `wasm` is what was instrumented, `sandbox` one of the result, DONE and not failed.  The snapshot,
 * from malloc, exports neither FM_SNAPSHOT_EXPORT nor `_initialize`.  The same errors. */
FM_MUST_CHECK int fm_snapshot_take(struct fm_sandbox *sandbox, const uint8_t *wasm, size_t bytes,
                                   uint8_t **ret_wasm, size_t *ret_bytes, struct fm_error *error);
