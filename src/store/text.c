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
