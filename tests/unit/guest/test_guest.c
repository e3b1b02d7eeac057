/* test_guest.c - the steps of a call in each ABI, and how each end becomes the call's outcome. */
#include "guest_fixture.h"

#include "call/call.h"
#include "torture.h"

static struct run *run_text(const char *text)
{
    struct run *run = run_module(text);
    run_call(run, "", 0);
    return run;
}

static void assert_ok(const struct run *run)
{
    assert_int_equal(run->call->error, 0);
    assert_int_equal(run->call->exit_code, 0);
    assert_string_equal(run->call->limit, "");
    assert_string_equal(run->call->trap, "");
    assert_string_equal(run->call->detail, "");
    assert_string_equal(run->call->backtrace, "");
}

/* --- ends ------------------------------------------------------------------------------------- */

static void test_returns(void **state)
{
    (void)state;
    struct run *run = run_wasi(BODY(""), "");
    assert_ok(run);
    assert_int_equal(run->call->memory_bytes, 65536);
    run_free(run);
}

static void assert_exit(const char *code, int32_t exit_code, const char *detail)
{
    char body[100];
    (void)snprintf(body, sizeof(body), "(call $proc_exit (i32.const %s)) unreachable", code);
    struct run *run = run_wasi(BODY(body), "");
    assert_int_equal(run->call->error, exit_code ? FM_ERR_GUEST_EXIT : 0);
    assert_int_equal(run->call->exit_code, exit_code);
    assert_string_equal(run->call->detail, detail);
    assert_string_equal(run->call->trap, "");
    assert_string_equal(run->call->backtrace, "");
    run_free(run);
}

static void test_exits(void **state)
{
    (void)state;
    assert_exit("0", 0, "");
    assert_exit("1", 1, "the function ended with exit code 1");
    assert_exit("256", 256, "the function ended with exit code 256"); /* all 32 bits count */
    assert_exit("0xffffffff", -1, "the function ended with exit code -1");
}

static const char deep_trap[] = "(module (memory (export \"memory\") 1)\n"
                                "(func $inner unreachable)\n"
                                "(func $outer (call $inner))\n"
                                "(func (export \"_start\") (call $outer)))";

/* The texts must outlive the guest. */
static void test_trap(void **state)
{
    (void)state;
    struct run *run = run_text(deep_trap);
    assert_true(run_on(run, NULL));
    run->guest = fm_guest_free(run->guest);
    assert_int_equal(run->call->error, FM_ERR_GUEST_TRAP);
    assert_string_equal(run->call->trap, "unreachable");
    assert_non_null(strstr(run->call->detail, "`unreachable`"));
    const char *inner = strstr(run->call->backtrace, "inner");
    assert_non_null(inner);
    assert_non_null(strstr(inner, "outer"));
    run_free(run);
}

static void test_trap_of_the_start_function(void **state)
{
    (void)state;
    struct run *run = run_text("(module (memory (export \"memory\") 1) (func $s unreachable)"
                               "(start $s) (func (export \"_start\")))");
    assert_true(run_on(run, NULL));
    assert_int_equal(run->call->error, FM_ERR_GUEST_TRAP);
    assert_string_equal(run->call->trap, "unreachable");
    run_free(run);
}

/* A call that has failed already keeps that reason, whole. */
static void test_trap_of_a_failed_call(void **state)
{
    (void)state;
    struct run *run = run_text(deep_trap);
    fm_call_fail(run->call, FM_ERR_CANCELLED, "by its user");
    assert_true(run_on(run, NULL));
    assert_int_equal(run->call->error, FM_ERR_CANCELLED);
    assert_string_equal(run->call->detail, "by its user");
    assert_string_equal(run->call->trap, "");
    assert_string_equal(run->call->backtrace, "");
    run_free(run);
}

static void test_stack_overflow(void **state)
{
    (void)state;
    struct run *run = run_text("(module (memory (export \"memory\") 1)"
                               "(func $f (export \"_start\") (call $f)))");
    assert_true(run_on(run, NULL));
    assert_int_equal(run->call->error, FM_ERR_GUEST_LIMIT);
    assert_string_equal(run->call->limit, "guest_stack_bytes");
    assert_string_equal(run->call->detail, "the call is over its limit guest_stack_bytes");
    assert_true(run->call->backtrace[0]);
    run_free(run);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void memory_case(uint64_t memory_bytes, bool fits)
{
    struct run *run = run_module("(module (memory (export \"memory\") 4)"
                                 "(func (export \"_start\")"
                                 "  (i32.store (i32.const 0) (memory.grow (i32.const 2)))))");
    run->description.limits.memory_bytes = memory_bytes;
    run_call(run, "", 0);
    assert_true(run_on(run, NULL));
    if (!fits) {
        assert_int_equal(run->call->error, FM_ERR_GUEST_LIMIT);
        assert_string_equal(run->call->limit, "memory_bytes");
    } else {
        bool grows = memory_bytes >= 6 * 65536;
        assert_int_equal(run->call->error, 0);
        assert_int_equal(*(int32_t *)(void *)run_memory(run, 0, 4), grows ? 4 : -1);
        assert_int_equal(run->call->memory_bytes, grows ? 6 * 65536 : 4 * 65536);
    }
    run_free(run);
}

/* What a module starts with is a limit; what it asks for later just fails. */
static void test_memory_limit(void **state)
{
    (void)state;
    memory_case(4 * 65536 - 1, false);
    memory_case(4 * 65536, true);
    memory_case(4 * 65536 + 1, true);
    memory_case(6 * 65536 - 1, true);
    memory_case(6 * 65536, true);
}

/* --- reactors --------------------------------------------------------------------------------- */

static const char reactor[] =
    "(module (import \"faasm\" \"output_write\" (func $write (param i32 i32) (result i32)))\n"
    "(memory (export \"memory\") 1) (data (i32.const 0) \"ab\") (global $g (mut i32) (i32.const "
    "0))\n"
    "(func (export \"_initialize\") (drop (call $write (i32.const 0) (i32.const 1)))\n"
    "  (global.set $g (i32.const %d)))\n"
    "(func (export \"handle\") (result i32)\n"
    "  (drop (call $write (i32.const 1) (i32.const 1))) (global.get $g)))";

static void test_reactor(void **state)
{
    (void)state;
    const int codes[] = {0, 7, -3};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(codes); i++) {
        char text[1000];
        (void)snprintf(text, sizeof(text), reactor, codes[i]);
        struct run *run = run_text(text);
        assert_int_equal(run->version->facts.abi, FM_ABI_REACTOR);
        assert_true(run_on(run, NULL));
        assert_buffer(&run->call->output, "ab");
        assert_int_equal(run->call->exit_code, codes[i]);
        assert_int_equal(run->call->error, codes[i] ? FM_ERR_GUEST_EXIT : 0);
        run_free(run);
    }
}

/* To exit is to be done, also before `handle`. */
static void test_exit_in_initialize(void **state)
{
    (void)state;
    struct run *run = run_wat("wasi",
                              "(func (export \"_initialize\") (call $proc_exit (i32.const 5)))"
                              "(func (export \"handle\") (result i32) unreachable)",
                              "", "");
    assert_int_equal(run->call->error, FM_ERR_GUEST_EXIT);
    assert_int_equal(run->call->exit_code, 5);
    run_free(run);

    run = run_wat("wasi",
                  "(func (export \"_initialize\") (call $proc_exit (i32.const 0)))"
                  "(func (export \"run\") (param i32 i32 i32 i32) (result i32) unreachable)",
                  "", "");
    assert_int_equal(run->version->facts.abi, FM_ABI_FAASM_2018);
    assert_ok(run);
    run_free(run);
}

/* --- output over the limit -------------------------------------------------------------------- */

/* Writes 100 bytes at once, then ends as told. */
static struct run *write_100(uint64_t output_bytes, const char *end)
{
    char body[1000];
    (void)snprintf(body, sizeof(body),
                   "(func (export \"_start\")"
                   "(i32.store (i32.const 4) (i32.const 100))"
                   "(call $keep (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1)"
                   "  (i32.const 8))) %s)",
                   end);
    char *text = module_text("wasi", body, "");
    struct run *run = run_module(text);
    free(text);
    run->description.limits.output_bytes = output_bytes;
    run_call(run, "", 0);
    assert_true(run_on(run, NULL));
    return run;
}

static void test_output_limit(void **state)
{
    (void)state;
    struct run *run = write_100(101, "");
    assert_int_equal(kept(run, 0), 0);
    assert_int_equal(run->call->output.length, 100);
    assert_ok(run);
    run_free(run);

    run = write_100(100, "");
    assert_int_equal(kept(run, 0), 0);
    assert_ok(run);
    run_free(run);

    /* Whatever the guest does after it, it is the limit that counts. */
    const char *const ends[] = {"", "unreachable", "(call $proc_exit (i32.const 0))",
                                "(call $proc_exit (i32.const 1))"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(ends); i++) {
        run = write_100(99, ends[i]);
        assert_int_equal(kept(run, 0), 51); /* ENOSPC */
        assert_int_equal(run->call->output.length, 0);
        assert_int_equal(run->call->error, FM_ERR_GUEST_LIMIT);
        assert_string_equal(run->call->limit, "output_bytes");
        assert_string_equal(run->call->detail, "the call is over its limit output_bytes = 99B");
        assert_string_equal(run->call->trap, "");
        run_free(run);
    }
}

static int write_fails;

static int failing_write(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    (void)call;
    (void)data;
    (void)bytes;
    return write_fails;
}

/* Any output that could not be written spoils the call, though the guest does not look. */
static void test_output_errors(void **state)
{
    (void)state;
    struct fm_call_io io = fm_call_io_memory;
    io.write_output = failing_write;
    const struct {
        int error;
        int guest_errno;
    } cases[] = {{FM_ERR_IO, 29}, {FM_ERR_NOMEM, 48}, {FM_ERR_STORAGE_FULL, 51}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        char *text = module_text("wasi",
                                 "(func (export \"_start\") (i32.store (i32.const 4) (i32.const 1))"
                                 "(call $keep (call $fd_write (i32.const 1) (i32.const 0)"
                                 "  (i32.const 1) (i32.const 8))))",
                                 "");
        struct run *run = run_module(text);
        free(text);
        run_call(run, "", 0);
        run->call->io = &io;
        write_fails = cases[i].error;
        assert_true(run_on(run, NULL));
        assert_int_equal(kept(run, 0), cases[i].guest_errno);
        assert_int_equal(run->call->error, cases[i].error);
        assert_string_equal(run->call->detail, "the output could not be written");
        run_free(run);
    }
}

/* --- ticks ------------------------------------------------------------------------------------ */

static const char endless[] = "(module (memory (export \"memory\") 1)"
                              "(func (export \"_start\") (loop $l (br $l))))";

static void test_tick_ends_the_guest(void **state)
{
    (void)state;
    const int verdicts[] = {FM_ERR_DEADLINE, FM_ERR_CANCELLED};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(verdicts); i++) {
        struct run *run = run_text(endless);
        run->verdict = verdicts[i];
        fm_engine_tick(fixture_engine);
        assert_true(run_on(run, NULL));
        assert_int_equal(run->ticks, 1);
        assert_int_equal(run->call->error, verdicts[i]);
        assert_string_equal(run->call->detail, "");
        assert_string_equal(run->call->trap, "");
        run_free(run);
    }
}

static int limit_tick(void *data)
{
    struct fm_call *call = data;
    fm_call_fail_limit(call, "cpu_ms", 20);
    return FM_ERR_GUEST_LIMIT;
}

/* Who ends a guest by a limit names it first; that stays. */
static void test_tick_names_a_limit(void **state)
{
    (void)state;
    struct run *run = run_module(endless);
    assert_int_equal(fm_version_new(&run->description, &run->version), 0);
    assert_int_equal(fm_call_new(run->version, &run->call), 0);
    assert_int_equal(fm_guest_new(run->call, run->module, limit_tick, &run->guest), 0);
    fm_call_set_state(run->call, FM_CALL_RUNNING, 1);
    fm_engine_tick(fixture_engine);
    assert_true(run_on(run, NULL));
    assert_int_equal(run->call->error, FM_ERR_GUEST_LIMIT);
    assert_string_equal(run->call->limit, "cpu_ms");
    run_free(run);
}

static void tick_when_logging(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    (void)call;
    (void)data;
    (void)bytes;
    fm_engine_tick(fixture_engine);
}

/* A deadline counts from where the guest goes on, so the clock must move while it runs: it moves
 * when the guest logs. */
static void test_tick_yields(void **state)
{
    (void)state;
    char *text = module_text("wasi",
                             "(func (export \"_start\") (i32.store (i32.const 4) (i32.const 1))"
                             "(loop $l (drop (call $fd_write (i32.const 2) (i32.const 0)"
                             "  (i32.const 1) (i32.const 8))) (br $l)))",
                             "");
    struct run *run = run_text(text);
    free(text);
    struct fm_call_io io = fm_call_io_memory;
    io.write_log = tick_when_logging;
    run->call->io = &io;
    run->verdict = FM_TICK_YIELD;
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(fm_guest_run(run->guest), FM_GUEST_YIELDED);
        assert_int_equal(run->ticks, i);
    }
    assert_int_equal(run->call->error, 0);
    run_free(run); /* in the middle of its loop */
}

/* --- lifetime --------------------------------------------------------------------------------- */

static void test_free_before_it_runs(void **state)
{
    (void)state;
    assert_null(fm_guest_free(NULL));
    run_free(run_text(endless));
}

static void test_free_while_parked(void **state)
{
    (void)state;
    char *text = module_text("wasi",
                             "(func (export \"_start\") (i64.store (i32.const 24) (i64.const -1))"
                             "(drop (call $poll_oneoff (i32.const 0) (i32.const 100)"
                             "  (i32.const 1) (i32.const 200))))",
                             "");
    struct run *run = run_module(text);
    free(text);
    run_call(run, "", 0);
    struct fm_guest_wait wait;
    assert_false(run_on(run, &wait));
    assert_int_equal(run->call->memory_bytes, 65536);
    run_free(run);
}

/* Our own allocation.  (The engine's would abort the process, as it is told to.) */
static void test_out_of_memory_at_first(void **state)
{
    (void)state;
    struct run *run = run_module(endless);
    struct fm_guest *guest = NULL;
    assert_int_equal(fm_version_new(&run->description, &run->version), 0);
    assert_int_equal(fm_call_new(run->version, &run->call), 0);
    torture_fail_nth(1);
    int failed = fm_guest_new(run->call, run->module, run_tick, &guest);
    torture_fail_nth(0);
    assert_int_equal(failed, FM_ERR_NOMEM);
    assert_null(guest);
    run_free(run);
}

/* Without room for its words, a trap is still a trap. */
static void test_no_room_for_words(void **state)
{
    (void)state;
    struct run *run = run_text(deep_trap);
    run->call->arena.bytes_max = 0;
    assert_true(run_on(run, NULL));
    assert_int_equal(run->call->error, FM_ERR_GUEST_TRAP);
    assert_string_equal(run->call->trap, "");
    assert_string_equal(run->call->detail, "");
    assert_string_equal(run->call->backtrace, "");
    run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_returns),
        cmocka_unit_test(test_exits),
        cmocka_unit_test(test_trap),
        cmocka_unit_test(test_trap_of_the_start_function),
        cmocka_unit_test(test_trap_of_a_failed_call),
        cmocka_unit_test(test_stack_overflow),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_reactor),
        cmocka_unit_test(test_exit_in_initialize),
        cmocka_unit_test(test_output_limit),
        cmocka_unit_test(test_output_errors),
        cmocka_unit_test(test_tick_ends_the_guest),
        cmocka_unit_test(test_tick_names_a_limit),
        cmocka_unit_test(test_tick_yields),
        cmocka_unit_test(test_free_before_it_runs),
        cmocka_unit_test(test_free_while_parked),
        cmocka_unit_test(test_out_of_memory_at_first),
        cmocka_unit_test(test_no_room_for_words),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
