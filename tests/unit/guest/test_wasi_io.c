/* test_wasi_io.c - fd_read and fd_write: buffers, partial reads, limits, bad pointers. */
#include "guest_fixture.h"

#include "call/call.h"

#define READ(array, count, result)                                                                 \
    "(call $fd_read (i32.const 0) (i32.const " array ") (i32.const " count ") (i32.const " result  \
    "))"
#define WRITE(fd, array, count, result)                                                            \
    "(call $fd_write (i32.const " fd ") (i32.const " array ") (i32.const " count                   \
    ") (i32.const " result "))"

/* An array of two buffers at 0: 3 bytes at 100, 4 bytes at 200. */
#define TWO_BUFFERS                                                                                \
    "(i32.store (i32.const 0) (i32.const 100)) (i32.store (i32.const 4) (i32.const 3))"            \
    "(i32.store (i32.const 8) (i32.const 200)) (i32.store (i32.const 12) (i32.const 4))"

static void test_read(void **state)
{
    (void)state;
    struct run *run =
        run_wasi(BODY(TWO_BUFFERS, READ("0", "2", "40"), READ("0", "1", "44"), READ("0", "2", "48"),
                      READ("0", "2", "52"), READ("0", "0", "56")),
                 "0123456789ab");
    KEPT(run, 0, 0, 0, 0, 0);
    assert_int_equal(word_at(run, 40), 7);
    assert_int_equal(word_at(run, 44), 3);
    assert_int_equal(word_at(run, 48), 2); /* what is left */
    assert_int_equal(word_at(run, 52), 0); /* the end */
    assert_int_equal(word_at(run, 56), 0);
    assert_memory_equal(run_memory(run, 100, 4), "ab9\0", 4); /* the later reads */
    assert_memory_equal(run_memory(run, 200, 5), "3456\0", 5);
    run_free(run);
}

/* An input of which each piece comes when it likes, such as a terminal's. */
static int64_t piecewise_read(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes)
{
    if (offset >= 4)
        return FM_ERR_IO;
    return fm_call_io_memory.read_input(call, offset, data, bytes < 2 ? bytes : 2);
}

static void test_read_in_pieces(void **state)
{
    (void)state;
    struct fm_call_io io = fm_call_io_memory;
    io.read_input = piecewise_read;
    struct run *run = run_body(
        "wasi", BODY(TWO_BUFFERS, READ("0", "2", "40"), READ("0", "2", "44"), READ("0", "2", "48")),
        "");
    run_call(run, "abcdef", 6);
    run->call->io = &io;
    assert_true(run_on(run, NULL));
    KEPT(run, 0, 0, 29); /* EIO */
    assert_int_equal(word_at(run, 40), 2);
    assert_int_equal(word_at(run, 44), 2);
    assert_memory_equal(run_memory(run, 100, 2), "cd", 2);
    run_free(run);
}

static void test_write(void **state)
{
    (void)state;
    struct run *run =
        run_wasi(BODY(TWO_BUFFERS, "(i32.store (i32.const 100) (i32.const 0x00636261))",
                      /* abc */ "(i32.store (i32.const 200) (i32.const 0x00640a00))",
                      WRITE("1", "0", "2", "40"), WRITE("2", "0", "1", "44"),
                      WRITE("1", "8", "1", "48"), WRITE("1", "0", "0", "52")),
                 "");
    KEPT(run, 0, 0, 0, 0);
    assert_int_equal(word_at(run, 40), 7);
    assert_int_equal(word_at(run, 44), 3);
    assert_int_equal(word_at(run, 48), 4);
    assert_int_equal(word_at(run, 52), 0);
    assert_int_equal(run->call->output.length, 11);
    assert_memory_equal(run->call->output.data, "abc\0\nd\0\0\nd\0", 11);
    assert_buffer(&run->call->log, "abc");
    run_free(run);
}

static void test_wrong_direction(void **state)
{
    (void)state;
    struct run *run =
        run_wasi(BODY(TWO_BUFFERS, WRITE("0", "0", "1", "40"), WRITE("3", "0", "1", "40"),
                      WRITE("-1", "0", "1", "40"),
                      "(call $fd_read (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 40))",
                      "(call $fd_read (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 40))",
                      "(call $fd_read (i32.const 3) (i32.const 0) (i32.const 1)"
                      "  (i32.const 40))"),
                 "abc");
    KEPT(run, 8, 31, 8, 8, 8, 31); /* 3 is a folder */
    assert_int_equal(run->call->output.length, 0);
    run_free(run);
}

/* --- bad pointers: nothing moves -------------------------------------------------------------- */

static void test_bad_array(void **state)
{
    (void)state;
    struct run *run =
        run_wasi(BODY(TWO_BUFFERS, WRITE("1", "65529", "1", "40"), WRITE("1", "65528", "2", "40"),
                      WRITE("1", "-8", "1", "40"), WRITE("1", "-1", "1", "40"),
                      READ("65529", "1", "40"), READ("-16", "2", "40")),
                 "abc");
    KEPT(run, 21, 21, 21, 21, 21, 21);
    assert_int_equal(run->call->output.length, 0);
    run_free(run);
}

/* The first buffer is good, the second is not. */
static void bad_buffer(const char *address, const char *length)
{
    char second[200];
    (void)snprintf(second, sizeof(second),
                   "(i32.store (i32.const 8) (i32.const %s))"
                   "(i32.store (i32.const 12) (i32.const %s))",
                   address, length);
    struct run *run = run_wasi(BODY(TWO_BUFFERS, second, WRITE("1", "0", "2", "40"),
                                    READ("0", "2", "44"), READ("0", "1", "48")),
                               "abcdef");
    KEPT(run, 21, 21, 0);
    assert_int_equal(run->call->output.length, 0);
    assert_int_equal(word_at(run, 48), 3);
    assert_memory_equal(run_memory(run, 100, 3), "abc", 3); /* no input was lost */
    run_free(run);
}

static void test_bad_buffers(void **state)
{
    (void)state;
    bad_buffer("65536", "1");
    bad_buffer("65535", "2");
    bad_buffer("-1", "1");
    bad_buffer("1", "-1");
    bad_buffer("65537", "0");
    bad_buffer("-1", "-1");
}

static void test_bad_result(void **state)
{
    (void)state;
    struct run *run = run_wasi(BODY(TWO_BUFFERS, WRITE("1", "0", "1", "65533"),
                                    READ("0", "1", "-4"), READ("0", "1", "65532")),
                               "abcdef");
    KEPT(run, 21, 21, 0);
    assert_int_equal(run->call->output.length, 0);
    assert_memory_equal(run_memory(run, 100, 3), "abc", 3);
    run_free(run);
}

/* Reading into the array itself: each entry is checked again when it is used. */
static void test_array_overwritten_by_input(void **state)
{
    (void)state;
    static const uint8_t input[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'x', 'y'};
    struct run *run = run_body(
        "wasi",
        BODY(/* buffer 0 is entry 1 of the array */ "(i32.store (i32.const 0) (i32.const 8))",
             "(i32.store (i32.const 4) (i32.const 8))", "(i32.store (i32.const 8) (i32.const 100))",
             "(i32.store (i32.const 12) (i32.const 2))", READ("0", "2", "40")),
        "");
    run_call(run, input, sizeof(input));
    assert_true(run_on(run, NULL));
    KEPT(run, 21);
    run_free(run);
}

/* --- limits ----------------------------------------------------------------------------------- */

/* The memory is zero, so every entry is an empty buffer at address 0. */
static void test_array_length(void **state)
{
    (void)state;
    struct run *run =
        run_wasi(BODY(WRITE("1", "0", "1023", "65000"), WRITE("1", "0", "1024", "65000"),
                      WRITE("1", "0", "1025", "65000"), READ("0", "1024", "65000"),
                      READ("0", "1025", "65000"), WRITE("1", "0", "-1", "65000")),
                 "abc");
    KEPT(run, 0, 0, 28, 0, 28, 28);
    run_free(run);
}

/* 1024 times the whole memory of 32 pages is 2^31 bytes: one too many. */
static void total_length(uint32_t last, int32_t expected)
{
    char store[100];
    (void)snprintf(store, sizeof(store), "(i32.store (i32.const 8188) (i32.const %u))", last);
    struct run *run =
        run_wasi(BODY("(local $i i32) (drop (memory.grow (i32.const 31)))"
                      "(loop $l"
                      "  (i32.store (i32.add (i32.const 4) (i32.mul (local.get $i) (i32.const 8)))"
                      "    (i32.const 2097152))"
                      "  (local.set $i (i32.add (local.get $i) (i32.const 1)))"
                      "  (br_if $l (i32.lt_u (local.get $i) (i32.const 1024))))",
                      store, WRITE("2", "0", "1024", "8192")),
                 "");
    KEPT(run, expected);
    if (expected == 0) {
        assert_int_equal(word_at(run, 8192), INT32_MAX);
        assert_true(run->call->log_truncated);
    }
    run_free(run);
}

static void test_total_length(void **state)
{
    (void)state;
    total_length(2097151, 0);
    total_length(2097152, 28);
}

/* Three bytes a time into a log of 5: all is told as written, the rest is dropped and marked. */
static void test_log_limit(void **state)
{
    (void)state;
    for (uint64_t limit = 5; limit <= 7; limit++) {
        struct run *run =
            run_body("wasi",
                     BODY(TWO_BUFFERS, "(i32.store (i32.const 100) (i32.const 0x00636261))",
                          WRITE("2", "0", "1", "40"), WRITE("2", "0", "1", "44")),
                     "");
        run->description.limits.log_bytes = limit;
        run_call(run, NULL, 0);
        assert_true(run_on(run, NULL));
        KEPT(run, 0, 0);
        assert_int_equal(word_at(run, 44), 3);
        assert_int_equal(run->call->error, 0);
        assert_int_equal(run->call->log.length, limit < 6 ? limit : 6);
        assert_int_equal(run->call->log_truncated, limit < 6);
        run_free(run);
    }
}

/* The first buffer fits, the second does not: an error, and the call is lost. */
static void test_output_limit_between_buffers(void **state)
{
    (void)state;
    for (uint64_t limit = 6; limit <= 8; limit++) {
        struct run *run = run_body("wasi", BODY(TWO_BUFFERS, WRITE("1", "0", "2", "40")), "");
        run->description.limits.output_bytes = limit;
        run_call(run, NULL, 0);
        assert_true(run_on(run, NULL));
        KEPT(run, limit < 7 ? 51 : 0);
        assert_int_equal(run->call->error, limit < 7 ? FM_ERR_GUEST_LIMIT : 0);
        assert_int_equal(run->call->output.length, limit < 7 ? 3 : 7);
        run_free(run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),         cmocka_unit_test(test_read_in_pieces),
        cmocka_unit_test(test_write),        cmocka_unit_test(test_wrong_direction),
        cmocka_unit_test(test_bad_array),    cmocka_unit_test(test_bad_buffers),
        cmocka_unit_test(test_bad_result),   cmocka_unit_test(test_array_overwritten_by_input),
        cmocka_unit_test(test_array_length), cmocka_unit_test(test_total_length),
        cmocka_unit_test(test_log_limit),    cmocka_unit_test(test_output_limit_between_buffers),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
