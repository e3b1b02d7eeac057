/* encode.c - the two encodings that a problem needs to carry a guest's output.
 *
 * UTF-8 is checked by its table of first and second bytes (RFC 3629, section 4): what is odd about
 * a sequence always shows in its first two bytes, the rest are plain continuations.  Not a general
 * decoder: nobody here needs the code points.
 *
 * No state; any thread. */
#include "base/encode.h"

#include <string.h>

#include "base/error.h"

static bool continues(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* The range of the second byte; an empty one for bytes that start no sequence. */
static void second_byte_range(uint8_t first, uint8_t *ret_low, uint8_t *ret_high)
{
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    if (first == 0xE0)
        low = 0xA0; /* else overlong */
    else if (first == 0xED)
        high = 0x9F; /* else a surrogate */
    else if (first == 0xF0)
        low = 0x90; /* else overlong */
    else if (first == 0xF4)
        high = 0x8F; /* else above U+10FFFF */
    else if (first < 0xC2 || first > 0xF4)
        high = 0;
    *ret_low = low;
    *ret_high = high;
}

size_t fm_utf8_step(const uint8_t *data, size_t bytes)
{
    if (bytes == 0)
        return 0;
    uint8_t first = data[0];
    if (first < 0x80)
        return 1;
    size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    uint8_t low = 0;
    uint8_t high = 0;
    second_byte_range(first, &low, &high);
    if (bytes < length || data[1] < low || data[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++)
        if (!continues(data[i]))
            return 0;
    return length;
}

bool fm_utf8_valid(const uint8_t *data, size_t bytes)
{
    const uint64_t high_bits = UINT64_C(0x8080808080808080);
    size_t i = 0;
    while (i < bytes) {
        uint64_t word = 0;
        if (bytes - i >= sizeof(word)) {
            memcpy(&word, data + i, sizeof(word));
            if (!(word & high_bits)) { /* eight ASCII characters at once */
                i += sizeof(word);
                continue;
            }
        }
        size_t step = fm_utf8_step(data + i, bytes - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

bool fm_utf8_text_valid(const char *text)
{
    return fm_utf8_valid((const uint8_t *)text, strlen(text));
}

static void encode_group(const uint8_t *from, size_t bytes, uint8_t to[4])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint32_t group = (uint32_t)from[0] << 16;
    if (bytes > 1)
        group |= (uint32_t)from[1] << 8;
    if (bytes > 2)
        group |= from[2];
    for (size_t i = 0; i < 4; i++)
        to[i] = i <= bytes ? (uint8_t)digits[(group >> (18 - 6 * i)) & 63] : '=';
}

int fm_base64_append(struct fm_buffer *buffer, const uint8_t *data, size_t bytes)
{
    if (bytes > SIZE_MAX / 4 * 3 - 3)
        return FM_ERR_TOO_LARGE;
    int failed = fm_buffer_reserve(buffer, (bytes + 2) / 3 * 4);
    if (failed)
        return failed;
    for (size_t i = 0; i < bytes; i += 3) {
        encode_group(data + i, fm_min_u64(bytes - i, 3), buffer->data + buffer->length);
        buffer->length += 4;
    }
    return 0;
}
