/* compile_cache.h - what the compilation of a module may take over from an earlier one.
 *
 * An engine that was made with a cache (fm_engine_config) looks each body up in it before it
 * compiles it, and notes what it has used.  So of a module in which one function has changed only
 * that one is compiled (and, on several threads, now and then another: the compiler's keys depend a
 * little on what it has compiled just before); the machine code is the same, byte for byte.  What
 * the bytes are is told in wasmtime/src/cache.rs.  They are as trusted as machine code.
 *
 * For one compilation.  The engine may use it on several threads; the rest is for one. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct fm_compile_cache; /* opaque */

struct fm_compile_cache *fm_compile_cache_new(void);
struct fm_compile_cache *fm_compile_cache_free(struct fm_compile_cache *cache); /* NULL is fine */

/* Once, before the compilation.  The bytes are borrowed until the engine and the cache are gone;
 * what follows their end as they tell it is not looked at.  False: they are none that
 * fm_compile_cache_write() made, and nothing is taken over. */
bool fm_compile_cache_fill(struct fm_compile_cache *cache, const uint8_t *bytes, size_t length);

/* After the compilation: what the next one may take over, from malloc; all that this one has used,
 * and nothing else.  FM_ERR_TOO_LARGE: more than `bytes_max`, than 4 GiB, or than there is memory
 * for.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_compile_cache_write(const struct fm_compile_cache *cache, size_t bytes_max,
                                         uint8_t **ret_bytes, size_t *ret_length);

/* Bodies of functions, and of what leads in and out of them: how many were there, and were not. */
void fm_compile_cache_counts(const struct fm_compile_cache *cache, uint64_t *ret_reused,
                             uint64_t *ret_compiled);
