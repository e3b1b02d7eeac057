/* wasi_path.c - directories, paths and sockets, for a guest that was given none.
 *
 * Nothing is preopened, so a path can only be named relative to a stream (ENOTDIR) or to a
 * descriptor that does not exist (EBADF); neither needs the path itself, which is not read.  A C
 * library asks fd_prestat_get for descriptor after descriptor, from 3 on, until EBADF. */
#include "guest/private.h"
#include "guest/wasi.h"

static uint32_t no_directory(struct fm_guest *guest, uint32_t fd)
{
    return fm_wasi_descriptor(guest, fd) ? FM_WASI_NOTDIR : FM_WASI_BADF;
}

static uint32_t no_socket(struct fm_guest *guest, uint32_t fd)
{
    return fm_wasi_descriptor(guest, fd) ? FM_WASI_NOTSOCK : FM_WASI_BADF;
}

static uint32_t not_preopened(void)
{
    return FM_WASI_BADF;
}

/* Each row: the function, and what it says of the first descriptor among its parameters. */
#define ROWS(X)                                                                                    \
    X(fd_prestat_get, not_preopened())                                                             \
    X(fd_prestat_dir_name, not_preopened())                                                        \
    X(fd_readdir, no_directory(guest, in[0].u32))                                                  \
    X(path_create_directory, no_directory(guest, in[0].u32))                                       \
    X(path_filestat_get, no_directory(guest, in[0].u32))                                           \
    X(path_filestat_set_times, no_directory(guest, in[0].u32))                                     \
    X(path_link, no_directory(guest, in[0].u32))                                                   \
    X(path_open, no_directory(guest, in[0].u32))                                                   \
    X(path_readlink, no_directory(guest, in[0].u32))                                               \
    X(path_remove_directory, no_directory(guest, in[0].u32))                                       \
    X(path_rename, no_directory(guest, in[0].u32))                                                 \
    X(path_symlink, no_directory(guest, in[2].u32)) /* target, its length, descriptor */           \
    X(path_unlink_file, no_directory(guest, in[0].u32))                                            \
    X(sock_accept, no_socket(guest, in[0].u32))                                                    \
    X(sock_recv, no_socket(guest, in[0].u32))                                                      \
    X(sock_send, no_socket(guest, in[0].u32))                                                      \
    X(sock_shutdown, no_socket(guest, in[0].u32))

#define X(name, answer)                                                                            \
    uint32_t fm_wasi_##name(struct fm_guest *guest, const union fm_value *in)                      \
    {                                                                                              \
        (void)guest;                                                                               \
        (void)in;                                                                                  \
        return answer;                                                                             \
    }
ROWS(X)
#undef X
