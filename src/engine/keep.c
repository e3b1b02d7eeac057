/* keep.c - how much of a slot's memory stays for its next call.
 *
 * A written page can be put back in two ways.  It can stay, and be rewritten: some 50 to 90 ns, but
 * then it is rewritten after every call, since the kernel tells which pages are there, not who has
 * written them.  Or it can be given back: then the next call that writes it pays for a page fault,
 * 10 to 20 times as much.  So a page should stay if more than about one call in ten writes it, and
 * how many do differs from function to function.
 *
 * What a call wrote shows only where nothing stayed from those before.  So once in SAMPLE_EACH
 * calls a slot is emptied, and what is found in it after its next call is a sample.  A function
 * keeps as many pages as all but the largest of its last samples had, and an eighth more: one call
 * in ten may be larger without the others paying for it.
 *
 *      young     every second call of a slot is a sample, until there are FM_KEEP_SAMPLES
 *      settled   calls that find more than what may stay are counted; OVERFLOWS_MAX of them between
 *                two samples: the function has changed, and is young again
 *
 * A module's calls on several workers share its numbers without a lock: each is atomic, what comes
 * between two of them costs a sample.  Settled modules are only read.
 *
 * All free slots together keep at most `total_pages_max`.  It is dealt out to the threads in equal
 * parts, so that they share no counter: a thread that has used up its part empties its slots.  What
 * a slot keeps, and in whose part, stands in a table of slots by address; the slot's tenant, or who
 * cleans it, is the only one to touch its row.
 *
 * Discarded: write protection (userfaultfd), which tells what each call wrote, at the price of a
 * fault for each page and call; trusting that nothing new was written when the thread had no page
 * fault, which saves a scan (0.6 us), but then isolation would rest on the kernel counting faults
 * exactly, also with pages that it merges or moves by itself. */
#include "engine/keep.h"

#include <stdlib.h>

#define SAMPLE_EACH 512  /* calls of a thread */
#define OVERFLOWS_MAX 32 /* of about SAMPLE_EACH calls */
#define PARTS 64         /* threads beyond that share */
#define CACHE_LINE 64

struct row {
    atomic_uintptr_t base; /* 0: free; set once */
    atomic_uint pages;
    atomic_uint part;
};

struct part {
    atomic_int_least64_t pages;
    char apart[CACHE_LINE - sizeof(atomic_int_least64_t)]; /* from the next thread's */
};

struct fm_keep_pool {
    uint32_t pages_max;
    uint64_t total_pages_max;
    struct part parts[PARTS];
    size_t rows_mask;
    struct row rows[]; /* open addressing; at most half of them are ever used */
};

static atomic_uint threads_count;
static _Thread_local unsigned thread_number; /* from 1; 0: not yet */
static _Thread_local unsigned since_sample;

#define LOAD(atomic) atomic_load_explicit(&(atomic), memory_order_relaxed)
#define STORE(atomic, value) atomic_store_explicit(&(atomic), value, memory_order_relaxed)

int fm_keep_pool_new(uint32_t slots, uint32_t pages_max, uint64_t total_pages_max,
                     struct fm_keep_pool **ret_pool)
{
    size_t rows = 2;
    while (rows < (size_t)slots * 2)
        rows *= 2;
    struct fm_keep_pool *pool = calloc(1, sizeof(*pool) + rows * sizeof(struct row));
    if (!pool)
        return FM_ERR_NOMEM;
    pool->pages_max = pages_max;
    pool->total_pages_max = total_pages_max;
    pool->rows_mask = rows - 1;
    *ret_pool = pool;
    return 0;
}

struct fm_keep_pool *fm_keep_pool_free(struct fm_keep_pool *pool)
{
    free(pool);
    return NULL;
}

void fm_keep_init(struct fm_keep *keep, const struct fm_keep_pool *pool)
{
    STORE(keep->pages, pool->pages_max);
    STORE(keep->overflows, 0);
    STORE(keep->sampled, 0);
    STORE(keep->samples_count, 0);
}

/* --- the pool --------------------------------------------------------------------------------- */

static unsigned my_part(void)
{
    if (thread_number == 0)
        thread_number = atomic_fetch_add(&threads_count, 1) + 1;
    return thread_number % PARTS;
}

/* Slots are far apart and at even distances; multiplying spreads them (Knuth, vol. 3, 6.4). */
static struct row *row_of(struct fm_keep_pool *pool, uintptr_t base)
{
    size_t at = (size_t)((uint64_t)base * UINT64_C(0x9E3779B97F4A7C15) >> 32);
    for (;; at++) {
        struct row *row = &pool->rows[at & pool->rows_mask];
        uintptr_t found = LOAD(row->base);
        if (found == base ||
            (found == 0 && atomic_compare_exchange_strong(&row->base, &found, base)) ||
            found == base)
            return row;
    }
}

static void count(struct fm_keep_pool *pool, uintptr_t base, uint32_t pages)
{
    struct row *row = row_of(pool, base);
    uint32_t before = LOAD(row->pages);
    if (before > 0)
        atomic_fetch_sub_explicit(&pool->parts[LOAD(row->part)].pages, before,
                                  memory_order_relaxed);
    if (pages > 0) {
        unsigned part = my_part();
        atomic_fetch_add_explicit(&pool->parts[part].pages, pages, memory_order_relaxed);
        STORE(row->part, part);
    }
    STORE(row->pages, pages);
}

void fm_keep_taken(struct fm_keep_pool *pool, uintptr_t base)
{
    count(pool, base, 0);
}

static bool has_room(struct fm_keep_pool *pool)
{
    unsigned part = my_part();
    unsigned parts = LOAD(threads_count);
    int64_t room = (int64_t)(pool->total_pages_max / (parts < PARTS ? parts : PARTS));
    return LOAD(pool->parts[part].pages) < room;
}

uint64_t fm_keep_pages(const struct fm_keep_pool *pool)
{
    int64_t pages = 0;
    for (size_t i = 0; i < PARTS; i++)
        pages += LOAD(pool->parts[i].pages);
    return pages > 0 ? (uint64_t)pages : 0; /* read one after the other */
}

/* --- the module ------------------------------------------------------------------------------- */

static bool is_young(const struct fm_keep *keep)
{
    return LOAD(keep->samples_count) < FM_KEEP_SAMPLES;
}

uint32_t fm_keep_ask(struct fm_keep_pool *pool, struct fm_keep *keep, uintptr_t base)
{
    uintptr_t sampled = LOAD(keep->sampled);
    if (!has_room(pool))
        return 0;
    if (sampled == base)
        return pool->pages_max;
    bool due = ++since_sample >= SAMPLE_EACH;
    if (due || (sampled == 0 && is_young(keep))) {
        since_sample = due ? 0 : since_sample;
        STORE(keep->sampled, base);
        return 0;
    }
    return LOAD(keep->pages);
}

/* All but the largest, and a bit. */
static uint32_t judge(const struct fm_keep *keep, uint32_t pages_max)
{
    uint32_t largest = 0;
    uint32_t second = 0;
    for (size_t i = 0; i < FM_KEEP_SAMPLES; i++) {
        uint32_t pages = LOAD(keep->samples[i]);
        if (pages >= largest) {
            second = largest;
            largest = pages;
        } else if (pages > second) {
            second = pages;
        }
    }
    uint32_t pages = second + second / 8 + 1;
    return pages < pages_max ? pages : pages_max;
}

static void take_sample(struct fm_keep *keep, uint32_t pages, uint32_t pages_max)
{
    STORE(keep->sampled, 0);
    STORE(keep->overflows, 0);
    unsigned count = atomic_fetch_add_explicit(&keep->samples_count, 1, memory_order_relaxed);
    STORE(keep->samples[count % FM_KEEP_SAMPLES], pages);
    if (count + 1 >= FM_KEEP_SAMPLES)
        STORE(keep->pages, judge(keep, pages_max));
}

void fm_keep_tell(struct fm_keep_pool *pool, struct fm_keep *keep, uintptr_t base, uint32_t pages,
                  bool whole)
{
    count(pool, base, pages);
    if (LOAD(keep->sampled) == base)
        take_sample(keep, whole ? pages : pool->pages_max, pool->pages_max);
    else if (!whole && !is_young(keep) &&
             atomic_fetch_add_explicit(&keep->overflows, 1, memory_order_relaxed) + 1 >=
                 OVERFLOWS_MAX)
        fm_keep_init(keep, pool);
}
