/* scan.c - a folder with all that is in it becomes a tree, from the bottom to the top.
 *
 *      levels   [0] ada/          names: data  notes.txt       children so far: -
 *               [1] ada/data/     names: a.csv b.csv 2024      children so far: a.csv b.csv
 *               [2] ada/data/2024/   ...
 *
 * A level whose names are all looked at becomes a node among the children of the one above.  Each
 * has an open folder, so a name is only looked up where it was read; links are not followed.
 *
 * No state; any thread. */
#include "store/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buffer.h"
#include "base/limits.h"
#include "files/content.h"
#include "files/tree.h"
#include "store/files.h"
#include "store/paths.h"
#include "store/tree.h"

struct level {
    int fd;
    uint64_t modified_ns;
    size_t path_length; /* of the folder's path in scan.path */
    struct fm_names names;
    size_t next;               /* of the names */
    struct fm_node **children; /* room for all names */
    size_t children_count;
};

struct scan {
    struct fm_contents *contents;
    struct level levels[FM_FILE_DEPTH_MAX + 1];
    size_t count;
    size_t base_length; /* of the path of the folder that was given */
    struct fm_buffer path;
    uint64_t seen; /* files and folders */
    struct fm_error *error;
};

static int no_memory(struct scan *scan)
{
    return fm_error_set(scan->error, FM_ERR_NOMEM, "out of memory");
}

static void pop(struct scan *scan)
{
    struct level *level = &scan->levels[--scan->count];
    for (size_t i = 0; i < level->children_count; i++)
        fm_node_release(level->children[i]);
    free(level->children);
    fm_names_done(&level->names);
    fm_files_close(&level->fd);
}

static uint64_t modified_ns_of(const struct stat *status)
{
    return (uint64_t)status->st_mtim.tv_sec * FM_NS_PER_S + (uint64_t)status->st_mtim.tv_nsec;
}

/* Takes the folder in any case.  Its path is in scan->path. */
static int push(struct scan *scan, int fd)
{
    struct level *level = &scan->levels[scan->count++];
    struct stat status;
    *level = (struct level){.fd = fd, .path_length = scan->path.length};
    if (fstat(fd, &status) != 0)
        return fm_files_error(scan->error, errno, "look at", "a folder of files");
    level->modified_ns = modified_ns_of(&status);
    int failed = fm_tree_list(fd, fm_path_name_valid, &level->names, scan->error);
    if (failed)
        return failed;
    scan->seen += level->names.count;
    if (scan->seen > FM_TREE_FILES_MAX)
        return fm_error_set(scan->error, FM_ERR_TOO_LARGE,
                            "the user has more than %d files and folders", FM_TREE_FILES_MAX);
    level->children = calloc(level->names.count + 1, sizeof(struct fm_node *));
    return level->children ? 0 : no_memory(scan);
}

/* A child's path, for as long as the level is worked on. */
static int set_path(struct scan *scan, const struct level *level, const char *name)
{
    scan->path.length = level->path_length;
    int failed = fm_buffer_append_text(&scan->path, "/");
    if (!failed)
        failed = fm_buffer_append(&scan->path, name, strlen(name) + 1);
    if (!failed)
        scan->path.length--; /* the NUL lies behind it */
    return failed;
}

static int add_file(struct scan *scan, struct level *level, const char *name,
                    const struct stat *status)
{
    struct fm_content *content = NULL;
    int failed = fm_content_new(scan->contents, (const char *)scan->path.data,
                                (uint64_t)status->st_size, &content);
    if (!failed)
        failed = fm_node_file_new(name, modified_ns_of(status), content,
                                  &level->children[level->children_count]);
    fm_content_release(content);
    if (failed)
        return no_memory(scan);
    level->children_count++;
    return 0;
}

static int enter(struct scan *scan, const struct level *level, const char *name)
{
    int fd = -1;
    if (scan->count == FM_ARRAY_LENGTH(scan->levels))
        return 0; /* deeper than a path can be */
    struct fm_error cause = {0};
    int failed = fm_files_folder_open(level->fd, name, &fd, &cause);
    if (failed == FM_ERR_NOT_FOUND)
        return 0; /* it is gone, or something else now */
    return failed ? fm_error_set(scan->error, failed, "%s", cause.text) : push(scan, fd);
}

static int look_at(struct scan *scan, struct level *level, const char *name)
{
    struct stat status;
    int failed = set_path(scan, level, name);
    if (failed == FM_ERR_NOMEM)
        return no_memory(scan);
    if (failed) /* longer than a path can be */
        return 0;
    if (fstatat(level->fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : fm_files_error(scan->error, errno, "look at", name);
    if (S_ISREG(status.st_mode))
        return add_file(scan, level, name, &status);
    return S_ISDIR(status.st_mode) ? enter(scan, level, name) : 0;
}

/* The top level is complete: it becomes a node of the one below it, or the root. */
static int fold(struct scan *scan, struct fm_node **ret_root)
{
    struct level *level = &scan->levels[scan->count - 1];
    struct level *above = scan->count > 1 ? level - 1 : NULL;
    struct fm_node *node = NULL;
    const char *name = above ? above->names.names[above->next - 1] : "";
    if (fm_node_folder_of(name, level->modified_ns, level->children, level->children_count,
                          &node) != 0)
        return no_memory(scan);
    level->children_count = 0; /* they went over */
    pop(scan);
    if (above)
        above->children[above->children_count++] = node;
    else
        *ret_root = node;
    return 0;
}

static int walk(struct scan *scan, struct fm_node **ret_root)
{
    int failed = 0;
    while (!failed && scan->count > 0) {
        struct level *level = &scan->levels[scan->count - 1];
        if (level->next < level->names.count)
            failed = look_at(scan, level, level->names.names[level->next++]);
        else
            failed = fold(scan, ret_root);
    }
    return failed;
}

int fm_scan(struct fm_contents *contents, int folder, const char *path, struct fm_node **ret_root,
            struct fm_error *error)
{
    struct scan *scan = calloc(1, sizeof(*scan));
    if (!scan)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    scan->contents = contents;
    scan->error = error;
    /* A path of the most bytes, a slash before it, and the NUL. */
    fm_buffer_init(&scan->path, strlen(path) + FM_FILE_PATH_BYTES_MAX + 2);
    int fd = -1;
    int failed = fm_buffer_append_text(&scan->path, path);
    if (failed)
        failed = no_memory(scan);
    else
        failed = fm_files_folder_open(folder, ".", &fd, error);
    if (!failed)
        failed = push(scan, fd);
    if (!failed)
        failed = walk(scan, ret_root);
    while (scan->count > 0)
        pop(scan);
    fm_buffer_done(&scan->path);
    free(scan);
    return failed == FM_ERR_NOT_FOUND ? FM_ERR_IO : failed;
}
