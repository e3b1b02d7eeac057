/* under_way.h - the calls of a worker that are under way and that nothing else knows by id:
 * synchronous ones that did not end at once, and those that calls have started.
 *
 *      begin --> can be found, waited for, cancelled --> end: `on_end` tells those who wait
 *
 * Whoever makes a call embeds an entry, and takes it out when the call is DONE and was remembered
 * (recent.h).  A call that ends within its request is never in here: nobody could ask in between.
 *
 * The worker's, and its thread's alone. */
#pragma once

#include "base/list.h"
#include "base/map.h"

struct fm_call;
struct fm_id;

struct fm_under_way_call {
    struct fm_call *call;
    struct fm_list waits;   /* who waits for its end: on_end's */
    struct fm_list cancels; /* who has cancelled it, and waits: the same */
    struct fm_map_node node;
    bool known; /* false: it cannot be found */
};

struct fm_under_way {
    struct fm_map calls; /* by id */
    /* The entry is not in the table any more; empties its lists. */
    void (*on_end)(void *data, struct fm_under_way_call *entry);
    void *data;
};

void fm_under_way_init(struct fm_under_way *table);
void fm_under_way_done(struct fm_under_way *table); /* none is left */

/* Without memory the call just cannot be found. */
void fm_under_way_begin(struct fm_under_way *table, struct fm_under_way_call *entry,
                        struct fm_call *call);

/* Of an entry that was never begun, too, if it is all 0. */
void fm_under_way_end(struct fm_under_way *table, struct fm_under_way_call *entry);

struct fm_under_way_call *fm_under_way_find(const struct fm_under_way *table,
                                            const struct fm_id *id);

/* The one after `entry` (NULL: the first), in no order.  NULL: there are no more. */
struct fm_under_way_call *fm_under_way_next(const struct fm_under_way *table,
                                            const struct fm_under_way_call *entry);
