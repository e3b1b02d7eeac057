/* inbox.h - what waits for the store's writer or reader, with its bounds.  Private to store/ and
 * its tests.
 *
 * Putting and entering: any thread.  Taking: the one that it is for. */
#pragma once

#include <pthread.h>

#include "loop/mailbox.h"
#include "loop/pool.h"

/* What is counted apart: see inbox.c. */
enum fm_calls_lane {
    FM_LANE_ACCEPTS,
    FM_LANE_OTHERS,
    FM_LANE_LARGE_ACCEPTS, /* with blobs, which take their time */
    FM_LANE_LARGE_OTHERS,
    FM_LANE_COUNT_,
};

/* What waits for one thread, through fm_message.next; and what the pool does for it. */
struct fm_calls_inbox {
    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t changed;
    struct fm_message *first;
    struct fm_message **last;
    struct {
        uint32_t count; /* asked and not yet answered */
        uint64_t bytes;
    } lanes[FM_LANE_COUNT_];
    uint32_t jobs; /* on the pool; what they need must stay */
    bool asleep;
    bool stopping;

    uint32_t count_max; /* of each lane; these never change */
    uint64_t bytes_max;
};

void fm_inbox_init(struct fm_calls_inbox *inbox, uint32_t count_max, uint64_t bytes_max);
void fm_inbox_done(struct fm_calls_inbox *inbox);

/* Counts it in.  FM_ERR_BUSY: over a limit, or stopping.  One that is over `bytes_max` by itself
 * may enter an empty lane, and one without bytes any lane. */
FM_MUST_CHECK int fm_inbox_enter(struct fm_calls_inbox *inbox, enum fm_calls_lane lane,
                                 uint64_t bytes);
/* The same, and puts it. */
FM_MUST_CHECK int fm_inbox_enter_put(struct fm_calls_inbox *inbox, enum fm_calls_lane lane,
                                     uint64_t bytes, struct fm_message *message);
void fm_inbox_put(struct fm_calls_inbox *inbox, struct fm_message *message);
void fm_inbox_leave(struct fm_calls_inbox *inbox, enum fm_calls_lane lane, uint32_t count,
                    uint64_t bytes);

/* Waits for something.  NULL: stopping, and nothing will come any more.  Of what is there takes as
 * long as `take` says so (asked in their order; the first is always taken), as a list. */
struct fm_message *fm_inbox_take(struct fm_calls_inbox *inbox,
                                 bool (*take)(struct fm_message *message, void *data), void *data);
bool fm_inbox_empty(struct fm_calls_inbox *inbox);
void fm_inbox_stop(struct fm_calls_inbox *inbox);

/* Submits to the pool.  FM_ERR_BUSY.  Each job that was taken says fm_inbox_job_done() as its last
 * step, after which the store may be gone. */
FM_MUST_CHECK int fm_inbox_job(struct fm_calls_inbox *inbox, struct fm_pool *pool,
                               struct fm_job *job);
void fm_inbox_job_done(struct fm_calls_inbox *inbox);
