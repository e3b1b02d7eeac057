/* tree.c - folders as lists of names, and their deletion.
 *
 * Deletion walks with a stack of open folders, so that a name is only ever looked up in the folder
 * that it was read from:
 *
 *      stack   [0] trash/3f..   [1] <version>   [2] ...          each an open DIR
 *                    |                |
 *               unlinkat(name)   unlinkat(name)                  a folder? push it
 *                                     end of list: pop, and rmdir in the one below
 *
 * The stack has a fixed height: store/ makes no deeper trees, and a deeper one is left for a human
 * to look at.  nftw(3) was discarded: it works on paths, and its state is global.
 *
 * No state; any thread. */
#include "store/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "store/files.h"

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* A DIR with a descriptor and a position of its own. */
static int open_list(int folder, const char *name, DIR **ret_list, struct fm_error *error)
{
    int fd = -1;
    int failed = fm_files_folder_open(folder, name, &fd, error);
    if (failed)
        return failed;
    DIR *list = fdopendir(fd);
    if (!list) {
        failed = fm_files_error(error, errno, "list the folder", name);
        fm_files_close(&fd);
        return failed;
    }
    *ret_list = list;
    return 0;
}

static void close_list(DIR **list)
{
    if (*list)
        (void)closedir(*list); /* only read */
    *list = NULL;
}

/* --- lists ------------------------------------------------------------------------------------ */

static int names_add(struct fm_names *names, const char *name)
{
    if (names->count == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 16;
        char **grown = realloc(names->names, capacity * sizeof(*grown));
        if (!grown)
            return FM_ERR_NOMEM;
        names->names = grown;
        names->capacity = capacity;
    }
    char *copy = strdup(name);
    if (!copy)
        return FM_ERR_NOMEM;
    names->names[names->count++] = copy;
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int fm_tree_list(int folder, bool (*wanted)(const char *name), struct fm_names *names,
                 struct fm_error *error)
{
    FM_CLEANUP(close_list) DIR *list = NULL;
    int failed = open_list(folder, ".", &list, error);
    if (failed)
        return failed;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(list);
        if (!entry && errno)
            return fm_files_error(error, errno, "list", "a folder");
        if (!entry)
            break;
        if (is_dots(entry->d_name) || !wanted(entry->d_name))
            continue;
        failed = names_add(names, entry->d_name);
        if (failed)
            return fm_error_set(error, failed, "cannot list a folder: %s", fm_err_meaning(failed));
    }
    if (names->count > 1) /* qsort may not be given NULL */
        qsort(names->names, names->count, sizeof(*names->names), compare_names);
    return 0;
}

void fm_names_done(struct fm_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    *names = (struct fm_names){0};
}

/* --- deletion --------------------------------------------------------------------------------- */

struct walk {
    DIR *lists[FM_TREE_DEPTH_MAX + 1];
    char names[FM_TREE_DEPTH_MAX + 1][NAME_MAX + 1]; /* of each in the one below it */
    size_t height;                                   /* of the stack; 0: done */
};

static void walk_done(struct walk *walk)
{
    while (walk->height > 0)
        close_list(&walk->lists[--walk->height]);
}

static int walk_push(struct walk *walk, int folder, const char *name, struct fm_error *error)
{
    if (walk->height == FM_ARRAY_LENGTH(walk->lists))
        return fm_error_set(error, FM_ERR_IO, "the folder '%s' lies too deep to be deleted", name);
    int failed = open_list(folder, name, &walk->lists[walk->height], error);
    if (failed)
        return failed;
    size_t length = strlen(name);
    FM_ASSERT(length <= NAME_MAX);
    memcpy(walk->names[walk->height], name, length + 1);
    walk->height++;
    return 0;
}

/* The folder on top is empty: it goes, unless it is the one where the walk began. */
static int walk_pop(struct walk *walk, struct fm_error *error)
{
    size_t top = --walk->height;
    close_list(&walk->lists[top]);
    if (top == 0)
        return 0;
    const char *name = walk->names[top];
    if (unlinkat(dirfd(walk->lists[top - 1]), name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        return fm_files_error(error, errno, "delete the folder", name);
    return 0;
}

static int walk_step(struct walk *walk, struct fm_error *error)
{
    DIR *list = walk->lists[walk->height - 1];
    errno = 0;
    const struct dirent *entry = readdir(list);
    if (!entry && errno)
        return fm_files_error(error, errno, "list", walk->names[walk->height - 1]);
    if (!entry)
        return walk_pop(walk, error);
    if (is_dots(entry->d_name) || unlinkat(dirfd(list), entry->d_name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return fm_files_error(error, errno, "delete", entry->d_name);
    return walk_push(walk, dirfd(list), entry->d_name, error);
}

int fm_tree_empty(int folder, struct fm_error *error)
{
    struct walk walk = {.height = 0};
    int failed = walk_push(&walk, folder, ".", error);
    while (!failed && walk.height > 0)
        failed = walk_step(&walk, error);
    walk_done(&walk);
    return failed;
}

int fm_tree_remove(int folder, const char *name, struct fm_error *error)
{
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR)
        return fm_files_error(error, errno, "delete", name);
    FM_CLEANUP(fm_files_close) int fd = -1;
    int failed = fm_files_folder_open(folder, name, &fd, error);
    if (!failed)
        failed = fm_tree_empty(fd, error);
    if (!failed && unlinkat(folder, name, AT_REMOVEDIR) != 0)
        failed = fm_files_error(error, errno, "delete the folder", name);
    return failed;
}
