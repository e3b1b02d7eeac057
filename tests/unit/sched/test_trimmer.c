/* test_trimmer.c - when stacks are trimmed, and when the timer sleeps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "sched/trimmer.h"

static struct fm_engine *engine;
static struct fm_loop *loop;
static struct fm_trimmer trimmer;

static int setup(void **state)
{
    (void)state;
    struct fm_engine_config config;
    struct fm_error error = {0};
    fm_engine_config_init(&config, true);
    config.slots = 200;
    assert_int_equal(fm_engine_new(&config, &engine, &error), 0);
    assert_int_equal(fm_loop_new(&loop), 0);
    fm_trimmer_init(&trimmer, engine, loop);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fm_trimmer_done(&trimmer);
    loop = fm_loop_free(loop);
    engine = fm_engine_free(engine);
    return 0;
}

/* The timer's own function, as if its time had come. */
static void time_comes(void)
{
    assert_true(fm_timer_armed(&trimmer.timer));
    fm_loop_timer_cancel(loop, &trimmer.timer);
    trimmer.timer.on_time(&trimmer.timer);
}

static void one_call_is_one_round(void **state)
{
    (void)state;
    assert_false(fm_timer_armed(&trimmer.timer));
    fm_trimmer_take(&trimmer);
    fm_trimmer_give(&trimmer);
    assert_int_equal(trimmer.peak, 1);
    time_comes();
    assert_int_equal(trimmer.wanted, 0);
    assert_false(fm_timer_armed(&trimmer.timer)); /* an idle worker sleeps */
}

static void many_stacks_take_several_passes(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * FM_TRIM_BATCH + 1; i++)
        fm_trimmer_take(&trimmer);
    for (int i = 0; i < 2 * FM_TRIM_BATCH + 1; i++)
        fm_trimmer_give(&trimmer);
    time_comes();
    assert_int_equal(trimmer.wanted, FM_TRIM_BATCH + 1);
    time_comes();
    assert_int_equal(trimmer.wanted, 1);
    time_comes();
    assert_int_equal(trimmer.wanted, 0);
    assert_false(fm_timer_armed(&trimmer.timer));
}

static void stacks_in_use_bring_another_round(void **state)
{
    (void)state;
    fm_trimmer_take(&trimmer);
    time_comes();
    assert_true(fm_timer_armed(&trimmer.timer));
    fm_trimmer_give(&trimmer);
    time_comes();
    assert_false(fm_timer_armed(&trimmer.timer));
}

static void without_an_engine_nothing_happens(void **state)
{
    (void)state;
    struct fm_trimmer idle;
    fm_trimmer_init(&idle, NULL, loop);
    fm_trimmer_take(&idle);
    assert_false(fm_timer_armed(&idle.timer));
    fm_trimmer_give(&idle);
    fm_trimmer_done(&idle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_call_is_one_round),
        cmocka_unit_test(many_stacks_take_several_passes),
        cmocka_unit_test(stacks_in_use_bring_another_round),
        cmocka_unit_test(without_an_engine_nothing_happens),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
