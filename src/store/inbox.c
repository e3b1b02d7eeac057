/* inbox.c - what waits for the writer or the reader, and how much that may be.
 *
 *      asker ---- enter ----------------> [ put ] ---> take: one list, one turn
 *                   \--> job on the pool ---^               |
 *                        (blobs)                            +---> leave, answer
 *
 * A write is counted from `enter` to `leave`, wherever it is meanwhile.  Lanes are counted apart: a
 * flood of new calls must not keep those that run from ending, nor must one that ends with a large
 * output keep the others from ending with a small one.  The order is one.
 *
 * A queue under a lock: what happens once a transaction on the one side, and costs some pointers on
 * the other.  The thread is woken only if it sleeps.  A mailbox (loop/mailbox.h) was discarded: it
 * has no bounds, and its receiver must be a loop.
 *
 * Threading: put and enter by any thread, take by one. */
#include "store/inbox.h"

#include "base/error.h"

static void lock(struct fm_calls_inbox *inbox)
{
    int error = pthread_mutex_lock(&inbox->lock);
    FM_ASSERT(error == 0);
}

static void unlock(struct fm_calls_inbox *inbox)
{
    int error = pthread_mutex_unlock(&inbox->lock);
    FM_ASSERT(error == 0);
}

/* With the lock held. */
static void wake(struct fm_calls_inbox *inbox)
{
    if (!inbox->asleep)
        return;
    inbox->asleep = false;
    int error = pthread_cond_signal(&inbox->changed);
    FM_ASSERT(error == 0);
}

void fm_inbox_init(struct fm_calls_inbox *inbox, uint32_t count_max, uint64_t bytes_max)
{
    *inbox = (struct fm_calls_inbox){.count_max = count_max, .bytes_max = bytes_max};
    inbox->last = &inbox->first;
    int error = pthread_mutex_init(&inbox->lock, NULL);
    FM_ASSERT(error == 0); /* needs no memory on Linux, nor does the next */
    error = pthread_cond_init(&inbox->changed, NULL);
    FM_ASSERT(error == 0);
}

void fm_inbox_done(struct fm_calls_inbox *inbox)
{
    FM_ASSERT(!inbox->first && inbox->jobs == 0);
    int error = pthread_cond_destroy(&inbox->changed);
    FM_ASSERT(error == 0);
    error = pthread_mutex_destroy(&inbox->lock);
    FM_ASSERT(error == 0);
}

static void put(struct fm_calls_inbox *inbox, struct fm_message *message)
{
    message->next = NULL;
    *inbox->last = message;
    inbox->last = &message->next;
    wake(inbox);
}

static int enter(struct fm_calls_inbox *inbox, enum fm_calls_lane lane, uint64_t bytes)
{
    if (inbox->stopping || inbox->lanes[lane].count == inbox->count_max)
        return FM_ERR_BUSY;
    uint64_t waiting = inbox->lanes[lane].bytes;
    if (bytes > 0 && waiting > 0 &&
        (bytes > inbox->bytes_max || waiting > inbox->bytes_max - bytes))
        return FM_ERR_BUSY;
    inbox->lanes[lane].count += 1;
    inbox->lanes[lane].bytes += bytes;
    return 0;
}

int fm_inbox_enter(struct fm_calls_inbox *inbox, enum fm_calls_lane lane, uint64_t bytes)
{
    lock(inbox);
    int failed = enter(inbox, lane, bytes);
    unlock(inbox);
    return failed;
}

int fm_inbox_enter_put(struct fm_calls_inbox *inbox, enum fm_calls_lane lane, uint64_t bytes,
                       struct fm_message *message)
{
    lock(inbox);
    int failed = enter(inbox, lane, bytes);
    if (!failed)
        put(inbox, message);
    unlock(inbox);
    return failed;
}

void fm_inbox_put(struct fm_calls_inbox *inbox, struct fm_message *message)
{
    lock(inbox);
    put(inbox, message);
    unlock(inbox);
}

/* With the lock held: nothing is there, and nothing can come any more. */
static bool over(const struct fm_calls_inbox *inbox)
{
    uint32_t count = inbox->jobs;
    for (size_t i = 0; i < FM_LANE_COUNT_; i++)
        count += inbox->lanes[i].count;
    return inbox->stopping && count == 0;
}

void fm_inbox_leave(struct fm_calls_inbox *inbox, enum fm_calls_lane lane, uint32_t count,
                    uint64_t bytes)
{
    lock(inbox);
    FM_ASSERT(inbox->lanes[lane].count >= count && inbox->lanes[lane].bytes >= bytes);
    inbox->lanes[lane].count -= count;
    inbox->lanes[lane].bytes -= bytes;
    if (over(inbox))
        wake(inbox);
    unlock(inbox);
}

struct fm_message *fm_inbox_take(struct fm_calls_inbox *inbox,
                                 bool (*take)(struct fm_message *message, void *data), void *data)
{
    lock(inbox);
    while (!inbox->first && !over(inbox)) {
        inbox->asleep = true;
        int error = pthread_cond_wait(&inbox->changed, &inbox->lock);
        FM_ASSERT(error == 0);
    }
    inbox->asleep = false;
    struct fm_message *list = inbox->first;
    if (list) {
        struct fm_message *end = list;
        (void)take(list, data); /* counted, and taken in any case */
        while (end->next && take(end->next, data))
            end = end->next;
        inbox->first = end->next;
        if (!inbox->first)
            inbox->last = &inbox->first;
        end->next = NULL;
    }
    unlock(inbox);
    return list;
}

bool fm_inbox_empty(struct fm_calls_inbox *inbox)
{
    lock(inbox);
    bool empty = !inbox->first;
    unlock(inbox);
    return empty;
}

void fm_inbox_stop(struct fm_calls_inbox *inbox)
{
    lock(inbox);
    inbox->stopping = true;
    wake(inbox);
    unlock(inbox);
}

int fm_inbox_job(struct fm_calls_inbox *inbox, struct fm_pool *pool, struct fm_job *job)
{
    lock(inbox);
    inbox->jobs += 1;
    unlock(inbox);
    int failed = fm_pool_submit(pool, job, NULL);
    if (failed)
        fm_inbox_job_done(inbox);
    return failed;
}

void fm_inbox_job_done(struct fm_calls_inbox *inbox)
{
    lock(inbox);
    FM_ASSERT(inbox->jobs > 0);
    inbox->jobs -= 1;
    if (over(inbox))
        wake(inbox);
    unlock(inbox);
}
