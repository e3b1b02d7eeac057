/* overlay.h - the files of one call: its user's tree, and on top of it what the call has changed.
 *
 * Everything that a call writes is its own, in memory, and gone at its end; the tree below is
 * shared and never written.  See overlay.c.  One thread at a time. */
#pragma once

#include "base/base.h"

struct fm_content;
struct fm_file;
struct fm_node;
struct fm_overlay; /* opaque */

struct fm_overlay_config {
    struct fm_node *tree; /* held until the end; NULL: nothing is there at first */
    uint64_t bytes_max;   /* of what is written, of names, and of what keeps account of them */
};

/* FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_overlay_new(const struct fm_overlay_config *config,
                                 struct fm_overlay **ret_overlay);
struct fm_overlay *fm_overlay_free(struct fm_overlay *overlay); /* NULL is fine; returns NULL */

/* The folder at the top; open as long as the overlay. */
struct fm_file *fm_overlay_root(struct fm_overlay *overlay);

/* After an open that said FM_FILE_WAIT: what is to be loaded (and pinned, by fm_content_load())
 * before the same open is tried again; held by the overlay until another open waits. */
struct fm_content *fm_overlay_awaited(const struct fm_overlay *overlay);

/* Of what the call has written; at most config.bytes_max. */
uint64_t fm_overlay_bytes(const struct fm_overlay *overlay);
