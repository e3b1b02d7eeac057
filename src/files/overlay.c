/* overlay.c - the files of one call: "global read, local write".
 *
 *      guest --> handle --> inode --+-- data, names, target: what the call has written
 *                                   +-- node: what the tree has (shared, never changes)
 *
 * An overlay begins as a bare top folder over its user's tree.  Inodes are made for what the call
 * comes across (overlay_inode.c), and hold what it changes: written chunks (overlay_data.c), names
 * that came and went.  Nothing of it is ever seen by another call, and nothing of it goes to disk.
 *
 * Why not a file system of the kernel's (overlayfs, tmpfs)?  A mount for each call costs more than
 * the call, and a path of the machine would be in reach of a guest.
 *
 * What a call can make it hold is bounded: bytes_max counts written chunks, inodes and names, to
 * the byte of what is asked of malloc; FM_OVERLAY_FILES_MAX all inodes, and all names; no operation
 * recurses, and none walks more than a path, the folders above a place, and the names in a folder.
 *
 * Errors are those of Linux's system calls of the same names, in the same cases.  Times of access
 * are not kept up to date by reading (as with the mount option noatime), and a folder has one link.
 *
 * Opening a file of the tree whose content is not in memory is the one thing that may have to wait:
 * then nothing has happened yet, and the same open is tried again.
 *
 * Lifetime: as long as its guest; handles are closed before it goes.  One thread at a time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "files/overlay_private.h"

static struct fm_handle *handle_of(struct fm_file *file)
{
    return FM_CONTAINER_OF(file, struct fm_handle, file);
}

static struct fm_inode *inode_of(struct fm_file *file)
{
    return handle_of(file)->inode;
}

/* --- open and close --------------------------------------------------------------------------- */

static const struct fm_file_ops ops;

static void handle_init(struct fm_handle *handle, struct fm_overlay *overlay,
                        struct fm_inode *inode)
{
    *handle = (struct fm_handle){
        .file = {.ops = &ops, .type = inode->type},
        .overlay = overlay,
        .inode = inode,
    };
    inode->opens += 1;
}

static int depth_of(const struct fm_inode *folder)
{
    int depth = 0;
    for (; folder->folder.parent; folder = folder->folder.parent)
        depth += 1;
    return depth;
}

/* A new inode of the call's own, with a name at a place where nothing is. */
static int make_at(struct fm_overlay *overlay, const struct fm_place *place, enum fm_file_type type,
                   const char *target, struct fm_inode **ret_inode)
{
    struct fm_inode *inode = NULL;
    if (type == FM_FILE_FOLDER && depth_of(place->folder) >= FM_FILE_DEPTH_MAX)
        return -ENAMETOOLONG;
    int failed = fm_inode_new(overlay, type, NULL, &inode);
    if (failed)
        return failed;
    if (target) {
        failed = fm_overlay_charge(overlay, strlen(target) + 1);
        if (!failed && !(inode->target = strdup(target))) {
            fm_overlay_refund(overlay, strlen(target) + 1);
            failed = -ENOMEM;
        }
    }
    if (!failed)
        failed = fm_folder_add(overlay, place->folder, place->text, place->text_length, inode);
    if (failed) {
        fm_inode_drop(overlay, inode);
        return failed;
    }
    *ret_inode = inode;
    return 0;
}

/* What was found may be opened like this. */
static int check_open(const struct fm_place *place, unsigned how)
{
    enum fm_file_type type = place->inode->type;
    if ((how & FM_OPEN_CREATE) && (how & FM_OPEN_EXCLUSIVE))
        return -EEXIST;
    if (type == FM_FILE_LINK)
        return -ELOOP;
    if (type == FM_FILE_FOLDER)
        return how & (FM_OPEN_WRITE | FM_OPEN_CREATE | FM_OPEN_TRUNCATE) ? -EISDIR : 0;
    return (how & FM_OPEN_FOLDER) || place->slash ? -ENOTDIR : 0;
}

/* 0, FM_FILE_WAIT, or a negative errno. */
static int prepare_data(struct fm_overlay *overlay, struct fm_inode *inode, unsigned how)
{
    struct fm_data *data = &inode->data;
    if (how & FM_OPEN_TRUNCATE) {
        int failed = data->bytes > 0 ? fm_data_set_size(overlay, data, 0) : 0;
        if (!failed)
            fm_inode_touch(inode);
        return failed;
    }
    if (!(how & (FM_OPEN_READ | FM_OPEN_WRITE)) || fm_data_pin(data))
        return 0;
    (void)fm_content_release(overlay->awaited);
    overlay->awaited = fm_content_hold(data->content);
    return FM_FILE_WAIT;
}

/* Which links at the end of the path are followed. */
static unsigned walk_of(const char *path, unsigned how)
{
    bool create = how & FM_OPEN_CREATE;
    size_t length = strlen(path);
    if (create && length > 0 && path[length - 1] == '/')
        return 0;
    bool follow = (how & FM_OPEN_FOLLOW) && !(create && (how & FM_OPEN_EXCLUSIVE));
    return FM_WALK_SLASH_FOLLOW | (follow ? FM_WALK_FOLLOW : 0u);
}

static int overlay_open(struct fm_file *folder, const char *path, unsigned how,
                        struct fm_file **ret_file)
{
    struct fm_overlay *overlay = handle_of(folder)->overlay;
    struct fm_place place;
    int failed = fm_walk(overlay, inode_of(folder), path, walk_of(path, how), &place);
    if (!failed && place.folder && place.slash && (how & FM_OPEN_CREATE))
        failed = -EISDIR; /* whatever is there: only a file can be made */
    if (failed)
        return failed;
    struct fm_handle *handle = malloc(sizeof(*handle));
    if (!handle)
        return -ENOMEM;
    if (place.inode)
        failed = check_open(&place, how);
    else if (!(how & FM_OPEN_CREATE))
        failed = -ENOENT;
    else if (how & FM_OPEN_FOLDER)
        failed = -EINVAL;
    else
        failed = make_at(overlay, &place, FM_FILE_PLAIN, NULL, &place.inode);
    if (!failed && place.inode->type == FM_FILE_PLAIN)
        failed = prepare_data(overlay, place.inode, how);
    if (failed) {
        free(handle);
        return failed;
    }
    handle_init(handle, overlay, place.inode);
    *ret_file = &handle->file;
    return 0;
}

static void overlay_close(struct fm_file *file)
{
    struct fm_handle *handle = handle_of(file);
    struct fm_inode *inode = handle->inode;
    inode->opens -= 1;
    if (inode->opens == 0 && inode->type == FM_FILE_PLAIN)
        fm_data_unpin(&inode->data);
    fm_inode_drop(handle->overlay, inode);
    free(handle);
}

/* --- attributes ------------------------------------------------------------------------------- */

static uint64_t bytes_of(const struct fm_inode *inode)
{
    switch (inode->type) {
    case FM_FILE_PLAIN:
        return inode->data.bytes;
    case FM_FILE_LINK:
        return strlen(inode->target);
    case FM_FILE_FOLDER:
    case FM_FILE_UNKNOWN:
        break;
    }
    return 0;
}

static void stat_inode(const struct fm_inode *inode, struct fm_file_stat *ret_stat)
{
    *ret_stat = (struct fm_file_stat){
        .device = 1,
        .inode = inode->number,
        .type = inode->type,
        .links = inode->names,
        .bytes = bytes_of(inode),
        .accessed_ns = inode->accessed_ns,
        .modified_ns = inode->modified_ns,
        .changed_ns = inode->changed_ns,
    };
}

static void set_inode_times(struct fm_inode *inode, const struct fm_file_times *times)
{
    uint64_t modified_ns = inode->modified_ns;
    fm_inode_touch(inode); /* it changes now */
    inode->modified_ns = times->modified_ns == UINT64_MAX ? modified_ns : times->modified_ns;
    if (times->accessed_ns != UINT64_MAX)
        inode->accessed_ns = times->accessed_ns;
}

static int overlay_stat(struct fm_file *file, struct fm_file_stat *ret_stat)
{
    stat_inode(inode_of(file), ret_stat);
    return 0;
}

static int overlay_set_times(struct fm_file *file, const struct fm_file_times *times)
{
    set_inode_times(inode_of(file), times);
    return 0;
}

static int overlay_sync(struct fm_file *file, bool data_only)
{
    (void)file; /* nothing is anywhere but in memory */
    (void)data_only;
    return 0;
}

/* Something that is there. */
static int find(struct fm_file *folder, const char *path, bool follow, struct fm_inode **ret_inode)
{
    struct fm_place place;
    int failed = fm_walk(handle_of(folder)->overlay, inode_of(folder), path,
                         FM_WALK_SLASH_FOLLOW | (follow ? FM_WALK_FOLLOW : 0), &place);
    if (failed)
        return failed;
    if (!place.inode)
        return -ENOENT;
    if (place.slash && place.inode->type != FM_FILE_FOLDER)
        return -ENOTDIR;
    *ret_inode = place.inode;
    return 0;
}

static int overlay_stat_at(struct fm_file *folder, const char *path, bool follow,
                           struct fm_file_stat *ret_stat)
{
    struct fm_inode *inode = NULL;
    int failed = find(folder, path, follow, &inode);
    if (!failed)
        stat_inode(inode, ret_stat);
    return failed;
}

static int overlay_set_times_at(struct fm_file *folder, const char *path, bool follow,
                                const struct fm_file_times *times)
{
    struct fm_inode *inode = NULL;
    int failed = find(folder, path, follow, &inode);
    if (!failed)
        set_inode_times(inode, times);
    return failed;
}

/* --- contents --------------------------------------------------------------------------------- */

static int64_t overlay_read(struct fm_file *file, uint64_t offset, uint8_t *data, size_t bytes)
{
    return fm_data_read(&inode_of(file)->data, offset, data, bytes);
}

static int64_t overlay_write(struct fm_file *file, uint64_t offset, const uint8_t *data,
                             size_t bytes)
{
    struct fm_inode *inode = inode_of(file);
    if (offset == FM_FILE_APPEND)
        offset = inode->data.bytes;
    int failed = fm_data_write(handle_of(file)->overlay, &inode->data, offset, data, bytes);
    if (failed)
        return failed;
    fm_inode_touch(inode);
    return (int64_t)bytes;
}

static int overlay_set_size(struct fm_file *file, uint64_t bytes)
{
    struct fm_inode *inode = inode_of(file);
    int failed = fm_data_set_size(handle_of(file)->overlay, &inode->data, bytes);
    if (!failed)
        fm_inode_touch(inode);
    return failed;
}

static int overlay_allocate(struct fm_file *file, uint64_t offset, uint64_t bytes)
{
    struct fm_inode *inode = inode_of(file);
    int failed = fm_data_allocate(handle_of(file)->overlay, &inode->data, offset, bytes);
    if (!failed)
        fm_inode_touch(inode);
    return failed;
}

/* --- listing: `.` is at position 0, `..` at 1, names from 2 on -------------------------------- */

static struct fm_name *name_from(struct fm_handle *handle, uint64_t from)
{
    struct fm_folder *folder = &handle->inode->folder;
    struct fm_list *link = folder->in_order.next;
    if (handle->cursor && handle->cursor_next == from &&
        handle->cursor_removals == folder->removals)
        link = handle->cursor->link.next;
    for (; link != &folder->in_order; link = link->next) {
        struct fm_name *name = FM_LIST_ENTRY(link, struct fm_name, link);
        if (name->position >= from)
            return name;
    }
    return NULL;
}

static void put_dots(const struct fm_inode *folder, uint64_t from, struct fm_file_entry *ret_entry)
{
    const struct fm_inode *up = folder->folder.parent ? folder->folder.parent : folder;
    *ret_entry = (struct fm_file_entry){
        .next = from + 1,
        .inode = from == 0 ? folder->number : up->number,
        .type = FM_FILE_FOLDER,
        .name = from == 0 ? "." : "..",
        .name_length = from == 0 ? 1 : 2,
    };
}

static int overlay_list(struct fm_file *file, uint64_t from, struct fm_file_entry *ret_entry)
{
    struct fm_handle *handle = handle_of(file);
    if (from < 2) {
        put_dots(handle->inode, from, ret_entry);
        return 1;
    }
    int failed = fm_folder_complete(handle->overlay, handle->inode);
    if (failed)
        return failed;
    struct fm_name *name = name_from(handle, from);
    if (!name)
        return 0;
    handle->cursor = name;
    handle->cursor_next = name->position + 1;
    handle->cursor_removals = handle->inode->folder.removals;
    *ret_entry = (struct fm_file_entry){
        .next = handle->cursor_next,
        .inode = name->inode->number,
        .type = name->inode->type,
        .name = name->text,
        .name_length = name->length,
    };
    return 1;
}

/* --- names ------------------------------------------------------------------------------------ */

static int walk_to(struct fm_file *folder, const char *path, struct fm_place *ret_place)
{
    return fm_walk(handle_of(folder)->overlay, inode_of(folder), path, 0, ret_place);
}

static int overlay_make_folder(struct fm_file *folder, const char *path)
{
    struct fm_inode *made = NULL;
    struct fm_place place;
    int failed = walk_to(folder, path, &place);
    if (failed)
        return failed;
    if (place.inode)
        return -EEXIST;
    return make_at(handle_of(folder)->overlay, &place, FM_FILE_FOLDER, NULL, &made);
}

static int overlay_make_link(struct fm_file *folder, const char *target, const char *path)
{
    struct fm_inode *made = NULL;
    struct fm_place place;
    if (target[0] == '/')
        return -EPERM; /* it could never be followed */
    if (target[0] == '\0')
        return -ENOENT;
    int failed = walk_to(folder, path, &place);
    if (failed)
        return failed;
    if (place.inode)
        return -EEXIST;
    if (place.slash)
        return -ENOENT;
    return make_at(handle_of(folder)->overlay, &place, FM_FILE_LINK, target, &made);
}

static int64_t overlay_read_link(struct fm_file *folder, const char *path, char *data, size_t bytes)
{
    struct fm_inode *inode = NULL;
    int failed = find(folder, path, false, &inode);
    if (failed)
        return failed;
    if (inode->type != FM_FILE_LINK)
        return -EINVAL;
    size_t length = (size_t)fm_min_u64(strlen(inode->target), bytes);
    memcpy(data, inode->target, length);
    return (int64_t)length;
}

/* The name that a removal, or a move, starts from. */
static int take_name(struct fm_overlay *overlay, const struct fm_place *place)
{
    if (!place->inode)
        return -ENOENT;
    if (place->slash && place->inode->type != FM_FILE_FOLDER)
        return -ENOTDIR;
    return fm_folder_complete(overlay, place->folder);
}

static int overlay_unlink(struct fm_file *folder, const char *path)
{
    struct fm_overlay *overlay = handle_of(folder)->overlay;
    struct fm_place place;
    int failed = walk_to(folder, path, &place);
    if (!failed && !place.folder)
        failed = -EISDIR;
    if (!failed)
        failed = take_name(overlay, &place);
    if (!failed && place.inode->type == FM_FILE_FOLDER)
        failed = -EISDIR;
    if (!failed)
        fm_folder_remove(overlay, place.folder, place.name);
    return failed;
}

static int overlay_remove_folder(struct fm_file *folder, const char *path)
{
    struct fm_overlay *overlay = handle_of(folder)->overlay;
    struct fm_place place;
    int failed = walk_to(folder, path, &place);
    if (!failed && !place.folder)
        failed = place.dots ? -ENOTEMPTY : -EINVAL;
    if (!failed)
        failed = take_name(overlay, &place);
    if (!failed && place.inode->type != FM_FILE_FOLDER)
        failed = -ENOTDIR;
    if (!failed)
        failed = fm_folder_complete(overlay, place.inode);
    if (!failed && !fm_folder_empty(place.inode))
        failed = -ENOTEMPTY;
    if (!failed)
        fm_folder_remove(overlay, place.folder, place.name);
    return failed;
}

static int overlay_link(struct fm_file *from_folder, const char *from, struct fm_file *to_folder,
                        const char *to)
{
    struct fm_overlay *overlay = handle_of(from_folder)->overlay;
    struct fm_inode *inode = NULL;
    struct fm_place place;
    if (handle_of(to_folder)->overlay != overlay)
        return -EXDEV;
    int failed = find(from_folder, from, false, &inode);
    if (!failed)
        failed = walk_to(to_folder, to, &place);
    if (failed)
        return failed;
    if (place.inode)
        return -EEXIST;
    if (place.slash)
        return -ENOENT;
    if (inode->type == FM_FILE_FOLDER)
        return -EPERM;
    if (fm_overlay_full(overlay))
        return -ENOSPC;
    failed = fm_folder_add(overlay, place.folder, place.text, place.text_length, inode);
    if (!failed)
        inode->changed_ns = place.folder->changed_ns;
    return failed;
}

static bool is_inside(const struct fm_inode *folder, const struct fm_inode *outer)
{
    for (; folder; folder = folder->folder.parent)
        if (folder == outer)
            return true;
    return false;
}

/* What stands at the end of a move may be replaced by what is moved. */
static int check_replace(struct fm_overlay *overlay, const struct fm_inode *moved,
                         struct fm_inode *old)
{
    if (moved->type != FM_FILE_FOLDER)
        return old->type == FM_FILE_FOLDER ? -EISDIR : 0;
    if (old->type != FM_FILE_FOLDER)
        return -ENOTDIR;
    int failed = fm_folder_complete(overlay, old);
    if (failed)
        return failed;
    return fm_folder_empty(old) ? 0 : -ENOTEMPTY;
}

static int check_rename(struct fm_overlay *overlay, const struct fm_place *from,
                        const struct fm_place *to)
{
    if (!from->folder || !to->folder)
        return -EBUSY; /* `.` or `..` */
    int failed = take_name(overlay, from);
    if (failed)
        return failed;
    bool is_folder = from->inode->type == FM_FILE_FOLDER;
    if (to->slash && !is_folder)
        return -ENOTDIR;
    if (is_folder && is_inside(to->folder, from->inode))
        return -EINVAL;
    if (is_folder && depth_of(to->folder) >= FM_FILE_DEPTH_MAX)
        return -ENAMETOOLONG;
    if (!to->inode)
        return to->folder->names == 0 ? -ENOENT : 0;
    if (to->inode == from->inode)
        return 0;
    failed = check_replace(overlay, from->inode, to->inode);
    return failed ? failed : fm_folder_complete(overlay, to->folder);
}

/* The new name is made beside the old one, and then takes over: a failure leaves all as it was. */
static int overlay_rename(struct fm_file *from_folder, const char *from_path,
                          struct fm_file *to_folder, const char *to_path)
{
    struct fm_overlay *overlay = handle_of(from_folder)->overlay;
    struct fm_place from;
    struct fm_place to;
    if (handle_of(to_folder)->overlay != overlay)
        return -EXDEV;
    int failed = walk_to(from_folder, from_path, &from);
    if (!failed)
        failed = walk_to(to_folder, to_path, &to);
    if (!failed)
        failed = check_rename(overlay, &from, &to);
    if (failed || from.inode == to.inode)
        return failed; /* two names of one file: both stay, as POSIX has it */
    if (to.name)
        fm_folder_replace(overlay, to.folder, to.name, from.inode);
    else
        failed = fm_folder_add(overlay, to.folder, to.text, to.text_length, from.inode);
    if (!failed)
        fm_folder_remove(overlay, from.folder, from.name);
    return failed;
}

/* --- the whole -------------------------------------------------------------------------------- */

static const struct fm_file_ops ops = {
    .open = overlay_open,
    .close = overlay_close,
    .stat = overlay_stat,
    .set_times = overlay_set_times,
    .sync = overlay_sync,
    .read = overlay_read,
    .write = overlay_write,
    .set_size = overlay_set_size,
    .allocate = overlay_allocate,
    .list = overlay_list,
    .stat_at = overlay_stat_at,
    .set_times_at = overlay_set_times_at,
    .make_folder = overlay_make_folder,
    .remove_folder = overlay_remove_folder,
    .unlink = overlay_unlink,
    .link = overlay_link,
    .rename = overlay_rename,
    .make_link = overlay_make_link,
    .read_link = overlay_read_link,
};

int fm_overlay_new(const struct fm_overlay_config *config, struct fm_overlay **ret_overlay)
{
    struct fm_inode *top = NULL;
    struct fm_overlay *overlay = calloc(1, sizeof(*overlay));
    if (!overlay)
        return FM_ERR_NOMEM;
    fm_list_init(&overlay->inodes);
    overlay->bytes_max = UINT64_MAX;
    int failed = fm_inode_new(overlay, FM_FILE_FOLDER, config->tree, &top);
    if (failed) {
        free(overlay);
        return FM_ERR_NOMEM;
    }
    top->names = 1;       /* it always has one, */
    top->charged = false; /* and is not of the call's making */
    overlay->bytes = 0;
    overlay->bytes_max = config->bytes_max;
    overlay->tree = config->tree ? fm_node_hold(config->tree) : NULL;
    handle_init(&overlay->root, overlay, top);
    *ret_overlay = overlay;
    return 0;
}

struct fm_overlay *fm_overlay_free(struct fm_overlay *overlay)
{
    if (!overlay)
        return NULL;
    FM_LIST_FOREACH(&overlay->inodes, link)
    {
        struct fm_inode *inode = FM_LIST_ENTRY(link, struct fm_inode, link);
        FM_ASSERT(inode->opens == (inode == overlay->root.inode ? 1 : 0));
        inode->names = 0;
        inode->opens = 0;
        fm_inode_drop(overlay, inode);
    }
    (void)fm_content_release(overlay->awaited);
    (void)fm_node_release(overlay->tree);
    free(overlay);
    return NULL;
}

struct fm_file *fm_overlay_root(struct fm_overlay *overlay)
{
    return &overlay->root.file;
}

struct fm_content *fm_overlay_awaited(const struct fm_overlay *overlay)
{
    return overlay->awaited;
}

uint64_t fm_overlay_bytes(const struct fm_overlay *overlay)
{
    return overlay->bytes;
}
