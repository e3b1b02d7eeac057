/* test_parameters.c - the query of an upload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "http/parameters.h"
#include "torture.h"

struct parsed {
    char query[512];
    struct fm_arena arena;
    struct fm_version wanted;
    struct fm_error error;
    int failed;
};

static void parse(struct parsed *parsed, const char *query)
{
    memset(parsed, 0, sizeof(*parsed));
    strcpy(parsed->query, query);
    fm_arena_init(&parsed->arena, FM_MIB);
    parsed->failed =
        fm_parameters_parse(parsed->query, &parsed->arena, &parsed->wanted, &parsed->error);
}

static void done(struct parsed *parsed)
{
    fm_arena_done(&parsed->arena);
}

static void test_defaults(void **state)
{
    (void)state;
    struct parsed parsed;
    struct fm_limits defaults;
    fm_limits_defaults(&defaults);
    parse(&parsed, "");
    assert_int_equal(parsed.failed, 0);
    assert_memory_equal(&parsed.wanted.limits, &defaults, sizeof(defaults));
    assert_int_equal(parsed.wanted.env_count, 0);
    assert_null(parsed.wanted.env[0]);
    assert_int_equal(parsed.wanted.args_count, 0);
    assert_null(parsed.wanted.args[0]);
    done(&parsed);
}

static void test_all_kinds(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed, "limit.memory_bytes=128MiB&env.A=1&arg=x&limit.wall_ms=1.5s&arg=&env.B_2=a%3Db+c"
                   "&arg=%C3%A9");
    assert_int_equal(parsed.failed, 0);
    assert_int_equal(parsed.wanted.limits.memory_bytes, 128 * FM_MIB);
    assert_int_equal(parsed.wanted.limits.wall_ms, 1500);
    assert_int_equal(parsed.wanted.limits.cpu_ms, 10000);
    assert_int_equal(parsed.wanted.env_count, 2);
    assert_string_equal(parsed.wanted.env[0], "A=1");
    assert_string_equal(parsed.wanted.env[1], "B_2=a=b c");
    assert_null(parsed.wanted.env[2]);
    assert_int_equal(parsed.wanted.args_count, 3);
    assert_string_equal(parsed.wanted.args[0], "x");
    assert_string_equal(parsed.wanted.args[1], "");
    assert_string_equal(parsed.wanted.args[2], "\xC3\xA9");
    assert_null(parsed.wanted.args[3]);
    done(&parsed);
}

static void test_encoded_separators_make_no_new_parameters(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed, "arg=a%26arg=b%26arg=c");
    assert_int_equal(parsed.failed, 0);
    assert_int_equal(parsed.wanted.args_count, 1);
    assert_string_equal(parsed.wanted.args[0], "a&arg=b&arg=c");
    done(&parsed);
}

static void assert_bad(const char *query, const char *named, const char *reason)
{
    struct parsed parsed;
    parse(&parsed, query);
    assert_int_equal(parsed.failed, FM_ERR_BAD_REQUEST);
    assert_int_equal(parsed.error.code, FM_ERR_BAD_REQUEST);
    if (!strstr(parsed.error.text, named) || !strstr(parsed.error.text, reason))
        fail_msg("'%s': no '%s', '%s' in '%s'", query, named, reason, parsed.error.text);
    done(&parsed);
}

static void test_mistakes_are_named(void **state)
{
    (void)state;
    assert_bad("limit.wibble=5", "limit.wibble", "no such limit");
    assert_bad("limit.=5", "limit.", "no such limit");
    assert_bad("limit.cpu_ms=", "limit.cpu_ms", "not a number");
    assert_bad("limit.cpu_ms=ten", "limit.cpu_ms", "'ten'");
    assert_bad("limit.cpu_ms=-1", "limit.cpu_ms", "'-1'");
    assert_bad("limit.cpu_ms=5MiB", "limit.cpu_ms", "unit");
    assert_bad("limit.memory_bytes=5s", "limit.memory_bytes", "unit");
    assert_bad("limit.concurrency=5s", "limit.concurrency", "unit");
    assert_bad("limit.cpu_ms=5&limit.cpu_ms=5", "limit.cpu_ms", "twice");
    assert_bad("env.=x", "env.", "not a name");
    assert_bad("env.A%3DB=x", "env.A=B", "not a name");
    assert_bad("env.A=1&env.A=2", "env.A", "twice");
    assert_bad("verbose=1", "verbose", "unknown");
    assert_bad("arg.x=1", "arg.x", "unknown");
    assert_bad("Limit.cpu_ms=1", "Limit.cpu_ms", "unknown");
    assert_bad("env.A=%FF", "byte 0", "UTF-8");
    assert_bad("arg=x&arg=%C3", "byte 6", "UTF-8");
    assert_bad("arg=%zz", "byte 0", "bad escape");
    assert_bad("arg=a%00b", "byte 0", "NUL");
}

static void test_names_that_begin_alike_are_two(void **state)
{
    (void)state;
    struct parsed parsed;
    parse(&parsed, "env.A=1&env.AB=2&env.=");
    assert_int_equal(parsed.failed, FM_ERR_BAD_REQUEST); /* only the last */
    assert_non_null(strstr(parsed.error.text, "'env.'"));
    assert_int_equal(parsed.wanted.env_count, 2);
    done(&parsed);
}

static void assert_limit(const struct fm_limit_row *row, uint64_t value, bool good)
{
    struct parsed parsed;
    char query[100];
    (void)snprintf(query, sizeof(query), "limit.%s=%llu", row->name, (unsigned long long)value);
    parse(&parsed, query);
    if (good) {
        assert_int_equal(parsed.failed, 0);
        assert_int_equal(*fm_limits_at(&parsed.wanted.limits, row), value);
    } else {
        assert_int_equal(parsed.failed, FM_ERR_BAD_REQUEST);
        assert_non_null(strstr(parsed.error.text, row->name));
        assert_non_null(strstr(parsed.error.text, "between"));
    }
    done(&parsed);
}

static void test_ranges(void **state)
{
    (void)state;
    for (size_t i = 0; i < fm_limit_rows_count; i++) {
        const struct fm_limit_row *row = &fm_limit_rows[i];
        assert_limit(row, row->min, true);
        assert_limit(row, row->min + 1, true);
        if (row->min > 0)
            assert_limit(row, row->min - 1, false);
        assert_limit(row, row->ceiling - 1, true);
        assert_limit(row, row->ceiling, true);
        assert_limit(row, row->ceiling + 1, false);
        assert_limit(row, INT64_MAX, false);
    }
}

static int parse_under_torture(void *data)
{
    (void)data;
    struct parsed parsed;
    parse(&parsed, "env.A=1&arg=x&limit.cpu_ms=5&arg=y");
    assert_true(parsed.failed == 0 || parsed.failed == FM_ERR_NOMEM);
    assert_int_equal(parsed.error.code, parsed.failed);
    done(&parsed);
    return parsed.failed;
}

static void test_without_memory(void **state)
{
    (void)state;
    assert_true(torture(parse_under_torture, NULL) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_kinds),
        cmocka_unit_test(test_encoded_separators_make_no_new_parameters),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_names_that_begin_alike_are_two),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
