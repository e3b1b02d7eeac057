/* test_web.c - web calls, with a guest that is played by the test: every place where one side waits
 * for the other, and every place where a client can leave, or the server end. */
#include "http/harness.h"

#include "torture.h"

#include "http/front.h"

/* --- the guest -------------------------------------------------------------------------------- */

static const char *const native_imports[] = {"faasm.output_write"};

/* `later` as a CGI program, `native` as a function that says its head by http_*. */
static void make_native(bool native)
{
    struct fm_module_facts *facts = &functions[1].version->facts;
    facts->imports = native_imports;
    facts->imports_count = native ? 1 : 0;
}

static struct fm_call *guest(void)
{
    assert_int_equal(waiting_count, 1);
    return waiting_calls[0];
}

static int64_t put_bytes(const char *data, size_t bytes)
{
    return guest()->web->write(guest(), (const uint8_t *)data, bytes);
}

/* As an import does: all of it, which must not have to wait. */
static void put(const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        int64_t taken = put_bytes(text, left);
        assert_true(taken > 0);
        text += taken;
        left -= (size_t)taken;
    }
}

/* As much as is taken; returns how much. */
static size_t fill(void)
{
    static const char zeros[100000];
    size_t total = 0;
    int64_t taken = 0;
    while ((taken = put_bytes(zeros, sizeof(zeros))) > 0)
        total += (size_t)taken;
    assert_true(taken == FM_WEB_WAIT);
    return total;
}

static int64_t get(uint64_t offset, char *data, size_t bytes)
{
    return guest()->web->read(guest(), offset, (uint8_t *)data, bytes);
}

static void fail_waiting(int error)
{
    fm_call_fail(guest(), error, "it fails");
    finish_waiting();
}

/* --- the client ------------------------------------------------------------------------------- */

static void start_body(struct peer *peer, const char *length)
{
    char text[200];
    (void)snprintf(text, sizeof(text), "POST /h/u/later/a/b?c HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n",
                   length);
    say(peer, text);
    pump();
}

static bool heard(struct peer *peer, const char *text)
{
    pump();
    hear(peer);
    return strstr(peer->text, text) != NULL;
}

static void forget(struct peer *peer)
{
    peer->length = 0;
    peer->text[0] = '\0';
}

static void assert_nothing_left(void)
{
    pump();
    assert_int_equal(waiting_count, 0);
    assert_int_equal(calls_made, calls_freed);
    assert_int_equal(counts().suspended, 0);
    assert_int_equal(http->bodies_bytes, 0);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void test_whole(void **state)
{
    (void)state;
    struct peer peer = dial();
    for (int i = 0; i < 2; i++) {
        request(&peer, "GET", "/h/u/later/a%2fb/?x=1");
        assert_no_reply(&peer);
        assert_string_equal(guest()->web->header(guest(), ":path", 5), "/a%2fb/");
        assert_string_equal(guest()->web->header(guest(), ":query", 6), "x=1");
        assert_string_equal(guest()->web->header(guest(), "HOST", 4), "h");
        put("Status: 201\nX: y\n\n");
        put("a body");
        finish_waiting(); /* before the library has looked */
        struct reply reply = listen_for(&peer, false);
        assert_int_equal(reply.status, 201);
        assert_string_equal(header_of(&reply, "X"), "y");
        assert_string_equal(reply.body, "a body");
        assert_string_equal(header_of(&reply, "X-Faasm-Exit-Code"), "0");
        free(reply.body);
    }
    hang_up(&peer);
    assert_nothing_left();
}

static void test_stream(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "GET", "/h/u/later");
    pump();
    put("X: y\n");
    assert_no_reply(&peer);
    put("\n");
    assert_true(heard(&peer, "X: y\r\n") && heard(&peer, "chunked"));
    assert_true(heard(&peer, "X-Faasm-Call-Id") && !heard(&peer, "Exit-Code"));
    assert_int_equal(counts().suspended, 1);
    forget(&peer);
    put("one");
    put("two");
    assert_true(heard(&peer, "6\r\nonetwo\r\n"));
    forget(&peer);
    put("three");
    assert_true(heard(&peer, "5\r\nthree\r\n") && !heard(&peer, "0\r\n\r\n"));
    put("last");
    finish_waiting();
    assert_true(heard(&peer, "4\r\nlast\r\n0\r\n\r\n"));
    forget(&peer);
    post(&peer, "/f/u/echo", "next"); /* the connection goes on */
    expect_body(&peer, 200, "next");
    hang_up(&peer);
    assert_nothing_left();
}

static void test_native(void **state)
{
    (void)state;
    make_native(true);
    struct peer peer = dial();
    request(&peer, "GET", "/h/u/later");
    pump();
    const struct fm_web_ops *web = guest()->web;
    put("held");
    assert_no_reply(&peer);
    assert_int_equal(web->set_status(guest(), 402), 0);
    assert_int_equal(web->set_header(guest(), "A", 1, "b", 1), 0);
    web->flush(guest());
    assert_int_equal(web->set_status(guest(), 200), FM_ERR_CONFLICT); /* though it is not out yet */
    assert_int_equal(web->set_header(guest(), "A", 1, "c", 1), FM_ERR_CONFLICT);
    assert_true(heard(&peer, "HTTP/1.1 402 ") && heard(&peer, "A: b\r\n") && heard(&peer, "held"));
    finish_waiting();
    assert_true(heard(&peer, "0\r\n\r\n"));
    hang_up(&peer);
    assert_nothing_left();
}

static void test_length(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "GET", "/h/u/later");
    pump();
    put("Content-Length: 6\n\nabc");
    assert_true(heard(&peer, "Content-Length: 6\r\n") && heard(&peer, "abc"));
    put("def");
    assert_true(heard(&peer, "abcde") && !heard(&peer, "abcdef")); /* the last byte waits */
    assert_int_equal(calls_cancelled, 0);
    finish_waiting();
    assert_true(heard(&peer, "abcdef"));
    forget(&peer);
    request(&peer, "GET", "/h/u/later");
    pump();
    put("Content-Length: 6\n\nabc");
    assert_true(heard(&peer, "abc"));
    assert_true(put_bytes("defg", 4) == FM_ERR_BAD_RESPONSE);
    forget(&peer);
    finish_waiting();
    assert_closed(&peer); /* which tells that half of it is missing */
    hang_up(&peer);
    assert_nothing_left();
}

static void test_no_body(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "HEAD", "/h/u/later");
    pump();
    put("A: b\n\nabc");
    finish_waiting();
    struct reply reply = listen_for(&peer, true);
    assert_string_equal(header_of(&reply, "Content-Length"), "3");
    free(reply.body);
    static const char *const bare[] = {"Status: 204\n\nabc", "Status: 304\n\n",
                                       "Content-Length: 0\n\n"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bare); i++) { /* there is nothing to begin with */
        request(&peer, "GET", "/h/u/later");
        pump();
        put(bare[i]);
        assert_no_reply(&peer);
        finish_waiting();
        reply = listen_for(&peer, true);
        assert_int_equal(calls_cancelled, 0);
        free(reply.body);
    }
    static const char *const blocks[] = {"Content-Length: 5\n\nabc", "A: b\n\nabc"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(blocks); i++) { /* it ends with the answer's head */
        request(&peer, "HEAD", "/h/u/later");
        pump();
        put(blocks[i]);
        reply = listen_for(&peer, true);
        free(reply.body);
        pump();
        assert_int_equal(calls_cancelled, i + 1);
        assert_nothing_left();
    }
    /* With an unknown length the connection is closed: the library would spoil it. */
    assert_string_equal(header_of(&reply, "Connection"), "close");
    hang_up(&peer);
}

static void test_failures(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "GET", "/h/u/later");
    pump();
    put("A: b\n\nheld");
    fail_waiting(FM_ERR_GUEST_TRAP);
    expect_problem(&peer, 502, "guest_trap", "it fails");
    request(&peer, "GET", "/h/u/later");
    pump();
    put("A: b\n");
    finish_waiting();
    expect_problem(&peer, 502, "bad_response", "no empty line");
    request(&peer, "GET", "/h/u/busy");
    expect_problem(&peer, 503, "busy", "too much");
    request(&peer, "GET", "/h/u/later");
    pump();
    put("A: b\n\nout");
    assert_true(heard(&peer, "out"));
    forget(&peer);
    fail_waiting(FM_ERR_GUEST_TRAP);
    assert_closed(&peer);
    hang_up(&peer);
    assert_nothing_left();
}

/* --- waiting for each other ------------------------------------------------------------------- */

/* Output before the end of the body, output after it, and a client that does not read. */
static void test_room(void **state)
{
    (void)state;
    struct peer peer = dial();
    start_body(&peer, "Content-Length: 2");
    assert_int_equal(waiting_count, 0); /* nothing of the body: no call */
    say(&peer, "x");
    pump();
    put("A: b\n\n");
    assert_int_equal(fill(), FM_WEB_HELD_BYTES_MAX);
    assert_no_reply(&peer);
    wakes = 0;
    say(&peer, "y");
    for (int i = 0; i < 1000 && wakes < 2; i++) { /* for the body's end, then for room */
        pump();
        hear(&peer);
    }
    assert_true(wakes >= 2);
    while (heard(&peer, "") && peer.length < FM_WEB_HELD_BYTES_MAX)
        (void)poll(NULL, 0, 1);
    size_t total = 0;
    for (int idle = 0; idle < 50; idle++) { /* until the kernel takes no more */
        size_t put_now = fill();
        total += put_now;
        idle = put_now ? 0 : idle;
        pump();
    }
    assert_true(total > FM_WEB_UNSENT_BYTES_MAX);
    wakes = 0;
    pump();
    assert_int_equal(wakes, 0);
    struct fm_web_ready ready;
    guest()->web->ready(guest(), 2, &ready);
    assert_true(!ready.writable && ready.readable && ready.ended);
    for (int i = 0; i < 1000 && wakes == 0; i++) {
        hear(&peer);
        pump();
        (void)poll(NULL, 0, 1);
    }
    assert_true(wakes > 0);
    finish_waiting();
    for (int i = 0; i < 1000 && memcmp(peer.text + peer.length - 5, "0\r\n\r\n", 5) != 0; i++) {
        pump();
        hear(&peer);
    }
    assert_memory_equal(peer.text + peer.length - 5, "0\r\n\r\n", 5);
    hang_up(&peer);
    assert_nothing_left();
}

/* The body is taken up to the limit, and no byte further. */
static void send_body(struct peer *peer, size_t bytes)
{
    static const char zeros[50000];
    while (bytes > 0) {
        ssize_t sent =
            send(peer->fd, zeros, bytes < sizeof(zeros) ? bytes : sizeof(zeros), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return; /* it is closed */
        bytes -= sent > 0 ? (size_t)sent : 0;
        pump();
    }
    pump();
}

#define BODY_ROOM (FM_WEB_KEPT_BYTES + FM_WEB_BODY_BYTES_MAX)

static struct fm_http_config roomy(void)
{
    struct fm_http_config config = default_config();
    config.bodies_bytes_max = 10 * FM_MIB;
    functions[1].version->limits.input_bytes = 10 * FM_MIB;
    return config;
}

static void test_intake(void **state)
{
    (void)state;
    struct fm_http_config config = roomy();
    restart_http(&config);
    struct peer peer = dial();
    start_body(&peer, "Content-Length: 1000000");
    send_body(&peer, BODY_ROOM);
    assert_int_equal(guest()->input_bytes, BODY_ROOM);
    assert_int_equal(counts().suspended, 0);
    send_body(&peer, 1000);
    assert_int_equal(guest()->input_bytes, BODY_ROOM);
    assert_int_equal(counts().suspended, 1);
    assert_true(guest()->web->size(guest()) == 1000000);
    static char data[BODY_ROOM];
    assert_true(get(0, data, 10) == 10); /* of the part that stays: makes no room */
    pump();
    assert_int_equal(counts().suspended, 1);
    assert_true(get(FM_WEB_KEPT_BYTES, data, sizeof(data)) > 0);
    pump();
    assert_int_equal(counts().suspended, 0);
    assert_int_equal(guest()->input_bytes, BODY_ROOM + 1000);
    assert_true(get(0, data, 10) == 10);
    assert_true(get(FM_WEB_KEPT_BYTES, data, 10) == FM_ERR_BAD_REQUEST); /* gone */
    assert_true(get(BODY_ROOM + 999, data, 10) == 1);
    assert_true(get(BODY_ROOM + 999, data, 10) == FM_ERR_BAD_REQUEST);
    assert_true(get(BODY_ROOM + 1000, data, 10) == FM_WEB_WAIT);
    for (uint64_t sent = BODY_ROOM + 1000; sent < 1000000; sent += 10000) {
        send_body(&peer, (size_t)fm_min_u64(10000, 1000000 - sent));
        (void)get(2000000, data, 10); /* reads past all of it */
    }
    assert_true(get(1000000, data, 10) == 0);
    finish_waiting();
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 200);
    free(reply.body);
    hang_up(&peer);
    assert_nothing_left();
}

/* Either side comes last. */
static void test_stuck(void **state)
{
    (void)state;
    struct fm_http_config config = roomy();
    restart_http(&config);
    for (int guest_last = 0; guest_last < 2; guest_last++) {
        struct peer peer = dial();
        start_body(&peer, "Content-Length: 1000000");
        send_body(&peer, 10);
        put("A: b\n\n");
        if (guest_last == 0)
            (void)fill();
        send_body(&peer, BODY_ROOM - 10);
        assert_int_equal(waiting_count, 1); /* the rest could still be nothing */
        send_body(&peer, 1);
        if (guest_last) {
            static const char zeros[FM_WEB_HELD_BYTES_MAX];
            assert_true(put_bytes(zeros, sizeof(zeros)) == sizeof(zeros));
            assert_true(put_bytes(zeros, 1) == FM_ERR_GUEST_LIMIT);
            finish_waiting();
        }
        assert_int_equal(waiting_count, 0);
        send_body(&peer, 1000000 - BODY_ROOM - 1); /* is dropped */
        expect_problem(&peer, 502, "guest_limit", "before it had read");
        hang_up(&peer);
        assert_nothing_left();
    }
}

/* The size of chunks is known at their end, or when waiting for that would not help. */
static void test_size(void **state)
{
    (void)state;
    struct fm_http_config config = roomy();
    restart_http(&config);
    struct peer peer = dial();
    start_body(&peer, "Transfer-Encoding: chunked");
    say(&peer, "3\r\nabc\r\n");
    pump();
    assert_true(guest()->web->size(guest()) == FM_WEB_WAIT);
    wakes = 0;
    say(&peer, "0\r\n\r\n");
    pump();
    assert_int_equal(wakes, 1);
    assert_true(guest()->web->size(guest()) == 3);
    finish_waiting();
    expect_body(&peer, 200, "");
    start_body(&peer, "Transfer-Encoding: chunked");
    say(&peer, "50001\r\n"); /* 320 KiB and one byte */
    send_body(&peer, BODY_ROOM - 1);
    assert_true(guest()->web->size(guest()) == FM_WEB_WAIT);
    send_body(&peer, 1);
    assert_true(guest()->web->size(guest()) == FM_ERR_BUSY);
    hang_up(&peer);
    assert_nothing_left();
}

/* --- limits ----------------------------------------------------------------------------------- */

static void test_input_bytes(void **state)
{
    (void)state;
    struct peer peer = dial();
    start_body(&peer, "Content-Length: 100001");
    expect_problem(&peer, 413, "too_large", "input_bytes is 100000");
    assert_closed(&peer);
    hang_up(&peer);
    for (size_t bytes = 99999; bytes <= 100001; bytes++) {
        peer = dial();
        start_body(&peer, "Transfer-Encoding: chunked");
        char text[20];
        (void)snprintf(text, sizeof(text), "%zx\r\n", bytes);
        say(&peer, text);
        send_body(&peer, bytes);
        assert_int_equal(waiting_count, bytes <= 100000);
        say(&peer, "\r\n0\r\n\r\n");
        pump();
        if (bytes <= 100000) {
            finish_waiting();
            expect_body(&peer, 200, "");
        } else {
            expect_problem(&peer, 413, "too_large", "larger than the limit input_bytes = 100000");
        }
        hang_up(&peer);
    }
    assert_nothing_left();
}

static void test_output_bytes(void **state)
{
    (void)state;
    make_native(true);
    functions[1].version->limits.output_bytes = 1000;
    struct peer peer = dial();
    request(&peer, "GET", "/h/u/later");
    pump();
    static const char zeros[1001];
    assert_true(put_bytes(zeros, 1001) == FM_ERR_GUEST_LIMIT);
    assert_true(put_bytes(zeros, 999) == 999);
    assert_true(put_bytes(zeros, 2) == FM_ERR_GUEST_LIMIT);
    assert_true(put_bytes(zeros, 1) == 1);
    assert_true(put_bytes(zeros, 1) == FM_ERR_GUEST_LIMIT);
    finish_waiting();
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.length, 1000);
    free(reply.body);
    hang_up(&peer);
    assert_nothing_left();
}

/* The memory of all bodies: what a body leaves behind is given back. */
static void test_bodies_in_memory(void **state)
{
    (void)state;
    struct fm_http_config config = roomy();
    config.bodies_bytes_max = 100000;
    restart_http(&config);
    struct peer peer = dial();
    start_body(&peer, "Content-Length: 200000");
    send_body(&peer, 200000);
    expect_problem(&peer, 503, "busy", "too many request bodies");
    start_body(&peer, "Content-Length: 50000");
    send_body(&peer, 50000);
    finish_waiting();
    expect_body(&peer, 200, "");
    hang_up(&peer);
    assert_nothing_left();
}

/* Nobody reads the rest: some of it is waited for. */
static void test_drop(void **state)
{
    (void)state;
    struct peer peer = dial();
    functions[0].version->limits.input_bytes = FM_GIB;
    say(&peer, "POST /h/u/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    send_body(&peer, 999999);
    assert_no_reply(&peer);
    send_body(&peer, 1);
    expect_body(&peer, 200, "");
    say(&peer, "POST /h/u/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    send_body(&peer, 900000);
    advance(FM_HTTP_DROP_TIME_NS + 1);
    assert_closed(&peer);
    hang_up(&peer);
    assert_nothing_left();
    peer = dial();
    say(&peer, "POST /h/u/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\n");
    static const char zeros[20000000];
    (void)say_bytes(&peer, zeros, sizeof(zeros));
    assert_closed(&peer);
    hang_up(&peer);
    assert_nothing_left();
}

/* --- the end, in all places ------------------------------------------------------------------- */

enum place {
    BODY_WAITED_FOR, /* the body is on its way */
    BODY_PUT_ASIDE,  /* no room for it */
    NO_ANSWER_YET,
    ANSWER_WAITS, /* for more output */
    ANSWER_FULL,  /* nobody reads it */
    CHAINS_BEFORE_ANSWER,
    CHAINS_IN_ANSWER,
    PLACES_COUNT,
};

static struct peer bring_to(enum place place)
{
    struct peer peer = dial();
    if (place == BODY_WAITED_FOR || place == BODY_PUT_ASIDE) {
        start_body(&peer, "Content-Length: 1000000");
        send_body(&peer, place == BODY_PUT_ASIDE ? BODY_ROOM + 100 : 100);
    } else {
        request(&peer, "GET", "/h/u/later");
        pump();
    }
    if (place == ANSWER_WAITS || place == ANSWER_FULL || place == CHAINS_IN_ANSWER) {
        put("A: b\n\nbegun");
        assert_true(heard(&peer, "begun"));
    }
    for (int i = 0; place == ANSWER_FULL && i < 100; i++) {
        (void)fill();
        pump();
    }
    if (place == CHAINS_BEFORE_ANSWER || place == CHAINS_IN_ANSWER) {
        answers_held = true;
        assert_int_equal(fm_call_chain(guest(), "next", 4, NULL, 0), 0);
        finish_waiting();
        pump();
        assert_int_equal(counts().suspended, 1);
    }
    return peer;
}

static void test_client_leaves(void **state)
{
    (void)state;
    struct fm_http_config config = roomy();
    restart_http(&config);
    void (*const ways[])(struct peer *) = {hang_up, hang_up_hard};
    for (enum place place = 0; place < PLACES_COUNT; place++) {
        for (size_t i = 0; i < FM_ARRAY_LENGTH(ways); i++) {
            struct peer peer = bring_to(place);
            ways[i](&peer);
            pump();
            answers_held = false;
            assert_nothing_left();
            assert_int_equal(counts().open, 0);
        }
    }
}

static void test_server_ends(void **state)
{
    (void)state;
    for (enum place place = 0; place < PLACES_COUNT; place++) {
        struct fm_http_config config = roomy();
        restart_http(&config);
        struct peer peer = bring_to(place);
        fm_http_close(http);
        answers_held = false;
        while (give_answers())
            continue;
        restart_http(&config);
        hang_up(&peer);
        assert_nothing_left();
    }
}

static void test_deadline_of_bodies(void **state)
{
    (void)state;
    struct fm_http_config config = roomy();
    restart_http(&config);
    for (enum place place = BODY_WAITED_FOR; place <= BODY_PUT_ASIDE; place++) {
        struct peer peer = bring_to(place);
        advance(config.body_time_ns + 1);
        pump();
        assert_int_equal(waiting_count, 0);
        hang_up(&peer);
        assert_nothing_left();
    }
}

static void test_chains(void **state)
{
    (void)state;
    struct peer peer = bring_to(CHAINS_BEFORE_ANSWER);
    answers_held = false;
    expect_body(&peer, 200, "");
    hang_up(&peer);
    peer = bring_to(CHAINS_IN_ANSWER);
    assert_false(heard(&peer, "0\r\n\r\n"));
    answers_held = false;
    assert_true(heard(&peer, "0\r\n\r\n"));
    hang_up(&peer);
    peer = bring_to(CHAINS_IN_ANSWER);
    forget(&peer);
    chains_fail_later = FM_ERR_CHAIN_TARGET;
    answers_held = false;
    assert_closed(&peer);
    hang_up(&peer);
    assert_nothing_left();
}

/* Whichever allocation fails: the client is answered, or the connection is closed, and nothing
 * stays. */
static void test_no_memory(void **state)
{
    (void)state;
    struct fm_http_config config = roomy();
    bool failed = true;
    for (long n = 1; failed; n++) {
        restart_http(&config);
        struct peer peer = dial();
        pump();
        torture_fail_nth(n);
        say(&peer, "POST /h/u/later?q HTTP/1.1\r\nHost: h\r\nA: 1\r\nA: 2\r\n"
                   "Content-Length: 70000\r\n\r\n");
        send_body(&peer, 70000);
        if (waiting_count == 1 && put_bytes("X: y\n\n", 6) == 6 && put_bytes("abc", 3) == 3)
            pump();
        if (waiting_count == 1)
            finish_waiting();
        for (int i = 0; i < 20; i++)
            pump();
        failed = torture_stop();
        hear(&peer);
        assert_true(peer.ended || peer.length > 0);
        if (!failed)
            assert_non_null(strstr(peer.text, "abc"));
        hang_up(&peer);
        assert_nothing_left();
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_whole),
        TEST(test_stream),
        TEST(test_native),
        TEST(test_length),
        TEST(test_no_body),
        TEST(test_failures),
        TEST(test_room),
        TEST(test_intake),
        TEST(test_stuck),
        TEST(test_size),
        TEST(test_input_bytes),
        TEST(test_output_bytes),
        TEST(test_bodies_in_memory),
        TEST(test_drop),
        TEST(test_client_leaves),
        TEST(test_server_ends),
        TEST(test_deadline_of_bodies),
        TEST(test_chains),
        TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
