/* abi_2018.c - functions that were compiled for the first Faasm: `run(input, output, names,
 * inputs)`.
 *
 * They expect four regions in their memory and know no lengths.  The runtime of 2018 rewrote each
 * module to have 1000 pages and put the regions at fixed addresses near the end; we grow the memory
 * by 23 pages behind whatever it has, which the function cannot tell apart, since it learns the
 * addresses as arguments and its heap (brk, mmap) starts where the memory ends.
 *
 *      old end        +64 KiB          +128 KiB          +640             +20 * 64 KiB
 *         |   input      |    output      |  20 names of   |  20 inputs of    |  rest of the
 *         |   64 KiB     |    64 KiB      |  32 bytes      |  64 KiB each     |  last page
 *
 * Input is followed by zeros.  Trailing zeros of the output and of chained inputs are not part of
 * them: that was the rule, since nobody said how long they are.  Chained calls are read up to the
 * first empty name.  The return value is shown as the exit code but fails nothing. */
#include <stdio.h>
#include <string.h>

#include "guest/memory.h"
#include "guest/private.h"

#define WASM_PAGE_BYTES 65536u
#define REGION_PAGES 23u
#define CHAINS_MAX 20u
#define NAME_BYTES 32u
#define CHAIN_INPUT_BYTES 65536u

#define OUTPUT_AT FM_2018_INPUT_BYTES
#define OUTPUT_BYTES 65536u
#define NAMES_AT (OUTPUT_AT + OUTPUT_BYTES)
#define INPUTS_AT (NAMES_AT + CHAINS_MAX * NAME_BYTES)
#define REGIONS_BYTES (INPUTS_AT + CHAINS_MAX * CHAIN_INPUT_BYTES)

_Static_assert(REGIONS_BYTES <= REGION_PAGES * WASM_PAGE_BYTES, "the regions fit");

static int fail_to_grow(struct fm_call *call, uint64_t memory_bytes)
{
    if (memory_bytes + REGION_PAGES * WASM_PAGE_BYTES > call->limits.memory_bytes)
        fm_call_fail_limit(call, "memory_bytes", call->limits.memory_bytes);
    else
        fm_call_fail(call, FM_ERR_UNSUPPORTED_MODULE,
                     "its memory cannot grow by the 23 pages that the faasm-2018 ABI needs");
    return call->error;
}

/* `bytes` of the regions, which the memory holds since fm_2018_place(): it never shrinks. */
static uint8_t *region_at(struct fm_guest *guest, uint32_t offset, uint32_t bytes)
{
    struct fm_span span;
    int failed = fm_guest_span(guest->sandbox, (uint64_t)guest->regions + offset, bytes, &span);
    FM_ASSERT(!failed);
    return span.data;
}

int fm_2018_place(struct fm_guest *guest, int32_t arguments[4])
{
    struct fm_call *call = guest->call;
    uint64_t memory_bytes = fm_sandbox_memory_bytes(guest->sandbox);
    uint64_t pages = 0;
    if (fm_sandbox_memory_grow(guest->sandbox, REGION_PAGES, &pages) != 0)
        return fail_to_grow(call, memory_bytes);
    guest->regions = (uint32_t)(pages * WASM_PAGE_BYTES);

    /* One byte more than there may be: an input whose length nobody knew can still be too long. */
    uint8_t *input = region_at(guest, 0, FM_2018_INPUT_BYTES + 1);
    size_t length = 0;
    while (length <= FM_2018_INPUT_BYTES) {
        int64_t got = fm_stream_read(guest, input + length, FM_2018_INPUT_BYTES + 1 - length);
        if (got < 0)
            return (int)got;
        if (got == 0)
            break;
        length += (size_t)got;
    }
    if (length > FM_2018_INPUT_BYTES) {
        fm_call_fail(call, FM_ERR_TOO_LARGE,
                     "a function of the faasm-2018 ABI takes at most 65536 bytes of input");
        return call->error;
    }
    arguments[0] = (int32_t)guest->regions;
    arguments[1] = (int32_t)(guest->regions + OUTPUT_AT);
    arguments[2] = (int32_t)(guest->regions + NAMES_AT);
    arguments[3] = (int32_t)(guest->regions + INPUTS_AT);
    return 0;
}

static uint32_t trimmed_length(const uint8_t *data, uint32_t length)
{
    while (length > 0 && data[length - 1] == 0)
        length--;
    return length;
}

static void fail_chain(struct fm_call *call, int error, uint32_t index)
{
    if (error == FM_ERR_QUOTA) {
        fm_call_fail_limit(call, "chain_fanout", call->limits.chain_fanout);
        return;
    }
    char text[80];
    (void)snprintf(text, sizeof(text), "the name of chained call %u is not a function's name",
                   index + 1);
    fm_call_fail(call, error == FM_ERR_BAD_NAME ? FM_ERR_CHAIN_TARGET : error,
                 error == FM_ERR_BAD_NAME ? text : NULL);
}

static void collect_chains(struct fm_guest *guest)
{
    const uint8_t *names = region_at(guest, NAMES_AT, CHAINS_MAX * NAME_BYTES);
    const uint8_t *inputs = region_at(guest, INPUTS_AT, CHAINS_MAX * CHAIN_INPUT_BYTES);
    for (uint32_t i = 0; i < CHAINS_MAX; i++) {
        const char *name = (const char *)names + (size_t)i * NAME_BYTES;
        size_t name_length = strnlen(name, NAME_BYTES);
        if (name_length == 0)
            return;
        const uint8_t *input = inputs + (size_t)i * CHAIN_INPUT_BYTES;
        int failed = fm_call_chain(guest->call, name, name_length, input,
                                   trimmed_length(input, CHAIN_INPUT_BYTES));
        if (failed) {
            fail_chain(guest->call, failed, i);
            return;
        }
    }
}

void fm_2018_collect(struct fm_guest *guest)
{
    const uint8_t *output = region_at(guest, OUTPUT_AT, OUTPUT_BYTES);
    /* A failed write is remembered by the stream and ends the call there. */
    if (fm_stream_write(guest, output, trimmed_length(output, OUTPUT_BYTES)) == 0)
        collect_chains(guest);
}
