/* wasi_poll.c - poll_oneoff: waits for timers and streams without a thread.
 *
 *      subscription (48 bytes)                       event (32 bytes)
 *       0 userdata   u64                              0 userdata  u64
 *       8 type       u8  clock, fd_read, fd_write     8 error     u16
 *      16 clock: id  u32      fd: fd u32             10 type      u8
 *      24        timeout u64                         16 bytes     u64, of a stream
 *      32        precision u64                       24 flags     u16, of a stream: hang-up
 *      40        flags u16 (absolute)
 *
 * A stream is ready at once, unless the call answers an HTTP request (call/web.h): then it may have
 * to wait, as a timer in the future does, and the guest parks if all of them do.  One function
 * decides, at the first call and at each poll of the parked guest alike, by walking through the
 * subscriptions: they are few, and the guest cannot change them meanwhile. Relative times count
 * from the first call. */
#include <string.h>

#include "base/clock.h"
#include "call/web.h"
#include "guest/memory.h"
#include "guest/private.h"
#include "guest/wasi.h"

#define SUBSCRIPTION_BYTES 48
#define EVENT_BYTES 32
#define CLOCK_ABSOLUTE 1u
#define HANGUP 1u

enum event_type {
    EVENT_CLOCK,
    EVENT_FD_READ,
    EVENT_FD_WRITE,
};

struct event {
    bool ready;
    uint32_t error;
    uint64_t bytes;
    uint16_t flags;
};

/* The monotonic time at which a timer is due. */
static uint32_t due_of(const struct fm_guest *guest, const uint8_t *at, uint64_t now_ns,
                       uint64_t *ret_due_ns)
{
    uint32_t clock = fm_load_u32(at + 16);
    uint64_t timeout_ns = fm_load_u64(at + 24);
    uint16_t flags = fm_load_u16(at + 40);
    uint64_t clock_now_ns = 0;
    uint32_t failed = fm_wasi_clock_now(guest, clock, &clock_now_ns);
    if (failed || (flags & ~CLOCK_ABSOLUTE) != 0)
        return FM_WASI_INVAL;
    if (clock != FM_WASI_CLOCK_REALTIME && clock != FM_WASI_CLOCK_MONOTONIC)
        return FM_WASI_NOTSUP; /* CPU time stands still while the guest waits for it */

    uint64_t start_ns = guest->park_start_ns;
    if (flags & CLOCK_ABSOLUTE) {
        start_ns = clock == FM_WASI_CLOCK_MONOTONIC ? 0 : now_ns;
        if (clock == FM_WASI_CLOCK_REALTIME)
            timeout_ns = timeout_ns > clock_now_ns ? timeout_ns - clock_now_ns : 0;
    }
    bool wraps = timeout_ns > UINT64_MAX - start_ns;
    *ret_due_ns = wraps ? UINT64_MAX : start_ns + timeout_ns;
    return FM_WASI_SUCCESS;
}

static void ask_clock(const struct fm_guest *guest, const uint8_t *at, uint64_t now_ns,
                      uint64_t *until_ns, struct event *event)
{
    uint64_t due_ns = 0;
    event->error = due_of(guest, at, now_ns, &due_ns);
    event->ready = event->error != 0 || due_ns <= now_ns;
    if (!event->ready)
        *until_ns = fm_min_u64(*until_ns, due_ns);
}

/* The rest of a file; a file can always be written. */
static uint64_t file_bytes(struct fm_file *file, uint64_t offset, uint64_t right)
{
    struct fm_file_stat stat;
    if (right != FM_WASI_RIGHT_FD_READ || file->ops->stat(file, &stat) != 0)
        return 0;
    return stat.bytes > offset ? stat.bytes - offset : 0;
}

/* True: it was asked about input or output. */
static bool ask_web(struct fm_guest *guest, enum fm_stream stream, struct event *event)
{
    struct fm_web_ready ready;
    if (stream != FM_STREAM_INPUT && stream != FM_STREAM_OUTPUT)
        return false;
    guest->call->web->ready(guest->call, guest->input_offset, &ready);
    if (stream == FM_STREAM_INPUT) {
        event->ready = ready.readable;
        event->bytes = ready.readable_bytes;
        event->flags = ready.ended ? HANGUP : 0;
    } else {
        event->ready = ready.writable;
        event->bytes = ready.writable_bytes;
    }
    guest->park_stream |= !event->ready;
    return true;
}

static void ask_stream(struct fm_guest *guest, const uint8_t *at, uint64_t right,
                       struct event *event)
{
    uint32_t fd = fm_load_u32(at + 16);
    const struct fm_descriptor *descriptor = fm_descriptor_get(guest, fd);
    event->ready = true;
    event->error = fm_wasi_can(guest, fd, right);
    if (!event->error && !(descriptor->rights & FM_WASI_RIGHT_POLL_FD_READWRITE))
        event->error = FM_WASI_NOTCAPABLE;
    if (event->error)
        return;
    const struct fm_call *call = guest->call;
    if (call->web && ask_web(guest, descriptor->stream, event))
        return;
    switch (descriptor->stream) {
    case FM_STREAM_INPUT:
        if (call->input_bytes > guest->input_offset)
            event->bytes = call->input_bytes - guest->input_offset;
        event->flags = guest->input_ended ? HANGUP : 0;
        break;
    case FM_STREAM_OUTPUT:
        event->bytes = call->output.length_max - call->output.length;
        break;
    case FM_STREAM_LOG:
        event->bytes = call->log.length_max - call->log.length;
        break;
    case FM_STREAM_FILE:
        event->bytes = file_bytes(descriptor->file, descriptor->offset, right);
        break;
    case FM_STREAM_CLOSED:
        break;
    }
}

static void put_event(uint8_t *at, const uint8_t *subscription, const struct event *event)
{
    uint64_t userdata = fm_load_u64(subscription);
    uint8_t type = subscription[8];
    memset(at, 0, EVENT_BYTES);
    fm_store_u64(at, userdata);
    fm_store_u16(at + 8, (uint16_t)event->error);
    at[10] = type;
    fm_store_u64(at + 16, event->bytes);
    fm_store_u16(at + 24, event->flags);
}

/* Writes an event for each subscription that is ready.  `ret_until_ns` is when the first timer of
 * the others is due. */
static uint32_t ask_all(struct fm_guest *guest, const union fm_value *in, uint32_t *ret_events,
                        uint64_t *ret_until_ns)
{
    uint32_t count = in[2].u32;
    uint8_t *subscriptions = NULL;
    uint8_t *events = NULL;
    uint8_t *result_at = NULL;
    if (count == 0 || count > FM_GUEST_SUBSCRIPTIONS_MAX)
        return FM_WASI_INVAL;
    if (!fm_memory_at(guest, in[0].u32, (uint64_t)count * SUBSCRIPTION_BYTES, &subscriptions) ||
        !fm_memory_at(guest, in[1].u32, (uint64_t)count * EVENT_BYTES, &events) ||
        !fm_memory_at(guest, in[3].u32, 4, &result_at))
        return FM_WASI_FAULT;

    uint64_t now_ns = fm_clock_monotonic_ns();
    uint32_t ready = 0;
    *ret_until_ns = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *at = subscriptions + (size_t)i * SUBSCRIPTION_BYTES;
        struct event event = {0};
        if (at[8] == EVENT_CLOCK)
            ask_clock(guest, at, now_ns, ret_until_ns, &event);
        else if (at[8] == EVENT_FD_READ)
            ask_stream(guest, at, FM_WASI_RIGHT_FD_READ, &event);
        else if (at[8] == EVENT_FD_WRITE)
            ask_stream(guest, at, FM_WASI_RIGHT_FD_WRITE, &event);
        else
            return FM_WASI_INVAL;
        if (event.ready)
            put_event(events + (size_t)ready++ * EVENT_BYTES, at, &event);
    }
    *ret_events = ready;
    return FM_WASI_SUCCESS;
}

int fm_wasi_poll_oneoff_again(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    struct fm_guest *guest = host;
    uint32_t events = 0;
    uint32_t failed = ask_all(guest, values, &events, &guest->park_until_ns);
    if (!failed && events == 0)
        return FM_PARK;
    if (!failed && !fm_memory_put_u32(guest, values[3].u32, events))
        failed = FM_WASI_FAULT;
    values[0].u64 = failed;
    return 0;
}

int fm_wasi_poll_oneoff(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    guest->park_start_ns = fm_clock_monotonic_ns();
    return fm_wasi_poll_oneoff_again(sandbox, host, values);
}
