/* record_json.h - a call as JSON, and the numbers that requests about calls carry.  Private to
 * http/. Any thread. */
#pragma once

#include "base/error.h"
#include "call/record.h"
#include "http/json.h"

/* What is shown of an error beside the record. */
struct fm_record_more {
    const uint8_t *log; /* all of it, of which the end is shown; NULL: nothing */
    size_t log_bytes;
    uint64_t dump_bytes; /* 0: no core dump */
};

/* Writes the call JSON, as an object without a name.  `more` may be NULL. */
void fm_record_json(struct fm_json *json, const struct fm_call_record *record,
                    const struct fm_record_more *more);

/* Writes the last lines of a log as "log_tail", at most FM_LOG_TAIL_BYTES_MAX; nothing for an empty
 * one. */
void fm_log_tail_json(struct fm_json *json, const uint8_t *log, size_t log_bytes);

/* Seconds with decimals ("1.5", "0", "30"), at most `ns_max`.  FM_ERR_BAD_REQUEST: with what is
 * wrong and at which byte of `text`; `what` says whose number it is. */
FM_MUST_CHECK int fm_seconds_parse(const char *text, uint64_t ns_max, const char *what,
                                   uint64_t *ret_ns, struct fm_error *error);
