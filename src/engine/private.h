/* private.h - what the files of engine/ share among themselves. */
#pragma once

#include "engine/engine.h"
#include "engine/keep.h"
#include "engine/lines.h"
#include "engine/module.h"
#include "engine/wt.h"

struct fm_engine {
    wasm_engine_t *wasm;
    wasmtime_linker_t *linker;    /* every import of every table */
    wasmtime_linker_t *streaming; /* the same, for sandboxes that stream; NULL: no other */
    struct fm_engine_config config;
    struct fm_keep_pool *keep_pool; /* what free slots keep; NULL: not pooled */
};

/* A function that fm_sandbox_call() can call, found once so that a call need not search by name or
 * look at types. */
struct fm_entry {
    char name[16];
    fm_wt_export_t *place;
    size_t parameters_count;
    size_t results_count;
};

#define FM_ENTRIES_MAX 4 /* `_start`, `run`, `handle`, `_initialize` are what functions have */

struct fm_module {
    struct fm_engine *engine;
    wasmtime_module_t *wasm;
    wasmtime_instance_pre_t *pre;           /* NULL until prepared */
    wasmtime_instance_pre_t *pre_streaming; /* for sandboxes that stream; NULL: `pre` is */
    fm_wt_export_t *memory;                 /* where the memory is exported; NULL: it is not */
    struct fm_entry entries[FM_ENTRIES_MAX];
    size_t entries_count;
    struct fm_lines lines; /* its source lines, where there are any */
    struct fm_keep keep;   /* how much its calls write */
};

/* settings.c: the one place where code generation is configured, for the compile process and the
 * server alike; a difference would make compiled modules unloadable. */
wasm_config_t *fm_settings_new(const struct fm_engine_config *config);

/* The size of a fiber's stack: a guest's call stack, and host functions on top of it. */
uint64_t fm_settings_fiber_bytes(const struct fm_engine_config *config);

/* link.c: a function type in the engine's terms; NULL when out of memory. */
wasm_functype_t *fm_link_type_new(const char *signature);

/* entries.c: fills in module->memory and module->entries, once; gives them back. */
void fm_entries_find(struct fm_module *module);
void fm_entries_done(struct fm_module *module);

/* Whether the type is one that fm_sandbox_call() can call. */
bool fm_entry_type_fits(const wasm_functype_t *type, size_t *ret_parameters, size_t *ret_results);

/* Takes the engine's error: its first line becomes the text.  Returns `code`. */
int fm_engine_error(struct fm_error *error, int code, const char *what, wasmtime_error_t *cause);

/* scan.c: before the pool's first slot is cleaned. */
void fm_scan_init(const struct fm_engine *engine);

/* scan.c: between these two this thread gives back the slot at `base`, after a call of the module;
 * NULL: not known where. */
void fm_scan_begin(struct fm_module *module, const uint8_t *base);
void fm_scan_end(void);
