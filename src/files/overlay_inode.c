/* overlay_inode.c - inodes, and the names that lead to them.
 *
 * A folder of the tree is taken over bit by bit: a name becomes an inode of the overlay when it is
 * first met, so that it is the same one ever after, and all the rest do when the folder is listed
 * or one of its names goes.  From then on the tree's folder is not asked any more, which is why
 * there are no marks for "was there, and is removed".
 *
 * Names keep the order in which they came.  Their positions only grow, so a listing that goes on
 * from a position neither misses nor repeats what was there all the time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "files/overlay_private.h"

#define OWN_NUMBERS (UINT64_C(1) << 48) /* those of the tree's nodes are far below */
#define POSITION_FIRST 2                /* after `.` and `..` */

int fm_overlay_charge(struct fm_overlay *overlay, uint64_t bytes)
{
    if (bytes > overlay->bytes_max - overlay->bytes)
        return -ENOSPC;
    overlay->bytes += bytes;
    return 0;
}

void fm_overlay_refund(struct fm_overlay *overlay, uint64_t bytes)
{
    FM_ASSERT(bytes <= overlay->bytes);
    overlay->bytes -= bytes;
}

/* --- inodes ----------------------------------------------------------------------------------- */

static void set_kind(struct fm_inode *inode)
{
    if (inode->type == FM_FILE_FOLDER) {
        fm_map_init(&inode->folder.by_name);
        fm_list_init(&inode->folder.in_order);
        inode->folder.position = POSITION_FIRST;
        inode->folder.complete = !inode->node;
    } else if (inode->type == FM_FILE_PLAIN && inode->node) {
        inode->data.content = fm_node_content(inode->node);
        inode->data.bytes = fm_node_bytes(inode->node);
        inode->data.below_bytes = inode->data.bytes;
    }
}

int fm_inode_new(struct fm_overlay *overlay, enum fm_file_type type, struct fm_node *node,
                 struct fm_inode **ret_inode)
{
    if (overlay->inodes_count == FM_OVERLAY_FILES_MAX || fm_overlay_full(overlay))
        return -ENOSPC;
    if (!node) {
        int failed = fm_overlay_charge(overlay, sizeof(struct fm_inode));
        if (failed)
            return failed;
    }
    struct fm_inode *inode = calloc(1, sizeof(*inode));
    if (!inode) {
        if (!node)
            fm_overlay_refund(overlay, sizeof(struct fm_inode));
        return -ENOMEM;
    }
    inode->type = type;
    inode->node = node;
    inode->charged = !node;
    inode->number = node ? fm_node_inode(node) : OWN_NUMBERS + ++overlay->inodes_made;
    inode->modified_ns = node ? fm_node_modified_ns(node) : fm_clock_real_ns();
    inode->accessed_ns = inode->modified_ns;
    inode->changed_ns = inode->modified_ns;
    set_kind(inode);
    fm_list_push_back(&overlay->inodes, &inode->link);
    overlay->inodes_count += 1;
    *ret_inode = inode;
    return 0;
}

void fm_inode_touch(struct fm_inode *inode)
{
    inode->modified_ns = fm_clock_real_ns();
    inode->changed_ns = inode->modified_ns;
}

static void name_free(struct fm_overlay *overlay, struct fm_name *name)
{
    overlay->names_count -= 1;
    if (name->own)
        fm_overlay_refund(overlay, sizeof(*name) + name->length + 1);
    free(name);
}

void fm_inode_drop(struct fm_overlay *overlay, struct fm_inode *inode)
{
    if (inode->names > 0 || inode->opens > 0)
        return;
    switch (inode->type) {
    case FM_FILE_FOLDER:
        FM_LIST_FOREACH(&inode->folder.in_order, link)
        name_free(overlay, FM_LIST_ENTRY(link, struct fm_name, link));
        fm_map_done(&inode->folder.by_name);
        break;
    case FM_FILE_LINK:
        if (inode->target)
            fm_overlay_refund(overlay, strlen(inode->target) + 1);
        free(inode->target);
        break;
    case FM_FILE_PLAIN:
        fm_data_done(overlay, &inode->data);
        break;
    case FM_FILE_UNKNOWN:
        break;
    }
    if (inode->charged)
        fm_overlay_refund(overlay, sizeof(*inode));
    fm_list_remove(&inode->link);
    overlay->inodes_count -= 1;
    free(inode);
}

/* --- names ------------------------------------------------------------------------------------ */

static struct fm_name *name_of(struct fm_map_node *node)
{
    return FM_CONTAINER_OF(node, struct fm_name, node);
}

/* Puts a name into the folder; it is not there yet. */
static int put_name(struct fm_overlay *overlay, struct fm_inode *folder, const char *text,
                    size_t length, struct fm_inode *inode, bool own, struct fm_name **ret_name)
{
    size_t bytes = sizeof(struct fm_name) + length + 1;
    int failed = own ? fm_overlay_charge(overlay, bytes) : 0;
    if (failed)
        return failed;
    struct fm_name *name = malloc(bytes);
    if (name) {
        memcpy(name->text, text, length);
        name->text[length] = '\0';
    }
    if (!name || fm_map_put(&folder->folder.by_name, &name->node, name->text, length) != 0) {
        free(name);
        if (own)
            fm_overlay_refund(overlay, bytes);
        return -ENOMEM;
    }
    name->position = folder->folder.position++;
    name->inode = inode;
    name->own = own;
    name->length = length;
    fm_list_push_back(&folder->folder.in_order, &name->link);
    overlay->names_count += 1;
    inode->names += 1;
    if (inode->type == FM_FILE_FOLDER)
        inode->folder.parent = folder;
    if (ret_name)
        *ret_name = name;
    return 0;
}

static int take_over(struct fm_overlay *overlay, struct fm_inode *folder, struct fm_node *node,
                     struct fm_name **ret_name)
{
    struct fm_inode *inode = NULL;
    enum fm_file_type type = fm_node_is_folder(node) ? FM_FILE_FOLDER : FM_FILE_PLAIN;
    int failed = fm_inode_new(overlay, type, node, &inode);
    if (failed)
        return failed;
    const char *text = fm_node_name(node);
    failed = put_name(overlay, folder, text, strlen(text), inode, false, ret_name);
    if (failed)
        fm_inode_drop(overlay, inode);
    return failed;
}

int fm_folder_find(struct fm_overlay *overlay, struct fm_inode *folder, const char *text,
                   size_t length, struct fm_name **ret_name)
{
    struct fm_map_node *found = fm_map_get(&folder->folder.by_name, text, length);
    if (found) {
        *ret_name = name_of(found);
        return 0;
    }
    if (folder->folder.complete)
        return -ENOENT;
    struct fm_node *node = fm_node_child_find(folder->node, text, length);
    return node ? take_over(overlay, folder, node, ret_name) : -ENOENT;
}

int fm_folder_complete(struct fm_overlay *overlay, struct fm_inode *folder)
{
    if (folder->folder.complete)
        return 0;
    for (size_t i = 0; i < fm_node_children_count(folder->node); i++) {
        struct fm_node *child = fm_node_child(folder->node, i);
        const char *text = fm_node_name(child);
        if (fm_map_get(&folder->folder.by_name, text, strlen(text)))
            continue;
        int failed = take_over(overlay, folder, child, NULL);
        if (failed)
            return failed; /* what was taken over stays, and is met again */
    }
    folder->folder.complete = true;
    return 0;
}

int fm_folder_add(struct fm_overlay *overlay, struct fm_inode *folder, const char *text,
                  size_t length, struct fm_inode *inode)
{
    if (folder->names == 0)
        return -ENOENT; /* it was removed, and is only still open */
    int failed = put_name(overlay, folder, text, length, inode, true, NULL);
    if (!failed)
        fm_inode_touch(folder);
    return failed;
}

static void lose_name(struct fm_overlay *overlay, struct fm_inode *inode)
{
    FM_ASSERT(inode->names > 0);
    inode->names -= 1;
    inode->changed_ns = fm_clock_real_ns();
    if (inode->type == FM_FILE_FOLDER && inode->names == 0)
        inode->folder.parent = NULL;
    fm_inode_drop(overlay, inode);
}

void fm_folder_replace(struct fm_overlay *overlay, struct fm_inode *folder, struct fm_name *name,
                       struct fm_inode *inode)
{
    struct fm_inode *old = name->inode;
    name->inode = inode;
    inode->names += 1;
    if (inode->type == FM_FILE_FOLDER)
        inode->folder.parent = folder;
    fm_inode_touch(folder);
    lose_name(overlay, old);
}

void fm_folder_remove(struct fm_overlay *overlay, struct fm_inode *folder, struct fm_name *name)
{
    FM_ASSERT(folder->folder.complete);
    struct fm_inode *inode = name->inode;
    fm_map_remove(&folder->folder.by_name, &name->node);
    fm_list_remove(&name->link);
    folder->folder.removals += 1;
    name_free(overlay, name);
    fm_inode_touch(folder);
    lose_name(overlay, inode);
}
