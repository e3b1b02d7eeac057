/* limits.c - the table of a function's limits as data.
 *
 * FM_LIMIT_MAP makes the fields of struct fm_limits and the rows below from the same lines, so that
 * a new limit is one line: JSON, query parameters and --help walk the rows.  A row reaches its
 * field by offset; all fields are uint64_t.
 *
 * Constant data; any thread. */
#include "base/limits.h"

#include <string.h>

const struct fm_limit_row fm_limit_rows[] = {
#define X(field, unit_name, default_value, min_value, ceiling_value, text)                         \
    {.name = #field,                                                                               \
     .what = text,                                                                                 \
     .unit = FM_UNIT_##unit_name,                                                                  \
     .initial = default_value,                                                                     \
     .min = min_value,                                                                             \
     .ceiling = ceiling_value,                                                                     \
     .offset = offsetof(struct fm_limits, field)},
    FM_LIMIT_MAP(X)
#undef X
};

const size_t fm_limit_rows_count = FM_ARRAY_LENGTH(fm_limit_rows);

void fm_limits_defaults(struct fm_limits *limits)
{
    for (size_t i = 0; i < fm_limit_rows_count; i++)
        *fm_limits_at(limits, &fm_limit_rows[i]) = fm_limit_rows[i].initial;
}

void fm_limits_ceilings(struct fm_limits *limits)
{
    for (size_t i = 0; i < fm_limit_rows_count; i++)
        *fm_limits_at(limits, &fm_limit_rows[i]) = fm_limit_rows[i].ceiling;
}

uint64_t *fm_limits_at(struct fm_limits *limits, const struct fm_limit_row *row)
{
    return (uint64_t *)(void *)((char *)limits + row->offset);
}

const struct fm_limit_row *fm_limit_row_find(const char *name)
{
    for (size_t i = 0; i < fm_limit_rows_count; i++) {
        if (strcmp(fm_limit_rows[i].name, name) == 0)
            return &fm_limit_rows[i];
    }
    return NULL;
}

/* In the form in which they were given, or that of the table. */
static int out_of_range(const struct fm_limit_row *row, const char *text, struct fm_error *error)
{
    char least[FM_UNITS_TEXT_SIZE];
    char most[FM_UNITS_TEXT_SIZE];
    fm_units_format(row->min, row->unit, least);
    fm_units_format(row->ceiling, row->unit, most);
    return fm_error_set(error, FM_ERR_BAD_REQUEST, "'%.64s' is not between %s and %s", text, least,
                        most);
}

int fm_limit_check(const struct fm_limit_row *row, uint64_t value, struct fm_error *error)
{
    char text[FM_UNITS_TEXT_SIZE];
    if (value >= row->min && value <= row->ceiling)
        return 0;
    fm_units_format(value, row->unit, text);
    return out_of_range(row, text, error);
}

int fm_limit_parse(const struct fm_limit_row *row, const char *text, uint64_t *ret_value,
                   struct fm_error *error)
{
    uint64_t value = 0;
    int failed = fm_units_parse(text, row->unit, &value);
    if (failed && row->unit == FM_UNIT_NONE)
        return fm_error_set(error, FM_ERR_BAD_REQUEST,
                            "'%.64s' is not a whole number without a unit", text);
    if (failed)
        return fm_error_set(error, FM_ERR_BAD_REQUEST,
                            "'%.64s' is not a number with a fitting unit (%s)", text,
                            fm_units_names(row->unit));
    if (value < row->min || value > row->ceiling)
        return out_of_range(row, text, error);
    *ret_value = value;
    return 0;
}
