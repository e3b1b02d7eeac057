/* test_bucket.c - token buckets, with a clock that the test moves. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/bucket.h"

#define SECOND FM_NS_PER_S
#define START (1000 * SECOND)

/* What is there at once is exactly what fits, and what comes back is exactly what time brings. */
static void it_is_exact(void **state)
{
    (void)state;
    for (uint64_t rate = 1; rate <= 1000; rate = rate * 3 + 1) {
        struct fm_bucket bucket = {0};
        uint64_t cost = SECOND / rate;
        uint64_t depth = cost * rate;
        uint64_t wait = 0;
        for (uint64_t i = 0; i < rate; i++)
            assert_true(fm_bucket_take(&bucket, START, cost, depth, &wait));
        assert_false(fm_bucket_take(&bucket, START, cost, depth, &wait));
        assert_int_equal(wait, cost);
        assert_false(fm_bucket_take(&bucket, START + cost - 1, cost, depth, &wait));
        assert_int_equal(wait, 1);
        assert_true(fm_bucket_take(&bucket, START + cost, cost, depth, &wait));
        assert_false(fm_bucket_take(&bucket, START + cost, cost, depth, &wait));
    }
}

static void it_does_not_fill_beyond_its_depth(void **state)
{
    (void)state;
    struct fm_bucket bucket = {0};
    uint64_t wait = 0;
    assert_true(fm_bucket_take(&bucket, START, SECOND, SECOND, &wait));
    assert_true(fm_bucket_take(&bucket, START + 1000 * SECOND, SECOND, SECOND, &wait));
    assert_false(fm_bucket_take(&bucket, START + 1000 * SECOND, 1, SECOND, &wait));
}

static void what_was_used_may_overdraw_it(void **state)
{
    (void)state;
    struct fm_bucket bucket = {0};
    uint64_t wait = 0;
    assert_int_equal(fm_bucket_debt_ns(&bucket, START, SECOND), 0);
    fm_bucket_charge(&bucket, START, SECOND);
    assert_int_equal(fm_bucket_debt_ns(&bucket, START, SECOND), 0); /* empty, and no debt */
    fm_bucket_charge(&bucket, START, SECOND / 2);
    assert_int_equal(fm_bucket_debt_ns(&bucket, START, SECOND), SECOND / 2);
    assert_false(fm_bucket_take(&bucket, START + SECOND / 2, 1, SECOND, &wait));
    assert_int_equal(fm_bucket_debt_ns(&bucket, START + SECOND / 2, SECOND), 0);
    assert_int_equal(fm_bucket_debt_ns(&bucket, START + 9 * SECOND, SECOND), 0);
}

#define THREADS 4
#define TRIES 10000

static struct fm_bucket shared;

static void *take_all(void *data)
{
    uint64_t *got = data;
    uint64_t wait = 0;
    for (int i = 0; i < TRIES; i++)
        *got += fm_bucket_take(&shared, START, 1000, 1000 * TRIES, &wait);
    return NULL;
}

static void threads_get_no_more_than_there_is(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    uint64_t got[THREADS] = {0};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_all, &got[i]), 0);
    uint64_t sum = 0;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        sum += got[i];
    }
    assert_int_equal(sum, TRIES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_exact),
        cmocka_unit_test(it_does_not_fill_beyond_its_depth),
        cmocka_unit_test(what_was_used_may_overdraw_it),
        cmocka_unit_test(threads_get_no_more_than_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
