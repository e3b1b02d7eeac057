/* streaming.c - reading and writing where input and output are streams: calls that answer HTTP
 * requests (call/web.h).
 *
 * These five take the place of the imports of the same name (streaming_rows, fm_guest_imports_add)
 * in the sandboxes of such calls, and only there.  A read parks until there is at least one byte,
 * or the end, and then gives what is there.  A write parks until all is gone, as a write to a pipe
 * does: few programs look at how much was written.  How far it got lies in the guest; its buffers
 * stay as they are while it is parked.
 *
 * What is not input or output (files, the log) is handed on to the ordinary import. */
#include "guest/streaming.h"

#include "call/web.h"
#include "guest/memory.h"
#include "guest/private.h"
#include "guest/wasi.h"

static int park(struct fm_guest *guest)
{
    guest->park_until_ns = UINT64_MAX;
    guest->park_stream = true;
    return FM_PARK;
}

static int answer(union fm_value *values, int64_t result)
{
    values[0].u64 = (uint32_t)(int32_t)result;
    return 0;
}

static bool leads_to(struct fm_guest *guest, uint32_t fd, enum fm_stream stream)
{
    const struct fm_descriptor *descriptor = fm_descriptor_get(guest, fd);
    return descriptor && descriptor->stream == stream;
}

/* --- reading ---------------------------------------------------------------------------------- */

/* From the stream's position into all buffers: how many, FM_WEB_WAIT or FM_ERR_*. */
static int64_t read_into(const struct fm_iovecs *iovecs)
{
    struct fm_guest *guest = iovecs->guest;
    struct fm_call *call = guest->call;
    int64_t total = 0;
    for (uint32_t i = 0; i < iovecs->count; i++) {
        struct fm_iovec iovec;
        if (!fm_iovecs_at(iovecs, i, &iovec))
            return FM_ERR_GUEST_TRAP;
        if (iovec.bytes == 0)
            continue;
        int64_t got = call->web->read(call, guest->input_offset, iovec.data, iovec.bytes);
        FM_ASSERT(got <= (int64_t)iovec.bytes);
        if (got <= 0 && total == 0)
            guest->input_ended |= got == 0;
        if (got <= 0)
            return total > 0 ? total : got;
        guest->input_offset += (uint64_t)got;
        total += got;
    }
    return total;
}

int fm_streaming_fd_read(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    struct fm_guest *guest = host;
    struct fm_iovecs iovecs;
    if (!leads_to(guest, values[0].u32, FM_STREAM_INPUT))
        return answer(values, fm_wasi_fd_read(guest, values));
    uint32_t failed = fm_wasi_can(guest, values[0].u32, FM_WASI_RIGHT_FD_READ);
    if (!failed)
        failed = fm_wasi_iovecs(guest, values, values[3].u32, &iovecs);
    if (failed)
        return answer(values, failed);
    int64_t got = read_into(&iovecs);
    if (got == FM_WEB_WAIT)
        return park(guest);
    if (got == FM_ERR_GUEST_TRAP)
        return answer(values, FM_WASI_FAULT);
    if (got < 0)
        return answer(values, fm_err_guest_errno((int)got));
    bool put = fm_memory_put_u32(guest, values[3].u32, (uint32_t)got);
    return answer(values, put ? FM_WASI_SUCCESS : FM_WASI_FAULT);
}

int fm_streaming_input_read(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    struct fm_call *call = guest->call;
    struct fm_span span;
    int failed = fm_guest_span(sandbox, values[1].u32, values[2].u32, &span);
    if (failed)
        return failed;
    size_t bytes = (size_t)fm_min_u64(span.length, INT32_MAX);
    int64_t got = bytes ? call->web->read(call, values[0].u32, span.data, bytes) : 0;
    if (got == FM_WEB_WAIT)
        return park(guest);
    return answer(values, got < 0 ? -(int64_t)fm_err_guest_errno((int)got) : got);
}

int fm_streaming_input_size(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    struct fm_guest *guest = host;
    struct fm_call *call = guest->call;
    int64_t bytes = call->web->size(call);
    if (bytes == FM_WEB_WAIT)
        return park(guest);
    if (bytes < 0)
        return answer(values, -(int64_t)fm_err_guest_errno((int)bytes));
    return answer(values, bytes <= INT32_MAX ? bytes : -FM_WASI_2BIG);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* All that is left of `bytes`, of which the first `before` lie in earlier buffers of this write.
 * 0, FM_PARK, or an error as a write of output has it. */
static int write_rest(struct fm_guest *guest, const uint8_t *data, uint64_t bytes, uint64_t before)
{
    struct fm_call *call = guest->call;
    while (guest->stream_done < before + bytes) {
        uint64_t skip = guest->stream_done - before;
        int64_t put = call->web->write(call, data + skip, (size_t)(bytes - skip));
        if (put == FM_WEB_WAIT)
            return park(guest);
        if (put < 0 && !guest->output_error)
            guest->output_error = (int)put;
        if (put < 0)
            return (int)put;
        FM_ASSERT(put > 0 && (uint64_t)put <= bytes - skip);
        guest->stream_done += (uint32_t)put;
    }
    return 0;
}

static int write_from(const struct fm_iovecs *iovecs)
{
    uint64_t before = 0;
    for (uint32_t i = 0; i < iovecs->count; i++) {
        struct fm_iovec iovec;
        if (!fm_iovecs_at(iovecs, i, &iovec))
            return FM_ERR_GUEST_TRAP;
        int stopped = write_rest(iovecs->guest, iovec.data, iovec.bytes, before);
        if (stopped)
            return stopped;
        before += iovec.bytes;
    }
    return 0;
}

int fm_streaming_fd_write_again(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    struct fm_guest *guest = host;
    struct fm_iovecs iovecs;
    uint32_t failed = fm_wasi_can(guest, values[0].u32, FM_WASI_RIGHT_FD_WRITE);
    if (!failed)
        failed = fm_wasi_iovecs(guest, values, values[3].u32, &iovecs);
    if (failed)
        return answer(values, failed);
    int stopped = write_from(&iovecs);
    if (stopped == FM_PARK)
        return FM_PARK;
    if (stopped == FM_ERR_GUEST_TRAP)
        return answer(values, FM_WASI_FAULT);
    if (stopped && guest->call->error)
        return stopped; /* it is over */
    if (stopped)
        return answer(values, fm_wasi_output_errno(stopped));
    bool put = fm_memory_put_u32(guest, values[3].u32, guest->stream_done);
    return answer(values, put ? FM_WASI_SUCCESS : FM_WASI_FAULT);
}

int fm_streaming_fd_write(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    if (!leads_to(guest, values[0].u32, FM_STREAM_OUTPUT))
        return answer(values, fm_wasi_fd_write(guest, values));
    guest->stream_done = 0;
    return fm_streaming_fd_write_again(sandbox, host, values);
}

int fm_streaming_output_write_again(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    struct fm_span span;
    int failed = fm_guest_span(sandbox, values[0].u32, values[1].u32, &span);
    if (failed)
        return failed;
    int stopped = write_rest(guest, span.data, span.length, 0);
    if (stopped == FM_PARK)
        return FM_PARK;
    if (stopped && guest->call->error)
        return stopped;
    return answer(values, stopped ? -(int64_t)fm_wasi_output_errno(stopped) : 0);
}

int fm_streaming_output_write(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    guest->stream_done = 0;
    return fm_streaming_output_write_again(sandbox, host, values);
}
