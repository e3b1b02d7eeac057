/* dump.h - core dumps of calls that have failed, while they are kept.
 *
 * A dump is immutable and counted: whoever sends one to a client does not copy it.  Those of a
 * worker are kept by id, the latest ones of each user, in memory, up to a bound. */
#pragma once

#include <stdatomic.h>

#include "base/error.h"
#include "base/id.h"

struct fm_dump {
    atomic_uint references;
    uint8_t *data;
    size_t bytes;
};

/* Takes `data`, from malloc, in any case.  NULL: out of memory. */
struct fm_dump *fm_dump_new(uint8_t *data, size_t bytes);
struct fm_dump *fm_dump_ref(struct fm_dump *dump);
struct fm_dump *fm_dump_unref(struct fm_dump *dump); /* any thread; NULL is fine; returns NULL */

struct fm_dumps; /* those of a worker, its thread's alone; opaque */

/* FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_dumps_new(struct fm_dumps **ret_dumps);
struct fm_dumps *fm_dumps_free(struct fm_dumps *dumps); /* NULL is fine; returns NULL */

/* Keeps it (and its own reference), in place of an older one of the same call.  A user's oldest go
 * when it has over FM_DUMPS_USER_MAX or over a quarter of FM_DUMPS_BYTES_MAX, anybody's when all
 * have over that.  Without memory nothing is kept. */
void fm_dumps_add(struct fm_dumps *dumps, const struct fm_id *id, const char *user,
                  struct fm_dump *dump);

/* With a reference for the asker; NULL: there is none. */
struct fm_dump *fm_dumps_get(const struct fm_dumps *dumps, const struct fm_id *id);
