/* code.c - machine code: proved before it is loaded, replaced when it is stale.
 *
 * Anything that is wrong with the machine code or its proof has one answer, FM_ERR_CONFLICT: make
 * it again.  A bad sector, an edited file, another build of the engine and a lost key need no
 * different treatment, and the caller has one path to test.
 *
 * Renewal replaces two files, the code and then its hash in meta.json.  Between the two renames, or
 * after a crash there, the hash does not fit, so the code counts as stale, as it did before.  A
 * reader takes the files in the other order, the hash first, so that it sees at worst the old
 * state.  No reader needs the lock; two threads that renew the same code do the work twice, and
 * either result is good.
 *
 * Paths of versions never change while somebody may use them (fm_functions_drop() says when that
 * ends), so what is proved here can be opened by its path later.
 *
 * Any thread. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/name.h"
#include "store/text.h"
#include "store/versions.h"

#define FOLDER "functions/%s/%s/%s"

/* FM_ERR_NOT_FOUND: the version was dropped, or never was here. */
static int open_version(const struct fm_functions *functions, const struct fm_version *version,
                        int *ret_fd, struct fm_error *error)
{
    FM_ASSERT(fm_name_valid(version->user, strlen(version->user)));
    FM_ASSERT(fm_name_valid(version->function, strlen(version->function)));
    FM_ASSERT(fm_text_id_valid(version->id));
    FM_CLEANUP(fm_files_close) int user_fd = -1;
    FM_CLEANUP(fm_files_close) int function_fd = -1;
    int failed = fm_files_folder_open(functions->functions_fd, version->user, &user_fd, error);
    if (!failed)
        failed = fm_files_folder_open(user_fd, version->function, &function_fd, error);
    if (!failed)
        failed = fm_files_folder_open(function_fd, version->id, ret_fd, error);
    if (failed == FM_ERR_NOT_FOUND)
        return fm_error_set(error, failed, "version %s of %s/%s was removed", version->id,
                            version->user, version->function);
    return failed;
}

static int stale(struct fm_error *error, const char *reason)
{
    return fm_error_set(error, FM_ERR_CONFLICT, "the machine code must be made again: %s", reason);
}

static int digest_code(int version_fd, uint8_t ret_digest[FM_DIGEST_BYTES], struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int fd = -1;
    uint64_t bytes = 0;
    int failed = fm_files_open(version_fd, FM_STORE_CWASM, &bytes, &fd, error);
    if (!failed)
        failed = fm_keyed_hash_digest(fd, FM_STORE_CWASM, ret_digest, error);
    return failed;
}

/* A text of meta.json, if it is in the form in which this server writes it: members of the
 * outermost object are lines of their own, indented by two, and no text holds a newline.  Reading
 * all of it as JSON took a sixth of the time in which a module is loaded, to no purpose: the proof
 * is good for one version only, and what else stands there was read when that was published. */
static const char *find_text(const struct fm_buffer *meta, const char *member, size_t *ret_length)
{
    char line[64];
    int length = snprintf(line, sizeof(line), "\n  \"%s\": \"", member);
    FM_ASSERT(length > 0 && (size_t)length < sizeof(line));
    const char *text = meta->length ? memmem(meta->data, meta->length, line, (size_t)length) : NULL;
    if (!text)
        return NULL;
    text += length;
    const char *quote = memchr(text, '"', meta->length - (size_t)(text - (const char *)meta->data));
    if (!quote)
        return NULL;
    *ret_length = (size_t)(quote - text);
    return text;
}

/* The keyed hash that stands in meta.json, if it is of this build. */
static int find_proof(const struct fm_functions *functions, const struct fm_buffer *meta,
                      char ret_proof[FM_DIGEST_TEXT_SIZE], struct fm_error *error)
{
    size_t build_length = 0;
    size_t proof_length = 0;
    const char *build = find_text(meta, "build", &build_length);
    const char *proof = find_text(meta, "code_hmac", &proof_length);
    if (!build || !proof || proof_length != FM_DIGEST_TEXT_SIZE - 1)
        return stale(error, FM_STORE_META " has no hash of it");
    if (build_length != strlen(functions->build_id) ||
        memcmp(build, functions->build_id, build_length) != 0)
        return stale(error, "it is of another build");
    memcpy(ret_proof, proof, proof_length);
    ret_proof[proof_length] = '\0';
    return 0;
}

static int read_proof(const struct fm_functions *functions, int version_fd,
                      char ret_proof[FM_DIGEST_TEXT_SIZE], struct fm_error *error)
{
    struct fm_buffer meta;
    fm_buffer_init(&meta, FM_STORE_META_BYTES_MAX);
    struct fm_error cause = {0};
    int failed = fm_files_read(version_fd, FM_STORE_META, &meta, &cause);
    if (fm_files_shortage(failed))
        failed = fm_error_set(error, failed, "%s", cause.text);
    else if (failed)
        failed = stale(error, cause.text);
    else
        failed = find_proof(functions, &meta, ret_proof, error);
    fm_buffer_done(&meta);
    return failed;
}

static int check_code(const struct fm_functions *functions, const struct fm_version *version,
                      int version_fd, struct fm_error *error)
{
    char proof[FM_DIGEST_TEXT_SIZE];
    int failed = read_proof(functions, version_fd, proof, error);
    if (failed)
        return failed;
    struct fm_error cause = {0};
    uint8_t digest[FM_DIGEST_BYTES];
    failed = digest_code(version_fd, digest, &cause);
    if (fm_files_shortage(failed))
        return fm_error_set(error, failed, "%s", cause.text);
    if (failed)
        return stale(error, cause.text);
    char hash[FM_DIGEST_TEXT_SIZE];
    fm_keyed_hash(functions->key, version, functions->build_id, digest, hash);
    return fm_keyed_hash_equal(hash, proof) ? 0 : stale(error, "its keyed hash does not fit");
}

int fm_functions_code(struct fm_functions *functions, const struct fm_version *version, char *path,
                      struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int version_fd = -1;
    int failed = open_version(functions, version, &version_fd, error);
    if (!failed)
        failed = check_code(functions, version, version_fd, error);
    if (!failed)
        fm_functions_path(functions, path, FOLDER "/" FM_STORE_CWASM, version->user,
                          version->function, version->id);
    return failed;
}

/* --- renewal ---------------------------------------------------------------------------------- */

void fm_functions_code_paths(const struct fm_functions *functions, const struct fm_version *version,
                             char *ret_wasm_path, char *ret_new_cwasm_path)
{
    char name[FM_FILES_RANDOM_SIZE];
    fm_files_random_name(name);
    fm_functions_path(functions, ret_wasm_path, FOLDER "/" FM_STORE_WASM, version->user,
                      version->function, version->id);
    fm_functions_path(functions, ret_new_cwasm_path, "incoming/%s", name);
}

/* Both files into place, the code first.  Under the lock. */
static int put_code(const struct fm_functions *functions, const struct fm_version *version,
                    const char *cwasm_path, const char *meta_name, struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int version_fd = -1;
    int failed = open_version(functions, version, &version_fd, error);
    if (failed)
        return failed;
    if (renameat(AT_FDCWD, cwasm_path, version_fd, FM_STORE_CWASM) != 0)
        return fm_files_error(error, errno, "put into its place", FM_STORE_CWASM);
    (void)unlinkat(version_fd, FM_STORE_CACHE, 0); /* most likely it was of another build */
    if (renameat(functions->incoming_fd, meta_name, version_fd, FM_STORE_META) != 0)
        return fm_files_error(error, errno, "put into its place", FM_STORE_META);
    return fm_files_sync(version_fd, version->id, error);
}

/* The new meta.json, in incoming/. */
static int put_meta(const struct fm_functions *functions, const struct fm_version *version,
                    const uint8_t digest[FM_DIGEST_BYTES], const char *meta_name,
                    struct fm_error *error)
{
    struct fm_buffer text;
    fm_buffer_init(&text, FM_STORE_META_BYTES_MAX);
    int failed = fm_versions_meta_text(functions, version, digest, &text, error);
    if (!failed)
        failed = fm_files_put(functions->incoming_fd, meta_name, text.data, text.length, error);
    fm_buffer_done(&text);
    return failed;
}

static int renew(struct fm_functions *functions, const struct fm_version *version,
                 const char *cwasm_path, const char *meta_name, struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int fd = -1;
    uint64_t bytes = 0;
    uint8_t digest[FM_DIGEST_BYTES];
    int failed = fm_files_open(AT_FDCWD, cwasm_path, &bytes, &fd, error);
    if (failed == FM_ERR_NOT_FOUND)
        return fm_error_set(error, FM_ERR_INTERNAL, "there is no new machine code");
    if (!failed)
        failed = fm_files_sync(fd, FM_STORE_CWASM, error);
    if (!failed)
        failed = fm_keyed_hash_digest(fd, FM_STORE_CWASM, digest, error);
    if (!failed)
        failed = put_meta(functions, version, digest, meta_name, error);
    if (failed)
        return failed;
    fm_functions_lock(functions);
    failed = put_code(functions, version, cwasm_path, meta_name, error);
    fm_functions_unlock(functions);
    return failed;
}

int fm_functions_code_renew(struct fm_functions *functions, const struct fm_version *version,
                            const char *cwasm_path, struct fm_error *error)
{
    char meta_name[FM_FILES_RANDOM_SIZE];
    fm_files_random_name(meta_name);
    int failed = renew(functions, version, cwasm_path, meta_name, error);
    if (failed) { /* what is left of it; both may be gone already */
        (void)unlinkat(functions->incoming_fd, meta_name, 0);
        (void)unlinkat(AT_FDCWD, cwasm_path, 0);
    }
    return failed;
}
