/* test_suspects.c - who is suspected after a server has ended, and who is not. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/suspects.h"
#include "torture.h"

#define WORKERS 3

/* A server whose workers 0 and 2 have a guest on their threads ends by `signal`, or normally. */
static int server_that_ends_by(struct fm_suspects *suspects, int signal)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        for (unsigned i = 0; i < WORKERS; i++)
            *fm_suspects_slot(suspects, i) = (struct fm_id){.high = 7 + i, .low = 70 + i};
        fm_suspects_slot(suspects, 1)->high = 0; /* this one is over */
        if (signal)
            (void)kill(getpid(), signal);
        _exit(3);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void only_its_own_fault_counts(void **state)
{
    (void)state;
    static const struct {
        int signal;
        size_t suspects;
    } ends[] = {{SIGSEGV, 2}, {SIGABRT, 2}, {SIGILL, 2},  {SIGBUS, 2},
                {SIGFPE, 2},  {SIGKILL, 0}, {SIGTERM, 0}, {0, 0}};
    struct fm_suspects *suspects = NULL;
    assert_int_equal(fm_suspects_new(WORKERS, &suspects), 0);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        signal(SIGSEGV, SIG_DFL); /* cmocka has put its own in their place */
        signal(SIGILL, SIG_DFL);
        signal(SIGFPE, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        size_t count = 99;
        fm_suspects_collect(suspects, server_that_ends_by(suspects, ends[i].signal));
        const struct fm_id *list = fm_suspects_list(suspects, &count);
        assert_int_equal(count, ends[i].suspects);
        if (count > 0) {
            assert_int_equal(list[0].high, 7);
            assert_int_equal(list[0].low, 70);
            assert_int_equal(list[1].high, 9);
        }
        fm_suspects_collect(suspects, SIGSEGV); /* the next one, before any guest ran */
        fm_suspects_list(suspects, &count);
        assert_int_equal(count, ends[i].suspects); /* still not told to a server */
        fm_suspects_forget(suspects);
        fm_suspects_list(suspects, &count);
        assert_int_equal(count, 0);
    }
    fm_suspects_free(suspects);
}

static void the_list_is_bounded(void **state)
{
    (void)state;
    struct fm_suspects *suspects = NULL;
    size_t count = 0;
    assert_int_equal(fm_suspects_new(1, &suspects), 0);
    for (uint64_t i = 1; i <= 5; i++) {
        *fm_suspects_slot(suspects, 0) = (struct fm_id){.high = i, .low = i};
        fm_suspects_collect(suspects, SIGSEGV);
        fm_suspects_list(suspects, &count);
        assert_int_equal(count, i < 4 ? i : 4);
    }
    fm_suspects_free(suspects);
}

static int make(void *data)
{
    struct fm_suspects **suspects = data;
    int failed = fm_suspects_new(WORKERS, suspects);
    if (!failed)
        *suspects = fm_suspects_free(*suspects);
    return failed;
}

static void without_memory(void **state)
{
    (void)state;
    struct fm_suspects *suspects = NULL;
    assert_int_equal(torture(make, &suspects), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_its_own_fault_counts),
        cmocka_unit_test(the_list_is_bounded),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
