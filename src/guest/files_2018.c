/* files_2018.c - descriptors of 2018: the three standard ones and two constant files.
 *
 * Functions of 2018 read /etc/hosts and /etc/resolv.conf (their C library does, to resolve names)
 * and print.  The files are texts of ours, never the host's.  Everything printed goes to the log,
 * on whichever standard descriptor; the input is in memory, so reading descriptor 0 finds the end.
 *
 * ioctl succeeds on standard descriptors as it did in 2018.  That matters: the C library takes it
 * for a terminal and flushes after each line, and nobody would flush at the end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>

#include "guest/memory.h"
#include "guest/private.h"
#include "guest/syscalls_2018.h"

#define STANDARD_COUNT 3 /* descriptors 0, 1, 2; files follow */
#define PATH_BYTES_MAX 4096

static const struct {
    const char *path;
    const char *text;
} constant_files[] = {
    {"/etc/hosts", "127.0.0.1 localhost\n"},
    {"/etc/resolv.conf", "nameserver 8.8.8.8\n"},
};

static bool is_standard(int32_t fd)
{
    return fd >= 0 && fd < STANDARD_COUNT;
}

/* NULL: not an open file. */
static struct fm_2018_file *file_at(struct fm_guest *guest, int32_t fd)
{
    if (fd < STANDARD_COUNT || fd >= STANDARD_COUNT + FM_2018_FILES_COUNT)
        return NULL;
    struct fm_2018_file *file = &guest->files[fd - STANDARD_COUNT];
    return file->text ? file : NULL;
}

int16_t fm_2018_ready(struct fm_guest *guest, int32_t fd)
{
    if (is_standard(fd))
        return fd == 0 ? POLLIN : POLLOUT;
    return file_at(guest, fd) ? POLLIN : 0;
}

/* A string's length, if it ends within `bytes_max` (and within the memory). */
static int32_t string_at(struct fm_guest *guest, uint32_t address, uint64_t bytes_max,
                         const char **ret_text, size_t *ret_length)
{
    uint64_t memory_bytes = fm_sandbox_memory_bytes(guest->sandbox);
    if (address >= memory_bytes)
        return -EFAULT;
    uint64_t bytes = fm_min_u64(memory_bytes - address, bytes_max);
    uint8_t *data = NULL;
    if (!fm_memory_at(guest, address, bytes, &data))
        return -EFAULT;
    size_t length = strnlen((const char *)data, (size_t)bytes);
    if (length == bytes)
        return bytes == bytes_max ? -ENAMETOOLONG : -EFAULT;
    *ret_text = (const char *)data;
    *ret_length = length;
    return 0;
}

/* --- open and close --------------------------------------------------------------------------- */

static int32_t open_text(struct fm_guest *guest, const char *text)
{
    for (int32_t i = 0; i < FM_2018_FILES_COUNT; i++) {
        if (guest->files[i].text)
            continue;
        guest->files[i] = (struct fm_2018_file){.text = text, .length = (uint32_t)strlen(text)};
        return STANDARD_COUNT + i;
    }
    return -EMFILE;
}

int32_t fm_2018_open(struct fm_guest *guest, const union fm_value *in)
{
    const char *path = NULL;
    size_t length = 0;
    int32_t failed = string_at(guest, in[0].u32, PATH_BYTES_MAX, &path, &length);
    if (failed)
        return failed;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(constant_files); i++) {
        if (strcmp(path, constant_files[i].path) != 0)
            continue;
        if ((in[1].u32 & O_ACCMODE) != O_RDONLY)
            return -EROFS;
        return open_text(guest, constant_files[i].text);
    }
    return -ENOENT;
}

/* The standard descriptors cannot be lost: printing always works. */
int32_t fm_2018_close(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_2018_file *file = file_at(guest, in[0].i32);
    if (file)
        file->text = NULL;
    return file || is_standard(in[0].i32) ? 0 : -EBADF;
}

int32_t fm_2018_fcntl(struct fm_guest *guest, const union fm_value *in)
{
    return fm_2018_ready(guest, in[0].i32) ? 0 : -EBADF;
}

int32_t fm_2018_ioctl(struct fm_guest *guest, const union fm_value *in)
{
    if (is_standard(in[0].i32))
        return 0;
    return file_at(guest, in[0].i32) ? -ENOTTY : -EBADF;
}

int32_t fm_2018_ioctl_plain(struct fm_guest *guest, const union fm_value *in)
{
    return fm_2018_ioctl(guest, in);
}

/* --- reading ---------------------------------------------------------------------------------- */

static uint32_t take(struct fm_2018_file *file, uint8_t *data, uint32_t bytes)
{
    if (file->offset >= file->length)
        return 0;
    uint32_t part = (uint32_t)fm_min_u64(bytes, file->length - file->offset);
    memcpy(data, file->text + file->offset, part);
    file->offset += part;
    return part;
}

int32_t fm_2018_read(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_2018_file *file = file_at(guest, in[0].i32);
    if (!file && in[0].i32 != 0)
        return -EBADF;
    uint8_t *data = NULL;
    if (!fm_memory_at(guest, in[1].u32, in[2].u32, &data))
        return -EFAULT;
    return file ? (int32_t)take(file, data, in[2].u32) : 0;
}

static int32_t iovecs_of(struct fm_guest *guest, const union fm_value *in,
                         struct fm_iovecs *ret_iovecs)
{
    *ret_iovecs = (struct fm_iovecs){.guest = guest, .address = in[1].u32, .count = in[2].u32};
    switch (fm_iovecs_check(ret_iovecs)) {
    case 0:
        return 0;
    case FM_ERR_GUEST_TRAP:
        return -EFAULT;
    default:
        return -EINVAL;
    }
}

int32_t fm_2018_readv(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_2018_file *file = file_at(guest, in[0].i32);
    if (!file && in[0].i32 != 0)
        return -EBADF;
    struct fm_iovecs iovecs;
    int32_t failed = iovecs_of(guest, in, &iovecs);
    if (failed)
        return failed;
    int32_t total = 0;
    for (uint32_t i = 0; file && i < iovecs.count; i++) {
        struct fm_iovec iovec;
        if (!fm_iovecs_at(&iovecs, i, &iovec))
            return -EFAULT;
        total += (int32_t)take(file, iovec.data, iovec.bytes);
    }
    return total;
}

/* (fd, high half, low half of the offset, where the new position goes, whence) */
int32_t fm_2018_llseek(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_2018_file *file = file_at(guest, in[0].i32);
    if (!file)
        return is_standard(in[0].i32) ? -ESPIPE : -EBADF;
    int64_t offset = (int64_t)((in[1].u64 & UINT32_MAX) << 32 | in[2].u32);
    int64_t base = 0;
    if (in[4].i32 == SEEK_CUR)
        base = file->offset;
    else if (in[4].i32 == SEEK_END)
        base = file->length;
    else if (in[4].i32 != SEEK_SET)
        return -EINVAL;
    int64_t position = 0;
    if (__builtin_add_overflow(base, offset, &position) || position < 0 || position > INT32_MAX)
        return -EINVAL;
    if (!fm_memory_put_u64(guest, in[3].u32, (uint64_t)position))
        return -EFAULT;
    file->offset = (uint32_t)position;
    return 0;
}

/* --- printing --------------------------------------------------------------------------------- */

int32_t fm_2018_writev(struct fm_guest *guest, const union fm_value *in)
{
    if (in[0].i32 != 1 && in[0].i32 != 2)
        return -EBADF;
    struct fm_iovecs iovecs;
    int32_t failed = iovecs_of(guest, in, &iovecs);
    if (failed)
        return failed;
    int32_t total = 0;
    for (uint32_t i = 0; i < iovecs.count; i++) {
        struct fm_iovec iovec;
        if (!fm_iovecs_at(&iovecs, i, &iovec))
            return -EFAULT;
        fm_stream_log(guest, iovec.data, iovec.bytes);
        total += (int32_t)iovec.bytes; /* what the log cannot hold is marked there */
    }
    return total;
}

/* A text that does not end within what the log can hold is cut there, as the log is. */
int32_t fm_2018_puts(struct fm_guest *guest, const union fm_value *in)
{
    const uint64_t bytes_max = guest->call->limits.log_bytes + 1;
    const char *text = NULL;
    size_t length = 0;
    int32_t failed = string_at(guest, in[0].u32, bytes_max, &text, &length);
    if (failed == -ENAMETOOLONG) {
        uint8_t *data = NULL;
        if (!fm_memory_at(guest, in[0].u32, bytes_max, &data))
            return -1;
        fm_stream_log(guest, data, (size_t)bytes_max);
        guest->call->log_truncated = true;
        return 0;
    }
    if (failed)
        return -1; /* EOF of C: this is a library's function, not a system call */
    fm_stream_log(guest, (const uint8_t *)text, length);
    fm_stream_log(guest, (const uint8_t *)"\n", 1);
    return 0;
}
