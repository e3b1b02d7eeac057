/* fifo.h - bytes that are put in at one end and taken out at the other, up to a ceiling.
 *
 * One owner, one thread at a time.  What does not fit is not taken: whoever puts waits. */
#pragma once

#include "base/base.h"

struct fm_fifo {
    uint8_t *data; /* NULL while capacity is 0 */
    size_t capacity;
    size_t start; /* of the content, < capacity or 0 */
    size_t length;
};

void fm_fifo_init(struct fm_fifo *fifo); /* allocates nothing yet */
void fm_fifo_done(struct fm_fifo *fifo); /* frees, stays usable */

/* Puts as much as fits under `length_max`, which may differ from call to call.  FM_ERR_NOMEM:
 * nothing was put. */
FM_MUST_CHECK int fm_fifo_put(struct fm_fifo *fifo, const void *data, size_t bytes,
                              size_t length_max, size_t *ret_put);

/* Takes out at most `bytes`; `data` NULL drops them.  Returns how many. */
size_t fm_fifo_get(struct fm_fifo *fifo, void *data, size_t bytes);

/* The longest piece of the content's beginning that lies in one place. */
const uint8_t *fm_fifo_front(const struct fm_fifo *fifo, size_t *ret_bytes);
