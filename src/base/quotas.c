/* quotas.c - the table of a user's quotas as data, as limits.c has it for a function's limits.
 *
 * Constant data and plain arithmetic; any thread. */
#include "base/quotas.h"

#include <string.h>

#include "base/limits.h"

const struct fm_quota_row fm_quota_rows[] = {
#define X(field, unit_name, default_value, min_value, max_value, text)                             \
    {.name = #field,                                                                               \
     .what = text,                                                                                 \
     .unit = FM_UNIT_##unit_name,                                                                  \
     .initial = default_value,                                                                     \
     .min = min_value,                                                                             \
     .max = max_value,                                                                             \
     .offset = offsetof(struct fm_quotas, field)},
    FM_QUOTA_MAP(X)
#undef X
};

_Static_assert(FM_TREE_FILES_MAX == 100000, "the most of files_count");

const size_t fm_quota_rows_count = FM_ARRAY_LENGTH(fm_quota_rows);

uint64_t *fm_quotas_at(struct fm_quotas *quotas, const struct fm_quota_row *row)
{
    return (uint64_t *)(void *)((char *)quotas + row->offset);
}

uint64_t fm_quotas_value(const struct fm_quotas *quotas, const struct fm_quota_row *row)
{
    uint64_t value;
    memcpy(&value, (const char *)quotas + row->offset, sizeof(value));
    return value;
}

void fm_quotas_defaults(struct fm_quotas *quotas)
{
    for (size_t i = 0; i < fm_quota_rows_count; i++)
        *fm_quotas_at(quotas, &fm_quota_rows[i]) = fm_quota_rows[i].initial;
}

const struct fm_quota_row *fm_quota_row_find(const char *name)
{
    for (size_t i = 0; i < fm_quota_rows_count; i++)
        if (strcmp(fm_quota_rows[i].name, name) == 0)
            return &fm_quota_rows[i];
    return NULL;
}

int fm_quota_check(const struct fm_quota_row *row, uint64_t value, struct fm_error *error)
{
    if (value >= row->min && value <= row->max)
        return 0;
    char least[FM_UNITS_TEXT_SIZE];
    char most[FM_UNITS_TEXT_SIZE];
    char given[FM_UNITS_TEXT_SIZE];
    fm_units_format(row->min, row->unit, least);
    fm_units_format(row->max, row->unit, most);
    fm_units_format(value, row->unit, given);
    return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s must be from %s to %s, not %s", row->name,
                        least, most, given);
}

int fm_quota_parse(const struct fm_quota_row *row, const char *text, uint64_t *ret_value,
                   struct fm_error *error)
{
    uint64_t value = 0;
    if (fm_units_parse(text, row->unit, &value) != 0)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "'%.64s' is no value for %s (units: %s)",
                            text, row->name, fm_units_names(row->unit));
    int failed = fm_quota_check(row, value, error);
    if (!failed)
        *ret_value = value;
    return failed;
}

/* --- sets ------------------------------------------------------------------------------------- */

static uint32_t bit_of(const struct fm_quota_row *row)
{
    return UINT32_C(1) << (row - fm_quota_rows);
}

void fm_quota_set_put(struct fm_quota_set *set, const struct fm_quota_row *row, uint64_t value)
{
    set->given |= bit_of(row);
    *fm_quotas_at(&set->values, row) = value;
}

void fm_quota_set_clear(struct fm_quota_set *set, const struct fm_quota_row *row)
{
    set->given &= ~bit_of(row);
}

bool fm_quota_set_has(const struct fm_quota_set *set, const struct fm_quota_row *row)
{
    return set->given & bit_of(row);
}

void fm_quota_set_apply(const struct fm_quota_set *set, struct fm_quotas *quotas)
{
    for (size_t i = 0; i < fm_quota_rows_count; i++) {
        const struct fm_quota_row *row = &fm_quota_rows[i];
        if (fm_quota_set_has(set, row))
            *fm_quotas_at(quotas, row) = fm_quotas_value(&set->values, row);
    }
}
