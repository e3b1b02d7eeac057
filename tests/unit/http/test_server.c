/* test_server.c - connections: how they begin, wait and end. */
#include "http/harness.h"

#include "torture.h"

/* --- calls that take longer
 * ----------------------------------------------------------------------- */

static void test_wait(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/later", "abc");
    assert_no_reply(&peer);
    assert_int_equal(counts().suspended, 1);
    finish_waiting();
    assert_int_equal(counts().suspended, 0);
    expect_body(&peer, 200, "abc");
    post(&peer, "/f/u/later", "again"); /* on the same connection */
    pump();
    finish_waiting();
    expect_body(&peer, 200, "again");
    hang_up(&peer);
}

/* A call may end after the turn, when the scheduler has its own: the loop must not sleep over it.
 */
static void test_answer_is_not_slept_over(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/later", "abc");
    pump();
    finish_waiting();
    fm_loop_pass(loop, UINT64_MAX); /* would hang */
    expect_body(&peer, 200, "abc");
    hang_up(&peer);
}

static void test_many_wait(void **state)
{
    (void)state;
    struct peer peers[20];
    for (size_t i = 0; i < 20; i++) {
        char body[10];
        (void)snprintf(body, sizeof(body), "n%zu", i);
        peers[i] = dial();
        post(&peers[i], "/f/u/later", body);
        pump();
    }
    assert_int_equal(counts().suspended, 20);
    while (waiting_count > 0)
        finish_waiting();
    for (size_t i = 0; i < 20; i++) {
        char body[10];
        (void)snprintf(body, sizeof(body), "n%zu", i);
        expect_body(&peers[i], 200, body);
        hang_up(&peers[i]);
    }
}

/* --- hanging up
 * ----------------------------------------------------------------------------------- */

static void test_client_leaves(void **state)
{
    (void)state;
    void (*const ways[])(struct peer *) = {hang_up, hang_up_hard};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(ways); i++) {
        struct peer peer = dial();
        post(&peer, "/f/u/later", "abc");
        pump();
        assert_int_equal(waiting_count, 1);
        ways[i](&peer);
        pump();
        assert_int_equal(waiting_count, 0);
        assert_int_equal(calls_cancelled, i + 1);
        assert_int_equal(calls_freed, i + 1);
        assert_int_equal(counts().hangups, i + 1);
        assert_int_equal(counts().open, 0);
        assert_int_equal(counts().suspended, 0);
    }
}

static void test_half_close_is_a_hang_up(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/later", "abc");
    pump();
    assert_int_equal(shutdown(peer.fd, SHUT_WR), 0);
    assert_closed(&peer);
    assert_int_equal(calls_cancelled, 1);
    assert_int_equal(counts().hangups, 1);
    hang_up(&peer);
}

/* ... unless the key says otherwise: then the answer comes.  Several connections, since the library
 * treats the one that was least recently used in its own way. */
static void test_half_close_may_be_no_hang_up(void **state)
{
    (void)state;
    struct fm_http_config config = default_config();
    config.cancel_on_half_close = false;
    restart_http(&config);
    struct peer idle = dial();
    struct peer peers[3];
    for (size_t i = 0; i < 3; i++) {
        peers[i] = dial();
        post(&peers[i], "/f/u/later", "abc");
        pump();
        assert_int_equal(shutdown(peers[i].fd, SHUT_WR), 0);
        pump();
    }
    assert_int_equal(waiting_count, 3);
    assert_int_equal(calls_cancelled, 0);
    for (size_t i = 0; i < 3; i++)
        finish_waiting();
    for (size_t i = 0; i < 3; i++) {
        expect_body(&peers[i], 200, "abc");
        hang_up(&peers[i]);
    }
    struct peer peer = dial(); /* a reset is one in any case */
    post(&peer, "/f/u/later", "abc");
    pump();
    hang_up_hard(&peer);
    pump();
    assert_int_equal(calls_cancelled, 1);
    hang_up(&idle);
}

/* What a client sends while its call is under way is its next request, not its end. */
static void test_pipelined_bytes_are_no_hang_up(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/later", "1");
    pump();
    post(&peer, "/f/u/echo", "2");
    pump();
    assert_int_equal(waiting_count, 1);
    finish_waiting();
    expect_body(&peer, 200, "1");
    expect_body(&peer, 200, "2");
    post(&peer, "/f/u/later", "3");
    pump();
    post(&peer, "/f/u/echo", "4");
    hang_up(&peer);
    pump();
    assert_int_equal(calls_cancelled, 1); /* of the third; the fourth never was */
    assert_int_equal(calls_made, 3);
}

/* The end comes together with the last bytes, on connections that are known to epoll already: no
 * time may have to pass until it is seen. */
static void test_end_together_with_the_last_bytes(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "GET /hea", "POST /f/u/echo HTTP/1.1\r\nContent-L",
                                        "POST /f/u/echo HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(texts); i++) {
        struct peer peer = dial();
        request(&peer, "GET", "/healthz");
        expect_body(&peer, 200, "ok\n");
        say(&peer, texts[i]);
        assert_int_equal(shutdown(peer.fd, SHUT_WR), 0);
        assert_closed(&peer);
        hang_up(&peer);
    }
    struct peer peer = dial(); /* a whole request gets its answer first */
    request(&peer, "GET", "/healthz");
    expect_body(&peer, 200, "ok\n");
    post(&peer, "/f/u/echo", "abc");
    assert_int_equal(shutdown(peer.fd, SHUT_WR), 0);
    expect_body(&peer, 200, "abc");
    assert_closed(&peer);
    hang_up(&peer);
    assert_int_equal(counts().open, 0);
    assert_int_equal(counts().hangups, 0);
}

/* The client had left before its call began to wait. */
static void test_left_before_the_wait(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/later", "abc");
    assert_int_equal(shutdown(peer.fd, SHUT_WR), 0);
    assert_closed(&peer);
    assert_int_equal(calls_made, 1);
    assert_int_equal(calls_cancelled, 1);
    assert_int_equal(counts().hangups, 1);
    assert_int_equal(counts().open, 0);
    assert_int_equal(counts().suspended, 0);
    hang_up(&peer);
}

/* The watch for a hang-up stays; between two calls it must not be taken for one. */
static void test_end_between_two_calls(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/later", "1");
    pump();
    finish_waiting();
    expect_body(&peer, 200, "1");
    hang_up(&peer);
    pump();
    assert_int_equal(counts().hangups, 0);
    assert_int_equal(counts().open, 0);
}

static void test_client_leaves_in_mid_body(void **state)
{
    (void)state;
    struct peer peer = dial();
    say(&peer, "POST /f/u/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nsome");
    pump();
    hang_up(&peer);
    pump();
    assert_int_equal(counts().open, 0);
    assert_int_equal(calls_made, 0);
}

/* --- time
 * ----------------------------------------------------------------------------------------- */

static void test_slow_head(void **state)
{
    (void)state;
    struct peer silent = dial();
    struct peer slow = dial();
    say(&slow, "POST /f/u/echo HTT");
    struct peer slower = dial();
    say(&slower, "POST /f/u/echo HTTP/1.1\r\n");
    for (int i = 0; i < 9; i++) { /* bytes that keep coming do not help */
        advance(100 * MS);
        say(&slower, "X: y\r\n");
    }
    advance(100 * MS - 1);
    assert_no_reply(&silent);
    assert_no_reply(&slow);
    assert_no_reply(&slower);
    assert_int_equal(counts().timeouts, 0);
    advance(1);
    assert_closed(&silent);
    assert_closed(&slow);
    assert_closed(&slower);
    assert_int_equal(counts().timeouts, 3);
    assert_int_equal(counts().open, 0);
    hang_up(&silent);
    hang_up(&slow);
    hang_up(&slower);
}

static void test_slow_body(void **state)
{
    (void)state;
    struct peer peer = dial();
    advance(999 * MS);
    say(&peer, "POST /f/u/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
    advance(2999 * MS);
    say(&peer, "1234");
    assert_no_reply(&peer);
    advance(1 * MS);
    assert_closed(&peer);
    assert_int_equal(counts().timeouts, 1);
    assert_int_equal(calls_made, 0);
    hang_up(&peer);
}

static void test_in_time(void **state)
{
    (void)state;
    struct peer peer = dial();
    for (int i = 0; i < 3; i++) { /* each request has its whole time */
        advance(999 * MS);
        say(&peer, "POST /f/u/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
        advance(2999 * MS);
        say(&peer, "12345");
        expect_body(&peer, 200, "12345");
    }
    assert_int_equal(counts().timeouts, 0);
    hang_up(&peer);
}

static void test_a_call_may_take_its_time(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/later", "abc");
    pump();
    advance(100 * FM_NS_PER_S);
    assert_no_reply(&peer);
    finish_waiting();
    expect_body(&peer, 200, "abc");
    hang_up(&peer);
}

/* A connection that has been of use and idles now is closed, but it was not slow. */
static void test_idle_connection(void **state)
{
    (void)state;
    struct peer peer = dial();
    post(&peer, "/f/u/echo", "abc");
    expect_body(&peer, 200, "abc");
    advance(999 * MS);
    assert_no_reply(&peer);
    advance(1 * MS);
    assert_closed(&peer);
    assert_int_equal(counts().timeouts, 0);
    hang_up(&peer);
}

/* --- many connections
 * ----------------------------------------------------------------------------- */

static void test_connections_at_the_limit(void **state)
{
    (void)state;
    struct peer peers[20];
    for (size_t i = 0; i < 20; i++)
        peers[i] = dial();
    pump();
    assert_int_equal(counts().open, 20);
    struct peer one_more = dial();
    post(&one_more, "/f/u/echo", "abc"); /* unread bytes must not cost it the answer */
    expect_problem(&one_more, 503, "busy", "too many connections");
    assert_closed(&one_more);
    assert_false(one_more.reset);
    assert_int_equal(counts().open, 20);
    hang_up(&one_more);
    post(&peers[19], "/f/u/echo", "abc");
    expect_body(&peers[19], 200, "abc");
    hang_up(&peers[0]);
    pump();
    struct peer next = dial();
    post(&next, "/f/u/echo", "abc");
    expect_body(&next, 200, "abc");
    hang_up(&next);
    for (size_t i = 1; i < 20; i++)
        hang_up(&peers[i]);
}

/* --- the end
 * -------------------------------------------------------------------------------------- */

static void test_drain(void **state)
{
    (void)state;
    struct peer idle = dial();
    struct peer used = dial();
    post(&used, "/f/u/echo", "abc");
    expect_body(&used, 200, "abc");
    struct peer busy = dial();
    post(&busy, "/f/u/later", "abc");
    struct peer half = dial();
    say(&half, "POST /f/u/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n1");
    pump();
    struct peer fresh = dial(); /* sent in time, though not yet read */
    post(&fresh, "/f/u/echo", "abc");

    fm_http_drain(http);
    assert_closed(&idle);
    assert_closed(&used);
    struct reply reply = listen_for(&fresh, false);
    assert_int_equal(reply.status, 200);
    assert_string_equal(header_of(&reply, "Connection"), "close");
    free(reply.body);
    say(&half, "23");
    reply = listen_for(&half, false);
    assert_string_equal(header_of(&reply, "Connection"), "close");
    free(reply.body);
    assert_int_equal(counts().open, 1);
    finish_waiting();
    reply = listen_for(&busy, false);
    assert_int_equal(reply.status, 200);
    assert_string_equal(header_of(&reply, "Connection"), "close");
    free(reply.body);
    assert_closed(&busy);
    assert_int_equal(counts().open, 0);

    struct peer late = dial();
    assert_closed(&late);
    struct peer *all[] = {&idle, &used, &busy, &half, &fresh, &late};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(all); i++)
        hang_up(all[i]);
}

/* Everything under way at once: calls are cancelled, questions waited for. */
static void test_free_with_everything_under_way(void **state)
{
    (void)state;
    struct peer peers[4] = {dial(), dial(), dial(), dial()};
    answers_held = true;
    post(&peers[0], "/f/u/later", "abc");
    say(&peers[1], "POST /f/u/echo HTTP/1.1\r\nContent-Length: 3\r\n\r\n1");
    say(&peers[2], "GET /hea");
    pump();
    request(&peers[3], "GET", "/calls/01234567-89ab-7002-8000-000000000003");
    pump();
    assert_int_equal(counts().suspended, 2);
    fm_http_close(http);
    assert_int_equal(counts().open, 0);
    assert_int_equal(counts().operations, 1);
    assert_int_equal(calls_cancelled, 1);
    fm_http_close(http); /* twice is fine */
    answer_disk();       /* of which it does not know */
    answer_queue();
    http = fm_http_free(http);
    for (size_t i = 0; i < 4; i++) {
        hear(&peers[i]);
        assert_true(peers[i].ended);
        hang_up(&peers[i]);
    }
}

/* --- without memory
 * ------------------------------------------------------------------------------- */

static int start_under_torture(void *data)
{
    (void)data;
    struct fm_http_config config = default_config();
    struct fm_error error = {0};
    struct fm_http *another = NULL;
    int failed = fm_http_new(&config, &another, &error);
    assert_int_equal(failed, error.code);
    fm_http_free(another);
    return failed;
}

static void test_start_without_memory(void **state)
{
    (void)state;
    assert_true(torture(start_under_torture, NULL) > 1);
}

/* One connection with a call of each kind.  Without memory an answer is a 503, or the connection is
 * closed; it is never a wrong one, and nothing is left behind. */
static int serve_under_torture(void *data)
{
    const char *path = data;
    struct peer peer = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(connect(peer.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    char text[200];
    int length =
        snprintf(text, sizeof(text), "POST %s HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", path);
    assert_int_equal(send(peer.fd, text, (size_t)length, 0), length);
    fm_http_connection(http, fd);
    pump();
    if (waiting_count > 0)
        finish_waiting();
    pump();
    char answer[1000] = "";
    ssize_t got = recv(peer.fd, answer, sizeof(answer) - 1, MSG_DONTWAIT);
    (void)close(peer.fd);
    pump();
    assert_true(got <= 0 || strstr(answer, " 503 ") || strstr(answer, " 20"));
    return got > 0 && strstr(answer, " 20") ? 0 : FM_ERR_NOMEM;
}

static void test_serve_without_memory(void **state)
{
    (void)state;
    char *const paths[] = {"/f/u/echo", "/f/u/later", "/fa/u/echo"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(paths); i++) {
        struct fm_http_config config = default_config();
        restart_http(&config); /* no request is kept from before */
        assert_true(torture(serve_under_torture, paths[i]) > 1);
        pump();
        assert_int_equal(counts().open, 0);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wait),
        TEST(test_answer_is_not_slept_over),
        TEST(test_many_wait),
        TEST(test_client_leaves),
        TEST(test_half_close_is_a_hang_up),
        TEST(test_half_close_may_be_no_hang_up),
        TEST(test_pipelined_bytes_are_no_hang_up),
        TEST(test_end_together_with_the_last_bytes),
        TEST(test_left_before_the_wait),
        TEST(test_end_between_two_calls),
        TEST(test_client_leaves_in_mid_body),
        TEST(test_slow_head),
        TEST(test_slow_body),
        TEST(test_in_time),
        TEST(test_a_call_may_take_its_time),
        TEST(test_idle_connection),
        TEST(test_connections_at_the_limit),
        TEST(test_drain),
        TEST(test_free_with_everything_under_way),
        TEST(test_start_without_memory),
        TEST(test_serve_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
