/* paths.c - from a path to an open folder, one component after the other.
 *
 * Each folder is opened relative to the one above it, with O_NOFOLLOW: neither `..` nor a symbolic
 * link that somebody has put there leads out of a user's folder.  Discarded: openat2(2), which does
 * that in one call, but which old kernels lack and some containers forbid, and which takes no path
 * over 4095 bytes.
 *
 * No state; any thread. */
#include "store/paths.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/encode.h"
#include "base/limits.h"
#include "store/files.h"

static bool is_dots(const char *name, size_t length)
{
    return (length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.');
}

int fm_path_check(const char *path, struct fm_error *error)
{
    size_t bytes = strlen(path);
    size_t folders = 0;
    if (bytes > FM_FILE_PATH_BYTES_MAX)
        return fm_error_set(error, FM_ERR_BAD_NAME, "the path has %zu bytes, at most %d can be",
                            bytes, FM_FILE_PATH_BYTES_MAX);
    if (!fm_utf8_text_valid(path))
        return fm_error_set(error, FM_ERR_BAD_NAME, "the path is not UTF-8");
    for (const char *name = path;; folders++) {
        size_t length = strcspn(name, "/");
        if (length == 0)
            return fm_error_set(error, FM_ERR_BAD_NAME, "the path has an empty name in it");
        if (is_dots(name, length))
            return fm_error_set(error, FM_ERR_BAD_NAME, "'.' and '..' are no names of files");
        if (length > FM_FILE_NAME_BYTES_MAX)
            return fm_error_set(error, FM_ERR_BAD_NAME,
                                "a name in the path has %zu bytes, at most %d can be", length,
                                FM_FILE_NAME_BYTES_MAX);
        name += length;
        if (*name == '\0')
            break;
        name++;
    }
    if (folders > FM_FILE_DEPTH_MAX)
        return fm_error_set(error, FM_ERR_BAD_NAME,
                            "the path has %zu folders inside one another, at most %d can be",
                            folders, FM_FILE_DEPTH_MAX);
    return 0;
}

bool fm_path_name_valid(const char *name)
{
    size_t length = strlen(name);
    return length > 0 && length <= FM_FILE_NAME_BYTES_MAX && !is_dots(name, length) &&
           fm_utf8_text_valid(name);
}

int fm_path_error(struct fm_error *error, int errnum, const char *what, const char *name)
{
    switch (errnum) {
    case ENAMETOOLONG: /* some file systems take less than 255 bytes, or not all characters */
    case EINVAL:
    case EILSEQ:
        return fm_error_set(error, FM_ERR_BAD_NAME,
                            "the server's file system cannot have the name '%s'", name);
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
        return fm_error_set(error, FM_ERR_CONFLICT, "'%s' is something else", name);
    default:
        return fm_files_error(error, errnum, what, name);
    }
}

/* It is there, and on disk. */
static int make_folder(int folder, const char *name, struct fm_error *error)
{
    if (mkdirat(folder, name, 0700) == 0)
        return fm_files_sync(folder, name, error);
    return errno == EEXIST ? 0 : fm_path_error(error, errno, "make the folder", name);
}

static int step(int folder, const char *name, bool make, int *ret_fd, struct fm_error *error)
{
    struct fm_error cause = {0};
    int failed = fm_files_folder_open(folder, name, ret_fd, &cause);
    if (!failed)
        return 0;
    if (failed != FM_ERR_NOT_FOUND || !make)
        return fm_error_set(error, failed, "%s", cause.text);
    failed = make_folder(folder, name, error);
    if (!failed)
        failed = fm_files_folder_open(folder, name, ret_fd, error);
    if (failed == FM_ERR_NOT_FOUND)
        return fm_error_set(error, FM_ERR_CONFLICT, "'%s' is no folder", name);
    return failed;
}

int fm_path_open(int base, const char *path, bool make, const char **ret_name, int *ret_folder,
                 struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int folder = -1;
    int failed = fm_files_folder_open(base, ".", &folder, error);
    for (const char *slash = NULL; !failed && (slash = strchr(path, '/')) != NULL;) {
        char name[FM_FILE_NAME_BYTES_MAX + 1];
        size_t length = (size_t)(slash - path);
        FM_ASSERT(length > 0 && length < sizeof(name)); /* it was checked */
        memcpy(name, path, length);
        name[length] = '\0';
        int next = -1;
        failed = step(folder, name, make, &next, error);
        if (failed)
            break;
        fm_files_close(&folder);
        folder = next;
        path = slash + 1;
    }
    if (failed)
        return failed;
    *ret_name = path;
    *ret_folder = folder;
    folder = -1;
    return 0;
}
