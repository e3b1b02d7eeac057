/* lease.c - credits are moved between the quota and a worker in batches. */
#include "sched/lease.h"

#define BATCHES_PER_WORKER 8 /* a batch is 1/8 of a worker's fair share */

void fm_quota_init(struct fm_quota *quota, uint64_t limit, unsigned workers)
{
    FM_ASSERT(limit <= INT64_MAX && workers > 0);
    int64_t batch = (int64_t)(limit / workers / BATCHES_PER_WORKER);
    quota->batch = batch > 0 ? batch : 1;
    atomic_init(&quota->credits, (int64_t)limit);
}

void fm_lease_init(struct fm_lease *lease, struct fm_quota *quota)
{
    *lease = (struct fm_lease){.quota = quota};
}

static int64_t take_batch(struct fm_quota *quota)
{
    int64_t credits = atomic_load_explicit(&quota->credits, memory_order_relaxed);
    while (credits > 0) {
        int64_t wanted = credits < quota->batch ? credits : quota->batch;
        if (atomic_compare_exchange_weak(&quota->credits, &credits, credits - wanted))
            return wanted;
    }
    return 0;
}

bool fm_lease_take(struct fm_lease *lease)
{
    if (lease->used == lease->taken)
        lease->taken += take_batch(lease->quota);
    if (lease->used == lease->taken)
        return false;
    lease->used++;
    return true;
}

/* Keeps one spare batch, so that a worker on the edge does not move one with every call; a batch of
 * one is not worth keeping. */
void fm_lease_give(struct fm_lease *lease)
{
    FM_ASSERT(lease->used > 0);
    lease->used--;
    int64_t batch = lease->quota->batch;
    int64_t spare = lease->taken - lease->used;
    if (spare > batch || batch == 1) {
        int64_t back = batch == 1 ? spare : batch;
        lease->taken -= back;
        atomic_fetch_add(&lease->quota->credits, back);
    }
}

void fm_lease_done(struct fm_lease *lease)
{
    FM_ASSERT(lease->used == 0);
    if (lease->taken > 0)
        atomic_fetch_add(&lease->quota->credits, lease->taken);
    lease->taken = 0;
}
