/* test_users.c - GET and PATCH /users/<user>: the form of both, and every mistake in a patch. */
#include "http/harness.h"

#define TYPE "application/merge-patch+json"

static void patch_as(struct peer *peer, const char *type, const char *body)
{
    char text[2048];
    (void)snprintf(text, sizeof(text),
                   "PATCH /users/ada HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n"
                   "Content-Length: %zu\r\n\r\n%s",
                   type, strlen(body), body);
    say(peer, text);
    pump();
}

static void patch(struct peer *peer, const char *body)
{
    patch_as(peer, TYPE, body);
}

#define FORM                                                                                       \
    "{\"name\":\"%s\",\"weight\":%d,\"quotas\":{\"concurrency\":%d,\"queue_length\":10000,"        \
    "\"requests_per_s\":0,\"cpu_percent\":0,\"memory_bytes\":%lld,\"files_bytes\":1073741824,"     \
    "\"files_count\":10000},\"use\":{\"calls\":3,"                                                 \
    "\"queued\":0,\"accepted\":0,\"memory_bytes\":0,\"requests\":0,\"refused\":0,\"finished\":0,"  \
    "\"failed\":0,"                                                                                \
    "\"cpu_us\":3000,\"wall_us\":0,\"input_bytes\":0,\"output_bytes\":0,\"files_bytes\":null,"     \
    "\"files_count\":null}}\n"

static const char *form(int weight, int concurrency, long long memory_bytes)
{
    static char text[1024];
    (void)snprintf(text, sizeof(text), FORM, "ada", weight, concurrency, memory_bytes);
    return text;
}

static void test_get(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "GET", "/users/ada");
    expect_body(&peer, 200, form(100, 10000, 0));
    request(&peer, "GET", "/users/..");
    expect_problem(&peer, 400, "bad_name", "user");
    request(&peer, "GET", "/users/ada?x=1");
    expect_problem(&peer, 400, "bad_request", "'x'");
    request(&peer, "DELETE", "/users/ada");
    expect_problem(&peer, 405, "method_not_allowed",
                   "DELETE is not allowed here; there are GET, HEAD, PATCH, OPTIONS");
    request(&peer, "GET", "/users");
    expect_problem(&peer, 404, "not_found", "path");
    hang_up(&peer);
}

static void test_patch(void **state)
{
    (void)state;
    struct peer peer = dial();
    patch(&peer, "{\"weight\":7,\"quotas\":{\"concurrency\":5,\"memory_bytes\":\"1MiB\","
                 "\"cpu_percent\":null}}");
    assert_no_reply(&peer); /* not before every worker knows it */
    assert_non_null(changing);
    assert_string_equal(changing->name, "ada");
    assert_true(fm_quota_set_has(&changing->cleared, fm_quota_row_find("cpu_percent")));
    assert_false(fm_quota_set_has(&changing->set, fm_quota_row_find("cpu_percent")));
    finish_change(0);
    expect_body(&peer, 200, form(7, 5, 1048576));

    patch(&peer, "{\"quotas\":null}"); /* all of them, and not the weight */
    assert_true(fm_quota_set_has(&changing->cleared, fm_quota_row_find("concurrency")));
    assert_true(fm_quota_set_has(&changing->cleared, fm_quota_row_find("files_count")));
    assert_false(fm_quota_set_has(&changing->cleared, fm_quota_row_find("weight")));
    finish_change(FM_ERR_STORAGE_FULL); /* the others stay, for what follows */
    expect_problem(&peer, 507, "storage_full", "");

    patch_as(&peer, "Application/JSON; charset=utf-8", "{}"); /* changes nothing, which is fine */
    assert_int_equal(changing->set.given | changing->cleared.given, 0);
    finish_change(0);
    expect_body(&peer, 200, form(7, 5, 1048576));

    patch(&peer, "{\"weight\":8}");
    finish_change(FM_ERR_STORAGE_FULL);
    expect_problem(&peer, 507, "storage_full", "the disk says");
    change_fails = FM_ERR_BUSY;
    patch(&peer, "{\"weight\":8}");
    expect_problem(&peer, 503, "busy", "");
    assert_int_equal(counts().operations, 0);
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
        {"{", "line 1"},
        {"[]", "not a JSON object"},
        {"{\"wieght\":1}", "wieght"},
        {"{\"name\":\"bob\"}", "name"},
        {"{\"use\":{}}", "use"},
        {"{\"quotas\":5}", "quotas: neither an object nor null"},
        {"{\"quotas\":{\"concurency\":5}}", "quotas.concurency"},
        {"{\"quotas\":{\"weight\":5}}", "quotas.weight"},
        {"{\"weight\":0}", "weight must be from 1 to 10000, not 0"},
        {"{\"weight\":10001}", "weight must be from 1 to 10000, not 10001"},
        {"{\"weight\":-1}", "weight: neither"},
        {"{\"weight\":1.5}", "weight: neither"},
        {"{\"weight\":\"much\"}", "'much'"},
        {"{\"weight\":true}", "weight: neither"},
        {"{\"weight\":1,\"weight\":2}", "uplicate"},
        {"{\"quotas\":{\"memory_bytes\":\"1XiB\"}}", "quotas.memory_bytes: '1XiB'"},
        {"{\"quotas\":{\"cpu_percent\":25601}}", "quotas.cpu_percent: cpu_percent must be"},
    };
    struct peer peer = dial();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        patch(&peer, rows[i].body);
        expect_problem(&peer, 400, "bad_request", rows[i].detail);
        assert_null(changing);
    }
    patch_as(&peer, "text/plain", "{}");
    expect_problem(&peer, 400, "bad_request", TYPE);
    patch_as(&peer, "application/jsonp", "{}");
    expect_problem(&peer, 400, "bad_request", TYPE);
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
                       "PATCH /users/ada HTTP/1.1\r\nHost: x\r\nContent-Type: " TYPE
                       "\r\nContent-Length: %zu\r\n\r\n",
                       bytes);
        say(&peer, head);
        if (more) {
            expect_problem(&peer, 413, "too_large", "65536");
            break;
        }
        say(&peer, body);
        pump();
        finish_change(0);
        expect_body(&peer, 200, form(100, 10000, 0));
    }
    hang_up(&peer);
}

static void test_a_client_that_leaves_has_its_change(void **state)
{
    (void)state;
    struct peer peer = dial();
    patch(&peer, "{\"weight\":9}");
    hang_up(&peer);
    pump();
    assert_int_equal(counts().operations, 1);
    finish_change(0);
    assert_int_equal(counts().operations, 0);
    assert_int_equal(quotas_now.weight, 9);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_get),
        TEST(test_patch),
        TEST(test_mistakes),
        TEST(test_a_large_body),
        TEST(test_a_client_that_leaves_has_its_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
