/* fifo.c - a ring that doubles until it is as large as its user allows.
 *
 *      data  [ ...... | content, from `start` on, around the end | ...... ]
 *
 * It is small for what is small: memory comes with the bytes, not with the ceiling.  It gives none
 * back before its end, which comes soon: a ring belongs to one request.
 *
 * A failed call leaves the ring as it was.  One owner, one thread at a time. */
#include "base/fifo.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define CAPACITY_MIN 1024

void fm_fifo_init(struct fm_fifo *fifo)
{
    *fifo = (struct fm_fifo){0};
}

void fm_fifo_done(struct fm_fifo *fifo)
{
    free(fifo->data);
    fm_fifo_init(fifo);
}

/* How much lies from `start` to the end of the block; the rest is at its beginning. */
static size_t first_bytes(const struct fm_fifo *fifo)
{
    return (size_t)fm_min_u64(fifo->length, fifo->capacity - fifo->start);
}

static void copy_out(const struct fm_fifo *fifo, uint8_t *data, size_t bytes)
{
    size_t first = (size_t)fm_min_u64(bytes, first_bytes(fifo));
    if (first > 0)
        memcpy(data, fifo->data + fifo->start, first);
    if (bytes > first)
        memcpy(data + first, fifo->data, bytes - first);
}

static int grow(struct fm_fifo *fifo, size_t needed, size_t length_max)
{
    if (needed <= fifo->capacity)
        return 0;
    size_t capacity = fm_max_u64(fm_max_u64(needed, 2 * fifo->capacity), CAPACITY_MIN);
    if (capacity > length_max)
        capacity = fm_max_u64(needed, length_max);
    uint8_t *data = malloc(capacity);
    if (!data)
        return FM_ERR_NOMEM;
    copy_out(fifo, data, fifo->length);
    free(fifo->data);
    fifo->data = data;
    fifo->capacity = capacity;
    fifo->start = 0;
    return 0;
}

int fm_fifo_put(struct fm_fifo *fifo, const void *data, size_t bytes, size_t length_max,
                size_t *ret_put)
{
    size_t room = length_max > fifo->length ? length_max - fifo->length : 0;
    size_t put = bytes < room ? bytes : room;
    if (put == 0) {
        *ret_put = 0;
        return 0;
    }
    int failed = grow(fifo, fifo->length + put, length_max);
    if (failed)
        return failed;
    size_t end = (fifo->start + fifo->length) % fifo->capacity;
    size_t first = (size_t)fm_min_u64(put, fifo->capacity - end);
    memcpy(fifo->data + end, data, first);
    memcpy(fifo->data, (const uint8_t *)data + first, put - first);
    fifo->length += put;
    *ret_put = put;
    return 0;
}

size_t fm_fifo_get(struct fm_fifo *fifo, void *data, size_t bytes)
{
    size_t got = bytes < fifo->length ? bytes : fifo->length;
    if (got == 0)
        return 0;
    if (data)
        copy_out(fifo, data, got);
    fifo->length -= got;
    fifo->start = fifo->length > 0 ? (fifo->start + got) % fifo->capacity : 0;
    return got;
}

const uint8_t *fm_fifo_front(const struct fm_fifo *fifo, size_t *ret_bytes)
{
    *ret_bytes = first_bytes(fifo);
    return fifo->data ? fifo->data + fifo->start : NULL;
}
