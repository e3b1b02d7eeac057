/* test_assert.c - a failed assertion says where, in one line, and ends the process. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "torture.h"

#define TEXT_SIZE 4096

/* Runs `body` in a child process; returns its wait status and what it wrote to standard error. */
static int run_child(void (*body)(void), char text[TEXT_SIZE])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        (void)setrlimit(RLIMIT_CORE, &none); /* an expected crash leaves no core */
        (void)dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    (void)close(ends[1]);
    size_t length = 0;
    ssize_t got;
    while ((got = read(ends[0], text + length, TEXT_SIZE - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    (void)close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

enum { FAILING_LINE = __LINE__ + 5 };

static void miscount(void)
{
    int apples = 1;
    FM_ASSERT(apples == 2);
}

static void miscount_without_memory(void)
{
    torture_fail_nth(1);
    miscount();
}

static void pass(void)
{
    int evaluations = 0;
    FM_ASSERT(++evaluations == 1);
    FM_ASSERT(evaluations == 1); /* evaluated exactly once */
}

static void test_failure_names_the_place_and_aborts(void **state)
{
    (void)state;
    char text[TEXT_SIZE];
    int status = run_child(miscount, text);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);

    char expected[TEXT_SIZE];
    (void)snprintf(expected, sizeof(expected),
                   "faasm: %s:%d: miscount: assertion failed: apples == 2\n", __FILE__,
                   FAILING_LINE);
    assert_string_equal(text, expected);
}

static void test_failure_needs_no_memory(void **state)
{
    (void)state;
    char text[TEXT_SIZE];
    int status = run_child(miscount_without_memory, text);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_non_null(strstr(text, "assertion failed: apples == 2\n"));
}

static void line_numbers(void)
{
    fm_assert_failed("c", "f", 2147483647, "g");
}

static void line_zero(void)
{
    fm_assert_failed("c", "f", 0, "g");
}

static void test_line_numbers_are_whole(void **state)
{
    (void)state;
    char text[TEXT_SIZE];
    (void)run_child(line_numbers, text);
    assert_string_equal(text, "faasm: f:2147483647: g: assertion failed: c\n");
    (void)run_child(line_zero, text);
    assert_string_equal(text, "faasm: f:0: g: assertion failed: c\n");
}

static void test_success_goes_on(void **state)
{
    (void)state;
    char text[TEXT_SIZE];
    int status = run_child(pass, text);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_names_the_place_and_aborts),
        cmocka_unit_test(test_failure_needs_no_memory),
        cmocka_unit_test(test_line_numbers_are_whole),
        cmocka_unit_test(test_success_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
