/* test_call.c - the state machine, outcomes, streams under their limits, chains, reuse. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "call/call.h"
#include "call/function.h"
#include "torture.h"

static struct fm_version version = {.user = "ada", .function = "f"};

static int setup(void **state)
{
    (void)state;
    fm_limits_defaults(&version.limits);
    version.limits.output_bytes = 10;
    version.limits.log_bytes = 5;
    version.limits.chain_fanout = 2;
    return 0;
}

static struct fm_call *new_call(void)
{
    struct fm_call *call = NULL;
    assert_int_equal(fm_call_new(&version, &call), 0);
    return call;
}

static void done(struct fm_call *call)
{
    if (call->state != FM_CALL_DONE)
        fm_call_set_state(call, FM_CALL_DONE, 1);
    fm_call_free(call);
}

/* Whether the move aborts the process. */
static bool aborts(enum fm_call_state from, enum fm_call_state to)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)close(2);
        struct fm_call *call = NULL;
        if (fm_call_new(&version, &call) != 0)
            _exit(2);
        call->state = from;
        fm_call_set_state(call, to, 1);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void only_legal_moves_are_allowed(void **state)
{
    (void)state;
    static const bool legal[5][5] = {
        /* to:            NEW    QUEUED RUNNING PARKED DONE */
        [FM_CALL_NEW] = {false, true, true, false, true},
        [FM_CALL_QUEUED] = {false, false, true, false, true},
        [FM_CALL_RUNNING] = {false, true, false, true, true},
        [FM_CALL_PARKED] = {false, true, true, false, true},
        [FM_CALL_DONE] = {false, false, false, false, false},
    };
    for (int from = 0; from < 5; from++)
        for (int to = 0; to < 5; to++)
            assert_int_equal(aborts((enum fm_call_state)from, (enum fm_call_state)to),
                             !legal[from][to]);
}

static void moves_stamp_their_times_once(void **state)
{
    (void)state;
    struct fm_call *call = new_call();
    fm_call_set_state(call, FM_CALL_QUEUED, 5);
    assert_int_equal(call->started_ns, 0);
    fm_call_set_state(call, FM_CALL_RUNNING, 10);
    fm_call_set_state(call, FM_CALL_PARKED, 20);
    fm_call_set_state(call, FM_CALL_RUNNING, 30);
    assert_int_equal(call->started_ns, 10);
    fm_call_set_state(call, FM_CALL_DONE, 40);
    assert_int_equal(call->finished_ns, 40);
    assert_string_equal(fm_call_state_text(call->state), "done");
    fm_call_free(call);
}

static void the_first_reason_stays(void **state)
{
    (void)state;
    struct fm_call *call = new_call();
    fm_call_fail_limit(call, "cpu_ms", 250);
    fm_call_fail(call, FM_ERR_GUEST_TRAP, "later");
    fm_call_fail_limit(call, "log_bytes", 1);
    assert_int_equal(call->error, FM_ERR_GUEST_LIMIT);
    assert_string_equal(call->limit, "cpu_ms");
    assert_non_null(strstr(call->detail, "cpu_ms = 250ms"));
    done(call);
}

static void output_over_its_limit_is_refused_whole(void **state)
{
    (void)state;
    struct fm_call *call = new_call();
    const uint8_t data[11] = "0123456789";
    assert_int_equal(call->io->write_output(call, data, 11), FM_ERR_GUEST_LIMIT);
    assert_int_equal(call->output.length, 0);
    assert_int_equal(call->io->write_output(call, data, 9), 0);
    assert_int_equal(call->io->write_output(call, data, 2), FM_ERR_GUEST_LIMIT);
    assert_int_equal(call->io->write_output(call, data, 1), 0);
    assert_int_equal(call->output.length, 10);
    assert_int_equal(call->io->write_output(call, data, 0), 0);
    assert_int_equal(call->io->write_output(call, data, 1), FM_ERR_GUEST_LIMIT);
    assert_memory_equal(call->output.data, "0123456780", 10);
    done(call);
}

static void a_log_over_its_limit_is_cut_and_says_so(void **state)
{
    (void)state;
    struct fm_call *call = new_call();
    call->io->write_log(call, (const uint8_t *)"1234", 4);
    assert_false(call->log_truncated);
    call->io->write_log(call, (const uint8_t *)"5", 1);
    assert_false(call->log_truncated);
    call->io->write_log(call, (const uint8_t *)"6", 1);
    assert_true(call->log_truncated);
    assert_int_equal(call->log.length, 5);
    assert_memory_equal(call->log.data, "12345", 5);
    done(call);
}

static void input_is_read_from_any_offset(void **state)
{
    (void)state;
    struct fm_call *call = new_call();
    uint8_t data[8] = {0};
    assert_int_equal(call->io->read_input(call, 0, data, 8), 0);
    call->input = (const uint8_t *)"abcdef";
    call->input_bytes = 6;
    assert_int_equal(call->io->read_input(call, 0, data, 4), 4);
    assert_memory_equal(data, "abcd", 4);
    assert_int_equal(call->io->read_input(call, 4, data, 8), 2);
    assert_memory_equal(data, "ef", 2);
    assert_int_equal(call->io->read_input(call, 6, data, 8), 0);
    assert_int_equal(call->io->read_input(call, UINT64_MAX, data, 8), 0);
    done(call);
}

static void chains_are_copied_in_order_up_to_the_fan_out(void **state)
{
    (void)state;
    struct fm_call *call = new_call();
    uint8_t input[2] = {0, 0};
    assert_int_equal(fm_call_chain(call, "..", 2, input, 1), FM_ERR_BAD_NAME);
    assert_int_equal(fm_call_chain(call, "one", 3, input, 2), 0);
    input[0] = 9; /* the copy must not change */
    assert_int_equal(fm_call_chain(call, "two", 3, NULL, 0), 0);
    assert_int_equal(fm_call_chain(call, "three", 5, input, 1), FM_ERR_QUOTA);
    assert_int_equal(call->chains_count, 2);
    struct fm_chain *first = FM_LIST_ENTRY(call->chains.next, struct fm_chain, link);
    struct fm_chain *second = FM_LIST_ENTRY(first->link.next, struct fm_chain, link);
    assert_string_equal(first->name, "one");
    assert_memory_equal(first->input, "\0\0", 2);
    assert_string_equal(second->name, "two");
    assert_int_equal(second->input_bytes, 0);
    done(call);
}

static void chained_and_started_calls_share_the_fan_out(void **state)
{
    (void)state;
    struct fm_call *call = new_call();
    fm_call_child_add(call, (struct fm_id){1, 2});
    assert_int_equal(fm_call_chain(call, "one", 3, NULL, 0), 0);
    assert_int_equal(fm_call_chain(call, "two", 3, NULL, 0), FM_ERR_QUOTA);
    assert_int_equal(call->children_started, 1);
    assert_int_equal(call->chains_count, 1);
    done(call);
}

static void ids_of_children_are_kept_up_to_a_bound(void **state)
{
    (void)state;
    const uint32_t counts[] = {0,
                               1,
                               7,
                               8,
                               9,
                               16,
                               17,
                               FM_CALL_CHILDREN_LISTED_MAX - 1,
                               FM_CALL_CHILDREN_LISTED_MAX,
                               FM_CALL_CHILDREN_LISTED_MAX + 1};
    struct fm_call *call = new_call();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(counts); i++) {
        for (uint32_t n = 1; n <= counts[i]; n++)
            fm_call_child_add(call, (struct fm_id){n, ~(uint64_t)n});
        assert_int_equal(call->children_started, counts[i]);
        assert_int_equal(call->children_count, fm_min_u64(counts[i], FM_CALL_CHILDREN_LISTED_MAX));
        for (uint32_t n = 1; n <= call->children_count; n++) {
            assert_int_equal(call->children[n - 1].high, n);
            assert_int_equal(call->children[n - 1].low, ~(uint64_t)n);
        }
        fm_call_set_state(call, FM_CALL_DONE, 1);
        fm_call_reset(call, &version);
        assert_int_equal(call->children_count, 0);
        assert_int_equal(call->children_started, 0);
    }
    call->arena.bytes_max = 0; /* no memory: they are counted all the same */
    fm_call_child_add(call, (struct fm_id){1, 1});
    assert_int_equal(call->children_started, 1);
    assert_int_equal(call->children_count, 0);
    done(call);
}

static void the_deadline_is_told_in_real_time(void **state)
{
    (void)state;
    struct fm_call *call = new_call();
    assert_int_equal(fm_call_deadline_unix_ms(call), 0);
    call->deadline_ns = UINT64_MAX;
    assert_int_equal(fm_call_deadline_unix_ms(call), 0);
    call->created_real_ns = UINT64_C(1700000000000) * FM_NS_PER_MS;
    call->created_ns = 5000 * FM_NS_PER_MS;
    call->deadline_ns = call->created_ns + 250 * FM_NS_PER_MS;
    assert_int_equal(fm_call_deadline_unix_ms(call), UINT64_C(1700000000250));
    call->deadline_ns = call->created_ns - 1 * FM_NS_PER_MS; /* of a parent, already over */
    assert_int_equal(fm_call_deadline_unix_ms(call), UINT64_C(1699999999999));
    done(call);
}

static void a_reset_call_is_as_good_as_new(void **state)
{
    (void)state;
    struct fm_call *call = new_call();
    assert_int_equal(call->io->write_output(call, (const uint8_t *)"x", 1), 0);
    assert_int_equal(fm_call_chain(call, "one", 3, NULL, 0), 0);
    fm_call_fail(call, FM_ERR_INTERNAL, "oops");
    fm_call_set_state(call, FM_CALL_DONE, 3);
    fm_call_reset(call, &version);
    assert_int_equal(call->state, FM_CALL_NEW);
    assert_int_equal(call->error, 0);
    assert_string_equal(call->detail, "");
    assert_int_equal(call->output.length, 0);
    assert_true(fm_list_empty(&call->chains));
    assert_int_equal(call->chains_count, 0);
    assert_int_equal(call->finished_ns, 0);
    assert_string_equal(call->principal, "anonymous");
    assert_int_equal(call->attempt, 1);
    assert_int_equal(call->parent.high, 0);
    assert_null(call->child_ops);
    done(call);
}

/* What a call that has ended keeps for a next one is small, whatever it wrote. */
static void a_forgotten_call_keeps_little_memory(void **state)
{
    (void)state;
    static const uint8_t data[100000];
    struct fm_version large = version;
    large.limits.output_bytes = large.limits.log_bytes = sizeof(data);
    struct fm_call *call = NULL;
    assert_int_equal(fm_call_new(&large, &call), 0);
    assert_int_equal(call->io->write_output(call, data, sizeof(data)), 0);
    call->io->write_log(call, data, sizeof(data));
    fm_call_set_state(call, FM_CALL_DONE, 1);
    fm_call_forget(call);
    assert_int_equal(call->output.capacity, 0);
    assert_int_equal(call->log.capacity, 0);
    fm_call_reset(call, &large);
    assert_int_equal(call->io->write_output(call, data, 100), 0);
    fm_call_set_state(call, FM_CALL_DONE, 1);
    fm_call_forget(call);
    assert_int_equal(call->output.length, 0);
    assert_true(call->output.capacity >= 100);
    done(call);
}

/* There is room at once for what was written before, unless that is no more than is kept anyway. */
static void a_large_output_is_expected(void **state)
{
    (void)state;
    static const uint8_t data[1000];
    struct fm_version large = version;
    large.limits.output_bytes = 3 * FM_MIB;
    const size_t expected[] = {0, FM_MIB, 3 * FM_MIB, 4 * FM_MIB}; /* the last: of older limits */
    for (size_t i = 0; i < FM_ARRAY_LENGTH(expected); i++) {
        struct fm_call *call = NULL;
        assert_int_equal(fm_call_new(&large, &call), 0);
        call->output_expected = expected[i];
        assert_int_equal(call->io->write_output(call, data, sizeof(data)), 0);
        assert_true(call->output.capacity < 64 * FM_KIB); /* it may be a short one */
        while (call->output.length < 200 * FM_KIB)
            assert_int_equal(call->io->write_output(call, data, sizeof(data)), 0);
        if (i == 1 || i == 2)
            assert_int_equal(call->output.capacity, expected[i]);
        else
            assert_true(call->output.capacity < 512 * FM_KIB);
        done(call);
    }
}

static int use_a_call(void *data)
{
    (void)data;
    struct fm_call *call = NULL;
    int failed = fm_call_new(&version, &call);
    if (failed)
        return failed;
    failed = call->io->write_output(call, (const uint8_t *)"abc", 3);
    if (!failed)
        failed = fm_call_chain(call, "one", 3, (const uint8_t *)"in", 2);
    call->io->write_log(call, (const uint8_t *)"l", 1);
    bool logged = !call->log_truncated;
    fm_call_fail(call, FM_ERR_GUEST_TRAP, "why");
    bool explained = call->detail[0] != '\0';
    assert_int_equal(call->error, FM_ERR_GUEST_TRAP); /* whatever memory says */
    done(call);
    return failed ? failed : logged && explained ? 0 : FM_ERR_NOMEM;
}

static void memory_may_fail_anywhere(void **state)
{
    (void)state;
    assert_true(torture(use_a_call, NULL) > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_legal_moves_are_allowed),
        cmocka_unit_test(moves_stamp_their_times_once),
        cmocka_unit_test(the_first_reason_stays),
        cmocka_unit_test(output_over_its_limit_is_refused_whole),
        cmocka_unit_test(a_log_over_its_limit_is_cut_and_says_so),
        cmocka_unit_test(input_is_read_from_any_offset),
        cmocka_unit_test(chains_are_copied_in_order_up_to_the_fan_out),
        cmocka_unit_test(chained_and_started_calls_share_the_fan_out),
        cmocka_unit_test(ids_of_children_are_kept_up_to_a_bound),
        cmocka_unit_test(the_deadline_is_told_in_real_time),
        cmocka_unit_test(a_reset_call_is_as_good_as_new),
        cmocka_unit_test(a_forgotten_call_keeps_little_memory),
        cmocka_unit_test(a_large_output_is_expected),
        cmocka_unit_test(memory_may_fail_anywhere),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
