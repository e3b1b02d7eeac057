/* commit.c - a folder of `incoming`, complete but for its meta.json, becomes the current version.
 *
 *      meta.json                              written, fsync
 *      incoming/<random>/                     fsync: the folder is complete
 *      functions/<user>/, functions/          fsync, if the function's folder is new
 *      rename to functions/<user>/<function>/<version>      <-- the one moment
 *      functions/<user>/<function>/, incoming/              fsync: it stays
 *
 * Before the rename nothing of it can be seen, after it all of it can.  If the last step fails the
 * rename is undone: who got an error must not find the new version after the next start.  (If that
 * fails too, the disk is broken, and holds two whole versions.)
 *
 * What is committed is the version as it is read back from the text of its meta.json: a function
 * that this server accepts is one that the next start can read.
 *
 * Under the lock of struct fm_functions: ids have the order of commits. */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "store/meta.h"
#include "store/versions.h"

/* The text of meta.json, and the version that is read back from it. */
static int make_version(const struct fm_functions *functions, const struct fm_staged *staged,
                        const char *id, const uint8_t digest[FM_DIGEST_BYTES],
                        struct fm_buffer *text, struct fm_version **ret_version,
                        struct fm_error *error)
{
    char folder[FM_FUNCTIONS_PATH_SIZE];
    struct fm_version version = staged->version;
    fm_functions_path(functions, folder, "functions/%s/%s/%s", version.user, version.function, id);
    version.id = id;
    version.folder = folder;
    version.created_ns = fm_clock_real_ns();
    json_auto_t *json = NULL;
    int failed = fm_versions_meta_text(functions, &version, digest, text, error);
    if (failed)
        return failed;
    if (fm_versions_meta_parse(text, &json, NULL) != 0) /* jansson's own text: memory ran out */
        return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    return fm_meta_from_json(json, folder, ret_version, error);
}

/* Moves the complete folder to its place, durably; undone if that cannot be had. */
static int move_folder(const struct fm_functions *functions, const struct fm_staged *staged,
                       const struct fm_versions *versions, const char *id, struct fm_error *error)
{
    int incoming_fd = functions->incoming_fd;
    int failed = fm_files_sync(staged->folder_fd, staged->name, error);
    if (!failed && versions->names.count == 0) { /* perhaps new: the way to it must stay too */
        failed = fm_files_sync(versions->user_fd, versions->user, error);
        if (!failed)
            failed = fm_files_sync(functions->functions_fd, "functions", error);
    }
    if (failed)
        return failed;
    if (renameat(incoming_fd, staged->name, versions->folder_fd, id) != 0)
        return fm_files_error(error, errno, "put into its place the version", id);
    failed = fm_files_sync(versions->folder_fd, versions->function, error);
    if (!failed)
        failed = fm_files_sync(incoming_fd, "incoming", error);
    if (failed) {
        (void)renameat(versions->folder_fd, id, incoming_fd, staged->name);
        (void)fsync(versions->folder_fd); /* the first failure is the one to tell */
    }
    return failed;
}

int fm_versions_commit(struct fm_functions *functions, const struct fm_versions *versions,
                       const struct fm_staged *staged, const uint8_t digest[FM_DIGEST_BYTES],
                       struct fm_version **ret_version, struct fm_error *error)
{
    char id[FM_ID_TEXT_SIZE];
    struct fm_version *version = NULL;
    struct fm_buffer text;
    fm_buffer_init(&text, FM_STORE_META_BYTES_MAX);
    fm_versions_next_id(functions, versions, fm_clock_real_ns(), id);
    int failed = make_version(functions, staged, id, digest, &text, &version, error);
    if (!failed)
        failed = fm_files_put(staged->folder_fd, FM_STORE_META, text.data, text.length, error);
    if (!failed)
        failed = move_folder(functions, staged, versions, id, error);
    fm_buffer_done(&text);
    if (failed) {
        fm_version_free(version);
        return failed;
    }
    *ret_version = version;
    return 0;
}
