/* test_later.c - module `env` for programs of the Faasm that came after 2018. */
#include "guest_fixture.h"

#include "call/call.h"
#include "call/child.h"

/* --- children of the test's own --------------------------------------------------------------- */

#define CHILDREN_MAX 3

static struct {
    int64_t answer; /* of start */
    char name[300];
    uint8_t input[8];
    size_t input_bytes;
    struct fm_child children[CHILDREN_MAX]; /* handles 1, 2, 3 */
} fake;

static int64_t fake_start(struct fm_call *parent, const char *name, size_t name_length,
                          const uint8_t *input, size_t input_bytes)
{
    (void)parent;
    assert_true(name_length < sizeof(fake.name));
    memcpy(fake.name, name, name_length);
    fake.name[name_length] = '\0';
    fake.input_bytes = input_bytes;
    memcpy(fake.input, input, fm_min_u64(input_bytes, sizeof(fake.input)));
    return fake.answer;
}

static struct fm_child *fake_find(struct fm_call *parent, int64_t handle)
{
    (void)parent;
    return handle >= 1 && handle <= CHILDREN_MAX ? &fake.children[handle - 1] : NULL;
}

static const struct fm_child_ops fake_ops = {.start = fake_start, .find = fake_find};

static void end_child(int handle, int error, int exit_code, const void *output, size_t bytes)
{
    struct fm_child *child = &fake.children[handle - 1];
    child->ended = true;
    child->error = error;
    child->exit_code = exit_code;
    child->output = (uint8_t *)(uintptr_t)output; /* only read */
    child->output_bytes = bytes;
}

static bool without_malloc;

static int reset(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    without_malloc = false;
    return 0;
}

/* Notes that it was called, and how large the memory was then. */
#define MALLOC                                                                                     \
    "(func (export \"malloc\") (param i32) (result i32)"                                           \
    "  (i32.store (i32.const 4092) (i32.add (i32.load (i32.const 4092))"                           \
    "    (i32.add (i32.mul (memory.size) (i32.const 1000)) (local.get 0))))"                       \
    "  (i32.const 16))"

static struct run *prepared(const char *body, const char *more)
{
    char entry[4000];
    assert_true(snprintf(entry, sizeof(entry), "(func (export \"_start\")%s)%s", body,
                         without_malloc ? "" : MALLOC) < (int)sizeof(entry));
    char *text = module_text("later", entry, more);
    struct run *run = run_module(text);
    free(text);
    assert_int_equal(run->description.facts.abi, FM_ABI_FAASM);
    return run;
}

static struct run *finished_on(const char *body, const char *more, const char *input)
{
    struct run *run = prepared(body, more);
    run_call(run, input, strlen(input));
    run->call->child_ops = &fake_ops;
    assert_true(run_on(run, NULL));
    return run;
}

static struct run *finished(const char *body, const char *more)
{
    return finished_on(body, more, "");
}

static void assert_output(const struct run *run, const char *wanted)
{
    assert_int_equal(run->call->error, 0);
    assert_int_equal(run->call->output.length, strlen(wanted));
    if (wanted[0])
        assert_memory_equal(run->call->output.data, wanted, strlen(wanted));
}

static void assert_trap(const struct run *run, const char *trap)
{
    assert_int_equal(run->call->error, FM_ERR_GUEST_TRAP);
    assert_string_equal(run->call->trap, trap);
}

/* --- input and output ------------------------------------------------------------------------- */

#define READ(address, length)                                                                      \
    "(call $keep (call $__faasm_read_input (i32.const " address ") (i32.const " length ")))"
#define WRITE(address, length)                                                                     \
    "(call $__faasm_write_output (i32.const " address ") (i32.const " length "))"

static void input(void **state)
{
    (void)state;
    struct run *run = finished_on(READ("-1", "0") READ("16", "3") READ("32", "5") READ("48", "99")
                                      READ("65532", "-1"),
                                  "", "Hello"); /* the last: only the input must fit */
    KEPT(run, 5, 3, 5, 5);
    assert_trap(run, "bad_pointer");
    assert_memory_equal(run_memory(run, 16, 6), "Hel\0\0", 6);
    assert_memory_equal(run_memory(run, 48, 6), "Hello", 6);
    run_free(run);
    run = finished(READ("0", "0") READ("-1", "10"), "");
    KEPT(run, 0, 0);
    assert_int_equal(run->call->error, 0); /* of nothing nothing is copied, wherever to */
    run_free(run);
}

/* It is set, not appended to. */
static void output(void **state)
{
    (void)state;
    static const char *const data = "(data (i32.const 0) \"a long output\")";
    struct run *run = finished(WRITE("0", "13") WRITE("2", "4"), data);
    assert_output(run, "long");
    run_free(run);
    run = finished(WRITE("0", "13") WRITE("0", "0"), data);
    assert_output(run, "");
    run_free(run);
    run = finished(WRITE("65535", "2"), data);
    assert_trap(run, "bad_pointer");
    run_free(run);
    run = finished(WRITE("0", "-1"), data);
    assert_trap(run, "bad_pointer");
    run_free(run);
}

static void output_limit(void **state)
{
    (void)state;
    static const char *const lengths[] = {"9", "10", "11"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(lengths); i++) {
        char body[200];
        (void)snprintf(
            body, sizeof(body),
            WRITE("0", "10") "(call $__faasm_write_output (i32.const 0) (i32.const %s))" WRITE("0",
                                                                                               "1"),
            lengths[i]);
        struct run *run = prepared(body, "");
        run->description.limits.output_bytes = 10;
        run_call(run, "", 0);
        assert_true(run_on(run, NULL));
        assert_int_equal(run->call->error, i < 2 ? 0 : FM_ERR_GUEST_LIMIT);
        if (i == 2)
            assert_string_equal(run->call->limit, "output_bytes");
        run_free(run);
    }
}

/* What is printed is a diagnostic there: it goes to the log. */
static void printing(void **state)
{
    (void)state;
    struct run *run = finished(
        "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 60)))" WRITE(
            "32", "3"),
        "(data (i32.const 0) \"\\10\\00\\00\\00\\05\\00\\00\\00\")"
        "(data (i32.const 16) \"print\") (data (i32.const 32) \"out\")");
    assert_output(run, "out");
    assert_int_equal(run->call->log.length, 5);
    run_free(run);
}

/* --- starting --------------------------------------------------------------------------------- */

#define CHAIN(name, data, length)                                                                  \
    "(call $keep (call $__faasm_chain_name (i32.const " name ") (i32.const " data ")"              \
    " (i32.const " length ")))"

static void a_start_gives_the_number(void **state)
{
    (void)state;
    fake.answer = 7;
    struct run *run = finished(CHAIN("0", "8", "3"),
                               "(data (i32.const 0) \"next\\00\") (data (i32.const 8) \"x\\00y\")");
    KEPT(run, 7);
    assert_string_equal(fake.name, "next");
    assert_int_equal(fake.input_bytes, 3);
    assert_memory_equal(fake.input, "x\0y", 3);
    assert_int_equal(run->call->log.length, 0);
    run_free(run);
}

static void a_refusal_is_told_to_the_log(void **state)
{
    (void)state;
    static const int errors[] = {FM_ERR_BAD_NAME, FM_ERR_NOT_FOUND, FM_ERR_TOO_LARGE,
                                 FM_ERR_QUOTA,    FM_ERR_BUSY,      FM_ERR_NOMEM};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(errors); i++) {
        fake.answer = errors[i];
        struct run *run = finished(CHAIN("0", "8", "3"), "(data (i32.const 0) \"next\")");
        KEPT(run, 0);
        assert_int_equal(run->call->error, 0);
        assert_non_null(memmem(run->call->log.data, run->call->log.length,
                               fm_err_meaning(errors[i]), strlen(fm_err_meaning(errors[i]))));
        run_free(run);
    }
    struct run *run = prepared(CHAIN("0", "8", "3"), ""); /* as `faasm run` has it */
    run_call(run, "", 0);
    assert_true(run_on(run, NULL));
    KEPT(run, 0);
    assert_int_equal(run->call->children_refused, 1);
    run_free(run);
}

/* No NUL within what a name can have, or before the memory ends. */
static void names_without_an_end(void **state)
{
    (void)state;
    fake.answer = 1;
    struct run *run = finished(CHAIN("0", "0", "0"),
                               "(data (i32.const 0) \"0123456789012345678901234567890123456789"
                               "012345678901234567890123456789\")");
    assert_int_equal(strlen(fake.name),
                     FM_NAME_LENGTH_MAX + 1); /* too long, as the scheduler sees */
    run_free(run);
    run = finished(CHAIN("65534", "0", "0"), "(data (i32.const 65534) \"ab\")");
    assert_string_equal(fake.name, "ab");
    run_free(run);
    run = finished(CHAIN("65536", "0", "0"), "");
    assert_trap(run, "bad_pointer");
    run_free(run);
    run = finished(CHAIN("-1", "0", "0"), "");
    assert_trap(run, "bad_pointer");
    run_free(run);
    run = finished(CHAIN("0", "65530", "7"), "");
    assert_trap(run, "bad_pointer");
    run_free(run);
}

/* --- waiting ---------------------------------------------------------------------------------- */

#define AWAIT(handle) "(call $keep (call $__faasm_await_call (i32.const " handle ")))"
#define AWAIT_OUTPUT(handle, data, length)                                                         \
    "(call $keep (call $__faasm_await_call_output (i32.const " handle ") (i32.const " data ")"     \
    " (i32.const " length ")))"

static void exit_codes(void **state)
{
    (void)state;
    const struct {
        int error;
        int exit_code;
        int32_t told;
    } cases[] = {{0, 0, 0},
                 {0, 3, 3},
                 {FM_ERR_GUEST_EXIT, 256, 256},
                 {FM_ERR_GUEST_EXIT, -1, -1},
                 {FM_ERR_GUEST_TRAP, 0, 1},
                 {FM_ERR_CANCELLED, 0, 1},
                 {FM_ERR_DEADLINE, 0, 1},
                 {FM_ERR_CHAIN_TARGET, 0, 1}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        end_child(2, cases[i].error, cases[i].exit_code, NULL, 0);
        struct run *run = finished(AWAIT("2") AWAIT_OUTPUT("2", "0", "4"), "");
        KEPT(run, cases[i].told, cases[i].told);
        run_free(run);
    }
    struct run *run = finished(AWAIT("0") AWAIT("4") AWAIT("-1") AWAIT_OUTPUT("0", "0", "4"), "");
    KEPT(run, 1, 1, 1, 1);
    assert_int_equal(word_at(run, 4), 0);
    run_free(run);
}

static void it_parks_until_the_end(void **state)
{
    (void)state;
    struct fm_guest_wait wait;
    struct run *run = prepared(AWAIT("1") AWAIT_OUTPUT("2", "0", "4"), "");
    run_call(run, "", 0);
    run->call->child_ops = &fake_ops;
    assert_false(run_on(run, &wait));
    assert_true(wait.until_ns == UINT64_MAX);
    assert_int_equal(fake.children[0].awaited, run->call->waits);
    assert_false(run_on(run, &wait)); /* something else has happened */
    end_child(1, 0, 5, NULL, 0);
    assert_false(run_on(run, &wait));
    assert_int_equal(fake.children[1].awaited, run->call->waits);
    assert_true(fake.children[0].awaited < run->call->waits);
    end_child(2, 0, 6, "out", 3);
    assert_true(run_on(run, NULL));
    KEPT(run, 5, 6);
    assert_memory_equal(run_memory(run, word_at(run, 0), 3), "out", 3);
    assert_int_equal(word_at(run, 4), 3);
    run_free(run);
}

/* --- their output ----------------------------------------------------------------------------- */

/* Blocks lie one behind another in memory that was added, with zeros before each. */
static void outputs_get_memory(void **state)
{
    (void)state;
    static char large[70000];
    memset(large, 'L', sizeof(large));
    end_child(1, 0, 0, "first", 5);
    end_child(2, 0, 0, large, sizeof(large));
    end_child(3, 0, 0, "0123456789abcdef", 16);
    struct run *run = finished(AWAIT_OUTPUT("1", "0", "4") AWAIT_OUTPUT("3", "8", "12")
                                   AWAIT_OUTPUT("9", "16", "20") AWAIT_OUTPUT("2", "24", "28")
                                       AWAIT_OUTPUT("1", "32", "36") "(call $keep (memory.size))",
                               "");
    KEPT(run, 0, 0, 1, 0, 0, 4);
    assert_int_equal(word_at(run, 4092), 1001); /* one malloc of 1 byte, before any was added */
    uint32_t at[5];
    for (uint32_t i = 0; i < 5; i++) {
        at[i] = word_at(run, 8 * i);
        assert_int_equal(at[i] % 16, 0);
        uint64_t before[2] = {1, 1};
        memcpy(before, run_memory(run, at[i] - 16, 16), 16);
        assert_true(before[0] == 0 && before[1] == 0);
    }
    assert_int_equal(at[0], 65536 + 16); /* the module has one page */
    assert_int_equal(at[1], at[0] + 32);
    assert_int_equal(at[2], at[1] + 48);
    assert_int_equal(at[3], at[2] + 32);
    assert_memory_equal(run_memory(run, at[0], 6), "first", 6);
    assert_memory_equal(run_memory(run, at[1], 17), "0123456789abcdef", 17);
    assert_memory_equal(run_memory(run, at[3], sizeof(large)), large, sizeof(large));
    assert_memory_equal(run_memory(run, at[4], 6), "first", 6);
    assert_int_equal(word_at(run, 28), sizeof(large));
    run_free(run);
}

/* The guest's own memory is left alone, also when it grows between two outputs. */
static void the_guest_grows_too(void **state)
{
    (void)state;
    end_child(1, 0, 0, "first", 5);
    struct run *run = finished(
        AWAIT_OUTPUT(
            "1", "0",
            "4") "(call $keep (memory.grow (i32.const 1)))"
                 "(memory.fill (i32.const 131072) (i32.const 7) (i32.const 65536))" AWAIT_OUTPUT(
                     "1", "8", "12") "(call $keep (memory.size))",
        "");
    KEPT(run, 0, 2, 0, 3);
    assert_int_equal(word_at(run, 8), 65536 + 48); /* there is room behind the first */
    assert_int_equal(run_memory(run, 131072, 1)[0], 7);
    run_free(run);

    static char large[65536];
    end_child(2, 0, 0, large, sizeof(large));
    run = finished(
        AWAIT_OUTPUT(
            "1", "0",
            "4") "(call $keep (memory.grow (i32.const 1)))"
                 "(memory.fill (i32.const 131072) (i32.const 7) (i32.const 65536))" AWAIT_OUTPUT(
                     "2", "8", "12") "(call $keep (memory.size))",
        "");
    KEPT(run, 0, 2, 0, 5);
    assert_int_equal(word_at(run, 8), 3 * 65536 + 16);
    for (uint32_t i = 0; i < 65536; i += 4096)
        assert_int_equal(run_memory(run, 131072 + i, 1)[0], 7);
    run_free(run);
}

static void memory_limit(void **state)
{
    (void)state;
    static char bytes[65536 - 16];
    for (unsigned pages = 1; pages <= 3; pages++) {
        end_child(1, 0, 0, bytes, sizeof(bytes)); /* needs 16 before and 1 to 16 more behind */
        struct run *run = prepared(AWAIT_OUTPUT("1", "0", "4"), "");
        run->description.limits.memory_bytes = pages * UINT64_C(65536);
        run_call(run, "", 0);
        run->call->child_ops = &fake_ops;
        assert_true(run_on(run, NULL));
        assert_int_equal(run->call->error, pages == 3 ? 0 : FM_ERR_GUEST_LIMIT);
        if (run->call->error)
            assert_string_equal(run->call->limit, "memory_bytes");
        run_free(run);
    }
}

/* (call, buffer, its size): what does not fit is left out. */
static void the_older_form(void **state)
{
    (void)state;
    without_malloc = true;
    end_child(1, 0, 3, "first", 5);
    struct run *run = finished(AWAIT_OUTPUT("1", "0", "3") AWAIT_OUTPUT("1", "16", "100")
                                   AWAIT_OUTPUT("9", "16", "100") AWAIT_OUTPUT("1", "65535", "2"),
                               "");
    KEPT(run, 3, 3, 1);
    assert_memory_equal(run_memory(run, 0, 4), "fir\0", 4);
    assert_memory_equal(run_memory(run, 16, 6), "first\0", 6);
    assert_trap(run, "bad_pointer");
    run_free(run);
}

/* A malloc that is none of C's is no reason to fail. */
static void other_mallocs(void **state)
{
    (void)state;
    static const char *const mallocs[] = {
        "(func (export \"malloc\") (param i64) (result i32) (i32.const 0))",
        "(func (export \"malloc\") (result i32) (i32.const 0))",
        "(global (export \"malloc\") i32 (i32.const 0))",
    };
    without_malloc = true;
    end_child(1, 0, 0, "first", 5);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(mallocs); i++) {
        struct run *run = finished(AWAIT_OUTPUT("1", "16", "100"), mallocs[i]);
        KEPT(run, 0);
        assert_memory_equal(run_memory(run, 16, 6), "first\0", 6);
        run_free(run);
    }
    struct run *run = finished(AWAIT_OUTPUT("1", "16", "100"),
                               "(func (export \"malloc\") (param i32) (result i32) unreachable)");
    assert_trap(run, "unreachable");
    run_free(run);
}

static void bad_pointers(void **state)
{
    (void)state;
    end_child(1, 0, 0, "first", 5);
    static const char *const bodies[] = {AWAIT_OUTPUT("1", "-1", "4"), AWAIT_OUTPUT("1", "0", "-3"),
                                         AWAIT_OUTPUT("1", "0", "0x20000")};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bodies); i++) {
        struct run *run = finished(bodies[i], "");
        assert_trap(run, "bad_pointer");
        run_free(run);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, reset)
    const struct CMUnitTest tests[] = {
        TEST(input),
        TEST(output),
        TEST(output_limit),
        TEST(printing),
        TEST(a_start_gives_the_number),
        TEST(a_refusal_is_told_to_the_log),
        TEST(names_without_an_end),
        TEST(exit_codes),
        TEST(it_parks_until_the_end),
        TEST(outputs_get_memory),
        TEST(the_guest_grows_too),
        TEST(memory_limit),
        TEST(the_older_form),
        TEST(other_mallocs),
        TEST(bad_pointers),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
