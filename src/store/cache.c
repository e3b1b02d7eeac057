/* cache.c - the compile cache of a version: what its compilation leaves for the next upload's.
 *
 *      functions/<user>/<function>/<version>/function.cache
 *                              [what the compile process has written][keyed hash, 32 bytes]
 *
 * Whoever can change the cache of a function can change its next machine code.  So it is proved
 * like that (keyed_hash.c), and is the function's own: what a module does to its compile process
 * cannot reach another user's code, nor another function's, but by being uploaded as such.  The
 * version is not in the proof, since the cache says by itself what each entry is for, and an edit
 * (edit.c) hands it on as it is.
 *
 * It is never needed.  So it is not synced, and whatever is wrong with it (cut short by a crash,
 * another build, a full disk) has no answer but that there is none.
 *
 * Any thread. */
#include <fcntl.h>
#include <sys/stat.h>

#include "store/versions.h"

static int hash_content(const struct fm_functions *functions, const char *user,
                        const char *function, int fd, uint64_t bytes,
                        uint8_t ret_hash[FM_DIGEST_BYTES])
{
    uint8_t digest[FM_DIGEST_BYTES];
    int failed = fm_keyed_hash_digest_start(fd, FM_STORE_CACHE, bytes, digest, NULL);
    if (!failed)
        fm_keyed_hash_cache(functions->key, user, function, functions->build_id, digest, ret_hash);
    return failed;
}

/* Adds the proof.  False: there is nothing worth one. */
static bool seal(const struct fm_functions *functions, const char *user, const char *function,
                 int folder_fd)
{
    uint8_t hash[FM_DIGEST_BYTES];
    struct stat info;
    FM_CLEANUP(fm_files_close)
    int fd = openat(folder_fd, FM_STORE_CACHE, O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 &&
           hash_content(functions, user, function, fd, (uint64_t)info.st_size, hash) == 0 &&
           fm_files_write(fd, FM_STORE_CACHE, hash, sizeof(hash), NULL) == 0;
}

void fm_cache_seal(const struct fm_functions *functions, const char *user, const char *function,
                   int folder_fd)
{
    if (!seal(functions, user, function, folder_fd))
        (void)unlinkat(folder_fd, FM_STORE_CACHE, 0); /* most often there is none */
}

static bool proved(const struct fm_functions *functions, const char *user, const char *function,
                   int fd, uint64_t bytes)
{
    uint8_t hash[FM_DIGEST_BYTES];
    uint8_t proof[FM_DIGEST_BYTES];
    if (bytes <= sizeof(proof))
        return false;
    uint64_t content = bytes - sizeof(proof);
    return pread(fd, proof, sizeof(proof), (off_t)content) == (ssize_t)sizeof(proof) &&
           hash_content(functions, user, function, fd, content, hash) == 0 &&
           fm_keyed_hash_same(hash, proof);
}

/* The newest complete version's, not proved; -1: there is none. */
static int open_current(const struct fm_functions *functions, const char *user,
                        const char *function, uint64_t *ret_bytes)
{
    struct fm_versions versions;
    struct fm_versions_report report = {.on_bad = NULL};
    struct fm_version *current = NULL;
    size_t index;
    FM_CLEANUP(fm_files_close) int version_fd = -1;
    int fd = -1;
    if (fm_versions_open(functions, user, function, false, &versions, NULL) != 0)
        return -1;
    if (fm_versions_current(functions, &versions, &report, &current, &index, NULL) == 0 &&
        current && fm_files_folder_open(versions.folder_fd, current->id, &version_fd, NULL) == 0 &&
        fm_files_open(version_fd, FM_STORE_CACHE, ret_bytes, &fd, NULL) != 0)
        fd = -1;
    fm_version_free(current);
    fm_versions_done(&versions);
    return fd;
}

int fm_functions_cache_open(struct fm_functions *functions, const char *user, const char *function)
{
    uint64_t bytes = 0;
    int fd = open_current(functions, user, function, &bytes);
    if (fd >= 0 && !proved(functions, user, function, fd, bytes))
        fm_files_close(&fd);
    return fd;
}
