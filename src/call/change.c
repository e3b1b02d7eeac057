/* change.c - merges a change into the configuration of a function.
 *
 * The result is checked as a whole: many small changes must not add up to what one upload could not
 * have.  Lists are short (FM_FUNCTION_*_MAX), so variables are found by comparing.
 *
 * No state; any thread. */
#include "call/change.h"

#include <string.h>

_Static_assert(sizeof(struct fm_limits) / sizeof(uint64_t) <= 64, "a bit per limit");

static int out_of_memory(struct fm_error *error)
{
    return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
}

/* --- limits ----------------------------------------------------------------------------------- */

static uint64_t bit_of(const struct fm_limit_row *row)
{
    return UINT64_C(1) << (row - fm_limit_rows);
}

void fm_change_limit(struct fm_change *change, const struct fm_limit_row *row, uint64_t value)
{
    change->limits_given |= bit_of(row);
    *fm_limits_at(&change->limits, row) = value;
}

static void change_limits(const struct fm_change *change, struct fm_limits *limits)
{
    struct fm_limits values = change->limits;
    for (size_t i = 0; i < fm_limit_rows_count; i++) {
        const struct fm_limit_row *row = &fm_limit_rows[i];
        if (change->limits_given & bit_of(row))
            *fm_limits_at(limits, row) = *fm_limits_at(&values, row);
    }
}

/* --- environment ------------------------------------------------------------------------------ */

/* `text` is NAME=value. */
static bool is_of(const char *text, const char *name)
{
    size_t length = strlen(name);
    return strncmp(text, name, length) == 0 && text[length] == '=';
}

static const struct fm_change_variable *find_change(const struct fm_change *change,
                                                    const char *text)
{
    for (size_t i = 0; i < change->env_count; i++)
        if (is_of(text, change->env[i].name))
            return &change->env[i];
    return NULL;
}

static bool has_variable(const struct fm_version *version, const char *name)
{
    for (size_t i = 0; i < version->env_count; i++)
        if (is_of(version->env[i], name))
            return true;
    return false;
}

/* NULL: out of memory. */
static const char *join(struct fm_arena *arena, const struct fm_change_variable *variable)
{
    size_t name_length = strlen(variable->name);
    size_t value_length = strlen(variable->value);
    char *text = fm_arena_alloc(arena, name_length + value_length + 2);
    if (!text)
        return NULL;
    memcpy(text, variable->name, name_length);
    text[name_length] = '=';
    memcpy(text + name_length + 1, variable->value, value_length + 1);
    return text;
}

static int change_env(const struct fm_change *change, struct fm_arena *arena,
                      struct fm_version *version)
{
    size_t before = change->env_cleared ? 0 : version->env_count;
    const char **env = fm_arena_alloc(arena, (before + change->env_count + 1) * sizeof(*env));
    size_t count = 0;
    if (!env)
        return FM_ERR_NOMEM;
    for (size_t i = 0; i < before; i++) {
        const struct fm_change_variable *changed = find_change(change, version->env[i]);
        if (changed && !changed->value)
            continue;
        env[count] = changed ? join(arena, changed) : version->env[i];
        if (!env[count++])
            return FM_ERR_NOMEM;
    }
    for (size_t i = 0; i < change->env_count; i++) {
        const struct fm_change_variable *changed = &change->env[i];
        if (!changed->value || (before > 0 && has_variable(version, changed->name)))
            continue;
        env[count] = join(arena, changed);
        if (!env[count++])
            return FM_ERR_NOMEM;
    }
    env[count] = NULL;
    version->env = env;
    version->env_count = count;
    return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

int fm_change_apply(const struct fm_change *change, struct fm_arena *arena,
                    struct fm_version *version, struct fm_error *error)
{
    struct fm_version changed = *version;
    FM_ASSERT(change->env_count <= FM_FUNCTION_VARIABLES_MAX);
    change_limits(change, &changed.limits);
    if ((change->env_cleared || change->env_count > 0) && change_env(change, arena, &changed) != 0)
        return out_of_memory(error);
    if (change->args_given) {
        changed.args = change->args;
        changed.args_count = change->args_count;
    }
    int failed = fm_change_check(&changed, error);
    if (!failed)
        *version = changed;
    return failed;
}

static int check_list(const char *what, const char *const *texts, size_t count, size_t count_max,
                      size_t *ret_bytes, struct fm_error *error)
{
    if (count > count_max)
        return fm_error_set(error, FM_ERR_TOO_LARGE, "%s: %zu of them, at most %zu are accepted",
                            what, count, count_max);
    for (size_t i = 0; i < count; i++)
        *ret_bytes += strlen(texts[i]) + 1;
    return 0;
}

int fm_change_check(const struct fm_version *version, struct fm_error *error)
{
    size_t bytes = 0;
    int failed = check_list("env", version->env, version->env_count, FM_FUNCTION_VARIABLES_MAX,
                            &bytes, error);
    if (!failed)
        failed = check_list("args", version->args, version->args_count, FM_FUNCTION_ARGS_MAX,
                            &bytes, error);
    if (!failed && bytes > FM_FUNCTION_TEXTS_BYTES_MAX)
        failed = fm_error_set(error, FM_ERR_TOO_LARGE,
                              "env and args have %zu bytes together, at most %zu are accepted",
                              bytes, (size_t)FM_FUNCTION_TEXTS_BYTES_MAX);
    return failed;
}
