/* lz.c - packs a text by references to what came before, in the manner of Lempel and Ziv (1977),
 * and unpacks it again. */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES (3 << 20)
#define PACKED_BYTES_MAX (TEXT_BYTES + TEXT_BYTES / 8 + 64)
#define HASH_BITS 15
#define TRIES_MAX 8 /* of earlier places, for the longest match */
#define WINDOW_BYTES 65535
#define MATCH_MIN 4
#define MATCH_MAX (MATCH_MIN + 127)
#define LITERALS_MAX 128

static uint8_t text[TEXT_BYTES];
static uint8_t packed[PACKED_BYTES_MAX];
static uint8_t unpacked[TEXT_BYTES];
static int32_t heads[1 << HASH_BITS];
static int32_t earlier[TEXT_BYTES];

void kernel_prepare(void)
{
    size_t at = 0;
    while (at < TEXT_BYTES) {
        uint32_t length = 3 + kernel_random(30);
        int repeats = at > 1000 && kernel_random(3) > 0;
        size_t from = repeats ? at - 40 - kernel_random(900) : 0;
        for (; length > 0 && at < TEXT_BYTES; length--)
            text[at++] = repeats ? text[from++] : (uint8_t)(' ' + kernel_random(64));
    }
}

static uint32_t load(const uint8_t *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof(word));
    return word;
}

static uint32_t hash_of(const uint8_t *at)
{
    return load(at) * 2654435761U >> (32 - HASH_BITS);
}

static size_t match_length(const uint8_t *one, const uint8_t *other, size_t length_max)
{
    size_t length = 0;
    while (length < length_max && one[length] == other[length])
        length++;
    return length;
}

static size_t find_match(size_t at, size_t *ret_distance)
{
    size_t left = TEXT_BYTES - at;
    size_t length_max = left < MATCH_MAX ? left : MATCH_MAX;
    size_t best = 0;
    int32_t place = heads[hash_of(text + at)];
    for (int i = 0; i < TRIES_MAX && place >= 0 && at - (size_t)place <= WINDOW_BYTES; i++) {
        size_t length = match_length(text + place, text + at, length_max);
        if (length > best) {
            best = length;
            *ret_distance = at - (size_t)place;
        }
        place = earlier[place];
    }
    return best;
}

static void remember(size_t at)
{
    uint32_t hash = hash_of(text + at);
    earlier[at] = heads[hash];
    heads[hash] = (int32_t)at;
}

/* A run of bytes as they are: 0xxxxxxx, then these.  A match: 1xxxxxxx, then its distance. */
static uint8_t *put_literals(uint8_t *to, size_t from, size_t count)
{
    while (count > 0) {
        size_t run = count < LITERALS_MAX ? count : LITERALS_MAX;
        *to++ = (uint8_t)(run - 1);
        memcpy(to, text + from, run);
        to += run;
        from += run;
        count -= run;
    }
    return to;
}

static size_t pack(void)
{
    uint8_t *to = packed;
    size_t literals = 0;
    size_t at = 0;
    memset(heads, -1, sizeof(heads));
    while (at + MATCH_MIN <= TEXT_BYTES) {
        size_t distance = 0;
        size_t length = find_match(at, &distance);
        if (length < MATCH_MIN) {
            remember(at++);
            literals++;
            continue;
        }
        to = put_literals(to, at - literals, literals);
        literals = 0;
        *to++ = (uint8_t)(0x80 | (length - MATCH_MIN));
        *to++ = (uint8_t)distance;
        *to++ = (uint8_t)(distance >> 8);
        for (; length > 0 && at + MATCH_MIN <= TEXT_BYTES; length--)
            remember(at++);
        at += length;
    }
    literals += TEXT_BYTES - at;
    to = put_literals(to, TEXT_BYTES - literals, literals);
    return (size_t)(to - packed);
}

static void unpack(size_t packed_bytes)
{
    size_t at = 0;
    const uint8_t *from = packed;
    while (from < packed + packed_bytes) {
        uint8_t token = *from++;
        if (token & 0x80) {
            size_t length = (size_t)(token & 0x7f) + MATCH_MIN;
            size_t distance = from[0] | (size_t)from[1] << 8;
            from += 2;
            for (; length > 0; length--, at++) /* may overlap what it copies */
                unpacked[at] = unpacked[at - distance];
        } else {
            size_t run = (size_t)token + 1;
            memcpy(unpacked + at, from, run);
            from += run;
            at += run;
        }
    }
}

uint64_t kernel_run(void)
{
    size_t bytes = pack();
    unpack(bytes);
    if (memcmp(text, unpacked, TEXT_BYTES) != 0)
        abort();
    return kernel_mix(bytes, packed[bytes / 2]);
}
