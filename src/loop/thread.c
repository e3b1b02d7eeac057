/* thread.c - a thread inherits its creator's mask, so the mask is set around the creation: there is
 * no moment at which the thread could get a signal.
 *
 * Not blocked are faults: POSIX leaves open what a blocked one does, and nobody would report the
 * crash.
 *
 * No state; any thread. */
#include "loop/thread.h"

#include <signal.h>

#include "base/error.h"

static void signals_block(sigset_t *ret_before)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    sigset_t blocked;
    (void)sigfillset(&blocked); /* cannot fail */
    for (size_t i = 0; i < FM_ARRAY_LENGTH(faults); i++)
        (void)sigdelset(&blocked, faults[i]); /* cannot fail: they are signals */
    int error = pthread_sigmask(SIG_SETMASK, &blocked, ret_before);
    FM_ASSERT(error == 0);
}

int fm_thread_start(pthread_t *ret_thread, const char *name, void *(*body)(void *data), void *data)
{
    sigset_t before;
    pthread_t thread;
    signals_block(&before);
    int failed = pthread_create(&thread, NULL, body, data);
    int error = pthread_sigmask(SIG_SETMASK, &before, NULL);
    FM_ASSERT(error == 0);
    if (failed)
        return FM_ERR_BUSY;
    (void)pthread_setname_np(thread, name); /* only for people who look */
    *ret_thread = thread;
    return 0;
}
