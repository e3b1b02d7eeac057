/* wasi_folder.c - which folders a guest was given, and what is in a folder.
 *
 *      entry of fd_readdir: next u64, inode u64, length of the name u32, type u8, 3 unused; the
 * name
 *
 * Entries fill the buffer; the last one may be cut off, which tells the guest that there is more.
 * A C library asks fd_prestat_get for descriptor after descriptor, from 3 on, until EBADF. */
#include <string.h>

#include "guest/memory.h"
#include "guest/private.h"
#include "guest/wasi.h"

#define PRESTAT_BYTES 8
#define PREOPENTYPE_DIR 0
#define DIRENT_BYTES 24

static const char *preopen_name(struct fm_guest *guest, uint32_t fd)
{
    const struct fm_descriptor *descriptor = fm_descriptor_get(guest, fd);
    if (!descriptor || descriptor->stream != FM_STREAM_FILE || !descriptor->preopen)
        return NULL;
    return descriptor->preopen->name;
}

uint32_t fm_wasi_fd_prestat_get(struct fm_guest *guest, const union fm_value *in)
{
    const char *name = preopen_name(guest, in[0].u32);
    uint8_t *at = NULL;
    if (!name)
        return FM_WASI_BADF;
    if (!fm_memory_at(guest, in[1].u32, PRESTAT_BYTES, &at))
        return FM_WASI_FAULT;
    memset(at, 0, PRESTAT_BYTES);
    at[0] = PREOPENTYPE_DIR;
    fm_store_u32(at + 4, (uint32_t)strlen(name));
    return FM_WASI_SUCCESS;
}

uint32_t fm_wasi_fd_prestat_dir_name(struct fm_guest *guest, const union fm_value *in)
{
    const char *name = preopen_name(guest, in[0].u32);
    uint8_t *at = NULL;
    if (!name)
        return FM_WASI_BADF;
    if (!fm_memory_at(guest, in[1].u32, in[2].u32, &at))
        return FM_WASI_FAULT;
    if (in[2].u32 < strlen(name))
        return FM_WASI_NAMETOOLONG;
    memcpy(at, name, strlen(name)); /* no NUL: the length is known */
    return FM_WASI_SUCCESS;
}

/* Puts as much of an entry as there is room for; false: not all of it. */
static bool put_entry(uint8_t *buffer, uint32_t bytes, const struct fm_file_entry *entry,
                      uint32_t *used)
{
    uint8_t head[DIRENT_BYTES] = {0};
    fm_store_u64(head, entry->next);
    fm_store_u64(head + 8, entry->inode);
    fm_store_u32(head + 16, (uint32_t)entry->name_length);
    head[20] = fm_wasi_filetype(entry->type);

    uint32_t part = (uint32_t)fm_min_u64(sizeof(head), bytes - *used);
    memcpy(buffer + *used, head, part);
    *used += part;
    uint32_t name_part = (uint32_t)fm_min_u64(entry->name_length, bytes - *used);
    memcpy(buffer + *used, entry->name, name_part);
    *used += name_part;
    return part == sizeof(head) && name_part == entry->name_length;
}

uint32_t fm_wasi_fd_readdir(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_file *folder = NULL;
    uint8_t *buffer = NULL;
    uint32_t bytes = in[2].u32;
    uint64_t from = in[3].u64;
    uint32_t used = 0;
    uint32_t failed = fm_wasi_file(guest, in[0].u32, 0, FM_WASI_NOTDIR, &folder);
    if (!failed && folder->type != FM_FILE_FOLDER)
        failed = FM_WASI_NOTDIR;
    if (!failed)
        failed = fm_wasi_file(guest, in[0].u32, FM_WASI_RIGHT_FD_READDIR, FM_WASI_NOTDIR, &folder);
    if (failed)
        return failed;
    if (!fm_memory_at(guest, in[1].u32, bytes, &buffer))
        return FM_WASI_FAULT;
    while (used < bytes) {
        struct fm_file_entry entry;
        int more = folder->ops->list(folder, from, &entry);
        if (more < 0 && used == 0)
            return fm_wasi_errno(more);
        if (more <= 0 || !put_entry(buffer, bytes, &entry, &used))
            break;
        from = entry.next;
    }
    return fm_memory_put_u32(guest, in[4].u32, used) ? FM_WASI_SUCCESS : FM_WASI_FAULT;
}
