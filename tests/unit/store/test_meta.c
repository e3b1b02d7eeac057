/* test_meta.c - a version as JSON and back: nothing is lost, nothing wrong gets in. */
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/clock.h"
#include "store/meta.h"
#include "torture.h"

#define ID "01932c07-209c-7000-8000-0123456789ab"
#define SHA "5ace2a28c6f40875ef2baac027d8b91a2f65701271c7b43ecbd467664dca9ef0"
#define CREATED_NS (UINT64_C(1795464153) * FM_NS_PER_S + 123456000)

static const char *const imports[] = {"env.\xc3\xa4", "faasm.chain", "faasm.log"};
static const char *const env[] = {"PATH=/bin", "EMPTY=", "EQUALS=a=b=", "Z.9 x=\xe2\x82\xac"};
static const char *const args[] = {"--flag", "", "two words", "\x01\n\"\\"};

static struct fm_version usual(void)
{
    struct fm_version version = {
        .user = "simon",
        .function = "echo",
        .id = ID,
        .folder = "/elsewhere",
        .sha256 = SHA,
        .size = 4096,
        .created_ns = CREATED_NS,
        .facts = {.abi = FM_ABI_REACTOR,
                  .has_initialize = true,
                  .snapshot = true,
                  .snapshot_us = 1234,
                  .memory_pages_min = 17,
                  .imports = imports,
                  .imports_count = FM_ARRAY_LENGTH(imports)},
        .env = env,
        .env_count = FM_ARRAY_LENGTH(env),
        .args = args,
        .args_count = FM_ARRAY_LENGTH(args),
    };
    for (size_t i = 0; i < fm_limit_rows_count; i++) /* none has its default */
        *fm_limits_at(&version.limits, &fm_limit_rows[i]) = fm_limit_rows[i].min + 1 + i;
    return version;
}

static json_t *usual_json(void)
{
    struct fm_version version = usual();
    json_t *json = fm_meta_to_json(&version);
    assert_non_null(json);
    return json;
}

static void assert_texts(const char *const *a, size_t a_count, const char *const *b, size_t b_count)
{
    assert_int_equal(a_count, b_count);
    for (size_t i = 0; i < a_count; i++)
        assert_string_equal(a[i], b[i]);
    assert_null(a[a_count]);
}

static void assert_same(const struct fm_version *got, const struct fm_version *wanted)
{
    assert_string_equal(got->user, wanted->user);
    assert_string_equal(got->function, wanted->function);
    assert_string_equal(got->id, wanted->id);
    assert_string_equal(got->sha256, wanted->sha256);
    assert_int_equal(got->size, wanted->size);
    assert_int_equal(got->created_ns, wanted->created_ns);
    assert_int_equal(got->facts.abi, wanted->facts.abi);
    assert_int_equal(got->facts.has_initialize, wanted->facts.has_initialize);
    assert_int_equal(got->facts.snapshot, wanted->facts.snapshot);
    assert_int_equal(got->facts.snapshot_us, wanted->facts.snapshot_us);
    assert_int_equal(got->facts.memory_pages_min, wanted->facts.memory_pages_min);
    assert_texts(got->facts.imports, got->facts.imports_count, wanted->facts.imports,
                 wanted->facts.imports_count);
    assert_texts(got->env, got->env_count, wanted->env, wanted->env_count);
    assert_texts(got->args, got->args_count, wanted->args, wanted->args_count);
    assert_memory_equal(&got->limits, &wanted->limits, sizeof(got->limits));
}

static void round_trip(void **state)
{
    (void)state;
    for (unsigned abi = FM_ABI_FAASM; abi <= FM_ABI_REACTOR; abi++) {
        struct fm_version wanted = usual();
        struct fm_version *got = NULL;
        struct fm_error error = {0};
        wanted.facts.abi = (enum fm_abi)abi;
        wanted.facts.has_initialize = abi == FM_ABI_REACTOR;
        json_t *json = fm_meta_to_json(&wanted);
        char *text = json_dumps(json, 0); /* through bytes, as on disk */
        json_decref(json);
        json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        free(text);
        assert_non_null(json);
        assert_int_equal(fm_meta_from_json(json, "/the/folder", &got, &error), 0);
        json_decref(json); /* the version keeps nothing of it */
        assert_same(got, &wanted);
        assert_string_equal(got->folder, "/the/folder");
        fm_version_free(got);
    }
}

/* The names and types that others rely on. */
static void shape(void **state)
{
    (void)state;
    const char *user, *function, *version, *abi, *sha256, *created, *first, *equals;
    json_int_t size, pages, wall_ms;
    int has_initialize;
    json_t *json = usual_json();
    json_t *arguments, *found;
    assert_int_equal(
        json_unpack(json,
                    "{s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:{s:I}, s:{s:s}, s:o, s:[s, *], "
                    "s:I, s:b}",
                    "user", &user, "function", &function, "version", &version, "abi", &abi, "size",
                    &size, "sha256", &sha256, "created_at", &created, "limits", "wall_ms", &wall_ms,
                    "env", "EQUALS", &equals, "args", &arguments, "imports", &first,
                    "memory_pages_min", &pages, "has_initialize", &has_initialize),
        0);
    assert_string_equal(user, "simon");
    assert_string_equal(function, "echo");
    assert_string_equal(version, ID);
    assert_string_equal(abi, "reactor");
    assert_int_equal(size, 4096);
    assert_string_equal(sha256, SHA);
    assert_string_equal(created, "2026-11-23T20:02:33.123456Z");
    assert_int_equal(wall_ms, 2);
    assert_string_equal(equals, "a=b=");
    assert_int_equal(json_array_size(arguments), 4);
    assert_string_equal(first, "env.\xc3\xa4");
    assert_int_equal(pages, 17);
    assert_true(has_initialize);
    assert_true(json_is_true(json_object_get(json, "snapshot")));
    assert_int_equal(json_integer_value(json_object_get(json, "snapshot_us")), 1234);
    assert_int_equal(json_object_size(json), 15);
    found = json_object_get(json, "limits");
    assert_int_equal(json_object_size(found), fm_limit_rows_count);
    json_decref(json);
}

static void empty_lists(void **state)
{
    (void)state;
    struct fm_version wanted = usual();
    struct fm_version *got = NULL;
    wanted.env = NULL;
    wanted.env_count = 0;
    wanted.args = NULL;
    wanted.args_count = 0;
    wanted.facts.imports = NULL;
    wanted.facts.imports_count = 0;
    json_t *json = fm_meta_to_json(&wanted);
    assert_int_equal(fm_meta_from_json(json, "", &got, NULL), 0);
    assert_same(got, &wanted);
    fm_version_free(got);
    json_decref(json);
}

/* Takes `json`.  It must be refused, with `field` named. */
static void assert_refused(json_t *json, const char *field)
{
    struct fm_version *got = NULL;
    struct fm_error error = {0};
    if (fm_meta_from_json(json, "", &got, &error) != FM_ERR_BAD_REQUEST)
        fail_msg("%s: accepted, or another error: %s", field, error.text);
    assert_null(got);
    assert_int_equal(error.code, FM_ERR_BAD_REQUEST);
    if (strncmp(error.text, field, strlen(field)) != 0)
        fail_msg("'%s' does not begin with '%s'", error.text, field);
    json_decref(json);
}

/* Takes `json`. */
static void assert_accepted(json_t *json)
{
    struct fm_version *got = NULL;
    struct fm_error error = {0};
    if (fm_meta_from_json(json, "", &got, &error) != 0)
        fail_msg("refused: %s", error.text);
    fm_version_free(got);
    json_decref(json);
}

static json_t *with(const char *field, json_t *value)
{
    json_t *json = usual_json();
    assert_int_equal(json_object_set_new(json, field, value), 0);
    return json;
}

static json_t *with_in(const char *object, const char *field, json_t *value)
{
    json_t *json = usual_json();
    assert_int_equal(json_object_set_new(json_object_get(json, object), field, value), 0);
    return json;
}

static void missing_or_of_another_type(void **state)
{
    (void)state;
    json_t *model = usual_json();
    const char *field;
    json_t *value;
    json_object_foreach(model, field, value)
    {
        json_t *json = usual_json();
        assert_int_equal(json_object_del(json, field), 0);
        if (strcmp(field, "snapshot") == 0) /* older servers made none, and do not say so */
            assert_accepted(json);
        else
            assert_refused(json, field);
        assert_refused(with(field, json_null()), field);
        assert_refused(with(field, json_real(1.0)), field);
        if (!json_is_object(value))
            assert_refused(with(field, json_object()), field);
        if (!json_is_array(value))
            assert_refused(with(field, json_array()), field);
        if (!json_is_integer(value))
            assert_refused(with(field, json_integer(1)), field);
        if (!json_is_boolean(value))
            assert_refused(with(field, json_true()), field);
        assert_refused(with(field, json_string("?")), field); /* wrong even where a text is right */
    }
    json_decref(model);
    assert_refused(json_array(), "not a JSON object");
    assert_refused(NULL, "not a JSON object");
}

static void values(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        const char *value;
    } bad[] = {
        {"user", ""},
        {"user", ".."},
        {"user", "a/b"},
        {"function", "-a"},
        {"function", "a b"},
        {"version", "01932C07-209C-7000-8000-0123456789AB"},
        {"version", "../" ID},
        {"abi", "Faasm"},
        {"abi", ""},
        {"sha256", "5ace"},
        {"sha256", SHA "0"},
        {"sha256", "5ACE2A28C6F40875EF2BAAC027D8B91A2F65701271C7B43ECBD467664DCA9EF0"},
        {"created_at", "2026-11-23T20:02:33Z"},
        {"created_at", "2026-02-30T20:02:33.123456Z"},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bad); i++)
        assert_refused(with(bad[i].field, json_string(bad[i].value)), bad[i].field);

    char name[FM_NAME_LENGTH_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[FM_NAME_LENGTH_MAX + 1] = '\0';
    assert_refused(with("user", json_string(name)), "user");
    name[FM_NAME_LENGTH_MAX] = '\0';
    assert_accepted(with("user", json_string(name)));

    assert_refused(with("size", json_integer(-1)), "size");
    assert_accepted(with("size", json_integer(0)));
    assert_accepted(with("size", json_integer(INT64_MAX)));
    assert_refused(with("memory_pages_min", json_integer(-1)), "memory_pages_min");
    assert_accepted(with("memory_pages_min", json_integer(0)));
    assert_accepted(with("memory_pages_min", json_integer(65536)));
    assert_refused(with("memory_pages_min", json_integer(65537)), "memory_pages_min");
    assert_accepted(with("has_initialize", json_false()));
    assert_refused(with("snapshot_us", json_integer(-1)), "snapshot_us");
    assert_accepted(with("snapshot", json_false()));

    /* What is not ours is left alone. */
    assert_accepted(with("calls", json_pack("{s:i, s:i}", "total", 1, "failed", 0)));
    assert_accepted(with("code_hmac", json_string(SHA)));
}

static void limits(void **state)
{
    (void)state;
    for (size_t i = 0; i < fm_limit_rows_count; i++) {
        const struct fm_limit_row *row = &fm_limit_rows[i];
        char field[64];
        (void)snprintf(field, sizeof(field), "limits.%s: ", row->name);
        json_int_t min = (json_int_t)row->min;
        json_int_t ceiling = (json_int_t)row->ceiling;
        assert_refused(with_in("limits", row->name, json_integer(min - 1)), field);
        assert_accepted(with_in("limits", row->name, json_integer(min)));
        assert_accepted(with_in("limits", row->name, json_integer(ceiling - 1)));
        assert_accepted(with_in("limits", row->name, json_integer(ceiling)));
        assert_refused(with_in("limits", row->name, json_integer(ceiling + 1)), field);
        assert_refused(with_in("limits", row->name, json_integer(INT64_MIN)), field);
        assert_refused(with_in("limits", row->name, json_string("1")), field);
        assert_refused(with_in("limits", row->name, json_real(2.0)), field);

        /* From a server that did not have this limit yet. */
        struct fm_version *got = NULL;
        json_t *json = usual_json();
        assert_int_equal(json_object_del(json_object_get(json, "limits"), row->name), 0);
        assert_int_equal(fm_meta_from_json(json, "", &got, NULL), 0);
        assert_int_equal(*fm_limits_at(&got->limits, row), row->initial);
        fm_version_free(got);
        json_decref(json);
    }
    assert_refused(with_in("limits", "weight", json_integer(1)), "limits: ");
}

static void lists(void **state)
{
    (void)state;
    static const char *const fields[] = {"args", "imports"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(fields); i++) {
        assert_refused(with(fields[i], json_pack("[s, i]", "a", 1)), fields[i]);
        assert_refused(with(fields[i], json_pack("[s, n]", "a")), fields[i]);
        assert_refused(with(fields[i], json_pack("[s#]", "a\0b", 3)), fields[i]);
        assert_accepted(with(fields[i], json_array()));
    }
    assert_refused(with_in("env", "A", json_integer(1)), "env");
    assert_refused(with_in("env", "A", json_null()), "env");
    assert_refused(with_in("env", "A", json_stringn("a\0b", 3)), "env");
    assert_refused(with_in("env", "", json_string("x")), "env");
    assert_refused(with_in("env", "A=B", json_string("x")), "env");
    assert_accepted(with_in("env", "A", json_string("=")));
    assert_refused(with("user", json_stringn("sim\0on", 6)), "user");
}

static void assert_unwritable(const struct fm_version *version, const char *field)
{
    json_t *json = NULL;
    struct fm_error error = {0};
    assert_int_equal(fm_meta_build(version, &json, &error), FM_ERR_BAD_REQUEST);
    assert_null(json);
    if (strncmp(error.text, field, strlen(field)) != 0)
        fail_msg("'%s' does not begin with '%s'", error.text, field);
    assert_null(fm_meta_to_json(version));
}

static void what_cannot_be_written(void **state)
{
    (void)state;
    static const char *const bad_env[] = {"A=1", "NOTHING"};
    static const char *const nameless[] = {"A=1", "=2"};
    static const char *const latin_env[] = {"A=1", "B=\xe4"};
    static const char *const latin_name[] = {"A=1", "\xe4=B"};
    static const char *const twice[] = {"A=1", "AB=2", "A=3"};
    static const char *const latin[] = {"one", "\xe4"};
    struct fm_version version = usual();
    version.env_count = 2;
    version.env = bad_env;
    assert_unwritable(&version, "env: 'NOTHING'");
    version.env = nameless;
    assert_unwritable(&version, "env: '=2'");
    version.env = latin_env;
    assert_unwritable(&version, "env: a variable is not UTF-8");
    version.env = latin_name;
    assert_unwritable(&version, "env: a variable is not UTF-8");
    version.env = twice;
    version.env_count = 3;
    assert_unwritable(&version, "env: 'A' is given twice");
    version = usual();
    version.args = latin;
    version.args_count = 2;
    assert_unwritable(&version, "args: number 2 is not UTF-8");
    version = usual();
    version.facts.imports = latin;
    version.facts.imports_count = 2;
    assert_unwritable(&version, "imports: number 2 is not UTF-8");
    version = usual();
    version.user = "\xe4";
    assert_unwritable(&version, "user: not UTF-8");
    version = usual();
    version.size = (uint64_t)INT64_MAX + 1;
    assert_unwritable(&version, "size: 9223372036854775808 is too large");
    version.size = INT64_MAX;
    json_t *json = fm_meta_to_json(&version);
    assert_non_null(json);
    json_decref(json);
}

static int make_and_read(void *data)
{
    (void)data;
    struct fm_version wanted = usual();
    struct fm_version *got = NULL;
    struct fm_error error = {0};
    json_t *json = NULL;
    int failed = fm_meta_build(&wanted, &json, &error);
    if (!failed)
        failed = fm_meta_from_json(json, "/folder", &got, &error);
    json_decref(json);
    if (!failed)
        assert_same(got, &wanted);
    else
        assert_int_equal(failed, FM_ERR_NOMEM);
    assert_int_equal(error.code, failed);
    fm_version_free(got);
    return failed;
}

static void tortured(void **state)
{
    (void)state;
    json_set_alloc_funcs(malloc, free); /* jansson's too */
    assert_true(torture(make_and_read, NULL) > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),  cmocka_unit_test(shape),
        cmocka_unit_test(empty_lists), cmocka_unit_test(missing_or_of_another_type),
        cmocka_unit_test(values),      cmocka_unit_test(limits),
        cmocka_unit_test(lists),       cmocka_unit_test(what_cannot_be_written),
        cmocka_unit_test(tortured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
