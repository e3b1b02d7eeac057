/* trimmer.c - when call stacks are trimmed.
 *
 *      first use --- 1 s ---> round: as many trims as stacks were in use at once
 *                               |          (64 a pass, so that nobody waits for them)
 *                               +--> again in 1 s, if there was any use since; else asleep
 *
 * So a stack that a burst or a deep recursion has filled is given back about a second later, steady
 * traffic pays two microseconds a second for each stack that it needs, and an idle worker nothing.
 *
 * Without memory for the timer nothing is trimmed until the next sandbox is made. */
#include "sched/trimmer.h"

#include "base/clock.h"
#include "engine/engine.h"

static void arm(struct fm_trimmer *trimmer, uint64_t in_ns)
{
    (void)!fm_loop_timer_set(trimmer->loop, &trimmer->timer, fm_loop_now_ns(trimmer->loop) + in_ns);
}

static void on_time(struct fm_timer *timer)
{
    struct fm_trimmer *trimmer = FM_CONTAINER_OF(timer, struct fm_trimmer, timer);
    if (trimmer->wanted == 0) {
        trimmer->wanted = trimmer->peak;
        trimmer->peak = trimmer->used;
    }
    for (unsigned i = 0; i < FM_TRIM_BATCH && trimmer->wanted > 0; i++) {
        fm_engine_stack_trim(trimmer->engine);
        trimmer->wanted--;
    }
    if (trimmer->wanted > 0)
        arm(trimmer, 0);
    else if (trimmer->peak > 0)
        arm(trimmer, FM_TRIM_PAUSE_NS);
}

void fm_trimmer_init(struct fm_trimmer *trimmer, struct fm_engine *engine, struct fm_loop *loop)
{
    *trimmer = (struct fm_trimmer){.engine = engine, .loop = loop};
    fm_timer_init(&trimmer->timer, on_time);
}

void fm_trimmer_done(struct fm_trimmer *trimmer)
{
    fm_loop_timer_cancel(trimmer->loop, &trimmer->timer);
}

void fm_trimmer_take(struct fm_trimmer *trimmer)
{
    trimmer->used++;
    if (trimmer->used > trimmer->peak)
        trimmer->peak = trimmer->used;
    if (!fm_timer_armed(&trimmer->timer) && trimmer->engine)
        arm(trimmer, FM_TRIM_PAUSE_NS);
}

void fm_trimmer_give(struct fm_trimmer *trimmer)
{
    FM_ASSERT(trimmer->used > 0);
    trimmer->used--;
}
