/* later.c - module `env` for programs of the Faasm that came after 2018.
 *
 * The same children, input and output as in faasm.c, in other words: an output is set and not
 * appended to, names end in a NUL, and there are no errors but the exit code of a call, 1.  So what
 * goes wrong is told to the log.
 *
 * The output of a child has to come to lie in the guest's memory without the guest having made
 * room. The original called the program's malloc for that.  Here pages are added to the memory, and
 * cut into blocks:
 *
 *      page .. | 16 zeros | output, to a multiple of 16 | 16 zeros | output ... | rest |
 *                                                                               ^      ^
 *                                                                        later_at      later_end
 *
 * A C library takes memory that it did not ask for as somebody else's, but for one moment: with its
 * first malloc it takes all that is there.  So that is done for it, before the program begins.  To
 * its free() the zeros before a block say that it was mapped, which WebAssembly knows no unmapping
 * of: nothing happens.  Discarded: calling malloc, for which a host function would have to run the
 * guest from inside of it, with all that may happen there (ticks, traps, parking).
 *
 * Older toolchains had another await_call_output, of the same type: (call, buffer, its size). Their
 * programs are those that export no malloc.
 *
 * A bad pointer traps, as in faasm.c. */
#include "guest/later.h"

#include <stdio.h>
#include <string.h>

#include "call/child.h"
#include "guest/memory.h"
#include "guest/private.h"

#define PAGE_BYTES UINT64_C(65536)
#define BLOCK_ALIGN UINT64_C(16) /* of malloc(3), and room for what stands before a chunk of it */
#define FAILED 1                 /* exit code of what has none */

static int answer(union fm_value *values, uint32_t result)
{
    values[0].u64 = result;
    return 0;
}

/* --- input and output ------------------------------------------------------------------------- */

int fm_later_read_input(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    const struct fm_guest *guest = host;
    struct fm_call *call = guest->call;
    struct fm_span span;
    uint64_t bytes = fm_min_u64(call->input_bytes, INT32_MAX); /* the result must tell */
    if (values[1].u32 == 0 || bytes == 0)
        return answer(values, (uint32_t)bytes);
    bytes = fm_min_u64(bytes, values[1].u32);
    int failed = fm_guest_span(sandbox, values[0].u32, bytes, &span);
    if (failed)
        return failed;
    int64_t got = call->io->read_input(call, 0, span.data, (size_t)bytes);
    return got < 0 ? (int)got : answer(values, (uint32_t)got);
}

/* Over the limit the call fails, whatever the guest goes on to do. */
int fm_later_write_output(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    struct fm_span span;
    int failed = fm_guest_span(sandbox, values[0].u32, values[1].u32, &span);
    if (!failed)
        fm_stream_set(guest, span.data, (size_t)span.length);
    return failed;
}

/* --- children --------------------------------------------------------------------------------- */

/* The text at `address`, up to its NUL; what is too long for a name comes without its end. */
static int read_name(struct fm_sandbox *sandbox, uint32_t address, const char **ret_name,
                     size_t *ret_length)
{
    uint64_t memory_bytes = fm_sandbox_memory_bytes(sandbox);
    uint64_t room = address < memory_bytes ? memory_bytes - address : 1; /* 1: traps */
    struct fm_span span;
    int failed = fm_guest_span(sandbox, address, fm_min_u64(room, FM_NAME_LENGTH_MAX + 1), &span);
    if (failed)
        return failed;
    *ret_name = (const char *)span.data;
    *ret_length = strnlen(*ret_name, (size_t)span.length);
    return 0;
}

static void log_refusal(struct fm_guest *guest, int refused)
{
    char line[160];
    int length = snprintf(line, sizeof(line), "ERROR __faasm_chain_name: no call was started: %s\n",
                          fm_err_meaning(refused));
    fm_stream_log(guest, (const uint8_t *)line, (size_t)length); /* meanings are short */
}

int fm_later_chain_name(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    struct fm_call *call = guest->call;
    const char *name = NULL;
    size_t name_length = 0;
    struct fm_span input;
    int failed = read_name(sandbox, values[0].u32, &name, &name_length);
    if (!failed)
        failed = fm_guest_span(sandbox, values[1].u32, values[2].u32, &input);
    if (failed)
        return failed;
    int64_t started = FM_ERR_BUSY;
    if (call->child_ops)
        started = call->child_ops->start(call, name, name_length, input.data, (size_t)input.length);
    else
        call->children_refused++;
    if (started < 0)
        log_refusal(guest, (int)started);
    return answer(values, started < 0 ? 0 : (uint32_t)started); /* far fewer than 2^32 of a call */
}

static struct fm_child *find(struct fm_call *call, uint32_t handle)
{
    return call->child_ops ? call->child_ops->find(call, handle) : NULL;
}

static uint32_t code_of(const struct fm_child *child)
{
    bool exited = child && (child->error == 0 || child->error == FM_ERR_GUEST_EXIT);
    return exited ? (uint32_t)child->exit_code : FAILED;
}

/* Whether the guest must wait for it; then it is parked. */
static bool must_wait(struct fm_guest *guest, struct fm_child *child)
{
    if (!child || child->ended)
        return false;
    child->awaited = guest->call->waits;
    guest->park_until_ns = UINT64_MAX;
    return true;
}

int fm_later_await_call_again(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    struct fm_guest *guest = host;
    struct fm_child *child = find(guest->call, values[0].u32);
    return must_wait(guest, child) ? FM_PARK : answer(values, code_of(child));
}

int fm_later_await_call(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    guest->call->waits++;
    return fm_later_await_call_again(sandbox, host, values);
}

/* --- their output ----------------------------------------------------------------------------- */

/* Room for a block of so many bytes. */
static int add_room(struct fm_guest *guest, uint64_t bytes)
{
    if (guest->later_end - guest->later_at >= bytes)
        return 0;
    uint64_t pages = (bytes + PAGE_BYTES - 1) / PAGE_BYTES;
    uint64_t before = 0;
    if (fm_sandbox_memory_grow(guest->sandbox, pages, &before) != 0) {
        fm_call_fail_limit(guest->call, "memory_bytes", guest->call->limits.memory_bytes);
        return FM_ERR_GUEST_LIMIT;
    }
    if (before * PAGE_BYTES != guest->later_end) /* the guest has grown it meanwhile */
        guest->later_at = before * PAGE_BYTES;
    guest->later_end = (before + pages) * PAGE_BYTES;
    return 0;
}

/* Pages that are added are zeros, but the guest may have written to them since. */
static int place_output(struct fm_guest *guest, const struct fm_child *child, uint32_t *ret_address)
{
    uint64_t bytes = child ? child->output_bytes : 0;
    uint64_t length = (bytes / BLOCK_ALIGN + 1) * BLOCK_ALIGN; /* not nothing, even of nothing */
    struct fm_span span;
    int failed = add_room(guest, BLOCK_ALIGN + length);
    if (!failed)
        failed = fm_guest_span(guest->sandbox, guest->later_at, BLOCK_ALIGN + length, &span);
    if (failed)
        return failed;
    memset(span.data, 0, (size_t)span.length);
    if (bytes > 0)
        memcpy(span.data + BLOCK_ALIGN, child->output, (size_t)bytes);
    *ret_address = (uint32_t)(guest->later_at + BLOCK_ALIGN);
    guest->later_at += BLOCK_ALIGN + length;
    return 0;
}

bool fm_later_begin(struct fm_guest *guest)
{
    if (!guest->call->version->awaits_outputs)
        return false;
    const int32_t bytes = 1;
    guest->later_allocates = fm_sandbox_call(guest->sandbox, "malloc", &bytes, 1) == 0;
    return guest->later_allocates;
}

static int copy_output(struct fm_sandbox *sandbox, const struct fm_child *child,
                       union fm_value *values)
{
    struct fm_span span;
    int failed = fm_guest_span(sandbox, values[1].u32, values[2].u32, &span);
    if (failed)
        return failed;
    if (child && child->output_bytes > 0)
        memcpy(span.data, child->output, (size_t)fm_min_u64(span.length, child->output_bytes));
    return answer(values, code_of(child));
}

int fm_later_await_call_output_again(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    struct fm_child *child = find(guest->call, values[0].u32);
    uint32_t address = 0;
    struct fm_span data;
    struct fm_span length;
    if (must_wait(guest, child))
        return FM_PARK;
    if (!guest->later_allocates)
        return copy_output(sandbox, child, values);
    int failed = place_output(guest, child, &address);
    if (!failed)
        failed = fm_guest_span(sandbox, values[1].u32, sizeof(address), &data);
    if (!failed)
        failed = fm_guest_span(sandbox, values[2].u32, sizeof(address), &length);
    if (failed)
        return failed;
    fm_store_u32(data.data, address);
    fm_store_u32(length.data, child ? (uint32_t)child->output_bytes : 0); /* at most a GiB */
    return answer(values, code_of(child));
}

int fm_later_await_call_output(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    guest->call->waits++;
    return fm_later_await_call_output_again(sandbox, host, values);
}
