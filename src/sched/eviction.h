/* eviction.h - which of many things in memory is to go when they are too many: two queues.
 *
 *                        used meanwhile
 *      new --> [ fresh ] --------------> [ kept ] <---+
 *                  |                       |   |      | used meanwhile
 *                  |  not used             |   +------+
 *                  +----> asked to go <----+
 *
 * What is new stands in a short queue, a tenth of the budget, and is kept if it is used once more
 * before it comes to the front; else it goes.  So what is called once and never again cannot drive
 * out what is called all the time.  What is kept has its turn again whenever it was used since the
 * last one.  Nothing is written when a thing is used but a mark that was not set.
 *
 * Private to sched/.  Everything is under the caller's lock but fm_evictable_use(). */
#pragma once

#include <stdatomic.h>

#include "base/base.h"
#include "base/list.h"

enum fm_evictable_place {
    FM_EVICTABLE_OUT,   /* in no queue */
    FM_EVICTABLE_FRESH, /* waits for its second use */
    FM_EVICTABLE_KEPT,
    FM_EVICTABLE_ASKED, /* was told to go, and may stay if it is in use */
};

struct fm_evictable {
    atomic_bool used;
    enum fm_evictable_place place;
    uint64_t bytes;
    uint64_t asked_at; /* number of the question */
    struct fm_list link;
};

struct fm_eviction {
    uint64_t bytes_max;
    uint64_t bytes; /* of all three */
    uint64_t fresh_bytes;
    uint64_t asked_bytes;
    uint64_t questions;
    struct fm_list fresh; /* the oldest first, in each */
    struct fm_list kept;
    struct fm_list asked;
};

void fm_eviction_init(struct fm_eviction *eviction, uint64_t bytes_max);

void fm_evictable_init(struct fm_evictable *item);
void fm_eviction_add(struct fm_eviction *eviction, struct fm_evictable *item, uint64_t bytes);
void fm_eviction_remove(struct fm_eviction *eviction, struct fm_evictable *item);

/* The next one to be asked to go; NULL: what is there, less what was asked, fits.  Never the newest
 * one. */
FM_MUST_CHECK struct fm_evictable *fm_eviction_next(struct fm_eviction *eviction);

/* Any thread. */
static inline void fm_evictable_use(struct fm_evictable *item)
{
    if (!atomic_load_explicit(&item->used, memory_order_relaxed))
        atomic_store_explicit(&item->used, true, memory_order_relaxed);
}
