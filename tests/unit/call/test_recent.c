/* test_recent.c - synchronous calls that are remembered: found, listed, and forgotten in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "call/call.h"
#include "call/function.h"
#include "call/recent.h"
#include "torture.h"

#define SECOND FM_NS_PER_S

static struct fm_recent *recent;
static struct fm_version *versions[8];
static struct fm_recent_function *known[8];
static struct fm_call *call;
static uint64_t number; /* of the last call */

static int setup(void **state)
{
    (void)state;
    static const char *const users[] = {"ada", "ada", "bob", "eve"};
    static const char *const names[] = {"echo", "fail", "echo", "echo"};
    number = 0;
    assert_int_equal(fm_recent_new(FM_GIB, &recent), 0);
    for (size_t i = 0; i < 4; i++) {
        struct fm_version from = {.user = users[i], .function = names[i], .id = "v1"};
        fm_limits_defaults(&from.limits);
        assert_int_equal(fm_version_new(&from, &versions[i]), 0);
        assert_int_equal(fm_recent_function_new(recent, versions[i], &known[i]), 0);
    }
    assert_int_equal(fm_call_new(versions[0], &call), 0);
    return 0;
}

static void drop_functions(void)
{
    for (size_t i = 0; i < 4; i++) {
        fm_recent_function_drop(known[i]);
        known[i] = NULL;
    }
}

static int teardown(void **state)
{
    (void)state;
    drop_functions();
    recent = fm_recent_free(recent);
    call = fm_call_free(call);
    for (size_t i = 0; i < 4; i++)
        versions[i] = fm_version_free(versions[i]);
    return 0;
}

static void restart(uint64_t bytes_max)
{
    drop_functions();
    fm_recent_free(recent);
    assert_int_equal(fm_recent_new(bytes_max, &recent), 0);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(fm_recent_function_new(recent, versions[i], &known[i]), 0);
}

static struct fm_id id_of(uint64_t which)
{
    return (struct fm_id){.high = 1000 + which, .low = which << 16};
}

/* A call that has ended; its id is that of the next number. */
static void end_call(int error, const char *detail, const char *log)
{
    fm_call_reset(call, versions[0]);
    number++;
    call->id = id_of(number);
    call->created_real_ns = number * SECOND;
    call->created_ns = 5 * SECOND;
    call->input_bytes = 3;
    call->cpu_ns = 7;
    fm_call_set_state(call, FM_CALL_RUNNING, 6 * SECOND);
    assert_int_equal(fm_buffer_append_text(&call->log, log), 0);
    assert_int_equal(fm_buffer_append_text(&call->output, "out"), 0);
    if (error)
        fm_call_fail(call, error, detail);
    fm_call_set_state(call, FM_CALL_DONE, 8 * SECOND);
}

static void add(size_t function)
{
    end_call(0, NULL, "");
    fm_recent_add(known[function], &(struct fm_recent_end){.call = call, .detail = ""});
}

static bool has(uint64_t which)
{
    struct fm_call_record record = {0};
    struct fm_id id = id_of(which);
    int failed = fm_recent_get(recent, &id, &record, NULL);
    assert_true(failed == 0 || failed == FM_ERR_NOT_FOUND);
    fm_call_record_done(&record);
    return !failed;
}

static void a_call_is_remembered(void **state)
{
    (void)state;
    add(0);
    struct fm_call_record record = {0};
    uint8_t *log = (uint8_t *)"untouched";
    struct fm_id id = id_of(1);
    assert_int_equal(fm_recent_get(recent, &id, &record, &log), 0);
    assert_null(log);
    assert_memory_equal(&record.id, &id, sizeof(id));
    assert_int_equal(record.status, FM_STATUS_SUCCEEDED);
    assert_int_equal(record.attempt, 1);
    assert_string_equal(record.user, "ada");
    assert_string_equal(record.function, "echo");
    assert_string_equal(record.version, "v1");
    assert_int_equal(record.created_real_ns, 1 * SECOND);
    assert_int_equal(record.started_real_ns, 2 * SECOND);
    assert_int_equal(record.finished_real_ns, 4 * SECOND);
    assert_int_equal(record.wall_ns, 3 * SECOND);
    assert_int_equal(record.cpu_ns, 7);
    assert_int_equal(record.input_bytes, 3);
    assert_int_equal(record.output_bytes, 3);
    fm_call_record_done(&record);
    id.low ^= UINT64_C(1) << 40;
    assert_int_equal(fm_recent_get(recent, &id, &record, NULL), FM_ERR_NOT_FOUND);
}

static void texts_log_and_children_are_kept(void **state)
{
    (void)state;
    end_call(FM_ERR_GUEST_TRAP, "it fell", "line\n");
    call->trap = "unreachable";
    call->backtrace = "here";
    call->limit = "cpu_ms";
    struct fm_id children[2] = {id_of(70), id_of(71)};
    fm_recent_add(known[1], &(struct fm_recent_end){.call = call,
                                                    .error = FM_ERR_GUEST_TRAP,
                                                    .detail = call->detail,
                                                    .chained = children,
                                                    .chained_count = 2});
    struct fm_call_record record = {0};
    uint8_t *log = NULL;
    struct fm_id id = id_of(1);
    assert_int_equal(fm_recent_get(recent, &id, &record, &log), 0);
    assert_int_equal(record.status, FM_STATUS_FAILED);
    assert_int_equal(record.error, FM_ERR_GUEST_TRAP);
    assert_string_equal(record.detail, "it fell");
    assert_string_equal(record.trap, "unreachable");
    assert_string_equal(record.backtrace, "here");
    assert_string_equal(record.limit, "cpu_ms");
    assert_int_equal(record.log_bytes, 5);
    assert_memory_equal(log, "line\n", 5);
    assert_int_equal(record.children_count, 2);
    assert_memory_equal(record.children, children, sizeof(children));
    free(log);
    fm_call_record_done(&record);

    end_call(FM_ERR_CANCELLED, NULL, "");
    fm_recent_add(known[0], &(struct fm_recent_end){.call = call, .error = FM_ERR_CANCELLED});
    id = id_of(2);
    assert_int_equal(fm_recent_get(recent, &id, &record, NULL), 0);
    assert_int_equal(record.status, FM_STATUS_CANCELLED);
    fm_call_record_done(&record);
}

/* max - 1, max, max + 1 of one user; others are not concerned. */
static void a_user_has_a_thousand(void **state)
{
    (void)state;
    add(2); /* bob's */
    for (int i = 0; i < FM_RECENT_CALLS_MAX; i++)
        add((size_t)i % 2);
    assert_true(has(2));
    add(0);
    assert_false(has(2));
    assert_true(has(3));
    assert_true(has(number));
    assert_true(has(1));
    struct fm_recent_counts counts;
    fm_recent_counts(recent, &counts);
    assert_int_equal(counts.calls, FM_RECENT_CALLS_MAX + 1);
}

/* Over the bytes whoever called longest ago goes. */
static void bytes_are_bounded(void **state)
{
    (void)state;
    struct fm_recent_counts counts;
    add(0);
    fm_recent_counts(recent, &counts);
    uint64_t ring_bytes = counts.bytes;
    restart(2 * ring_bytes);
    number = 0;
    add(0);
    add(2);
    fm_recent_counts(recent, &counts);
    assert_int_equal(counts.bytes, 2 * ring_bytes); /* just fits */
    add(0);                                         /* bob is the one now */
    add(3);
    assert_true(has(1) && has(3) && has(4));
    assert_false(has(2));

    /* Alone, it loses its own oldest; a log that is too much goes. */
    restart(ring_bytes + 1000);
    for (int i = 0; i < 10; i++) {
        end_call(0, NULL, "a log of some length, of which several fit but not all of these ten");
        fm_recent_add(known[0], &(struct fm_recent_end){.call = call});
        fm_recent_counts(recent, &counts);
        assert_true(counts.bytes <= ring_bytes + 1000);
    }
    assert_true(has(number) && !has(number - 9));
    static char large[4000];
    memset(large, 'x', sizeof(large) - 1);
    end_call(0, NULL, large);
    fm_recent_add(known[0], &(struct fm_recent_end){.call = call});
    struct fm_call_record record = {0};
    struct fm_id id = id_of(number);
    assert_int_equal(fm_recent_get(recent, &id, &record, NULL), 0);
    assert_int_equal(record.log_bytes, 0);
    assert_true(record.log_truncated);
    fm_call_record_done(&record);
}

/* What was added stays when its version goes; and goes with the last of it. */
static void names_outlive_their_version(void **state)
{
    (void)state;
    add(0);
    drop_functions();
    assert_true(has(1));
}

static char seen[64];

static void note(const struct fm_call_record *record, void *data)
{
    (void)data;
    size_t length = strlen(seen);
    (void)snprintf(seen + length, sizeof(seen) - length, "%d ", (int)(record->id.high - 1000));
}

static void expect_list(const struct fm_recent_filter *filter, const char *expected)
{
    seen[0] = '\0';
    fm_recent_each(recent, filter, note, NULL);
    assert_string_equal(seen, expected);
}

static void lists_are_filtered(void **state)
{
    (void)state;
    add(0);
    add(1);
    add(0);
    end_call(FM_ERR_GUEST_EXIT, NULL, "");
    fm_recent_add(known[1], &(struct fm_recent_end){.call = call, .error = FM_ERR_GUEST_EXIT});
    add(2);
    expect_list(&(struct fm_recent_filter){.user = "ada"}, "1 2 3 4 ");
    expect_list(&(struct fm_recent_filter){.user = "bob"}, "5 ");
    expect_list(&(struct fm_recent_filter){.user = "nobody"}, "");
    expect_list(&(struct fm_recent_filter){.user = "ada", .function = "fail"}, "2 4 ");
    expect_list(&(struct fm_recent_filter){.by_status = true, .status = FM_STATUS_FAILED}, "4 ");
    expect_list(&(struct fm_recent_filter){.user = "ada", .after = id_of(3)}, "1 2 ");
    expect_list(&(struct fm_recent_filter){0}, "5 1 2 3 4 "); /* users in the order of calls */
}

static int add_under_torture(void *data)
{
    struct fm_recent_function *function = NULL;
    int failed = fm_recent_function_new(recent, data, &function);
    if (failed)
        return failed;
    uint64_t id = ++number;
    call->id = id_of(id);
    fm_recent_add(function, &(struct fm_recent_end){.call = call, .error = FM_ERR_GUEST_EXIT});
    fm_recent_function_drop(function);
    struct fm_call_record record = {0};
    uint8_t *log = NULL;
    struct fm_id wanted = id_of(id);
    failed = fm_recent_get(recent, &wanted, &record, &log);
    if (!failed && !log)
        failed = FM_ERR_NOMEM; /* remembered without it */
    fm_call_record_done(&record);
    free(log);
    return failed;
}

static void without_memory(void **state)
{
    (void)state;
    end_call(FM_ERR_GUEST_EXIT, "no", "log");
    drop_functions();
    assert_true(torture(add_under_torture, versions[0]) > 5);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_is_remembered),
        TEST(texts_log_and_children_are_kept),
        TEST(a_user_has_a_thousand),
        TEST(bytes_are_bounded),
        TEST(names_outlive_their_version),
        TEST(lists_are_filtered),
        TEST(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
