/* keep.h - how much of a slot's memory stays for its next call (keep.c).  Private to engine/.
 *
 * Threading: everything here may be called from any thread that runs guests. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define FM_KEEP_SAMPLES 4
#define FM_KEEP_PAGE_BYTES 4096 /* page scanning is only on where it is so */

/* What is known of a module's calls. */
struct fm_keep {
    atomic_uint pages;         /* that may stay */
    atomic_uint overflows;     /* calls that wrote more, since the last sample */
    atomic_uintptr_t sampled;  /* the slot that was emptied to see what its next call writes; 0 */
    atomic_uint samples_count; /* of all time */
    atomic_uint samples[FM_KEEP_SAMPLES];
};

/* What free slots hold, of one pool. */
struct fm_keep_pool;

/* `pages_max`: the most that one slot keeps; `total_pages_max`: all of them together. */
FM_MUST_CHECK int fm_keep_pool_new(uint32_t slots, uint32_t pages_max, uint64_t total_pages_max,
                                   struct fm_keep_pool **ret_pool);
struct fm_keep_pool *fm_keep_pool_free(struct fm_keep_pool *pool); /* NULL is fine; returns NULL */

void fm_keep_init(struct fm_keep *keep, const struct fm_keep_pool *pool);

/* The slot at `base` has a tenant: what it kept counts no more. */
void fm_keep_taken(struct fm_keep_pool *pool, uintptr_t base);

/* It is about to be cleaned after a call of that module.  Returns the most pages that may stay; 0:
 * all of them are to go. */
uint32_t fm_keep_ask(struct fm_keep_pool *pool, struct fm_keep *keep, uintptr_t base);

/* So many stay; `whole`: the call wrote no others.  After an ask whose answer was not 0. */
void fm_keep_tell(struct fm_keep_pool *pool, struct fm_keep *keep, uintptr_t base, uint32_t pages,
                  bool whole);

/* Pages that free slots hold now, about. */
uint64_t fm_keep_pages(const struct fm_keep_pool *pool);
