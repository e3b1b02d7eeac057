/* wt.h - what src/engine/wasmtime (the Rust crate) adds to Wasmtime's C API.  Private to engine/.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <wasm.h>
#include <wasmtime.h>

/* Takes the configuration.  NULL: `text` says why; nothing is left behind. */
wasm_engine_t *fm_wt_engine_new(wasm_config_t *config, char *text, size_t text_size);
void fm_wt_pool_pagemap_scan(wasmtime_pooling_allocation_config_t *pool, bool on);
bool fm_wt_pagemap_scan_available(void);
void fm_wt_config_backtrace(wasm_config_t *config, size_t frames_max);
void fm_wt_root_cause(const wasmtime_error_t *error, char *text, size_t text_size);
void fm_wt_thread_init(void);

/* lines.rs: where the code section's content begins (SIZE_MAX: there is none), and the table of
 * source lines of a binary module, made in about that time.  False: there is none. */
size_t fm_wt_code_offset(const uint8_t *wasm, size_t length);
bool fm_wt_lines(const uint8_t *wasm, size_t length, uint64_t budget_ms, wasm_byte_vec_t *table);

/* coredump.rs: what a trap or error leaves of its guest, all but the memory's content.  False: it
 * left nothing. */
void fm_wt_config_coredump(wasm_config_t *config, bool on);
bool fm_wt_coredump(wasmtime_context_t *context, const wasm_trap_t *trap,
                    const wasmtime_error_t *error, const char *name, size_t name_length,
                    wasm_byte_vec_t *head);

/* cache.rs (engine/compile_cache.h says what of). */
struct fm_compile_cache;
struct fm_compile_cache *fm_wt_cache_new(void);
void fm_wt_cache_delete(struct fm_compile_cache *cache); /* NULL is fine */
void fm_wt_config_cache(wasm_config_t *config, const struct fm_compile_cache *cache);
bool fm_wt_cache_fill(const struct fm_compile_cache *cache, const uint8_t *bytes, size_t length);
bool fm_wt_cache_write(const struct fm_compile_cache *cache, size_t bytes_max,
                       wasm_byte_vec_t *file);
void fm_wt_cache_counts(const struct fm_compile_cache *cache, uint64_t *reused, uint64_t *compiled);

/* snapshot.rs: a module that shows all of its state, and the module with the state of an instance
 * of that.  False: `text` says why it cannot be. */
bool fm_wt_exports(const uint8_t *wasm, size_t length, const char *name, size_t name_length);
bool fm_wt_snapshot_instrument(const uint8_t *wasm, size_t length, wasm_byte_vec_t *instrumented,
                               char *text, size_t text_size);
bool fm_wt_snapshot(const uint8_t *wasm, size_t length, const char *name, size_t name_length,
                    wasmtime_context_t *context, const wasmtime_instance_t *instance,
                    wasm_byte_vec_t *snapshot, char *text, size_t text_size);

/* An export's place in its module; NULL: there is none.  Ours, to be deleted. */
typedef struct fm_wt_export fm_wt_export_t;
fm_wt_export_t *fm_wt_module_export(const wasmtime_module_t *module, const char *name,
                                    size_t length);
void fm_wt_module_export_delete(fm_wt_export_t *place); /* NULL is fine */

/* wasmtime_instance_export_get() by place instead of by name; the instance is of that module. */
bool fm_wt_instance_export(wasmtime_context_t *context, const wasmtime_instance_t *instance,
                           const fm_wt_export_t *place, wasmtime_extern_t *ret_item);
