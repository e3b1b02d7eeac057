/* wasi_stdio.c - fd_read and fd_write on the three streams.
 *
 * All buffers and the place of the result are checked before a byte moves, so that a bad pointer
 * neither loses input nor leaves half an output.  A write over the output limit writes nothing of
 * the buffer that does not fit and tells ENOSPC; the call is lost then anyway (stream.c). */
#include "guest/memory.h"
#include "guest/private.h"
#include "guest/wasi.h"

uint32_t fm_wasi_output_errno(int error)
{
    return error == FM_ERR_GUEST_LIMIT ? (uint32_t)FM_WASI_NOSPC
                                       : (uint32_t)fm_err_guest_errno(error);
}

/* Parameters: descriptor, array, its count, where the number of bytes goes. */
static uint32_t check(struct fm_guest *guest, const union fm_value *in, uint64_t right,
                      struct fm_iovecs *ret_iovecs)
{
    uint8_t *result_at = NULL;
    uint32_t failed = fm_wasi_can(guest, in[0].u32, right);
    if (failed)
        return failed;
    *ret_iovecs = (struct fm_iovecs){.guest = guest, .address = in[1].u32, .count = in[2].u32};
    int bad = fm_iovecs_check(ret_iovecs);
    if (bad == FM_ERR_GUEST_TRAP || (!bad && !fm_memory_at(guest, in[3].u32, 4, &result_at)))
        return FM_WASI_FAULT;
    return bad ? FM_WASI_INVAL : FM_WASI_SUCCESS;
}

uint32_t fm_wasi_fd_read(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_iovecs iovecs;
    uint32_t failed = check(guest, in, FM_WASI_RIGHT_FD_READ, &iovecs);
    if (failed)
        return failed;
    uint32_t total = 0;
    for (uint32_t i = 0; i < iovecs.count; i++) {
        struct fm_iovec iovec;
        if (!fm_iovecs_at(&iovecs, i, &iovec))
            return FM_WASI_FAULT;
        int64_t got = fm_stream_read(guest, iovec.data, iovec.bytes);
        if (got < 0 && total == 0)
            return (uint32_t)fm_err_guest_errno((int)got);
        if (got > 0)
            total += (uint32_t)got;
        if (got < (int64_t)iovec.bytes) /* the end, a pipe's present content, or an error */
            break;
    }
    return fm_memory_put_u32(guest, in[3].u32, total) ? FM_WASI_SUCCESS : FM_WASI_FAULT;
}

uint32_t fm_wasi_fd_write(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_iovecs iovecs;
    uint32_t failed = check(guest, in, FM_WASI_RIGHT_FD_WRITE, &iovecs);
    if (failed)
        return failed;
    enum fm_stream stream = guest->descriptors[in[0].u32].stream;
    uint32_t total = 0;
    for (uint32_t i = 0; i < iovecs.count; i++) {
        struct fm_iovec iovec;
        if (!fm_iovecs_at(&iovecs, i, &iovec))
            return FM_WASI_FAULT;
        int error = fm_stream_write_to(guest, stream, iovec.data, iovec.bytes);
        if (error)
            return fm_wasi_output_errno(error);
        total += iovec.bytes;
    }
    return fm_memory_put_u32(guest, in[3].u32, total) ? FM_WASI_SUCCESS : FM_WASI_FAULT;
}
