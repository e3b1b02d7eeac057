/* shape.c - what a module imports and exports, copied out of the engine's types. */
#include <string.h>

#include "engine/private.h"

static int copy_name(struct fm_arena *arena, const wasm_name_t *name, const char **ret_text)
{
    char *text = fm_arena_strndup(arena, name->data ? name->data : "", name->size);
    if (!text)
        return FM_ERR_NOMEM;
    *ret_text = text;
    return 0;
}

static char letter_of(const wasm_valtype_t *type)
{
    switch (wasm_valtype_kind(type)) {
    case WASM_I32:
        return 'i';
    case WASM_I64:
        return 'I';
    case WASM_F32:
        return 'f';
    case WASM_F64:
        return 'F';
    default:
        return '?';
    }
}

static int copy_signature(struct fm_arena *arena, const wasm_functype_t *type,
                          const char **ret_signature)
{
    const wasm_valtype_vec_t *parameters = wasm_functype_params(type);
    const wasm_valtype_vec_t *results = wasm_functype_results(type);
    char *text = fm_arena_alloc(arena, parameters->size + results->size + 2);
    if (!text)
        return FM_ERR_NOMEM;
    char *at = text;
    for (size_t i = 0; i < parameters->size; i++)
        *at++ = letter_of(parameters->data[i]);
    *at++ = ':';
    for (size_t i = 0; i < results->size; i++)
        *at++ = letter_of(results->data[i]);
    *at = '\0';
    *ret_signature = text;
    return 0;
}

static int describe(struct fm_arena *arena, const wasm_externtype_t *type, struct fm_extern *item)
{
    item->signature = "";
    switch (wasm_externtype_kind(type)) {
    case WASM_EXTERN_FUNC:
        item->kind = FM_EXTERN_FUNCTION;
        return copy_signature(arena, wasm_externtype_as_functype_const(type), &item->signature);
    case WASM_EXTERN_MEMORY:
        item->kind = FM_EXTERN_MEMORY;
        item->memory_pages_min =
            wasmtime_memorytype_minimum(wasm_externtype_as_memorytype_const(type));
        return 0;
    case WASM_EXTERN_TABLE:
        item->kind = FM_EXTERN_TABLE;
        return 0;
    case WASM_EXTERN_GLOBAL:
        item->kind = FM_EXTERN_GLOBAL;
        return 0;
    default:
        item->kind = FM_EXTERN_OTHER;
        return 0;
    }
}

static struct fm_extern *items_new(struct fm_arena *arena, size_t count)
{
    struct fm_extern *items = fm_arena_alloc(arena, count * sizeof(*items));
    if (items)
        memset(items, 0, count * sizeof(*items));
    return items;
}

static int copy_imports(struct fm_arena *arena, const wasm_importtype_vec_t *types,
                        struct fm_module_shape *shape)
{
    struct fm_extern *items = items_new(arena, types->size);
    if (!items)
        return FM_ERR_NOMEM;
    for (size_t i = 0; i < types->size; i++) {
        const wasm_importtype_t *type = types->data[i];
        int failed = copy_name(arena, wasm_importtype_module(type), &items[i].module);
        if (!failed)
            failed = copy_name(arena, wasm_importtype_name(type), &items[i].name);
        if (!failed)
            failed = describe(arena, wasm_importtype_type(type), &items[i]);
        if (failed)
            return failed;
    }
    shape->imports = items;
    shape->imports_count = types->size;
    return 0;
}

static int copy_exports(struct fm_arena *arena, const wasm_exporttype_vec_t *types,
                        struct fm_module_shape *shape)
{
    struct fm_extern *items = items_new(arena, types->size);
    if (!items)
        return FM_ERR_NOMEM;
    for (size_t i = 0; i < types->size; i++) {
        const wasm_exporttype_t *type = types->data[i];
        int failed = copy_name(arena, wasm_exporttype_name(type), &items[i].name);
        if (!failed)
            failed = describe(arena, wasm_exporttype_type(type), &items[i]);
        if (failed)
            return failed;
    }
    shape->exports = items;
    shape->exports_count = types->size;
    return 0;
}

int fm_module_shape(const struct fm_module *module, struct fm_arena *arena,
                    struct fm_module_shape *ret_shape)
{
    struct fm_module_shape shape = {0};
    wasm_importtype_vec_t imports;
    wasm_exporttype_vec_t exports;
    wasmtime_module_imports(module->wasm, &imports);
    wasmtime_module_exports(module->wasm, &exports);
    int failed = copy_imports(arena, &imports, &shape);
    if (!failed)
        failed = copy_exports(arena, &exports, &shape);
    wasm_importtype_vec_delete(&imports);
    wasm_exporttype_vec_delete(&exports);
    if (!failed)
        *ret_shape = shape;
    return failed;
}
