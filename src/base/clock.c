/* clock.c - the kernel's clocks as plain nanoseconds.
 *
 * Code that decides by time takes the time as an argument, so that tests replay it; only the outer
 * loops ask these functions.  uint64_t nanoseconds since 1970 last until the year 2554, so every
 * date has four digits of year.
 *
 * A clock that cannot be read (it cannot happen on Linux with these three) is a mistake of ours: a
 * made-up time would silently break deadlines.  No state; any thread. */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t read_ns(clockid_t id)
{
    struct timespec now;
    FM_ASSERT(clock_gettime(id, &now) == 0);
    return (uint64_t)now.tv_sec * FM_NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t fm_clock_monotonic_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t fm_clock_real_ns(void)
{
    return read_ns(CLOCK_REALTIME);
}

uint64_t fm_clock_thread_cpu_ns(void)
{
    return read_ns(CLOCK_THREAD_CPUTIME_ID);
}

void fm_clock_format(uint64_t real_ns, char text[FM_CLOCK_TEXT_SIZE])
{
    time_t seconds = (time_t)(real_ns / FM_NS_PER_S);
    unsigned microseconds = (unsigned)(real_ns % FM_NS_PER_S / FM_NS_PER_US);
    struct tm utc;
    FM_ASSERT(gmtime_r(&seconds, &utc) != NULL);
    int length = snprintf(text, FM_CLOCK_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%06uZ",
                          utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
                          utc.tm_sec, microseconds);
    FM_ASSERT(length == FM_CLOCK_TEXT_SIZE - 1);
}
