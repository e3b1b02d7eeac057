/* quotas.h - what one user may have of the whole server: the table, its values, changes to them.
 *
 * They come from the configuration file (`[user NAME]`), over HTTP (PATCH /users/<user>), or are
 * the defaults below.  0 means "no bound" where the table says so. */
#pragma once

#include "base/error.h"
#include "base/units.h"

/* clang-format off */
#define FM_QUOTA_MAP(X)                                                                            \
    /* name           unit   default  min  max              what of a user it bounds */            \
    X(weight,         NONE,  100,     1,   10000,           "share of the CPU, beside the others' weights") \
    X(concurrency,    NONE,  10000,   1,   1000000,         "calls under way at once")             \
    X(queue_length,   NONE,  10000,   0,   1000000,         "calls that wait for their first turn; and, apart, asynchronous ones that have not ended") \
    X(requests_per_s, NONE,  0,       0,   1000000,         "calls that begin in a second; 0: no bound") \
    X(cpu_percent,    NONE,  0,       0,   25600,           "CPU time, in percent of one core; 0: no bound") \
    X(memory_bytes,   BYTES, 0,       0,   1024 * FM_GIB,   "linear memory of all its calls; 0: no bound") \
    X(files_bytes,    BYTES, FM_GIB,  0,   1024 * FM_GIB,   "its files")                                \
    X(files_count,    NONE,  10000,   0,   100000,            "its files and their folders")
/* clang-format on */

struct fm_quotas {
#define X(name, unit, initial, min, max, what) uint64_t name;
    FM_QUOTA_MAP(X)
#undef X
};

struct fm_quota_row {
    const char *name;
    const char *what;
    enum fm_unit unit;
    uint64_t initial;
    uint64_t min;
    uint64_t max;
    size_t offset; /* of its uint64_t in struct fm_quotas */
};

extern const struct fm_quota_row fm_quota_rows[];
extern const size_t fm_quota_rows_count; /* at most 32 */

void fm_quotas_defaults(struct fm_quotas *quotas);
uint64_t *fm_quotas_at(struct fm_quotas *quotas, const struct fm_quota_row *row);
uint64_t fm_quotas_value(const struct fm_quotas *quotas, const struct fm_quota_row *row);
const struct fm_quota_row *fm_quota_row_find(const char *name); /* NULL: no such quota */

/* FM_ERR_BAD_REQUEST: out of range, with the quota's name in the text. */
FM_MUST_CHECK int fm_quota_check(const struct fm_quota_row *row, uint64_t value,
                                 struct fm_error *error);

/* Reads a value with its unit, and checks it. */
FM_MUST_CHECK int fm_quota_parse(const struct fm_quota_row *row, const char *text,
                                 uint64_t *ret_value, struct fm_error *error);

/* Some of the quotas: those that somebody has set. */
struct fm_quota_set {
    uint32_t given; /* a bit per row */
    struct fm_quotas values;
};

void fm_quota_set_put(struct fm_quota_set *set, const struct fm_quota_row *row, uint64_t value);
void fm_quota_set_clear(struct fm_quota_set *set, const struct fm_quota_row *row);
bool fm_quota_set_has(const struct fm_quota_set *set, const struct fm_quota_row *row);
void fm_quota_set_apply(const struct fm_quota_set *set, struct fm_quotas *quotas);
