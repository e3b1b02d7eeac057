/* wasi_fd.c - descriptors: what they are and what can be done to them, but for moving data.
 *
 * A guest has three, all of them streams: input, output and log.  They behave as pipes do: no
 * position (ESPIPE), no size to set (EINVAL), no directory (ENOTDIR), no socket (ENOTSOCK).  They
 * are reported as of unknown type, since a character device would make C libraries believe in a
 * terminal and flush after every line.
 *
 * Standard output is the call's output for plain commands.  A module that writes its output through
 * faasm.output_write, and every function of 2018, gets its standard output in the log: there printf
 * was always a diagnostic, and mixing it into the output would spoil it. */
#include <string.h>

#include "guest/memory.h"
#include "guest/private.h"
#include "guest/wasi.h"

#define FDFLAGS_ALL 0x1fu /* append, dsync, nonblock, rsync, sync */
#define ADVICE_COUNT 6
#define WHENCE_COUNT 3
#define FSTFLAGS_ALL 0xfu /* atim, atim_now, mtim, mtim_now */
#define FSTFLAGS_ATIM_BOTH 0x3u
#define FSTFLAGS_MTIM_BOTH 0xcu
#define FILETYPE_UNKNOWN 0
#define FDSTAT_BYTES 24
#define FILESTAT_BYTES 64

static bool imports_output_write(const struct fm_module_facts *facts)
{
    for (size_t i = 0; i < facts->imports_count; i++) {
        int order = strcmp(facts->imports[i], "faasm.output_write");
        if (order >= 0) /* the list is sorted */
            return order == 0;
    }
    return false;
}

void fm_descriptors_init(struct fm_guest *guest)
{
    const struct fm_module_facts *facts = &guest->call->version->facts;
    bool to_log = facts->abi == FM_ABI_FAASM_2018 || imports_output_write(facts);
    const enum fm_stream streams[FM_DESCRIPTORS_COUNT] = {
        FM_STREAM_INPUT, to_log ? FM_STREAM_LOG : FM_STREAM_OUTPUT, FM_STREAM_LOG};
    for (uint32_t fd = 0; fd < FM_DESCRIPTORS_COUNT; fd++) {
        uint64_t direction =
            streams[fd] == FM_STREAM_INPUT ? FM_WASI_RIGHT_FD_READ : FM_WASI_RIGHT_FD_WRITE;
        guest->descriptors[fd] = (struct fm_descriptor){
            .stream = streams[fd],
            .rights = direction | FM_WASI_RIGHT_FD_FDSTAT_SET_FLAGS |
                      FM_WASI_RIGHT_FD_FILESTAT_GET | FM_WASI_RIGHT_POLL_FD_READWRITE,
        };
    }
}

struct fm_descriptor *fm_wasi_descriptor(struct fm_guest *guest, uint32_t fd)
{
    if (fd >= FM_DESCRIPTORS_COUNT || guest->descriptors[fd].stream == FM_STREAM_CLOSED)
        return NULL;
    return &guest->descriptors[fd];
}

uint32_t fm_wasi_can(struct fm_guest *guest, uint32_t fd, uint64_t right)
{
    const struct fm_descriptor *descriptor = fm_wasi_descriptor(guest, fd);
    if (!descriptor)
        return FM_WASI_BADF;
    bool reads = descriptor->stream == FM_STREAM_INPUT;
    if (reads != (right == FM_WASI_RIGHT_FD_READ))
        return FM_WASI_BADF;
    return descriptor->rights & right ? FM_WASI_SUCCESS : FM_WASI_NOTCAPABLE;
}

/* What a stream cannot do at all. */
static uint32_t open_but(struct fm_guest *guest, uint32_t fd, uint32_t error)
{
    return fm_wasi_descriptor(guest, fd) ? error : FM_WASI_BADF;
}

/* --- the table -------------------------------------------------------------------------------- */

uint32_t fm_wasi_fd_close(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_descriptor *descriptor = fm_wasi_descriptor(guest, in[0].u32);
    if (!descriptor)
        return FM_WASI_BADF;
    descriptor->stream = FM_STREAM_CLOSED;
    return FM_WASI_SUCCESS;
}

/* Both must be open: the second is overwritten, not made. */
uint32_t fm_wasi_fd_renumber(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_descriptor *from = fm_wasi_descriptor(guest, in[0].u32);
    struct fm_descriptor *to = fm_wasi_descriptor(guest, in[1].u32);
    if (!from || !to)
        return FM_WASI_BADF;
    if (from != to) {
        *to = *from;
        from->stream = FM_STREAM_CLOSED;
    }
    return FM_WASI_SUCCESS;
}

/* --- attributes ------------------------------------------------------------------------------- */

uint32_t fm_wasi_fd_fdstat_get(struct fm_guest *guest, const union fm_value *in)
{
    const struct fm_descriptor *descriptor = fm_wasi_descriptor(guest, in[0].u32);
    uint8_t *at = NULL;
    if (!descriptor)
        return FM_WASI_BADF;
    if (!fm_memory_at(guest, in[1].u32, FDSTAT_BYTES, &at))
        return FM_WASI_FAULT;
    memset(at, 0, FDSTAT_BYTES);
    at[0] = FILETYPE_UNKNOWN;
    fm_store_u16(at + 2, descriptor->flags);
    fm_store_u64(at + 8, descriptor->rights);
    return FM_WASI_SUCCESS; /* inherited rights: none, nothing can be opened through a stream */
}

uint32_t fm_wasi_fd_fdstat_set_flags(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_descriptor *descriptor = fm_wasi_descriptor(guest, in[0].u32);
    if (!descriptor)
        return FM_WASI_BADF;
    if (in[1].u32 & ~FDFLAGS_ALL)
        return FM_WASI_INVAL;
    if (!(descriptor->rights & FM_WASI_RIGHT_FD_FDSTAT_SET_FLAGS))
        return FM_WASI_NOTCAPABLE;
    descriptor->flags = (uint16_t)in[1].u32;
    return FM_WASI_SUCCESS;
}

uint32_t fm_wasi_fd_fdstat_set_rights(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_descriptor *descriptor = fm_wasi_descriptor(guest, in[0].u32);
    if (!descriptor)
        return FM_WASI_BADF;
    if ((in[1].u64 & ~descriptor->rights) != 0 || in[2].u64 != 0)
        return FM_WASI_NOTCAPABLE;
    descriptor->rights = in[1].u64;
    return FM_WASI_SUCCESS;
}

uint32_t fm_wasi_fd_filestat_get(struct fm_guest *guest, const union fm_value *in)
{
    const struct fm_descriptor *descriptor = fm_wasi_descriptor(guest, in[0].u32);
    uint8_t *at = NULL;
    if (!descriptor)
        return FM_WASI_BADF;
    if (!(descriptor->rights & FM_WASI_RIGHT_FD_FILESTAT_GET))
        return FM_WASI_NOTCAPABLE;
    if (!fm_memory_at(guest, in[1].u32, FILESTAT_BYTES, &at))
        return FM_WASI_FAULT;
    memset(at, 0, FILESTAT_BYTES);                      /* device, size and times: 0 */
    fm_store_u64(at + 8, (uint64_t)descriptor->stream); /* inode: each stream is another */
    at[16] = FILETYPE_UNKNOWN;
    fm_store_u64(at + 24, 1); /* links */
    return FM_WASI_SUCCESS;
}

uint32_t fm_wasi_fd_filestat_set_size(struct fm_guest *guest, const union fm_value *in)
{
    return open_but(guest, in[0].u32, FM_WASI_INVAL);
}

uint32_t fm_wasi_fd_filestat_set_times(struct fm_guest *guest, const union fm_value *in)
{
    uint32_t flags = in[3].u32;
    bool valid = (flags & ~FSTFLAGS_ALL) == 0 &&
                 (flags & FSTFLAGS_ATIM_BOTH) != FSTFLAGS_ATIM_BOTH &&
                 (flags & FSTFLAGS_MTIM_BOTH) != FSTFLAGS_MTIM_BOTH;
    return open_but(guest, in[0].u32, valid ? FM_WASI_NOTSUP : FM_WASI_INVAL);
}

/* --- what only files have --------------------------------------------------------------------- */

uint32_t fm_wasi_fd_advise(struct fm_guest *guest, const union fm_value *in)
{
    return open_but(guest, in[0].u32, in[3].u32 < ADVICE_COUNT ? FM_WASI_SPIPE : FM_WASI_INVAL);
}

uint32_t fm_wasi_fd_allocate(struct fm_guest *guest, const union fm_value *in)
{
    return open_but(guest, in[0].u32, FM_WASI_SPIPE);
}

uint32_t fm_wasi_fd_datasync(struct fm_guest *guest, const union fm_value *in)
{
    return open_but(guest, in[0].u32, FM_WASI_INVAL);
}

uint32_t fm_wasi_fd_sync(struct fm_guest *guest, const union fm_value *in)
{
    return open_but(guest, in[0].u32, FM_WASI_INVAL);
}

uint32_t fm_wasi_fd_seek(struct fm_guest *guest, const union fm_value *in)
{
    return open_but(guest, in[0].u32, in[2].u32 < WHENCE_COUNT ? FM_WASI_SPIPE : FM_WASI_INVAL);
}

uint32_t fm_wasi_fd_tell(struct fm_guest *guest, const union fm_value *in)
{
    return open_but(guest, in[0].u32, FM_WASI_SPIPE);
}

uint32_t fm_wasi_fd_pread(struct fm_guest *guest, const union fm_value *in)
{
    return open_but(guest, in[0].u32, FM_WASI_SPIPE);
}

uint32_t fm_wasi_fd_pwrite(struct fm_guest *guest, const union fm_value *in)
{
    return open_but(guest, in[0].u32, FM_WASI_SPIPE);
}
