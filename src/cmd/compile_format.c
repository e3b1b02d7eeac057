/* compile_format.c - what a compile process found out, as JSON, and back.
 *
 *      {"facts": {"abi": "wasi", "has_initialize": false, "memory_pages_min": 1, "imports": [...]},
 *       "bodies_reused": 0, "bodies_compiled": 12}
 *      {"error": -8, "detail": "...", "missing_count": 2, "missing_imports": ["env.a", "env.b"]}
 *      {"error": -7, "detail": "...", "trap": "unreachable", "backtrace": "...", "log": "..."}
 *
 * Writer and reader stand side by side, but run in different processes: one has just had a
 * stranger's module in its hands, so the other checks everything.  The missing imports are there
 * when there are any, their list when it is within FM_IMPORTS_BYTES_MAX.
 *
 * No state; any thread. */
#include "cmd/compile_format.h"

#include <string.h>

#include <jansson.h>

#include "base/limits.h"

#define ESCAPE_BYTES_MAX 6             /* of one byte: "\u001f" */
#define FIXED_BYTES_MAX 1024           /* of what has no name of a module's in it */
#define TEXTS_BYTES_MAX (128 * FM_KIB) /* trap, backtrace and log of an initialisation */

/* Whatever names a module chooses, its result fits. */
_Static_assert(ESCAPE_BYTES_MAX *(FM_IMPORTS_BYTES_MAX + TEXTS_BYTES_MAX +
                                  sizeof(((struct fm_error *)0)->text)) +
                       FIXED_BYTES_MAX <=
                   FM_COMPILE_JSON_MAX,
               "a result is larger than the server reads");

/* --- writing ---------------------------------------------------------------------------------- */

/* NULL: out of memory. */
static json_t *names_to_json(const char *const *names, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; array && i < count; i++) {
        if (json_array_append_new(array, json_string(names[i])) == 0)
            continue;
        json_decref(array);
        array = NULL;
    }
    return array;
}

/* What json_pack() is given with "o" it takes, and fails when that is NULL. */
static json_t *facts_to_json(const struct fm_compile_result *result)
{
    const struct fm_module_facts *facts = &result->facts;
    return json_pack(
        "{s:{s:s, s:b, s:b, s:I, s:I, s:o}, s:I, s:I}", "facts", "abi", fm_abi_text(facts->abi),
        "has_initialize", (int)facts->has_initialize, "snapshot", (int)facts->snapshot,
        "snapshot_us", (json_int_t)facts->snapshot_us, "memory_pages_min",
        (json_int_t)facts->memory_pages_min, "imports",
        names_to_json(facts->imports, facts->imports_count), "bodies_reused",
        (json_int_t)result->bodies.reused, "bodies_compiled", (json_int_t)result->bodies.compiled);
}

/* What an initialisation has left; one that is over the bound is left out. */
static json_t *failure_to_json(const struct fm_compile_result *result)
{
    const struct fm_refusal *refusal = &result->refusal;
    const char *const texts[] = {refusal->trap, refusal->backtrace, refusal->log};
    static const char *const names[] = {"trap", "backtrace", "log"};
    json_t *json =
        json_pack("{s:i, s:s}", "error", result->error.code, "detail", result->error.text);
    size_t bytes = 0;
    for (size_t i = 0; json && i < FM_ARRAY_LENGTH(texts); i++) {
        if (!texts[i] || bytes + strlen(texts[i]) > TEXTS_BYTES_MAX)
            continue;
        bytes += strlen(texts[i]);
        if (json_object_set_new(json, names[i], json_string(texts[i])) == 0)
            continue;
        json_decref(json);
        json = NULL;
    }
    return json;
}

static json_t *refusal_to_json(const struct fm_compile_result *result)
{
    const struct fm_missing_imports *missing = &result->refusal.missing;
    int error = result->error.code;
    const char *detail = result->error.text;
    if (missing->count == 0)
        return failure_to_json(result);
    json_int_t count = (json_int_t)missing->count;
    if (!missing->names)
        return json_pack("{s:i, s:s, s:I}", "error", error, "detail", detail, "missing_count",
                         count);
    return json_pack("{s:i, s:s, s:I, s:o}", "error", error, "detail", detail, "missing_count",
                     count, "missing_imports", names_to_json(missing->names, missing->count));
}

char *fm_compile_result_write(const struct fm_compile_result *result)
{
    json_t *json = result->error.code ? refusal_to_json(result) : facts_to_json(result);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    FM_ASSERT(!text || strlen(text) <= FM_COMPILE_JSON_MAX);
    return text;
}

/* --- reading ---------------------------------------------------------------------------------- */

static int names_from_json(const json_t *array, struct fm_arena *arena,
                           const char *const **ret_names)
{
    size_t count = json_array_size(array);
    const char **names = fm_arena_alloc(arena, (count + 1) * sizeof(*names));
    if (!names)
        return FM_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        const json_t *name = json_array_get(array, i);
        if (!json_is_string(name))
            return FM_ERR_INTERNAL;
        names[i] = fm_arena_strndup(arena, json_string_value(name), json_string_length(name));
        if (!names[i])
            return FM_ERR_NOMEM;
    }
    names[count] = NULL;
    if (fm_imports_bytes(names, count) > FM_IMPORTS_BYTES_MAX)
        return FM_ERR_INTERNAL;
    *ret_names = names;
    return 0;
}

static int facts_from_json(const json_t *json, struct fm_arena *arena,
                           struct fm_module_facts *facts)
{
    const char *abi = json_string_value(json_object_get(json, "abi"));
    const json_t *imports = json_object_get(json, "imports");
    json_int_t pages = json_integer_value(json_object_get(json, "memory_pages_min"));
    json_int_t snapshot_us = json_integer_value(json_object_get(json, "snapshot_us"));
    if (!abi || !json_is_array(imports) || pages < 0 || snapshot_us < 0 ||
        fm_abi_parse(abi, &facts->abi) != 0)
        return FM_ERR_INTERNAL;
    facts->has_initialize = json_is_true(json_object_get(json, "has_initialize"));
    facts->snapshot = json_is_true(json_object_get(json, "snapshot"));
    facts->snapshot_us = (uint64_t)snapshot_us;
    facts->memory_pages_min = (uint64_t)pages;
    facts->imports_count = json_array_size(imports);
    return names_from_json(imports, arena, &facts->imports);
}

static int bodies_from_json(const json_t *json, struct fm_compile_counts *bodies)
{
    json_int_t reused = json_integer_value(json_object_get(json, "bodies_reused"));
    json_int_t compiled = json_integer_value(json_object_get(json, "bodies_compiled"));
    if (reused < 0 || reused > UINT32_MAX || compiled < 0 || compiled > UINT32_MAX)
        return FM_ERR_INTERNAL;
    bodies->reused = (uint64_t)reused;
    bodies->compiled = (uint64_t)compiled;
    return 0;
}

/* Printable text of several lines, or NULL. */
static int text_from_json(const json_t *json, const char *name, struct fm_arena *arena,
                          const char **ret_text)
{
    const json_t *value = json_object_get(json, name);
    if (!value)
        return 0;
    if (!json_is_string(value) || json_string_length(value) > TEXTS_BYTES_MAX)
        return FM_ERR_INTERNAL;
    *ret_text = fm_arena_strndup(arena, json_string_value(value), json_string_length(value));
    return *ret_text ? 0 : FM_ERR_NOMEM;
}

static int texts_from_json(const json_t *json, struct fm_arena *arena, struct fm_refusal *refusal)
{
    int failed = text_from_json(json, "trap", arena, &refusal->trap);
    if (!failed)
        failed = text_from_json(json, "backtrace", arena, &refusal->backtrace);
    if (!failed)
        failed = text_from_json(json, "log", arena, &refusal->log);
    return failed;
}

static int refusal_from_json(const json_t *json, struct fm_arena *arena,
                             struct fm_compile_result *result)
{
    json_int_t error = json_integer_value(json_object_get(json, "error"));
    const char *detail = json_string_value(json_object_get(json, "detail"));
    const json_t *names = json_object_get(json, "missing_imports");
    json_int_t count = json_integer_value(json_object_get(json, "missing_count"));
    if (error >= 0 || error <= -FM_ERR_COUNT_ || !detail || count < 0 ||
        (names && (!json_is_array(names) || json_array_size(names) != (size_t)count)))
        return FM_ERR_INTERNAL;
    (void)fm_error_set(&result->error, (int)error, "%s", detail);
    result->refusal.missing.count = (size_t)count;
    if (names)
        return names_from_json(names, arena, &result->refusal.missing.names);
    return texts_from_json(json, arena, &result->refusal);
}

int fm_compile_result_read(const char *text, size_t length, struct fm_arena *arena,
                           struct fm_compile_result *ret_result)
{
    struct fm_compile_result result = {0};
    json_t *json = json_loadb(text, length, 0, NULL);
    const json_t *facts = json_object_get(json, "facts");
    int failed = facts ? facts_from_json(facts, arena, &result.facts)
                       : refusal_from_json(json, arena, &result);
    if (facts && !failed)
        failed = bodies_from_json(json, &result.bodies);
    json_decref(json);
    if (!failed)
        *ret_result = result;
    return failed;
}
