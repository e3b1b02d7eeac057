/* meta.h - a version as JSON: the file meta.json, and the function JSON of the HTTP interface. */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "call/function.h"

/* Everything about the version but the hash of its code: user, function, version, abi, size,
 * sha256, created_at, limits {...}, env {...}, args [...], imports [...], memory_pages_min,
 * has_initialize, snapshot and, if there is one, snapshot_us. NULL when out of memory, or for what
 * fm_meta_build() refuses: never of a committed version. */
FM_MUST_CHECK json_t *fm_meta_to_json(const struct fm_version *version);

/* The same for a version that is not proved yet.  FM_ERR_BAD_REQUEST: a text is not UTF-8, or `env`
 * has no `=`, no name or one name twice.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_meta_build(const struct fm_version *version, json_t **ret_json,
                                struct fm_error *error);

/* The reverse, with every field checked: types, ranges, names.  A limit that is missing gets its
 * default, so that a server with a new one reads the files of an old one; fields that are not
 * listed above are ignored.  `folder` becomes version->folder.
 * FM_ERR_BAD_REQUEST with the field's name in the text; FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_meta_from_json(const json_t *json, const char *folder,
                                    struct fm_version **ret_version, struct fm_error *error);
