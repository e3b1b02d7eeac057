/* wasi_path.c - paths: everything that begins at a folder and ends at a name.
 *
 * A path is copied out of the guest's memory and checked before anything is done with it: at most
 * FM_FILE_PATH_BYTES_MAX bytes (ENAMETOOLONG), without NUL (EINVAL), in UTF-8 (EILSEQ).  Where it
 * leads is the file system's business (files/file_system.h), which never leaves the folder.
 *
 * path_open may have to wait for a content of the user's tree that is not in memory.  It parks, the
 * scheduler has it loaded, and the same is tried again; nothing has happened until then, and the
 * pin that comes with the answer keeps the content in memory for the second try. */
#include <errno.h>
#include <string.h>

#include "base/encode.h"
#include "files/content.h"
#include "files/overlay.h"
#include "guest/memory.h"
#include "guest/private.h"
#include "guest/wasi.h"

#define LOOKUP_FOLLOW 1u

enum oflags {
    OFLAGS_CREAT = 1u << 0,
    OFLAGS_DIRECTORY = 1u << 1,
    OFLAGS_EXCL = 1u << 2,
    OFLAGS_TRUNC = 1u << 3,
    OFLAGS_ALL = 0xfu,
};

struct path {
    char text[FM_FILE_PATH_BYTES_MAX + 1];
};

static uint32_t get_path(struct fm_guest *guest, uint32_t address, uint32_t length,
                         struct path *ret_path)
{
    uint8_t *at = NULL;
    if (!fm_memory_at(guest, address, length, &at))
        return FM_WASI_FAULT;
    if (length > FM_FILE_PATH_BYTES_MAX)
        return FM_WASI_NAMETOOLONG;
    if (memchr(at, '\0', length))
        return FM_WASI_INVAL;
    memcpy(ret_path->text, at, length);
    ret_path->text[length] = '\0';
    return fm_utf8_text_valid(ret_path->text) ? FM_WASI_SUCCESS : FM_WASI_ILSEQ;
}

/* An open folder with a right, and a path from it. */
static uint32_t get_place(struct fm_guest *guest, uint32_t fd, uint64_t rights, uint32_t address,
                          uint32_t length, struct fm_file **ret_folder, struct path *ret_path)
{
    struct fm_file *folder = NULL;
    uint32_t failed = fm_wasi_file(guest, fd, 0, FM_WASI_NOTDIR, &folder);
    if (!failed && folder->type != FM_FILE_FOLDER)
        failed = FM_WASI_NOTDIR;
    if (!failed)
        failed = fm_wasi_file(guest, fd, rights, FM_WASI_NOTDIR, ret_folder);
    return failed ? failed : get_path(guest, address, length, ret_path);
}

/* --- attributes ------------------------------------------------------------------------------- */

uint32_t fm_wasi_path_filestat_get(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_file *folder = NULL;
    struct path path;
    struct fm_file_stat stat;
    uint32_t failed = get_place(guest, in[0].u32, FM_WASI_RIGHT_PATH_FILESTAT_GET, in[2].u32,
                                in[3].u32, &folder, &path);
    if (!failed)
        failed = fm_wasi_errno(
            folder->ops->stat_at(folder, path.text, in[1].u32 & LOOKUP_FOLLOW, &stat));
    if (failed)
        return failed;
    return fm_wasi_put_filestat(guest, in[4].u32, &stat) ? FM_WASI_SUCCESS : FM_WASI_FAULT;
}

uint32_t fm_wasi_path_filestat_set_times(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_file *folder = NULL;
    struct path path;
    struct fm_file_times times;
    uint32_t failed = get_place(guest, in[0].u32, FM_WASI_RIGHT_PATH_FILESTAT_SET_TIMES, in[2].u32,
                                in[3].u32, &folder, &path);
    if (!failed)
        failed = fm_wasi_times(in[4].u64, in[5].u64, in[6].u32, &times);
    if (failed)
        return failed;
    return fm_wasi_errno(
        folder->ops->set_times_at(folder, path.text, in[1].u32 & LOOKUP_FOLLOW, &times));
}

/* --- names ------------------------------------------------------------------------------------ */

static uint32_t change_name(struct fm_guest *guest, const union fm_value *in, uint64_t right,
                            int (*change)(const struct fm_file_ops *ops, struct fm_file *folder,
                                          const char *path))
{
    struct fm_file *folder = NULL;
    struct path path;
    uint32_t failed = get_place(guest, in[0].u32, right, in[1].u32, in[2].u32, &folder, &path);
    return failed ? failed : fm_wasi_errno(change(folder->ops, folder, path.text));
}

static int make_folder(const struct fm_file_ops *ops, struct fm_file *folder, const char *path)
{
    return ops->make_folder(folder, path);
}

static int remove_folder(const struct fm_file_ops *ops, struct fm_file *folder, const char *path)
{
    return ops->remove_folder(folder, path);
}

static int unlink_file(const struct fm_file_ops *ops, struct fm_file *folder, const char *path)
{
    return ops->unlink(folder, path);
}

uint32_t fm_wasi_path_create_directory(struct fm_guest *guest, const union fm_value *in)
{
    return change_name(guest, in, FM_WASI_RIGHT_PATH_CREATE_DIRECTORY, make_folder);
}

uint32_t fm_wasi_path_remove_directory(struct fm_guest *guest, const union fm_value *in)
{
    return change_name(guest, in, FM_WASI_RIGHT_PATH_REMOVE_DIRECTORY, remove_folder);
}

uint32_t fm_wasi_path_unlink_file(struct fm_guest *guest, const union fm_value *in)
{
    return change_name(guest, in, FM_WASI_RIGHT_PATH_UNLINK_FILE, unlink_file);
}

/* Two places in file systems of one kind; else EXDEV. */
struct two_places {
    struct fm_file *from_folder;
    struct fm_file *to_folder;
    struct path from;
    struct path to;
};

static uint32_t same_kind(const struct two_places *places)
{
    return places->from_folder->ops == places->to_folder->ops ? FM_WASI_SUCCESS : FM_WASI_XDEV;
}

/* The specification has no links that are followed here: see its path_link. */
uint32_t fm_wasi_path_link(struct fm_guest *guest, const union fm_value *in)
{
    struct two_places places;
    uint32_t failed = get_place(guest, in[0].u32, FM_WASI_RIGHT_PATH_LINK_SOURCE, in[2].u32,
                                in[3].u32, &places.from_folder, &places.from);
    if (!failed)
        failed = get_place(guest, in[4].u32, FM_WASI_RIGHT_PATH_LINK_TARGET, in[5].u32, in[6].u32,
                           &places.to_folder, &places.to);
    if (!failed && (in[1].u32 & LOOKUP_FOLLOW))
        failed = FM_WASI_INVAL;
    if (!failed)
        failed = same_kind(&places);
    if (failed)
        return failed;
    return fm_wasi_errno(places.from_folder->ops->link(places.from_folder, places.from.text,
                                                       places.to_folder, places.to.text));
}

uint32_t fm_wasi_path_rename(struct fm_guest *guest, const union fm_value *in)
{
    struct two_places places;
    uint32_t failed = get_place(guest, in[0].u32, FM_WASI_RIGHT_PATH_RENAME_SOURCE, in[1].u32,
                                in[2].u32, &places.from_folder, &places.from);
    if (!failed)
        failed = get_place(guest, in[3].u32, FM_WASI_RIGHT_PATH_RENAME_TARGET, in[4].u32, in[5].u32,
                           &places.to_folder, &places.to);
    if (!failed)
        failed = same_kind(&places);
    if (failed)
        return failed;
    return fm_wasi_errno(places.from_folder->ops->rename(places.from_folder, places.from.text,
                                                         places.to_folder, places.to.text));
}

uint32_t fm_wasi_path_symlink(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_file *folder = NULL;
    struct path target;
    struct path path;
    uint32_t failed = get_place(guest, in[2].u32, FM_WASI_RIGHT_PATH_SYMLINK, in[3].u32, in[4].u32,
                                &folder, &path);
    if (!failed)
        failed = get_path(guest, in[0].u32, in[1].u32, &target);
    return failed ? failed : fm_wasi_errno(folder->ops->make_link(folder, target.text, path.text));
}

uint32_t fm_wasi_path_readlink(struct fm_guest *guest, const union fm_value *in)
{
    struct fm_file *folder = NULL;
    struct path path;
    struct path target;
    uint8_t *buffer = NULL;
    uint32_t failed = get_place(guest, in[0].u32, FM_WASI_RIGHT_PATH_READLINK, in[1].u32, in[2].u32,
                                &folder, &path);
    if (failed)
        return failed;
    if (!fm_memory_at(guest, in[3].u32, in[4].u32, &buffer))
        return FM_WASI_FAULT;
    size_t bytes = (size_t)fm_min_u64(in[4].u32, sizeof(target.text));
    int64_t got = folder->ops->read_link(folder, path.text, target.text, bytes);
    if (got < 0)
        return fm_wasi_errno(got);
    memcpy(buffer, target.text, (size_t)got);
    return fm_memory_put_u32(guest, in[5].u32, (uint32_t)got) ? FM_WASI_SUCCESS : FM_WASI_FAULT;
}

/* --- path_open -------------------------------------------------------------------------------- */

/* Parameters: folder, lookup flags, path, its length, oflags, rights, inheriting, fdflags, where
 * the descriptor goes. */
static unsigned how_of(const union fm_value *in)
{
    uint32_t oflags = in[4].u32;
    uint64_t rights = in[5].u64;
    unsigned how = 0;
    if (rights & FM_WASI_RIGHT_FD_READ)
        how |= FM_OPEN_READ;
    if (rights & FM_WASI_RIGHT_FD_WRITE) /* others change a file too, but programs ask for all */
        how |= FM_OPEN_WRITE;
    if (oflags & OFLAGS_CREAT)
        how |= FM_OPEN_CREATE;
    if (oflags & OFLAGS_EXCL)
        how |= FM_OPEN_EXCLUSIVE;
    if (oflags & OFLAGS_TRUNC)
        how |= FM_OPEN_TRUNCATE;
    if (oflags & OFLAGS_DIRECTORY)
        how |= FM_OPEN_FOLDER;
    if (in[1].u32 & LOOKUP_FOLLOW)
        how |= FM_OPEN_FOLLOW;
    return how;
}

static uint64_t rights_needed(uint32_t oflags)
{
    uint64_t rights = FM_WASI_RIGHT_PATH_OPEN;
    if (oflags & OFLAGS_CREAT)
        rights |= FM_WASI_RIGHT_PATH_CREATE_FILE;
    if (oflags & OFLAGS_TRUNC)
        rights |= FM_WASI_RIGHT_PATH_FILESTAT_SET_SIZE;
    return rights;
}

/* The new descriptor must not be able to do more than the folder allows it. */
static uint32_t check_rights(struct fm_guest *guest, const union fm_value *in)
{
    uint64_t inheriting = fm_descriptor_get(guest, in[0].u32)->inheriting;
    return ((in[5].u64 | in[6].u64) & ~inheriting) == 0 ? FM_WASI_SUCCESS : FM_WASI_NOTCAPABLE;
}

static struct fm_descriptor descriptor_of(struct fm_file *file, const union fm_value *in)
{
    bool folder = file->type == FM_FILE_FOLDER;
    return (struct fm_descriptor){
        .stream = FM_STREAM_FILE,
        .flags = (uint16_t)in[7].u32,
        .rights = in[5].u64 & (folder ? FM_WASI_RIGHTS_FOLDER : FM_WASI_RIGHTS_PLAIN),
        .inheriting = in[6].u64,
        .file = file,
    };
}

/* An errno of WASI; or `*ret_wait`, and nothing has happened. */
static uint32_t open_path(struct fm_guest *guest, const union fm_value *in, bool *ret_wait)
{
    struct fm_file *folder = NULL;
    struct fm_file *file = NULL;
    struct path path;
    uint8_t *result_at = NULL;
    uint32_t fd = 0;
    uint32_t failed =
        get_place(guest, in[0].u32, rights_needed(in[4].u32), in[2].u32, in[3].u32, &folder, &path);
    if (!failed && ((in[4].u32 & ~(uint32_t)OFLAGS_ALL) || (in[7].u32 & ~FM_WASI_FDFLAGS_ALL)))
        failed = FM_WASI_INVAL;
    if (!failed)
        failed = check_rights(guest, in);
    if (!failed && !fm_memory_at(guest, in[8].u32, 4, &result_at))
        failed = FM_WASI_FAULT;
    if (!failed)
        failed = fm_wasi_errno(fm_descriptor_find_free(guest, &fd));
    if (failed)
        return failed;
    int error = folder->ops->open(folder, path.text, how_of(in), &file);
    *ret_wait = error == FM_FILE_WAIT;
    if (error)
        return fm_wasi_errno(*ret_wait ? 0 : error);
    guest->descriptors.list[fd] = descriptor_of(file, in);
    fm_store_u32(result_at, fd);
    return FM_WASI_SUCCESS;
}

int fm_wasi_path_open(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    struct fm_guest *guest = host;
    bool wait = false;
    uint32_t failed = open_path(guest, values, &wait);
    if (wait) {
        guest->content = fm_overlay_awaited(guest->overlay);
        guest->content_loaded = false;
        guest->park_until_ns = UINT64_MAX;
        return FM_PARK;
    }
    values[0].u64 = failed;
    return 0;
}

int fm_wasi_path_open_again(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    struct fm_guest *guest = host;
    bool wait = false;
    if (!guest->content_loaded)
        return FM_PARK;
    struct fm_content *content = guest->content;
    uint32_t failed = fm_wasi_errno(guest->content_error);
    if (!failed) {
        failed = open_path(guest, values, &wait);
        FM_ASSERT(!wait); /* it is pinned, and the same path leads to the same file */
        fm_content_unpin(content);
    }
    guest->content = NULL;
    guest->content_loaded = false;
    values[0].u64 = failed;
    return 0;
}
