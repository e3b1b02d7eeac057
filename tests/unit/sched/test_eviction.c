/* test_eviction.c - what goes when there is too much, and what stays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sched/eviction.h"

#define ITEMS_MAX 600
#define BUDGET 100

struct fixture {
    struct fm_eviction eviction;
    struct fm_evictable items[ITEMS_MAX];
};

static struct fixture fixture;

static int setup(void **state)
{
    fm_eviction_init(&fixture.eviction, BUDGET);
    for (size_t i = 0; i < ITEMS_MAX; i++)
        fm_evictable_init(&fixture.items[i]);
    *state = &fixture;
    return 0;
}

static void add(struct fixture *f, size_t item)
{
    fm_eviction_add(&f->eviction, &f->items[item], 1);
}

/* Which one is asked to go; -1: none. */
static int next(struct fixture *f)
{
    struct fm_evictable *item = fm_eviction_next(&f->eviction);
    return item ? (int)(item - f->items) : -1;
}

/* Like a module that nobody is running. */
static int go(struct fixture *f)
{
    int item = next(f);
    if (item >= 0)
        fm_eviction_remove(&f->eviction, &f->items[item]);
    return item;
}

static void test_nothing_goes_within_the_budget(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < BUDGET - 1; i++)
        add(f, i);
    assert_int_equal(next(f), -1);
    add(f, BUDGET - 1);
    assert_int_equal(next(f), -1);
    add(f, BUDGET);
    assert_int_equal(next(f), 0);
    assert_int_equal(next(f), -1); /* it is as good as gone */
    assert_int_equal(f->eviction.bytes, BUDGET + 1);
}

static void test_the_newest_stays(void **state)
{
    struct fixture *f = *state;
    fm_eviction_add(&f->eviction, &f->items[0], BUDGET + 1);
    assert_int_equal(next(f), -1);
    fm_eviction_add(&f->eviction, &f->items[1], BUDGET + 1);
    assert_int_equal(go(f), 0);
    assert_int_equal(next(f), -1);
}

static void test_what_was_used_is_kept(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < BUDGET; i++)
        add(f, i);
    fm_evictable_use(&f->items[0]);
    fm_evictable_use(&f->items[2]);
    add(f, BUDGET);
    assert_int_equal(go(f), 1);
    assert_int_equal(f->items[0].place, FM_EVICTABLE_KEPT);
    assert_int_equal(f->items[2].place, FM_EVICTABLE_FRESH); /* not at the front yet */
    add(f, BUDGET + 1);
    assert_int_equal(go(f), 3);
    assert_int_equal(f->items[2].place, FM_EVICTABLE_KEPT);
}

/* The use for which a thing was brought does not count. */
static void test_a_first_use_is_not_a_second(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i <= BUDGET; i++) {
        fm_evictable_use(&f->items[i]);
        add(f, i);
    }
    assert_int_equal(go(f), 0);
}

/* Many that are called once do not drive out those that are called all the time. */
static void test_a_long_tail(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ITEMS_MAX; i++) {
        add(f, i);
        for (size_t used = 0; used < BUDGET / 2 && used <= i; used++)
            fm_evictable_use(&f->items[used]);
        int gone;
        while ((gone = go(f)) >= 0)
            assert_true(gone >= BUDGET / 2);
    }
    assert_int_equal(f->eviction.bytes, BUDGET);
    for (size_t used = 0; used < BUDGET / 2; used++)
        assert_int_equal(f->items[used].place, FM_EVICTABLE_KEPT);
}

/* What was kept and is used no more goes when the fresh ones are few. */
static void test_kept_ones_go_too(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < 2 * BUDGET; i++) {
        add(f, i);
        fm_evictable_use(&f->items[i]);
        (void)go(f);
    }
    assert_int_equal(f->eviction.bytes, BUDGET);
    for (size_t i = 0; i < BUDGET; i++)
        assert_int_equal(f->items[i].place, FM_EVICTABLE_OUT);
}

/* A question takes a bounded time, even when all were used. */
static void test_all_were_used(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < ITEMS_MAX; i++) {
        add(f, i);
        fm_evictable_use(&f->items[i]);
    }
    size_t gone = 0;
    while (go(f) >= 0)
        gone++;
    assert_int_equal(gone, ITEMS_MAX - BUDGET);
}

/* What is in use stays although it was asked, and is asked again much later. */
static void test_what_is_in_use_stays(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i <= BUDGET; i++)
        add(f, i);
    assert_int_equal(next(f), 0);
    assert_int_equal(f->items[0].place, FM_EVICTABLE_ASKED);
    size_t turns = 0;
    for (size_t i = BUDGET + 1; f->items[0].place == FM_EVICTABLE_ASKED; i++, turns++) {
        assert_true(i < ITEMS_MAX);
        add(f, i);
        assert_true(go(f) > 0);
    }
    assert_int_equal(f->items[0].place, FM_EVICTABLE_KEPT);
    assert_in_range(turns, 256, 257);
    assert_int_equal(f->eviction.asked_bytes, 0);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_goes_within_the_budget),
        TEST(test_the_newest_stays),
        TEST(test_what_was_used_is_kept),
        TEST(test_a_first_use_is_not_a_second),
        TEST(test_a_long_tail),
        TEST(test_kept_ones_go_too),
        TEST(test_all_were_used),
        TEST(test_what_is_in_use_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
