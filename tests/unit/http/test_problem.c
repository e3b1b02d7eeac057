/* test_problem.c - errors as clients see them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "call/call.h"
#include "call/function.h"
#include "http/problem.h"
#include "torture.h"

static json_t *write_problem(const struct fm_problem *problem)
{
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, 64 * FM_MIB);
    assert_int_equal(fm_problem_write(problem, &buffer), 0);
    json_error_t error;
    json_t *json = json_loadb((const char *)buffer.data, buffer.length, JSON_ALLOW_NUL, &error);
    assert_non_null(json);
    fm_buffer_done(&buffer);
    return json;
}

static const char *text_in(const json_t *json, const char *name)
{
    return json_string_value(json_object_get(json, name));
}

static void test_each_error(void **state)
{
    (void)state;
    static const struct {
        int error;
        int status;
        const char *code;
    } rows[] = {
#define X(name, code, http, exit, guest, meaning) {FM_ERR_##name, http, code},
        FM_ERR_MAP(X)
#undef X
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        struct fm_problem problem = {.error = rows[i].error, .detail = "because"};
        assert_int_equal(fm_problem_status(&problem), rows[i].status);
        json_t *json = write_problem(&problem);
        assert_int_equal(json_object_size(json), 5);
        assert_int_equal(json_integer_value(json_object_get(json, "status")), rows[i].status);
        assert_string_equal(text_in(json, "code"), rows[i].code);
        assert_string_equal(text_in(json, "title"), fm_err_meaning(rows[i].error));
        assert_string_equal(text_in(json, "detail"), "because");
        char type[100] = "urn:faasm:problem:";
        assert_string_equal(text_in(json, "type"), strcat(type, rows[i].code));
        json_decref(json);
    }
}

static void test_detail_is_never_empty(void **state)
{
    (void)state;
    const char *empty[] = {NULL, ""};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(empty); i++) {
        struct fm_problem problem = {.error = FM_ERR_BUSY, .detail = empty[i]};
        json_t *json = write_problem(&problem);
        assert_string_equal(text_in(json, "detail"), fm_err_meaning(FM_ERR_BUSY));
        json_decref(json);
    }
}

static void test_status_of_its_own(void **state)
{
    (void)state;
    struct fm_problem problem = {.error = FM_ERR_TOO_LARGE, .status = 431};
    json_t *json = write_problem(&problem);
    assert_int_equal(json_integer_value(json_object_get(json, "status")), 431);
    assert_string_equal(text_in(json, "code"), "too_large");
    json_decref(json);
}

static void test_detail_with_a_guests_bytes(void **state)
{
    (void)state;
    struct fm_problem problem = {.error = FM_ERR_CHAIN_TARGET, .detail = "no \"\xFF\n\""};
    json_t *json = write_problem(&problem);
    assert_string_equal(text_in(json, "detail"), "no \"\xEF\xBF\xBD\n\"");
    json_decref(json);
}

/* --- modules -------------------------------------------------------------------------------------
 */

static void test_missing_imports(void **state)
{
    (void)state;
    const char *const names[] = {"env.a\n\"b", "env.caf\xC3\xA9", "z.z"};
    struct fm_refusal refusal = {.missing = {names, 3}};
    struct fm_problem problem = {
        .error = FM_ERR_UNSUPPORTED_MODULE, .detail = "the first", .refusal = &refusal};
    json_t *json = write_problem(&problem);
    const json_t *list = json_object_get(json, "missing_imports");
    assert_int_equal(json_array_size(list), 3);
    for (size_t i = 0; i < 3; i++)
        assert_string_equal(json_string_value(json_array_get(list, i)), names[i]);
    assert_int_equal(json_object_size(json), 6);
    assert_string_equal(text_in(json, "detail"), "the first");
    json_decref(json);

    refusal.missing = (struct fm_missing_imports){NULL, 70000}; /* over the bound: said, not cut */
    json = write_problem(&problem);
    assert_null(json_object_get(json, "missing_imports"));
    assert_true(json_is_true(json_object_get(json, "missing_imports_omitted")));
    assert_int_equal(json_integer_value(json_object_get(json, "missing_imports_count")), 70000);
    json_decref(json);

    refusal = (struct fm_refusal){.trap = "unreachable", .backtrace = "f\n", .log = "oh\n"};
    json = write_problem(&problem);
    assert_string_equal(text_in(json, "trap"), "unreachable");
    assert_string_equal(text_in(json, "backtrace"), "f\n");
    assert_string_equal(text_in(json, "log_tail"), "oh\n");
    json_decref(json);

    refusal = (struct fm_refusal){0}; /* it was refused for something else */
    json = write_problem(&problem);
    assert_int_equal(json_object_size(json), 5);
    json_decref(json);
}

/* --- calls
 * ---------------------------------------------------------------------------------------- */

static struct fm_call *make_call(const void *output, size_t bytes)
{
    struct fm_version version = {.user = "u", .function = "f"};
    fm_limits_ceilings(&version.limits);
    struct fm_call *call = NULL;
    assert_int_equal(fm_call_new(&version, &call), 0);
    assert_int_equal(fm_buffer_append(&call->output, output, bytes), 0);
    return call;
}

static json_t *problem_of(const struct fm_call *call, int error)
{
    struct fm_problem problem = {.error = error, .detail = call->detail, .call = call};
    return write_problem(&problem);
}

static void test_exit(void **state)
{
    (void)state;
    struct fm_call *call = make_call("h\xC3\xA9\n\0.", 6);
    fm_call_fail(call, FM_ERR_GUEST_EXIT, NULL);
    call->exit_code = 3;
    json_t *json = problem_of(call, call->error);
    assert_int_equal(json_integer_value(json_object_get(json, "exit_code")), 3);
    const json_t *output = json_object_get(json, "output");
    assert_int_equal(json_string_length(output), 6);
    assert_memory_equal(json_string_value(output), "h\xC3\xA9\n\0.", 6);
    assert_null(json_object_get(json, "output_encoding"));
    assert_null(json_object_get(json, "trap"));
    assert_int_equal(strlen(text_in(json, "id")), FM_ID_TEXT_SIZE - 1);
    json_decref(json);
    fm_call_free(call);
}

static void test_exit_without_output(void **state)
{
    (void)state;
    struct fm_call *call = make_call("", 0);
    fm_call_fail(call, FM_ERR_GUEST_EXIT, NULL);
    json_t *json = problem_of(call, call->error);
    assert_string_equal(text_in(json, "output"), "");
    json_decref(json);
    fm_call_free(call);
}

static void assert_base64_output(const void *output, size_t bytes)
{
    struct fm_call *call = make_call(output, bytes);
    fm_call_fail(call, FM_ERR_GUEST_EXIT, NULL);
    json_t *json = problem_of(call, call->error);
    assert_string_equal(text_in(json, "output_encoding"), "base64");
    assert_int_equal(strlen(text_in(json, "output")), (bytes + 2) / 3 * 4);
    json_decref(json);
    fm_call_free(call);
}

static void test_output_that_is_no_text(void **state)
{
    (void)state;
    assert_base64_output("\xFF\x00\x01", 3);
    static const char zeros[100000]; /* UTF-8, but six times as long in JSON */
    assert_base64_output(zeros, sizeof(zeros));
}

static void test_output_at_its_limit(void **state)
{
    (void)state;
    size_t bytes = FM_PROBLEM_OUTPUT_BYTES_MAX;
    char *output = malloc(bytes + 1);
    memset(output, 'x', bytes + 1);
    for (size_t i = bytes - 1; i <= bytes + 1; i++) {
        struct fm_call *call = make_call(output, i);
        fm_call_fail(call, FM_ERR_GUEST_EXIT, NULL);
        json_t *json = problem_of(call, call->error);
        if (i <= bytes) {
            assert_int_equal(json_string_length(json_object_get(json, "output")), i);
            assert_null(json_object_get(json, "output_omitted"));
        } else {
            assert_null(json_object_get(json, "output"));
            assert_true(json_is_true(json_object_get(json, "output_omitted")));
            assert_int_equal(json_integer_value(json_object_get(json, "output_bytes")), i);
        }
        json_decref(json);
        fm_call_free(call);
    }
    free(output);
}

static void test_trap(void **state)
{
    (void)state;
    struct fm_call *call = make_call("secret so far", 13);
    fm_call_fail(call, FM_ERR_GUEST_TRAP, "division by zero");
    call->trap = "integer_divide_by_zero";
    call->backtrace = "0: main";
    json_t *json = problem_of(call, call->error);
    assert_string_equal(text_in(json, "trap"), "integer_divide_by_zero");
    assert_string_equal(text_in(json, "backtrace"), "0: main");
    assert_string_equal(text_in(json, "detail"), "division by zero");
    assert_null(json_object_get(json, "exit_code"));
    assert_null(json_object_get(json, "output"));
    json_decref(json);
    fm_call_free(call);
}

static void test_limits_and_quotas_are_named(void **state)
{
    (void)state;
    struct fm_call *call = make_call("", 0);
    fm_call_fail_limit(call, "cpu_ms", 10);
    json_t *json = problem_of(call, call->error);
    assert_string_equal(text_in(json, "limit"), "cpu_ms");
    assert_null(json_object_get(json, "quota"));
    json_decref(json);
    fm_call_free(call);

    call = make_call("", 0);
    fm_call_fail(call, FM_ERR_QUOTA, "too many");
    call->limit = "concurrency";
    json = problem_of(call, call->error);
    assert_string_equal(text_in(json, "quota"), "concurrency");
    assert_null(json_object_get(json, "limit"));
    json_decref(json);
    fm_call_free(call);
}

/* A call that went well, but whose chain could not start: its output is kept. */
static void test_chain_target_keeps_the_output(void **state)
{
    (void)state;
    struct fm_call *call = make_call("done", 4);
    json_t *json = problem_of(call, FM_ERR_CHAIN_TARGET);
    assert_string_equal(text_in(json, "output"), "done");
    assert_string_equal(text_in(json, "code"), "chain_target");
    json_decref(json);
    fm_call_free(call);
}

static int write_under_torture(void *data)
{
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, FM_MIB);
    struct fm_problem problem = {.error = FM_ERR_GUEST_EXIT, .call = data};
    int failed = fm_problem_write(&problem, &buffer);
    assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    fm_buffer_done(&buffer);
    return failed;
}

static void test_without_memory(void **state)
{
    (void)state;
    struct fm_call *call = make_call("some output", 11);
    fm_call_fail(call, FM_ERR_GUEST_EXIT, NULL);
    assert_true(torture(write_under_torture, call) > 1);
    fm_call_free(call);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_error),
        cmocka_unit_test(test_detail_is_never_empty),
        cmocka_unit_test(test_status_of_its_own),
        cmocka_unit_test(test_detail_with_a_guests_bytes),
        cmocka_unit_test(test_missing_imports),
        cmocka_unit_test(test_exit),
        cmocka_unit_test(test_exit_without_output),
        cmocka_unit_test(test_output_that_is_no_text),
        cmocka_unit_test(test_output_at_its_limit),
        cmocka_unit_test(test_trap),
        cmocka_unit_test(test_limits_and_quotas_are_named),
        cmocka_unit_test(test_chain_target_keeps_the_output),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
