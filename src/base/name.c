/* name.c - which names users and functions may have.
 *
 * An allowed set of bytes, spelled out here: isalnum() would ask the locale, and a list of what is
 * forbidden always forgets something.  No state; any thread. */
#include "base/name.h"

#include "base/limits.h"

static bool is_letter_or_digit(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool fm_name_valid(const char *name, size_t length)
{
    if (length == 0 || length > FM_NAME_LENGTH_MAX || !is_letter_or_digit(name[0]))
        return false;
    for (size_t i = 1; i < length; i++) {
        char c = name[i];
        if (!is_letter_or_digit(c) && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}
