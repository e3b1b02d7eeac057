/* user_trees.c - a table of roots by user, under one mutex.
 *
 *      get    mutex, hold, done
 *      load   entry->changes { in memory?  else scan, put into the table }
 *      change entry->changes { new tree; disk; new root into the table; generation + 1; news }
 *
 * A user's folder is read by one thread at a time, and never while it is changed; other users are
 * not held up by that.  The generation grows after a new root is in the table, so who sees it and
 * then asks gets a root that is at least as new.
 *
 * Discarded: an index on disk, which could come to differ from the folder; and watching the folder
 * for an operator's changes: what changes under a running server is seen when it starts again.
 *
 * Lifetime: one for the process.  Threading: any. */
#include "store/user_trees.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/name.h"
#include "files/content.h"
#include "files/tree.h"
#include "store/files.h"
#include "store/private.h"
#include "store/scan.h"
#include "store/user_trees_private.h"

#define FOLDER "files"

/* Of contents that are mapped: sandboxes need most of what the kernel allows a process. */
#define MAPPINGS_MAX 1000

void fm_user_trees_lock(struct fm_user_trees *trees)
{
    int failed = pthread_mutex_lock(&trees->mutex);
    FM_ASSERT(!failed);
}

void fm_user_trees_unlock(struct fm_user_trees *trees)
{
    int failed = pthread_mutex_unlock(&trees->mutex);
    FM_ASSERT(!failed);
}

/* --- tidying ---------------------------------------------------------------------------------- */

/* On a thread of the pool.  What becomes untidy from here on asks again. */
static void run_tidy(struct fm_job *job)
{
    struct fm_user_trees *trees = FM_CONTAINER_OF(job, struct fm_user_trees, tidy);
    atomic_store(&trees->tidying, false);
    fm_contents_tidy(trees->contents);
}

static void on_untidy(void *data)
{
    struct fm_user_trees *trees = data;
    if (atomic_exchange(&trees->tidying, true))
        return;
    if (fm_pool_submit(trees->config.pool, &trees->tidy, NULL) != 0)
        atomic_store(&trees->tidying, false); /* the next one asks again */
}

/* --- life ------------------------------------------------------------------------------------- */

static int open_folder(struct fm_user_trees *trees, struct fm_error *error)
{
    const struct fm_functions *functions = trees->config.functions;
    int failed = fm_files_folder_make(functions->data_fd, FOLDER, error);
    if (!failed)
        failed = fm_files_folder_open(functions->data_fd, FOLDER, &trees->files_fd, error);
    if (!failed)
        failed = fm_files_own(trees->files_fd, functions->data, FOLDER, error);
    if (!failed)
        failed = fm_files_sync(functions->data_fd, functions->data, error);
    return failed == FM_ERR_NOT_FOUND ? FM_ERR_IO : failed; /* made, yet no folder */
}

int fm_user_trees_open(const struct fm_user_trees_config *config, struct fm_user_trees **ret_trees,
                       struct fm_error *error)
{
    struct fm_user_trees *trees = calloc(1, sizeof(*trees));
    if (!trees)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    trees->config = *config;
    trees->files_fd = -1;
    trees->tidy.run = run_tidy;
    fm_map_init(&trees->entries);
    fm_list_init(&trees->used);
    int failed = pthread_mutex_init(&trees->mutex, NULL);
    FM_ASSERT(!failed); /* needs no memory on Linux */
    const struct fm_contents_config contents = {
        .bytes_max = config->contents_bytes_max,
        .files_max = MAPPINGS_MAX,
        .kept_bytes_max = config->kept_bytes_max,
        .untidy = config->pool ? on_untidy : NULL,
        .data = trees,
    };
    failed = fm_contents_new(&contents, &trees->contents);
    if (failed)
        failed = fm_error_set(error, failed, "out of memory");
    else
        failed = open_folder(trees, error);
    if (failed) {
        fm_user_trees_close(trees);
        return failed;
    }
    *ret_trees = trees;
    return 0;
}

struct fm_user_trees *fm_user_trees_close(struct fm_user_trees *trees)
{
    if (!trees)
        return NULL;
    struct fm_map_node *node = NULL;
    while ((node = fm_map_next(&trees->entries, NULL)) != NULL) {
        struct fm_tree_entry *entry = FM_CONTAINER_OF(node, struct fm_tree_entry, node);
        FM_ASSERT(entry->holders == 0);
        fm_map_remove(&trees->entries, node);
        fm_node_release(entry->tree.root);
        (void)pthread_mutex_destroy(&entry->changes); /* not held */
        free(entry);
    }
    fm_map_done(&trees->entries);
    fm_contents_free(trees->contents);
    fm_files_close(&trees->files_fd);
    (void)pthread_mutex_destroy(&trees->mutex); /* not held */
    free(trees);
    return NULL;
}

/* --- entries ---------------------------------------------------------------------------------- */

static struct fm_tree_entry *find(struct fm_user_trees *trees, const char *user)
{
    struct fm_map_node *node = fm_map_get(&trees->entries, user, strlen(user));
    return node ? FM_CONTAINER_OF(node, struct fm_tree_entry, node) : NULL;
}

/* NULL: out of memory. */
static struct fm_tree_entry *add(struct fm_user_trees *trees, const char *user)
{
    size_t length = strlen(user);
    FM_ASSERT(fm_name_valid(user, length));
    struct fm_tree_entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return NULL;
    memcpy(entry->name, user, length);
    fm_list_init(&entry->used);
    fm_list_init(&entry->incoming);
    if (fm_map_put(&trees->entries, &entry->node, entry->name, length) != 0) {
        free(entry);
        return NULL;
    }
    int failed = pthread_mutex_init(&entry->changes, NULL);
    FM_ASSERT(!failed); /* needs no memory on Linux */
    return entry;
}

int fm_tree_entry_enter(struct fm_user_trees *trees, const char *user,
                        struct fm_tree_entry **ret_entry)
{
    fm_user_trees_lock(trees);
    struct fm_tree_entry *entry = find(trees, user);
    if (!entry)
        entry = add(trees, user);
    if (entry)
        entry->holders++;
    fm_user_trees_unlock(trees);
    if (!entry)
        return FM_ERR_NOMEM;
    *ret_entry = entry;
    return 0;
}

/* Under the mutex. */
static void drop_if_unused(struct fm_user_trees *trees, struct fm_tree_entry *entry)
{
    if (entry->holders > 0 || entry->tree.root)
        return;
    FM_ASSERT(entry->incoming_bytes == 0); /* whose it is holds the entry */
    fm_map_remove(&trees->entries, &entry->node);
    (void)pthread_mutex_destroy(&entry->changes); /* not held */
    free(entry);
}

void fm_tree_entry_leave(struct fm_user_trees *trees, struct fm_tree_entry *entry)
{
    fm_user_trees_lock(trees);
    FM_ASSERT(entry->holders > 0);
    entry->holders--;
    drop_if_unused(trees, entry);
    fm_user_trees_unlock(trees);
}

void fm_tree_entry_lock(struct fm_tree_entry *entry)
{
    int failed = pthread_mutex_lock(&entry->changes);
    FM_ASSERT(!failed);
}

void fm_tree_entry_unlock(struct fm_tree_entry *entry)
{
    int failed = pthread_mutex_unlock(&entry->changes);
    FM_ASSERT(!failed);
}

/* --- roots ------------------------------------------------------------------------------------ */

/* Under the mutex: takes an entry's root out of memory; the caller releases it. */
static struct fm_node *take_root(struct fm_user_trees *trees, struct fm_tree_entry *entry)
{
    struct fm_node *root = entry->tree.root;
    if (!root)
        return NULL;
    fm_list_remove(&entry->used);
    trees->counts.users--;
    trees->counts.names -= entry->names;
    entry->tree.root = NULL;
    return root;
}

/* Under the mutex: a root that is to go, and whose it is, so that those that stay are within their
 * bound; not that of an entry that somebody works with.  NULL: there is none. */
static struct fm_node *pick_victim(struct fm_user_trees *trees, char user[FM_NAME_LENGTH_MAX + 1])
{
    if (trees->counts.names <= trees->config.names_max)
        return NULL;
    FM_LIST_FOREACH(&trees->used, link)
    {
        struct fm_tree_entry *entry = FM_LIST_ENTRY(link, struct fm_tree_entry, used);
        if (entry->holders > 0)
            continue;
        struct fm_node *root = take_root(trees, entry);
        memcpy(user, entry->name, sizeof(entry->name));
        drop_if_unused(trees, entry);
        return root;
    }
    return NULL;
}

static void tell(struct fm_user_trees *trees, const char *user)
{
    if (trees->config.changed)
        trees->config.changed(trees->config.data, user);
}

/* A root that goes is gone when who caches it lets go of it, too. */
static void put_root(struct fm_user_trees *trees, struct fm_tree_entry *entry, struct fm_node *root,
                     bool exists)
{
    char victim[FM_NAME_LENGTH_MAX + 1] = "";
    fm_user_trees_lock(trees);
    struct fm_node *old = take_root(trees, entry);
    if (root) {
        entry->tree = (struct fm_user_tree){.root = root, .exists = exists};
        entry->names = fm_node_files_count(root) + fm_node_folders_count(root) + 1;
        trees->counts.users++;
        trees->counts.names += entry->names;
        fm_list_push_back(&trees->used, &entry->used);
    }
    do {
        fm_user_trees_unlock(trees);
        fm_node_release(old);
        if (victim[0])
            tell(trees, victim);
        fm_user_trees_lock(trees);
        old = pick_victim(trees, victim);
    } while (old);
    fm_user_trees_unlock(trees);
}

void fm_tree_entry_change(struct fm_user_trees *trees, struct fm_tree_entry *entry,
                          struct fm_node *root, bool exists)
{
    put_root(trees, entry, root, exists);
    atomic_fetch_add(&trees->generation, 1);
    tell(trees, entry->name);
}

/* Under the mutex. */
static bool hold_tree(struct fm_user_trees *trees, struct fm_tree_entry *entry,
                      struct fm_user_tree *ret_tree)
{
    if (!entry || !entry->tree.root)
        return false;
    fm_list_remove(&entry->used);
    fm_list_push_back(&trees->used, &entry->used);
    *ret_tree = entry->tree;
    fm_node_hold(ret_tree->root);
    return true;
}

uint64_t fm_user_trees_generation(const struct fm_user_trees *trees)
{
    return atomic_load(&trees->generation);
}

bool fm_user_trees_get(struct fm_user_trees *trees, const char *user, struct fm_user_tree *ret_tree)
{
    fm_user_trees_lock(trees);
    bool found = hold_tree(trees, find(trees, user), ret_tree);
    fm_user_trees_unlock(trees);
    return found;
}

static int scan(struct fm_user_trees *trees, const struct fm_tree_entry *entry,
                struct fm_user_tree *ret_tree, struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int fd = -1;
    char path[FM_FUNCTIONS_PATH_SIZE];
    struct fm_node *root = NULL;
    struct fm_error cause = {0};
    fm_functions_path(trees->config.functions, path, FOLDER "/%s", entry->name);
    int failed = fm_files_folder_open(trees->files_fd, entry->name, &fd, &cause);
    bool exists = failed != FM_ERR_NOT_FOUND;
    if (!failed)
        failed = fm_scan(trees->contents, fd, path, &root, &cause);
    else if (!exists)
        failed = fm_node_folder_new(0, &root);
    if (failed)
        return fm_error_set(error, failed, "%s",
                            cause.code == failed ? cause.text : fm_err_meaning(failed));
    *ret_tree = (struct fm_user_tree){.root = root, .exists = exists};
    return 0;
}

int fm_tree_entry_read(struct fm_user_trees *trees, struct fm_tree_entry *entry,
                       struct fm_user_tree *ret_tree, struct fm_error *error)
{
    fm_user_trees_lock(trees);
    bool found = hold_tree(trees, entry, ret_tree);
    trees->counts.scans += !found;
    fm_user_trees_unlock(trees);
    if (found)
        return 0;
    struct fm_user_tree tree = {0};
    int failed = scan(trees, entry, &tree, error);
    if (failed)
        return failed;
    *ret_tree = tree;
    put_root(trees, entry, fm_node_hold(tree.root), tree.exists);
    return 0;
}

int fm_user_trees_load(struct fm_user_trees *trees, const char *user, struct fm_user_tree *ret_tree,
                       struct fm_error *error)
{
    struct fm_tree_entry *entry = NULL;
    if (fm_user_trees_get(trees, user, ret_tree))
        return 0;
    if (fm_tree_entry_enter(trees, user, &entry) != 0)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    fm_tree_entry_lock(entry);
    int failed = fm_tree_entry_read(trees, entry, ret_tree, error);
    fm_tree_entry_unlock(entry);
    fm_tree_entry_leave(trees, entry);
    return failed;
}

uint64_t fm_user_trees_stamp(struct fm_user_trees *trees)
{
    uint64_t now_ns = fm_clock_real_ns();
    fm_user_trees_lock(trees);
    trees->stamp_ns = fm_max_u64(trees->stamp_ns + 1, now_ns);
    uint64_t stamp_ns = trees->stamp_ns;
    fm_user_trees_unlock(trees);
    return stamp_ns;
}

void fm_user_trees_counts(struct fm_user_trees *trees, struct fm_user_trees_counts *ret_counts,
                          struct fm_contents_counts *ret_contents)
{
    fm_contents_counts(trees->contents, ret_contents);
    fm_user_trees_lock(trees);
    *ret_counts = trees->counts;
    fm_user_trees_unlock(trees);
}
