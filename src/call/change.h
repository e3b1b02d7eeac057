/* change.h - a change of what a function is given: limits, environment, arguments.
 *
 * It says only what is to be different, so that two changes of different things, made at the same
 * time, both hold: each is applied to what is current when its turn comes. */
#pragma once

#include "call/function.h"

struct fm_change_variable {
    const char *name;  /* not empty, without '=' */
    const char *value; /* NULL: the variable goes */
};

/* All texts and lists are borrowed. */
struct fm_change {
    uint64_t limits_given;   /* a bit per row of the table (fm_change_limit) */
    struct fm_limits limits; /* their values, checked */

    bool env_cleared; /* what was there before goes; then: */
    const struct fm_change_variable *env;
    size_t env_count; /* at most FM_FUNCTION_VARIABLES_MAX; each name once */

    bool args_given; /* all of them are replaced: */
    const char *const *args;
    size_t args_count;
};

void fm_change_limit(struct fm_change *change, const struct fm_limit_row *row, uint64_t value);

/* Changes limits, env and args of `version`, whose new lists come from `arena`; its other texts
 * stay borrowed.  Variables keep their order, new ones come last.  FM_ERR_TOO_LARGE, see below;
 * FM_ERR_NOMEM.  On failure `version` is as it was. */
FM_MUST_CHECK int fm_change_apply(const struct fm_change *change, struct fm_arena *arena,
                                  struct fm_version *version, struct fm_error *error);

/* FM_ERR_TOO_LARGE: over one of FM_FUNCTION_*_MAX (base/limits.h). */
FM_MUST_CHECK int fm_change_check(const struct fm_version *version, struct fm_error *error);
