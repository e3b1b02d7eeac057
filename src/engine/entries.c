/* entries.c - the exports of a module that every call needs: its memory, and where it is entered.
 *
 * Finding an export by name hashes the name, and asking the engine for a function's type copies it,
 * with several allocations; that is done once per module here, and not once per call.  Other names
 * than the usual ones work as well, the slow way. */
#include <string.h>

#include "engine/private.h"
#include "engine/sandbox_private.h"

bool fm_entry_type_fits(const wasm_functype_t *type, size_t *ret_parameters, size_t *ret_results)
{
    const wasm_valtype_vec_t *parameters = wasm_functype_params(type);
    const wasm_valtype_vec_t *results = wasm_functype_results(type);
    bool fits = parameters->size <= FM_SANDBOX_ARGUMENTS_MAX && results->size <= 1;
    for (size_t i = 0; fits && i < parameters->size; i++)
        fits = wasm_valtype_kind(parameters->data[i]) == WASM_I32;
    if (fits && results->size == 1)
        fits = wasm_valtype_kind(results->data[0]) == WASM_I32;
    *ret_parameters = parameters->size;
    *ret_results = results->size;
    return fits;
}

static bool is_usual(const wasm_name_t *name)
{
    static const char *const usual[] = {"_start", "run", "handle", "_initialize"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(usual); i++)
        if (name->size == strlen(usual[i]) && memcmp(name->data, usual[i], name->size) == 0)
            return true;
    return false;
}

static void add(struct fm_module *module, const wasm_exporttype_t *item)
{
    const wasm_name_t *name = wasm_exporttype_name(item);
    const wasm_functype_t *type = wasm_externtype_as_functype_const(wasm_exporttype_type(item));
    struct fm_entry entry = {0};
    if (!type || !is_usual(name) ||
        !fm_entry_type_fits(type, &entry.parameters_count, &entry.results_count))
        return;
    FM_ASSERT(module->entries_count < FM_ENTRIES_MAX && name->size < sizeof(entry.name));
    entry.place = fm_wt_module_export(module->wasm, name->data, name->size);
    FM_ASSERT(entry.place); /* it is in the list of exports */
    memcpy(entry.name, name->data, name->size);
    module->entries[module->entries_count++] = entry;
}

void fm_entries_find(struct fm_module *module)
{
    wasm_exporttype_vec_t exports;
    wasmtime_module_exports(module->wasm, &exports);
    module->memory = fm_wt_module_export(module->wasm, "memory", strlen("memory"));
    for (size_t i = 0; i < exports.size; i++)
        add(module, exports.data[i]);
    wasm_exporttype_vec_delete(&exports);
}

void fm_entries_done(struct fm_module *module)
{
    fm_wt_module_export_delete(module->memory);
    for (size_t i = 0; i < module->entries_count; i++)
        fm_wt_module_export_delete(module->entries[i].place);
    module->memory = NULL;
    module->entries_count = 0;
}
