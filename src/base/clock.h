/* clock.h - times in nanoseconds.  Any thread. */
#pragma once

#include "base/base.h"

uint64_t fm_clock_monotonic_ns(void);  /* never goes back; for deadlines and durations */
uint64_t fm_clock_real_ns(void);       /* since 1970, UTC */
uint64_t fm_clock_thread_cpu_ns(void); /* CPU consumed by the calling thread */

#define FM_CLOCK_TEXT_SIZE 28 /* "2026-11-23T20:02:33.123456Z" and its NUL */

/* RFC 3339, UTC, microseconds. */
void fm_clock_format(uint64_t real_ns, char text[FM_CLOCK_TEXT_SIZE]);
