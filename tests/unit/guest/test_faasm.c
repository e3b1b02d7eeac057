/* test_faasm.c - module `faasm`: input, output, chaining, log. */
#include "guest_fixture.h"

#include "call/call.h"

#define START(body) "(func (export \"_start\")" body ")"

static struct run *prepared(const char *entry, const char *more)
{
    char *text = module_text("faasm", entry, more);
    struct run *run = run_module(text);
    free(text);
    return run;
}

static void finish(struct run *run, const void *input, size_t bytes)
{
    run_call(run, input, bytes);
    assert_true(run_on(run, NULL));
}

/* --- input ------------------------------------------------------------------------------------ */

static void test_input(void **state)
{
    (void)state;
    struct run *run = run_wat("faasm",
                              START("(call $keep (call $input_size))"
                                    /* (offset, ptr, len) */
                                    "(call $keep (call $input_read (i32.const 0) (i32.const 100)"
                                    "  (i32.const 4)))"
                                    "(call $keep (call $input_read (i32.const 4) (i32.const 104)"
                                    "  (i32.const 1000)))"
                                    "(call $keep (call $input_read (i32.const 10) (i32.const 0)"
                                    "  (i32.const 1)))"
                                    "(call $keep (call $input_read (i32.const 0xffffffff)"
                                    "  (i32.const 0) (i32.const 1)))"
                                    "(call $keep (call $input_read (i32.const 0) (i32.const 0)"
                                    "  (i32.const 0)))"),
                              "", "0123456789");
    assert_int_equal(run->version->facts.abi, FM_ABI_FAASM);
    KEPT(run, 10, 4, 6, 0, 0, 0);
    assert_memory_equal(run_memory(run, 100, 11), "0123456789\0", 11);
    assert_int_equal(run_memory(run, 0, 1)[0], 0);
    assert_int_equal(run->call->error, 0);
    run_free(run);
}

static void test_empty_input(void **state)
{
    (void)state;
    struct run *run = prepared(START("(call $keep (call $input_size))"
                                     "(call $keep (call $input_read (i32.const 0) (i32.const 0)"
                                     "  (i32.const 10)))"),
                               "");
    finish(run, NULL, 0);
    assert_int_equal(kept(run, 0), 0);
    assert_int_equal(kept(run, 1), 0);
    run_free(run);
}

/* What an i32 cannot tell is an error, not a wrong number. */
static void test_input_size_at_its_maximum(void **state)
{
    (void)state;
    const struct {
        size_t bytes;
        int32_t told;
    } cases[] = {{(size_t)INT32_MAX - 1, INT32_MAX - 1},
                 {INT32_MAX, INT32_MAX},
                 {(size_t)INT32_MAX + 1, -1}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        struct run *run = prepared(START("(call $keep (call $input_size))"), "");
        finish(run, "", cases[i].bytes); /* never read */
        assert_int_equal(kept(run, 0), cases[i].told);
        run_free(run);
    }
}

static int64_t failing_read(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes)
{
    (void)call;
    (void)offset;
    (void)data;
    (void)bytes;
    return FM_ERR_IO;
}

static void test_input_error(void **state)
{
    (void)state;
    struct fm_call_io io = fm_call_io_memory;
    io.read_input = failing_read;
    struct run *run = prepared(START("(call $keep (call $input_read (i32.const 0) (i32.const 0)"
                                     "  (i32.const 10)))"),
                               "");
    run_call(run, "abc", 3);
    run->call->io = &io;
    assert_true(run_on(run, NULL));
    assert_int_equal(kept(run, 0), -29); /* EIO */
    run_free(run);
}

/* --- output ----------------------------------------------------------------------------------- */

/* Every byte counts, zeros at the end as well; standard output goes to the log. */
static void test_output(void **state)
{
    (void)state;
    struct run *run = run_wat("faasm",
                              START("(call $keep (call $output_write (i32.const 0) (i32.const 3)))"
                                    "(call $keep (call $output_write (i32.const 0) (i32.const 0)))"
                                    "(call $keep (call $output_write (i32.const 3) (i32.const 2)))"
                                    "(i32.store (i32.const 104) (i32.const 3))"
                                    "(call $keep (call $fd_write (i32.const 1) (i32.const 100)"
                                    "  (i32.const 1) (i32.const 108)))"),
                              "(data (i32.const 0) \"a\\00b\\00\\00\")", "");
    assert_int_equal(run->call->output.length, 5);
    assert_memory_equal(run->call->output.data, "a\0b\0\0", 5);
    assert_int_equal(run->call->log.length, 3);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(kept(run, i), 0);
    run_free(run);
}

/* A command that only chains has its standard output as its output, like any command. */
static void test_output_of_a_command_that_chains(void **state)
{
    (void)state;
    static const char text[] =
        "(module (import \"faasm\" \"chain\" (func (param i32 i32 i32 i32) (result i32)))"
        "(import \"wasi_snapshot_preview1\" \"fd_write\""
        "  (func $fd_write (param i32 i32 i32 i32) (result i32)))"
        "(memory (export \"memory\") 1) (data (i32.const 0) \"\\08\\00\\00\\00\\02\\00\\00\\00hi\")"
        "(func (export \"_start\") (drop (call $fd_write (i32.const 1) (i32.const 0)"
        "  (i32.const 1) (i32.const 100)))))";
    struct run *run = run_module(text);
    assert_int_equal(run->description.facts.abi, FM_ABI_FAASM);
    finish(run, NULL, 0);
    assert_buffer(&run->call->output, "hi");
    run_free(run);
}

static void test_output_limit(void **state)
{
    (void)state;
    const struct {
        uint64_t limit;
        int32_t result;
        int error;
    } cases[] = {{9, -51, FM_ERR_GUEST_LIMIT}, {10, 0, 0}, {11, 0, 0}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        struct run *run = prepared(START("(call $keep (call $output_write (i32.const 0)"
                                         "  (i32.const 6)))"
                                         "(call $keep (call $output_write (i32.const 0)"
                                         "  (i32.const 4)))"),
                                   "");
        run->description.limits.output_bytes = cases[i].limit;
        finish(run, NULL, 0);
        assert_int_equal(kept(run, 0), 0);
        assert_int_equal(kept(run, 1), cases[i].result);
        assert_int_equal(run->call->error, cases[i].error);
        assert_int_equal(run->call->output.length, cases[i].result ? 6 : 10);
        assert_string_equal(run->call->limit, cases[i].result ? "output_bytes" : "");
        run_free(run);
    }
}

/* --- chain ------------------------------------------------------------------------------------ */

static void test_chain(void **state)
{
    (void)state;
    struct run *run =
        run_wat("faasm",
                START("(call $keep (call $chain (i32.const 0) (i32.const 4) (i32.const 10)"
                      "  (i32.const 3)))"
                      /* The memory may be used for something else afterwards. */
                      "(i64.store (i32.const 0) (i64.const -1))"
                      "(i64.store (i32.const 8) (i64.const -1))"
                      "(call $keep (call $chain (i32.const 4) (i32.const 0) (i32.const 0)"
                      "  (i32.const 0)))" /* no name */
                      "(call $keep (call $chain (i32.const 20) (i32.const 3) (i32.const 0)"
                      "  (i32.const 0)))" /* a/b */
                      "(call $keep (call $chain (i32.const 24) (i32.const 1) (i32.const 65536)"
                      "  (i32.const 0)))"),
                "(data (i32.const 0) \"next\") (data (i32.const 10) \"x\\00y\")"
                "(data (i32.const 20) \"a/b z\")",
                "");
    KEPT(run, 1, -28, -28, 2);
    assert_int_equal(run->call->error, 0);
    assert_int_equal(run->call->chains_count, 2);
    const struct fm_chain *chain = FM_LIST_ENTRY(run->call->chains.next, struct fm_chain, link);
    assert_int_equal(chain->name_length, 4);
    assert_memory_equal(chain->name, "next", 4);
    assert_int_equal(chain->input_bytes, 3);
    assert_memory_equal(chain->input, "x\0y", 3);
    chain = FM_LIST_ENTRY(run->call->chains.prev, struct fm_chain, link);
    assert_int_equal(chain->name_length, 1);
    assert_int_equal(chain->input_bytes, 0);
    run_free(run);
}

static void test_chain_limits(void **state)
{
    (void)state;
    for (uint64_t limit = 0; limit <= 3; limit++) {
        struct run *run =
            prepared(START("(call $keep (call $chain (i32.const 0) (i32.const 1) (i32.const 0)"
                           "  (i32.const 0)))"
                           "(call $keep (call $chain (i32.const 0) (i32.const 1) (i32.const 0)"
                           "  (i32.const 0)))"),
                     "(data (i32.const 0) \"f\")");
        run->description.limits.chain_fanout = limit;
        finish(run, NULL, 0);
        assert_int_equal(kept(run, 0), limit >= 1 ? 1 : -6); /* EAGAIN */
        assert_int_equal(kept(run, 1), limit >= 2 ? 2 : -6);
        assert_int_equal(run->call->error, 0);
        assert_int_equal(run->call->chains_count, limit < 2 ? limit : 2);
        run_free(run);
    }
}

/* The arena of the call bounds what its chained calls hold. */
static void test_chain_out_of_memory(void **state)
{
    (void)state;
    struct run *run =
        prepared(START("(call $keep (call $chain (i32.const 0) (i32.const 1) (i32.const 0)"
                       "  (i32.const 60000)))"),
                 "(data (i32.const 0) \"f\")");
    run_call(run, NULL, 0);
    run->call->arena.bytes_max = 50000;
    assert_true(run_on(run, NULL));
    assert_int_equal(kept(run, 0), -48); /* ENOMEM */
    assert_int_equal(run->call->chains_count, 0);
    run_free(run);
}

/* --- log -------------------------------------------------------------------------------------- */

static void test_log(void **state)
{
    (void)state;
    struct run *run = run_wat(
        "faasm",
        START("(call $keep (call $log (i32.const 0) (i32.const 0) (i32.const 2)))"
              "(call $keep (call $log (i32.const 1) (i32.const 0) (i32.const 0)))"
              "(call $keep (call $log (i32.const 2) (i32.const 10) (i32.const 9)))"
              "(call $keep (call $log (i32.const 3) (i32.const 0) (i32.const 2)))"
              "(call $keep (call $log (i32.const 4) (i32.const 0) (i32.const 2)))"
              "(call $keep (call $log (i32.const -1) (i32.const 0) (i32.const 2)))"),
        "(data (i32.const 0) \"hi\") (data (i32.const 10) \"a\\0ab\\00\\7f\\09\\1b\\c3\\a9\")", "");
    KEPT(run, 0, 0, 0, 0, -28, -28);
    assert_buffer(&run->call->log, "DEBUG hi\nINFO \nWARNING a?b??\t?\xc3\xa9\nERROR hi\n");
    assert_int_equal(run->call->output.length, 0);
    run_free(run);
}

/* 600 bytes go through in several pieces, and make one line. */
static void test_long_line(void **state)
{
    (void)state;
    struct run *run = run_wat("faasm",
                              START("(memory.fill (i32.const 0) (i32.const 120) (i32.const 600))"
                                    "(i32.store8 (i32.const 300) (i32.const 10))"
                                    "(call $keep (call $log (i32.const 1) (i32.const 0)"
                                    "  (i32.const 600)))"),
                              "", "");
    assert_int_equal(run->call->log.length, 5 + 600 + 1);
    assert_int_equal(run->call->log.data[5 + 300], '?');
    assert_int_equal(run->call->log.data[605], '\n');
    assert_ptr_equal(memchr(run->call->log.data, '\n', 605), NULL);
    run_free(run);
}

/* "INFO " + 10 + newline are 16 bytes. */
static void test_log_limit(void **state)
{
    (void)state;
    for (uint64_t limit = 14; limit <= 17; limit++) {
        struct run *run =
            prepared(START("(call $keep (call $log (i32.const 1) (i32.const 0) (i32.const 10)))"),
                     "(data (i32.const 0) \"0123456789\")");
        run->description.limits.log_bytes = limit;
        finish(run, NULL, 0);
        assert_int_equal(kept(run, 0), 0);
        assert_int_equal(run->call->error, 0); /* a log over its limit fails nothing */
        assert_int_equal(run->call->log.length, limit < 16 ? limit : 16);
        assert_int_equal(run->call->log_truncated, limit < 16);
        assert_memory_equal(run->call->log.data, "INFO 0123456789\n", run->call->log.length);
        run_free(run);
    }
}

/* Far more than the log holds: marked as cut, also where the sink itself has no limit. */
static uint64_t logged_bytes;

static void counting_log(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    (void)call;
    (void)data;
    logged_bytes += bytes;
}

static void test_log_of_a_huge_span(void **state)
{
    (void)state;
    struct fm_call_io io = fm_call_io_memory;
    io.write_log = counting_log;
    struct run *run = prepared(
        START("(call $keep (call $log (i32.const 1) (i32.const 0) (i32.const 65536)))"), "");
    run->description.limits.log_bytes = 100;
    run_call(run, NULL, 0);
    run->call->io = &io;
    logged_bytes = 0;
    assert_true(run_on(run, NULL));
    assert_int_equal(logged_bytes, 5 + 101 + 1);
    assert_true(run->call->log_truncated);
    run_free(run);
}

/* --- bad pointers ----------------------------------------------------------------------------- */

static void assert_bad_pointer(const char *body, const char *span)
{
    char entry[500];
    char detail[200];
    (void)snprintf(entry, sizeof(entry), "(func (export \"_start\") (drop %s))", body);
    struct run *run = run_wat("faasm", entry, "(data (i32.const 0) \"f\")", "abc");
    assert_int_equal(run->call->error, FM_ERR_GUEST_TRAP);
    assert_string_equal(run->call->trap, "bad_pointer");
    (void)snprintf(detail, sizeof(detail), "%s are not inside the memory of 65536 bytes", span);
    assert_string_equal(run->call->detail, detail);
    assert_true(run->call->backtrace[0]);
    assert_int_equal(run->call->output.length, 0);
    assert_int_equal(run->call->log.length, 0);
    assert_int_equal(run->call->chains_count, 0);
    run_free(run);
}

static void test_bad_pointers(void **state)
{
    (void)state;
    assert_bad_pointer("(call $input_read (i32.const 0) (i32.const 65535) (i32.const 2))",
                       "2 bytes at 65535");
    assert_bad_pointer("(call $input_read (i32.const 0) (i32.const -1) (i32.const -1))",
                       "4294967295 bytes at 4294967295");
    assert_bad_pointer("(call $output_write (i32.const 65537) (i32.const 0))", "0 bytes at 65537");
    assert_bad_pointer("(call $chain (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0))",
                       "1 bytes at 4294967295");
    assert_bad_pointer("(call $chain (i32.const 0) (i32.const 1) (i32.const 1) (i32.const -1))",
                       "4294967295 bytes at 1");
    assert_bad_pointer("(call $log (i32.const 0) (i32.const 65536) (i32.const 1))",
                       "1 bytes at 65536");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_input),
        cmocka_unit_test(test_empty_input),
        cmocka_unit_test(test_input_size_at_its_maximum),
        cmocka_unit_test(test_input_error),
        cmocka_unit_test(test_output),
        cmocka_unit_test(test_output_of_a_command_that_chains),
        cmocka_unit_test(test_output_limit),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_chain_limits),
        cmocka_unit_test(test_chain_out_of_memory),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_log_limit),
        cmocka_unit_test(test_log_of_a_huge_span),
        cmocka_unit_test(test_bad_pointers),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
