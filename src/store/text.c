/* text.c - checks of the texts that a version is made of.
 *
 * Where the project has a writer for a form, the check is to parse loosely, write it again and
 * compare: what passes is exactly what we write, so that a text never has two spellings.  That
 * matters for ids, which are names of folders and sorted as text, and spares a table of the lengths
 * of months for times.
 *
 * No state; any thread. */
#include "store/text.h"

#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/id.h"

/* The length of the character at `text`, 0 when it is none.  A NUL never is a follower, so nothing
 * beyond the end is read. */
static size_t utf8_character(const uint8_t *text)
{
    static const struct {
        uint8_t first_min, first_max;
        uint8_t second_min, second_max; /* where the overlong forms and the surrogates drop out */
        size_t length;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    if (text[0] < 0x80)
        return 1;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(forms); i++) {
        if (text[0] < forms[i].first_min || text[0] > forms[i].first_max)
            continue;
        if (text[1] < forms[i].second_min || text[1] > forms[i].second_max)
            return 0;
        for (size_t j = 2; j < forms[i].length; j++)
            if ((text[j] & 0xc0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

bool fm_text_utf8_valid(const char *text)
{
    const uint8_t *next = (const uint8_t *)text;
    while (*next) {
        size_t length = utf8_character(next);
        if (length == 0)
            return false;
        next += length;
    }
    return true;
}

bool fm_text_id_valid(const char *text)
{
    struct fm_id id;
    char again[FM_ID_TEXT_SIZE];
    if (fm_id_parse(text, strlen(text), &id) != 0)
        return false;
    fm_id_format(id, again);
    uint64_t ms = id.high >> 16;
    return strcmp(text, again) == 0 && ms < UINT64_MAX / FM_NS_PER_MS;
}

bool fm_text_hex_valid(const char *text, size_t digits)
{
    return strlen(text) == digits && strspn(text, "0123456789abcdef") == digits;
}

int fm_text_time_parse(const char *text, uint64_t *ret_real_ns)
{
    struct tm tm = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S.", &tm);
    if (!rest || strlen(rest) != 7 || strspn(rest, "0123456789") != 6)
        return FM_ERR_BAD_REQUEST;
    uint64_t us = 0;
    for (size_t i = 0; i < 6; i++)
        us = us * 10 + (uint64_t)(rest[i] - '0');

    time_t seconds = timegm(&tm);
    if (seconds < 0 || (uint64_t)seconds >= UINT64_MAX / FM_NS_PER_S)
        return FM_ERR_BAD_REQUEST;
    uint64_t real_ns = (uint64_t)seconds * FM_NS_PER_S + us * FM_NS_PER_US;
    char again[FM_CLOCK_TEXT_SIZE];
    fm_clock_format(real_ns, again);
    if (strcmp(text, again) != 0)
        return FM_ERR_BAD_REQUEST;
    *ret_real_ns = real_ns;
    return 0;
}
