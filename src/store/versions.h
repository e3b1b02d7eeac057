/* versions.h - what lies in the folder of one function.  Private to store/. */
#pragma once

#include <jansson.h>

#include "store/files.h"
#include "store/keyed_hash.h"
#include "store/private.h"
#include "store/tree.h"

/* One function's folder, open.  Entries are sorted, so the newest is the last:
 *
 *      019f...01           a version
 *      019f...02
 *      019f...03.removed   a tombstone: all that is older was removed
 *      019f...04           and then it was made anew
 */
struct fm_versions {
    const char *user; /* borrowed */
    const char *function;
    int user_fd;
    int folder_fd;
    struct fm_names names;
};

/* FM_ERR_NOT_FOUND: no such folder; with `make` it is made.  On failure there is nothing to
 * release.  The caller holds the lock if it is going to change anything. */
FM_MUST_CHECK int fm_versions_open(const struct fm_functions *functions, const char *user,
                                   const char *function, bool make,
                                   struct fm_versions *ret_versions, struct fm_error *error);
void fm_versions_done(struct fm_versions *versions);

/* Who hears of versions that cannot be read. */
struct fm_versions_report {
    void (*on_bad)(const char *folder, const char *reason, void *data); /* may be NULL */
    void *data;
    size_t count; /* of them */
};

/* The newest complete version, if no tombstone is newer.  Otherwise 0 too, with NULL.
 * `*ret_index` is its place among the names.  FM_ERR_NOMEM, FM_ERR_BUSY: it cannot be said. */
FM_MUST_CHECK int fm_versions_current(const struct fm_functions *functions,
                                      const struct fm_versions *versions,
                                      struct fm_versions_report *report,
                                      struct fm_version **ret_version, size_t *ret_index,
                                      struct fm_error *error);

/* An id newer than every name in the folder, even if the clock went back since.  Under the lock. */
void fm_versions_next_id(struct fm_functions *functions, const struct fm_versions *versions,
                         uint64_t now_ns, char ret_id[FM_ID_TEXT_SIZE]);

/* Makes `id`'s tombstone, durably, newer than the current version.  Under the lock. */
FM_MUST_CHECK int fm_versions_bury(const struct fm_versions *versions, const char *current_id,
                                   const char *id, struct fm_error *error);

/* Whether nobody can ever ask for this version again: a newer one is current, or it was removed. */
FM_MUST_CHECK bool fm_versions_past(const struct fm_versions *versions, const char *id,
                                    const struct fm_version *current);

/* A folder of `incoming` that is to be a version: all of it is there, synced, but meta.json. */
struct fm_staged {
    const char *name; /* in incoming/ */
    int folder_fd;
    struct fm_version version; /* all but id, folder and created_ns; borrowed */
};

/* Makes it the current version, whose machine code has this digest (NULL: it has none that is
 * proved).  FM_ERR_BAD_REQUEST, FM_ERR_TOO_LARGE: not for meta.json.  Under the lock.  (commit.c)
 */
FM_MUST_CHECK int fm_versions_commit(struct fm_functions *functions,
                                     const struct fm_versions *versions,
                                     const struct fm_staged *staged,
                                     const uint8_t digest[FM_DIGEST_BYTES],
                                     struct fm_version **ret_version, struct fm_error *error);

/* The compile cache that lies in `folder_fd`, of a version that is not committed yet: gets its
 * proof, or is removed.  (cache.c) */
void fm_cache_seal(const struct fm_functions *functions, const char *user, const char *function,
                   int folder_fd);

/* Moves one entry into `trash`, under a name that is then to be removed.  Under the lock. */
FM_MUST_CHECK int fm_versions_trash(const struct fm_functions *functions,
                                    const struct fm_versions *versions, const char *name,
                                    char ret_trash_name[FM_FILES_RANDOM_SIZE],
                                    struct fm_error *error);

/* Removes the tombstones that have nothing older left, and folders that became empty.  What
 * fails is done at the next start.  Under the lock. */
void fm_versions_tidy(const struct fm_functions *functions, struct fm_versions *versions);

/* --- meta.json -------------------------------------------------------------------------------- */

/* Its text, with this digest of the code and its keyed hash; NULL: with neither.  Errors of
 * fm_meta_build(), and FM_ERR_TOO_LARGE; the buffer's ceiling is FM_STORE_META_BYTES_MAX. */
FM_MUST_CHECK int fm_versions_meta_text(const struct fm_functions *functions,
                                        const struct fm_version *version,
                                        const uint8_t digest[FM_DIGEST_BYTES],
                                        struct fm_buffer *text, struct fm_error *error);

/* The reverse.  FM_ERR_BAD_REQUEST: not JSON, not in the form in which it is written, or, since
 * jansson cannot always tell, memory ran out. */
FM_MUST_CHECK int fm_versions_meta_parse(const struct fm_buffer *text, json_t **ret_json,
                                         struct fm_error *error);

/* The file as JSON.  FM_ERR_NOT_FOUND, FM_ERR_BAD_REQUEST, FM_ERR_TOO_LARGE... */
FM_MUST_CHECK int fm_versions_meta_read(int version_fd, json_t **ret_json, struct fm_error *error);
