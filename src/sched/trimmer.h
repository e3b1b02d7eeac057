/* trimmer.h - gives the memory of call stacks back that were in use a while ago (engine/stacks.c).
 * Private to sched/.  One per worker, used by its thread alone. */
#pragma once

#include "loop/loop.h"

#define FM_TRIM_PAUSE_NS FM_NS_PER_S /* between two rounds */
#define FM_TRIM_BATCH 64             /* stacks in one pass of the loop: some 2 us each */

struct fm_engine;

struct fm_trimmer {
    struct fm_engine *engine; /* NULL in tests without one: nothing is trimmed */
    struct fm_loop *loop;
    struct fm_timer timer;
    uint32_t used;   /* stacks, now */
    uint32_t peak;   /* most at once since the last round began */
    uint32_t wanted; /* stacks that this round still has to trim */
};

void fm_trimmer_init(struct fm_trimmer *trimmer, struct fm_engine *engine, struct fm_loop *loop);
void fm_trimmer_done(struct fm_trimmer *trimmer);

/* A sandbox is made; is gone. */
void fm_trimmer_take(struct fm_trimmer *trimmer);
void fm_trimmer_give(struct fm_trimmer *trimmer);
