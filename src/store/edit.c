/* edit.c - another configuration for the same module: a new version without compiling.
 *
 *      incoming/<random>/                     made
 *        function.wasm                        a link to the current version's
 *        function.cwasm                       the same, if its proof holds
 *        function.cache                       the same, if there is one
 *      the rest                               commit.c
 *
 * All of it is done under the lock, from reading the current version to the rename: two edits at
 * once are made one after the other, each of what the other has left, and none is lost.  What
 * stands between two fsyncs of small files there is only arithmetic, however large the module is:
 *
 *   - Files are linked and not copied.  Those of a version are never written to, only replaced
 *     (code.c), so two versions can share them, and either can go first.
 *   - The proof of the machine code covers the version's id, so it must be made anew.  It covers
 * the code by its digest, which stands beside it in meta.json.  Where the old proof fits that
 * digest this server vouched for it, and may do so again; the file itself is not read, but checked
 *     against the digest before it is loaded, as ever.  Where it does not fit (another build of the
 *     engine, another key, a renewal that was cut short, a server that kept no digest), the new
 *     version begins without machine code, and is compiled when it is first needed.
 *
 * Discarded: a file beside meta.json that may change.  A call would then run a version whose
 * limits depend on when it is looked at, and the rule of one rename would need a second one.
 *
 * Any thread. */
#include <string.h>

#include "store/versions.h"

/* Whether the machine code is proved; then its digest. */
static bool proved(const struct fm_functions *functions, const struct fm_version *version,
                   const json_t *meta, uint8_t ret_digest[FM_DIGEST_BYTES])
{
    const char *build = json_string_value(json_object_get(meta, "build"));
    const char *sha256 = json_string_value(json_object_get(meta, "code_sha256"));
    const char *proof = json_string_value(json_object_get(meta, "code_hmac"));
    if (!build || !sha256 || !proof || strcmp(build, functions->build_id) != 0 ||
        fm_files_unhex(sha256, FM_DIGEST_BYTES, ret_digest) != 0)
        return false;
    char hash[FM_DIGEST_TEXT_SIZE];
    fm_keyed_hash(functions->key, version, functions->build_id, ret_digest, hash);
    return fm_keyed_hash_equal(hash, proof);
}

/* The module and, if it is good, its machine code. */
static int link_files(const struct fm_functions *functions, const struct fm_version *current,
                      int version_fd, int staged_fd, bool *ret_proved,
                      uint8_t ret_digest[FM_DIGEST_BYTES], struct fm_error *error)
{
    json_auto_t *meta = NULL;
    int failed = fm_versions_meta_read(version_fd, &meta, error);
    if (!failed)
        failed = fm_files_link(version_fd, staged_fd, FM_STORE_WASM, error);
    if (failed)
        return failed;
    (void)!fm_files_link(version_fd, staged_fd, FM_STORE_CACHE, NULL); /* never needed */
    *ret_proved = proved(functions, current, meta, ret_digest);
    if (!*ret_proved)
        return 0;
    struct fm_error cause = {0};
    failed = fm_files_link(version_fd, staged_fd, FM_STORE_CWASM, &cause);
    if (failed == FM_ERR_NOT_FOUND) { /* as good as another build */
        *ret_proved = false;
        return 0;
    }
    return failed ? fm_error_set(error, failed, "%s", cause.text) : 0;
}

static int stage(struct fm_functions *functions, const struct fm_versions *versions,
                 const struct fm_version *current, struct fm_staged *staged,
                 struct fm_version **ret_version, struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int version_fd = -1;
    uint8_t digest[FM_DIGEST_BYTES];
    bool has_code = false;
    struct fm_error cause = {0};
    int failed = fm_files_folder_open(versions->folder_fd, current->id, &version_fd, &cause);
    if (!failed)
        failed = fm_files_folder_make(functions->incoming_fd, staged->name, &cause);
    if (!failed)
        failed =
            fm_files_folder_open(functions->incoming_fd, staged->name, &staged->folder_fd, &cause);
    if (!failed)
        failed = link_files(functions, current, version_fd, staged->folder_fd, &has_code, digest,
                            &cause);
    if (failed == FM_ERR_NOT_FOUND || failed == FM_ERR_BAD_REQUEST)
        failed = FM_ERR_IO; /* what was there a moment ago is gone: nobody asked for that */
    if (failed)
        return fm_error_set(error, failed, "%s", cause.text);
    return fm_versions_commit(functions, versions, staged, has_code ? digest : NULL, ret_version,
                              error);
}

/* Under the lock. */
static int edit_current(struct fm_functions *functions, const struct fm_versions *versions,
                        const struct fm_version *current, fm_functions_edit_fn *edit, void *data,
                        struct fm_version **ret_version, struct fm_error *error)
{
    char name[FM_FILES_RANDOM_SIZE];
    struct fm_staged staged = {.name = name, .folder_fd = -1, .version = *current};
    fm_files_random_name(name);
    int failed = edit(data, &staged.version, error);
    if (failed)
        return failed;
    failed = stage(functions, versions, current, &staged, ret_version, error);
    fm_files_close(&staged.folder_fd);
    if (failed) /* what stays is removed at the next start */
        (void)fm_tree_remove(functions->incoming_fd, name, NULL);
    return failed;
}

/* Under the lock. */
static int edit_locked(struct fm_functions *functions, const char *user, const char *function,
                       fm_functions_edit_fn *edit, void *data, struct fm_version **ret_version,
                       struct fm_error *error)
{
    struct fm_versions versions;
    int failed = fm_versions_open(functions, user, function, false, &versions, error);
    if (failed == FM_ERR_NOT_FOUND)
        return fm_error_set(error, failed, "no function %s/%s", user, function);
    if (failed)
        return failed;
    struct fm_versions_report report = {.on_bad = NULL};
    struct fm_version *current = NULL;
    size_t index;
    failed = fm_versions_current(functions, &versions, &report, &current, &index, error);
    if (!failed && report.count > 0) /* an edit of an older one would lose what was edited since */
        failed = fm_error_set(error, FM_ERR_IO,
                              "the newest version of %s/%s cannot be read; upload it again", user,
                              function);
    if (!failed && !current)
        failed = fm_error_set(error, FM_ERR_NOT_FOUND, "no function %s/%s", user, function);
    if (!failed)
        failed = edit_current(functions, &versions, current, edit, data, ret_version, error);
    fm_version_free(current);
    fm_versions_done(&versions);
    return failed;
}

int fm_functions_edit(struct fm_functions *functions, const char *user, const char *function,
                      fm_functions_edit_fn *edit, void *data, struct fm_version **ret_version,
                      uint64_t *ret_sequence, struct fm_error *error)
{
    fm_functions_lock(functions);
    int failed = edit_locked(functions, user, function, edit, data, ret_version, error);
    if (!failed)
        *ret_sequence = ++functions->sequence;
    fm_functions_unlock(functions);
    return failed;
}
