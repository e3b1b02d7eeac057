/* lease.h - a quota that is shared by all workers without a shared counter on the path of a call.
 *
 * The quota's credits lie in one atomic; a worker takes a batch of them and spends it locally.
 * Credits are taken before they are used, so the quota is never exceeded; up to one batch per
 * worker can lie unused elsewhere, so a refusal may come that much early.  Small quotas have
 * batches of one and are exact. */
#pragma once

#include <stdatomic.h>

#include "base/base.h"

struct fm_quota {
    atomic_int_least64_t credits; /* not taken by anyone; negative after the limit was lowered */
    atomic_int_least64_t batch;
};

struct fm_lease {
    struct fm_quota *quota;
    int64_t taken; /* from the quota */
    int64_t used;  /* <= taken */
};

void fm_quota_init(struct fm_quota *quota, uint64_t limit, unsigned workers);
/* Another limit, at any time; what is in use beyond it stays until it is given back. */
void fm_quota_change(struct fm_quota *quota, uint64_t before, uint64_t limit, unsigned workers);

void fm_lease_init(struct fm_lease *lease, struct fm_quota *quota);

/* False: the quota is used up.  Pair each true with one give. */
FM_MUST_CHECK bool fm_lease_take(struct fm_lease *lease);
void fm_lease_give(struct fm_lease *lease);

/* The same, even if it exceeds the quota: for what has been granted before. */
void fm_lease_take_anyway(struct fm_lease *lease);

/* Gives back what is not in use: others wait for it, or the limit has changed. */
void fm_lease_trim(struct fm_lease *lease);

/* Gives everything back; nothing may be in use. */
void fm_lease_done(struct fm_lease *lease);
