/* wasi_process.c - arguments, environment, exit, signals, yield, random numbers.
 *
 * Arguments and environment are the version's, as given at upload; argument 0 is the function's
 * name.  A call that answers an HTTP request has the request's variables as well.  Nothing of the
 * server's own environment is visible.
 *
 * Random numbers come from the kernel, for every byte: a generator of our own in front of it would
 * have to be reseeded per tenant and protected like a key, to save a microsecond.  A large request
 * is filled in turns with others running in between, since the engine cannot interrupt a host
 * function. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "guest/memory.h"
#include "guest/private.h"
#include "guest/wasi.h"

#define SIGNALS_COUNT 31

/* --- arguments and environment ---------------------------------------------------------------- */

/* `first`, if any, goes before the list; `more` behind it. */
struct strings {
    const char *first;
    const char *const *list;
    size_t list_count;
    const char *const *more;
    size_t more_count;
};

static struct strings arguments_of(const struct fm_guest *guest)
{
    const struct fm_version *version = guest->call->version;
    return (struct strings){
        .first = version->function, .list = version->args, .list_count = version->args_count};
}

static struct strings environment_of(const struct fm_guest *guest)
{
    const struct fm_call *call = guest->call;
    return (struct strings){.list = call->version->env,
                            .list_count = call->version->env_count,
                            .more = call->env,
                            .more_count = call->env_count};
}

static size_t strings_count(const struct strings *strings)
{
    return strings->list_count + strings->more_count + (strings->first ? 1 : 0);
}

static const char *string_at(const struct strings *strings, size_t index)
{
    if (strings->first && index-- == 0)
        return strings->first;
    return index < strings->list_count ? strings->list[index]
                                       : strings->more[index - strings->list_count];
}

static uint64_t strings_bytes(const struct strings *strings)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < strings_count(strings); i++)
        bytes += strlen(string_at(strings, i)) + 1;
    return bytes;
}

static uint32_t put_sizes(struct fm_guest *guest, const struct strings *strings,
                          const union fm_value *in)
{
    if (!fm_memory_put_u32(guest, in[0].u32, (uint32_t)strings_count(strings)) ||
        !fm_memory_put_u32(guest, in[1].u32, (uint32_t)strings_bytes(strings)))
        return FM_WASI_FAULT;
    return FM_WASI_SUCCESS;
}

static uint32_t put_strings(struct fm_guest *guest, const struct strings *strings,
                            const union fm_value *in)
{
    uint32_t address = in[1].u32;
    uint8_t *pointers = NULL;
    uint8_t *texts = NULL;
    if (!fm_memory_at(guest, in[0].u32, 4 * (uint64_t)strings_count(strings), &pointers) ||
        !fm_memory_at(guest, address, strings_bytes(strings), &texts))
        return FM_WASI_FAULT;
    for (size_t i = 0; i < strings_count(strings); i++) {
        const char *string = string_at(strings, i);
        size_t bytes = strlen(string) + 1;
        memcpy(texts, string, bytes);
        fm_store_u32(pointers + 4 * i, address);
        texts += bytes;
        address += (uint32_t)bytes;
    }
    return FM_WASI_SUCCESS;
}

uint32_t fm_wasi_args_sizes_get(struct fm_guest *guest, const union fm_value *in)
{
    const struct strings strings = arguments_of(guest);
    return put_sizes(guest, &strings, in);
}

uint32_t fm_wasi_args_get(struct fm_guest *guest, const union fm_value *in)
{
    const struct strings strings = arguments_of(guest);
    return put_strings(guest, &strings, in);
}

uint32_t fm_wasi_environ_sizes_get(struct fm_guest *guest, const union fm_value *in)
{
    const struct strings strings = environment_of(guest);
    return put_sizes(guest, &strings, in);
}

uint32_t fm_wasi_environ_get(struct fm_guest *guest, const union fm_value *in)
{
    const struct strings strings = environment_of(guest);
    return put_strings(guest, &strings, in);
}

/* --- exit, signals, yield --------------------------------------------------------------------- */

int fm_wasi_proc_exit(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    return fm_guest_exit(host, values[0].u32);
}

/* There is nobody to signal but itself, and no handlers: only the signal that is none works. */
uint32_t fm_wasi_proc_raise(struct fm_guest *guest, const union fm_value *in)
{
    (void)guest;
    if (in[0].u32 >= SIGNALS_COUNT)
        return FM_WASI_INVAL;
    return in[0].u32 == 0 ? FM_WASI_SUCCESS : FM_WASI_NOTSUP;
}

/* Others get their turn at the next tick anyway. */
uint32_t fm_wasi_sched_yield(struct fm_guest *guest, const union fm_value *in)
{
    (void)guest;
    (void)in;
    return FM_WASI_SUCCESS;
}

/* --- random numbers --------------------------------------------------------------------------- */

/* The kernel gives at least 256 bytes without interruption; more may come in pieces. */
static uint32_t fill_random(uint8_t *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t got = getrandom(data, bytes, 0);
        if (got < 0 && errno != EINTR)
            return FM_WASI_IO;
        if (got > 0) {
            data += got;
            bytes -= (size_t)got;
        }
    }
    return FM_WASI_SUCCESS;
}

int fm_wasi_random_get_again(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    struct fm_guest *guest = host;
    uint8_t *data = NULL;
    uint32_t bytes = values[1].u32;
    uint32_t result = FM_WASI_FAULT;
    if (fm_memory_at(guest, values[0].u32, bytes, &data)) {
        uint32_t rest = bytes - guest->random_done;
        uint32_t part = (uint32_t)fm_min_u64(rest, FM_GUEST_RANDOM_BYTES_PER_TURN);
        result = fill_random(data + guest->random_done, part);
        guest->random_done += part;
        if (result == FM_WASI_SUCCESS && part < rest) {
            guest->park_until_ns = FM_NOT_WAITING;
            return FM_PARK;
        }
    }
    values[0].u64 = result;
    return 0;
}

int fm_wasi_random_get(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    guest->random_done = 0;
    if (values[1].u32 <= FM_GUEST_RANDOM_BYTES_PER_TURN)
        return fm_wasi_random_get_again(sandbox, host, values);
    guest->park_until_ns = FM_NOT_WAITING;
    return FM_PARK; /* the same poll asks for the first part */
}
