/* snapshot.c - the two ends of a snapshot, by way of wasmtime/src/snapshot.rs.
 *
 * A snapshot holds linear memory and mutable globals.  Tables and references it cannot, so a module
 * with an instruction that changes a table, or with a mutable global that holds a reference, is
 * refused, whether it would run that code or not.
 *
 * No state; one thread at a time for one sandbox. */
#include "engine/snapshot.h"

#include <stdlib.h>
#include <string.h>

#include "engine/sandbox_private.h"

#define WORDS_SIZE 200 /* of the reason, as the library says it */

bool fm_snapshot_wanted(const uint8_t *wasm, size_t bytes)
{
    return fm_wt_exports(wasm, bytes, FM_SNAPSHOT_EXPORT, strlen(FM_SNAPSHOT_EXPORT));
}

static int refused(const char *words, struct fm_error *error)
{
    char text[WORDS_SIZE];
    size_t used = 0;
    for (; words[used] && used < sizeof(text) - 1; used++)
        text[used] = words[used] >= ' ' && words[used] < 0x7f ? words[used] : '?';
    text[used] = '\0';
    return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                        "no snapshot can be made of this module: %s", text);
}

/* Takes `from`. */
static int copy_out(wasm_byte_vec_t *from, uint8_t **ret_wasm, size_t *ret_bytes,
                    struct fm_error *error)
{
    uint8_t *copy = malloc(from->size ? from->size : 1);
    if (copy) {
        memcpy(copy, from->data, from->size);
        *ret_wasm = copy;
        *ret_bytes = from->size;
    }
    wasm_byte_vec_delete(from);
    return copy ? 0 : fm_error_set(error, FM_ERR_NOMEM, "out of memory");
}

int fm_snapshot_instrument(const uint8_t *wasm, size_t bytes, uint8_t **ret_wasm, size_t *ret_bytes,
                           struct fm_error *error)
{
    wasm_byte_vec_t instrumented;
    char words[WORDS_SIZE];
    if (!fm_wt_snapshot_instrument(wasm, bytes, &instrumented, words, sizeof(words)))
        return refused(words, error);
    return copy_out(&instrumented, ret_wasm, ret_bytes, error);
}

int fm_snapshot_take(struct fm_sandbox *sandbox, const uint8_t *wasm, size_t bytes,
                     uint8_t **ret_wasm, size_t *ret_bytes, struct fm_error *error)
{
    FM_ASSERT(!sandbox->future && !sandbox->trap && !sandbox->error);
    wasm_byte_vec_t snapshot;
    char words[WORDS_SIZE];
    if (!fm_wt_snapshot(wasm, bytes, FM_SNAPSHOT_EXPORT, strlen(FM_SNAPSHOT_EXPORT),
                        sandbox->context, &sandbox->instance, &snapshot, words, sizeof(words)))
        return refused(words, error);
    return copy_out(&snapshot, ret_wasm, ret_bytes, error);
}
