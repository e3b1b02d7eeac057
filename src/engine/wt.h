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
void fm_wt_config_stack_zeroing(wasm_config_t *config, bool on);
void fm_wt_thread_init(void);
