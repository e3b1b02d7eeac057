/* suspects.h - whose guest ran when a server crashed.
 *
 * The supervisor keeps a page that its server writes to: a slot for each worker, with the id of the
 * call whose guest has the thread.  It survives the server.  Private to cmd/. */
#pragma once

#include "base/id.h"

struct fm_suspects; /* opaque */

/* For so many workers.  The processes that are forked afterwards share the slots.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_suspects_new(unsigned workers, struct fm_suspects **ret_suspects);
struct fm_suspects *fm_suspects_free(struct fm_suspects *suspects); /* NULL is fine */

/* --- the server's side: two stores when a guest gets the thread, one when it gives it back */

volatile struct fm_id *fm_suspects_slot(struct fm_suspects *suspects, unsigned worker);

/* --- the supervisor's side */

/* A server has ended (`status` is that of waitpid()): if it was by its own fault, what stands in
 * the slots is added to the list.  SIGKILL is nobody's fault.  Clears the slots. */
void fm_suspects_collect(struct fm_suspects *suspects, int status);

/* The list, for the next server; it stays until one has been ready. */
const struct fm_id *fm_suspects_list(const struct fm_suspects *suspects, size_t *ret_count);
void fm_suspects_forget(struct fm_suspects *suspects);
