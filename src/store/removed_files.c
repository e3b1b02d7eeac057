/* removed_files.c - a user's file, or a folder with all that is in it, is deleted.
 *
 *      a file      renamed to trash/<random>, where its content finds it; deleted with the content
 *      a folder    each of its files like that, then what is left of it to trash/, and emptied
 * there
 *
 * The files of a folder go one after the other, each in the folder that its parent's descriptor
 * leads to; what lies there and is in no tree (links, devices) goes with the folder, unfollowed.  A
 * crash in the middle leaves some of it, and the tree is read anew at the next start: nobody was
 * told that it is gone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "files/content.h"
#include "files/tree.h"
#include "store/files.h"
#include "store/paths.h"
#include "store/private.h"
#include "store/tree.h"
#include "store/user_trees_private.h"

struct moving {
    const struct fm_functions *functions;
    int folder;
    const char *name;
    const char *trash_name;
    struct fm_error *error;
};

/* Nobody opens it meanwhile. */
static int move(void *data, bool keep)
{
    const struct moving *moving = data;
    int trash_fd = moving->functions->trash_fd;
    int failed = keep ? renameat(moving->folder, moving->name, trash_fd, moving->trash_name)
                      : unlinkat(moving->folder, moving->name, 0);
    if (failed == 0 || errno == ENOENT) /* an operator was faster */
        return 0;
    return fm_files_error(moving->error, errno, "delete", moving->name);
}

static int move_file(const struct fm_functions *functions, int folder, struct fm_node *file,
                     struct fm_error *error)
{
    char trash_name[FM_FILES_RANDOM_SIZE];
    char trash_path[FM_FUNCTIONS_PATH_SIZE];
    fm_files_random_name(trash_name);
    fm_functions_path(functions, trash_path, "trash/%s", trash_name);
    struct moving moving = {.functions = functions,
                            .folder = folder,
                            .name = fm_node_name(file),
                            .trash_name = trash_name,
                            .error = error};
    int failed = fm_content_move(fm_node_content(file), trash_path, move, &moving);
    return failed == FM_ERR_NOMEM ? fm_error_set(error, failed, "out of memory") : failed;
}

/* --- folders ---------------------------------------------------------------------------------- */

struct level {
    struct fm_node *node;
    size_t next; /* of its children */
    int fd;      /* -1: it is not on disk any more */
};

static int enter(struct level *level, int parent_fd, const char *name, struct fm_node *node,
                 struct fm_error *error)
{
    *level = (struct level){.node = node, .fd = -1};
    struct fm_error cause = {0};
    int failed = fm_files_folder_open(parent_fd, name, &level->fd, &cause);
    if (failed && failed != FM_ERR_NOT_FOUND)
        return fm_error_set(error, failed, "%s", cause.text);
    if (failed)
        level->next = fm_node_children_count(node); /* nothing to do in it */
    return 0;
}

/* All files below `node`, which is `name` in the open folder. */
static int move_files(const struct fm_functions *functions, int parent_fd, const char *name,
                      struct fm_node *node, struct fm_error *error)
{
    struct level levels[FM_FILE_DEPTH_MAX + 1];
    size_t count = 1;
    int failed = enter(&levels[0], parent_fd, name, node, error);
    while (!failed && count > 0) {
        struct level *level = &levels[count - 1];
        if (level->next == fm_node_children_count(level->node)) {
            fm_files_close(&level->fd);
            count--;
            continue;
        }
        struct fm_node *child = fm_node_child(level->node, level->next++);
        if (fm_node_is_folder(child)) {
            FM_ASSERT(count < FM_ARRAY_LENGTH(levels));
            failed = enter(&levels[count++], level->fd, fm_node_name(child), child, error);
        } else {
            failed = move_file(functions, level->fd, child, error);
        }
    }
    while (count > 0)
        fm_files_close(&levels[--count].fd);
    return failed;
}

static int remove_folder(const struct fm_functions *functions, int parent_fd, const char *name,
                         struct fm_node *node, bool recursive, struct fm_error *error)
{
    char trash_name[FM_FILES_RANDOM_SIZE];
    if (!recursive) {
        if (unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        if (errno == ENOTEMPTY || errno == EEXIST)
            return fm_error_set(error, FM_ERR_CONFLICT, "the folder is not empty");
        return fm_files_error(error, errno, "delete", name);
    }
    int failed = move_files(functions, parent_fd, name, node, error);
    if (failed)
        return failed;
    fm_files_random_name(trash_name);
    if (renameat(parent_fd, name, functions->trash_fd, trash_name) != 0 && errno != ENOENT)
        return fm_files_error(error, errno, "delete", name);
    (void)fm_tree_remove(functions->trash_fd, trash_name, NULL); /* else at the next start */
    return 0;
}

/* --- one removal ------------------------------------------------------------------------------ */

struct removal {
    struct fm_user_trees *trees;
    struct fm_tree_entry *entry;
    const char *path;
    bool recursive;
    struct fm_error *error;
};

static int remove_on_disk(const struct removal *removal, struct fm_node *node)
{
    FM_CLEANUP(fm_files_close) int user_fd = -1;
    FM_CLEANUP(fm_files_close) int folder = -1;
    const struct fm_user_trees *trees = removal->trees;
    const struct fm_functions *functions = trees->config.functions;
    const char *name = removal->entry->name;
    int failed = 0;
    if (removal->path[0]) {
        failed = fm_files_folder_open(trees->files_fd, name, &user_fd, removal->error);
        if (!failed)
            failed = fm_path_open(user_fd, removal->path, false, &name, &folder, removal->error);
    } else {
        failed = fm_files_folder_open(trees->files_fd, ".", &folder, removal->error);
    }
    if (failed)
        return failed;
    if (fm_node_is_folder(node))
        failed = remove_folder(functions, folder, name, node, removal->recursive, removal->error);
    else
        failed = move_file(functions, folder, node, removal->error);
    return failed ? failed : fm_files_sync(folder, name, removal->error);
}

/* The tree as it will be. */
static int plan(const struct removal *removal, struct fm_node *root, struct fm_node **ret_root)
{
    uint64_t modified_ns = fm_user_trees_stamp(removal->trees);
    int failed = removal->path[0] ? fm_tree_remove_at(root, removal->path, modified_ns, ret_root)
                                  : fm_node_folder_new(0, ret_root);
    return failed ? fm_error_set(removal->error, failed, "%s", fm_err_meaning(failed)) : 0;
}

/* Under `changes`. */
static int run(const struct removal *removal, const struct fm_user_tree *tree)
{
    struct fm_node *node = fm_tree_find(tree->root, removal->path);
    if (!node || !tree->exists)
        return fm_error_set(removal->error, FM_ERR_NOT_FOUND, "there is no such file or folder");
    if (!removal->recursive && fm_node_children_count(node) > 0)
        return fm_error_set(removal->error, FM_ERR_CONFLICT, "the folder is not empty");
    struct fm_node *root = NULL;
    int failed = plan(removal, tree->root, &root);
    if (failed)
        return failed;
    failed = remove_on_disk(removal, node);
    if (failed) /* perhaps in the middle */
        root = fm_node_release(root);
    fm_tree_entry_change(removal->trees, removal->entry, root, removal->path[0] != '\0');
    return failed;
}

int fm_user_trees_remove(struct fm_user_trees *trees, const char *user, const char *path,
                         bool recursive, struct fm_error *error)
{
    struct removal removal = {.trees = trees, .path = path, .recursive = recursive, .error = error};
    struct fm_user_tree tree = {0};
    if (fm_tree_entry_enter(trees, user, &removal.entry) != 0)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    fm_tree_entry_lock(removal.entry);
    int failed = fm_tree_entry_read(trees, removal.entry, &tree, error);
    if (!failed)
        failed = run(&removal, &tree);
    fm_tree_entry_unlock(removal.entry);
    fm_tree_entry_leave(trees, removal.entry);
    fm_node_release(tree.root);
    return failed;
}
