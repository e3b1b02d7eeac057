/* id.h - identifiers of calls that sort by creation time.
 *
 * A UUID of version 7 (RFC 9562) as 36 characters: 48 bits of Unix milliseconds, 12 bits that count
 * within the millisecond, 62 random bits.  A generator belongs to one thread; its ids never go
 * back, even when the clock does. */
#pragma once

#include "base/base.h"

#define FM_ID_TEXT_SIZE 37 /* 36 characters and a NUL */

struct fm_id {
    uint64_t high; /* time, version, counter */
    uint64_t low;  /* variant, random */
};

struct fm_id_generator {
    uint64_t last;      /* the highest 60 bits (time and counter) that were given out */
    uint64_t random[4]; /* state of xoshiro256** (Blackman, Vigna 2018), seeded by the kernel */
};

/* FM_ERR_IO: the kernel gave no random seed. */
FM_MUST_CHECK int fm_id_generator_init(struct fm_id_generator *generator);
struct fm_id fm_id_next(struct fm_id_generator *generator, uint64_t real_ns);

/* Both words 0, which no generator gives out: stands for "none". */
static inline bool fm_id_none(struct fm_id id)
{
    return (id.high | id.low) == 0;
}

void fm_id_format(struct fm_id id, char text[FM_ID_TEXT_SIZE]);

/* Either case of letters.  FM_ERR_BAD_REQUEST: not the text of a UUID of version 7. */
FM_MUST_CHECK int fm_id_parse(const char *text, size_t length, struct fm_id *ret_id);
