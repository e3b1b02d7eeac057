/* new_file.c - a user's new file: pieces beside, then in its place by one rename.
 *
 *      begin    room for it?  <data>/incoming/<random>
 *      write    piece after piece; hashed on the way
 *      commit   fsync  { room for it?  folders;  old file also trash/<random>;  rename;  fsync }
 *
 * What is in braces is under the user's `changes`, so quotas are exact: of two that come at once
 * and do not both fit, one is refused.  Files that are still coming are counted as well, so that
 * they cannot fill the disk; a file that is to be replaced does not count against its successor, or
 * against the first if several come at once.
 *
 * The old file gets a second name (a hard link) before the rename takes its first away, and its
 * content that name: there is no moment at which the path is free, or a call's content without a
 * file.  When all is done on disk nothing that could fail is left to do in memory. */
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "files/content.h"
#include "files/tree.h"
#include "store/files.h"
#include "store/paths.h"
#include "store/private.h"
#include "store/user_trees_private.h"

struct fm_new_file {
    struct fm_user_trees *trees;
    struct fm_tree_entry *entry;
    char *full_path;  /* <user>/<path> */
    const char *path; /* in that */
    int fd;
    char name[FM_FILES_RANDOM_SIZE]; /* in incoming/; "": not there, or not any more */
    struct sha256_ctx sha256;
    uint64_t bytes; /* so far */

    /* Under the table's mutex. */
    struct fm_list link;     /* in entry->incoming */
    uint64_t replaced_bytes; /* of what was there at the beginning, and is only counted once */
    uint64_t counted_bytes;  /* in entry->incoming_bytes */
};

static int incoming_fd(const struct fm_new_file *file)
{
    return file->trees->config.functions->incoming_fd;
}

static int no_memory(struct fm_error *error)
{
    return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
}

/* --- room ------------------------------------------------------------------------------------- */

static int over(const char *quota, uint64_t value, const char **ret_quota, struct fm_error *error)
{
    *ret_quota = quota;
    return fm_error_set(error, FM_ERR_QUOTA, "the limit %s = %llu of the user is reached", quota,
                        (unsigned long long)value);
}

/* How many folders a path needs that are not there.  FM_ERR_CONFLICT. */
static int missing_folders(struct fm_node *root, const char *path, uint64_t *ret_missing,
                           struct fm_error *error)
{
    struct fm_node *node = root;
    uint64_t missing = 0;
    for (const char *slash = NULL; (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        if (node)
            node = fm_node_child_find(node, path, (size_t)(slash - path));
        missing += !node;
        if (node && !fm_node_is_folder(node))
            return fm_error_set(error, FM_ERR_CONFLICT, "'%s' is a file, and no folder",
                                fm_node_name(node));
    }
    *ret_missing = missing;
    return 0;
}

/* Whether a file of `bytes` may come to the path.  `*ret_old` is what is there, or NULL. */
static int check_room(const struct fm_new_file *file, struct fm_node *root, uint64_t bytes,
                      struct fm_node **ret_old, const char **ret_quota, struct fm_error *error)
{
    const struct fm_user_trees_config *config = &file->trees->config;
    uint64_t missing = 0;
    int failed = missing_folders(root, file->path, &missing, error);
    if (failed)
        return failed;
    struct fm_node *old = fm_tree_find(root, file->path);
    if (old && fm_node_is_folder(old))
        return fm_error_set(error, FM_ERR_CONFLICT, "there is a folder at this path");

    struct fm_quotas quotas;
    config->quotas(config->data, file->entry->name, &quotas);
    uint64_t old_bytes = old ? fm_node_bytes(old) : 0;
    uint64_t other_bytes = fm_node_files_bytes(root) - old_bytes;
    uint64_t count = fm_node_files_count(root) + fm_node_folders_count(root);
    uint64_t more = missing + !old;
    if (more > 0 && count + more > quotas.files_count)
        return over("files_count", quotas.files_count, ret_quota, error);
    if (bytes > old_bytes &&
        (other_bytes > quotas.files_bytes || bytes > quotas.files_bytes - other_bytes))
        return over("files_bytes", quotas.files_bytes, ret_quota, error);
    *ret_old = old;
    return 0;
}

/* Counts what has come, or is to come, beside all else of the user. */
static int count_bytes(struct fm_new_file *file, uint64_t bytes, const char **ret_quota,
                       struct fm_error *error)
{
    struct fm_user_trees *trees = file->trees;
    struct fm_tree_entry *entry = file->entry;
    struct fm_quotas quotas;
    if (bytes <= file->counted_bytes)
        return 0;
    trees->config.quotas(trees->config.data, entry->name, &quotas);
    fm_user_trees_lock(trees);
    uint64_t all = entry->tree.root ? fm_node_files_bytes(entry->tree.root) : 0;
    all -= fm_min_u64(all, file->replaced_bytes);
    all += entry->incoming_bytes - file->counted_bytes;
    bool fits = bytes <= file->replaced_bytes ||
                (all <= quotas.files_bytes && bytes <= quotas.files_bytes - all);
    if (fits) {
        entry->incoming_bytes += bytes - file->counted_bytes;
        file->counted_bytes = bytes;
    }
    fm_user_trees_unlock(trees);
    return fits ? 0 : over("files_bytes", quotas.files_bytes, ret_quota, error);
}

static void uncount_bytes(struct fm_new_file *file)
{
    fm_user_trees_lock(file->trees);
    file->entry->incoming_bytes -= file->counted_bytes;
    fm_list_remove(&file->link);
    fm_user_trees_unlock(file->trees);
    file->counted_bytes = 0;
}

/* It is coming, to a path at which there are so many bytes. */
static void begin_counting(struct fm_new_file *file, uint64_t old_bytes)
{
    fm_user_trees_lock(file->trees);
    FM_LIST_FOREACH(&file->entry->incoming, link)
    {
        const struct fm_new_file *other = FM_LIST_ENTRY(link, struct fm_new_file, link);
        if (old_bytes > 0 && strcmp(other->path, file->path) == 0)
            old_bytes = 0; /* the other one replaces them */
    }
    file->replaced_bytes = old_bytes;
    fm_list_push_back(&file->entry->incoming, &file->link);
    fm_user_trees_unlock(file->trees);
}

/* --- coming in -------------------------------------------------------------------------------- */

/* Before the first byte is taken: whether it has a chance at all. */
static int check_early(struct fm_new_file *file, uint64_t bytes, const char **ret_quota,
                       struct fm_error *error)
{
    struct fm_user_tree tree = {0};
    struct fm_node *old = NULL;
    int failed = fm_user_trees_load(file->trees, file->entry->name, &tree, error);
    if (failed)
        return failed;
    failed = check_room(file, tree.root, bytes, &old, ret_quota, error);
    if (!failed)
        begin_counting(file, old ? fm_node_bytes(old) : 0);
    fm_node_release(tree.root);
    return failed ? failed : count_bytes(file, bytes, ret_quota, error);
}

static int set_path(struct fm_new_file *file, const char *user, const char *path)
{
    size_t size = strlen(user) + 1 + strlen(path) + 1;
    file->full_path = malloc(size);
    if (!file->full_path)
        return FM_ERR_NOMEM;
    (void)snprintf(file->full_path, size, "%s/%s", user, path);
    file->path = file->full_path + strlen(user) + 1;
    return 0;
}

int fm_new_file_begin(struct fm_user_trees *trees, const char *user, const char *path,
                      uint64_t bytes, struct fm_new_file **ret_file, const char **ret_quota,
                      struct fm_error *error)
{
    struct fm_new_file *file = calloc(1, sizeof(*file));
    if (!file)
        return no_memory(error);
    file->trees = trees;
    file->fd = -1;
    fm_list_init(&file->link);
    sha256_init(&file->sha256);
    if (set_path(file, user, path) != 0 || fm_tree_entry_enter(trees, user, &file->entry) != 0) {
        free(file->full_path);
        free(file);
        return no_memory(error);
    }
    int failed = check_early(file, bytes, ret_quota, error);
    if (!failed) {
        fm_files_random_name(file->name);
        failed = fm_files_create(incoming_fd(file), file->name, &file->fd, error);
    }
    if (failed) {
        fm_new_file_end(file);
        return failed == FM_ERR_NOT_FOUND ? FM_ERR_IO : failed;
    }
    *ret_file = file;
    return 0;
}

int fm_new_file_write(struct fm_new_file *file, const void *data, size_t bytes,
                      const char **ret_quota, struct fm_error *error)
{
    int failed = count_bytes(file, file->bytes + bytes, ret_quota, error);
    if (!failed)
        failed = fm_files_write(file->fd, file->name, data, bytes, error);
    if (failed)
        return failed;
    sha256_update(&file->sha256, bytes, data);
    file->bytes += bytes;
    return 0;
}

struct fm_new_file *fm_new_file_end(struct fm_new_file *file)
{
    if (!file)
        return NULL;
    fm_files_close(&file->fd);
    if (file->name[0])
        (void)unlinkat(incoming_fd(file), file->name, 0); /* else it goes at the next start */
    uncount_bytes(file);
    fm_tree_entry_leave(file->trees, file->entry);
    free(file->full_path);
    free(file);
    return NULL;
}

/* --- into its place --------------------------------------------------------------------------- */

struct placing {
    struct fm_new_file *file;
    int folder;       /* where it comes to */
    const char *name; /* in that */
    const char *trash_name;
    struct fm_error *error;
};

static int rename_into_place(const struct placing *placing)
{
    struct fm_new_file *file = placing->file;
    if (renameat(incoming_fd(file), file->name, placing->folder, placing->name) != 0)
        return fm_path_error(placing->error, errno, "make", placing->name);
    file->name[0] = '\0';
    return 0;
}

/* Nobody opens the old file meanwhile. */
static int replace(void *data, bool keep)
{
    const struct placing *placing = data;
    int trash_fd = placing->file->trees->config.functions->trash_fd;
    bool kept =
        keep && linkat(placing->folder, placing->name, trash_fd, placing->trash_name, 0) == 0;
    if (keep && !kept && errno != ENOENT) /* an operator has removed it: then nobody can read it */
        return fm_files_error(placing->error, errno, "keep for calls under way", placing->name);
    int failed = rename_into_place(placing);
    if (failed && kept)
        (void)unlinkat(trash_fd, placing->trash_name, 0); /* else it goes at the next start */
    return failed;
}

static int place(struct fm_new_file *file, struct fm_content *old, struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int folder = -1;
    struct placing placing = {.file = file, .error = error};
    const struct fm_user_trees *trees = file->trees;
    int failed =
        fm_path_open(trees->files_fd, file->full_path, true, &placing.name, &folder, error);
    if (failed)
        return failed;
    placing.folder = folder;
    if (old) {
        char trash_name[FM_FILES_RANDOM_SIZE];
        char trash_path[FM_FUNCTIONS_PATH_SIZE];
        fm_files_random_name(trash_name);
        fm_functions_path(trees->config.functions, trash_path, "trash/%s", trash_name);
        placing.trash_name = trash_name;
        failed = fm_content_move(old, trash_path, replace, &placing);
        if (failed == FM_ERR_NOMEM)
            return no_memory(error);
    } else {
        failed = rename_into_place(&placing);
    }
    return failed ? failed : fm_files_sync(folder, placing.name, error);
}

/* The tree as it will be. */
static int plan(struct fm_new_file *file, struct fm_node *root, uint64_t modified_ns,
                struct fm_node **ret_root, struct fm_error *error)
{
    struct fm_buffer path;
    struct fm_content *content = NULL;
    fm_buffer_init(&path, FM_FUNCTIONS_PATH_SIZE + FM_FILE_PATH_BYTES_MAX + 1);
    int failed = fm_buffer_printf(&path, "%s/files/%s", file->trees->config.functions->data,
                                  file->full_path);
    if (!failed)
        failed =
            fm_content_new(file->trees->contents, (const char *)path.data, file->bytes, &content);
    if (!failed)
        failed = fm_tree_put(root, file->path, modified_ns, content, ret_root);
    fm_content_release(content);
    fm_buffer_done(&path);
    return failed ? fm_error_set(error, failed, "%s", fm_err_meaning(failed)) : 0;
}

/* Under `changes`. */
static int commit(struct fm_new_file *file, uint64_t modified_ns, bool *ret_replaced,
                  const char **ret_quota, struct fm_error *error)
{
    struct fm_user_tree tree = {0};
    struct fm_node *old = NULL;
    struct fm_node *root = NULL;
    int failed = fm_tree_entry_read(file->trees, file->entry, &tree, error);
    if (failed)
        return failed;
    failed = check_room(file, tree.root, file->bytes, &old, ret_quota, error);
    if (!failed)
        failed = plan(file, tree.root, modified_ns, &root, error);
    if (!failed) {
        failed = place(file, old ? fm_node_content(old) : NULL, error);
        if (failed) /* perhaps folders were made, or all but the last fsync was done */
            root = fm_node_release(root);
        fm_tree_entry_change(file->trees, file->entry, root, true);
        *ret_replaced = old != NULL;
    }
    fm_node_release(tree.root);
    return failed;
}

static int finish_writing(struct fm_new_file *file, uint64_t modified_ns, struct fm_error *error)
{
    const struct timespec time = {.tv_sec = (time_t)(modified_ns / FM_NS_PER_S),
                                  .tv_nsec = (long)(modified_ns % FM_NS_PER_S)};
    const struct timespec times[2] = {time, time};
    if (futimens(file->fd, times) != 0)
        return fm_files_error(error, errno, "set the time of", file->name);
    return fm_files_sync(file->fd, file->name, error);
}

int fm_new_file_commit(struct fm_new_file *file, struct fm_new_file_facts *ret_facts,
                       const char **ret_quota, struct fm_error *error)
{
    FM_ASSERT(file->name[0]);
    uint8_t digest[SHA256_DIGEST_SIZE];
    struct fm_new_file_facts facts = {.bytes = file->bytes,
                                      .modified_ns = fm_user_trees_stamp(file->trees)};
    int failed = finish_writing(file, facts.modified_ns, error);
    if (!failed) {
        fm_tree_entry_lock(file->entry);
        failed = commit(file, facts.modified_ns, &facts.replaced, ret_quota, error);
        fm_tree_entry_unlock(file->entry);
    }
    uncount_bytes(file);
    if (failed)
        return failed == FM_ERR_NOT_FOUND ? FM_ERR_IO : failed;
    sha256_digest(&file->sha256, sizeof(digest), digest);
    fm_files_hex(digest, sizeof(digest), facts.sha256);
    *ret_facts = facts;
    return 0;
}
