/* test_quotas.c - the rows and the struct are two views of one table; sets change only what they
 * hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/quotas.h"

/* The documented defaults, written down a second time on purpose. */
static void defaults(void **state)
{
    (void)state;
    struct fm_quotas quotas;
    memset(&quotas, 0xff, sizeof(quotas));
    fm_quotas_defaults(&quotas);
    assert_int_equal(quotas.weight, 100);
    assert_int_equal(quotas.concurrency, 10000);
    assert_int_equal(quotas.queue_length, 10000);
    assert_int_equal(quotas.requests_per_s, 0);
    assert_int_equal(quotas.cpu_percent, 0);
    assert_int_equal(quotas.memory_bytes, 0);
    assert_true(fm_quota_rows_count <= 32);
    assert_null(fm_quota_row_find("nothing"));
}

static void every_bound_is_exact(void **state)
{
    (void)state;
    for (size_t i = 0; i < fm_quota_rows_count; i++) {
        const struct fm_quota_row *row = &fm_quota_rows[i];
        struct fm_error error = {0};
        assert_ptr_equal(fm_quota_row_find(row->name), row);
        assert_int_equal(fm_quota_check(row, row->min, &error), 0);
        assert_int_equal(fm_quota_check(row, row->max - 1, &error), 0);
        assert_int_equal(fm_quota_check(row, row->max, &error), 0);
        assert_int_equal(fm_quota_check(row, row->max + 1, &error), FM_ERR_BAD_REQUEST);
        assert_non_null(strstr(error.text, row->name));
        if (row->min > 0)
            assert_int_equal(fm_quota_check(row, row->min - 1, &error), FM_ERR_BAD_REQUEST);
    }
}

static void values_have_units(void **state)
{
    (void)state;
    struct fm_error error = {0};
    uint64_t value = 77;
    assert_int_equal(fm_quota_parse(fm_quota_row_find("memory_bytes"), "1.5MiB", &value, &error),
                     0);
    assert_int_equal(value, 3 << 19);
    assert_int_equal(fm_quota_parse(fm_quota_row_find("weight"), "1MiB", &value, &error),
                     FM_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.text, "'1MiB'"));
    assert_int_equal(value, 3 << 19);
}

static void sets_change_what_they_hold(void **state)
{
    (void)state;
    struct fm_quota_set set = {0};
    struct fm_quotas quotas;
    const struct fm_quota_row *weight = fm_quota_row_find("weight");
    const struct fm_quota_row *memory = fm_quota_row_find("memory_bytes");
    fm_quota_set_put(&set, weight, 5);
    fm_quota_set_put(&set, memory, 6);
    fm_quotas_defaults(&quotas);
    fm_quota_set_apply(&set, &quotas);
    assert_int_equal(quotas.weight, 5);
    assert_int_equal(quotas.memory_bytes, 6);
    assert_int_equal(quotas.concurrency, 10000);
    fm_quota_set_clear(&set, weight);
    assert_false(fm_quota_set_has(&set, weight));
    assert_true(fm_quota_set_has(&set, memory));
    fm_quotas_defaults(&quotas);
    fm_quota_set_apply(&set, &quotas);
    assert_int_equal(quotas.weight, 100);
    assert_int_equal(quotas.memory_bytes, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(every_bound_is_exact),
        cmocka_unit_test(values_have_units),
        cmocka_unit_test(sets_change_what_they_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
