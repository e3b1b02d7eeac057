/* upload.c - from bytes to a version that survives a power cut.
 *
 *      begin      incoming/<random>/            made
 *      write      function.wasm                 appended, hashed on the way
 *      written    function.wasm                 fsync
 *      (caller)   function.cwasm                machine code
 *      commit     function.cwasm                fsync, hash
 *        locked   functions/<user>/<function>/  made and synced, if new, with what is above it
 *                 meta.json                     written, fsync
 *                 incoming/<random>/            fsync: the folder is complete
 *                 rename to functions/<user>/<function>/<version>      <-- the one moment
 *                 functions/<user>/<function>/, incoming/              fsync: it stays
 *
 * Before the rename nothing of it can be seen, after it all of it can.  If the last step fails the
 * rename is undone: who got an error must not find the new version after the next start.  (If that
 * fails too, the disk is broken, and holds two whole versions.)
 *
 * Hashes of large files are taken before the lock; under it are only a few small files and folders.
 * The version's id is drawn under the lock, so ids have the order of commits.
 *
 * What is committed is the version as it is read back from the text of its meta.json: a function
 * that this server accepts is one that the next start can read.
 *
 * An upload that failed once stays failed, since nobody knows what its file holds.  One thread at a
 * time for one upload. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <nettle/sha2.h>

#include "base/clock.h"
#include "store/meta.h"
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

/* `wanted` with what only the commit knows, as the text of meta.json, and read back from it. */
static int make_version(const struct fm_upload *upload, const struct fm_version *wanted,
                        const char *id, const uint8_t digest[FM_DIGEST_BYTES],
                        struct fm_buffer *text, struct fm_version **ret_version,
                        struct fm_error *error)
{
    char folder[FM_FUNCTIONS_PATH_SIZE];
    fm_functions_path(upload->functions, folder, "functions/%s/%s/%s", wanted->user,
                      wanted->function, id);
    struct fm_version version = *wanted;
    version.id = id;
    version.folder = folder;
    version.sha256 = upload->sha256_text;
    version.size = upload->bytes;
    version.created_ns = fm_clock_real_ns();
    json_auto_t *json = NULL;
    int failed = fm_versions_meta_text(upload->functions, &version, digest, text, error);
    if (failed)
        return failed;
    if (fm_versions_meta_parse(text, &json, NULL) != 0) /* jansson's own text: memory ran out */
        return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    return fm_meta_from_json(json, folder, ret_version, error);
}

/* Moves the complete folder to its place, durably; undone if that cannot be had. */
static int move_folder(const struct fm_upload *upload, const struct fm_versions *versions,
                       const char *id, struct fm_error *error)
{
    const struct fm_functions *functions = upload->functions;
    int incoming_fd = functions->incoming_fd;
    int failed = fm_files_sync(upload->folder_fd, upload->name, error);
    if (!failed && versions->names.count == 0) { /* perhaps new: the way to it must stay too */
        failed = fm_files_sync(versions->user_fd, versions->user, error);
        if (!failed)
            failed = fm_files_sync(functions->functions_fd, "functions", error);
    }
    if (failed)
        return failed;
    if (renameat(incoming_fd, upload->name, versions->folder_fd, id) != 0)
        return fm_files_error(error, errno, "put into its place the version", id);
    failed = fm_files_sync(versions->folder_fd, versions->function, error);
    if (!failed)
        failed = fm_files_sync(incoming_fd, "incoming", error);
    if (failed) {
        (void)renameat(versions->folder_fd, id, incoming_fd, upload->name);
        (void)fsync(versions->folder_fd); /* the first failure is the one to tell */
    }
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
static int commit_folder(struct fm_upload *upload, const struct fm_versions *versions,
                         const struct fm_version *wanted, const uint8_t digest[FM_DIGEST_BYTES],
                         struct fm_version **ret_version, struct fm_error *error)
{
    char id[FM_ID_TEXT_SIZE];
    struct fm_version *version = NULL;
    struct fm_buffer text;
    fm_buffer_init(&text, FM_STORE_META_BYTES_MAX);
    fm_versions_next_id(upload->functions, versions, fm_clock_real_ns(), id);
    int failed = make_version(upload, wanted, id, digest, &text, &version, error);
    if (!failed)
        failed = fm_files_put(upload->folder_fd, FM_STORE_META, text.data, text.length, error);
    if (!failed)
        failed = move_folder(upload, versions, id, error);
    fm_buffer_done(&text);
    if (failed) {
        fm_version_free(version);
        return failed;
    }
    *ret_version = version;
    return 0;
}

/* Under the lock. */
static int commit_locked(struct fm_upload *upload, const struct fm_version *wanted,
                         const uint8_t digest[FM_DIGEST_BYTES], struct fm_version **ret_version,
                         bool *ret_replaced, struct fm_error *error)
{
    struct fm_functions *functions = upload->functions;
    struct fm_versions versions;
    int failed =
        fm_versions_open(functions, wanted->user, wanted->function, true, &versions, error);
    if (failed)
        return failed;
    bool replaced = false;
    failed = look_for_current(functions, &versions, &replaced, error);
    if (!failed)
        failed = commit_folder(upload, &versions, wanted, digest, ret_version, error);
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
