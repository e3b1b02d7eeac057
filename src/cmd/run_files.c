/* run_files.c - a folder of this machine as a guest's file system, for `faasm run --dir`.
 *
 * The kernel keeps the guest inside: every path is resolved by openat2(2) with RESOLVE_BENEATH,
 * relative to a folder that is open already.  An absolute path, a `..` above that folder and a link
 * that leads out of it, also one that somebody puts there meanwhile, end in EXDEV, which is -EPERM
 * here.  Resolving paths ourselves, component by component, would be the same with more calls and
 * more races.
 *
 * Some calls have no form that takes such a restriction: those that make, remove or rename a name.
 * For them the path is cut in two:
 *
 *      "a/b/../c/name//"  =  "a/b/../c/"          + "name//"
 *                            opened by openat2()    for unlinkat(), mkdirat(), ...
 *
 * None of these calls follows the last component, nor goes up if it is `..`: they refuse it.  The
 * slashes after it mean what the kernel makes of them.
 *
 * A link that is made must not be absolute: here it would lead nowhere, but whoever finds it
 * outside would follow it.  What is opened is looked at before it is given out, and without waiting
 * for it, as a pipe would have us do.
 *
 * A listing goes on where the last one ended as long as the guest asks for that: what was read from
 * the kernel is kept, and its position with it.  Only for another place is the folder read anew
 * from there.  So names are neither missed nor met twice even where a file system counts positions
 * by the names that are left. */
#include "cmd/run_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h> /* renameat() */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/limits.h"

#define LIST_BYTES (32 * 1024) /* read of a folder at once; several times the longest name */
#define RESOLVE_TRIES 100      /* while others move folders that a path goes through */

struct host_file {
    struct fm_file file;
    int fd;

    /* Of a folder that is being listed; NULL before. */
    uint8_t *list;
    size_t list_bytes; /* valid in it */
    size_t list_at;    /* of the entry that is given next */
    uint64_t position; /* of that entry */
};

static int fd_of(struct fm_file *file)
{
    return FM_CONTAINER_OF(file, struct host_file, file)->fd;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* opened to find something */
}

/* --- paths ------------------------------------------------------------------------------------ */

/* openat2() beneath `folder`; a descriptor, or a negative errno. */
static int resolve(int folder, const char *path, int flags)
{
    const struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC),
        .mode = flags & O_CREAT ? 0666u : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    int errnum = EAGAIN;
    for (int tries = 0; tries < RESOLVE_TRIES && (errnum == EAGAIN || errnum == EINTR); tries++) {
        long fd = syscall(SYS_openat2, folder, path, &how, sizeof(how));
        if (fd >= 0)
            return (int)fd;
        errnum = errno;
    }
    return errnum == EXDEV ? -EPERM : -errnum;
}

/* A path's last component in an open folder. */
struct place {
    int parent;
    const char *name; /* with the slashes after it */
};

static void place_done(struct place *place)
{
    close_fd(&place->parent);
}

static int place_find(struct fm_file *folder, const char *path, struct place *ret_place)
{
    size_t length = strlen(path);
    if (length > FM_FILE_PATH_BYTES_MAX)
        return -ENAMETOOLONG;
    if (length == 0)
        return -ENOENT;
    size_t end = length;
    while (end > 0 && path[end - 1] == '/')
        end--;
    if (end == 0)
        return -EPERM; /* "/", which is outside */
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;

    if (end - start == 2 && memcmp(path + start, "..", 2) == 0) {
        /* It will be refused, but by a reason of its own if it is outside. */
        int fd = resolve(fd_of(folder), path, O_PATH);
        if (fd < 0)
            return fd;
        close_fd(&fd);
    }
    char parent[FM_FILE_PATH_BYTES_MAX + 1] = ".";
    if (start > 0) {
        memcpy(parent, path, start);
        parent[start] = '\0';
    }
    int fd = resolve(fd_of(folder), parent, O_PATH | O_DIRECTORY);
    if (fd < 0)
        return fd;
    *ret_place = (struct place){fd, path + start};
    return 0;
}

/* For one of the calls that take a place. */
static int answer(int result)
{
    return result < 0 ? -errno : 0;
}

/* --- open, close ------------------------------------------------------------------------------ */

static const struct fm_file_ops host_ops;

static enum fm_file_type type_of(mode_t mode)
{
    return S_ISREG(mode)   ? FM_FILE_PLAIN
           : S_ISDIR(mode) ? FM_FILE_FOLDER
           : S_ISLNK(mode) ? FM_FILE_LINK
                           : FM_FILE_UNKNOWN;
}

/* Takes `fd`, also when it fails. */
static int give(int fd, struct fm_file **ret_file)
{
    struct stat stat;
    int failed = answer(fstat(fd, &stat));
    enum fm_file_type type = failed ? FM_FILE_UNKNOWN : type_of(stat.st_mode);
    if (!failed && type != FM_FILE_PLAIN && type != FM_FILE_FOLDER)
        failed = -EPERM;
    struct host_file *host = failed ? NULL : calloc(1, sizeof(*host));
    if (!host) {
        close_fd(&fd);
        return failed ? failed : -ENOMEM;
    }
    host->file = (struct fm_file){&host_ops, type};
    host->fd = fd;
    *ret_file = &host->file;
    return 0;
}

static bool is_link(int folder, const char *path)
{
    struct stat stat;
    FM_CLEANUP(close_fd) int fd = resolve(folder, path, O_PATH | O_NOFOLLOW);
    return fd >= 0 && fstat(fd, &stat) == 0 && S_ISLNK(stat.st_mode);
}

static int host_open(struct fm_file *folder, const char *path, unsigned how,
                     struct fm_file **ret_file)
{
    static const struct {
        unsigned how;
        int flag;
    } flags_of[] = {
        {FM_OPEN_CREATE, O_CREAT},
        {FM_OPEN_EXCLUSIVE, O_EXCL},
        {FM_OPEN_TRUNCATE, O_TRUNC},
        {FM_OPEN_FOLDER, O_DIRECTORY},
    };
    if (how & FM_OPEN_CREATE && how & FM_OPEN_FOLDER)
        return -EINVAL;
    int flags = how & FM_OPEN_WRITE ? how & FM_OPEN_READ ? O_RDWR : O_WRONLY : O_RDONLY;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(flags_of); i++)
        flags |= how & flags_of[i].how ? flags_of[i].flag : 0;
    flags |= how & FM_OPEN_FOLLOW ? 0 : O_NOFOLLOW;

    int fd = resolve(fd_of(folder), path, flags | O_NONBLOCK | O_NOCTTY);
    if (fd == -ENOTDIR && how & FM_OPEN_FOLDER && !(how & FM_OPEN_FOLLOW) &&
        is_link(fd_of(folder), path))
        return -ELOOP;
    if (fd == -ENXIO || fd == -ENODEV) /* a pipe without a reader, a socket, no such device */
        return -EPERM;
    return fd < 0 ? fd : give(fd, ret_file);
}

static void host_close(struct fm_file *file)
{
    struct host_file *host = FM_CONTAINER_OF(file, struct host_file, file);
    (void)close(host->fd); /* who wants to know syncs before */
    free(host->list);
    free(host);
}

/* --- an open file ----------------------------------------------------------------------------- */

static uint64_t nanoseconds(struct timespec time)
{
    return time.tv_sec < 0 ? 0 : (uint64_t)time.tv_sec * FM_NS_PER_S + (uint64_t)time.tv_nsec;
}

static int stat_fd(int fd, struct fm_file_stat *ret_stat)
{
    struct stat stat;
    if (fstat(fd, &stat) < 0)
        return -errno;
    *ret_stat = (struct fm_file_stat){
        .device = stat.st_dev,
        .inode = stat.st_ino,
        .type = type_of(stat.st_mode),
        .links = stat.st_nlink,
        .bytes = (uint64_t)stat.st_size,
        .accessed_ns = nanoseconds(stat.st_atim),
        .modified_ns = nanoseconds(stat.st_mtim),
        .changed_ns = nanoseconds(stat.st_ctim),
    };
    return 0;
}

static int host_stat(struct fm_file *file, struct fm_file_stat *ret_stat)
{
    return stat_fd(fd_of(file), ret_stat);
}

static struct timespec kernel_time(uint64_t ns)
{
    if (ns == UINT64_MAX)
        return (struct timespec){.tv_nsec = UTIME_OMIT};
    return (struct timespec){(time_t)(ns / FM_NS_PER_S), (long)(ns % FM_NS_PER_S)};
}

static int host_set_times(struct fm_file *file, const struct fm_file_times *times)
{
    const struct timespec both[2] = {kernel_time(times->accessed_ns),
                                     kernel_time(times->modified_ns)};
    return answer(futimens(fd_of(file), both));
}

static int host_sync(struct fm_file *file, bool data_only)
{
    return answer(data_only ? fdatasync(fd_of(file)) : fsync(fd_of(file)));
}

static int64_t host_read(struct fm_file *file, uint64_t offset, uint8_t *data, size_t bytes)
{
    size_t done = 0;
    while (done < bytes) {
        ssize_t got = pread(fd_of(file), data + done, bytes - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

static int64_t host_write(struct fm_file *file, uint64_t offset, const uint8_t *data, size_t bytes)
{
    bool append = offset == FM_FILE_APPEND;
    size_t done = 0;
    while (done < bytes) {
        union { /* an iovec is for reading, too */
            const uint8_t *from;
            void *base;
        } part = {.from = data + done};
        const struct iovec vector = {part.base, bytes - done};
        off_t at = append ? 0 : (off_t)(offset + done); /* RWF_APPEND does not look at it */
        ssize_t put = pwritev2(fd_of(file), &vector, 1, at, append ? RWF_APPEND : 0);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        done += (size_t)put;
    }
    return (int64_t)done;
}

static int host_set_size(struct fm_file *file, uint64_t bytes)
{
    if (bytes > INT64_MAX)
        return -EFBIG;
    return answer(ftruncate(fd_of(file), (off_t)bytes));
}

static int host_allocate(struct fm_file *file, uint64_t offset, uint64_t bytes)
{
    if (bytes > INT64_MAX || offset > INT64_MAX - bytes)
        return -EFBIG;
    return -posix_fallocate(fd_of(file), (off_t)offset, (off_t)bytes);
}

/* --- listing ---------------------------------------------------------------------------------- */

/* What the kernel writes: linux_dirent64, which glibc's struct dirent64 is. */
static const struct dirent64 *entry_at(const struct host_file *host, size_t at)
{
    return (const void *)(host->list + at);
}

/* Points host->list_at to the entry after `from`, if what was read last tells which that is. */
static bool list_knows(struct host_file *host, uint64_t from)
{
    if (from == host->position)
        return true;
    for (size_t at = 0; at < host->list_bytes; at += entry_at(host, at)->d_reclen) {
        const struct dirent64 *entry = entry_at(host, at);
        if ((uint64_t)entry->d_off == from) {
            host->list_at = at + entry->d_reclen;
            host->position = from;
            return true;
        }
    }
    return false;
}

static enum fm_file_type type_of_entry(const struct host_file *host, const struct dirent64 *entry)
{
    struct stat stat;
    switch (entry->d_type) {
    case DT_REG:
        return FM_FILE_PLAIN;
    case DT_DIR:
        return FM_FILE_FOLDER;
    case DT_LNK:
        return FM_FILE_LINK;
    case DT_UNKNOWN: /* some file systems do not tell */
        if (fstatat(host->fd, entry->d_name, &stat, AT_SYMLINK_NOFOLLOW) == 0)
            return type_of(stat.st_mode);
        return FM_FILE_UNKNOWN;
    default:
        return FM_FILE_UNKNOWN;
    }
}

static int host_list(struct fm_file *folder, uint64_t from, struct fm_file_entry *ret_entry)
{
    struct host_file *host = FM_CONTAINER_OF(folder, struct host_file, file);
    if (!host->list && !(host->list = malloc(LIST_BYTES)))
        return -ENOMEM;
    if (from == 0 || !list_knows(host, from)) {
        host->list_bytes = 0;
        host->list_at = 0;
        if (from > INT64_MAX || lseek(host->fd, (off_t)from, SEEK_SET) < 0)
            return -EINVAL;
        host->position = from;
    }
    if (host->list_at == host->list_bytes) {
        ssize_t got = getdents64(host->fd, host->list, LIST_BYTES);
        if (got <= 0)
            return got < 0 ? -errno : 0; /* at the end what was read last is still known */
        host->list_bytes = (size_t)got;
        host->list_at = 0;
    }
    const struct dirent64 *entry = entry_at(host, host->list_at);
    host->list_at += entry->d_reclen;
    host->position = (uint64_t)entry->d_off;
    *ret_entry = (struct fm_file_entry){
        .next = host->position,
        .inode = entry->d_ino,
        .type = type_of_entry(host, entry),
        .name = entry->d_name,
        .name_length = strlen(entry->d_name),
    };
    return 1;
}

/* --- by path ---------------------------------------------------------------------------------- */

static int host_stat_at(struct fm_file *folder, const char *path, bool follow,
                        struct fm_file_stat *ret_stat)
{
    FM_CLEANUP(close_fd)
    int fd = resolve(fd_of(folder), path, O_PATH | (follow ? 0 : O_NOFOLLOW));
    return fd < 0 ? fd : stat_fd(fd, ret_stat);
}

static int host_set_times_at(struct fm_file *folder, const char *path, bool follow,
                             const struct fm_file_times *times)
{
    FM_CLEANUP(close_fd)
    int fd = resolve(fd_of(folder), path, O_PATH | (follow ? 0 : O_NOFOLLOW));
    if (fd < 0)
        return fd;
    const struct timespec both[2] = {kernel_time(times->accessed_ns),
                                     kernel_time(times->modified_ns)};
    return answer(utimensat(fd, "", both, AT_EMPTY_PATH));
}

static int host_make_folder(struct fm_file *folder, const char *path)
{
    FM_CLEANUP(place_done) struct place place = {-1, NULL};
    int failed = place_find(folder, path, &place);
    return failed ? failed : answer(mkdirat(place.parent, place.name, 0777));
}

static int host_remove_folder(struct fm_file *folder, const char *path)
{
    FM_CLEANUP(place_done) struct place place = {-1, NULL};
    int failed = place_find(folder, path, &place);
    return failed ? failed : answer(unlinkat(place.parent, place.name, AT_REMOVEDIR));
}

static int host_unlink(struct fm_file *folder, const char *path)
{
    FM_CLEANUP(place_done) struct place place = {-1, NULL};
    int failed = place_find(folder, path, &place);
    return failed ? failed : answer(unlinkat(place.parent, place.name, 0));
}

static int host_link(struct fm_file *from_folder, const char *from, struct fm_file *to_folder,
                     const char *to)
{
    FM_CLEANUP(place_done) struct place old = {-1, NULL};
    FM_CLEANUP(place_done) struct place new = {-1, NULL};
    int failed = place_find(from_folder, from, &old);
    if (failed)
        return failed;
    if (strchr(old.name, '/')) { /* here linkat() would follow it to wherever */
        FM_CLEANUP(close_fd) int fd = resolve(fd_of(from_folder), from, O_PATH | O_DIRECTORY);
        return fd < 0 ? fd : -EPERM; /* a folder has one name */
    }
    failed = place_find(to_folder, to, &new);
    return failed ? failed : answer(linkat(old.parent, old.name, new.parent, new.name, 0));
}

static int host_rename(struct fm_file *from_folder, const char *from, struct fm_file *to_folder,
                       const char *to)
{
    FM_CLEANUP(place_done) struct place old = {-1, NULL};
    FM_CLEANUP(place_done) struct place new = {-1, NULL};
    int failed = place_find(from_folder, from, &old);
    if (!failed)
        failed = place_find(to_folder, to, &new);
    return failed ? failed : answer(renameat(old.parent, old.name, new.parent, new.name));
}

static int host_make_link(struct fm_file *folder, const char *target, const char *path)
{
    if (target[0] == '/')
        return -EPERM;
    FM_CLEANUP(place_done) struct place place = {-1, NULL};
    int failed = place_find(folder, path, &place);
    return failed ? failed : answer(symlinkat(target, place.parent, place.name));
}

static int64_t host_read_link(struct fm_file *folder, const char *path, char *data, size_t bytes)
{
    FM_CLEANUP(close_fd) int fd = resolve(fd_of(folder), path, O_PATH | O_NOFOLLOW);
    if (fd < 0)
        return fd;
    char target[FM_FILE_PATH_BYTES_MAX + 1]; /* the kernel has none longer */
    ssize_t got = readlinkat(fd, "", target, sizeof(target));
    if (got < 0)
        return errno == ENOENT ? -EINVAL : -errno; /* what it says of anything but a link */
    size_t copied = fm_min_u64((uint64_t)got, bytes);
    memcpy(data, target, copied);
    return (int64_t)copied;
}

static const struct fm_file_ops host_ops = {
    .open = host_open,
    .close = host_close,
    .stat = host_stat,
    .set_times = host_set_times,
    .sync = host_sync,
    .read = host_read,
    .write = host_write,
    .set_size = host_set_size,
    .allocate = host_allocate,
    .list = host_list,
    .stat_at = host_stat_at,
    .set_times_at = host_set_times_at,
    .make_folder = host_make_folder,
    .remove_folder = host_remove_folder,
    .unlink = host_unlink,
    .link = host_link,
    .rename = host_rename,
    .make_link = host_make_link,
    .read_link = host_read_link,
};

int fm_run_files_open(const char *path, struct fm_file **ret_folder, struct fm_error *error)
{
    int outside = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (outside < 0)
        return fm_error_errno(error, errno, "cannot open the folder '%s'", path);
    int fd = resolve(outside, ".", O_RDONLY | O_DIRECTORY);
    close_fd(&outside);
    if (fd == -ENOSYS)
        return fm_error_set(error, FM_ERR_IO, "folders need Linux 5.6 or later (openat2)");
    int failed = fd < 0 ? fd : give(fd, ret_folder);
    return failed ? fm_error_errno(error, -failed, "cannot open the folder '%s'", path) : 0;
}
