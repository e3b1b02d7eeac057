/* run_tree.c - a folder of this machine as a user's files, for `faasm run --files`.
 *
 * A tree that never changes is made from the bottom to the top: fts(3) tells of a folder when it is
 * entered and when it is left, and of its files between the two.  What was met in each of the
 * folders that are entered and not left is kept at its level, and becomes the children of one node:
 *
 *      levels:   0  root     etc
 *                1  data     a.csv  b.csv
 *                2  old      x                <- here is what comes next
 */
#include "cmd/run_tree.h"

#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/encode.h"
#include "base/limits.h"
#include "files/content.h"
#include "files/tree.h"

struct level {
    struct fm_node **nodes;
    size_t count;
    size_t room;
};

struct reading {
    const char *path;
    struct fm_contents *contents;
    struct level levels[FM_FILE_DEPTH_MAX + 1];
    struct fm_node *root; /* at the end */
    uint64_t files_count;
    uint64_t left_out;
    struct fm_error *error;
};

static uint64_t modified_ns(const struct stat *stat)
{
    if (stat->st_mtim.tv_sec < 0)
        return 0;
    return (uint64_t)stat->st_mtim.tv_sec * FM_NS_PER_S + (uint64_t)stat->st_mtim.tv_nsec;
}

static int no_memory(struct reading *reading)
{
    return fm_error_set(reading->error, FM_ERR_NOMEM, "out of memory");
}

/* Takes the node, also when it fails. */
static int add(struct reading *reading, struct level *level, struct fm_node *node)
{
    if (level->count == level->room) {
        size_t room = level->room ? 2 * level->room : 16;
        struct fm_node **nodes = realloc(level->nodes, room * sizeof(struct fm_node *));
        if (!nodes) {
            fm_node_release(node);
            return no_memory(reading);
        }
        level->nodes = nodes;
        level->room = room;
    }
    level->nodes[level->count++] = node;
    return 0;
}

static int add_file(struct reading *reading, const FTSENT *entry)
{
    if (reading->files_count == FM_TREE_FILES_MAX)
        return fm_error_set(reading->error, FM_ERR_TOO_LARGE, "'%s' has more than %d files",
                            reading->path, FM_TREE_FILES_MAX);
    reading->files_count++;
    struct fm_content *content = NULL;
    struct fm_node *file = NULL;
    int failed = fm_content_new(reading->contents, entry->fts_accpath,
                                (uint64_t)entry->fts_statp->st_size, &content);
    if (!failed)
        failed = fm_node_file_new(entry->fts_name, modified_ns(entry->fts_statp), content, &file);
    fm_content_release(content);
    if (failed)
        return no_memory(reading);
    return add(reading, &reading->levels[entry->fts_level - 1], file);
}

static int leave_folder(struct reading *reading, const FTSENT *entry)
{
    struct level *level = &reading->levels[entry->fts_level];
    struct fm_node *folder = NULL;
    bool is_root = entry->fts_level == FTS_ROOTLEVEL;
    int failed = fm_node_folder_of(is_root ? "" : entry->fts_name, modified_ns(entry->fts_statp),
                                   level->nodes, level->count, &folder);
    if (failed)
        return no_memory(reading);
    level->count = 0; /* they went over */
    if (!is_root)
        return add(reading, level - 1, folder);
    reading->root = folder;
    return 0;
}

static int visit(struct reading *reading, FTS *walk, FTSENT *entry)
{
    bool is_root = entry->fts_level == FTS_ROOTLEVEL;
    bool named = is_root || fm_utf8_text_valid(entry->fts_name);
    switch (entry->fts_info) {
    case FTS_D:
        if (!named) {
            reading->left_out++;
            (void)fts_set(walk, entry, FTS_SKIP); /* cannot fail; it is not told when it is left */
        } else if (entry->fts_level > FM_FILE_DEPTH_MAX) {
            return fm_error_set(reading->error, FM_ERR_TOO_LARGE, "'%s' is deeper than %d folders",
                                reading->path, FM_FILE_DEPTH_MAX);
        }
        return 0;
    case FTS_DP:
        return named ? leave_folder(reading, entry) : 0;
    case FTS_F:
        if (is_root)
            return fm_error_set(reading->error, FM_ERR_NOT_FOUND, "'%s' is no folder",
                                reading->path);
        if (named)
            return add_file(reading, entry);
        reading->left_out++;
        return 0;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return fm_error_errno(reading->error, entry->fts_errno, "cannot read '%s'",
                              entry->fts_path);
    default:
        reading->left_out++;
        return is_root ? fm_error_set(reading->error, FM_ERR_NOT_FOUND, "'%s' is no folder",
                                      reading->path)
                       : 0;
    }
}

static int walk(struct reading *reading)
{
    char *path = strdup(reading->path);
    if (!path)
        return no_memory(reading);
    char *const paths[] = {path, NULL};
    FTS *fts = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, NULL);
    int failed = fts ? 0 : fm_error_errno(reading->error, errno, "cannot read '%s'", reading->path);
    while (!failed) {
        errno = 0;
        FTSENT *entry = fts_read(fts);
        if (!entry) {
            if (errno != 0)
                failed = fm_error_errno(reading->error, errno, "cannot read '%s'", reading->path);
            break;
        }
        failed = visit(reading, fts, entry);
    }
    if (fts)
        (void)fts_close(fts); /* only read */
    free(path);
    return failed;
}

int fm_run_tree_read(const char *path, struct fm_contents *contents, struct fm_node **ret_root,
                     uint64_t *ret_left_out, struct fm_error *error)
{
    struct reading reading = {.path = path, .contents = contents, .error = error};
    int failed = walk(&reading);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(reading.levels); i++) {
        for (size_t k = 0; k < reading.levels[i].count; k++)
            fm_node_release(reading.levels[i].nodes[k]);
        free(reading.levels[i].nodes);
    }
    if (failed) {
        fm_node_release(reading.root);
        return failed;
    }
    *ret_root = reading.root;
    *ret_left_out = reading.left_out;
    return 0;
}
