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
void fm_wt_thread_init(void);

/* An export's place in its module; NULL: there is none.  Ours, to be deleted. */
typedef struct fm_wt_export fm_wt_export_t;
fm_wt_export_t *fm_wt_module_export(const wasmtime_module_t *module, const char *name,
                                    size_t length);
void fm_wt_module_export_delete(fm_wt_export_t *place); /* NULL is fine */

/* wasmtime_instance_export_get() by place instead of by name; the instance is of that module. */
bool fm_wt_instance_export(wasmtime_context_t *context, const wasmtime_instance_t *instance,
                           const fm_wt_export_t *place, wasmtime_extern_t *ret_item);
