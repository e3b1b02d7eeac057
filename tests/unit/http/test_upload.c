/* test_upload.c - PUT: to a real disk by a real pool, and to a deployer that does as it is told. */
#include "http/harness.h"

#include <dirent.h>
#include <sys/stat.h>

#include "torture.h"

#define PIECE 262144

static bool deploy_asked(void)
{
    return deploying != NULL;
}

static bool nothing_under_way(void)
{
    return counts().operations == 0;
}

static bool no_connection(void)
{
    return counts().open == 0;
}

/* Folders of uploads on the disk. */
static size_t uploads_on_disk(void)
{
    char path[100];
    (void)snprintf(path, sizeof(path), "%s/incoming", folder);
    DIR *incoming = opendir(path);
    assert_non_null(incoming);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(incoming)) != NULL;)
        count += entry->d_name[0] != '.';
    (void)closedir(incoming);
    return count;
}

static char *pattern(size_t bytes)
{
    char *data = malloc(bytes + 1);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (char)(i * 31 + i / 251);
    return data;
}

static void put_head(struct peer *peer, const char *path, size_t bytes)
{
    char head[600];
    (void)snprintf(head, sizeof(head), "PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
                   path, bytes);
    say(peer, head);
}

static void put(struct peer *peer, const char *path, const char *body, size_t bytes)
{
    put_head(peer, path, bytes);
    (void)say_bytes(peer, body, bytes);
}

/* What the deployer got is what was sent. */
static void assert_stored(const char *body, size_t bytes)
{
    assert_int_equal(fm_upload_bytes(deploying->upload), bytes);
    FILE *file = fopen(fm_upload_wasm_path(deploying->upload), "rb");
    assert_non_null(file);
    char *content = malloc(bytes + 1);
    assert_int_equal(fread(content, 1, bytes + 1, file), bytes);
    assert_memory_equal(content, body, bytes);
    free(content);
    (void)fclose(file);
}

static void test_sizes_around_a_piece(void **state)
{
    (void)state;
    static const size_t sizes[] = {1,         PIECE - 1,     PIECE,  PIECE + 1,
                                   2 * PIECE, 2 * PIECE + 1, 1000000};
    struct peer peer = dial();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sizes); i++) {
        char *body = pattern(sizes[i]);
        put(&peer, "/f/u/new", body, sizes[i]);
        pump_until(deploy_asked);
        assert_stored(body, sizes[i]);
        assert_string_equal(deploying->wanted.user, "u");
        assert_string_equal(deploying->wanted.function, "new");
        deploying->replaced = i > 0;
        finish_deploy(0);
        struct reply reply = listen_for(&peer, false);
        assert_int_equal(reply.status, i > 0 ? 200 : 201);
        if (i == 0)
            assert_string_equal(header_of(&reply, "Location"), "/f/u/new");
        assert_non_null(strstr(reply.body, "\"version\":\"v2\""));
        assert_non_null(strstr(reply.body, "\"calls\":{\"total\":0,\"failed\":0}"));
        free(reply.body);
        free(body);
    }
    pump_until(nothing_under_way);
    assert_int_equal(uploads_on_disk(), 0);
    hang_up(&peer);
}

static void test_chunks_and_file_name(void **state)
{
    (void)state;
    struct peer peer = dial();
    char *body = pattern(600000);
    say(&peer, "PUT /f/u/new/x.wasm?env.A=b&limit.cpu_ms=5s&arg=q HTTP/1.1\r\nHost: h\r\n"
               "Transfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < 600000; at += 100000) { /* chunks do not end where pieces do */
        say(&peer, "186a0\r\n");
        assert_true(say_bytes(&peer, body + at, 100000));
        say(&peer, "\r\n");
    }
    say(&peer, "0\r\n\r\n");
    pump_until(deploy_asked);
    assert_stored(body, 600000);
    assert_int_equal(deploying->wanted.limits.cpu_ms, 5000);
    assert_string_equal(deploying->wanted.env[0], "A=b");
    assert_string_equal(deploying->wanted.args[0], "q");
    finish_deploy(0);
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 201);
    assert_non_null(strstr(reply.body, "\"env\":{\"A\":\"b\"},\"args\":[\"q\"]"));
    free(reply.body);
    free(body);
    hang_up(&peer);
}

/* The library goes on with the next chunk in the very call in which the request was put aside, when
 * the piece was full exactly at the end of a chunk. */
static void test_piece_ends_with_a_chunk(void **state)
{
    (void)state;
    struct peer peer = dial();
    char *body = pattern(PIECE + 5);
    size_t bytes = 0;
    char *text = malloc(PIECE + 500);
    bytes += (size_t)sprintf(text, "PUT /f/u/new HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                                   "40000\r\n");
    memcpy(text + bytes, body, PIECE);
    bytes += PIECE;
    bytes += (size_t)sprintf(text + bytes, "\r\n5\r\n");
    memcpy(text + bytes, body + PIECE, 5);
    bytes += 5;
    bytes += (size_t)sprintf(text + bytes, "\r\n0\r\n\r\n");
    assert_true(say_bytes(&peer, text, bytes));
    pump_until(deploy_asked);
    assert_stored(body, PIECE + 5);
    finish_deploy(0);
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 201);
    free(reply.body);
    free(text);
    free(body);
    hang_up(&peer);
}

/* Nothing at all is for the compiler to refuse, not for us. */
static void test_empty_body(void **state)
{
    (void)state;
    struct peer peer = dial();
    put(&peer, "/f/u/new", "", 0);
    pump_until(deploy_asked);
    assert_int_equal(fm_upload_bytes(deploying->upload), 0);
    finish_deploy(FM_ERR_BAD_MODULE);
    expect_problem(&peer, 422, "bad_module", "the deployer says");
    pump_until(nothing_under_way);
    assert_int_equal(uploads_on_disk(), 0);
    hang_up(&peer);
}

static void test_missing_imports_are_named(void **state)
{
    (void)state;
    const char *const names[] = {"env.a", "env.b"};
    struct peer peer = dial();
    deploy_lacks.missing = (struct fm_missing_imports){names, 2};
    put(&peer, "/f/u/new", "module", 6);
    pump_until(deploy_asked);
    finish_deploy(FM_ERR_UNSUPPORTED_MODULE);
    expect_problem(&peer, 422, "unsupported_module",
                   "\"detail\":\"the deployer says\",\"missing_imports\":[\"env.a\",\"env.b\"]}");
    deploy_lacks.missing = (struct fm_missing_imports){NULL, 9};
    put(&peer, "/f/u/new", "module", 6);
    pump_until(deploy_asked);
    finish_deploy(FM_ERR_UNSUPPORTED_MODULE);
    expect_problem(&peer, 422, "unsupported_module",
                   "\"missing_imports_omitted\":true,\"missing_imports_count\":9}");
    hang_up(&peer);
}

static void test_refused_before_the_body(void **state)
{
    (void)state;
    struct peer peer = dial();
    put(&peer, "/f/u/a%2fb", "x", 1);
    expect_problem(&peer, 400, "bad_name", "an encoded slash");
    put(&peer, "/f/u/new?limit.cpu_ms=0", "x", 1);
    expect_problem(&peer, 400, "bad_request", "limit.cpu_ms");
    put(&peer, "/f/u/new?wibble", "x", 1);
    expect_problem(&peer, 400, "bad_request", "wibble");
    put_head(&peer, "/f/u/new", 1000000);
    char *body = pattern(1000000);
    assert_true(say_bytes(&peer, body, 1000000));
    pump_until(deploy_asked); /* exactly at the limit */
    finish_deploy(0);
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 201);
    free(reply.body);
    put_head(&peer, "/f/u/new", 1000001);
    expect_problem(&peer, 413, "too_large", "1000001");
    assert_closed(&peer);
    assert_int_equal(uploads_on_disk(), 0);
    free(body);
    hang_up(&peer);
}

static void test_chunks_over_the_limit(void **state)
{
    (void)state;
    struct peer peer = dial();
    char *body = pattern(1000001);
    say(&peer, "PUT /f/u/new HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nf4241\r\n");
    size_t sent = 0;
    while (sent < 1000001) { /* the pool is slower than we are */
        size_t bytes = fm_min_u64(50000, 1000001 - sent);
        while (!say_bytes(&peer, body + sent, bytes))
            fail_msg("closed");
        sent += bytes;
        pump_until(nothing_under_way);
    }
    say(&peer, "\r\n0\r\n\r\n");
    expect_problem(&peer, 413, "too_large", "more than the 1000000");
    pump_until(nothing_under_way);
    assert_int_equal(uploads_on_disk(), 0);
    assert_null(deploying);
    free(body);
    hang_up(&peer);
}

/* The client leaves at each stage; nothing stays on the disk. */
static void test_client_leaves_in_mid_body(void **state)
{
    (void)state;
    for (size_t bytes = 0; bytes <= 2 * PIECE; bytes += PIECE) {
        struct peer peer = dial();
        char *body = pattern(bytes);
        say(&peer, "PUT /f/u/new HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
        assert_true(say_bytes(&peer, body, bytes));
        fm_loop_pass(loop, 0);
        (void)fm_http_turn(http); /* perhaps in the middle of writing a piece */
        hang_up_hard(&peer);
        pump_until(no_connection);
        pump_until(nothing_under_way);
        assert_int_equal(uploads_on_disk(), 0);
        assert_null(deploying);
        free(body);
    }
}

static void test_client_leaves_while_it_is_deployed(void **state)
{
    (void)state;
    for (int error = 0; error >= FM_ERR_BAD_MODULE; error += FM_ERR_BAD_MODULE) {
        struct peer peer = dial();
        put(&peer, "/f/u/new", "module", 6);
        pump_until(deploy_asked);
        hang_up_hard(&peer);
        pump();
        assert_int_equal(counts().operations, 1); /* what was sent in full is deployed */
        finish_deploy(error);
        pump_until(nothing_under_way);
        assert_int_equal(uploads_on_disk(), 0);
    }
}

/* An upload is answered even if its client has closed its sending side. */
static void test_half_closed_client(void **state)
{
    (void)state;
    struct peer others[2] = {dial(), dial()};
    struct peer peer = dial();
    put(&peer, "/f/u/new", "module", 6);
    assert_int_equal(shutdown(peer.fd, SHUT_WR), 0);
    pump_until(deploy_asked);
    finish_deploy(0);
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 201);
    free(reply.body);
    assert_int_equal(counts().hangups, 0);
    hang_up(&peer);
    hang_up(&others[0]);
    hang_up(&others[1]);
}

static void test_slow_upload(void **state)
{
    (void)state;
    struct peer peer = dial();
    char *body = pattern(PIECE);
    say(&peer, "PUT /f/u/new HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    assert_true(say_bytes(&peer, body, PIECE));
    pump_until(nothing_under_way);
    advance(3000 * MS - 1);
    assert_no_reply(&peer);
    advance(1);
    assert_closed(&peer);
    pump_until(nothing_under_way);
    assert_int_equal(uploads_on_disk(), 0);
    assert_int_equal(counts().timeouts, 1);
    free(body);
    hang_up(&peer);
}

static void test_disk_fails_in_mid_body(void **state)
{
    (void)state;
    struct peer peer = dial();
    char *body = pattern(700000);
    char path[100];
    (void)snprintf(path, sizeof(path), "%s/incoming", folder);
    assert_int_equal(rmdir(path), 0); /* no upload can begin */
    put(&peer, "/f/u/new", body, 700000);
    expect_problem(&peer, 500, "internal", "");
    pump_until(nothing_under_way);
    assert_null(deploying);
    request(&peer, "GET", "/healthz"); /* the connection is as good as before */
    expect_body(&peer, 200, "ok\n");
    assert_int_equal(mkdir(path, 0700), 0); /* for who looks into it at the end */
    free(body);
    hang_up(&peer);
}

static void test_deployer_is_full(void **state)
{
    (void)state;
    struct peer peer = dial();
    deploy_fails = FM_ERR_BUSY;
    put(&peer, "/f/u/new", "module", 6);
    expect_problem(&peer, 503, "busy", "being compiled");
    pump_until(nothing_under_way);
    assert_int_equal(uploads_on_disk(), 0);
    hang_up(&peer);
}

static void test_many_uploads(void **state)
{
    (void)state;
    struct fm_http_config config = default_config();
    config.connections_max = 100;
    restart_http(&config);
    struct peer peers[65];
    for (size_t i = 0; i < 65; i++) {
        peers[i] = dial();
        say(&peers[i], "PUT /f/u/new HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345");
        pump();
    }
    say(&peers[64], "67890");
    expect_problem(&peers[64], 503, "busy", "too many uploads");
    say(&peers[0], "67890");
    pump_until(deploy_asked);
    finish_deploy(0);
    struct reply reply = listen_for(&peers[0], false);
    assert_int_equal(reply.status, 201);
    free(reply.body);
    say(&peers[64], "PUT /f/u/new HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n1234567890");
    pump_until(deploy_asked);
    finish_deploy(0);
    for (size_t i = 0; i < 65; i++)
        hang_up(&peers[i]);
    pump_until(nothing_under_way);
}

/* The front is freed while pieces are being written and while one is deployed. */
static void test_free_with_uploads_under_way(void **state)
{
    (void)state;
    struct peer peers[2] = {dial(), dial()};
    char *body = pattern(PIECE);
    put(&peers[0], "/f/u/new", "module", 6);
    pump_until(deploy_asked);
    say(&peers[1], "PUT /f/u/new HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
    assert_true(say_bytes(&peers[1], body, PIECE));
    fm_loop_pass(loop, 0);
    (void)fm_http_turn(http);
    fm_http_close(http);
    finish_deploy(0);
    http = fm_http_free(http);
    assert_int_equal(uploads_on_disk(), 0);
    free(body);
    hang_up(&peers[0]);
    hang_up(&peers[1]);
}

/* The steps on the worker's thread, with one allocation after the other failing; the fake deployer
 * refuses.  Every answer is a 503, or the connection is closed. */
static int upload_under_torture(void *data)
{
    (void)data;
    struct peer peer = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(connect(peer.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    static const char text[] = "PUT /f/u/new?env.A=1&arg=x HTTP/1.1\r\n"
                               "Content-Length: 6\r\n\r\nmodule";
    assert_int_equal(send(peer.fd, text, strlen(text), 0), strlen(text));
    fm_http_connection(http, fd);
    pump();
    pump_until(nothing_under_way);
    pump();
    char answer[1000] = "";
    ssize_t got = recv(peer.fd, answer, sizeof(answer) - 1, MSG_DONTWAIT);
    (void)close(peer.fd);
    pump();
    pump_until(nothing_under_way);
    assert_true(got <= 0 || strstr(answer, " 503 "));
    return strstr(answer, "being compiled") ? 0 : FM_ERR_NOMEM;
}

static void test_upload_without_memory(void **state)
{
    (void)state;
    deploy_fails = FM_ERR_BUSY;
    assert_true(torture(upload_under_torture, NULL) > 1);
    pump();
    assert_int_equal(counts().open, 0);
    assert_int_equal(uploads_on_disk(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_store, teardown_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes_around_a_piece),
        TEST(test_chunks_and_file_name),
        TEST(test_piece_ends_with_a_chunk),
        TEST(test_empty_body),
        TEST(test_missing_imports_are_named),
        TEST(test_refused_before_the_body),
        TEST(test_chunks_over_the_limit),
        TEST(test_client_leaves_in_mid_body),
        TEST(test_client_leaves_while_it_is_deployed),
        TEST(test_half_closed_client),
        TEST(test_slow_upload),
        TEST(test_disk_fails_in_mid_body),
        TEST(test_deployer_is_full),
        TEST(test_many_uploads),
        TEST(test_free_with_uploads_under_way),
        TEST(test_upload_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
