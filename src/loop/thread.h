/* thread.h - starts a thread that gets no signals. */
#pragma once

#include <pthread.h>

#include "base/base.h"

/* Signals that mean something to the process are for other threads; faults of the thread itself
 * stay its own.  `name` is cut at 15 bytes by the kernel.  FM_ERR_BUSY: no thread could be started;
 * `*ret_thread` is untouched.  Whoever starts a thread joins it. */
FM_MUST_CHECK int fm_thread_start(pthread_t *ret_thread, const char *name,
                                  void *(*body)(void *data), void *data);
