/* test_request.c - requests from the first byte to the last: routes, framing, bodies, refusals. */
#include "http/harness.h"

#include "http/front.h"

/* --- answers
 * -------------------------------------------------------------------------------------- */

static void test_call(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/echo", "Hello!");
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.body, "Hello!");
    assert_string_equal(header_of(&reply, "Content-Type"), "application/octet-stream");
    assert_string_equal(header_of(&reply, "X-Faasm-Call-Id"),
                        "01234567-89ab-7001-0000-000000000001");
    assert_string_equal(header_of(&reply, "X-Faasm-Exit-Code"), "0");
    assert_string_equal(header_of(&reply, "X-Faasm-Cpu-Us"), "1234");
    assert_string_equal(header_of(&reply, "X-Faasm-Cold"), "0");
    assert_null(header_of(&reply, "Connection"));
    free(reply.body);
    post(&peer, "/f/u/echo/x.wasm/%2f?a=b", "again"); /* the rest is ignored */
    expect_body(&peer, 200, "again");
    post(&peer, "/f/u/echo", "");
    expect_body(&peer, 200, "");
    assert_int_equal(calls_made, 3);
    assert_int_equal(counts().requests, 3);
    assert_int_equal(counts().responses[2], 3);
    assert_int_equal(counts().bytes_in, 11);
    assert_int_equal(counts().bytes_out, 11);
    hang_up(&peer);
}

static void test_failed_calls(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/exit", "so far");
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 500);
    assert_non_null(strstr(reply.body, "\"code\":\"guest_exit\""));
    assert_non_null(strstr(reply.body, "\"exit_code\":3"));
    assert_non_null(strstr(reply.body, "\"output\":\"so far\""));
    assert_string_equal(header_of(&reply, "X-Faasm-Exit-Code"), "3");
    assert_non_null(header_of(&reply, "X-Faasm-Call-Id"));
    free(reply.body);
    post(&peer, "/f/u/busy", "x");
    expect_problem(&peer, 503, "busy", "too much");
    call_new_fails = FM_ERR_NOMEM;
    post(&peer, "/f/u/echo", "x");
    expect_problem(&peer, 503, "busy", "out of memory");
    hang_up(&peer);
}

static void test_chains(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/chain", "x");
    expect_body(&peer, 200, "x");
    assert_int_equal(chains_started, 1);
    chains_fail = FM_ERR_CHAIN_TARGET;
    post(&peer, "/f/u/chain", "kept");
    expect_problem(&peer, 500, "chain_target", "\"output\":\"kept\"");
    post(&peer, "/f/u/chain", "kept");
    expect_problem(&peer, 500, "chain_target", "no function 'u/next'");
    chains_fail = 0;
    chains_fail_later = FM_ERR_STORAGE_FULL;
    post(&peer, "/f/u/chain", "kept");
    expect_problem(&peer, 507, "storage_full", "\"output\":\"kept\"");
    assert_int_equal(chains_started, 1);
    hang_up(&peer);
}

/* The answer waits for the children to be on disk; the client may leave before. */
static void test_chains_are_written_first(void **state)
{
    (void)state;
    struct peer peer = dial();
    answers_held = true;
    post(&peer, "/f/u/chain", "x");
    assert_no_reply(&peer);
    assert_int_equal(counts().suspended, 1);
    assert_int_equal(counts().operations, 1);
    finish_chains();
    expect_body(&peer, 200, "x");

    post(&peer, "/f/u/chain", "x");
    pump();
    hang_up_hard(&peer);
    pump();
    assert_int_equal(counts().open, 0);
    assert_int_equal(counts().operations, 1);
    finish_chains(); /* the call has succeeded, so they run */
    assert_int_equal(counts().operations, 0);
    assert_int_equal(chains_started, 2);
}

/* --- routes
 * --------------------------------------------------------------------------------------- */

static void test_routes_without_a_function(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "GET", "/healthz");
    expect_body(&peer, 200, "ok\n");
    request(&peer, "GET", "/readyz/?probe=1");
    expect_body(&peer, 200, "ready\n");
    request(&peer, "GET", "/metrics");
    expect_body(&peer, 200, "faasm_up 1\n");
    ready_now = false;
    request(&peer, "GET", "/readyz");
    expect_problem(&peer, 503, "busy", "takes no calls");
    request(&peer, "GET", "http://h/healthz");
    expect_body(&peer, 200, "ok\n");
    hang_up(&peer);
}

static void test_nothing_there(void **state)
{
    (void)state;
    struct peer peer = dial();
    static const char *const paths[] = {"/",          "/f",         "/fa/u",
                                        "/nope",      "/healthz/x", "/F/u/echo",
                                        "/calls/x/y", "//f/u/e",    "/calls/x/y/z"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(paths); i++) {
        request(&peer, "GET", paths[i]);
        expect_problem(&peer, 404, "not_found", "nothing at this path");
    }
    post(&peer, "/f/u/nope", "x");
    expect_problem(&peer, 404, "not_found", "no function 'u/nope'");
    post(&peer, "/f/nobody/echo", "x");
    expect_problem(&peer, 404, "not_found", "no function 'nobody/echo'");
    post(&peer, "/fa/u/nope", "x");
    expect_problem(&peer, 404, "not_found", "no function 'u/nope'");
    request(&peer, "GET", "/f/u/nope");
    expect_problem(&peer, 404, "not_found", "no function 'u/nope'");
    request(&peer, "DELETE", "/f/u/nope");
    expect_problem(&peer, 404, "not_found", "no function 'u/nope'");
    request(&peer, "GET", "/calls/nope");
    expect_problem(&peer, 404, "not_found", "no call 'nope'");
    assert_int_equal(counts().open, 1); /* none of this costs the connection */
    hang_up(&peer);
}

static void test_bad_names(void **state)
{
    (void)state;
    struct peer peer = dial();
    static const char *const paths[] = {
        "/f/u/a%2fb", "/f/u/a%00b", "/f/../echo",   "/f//echo",      "/f/u/a%zz",
        "/f/u/a%20b", "/f%2fu/x/y", "/f%00/u/echo", "/nope/%2e%2f/", "/f/u/a%252fb"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(paths); i++) {
        post(&peer, paths[i], "x");
        expect_problem(&peer, 400, "bad_name", "at byte ");
    }
    say(&peer, "POST /f/u/ec ho HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    expect_problem(&peer, 400, "bad_name", "at byte 7 ");
    request(&peer, "GET", "/calls/a%2fb");
    expect_problem(&peer, 400, "bad_name", "an encoded slash");
    request(&peer, "GET", "echo");
    expect_problem(&peer, 400, "bad_request", "starts neither");
    const char nul[] = "POST /f/u/echo\0x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    assert_true(say_bytes(&peer, nul, sizeof(nul) - 1));
    expect_problem(&peer, 400, "bad_request", "a NUL");
    assert_int_equal(calls_made, 0);
    hang_up(&peer);
}

static void test_methods(void **state)
{
    (void)state;
    struct peer peer = dial();
    static const struct {
        const char *method;
        const char *path;
        const char *allow;
    } rows[] = {
        {"BREW", "/f/u/echo", "GET, HEAD, PUT, POST, DELETE, PATCH, OPTIONS"},
        {"PATCH", "/f/u", "GET, HEAD, OPTIONS"},
        {"PUT", "/f/u", "GET, HEAD, OPTIONS"},
        {"GET", "/fa/u/echo", "POST, OPTIONS"},
        {"HEAD", "/fa/u/echo", "POST, OPTIONS"},
        {"POST", "/calls/x", "GET, HEAD, DELETE, OPTIONS"},
        {"DELETE", "/calls/x/log", "GET, HEAD, OPTIONS"},
        {"BREW", "/healthz", "GET, HEAD, OPTIONS"},
        {"get", "/healthz", "GET, HEAD, OPTIONS"},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        request(&peer, rows[i].method, rows[i].path);
        struct reply reply = listen_for(&peer, rows[i].method[0] == 'H');
        assert_int_equal(reply.status, 405);
        assert_string_equal(header_of(&reply, "Allow"), rows[i].allow);
        free(reply.body);
        request(&peer, "OPTIONS", rows[i].path);
        reply = listen_for(&peer, false);
        assert_int_equal(reply.status, 204);
        assert_string_equal(header_of(&reply, "Allow"), rows[i].allow);
        free(reply.body);
    }
    request(&peer, "OPTIONS", "*");
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 204);
    assert_string_equal(header_of(&reply, "Allow"), "GET, HEAD, PUT, POST, DELETE, PATCH, OPTIONS");
    free(reply.body);
    request(&peer, "GET", "*");
    expect_problem(&peer, 400, "bad_request", "only OPTIONS");
    request(&peer, "OPTIONS", "/nope");
    expect_problem(&peer, 404, "not_found", "");
    hang_up(&peer);
}

static void test_head(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "HEAD", "/healthz");
    struct reply reply = listen_for(&peer, true);
    assert_int_equal(reply.status, 200);
    assert_string_equal(header_of(&reply, "Content-Length"), "3");
    free(reply.body);
    request(&peer, "HEAD", "/nope");
    reply = listen_for(&peer, true);
    assert_int_equal(reply.status, 404);
    free(reply.body);
    assert_no_reply(&peer); /* no body came after either */
    assert_int_equal(counts().bytes_out, 0);
    hang_up(&peer);
}

/* --- framing
 * -------------------------------------------------------------------------------------- */

static void test_chunks(void **state)
{
    (void)state;
    struct peer peer = dial();
    say(&peer, "POST /f/u/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
               "3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nTrailer: x\r\n\r\n");
    expect_body(&peer, 200, "abcd");
    say(&peer, "POST /f/u/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    expect_body(&peer, 200, "");
    hang_up(&peer);
}

static void test_byte_by_byte(void **state)
{
    (void)state;
    struct peer peer = dial();
    const char *text = "POST /f/u/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nslow!";
    for (size_t i = 0; text[i]; i++) {
        assert_no_reply(&peer);
        assert_true(say_bytes(&peer, text + i, 1));
        pump();
    }
    expect_body(&peer, 200, "slow!");
    hang_up(&peer);
}

static void test_pipeline(void **state)
{
    (void)state;
    struct peer peer = dial();
    say(&peer, "POST /f/u/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1"
               "POST /f/u/later HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n2"
               "POST /f/u/nope HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n3"
               "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_body(&peer, 200, "1");
    assert_no_reply(&peer); /* answers come in order */
    assert_int_equal(waiting_count, 1);
    finish_waiting();
    expect_body(&peer, 200, "2");
    expect_problem(&peer, 404, "not_found", "u/nope");
    expect_body(&peer, 200, "ok\n");
    hang_up(&peer);
}

static void test_ambiguous_framing_is_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Content-Length: 1\r\nContent-Length: 2",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(headers); i++) {
        struct peer peer = dial();
        char text[500];
        (void)snprintf(
            text, sizeof(text),
            "POST /f/u/echo HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n0\r\n\r\nGET /x HTTP/1.1\r\n",
            headers[i]);
        say(&peer, text);
        expect_problem(&peer, 400, "bad_request", "");
        assert_closed(&peer); /* what follows is not taken for a request */
        hang_up(&peer);
    }
    struct peer peer = dial(); /* the same length twice is only odd */
    say(&peer, "POST /f/u/echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx");
    expect_body(&peer, 200, "x");
    hang_up(&peer);
    assert_int_equal(calls_made, 1);
}

/* What the library finds itself: the status counts, not its text. */
static void test_malformed_requests(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {"POST /f/u/echo HTTP/1.1\r\nContent-Length: abc\r\n\r\n", 400},
        {"POST /f/u/echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
        {"POST /f/u/echo HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 413},
        {"POST /f/u/echo HTTP/1.1\r\nno colon\r\n\r\n", 400},
        {"POST /f/u/echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
        {"GET /healthz HTTP/9.0\r\n\r\n", 505},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        struct peer peer = dial();
        say(&peer, rows[i].text);
        struct reply reply = listen_for(&peer, false);
        assert_int_equal(reply.status, rows[i].status);
        free(reply.body);
        hang_up(&peer);
    }
    pump();
    assert_int_equal(counts().open, 0);
    assert_int_equal(calls_made, 0);
}

static void say_header_of(struct peer *peer, size_t head_bytes)
{
    char *text = calloc(1, head_bytes + 1);
    int length = snprintf(text, head_bytes, "GET /healthz HTTP/1.1\r\nHost: h\r\nX: ");
    memset(text + length, 'x', head_bytes - (size_t)length);
    memcpy(text + head_bytes - 4, "\r\n\r\n", 4);
    say(peer, text);
    free(text);
}

static void test_size_of_the_head(void **state)
{
    (void)state;
    struct peer peer = dial();
    say_header_of(&peer, 8191);
    expect_body(&peer, 200, "ok\n");
    say_header_of(&peer, 8192);
    expect_body(&peer, 200, "ok\n");
    say_header_of(&peer, 8193);
    expect_problem(&peer, 431, "too_large", "8193 bytes, at most 8192");
    request(&peer, "GET", "/healthz"); /* it had ended, so the connection is fine */
    expect_body(&peer, 200, "ok\n");
    hang_up(&peer);

    peer = dial();
    char *text = malloc(100000);
    memset(text, 'x', 100000);
    memcpy(text, "GET /", 5);
    (void)say_bytes(&peer, text, 100000); /* without an end: the library gives up */
    pump();
    hear(&peer);
    assert_non_null(strstr(peer.text, "HTTP/1.1 414 "));
    free(text);
    hang_up(&peer);
}

/* The library's buffer starts small and has to grow on the way. */
static void test_size_of_a_large_head(void **state)
{
    (void)state;
    struct fm_http_config config = default_config();
    config.header_bytes_max = 50000;
    restart_http(&config);
    struct peer peer = dial();
    say_header_of(&peer, 49999);
    expect_body(&peer, 200, "ok\n");
    say_header_of(&peer, 50000);
    expect_body(&peer, 200, "ok\n");
    say_header_of(&peer, 50001);
    expect_problem(&peer, 431, "too_large", "50001 bytes, at most 50000");
    char *text = calloc(1, 60000);
    strcpy(text, "POST /f/u/echo HTTP/1.1\r\nContent-Length: 2\r\n");
    for (size_t at = strlen(text), i = 0; i < 100; i++, at += 490) /* many, and large */
        (void)sprintf(text + at, "X%02zu: %0483d\r\n", i, 0);
    strcat(text, "\r\nhi");
    say(&peer, text);
    expect_body(&peer, 200, "hi");
    free(text);
    hang_up(&peer);
}

/* A query of thousands of parameters is one text here, not a list that exhausts the connection. */
static void test_many_parameters(void **state)
{
    (void)state;
    struct peer peer = dial();
    char text[8192] = "GET /healthz?";
    for (size_t length = strlen(text); length < 8000; length += 2)
        memcpy(text + length, "a&", 2);
    strcat(text, " HTTP/1.1\r\nHost: h\r\n\r\n");
    say(&peer, text);
    expect_body(&peer, 200, "ok\n");
    hang_up(&peer);
}

static void test_queries(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "GET", "/f/u/echo?x=1");
    expect_problem(&peer, 400, "bad_request", "unknown parameter 'x'");
    request(&peer, "GET", "/f/u?%zz");
    expect_problem(&peer, 400, "bad_request", "bad escape");
    request(&peer, "GET", "/f/u/nope?");
    expect_problem(&peer, 404, "not_found", "u/nope");
    hang_up(&peer);
}

/* --- bodies
 * --------------------------------------------------------------------------------------- */

/* False: the server closed before it had all. */
static bool post_of(struct peer *peer, const char *path, size_t bytes, bool with_body)
{
    char head[200];
    (void)snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
                   path, bytes);
    say(peer, head);
    char *body = malloc(bytes + 1);
    memset(body, 'b', bytes);
    bool sent = !with_body || say_bytes(peer, body, bytes);
    free(body);
    return sent;
}

static void expect_length(struct peer *peer, size_t length)
{
    struct reply reply = listen_for(peer, false);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.length, length);
    assert_int_equal(strspn(reply.body, "b"), length);
    free(reply.body);
}

static void test_input_limit(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/small", "123456789");
    expect_body(&peer, 200, "123456789");
    post(&peer, "/f/u/small", "1234567890");
    expect_body(&peer, 200, "1234567890");
    post(&peer, "/f/u/small", "12345678901");
    expect_problem(&peer, 413, "too_large", "input_bytes is 10");
    post(&peer, "/f/u/small", "still open");
    expect_body(&peer, 200, "still open");
    (void)post_of(&peer, "/f/u/echo", 99999, true);
    expect_length(&peer, 99999);
    (void)post_of(&peer, "/f/u/echo", 100000, true);
    expect_length(&peer, 100000);
    hang_up(&peer);
}

/* Between headers and body the function may be replaced by a stricter one, or go. */
static void test_function_changes_meanwhile(void **state)
{
    (void)state;
    struct peer peer = dial();
    say(&peer, "POST /f/u/small HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
    pump();
    struct fm_function *small = &functions[functions_count - 1];
    small->version->limits.input_bytes = 4;
    say(&peer, "12345");
    expect_problem(&peer, 413, "too_large", "input_bytes is 4");
    say(&peer, "POST /f/u/small HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n");
    pump();
    functions_count--;
    say(&peer, "123");
    expect_problem(&peer, 404, "not_found", "u/small");
    functions_count++;
    assert_int_equal(calls_made, 0);
    hang_up(&peer);
}

/* Too large to be read for nothing: answered before the body, and all the same to a client that
 * sends it first and reads afterwards. */
static void test_large_body_is_refused_at_once(void **state)
{
    (void)state;
    struct peer peer = dial();
    (void)post_of(&peer, "/f/u/echo", 100001, false);
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 413);
    assert_string_equal(header_of(&reply, "Connection"), "close");
    free(reply.body);
    hang_up(&peer);
    pump();

    peer = dial();
    assert_true(post_of(&peer, "/f/u/echo", 4000000, true));
    expect_problem(&peer, 413, "too_large", "4000000");
    assert_closed(&peer);
    assert_false(peer.reset);
    hang_up(&peer);

    peer = dial();
    assert_true(post_of(&peer, "/f/u/nope", 4000000, true));
    expect_problem(&peer, 404, "not_found", "u/nope");
    assert_closed(&peer);
    hang_up(&peer);
    assert_int_equal(calls_made, 0);
}

static void test_expect(void **state)
{
    (void)state;
    struct peer peer = dial();
    say(&peer, "POST /f/u/echo HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n"
               "Content-Length: 4\r\n\r\n");
    struct reply reply = listen_for(&peer, true);
    assert_int_equal(reply.status, 100);
    free(reply.body);
    say(&peer, "body");
    expect_body(&peer, 200, "body");

    say(&peer, "POST /f/u/small HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
               "Content-Length: 11\r\n\r\n");
    expect_problem(&peer, 413, "too_large", "11 bytes"); /* although it is small: it is held back */
    assert_closed(&peer);
    hang_up(&peer);

    peer = dial();
    say(&peer, "POST /f/u/nope HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
               "Transfer-Encoding: chunked\r\n\r\n");
    expect_problem(&peer, 404, "not_found", "u/nope");
    hang_up(&peer);
}

static void say_chunk(struct peer *peer, size_t bytes)
{
    char head[32];
    char *data = malloc(bytes + 1);
    memset(data, 'b', bytes);
    (void)snprintf(head, sizeof(head), "%zx\r\n", bytes);
    (void)(say_bytes(peer, head, strlen(head)) && say_bytes(peer, data, bytes) &&
           say_bytes(peer, "\r\n", 2));
    free(data);
}

static void start_chunks(struct peer *peer, const char *path)
{
    char head[200];
    (void)snprintf(head, sizeof(head),
                   "POST %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", path);
    say(peer, head);
}

static void test_chunks_over_the_limit(void **state)
{
    (void)state;
    struct peer peer = dial();
    start_chunks(&peer, "/f/u/small");
    say(&peer, "a\r\n1234567890\r\n0\r\n\r\n");
    expect_body(&peer, 200, "1234567890");
    start_chunks(&peer, "/f/u/small");
    say(&peer, "a\r\n1234567890\r\n1\r\n1\r\n");
    assert_no_reply(&peer); /* the library cannot answer now */
    say_chunk(&peer, 1000000);
    say(&peer, "0\r\n\r\n");
    expect_problem(&peer, 413, "too_large", "input_bytes = 10");
    request(&peer, "GET", "/healthz");
    expect_body(&peer, 200, "ok\n");
    assert_int_equal(calls_made, 1);
    hang_up(&peer);
}

static void test_endless_chunks_end(void **state)
{
    (void)state;
    struct peer peer = dial();
    start_chunks(&peer, "/f/u/small");
    for (int i = 0; i < 20 && !peer.ended; i++) {
        say_chunk(&peer, 1000000);
        hear(&peer);
    }
    assert_true(peer.ended);
    assert_in_range(counts().bytes_in, 8 * FM_MIB, 9 * FM_MIB);
    hang_up(&peer);

    peer = dial();
    start_chunks(&peer, "/f/u/small");
    say_chunk(&peer, 11);
    advance(5000 * MS - 1);
    assert_no_reply(&peer);
    advance(1);
    assert_closed(&peer);
    assert_int_equal(counts().timeouts, 1);
    hang_up(&peer);
}

static void test_bodies_of_requests_that_take_none(void **state)
{
    (void)state;
    struct peer peer = dial();
    say(&peer, "GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc");
    expect_body(&peer, 200, "ok\n");
    say(&peer, "GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n");
    expect_problem(&peer, 413, "too_large", "takes no body");
    hang_up(&peer);

    peer = dial();
    say(&peer, "GET /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    say_chunk(&peer, 65536);
    say(&peer, "0\r\n\r\n");
    expect_body(&peer, 200, "ok\n");
    say(&peer, "GET /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    say_chunk(&peer, 65537);
    say(&peer, "0\r\n\r\n");
    expect_problem(&peer, 413, "too_large", "takes no body");
    hang_up(&peer);
}

/* The server's own limit on bodies in memory: 300,000 here. */
static void test_bodies_in_memory(void **state)
{
    (void)state;
    struct peer peers[4];
    for (size_t i = 0; i < 3; i++) {
        peers[i] = dial();
        (void)post_of(&peers[i], "/f/u/later", 100000, true);
        pump();
    }
    assert_int_equal(waiting_count, 3);
    peers[3] = dial();
    (void)post_of(&peers[3], "/f/u/echo", 1, true);
    expect_problem(&peers[3], 503, "busy", "request bodies");
    finish_waiting();
    expect_length(&peers[0], 100000);
    (void)post_of(&peers[3], "/f/u/echo", 100000, true);
    expect_length(&peers[3], 100000);
    finish_waiting();
    finish_waiting();
    expect_length(&peers[1], 100000);
    expect_length(&peers[2], 100000);
    for (size_t i = 0; i < 4; i++)
        hang_up(&peers[i]);
}

/* The body goes with the end of its call, and not of the answer. */
static void test_a_body_that_was_read_is_forgotten(void **state)
{
    (void)state;
    struct peer peer = dial();
    (void)post_of(&peer, "/f/u/later", 100000, true);
    pump();
    assert_int_equal(http->bodies_bytes, 100000);
    finish_waiting(); /* the library does not know yet */
    assert_int_equal(http->bodies_bytes, 0);
    expect_length(&peer, 100000);
    hang_up(&peer);
}

/* --- functions
 * ------------------------------------------------------------------------------------ */

static void test_metadata(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "GET", "/f/u/echo");
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 200);
    assert_string_equal(header_of(&reply, "Content-Type"), "application/json");
    assert_non_null(strstr(reply.body, "\"function\":\"echo\""));
    assert_non_null(strstr(reply.body, "\"input_bytes\":100000"));
    assert_non_null(strstr(reply.body, "\"calls\":{\"total\":7,\"failed\":2}"));
    free(reply.body);
    request(&peer, "GET", "/f/u/");
    reply = listen_for(&peer, false);
    const char *order[] = {"\"busy\"", "\"chain\"", "\"echo\"",
                           "\"exit\"", "\"later\"", "\"small\""};
    const char *at = reply.body;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(order); i++) {
        at = strstr(at, order[i]);
        assert_non_null(at);
    }
    free(reply.body);
    request(&peer, "GET", "/f/nobody");
    expect_body(&peer, 200, "{\"functions\":[]}\n");
    hang_up(&peer);
}

static void test_removal(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "DELETE", "/f/u/echo");
    assert_no_reply(&peer);
    assert_string_equal(deploying->wanted.function, "echo");
    assert_null(deploying->upload);
    finish_deploy(0);
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 204);
    assert_int_equal(reply.length, 0);
    free(reply.body);
    request(&peer, "DELETE", "/f/u/echo");
    pump();
    finish_deploy(FM_ERR_STORAGE_FULL);
    expect_problem(&peer, 507, "storage_full", "the deployer says");
    deploy_fails = FM_ERR_BUSY;
    request(&peer, "DELETE", "/f/u/echo");
    expect_problem(&peer, 503, "busy", "");
    deploy_fails = 0;
    request(&peer, "DELETE", "/f/u/echo");
    pump();
    hang_up_hard(&peer);
    pump();
    finish_deploy(0);
    pump();
    assert_int_equal(counts().open, 0);
    assert_int_equal(counts().operations, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_call),
        TEST(test_failed_calls),
        TEST(test_chains),
        TEST(test_chains_are_written_first),
        TEST(test_routes_without_a_function),
        TEST(test_nothing_there),
        TEST(test_bad_names),
        TEST(test_methods),
        TEST(test_head),
        TEST(test_chunks),
        TEST(test_byte_by_byte),
        TEST(test_pipeline),
        TEST(test_ambiguous_framing_is_refused),
        TEST(test_malformed_requests),
        TEST(test_size_of_the_head),
        TEST(test_size_of_a_large_head),
        TEST(test_many_parameters),
        TEST(test_queries),
        TEST(test_input_limit),
        TEST(test_function_changes_meanwhile),
        TEST(test_large_body_is_refused_at_once),
        TEST(test_expect),
        TEST(test_chunks_over_the_limit),
        TEST(test_endless_chunks_end),
        TEST(test_bodies_of_requests_that_take_none),
        TEST(test_bodies_in_memory),
        TEST(test_a_body_that_was_read_is_forgotten),
        TEST(test_metadata),
        TEST(test_removal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
