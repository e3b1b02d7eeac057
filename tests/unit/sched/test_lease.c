/* test_lease.c - a quota is never exceeded, small ones are exact, and all credits come back. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sched/lease.h"

static void small_quotas_are_exact_across_workers(void **state)
{
    (void)state;
    for (uint64_t limit = 1; limit <= 16; limit++) {
        struct fm_quota quota;
        struct fm_lease one;
        struct fm_lease two;
        fm_quota_init(&quota, limit, 2);
        fm_lease_init(&one, &quota);
        fm_lease_init(&two, &quota);
        for (uint64_t i = 0; i < limit; i++)
            assert_true(fm_lease_take(i % 2 ? &one : &two));
        assert_false(fm_lease_take(&one));
        assert_false(fm_lease_take(&two));
        fm_lease_give(&two);
        assert_true(fm_lease_take(&one)); /* what one gives the other can take at once */
        assert_false(fm_lease_take(&two));
    }
}

static void large_quotas_keep_at_most_a_batch_apart(void **state)
{
    (void)state;
    struct fm_quota quota;
    struct fm_lease one;
    struct fm_lease two;
    fm_quota_init(&quota, 1000, 2);
    fm_lease_init(&one, &quota);
    fm_lease_init(&two, &quota);
    assert_true(fm_lease_take(&two));
    int64_t taken = 1;
    while (fm_lease_take(&one))
        taken++;
    assert_true(taken <= 1000 && taken >= 1000 - quota.batch);
    while (one.used > 0)
        fm_lease_give(&one);
    fm_lease_give(&two);
    fm_lease_done(&one);
    fm_lease_done(&two);
    assert_int_equal(atomic_load(&quota.credits), 1000);
}

static void what_was_granted_before_is_taken_anyway(void **state)
{
    (void)state;
    struct fm_quota quota;
    struct fm_lease one;
    fm_quota_init(&quota, 2, 2);
    fm_lease_init(&one, &quota);
    for (int i = 0; i < 5; i++) /* while there are some, and beyond */
        fm_lease_take_anyway(&one);
    assert_int_equal(atomic_load(&quota.credits), -3);
    for (int i = 0; i < 3; i++) {
        assert_false(fm_lease_take(&one));
        fm_lease_give(&one);
    }
    assert_false(fm_lease_take(&one));
    fm_lease_give(&one);
    assert_true(fm_lease_take(&one));
    fm_lease_give(&one);
    fm_lease_give(&one);
    fm_lease_done(&one);
    assert_int_equal(atomic_load(&quota.credits), 2);
}

static void a_limit_can_change_while_it_is_used(void **state)
{
    (void)state;
    struct fm_quota quota;
    struct fm_lease one;
    struct fm_lease two;
    fm_quota_init(&quota, 4, 2);
    fm_lease_init(&one, &quota);
    fm_lease_init(&two, &quota);
    for (int i = 0; i < 4; i++)
        assert_true(fm_lease_take(i % 2 ? &one : &two));
    fm_quota_change(&quota, 4, 1, 2); /* three too many: they stay until they are given back */
    for (int i = 0; i < 3; i++) {
        assert_false(fm_lease_take(&one));
        fm_lease_give(i % 2 ? &one : &two);
    }
    assert_false(fm_lease_take(&two));
    fm_lease_give(&one);
    assert_true(fm_lease_take(&two));
    assert_false(fm_lease_take(&one));
    fm_quota_change(&quota, 1, 2, 2);
    assert_true(fm_lease_take(&one));
    assert_false(fm_lease_take(&one));
    fm_lease_give(&one);
    fm_lease_give(&two);
    assert_int_equal(atomic_load(&quota.credits), 2);
}

static void what_is_spare_can_be_given_back(void **state)
{
    (void)state;
    struct fm_quota quota;
    struct fm_lease lease;
    fm_quota_init(&quota, 1000, 1);
    fm_lease_init(&lease, &quota);
    assert_true(fm_lease_take(&lease));
    assert_true(atomic_load(&quota.credits) < 999);
    fm_lease_trim(&lease);
    assert_int_equal(atomic_load(&quota.credits), 999);
    fm_lease_give(&lease);
    fm_lease_done(&lease);
    assert_int_equal(atomic_load(&quota.credits), 1000);
}

#define THREADS 4
#define ROUNDS 20000

static struct fm_quota shared;
static atomic_int in_use;
static atomic_int most;

static void *take_and_give(void *data)
{
    (void)data;
    struct fm_lease lease;
    fm_lease_init(&lease, &shared);
    for (int i = 0; i < ROUNDS; i++) {
        if (!fm_lease_take(&lease))
            continue;
        int now = atomic_fetch_add(&in_use, 1) + 1;
        int seen = atomic_load(&most);
        while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
            ;
        atomic_fetch_sub(&in_use, 1);
        fm_lease_give(&lease);
    }
    fm_lease_done(&lease);
    return NULL;
}

static void threads_never_exceed_it(void **state)
{
    (void)state;
    fm_quota_init(&shared, 3, THREADS);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(atomic_load(&most) >= 1 && atomic_load(&most) <= 3);
    assert_int_equal(atomic_load(&shared.credits), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_quotas_are_exact_across_workers),
        cmocka_unit_test(large_quotas_keep_at_most_a_batch_apart),
        cmocka_unit_test(what_was_granted_before_is_taken_anyway),
        cmocka_unit_test(a_limit_can_change_while_it_is_used),
        cmocka_unit_test(what_is_spare_can_be_given_back),
        cmocka_unit_test(threads_never_exceed_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
