/* test_files_2018.c - the constant files, printing, and descriptors of 2018. */
#include "guest_fixture.h"

static struct run *run_2018(const char *const *body, const char *more)
{
    return run_to_end(run_body("env", body, more), "input");
}

#define OPEN(path, flags)                                                                          \
    "(call $__syscall_open (i32.const " path ") (i32.const " flags ") (i32.const 0))"
#define READ(fd, at, bytes)                                                                        \
    "(call $__syscall_read (i32.const " fd ") (i32.const " at ") (i32.const " bytes "))"
#define CLOSE(fd) "(call $__syscall_close (i32.const " fd "))"

/* "/etc/hosts" at 0, "/etc/resolv.conf" at 16, "/etc/passwd" at 48, "" at 64 */
#define PATHS                                                                                      \
    "(data (i32.const 0) \"/etc/hosts\") (data (i32.const 16) \"/etc/resolv.conf\")"               \
    "(data (i32.const 48) \"/etc/passwd\")"

static const char hosts[] = "127.0.0.1 localhost\n";
static const char resolv[] = "nameserver 8.8.8.8\n";

static void test_read_the_files(void **state)
{
    (void)state;
    struct run *run =
        run_2018(BODY(OPEN("0", "0"), OPEN("16", "0x8000"), READ("3", "1000", "4"),
                      READ("3", "1004", "100"), READ("3", "1900", "100"), READ("4", "2000", "100"),
                      CLOSE("3"), READ("3", "1900", "1"), CLOSE("3"), OPEN("0", "0")),
                 PATHS);
    KEPT(run, 3, 4, 4, (int32_t)sizeof(hosts) - 5, 0, (int32_t)sizeof(resolv) - 1, 0, -9, -9, 3);
    assert_string_equal((const char *)run_memory(run, 1000, 100), hosts);
    assert_string_equal((const char *)run_memory(run, 2000, 100), resolv);
    run_free(run);
}

static void test_open_errors(void **state)
{
    (void)state;
    struct run *run =
        run_2018(BODY(OPEN("48", "0"), /* ENOENT: not the host's */ OPEN("64", "0"),
                      /* ENOENT: empty */ OPEN("0", "1"), /* EROFS */ OPEN("0", "2"),
                      /* EROFS */ OPEN("65536000", "0"), /* EFAULT */ OPEN("-1", "0"),
                      /* EFAULT */ /* the last page is full to its end: no NUL inside the memory */
                      "(memory.fill (i32.const 1507328) (i32.const 120) (i32.const 65536))",
                      OPEN("1572854", "0"), /* EFAULT */ OPEN("1507328", "0")), /* ENAMETOOLONG */
                 PATHS);
    KEPT(run, -2, -2, -30, -30, -14, -14, -14, -36);
    assert_int_equal(run->call->memory_bytes, 1572864);
    run_free(run);
}

static void test_file_limit(void **state)
{
    (void)state;
#define OPEN_3 OPEN("0", "0"), OPEN("0", "0"), OPEN("0", "0")
    struct run *run = run_2018(BODY(OPEN_3, OPEN_3, OPEN_3, CLOSE("6"), OPEN("16", "0"),
                                    READ("11", "1000", "1"), READ("10", "1000", "1")),
                               PATHS);
    KEPT(run, 3, 4, 5, 6, 7, 8, 9, 10, -24, 0, 6, -9, 1);
    run_free(run);
}

static void test_read_errors(void **state)
{
    (void)state;
    struct run *run = run_2018(
        BODY(OPEN("0", "0"), READ("0", "1000", "10"), /* the end */ READ("1", "1000", "10"),
             READ("-1", "1000", "10"), READ("3", "-1", "10"), READ("3", "0", "-1"),
             READ("0", "-1", "1"), READ("3", "1000", "0"), READ("3", "1000", "1")),
        PATHS);
    KEPT(run, 3, 0, -9, -9, -14, -14, -14, 0, 1);
    run_free(run);
}

#define READV(fd, array, count)                                                                    \
    "(call $__syscall_readv (i32.const " fd ") (i32.const " array ") (i32.const " count "))"

static void test_readv(void **state)
{
    (void)state;
    struct run *run = run_2018(
        BODY("(i32.store (i32.const 500) (i32.const 1000))",
             "(i32.store (i32.const 504) (i32.const 3))",
             "(i32.store (i32.const 508) (i32.const 1100))",
             "(i32.store (i32.const 512) (i32.const 100))", OPEN("0", "0"), READV("3", "500", "2"),
             READV("3", "500", "2"), READV("0", "500", "2"), READV("5", "500", "2"),
             READV("3", "-1", "1"), READV("3", "0", "1025"), READV("3", "500", "0")),
        PATHS);
    KEPT(run, 3, (int32_t)sizeof(hosts) - 1, 0, 0, -9, -14, -22, 0);
    assert_memory_equal(run_memory(run, 1000, 4), "127\0", 4);
    assert_string_equal((const char *)run_memory(run, 1100, 100), hosts + 3);
    run_free(run);
}

#define SEEK(fd, high, low, at, whence)                                                            \
    "(call $__syscall_llseek (i32.const " fd ") (i32.const " high ") (i32.const " low              \
    ") (i32.const " at ") (i32.const " whence "))"

static void test_seek(void **state)
{
    (void)state;
    struct run *run = run_2018(
        BODY(OPEN("0", "0"), SEEK("3", "0", "10", "1000", "0"), READ("3", "1100", "3"),
             SEEK("3", "-1", "-4", "1008", "1"), READ("3", "1104", "1"),
             SEEK("3", "-1", "-1", "1016", "2"), READ("3", "1108", "5"),
             SEEK("3", "0", "0x7fffffff", "1024", "0"), READ("3", "1116", "5"),
             /* errors leave the position as it was */ SEEK("3", "0", "0x80000000", "1032", "0"),
             SEEK("3", "-1", "-1", "1032", "0"), SEEK("3", "0x7fffffff", "-1", "1032", "1"),
             SEEK("3", "0", "0", "1032", "3"), SEEK("3", "0", "0", "-1", "0"),
             SEEK("1", "0", "0", "1032", "0"), SEEK("9", "0", "0", "1032", "0"),
             SEEK("3", "0", "0", "1032", "1")),
        PATHS);
    KEPT(run, 3, 0, 3, 0, 1, 0, 1, 0, 0, -22, -22, -22, -22, -14, -29, -9, 0);
    assert_int_equal(long_at(run, 1000), 10);
    assert_memory_equal(run_memory(run, 1100, 3), hosts + 10, 3);
    assert_int_equal(long_at(run, 1008), 9);
    assert_memory_equal(run_memory(run, 1104, 1), hosts + 9, 1);
    assert_int_equal(long_at(run, 1016), sizeof(hosts) - 2);
    assert_memory_equal(run_memory(run, 1108, 2), "\n", 2);
    assert_int_equal(long_at(run, 1032), INT32_MAX);
    run_free(run);
}

/* --- printing --------------------------------------------------------------------------------- */

#define WRITEV(fd, array, count)                                                                   \
    "(call $__syscall_writev (i32.const " fd ") (i32.const " array ") (i32.const " count "))"

/* Everything printed is for the log; the output is the region alone. */
static void test_writev(void **state)
{
    (void)state;
    struct run *run =
        run_2018(BODY("(i32.store (i32.const 500) (i32.const 0))",
                      "(i32.store (i32.const 504) (i32.const 4))",
                      "(i32.store (i32.const 508) (i32.const 5))",
                      "(i32.store (i32.const 512) (i32.const 5))", WRITEV("1", "500", "2"),
                      WRITEV("2", "508", "1"), WRITEV("0", "500", "1"), WRITEV("3", "500", "1"),
                      WRITEV("1", "-1", "1"), WRITEV("1", "0", "1025"), WRITEV("1", "500", "0"),
                      CLOSE("1"), WRITEV("1", "508", "1")),
                 PATHS);
    KEPT(run, 9, 5, -9, -9, -14, -22, 0, 0, 5);
    assert_buffer(&run->call->log, "/etchosts"
                                   "hosts"
                                   "hosts");
    assert_int_equal(run->call->output.length, 0);
    run_free(run);
}

static void test_puts(void **state)
{
    (void)state;
    struct run *run =
        run_2018(BODY("(call $puts (i32.const 5))", "(call $puts (i32.const 64))",
                      "(call $puts (i32.const -1))", "(call $puts (i32.const 1572864))"),
                 PATHS);
    KEPT(run, 0, 0, -1, -1);
    assert_buffer(&run->call->log, "hosts\n\n");
    run_free(run);
}

/* 10 characters and a line end into logs of 9 to 12 bytes. */
static void test_puts_limit(void **state)
{
    (void)state;
    char *text = module_text("env",
                             "(func (export \"run\") (param i32 i32 i32 i32) (result i32)"
                             "(call $puts (i32.const 0)))",
                             PATHS);
    for (uint64_t limit = 9; limit <= 12; limit++) {
        struct run *run = run_module(text);
        run->description.limits.log_bytes = limit;
        run_call(run, NULL, 0);
        assert_true(run_on(run, NULL));
        assert_int_equal(run->call->error, 0);
        assert_int_equal(run->call->exit_code, 0);
        assert_int_equal(run->call->log_truncated, limit < 11);
        assert_int_equal(run->call->log.length, limit < 11 ? limit : 11);
        assert_memory_equal(run->call->log.data, "/etc/hosts\n", run->call->log.length);
        run_free(run);
    }
    free(text);
}

/* --- the rest --------------------------------------------------------------------------------- */

static void test_ioctl_and_fcntl(void **state)
{
    (void)state;
#define IOCTL(fd)                                                                                  \
    "(call $__syscall_ioctl (i32.const " fd ") (i32.const 0x5413) (i32.const 0)"                   \
    " (i32.const 0) (i32.const 0) (i32.const 0))"
#define PLAIN(fd) "(call $ioctl (i32.const " fd ") (i32.const 0x5413) (i32.const 0))"
#define FCNTL(fd) "(call $__syscall_fcntl64 (i32.const " fd ") (i32.const 2) (i32.const 1))"
    struct run *run =
        run_2018(BODY(OPEN("0", "0"), IOCTL("0"), IOCTL("1"), IOCTL("3"), IOCTL("4"), IOCTL("-1"),
                      PLAIN("2"), PLAIN("4"), FCNTL("0"), FCNTL("3"), FCNTL("4"), FCNTL("-1")),
                 PATHS);
    KEPT(run, 3, 0, 0, -25, -9, -9, 0, -9, 0, 0, -9, -9);
    run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_the_files), cmocka_unit_test(test_open_errors),
        cmocka_unit_test(test_file_limit),     cmocka_unit_test(test_read_errors),
        cmocka_unit_test(test_readv),          cmocka_unit_test(test_seek),
        cmocka_unit_test(test_writev),         cmocka_unit_test(test_puts),
        cmocka_unit_test(test_puts_limit),     cmocka_unit_test(test_ioctl_and_fcntl),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
