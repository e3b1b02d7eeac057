/* stage.h - what all workers of a test share, whether it has one or several: a pool, a ticker, the
 * modules, and the codes that were published.  The workers themselves are the test's own. */
#pragma once

#include "guests.h"

#include "loop/pool.h"
#include "sched/ticker.h"

#define STAGE_CODES_MAX 24

struct stage {
    unsigned workers;
    struct fm_pool *pool;
    struct fm_modules *modules;
    struct fm_ticker *ticker;
    struct fm_code *codes[STAGE_CODES_MAX];
    size_t codes_count;
    uint64_t sequence; /* of what was published last */
};

static inline void stage_begin(struct stage *stage, unsigned workers, unsigned threads,
                               size_t jobs_max)
{
    *stage = (struct stage){.workers = workers};
    assert_int_equal(fm_pool_new(threads, jobs_max, &stage->pool), 0);
    assert_int_equal(fm_ticker_new(engine, workers, &stage->ticker), 0);
    const struct fm_modules_config modules = {
        .engine = engine, .pool = stage->pool, .workers = workers, .bytes_max = FM_GIB};
    assert_int_equal(fm_modules_new(&modules, &stage->modules), 0);
}

/* Nothing uses it any more. */
static inline void stage_end(struct stage *stage)
{
    for (size_t i = 0; i < stage->codes_count; i++)
        guest_code_release(stage->modules, stage->codes[i]);
    fm_pool_free(stage->pool);
    fm_modules_free(stage->modules);
    fm_ticker_free(stage->ticker);
}

/* The next version: to be published to each of the workers, with `stage->sequence`. */
static inline struct fm_code *stage_code(struct stage *stage, const char *user, const char *name,
                                         const char *text, const struct fm_limits *limits)
{
    struct fm_code *code = guest_code(stage->modules, user, name, text, limits, stage->workers);
    assert_true(stage->codes_count < STAGE_CODES_MAX);
    stage->codes[stage->codes_count++] = code;
    stage->sequence++;
    return code;
}
