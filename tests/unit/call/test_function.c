/* test_function.c - a version is a deep copy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "call/function.h"
#include "torture.h"

static void a_version_owns_all_it_names(void **state)
{
    (void)state;
    char user[] = "ada";
    char variable[] = "A=1";
    char import[] = "faasm.log";
    const char *env[] = {variable, NULL};
    const char *imports[] = {import, NULL};
    const struct fm_version from = {
        .user = user,
        .function = "f",
        .id = "7",
        .env = env,
        .env_count = 1,
        .facts = {.abi = FM_ABI_REACTOR, .imports = imports, .imports_count = 1},
        .limits = {.cpu_ms = 5},
        .size = 9,
    };
    struct fm_version *copy = NULL;
    assert_int_equal(fm_version_new(&from, &copy), 0);
    user[0] = variable[0] = import[0] = '?';
    assert_string_equal(copy->user, "ada");
    assert_string_equal(copy->env[0], "A=1");
    assert_null(copy->env[1]);
    assert_string_equal(copy->facts.imports[0], "faasm.log");
    assert_string_equal(copy->sha256, "");
    assert_int_equal(copy->args_count, 0);
    assert_null(copy->args[0]);
    assert_int_equal(copy->limits.cpu_ms, 5);
    assert_int_equal(copy->facts.abi, FM_ABI_REACTOR);
    assert_null(fm_version_free(copy));
    assert_null(fm_version_free(NULL));
}

static void what_it_imports(void **state)
{
    (void)state;
    static const struct {
        const char *imports[3];
        bool files, writes, awaits;
    } rows[] = {
        {{0}, false, false, false},
        {{"faasm.chain", "faasm.log", "wasi_snapshot_preview1.fd_write"}, false, false, false},
        {{"faasm.input_read", "faasm.output_write"}, false, true, false},
        {{"env.__faasm_write_output"}, false, true, false},
        {{"env.__faasm_await_call_output", "faasm.output_writ"}, false, false, true},
        {{"faasm.output_writes", "wasi_snapshot_preview1.path_open"}, true, false, false},
        {{"wasi_snapshot_preview1.fd_readdir"}, true, false, false},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        struct fm_version from = {
            .user = "u", .function = "f", .facts = {.imports = rows[i].imports}};
        while (from.facts.imports_count < 3 && rows[i].imports[from.facts.imports_count])
            from.facts.imports_count++;
        struct fm_version *version = NULL;
        assert_int_equal(fm_version_new(&from, &version), 0);
        for (size_t j = 0; j < from.facts.imports_count; j++)
            assert_true(fm_module_imports(&version->facts, rows[i].imports[j]));
        assert_false(fm_module_imports(&version->facts, "faasm.call_wait"));
        assert_int_equal(version->uses_files, rows[i].files);
        assert_int_equal(version->writes_output, rows[i].writes);
        assert_int_equal(version->awaits_outputs, rows[i].awaits);
        fm_version_free(version);
    }
}

static int copy_one(void *data)
{
    struct fm_version *copy = NULL;
    int failed = fm_version_new(data, &copy);
    fm_version_free(copy);
    return failed;
}

static void memory_may_fail_anywhere(void **state)
{
    (void)state;
    struct fm_version from = {.user = "u", .function = "f"};
    assert_true(torture(copy_one, &from) > 1);
}

static void abis_have_names(void **state)
{
    (void)state;
    static const char *const names[] = {"faasm", "wasi", "faasm-2018", "reactor"};
    for (size_t i = 0; i < 4; i++) {
        enum fm_abi abi = FM_ABI_FAASM;
        assert_int_equal(fm_abi_parse(names[i], &abi), 0);
        assert_string_equal(fm_abi_text(abi), names[i]);
    }
    enum fm_abi abi = FM_ABI_WASI;
    assert_int_equal(fm_abi_parse("wasi2", &abi), FM_ERR_BAD_REQUEST);
    assert_int_equal(abi, FM_ABI_WASI);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_version_owns_all_it_names),
        cmocka_unit_test(what_it_imports),
        cmocka_unit_test(memory_may_fail_anywhere),
        cmocka_unit_test(abis_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
