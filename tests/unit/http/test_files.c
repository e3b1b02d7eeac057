/* test_files.c - users' files over HTTP: to a real disk and from it, by a real pool, with clients
 * that leave, wait and press on. */
#include "http/harness.h"

#include <dirent.h>

#include "store/user_trees.h"
#include "torture.h"

#define PUT_PIECE 262144
#define GET_PIECE 65536

static struct fm_user_trees *trees;

static void give_quotas(void *data, const char *user, struct fm_quotas *ret_quotas)
{
    (void)data;
    (void)user;
    fm_quotas_defaults(ret_quotas);
}

static struct fm_http_config files_config(void)
{
    struct fm_http_config config = default_config();
    config.trees = trees;
    config.file_bytes_max = 8000000;
    return config;
}

static int setup_files(void **state)
{
    struct fm_error error = {0};
    assert_int_equal(setup_store(state), 0);
    const struct fm_user_trees_config config = {
        .functions = store,
        .contents_bytes_max = FM_MIB,
        .kept_bytes_max = FM_GIB,
        .names_max = 1000,
        .quotas = give_quotas,
    };
    assert_int_equal(fm_user_trees_open(&config, &trees, &error), 0);
    struct fm_http_config with_trees = files_config();
    restart_http(&with_trees);
    return 0;
}

static int teardown_files(void **state)
{
    http = fm_http_free(http);
    trees = fm_user_trees_close(trees); /* nobody holds a root or a content any more */
    return teardown_store(state);
}

static bool nothing_under_way(void)
{
    return counts().operations == 0;
}

static size_t count_in(const char *name)
{
    char path[100];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    DIR *list = opendir(path);
    size_t count = 0;
    for (struct dirent *entry; list && (entry = readdir(list)) != NULL;)
        count += entry->d_name[0] != '.';
    if (list)
        (void)closedir(list);
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

static void put(struct peer *peer, const char *path, const char *body, size_t bytes, int status)
{
    put_head(peer, path, bytes);
    (void)say_bytes(peer, body, bytes);
    struct reply reply = listen_for(peer, false);
    assert_int_equal(reply.status, status);
    free(reply.body);
}

static void expect_file(struct peer *peer, const char *path, const char *body, size_t bytes)
{
    request(peer, "GET", path);
    struct reply reply = listen_for(peer, false);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.length, bytes);
    assert_memory_equal(reply.body, body, bytes);
    free(reply.body);
}

static void test_sizes_around_pieces(void **state)
{
    (void)state;
    static const size_t sizes[] = {
        0,      1, GET_PIECE - 1, GET_PIECE, GET_PIECE + 1, PUT_PIECE - 1, PUT_PIECE, PUT_PIECE + 1,
        1000000};
    struct peer peer = dial();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sizes); i++) {
        char *body = pattern(sizes[i]);
        put(&peer, "/files/u/f", body, sizes[i], i > 0 ? 200 : 201);
        expect_file(&peer, "/files/u/f", body, sizes[i]);
        request(&peer, "HEAD", "/files/u/f");
        struct reply reply = listen_for(&peer, true);
        assert_int_equal(reply.status, 200);
        assert_int_equal(atol(header_of(&reply, "Content-Length")), sizes[i]);
        free(reply.body);
        free(body);
    }
    pump_until(nothing_under_way);
    assert_int_equal(count_in("incoming"), 0);
    hang_up(&peer);
}

static void test_lists_and_removals(void **state)
{
    (void)state;
    struct peer peer = dial();
    put(&peer, "/files/u/a/b", "12", 2, 201);
    put(&peer, "/files/u/a%20c", "123", 3, 201);
    request(&peer, "GET", "/files/u/");
    struct reply reply = listen_for(&peer, false);
    assert_non_null(strstr(reply.body, "\"name\":\"a\",\"type\":\"folder\",\"bytes\":2,"));
    assert_non_null(strstr(reply.body, "\"name\":\"a c\",\"type\":\"file\",\"bytes\":3,"));
    assert_non_null(strstr(reply.body, "\"next\":null}"));
    free(reply.body);
    request(&peer, "DELETE", "/files/u/a");
    expect_problem(&peer, 409, "conflict", "not empty");
    request(&peer, "DELETE", "/files/u/a?recursive=1");
    expect_body(&peer, 204, "");
    request(&peer, "GET", "/files/u/a/b");
    expect_problem(&peer, 404, "not_found", "no such file");
    request(&peer, "GET", "/files/v");
    expect_problem(&peer, 404, "not_found", "no such file");
    hang_up(&peer);
}

static void test_bad_paths(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *detail;
    } paths[] = {
        {"/files/u/a%2fb", "an encoded slash, at byte 10"},
        {"/files/u/a/%00", "an encoded NUL, at byte 11"},
        {"/files/u/%zz", "a bad escape, at byte 9"},
        {"/files/u/a/../b", "'..'"},
        {"/files/u/a//b", "an empty name"},
        {"/files/u/%ff", "UTF-8"},
        {"/files/.u/b", "bad name of a user"},
    };
    struct peer peer = dial();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(paths); i++) {
        request(&peer, "GET", paths[i].path);
        expect_problem(&peer, 400, "bad_name", paths[i].detail);
        put_head(&peer, paths[i].path, 0);
        expect_problem(&peer, 400, "bad_name", paths[i].detail);
    }
    put_head(&peer, "/files/u/a/", 0);
    expect_problem(&peer, 400, "bad_name", "slash");
    hang_up(&peer);
}

static void test_client_leaves_in_mid_body(void **state)
{
    (void)state;
    struct peer peer = dial();
    char *body = pattern(PUT_PIECE + 10);
    put_head(&peer, "/files/u/f", 1000000);
    assert_true(say_bytes(&peer, body, PUT_PIECE + 10));
    hang_up(&peer);
    pump();
    pump_until(nothing_under_way);
    pump();
    assert_int_equal(counts().open, 0);
    assert_int_equal(count_in("incoming"), 0);
    assert_int_equal(count_in("files/u"), 0);
    free(body);
}

/* Everything has come: it is done, whether or not somebody waits for the answer. */
static void test_client_leaves_after_its_body(void **state)
{
    (void)state;
    struct peer peer = dial();
    put_head(&peer, "/files/u/f", 5);
    say(&peer, "hello");
    fm_loop_pass(loop, 0);
    (void)fm_http_turn(http);
    hang_up_hard(&peer);
    pump();
    pump_until(nothing_under_way);
    peer = dial();
    expect_file(&peer, "/files/u/f", "hello", 5);
    hang_up(&peer);
}

static void test_half_closed_client_gets_its_file(void **state)
{
    (void)state;
    struct peer peer = dial();
    char *body = pattern(3000000);
    put(&peer, "/files/u/f", body, 3000000, 201);
    request(&peer, "GET", "/files/u/f");
    assert_int_equal(shutdown(peer.fd, SHUT_WR), 0);
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.length, 3000000);
    assert_memory_equal(reply.body, body, 3000000);
    free(reply.body);
    free(body);
    hang_up(&peer);
}

static void test_client_leaves_in_mid_download(void **state)
{
    (void)state;
    struct peer peer = dial();
    char *body = pattern(8000000);
    put(&peer, "/files/u/f", body, 8000000, 201);
    for (int hard = 0; hard < 2; hard++) {
        request(&peer, "GET", "/files/u/f");
        for (int i = 0; i < 20; i++) {
            pump();
            (void)poll(NULL, 0, 1);
        }
        if (hard)
            hang_up_hard(&peer);
        else
            hang_up(&peer);
        pump();
        pump_until(nothing_under_way);
        pump();
        assert_int_equal(counts().open, 0);
        peer = dial();
    }
    expect_file(&peer, "/files/u/f", body, 8000000);
    hang_up(&peer);
    free(body);
}

/* A download goes on with the version that it began with. */
static void test_replaced_in_mid_download(void **state)
{
    (void)state;
    struct peer peers[2] = {dial(), dial()};
    char *body = pattern(8000000);
    put(&peers[0], "/files/u/f", body, 8000000, 201);
    request(&peers[0], "GET", "/files/u/f");
    for (int i = 0; i < 10; i++) {
        pump();
        (void)poll(NULL, 0, 1);
    }
    put(&peers[1], "/files/u/f", "new", 3, 200);
    request(&peers[1], "DELETE", "/files/u?recursive=1");
    expect_body(&peers[1], 204, "");
    struct reply reply = listen_for(&peers[0], false);
    assert_int_equal(reply.length, 8000000);
    assert_memory_equal(reply.body, body, 8000000);
    free(reply.body);
    free(body);
    pump();
    assert_int_equal(count_in("trash"), 0);
    hang_up(&peers[0]);
    hang_up(&peers[1]);
}

static void test_free_with_files_under_way(void **state)
{
    (void)state;
    struct peer peers[4] = {dial(), dial(), dial(), dial()};
    char *body = pattern(8000000);
    put(&peers[0], "/files/u/f", body, 8000000, 201);
    request(&peers[0], "GET", "/files/u/f");
    put_head(&peers[1], "/files/u/g", 1000000);
    assert_true(say_bytes(&peers[1], body, PUT_PIECE));
    put_head(&peers[2], "/files/u/h", 5);
    say(&peers[2], "hello");
    request(&peers[3], "DELETE", "/files/u/f");
    fm_loop_pass(loop, 0);
    (void)fm_http_turn(http);
    fm_http_close(http);
    http = fm_http_free(http);
    assert_int_equal(count_in("incoming"), 0);
    free(body);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(peers); i++)
        hang_up(&peers[i]);
}

static void test_too_many_at_once(void **state)
{
    (void)state;
    struct fm_http_config config = files_config();
    config.connections_max = 300;
    restart_http(&config);
    static struct peer peers[257];
    for (size_t i = 0; i < FM_ARRAY_LENGTH(peers); i++) {
        char path[32];
        peers[i] = dial();
        (void)snprintf(path, sizeof(path), "/files/u/f%zu", i);
        put_head(&peers[i], path, 5);
        pump();
    }
    say(&peers[256], "hello");
    expect_problem(&peers[256], 503, "busy", "too many files");
    say(&peers[0], "hello");
    struct reply reply = listen_for(&peers[0], false);
    assert_int_equal(reply.status, 201);
    free(reply.body);
    put(&peers[0], "/files/u/more", "hello", 5, 201);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(peers); i++)
        hang_up(&peers[i]);
}

/* The body has time again with each piece, not only once. */
static void test_slow_and_stalled_bodies(void **state)
{
    (void)state;
    struct peer slow = dial();
    struct peer stalled = dial();
    char *body = pattern(4 * PUT_PIECE);
    put_head(&slow, "/files/u/slow", 4 * PUT_PIECE);
    put_head(&stalled, "/files/u/stalled", 4 * PUT_PIECE);
    for (size_t i = 0; i < 4; i++) {
        assert_true(say_bytes(&slow, body + i * PUT_PIECE, PUT_PIECE));
        pump();
        pump_until(nothing_under_way);
        advance(2 * FM_NS_PER_S); /* of the three that it has */
    }
    struct reply reply = listen_for(&slow, false);
    assert_int_equal(reply.status, 201);
    free(reply.body);
    free(body);
    hear(&stalled);
    assert_true(stalled.ended);
    pump_until(nothing_under_way);
    assert_int_equal(count_in("incoming"), 0);
    hang_up(&slow);
    hang_up(&stalled);
}

static void test_over_the_size(void **state)
{
    (void)state;
    struct peer peer = dial();
    put_head(&peer, "/files/u/f", 8000001);
    expect_problem(&peer, 413, "too_large", "8000001 bytes, at most 8000000");
    assert_closed(&peer);
    hang_up(&peer);
}

/* The worker's steps, with one allocation after the other failing. */
static int under_torture(void *data)
{
    const char *text = data;
    struct peer peer = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(connect(peer.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
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
    assert_true(got <= 0 || strstr(answer, " 503 ") || strstr(answer, " 20"));
    return strstr(answer, " 20") ? 0 : FM_ERR_NOMEM;
}

static void test_without_memory(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "PUT /files/u/a/f HTTP/1.1\r\nContent-Length: 6\r\n\r\nsecret",
        "GET /files/u/a/f HTTP/1.1\r\n\r\n",
        "GET /files/u/a?limit=1&after=b HTTP/1.1\r\n\r\n",
    };
    struct peer peer = dial();
    put(&peer, "/files/u/a/f", "secret", 6, 201);
    hang_up(&peer);
    for (size_t i = 0; i < 3; i++)
        assert_true(torture(under_torture, (void *)(uintptr_t)texts[i]) > 1);
    pump();
    assert_int_equal(counts().open, 0);
    assert_int_equal(count_in("incoming"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_files, teardown_files)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sizes_around_pieces),
        TEST(test_lists_and_removals),
        TEST(test_bad_paths),
        TEST(test_client_leaves_in_mid_body),
        TEST(test_client_leaves_after_its_body),
        TEST(test_half_closed_client_gets_its_file),
        TEST(test_client_leaves_in_mid_download),
        TEST(test_replaced_in_mid_download),
        TEST(test_free_with_files_under_way),
        TEST(test_too_many_at_once),
        TEST(test_over_the_size),
        TEST(test_slow_and_stalled_bodies),
        TEST(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
