/* tree.c - a persistent tree: a change copies the folders from the root to what is changed.
 *
 *      old root          new root
 *        |    \          /     |
 *       etc    data   data'    etc        etc is one node, with two holders
 *                |     |  \
 *              a.csv --+  b.csv
 *
 * A folder has its children in a sorted array, in one piece of memory with itself, so a lookup is a
 * binary search, and a copy of a folder of 10,000 names some 100 us: changes are rare, lookups are
 * not.  Discarded: a balanced tree for each folder, which would make every lookup slower, and a
 * hash table, which cannot be listed in order.
 *
 * Counters are atomic, nothing else ever changes.  The last holder of a node frees it, and in turn
 * what it was the last to hold, by a list through the dead nodes and not by recursion. */
#include "files/tree.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/limits.h"
#include "files/content.h"

struct fm_node {
    atomic_uint holders;
    uint32_t name_length;
    uint64_t modified_ns;
    uint64_t inode;
    uint64_t files_count; /* below it, or itself */
    uint64_t files_bytes;
    uint64_t folders_count;     /* below it */
    struct fm_content *content; /* NULL: a folder */
    char *name;                 /* in the same memory, behind the children */
    struct fm_node *next_dead;  /* nobody holds it any more */
    size_t children_count;
    struct fm_node *children[]; /* sorted by their names */
};

static uint64_t next_inode(void)
{
    static atomic_uint_least64_t inodes;
    return atomic_fetch_add_explicit(&inodes, 1, memory_order_relaxed) + 1;
}

/* --- nodes ------------------------------------------------------------------------------------ */

static struct fm_node *node_new(const char *name, size_t length, uint64_t modified_ns,
                                size_t children_count)
{
    size_t children_bytes = children_count * sizeof(struct fm_node *);
    struct fm_node *node = calloc(1, sizeof(*node) + children_bytes + length + 1);
    if (!node)
        return NULL;
    atomic_init(&node->holders, 1);
    node->name = (char *)node->children + children_bytes;
    memcpy(node->name, name, length);
    node->name_length = (uint32_t)length;
    node->modified_ns = modified_ns;
    node->inode = next_inode();
    node->children_count = children_count;
    return node;
}

struct fm_node *fm_node_hold(struct fm_node *node)
{
    unsigned before = atomic_fetch_add_explicit(&node->holders, 1, memory_order_relaxed);
    FM_ASSERT(before > 0 && before < UINT32_MAX);
    return node;
}

/* Adds to the dead, if it was the last hold. */
static void let_go(struct fm_node *node, struct fm_node **dead)
{
    unsigned before = atomic_fetch_sub_explicit(&node->holders, 1, memory_order_acq_rel);
    FM_ASSERT(before > 0);
    if (before > 1)
        return;
    node->next_dead = *dead;
    *dead = node;
}

struct fm_node *fm_node_release(struct fm_node *node)
{
    struct fm_node *dead = NULL;
    if (node)
        let_go(node, &dead);
    while (dead) {
        node = dead;
        dead = node->next_dead;
        for (size_t i = 0; i < node->children_count; i++)
            if (node->children[i]) /* else it is half made */
                let_go(node->children[i], &dead);
        fm_content_release(node->content);
        free(node);
    }
    return NULL;
}

int fm_node_folder_new(uint64_t modified_ns, struct fm_node **ret_root)
{
    struct fm_node *node = node_new("", 0, modified_ns, 0);
    if (!node)
        return FM_ERR_NOMEM;
    *ret_root = node;
    return 0;
}

int fm_node_file_new(const char *name, uint64_t modified_ns, struct fm_content *content,
                     struct fm_node **ret_file)
{
    struct fm_node *node = node_new(name, strlen(name), modified_ns, 0);
    if (!node)
        return FM_ERR_NOMEM;
    node->content = fm_content_hold(content);
    node->files_count = 1;
    node->files_bytes = fm_content_bytes(content);
    *ret_file = node;
    return 0;
}

/* Its children are there. */
static void sum_up(struct fm_node *folder)
{
    for (size_t i = 0; i < folder->children_count; i++) {
        const struct fm_node *child = folder->children[i];
        folder->files_count += child->files_count;
        folder->files_bytes += child->files_bytes;
        folder->folders_count += child->folders_count + !child->content;
    }
}

static int compare(const void *left, const void *right)
{
    const struct fm_node *const *a = left;
    const struct fm_node *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

int fm_node_folder_of(const char *name, uint64_t modified_ns, struct fm_node *const *children,
                      size_t children_count, struct fm_node **ret_folder)
{
    struct fm_node *node = node_new(name, strlen(name), modified_ns, children_count);
    if (!node)
        return FM_ERR_NOMEM;
    for (size_t i = 0; i < children_count; i++)
        node->children[i] = children[i];
    if (children_count > 0)
        qsort(node->children, children_count, sizeof(struct fm_node *), compare);
    sum_up(node);
    *ret_folder = node;
    return 0;
}

/* --- finding ---------------------------------------------------------------------------------- */

static int compare_name(const struct fm_node *node, const char *name, size_t length)
{
    size_t common = node->name_length < length ? node->name_length : length;
    int order = memcmp(node->name, name, common);
    if (order != 0)
        return order;
    return (node->name_length > length) - (node->name_length < length);
}

/* Where the name is, or should be. */
static size_t place_of(const struct fm_node *folder, const char *name, size_t length,
                       bool *ret_found)
{
    size_t low = 0;
    size_t high = folder->children_count;
    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_name(folder->children[middle], name, length);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct fm_node *fm_node_child_find(const struct fm_node *node, const char *name, size_t length)
{
    bool found = false;
    size_t place = place_of(node, name, length, &found);
    return found ? node->children[place] : NULL;
}

size_t fm_node_child_after(const struct fm_node *node, const char *name)
{
    bool found = false;
    size_t place = place_of(node, name, strlen(name), &found);
    return place + found;
}

/* The next component; its length, 0 at the end. */
static size_t next_name(const char **path)
{
    *path += **path == '/';
    return strcspn(*path, "/");
}

struct fm_node *fm_tree_find(struct fm_node *root, const char *path)
{
    struct fm_node *node = root;
    size_t length = 0;
    while (node && (length = next_name(&path)) > 0) {
        node = fm_node_child_find(node, path, length);
        path += length;
    }
    return node;
}

/* --- changing --------------------------------------------------------------------------------- */

/* The way from the root to what is changed: of each step the folder, and where in it. */
struct step {
    struct fm_node *folder; /* NULL: it does not exist yet */
    const char *name;       /* of what is below */
    size_t length;
    size_t place;
    bool found;
};

struct way {
    struct step steps[FM_FILE_DEPTH_MAX + 1];
    size_t count;
};

/* FM_ERR_TOO_LARGE; FM_ERR_CONFLICT: a file is in the way. */
static int find_way(struct fm_node *root, const char *path, struct way *way)
{
    struct fm_node *node = root;
    size_t length = 0;
    way->count = 0;
    FM_ASSERT(!root->content);
    while ((length = next_name(&path)) > 0) {
        if (way->count == FM_ARRAY_LENGTH(way->steps))
            return FM_ERR_TOO_LARGE;
        if (node && node->content)
            return FM_ERR_CONFLICT;
        struct step *step = &way->steps[way->count++];
        *step = (struct step){.folder = node, .name = path, .length = length};
        if (node)
            step->place = place_of(node, path, length, &step->found);
        node = step->found ? node->children[step->place] : NULL;
        path += length;
    }
    FM_ASSERT(way->count > 0);
    return 0;
}

/* A copy of a folder (NULL: of an empty one called `name`) with `child` at the step's place; NULL:
 * with nothing there.  The child goes over to it; if it fails, it is released. */
static struct fm_node *copy_with(const struct step *step, const char *name, size_t length,
                                 uint64_t modified_ns, struct fm_node *child)
{
    const struct fm_node *old = step->folder;
    size_t old_count = old ? old->children_count : 0;
    size_t count = old_count + (child && !step->found) - (!child && step->found);
    struct fm_node *copy = node_new(name, length, modified_ns, count);
    if (!copy) {
        fm_node_release(child);
        return NULL;
    }
    size_t to = 0;
    for (size_t i = 0; i < step->place; i++)
        copy->children[to++] = fm_node_hold(old->children[i]);
    if (child)
        copy->children[to++] = child;
    for (size_t i = step->place + step->found; i < old_count; i++)
        copy->children[to++] = fm_node_hold(old->children[i]);
    FM_ASSERT(to == count);
    sum_up(copy);
    return copy;
}

/* New folders from the end of the way to a new root.  `child` goes over. */
static int rebuild(const struct way *way, uint64_t modified_ns, struct fm_node *child,
                   struct fm_node **ret_root)
{
    for (size_t i = way->count; i-- > 0;) {
        const struct step *step = &way->steps[i];
        /* What comes into a folder, or goes, changes it; what changes below does not. */
        bool changed = !step->folder || i + 1 == way->count || !step->found;
        uint64_t time_ns = changed ? modified_ns : step->folder->modified_ns;
        const char *name = i > 0 ? way->steps[i - 1].name : "";
        size_t length = i > 0 ? way->steps[i - 1].length : 0;
        child = copy_with(step, name, length, time_ns, child);
        if (!child)
            return FM_ERR_NOMEM;
    }
    *ret_root = child;
    return 0;
}

int fm_tree_put(struct fm_node *root, const char *path, uint64_t modified_ns,
                struct fm_content *content, struct fm_node **ret_root)
{
    struct way way;
    int failed = find_way(root, path, &way);
    if (failed)
        return failed;
    const struct step *last = &way.steps[way.count - 1];
    if (last->found && !last->folder->children[last->place]->content)
        return FM_ERR_CONFLICT;
    struct fm_node *file = NULL;
    failed = fm_node_file_new(last->name, modified_ns, content, &file); /* the path ends with it */
    return failed ? failed : rebuild(&way, modified_ns, file, ret_root);
}

int fm_tree_remove_at(struct fm_node *root, const char *path, uint64_t modified_ns,
                      struct fm_node **ret_root)
{
    struct way way;
    int failed = find_way(root, path, &way);
    if (failed || !way.steps[way.count - 1].found)
        return FM_ERR_NOT_FOUND;
    return rebuild(&way, modified_ns, NULL, ret_root);
}

/* --- one node --------------------------------------------------------------------------------- */

bool fm_node_is_folder(const struct fm_node *node)
{
    return !node->content;
}

const char *fm_node_name(const struct fm_node *node)
{
    return node->name;
}

uint64_t fm_node_bytes(const struct fm_node *node)
{
    return node->content ? node->files_bytes : 0;
}

uint64_t fm_node_modified_ns(const struct fm_node *node)
{
    return node->modified_ns;
}

uint64_t fm_node_inode(const struct fm_node *node)
{
    return node->inode;
}

struct fm_content *fm_node_content(const struct fm_node *node)
{
    return node->content;
}

size_t fm_node_children_count(const struct fm_node *node)
{
    return node->children_count;
}

struct fm_node *fm_node_child(const struct fm_node *node, size_t index)
{
    FM_ASSERT(index < node->children_count);
    return node->children[index];
}

uint64_t fm_node_files_count(const struct fm_node *node)
{
    return node->files_count;
}

uint64_t fm_node_files_bytes(const struct fm_node *node)
{
    return node->files_bytes;
}

uint64_t fm_node_folders_count(const struct fm_node *node)
{
    return node->folders_count;
}
