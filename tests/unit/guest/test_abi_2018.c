/* test_abi_2018.c - functions of 2018: regions, input, trimmed output, chained calls, exit code. */
#include "guest_fixture.h"

#include "call/call.h"

/* The entry's parameters are $in, $out, $names, $inputs; its last value is the return value. */
#define RUN(body)                                                                                  \
    "(func (export \"run\") (param $in i32) (param $out i32) (param $names i32)"                   \
    "  (param $inputs i32) (result i32)" body ")"

static struct run *prepared(const char *entry)
{
    char *text = module_text("env", entry, "");
    struct run *run = run_module(text);
    free(text);
    assert_int_equal(run->description.facts.abi, FM_ABI_FAASM_2018);
    return run;
}

static struct run *finished(const char *entry, const void *input, size_t bytes)
{
    struct run *run = prepared(entry);
    run_call(run, input, bytes);
    assert_true(run_on(run, NULL));
    return run;
}

#define ECHO RUN("(memory.copy (local.get $out) (local.get $in) (i32.const 65536)) (i32.const 0)")

/* --- regions ---------------------------------------------------------------------------------- */

static void test_regions(void **state)
{
    (void)state;
    struct run *run =
        finished(RUN("(call $keep (local.get $in)) (call $keep (local.get $out))"
                     "(call $keep (local.get $names)) (call $keep (local.get $inputs))"
                     "(call $keep (memory.size)) (i32.const 0)"),
                 "", 0);
    KEPT(run, 65536, 2 * 65536, 3 * 65536, 3 * 65536 + 640, 24);
    assert_int_equal(run->call->error, 0);
    assert_int_equal(run->call->memory_bytes, 24 * 65536);
    run_free(run);
}

/* All of them can be written to their last byte, and are zero at first. */
static void test_regions_can_be_filled(void **state)
{
    (void)state;
    struct run *run = finished(
        RUN("(local $sum i32) (local $at i32) (local.set $at (local.get $in))"
            "(loop $l (local.set $sum (i32.or (local.get $sum) (i32.load (local.get $at))))"
            "  (local.set $at (i32.add (local.get $at) (i32.const 4)))"
            "  (br_if $l (i32.lt_u (local.get $at) (i32.mul (i32.const 24) (i32.const 65536)))))"
            "(call $keep (local.get $sum))"
            "(memory.fill (local.get $out) (i32.const 1) (i32.const 65536))"
            "(memory.fill (local.get $names) (i32.const 97) (i32.const 640))"
            "(memory.fill (local.get $inputs) (i32.const 2) (i32.const 1310720))"
            "(i32.const 0)"),
        "", 0);
    KEPT(run, 0);
    assert_int_equal(run->call->error, 0);
    assert_int_equal(run->call->output.length, 65536);
    assert_int_equal(run->call->chains_count, 20);
    const struct fm_chain *last = FM_LIST_ENTRY(run->call->chains.prev, struct fm_chain, link);
    assert_int_equal(last->name_length, 32); /* a full slot has no NUL at its end */
    assert_int_equal(last->input_bytes, 65536);
    run_free(run);
}

static void test_memory_limit(void **state)
{
    (void)state;
    for (uint64_t pages = 23; pages <= 25; pages++) {
        struct run *run = prepared(ECHO);
        run->description.limits.memory_bytes = pages * 65536;
        run_call(run, "x", 1);
        assert_true(run_on(run, NULL));
        assert_int_equal(run->call->error, pages < 24 ? FM_ERR_GUEST_LIMIT : 0);
        assert_string_equal(run->call->limit, pages < 24 ? "memory_bytes" : "");
        run_free(run);
    }
}

/* A maximum that the module declares itself is another reason. */
static void test_memory_maximum(void **state)
{
    (void)state;
    struct run *run = run_module("(module (memory (export \"memory\") 1 23)" ECHO ")");
    run_call(run, "x", 1);
    assert_true(run_on(run, NULL));
    assert_int_equal(run->call->error, FM_ERR_UNSUPPORTED_MODULE);
    assert_non_null(strstr(run->call->detail, "23 pages"));
    run_free(run);

    run = run_module("(module (memory (export \"memory\") 1 24)" ECHO ")");
    run_call(run, "x", 1);
    assert_true(run_on(run, NULL));
    assert_buffer(&run->call->output, "x");
    run_free(run);
}

/* --- input and output ------------------------------------------------------------------------- */

static void test_echo(void **state)
{
    (void)state;
    struct run *run = finished(ECHO, "hello", 5);
    assert_buffer(&run->call->output, "hello");
    run_free(run);
    run = finished(ECHO, "", 0);
    assert_buffer(&run->call->output, "");
    run_free(run);
    /* Zeros inside stay, zeros at the end go. */
    run = finished(ECHO, "\0a\0b\0\0", 6);
    assert_int_equal(run->call->output.length, 4);
    assert_memory_equal(run->call->output.data, "\0a\0b", 4);
    run_free(run);
}

static void test_input_limit(void **state)
{
    (void)state;
    uint8_t *input = malloc(65537);
    memset(input, 'x', 65537);
    for (size_t bytes = 65535; bytes <= 65537; bytes++) {
        struct run *run = finished(ECHO, input, bytes);
        if (bytes <= 65536) {
            assert_int_equal(run->call->error, 0);
            assert_int_equal(run->call->output.length, bytes);
            assert_memory_equal(run->call->output.data, input, bytes);
        } else {
            assert_int_equal(run->call->error, FM_ERR_TOO_LARGE);
            assert_non_null(strstr(run->call->detail, "65536"));
            assert_int_equal(run->call->memory_bytes, 0); /* it was not even instantiated */
        }
        run_free(run);
    }
    free(input);
}

/* An input whose length nobody knows is bounded all the same. */
static uint64_t stream_bytes;

static int64_t read_stream(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes)
{
    (void)call;
    size_t part = (size_t)fm_min_u64(bytes < 1000 ? bytes : 1000, stream_bytes - offset);
    memset(data, 'y', part);
    return (int64_t)part;
}

static int64_t read_error(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes)
{
    (void)call;
    (void)offset;
    (void)data;
    (void)bytes;
    return FM_ERR_IO;
}

static void test_streamed_input(void **state)
{
    (void)state;
    struct fm_call_io io = fm_call_io_memory;
    io.read_input = read_stream;
    for (stream_bytes = 65535; stream_bytes <= 65537; stream_bytes++) {
        struct run *run = prepared(ECHO);
        run_call(run, NULL, 0);
        run->call->io = &io;
        assert_true(run_on(run, NULL));
        assert_int_equal(run->call->error, stream_bytes > 65536 ? FM_ERR_TOO_LARGE : 0);
        assert_int_equal(run->call->output.length, stream_bytes > 65536 ? 0 : stream_bytes);
        run_free(run);
    }
    io.read_input = read_error;
    struct run *run = prepared(ECHO);
    run_call(run, NULL, 0);
    run->call->io = &io;
    assert_true(run_on(run, NULL));
    assert_int_equal(run->call->error, FM_ERR_IO);
    run_free(run);
}

static void test_output_limit(void **state)
{
    (void)state;
    for (uint64_t limit = 4; limit <= 6; limit++) {
        struct run *run = prepared(ECHO);
        run->description.limits.output_bytes = limit;
        run_call(run, "hello", 5);
        assert_true(run_on(run, NULL));
        assert_int_equal(run->call->error, limit < 5 ? FM_ERR_GUEST_LIMIT : 0);
        assert_string_equal(run->call->limit, limit < 5 ? "output_bytes" : "");
        assert_int_equal(run->call->output.length, limit < 5 ? 0 : 5);
        run_free(run);
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

#define HI "(i32.store (local.get $out) (i32.const 0x6968))"

static void assert_ended(const char *entry, int exit_code)
{
    struct run *run = finished(entry, "", 0);
    assert_int_equal(run->call->error, 0);
    assert_int_equal(run->call->exit_code, exit_code);
    assert_buffer(&run->call->output, "hi");
    run_free(run);
}

/* The code is shown, and fails nothing; leaving by exit keeps the output. */
static void test_exit_codes(void **state)
{
    (void)state;
    assert_ended(RUN(HI "(i32.const 0)"), 0);
    assert_ended(RUN(HI "(i32.const 7)"), 7);
    assert_ended(RUN(HI "(i32.const -1)"), -1);
    assert_ended(RUN(HI "(drop (call $__syscall_exit (i32.const 3))) unreachable"), 3);
    assert_ended(RUN(HI "(drop (call $__syscall_exit_group (i32.const 0))) unreachable"), 0);
}

/* A trap loses the output, and an unknown function is one, with its name. */
static void test_traps(void **state)
{
    (void)state;
    struct run *run = finished(RUN(HI "unreachable"), "", 0);
    assert_int_equal(run->call->error, FM_ERR_GUEST_TRAP);
    assert_int_equal(run->call->output.length, 0);
    run_free(run);

    const char *const names[] = {"abort", "_Exit", "__syscall_kill", "anything"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(names); i++) {
        char text[500];
        (void)snprintf(text, sizeof(text),
                       "(module (import \"env\" \"%s\" (func $f)) (memory (export \"memory\") 1)"
                       "(func (export \"_start\"))"
                       "(func (export \"run\") (param i32 i32 i32 i32) (result i32)"
                       "  (if (i32.load8_u (local.get 0)) (then (call $f))) (i32.const 0)))",
                       names[i]);
        run = run_module(text);
        run_call(run, "", 0); /* not called: no harm */
        assert_true(run_on(run, NULL));
        assert_int_equal(run->call->error, 0);
        run_free(run);

        run = run_module(text);
        run_call(run, "x", 1);
        assert_true(run_on(run, NULL));
        assert_int_equal(run->call->error, FM_ERR_GUEST_TRAP);
        assert_string_equal(run->call->trap, "missing_import");
        assert_non_null(strstr(run->call->detail, names[i]));
        run_free(run);
    }
}

/* Binaries of 2018 export `_start`, which is never called. */
static void test_start_is_not_called(void **state)
{
    (void)state;
    struct run *run = run_module(
        "(module (memory (export \"memory\") 2) (func (export \"_start\") unreachable)" ECHO ")");
    run_call(run, "x", 1);
    assert_true(run_on(run, NULL));
    assert_buffer(&run->call->output, "x");
    run_free(run);
}

/* --- chained calls ---------------------------------------------------------------------------- */

static void test_chains(void **state)
{
    (void)state;
    struct run *run =
        finished(RUN("(i32.store (local.get $names) (i32.const 0x63656865))"     /* "ehec" */
                     "(i32.store8 offset=32 (local.get $names) (i32.const 120))" /* "x" */
                     /* third slot empty: what follows it is not seen */
                     "(i32.store8 offset=96 (local.get $names) (i32.const 121))"
                     "(i32.store (local.get $inputs) (i32.const 0x00020100))"
                     "(i32.const 0)"),
                 "", 0);
    assert_int_equal(run->call->error, 0);
    assert_int_equal(run->call->chains_count, 2);
    const struct fm_chain *chain = FM_LIST_ENTRY(run->call->chains.next, struct fm_chain, link);
    assert_int_equal(chain->name_length, 4);
    assert_memory_equal(chain->name, "ehec", 4);
    assert_int_equal(chain->input_bytes, 3); /* 0 1 2: only the end is trimmed */
    assert_memory_equal(chain->input, "\0\1\2", 3);
    chain = FM_LIST_ENTRY(run->call->chains.prev, struct fm_chain, link);
    assert_int_equal(chain->name_length, 1);
    assert_int_equal(chain->input_bytes, 0);
    run_free(run);
}

/* A return value other than 0 does not keep them from running, a bad name does. */
static void test_chain_errors(void **state)
{
    (void)state;
    struct run *run =
        finished(RUN("(i32.store8 (local.get $names) (i32.const 97)) (i32.const 9)"), "", 0);
    assert_int_equal(run->call->error, 0);
    assert_int_equal(run->call->chains_count, 1);
    run_free(run);

    run = finished(RUN(HI "(i32.store8 (local.get $names) (i32.const 97))"
                          "(i32.store offset=32 (local.get $names) (i32.const 0x2f2e2e))"
                          "(i32.const 0)"),
                   "", 0);
    assert_int_equal(run->call->error, FM_ERR_CHAIN_TARGET);
    assert_string_equal(run->call->detail, "the name of chained call 2 is not a function's name");
    assert_buffer(&run->call->output, "hi"); /* is kept */
    run_free(run);
}

static void test_chain_limit(void **state)
{
    (void)state;
    for (uint64_t limit = 19; limit <= 21; limit++) {
        struct run *run =
            prepared(RUN("(memory.fill (local.get $names) (i32.const 97) (i32.const 640))"
                         "(i32.const 0)"));
        run->description.limits.chain_fanout = limit;
        run_call(run, NULL, 0);
        assert_true(run_on(run, NULL));
        assert_int_equal(run->call->error, limit < 20 ? FM_ERR_GUEST_LIMIT : 0);
        assert_string_equal(run->call->limit, limit < 20 ? "chain_fanout" : "");
        run_free(run);
    }
    struct run *run = prepared(RUN("(i32.store8 (local.get $names) (i32.const 97)) (i32.const 0)"));
    run_call(run, NULL, 0);
    run->call->arena.bytes_max = 0;
    assert_true(run_on(run, NULL));
    assert_int_equal(run->call->error, FM_ERR_NOMEM);
    run_free(run);
}

/* --- compiled today, for the interface of 2018 ------------------------------------------------ */

/* Such a module has WASI's functions; what it prints goes to the log. */
static void test_with_wasi(void **state)
{
    (void)state;
    struct run *run = run_wat(
        "wasi",
        "(global $g (mut i32) (i32.const 0))"
        "(func (export \"_initialize\") (global.set $g (i32.const 1)))"
        "(func (export \"run\") (param i32 i32 i32 i32) (result i32)"
        "  (i32.store (i32.const 4) (i32.const 2)) (i32.store (i32.const 0) (i32.const 100))"
        "  (i32.store (i32.const 100) (i32.const 0x6968))"
        "  (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"
        "  (global.get $g))",
        "", "");
    assert_int_equal(run->version->facts.abi, FM_ABI_FAASM_2018);
    assert_int_equal(run->call->exit_code, 1); /* was initialised */
    assert_buffer(&run->call->log, "hi");
    assert_buffer(&run->call->output, "");
    run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_regions_can_be_filled),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test(test_memory_maximum),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_input_limit),
        cmocka_unit_test(test_streamed_input),
        cmocka_unit_test(test_output_limit),
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_traps),
        cmocka_unit_test(test_start_is_not_called),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_chain_errors),
        cmocka_unit_test(test_chain_limit),
        cmocka_unit_test(test_with_wasi),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
