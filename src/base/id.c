/* id.c - UUIDs of version 7 (RFC 9562, section 5.7 and method 1 of 6.2).
 *
 *      high  63 ............ 16 15 .. 12 11 ...... 0      low  63 62 61 .............. 0
 *            unix milliseconds  version    counter             variant    random
 *                                  7                              2
 *
 * Milliseconds and counter are kept as one number of 60 bits, the `tick`.  The next id takes the
 * larger of "now, counter 0" and "last tick plus 1".  So one rule covers three cases: more ids in
 * the same millisecond, a clock that went back, and more than 4096 ids in a millisecond, where the
 * counter carries into the time and the ids run ahead of the clock until it catches up.
 *
 * Ids of several generators (one a worker) are kept apart by 62 random bits.  These come from
 * xoshiro256** (written from the paper of Blackman and Vigna), not from getrandom each time: a
 * system call an id is dear.  Who sees some ids can work out others, so an id is a name and never
 * a permission.
 *
 * A generator belongs to one thread. */
#include "base/id.h"

#include <string.h>
#include <sys/random.h>

#include "base/error.h"

#define VERSION UINT64_C(7)
#define VARIANT UINT64_C(2)
#define COUNTER_BITS 12
#define COUNTER_MASK ((UINT64_C(1) << COUNTER_BITS) - 1)
#define TICK_MAX ((UINT64_C(1) << 60) - 1)

int fm_id_generator_init(struct fm_id_generator *generator)
{
    uint64_t seed[4];
    if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return FM_ERR_IO;
    if ((seed[0] | seed[1] | seed[2] | seed[3]) == 0)
        seed[0] = 1; /* the one state that xoshiro never leaves */
    generator->last = 0;
    memcpy(generator->random, seed, sizeof(seed));
    return 0;
}

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static uint64_t random_next(uint64_t s[4])
{
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

struct fm_id fm_id_next(struct fm_id_generator *generator, uint64_t real_ns)
{
    FM_ASSERT(generator->last < TICK_MAX);
    uint64_t now = real_ns / FM_NS_PER_MS << COUNTER_BITS;
    uint64_t tick = fm_max_u64(now, generator->last + 1);
    generator->last = tick;
    return (struct fm_id){
        .high = tick >> COUNTER_BITS << 16 | VERSION << 12 | (tick & COUNTER_MASK),
        .low = VARIANT << 62 | random_next(generator->random) >> 2,
    };
}

/* 8-4-4-4-12 hexadecimal digits. */
static bool is_dash(size_t position)
{
    return position == 8 || position == 13 || position == 18 || position == 23;
}

void fm_id_format(struct fm_id id, char text[FM_ID_TEXT_SIZE])
{
    int shift = 128;
    for (size_t i = 0; i < FM_ID_TEXT_SIZE - 1; i++) {
        if (is_dash(i)) {
            text[i] = '-';
            continue;
        }
        shift -= 4;
        uint64_t half = shift >= 64 ? id.high : id.low;
        text[i] = "0123456789abcdef"[half >> (shift & 63) & 15];
    }
    text[FM_ID_TEXT_SIZE - 1] = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

int fm_id_parse(const char *text, size_t length, struct fm_id *ret_id)
{
    if (length != FM_ID_TEXT_SIZE - 1)
        return FM_ERR_BAD_REQUEST;
    struct fm_id id = {0, 0};
    for (size_t i = 0; i < length; i++) {
        if (is_dash(i)) {
            if (text[i] != '-')
                return FM_ERR_BAD_REQUEST;
            continue;
        }
        int digit = hex_digit(text[i]);
        if (digit < 0)
            return FM_ERR_BAD_REQUEST;
        id.high = id.high << 4 | id.low >> 60;
        id.low = id.low << 4 | (uint64_t)digit;
    }
    if ((id.high >> 12 & 15) != VERSION || id.low >> 62 != VARIANT)
        return FM_ERR_BAD_REQUEST;
    *ret_id = id;
    return 0;
}
