/* bucket.c - a token bucket, also known as the generic cell rate algorithm (ITU-T I.371). */
#include "sched/bucket.h"

bool fm_bucket_take(struct fm_bucket *bucket, uint64_t now_ns, uint64_t cost_ns, uint64_t depth_ns,
                    uint64_t *ret_wait_ns)
{
    uint64_t full_ns = atomic_load_explicit(&bucket->full_ns, memory_order_relaxed);
    uint64_t then_ns;
    do {
        then_ns = fm_max_u64(full_ns, now_ns) + cost_ns;
        if (then_ns - now_ns > depth_ns) {
            *ret_wait_ns = then_ns - now_ns - depth_ns;
            return false;
        }
    } while (!atomic_compare_exchange_weak(&bucket->full_ns, &full_ns, then_ns));
    return true;
}

void fm_bucket_charge(struct fm_bucket *bucket, uint64_t now_ns, uint64_t cost_ns)
{
    uint64_t full_ns = atomic_load_explicit(&bucket->full_ns, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(&bucket->full_ns, &full_ns,
                                         fm_max_u64(full_ns, now_ns) + cost_ns))
        ;
}

uint64_t fm_bucket_debt_ns(const struct fm_bucket *bucket, uint64_t now_ns, uint64_t depth_ns)
{
    uint64_t full_ns = atomic_load_explicit(&bucket->full_ns, memory_order_relaxed);
    return full_ns > now_ns + depth_ns ? full_ns - now_ns - depth_ns : 0;
}
