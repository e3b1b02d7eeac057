/* coredump.c - a core dump, in steps.
 *
 *      [all sections but one, by wasmtime/src/coredump.rs][data section]
 *                                                          id, size, count, segments...
 *
 * The content of the memory comes last, as segments of at most a page of 4 KiB without the zeros at
 * their ends; empty pages have none.  Size and count are only known at the end, so they stand in
 * five bytes each, the longest form of the format's variable numbers, and are filled in.
 *
 * Lifetime: of the sandbox, which holds the memory that is read.  One thread at a time. */
#include "engine/coredump.h"

#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "engine/sandbox_private.h"

#define SECTION_DATA 11
#define NUMBER_BYTES 5 /* of the longest form of a 32-bit number */
#define CHUNK_BYTES UINT64_C(4096)
#define OP_I32_CONST 0x41
#define OP_END 0x0b

_Static_assert(FM_COREDUMP_STEP_BYTES % CHUNK_BYTES == 0, "a step is made of whole chunks");

struct fm_coredump {
    struct fm_sandbox *sandbox;
    struct fm_buffer bytes;
    size_t section; /* where the data section begins */
    uint64_t next;  /* guest address */
    uint32_t segments;
};

static void put_fixed(uint8_t *at, uint32_t number)
{
    for (int i = 0; i < NUMBER_BYTES; i++) {
        at[i] = (uint8_t)((number & 0x7f) | (i < NUMBER_BYTES - 1 ? 0x80 : 0));
        number >>= 7;
    }
}

/* Unsigned, LEB128. */
static size_t put_number(uint8_t *at, uint32_t number)
{
    size_t length = 0;
    for (; number > 0x7f; number >>= 7)
        at[length++] = (uint8_t)((number & 0x7f) | 0x80);
    at[length++] = (uint8_t)number;
    return length;
}

/* Signed, LEB128: an address over 2 GiB is a negative i32. */
static size_t put_signed(uint8_t *at, int32_t number)
{
    size_t length = 0;
    for (;;) {
        uint8_t bits = (uint8_t)(number & 0x7f);
        number >>= 7; /* arithmetic, as both compilers do it */
        bool last = (number == 0 && !(bits & 0x40)) || (number == -1 && (bits & 0x40));
        at[length++] = (uint8_t)(bits | (last ? 0 : 0x80));
        if (last)
            return length;
    }
}

int fm_coredump_begin(struct fm_sandbox *sandbox, const char *name, size_t bytes_max,
                      struct fm_coredump **ret_dump)
{
    FM_ASSERT(!sandbox->future);
    wasm_byte_vec_t head;
    if ((!sandbox->trap && !sandbox->error) ||
        !fm_wt_coredump(sandbox->context, sandbox->trap, sandbox->error, name, strlen(name), &head))
        return FM_ERR_NOT_FOUND;
    struct fm_coredump *dump = calloc(1, sizeof(*dump));
    int failed = dump ? 0 : FM_ERR_NOMEM;
    if (!failed) {
        static const uint8_t section[1 + 2 * NUMBER_BYTES] = {SECTION_DATA};
        dump->sandbox = sandbox;
        fm_buffer_init(&dump->bytes, bytes_max);
        failed = fm_buffer_append(&dump->bytes, head.data, head.size);
        dump->section = dump->bytes.length;
        if (!failed)
            failed = fm_buffer_append(&dump->bytes, section, sizeof(section));
    }
    wasm_byte_vec_delete(&head);
    if (failed) {
        fm_coredump_free(dump);
        return failed;
    }
    *ret_dump = dump;
    return 0;
}

struct fm_coredump *fm_coredump_free(struct fm_coredump *dump)
{
    if (!dump)
        return NULL;
    fm_buffer_done(&dump->bytes);
    free(dump);
    return NULL;
}

static bool all_zero(const uint8_t *data, size_t bytes)
{
    return data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0;
}

static int put_chunk(struct fm_coredump *dump, const uint8_t *data, uint64_t address, size_t bytes)
{
    if (all_zero(data, bytes))
        return 0;
    size_t start = 0;
    while (data[start] == 0)
        start++;
    while (data[bytes - 1] == 0)
        bytes--;
    uint8_t head[3 + 2 * NUMBER_BYTES] = {0, OP_I32_CONST}; /* active, of memory 0 */
    size_t used = 2;
    used += put_signed(head + used, (int32_t)(uint32_t)(address + start));
    head[used++] = OP_END;
    used += put_number(head + used, (uint32_t)(bytes - start));
    int failed = fm_buffer_append(&dump->bytes, head, used);
    if (!failed)
        failed = fm_buffer_append(&dump->bytes, data + start, bytes - start);
    dump->segments++;
    return failed;
}

int fm_coredump_step(struct fm_coredump *dump)
{
    struct fm_sandbox *sandbox = dump->sandbox;
    uint64_t end = fm_sandbox_memory_bytes(sandbox); /* whole pages of 64 KiB */
    uint64_t until = fm_min_u64(end, dump->next + FM_COREDUMP_STEP_BYTES);
    for (; dump->next < until; dump->next += CHUNK_BYTES) {
        int failed =
            put_chunk(dump, sandbox->memory_base + dump->next, dump->next, (size_t)CHUNK_BYTES);
        if (failed)
            return failed;
    }
    if (dump->next < end)
        return FM_COREDUMP_MORE;
    uint8_t *section = dump->bytes.data + dump->section;
    size_t content = dump->bytes.length - dump->section - 1 - NUMBER_BYTES;
    if (content > UINT32_MAX)
        return FM_ERR_TOO_LARGE;
    put_fixed(section + 1, (uint32_t)content);
    put_fixed(section + 1 + NUMBER_BYTES, dump->segments);
    return 0;
}

uint8_t *fm_coredump_take(struct fm_coredump *dump, size_t *ret_bytes)
{
    return fm_buffer_take(&dump->bytes, ret_bytes);
}
