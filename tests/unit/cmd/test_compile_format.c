/* test_compile_format.c - what a compile process tells the server, there and back, and what the
 * server makes of anything else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cmd/compile_format.h"
#include "torture.h"

static struct fm_arena arena;

static int setup(void **state)
{
    (void)state;
    fm_arena_init(&arena, 64 * FM_MIB);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fm_arena_done(&arena);
    return 0;
}

static struct fm_compile_result there_and_back(const struct fm_compile_result *result)
{
    struct fm_compile_result read;
    char *text = fm_compile_result_write(result);
    assert_non_null(text);
    assert_true(strlen(text) <= FM_COMPILE_JSON_MAX);
    assert_int_equal(fm_compile_result_read(text, strlen(text), &arena, &read), 0);
    free(text);
    return read;
}

static void assert_same_names(const char *const *names, size_t count, const char *const *wanted,
                              size_t wanted_count)
{
    assert_int_equal(count, wanted_count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(names[i], wanted[i]);
}

static const char *const names[] = {"env.caf\xC3\xA9", "env.x\n\"\\\x01", "wasi.\x7f"};

static void test_facts(void **state)
{
    (void)state;
    struct fm_compile_result result = {.facts = {.abi = FM_ABI_REACTOR,
                                                 .has_initialize = true,
                                                 .snapshot = true,
                                                 .snapshot_us = 77,
                                                 .memory_pages_min = 65536,
                                                 .imports = names,
                                                 .imports_count = 3},
                                       .bodies = {.reused = 4294967295, .compiled = 2}};
    struct fm_compile_result read = there_and_back(&result);
    assert_int_equal(read.error.code, 0);
    assert_int_equal(read.bodies.reused, 4294967295);
    assert_int_equal(read.bodies.compiled, 2);
    assert_int_equal(read.facts.abi, FM_ABI_REACTOR);
    assert_true(read.facts.has_initialize);
    assert_true(read.facts.snapshot);
    assert_int_equal(read.facts.snapshot_us, 77);
    assert_int_equal(read.facts.memory_pages_min, 65536);
    assert_same_names(read.facts.imports, read.facts.imports_count, names, 3);
    assert_int_equal(read.refusal.missing.count, 0);

    result.facts = (struct fm_module_facts){.abi = FM_ABI_WASI};
    read = there_and_back(&result);
    assert_int_equal(read.facts.abi, FM_ABI_WASI);
    assert_false(read.facts.has_initialize);
    assert_int_equal(read.facts.imports_count, 0);
}

static void test_refusals(void **state)
{
    (void)state;
    struct fm_compile_result result = {.error = {FM_ERR_BAD_MODULE, "at offset 7: \"oops\""}};
    struct fm_compile_result read = there_and_back(&result);
    assert_int_equal(read.error.code, FM_ERR_BAD_MODULE);
    assert_string_equal(read.error.text, "at offset 7: \"oops\"");
    assert_int_equal(read.refusal.missing.count, 0);
    assert_null(read.refusal.missing.names);

    result.error.code = FM_ERR_UNSUPPORTED_MODULE;
    result.refusal.missing = (struct fm_missing_imports){names, 3};
    read = there_and_back(&result);
    assert_int_equal(read.error.code, FM_ERR_UNSUPPORTED_MODULE);
    assert_same_names(read.refusal.missing.names, read.refusal.missing.count, names, 3);

    result.refusal.missing = (struct fm_missing_imports){NULL, 1000000}; /* too many for a list */
    read = there_and_back(&result);
    assert_int_equal(read.refusal.missing.count, 1000000);
    assert_null(read.refusal.missing.names);

    result.refusal = (struct fm_refusal){.trap = "unreachable", .log = "\xC3\xA9\n"};
    read = there_and_back(&result);
    assert_string_equal(read.refusal.trap, "unreachable");
    assert_null(read.refusal.backtrace);
    assert_string_equal(read.refusal.log, "\xC3\xA9\n");
}

/* The most that names may take, in the bytes that are longest in JSON. */
static void test_the_longest_result(void **state)
{
    (void)state;
    size_t length = FM_IMPORTS_BYTES_MAX - strlen("\"\",");
    char *name = malloc(length + 1);
    assert_non_null(name);
    memset(name, 1, length);
    name[length] = '\0';
    const char *const one[] = {name};
    struct fm_compile_result result = {.error = {.code = FM_ERR_UNSUPPORTED_MODULE},
                                       .refusal = {.missing = {one, 1}}};
    memset(result.error.text, 1, sizeof(result.error.text) - 1);
    assert_int_equal(fm_imports_bytes(one, 1), FM_IMPORTS_BYTES_MAX);
    struct fm_compile_result read = there_and_back(&result);
    assert_same_names(read.refusal.missing.names, read.refusal.missing.count, one, 1);
    assert_string_equal(read.error.text, result.error.text);
    free(name);
}

static int read_text(const char *text)
{
    struct fm_compile_result read = {.error = {.code = 77}};
    int failed = fm_compile_result_read(text, strlen(text), &arena, &read);
    if (failed)
        assert_int_equal(read.error.code, 77); /* untouched */
    return failed;
}

#define REFUSED "{\"error\":-8,\"detail\":\"d\""
#define FACTS "{\"facts\":{\"abi\":\"wasi\",\"memory_pages_min\":"

static void test_what_nobody_wrote(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "7",
        "{}",
        "{\"error\":0,\"detail\":\"d\"}",
        "{\"error\":1,\"detail\":\"d\"}",
        "{\"error\":-1000,\"detail\":\"d\"}",
        "{\"error\":-4294967304,\"detail\":\"d\"}",
        "{\"error\":-8}",
        "{\"error\":\"-8\",\"detail\":\"d\"}",
        REFUSED ",\"missing_count\":-1}",
        REFUSED ",\"missing_count\":1,\"missing_imports\":{}}",
        REFUSED ",\"missing_count\":1,\"missing_imports\":[]}",
        REFUSED ",\"missing_count\":2,\"missing_imports\":[\"a\"]}",
        REFUSED ",\"missing_count\":1,\"missing_imports\":[1]}",
        REFUSED ",\"missing_count\":1,\"missing_imports\":[\"\\u0000\"]}",
        REFUSED ",\"missing_imports\":[\"a\"]}",
        FACTS "-1,\"imports\":[]}}",
        FACTS "1,\"imports\":{}}}",
        FACTS "1,\"imports\":[null]}}",
        FACTS "1}}",
        "{\"facts\":{\"abi\":\"java\",\"memory_pages_min\":1,\"imports\":[]}}",
        "{\"facts\":7}",
        FACTS "1,\"imports\":[]},\"bodies_reused\":-1}",
        FACTS "1,\"imports\":[]},\"bodies_reused\":4294967296}",
        FACTS "1,\"imports\":[]},\"bodies_compiled\":-1}",
        FACTS "1,\"imports\":[]},\"bodies_compiled\":4294967296}",
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bad); i++)
        if (read_text(bad[i]) != FM_ERR_INTERNAL)
            fail_msg("taken: %s", bad[i]);
    assert_int_equal(read_text(REFUSED "}"), 0); /* so it is not these that were bad everywhere */
    assert_int_equal(read_text(FACTS "1,\"imports\":[]}}"), 0);
}

static void test_names_over_the_limit_are_not_taken(void **state)
{
    (void)state;
    for (size_t bytes = FM_IMPORTS_BYTES_MAX - 1; bytes <= FM_IMPORTS_BYTES_MAX + 1; bytes++) {
        static const char start[] = REFUSED ",\"missing_count\":1,\"missing_imports\":[\"";
        char *text = calloc(1, sizeof(start) + bytes + 10);
        assert_non_null(text);
        (void)strcpy(text, start);
        memset(text + strlen(start), 'x', bytes - strlen("\"\","));
        (void)strcat(text, "\"]}");
        assert_int_equal(read_text(text), bytes <= FM_IMPORTS_BYTES_MAX ? 0 : FM_ERR_INTERNAL);
        free(text);
    }
}

static int read_under_torture(void *data)
{
    struct fm_arena small;
    struct fm_compile_result read;
    fm_arena_init(&small, FM_MIB);
    int failed = fm_compile_result_read(data, strlen(data), &small, &read);
    assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    fm_arena_done(&small);
    return failed;
}

static void test_without_memory(void **state)
{
    (void)state;
    char refused[] = REFUSED ",\"missing_count\":2,\"missing_imports\":[\"a\",\"b\"]}";
    char facts[] = FACTS "1,\"imports\":[\"a\",\"b\"]}}";
    assert_true(torture(read_under_torture, refused) > 1);
    assert_true(torture(read_under_torture, facts) > 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_facts),
        TEST(test_refusals),
        TEST(test_the_longest_result),
        TEST(test_what_nobody_wrote),
        TEST(test_names_over_the_limit_are_not_taken),
        TEST(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
