/* link.c - makes the tables of host functions (import.h) known to the engine.
 *
 * A function that never parks is linked as a plain, unchecked host function: no conversion of its
 * values, no allocation.  One that may park is linked as an asynchronous one: the engine then asks
 * a continuation at every poll, and the fiber stays suspended until it says yes.  What such a call
 * needs meanwhile lives in the sandbox: there is at most one at a time.
 *
 * An asynchronous function costs some hundred nanoseconds more, and reading and writing must wait
 * only where input and output are streams.  So there are two sets of imports, and a module is
 * linked to both: what does not stream pays nothing, not even a question. */
#include "engine/private.h"
#include "engine/sandbox_private.h"

#include <string.h>

_Static_assert(sizeof(union fm_value) == sizeof(wasmtime_val_raw_t), "one layout for both");

static bool valtype_of(char letter, wasm_valkind_t *ret_kind)
{
    switch (letter) {
    case 'i':
        *ret_kind = WASM_I32;
        return true;
    case 'I':
        *ret_kind = WASM_I64;
        return true;
    case 'f':
        *ret_kind = WASM_F32;
        return true;
    case 'F':
        *ret_kind = WASM_F64;
        return true;
    default:
        return false;
    }
}

static void types_of(const char *letters, size_t count, wasm_valtype_vec_t *ret_types)
{
    wasm_valtype_vec_new_uninitialized(ret_types, count);
    for (size_t i = 0; i < count; i++) {
        wasm_valkind_t kind = WASM_I32;
        FM_ASSERT(valtype_of(letters[i], &kind));
        ret_types->data[i] = wasm_valtype_new(kind);
    }
}

wasm_functype_t *fm_link_type_new(const char *signature)
{
    const char *colon = strchr(signature, ':');
    FM_ASSERT(colon);
    FM_ASSERT((size_t)(colon - signature) <= FM_IMPORT_VALUES_MAX && strlen(colon + 1) <= 1);
    wasm_valtype_vec_t parameters;
    wasm_valtype_vec_t results;
    types_of(signature, (size_t)(colon - signature), &parameters);
    types_of(colon + 1, strlen(colon + 1), &results);
    return wasm_functype_new(&parameters, &results);
}

/* Any trap does: what ended the guest is in sandbox->host_error. */
static wasm_trap_t *end_guest(struct fm_sandbox *sandbox, int error)
{
    FM_ASSERT(error < 0);
    sandbox->host_error = error;
    return wasmtime_trap_new_code(WASMTIME_TRAP_CODE_INTERRUPT);
}

static wasm_trap_t *on_import(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                              size_t values_count)
{
    (void)values_count; /* the engine checked the type */
    const struct fm_import *import = env;
    struct fm_sandbox *sandbox = wasmtime_context_get_data(wasmtime_caller_context(caller));
    int result = import->call(sandbox, sandbox->host, (union fm_value *)values);
    return FM_LIKELY(result == 0) ? NULL : end_guest(sandbox, result);
}

/* --- functions that may park ------------------------------------------------------------------ */

static bool answer_parked(struct fm_sandbox *sandbox, int result)
{
    struct fm_parked *parked = &sandbox->parked;
    if (result == FM_PARK)
        return false;
    if (result < 0) {
        *parked->trap = end_guest(sandbox, result);
    } else if (parked->results_count == 1) {
        const char *letter = strchr(parked->import->signature, ':') + 1;
        FM_ASSERT(valtype_of(*letter, &parked->results[0].kind));
        memcpy(&parked->results[0].of, &parked->values[0], sizeof(parked->results[0].of.i64));
    }
    parked->import = NULL;
    return true;
}

static bool on_resume(void *env)
{
    struct fm_sandbox *sandbox = env;
    struct fm_parked *parked = &sandbox->parked;
    if (!parked->import)
        return true; /* was answered at once */
    union fm_value values[FM_IMPORT_VALUES_MAX];
    memcpy(values, parked->values, sizeof(values));
    int result = parked->import->resume(sandbox, sandbox->host, values);
    if (result == 0)
        parked->values[0] = values[0];
    return answer_parked(sandbox, result);
}

static void on_import_that_parks(void *env, wasmtime_caller_t *caller,
                                 const wasmtime_val_t *arguments, size_t arguments_count,
                                 wasmtime_val_t *results, size_t results_count, wasm_trap_t **trap,
                                 wasmtime_async_continuation_t *continuation)
{
    const struct fm_import *import = env;
    struct fm_sandbox *sandbox = wasmtime_context_get_data(wasmtime_caller_context(caller));
    struct fm_parked *parked = &sandbox->parked;
    FM_ASSERT(!parked->import && arguments_count <= FM_IMPORT_VALUES_MAX);
    *parked = (struct fm_parked){
        .import = import, .results = results, .results_count = results_count, .trap = trap};
    for (size_t i = 0; i < arguments_count; i++)
        memcpy(&parked->values[i], &arguments[i].of, sizeof(arguments[i].of.i64));

    union fm_value values[FM_IMPORT_VALUES_MAX];
    memcpy(values, parked->values, sizeof(values));
    int result = import->call(sandbox, sandbox->host, values);
    if (result == 0)
        parked->values[0] = values[0];
    (void)answer_parked(sandbox, result); /* parked: the continuation asks again */
    continuation->callback = on_resume;
    continuation->env = sandbox;
    continuation->finalizer = NULL;
}

static int add(wasmtime_linker_t *linker, const struct fm_import *imports, size_t count,
               struct fm_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const struct fm_import *import = &imports[i];
        /* The engine hands the pointer back unchanged; it never writes through it. */
        void *env = (void *)(uintptr_t)import;
        wasm_functype_t *type = fm_link_type_new(import->signature);
        wasmtime_error_t *failed =
            import->resume
                ? wasmtime_linker_define_async_func(linker, import->module, strlen(import->module),
                                                    import->name, strlen(import->name), type,
                                                    on_import_that_parks, env, NULL)
                : wasmtime_linker_define_func_unchecked(
                      linker, import->module, strlen(import->module), import->name,
                      strlen(import->name), type, on_import, env, NULL);
        wasm_functype_delete(type);
        if (failed)
            return fm_engine_error(error, FM_ERR_INTERNAL, import->name, failed);
    }
    return 0;
}

int fm_engine_imports_add(struct fm_engine *engine, const struct fm_import *imports, size_t count,
                          struct fm_error *error)
{
    return add(engine->linker, imports, count, error);
}

int fm_engine_streaming_add(struct fm_engine *engine, const struct fm_import *imports, size_t count,
                            struct fm_error *error)
{
    FM_ASSERT(!engine->streaming);
    engine->streaming = wasmtime_linker_clone(engine->linker);
    wasmtime_linker_allow_shadowing(engine->streaming, true);
    return add(engine->streaming, imports, count, error);
}
