/* ticker.h - the clock by which guests are preempted: one thread, one tick a millisecond.
 *
 * It runs only while guests run: when no worker has entered a guest for 10 ticks it sleeps, and the
 * next worker to enter one wakes it.  An idle server has no wake-ups. */
#pragma once

#include <stdatomic.h>

#include "base/base.h"

struct fm_engine;
struct fm_ticker; /* opaque */

/* A worker's seat: odd while it is inside a guest.  On a cache line of its own, written by its
 * worker alone and read by the ticker once a tick. */
struct fm_ticker_seat {
    _Alignas(64) atomic_uint_least64_t turns;
    struct fm_ticker *ticker;
};

/* FM_ERR_NOMEM, FM_ERR_BUSY (no thread), FM_ERR_IO. */
FM_MUST_CHECK int fm_ticker_new(struct fm_engine *engine, unsigned seats,
                                struct fm_ticker **ret_ticker);
struct fm_ticker *fm_ticker_free(struct fm_ticker *ticker); /* NULL is fine; returns NULL */

struct fm_ticker_seat *fm_ticker_seat(struct fm_ticker *ticker, unsigned index);

/* Around every run of a guest. */
void fm_ticker_enter(struct fm_ticker_seat *seat);
void fm_ticker_leave(struct fm_ticker_seat *seat);

uint64_t fm_ticker_ticks(const struct fm_ticker *ticker); /* so far; any thread */
