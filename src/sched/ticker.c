/* ticker.c - a thread that ticks while guests run and sleeps while none does.
 *
 * Falling asleep must not race with a worker that enters a guest, or that guest would never be
 * preempted.  Both sides write their own word and then read the other's, sequentially consistent
 * (Dekker): the worker makes its seat odd, then looks whether the ticker sleeps; the ticker says
 * that it sleeps, then looks at the seats once more.  At least one of them sees the other.
 *
 *      worker                          ticker
 *      seat.turns += 1                 asleep = true
 *      if (asleep) wake                if (a seat moved or is odd) asleep = false, go on
 *                                      else read(eventfd)
 */
#include "sched/ticker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/limits.h"
#include "engine/engine.h"

#define IDLE_TICKS 10 /* without a guest, before it sleeps */

struct fm_ticker {
    struct fm_engine *engine;
    pthread_t thread;
    int wake; /* eventfd */
    atomic_bool asleep;
    atomic_bool stop;
    atomic_uint_least64_t ticks;
    unsigned seats_count;
    struct fm_ticker_seat *seats;
};

/* Whether any guest runs or has run since `*sum` was taken. */
static bool seats_moved(struct fm_ticker *ticker, uint64_t *sum)
{
    uint64_t now = 0;
    bool inside = false;
    for (unsigned i = 0; i < ticker->seats_count; i++) {
        uint64_t turns = atomic_load(&ticker->seats[i].turns);
        now += turns;
        inside |= turns & 1;
    }
    bool moved = inside || now != *sum;
    *sum = now;
    return moved;
}

static void sleep_until_woken(struct fm_ticker *ticker, uint64_t *sum)
{
    atomic_store(&ticker->asleep, true);
    if (seats_moved(ticker, sum) || atomic_load(&ticker->stop)) {
        atomic_store(&ticker->asleep, false);
        return;
    }
    uint64_t count;
    while (read(ticker->wake, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
    atomic_store(&ticker->asleep, false);
}

static void *tick(void *data)
{
    struct fm_ticker *ticker = data;
    uint64_t next_ns = fm_clock_monotonic_ns();
    uint64_t sum = 0;
    unsigned idle = 0;
    while (!atomic_load(&ticker->stop)) {
        next_ns += FM_SLICE_NS;
        const struct timespec next = {.tv_sec = (time_t)(next_ns / FM_NS_PER_S),
                                      .tv_nsec = (long)(next_ns % FM_NS_PER_S)};
        (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL); /* early is fine */
        fm_engine_tick(ticker->engine);
        atomic_fetch_add_explicit(&ticker->ticks, 1, memory_order_relaxed);
        idle = seats_moved(ticker, &sum) ? 0 : idle + 1;
        if (idle >= IDLE_TICKS) {
            sleep_until_woken(ticker, &sum);
            idle = 0;
            next_ns = fm_clock_monotonic_ns();
        }
        /* After a pause of the machine: one tick, not a burst of those that were missed. */
        uint64_t now_ns = fm_clock_monotonic_ns();
        if (now_ns > next_ns + FM_SLICE_NS)
            next_ns = now_ns;
    }
    return NULL;
}

static void wake(struct fm_ticker *ticker)
{
    const uint64_t one = 1;
    ssize_t written = write(ticker->wake, &one, sizeof(one));
    FM_ASSERT(written == (ssize_t)sizeof(one)); /* the counter cannot overflow: read resets it */
}

static int start_thread(struct fm_ticker *ticker)
{
    /* Signals are for the threads that wait for them. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&ticker->thread, NULL, tick, ticker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return FM_ERR_BUSY;
    (void)pthread_setname_np(ticker->thread, "faasm-ticker"); /* only a name */
    return 0;
}

int fm_ticker_new(struct fm_engine *engine, unsigned seats, struct fm_ticker **ret_ticker)
{
    struct fm_ticker *ticker = calloc(1, sizeof(*ticker));
    if (!ticker)
        return FM_ERR_NOMEM;
    ticker->engine = engine;
    ticker->seats_count = seats;
    ticker->wake = eventfd(0, EFD_CLOEXEC);
    ticker->seats = aligned_alloc(_Alignof(struct fm_ticker_seat), seats * sizeof(*ticker->seats));
    int failed = ticker->wake < 0 ? FM_ERR_IO : ticker->seats ? 0 : FM_ERR_NOMEM;
    for (unsigned i = 0; !failed && i < seats; i++) {
        atomic_init(&ticker->seats[i].turns, 0);
        ticker->seats[i].ticker = ticker;
    }
    if (!failed)
        failed = start_thread(ticker);
    if (failed) {
        if (ticker->wake >= 0)
            (void)close(ticker->wake); /* never used */
        free(ticker->seats);
        free(ticker);
        return failed;
    }
    *ret_ticker = ticker;
    return 0;
}

struct fm_ticker *fm_ticker_free(struct fm_ticker *ticker)
{
    if (!ticker)
        return NULL;
    atomic_store(&ticker->stop, true);
    wake(ticker);
    (void)pthread_join(ticker->thread, NULL); /* our own thread: cannot fail */
    (void)close(ticker->wake);
    free(ticker->seats);
    free(ticker);
    return NULL;
}

struct fm_ticker_seat *fm_ticker_seat(struct fm_ticker *ticker, unsigned index)
{
    FM_ASSERT(index < ticker->seats_count);
    return &ticker->seats[index];
}

void fm_ticker_enter(struct fm_ticker_seat *seat)
{
    uint64_t turns = atomic_load_explicit(&seat->turns, memory_order_relaxed);
    FM_ASSERT((turns & 1) == 0);
    atomic_store(&seat->turns, turns + 1); /* sequentially consistent: see above */
    struct fm_ticker *ticker = seat->ticker;
    if (FM_UNLIKELY(atomic_load(&ticker->asleep)) && atomic_exchange(&ticker->asleep, false))
        wake(ticker);
}

void fm_ticker_leave(struct fm_ticker_seat *seat)
{
    uint64_t turns = atomic_load_explicit(&seat->turns, memory_order_relaxed);
    atomic_store_explicit(&seat->turns, turns + 1, memory_order_release);
}

uint64_t fm_ticker_ticks(const struct fm_ticker *ticker)
{
    return atomic_load_explicit(&ticker->ticks, memory_order_relaxed);
}
