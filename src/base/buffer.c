/* buffer.c - one block of memory that doubles.
 *
 *      data  [ content           | spare                ]
 *            0                length              capacity  <= length_max + 1
 *
 * Doubling, and not a chain of blocks: what is collected here (a request, a guest's output, a line
 * of JSON) is read as one span in the end.  Capacity stops at the ceiling, not at the power of two
 * behind it.  The one byte over length_max is for the NUL that vsnprintf insists on; it never
 * becomes content.
 *
 * A failed call leaves the buffer as it was.  What is appended must not lie in the same buffer,
 * since growing may move it.  One owner, one thread at a time. */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define CAPACITY_MIN 64

void fm_buffer_init(struct fm_buffer *buffer, size_t length_max)
{
    FM_ASSERT(length_max <= PTRDIFF_MAX); /* so that sums of two lengths cannot wrap */
    *buffer = (struct fm_buffer){.length_max = length_max};
}

void fm_buffer_done(struct fm_buffer *buffer)
{
    free(buffer->data);
    fm_buffer_init(buffer, buffer->length_max);
}

void fm_buffer_clear(struct fm_buffer *buffer, size_t keep_bytes)
{
    buffer->length = 0;
    if (buffer->capacity > keep_bytes)
        fm_buffer_done(buffer);
}

/* Makes capacity at least `needed`, which is at most length_max + 1. */
static int grow(struct fm_buffer *buffer, size_t needed)
{
    if (needed <= buffer->capacity)
        return 0;
    size_t capacity = fm_max_u64(fm_max_u64(needed, 2 * buffer->capacity), CAPACITY_MIN);
    if (capacity > buffer->length_max)
        capacity = fm_max_u64(needed, buffer->length_max);

    uint8_t *data = realloc(buffer->data, capacity);
    if (!data)
        return FM_ERR_NOMEM;
    buffer->data = data;
    buffer->capacity = capacity;
    return 0;
}

int fm_buffer_reserve(struct fm_buffer *buffer, size_t bytes)
{
    if (bytes > buffer->length_max - buffer->length)
        return FM_ERR_TOO_LARGE;
    return grow(buffer, buffer->length + bytes);
}

int fm_buffer_append(struct fm_buffer *buffer, const void *data, size_t bytes)
{
    if (bytes == 0)
        return 0; /* data may be NULL, which memcpy forbids */
    int result = fm_buffer_reserve(buffer, bytes);
    if (result != 0)
        return result;
    memcpy(buffer->data + buffer->length, data, bytes);
    buffer->length += bytes;
    return 0;
}

int fm_buffer_append_text(struct fm_buffer *buffer, const char *text)
{
    return fm_buffer_append(buffer, text, strlen(text));
}

/* Formats twice, first to measure: most texts are short and this keeps one path. */
int fm_buffer_printf(struct fm_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int measured = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (measured < 0)
        return FM_ERR_TOO_LARGE; /* over INT_MAX */

    size_t bytes = (size_t)measured;
    if (bytes > buffer->length_max - buffer->length)
        return FM_ERR_TOO_LARGE;
    int result = grow(buffer, buffer->length + bytes + 1);
    if (result != 0)
        return result;

    va_start(arguments, format);
    int written = vsnprintf((char *)buffer->data + buffer->length, bytes + 1, format, arguments);
    va_end(arguments);
    FM_ASSERT(written == measured);
    buffer->length += bytes;
    return 0;
}

uint8_t *fm_buffer_take(struct fm_buffer *buffer, size_t *ret_length)
{
    uint8_t *data = buffer->data;
    *ret_length = buffer->length;
    if (buffer->length == 0) {
        free(data); /* reserved, but nothing came */
        data = NULL;
    }
    fm_buffer_init(buffer, buffer->length_max);
    return data;
}
