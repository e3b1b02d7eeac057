/* meta.c - a version as JSON, and back.
 *
 * One writer and one reader for two uses: the file meta.json, and what the HTTP interface shows.
 * Limits come from the table in base/limits.h, so a new one needs no line here.
 *
 * The reader trusts nothing: a file may be damaged or edited by hand, and what passes is used
 * without further checks.  A limit of a name that it does not know is an error and not ignored: a
 * bound that somebody set must not be dropped silently by an older server.  A limit that is absent
 * gets its default; were that an error too, a new limit would make every stored function
 * unreadable.
 *
 * The reader fills a struct fm_version with texts that belong to the JSON or to an arena of its
 * own, and fm_version_new() then copies it: one place knows how a version owns its memory.
 *
 * No state; any thread. */
#include "store/meta.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/name.h"
#include "store/text.h"

#define SHA256_DIGITS 64
#define MEMORY_PAGES_MAX 65536          /* 4 GiB: all that 32-bit addresses reach */
#define SCRATCH_BYTES_MAX (16 * FM_MIB) /* as much as a version holds (call/function.c) */

static int out_of_memory(struct fm_error *error)
{
    return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Takes `value`; NULL is one that could not be made. */
static int put(json_t *json, const char *name, json_t *value, struct fm_error *error)
{
    return json_object_set_new_nocheck(json, name, value) == 0 ? 0 : out_of_memory(error);
}

static int put_text(json_t *json, const char *name, const char *text, struct fm_error *error)
{
    if (!fm_utf8_text_valid(text))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s: not UTF-8", name);
    return put(json, name, json_string_nocheck(text), error);
}

static int put_number(json_t *json, const char *name, uint64_t number, struct fm_error *error)
{
    if (number > INT64_MAX)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s: %" PRIu64 " is too large", name,
                            number);
    return put(json, name, json_integer((json_int_t)number), error);
}

static int put_limits(json_t *json, const struct fm_version *version, struct fm_error *error)
{
    struct fm_limits limits = version->limits;
    json_t *object = json_object();
    int failed = put(json, "limits", object, error);
    for (size_t i = 0; !failed && i < fm_limit_rows_count; i++)
        failed = put_number(object, fm_limit_rows[i].name,
                            *fm_limits_at(&limits, &fm_limit_rows[i]), error);
    return failed;
}

static int put_texts(json_t *json, const char *name, const char *const *texts, size_t count,
                     struct fm_error *error)
{
    json_t *array = json_array();
    int failed = put(json, name, array, error);
    for (size_t i = 0; !failed && i < count; i++) {
        if (!fm_utf8_text_valid(texts[i]))
            return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s: number %zu is not UTF-8", name,
                                i + 1);
        if (json_array_append_new(array, json_string_nocheck(texts[i])) != 0)
            failed = out_of_memory(error);
    }
    return failed;
}

static int put_variable(json_t *env, const char *variable, struct fm_error *error)
{
    const char *equals = strchr(variable, '=');
    if (!equals || equals == variable)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "env: '%s' is not NAME=value", variable);
    if (!fm_utf8_text_valid(variable))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "env: a variable is not UTF-8");
    char *name = strndup(variable, (size_t)(equals - variable));
    if (!name)
        return out_of_memory(error);
    int failed = 0;
    if (json_object_get(env, name))
        failed = fm_error_set(error, FM_ERR_BAD_REQUEST, "env: '%s' is given twice", name);
    if (!failed)
        failed = put(env, name, json_string_nocheck(equals + 1), error);
    free(name);
    return failed;
}

static int put_env(json_t *json, const struct fm_version *version, struct fm_error *error)
{
    json_t *env = json_object();
    int failed = put(json, "env", env, error);
    for (size_t i = 0; !failed && i < version->env_count; i++)
        failed = put_variable(env, version->env[i], error);
    return failed;
}

int fm_meta_build(const struct fm_version *version, json_t **ret_json, struct fm_error *error)
{
    char created[FM_CLOCK_TEXT_SIZE];
    fm_clock_format(version->created_ns, created);
    json_auto_t *json = json_object();
    if (!json)
        return out_of_memory(error);
    int failed = put_text(json, "user", version->user, error);
    if (!failed)
        failed = put_text(json, "function", version->function, error);
    if (!failed)
        failed = put_text(json, "version", version->id, error);
    if (!failed)
        failed = put_text(json, "abi", fm_abi_text(version->facts.abi), error);
    if (!failed)
        failed = put_number(json, "size", version->size, error);
    if (!failed)
        failed = put_text(json, "sha256", version->sha256, error);
    if (!failed)
        failed = put_text(json, "created_at", created, error);
    if (!failed)
        failed = put_limits(json, version, error);
    if (!failed)
        failed = put_env(json, version, error);
    if (!failed)
        failed = put_texts(json, "args", version->args, version->args_count, error);
    if (!failed)
        failed =
            put_texts(json, "imports", version->facts.imports, version->facts.imports_count, error);
    if (!failed)
        failed = put_number(json, "memory_pages_min", version->facts.memory_pages_min, error);
    if (!failed)
        failed = put(json, "has_initialize", json_boolean(version->facts.has_initialize), error);
    if (!failed)
        failed = put(json, "snapshot", json_boolean(version->facts.snapshot), error);
    if (!failed && version->facts.snapshot)
        failed = put_number(json, "snapshot_us", version->facts.snapshot_us, error);
    if (failed)
        return failed;
    *ret_json = json_incref(json);
    return 0;
}

json_t *fm_meta_to_json(const struct fm_version *version)
{
    json_t *json = NULL;
    return fm_meta_build(version, &json, NULL) == 0 ? json : NULL;
}

/* --- reading ---------------------------------------------------------------------------------- */

struct reader {
    const json_t *json;
    struct fm_arena scratch; /* what the JSON does not hold in the wanted form */
    struct fm_error *error;
};

static int bad(const struct reader *reader, const char *field, const char *what)
{
    return fm_error_set(reader->error, FM_ERR_BAD_REQUEST, "%s: %s", field, what);
}

static int get(const struct reader *reader, const char *field, json_type type,
               const json_t **ret_value)
{
    static const char *const wanted[] = {
        [JSON_OBJECT] = "is not an object",
        [JSON_ARRAY] = "is not an array",
        [JSON_STRING] = "is not a text",
        [JSON_INTEGER] = "is not a whole number",
    };
    const json_t *value = json_object_get(reader->json, field);
    if (!value)
        return bad(reader, field, "is missing");
    if (json_typeof(value) != type)
        return bad(reader, field, wanted[type]);
    *ret_value = value;
    return 0;
}

/* A C string: strlen() must see all of it. */
static int text_of(const struct reader *reader, const char *field, const json_t *value,
                   const char **ret_text)
{
    if (!json_is_string(value))
        return bad(reader, field, "holds something that is not a text");
    const char *text = json_string_value(value);
    if (strlen(text) != json_string_length(value))
        return bad(reader, field, "holds a NUL");
    *ret_text = text;
    return 0;
}

static int get_text(const struct reader *reader, const char *field, const char **ret_text)
{
    const json_t *value = NULL;
    int failed = get(reader, field, JSON_STRING, &value);
    return failed ? failed : text_of(reader, field, value, ret_text);
}

static int number_of(const struct reader *reader, const char *field, const json_t *value,
                     uint64_t min, uint64_t max, uint64_t *ret_number)
{
    if (!json_is_integer(value))
        return bad(reader, field, "is not a whole number");
    json_int_t number = json_integer_value(value);
    if (number < 0 || (uint64_t)number < min || (uint64_t)number > max)
        return fm_error_set(reader->error, FM_ERR_BAD_REQUEST,
                            "%s: must be from %" PRIu64 " to %" PRIu64, field, min, max);
    *ret_number = (uint64_t)number;
    return 0;
}

static int get_number(const struct reader *reader, const char *field, uint64_t max,
                      uint64_t *ret_number)
{
    const json_t *value = NULL;
    int failed = get(reader, field, JSON_INTEGER, &value);
    return failed ? failed : number_of(reader, field, value, 0, max, ret_number);
}

static int get_name(const struct reader *reader, const char *field, const char **ret_name)
{
    int failed = get_text(reader, field, ret_name);
    if (!failed && !fm_name_valid(*ret_name, strlen(*ret_name)))
        failed = bad(reader, field, "is not a valid name");
    return failed;
}

/* Texts that only need to be told from nonsense. */
static int get_identity(const struct reader *reader, struct fm_version *version)
{
    const char *text = NULL;
    int failed = get_name(reader, "user", &version->user);
    if (!failed)
        failed = get_name(reader, "function", &version->function);
    if (!failed)
        failed = get_text(reader, "version", &version->id);
    if (!failed && !fm_text_id_valid(version->id))
        failed = bad(reader, "version", "is not a version's id");
    if (!failed)
        failed = get_number(reader, "size", INT64_MAX, &version->size);
    if (!failed)
        failed = get_text(reader, "sha256", &version->sha256);
    if (!failed && !fm_text_hex_valid(version->sha256, SHA256_DIGITS))
        failed = bad(reader, "sha256", "is not 64 hexadecimal digits");
    if (!failed)
        failed = get_text(reader, "created_at", &text);
    if (!failed && fm_text_time_parse(text, &version->created_ns) != 0)
        failed = bad(reader, "created_at", "is not a time like 2026-11-23T20:02:33.123456Z");
    return failed;
}

static int get_limits(const struct reader *reader, struct fm_limits *limits)
{
    const json_t *object = NULL;
    int failed = get(reader, "limits", JSON_OBJECT, &object);
    if (failed)
        return failed;
    fm_limits_defaults(limits);
    void *cast = (void *)(uintptr_t)object; /* jansson's iterator does not know const */
    for (void *at = json_object_iter(cast); at; at = json_object_iter_next(cast, at)) {
        const char *name = json_object_iter_key(at);
        const struct fm_limit_row *row = fm_limit_row_find(name);
        if (!row)
            return fm_error_set(reader->error, FM_ERR_BAD_REQUEST,
                                "limits: this server knows no limit '%.100s'", name);
        char field[64];
        (void)snprintf(field, sizeof(field), "limits.%s", row->name); /* our own names: short */
        failed = number_of(reader, field, json_object_iter_value(at), row->min, row->ceiling,
                           fm_limits_at(limits, row));
        if (failed)
            return failed;
    }
    return 0;
}

static int get_texts(struct reader *reader, const char *field, const char *const **ret_texts,
                     size_t *ret_count)
{
    const json_t *array = NULL;
    int failed = get(reader, field, JSON_ARRAY, &array);
    if (failed)
        return failed;
    size_t count = json_array_size(array);
    const char **texts = fm_arena_alloc(&reader->scratch, (count + 1) * sizeof(*texts));
    if (!texts)
        return out_of_memory(reader->error);
    for (size_t i = 0; i < count; i++) {
        failed = text_of(reader, field, json_array_get(array, i), &texts[i]);
        if (failed)
            return failed;
    }
    texts[count] = NULL;
    *ret_texts = texts;
    *ret_count = count;
    return 0;
}

static int get_variable(struct reader *reader, const char *name, const json_t *value,
                        const char **ret_variable)
{
    const char *text = NULL;
    if (name[0] == '\0' || strchr(name, '='))
        return bad(reader, "env", "a variable's name is empty or holds '='");
    int failed = text_of(reader, "env", value, &text);
    if (failed)
        return failed;
    size_t name_length = strlen(name);
    size_t text_length = strlen(text);
    char *variable = fm_arena_alloc(&reader->scratch, name_length + 1 + text_length + 1);
    if (!variable)
        return out_of_memory(reader->error);
    memcpy(variable, name, name_length);
    variable[name_length] = '=';
    memcpy(variable + name_length + 1, text, text_length + 1);
    *ret_variable = variable;
    return 0;
}

static int get_env(struct reader *reader, struct fm_version *version)
{
    const json_t *object = NULL;
    int failed = get(reader, "env", JSON_OBJECT, &object);
    if (failed)
        return failed;
    size_t count = 0;
    const char **env =
        fm_arena_alloc(&reader->scratch, (json_object_size(object) + 1) * sizeof(*env));
    if (!env)
        return out_of_memory(reader->error);
    void *cast = (void *)(uintptr_t)object; /* jansson's iterator does not know const */
    for (void *at = json_object_iter(cast); at; at = json_object_iter_next(cast, at)) {
        failed =
            get_variable(reader, json_object_iter_key(at), json_object_iter_value(at), &env[count]);
        if (failed)
            return failed;
        count++;
    }
    env[count] = NULL;
    version->env = env;
    version->env_count = count;
    return 0;
}

/* A version of a server that made no snapshots says nothing of one. */
static int get_snapshot(const struct reader *reader, struct fm_module_facts *facts)
{
    const json_t *flag = json_object_get(reader->json, "snapshot");
    if (flag && !json_is_boolean(flag))
        return bad(reader, "snapshot", "is not true or false");
    facts->snapshot = json_is_true(flag);
    return facts->snapshot ? get_number(reader, "snapshot_us", INT64_MAX, &facts->snapshot_us) : 0;
}

static int get_facts(struct reader *reader, struct fm_module_facts *facts)
{
    const char *abi = NULL;
    int failed = get_text(reader, "abi", &abi);
    if (!failed && fm_abi_parse(abi, &facts->abi) != 0)
        failed = bad(reader, "abi", "is none that this server knows");
    if (!failed)
        failed = get_texts(reader, "imports", &facts->imports, &facts->imports_count);
    if (!failed)
        failed = get_number(reader, "memory_pages_min", MEMORY_PAGES_MAX, &facts->memory_pages_min);
    if (failed)
        return failed;
    const json_t *flag = json_object_get(reader->json, "has_initialize");
    if (!flag)
        return bad(reader, "has_initialize", "is missing");
    if (!json_is_boolean(flag))
        return bad(reader, "has_initialize", "is not true or false");
    facts->has_initialize = json_is_true(flag);
    return get_snapshot(reader, facts);
}

int fm_meta_from_json(const json_t *json, const char *folder, struct fm_version **ret_version,
                      struct fm_error *error)
{
    if (!json_is_object(json))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "not a JSON object");
    struct reader reader = {.json = json, .error = error};
    struct fm_version version = {.folder = folder};
    fm_arena_init(&reader.scratch, SCRATCH_BYTES_MAX);
    int failed = get_identity(&reader, &version);
    if (!failed)
        failed = get_facts(&reader, &version.facts);
    if (!failed)
        failed = get_limits(&reader, &version.limits);
    if (!failed)
        failed = get_env(&reader, &version);
    if (!failed)
        failed = get_texts(&reader, "args", &version.args, &version.args_count);
    if (!failed) {
        failed = fm_version_new(&version, ret_version);
        if (failed)
            (void)out_of_memory(error);
    }
    fm_arena_done(&reader.scratch);
    return failed;
}
