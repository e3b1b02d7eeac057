/* test_text.c - which texts may stand in meta.json. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"
#include "store/text.h"

static void ids(void **state)
{
    (void)state;
    assert_true(fm_text_id_valid("01932c07-209c-7000-8000-0123456789ab"));
    assert_false(fm_text_id_valid(""));
    assert_false(fm_text_id_valid("01932c07-209c-7000-8000-0123456789a"));
    assert_false(fm_text_id_valid("01932c07-209c-7000-8000-0123456789abc"));
    assert_false(fm_text_id_valid("01932C07-209C-7000-8000-0123456789AB")); /* another spelling */
    assert_false(fm_text_id_valid("01932c07-209c-4000-8000-0123456789ab")); /* another version */
    assert_false(fm_text_id_valid("01932c07-209c-7000-c000-0123456789ab")); /* another variant */
    assert_false(fm_text_id_valid("../../../../../../../../etc/passwd//"));

    /* The last millisecond that nanoseconds in 64 bits can pass. */
    uint64_t last = UINT64_MAX / FM_NS_PER_MS - 1;
    for (uint64_t ms = last - 1; ms <= last + 1; ms++) {
        char text[FM_ID_TEXT_SIZE];
        fm_id_format((struct fm_id){.high = ms << 16 | 7 << 12, .low = UINT64_C(2) << 62}, text);
        assert_int_equal(fm_text_id_valid(text), ms <= last);
    }
}

static void hex(void **state)
{
    (void)state;
    assert_true(fm_text_hex_valid("0123456789abcdef", 16));
    assert_false(fm_text_hex_valid("0123456789abcdef", 15));
    assert_false(fm_text_hex_valid("0123456789abcdef", 17));
    assert_false(fm_text_hex_valid("0123456789abcdeF", 16));
    assert_false(fm_text_hex_valid("0123456789abcdeg", 16));
    assert_true(fm_text_hex_valid("", 0));
}

static void times(void **state)
{
    (void)state;
    static const uint64_t instants[] = {
        0,
        1000,
        UINT64_C(951782400) * FM_NS_PER_S,               /* 2000-02-29 */
        UINT64_C(1795464153) * FM_NS_PER_S + 123456000,  /* with microseconds */
        UINT64_C(4107542399) * FM_NS_PER_S + 999999000,  /* 2100-02-28T23:59:59 */
        UINT64_C(18446744072) * FM_NS_PER_S + 999999000, /* the last whole second but one */
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(instants); i++) {
        char text[FM_CLOCK_TEXT_SIZE];
        uint64_t again = 1;
        fm_clock_format(instants[i], text);
        assert_int_equal(fm_text_time_parse(text, &again), 0);
        assert_int_equal(again, instants[i]);
    }
    uint64_t ns = 0;
    assert_int_equal(fm_text_time_parse("2000-02-29T00:00:00.000000Z", &ns), 0);
    assert_int_equal(ns, UINT64_C(951782400) * FM_NS_PER_S);

    static const char *const bad[] = {
        "",
        "2026-11-23",
        "2026-11-23T20:02:33Z",
        "2026-11-23T20:02:33.12345Z",
        "2026-11-23T20:02:33.1234567Z",
        "2026-11-23T20:02:33.123456",
        "2026-11-23T20:02:33.123456z",
        "2026-11-23T20:02:33.123456+00:00",
        "2026-11-23T20:02:33.123456Z ",
        " 2026-11-23T20:02:33.123456Z",
        "2026-11-23 20:02:33.123456Z",
        "2026-11-23T20:02:33.12345xZ",
        "2026-1-23T20:02:33.123456Z",
        "2026-13-23T20:02:33.123456Z",
        "2026-02-29T20:02:33.123456Z", /* not a leap year */
        "2026-11-31T20:02:33.123456Z",
        "2026-11-23T24:02:33.123456Z",
        "2026-11-23T20:60:33.123456Z",
        "2026-11-23T20:02:60.123456Z",
        "1969-12-31T23:59:59.999999Z",
        "2554-07-21T23:34:33.000000Z", /* does not fit in 64 bits of nanoseconds */
        "9999-12-31T23:59:59.999999Z",
        "-001-12-31T23:59:59.999999Z",
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bad); i++) {
        ns = 77;
        if (fm_text_time_parse(bad[i], &ns) != FM_ERR_BAD_REQUEST || ns != 77)
            fail_msg("'%s' is accepted", bad[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids),
        cmocka_unit_test(hex),
        cmocka_unit_test(times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
