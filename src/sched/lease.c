/* lease.c - credits are moved between the quota and a worker in batches. */
#include "sched/lease.h"

#define BATCHES_PER_WORKER 8 /* a batch is 1/8 of a worker's fair share */

static int64_t batch_of(uint64_t limit, unsigned workers)
{
    FM_ASSERT(limit <= INT64_MAX && workers > 0);
    int64_t batch = (int64_t)(limit / workers / BATCHES_PER_WORKER);
    return batch > 0 ? batch : 1;
}

void fm_quota_init(struct fm_quota *quota, uint64_t limit, unsigned workers)
{
    atomic_init(&quota->batch, batch_of(limit, workers));
    atomic_init(&quota->credits, (int64_t)limit);
}

void fm_quota_change(struct fm_quota *quota, uint64_t before, uint64_t limit, unsigned workers)
{
    atomic_store_explicit(&quota->batch, batch_of(limit, workers), memory_order_relaxed);
    atomic_fetch_add(&quota->credits, (int64_t)limit - (int64_t)before);
}

void fm_lease_init(struct fm_lease *lease, struct fm_quota *quota)
{
    *lease = (struct fm_lease){.quota = quota};
}

static int64_t take_batch(struct fm_quota *quota)
{
    int64_t credits = atomic_load(&quota->credits); /* after a worker said that it waits: user.c */
    int64_t batch = atomic_load_explicit(&quota->batch, memory_order_relaxed);
    while (credits > 0) {
        int64_t wanted = credits < batch ? credits : batch;
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

void fm_lease_take_anyway(struct fm_lease *lease)
{
    if (fm_lease_take(lease))
        return;
    atomic_fetch_sub(&lease->quota->credits, 1);
    lease->taken++;
    lease->used++;
}

/* Keeps one spare batch, so that a worker on the edge does not move one with every call; a batch of
 * one is not worth keeping. */
void fm_lease_give(struct fm_lease *lease)
{
    FM_ASSERT(lease->used > 0);
    lease->used--;
    int64_t batch = atomic_load_explicit(&lease->quota->batch, memory_order_relaxed);
    int64_t spare = lease->taken - lease->used;
    if (spare > batch || batch == 1) {
        int64_t back = batch == 1 ? spare : batch;
        lease->taken -= back;
        atomic_fetch_add(&lease->quota->credits, back);
    }
}

void fm_lease_trim(struct fm_lease *lease)
{
    int64_t spare = lease->taken - lease->used;
    lease->taken = lease->used;
    if (spare > 0)
        atomic_fetch_add(&lease->quota->credits, spare);
}

void fm_lease_done(struct fm_lease *lease)
{
    FM_ASSERT(lease->used == 0);
    fm_lease_trim(lease);
}
