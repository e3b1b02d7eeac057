/* file_system.h - files as a guest's descriptors see them, whatever they are made of.
 *
 * Two things stand behind it: the overlay of a call (overlay.h: a user's shared tree, with the
 * call's own changes in memory), and the folders of the machine that `faasm run --dir` gives to
 * its module (cmd/run_files.c).  guest/ knows neither.
 *
 * Every operation begins at an open folder and never leaves it: an absolute path, a `..` above the
 * folder, or a link that leads out is -EPERM.  Results are 0 (or a count), or a negative errno of
 * Linux.  Paths are texts without NUL, at most FM_FILE_PATH_BYTES_MAX.  One thread at a time. */
#pragma once

#include "base/base.h"

struct fm_file_ops;

enum fm_file_type {
    FM_FILE_UNKNOWN,
    FM_FILE_PLAIN,
    FM_FILE_FOLDER,
    FM_FILE_LINK, /* symbolic */
};

/* What is open: a plain file or a folder.  Each kind of file system embeds it. */
struct fm_file {
    const struct fm_file_ops *ops;
    enum fm_file_type type;
};

struct fm_file_stat {
    uint64_t device;
    uint64_t inode; /* not 0; another for each file of a device */
    enum fm_file_type type;
    uint64_t links;
    uint64_t bytes;
    uint64_t accessed_ns; /* real time, like the two that follow */
    uint64_t modified_ns;
    uint64_t changed_ns;
};

/* UINT64_MAX: is left as it is. */
struct fm_file_times {
    uint64_t accessed_ns;
    uint64_t modified_ns;
};

/* One name in a folder.  `next` is where a listing goes on after it; `name` is valid until the
 * file system is asked again. */
struct fm_file_entry {
    uint64_t next;
    uint64_t inode;
    enum fm_file_type type;
    const char *name;
    size_t name_length;
};

/* How to open. */
enum fm_open {
    FM_OPEN_READ = 1u << 0,
    FM_OPEN_WRITE = 1u << 1,
    FM_OPEN_CREATE = 1u << 2,    /* a plain file that is missing */
    FM_OPEN_EXCLUSIVE = 1u << 3, /* with CREATE: -EEXIST if it, or a link of that name, is there */
    FM_OPEN_TRUNCATE = 1u << 4,  /* also without WRITE */
    FM_OPEN_FOLDER = 1u << 5,    /* -ENOTDIR for anything else */
    FM_OPEN_FOLLOW = 1u << 6,    /* through a link at the path's end; else that is -ELOOP */
};

/* From open: the content is not in memory.  Open again when it is; see overlay.h. */
#define FM_FILE_WAIT 1

#define FM_FILE_APPEND UINT64_MAX /* as an offset: the end */

struct fm_file_ops {
    /* To be closed; never NULL on success.  A folder is opened without WRITE (-EISDIR). */
    int (*open)(struct fm_file *folder, const char *path, unsigned how, struct fm_file **ret_file);
    void (*close)(struct fm_file *file);

    int (*stat)(struct fm_file *file, struct fm_file_stat *ret_stat);
    int (*set_times)(struct fm_file *file, const struct fm_file_times *times);
    int (*sync)(struct fm_file *file, bool data_only);

    /* Of plain files.  Reads give less than `bytes` only at the end; writes are whole or fail. */
    int64_t (*read)(struct fm_file *file, uint64_t offset, uint8_t *data, size_t bytes);
    int64_t (*write)(struct fm_file *file, uint64_t offset, const uint8_t *data, size_t bytes);
    int (*set_size)(struct fm_file *file, uint64_t bytes);
    int (*allocate)(struct fm_file *file, uint64_t offset, uint64_t bytes);

    /* The name that comes after `from` (0: the first); 1, or 0 at the end.  `.` and `..` too.
     * A name that is there throughout a listing is met once, whatever else changes. */
    int (*list)(struct fm_file *folder, uint64_t from, struct fm_file_entry *ret_entry);

    int (*stat_at)(struct fm_file *folder, const char *path, bool follow,
                   struct fm_file_stat *ret_stat);
    int (*set_times_at)(struct fm_file *folder, const char *path, bool follow,
                        const struct fm_file_times *times);
    int (*make_folder)(struct fm_file *folder, const char *path);
    int (*remove_folder)(struct fm_file *folder, const char *path);
    int (*unlink)(struct fm_file *folder, const char *path);

    /* Both folders have these ops.  -EXDEV: they are of different file systems all the same. */
    int (*link)(struct fm_file *from_folder, const char *from, struct fm_file *to_folder,
                const char *to);
    int (*rename)(struct fm_file *from_folder, const char *from, struct fm_file *to_folder,
                  const char *to);

    int (*make_link)(struct fm_file *folder, const char *target, const char *path);
    /* At most `bytes` of the target, without a NUL; how many. */
    int64_t (*read_link)(struct fm_file *folder, const char *path, char *data, size_t bytes);
};

/* A folder that a guest finds open.  Borrowed for the call's life. */
struct fm_preopen {
    const char *name;       /* as the guest sees it: "/", "data" */
    struct fm_file *folder; /* NULL: the top of the call's overlay */
};
