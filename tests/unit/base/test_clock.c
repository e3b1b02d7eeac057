/* test_clock.c - each clock is the one its name says, and dates are right. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static uint64_t direct_ns(clockid_t id)
{
    struct timespec now;
    assert_int_equal(clock_gettime(id, &now), 0);
    return (uint64_t)now.tv_sec * FM_NS_PER_S + (uint64_t)now.tv_nsec;
}

static void test_monotonic(void **state)
{
    (void)state;
    uint64_t last = direct_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < 10000; i++) {
        uint64_t now = fm_clock_monotonic_ns();
        assert_true(now >= last);
        last = now;
    }
    assert_true(direct_ns(CLOCK_MONOTONIC) >= last);
}

static void test_real(void **state)
{
    (void)state;
    uint64_t now = fm_clock_real_ns();
    uint64_t direct = direct_ns(CLOCK_REALTIME);
    uint64_t apart =
        now > direct ? now - direct : direct - now; /* the clock may be set meanwhile */
    assert_true(apart < 3600 * FM_NS_PER_S);
}

struct readings {
    uint64_t main_thread_ns; /* burnt before the other thread was there */
    uint64_t thread_ns;
    uint64_t process_ns;
};

static void *read_in_thread(void *data)
{
    struct readings *readings = data;
    while ((readings->thread_ns = fm_clock_thread_cpu_ns()) < FM_NS_PER_MS)
        ; /* until it has moved */
    readings->process_ns = direct_ns(CLOCK_PROCESS_CPUTIME_ID);
    return NULL;
}

/* Both threads' shares fit into the process's, which they would not if one was the whole. */
static void test_thread_cpu_counts_one_thread(void **state)
{
    (void)state;
    struct readings readings;
    while ((readings.main_thread_ns = fm_clock_thread_cpu_ns()) < 20 * FM_NS_PER_MS)
        ; /* burns some */
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_in_thread, &readings), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(readings.main_thread_ns + readings.thread_ns <= readings.process_ns);
}

static void expect_format(uint64_t real_ns, const char *expected)
{
    char text[FM_CLOCK_TEXT_SIZE + 1];
    memset(text, '#', sizeof(text));
    fm_clock_format(real_ns, text);
    assert_string_equal(text, expected);
    assert_int_equal(text[FM_CLOCK_TEXT_SIZE], '#');
}

static void test_format(void **state)
{
    (void)state;
    expect_format(0, "1970-01-01T00:00:00.000000Z");
    expect_format(999, "1970-01-01T00:00:00.000000Z"); /* never rounded up into the future */
    expect_format(1000, "1970-01-01T00:00:00.000001Z");
    expect_format(1709251199 * FM_NS_PER_S + 999999999, "2024-02-29T23:59:59.999999Z");
    expect_format(1709251200 * FM_NS_PER_S, "2024-03-01T00:00:00.000000Z");
    expect_format(4107542400 * FM_NS_PER_S, "2100-03-01T00:00:00.000000Z"); /* no leap year */
    expect_format(UINT64_MAX, "2554-07-21T23:34:33.709551Z");
}

static void test_format_is_utc_everywhere(void **state)
{
    (void)state;
    assert_int_equal(setenv("TZ", "XYZ-5:30", 1), 0);
    tzset();
    struct tm local;
    time_t zero = 0;
    assert_non_null(localtime_r(&zero, &local));
    assert_int_equal(local.tm_hour, 5); /* the zone is in force */
    expect_format(0, "1970-01-01T00:00:00.000000Z");
    assert_int_equal(unsetenv("TZ"), 0);
    tzset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_monotonic),
        cmocka_unit_test(test_real),
        cmocka_unit_test(test_thread_cpu_counts_one_thread),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_format_is_utc_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
