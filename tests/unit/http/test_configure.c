/* test_configure.c - PATCH /f/<user>/<function>: what a patch asks of the deployer, every mistake
 * in one, and clients that leave. */
#include "http/harness.h"

#include "http/front.h"

#define TYPE "application/merge-patch+json"

static void patch_to(struct peer *peer, const char *path, const char *type, const char *body)
{
    char text[4096];
    (void)snprintf(text, sizeof(text),
                   "PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   path, type, strlen(body), body);
    say(peer, text);
    pump();
}

static void patch(struct peer *peer, const char *body)
{
    patch_to(peer, "/f/u/echo", TYPE, body);
}

/* The answer, which must have all of these. */
static void expect_parts(struct peer *peer, const char *const *parts, size_t count)
{
    struct reply reply = listen_for(peer, false);
    assert_int_equal(reply.status, 200);
    for (size_t i = 0; i < count; i++)
        if (!strstr(reply.body, parts[i]))
            fail_msg("no '%s' in '%s'", parts[i], reply.body);
    free(reply.body);
}

static void test_all_kinds(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "\"version\":\"v2\"",
        "\"wall_ms\":1500",
        "\"cpu_ms\":7",
        "\"retention_ms\":3600000",
        "\"env\":{\"A\":\"\",\"B\":\"b=\\u0001\"}",
        "\"args\":[\"-v\",\"\"]",
        "\"calls\":{\"total\":7,\"failed\":2}",
    };
    struct peer peer = dial();
    patch(&peer, "{\"limits\":{\"wall_ms\":\"1.5s\",\"cpu_ms\":7,\"retention_ms\":null},"
                 "\"env\":{\"A\":\"\",\"B\":\"b=\\u0001\",\"C\":null},\"args\":[\"-v\",\"\"]}");
    assert_no_reply(&peer); /* not before every worker knows it */
    assert_non_null(deploying);
    assert_null(deploying->upload);
    assert_string_equal(deploying->wanted.user, "u");
    assert_string_equal(deploying->wanted.function, "echo");
    const struct fm_change *change = deploying->change;
    assert_int_equal(__builtin_popcountll(change->limits_given), 3);
    assert_false(change->env_cleared);
    assert_int_equal(change->env_count, 3);
    assert_string_equal(change->env[2].name, "C");
    assert_null(change->env[2].value);
    assert_int_equal(change->args_count, 2);
    finish_deploy(0);
    expect_parts(&peer, parts, FM_ARRAY_LENGTH(parts));
    assert_int_equal(counts().operations, 0);
    hang_up(&peer);
}

static void test_nothing_and_null(void **state)
{
    (void)state;
    struct peer peer = dial();
    patch_to(&peer, "/f/u/echo/more", "Application/JSON; charset=utf-8", "{}");
    assert_int_equal(deploying->change->limits_given, 0);
    assert_int_equal(deploying->change->env_count, 0);
    assert_false(deploying->change->env_cleared || deploying->change->args_given);
    finish_deploy(0);
    expect_parts(&peer, NULL, 0);

    patch(&peer, "{\"limits\":{},\"env\":{},\"args\":[]}");
    assert_int_equal(deploying->change->limits_given, 0);
    assert_false(deploying->change->env_cleared);
    assert_true(deploying->change->args_given);
    finish_deploy(0);
    expect_parts(&peer, NULL, 0);

    struct fm_limits defaults;
    fm_limits_defaults(&defaults);
    patch(&peer, "{\"limits\":null,\"env\":null,\"args\":null}");
    assert_int_equal(__builtin_popcountll(deploying->change->limits_given), fm_limit_rows_count);
    assert_memory_equal(&deploying->change->limits, &defaults, sizeof(defaults));
    assert_true(deploying->change->env_cleared && deploying->change->args_given);
    assert_int_equal(deploying->change->args_count, 0);
    finish_deploy(0);
    expect_parts(&peer, NULL, 0);
    hang_up(&peer);
}

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        const char *detail;
    } rows[] = {
        {"", "not JSON"},
        {"{", "line 1, column 1"},
        {"[]", "not a JSON object"},
        {"{\"limit\":{}}", "limit: cannot be changed"},
        {"{\"name\":\"bob\"}", "name: cannot"},
        {"{\"limits\":5}", "limits: neither"},
        {"{\"limits\":[]}", "limits: neither"},
        {"{\"limits\":{\"\":5}}", "limits.: there is no such limit"},
        {"{\"limits\":{\"cpu_ms\":0}}", "limits.cpu_ms: '0s' is not between 1ms and 1h"},
        {"{\"limits\":{\"cpu_ms\":-1}}", "limits.cpu_ms: neither"},
        {"{\"limits\":{\"cpu_ms\":1.5}}", "limits.cpu_ms: neither"},
        {"{\"limits\":{\"cpu_ms\":true}}", "limits.cpu_ms: neither"},
        {"{\"limits\":{\"cpu_ms\":\"ten\"}}", "limits.cpu_ms: 'ten'"},
        {"{\"limits\":{\"cpu_ms\":\"2h\"}}", "limits.cpu_ms: '2h' is not between"},
        {"{\"limits\":{\"cpu_ms\":5,\"cpu_ms\":6}}", "uplicate"},
        {"{\"env\":[]}", "env: neither"},
        {"{\"env\":{\"\":\"x\"}}", "env.: not a name"},
        {"{\"env\":{\"A=B\":\"x\"}}", "env.A=B: not a name"},
        {"{\"env\":{\"A\":5}}", "env.A: neither a text nor null"},
        {"{\"env\":{\"A\":\"x\\u0000\"}}", "not JSON: line 1"},
        {"{\"env\":{\"A\\u0000\":\"x\"}}", "not JSON: line 1"},
        {"{\"env\":{\"A\":\"\xff\"}}", "not JSON: line 1"},
        {"{\"env\":{\"A\":\"\\ud800\"}}", "not JSON: line 1"},
        {"{\"args\":\"x\"}", "args: neither"},
        {"{\"args\":{}}", "args: neither"},
        {"{\"args\":[\"a\",null]}", "args[1]: not a text"},
        {"{\"args\":[\"a\\u0000\"]}", "not JSON: line 1"},
    };
    struct peer peer = dial();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        patch(&peer, rows[i].body);
        expect_problem(&peer, 400, "bad_request", rows[i].detail);
        assert_null(deploying);
    }
    patch_to(&peer, "/f/u/echo", "text/plain", "{}");
    expect_problem(&peer, 400, "bad_request", TYPE);
    patch_to(&peer, "/f/u/echo?limit.cpu_ms=5", TYPE, "{}");
    expect_problem(&peer, 400, "bad_request", "'limit.cpu_ms'");
    patch_to(&peer, "/f/u/nobody", TYPE, "{}");
    expect_problem(&peer, 404, "not_found", "");
    patch_to(&peer, "/f/u/..", TYPE, "{}");
    expect_problem(&peer, 400, "bad_name", "function");
    hang_up(&peer);
}

/* A key of any length is cut in the message. */
static void test_a_long_key(void **state)
{
    (void)state;
    char key[1001];
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    struct peer peer = dial();
    static const char *const starts[] = {"{", "{\"limits\":{", "{\"env\":{"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(starts); i++) {
        char body[2048];
        (void)snprintf(body, sizeof(body), "%s\"%s\":1}%s", starts[i], key, i > 0 ? "}" : "");
        patch(&peer, body);
        expect_problem(&peer, 400, "bad_request", "kkkk: ");
    }
    hang_up(&peer);
}

static void test_refusals(void **state)
{
    (void)state;
    struct peer peer = dial();
    deploy_fails = FM_ERR_BUSY;
    patch(&peer, "{}");
    expect_problem(&peer, 503, "busy", "");
    deploy_fails = 0;
    patch(&peer, "{}");
    finish_deploy(FM_ERR_NOT_FOUND); /* removed meanwhile */
    expect_problem(&peer, 404, "not_found", "the deployer says");
    patch(&peer, "{\"env\":{\"A\":\"x\"}}");
    finish_deploy(FM_ERR_TOO_LARGE);
    expect_problem(&peer, 413, "too_large", "the deployer says");
    patch(&peer, "{}");
    finish_deploy(FM_ERR_STORAGE_FULL);
    expect_problem(&peer, 507, "storage_full", "the deployer says");
    assert_int_equal(counts().operations, 0);
    hang_up(&peer);
}

/* At its edge; one byte more is refused before it comes. */
static void test_a_large_body(void **state)
{
    (void)state;
    static char body[64 * 1024 + 2];
    struct peer peer = dial();
    for (int more = 0; more < 2; more++) {
        size_t bytes = 64 * 1024 + (size_t)more;
        char head[256];
        memset(body, ' ', sizeof(body));
        memcpy(body, "{}", 2);
        body[bytes] = '\0';
        (void)snprintf(head, sizeof(head),
                       "PATCH /f/u/echo HTTP/1.1\r\nHost: x\r\nContent-Type: " TYPE
                       "\r\nContent-Length: %zu\r\n\r\n",
                       bytes);
        say(&peer, head);
        if (more) {
            expect_problem(&peer, 413, "too_large", "65536");
            break;
        }
        say(&peer, body);
        pump();
        finish_deploy(0);
        expect_parts(&peer, NULL, 0);
    }
    hang_up(&peer);
}

static void test_a_client_that_leaves_has_its_change(void **state)
{
    (void)state;
    struct peer peer = dial();
    patch(&peer, "{\"env\":{\"A\":\"x\"},\"args\":[\"y\"]}");
    hang_up(&peer);
    pump();
    assert_int_equal(counts().operations, 1);
    assert_string_equal(deploying->change->env[0].value, "x"); /* all of it is still there */
    assert_string_equal(deploying->change->args[0], "y");
    finish_deploy(0);
    assert_int_equal(counts().operations, 0);
}

/* Clients that do not wait could fill the pool with them, which all others need as well. */
static void test_too_many_at_once(void **state)
{
    (void)state;
    struct fm_deploy *begun[FM_HTTP_CONFIGURATIONS_MAX];
    for (size_t i = 0; i < FM_HTTP_CONFIGURATIONS_MAX; i++) {
        struct peer peer = dial();
        patch(&peer, "{}");
        begun[i] = deploying;
        hang_up(&peer);
        pump();
    }
    struct peer peer = dial();
    deploying = NULL;
    patch(&peer, "{}");
    assert_null(deploying);
    expect_problem(&peer, 503, "busy", "too many functions");
    for (size_t i = 0; i < FM_HTTP_CONFIGURATIONS_MAX; i++) {
        deploying = begun[i];
        finish_deploy(i == 0 ? FM_ERR_STORAGE_FULL : 0);
    }
    assert_int_equal(counts().operations, 0);
    patch(&peer, "{}");
    finish_deploy(0);
    expect_parts(&peer, NULL, 0);
    hang_up(&peer);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_all_kinds),
        TEST(test_nothing_and_null),
        TEST(test_mistakes),
        TEST(test_a_long_key),
        TEST(test_refusals),
        TEST(test_a_large_body),
        TEST(test_a_client_that_leaves_has_its_change),
        TEST(test_too_many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
