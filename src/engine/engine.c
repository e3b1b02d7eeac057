/* engine.c - one engine per process: its birth, its clock, its end.
 *
 * The engine belongs to the process and is read by every thread; after the start only the epoch
 * counter changes, which the engine itself makes atomic.  Creating it can fail (a setting, an
 * address space that the machine does not give) and says so, where the plain C API would abort. */
#include "engine/private.h"

#include <stdlib.h>
#include <string.h>

int fm_engine_error(struct fm_error *error, int code, const char *what, wasmtime_error_t *cause)
{
    wasm_name_t message;
    wasmtime_error_message(cause, &message);
    /* A chain of causes, one a line: made one line of printable text. */
    char text[400];
    size_t used = 0;
    for (size_t i = 0; i < message.size && used < sizeof(text) - 1; i++) {
        char c = message.data[i];
        if (c == '\n' || c == '\t')
            c = ' ';
        else if (c < ' ' || c == 0x7f)
            c = '?';
        if (c != ' ' || (used > 0 && text[used - 1] != ' '))
            text[used++] = c;
    }
    while (used > 0 && text[used - 1] == ' ')
        used--;
    text[used] = '\0';
    int result = fm_error_set(error, code, "%s%s%s", what, what[0] ? ": " : "", text);
    wasm_byte_vec_delete(&message);
    wasmtime_error_delete(cause);
    return result;
}

static uint32_t pages_of(uint64_t bytes)
{
    return (uint32_t)fm_min_u64(bytes / FM_KEEP_PAGE_BYTES, UINT32_MAX);
}

int fm_engine_new(const struct fm_engine_config *config, struct fm_engine **ret_engine,
                  struct fm_error *error)
{
    struct fm_engine *engine = calloc(1, sizeof(*engine));
    if (!engine)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    engine->config = *config;

    char text[300] = "";
    engine->wasm = fm_wt_engine_new(fm_settings_new(config), text, sizeof(text));
    if (!engine->wasm) {
        fm_engine_free(engine);
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "cannot create the engine: %s", text);
    }
    engine->linker = wasmtime_linker_new(engine->wasm);
    if (config->pooled &&
        fm_keep_pool_new(config->slots, pages_of(config->keep_resident_bytes),
                         pages_of(config->keep_total_bytes), &engine->keep_pool) != 0) {
        fm_engine_free(engine);
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    }
    if (config->pooled)
        fm_scan_init(engine);
    *ret_engine = engine;
    return 0;
}

struct fm_engine *fm_engine_free(struct fm_engine *engine)
{
    if (!engine)
        return NULL;
    if (engine->streaming)
        wasmtime_linker_delete(engine->streaming);
    if (engine->linker)
        wasmtime_linker_delete(engine->linker);
    if (engine->wasm)
        wasm_engine_delete(engine->wasm);
    fm_keep_pool_free(engine->keep_pool);
    free(engine);
    return NULL;
}

uint64_t fm_engine_kept_bytes(const struct fm_engine *engine)
{
    return engine->keep_pool ? fm_keep_pages(engine->keep_pool) * FM_KEEP_PAGE_BYTES : 0;
}

void fm_engine_tick(struct fm_engine *engine)
{
    wasmtime_engine_increment_epoch(engine->wasm);
}

void fm_engine_thread_init(void)
{
    fm_wt_thread_init();
}

const char *fm_engine_build_id(void)
{
    return "wasmtime-" WASMTIME_VERSION "-faasm-2";
}
