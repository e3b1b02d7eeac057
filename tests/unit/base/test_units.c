/* test_units.c - amounts are read exactly or refused, and what is written can be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/units.h"

static void good(const char *text, enum fm_unit unit, uint64_t expected)
{
    uint64_t value = 12345;
    if (fm_units_parse(text, unit, &value) != 0 || value != expected)
        fail_msg("'%s' gave %llu", text, (unsigned long long)value);
}

static void bad(const char *text, enum fm_unit unit)
{
    uint64_t value = 12345;
    if (fm_units_parse(text, unit, &value) != FM_ERR_BAD_REQUEST || value != 12345)
        fail_msg("'%s' gave %llu", text, (unsigned long long)value);
}

static void test_counts(void **state)
{
    (void)state;
    good("0", FM_UNIT_NONE, 0);
    good("1000", FM_UNIT_NONE, 1000);
    good("007", FM_UNIT_NONE, 7);
    good("2.0", FM_UNIT_NONE, 2);
    bad("2.5", FM_UNIT_NONE);
    bad("1B", FM_UNIT_NONE);
    bad("1s", FM_UNIT_NONE);
}

static void test_bytes(void **state)
{
    (void)state;
    good("0", FM_UNIT_BYTES, 0);
    good("17", FM_UNIT_BYTES, 17);
    good("17B", FM_UNIT_BYTES, 17);
    good("1KiB", FM_UNIT_BYTES, 1024);
    good("64MiB", FM_UNIT_BYTES, 64 << 20);
    good("3GiB", FM_UNIT_BYTES, UINT64_C(3) << 30);
    good("1KB", FM_UNIT_BYTES, 1000);
    good("2MB", FM_UNIT_BYTES, 2000000);
    good("5GB", FM_UNIT_BYTES, 5000000000);
    good("1.5KiB", FM_UNIT_BYTES, 1536);
    good("0.25KiB", FM_UNIT_BYTES, 256);
    good("1.000", FM_UNIT_BYTES, 1);
    bad("0.1KiB", FM_UNIT_BYTES); /* 102.4 bytes */
    bad("1.5", FM_UNIT_BYTES);
    bad("1.5B", FM_UNIT_BYTES);
    bad("1ms", FM_UNIT_BYTES);
}

static void test_times(void **state)
{
    (void)state;
    good("250", FM_UNIT_MS, 250);
    good("250ms", FM_UNIT_MS, 250);
    good("1.5s", FM_UNIT_MS, 1500);
    good("0.1s", FM_UNIT_MS, 100); /* a double would not be sure */
    good("2m", FM_UNIT_MS, 120000);
    good("1.25h", FM_UNIT_MS, 4500000);
    good("3000us", FM_UNIT_MS, 3);
    good("0us", FM_UNIT_MS, 0);
    bad("1500us", FM_UNIT_MS);
    bad("1us", FM_UNIT_MS);
    bad("3000.5us", FM_UNIT_MS);
    bad("1.0001s", FM_UNIT_MS);
    bad("1KiB", FM_UNIT_MS);
}

static void test_not_a_number(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",     " ",    "s",   ".",   ".5s",  "1.",  "1.s",  "1..5s",      "1.5.5s", "-1",
        "+1",   "1 s",  " 1s", "1s ", "1s\n", "1e3", "0x10", "1,5s",       "1_000",  "1S",
        "1kib", "1KIB", "1K",  "1ss", "1s1",  "nan", "inf",  "1\xc2\xb5s", "1sec",   "1d",
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(texts); i++) {
        bad(texts[i], FM_UNIT_NONE);
        bad(texts[i], FM_UNIT_BYTES);
        bad(texts[i], FM_UNIT_MS);
    }
}

static void test_largest(void **state)
{
    (void)state;
    good("9223372036854775806", FM_UNIT_NONE, INT64_MAX - 1);
    good("9223372036854775807", FM_UNIT_NONE, INT64_MAX);
    bad("9223372036854775808", FM_UNIT_NONE);
    bad("18446744073709551616", FM_UNIT_NONE); /* 2^64 wraps to 0 */
    bad("99999999999999999999999999999999", FM_UNIT_NONE);
    good("9007199254740991KiB", FM_UNIT_BYTES, INT64_MAX - 1023);
    bad("9007199254740992KiB", FM_UNIT_BYTES);
    good("9223372036854775.806s", FM_UNIT_MS, INT64_MAX - 1);
    good("9223372036854775.807s", FM_UNIT_MS, INT64_MAX);
    bad("9223372036854775.808s", FM_UNIT_MS);
    bad("18014398509481984KiB", FM_UNIT_BYTES); /* 2^64 bytes */
    good("9007199254740991.9990234375KiB", FM_UNIT_BYTES, INT64_MAX);
    good("8589934591GiB", FM_UNIT_BYTES, INT64_MAX - (FM_GIB - 1));
    bad("8589934592GiB", FM_UNIT_BYTES);
    good("2562047788015h", FM_UNIT_MS, UINT64_C(2562047788015) * 3600000);
    bad("2562047788016h", FM_UNIT_MS);
}

/* 2^-30 has 30 decimals. */
static void test_many_decimals(void **state)
{
    (void)state;
    good("0.000000000931322574615478515625GiB", FM_UNIT_BYTES, 1);
    good("1.000000000931322574615478515625GiB", FM_UNIT_BYTES, FM_GIB + 1);
    bad("0.000000000931322574615478515624GiB", FM_UNIT_BYTES);
    bad("0.00000000093132257461547851562500000000000001GiB", FM_UNIT_BYTES);
    good("1.50000000000000000000000000000000000000000000s", FM_UNIT_MS, 1500);
    bad("1.50000000000000000000000000000000000000000001s", FM_UNIT_MS);
}

static void expect_format(uint64_t value, enum fm_unit unit, const char *expected)
{
    char text[FM_UNITS_TEXT_SIZE];
    fm_units_format(value, unit, text);
    assert_string_equal(text, expected);
}

static void test_format(void **state)
{
    (void)state;
    expect_format(0, FM_UNIT_NONE, "0");
    expect_format(1024, FM_UNIT_NONE, "1024");
    expect_format(UINT64_MAX, FM_UNIT_NONE, "18446744073709551615");
    expect_format(0, FM_UNIT_BYTES, "0B");
    expect_format(1, FM_UNIT_BYTES, "1B");
    expect_format(1023, FM_UNIT_BYTES, "1023B");
    expect_format(1024, FM_UNIT_BYTES, "1KiB");
    expect_format(67108864, FM_UNIT_BYTES, "64MiB");
    expect_format(FM_GIB, FM_UNIT_BYTES, "1GiB");
    expect_format(FM_GIB + FM_MIB, FM_UNIT_BYTES, "1025MiB");
    expect_format(64000000, FM_UNIT_BYTES, "64MB");
    expect_format(UINT64_MAX, FM_UNIT_BYTES, "18446744073709551615B");
    expect_format(0, FM_UNIT_MS, "0s");
    expect_format(1, FM_UNIT_MS, "1ms");
    expect_format(1500, FM_UNIT_MS, "1500ms");
    expect_format(60000, FM_UNIT_MS, "1m");
    expect_format(90000, FM_UNIT_MS, "90s");
    expect_format(7200000, FM_UNIT_MS, "2h");
    expect_format(UINT64_MAX, FM_UNIT_MS, "18446744073709551615ms");
}

static void test_what_is_written_can_be_read(void **state)
{
    (void)state;
    static const uint64_t bases[] = {1, 1000, 1024, 60000, 3600000, FM_MIB, FM_GIB, 1000000000};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bases); i++) {
        for (uint64_t count = 0; count < 3000; count++) {
            for (int unit = FM_UNIT_NONE; unit <= FM_UNIT_MS; unit++) {
                char text[FM_UNITS_TEXT_SIZE];
                fm_units_format(bases[i] * count, (enum fm_unit)unit, text);
                good(text, (enum fm_unit)unit, bases[i] * count);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),  cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_times),   cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_largest), cmocka_unit_test(test_many_decimals),
        cmocka_unit_test(test_format),  cmocka_unit_test(test_what_is_written_can_be_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
