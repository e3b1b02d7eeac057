/* encode.h - bytes as text: UTF-8 checked, base64 written.  Any thread. */
#pragma once

#include "base/buffer.h"

/* Length of the well-formed sequence (RFC 3629: no overlong forms, no surrogates, nothing above
 * U+10FFFF) at the start of `data`; 0 when there is none. */
size_t fm_utf8_step(const uint8_t *data, size_t bytes);
bool fm_utf8_valid(const uint8_t *data, size_t bytes);
bool fm_utf8_text_valid(const char *text); /* up to its NUL */

/* RFC 4648, with padding.  FM_ERR_TOO_LARGE, FM_ERR_NOMEM: nothing was appended. */
FM_MUST_CHECK int fm_base64_append(struct fm_buffer *buffer, const uint8_t *data, size_t bytes);
