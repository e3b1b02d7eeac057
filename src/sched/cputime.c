/* cputime.c - CPU time from two clocks.
 *
 * The thread's CPU clock is exact and costs a system call; the monotonic clock is read from user
 * space, and runs on while the thread is off its core.  Most calls last some microseconds, and two
 * system calls would be a good part of what they cost.  So:
 *
 *      a short turn    what passed on the monotonic clock: an interruption in it is shorter still
 *      a longer one    the CPU clock since the anchor (its last reading), at most what passed
 *
 *      CPU clock      anchor ........ begin ~~~~~ guest ~~~~~ end
 *                        |                                     |
 *                        +---- also what the worker did -------+
 *
 * Between anchor and begin lies only what the worker did for itself.  After a longer turn, and
 * before one that is known to be long (`exact`), the anchor is fresh, so that a guest that burns
 * CPU is charged exactly.  What remains is a short turn that is interrupted by other processes: it
 * is charged what the worker did since the anchor as well, at most what passed on the clock.  A
 * thousand requests may be read and answered in one pass, some milliseconds; so an anchor is used
 * for a quarter of a slice only, for the price of one reading in that time.
 *
 * Discarded: reading the CPU clock for every turn (0.2 to 0.3 us a reading, twice a call), and
 * counting cycles, which go on while the thread is off its core just like the clock does. */
#include "sched/cputime.h"

void fm_cputime_init(struct fm_cputime *cputime, uint64_t (*read_ns)(void))
{
    *cputime = (struct fm_cputime){.read_ns = read_ns, .anchor_ns = read_ns()};
}

void fm_cputime_begin(struct fm_cputime *cputime, uint64_t now_ns, bool exact)
{
    cputime->start_ns = now_ns;
    if (!exact && now_ns - cputime->anchored_ns < FM_CPUTIME_FRESH_NS)
        return;
    cputime->anchor_ns = cputime->read_ns();
    cputime->anchored_ns = now_ns;
}

static bool is_short(uint64_t passed_ns)
{
    return passed_ns <= FM_CPUTIME_SHORT_NS;
}

uint64_t fm_cputime_so_far(const struct fm_cputime *cputime, uint64_t now_ns)
{
    uint64_t passed_ns = now_ns - cputime->start_ns;
    if (is_short(passed_ns))
        return passed_ns;
    return fm_min_u64(passed_ns, cputime->read_ns() - cputime->anchor_ns);
}

uint64_t fm_cputime_end(struct fm_cputime *cputime, uint64_t now_ns)
{
    uint64_t passed_ns = now_ns - cputime->start_ns;
    if (is_short(passed_ns))
        return passed_ns;
    uint64_t cpu_ns = cputime->read_ns();
    uint64_t used_ns = fm_min_u64(passed_ns, cpu_ns - cputime->anchor_ns);
    cputime->anchor_ns = cpu_ns;
    cputime->anchored_ns = now_ns;
    return used_ns;
}
