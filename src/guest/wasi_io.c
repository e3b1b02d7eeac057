/* wasi_io.c - fd_read, fd_write, fd_pread and fd_pwrite, on the streams and on files.
 *
 * All buffers and the place of the result are checked before a byte moves, so that a bad pointer
 * neither loses input nor leaves half an output.  A write over the output limit writes nothing of
 * the buffer that does not fit and tells ENOSPC; the call is lost then anyway (stream.c).  Writing
 * to a file stops at the first buffer that fails, and tells how much was written, if anything was.
 */
#include "guest/memory.h"
#include "guest/private.h"
#include "guest/wasi.h"

uint32_t fm_wasi_output_errno(int error)
{
    return error == FM_ERR_GUEST_LIMIT ? (uint32_t)FM_WASI_NOSPC
                                       : (uint32_t)fm_err_guest_errno(error);
}

/* The array, its count; and where the number of bytes goes. */
uint32_t fm_wasi_iovecs(struct fm_guest *guest, const union fm_value *in, uint32_t result,
                        struct fm_iovecs *ret_iovecs)
{
    uint8_t *result_at = NULL;
    *ret_iovecs = (struct fm_iovecs){.guest = guest, .address = in[1].u32, .count = in[2].u32};
    int bad = fm_iovecs_check(ret_iovecs);
    if (bad == FM_ERR_GUEST_TRAP || (!bad && !fm_memory_at(guest, result, 4, &result_at)))
        return FM_WASI_FAULT;
    return bad ? FM_WASI_INVAL : FM_WASI_SUCCESS;
}

/* --- streams ---------------------------------------------------------------------------------- */

static uint32_t read_stream(const struct fm_iovecs *iovecs, uint32_t *ret_total)
{
    for (uint32_t i = 0; i < iovecs->count; i++) {
        struct fm_iovec iovec;
        if (!fm_iovecs_at(iovecs, i, &iovec))
            return FM_WASI_FAULT;
        int64_t got = fm_stream_read(iovecs->guest, iovec.data, iovec.bytes);
        if (got < 0 && *ret_total == 0)
            return (uint32_t)fm_err_guest_errno((int)got);
        if (got > 0)
            *ret_total += (uint32_t)got;
        if (got < (int64_t)iovec.bytes) /* the end, a pipe's present content, or an error */
            break;
    }
    return FM_WASI_SUCCESS;
}

static uint32_t write_stream(const struct fm_iovecs *iovecs, enum fm_stream stream,
                             uint32_t *ret_total)
{
    for (uint32_t i = 0; i < iovecs->count; i++) {
        struct fm_iovec iovec;
        if (!fm_iovecs_at(iovecs, i, &iovec))
            return FM_WASI_FAULT;
        int error = fm_stream_write_to(iovecs->guest, stream, iovec.data, iovec.bytes);
        if (error)
            return fm_wasi_output_errno(error);
        *ret_total += iovec.bytes;
    }
    return FM_WASI_SUCCESS;
}

/* --- files ------------------------------------------------------------------------------------ */

/* How much of a buffer is moved, after `total` bytes of the same call. */
static size_t part_of(const struct fm_iovecs *iovecs, const struct fm_iovec *iovec, uint32_t total)
{
    uint64_t most = fm_sandbox_memory_bytes(iovecs->guest->sandbox);
    return (size_t)fm_min_u64(iovec->bytes, most - fm_min_u64(total, most));
}

static uint32_t read_file(const struct fm_iovecs *iovecs, struct fm_file *file, uint64_t offset,
                          uint32_t *ret_total)
{
    for (uint32_t i = 0; i < iovecs->count; i++) {
        struct fm_iovec iovec;
        if (!fm_iovecs_at(iovecs, i, &iovec))
            return FM_WASI_FAULT;
        size_t part = part_of(iovecs, &iovec, *ret_total);
        int64_t got = file->ops->read(file, offset + *ret_total, iovec.data, part);
        if (got < 0 && *ret_total == 0)
            return fm_wasi_errno(got);
        if (got > 0)
            *ret_total += (uint32_t)got;
        if (got < (int64_t)iovec.bytes)
            break;
    }
    return FM_WASI_SUCCESS;
}

static uint32_t write_file(const struct fm_iovecs *iovecs, struct fm_file *file, uint64_t offset,
                           uint32_t *ret_total)
{
    for (uint32_t i = 0; i < iovecs->count; i++) {
        struct fm_iovec iovec;
        if (!fm_iovecs_at(iovecs, i, &iovec))
            return FM_WASI_FAULT;
        uint64_t at = offset == FM_FILE_APPEND ? offset : offset + *ret_total;
        size_t part = part_of(iovecs, &iovec, *ret_total);
        int64_t put = file->ops->write(file, at, iovec.data, part);
        if (put < 0 && *ret_total == 0)
            return fm_wasi_errno(put);
        if (put > 0)
            *ret_total += (uint32_t)put;
        if (put < (int64_t)iovec.bytes)
            break;
    }
    return FM_WASI_SUCCESS;
}

static uint32_t read_on(const struct fm_iovecs *iovecs, struct fm_descriptor *descriptor,
                        uint32_t *ret_total)
{
    uint32_t failed = read_file(iovecs, descriptor->file, descriptor->offset, ret_total);
    descriptor->offset += *ret_total;
    return failed;
}

/* Appending leaves the position at the end. */
static uint32_t write_on(const struct fm_iovecs *iovecs, struct fm_descriptor *descriptor,
                         uint32_t *ret_total)
{
    struct fm_file *file = descriptor->file;
    bool append = descriptor->flags & FM_WASI_FDFLAGS_APPEND;
    uint64_t offset = append ? FM_FILE_APPEND : descriptor->offset;
    uint32_t failed = write_file(iovecs, file, offset, ret_total);
    struct fm_file_stat stat;
    if (append && *ret_total > 0 && file->ops->stat(file, &stat) == 0)
        descriptor->offset = stat.bytes;
    else
        descriptor->offset += *ret_total;
    return failed;
}

/* --- the imports ------------------------------------------------------------------------------ */

static uint32_t put_total(struct fm_guest *guest, uint32_t address, uint32_t failed, uint32_t total)
{
    if (failed)
        return failed;
    return fm_memory_put_u32(guest, address, total) ? FM_WASI_SUCCESS : FM_WASI_FAULT;
}

uint32_t fm_wasi_fd_read(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_iovecs iovecs;
    uint32_t total = 0;
    uint32_t failed = fm_wasi_can(guest, in[0].u32, FM_WASI_RIGHT_FD_READ);
    if (!failed)
        failed = fm_wasi_iovecs(guest, in, in[3].u32, &iovecs);
    if (failed)
        return failed;
    struct fm_descriptor *descriptor = fm_descriptor_get(guest, in[0].u32);
    failed = descriptor->stream == FM_STREAM_FILE ? read_on(&iovecs, descriptor, &total)
                                                  : read_stream(&iovecs, &total);
    return put_total(guest, in[3].u32, failed, total);
}

uint32_t fm_wasi_fd_write(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_iovecs iovecs;
    uint32_t total = 0;
    uint32_t failed = fm_wasi_can(guest, in[0].u32, FM_WASI_RIGHT_FD_WRITE);
    if (!failed)
        failed = fm_wasi_iovecs(guest, in, in[3].u32, &iovecs);
    if (failed)
        return failed;
    struct fm_descriptor *descriptor = fm_descriptor_get(guest, in[0].u32);
    failed = descriptor->stream == FM_STREAM_FILE
                 ? write_on(&iovecs, descriptor, &total)
                 : write_stream(&iovecs, descriptor->stream, &total);
    return put_total(guest, in[3].u32, failed, total);
}

/* The same at a place, which leaves the position alone. */
static uint32_t check_at(struct fm_guest *guest, const union fm_value *in, uint64_t right,
                         struct fm_iovecs *ret_iovecs, struct fm_file **ret_file)
{
    uint32_t failed =
        fm_wasi_file(guest, in[0].u32, right | FM_WASI_RIGHT_FD_SEEK, FM_WASI_SPIPE, ret_file);
    if (!failed && in[3].u64 > INT64_MAX)
        failed = FM_WASI_INVAL;
    return failed ? failed : fm_wasi_iovecs(guest, in, in[4].u32, ret_iovecs);
}

uint32_t fm_wasi_fd_pread(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_iovecs iovecs;
    struct fm_file *file = NULL;
    uint32_t total = 0;
    uint32_t failed = check_at(guest, in, FM_WASI_RIGHT_FD_READ, &iovecs, &file);
    if (!failed)
        failed = read_file(&iovecs, file, in[3].u64, &total);
    return put_total(guest, in[4].u32, failed, total);
}

uint32_t fm_wasi_fd_pwrite(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_iovecs iovecs;
    struct fm_file *file = NULL;
    uint32_t total = 0;
    uint32_t failed = check_at(guest, in, FM_WASI_RIGHT_FD_WRITE, &iovecs, &file);
    if (!failed)
        failed = write_file(&iovecs, file, in[3].u64, &total);
    return put_total(guest, in[4].u32, failed, total);
}
