/* chaining.h - what a call chained goes to disk before its client is answered.  Private to http/.
 */
#pragma once

#include "http/request.h"
#include "queue/queue.h"

bool fm_chaining_needed(const struct fm_call *call);

/* request->call is DONE and has chained something: `on_done` comes when that is on disk, or never
 * will be, which can be at once; until then request->chaining is set. */
void fm_chaining_start(struct fm_request *request,
                       void (*on_done)(struct fm_request *request,
                                       const struct fm_queue_chains *chains));
