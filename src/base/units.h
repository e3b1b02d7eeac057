/* units.h - numbers with units, as people write them: `64MiB`, `1.5s`, `250ms`. */
#pragma once

#include "base/base.h"

enum fm_unit {
    FM_UNIT_NONE,  /* a plain count */
    FM_UNIT_BYTES, /* B, KiB, MiB, GiB, KB, MB, GB; without a unit: bytes */
    FM_UNIT_MS,    /* us, ms, s, m, h; without a unit: milliseconds */
};

/* Decimals are fine where the result is a whole number of the base unit.  FM_ERR_BAD_REQUEST: not a
 * number, an unknown unit, negative, not whole, or over 2^63-1; `ret_value` is then untouched. */
FM_MUST_CHECK int fm_units_parse(const char *text, enum fm_unit unit, uint64_t *ret_value);

/* What may follow the number, for messages: "us, ms, s, m, h"; "none" for a plain count. */
const char *fm_units_names(enum fm_unit unit);

#define FM_UNITS_TEXT_SIZE 32

/* The shortest exact form: 67108864 bytes -> "64MiB", 1500 ms -> "1500ms". */
void fm_units_format(uint64_t value, enum fm_unit unit, char text[FM_UNITS_TEXT_SIZE]);
