/* sandbox_private.h - a sandbox from the inside, for sandbox.c, link.c and trap.c. */
#pragma once

#include "engine/import.h"
#include "engine/sandbox.h"
#include "engine/wt.h"

#define FM_IMPORT_VALUES_MAX 9 /* parameters of the widest import (path_open) */
#define FM_SANDBOX_ARGUMENTS_MAX 4
#define FM_SANDBOX_EXPLAIN_SIZE 201

/* A host function that parked, or is being asked. */
struct fm_parked {
    const struct fm_import *import; /* NULL: none */
    union fm_value values[FM_IMPORT_VALUES_MAX];
    wasmtime_val_t *results; /* the engine's, valid until answered */
    size_t results_count;
    wasm_trap_t **trap;
};

struct fm_sandbox {
    struct fm_module *module;
    wasmtime_instance_pre_t *pre; /* the module's, one of the two */
    fm_tick_fn *on_tick;
    void *host;
    bool allocated; /* from malloc, not in somebody's room */

    wasmtime_store_t *store;
    wasmtime_context_t *context;
    wasmtime_instance_t instance;
    wasmtime_memory_t memory;
    uint8_t *memory_base; /* never moves; NULL when there is no memory */
    uint64_t memory_bytes_max;

    wasmtime_call_future_t *future; /* what poll drives; NULL: nothing under way */
    bool instantiating;
    wasmtime_func_t function; /* read by the engine at the first poll */
    wasmtime_val_t arguments[FM_SANDBOX_ARGUMENTS_MAX];
    wasmtime_val_t result;
    struct fm_parked parked;

    /* The outcome (trap.c). */
    wasm_trap_t *trap;
    wasmtime_error_t *error;
    int host_error;       /* FM_ERR_* of a host function or of on_tick; 0: none */
    char *backtrace_text; /* made when asked for */
    char explanation[FM_SANDBOX_EXPLAIN_SIZE];
};

/* trap.c */
void fm_trap_clear(struct fm_sandbox *sandbox);
