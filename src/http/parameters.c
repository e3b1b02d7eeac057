/* parameters.c - the query of an upload.
 *
 * Everything is checked here, where the client can still be told which parameter is wrong: names
 * and ranges of limits (base/limits.h), and that texts are UTF-8, since they become JSON.
 *
 * Nothing may be said twice except `arg`: which of two limits was meant cannot be known.
 *
 * No state; any thread. */
#include "http/parameters.h"

#include <string.h>

#include "base/encode.h"
#include "call/change.h"
#include "http/target.h"

struct parse {
    struct fm_arena *arena;
    struct fm_version *wanted;
    const char **env;
    const char **args;
    uint64_t limits_seen; /* a bit per row */
};

static int bad(struct fm_error *error, const struct fm_parameter *parameter, const char *reason)
{
    return fm_error_set(error, FM_ERR_BAD_REQUEST, "parameter '%s': %s", parameter->name, reason);
}

static int take_limit(struct parse *parse, const struct fm_parameter *parameter, const char *name,
                      struct fm_error *error)
{
    const struct fm_limit_row *row = fm_limit_row_find(name);
    uint64_t value = 0;
    if (!row)
        return bad(error, parameter, "there is no such limit");
    uint64_t bit = UINT64_C(1) << (row - fm_limit_rows);
    if (parse->limits_seen & bit)
        return bad(error, parameter, "given twice");
    parse->limits_seen |= bit;
    struct fm_error cause = {0};
    int failed = fm_limit_parse(row, parameter->value, &value, &cause);
    if (failed)
        return bad(error, parameter, cause.text);
    *fm_limits_at(&parse->wanted->limits, row) = value;
    return 0;
}

static int take_env(struct parse *parse, const struct fm_parameter *parameter, const char *name,
                    struct fm_error *error)
{
    size_t name_length = strlen(name);
    size_t value_length = strlen(parameter->value);
    if (name_length == 0 || strchr(name, '='))
        return bad(error, parameter, "not a name of an environment variable");
    for (size_t i = 0; i < parse->wanted->env_count; i++) {
        const char *other = parse->env[i];
        if (strncmp(other, name, name_length) == 0 && other[name_length] == '=')
            return bad(error, parameter, "given twice");
    }
    char *text = fm_arena_alloc(parse->arena, name_length + value_length + 2);
    if (!text)
        return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    memcpy(text, name, name_length);
    text[name_length] = '=';
    memcpy(text + name_length + 1, parameter->value, value_length + 1);
    parse->env[parse->wanted->env_count++] = text;
    return 0;
}

static int take_arg(struct parse *parse, const struct fm_parameter *parameter,
                    struct fm_error *error)
{
    const char *text = fm_arena_strndup(parse->arena, parameter->value, strlen(parameter->value));
    if (!text)
        return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    parse->args[parse->wanted->args_count++] = text;
    return 0;
}

static bool utf8(const char *text)
{
    return fm_utf8_text_valid(text);
}

static int take(struct parse *parse, const struct fm_parameter *parameter, struct fm_error *error)
{
    const char *name = parameter->name;
    if (!utf8(name) || !utf8(parameter->value))
        return fm_error_set(error, FM_ERR_BAD_REQUEST,
                            "the parameter at byte %zu of the query is not UTF-8",
                            parameter->position);
    if (strncmp(name, "limit.", 6) == 0)
        return take_limit(parse, parameter, name + 6, error);
    if (strncmp(name, "env.", 4) == 0)
        return take_env(parse, parameter, name + 4, error);
    if (strcmp(name, "arg") == 0)
        return take_arg(parse, parameter, error);
    return bad(error, parameter, "unknown; there are limit.NAME, env.NAME and arg");
}

/* Parameters at most, counted before decoding can make more `&`. */
static size_t count_parameters(const char *query)
{
    size_t count = 1;
    for (const char *c = query; *c; c++)
        count += *c == '&';
    return count;
}

int fm_parameters_parse(char *query, struct fm_arena *arena, struct fm_version *wanted,
                        struct fm_error *error)
{
    size_t lists_bytes = (count_parameters(query) + 1) * sizeof(char *);
    struct parse parse = {
        .arena = arena,
        .wanted = wanted,
        .env = fm_arena_alloc(arena, lists_bytes),
        .args = fm_arena_alloc(arena, lists_bytes),
    };
    if (!parse.env || !parse.args)
        return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    fm_limits_defaults(&wanted->limits);
    wanted->env = parse.env;
    wanted->env_count = 0;
    wanted->args = parse.args;
    wanted->args_count = 0;

    size_t cursor = 0;
    struct fm_parameter parameter;
    *error = (struct fm_error){0};
    while (fm_query_next(query, &cursor, &parameter, error)) {
        int failed = take(&parse, &parameter, error);
        if (failed)
            return failed;
    }
    if (error->code)
        return error->code;
    parse.env[wanted->env_count] = NULL;
    parse.args[wanted->args_count] = NULL;
    return fm_change_check(wanted, error);
}
