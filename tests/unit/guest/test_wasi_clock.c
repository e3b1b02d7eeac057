/* test_wasi_clock.c - the four clocks and their errors. */
#include "guest_fixture.h"

static void test_real_and_monotonic(void **state)
{
    (void)state;
    uint64_t real_before = fm_clock_real_ns();
    uint64_t monotonic_before = fm_clock_monotonic_ns();
    struct run *run =
        run_wasi(BODY("(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 8))",
                      "(call $clock_time_get (i32.const 1) (i64.const 1000) (i32.const 16))"),
                 "");
    KEPT(run, 0, 0);
    assert_in_range(long_at(run, 8), real_before, fm_clock_real_ns());
    assert_in_range(long_at(run, 16), monotonic_before, fm_clock_monotonic_ns());
    run_free(run);
}

/* CPU time is what the call has been charged so far. */
static void test_cpu_time(void **state)
{
    (void)state;
    struct run *run =
        run_body("wasi",
                 BODY("(call $clock_time_get (i32.const 2) (i64.const 0) (i32.const 8))",
                      "(call $clock_time_get (i32.const 3) (i64.const 0) (i32.const 16))"),
                 "");
    run_call(run, NULL, 0);
    run->call->cpu_ns = 123456789;
    assert_true(run_on(run, NULL));
    KEPT(run, 0, 0);
    assert_int_equal(long_at(run, 8), 123456789);
    assert_int_equal(long_at(run, 16), 123456789);
    run_free(run);
}

static void test_resolutions(void **state)
{
    (void)state;
    struct run *run = run_wasi(BODY("(call $clock_res_get (i32.const 0) (i32.const 8))",
                                    "(call $clock_res_get (i32.const 1) (i32.const 16))",
                                    "(call $clock_res_get (i32.const 2) (i32.const 24))",
                                    "(call $clock_res_get (i32.const 3) (i32.const 32))"),
                               "");
    KEPT(run, 0, 0, 0, 0);
    assert_int_equal(long_at(run, 8), 1);
    assert_int_equal(long_at(run, 16), 1);
    assert_int_equal(long_at(run, 24), 1000000); /* a slice */
    assert_int_equal(long_at(run, 32), 1000000);
    run_free(run);
}

static void test_errors(void **state)
{
    (void)state;
    struct run *run =
        run_wasi(BODY("(call $clock_time_get (i32.const 4) (i64.const 0) (i32.const 8))",
                      "(call $clock_time_get (i32.const -1) (i64.const 0) (i32.const 8))",
                      "(call $clock_res_get (i32.const 4) (i32.const 8))",
                      "(call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 65529))",
                      "(call $clock_time_get (i32.const 1) (i64.const 0) (i32.const -8))",
                      "(call $clock_res_get (i32.const 0) (i32.const 65529))",
                      "(call $clock_time_get (i32.const 0) (i64.const 0)"
                      "  (i32.const 65528))"),
                 "");
    KEPT(run, 28, 28, 28, 21, 21, 21, 0);
    assert_int_equal(long_at(run, 8), 0);
    run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_and_monotonic),
        cmocka_unit_test(test_cpu_time),
        cmocka_unit_test(test_resolutions),
        cmocka_unit_test(test_errors),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
