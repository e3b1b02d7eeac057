/* test_thread.c - threads get no signals, but for their own faults; and can be refused. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "loop/thread.h"

static bool refuse;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                   void *data)
{
    static int (*real)(pthread_t * thread, const pthread_attr_t *attributes, void *(*body)(void *),
                       void *data);
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&real, &symbol, sizeof(symbol));
    return refuse ? EAGAIN : real(thread, attributes, body, data);
}

static void *look(void *data)
{
    sigset_t *mask = data;
    return pthread_sigmask(SIG_SETMASK, NULL, mask) == 0 ? data : NULL;
}

static void signals(void **state)
{
    (void)state;
    static const int blocked[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGPIPE, SIGCHLD};
    static const int open[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    sigset_t before;
    sigset_t after;
    sigset_t mask;
    pthread_t thread;
    void *result = NULL;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &before), 0);
    assert_int_equal(fm_thread_start(&thread, "test", look, &mask), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, &mask);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(blocked); i++)
        assert_int_equal(sigismember(&mask, blocked[i]), 1);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(open); i++)
        assert_int_equal(sigismember(&mask, open[i]), 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &after), 0);
    for (int i = 1; i < NSIG; i++) /* the starter's own mask is as it was */
        assert_int_equal(sigismember(&after, i), sigismember(&before, i));
}

static void refused(void **state)
{
    (void)state;
    pthread_t thread = pthread_self();
    refuse = true;
    assert_int_equal(fm_thread_start(&thread, "test", look, NULL), FM_ERR_BUSY);
    refuse = false;
    assert_true(pthread_equal(thread, pthread_self()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals),
        cmocka_unit_test(refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
