/* sandbox.c - one instance in one store, driven by polling.
 *
 * A store per call: it owns the instance's memory, tables and fiber, and deleting it gives all of
 * them back to the pool, which clears them.  Every entry is asynchronous (instantiation as well,
 * since a start function is guest code): the guest runs on its own stack, and a tick or a parked
 * host function returns from poll with the guest suspended in the middle.
 *
 * Reusing an instance for several calls was discarded: nothing in the engine restores one, and a
 * fresh one costs less than an HTTP header's parsing. */
#include "engine/sandbox_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "engine/private.h"

#define TABLES_MAX                                                                                 \
    100 /* what a module declares is checked against the pool; this bounds the rest */

static wasmtime_error_t *on_epoch(wasmtime_context_t *context, void *data, uint64_t *ret_delta,
                                  wasmtime_update_deadline_kind_t *ret_kind)
{
    (void)context;
    struct fm_sandbox *sandbox = data;
    int verdict = sandbox->on_tick(sandbox->host);
    if (verdict < 0) {
        sandbox->host_error = verdict;
        return wasmtime_error_new("ended by the host");
    }
    *ret_delta = 1;
    *ret_kind = verdict == FM_TICK_YIELD ? WASMTIME_UPDATE_DEADLINE_YIELD
                                         : WASMTIME_UPDATE_DEADLINE_CONTINUE;
    return NULL;
}

size_t fm_sandbox_bytes(void)
{
    return sizeof(struct fm_sandbox);
}

int fm_sandbox_new(struct fm_module *module, const struct fm_sandbox_config *config,
                   struct fm_sandbox **ret_sandbox)
{
    FM_ASSERT(module->pre && config->on_tick);
    struct fm_sandbox *sandbox = config->room ? config->room : malloc(sizeof(*sandbox));
    if (!sandbox)
        return FM_ERR_NOMEM;
    memset(sandbox, 0, sizeof(*sandbox));
    sandbox->allocated = !config->room;
    sandbox->module = module;
    sandbox->pre = config->streams && module->pre_streaming ? module->pre_streaming : module->pre;
    sandbox->on_tick = config->on_tick;
    sandbox->host = config->host;
    sandbox->memory_bytes_max = config->memory_bytes_max;
    sandbox->store = wasmtime_store_new(module->engine->wasm, sandbox, NULL);
    sandbox->context = wasmtime_store_context(sandbox->store);
    wasmtime_store_limiter(sandbox->store, (int64_t)config->memory_bytes_max, FM_TABLE_ELEMENTS_MAX,
                           1, TABLES_MAX, 1);
    wasmtime_store_epoch_deadline_callback(sandbox->store, on_epoch, sandbox, NULL);
    wasmtime_context_set_epoch_deadline(sandbox->context, 1);
    *ret_sandbox = sandbox;
    return 0;
}

struct fm_sandbox *fm_sandbox_free(struct fm_sandbox *sandbox)
{
    if (!sandbox)
        return NULL;
    if (sandbox->future)
        wasmtime_call_future_delete(sandbox->future); /* unwinds the guest */
    fm_trap_clear(sandbox);
    fm_scan_begin(sandbox->module, sandbox->memory_base);
    wasmtime_store_delete(sandbox->store);
    fm_scan_end();
    if (sandbox->allocated)
        free(sandbox);
    return NULL;
}

void fm_sandbox_instantiate(struct fm_sandbox *sandbox)
{
    FM_ASSERT(!sandbox->future);
    fm_trap_clear(sandbox);
    sandbox->instantiating = true;
    sandbox->future = wasmtime_instance_pre_instantiate_async(
        sandbox->pre, sandbox->context, &sandbox->instance, &sandbox->trap, &sandbox->error);
}

static const struct fm_entry *find_entry(const struct fm_module *module, const char *name)
{
    for (size_t i = 0; i < module->entries_count; i++)
        if (strcmp(module->entries[i].name, name) == 0)
            return &module->entries[i];
    return NULL;
}

/* Any other export: whether it is a function that can be called, and with what. */
static int find_by_name(struct fm_sandbox *sandbox, const char *name, struct fm_entry *ret_entry)
{
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(sandbox->context, &sandbox->instance, name, strlen(name),
                                      &item))
        return FM_ERR_NOT_FOUND;
    if (item.kind != WASMTIME_EXTERN_FUNC) {
        wasmtime_extern_delete(&item);
        return FM_ERR_NOT_FOUND;
    }
    sandbox->function = item.of.func;
    wasm_functype_t *type = wasmtime_func_type(sandbox->context, &sandbox->function);
    bool fits = fm_entry_type_fits(type, &ret_entry->parameters_count, &ret_entry->results_count);
    wasm_functype_delete(type);
    return fits ? 0 : FM_ERR_UNSUPPORTED_MODULE;
}

int fm_sandbox_call(struct fm_sandbox *sandbox, const char *export_name, const int32_t *arguments,
                    size_t arguments_count)
{
    FM_ASSERT(!sandbox->future && arguments_count <= FM_SANDBOX_ARGUMENTS_MAX);
    struct fm_entry other;
    const struct fm_entry *entry = find_entry(sandbox->module, export_name);
    if (entry) {
        wasmtime_extern_t item;
        bool found =
            fm_wt_instance_export(sandbox->context, &sandbox->instance, entry->place, &item);
        FM_ASSERT(found && item.kind == WASMTIME_EXTERN_FUNC);
        sandbox->function = item.of.func;
    } else {
        int failed = find_by_name(sandbox, export_name, &other);
        if (failed)
            return failed;
        entry = &other;
    }
    if (entry->parameters_count != arguments_count)
        return FM_ERR_UNSUPPORTED_MODULE;

    fm_trap_clear(sandbox);
    for (size_t i = 0; i < arguments_count; i++)
        sandbox->arguments[i] = (wasmtime_val_t){.kind = WASMTIME_I32, .of = {.i32 = arguments[i]}};
    sandbox->result = (wasmtime_val_t){.kind = WASMTIME_I32};
    sandbox->future = wasmtime_func_call_async(
        sandbox->context, &sandbox->function, sandbox->arguments, arguments_count, &sandbox->result,
        entry->results_count, &sandbox->trap, &sandbox->error);
    return 0;
}

static void on_instantiated(struct fm_sandbox *sandbox)
{
    sandbox->instantiating = false;
    if (sandbox->trap || sandbox->error || !sandbox->module->memory)
        return;
    wasmtime_extern_t item;
    bool found =
        fm_wt_instance_export(sandbox->context, &sandbox->instance, sandbox->module->memory, &item);
    FM_ASSERT(found);
    if (item.kind == WASMTIME_EXTERN_MEMORY) {
        sandbox->memory = item.of.memory;
        sandbox->memory_base = wasmtime_memory_data(sandbox->context, &sandbox->memory);
        if (sandbox->module->engine->keep_pool)
            fm_keep_taken(sandbox->module->engine->keep_pool, (uintptr_t)sandbox->memory_base);
    }
    wasmtime_extern_delete(&item);
}

enum fm_sandbox_state fm_sandbox_poll(struct fm_sandbox *sandbox)
{
    FM_ASSERT(sandbox->future);
    if (!wasmtime_call_future_poll(sandbox->future))
        return sandbox->parked.import ? FM_SANDBOX_PARKED : FM_SANDBOX_YIELDED;
    wasmtime_call_future_delete(sandbox->future);
    sandbox->future = NULL;
    if (sandbox->instantiating)
        on_instantiated(sandbox);
    return FM_SANDBOX_DONE;
}

int32_t fm_sandbox_result(const struct fm_sandbox *sandbox)
{
    return sandbox->result.of.i32;
}

/* --- for host functions ----------------------------------------------------------------------- */

uint64_t fm_sandbox_memory_bytes(const struct fm_sandbox *sandbox)
{
    if (!sandbox->memory_base)
        return 0;
    return wasmtime_memory_data_size(sandbox->context, &sandbox->memory);
}

int fm_guest_span(struct fm_sandbox *sandbox, uint64_t offset, uint64_t length,
                  struct fm_span *ret_span)
{
    uint64_t size = fm_sandbox_memory_bytes(sandbox);
    if (offset > size || length > size - offset) {
        fm_sandbox_explain(sandbox, "%llu bytes at %llu are not inside the memory of %llu bytes",
                           (unsigned long long)length, (unsigned long long)offset,
                           (unsigned long long)size);
        return FM_ERR_GUEST_TRAP;
    }
    ret_span->data = sandbox->memory_base + offset;
    ret_span->length = length;
    return 0;
}

int fm_sandbox_memory_grow(struct fm_sandbox *sandbox, uint64_t pages, uint64_t *ret_pages_before)
{
    if (!sandbox->memory_base)
        return FM_ERR_GUEST_LIMIT;
    uint64_t before = 0;
    wasmtime_error_t *error =
        wasmtime_memory_grow(sandbox->context, &sandbox->memory, pages, &before);
    if (error) {
        wasmtime_error_delete(error);
        return FM_ERR_GUEST_LIMIT;
    }
    *ret_pages_before = before;
    return 0;
}

void fm_sandbox_explain(struct fm_sandbox *sandbox, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sandbox->explanation, sizeof(sandbox->explanation), format, arguments);
    va_end(arguments);
}
