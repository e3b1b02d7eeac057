/* faults.c - wrapped system calls: a countdown to the one that fails, and a trace of the others.
 *
 * Per thread, so that a fault hits the code under test and nothing else. */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define TRACE_SIZE 16384

static _Thread_local struct {
    long countdown; /* 0: nothing fails */
    int errnum;
    bool crash;
    bool shorten;
    bool struck;
    bool tracing;
    size_t trace_length;
    char trace[TRACE_SIZE];
} faults;

int __real_openat(int folder, const char *name, int flags, ...);
int __real_mkdirat(int folder, const char *name, mode_t mode);
int __real_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __real_linkat(int from_folder, const char *from, int to_folder, const char *to, int flags);
int __real_unlinkat(int folder, const char *name, int flags);
int __real_fsync(int fd);
int __real_fstat(int fd, struct stat *status);
int __real_fchmod(int fd, mode_t mode);
ssize_t __real_read(int fd, void *data, size_t bytes);
ssize_t __real_pread(int fd, void *data, size_t bytes, off_t offset);
ssize_t __real_write(int fd, const void *data, size_t bytes);

int __wrap_openat(int folder, const char *name, int flags, ...);
int __wrap_mkdirat(int folder, const char *name, mode_t mode);
int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __wrap_linkat(int from_folder, const char *from, int to_folder, const char *to, int flags);
int __wrap_unlinkat(int folder, const char *name, int flags);
int __wrap_fsync(int fd);
int __wrap_fstat(int fd, struct stat *status);
int __wrap_fchmod(int fd, mode_t mode);
ssize_t __wrap_read(int fd, void *data, size_t bytes);
ssize_t __wrap_pread(int fd, void *data, size_t bytes, off_t offset);
ssize_t __wrap_write(int fd, const void *data, size_t bytes);

void faults_arm(long nth, int errnum, bool crash)
{
    faults.countdown = nth;
    faults.errnum = errnum;
    faults.crash = crash;
    faults.shorten = false;
    faults.struck = false;
}

void faults_arm_short(long nth)
{
    faults_arm(nth, 0, false);
    faults.shorten = true;
}

bool faults_disarm(void)
{
    faults.countdown = 0;
    return faults.struck;
}

static bool count_down(void)
{
    if (faults.countdown == 0)
        return false;
    if (faults.countdown > 1) {
        faults.countdown--;
        return false;
    }
    faults.countdown = faults.crash ? 1 : 0;
    faults.struck = true;
    return true;
}

static bool must_fail(void)
{
    if (faults.shorten || !count_down())
        return false;
    errno = faults.errnum;
    return true;
}

static size_t shortened(size_t bytes)
{
    return faults.shorten && bytes > 1 && count_down() ? bytes / 2 : bytes;
}

/* --- trace ------------------------------------------------------------------------------------ */

void faults_trace_begin(void)
{
    faults.tracing = true;
    faults.trace_length = 0;
    faults.trace[0] = '\0';
}

const char *faults_trace_end(void)
{
    faults.tracing = false;
    return faults.trace;
}

/* The last part of a path. */
static const char *plain(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    size_t length = strlen(name);
    if (length == 32 && strspn(name, "0123456789abcdef") == length)
        return "RANDOM";
    if (length >= 36 && strspn(name, "0123456789abcdef-") == 36)
        return length == 36 ? "VERSION" : "TOMBSTONE";
    return name;
}

static void trace(const char *verb, const char *name, const char *to)
{
    if (!faults.tracing)
        return;
    int saved = errno;
    int length = snprintf(faults.trace + faults.trace_length, TRACE_SIZE - faults.trace_length,
                          "%s %s%s%s\n", verb, plain(name), to ? " " : "", to ? plain(to) : "");
    if (length > 0)
        faults.trace_length += (size_t)length;
    if (faults.trace_length >= TRACE_SIZE)
        faults.trace_length = TRACE_SIZE - 1;
    errno = saved;
}

/* --- the calls -------------------------------------------------------------------------------- */

int __wrap_openat(int folder, const char *name, int flags, ...)
{
    mode_t mode = 0;
    if (flags & O_CREAT) {
        va_list arguments;
        va_start(arguments, flags);
        mode = va_arg(arguments, mode_t);
        va_end(arguments);
    }
    if (must_fail())
        return -1;
    int fd = __real_openat(folder, name, flags, mode);
    if (fd >= 0 && flags & O_CREAT)
        trace("create", name, NULL);
    return fd;
}

int __wrap_mkdirat(int folder, const char *name, mode_t mode)
{
    if (must_fail())
        return -1;
    int result = __real_mkdirat(folder, name, mode);
    if (result == 0)
        trace("mkdir", name, NULL);
    return result;
}

int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to)
{
    if (must_fail())
        return -1;
    int result = __real_renameat(from_folder, from, to_folder, to);
    if (result == 0)
        trace("rename", from, to);
    return result;
}

int __wrap_linkat(int from_folder, const char *from, int to_folder, const char *to, int flags)
{
    if (must_fail())
        return -1;
    int result = __real_linkat(from_folder, from, to_folder, to, flags);
    if (result == 0)
        trace("link", to, NULL);
    return result;
}

int __wrap_unlinkat(int folder, const char *name, int flags)
{
    if (must_fail())
        return -1;
    int result = __real_unlinkat(folder, name, flags);
    if (result == 0)
        trace("unlink", name, NULL);
    return result;
}

int __wrap_fsync(int fd)
{
    if (must_fail())
        return -1;
    int result = __real_fsync(fd);
    if (result == 0 && faults.tracing) {
        char link[64];
        char path[4096];
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, path, sizeof(path) - 1);
        path[length > 0 ? length : 0] = '\0';
        trace("fsync", path, NULL);
    }
    return result;
}

int __wrap_fstat(int fd, struct stat *status)
{
    return must_fail() ? -1 : __real_fstat(fd, status);
}

int __wrap_fchmod(int fd, mode_t mode)
{
    return must_fail() ? -1 : __real_fchmod(fd, mode);
}

ssize_t __wrap_read(int fd, void *data, size_t bytes)
{
    return must_fail() ? -1 : __real_read(fd, data, shortened(bytes));
}

ssize_t __wrap_pread(int fd, void *data, size_t bytes, off_t offset)
{
    return must_fail() ? -1 : __real_pread(fd, data, shortened(bytes), offset);
}

ssize_t __wrap_write(int fd, const void *data, size_t bytes)
{
    return must_fail() ? -1 : __real_write(fd, data, shortened(bytes));
}
