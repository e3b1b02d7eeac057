/* functions.h - functions on disk.
 *
 *      <data>/key                                       secret of this data folder, mode 0600
 *      <data>/functions/<user>/<function>/<version>/function.wasm    as uploaded
 *                                                  function.cwasm   machine code, made here
 *                                                  function.cache   what the next upload need not
 *                                                                   compile again; may be missing
 *                                                  meta.json        what struct fm_version holds,
 *                                                                   and the code's proof
 *      <data>/functions/<user>/<function>/<version>.removed          a mark: the versions before
 *                                                  it are removed
 *      <data>/incoming/<random>                         an upload that is not complete
 *      <data>/trash/<random>                            what is being removed
 *
 * A version appears by one rename of a complete, fsynced folder, and never changes, but for its
 * machine code, which may be made again.  The newest version of a function is the current one;
 * older ones are removed after the workers let go of them, or at the next start.  So a crash at any
 * point leaves either the old or the new version, whole, and `incoming` and `trash` are emptied at
 * start.
 *
 * Machine code runs with the server's rights.  It is therefore loaded only if its keyed hash
 * (HMAC-SHA-256, RFC 2104) fits: made by this data folder's server, for this very version.
 *
 * All functions block on the disk: start-up and I/O threads only, never a worker's loop.  Any such
 * thread; one lock orders commits and removals.  Names of users and functions must be valid
 * (base/name.h).  Where nothing else is said, errors are FM_ERR_STORAGE_FULL, FM_ERR_NOMEM,
 * FM_ERR_BUSY (no descriptor left) and FM_ERR_IO; texts name files relative to the data folder. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "call/function.h"

struct fm_functions; /* opaque */

#define FM_FUNCTIONS_PATH_SIZE 4096

/* Makes missing folders (0700) and the key; empties `incoming` and `trash`.  `build_id` names the
 * engine: code of another build counts as stale.  FM_ERR_CONFLICT: another server holds the folder
 * (it is locked with flock(2)).  FM_ERR_FORBIDDEN: what lies there belongs to another user.
 * FM_ERR_NOT_FOUND: no folder to make it in.  FM_ERR_BAD_REQUEST: the path is too long. */
FM_MUST_CHECK int fm_functions_open(const char *data, const char *build_id,
                                    struct fm_functions **ret_functions, struct fm_error *error);
struct fm_functions *fm_functions_close(struct fm_functions *functions); /* NULL is fine */

/* Reads every current version, in order of user and function.  A version that cannot be read is
 * skipped and reported through `on_bad` (NULL is fine) with its folder and the reason; an older
 * complete one then takes its place.  `visit` takes ownership of the version; it returns 0, or an
 * error that ends the walk.  At start-up, before anybody uses a version: the first walk also
 * removes the older ones that the last run left, but never beside one that cannot be read. */
FM_MUST_CHECK int fm_functions_each(struct fm_functions *functions,
                                    int (*visit)(struct fm_version *version, void *data),
                                    void (*on_bad)(const char *folder, const char *reason,
                                                   void *data),
                                    void *data, struct fm_error *error);

/* --- upload ----------------------------------------------------------------------------------- */

struct fm_upload; /* one upload on disk; opaque; one thread at a time */

/* A fresh folder under `incoming`. */
FM_MUST_CHECK int fm_upload_begin(struct fm_functions *functions, struct fm_upload **ret_upload,
                                  struct fm_error *error);

/* Appends to function.wasm and to its hash.  FM_ERR_STORAGE_FULL, FM_ERR_IO. */
FM_MUST_CHECK int fm_upload_write(struct fm_upload *upload, const uint8_t *data, size_t bytes,
                                  struct fm_error *error);

/* Ends the writing (fsync). */
FM_MUST_CHECK int fm_upload_written(struct fm_upload *upload, struct fm_error *error);

uint64_t fm_upload_bytes(const struct fm_upload *upload);

/* Full paths, NUL-ended, of the module, and of where its machine code is to be written and, if
 * there is any, the compile cache. */
const char *fm_upload_wasm_path(const struct fm_upload *upload);
const char *fm_upload_cwasm_path(const struct fm_upload *upload);
const char *fm_upload_cache_path(const struct fm_upload *upload);

/* Makes it the current version of wanted->user / wanted->function.  Fills in id, folder, sha256,
 * size and created_ns; the rest (facts, limits, env, args) comes from `wanted`.  Fsyncs everything
 * and renames; then the upload is gone and only needs fm_upload_end().  `*ret_sequence` orders
 * commits and removals of this process; ids have the same order.  On failure the old version is
 * untouched.  FM_ERR_BAD_REQUEST: `wanted` holds what meta.json cannot (meta.h).
 * FM_ERR_TOO_LARGE: or too much of it.  FM_ERR_INTERNAL: there is no machine code. */
FM_MUST_CHECK int fm_upload_commit(struct fm_upload *upload, const struct fm_version *wanted,
                                   struct fm_version **ret_version, bool *ret_replaced,
                                   uint64_t *ret_sequence, struct fm_error *error);

/* Removes what is left of it; frees.  NULL is fine. */
struct fm_upload *fm_upload_end(struct fm_upload *upload);

/* --- configuration ---------------------------------------------------------------------------- */

/* Changes limits, env or args of `version`, to texts that are there until fm_functions_edit()
 * returns; what else it holds must stay.  An error ends the edit.  Under the lock: quick. */
typedef int fm_functions_edit_fn(void *data, struct fm_version *version, struct fm_error *error);

/* Makes a new current version of the same module: `edit` is given a copy of the one that is current
 * now, which stays as it is.  Edits, commits and removals come one after the other, so each edit
 * sees what was before it.  Errors of `edit`, and: FM_ERR_NOT_FOUND no such function;
 * FM_ERR_IO: also when the newest version is damaged, and an older one serves; FM_ERR_BAD_REQUEST,
 * FM_ERR_TOO_LARGE: not for meta.json.  On failure nothing has changed. */
FM_MUST_CHECK int fm_functions_edit(struct fm_functions *functions, const char *user,
                                    const char *function, fm_functions_edit_fn *edit, void *data,
                                    struct fm_version **ret_version, uint64_t *ret_sequence,
                                    struct fm_error *error);

/* --- machine code ----------------------------------------------------------------------------- */

/* Checks the keyed hash.  0: `path` (FM_FUNCTIONS_PATH_SIZE) may be loaded.  FM_ERR_CONFLICT:
 * missing, of another build, or not what this server wrote; make it again from function.wasm.
 * FM_ERR_NOT_FOUND: the whole version is gone, which cannot be before fm_functions_drop(). */
FM_MUST_CHECK int fm_functions_code(struct fm_functions *functions,
                                    const struct fm_version *version, char *path,
                                    struct fm_error *error);

/* Takes a file that holds the version's machine code, made again, in place of the old one: renames
 * it into the version's folder with a new hash.  The file is gone afterwards in any case; after a
 * failure the code counts as stale.  FM_ERR_NOT_FOUND as above, FM_ERR_INTERNAL: no such file. */
FM_MUST_CHECK int fm_functions_code_renew(struct fm_functions *functions,
                                          const struct fm_version *version, const char *cwasm_path,
                                          struct fm_error *error);

/* Where to write such a file (FM_FUNCTIONS_PATH_SIZE), on the same file system, another name each
 * time; and the module.  Who then does not renew with it removes it. */
void fm_functions_code_paths(const struct fm_functions *functions, const struct fm_version *version,
                             char *ret_wasm_path, char *ret_new_cwasm_path);

/* Opens the compile cache of the function's current version, for reading; its last 32 bytes are the
 * store's.  -1: there is none that this server's compile process has written for this function and
 * this build of the engine. */
int fm_functions_cache_open(struct fm_functions *functions, const char *user, const char *function);

/* --- removal ---------------------------------------------------------------------------------- */

/* The function is gone for every later start.  FM_ERR_NOT_FOUND.  Its files stay readable for those
 * who still run them, until fm_functions_drop(). */
FM_MUST_CHECK int fm_functions_remove(struct fm_functions *functions, const char *user,
                                      const char *function, uint64_t *ret_sequence,
                                      struct fm_error *error);

/* Nobody uses this version any more: removes its folder, if it is not the current one. */
void fm_functions_drop(struct fm_functions *functions, const struct fm_version *version);
