/* syscalls_2018.c - memory, time, waiting and the end, for functions of 2018.
 *
 * Their heap grows at the end of the memory, which brk and mmap enlarge by whole pages; WebAssembly
 * has no way to give memory back, so munmap only says yes.  Times are 32-bit structures.  Sockets
 * are refused: a function here has no network of its own. */
#include <errno.h>
#include <poll.h>

#include "base/clock.h"
#include "guest/memory.h"
#include "guest/private.h"
#include "guest/syscalls_2018.h"
#include "guest/wasi.h"

#define WASM_PAGE_BYTES UINT64_C(65536)
#define POLLFD_BYTES 8
#define FUTEX_COMMAND 0x7f /* without the flags "private" and "real time" */
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1
#define MMAP_ANONYMOUS_FD (-1)

/* --- memory ----------------------------------------------------------------------------------- */

/* Grows by at least `bytes`; the old size in bytes, which is the new memory's address. */
static bool grow(struct fm_guest *guest, uint64_t bytes, uint32_t *ret_address)
{
    uint64_t pages_before = 0;
    uint64_t pages = (bytes + WASM_PAGE_BYTES - 1) / WASM_PAGE_BYTES;
    if (fm_sandbox_memory_grow(guest->sandbox, pages, &pages_before) != 0)
        return false;
    *ret_address = (uint32_t)(pages_before * WASM_PAGE_BYTES);
    return true;
}

/* The break is where the memory ends.  Like the kernel's, this tells the present break when it does
 * not grow. */
int32_t fm_2018_brk(struct fm_guest *guest, const union fm_value *in)
{
    uint64_t present = fm_sandbox_memory_bytes(guest->sandbox);
    uint64_t wanted = in[0].u32;
    uint32_t old_end = 0;
    if (wanted <= present || !grow(guest, wanted - present, &old_end))
        return (int32_t)(uint32_t)fm_min_u64(present, UINT32_MAX);
    return in[0].i32;
}

/* (address, length, protection, flags, fd, offset): anonymous only, wherever there is room. */
int32_t fm_2018_mmap(struct fm_guest *guest, const union fm_value *in)
{
    uint32_t address = 0;
    if (in[1].u32 == 0)
        return -EINVAL;
    if (in[4].i32 != MMAP_ANONYMOUS_FD)
        return -ENODEV;
    return grow(guest, in[1].u32, &address) ? (int32_t)address : -ENOMEM;
}

/* Its offset is in pages, which does not matter without files. */
int32_t fm_2018_mmap2(struct fm_guest *guest, const union fm_value *in)
{
    return fm_2018_mmap(guest, in);
}

/* The C library falls back to a new mapping and a copy. */
int32_t fm_2018_mremap(struct fm_guest *guest, const union fm_value *in)
{
    (void)guest;
    (void)in;
    return -ENOMEM;
}

int32_t fm_2018_munmap(struct fm_guest *guest, const union fm_value *in)
{
    uint8_t *data = NULL;
    return in[1].u32 > 0 && fm_memory_at(guest, in[0].u32, in[1].u32, &data) ? 0 : -EINVAL;
}

/* Advice may be ignored. */
int32_t fm_2018_madvise(struct fm_guest *guest, const union fm_value *in)
{
    uint8_t *data = NULL;
    return fm_memory_at(guest, in[0].u32, in[1].u32, &data) ? 0 : -ENOMEM;
}

/* --- time ------------------------------------------------------------------------------------- */

/* Two 32-bit fields: seconds (unsigned: good until 2106), and their fraction. */
static int32_t put_time(struct fm_guest *guest, uint32_t address, uint64_t ns,
                        uint64_t ns_per_fraction)
{
    uint8_t *at = NULL;
    if (!fm_memory_at(guest, address, 8, &at))
        return -EFAULT;
    fm_store_u32(at, (uint32_t)(ns / FM_NS_PER_S));
    fm_store_u32(at + 4, (uint32_t)(ns % FM_NS_PER_S / ns_per_fraction));
    return 0;
}

/* The first four clocks have the same numbers as WASI's. */
int32_t fm_2018_clock_gettime(struct fm_guest *guest, const union fm_value *in)
{
    uint64_t now_ns = 0;
    if (fm_wasi_clock_now(guest, in[0].u32, &now_ns) != FM_WASI_SUCCESS)
        return -EINVAL;
    return put_time(guest, in[1].u32, now_ns, 1);
}

int32_t fm_2018_gettimeofday(struct fm_guest *guest, const union fm_value *in)
{
    return put_time(guest, in[0].u32, fm_clock_real_ns(), FM_NS_PER_US);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static int32_t count_ready(struct fm_guest *guest, uint8_t *pollfds, uint32_t count)
{
    int32_t ready = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = pollfds + (size_t)i * POLLFD_BYTES;
        int32_t fd = (int32_t)fm_load_u32(at);
        uint16_t wanted = fm_load_u16(at + 4);
        uint16_t state = (uint16_t)fm_2018_ready(guest, fd);
        uint16_t events = state ? (uint16_t)(state & wanted) : POLLNVAL;
        if (fd < 0)
            events = 0; /* to be skipped, as ever */
        fm_store_u16(at + 6, events);
        ready += events != 0;
    }
    return ready;
}

/* (descriptors, their count, milliseconds or -1) */
int fm_2018_poll_again(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    struct fm_guest *guest = host;
    uint32_t count = values[1].u32;
    int32_t timeout_ms = values[2].i32;
    uint8_t *pollfds = NULL;
    int32_t result = 0;
    if (count > FM_GUEST_SUBSCRIPTIONS_MAX)
        result = -EINVAL;
    else if (!fm_memory_at(guest, values[0].u32, (uint64_t)count * POLLFD_BYTES, &pollfds))
        result = -EFAULT;
    else
        result = count_ready(guest, pollfds, count);

    guest->park_until_ns =
        timeout_ms < 0 ? UINT64_MAX : guest->park_start_ns + (uint64_t)timeout_ms * FM_NS_PER_MS;
    if (result == 0 && fm_clock_monotonic_ns() < guest->park_until_ns)
        return FM_PARK;
    values[0].u64 = (uint32_t)result;
    return 0;
}

int fm_2018_poll(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    guest->park_start_ns = fm_clock_monotonic_ns();
    return fm_2018_poll_again(sandbox, host, values);
}

/* (address, command, value...).  There is one thread: a wait for another would never end. */
int fm_2018_futex(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    struct fm_guest *guest = host;
    uint8_t *at = NULL;
    int32_t result = -ENOSYS;
    uint32_t command = values[1].u32 & FUTEX_COMMAND;
    if (!fm_memory_at(guest, values[0].u32, 4, &at))
        result = -EFAULT;
    else if (command == FUTEX_WAKE)
        result = 0;
    else if (command == FUTEX_WAIT && fm_load_u32(at) == values[2].u32)
        return fm_guest_trap(guest, "deadlock",
                             "it waits for a lock that no other thread can release");
    else if (command == FUTEX_WAIT)
        result = -EAGAIN;
    values[0].u64 = (uint32_t)result;
    return 0;
}

/* --- the rest --------------------------------------------------------------------------------- */

int32_t fm_2018_socketcall(struct fm_guest *guest, const union fm_value *in)
{
    (void)guest;
    (void)in;
    return -ENOSYS;
}

int fm_2018_exit(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    return fm_guest_exit(host, values[0].u32);
}

int fm_2018_exit_group(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    return fm_2018_exit(sandbox, host, values);
}
