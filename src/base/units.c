/* units.c - reading and writing amounts.
 *
 * The grammar is  digits [ "." digits ] [ unit ],  with no spaces and no sign.  Arithmetic is
 * exact: a double would turn 0.1s into something that is not 100 ms, and could not tell whether a
 * result is whole.  The whole part is an integer; the decimals are multiplied by the unit digit by
 * digit, from the right, as on paper:
 *
 *      0.25 KiB:   5 * 1024        = 5120 -> write 0, carry 512
 *                  2 * 1024 + 512  = 2560 -> write 0, carry 256      256 bytes, and nothing is left
 *
 * A digit other than 0 that would be written is a part of a base unit: not whole, refused.
 *
 * No state; any thread. */
#include "base/units.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

struct scale {
    enum fm_unit unit;
    const char *name;
    uint64_t factor;  /* base units in one of these; below 2^60, so that ten of them fit */
    uint64_t divisor; /* ... or how many of these make a base unit */
};

/* Where two forms are equally short, the first is written. */
static const struct scale scales[] = {
    {FM_UNIT_BYTES, "B", 1, 1},
    {FM_UNIT_BYTES, "KiB", FM_KIB, 1},
    {FM_UNIT_BYTES, "MiB", FM_MIB, 1},
    {FM_UNIT_BYTES, "GiB", FM_GIB, 1},
    {FM_UNIT_BYTES, "KB", 1000, 1},
    {FM_UNIT_BYTES, "MB", 1000000, 1},
    {FM_UNIT_BYTES, "GB", 1000000000, 1},
    {FM_UNIT_MS, "us", 1, 1000},
    {FM_UNIT_MS, "ms", 1, 1},
    {FM_UNIT_MS, "s", 1000, 1},
    {FM_UNIT_MS, "m", 60000, 1},
    {FM_UNIT_MS, "h", 3600000, 1},
};

static const struct scale base_scale = {.name = "", .factor = 1, .divisor = 1};

static const struct scale *scale_find(enum fm_unit unit, const char *name)
{
    if (name[0] == '\0')
        return &base_scale;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(scales); i++) {
        if (scales[i].unit == unit && strcmp(scales[i].name, name) == 0)
            return &scales[i];
    }
    return NULL;
}

const char *fm_units_names(enum fm_unit unit)
{
    switch (unit) {
    case FM_UNIT_BYTES:
        return "B, KiB, MiB, GiB, KB, MB, GB";
    case FM_UNIT_MS:
        return "us, ms, s, m, h";
    default:
        return "none";
    }
}

static size_t digits_length(const char *text)
{
    return strspn(text, "0123456789");
}

/* `digits` as a number; false when it is over 2^63-1. */
static bool whole_part(const char *digits, size_t length, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        uint64_t digit = (uint64_t)(digits[i] - '0');
        if (value > (INT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret_value = value;
    return true;
}

/* 0.`digits` times `factor`; false when that is not whole. */
static bool decimal_part(const char *digits, size_t length, uint64_t factor, uint64_t *ret_value)
{
    uint64_t carry = 0; /* < factor */
    for (size_t i = length; i > 0; i--) {
        uint64_t product = (uint64_t)(digits[i - 1] - '0') * factor + carry;
        if (product % 10 != 0)
            return false;
        carry = product / 10;
    }
    *ret_value = carry;
    return true;
}

int fm_units_parse(const char *text, enum fm_unit unit, uint64_t *ret_value)
{
    const char *whole_digits = text;
    size_t whole_length = digits_length(text);
    text += whole_length;
    const char *decimals = text;
    size_t decimals_length = 0;
    if (*text == '.') {
        decimals = text + 1;
        decimals_length = digits_length(decimals);
        text = decimals + decimals_length;
        if (decimals_length == 0)
            return FM_ERR_BAD_REQUEST;
    }
    const struct scale *scale = scale_find(unit, text);
    if (whole_length == 0 || !scale)
        return FM_ERR_BAD_REQUEST;

    uint64_t whole;
    uint64_t rest;
    if (!whole_part(whole_digits, whole_length, &whole) ||
        !decimal_part(decimals, decimals_length, scale->factor, &rest))
        return FM_ERR_BAD_REQUEST;
    if (whole > (INT64_MAX - rest) / scale->factor)
        return FM_ERR_BAD_REQUEST;
    uint64_t value = whole * scale->factor + rest;
    if (value % scale->divisor != 0)
        return FM_ERR_BAD_REQUEST;
    *ret_value = value / scale->divisor;
    return 0;
}

void fm_units_format(uint64_t value, enum fm_unit unit, char text[FM_UNITS_TEXT_SIZE])
{
    int shortest = FM_UNITS_TEXT_SIZE;
    if (unit == FM_UNIT_NONE)
        shortest = snprintf(text, FM_UNITS_TEXT_SIZE, "%llu", (unsigned long long)value);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(scales); i++) {
        const struct scale *scale = &scales[i];
        if (scale->unit != unit || scale->divisor != 1 || value % scale->factor != 0)
            continue;
        char form[FM_UNITS_TEXT_SIZE];
        int length = snprintf(form, sizeof(form), "%llu%s",
                              (unsigned long long)(value / scale->factor), scale->name);
        if (length < shortest) {
            shortest = length;
            memcpy(text, form, (size_t)length + 1);
        }
    }
    FM_ASSERT(shortest < FM_UNITS_TEXT_SIZE);
}
