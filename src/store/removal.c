/* removal.c - functions that are deleted, and versions that nobody uses any more.
 *
 * Two steps, far apart in time.  fm_functions_remove() only makes a tombstone (versions.c): from
 * then on the function does not exist for a commit or the next start, while its files stay where
 * they are for the calls that still run them.  fm_functions_drop() comes for each version when its
 * last user is gone, and moves its folder to `trash` before it deletes it, so that no half-deleted
 * version is ever found among the functions.  A server that dies in between is cleaned up after at
 * the next start.
 *
 * Any thread; both change names under the lock, and delete without it. */
#include "base/clock.h"
#include "store/text.h"
#include "store/versions.h"

/* Under the lock. */
static int remove_locked(struct fm_functions *functions, const char *user, const char *function,
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
    if (!failed && !current)
        failed = fm_error_set(error, FM_ERR_NOT_FOUND, "no function %s/%s", user, function);
    if (!failed) {
        char id[FM_ID_TEXT_SIZE];
        fm_versions_next_id(functions, &versions, fm_clock_real_ns(), id);
        failed = fm_versions_bury(&versions, current->id, id, error);
    }
    fm_version_free(current);
    fm_versions_done(&versions);
    return failed;
}

int fm_functions_remove(struct fm_functions *functions, const char *user, const char *function,
                        uint64_t *ret_sequence, struct fm_error *error)
{
    fm_functions_lock(functions);
    int failed = remove_locked(functions, user, function, error);
    if (!failed)
        *ret_sequence = ++functions->sequence;
    fm_functions_unlock(functions);
    return failed;
}

/* Moves it to the trash, if it is past.  Under the lock. */
static int drop_locked(struct fm_functions *functions, const struct fm_version *version,
                       char ret_trash_name[FM_FILES_RANDOM_SIZE])
{
    struct fm_versions versions;
    int failed =
        fm_versions_open(functions, version->user, version->function, false, &versions, NULL);
    if (failed)
        return failed;
    struct fm_versions_report report = {.on_bad = NULL};
    struct fm_version *current = NULL;
    size_t index;
    failed = fm_versions_current(functions, &versions, &report, &current, &index, NULL);
    if (!failed && !fm_versions_past(&versions, version->id, current))
        failed = FM_ERR_CONFLICT;
    if (!failed)
        failed = fm_versions_trash(functions, &versions, version->id, ret_trash_name, NULL);
    if (!failed)
        fm_versions_tidy(functions, &versions);
    fm_version_free(current);
    fm_versions_done(&versions);
    return failed;
}

void fm_functions_drop(struct fm_functions *functions, const struct fm_version *version)
{
    FM_ASSERT(fm_text_id_valid(version->id));
    char trash_name[FM_FILES_RANDOM_SIZE];
    fm_functions_lock(functions);
    int failed = drop_locked(functions, version, trash_name);
    fm_functions_unlock(functions);
    if (!failed) /* what stays is removed at the next start, as is what could not be moved */
        (void)fm_tree_remove(functions->trash_fd, trash_name, NULL);
}
