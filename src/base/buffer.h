/* buffer.h - bytes that grow, up to a ceiling that is given at the start.
 *
 * One owner, one thread at a time.  Over the ceiling is FM_ERR_TOO_LARGE and leaves the buffer as
 * it was: nothing is ever cut off silently.  Length doubles, so appending is linear. */
#pragma once

#include "base/base.h"

struct fm_buffer {
    uint8_t *data; /* NULL while capacity is 0 */
    size_t length;
    size_t capacity;
    size_t length_max;
};

/* Allocates nothing yet; `length_max` is at most PTRDIFF_MAX. */
void fm_buffer_init(struct fm_buffer *buffer, size_t length_max);
void fm_buffer_done(struct fm_buffer *buffer); /* frees, stays usable */

/* Forgets the content; keeps the memory when it is at most `keep_bytes`. */
void fm_buffer_clear(struct fm_buffer *buffer, size_t keep_bytes);

/* Room for `bytes` more.  FM_ERR_TOO_LARGE, FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_buffer_reserve(struct fm_buffer *buffer, size_t bytes);

/* The same errors.  What is appended must not lie in this buffer: growing may move it. */
FM_MUST_CHECK int fm_buffer_append(struct fm_buffer *buffer, const void *data, size_t bytes);
FM_MUST_CHECK int fm_buffer_append_text(struct fm_buffer *buffer, const char *text);
FM_MUST_CHECK int fm_buffer_printf(struct fm_buffer *buffer, const char *format, ...)
    FM_PRINTF(2, 3);

/* Gives the memory (from malloc, or NULL when empty) to the caller; the buffer is empty after. */
uint8_t *fm_buffer_take(struct fm_buffer *buffer, size_t *ret_length);
