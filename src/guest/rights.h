/* rights.h - WASI's rights: what may be done through a descriptor.
 *
 * Numbers are those of the specification (wasi_snapshot_preview1.witx). */
#pragma once

#include <stdint.h>

#define FM_WASI_RIGHT_MAP(X)                                                                       \
    X(FD_DATASYNC, 0)                                                                              \
    X(FD_READ, 1)                                                                                  \
    X(FD_SEEK, 2)                                                                                  \
    X(FD_FDSTAT_SET_FLAGS, 3)                                                                      \
    X(FD_SYNC, 4)                                                                                  \
    X(FD_TELL, 5)                                                                                  \
    X(FD_WRITE, 6)                                                                                 \
    X(FD_ADVISE, 7)                                                                                \
    X(FD_ALLOCATE, 8)                                                                              \
    X(PATH_CREATE_DIRECTORY, 9)                                                                    \
    X(PATH_CREATE_FILE, 10)                                                                        \
    X(PATH_LINK_SOURCE, 11)                                                                        \
    X(PATH_LINK_TARGET, 12)                                                                        \
    X(PATH_OPEN, 13)                                                                               \
    X(FD_READDIR, 14)                                                                              \
    X(PATH_READLINK, 15)                                                                           \
    X(PATH_RENAME_SOURCE, 16)                                                                      \
    X(PATH_RENAME_TARGET, 17)                                                                      \
    X(PATH_FILESTAT_GET, 18)                                                                       \
    X(PATH_FILESTAT_SET_SIZE, 19)                                                                  \
    X(PATH_FILESTAT_SET_TIMES, 20)                                                                 \
    X(FD_FILESTAT_GET, 21)                                                                         \
    X(FD_FILESTAT_SET_SIZE, 22)                                                                    \
    X(FD_FILESTAT_SET_TIMES, 23)                                                                   \
    X(PATH_SYMLINK, 24)                                                                            \
    X(PATH_REMOVE_DIRECTORY, 25)                                                                   \
    X(PATH_UNLINK_FILE, 26)                                                                        \
    X(POLL_FD_READWRITE, 27)

enum fm_wasi_right {
#define X(name, bit) FM_WASI_RIGHT_##name = 1 << (bit),
    FM_WASI_RIGHT_MAP(X)
#undef X
};

/* What each kind can have; a stream reads or writes besides. */
#define FM_WASI_RIGHTS_STREAM                                                                      \
    ((uint64_t)(FM_WASI_RIGHT_FD_FDSTAT_SET_FLAGS | FM_WASI_RIGHT_FD_FILESTAT_GET |                \
                FM_WASI_RIGHT_POLL_FD_READWRITE))

#define FM_WASI_RIGHTS_PLAIN                                                                       \
    ((uint64_t)(FM_WASI_RIGHT_FD_DATASYNC | FM_WASI_RIGHT_FD_READ | FM_WASI_RIGHT_FD_SEEK |        \
                FM_WASI_RIGHT_FD_FDSTAT_SET_FLAGS | FM_WASI_RIGHT_FD_SYNC |                        \
                FM_WASI_RIGHT_FD_TELL | FM_WASI_RIGHT_FD_WRITE | FM_WASI_RIGHT_FD_ADVISE |         \
                FM_WASI_RIGHT_FD_ALLOCATE | FM_WASI_RIGHT_FD_FILESTAT_GET |                        \
                FM_WASI_RIGHT_FD_FILESTAT_SET_SIZE | FM_WASI_RIGHT_FD_FILESTAT_SET_TIMES |         \
                FM_WASI_RIGHT_POLL_FD_READWRITE))

#define FM_WASI_RIGHTS_FOLDER                                                                      \
    ((uint64_t)(FM_WASI_RIGHT_FD_DATASYNC | FM_WASI_RIGHT_FD_FDSTAT_SET_FLAGS |                    \
                FM_WASI_RIGHT_FD_SYNC | FM_WASI_RIGHT_PATH_CREATE_DIRECTORY |                      \
                FM_WASI_RIGHT_PATH_CREATE_FILE | FM_WASI_RIGHT_PATH_LINK_SOURCE |                  \
                FM_WASI_RIGHT_PATH_LINK_TARGET | FM_WASI_RIGHT_PATH_OPEN |                         \
                FM_WASI_RIGHT_FD_READDIR | FM_WASI_RIGHT_PATH_READLINK |                           \
                FM_WASI_RIGHT_PATH_RENAME_SOURCE | FM_WASI_RIGHT_PATH_RENAME_TARGET |              \
                FM_WASI_RIGHT_PATH_FILESTAT_GET | FM_WASI_RIGHT_PATH_FILESTAT_SET_SIZE |           \
                FM_WASI_RIGHT_PATH_FILESTAT_SET_TIMES | FM_WASI_RIGHT_FD_FILESTAT_GET |            \
                FM_WASI_RIGHT_FD_FILESTAT_SET_TIMES | FM_WASI_RIGHT_PATH_SYMLINK |                 \
                FM_WASI_RIGHT_PATH_REMOVE_DIRECTORY | FM_WASI_RIGHT_PATH_UNLINK_FILE))
