/* log.h - one line per event on standard error.
 *
 *      2026-11-23T20:02:33.123456Z error upload_failed user=simon function=echo detail="disk full"
 *
 * A line is written with one write(2), so that lines of several threads do not mix.  Values are
 * quoted where they are empty or hold a quote, a backslash or anything but graphic ASCII (\n, \",
 * \xff inside the quotes), so a tenant's bytes can neither start a line nor steer a terminal.  Only
 * http/ and cmd/ log; libraries return errors.  Any thread. */
#pragma once

#include "base/base.h"

enum fm_log_level {
    FM_LOG_DEBUG,
    FM_LOG_INFO,
    FM_LOG_WARNING,
    FM_LOG_ERROR,
};

/* Lines below `level` are dropped; the default is FM_LOG_INFO.  At start, before threads. */
void fm_log_level_set(enum fm_log_level level);

/* Pairs of key and value, both strings, ended by NULL: fm_log(FM_LOG_INFO, "listening",
 * "address", text, NULL).  A line is at most 4 KiB; a value for which there is no room ends in
 * "...", no pair is left out.  Events and keys are graphic ASCII without = and ". */
void fm_log(enum fm_log_level level, const char *event, ...) __attribute__((sentinel));
