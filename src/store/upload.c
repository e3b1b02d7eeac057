/* upload.c - from bytes to a version that survives a power cut.
 *
 *      begin      incoming/<random>/            made
 *      write      function.wasm                 appended, hashed on the way
 *      written    function.wasm                 fsync
 *      (caller)   function.cwasm                machine code
 *                 function.cache                or not
 *      commit     function.cwasm                fsync, hash
 *                 function.cache                keyed hash
 *        locked   functions/<user>/<function>/  made, if new
 *                 the rest                      commit.c
 *
 * Hashes of large files are taken before the lock; under it are only a few small files and folders.
 *
 * An upload that failed once stays failed, since nobody knows what its file holds.  One thread at a
 * time for one upload. */
#include <stdlib.h>

#include <nettle/sha2.h>

#include "store/versions.h"

enum upload_state {
    UPLOAD_WRITING,   /* takes bytes */
    UPLOAD_WRITTEN,   /* the module is whole and synced */
    UPLOAD_COMMITTED, /* the folder has gone to functions/ */
    UPLOAD_FAILED,    /* a step failed: only fm_upload_end() is left */
};

struct fm_upload {
    struct fm_functions *functions;
    enum upload_state state;
    int failure; /* FM_ERR_*, of UPLOAD_FAILED */
    int folder_fd;
    int wasm_fd; /* while writing */
    uint64_t bytes;
    struct sha256_ctx sha256;
    char sha256_text[FM_DIGEST_TEXT_SIZE];
    char name[FM_FILES_RANDOM_SIZE]; /* in incoming/ */
    char wasm_path[FM_FUNCTIONS_PATH_SIZE];
    char cwasm_path[FM_FUNCTIONS_PATH_SIZE];
    char cache_path[FM_FUNCTIONS_PATH_SIZE];
};

/* --- writing ---------------------------------------------------------------------------------- */

static int make_files(struct fm_upload *upload, struct fm_error *error)
{
    const struct fm_functions *functions = upload->functions;
    int failed = fm_files_folder_make(functions->incoming_fd, upload->name, error);
    if (!failed)
        failed =
            fm_files_folder_open(functions->incoming_fd, upload->name, &upload->folder_fd, error);
    if (!failed)
        failed = fm_files_create(upload->folder_fd, FM_STORE_WASM, &upload->wasm_fd, error);
    return failed == FM_ERR_NOT_FOUND ? FM_ERR_IO : failed;
}

int fm_upload_begin(struct fm_functions *functions, struct fm_upload **ret_upload,
                    struct fm_error *error)
{
    struct fm_upload *upload = calloc(1, sizeof(*upload));
    if (!upload)
        return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    upload->functions = functions;
    upload->folder_fd = -1;
    upload->wasm_fd = -1;
    sha256_init(&upload->sha256);
    fm_files_random_name(upload->name);
    fm_functions_path(functions, upload->wasm_path, "incoming/%s/" FM_STORE_WASM, upload->name);
    fm_functions_path(functions, upload->cwasm_path, "incoming/%s/" FM_STORE_CWASM, upload->name);
    fm_functions_path(functions, upload->cache_path, "incoming/%s/" FM_STORE_CACHE, upload->name);
    int failed = make_files(upload, error);
    if (failed) {
        fm_upload_end(upload);
        return failed;
    }
    *ret_upload = upload;
    return 0;
}

static int fail(struct fm_upload *upload, int failure)
{
    upload->state = UPLOAD_FAILED;
    upload->failure = failure;
    return failure;
}

static int failed_before(const struct fm_upload *upload, struct fm_error *error)
{
    return fm_error_set(error, upload->failure, "the upload failed before: %s",
                        fm_err_meaning(upload->failure));
}

int fm_upload_write(struct fm_upload *upload, const uint8_t *data, size_t bytes,
                    struct fm_error *error)
{
    if (upload->state == UPLOAD_FAILED)
        return failed_before(upload, error);
    FM_ASSERT(upload->state == UPLOAD_WRITING);
    int failed = fm_files_write(upload->wasm_fd, FM_STORE_WASM, data, bytes, error);
    if (failed)
        return fail(upload, failed);
    sha256_update(&upload->sha256, bytes, data);
    upload->bytes += bytes;
    return 0;
}

int fm_upload_written(struct fm_upload *upload, struct fm_error *error)
{
    if (upload->state == UPLOAD_FAILED)
        return failed_before(upload, error);
    if (upload->state == UPLOAD_WRITTEN)
        return 0;
    FM_ASSERT(upload->state == UPLOAD_WRITING);
    int failed = fm_files_sync(upload->wasm_fd, FM_STORE_WASM, error);
    fm_files_close(&upload->wasm_fd);
    if (failed)
        return fail(upload, failed);
    uint8_t digest[FM_DIGEST_BYTES];
    sha256_digest(&upload->sha256, sizeof(digest), digest);
    fm_files_hex(digest, sizeof(digest), upload->sha256_text);
    upload->state = UPLOAD_WRITTEN;
    return 0;
}

uint64_t fm_upload_bytes(const struct fm_upload *upload)
{
    return upload->bytes;
}

const char *fm_upload_wasm_path(const struct fm_upload *upload)
{
    return upload->wasm_path;
}

const char *fm_upload_cwasm_path(const struct fm_upload *upload)
{
    return upload->cwasm_path;
}

const char *fm_upload_cache_path(const struct fm_upload *upload)
{
    return upload->cache_path;
}

/* --- commit ----------------------------------------------------------------------------------- */

/* The digest of the machine code, which is on the disk from now on. */
static int seal_code(const struct fm_upload *upload, uint8_t ret_digest[FM_DIGEST_BYTES],
                     struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int fd = -1;
    uint64_t bytes = 0;
    int failed = fm_files_open(upload->folder_fd, FM_STORE_CWASM, &bytes, &fd, error);
    if (failed == FM_ERR_NOT_FOUND)
        return fm_error_set(error, FM_ERR_INTERNAL, "there is no machine code to commit");
    if (!failed)
        failed = fm_files_sync(fd, FM_STORE_CWASM, error);
    if (!failed)
        failed = fm_keyed_hash_digest(fd, FM_STORE_CWASM, ret_digest, error);
    return failed;
}

/* Whether there is a version to be replaced. */
static int look_for_current(const struct fm_functions *functions,
                            const struct fm_versions *versions, bool *ret_found,
                            struct fm_error *error)
{
    struct fm_versions_report report = {.on_bad = NULL};
    struct fm_version *current = NULL;
    size_t index;
    int failed = fm_versions_current(functions, versions, &report, &current, &index, error);
    if (failed)
        return failed;
    *ret_found = current != NULL;
    fm_version_free(current);
    return 0;
}

/* Under the lock. */
static int commit_locked(struct fm_upload *upload, const struct fm_version *wanted,
                         const uint8_t digest[FM_DIGEST_BYTES], struct fm_version **ret_version,
                         bool *ret_replaced, struct fm_error *error)
{
    struct fm_functions *functions = upload->functions;
    struct fm_versions versions;
    struct fm_staged staged = {
        .name = upload->name, .folder_fd = upload->folder_fd, .version = *wanted};
    staged.version.sha256 = upload->sha256_text;
    staged.version.size = upload->bytes;
    int failed =
        fm_versions_open(functions, wanted->user, wanted->function, true, &versions, error);
    if (failed)
        return failed;
    bool replaced = false;
    failed = look_for_current(functions, &versions, &replaced, error);
    if (!failed)
        failed = fm_versions_commit(functions, &versions, &staged, digest, ret_version, error);
    if (failed)
        fm_versions_tidy(functions, &versions); /* folders that were made for it */
    else
        *ret_replaced = replaced;
    fm_versions_done(&versions);
    return failed;
}

int fm_upload_commit(struct fm_upload *upload, const struct fm_version *wanted,
                     struct fm_version **ret_version, bool *ret_replaced, uint64_t *ret_sequence,
                     struct fm_error *error)
{
    if (upload->state == UPLOAD_FAILED)
        return failed_before(upload, error);
    FM_ASSERT(upload->state == UPLOAD_WRITTEN);
    struct fm_functions *functions = upload->functions;
    uint8_t digest[FM_DIGEST_BYTES];
    int failed = seal_code(upload, digest, error);
    if (failed)
        return fail(upload, failed);
    fm_cache_seal(functions, wanted->user, wanted->function, upload->folder_fd);

    fm_functions_lock(functions);
    failed = commit_locked(upload, wanted, digest, ret_version, ret_replaced, error);
    if (!failed)
        *ret_sequence = ++functions->sequence;
    fm_functions_unlock(functions);
    if (failed)
        return fail(upload, failed);
    upload->state = UPLOAD_COMMITTED;
    return 0;
}

struct fm_upload *fm_upload_end(struct fm_upload *upload)
{
    if (!upload)
        return NULL;
    fm_files_close(&upload->wasm_fd);
    fm_files_close(&upload->folder_fd);
    if (upload->state != UPLOAD_COMMITTED) /* what stays is removed at the next start */
        (void)fm_tree_remove(upload->functions->incoming_fd, upload->name, NULL);
    free(upload);
    return NULL;
}
