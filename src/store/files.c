/* files.c - open, read, write and sync, with the errors that store/ wants.
 *
 * Everything is opened relative to a folder that is open already, with O_NOFOLLOW, and checked
 * after it is open and not before: there is no moment in between.  Discarded: full paths, which
 * would be walked anew by every call, and could lead elsewhere in the meantime.
 *
 * Files are opened with O_NONBLOCK: a FIFO that someone left in the place of a file must not hold a
 * thread for ever.  It means nothing for plain files, and nothing else is accepted.
 *
 * No state; any thread. */
#include "store/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

int fm_files_error(struct fm_error *error, int errnum, const char *what, const char *name)
{
    int code = fm_error_errno(error, errnum, "cannot %s '%s'", what, name);
    switch (code) {
    case FM_ERR_STORAGE_FULL:
    case FM_ERR_NOMEM:
    case FM_ERR_BUSY:
    case FM_ERR_NOT_FOUND:
        return code;
    default: /* the client's mistakes cannot lie here */
        if (error)
            error->code = FM_ERR_IO;
        return FM_ERR_IO;
    }
}

bool fm_files_shortage(int code)
{
    return code == FM_ERR_NOMEM || code == FM_ERR_BUSY;
}

int fm_files_sync(int fd, const char *name, struct fm_error *error)
{
    if (fsync(fd) != 0)
        return fm_files_error(error, errno, "sync", name);
    return 0;
}

int fm_files_folder_make(int folder, const char *name, struct fm_error *error)
{
    if (mkdirat(folder, name, 0700) != 0 && errno != EEXIST)
        return fm_files_error(error, errno, "make the folder", name);
    return 0;
}

int fm_files_folder_open(int folder, const char *name, int *ret_fd, struct fm_error *error)
{
    int fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fm_files_error(error, errno == ELOOP ? ENOTDIR : errno, "open the folder", name);
    *ret_fd = fd;
    return 0;
}

int fm_files_open(int folder, const char *name, uint64_t *ret_bytes, int *ret_fd,
                  struct fm_error *error)
{
    FM_CLEANUP(fm_files_close)
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat status;
    if (fd < 0)
        return fm_files_error(error, errno, "open", name);
    if (fstat(fd, &status) != 0)
        return fm_files_error(error, errno, "look at", name);
    if (!S_ISREG(status.st_mode))
        return fm_error_set(error, FM_ERR_IO, "'%s' is not a plain file", name);
    *ret_bytes = (uint64_t)status.st_size;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int fm_files_read(int folder, const char *name, struct fm_buffer *buffer, struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int fd = -1;
    uint64_t bytes = 0;
    int failed = fm_files_open(folder, name, &bytes, &fd, error);
    if (failed)
        return failed;
    if (bytes > buffer->length_max - buffer->length)
        return fm_error_set(error, FM_ERR_TOO_LARGE, "'%s' has more than %zu bytes", name,
                            buffer->length_max - buffer->length);
    failed = fm_buffer_reserve(buffer, (size_t)bytes);
    if (failed)
        return fm_error_set(error, failed, "cannot read '%s': %s", name, fm_err_meaning(failed));
    for (size_t left = (size_t)bytes; left > 0;) {
        ssize_t got = read(fd, buffer->data + buffer->length, left);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fm_files_error(error, errno, "read", name);
        if (got == 0)
            return fm_error_set(error, FM_ERR_IO, "'%s' became shorter", name);
        buffer->length += (size_t)got;
        left -= (size_t)got;
    }
    return 0;
}

/* Rights of others are taken away and not refused: volume managers give folders to a group at every
 * start.  Another owner is refused, who could change the file at any time. */
int fm_files_own(int fd, const char *path, const char *name, struct fm_error *error)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return fm_files_error(error, errno, "look at", name);
    if (status.st_uid != geteuid())
        return fm_error_set(error, FM_ERR_FORBIDDEN,
                            "'%s/%s' belongs to user %lu, and this server runs as user %lu", path,
                            name, (unsigned long)status.st_uid, (unsigned long)geteuid());
    if ((status.st_mode & 077) != 0 && fchmod(fd, status.st_mode & 0700) != 0)
        return fm_files_error(error, errno, "take from other users the rights to", name);
    return 0;
}

int fm_files_create(int folder, const char *name, int *ret_fd, struct fm_error *error)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return fm_files_error(error, errno, "make", name);
    *ret_fd = fd;
    return 0;
}

int fm_files_write(int fd, const char *name, const void *data, size_t bytes, struct fm_error *error)
{
    const uint8_t *next = data;
    while (bytes > 0) {
        ssize_t written = write(fd, next, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return fm_files_error(error, errno, "write", name);
        next += written;
        bytes -= (size_t)written;
    }
    return 0;
}

int fm_files_put(int folder, const char *name, const void *data, size_t bytes,
                 struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int fd = -1;
    int failed = fm_files_create(folder, name, &fd, error);
    if (failed)
        return failed;
    failed = fm_files_write(fd, name, data, bytes, error);
    if (!failed)
        failed = fm_files_sync(fd, name, error);
    if (failed)
        (void)unlinkat(folder, name, 0); /* the first failure is the one to tell */
    return failed;
}

int fm_files_link(int from, int to, const char *name, struct fm_error *error)
{
    if (linkat(from, name, to, name, 0) != 0)
        return fm_files_error(error, errno, "link", name);
    return 0;
}

void fm_files_random_name(char name[FM_FILES_RANDOM_SIZE])
{
    uint8_t random[(FM_FILES_RANDOM_SIZE - 1) / 2];
    ssize_t got = getrandom(random, sizeof(random), 0);
    FM_ASSERT(got == (ssize_t)sizeof(random)); /* so few bytes always come, says getrandom(2) */
    fm_files_hex(random, sizeof(random), name);
}

void fm_files_hex(const uint8_t *data, size_t bytes, char *ret_text)
{
    for (size_t i = 0; i < bytes; i++) {
        ret_text[2 * i] = "0123456789abcdef"[data[i] >> 4];
        ret_text[2 * i + 1] = "0123456789abcdef"[data[i] & 15];
    }
    ret_text[2 * bytes] = '\0';
}

int fm_files_unhex(const char *text, size_t bytes, uint8_t *ret_data)
{
    static const char digits[] = "0123456789abcdef";
    if (strlen(text) != 2 * bytes || strspn(text, digits) != 2 * bytes)
        return FM_ERR_BAD_REQUEST;
    for (size_t i = 0; i < bytes; i++) {
        ptrdiff_t high = strchr(digits, text[2 * i]) - digits;
        ptrdiff_t low = strchr(digits, text[2 * i + 1]) - digits;
        ret_data[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}
