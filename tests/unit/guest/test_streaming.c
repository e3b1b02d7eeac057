/* test_streaming.c - input and output as streams, with a client that does what the test says: what
 * parks, what goes on, what is told; and the imports http_*. */
#include "guest_fixture.h"

#include "call/call.h"
#include "call/web.h"
#include "guest/streaming.h"

/* --- a client of the test's own --------------------------------------------------------------- */

static struct {
    char body[100]; /* of the request */
    size_t here;    /* bytes of it that have come */
    bool ended;
    int64_t size;

    char output[100];
    size_t length;
    size_t room; /* bytes more that are taken now */
    int write_error;
    bool fails_call;

    int status_error;
    int header_error;
    uint32_t status;
    char set[100]; /* "name=value" */
    unsigned flushes;
    unsigned ends;
    unsigned reads, writes;
} fake;

static int64_t fake_read(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes)
{
    (void)call;
    fake.reads++;
    if (offset == 77)
        return FM_ERR_BAD_REQUEST;
    if (offset >= fake.here)
        return fake.ended ? 0 : FM_WEB_WAIT;
    size_t got = (size_t)fm_min_u64(bytes, fake.here - offset);
    memcpy(data, fake.body + offset, got);
    return (int64_t)got;
}

static int64_t fake_size(struct fm_call *call)
{
    (void)call;
    return fake.size;
}

static int64_t fake_write(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    fake.writes++;
    assert_true(bytes > 0);
    if (fake.write_error && fake.fails_call)
        fm_call_fail(call, fake.write_error, "the test says so");
    if (fake.write_error)
        return fake.write_error;
    size_t put = bytes < fake.room ? bytes : fake.room;
    memcpy(fake.output + fake.length, data, put);
    fake.length += put;
    fake.room -= put;
    return put ? (int64_t)put : FM_WEB_WAIT;
}

static void fake_ready(struct fm_call *call, uint64_t offset, struct fm_web_ready *ret_ready)
{
    (void)call;
    uint64_t here = fake.here > offset ? fake.here - offset : 0;
    *ret_ready = (struct fm_web_ready){
        .readable = here > 0 || fake.ended,
        .ended = here == 0 && fake.ended,
        .writable = fake.room > 0,
        .readable_bytes = here,
        .writable_bytes = fake.room,
    };
}

static const char *fake_header(struct fm_call *call, const char *name, size_t name_length)
{
    (void)call;
    return name_length == 4 && memcmp(name, "here", 4) == 0 ? "value" : NULL;
}

static int fake_status(struct fm_call *call, uint32_t status)
{
    (void)call;
    fake.status = status;
    return fake.status_error;
}

static int fake_set(struct fm_call *call, const char *name, size_t name_length, const char *value,
                    size_t value_length)
{
    (void)call;
    (void)snprintf(fake.set, sizeof(fake.set), "%.*s=%.*s", (int)name_length, name,
                   (int)value_length, value);
    return fake.header_error;
}

static void fake_flush(struct fm_call *call)
{
    (void)call;
    fake.flushes++;
}

static void fake_end(struct fm_call *call)
{
    (void)call;
    fake.ends++;
}

static const struct fm_web_ops fake_ops = {
    .read = fake_read,
    .size = fake_size,
    .write = fake_write,
    .ready = fake_ready,
    .header = fake_header,
    .set_status = fake_status,
    .set_header = fake_set,
    .flush = fake_flush,
    .end = fake_end,
};

static int reset(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    return 0;
}

static struct run *prepared(const char *which, const char *const *body, const char *more)
{
    struct run *run = run_body(which, body, more);
    run->web = &fake_ops;
    run_call(run, NULL, 0);
    return run;
}

static void come(const char *text)
{
    memcpy(fake.body + fake.here, text, strlen(text));
    fake.here += strlen(text);
}

static void assert_parks(struct run *run)
{
    struct fm_guest_wait wait = {0};
    assert_false(run_on(run, &wait));
    assert_true(wait.stream && wait.until_ns == UINT64_MAX && !wait.content);
}

static void assert_ends(struct run *run)
{
    assert_true(run_on(run, &(struct fm_guest_wait){0}));
}

static void assert_output(const char *text)
{
    assert_int_equal(fake.length, strlen(text));
    assert_memory_equal(fake.output, text, fake.length);
}

/* Two buffers: 3 bytes at 100, 5 bytes at 200. */
#define BUFFERS                                                                                    \
    "(data (i32.const 0) \"\\64\\00\\00\\00\\03\\00\\00\\00\\c8\\00\\00\\00\\05\\00\\00\\00\")"    \
    "(data (i32.const 100) \"abc\") (data (i32.const 200) \"defgh\")"
#define READ(fd, count, result)                                                                    \
    "(call $fd_read (i32.const " fd ") (i32.const 0) (i32.const " count ") (i32.const " result ")" \
    ")"
#define WRITE(fd, count, result)                                                                   \
    "(call $fd_write (i32.const " fd ") (i32.const 0) (i32.const " count ") (i32.const " result "))"

/* --- reading ---------------------------------------------------------------------------------- */

static void test_fd_read(void **state)
{
    (void)state;
    struct run *run = prepared("wasi",
                               BODY(READ("0", "2", "40"), READ("0", "2", "44"),
                                    READ("0", "2", "48"), READ("0", "2", "52")),
                               BUFFERS);
    assert_parks(run);
    assert_parks(run); /* woken for nothing */
    come("1");
    assert_parks(run); /* in the second read */
    assert_int_equal(word_at(run, 40), 1);
    assert_memory_equal(run_memory(run, 100, 3), "1bc", 3);
    come("23456789"); /* both buffers are filled */
    assert_parks(run);
    assert_int_equal(word_at(run, 44), 8);
    assert_memory_equal(run_memory(run, 200, 5), "56789", 5);
    fake.ended = true;
    assert_ends(run);
    KEPT(run, 0, 0, 0, 0);
    assert_int_equal(word_at(run, 48), 0);
    assert_int_equal(word_at(run, 52), 0);
    assert_int_equal(fake.ends, 1);
    run_free(run);
}

/* What is wrong is told at once, as where nothing streams. */
static void test_bad_reads(void **state)
{
    (void)state;
    struct run *run = prepared(
        "wasi",
        BODY(READ("1", "1", "40"), READ("9", "1", "40"), READ("0", "1", "65533"),
             READ("0", "2000", "40"),
             "(call $fd_read (i32.const 0) (i32.const 65532) (i32.const 1) (i32.const 40))",
             "(i32.store (i32.const 0) (i32.const 65534))", READ("0", "1", "40")),
        BUFFERS);
    come("x");
    assert_ends(run);
    KEPT(run, 8, 8, 21, 28, 21, 21);
    assert_int_equal(fake.reads, 0);
    run_free(run);
}

static void test_input(void **state)
{
    (void)state;
    struct run *run =
        prepared("faasm",
                 BODY("(call $input_read (i32.const 0) (i32.const 300) (i32.const 4))",
                      "(call $input_read (i32.const 2) (i32.const 310) (i32.const 4))",
                      "(call $input_read (i32.const 77) (i32.const 320) (i32.const 4))",
                      "(call $input_read (i32.const 50) (i32.const 320) (i32.const 0))",
                      "(call $input_size)",
                      "(call $input_read (i32.const 9) (i32.const 320) (i32.const 4))"),
                 "");
    assert_parks(run);
    come("abc");
    fake.size = FM_WEB_WAIT;
    assert_parks(run); /* the size */
    assert_memory_equal(run_memory(run, 300, 4), "abc\0", 4);
    assert_memory_equal(run_memory(run, 310, 2), "c\0", 2);
    fake.size = 3;
    assert_parks(run);
    fake.ended = true;
    assert_ends(run);
    KEPT(run, 3, 1, -28, 0, 3, 0);
    run_free(run);
}

static void test_sizes(void **state)
{
    (void)state;
    const int64_t sizes[] = {0, INT32_MAX, (int64_t)INT32_MAX + 1, FM_ERR_BUSY};
    const int32_t told[] = {0, INT32_MAX, -1, -6};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sizes); i++) {
        struct run *run = prepared("faasm", BODY("(call $input_size)"), "");
        fake.size = sizes[i];
        assert_ends(run);
        KEPT(run, told[i]);
        run_free(run);
    }
}

/* --- writing ---------------------------------------------------------------------------------- */

/* However little is taken at a time, a write ends when all is gone, and nothing goes twice. */
static void test_fd_write(void **state)
{
    (void)state;
    for (size_t room = 1; room <= 17; room++) {
        assert_int_equal(reset(NULL), 0);
        struct run *run =
            prepared("wasi", BODY(WRITE("1", "2", "40"), WRITE("1", "1", "44")), BUFFERS);
        unsigned parked = 0;
        struct fm_guest_wait wait;
        fake.room = room;
        while (!run_on(run, &wait)) {
            assert_true(wait.stream && fake.room == 0);
            fake.room = room;
            parked++;
        }
        assert_int_equal(parked, (11 - 1) / room);
        KEPT(run, 0, 0);
        assert_int_equal(word_at(run, 40), 8);
        assert_int_equal(word_at(run, 44), 3);
        assert_output("abcdefghabc");
        run_free(run);
    }
}

static void test_output_write(void **state)
{
    (void)state;
    struct run *run =
        prepared("faasm",
                 BODY("(call $output_write (i32.const 200) (i32.const 5))",
                      "(call $output_write (i32.const 200) (i32.const 0))",
                      "(call $output_write (i32.const 100) (i32.const 3))", WRITE("1", "2", "40")),
                 BUFFERS);
    assert_parks(run);
    fake.room = 7;
    assert_parks(run);
    fake.room = 1;
    assert_ends(run);
    KEPT(run, 0, 0, 0, 0);
    assert_output("defghabc");
    assert_buffer(&run->call->log, "abcdefgh"); /* what it prints is its log, and never waits */
    run_free(run);
}

static void test_limit(void **state)
{
    (void)state;
    fake.write_error = FM_ERR_GUEST_LIMIT;
    struct run *run = prepared("wasi", BODY(WRITE("1", "2", "40"), WRITE("2", "1", "40")), BUFFERS);
    assert_ends(run);
    KEPT(run, 51, 0);
    assert_int_equal(run->call->error, FM_ERR_GUEST_LIMIT);
    assert_string_equal(run->call->limit, "output_bytes");
    assert_int_equal(fake.ends, 0);
    run_free(run);
}

/* An answer that is none: nothing the guest could still do would help. */
static void test_failed_call(void **state)
{
    (void)state;
    fake.write_error = FM_ERR_BAD_RESPONSE;
    fake.fails_call = true;
    struct run *run = prepared("wasi", BODY(WRITE("1", "2", "40"), WRITE("1", "1", "40")), BUFFERS);
    assert_ends(run);
    assert_int_equal(fake.writes, 1);
    assert_int_equal(run->call->error, FM_ERR_BAD_RESPONSE);
    assert_string_equal(run->call->detail, "the test says so");
    run_free(run);
    fake.writes = 0;
    run = prepared("faasm",
                   BODY("(call $output_write (i32.const 200) (i32.const 5))",
                        "(call $output_write (i32.const 200) (i32.const 5))"),
                   BUFFERS);
    assert_ends(run);
    assert_int_equal(fake.writes, 1);
    assert_int_equal(run->call->error, FM_ERR_BAD_RESPONSE);
    run_free(run);
}

static void test_bad_writes(void **state)
{
    (void)state;
    fake.room = 100;
    struct run *run =
        prepared("wasi",
                 BODY(WRITE("0", "1", "40"), WRITE("9", "1", "40"), WRITE("1", "1", "65533"),
                      WRITE("1", "2000", "40"), "(i32.store (i32.const 8) (i32.const 65534))",
                      WRITE("1", "2", "40")),
                 BUFFERS);
    assert_ends(run);
    KEPT(run, 8, 8, 21, 28, 21);
    assert_int_equal(fake.writes, 0); /* not even of the buffer that is good */
    run_free(run);
    run = prepared("faasm", BODY("(call $output_write (i32.const 65530) (i32.const 7))"), "");
    assert_ends(run);
    assert_string_equal(run->call->trap, "bad_pointer");
    run_free(run);
}

/* --- poll_oneoff ------------------------------------------------------------------------------ */

#define POLL(count)                                                                                \
    "(call $poll_oneoff (i32.const 1000) (i32.const 2000) (i32.const " count ") (i32.const 40))"
#define SUBSCRIBE(at, type, fd)                                                                    \
    "(i32.store8 (i32.const " at ") (i32.const " type "))"                                         \
    "(i32.store offset=8 (i32.const " at ") (i32.const " fd "))"

static void test_poll(void **state)
{
    (void)state;
    struct run *run = prepared("wasi",
                               BODY(SUBSCRIBE("1008", "1", "0"), SUBSCRIBE("1056", "2", "1"),
                                    POLL("1"), POLL("2"), POLL("1")),
                               "");
    assert_parks(run);
    fake.room = 5; /* which it does not wait for */
    assert_parks(run);
    fake.room = 0;
    come("abc");
    assert_ends(run); /* the others find it ready */
    KEPT(run, 0, 0, 0);
    assert_int_equal(word_at(run, 40), 1);
    assert_int_equal(long_at(run, 2016), 3);
    run_free(run);

    assert_int_equal(reset(NULL), 0);
    run = prepared("wasi",
                   BODY(SUBSCRIBE("1008", "1", "0"), SUBSCRIBE("1056", "2", "1"), POLL("2"),
                        "(i32.store8 (i32.const 1056) (i32.const 1))", /* twice the input */
                        "(i32.store (i32.const 1064) (i32.const 0))", POLL("2")),
                   "");
    assert_parks(run);
    fake.room = 5;
    assert_parks(run);
    assert_int_equal(word_at(run, 40), 1);
    assert_int_equal(run_memory(run, 2010, 1)[0], 2); /* the output */
    assert_int_equal(long_at(run, 2016), 5);
    fake.ended = true;
    assert_ends(run);
    assert_int_equal(word_at(run, 40), 2);
    assert_int_equal(run_memory(run, 2024, 1)[0], 1); /* hang-up */
    run_free(run);
}

/* With a timer beside it, both can end it. */
static void test_poll_with_a_timer(void **state)
{
    (void)state;
    struct run *run =
        prepared("wasi",
                 BODY(SUBSCRIBE("1008", "1", "0"),
                      "(i32.store (i32.const 1064) (i32.const 1))", /* monotonic */
                      "(i64.store (i32.const 1072) (i64.const 3600000000000))", POLL("2")),
                 "");
    struct fm_guest_wait wait = {0};
    assert_false(run_on(run, &wait));
    assert_true(wait.stream && wait.until_ns != UINT64_MAX);
    come("x");
    assert_ends(run);
    assert_int_equal(word_at(run, 40), 1);
    run_free(run);

    run = prepared("wasi",
                   BODY("(i32.store (i32.const 1016) (i32.const 1))",
                        "(i64.store (i32.const 1024) (i64.const 3600000000000))", POLL("1")),
                   "");
    assert_false(run_on(run, &wait));
    assert_false(wait.stream); /* a timer alone: no stream wakes it */
    run_free(run);
}

/* --- http_* ----------------------------------------------------------------------------------- */

#define HTTP                                                                                       \
    BODY("(call $http_header (i32.const 0) (i32.const 4) (i32.const 100) (i32.const 3))",          \
         "(call $http_header (i32.const 0) (i32.const 3) (i32.const 100) (i32.const 3))",          \
         "(call $http_status (i32.const 404))",                                                    \
         "(call $http_header_set (i32.const 0) (i32.const 4) (i32.const 2) (i32.const 2))",        \
         "(call $http_flush)")
#define NAMES "(data (i32.const 0) \"here\")"

static void test_http(void **state)
{
    (void)state;
    struct run *run = prepared("faasm", HTTP, NAMES);
    assert_ends(run);
    KEPT(run, 5, -44, 0, 0, 0);
    assert_memory_equal(run_memory(run, 100, 4), "val\0", 4);
    assert_int_equal(fake.status, 404);
    assert_string_equal(fake.set, "here=re");
    assert_int_equal(fake.flushes, 1);
    run_free(run);

    const int errors[] = {FM_ERR_BAD_REQUEST, FM_ERR_CONFLICT, FM_ERR_TOO_LARGE, FM_ERR_NOMEM};
    const int32_t told[] = {-28, -7, -1, -48};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(errors); i++) {
        fake.status_error = fake.header_error = errors[i];
        run = prepared("faasm", HTTP, NAMES);
        assert_ends(run);
        KEPT(run, 5, -44, told[i], told[i], 0);
        run_free(run);
    }
}

static void test_no_http(void **state)
{
    (void)state;
    struct run *run = run_body("faasm", HTTP, NAMES);
    run_call(run, "input", 5);
    assert_ends(run);
    KEPT(run, -58, -58, -58, -58, -58);
    assert_int_equal(fake.ends, 0);
    run_free(run);
}

static void test_bad_pointers(void **state)
{
    (void)state;
    static const char *const calls[] = {
        "(call $http_header (i32.const 65533) (i32.const 4) (i32.const 100) (i32.const 3))",
        "(call $http_header (i32.const 0) (i32.const 4) (i32.const 65534) (i32.const 3))",
        "(call $http_header_set (i32.const -1) (i32.const 1) (i32.const 0) (i32.const 0))",
        "(call $http_header_set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const -1))",
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(calls); i++) {
        struct run *run = prepared("faasm", BODY(calls[i]), "");
        assert_ends(run);
        assert_string_equal(run->call->trap, "bad_pointer");
        run_free(run);
    }
}

/* --- the environment -------------------------------------------------------------------------- */

static void test_environment(void **state)
{
    (void)state;
    static const char *const given[] = {"A=1", NULL};
    static const char *const more[] = {"PATH_INFO=/x", "B="};
    struct run *run = run_body("wasi",
                               BODY("(call $environ_sizes_get (i32.const 0) (i32.const 4))",
                                    "(call $environ_get (i32.const 8) (i32.const 100))"),
                               "");
    run->description.env = given;
    run->description.env_count = 1;
    run->web = &fake_ops;
    run_call(run, NULL, 0);
    run->call->env = more;
    run->call->env_count = 2;
    assert_ends(run);
    KEPT(run, 0, 0);
    assert_int_equal(word_at(run, 0), 3);
    assert_int_equal(word_at(run, 4), 4 + 13 + 3);
    assert_memory_equal(run_memory(run, 100, 20), "A=1\0PATH_INFO=/x\0B=\0", 20);
    assert_int_equal(word_at(run, 16), 117);
    run_free(run);
}

/* --- the table -------------------------------------------------------------------------------- */

/* Each takes the place of an import of the same type. */
static void test_table(void **state)
{
    (void)state;
    static const struct {
        const char *module, *name, *signature;
    } rows[] = {
#define X(module, name, signature, call, again) {module, name, signature},
        FM_STREAMING_IMPORTS(X)
#undef X
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        const struct fm_import *plain = fm_guest_import_find(rows[i].module, rows[i].name);
        assert_non_null(plain);
        assert_string_equal(plain->signature, rows[i].signature);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, reset)
    const struct CMUnitTest tests[] = {
        TEST(test_fd_read), TEST(test_bad_reads),         TEST(test_input),
        TEST(test_sizes),   TEST(test_fd_write),          TEST(test_output_write),
        TEST(test_limit),   TEST(test_failed_call),       TEST(test_bad_writes),
        TEST(test_poll),    TEST(test_poll_with_a_timer), TEST(test_http),
        TEST(test_no_http), TEST(test_bad_pointers),      TEST(test_environment),
        TEST(test_table),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
