/* cputime.h - the CPU time of one turn of a guest, without a system call where the turn is short.
 * Private to sched/.  One per worker, used by its thread alone. */
#pragma once

#include "base/base.h"

#define FM_CPUTIME_SHORT_NS UINT64_C(50000)  /* up to here time on the clock stands for CPU time */
#define FM_CPUTIME_FRESH_NS UINT64_C(250000) /* so long a reading of the CPU clock is used */

struct fm_cputime {
    uint64_t (*read_ns)(void); /* the thread's CPU clock */
    uint64_t start_ns;         /* monotonic: when the turn began */
    uint64_t anchor_ns;        /* CPU clock when it was last read, not later than that */
    uint64_t anchored_ns;      /* monotonic: when that was */
};

void fm_cputime_init(struct fm_cputime *cputime, uint64_t (*read_ns)(void));

/* A turn begins at `now_ns` (monotonic).  `exact`: read the CPU clock now; worth it for a guest
 * that is known to be no short one. */
void fm_cputime_begin(struct fm_cputime *cputime, uint64_t now_ns, bool exact);

/* CPU time of the turn so far; at its end.  Never more than what passed on the clock. */
FM_MUST_CHECK uint64_t fm_cputime_so_far(const struct fm_cputime *cputime, uint64_t now_ns);
FM_MUST_CHECK uint64_t fm_cputime_end(struct fm_cputime *cputime, uint64_t now_ns);
