/* swap_guard.h - watches whether this machine can swap, and steers page scanning by it. */
#pragma once

#include "base/error.h"

struct fm_engine;
struct fm_loop;
struct fm_swap_guard; /* opaque */

/* Looks at once, and again whenever the kernel says that swap areas changed.  `swaps_path` is
 * /proc/swaps (another file in tests).  On the loop's thread.  FM_ERR_NOMEM, FM_ERR_IO. */
FM_MUST_CHECK int fm_swap_guard_new(struct fm_loop *loop, struct fm_engine *engine,
                                    const char *swaps_path, struct fm_swap_guard **ret_guard);
struct fm_swap_guard *fm_swap_guard_free(struct fm_swap_guard *guard); /* NULL is fine */
