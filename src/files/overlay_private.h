/* overlay_private.h - an overlay from the inside, for the files of overlay*.c. */
#pragma once

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "files/content.h"
#include "files/file_system.h"
#include "files/overlay.h"
#include "files/tree.h"

#define FM_CHUNK_BYTES 4096u

/* The content of a plain file: chunks that were written, over what the tree has. */
struct fm_data {
    uint64_t bytes;
    uint8_t **chunks; /* NULL where nothing was written: there it is what lies below, or zeros */
    size_t chunks_count;

    struct fm_content *content; /* below; borrowed from the tree; NULL: nothing */
    const uint8_t *below;       /* while it is pinned */
    uint64_t below_bytes;       /* of these, what is still to be seen */
    bool pinned;
    bool changed; /* by the call */
};

/* The names in a folder. */
struct fm_folder {
    struct fm_map by_name;   /* struct fm_name.node */
    struct fm_list in_order; /* struct fm_name.link, by position */
    uint64_t position;       /* of the next name */
    uint64_t removals;       /* names that were removed: a cursor may hang */
    bool complete;           /* all names of the tree's folder are here */
    struct fm_inode *parent; /* NULL: the top, or it was removed */
};

/* One file, folder or link.  Lives while it has a name or is open. */
struct fm_inode {
    struct fm_list link; /* in overlay->inodes */
    enum fm_file_type type;
    uint32_t names;
    uint32_t opens;
    uint64_t number;
    uint64_t accessed_ns;
    uint64_t modified_ns;
    uint64_t changed_ns;
    struct fm_node *node; /* what it is in the tree; borrowed; NULL: it is the call's own */
    bool charged;         /* it counts among the bytes that the call has written */
    union {
        struct fm_data data;     /* FM_FILE_PLAIN */
        struct fm_folder folder; /* FM_FILE_FOLDER */
        char *target;            /* FM_FILE_LINK; from malloc */
    };
};

struct fm_name {
    struct fm_map_node node;
    struct fm_list link;
    uint64_t position; /* among the folder's names: in the order in which they came */
    struct fm_inode *inode;
    bool own; /* the call made it, and its bytes are charged */
    size_t length;
    char text[];
};

struct fm_handle {
    struct fm_file file;
    struct fm_overlay *overlay;
    struct fm_inode *inode;

    /* Where a listing is: the name that was given last, as long as no name was removed. */
    struct fm_name *cursor;
    uint64_t cursor_next;
    uint64_t cursor_removals;
};

struct fm_overlay {
    struct fm_node *tree; /* held; NULL: none */
    uint64_t bytes_max;
    uint64_t bytes;
    uint64_t inodes_made; /* for their numbers */
    uint32_t inodes_count;
    uint32_t names_count;
    struct fm_list inodes;
    struct fm_handle root;
    struct fm_content *awaited; /* held; NULL: none */
};

/* Counts bytes of what the call has written.  -ENOSPC. */
FM_MUST_CHECK int fm_overlay_charge(struct fm_overlay *overlay, uint64_t bytes);
void fm_overlay_refund(struct fm_overlay *overlay, uint64_t bytes);

/* --- overlay_inode.c: inodes and the names in folders.  All errors are negative errnos -------- */

/* There are as many names as there may be. */
static inline bool fm_overlay_full(const struct fm_overlay *overlay)
{
    return overlay->names_count >= FM_OVERLAY_FILES_MAX;
}

/* Without a name yet.  `node` NULL: the call's own, made now.  -ENOSPC, -ENOMEM. */
FM_MUST_CHECK int fm_inode_new(struct fm_overlay *overlay, enum fm_file_type type,
                               struct fm_node *node, struct fm_inode **ret_inode);
void fm_inode_drop(struct fm_overlay *overlay, struct fm_inode *inode); /* unless it is in use */
void fm_inode_touch(struct fm_inode *inode); /* modified and changed now */

/* -ENOENT. */
FM_MUST_CHECK int fm_folder_find(struct fm_overlay *overlay, struct fm_inode *folder,
                                 const char *text, size_t length, struct fm_name **ret_name);

/* A name that is not there; the inode has one more.  -ENOENT: the folder was removed. */
FM_MUST_CHECK int fm_folder_add(struct fm_overlay *overlay, struct fm_inode *folder,
                                const char *text, size_t length, struct fm_inode *inode);

/* The inode has one less, and may be gone.  The folder must be complete. */
void fm_folder_remove(struct fm_overlay *overlay, struct fm_inode *folder, struct fm_name *name);

/* The same for a name that is there: its inode has one less, and may be gone. */
void fm_folder_replace(struct fm_overlay *overlay, struct fm_inode *folder, struct fm_name *name,
                       struct fm_inode *inode);

/* Takes over all names of the tree's folder, after which that is not looked at again. */
FM_MUST_CHECK int fm_folder_complete(struct fm_overlay *overlay, struct fm_inode *folder);

static inline bool fm_folder_empty(const struct fm_inode *folder)
{
    return folder->folder.by_name.count == 0;
}

/* --- overlay_data.c: what plain files hold ---------------------------------------------------- */

int64_t fm_data_read(const struct fm_data *data, uint64_t offset, uint8_t *to, size_t bytes);
FM_MUST_CHECK int fm_data_write(struct fm_overlay *overlay, struct fm_data *data, uint64_t offset,
                                const uint8_t *from, size_t bytes);
FM_MUST_CHECK int fm_data_set_size(struct fm_overlay *overlay, struct fm_data *data,
                                   uint64_t bytes);
FM_MUST_CHECK int fm_data_allocate(struct fm_overlay *overlay, struct fm_data *data,
                                   uint64_t offset, uint64_t bytes);
void fm_data_done(struct fm_overlay *overlay, struct fm_data *data);

/* True: the content below can be read from now on, or there is none. */
FM_MUST_CHECK bool fm_data_pin(struct fm_data *data);
void fm_data_unpin(struct fm_data *data); /* unless the file was changed */

/* --- overlay_path.c: from a path to its place ------------------------------------------------- */

enum fm_walk {
    FM_WALK_FOLLOW = 1u << 0,       /* a link at the end */
    FM_WALK_SLASH_FOLLOW = 1u << 1, /* a link at the end that has a slash behind it */
};

/* Where a path leads.  `inode` NULL: nothing is there, but the folder is. */
struct fm_place {
    struct fm_inode *folder; /* of the last name; NULL if that is `.` or `..` */
    struct fm_name *name;    /* NULL: nothing is there, or it is `.` or `..` */
    struct fm_inode *inode;
    bool dots;  /* the last name is `..`; else, without a folder, it is `.` */
    bool slash; /* it has a slash behind it: what is there must be a folder */
    size_t text_length;
    char text[FM_FILE_NAME_BYTES_MAX + 1]; /* the last name */
};

FM_MUST_CHECK int fm_walk(struct fm_overlay *overlay, struct fm_inode *start, const char *path,
                          unsigned how, struct fm_place *ret_place);
