/* key.c - the secret that proves machine code to be ours.
 *
 * 32 random bytes in <data>/key.  Whoever has it can make this server run any machine code, so the
 * file is the server's alone.  It is written in `incoming`, synced and renamed, so it is there
 * whole or not at all; a server that crashed before makes another one, with nothing signed yet.
 *
 * A key that got lost is no loss of data: all machine code then counts as stale and is made again
 * from the modules.  A damaged key is an error all the same, since the operator should hear of it.
 *
 * Called at start, by one thread. */
#include "store/key.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "store/files.h"

#define KEY_NAME "key"

static int make_key(int data_fd, int incoming_fd, struct fm_error *error)
{
    uint8_t key[FM_KEY_BYTES];
    char name[FM_FILES_RANDOM_SIZE];
    if (getrandom(key, sizeof(key), 0) != (ssize_t)sizeof(key))
        return fm_error_set(error, FM_ERR_IO, "the system gives no random bytes");
    fm_files_random_name(name);
    int failed = fm_files_put(incoming_fd, name, key, sizeof(key), error);
    explicit_bzero(key, sizeof(key));
    if (failed)
        return failed;
    if (renameat(incoming_fd, name, data_fd, KEY_NAME) != 0)
        return fm_files_error(error, errno, "rename a file to", KEY_NAME);
    return fm_files_sync(data_fd, "the data folder", error);
}

int fm_key_load(int data_fd, int incoming_fd, const char *path, uint8_t ret_key[FM_KEY_BYTES],
                struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int fd = -1;
    uint64_t bytes = 0;
    int failed = 0;
    if (faccessat(data_fd, KEY_NAME, F_OK, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
        failed = make_key(data_fd, incoming_fd, error);
    if (!failed)
        failed = fm_files_open(data_fd, KEY_NAME, &bytes, &fd, error);
    if (!failed)
        failed = fm_files_own(fd, path, KEY_NAME, error);
    if (failed)
        return failed;

    uint8_t key[FM_KEY_BYTES + 1]; /* one more, to see the end */
    ssize_t got = read(fd, key, sizeof(key));
    if (got == FM_KEY_BYTES)
        memcpy(ret_key, key, FM_KEY_BYTES);
    explicit_bzero(key, sizeof(key));
    if (got < 0)
        return fm_files_error(error, errno, "read", KEY_NAME);
    if (got != FM_KEY_BYTES)
        return fm_error_set(error, FM_ERR_IO,
                            "'%s/%s' is damaged: remove it, and a new one is made; machine code is "
                            "then compiled again",
                            path, KEY_NAME);
    return 0;
}
