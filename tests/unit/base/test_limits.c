/* test_limits.c - the rows and the struct are two views of one table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"

/* The documented defaults, written down a second time on purpose. */
static void test_defaults(void **state)
{
    (void)state;
    struct fm_limits limits;
    memset(&limits, 0xff, sizeof(limits));
    fm_limits_defaults(&limits);
    assert_int_equal(limits.wall_ms, 60000);
    assert_int_equal(limits.cpu_ms, 10000);
    assert_int_equal(limits.memory_bytes, 64 << 20);
    assert_int_equal(limits.input_bytes, 16 << 20);
    assert_int_equal(limits.output_bytes, 16 << 20);
    assert_int_equal(limits.log_bytes, 64 << 10);
    assert_int_equal(limits.file_bytes, 64 << 20);
    assert_int_equal(limits.concurrency, 1000);
    assert_int_equal(limits.chain_fanout, 1000);
    assert_int_equal(limits.chain_depth, 32);
    assert_int_equal(limits.children_bytes, 64 << 20);
    assert_int_equal(limits.attempts, 1);
    assert_int_equal(limits.retry_ms, 1000);
    assert_int_equal(limits.age_ms, 24 * 3600000);
    assert_int_equal(limits.retention_ms, 3600000);
    assert_int_equal(limits.coredump_bytes, 0);
    assert_int_equal(fm_limit_rows_count, 16);
}

static void test_ceilings(void **state)
{
    (void)state;
    struct fm_limits limits;
    memset(&limits, 0, sizeof(limits));
    fm_limits_ceilings(&limits);
    assert_int_equal(limits.wall_ms, 3600000);
    assert_int_equal(limits.memory_bytes, 1 << 30);
    assert_int_equal(limits.log_bytes, 16 << 20);
    assert_int_equal(limits.chain_depth, 1000);
    for (size_t i = 0; i < fm_limit_rows_count; i++) {
        const struct fm_limit_row *row = &fm_limit_rows[i];
        assert_int_equal(*fm_limits_at(&limits, row), row->ceiling);
    }
}

static void test_rows_are_sane(void **state)
{
    (void)state;
    for (size_t i = 0; i < fm_limit_rows_count; i++) {
        const struct fm_limit_row *row = &fm_limit_rows[i];
        assert_true(row->min <= row->initial);
        assert_true(row->initial <= row->ceiling);
        assert_true(row->what[0] != '\0');
        size_t length = strlen(row->name);
        bool bytes = length > 6 && strcmp(row->name + length - 6, "_bytes") == 0;
        bool ms = length > 3 && strcmp(row->name + length - 3, "_ms") == 0;
        assert_int_equal(row->unit, bytes ? FM_UNIT_BYTES : ms ? FM_UNIT_MS : FM_UNIT_NONE);
    }
}

/* Each row reaches the field of its name, and no other. */
static void test_rows_reach_their_fields(void **state)
{
    (void)state;
    struct fm_limits limits = {0};
    uint64_t number = 1;
#define X(field, unit, initial, min, ceiling, what)                                                \
    {                                                                                              \
        const struct fm_limit_row *row = fm_limit_row_find(#field);                                \
        assert_non_null(row);                                                                      \
        assert_ptr_equal(fm_limits_at(&limits, row), &limits.field);                               \
        *fm_limits_at(&limits, row) = number++;                                                    \
    }
    FM_LIMIT_MAP(X)
#undef X
    number = 1;
#define X(field, unit, initial, min, ceiling, what) assert_int_equal(limits.field, number++);
    FM_LIMIT_MAP(X)
#undef X
    assert_int_equal(number, fm_limit_rows_count + 1);
    assert_int_equal(sizeof(limits), fm_limit_rows_count * sizeof(uint64_t));
}

static void test_find(void **state)
{
    (void)state;
    assert_string_equal(fm_limit_row_find("cpu_ms")->name, "cpu_ms");
    assert_null(fm_limit_row_find(""));
    assert_null(fm_limit_row_find("cpu"));
    assert_null(fm_limit_row_find("cpu_ms "));
    assert_null(fm_limit_row_find("CPU_MS"));
}

static void check_row(const char *name, const char *text, uint64_t value, const char *refusal)
{
    const struct fm_limit_row *row = fm_limit_row_find(name);
    struct fm_error error = {0};
    uint64_t got = 77;
    assert_int_equal(fm_limit_parse(row, text, &got, &error), refusal ? FM_ERR_BAD_REQUEST : 0);
    assert_int_equal(got, refusal ? 77 : value);
    if (refusal)
        assert_string_equal(error.text, refusal);
}

static void test_values(void **state)
{
    (void)state;
    check_row("cpu_ms", "1.5s", 1500, NULL);
    check_row("cpu_ms", "1", 1, NULL);
    check_row("cpu_ms", "1h", 3600000, NULL);
    check_row("cpu_ms", "0", 0, "'0' is not between 1ms and 1h");
    check_row("cpu_ms", "3600001", 0, "'3600001' is not between 1ms and 1h");
    check_row("cpu_ms", "1KiB", 0, "'1KiB' is not a number with a fitting unit (us, ms, s, m, h)");
    check_row("attempts", "3x", 0, "'3x' is not a whole number without a unit");
    check_row("memory_bytes", "64KiB", 65536, NULL);
    check_row("memory_bytes", "65535", 0, "'65535' is not between 64KiB and 1GiB");

    struct fm_error error = {0};
    const struct fm_limit_row *row = fm_limit_row_find("memory_bytes");
    assert_int_equal(fm_limit_check(row, row->min, &error), 0);
    assert_int_equal(fm_limit_check(row, row->ceiling, &error), 0);
    assert_int_equal(fm_limit_check(row, row->min - 1, &error), FM_ERR_BAD_REQUEST);
    assert_int_equal(fm_limit_check(row, row->ceiling + 1, &error), FM_ERR_BAD_REQUEST);
    assert_string_equal(error.text, "'1073741825B' is not between 64KiB and 1GiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),      cmocka_unit_test(test_ceilings),
        cmocka_unit_test(test_rows_are_sane), cmocka_unit_test(test_rows_reach_their_fields),
        cmocka_unit_test(test_find),          cmocka_unit_test(test_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
