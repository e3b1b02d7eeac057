/* test_change.c - a change of limits, env and args: what it touches, what it keeps, what is too
 * much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "call/change.h"
#include "torture.h"

static const char *const some_env[] = {"A=1", "AB=2", "C=x=y", NULL};
static const char *const some_args[] = {"-v", "", NULL};
static struct fm_arena arena;

static int setup(void **state)
{
    (void)state;
    fm_arena_init(&arena, FM_MIB);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fm_arena_done(&arena);
    return 0;
}

static struct fm_version some_version(void)
{
    struct fm_version version = {
        .user = "ada", .env = some_env, .env_count = 3, .args = some_args, .args_count = 2};
    fm_limits_defaults(&version.limits);
    return version;
}

static struct fm_version applied(const struct fm_change *change)
{
    struct fm_version version = some_version();
    assert_int_equal(fm_change_apply(change, &arena, &version, NULL), 0);
    assert_null(version.env[version.env_count]);
    return version;
}

static void nothing(void **state)
{
    (void)state;
    const struct fm_change change = {0};
    struct fm_version before = some_version();
    struct fm_version after = applied(&change);
    assert_memory_equal(&after, &before, sizeof(after));
}

static void limits(void **state)
{
    (void)state;
    struct fm_change change = {0};
    struct fm_version before = some_version();
    fm_change_limit(&change, fm_limit_row_find("cpu_ms"), 7);
    fm_change_limit(&change, fm_limit_row_find("retention_ms"), 8);
    struct fm_version after = applied(&change);
    assert_int_equal(after.limits.cpu_ms, 7);
    assert_int_equal(after.limits.retention_ms, 8);
    after.limits.cpu_ms = before.limits.cpu_ms;
    after.limits.retention_ms = before.limits.retention_ms;
    assert_memory_equal(&after, &before, sizeof(after));
}

static void environment(void **state)
{
    (void)state;
    const struct fm_change_variable variables[] = {
        {"Z", "new"}, {"A", "one"}, {"C", NULL}, {"absent", NULL}, {"AA", ""}};
    struct fm_change change = {.env = variables, .env_count = FM_ARRAY_LENGTH(variables)};
    struct fm_version after = applied(&change);
    assert_int_equal(after.env_count, 4);
    assert_string_equal(after.env[0], "A=one");
    assert_string_equal(after.env[1], "AB=2");
    assert_string_equal(after.env[2], "Z=new");
    assert_string_equal(after.env[3], "AA=");
    assert_ptr_equal(after.args, some_args);

    change.env_cleared = true;
    after = applied(&change);
    assert_int_equal(after.env_count, 3);
    assert_string_equal(after.env[0], "Z=new");
    assert_string_equal(after.env[1], "A=one");
    assert_string_equal(after.env[2], "AA=");
    change.env_count = 0;
    assert_int_equal(applied(&change).env_count, 0);
}

static void arguments(void **state)
{
    (void)state;
    static const char *const args[] = {"x", NULL};
    struct fm_change change = {.args_given = true, .args = args, .args_count = 1};
    struct fm_version after = applied(&change);
    assert_int_equal(after.args_count, 1);
    assert_string_equal(after.args[0], "x");
    assert_int_equal(after.env_count, 3);
    change.args_count = 0;
    assert_int_equal(applied(&change).args_count, 0);
}

/* --- too much --------------------------------------------------------------------------------- */

static char texts[FM_FUNCTION_VARIABLES_MAX + 2][16];
static const char *names[FM_FUNCTION_VARIABLES_MAX + 2];

static void make_texts(void)
{
    for (int i = 0; i < FM_FUNCTION_VARIABLES_MAX + 2; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "V%d=", i);
        names[i] = texts[i];
    }
}

static void refused(const struct fm_change *change, struct fm_version *version, const char *why)
{
    struct fm_error error = {0};
    struct fm_version before = *version;
    assert_int_equal(fm_change_apply(change, &arena, version, &error), FM_ERR_TOO_LARGE);
    assert_int_equal(error.code, FM_ERR_TOO_LARGE);
    if (!strstr(error.text, why))
        fail_msg("'%s' lacks '%s'", error.text, why);
    assert_memory_equal(version, &before, sizeof(before));
}

static void too_many(void **state)
{
    (void)state;
    const struct fm_change_variable another = {"another", "1"};
    struct fm_change change = {.env = &another, .env_count = 1};
    struct fm_version version = some_version();
    make_texts();
    version.env = names;
    version.env_count = FM_FUNCTION_VARIABLES_MAX - 1;
    assert_int_equal(fm_change_apply(&change, &arena, &version, NULL), 0);
    assert_int_equal(version.env_count, FM_FUNCTION_VARIABLES_MAX);
    version.env = names;
    refused(&change, &version, "env: 1025 of them, at most 1024");

    version = some_version();
    change =
        (struct fm_change){.args_given = true, .args = names, .args_count = FM_FUNCTION_ARGS_MAX};
    assert_int_equal(fm_change_apply(&change, &arena, &version, NULL), 0);
    change.args_count++;
    refused(&change, &version, "args: 1025 of them, at most 1024");
}

/* Each text counts with its NUL; both lists count together. */
static void too_long(void **state)
{
    (void)state;
    char *value = malloc(FM_FUNCTION_TEXTS_BYTES_MAX + 1);
    assert_non_null(value);
    const size_t rest =
        sizeof("L=") + sizeof("A=1") + sizeof("AB=2") + sizeof("C=x=y") + sizeof("-v") + sizeof("");
    const struct fm_change_variable variable = {"L", value};
    const struct fm_change change = {.env = &variable, .env_count = 1};
    for (size_t more = 0; more <= 1; more++) {
        size_t length = FM_FUNCTION_TEXTS_BYTES_MAX - rest + more;
        struct fm_version version = some_version();
        memset(value, 'v', length);
        value[length] = '\0';
        if (more)
            refused(&change, &version, "65537 bytes together, at most 65536");
        else
            assert_int_equal(fm_change_apply(&change, &arena, &version, NULL), 0);
    }
    free(value);
}

static int apply_one(void *data)
{
    struct fm_version version = some_version();
    struct fm_error error = {0};
    struct fm_arena own;
    fm_arena_init(&own, FM_MIB);
    int failed = fm_change_apply(data, &own, &version, &error);
    assert_int_equal(error.code, failed);
    fm_arena_done(&own);
    return failed;
}

static void memory_may_fail_anywhere(void **state)
{
    (void)state;
    const struct fm_change_variable variables[] = {{"A", "one"}, {"Z", "new"}};
    struct fm_change change = {.env = variables, .env_count = 2};
    assert_true(torture(apply_one, &change) >= 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(nothing),
        TEST(limits),
        TEST(environment),
        TEST(arguments),
        TEST(too_many),
        TEST(too_long),
        TEST(memory_may_fail_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
