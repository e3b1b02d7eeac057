/* wasi_fd.c - descriptors: what they are and what can be done to them, but for moving data.
 *
 * Streams behave as pipes do: no position (ESPIPE), no size to set (EINVAL), no directory
 * (ENOTDIR), no socket (ENOTSOCK).  They are reported as of unknown type, since a character device
 * would make C libraries believe in a terminal and flush after every line.
 *
 * What a file or folder may be asked is a matter of the descriptor's rights, which a guest can only
 * give up: ENOTCAPABLE. */
#include <string.h>

#include "base/clock.h"
#include "guest/memory.h"
#include "guest/private.h"
#include "guest/wasi.h"

#define ADVICE_COUNT 6
#define FDSTAT_BYTES 24
#define FILESTAT_BYTES 64
#define RIGHTS_TO_MOVE_DATA ((uint64_t)(FM_WASI_RIGHT_FD_READ | FM_WASI_RIGHT_FD_WRITE))

enum fstflags {
    FSTFLAGS_ATIM = 1u << 0,
    FSTFLAGS_ATIM_NOW = 1u << 1,
    FSTFLAGS_MTIM = 1u << 2,
    FSTFLAGS_MTIM_NOW = 1u << 3,
    FSTFLAGS_ALL = 0xfu,
};

enum whence {
    WHENCE_SET,
    WHENCE_CUR,
    WHENCE_END,
    WHENCE_COUNT,
};

/* --- what all files of WASI use --------------------------------------------------------------- */

static bool is_folder(const struct fm_descriptor *descriptor)
{
    return descriptor->stream == FM_STREAM_FILE &&
           (!descriptor->file || descriptor->file->type == FM_FILE_FOLDER);
}

uint32_t fm_wasi_can(struct fm_guest *guest, uint32_t fd, uint64_t right)
{
    const struct fm_descriptor *descriptor = fm_descriptor_get(guest, fd);
    if (!descriptor)
        return FM_WASI_BADF;
    if (descriptor->stream != FM_STREAM_FILE) {
        bool reads = descriptor->stream == FM_STREAM_INPUT;
        if (reads != (right == FM_WASI_RIGHT_FD_READ))
            return FM_WASI_BADF;
    } else if (is_folder(descriptor) && (right & RIGHTS_TO_MOVE_DATA)) {
        return FM_WASI_ISDIR;
    }
    return (descriptor->rights & right) == right ? FM_WASI_SUCCESS : FM_WASI_NOTCAPABLE;
}

uint32_t fm_wasi_file(struct fm_guest *guest, uint32_t fd, uint64_t rights, uint32_t stream_errno,
                      struct fm_file **ret_file)
{
    struct fm_descriptor *descriptor = fm_descriptor_get(guest, fd);
    if (!descriptor)
        return FM_WASI_BADF;
    if (descriptor->stream != FM_STREAM_FILE)
        return stream_errno;
    if (is_folder(descriptor) && (rights & RIGHTS_TO_MOVE_DATA))
        return FM_WASI_ISDIR;
    if ((descriptor->rights & rights) != rights)
        return FM_WASI_NOTCAPABLE;
    return fm_wasi_errno(fm_descriptor_file(guest, descriptor, ret_file));
}

uint8_t fm_wasi_filetype(enum fm_file_type type)
{
    switch (type) {
    case FM_FILE_PLAIN:
        return FM_WASI_FILETYPE_REGULAR_FILE;
    case FM_FILE_FOLDER:
        return FM_WASI_FILETYPE_DIRECTORY;
    case FM_FILE_LINK:
        return FM_WASI_FILETYPE_SYMBOLIC_LINK;
    case FM_FILE_UNKNOWN:
        break;
    }
    return FM_WASI_FILETYPE_UNKNOWN;
}

bool fm_wasi_put_filestat(struct fm_guest *guest, uint32_t address, const struct fm_file_stat *stat)
{
    uint8_t *at = NULL;
    if (!fm_memory_at(guest, address, FILESTAT_BYTES, &at))
        return false;
    memset(at, 0, FILESTAT_BYTES);
    fm_store_u64(at, stat->device);
    fm_store_u64(at + 8, stat->inode);
    at[16] = fm_wasi_filetype(stat->type);
    fm_store_u64(at + 24, stat->links);
    fm_store_u64(at + 32, stat->bytes);
    fm_store_u64(at + 40, stat->accessed_ns);
    fm_store_u64(at + 48, stat->modified_ns);
    fm_store_u64(at + 56, stat->changed_ns);
    return true;
}

static uint64_t time_of(uint64_t given_ns, bool given, bool now)
{
    if (now)
        return fm_clock_real_ns();
    return given ? given_ns : UINT64_MAX;
}

uint32_t fm_wasi_times(uint64_t accessed_ns, uint64_t modified_ns, uint32_t flags,
                       struct fm_file_times *ret_times)
{
    const uint32_t atim = FSTFLAGS_ATIM | FSTFLAGS_ATIM_NOW;
    const uint32_t mtim = FSTFLAGS_MTIM | FSTFLAGS_MTIM_NOW;
    if ((flags & ~(uint32_t)FSTFLAGS_ALL) != 0 || (flags & atim) == atim || (flags & mtim) == mtim)
        return FM_WASI_INVAL;
    *ret_times = (struct fm_file_times){
        .accessed_ns = time_of(accessed_ns, flags & FSTFLAGS_ATIM, flags & FSTFLAGS_ATIM_NOW),
        .modified_ns = time_of(modified_ns, flags & FSTFLAGS_MTIM, flags & FSTFLAGS_MTIM_NOW),
    };
    return FM_WASI_SUCCESS;
}

/* --- the table -------------------------------------------------------------------------------- */

uint32_t fm_wasi_fd_close(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_descriptor *descriptor = fm_descriptor_get(guest, in[0].u32);
    if (!descriptor)
        return FM_WASI_BADF;
    fm_descriptor_close(descriptor);
    return FM_WASI_SUCCESS;
}

/* Both must be open: the second is overwritten, not made. */
uint32_t fm_wasi_fd_renumber(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_descriptor *from = fm_descriptor_get(guest, in[0].u32);
    struct fm_descriptor *to = fm_descriptor_get(guest, in[1].u32);
    if (!from || !to)
        return FM_WASI_BADF;
    if (from != to) {
        fm_descriptor_close(to);
        *to = *from;
        *from = (struct fm_descriptor){.stream = FM_STREAM_CLOSED};
    }
    return FM_WASI_SUCCESS;
}

/* --- attributes ------------------------------------------------------------------------------- */

uint32_t fm_wasi_fd_fdstat_get(struct fm_guest *guest, const union fm_value *in)
{
    const struct fm_descriptor *descriptor = fm_descriptor_get(guest, in[0].u32);
    uint8_t *at = NULL;
    if (!descriptor)
        return FM_WASI_BADF;
    if (!fm_memory_at(guest, in[1].u32, FDSTAT_BYTES, &at))
        return FM_WASI_FAULT;
    memset(at, 0, FDSTAT_BYTES);
    if (descriptor->stream == FM_STREAM_FILE)
        at[0] = is_folder(descriptor) ? FM_WASI_FILETYPE_DIRECTORY : FM_WASI_FILETYPE_REGULAR_FILE;
    fm_store_u16(at + 2, descriptor->flags);
    fm_store_u64(at + 8, descriptor->rights);
    fm_store_u64(at + 16, descriptor->inheriting);
    return FM_WASI_SUCCESS;
}

uint32_t fm_wasi_fd_fdstat_set_flags(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_descriptor *descriptor = fm_descriptor_get(guest, in[0].u32);
    if (!descriptor)
        return FM_WASI_BADF;
    if (in[1].u32 & ~FM_WASI_FDFLAGS_ALL)
        return FM_WASI_INVAL;
    if (!(descriptor->rights & FM_WASI_RIGHT_FD_FDSTAT_SET_FLAGS))
        return FM_WASI_NOTCAPABLE;
    descriptor->flags = (uint16_t)in[1].u32;
    return FM_WASI_SUCCESS;
}

uint32_t fm_wasi_fd_fdstat_set_rights(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_descriptor *descriptor = fm_descriptor_get(guest, in[0].u32);
    if (!descriptor)
        return FM_WASI_BADF;
    if ((in[1].u64 & ~descriptor->rights) != 0 || (in[2].u64 & ~descriptor->inheriting) != 0)
        return FM_WASI_NOTCAPABLE;
    descriptor->rights = in[1].u64;
    descriptor->inheriting = in[2].u64;
    return FM_WASI_SUCCESS;
}

uint32_t fm_wasi_fd_filestat_get(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_descriptor *descriptor = fm_descriptor_get(guest, in[0].u32);
    if (!descriptor)
        return FM_WASI_BADF;
    if (!(descriptor->rights & FM_WASI_RIGHT_FD_FILESTAT_GET))
        return FM_WASI_NOTCAPABLE;
    struct fm_file_stat stat = {
        .inode = (uint64_t)descriptor->stream, /* each stream is another */
        .links = 1,
    };
    if (descriptor->stream == FM_STREAM_FILE) {
        struct fm_file *file = NULL;
        int failed = fm_descriptor_file(guest, descriptor, &file);
        if (!failed)
            failed = file->ops->stat(file, &stat);
        if (failed)
            return fm_wasi_errno(failed);
    }
    return fm_wasi_put_filestat(guest, in[1].u32, &stat) ? FM_WASI_SUCCESS : FM_WASI_FAULT;
}

uint32_t fm_wasi_fd_filestat_set_size(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_file *file = NULL;
    uint32_t failed =
        fm_wasi_file(guest, in[0].u32, FM_WASI_RIGHT_FD_FILESTAT_SET_SIZE, FM_WASI_INVAL, &file);
    return failed ? failed : fm_wasi_errno(file->ops->set_size(file, in[1].u64));
}

uint32_t fm_wasi_fd_filestat_set_times(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_file *file = NULL;
    struct fm_file_times times;
    if (!fm_descriptor_get(guest, in[0].u32))
        return FM_WASI_BADF;
    uint32_t failed = fm_wasi_times(in[1].u64, in[2].u64, in[3].u32, &times);
    if (!failed)
        failed = fm_wasi_file(guest, in[0].u32, FM_WASI_RIGHT_FD_FILESTAT_SET_TIMES, FM_WASI_NOTSUP,
                              &file);
    return failed ? failed : fm_wasi_errno(file->ops->set_times(file, &times));
}

/* --- what only files have --------------------------------------------------------------------- */

/* All is in memory, or up to the kernel: there is nothing to be done. */
uint32_t fm_wasi_fd_advise(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_file *file = NULL;
    if (fm_descriptor_get(guest, in[0].u32) && in[3].u32 >= ADVICE_COUNT)
        return FM_WASI_INVAL;
    return fm_wasi_file(guest, in[0].u32, FM_WASI_RIGHT_FD_ADVISE, FM_WASI_SPIPE, &file);
}

uint32_t fm_wasi_fd_allocate(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_file *file = NULL;
    uint32_t failed =
        fm_wasi_file(guest, in[0].u32, FM_WASI_RIGHT_FD_ALLOCATE, FM_WASI_SPIPE, &file);
    return failed ? failed : fm_wasi_errno(file->ops->allocate(file, in[1].u64, in[2].u64));
}

static uint32_t sync_file(struct fm_guest *guest, uint32_t fd, uint64_t right, bool data_only)
{
    struct fm_file *file = NULL;
    uint32_t failed = fm_wasi_file(guest, fd, right, FM_WASI_INVAL, &file);
    return failed ? failed : fm_wasi_errno(file->ops->sync(file, data_only));
}

uint32_t fm_wasi_fd_datasync(struct fm_guest *guest, const union fm_value *in)
{
    return sync_file(guest, in[0].u32, FM_WASI_RIGHT_FD_DATASYNC, true);
}

uint32_t fm_wasi_fd_sync(struct fm_guest *guest, const union fm_value *in)
{
    return sync_file(guest, in[0].u32, FM_WASI_RIGHT_FD_SYNC, false);
}

/* --- the position ----------------------------------------------------------------------------- */

/* Where a move starts from. */
static uint32_t seek_base(const struct fm_descriptor *descriptor, struct fm_file *file,
                          uint32_t whence, uint64_t *ret_base)
{
    struct fm_file_stat stat = {0};
    int failed = whence == WHENCE_END ? file->ops->stat(file, &stat) : 0;
    if (failed)
        return fm_wasi_errno(failed);
    *ret_base = whence == WHENCE_CUR ? descriptor->offset : stat.bytes; /* 0 for WHENCE_SET */
    return FM_WASI_SUCCESS;
}

uint32_t fm_wasi_fd_seek(struct fm_guest *guest, const union fm_value *in)
{
    uint32_t fd = in[0].u32;
    int64_t by = in[1].i64;
    uint32_t whence = in[2].u32;
    struct fm_file *file = NULL;
    struct fm_descriptor *descriptor = fm_descriptor_get(guest, fd);
    if (!descriptor)
        return FM_WASI_BADF;
    if (whence >= WHENCE_COUNT)
        return FM_WASI_INVAL;
    bool tells = by == 0 && whence == WHENCE_CUR && !(descriptor->rights & FM_WASI_RIGHT_FD_SEEK);
    uint64_t right = tells ? FM_WASI_RIGHT_FD_TELL : FM_WASI_RIGHT_FD_SEEK;
    uint32_t failed = fm_wasi_file(guest, fd, right, FM_WASI_SPIPE, &file);
    uint64_t base = 0;
    if (!failed)
        failed = seek_base(descriptor, file, whence, &base);
    if (failed)
        return failed;
    int64_t offset = 0;
    if (base > INT64_MAX || __builtin_add_overflow((int64_t)base, by, &offset))
        return by < 0 ? FM_WASI_INVAL : FM_WASI_OVERFLOW;
    if (offset < 0)
        return FM_WASI_INVAL;
    if (!fm_memory_put_u64(guest, in[3].u32, (uint64_t)offset))
        return FM_WASI_FAULT;
    descriptor->offset = (uint64_t)offset;
    return FM_WASI_SUCCESS;
}

uint32_t fm_wasi_fd_tell(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_file *file = NULL;
    uint32_t failed = fm_wasi_file(guest, in[0].u32, FM_WASI_RIGHT_FD_TELL, FM_WASI_SPIPE, &file);
    if (failed)
        return failed;
    uint64_t offset = fm_descriptor_get(guest, in[0].u32)->offset;
    return fm_memory_put_u64(guest, in[1].u32, offset) ? FM_WASI_SUCCESS : FM_WASI_FAULT;
}
