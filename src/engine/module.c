/* module.c - from WebAssembly to machine code, and from a file of machine code into memory.
 *
 * Compiling happens where nothing else runs (the compile process, tools); the server only loads
 * what that produced.  A loaded module is mapped from its file: its code and the initial content of
 * its memory are the page cache's pages, shared by whoever maps the same file. */
#include <stdlib.h>
#include <string.h>

#include "engine/private.h"

static struct fm_module *module_new(struct fm_engine *engine)
{
    struct fm_module *module = calloc(1, sizeof(*module));
    if (!module)
        return NULL;
    module->engine = engine;
    if (engine->keep_pool)
        fm_keep_init(&module->keep, engine->keep_pool);
    return module;
}

/* A valid module that needs what is switched off is another mistake than a malformed one.  The
 * validator names the proposal in its text. */
static int compile_error_of(struct fm_error *error)
{
    static const char *const lacking[] = {
        "must be enabled",   "is not enabled",    "feature required", "not supported",
        "multiple memories", "exceeds the limit", "too large for",
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(lacking); i++)
        if (strstr(error->text, lacking[i]))
            return FM_ERR_UNSUPPORTED_MODULE;
    return FM_ERR_BAD_MODULE;
}

static int compile_failed(wasmtime_error_t *cause, struct fm_error *error)
{
    struct fm_error found = {0};
    (void)fm_engine_error(&found, FM_ERR_BAD_MODULE, "", cause);
    if (strstr(found.text, "legacy_exceptions") || strstr(found.text, "legacy exceptions"))
        return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                            "the module uses the legacy form of exception handling (try/catch), "
                            "which is not supported; compile it with the final form (exnref), "
                            "with clang: -mllvm -wasm-use-legacy-eh=false");
    return fm_error_set(error, compile_error_of(&found), "%s", found.text);
}

/* Text starts with `(`, `;` or white space; binary modules start with a NUL. */
static bool is_text(const uint8_t *wasm, size_t bytes)
{
    return bytes > 0 && strchr("(; \t\r\n", wasm[0]) != NULL && wasm[0] != '\0';
}

/* Whoever sends another file than they meant to is told so, not what the parser had expected. */
static int look_at_beginning(const uint8_t *wasm, size_t bytes, struct fm_error *error)
{
    static const uint8_t magic[] = {'\0', 'a', 's', 'm'};
    static const uint8_t component[] = {'\0', 'a', 's', 'm', 0x0d, 0, 1, 0};
    if (bytes == 0)
        return fm_error_set(error, FM_ERR_BAD_MODULE, "the module is empty");
    if (bytes >= sizeof(component) && memcmp(wasm, component, sizeof(component)) == 0)
        return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                            "this is a component, not a module; compile for WASI preview 1 "
                            "(wasm32-wasip1)");
    if (is_text(wasm, bytes) ||
        memcmp(wasm, magic, bytes < sizeof(magic) ? bytes : sizeof(magic)) == 0)
        return 0;
    return fm_error_set(error, FM_ERR_BAD_MODULE,
                        "this is no WebAssembly module: it begins neither with the bytes "
                        "00 61 73 6d nor, as text, with a parenthesis");
}

int fm_module_compile(struct fm_engine *engine, const uint8_t *wasm, size_t bytes,
                      struct fm_module **ret_module, struct fm_error *error)
{
    int bad = look_at_beginning(wasm, bytes, error);
    if (bad)
        return bad;
    struct fm_module *module = module_new(engine);
    if (!module)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    wasm_byte_vec_t binary = {0};
    wasmtime_error_t *failed = NULL;
    if (is_text(wasm, bytes)) {
        failed = wasmtime_wat2wasm((const char *)wasm, bytes, &binary);
        if (!failed)
            failed = wasmtime_module_new(engine->wasm, (const uint8_t *)binary.data, binary.size,
                                         &module->wasm);
        wasm_byte_vec_delete(&binary);
    } else {
        failed = wasmtime_module_new(engine->wasm, wasm, bytes, &module->wasm);
    }
    if (failed) {
        fm_module_free(module);
        return compile_failed(failed, error);
    }
    *ret_module = module;
    return 0;
}

int fm_module_from_text(const uint8_t *text, size_t bytes, uint8_t **ret_wasm, size_t *ret_bytes,
                        struct fm_error *error)
{
    if (!is_text(text, bytes)) {
        *ret_wasm = NULL;
        return 0;
    }
    wasm_byte_vec_t binary = {0};
    wasmtime_error_t *failed = wasmtime_wat2wasm((const char *)text, bytes, &binary);
    if (failed)
        return compile_failed(failed, error);
    uint8_t *copy = malloc(binary.size ? binary.size : 1);
    if (copy) {
        memcpy(copy, binary.data, binary.size);
        *ret_wasm = copy;
        *ret_bytes = binary.size;
    }
    wasm_byte_vec_delete(&binary);
    return copy ? 0 : fm_error_set(error, FM_ERR_NOMEM, "out of memory");
}

int fm_module_lines(struct fm_module *module, const uint8_t *wasm, size_t bytes,
                    const uint8_t *compiled, size_t compiled_bytes)
{
    return fm_lines_make(&module->lines, wasm, bytes, compiled, compiled_bytes);
}

int fm_module_serialize(const struct fm_module *module, uint8_t **ret_data, size_t *ret_bytes,
                        struct fm_error *error)
{
    wasm_byte_vec_t image;
    wasmtime_error_t *failed = wasmtime_module_serialize(module->wasm, &image);
    if (failed)
        return fm_engine_error(error, FM_ERR_INTERNAL, "cannot serialize", failed);
    const struct fm_lines *lines = &module->lines;
    struct fm_lines_footer footer;
    bool footed = fm_lines_footer(lines, &footer);
    size_t bytes = image.size + (footed ? lines->table_bytes + sizeof(footer) : 0);
    uint8_t *data = malloc(bytes ? bytes : 1);
    if (data) {
        memcpy(data, image.data, image.size);
        if (footed && lines->table_bytes > 0)
            memcpy(data + image.size, lines->table, lines->table_bytes);
        if (footed)
            memcpy(data + bytes - sizeof(footer), &footer, sizeof(footer));
        *ret_data = data;
        *ret_bytes = bytes;
    }
    wasm_byte_vec_delete(&image);
    return data ? 0 : fm_error_set(error, FM_ERR_NOMEM, "out of memory");
}

/* The engine's words, without the path, which is nobody's business but the server's. */
static int load_failed(wasmtime_error_t *cause, const char *path, struct fm_error *error)
{
    struct fm_error found = {0};
    (void)fm_engine_error(&found, FM_ERR_CONFLICT, "", cause);
    const char *text = found.text;
    const char *named = strstr(text, path);
    if (named)
        text = named + strlen(path) + strspn(named + strlen(path), ": ");
    /* The engine keeps no code of the system's error, only its text: ENOMEM, ENFILE, EMFILE. */
    bool exhausted = strstr(text, "(os error 12)") || strstr(text, "(os error 23)") ||
                     strstr(text, "(os error 24)");
    return fm_error_set(error, exhausted ? FM_ERR_NOMEM : FM_ERR_CONFLICT, "%s",
                        text[0] ? text : "cannot be loaded");
}

int fm_module_load(struct fm_engine *engine, const char *path, struct fm_module **ret_module,
                   struct fm_error *error)
{
    struct fm_module *module = module_new(engine);
    if (!module)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    wasmtime_error_t *failed = wasmtime_module_deserialize_file(engine->wasm, path, &module->wasm);
    if (failed) {
        fm_module_free(module);
        return load_failed(failed, path, error);
    }
    int unread = fm_lines_map(&module->lines, path);
    if (unread) {
        fm_module_free(module);
        return fm_error_set(error, unread, "cannot map its source lines");
    }
    *ret_module = module;
    return 0;
}

int fm_module_prepare(struct fm_module *module, bool stub_missing, struct fm_error *error)
{
    FM_ASSERT(!module->pre);
    wasmtime_linker_t *linker = module->engine->linker;
    wasmtime_linker_t *own = NULL;
    wasmtime_error_t *failed = NULL;
    if (stub_missing) {
        own = wasmtime_linker_clone(linker); /* the stubs are this module's alone */
        linker = own;
        failed = wasmtime_linker_define_unknown_imports_as_traps(linker, module->wasm);
    }
    if (!failed)
        failed = wasmtime_linker_instantiate_pre(linker, module->wasm, &module->pre);
    if (own)
        wasmtime_linker_delete(own);
    wasmtime_linker_t *streaming = module->engine->streaming;
    if (!failed && streaming && !stub_missing)
        failed = wasmtime_linker_instantiate_pre(streaming, module->wasm, &module->pre_streaming);
    if (failed)
        return fm_engine_error(error, FM_ERR_UNSUPPORTED_MODULE, "", failed);
    fm_entries_find(module);
    return 0;
}

struct fm_module *fm_module_free(struct fm_module *module)
{
    if (!module)
        return NULL;
    fm_entries_done(module);
    if (module->pre_streaming)
        wasmtime_instance_pre_delete(module->pre_streaming);
    fm_lines_done(&module->lines);
    if (module->pre)
        wasmtime_instance_pre_delete(module->pre);
    if (module->wasm)
        wasmtime_module_delete(module->wasm);
    free(module);
    return NULL;
}

size_t fm_module_image_bytes(const struct fm_module *module)
{
    void *start = NULL;
    void *end = NULL;
    wasmtime_module_image_range(module->wasm, &start, &end);
    return (size_t)((char *)end - (char *)start);
}
