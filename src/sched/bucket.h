/* bucket.h - a token bucket in one number: the time at which it will be full again.
 *
 *      now               full_ns
 *       |--- missing -----|               missing <= depth: there is something left
 *       |------------ depth ------------|
 *
 * Everything is told in time: taking n of what comes r times a second costs n/r seconds of filling.
 * So there is nothing to refill, and one atomic holds it all for any thread.  Time is the caller's.
 */
#pragma once

#include <stdatomic.h>

#include "base/base.h"

struct fm_bucket {
    atomic_uint_least64_t full_ns; /* monotonic; 0: has always been full */
};

/* Takes `cost_ns` if that much is there.  False: not; `*ret_wait_ns` is when it will be. */
FM_MUST_CHECK bool fm_bucket_take(struct fm_bucket *bucket, uint64_t now_ns, uint64_t cost_ns,
                                  uint64_t depth_ns, uint64_t *ret_wait_ns);

/* Takes what has been used already, there or not. */
void fm_bucket_charge(struct fm_bucket *bucket, uint64_t now_ns, uint64_t cost_ns);

/* How long until it is not overdrawn any more; 0: it is not. */
uint64_t fm_bucket_debt_ns(const struct fm_bucket *bucket, uint64_t now_ns, uint64_t depth_ns);
