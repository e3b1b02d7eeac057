/* text.h - checks of the texts that a version is made of.  Private to store/.  Any thread. */
#pragma once

#include "base/base.h"

/* A version's id, just as fm_id_format() writes it, of a time that fm_id_next() can follow. */
bool fm_text_id_valid(const char *text);

/* Lower-case hexadecimal digits, `digits` of them. */
bool fm_text_hex_valid(const char *text, size_t digits);

/* What fm_clock_format() writes, and nothing else.  FM_ERR_BAD_REQUEST. */
FM_MUST_CHECK int fm_text_time_parse(const char *text, uint64_t *ret_real_ns);
