/* test_syscalls_2018.c - memory, time, waiting and exit for functions of 2018. */
#include "guest_fixture.h"

#define PAGES(n) ((n)*65536)

static struct run *run_2018(const char *const *body)
{
    return run_to_end(run_body("env", body, ""), "");
}

/* --- memory: 24 pages at first ---------------------------------------------------------------- */

#define BRK(address) "(call $__syscall_brk (i32.const " address "))"
#define MMAP(name, length, fd)                                                                     \
    "(call $" name " (i32.const 4096) (i32.const " length ") (i32.const 3) (i32.const 0x22)"       \
    " (i32.const " fd ") (i32.const 0))"

static void test_brk(void **state)
{
    (void)state;
    struct run *run = run_2018(
        BODY(BRK("0"), BRK("1000"), /* smaller: nothing happens */ BRK("1572864"),
             /* equal */ BRK("1572865"), /* one byte more is a page */ BRK("0"), BRK("1703936"),
             /* 26 pages */ BRK("0"), BRK("0x7fffffff"), BRK("-1"), BRK("0")));
    KEPT(run, PAGES(24), PAGES(24), PAGES(24), PAGES(24) + 1, PAGES(25), PAGES(26), PAGES(26),
         PAGES(26), PAGES(26), PAGES(26));
    assert_int_equal(run->call->memory_bytes, PAGES(26));
    assert_int_equal(run->call->error, 0);
    run_free(run);
}

static void test_mmap(void **state)
{
    (void)state;
    struct run *run = run_2018(
        BODY(MMAP("__syscall_mmap", "1", "-1"), MMAP("__syscall_mmap2", "65536", "-1"),
             MMAP("__syscall_mmap", "65537", "-1"), BRK("0"), MMAP("__syscall_mmap", "0", "-1"),
             MMAP("__syscall_mmap", "100", "3"), MMAP("__syscall_mmap", "0x7fffffff", "-1"),
             MMAP("__syscall_mmap", "-1", "-1"),
             /* it can be used */ "(i32.store (i32.const 1835004) (i32.const 7))"));
    KEPT(run, PAGES(24), PAGES(25), PAGES(26), PAGES(28), -22, -19, -12, -12);
    assert_int_equal(run->call->error, 0);
    run_free(run);
}

static void test_memory_limit(void **state)
{
    (void)state;
    for (int pages = 24; pages <= 26; pages++) {
        struct run *run =
            run_body("env", BODY(BRK("1572865"), MMAP("__syscall_mmap", "1", "-1")), "");
        run->description.limits.memory_bytes = (uint64_t)PAGES(pages);
        run_call(run, NULL, 0);
        assert_true(run_on(run, NULL));
        KEPT(run, pages >= 25 ? PAGES(24) + 1 : PAGES(24), pages >= 26 ? PAGES(25) : -12);
        run_free(run);
    }
}

static void test_other_memory_calls(void **state)
{
    (void)state;
#define MUNMAP(address, length)                                                                    \
    "(call $__syscall_munmap (i32.const " address ") (i32.const " length "))"
#define MADVISE(address, length)                                                                   \
    "(call $__syscall_madvise (i32.const " address ") (i32.const " length ") (i32.const 4))"
    struct run *run = run_2018(
        BODY(MUNMAP("65536", "65536"), MUNMAP("1507328", "65536"), MUNMAP("1507328", "65537"),
             MUNMAP("0", "0"), MUNMAP("-1", "-1"), MADVISE("0", "65536"), MADVISE("-1", "2"),
             "(call $__syscall_mremap (i32.const 0) (i32.const 1) (i32.const 2)"
             " (i32.const 1) (i32.const 0))"));
    KEPT(run, 0, 0, -22, -22, -22, 0, -12, -12);
    run_free(run);
}

/* --- time ------------------------------------------------------------------------------------- */

static void test_clocks(void **state)
{
    (void)state;
#define GETTIME(clock, at)                                                                         \
    "(call $__syscall_clock_gettime (i32.const " clock ") (i32.const " at "))"
    uint64_t real_before = fm_clock_real_ns() / FM_NS_PER_S;
    uint64_t monotonic_before = fm_clock_monotonic_ns();
    struct run *run = run_2018(BODY(GETTIME("0", "0"), GETTIME("1", "8"), GETTIME("2", "16"),
                                    GETTIME("4", "0"), GETTIME("-1", "0"), GETTIME("0", "-4"),
                                    "(call $__syscall_gettimeofday (i32.const 24) (i32.const 0))",
                                    "(call $__syscall_gettimeofday (i32.const -1) (i32.const 0))"));
    KEPT(run, 0, 0, 0, -22, -22, -14, 0, -14);
    uint64_t real_after = fm_clock_real_ns() / FM_NS_PER_S;
    assert_in_range(word_at(run, 0), real_before, real_after);
    assert_true(word_at(run, 4) < 1000000000);
    assert_in_range(word_at(run, 24), real_before, real_after);
    assert_true(word_at(run, 28) < 1000000);
    assert_in_range(word_at(run, 8) * FM_NS_PER_S + word_at(run, 12), monotonic_before,
                    fm_clock_monotonic_ns());
    assert_int_equal(long_at(run, 16), 0); /* CPU time: nothing was charged yet */
    run_free(run);
}

/* --- waiting ---------------------------------------------------------------------------------- */

#define POLL(at, count, ms)                                                                        \
    "(call $__syscall_poll (i32.const " at ") (i32.const " count ") (i32.const " ms "))"
#define POLLFD(at, fd, events)                                                                     \
    "(i32.store (i32.const " at ") (i32.const " fd "))"                                            \
    "(i64.store offset=4 (i32.const " at ") (i64.const " events "))"

static void test_poll(void **state)
{
    (void)state;
    struct run *run = run_2018(
        BODY("(i64.store (i32.const 100) (i64.const 0x2f6374652f))",
             /* "/etc/" */ "(i64.store (i32.const 105) (i64.const 0x7374736f68))",
             /* "hosts" */ "(call $__syscall_open (i32.const 100) (i32.const 0) (i32.const 0))",
             POLLFD("0", "0", "5"), POLLFD("8", "1", "5"), POLLFD("16", "3", "1"),
             POLLFD("24", "9", "1"), POLLFD("32", "-1", "1"), POLLFD("40", "2", "1"),
             POLL("0", "6", "-1")));
    KEPT(run, 3, 4);
    const uint16_t expected[] = {1, 4, 1, 0x20, 0, 0}; /* POLLIN, POLLOUT, POLLIN, POLLNVAL */
    for (uint32_t i = 0; i < FM_ARRAY_LENGTH(expected); i++)
        assert_int_equal(fm_load_u16(run_memory(run, 8 * i + 6, 2)), expected[i]);
    run_free(run);
}

/* No descriptor at all: a sleep. */
static void test_poll_sleeps(void **state)
{
    (void)state;
    uint64_t before_ns = fm_clock_monotonic_ns();
    struct run *run = run_2018(BODY(POLL("0", "0", "1"), POLL("0", "0", "0")));
    assert_true(fm_clock_monotonic_ns() >= before_ns + FM_NS_PER_MS);
    KEPT(run, 0, 0);
    run_free(run);

    const struct {
        const char *const *body;
        uint64_t until_ns;
    } cases[] = {{BODY(POLL("0", "0", "-1")), UINT64_MAX}, {BODY(POLL("0", "0", "3600000")), 3600}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        before_ns = fm_clock_monotonic_ns();
        run = run_body("env", cases[i].body, "");
        run_call(run, NULL, 0);
        struct fm_guest_wait wait;
        assert_false(run_on(run, &wait));
        if (cases[i].until_ns == UINT64_MAX)
            assert_int_equal(wait.until_ns, UINT64_MAX);
        else
            assert_in_range(wait.until_ns, before_ns + 3600 * FM_NS_PER_S,
                            fm_clock_monotonic_ns() + 3600 * FM_NS_PER_S);
        run_free(run);
    }
}

static void test_poll_errors(void **state)
{
    (void)state;
    /* Zeroed entries are descriptor 0, waiting for nothing. */
    struct run *run =
        run_2018(BODY(POLL("0", "1023", "0"), POLL("0", "1024", "0"), POLL("0", "1025", "0"),
                      POLL("0", "-1", "-1"), POLL("1572860", "1", "-1"), POLL("-1", "1", "-1")));
    KEPT(run, 0, 0, -22, -22, -14, -14);
    run_free(run);
}

static void test_futex(void **state)
{
    (void)state;
#define FUTEX(at, command, value)                                                                  \
    "(call $__syscall_futex (i32.const " at ") (i32.const " command ") (i32.const " value ")"      \
    " (i32.const 0) (i32.const 0) (i32.const 0))"
    struct run *run = run_2018(BODY(
        FUTEX("0", "1", "1"), FUTEX("0", "129", "1"), FUTEX("0", "0", "5"), FUTEX("0", "128", "5"),
        FUTEX("0", "5", "0"), FUTEX("1572861", "1", "1"), FUTEX("-1", "0", "0")));
    KEPT(run, 0, 0, -11, -11, -38, -14, -14);
    run_free(run);

    run = run_2018(BODY("(drop " FUTEX("0", "128", "0") ")"));
    assert_int_equal(run->call->error, FM_ERR_GUEST_TRAP);
    assert_string_equal(run->call->trap, "deadlock");
    assert_string_equal(run->call->detail, "it waits for a lock that no other thread can release");
    run_free(run);
}

static void test_sockets(void **state)
{
    (void)state;
    struct run *run = run_2018(BODY("(call $__syscall_socketcall (i32.const 1) (i32.const 0))",
                                    "(call $__syscall_socketcall (i32.const -1) (i32.const -1))"));
    KEPT(run, -38, -38);
    run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_brk),          cmocka_unit_test(test_mmap),
        cmocka_unit_test(test_memory_limit), cmocka_unit_test(test_other_memory_calls),
        cmocka_unit_test(test_clocks),       cmocka_unit_test(test_poll),
        cmocka_unit_test(test_poll_sleeps),  cmocka_unit_test(test_poll_errors),
        cmocka_unit_test(test_futex),        cmocka_unit_test(test_sockets),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
