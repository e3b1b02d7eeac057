/* compile_cache.c - the C side of wasmtime/src/cache.rs. */
#include "engine/compile_cache.h"

#include <stdlib.h>
#include <string.h>

#include "engine/wt.h"

struct fm_compile_cache *fm_compile_cache_new(void)
{
    return fm_wt_cache_new();
}

struct fm_compile_cache *fm_compile_cache_free(struct fm_compile_cache *cache)
{
    fm_wt_cache_delete(cache);
    return NULL;
}

bool fm_compile_cache_fill(struct fm_compile_cache *cache, const uint8_t *bytes, size_t length)
{
    return fm_wt_cache_fill(cache, bytes, length);
}

int fm_compile_cache_write(const struct fm_compile_cache *cache, size_t bytes_max,
                           uint8_t **ret_bytes, size_t *ret_length)
{
    wasm_byte_vec_t file;
    if (!fm_wt_cache_write(cache, bytes_max, &file))
        return FM_ERR_TOO_LARGE;
    uint8_t *bytes = malloc(file.size); /* never empty: it has a header */
    if (bytes) {
        memcpy(bytes, file.data, file.size);
        *ret_bytes = bytes;
        *ret_length = file.size;
    }
    wasm_byte_vec_delete(&file);
    return bytes ? 0 : FM_ERR_NOMEM;
}

void fm_compile_cache_counts(const struct fm_compile_cache *cache, uint64_t *ret_reused,
                             uint64_t *ret_compiled)
{
    fm_wt_cache_counts(cache, ret_reused, ret_compiled);
}
