/* test_cputime.c - what a turn is charged, from two clocks that the test holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/cputime.h"

#define SHORT FM_CPUTIME_SHORT_NS

static uint64_t cpu_ns;
static unsigned readings;

static uint64_t read_cpu(void)
{
    readings++;
    return cpu_ns;
}

static struct fm_cputime fresh(void)
{
    struct fm_cputime cputime;
    cpu_ns = 7000000;
    fm_cputime_init(&cputime, read_cpu);
    readings = 0;
    return cputime;
}

/* Up to SHORT no clock is asked but the one that costs nothing. */
static void test_short(void **state)
{
    (void)state;
    static const uint64_t passed[] = {0, 1, SHORT - 1, SHORT};
    struct fm_cputime cputime = fresh();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(passed); i++) {
        fm_cputime_begin(&cputime, 1000, false);
        assert_int_equal(fm_cputime_so_far(&cputime, 1000 + passed[i]), passed[i]);
        assert_int_equal(fm_cputime_end(&cputime, 1000 + passed[i]), passed[i]);
    }
    assert_int_equal(readings, 0);
}

static void test_one_more_than_short(void **state)
{
    (void)state;
    struct fm_cputime cputime = fresh();
    fm_cputime_begin(&cputime, 1000, false);
    cpu_ns += 20000; /* the rest of the time another process had the core */
    assert_int_equal(fm_cputime_end(&cputime, 1000 + SHORT + 1), 20000);
    assert_int_equal(readings, 1);
}

/* Interrupted after much else: never more than what passed. */
static void test_old_anchor(void **state)
{
    (void)state;
    struct fm_cputime cputime = fresh();
    cpu_ns += 900000000;
    fm_cputime_begin(&cputime, 1000, false);
    cpu_ns += 100000;
    assert_int_equal(fm_cputime_end(&cputime, 1000 + 300000), 300000);
}

/* What the worker did for itself is charged to nobody when that was long ago. */
static void test_anchor_is_kept_fresh(void **state)
{
    (void)state;
    struct fm_cputime cputime = fresh();
    uint64_t now_ns = 1000000;
    fm_cputime_begin(&cputime, now_ns, true);
    uint64_t anchored_ns = now_ns;
    cpu_ns += 200000;
    now_ns = anchored_ns + FM_CPUTIME_FRESH_NS - 1;
    fm_cputime_begin(&cputime, now_ns, false);
    assert_int_equal(fm_cputime_end(&cputime, now_ns + SHORT), SHORT);
    assert_int_equal(readings, 1);
    now_ns = anchored_ns + FM_CPUTIME_FRESH_NS;
    fm_cputime_begin(&cputime, now_ns, false);
    assert_int_equal(readings, 2);
    cpu_ns += 10000;
    assert_int_equal(fm_cputime_end(&cputime, now_ns + 3000000), 10000);
    assert_int_equal(readings, 3);
    fm_cputime_begin(&cputime, now_ns + 3000000 + FM_CPUTIME_FRESH_NS - 1, false);
    assert_int_equal(readings, 3);
}

static void test_exact(void **state)
{
    (void)state;
    struct fm_cputime cputime = fresh();
    cpu_ns += 900000000;
    fm_cputime_begin(&cputime, 1000, true);
    cpu_ns += 100000;
    assert_int_equal(fm_cputime_end(&cputime, 1000 + 300000), 100000);
    assert_int_equal(readings, 2);
}

/* A look in the middle changes nothing; turn after turn is charged once. */
static void test_turns_add_up(void **state)
{
    (void)state;
    struct fm_cputime cputime = fresh();
    uint64_t now_ns = 1000;
    uint64_t charged_ns = 0;
    for (int i = 0; i < 1000; i++) {
        fm_cputime_begin(&cputime, now_ns, false);
        cpu_ns += 600000;
        now_ns += 700000;
        assert_int_equal(fm_cputime_so_far(&cputime, now_ns), 600000);
        cpu_ns += 400000;
        now_ns += 500000;
        charged_ns += fm_cputime_end(&cputime, now_ns);
    }
    assert_int_equal(charged_ns, 1000u * 1000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short),
        cmocka_unit_test(test_one_more_than_short),
        cmocka_unit_test(test_old_anchor),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_anchor_is_kept_fresh),
        cmocka_unit_test(test_turns_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
