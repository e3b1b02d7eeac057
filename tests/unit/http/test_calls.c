/* test_calls.c - POST /fa and everything below /calls, with a queue and a store that say what a
 * test tells them. */
#include "harness.h"

#include "base/limits.h"

#define ID "01234567-89ab-7002-8000-000000000003"
#define PATH "/calls/" ID

static struct fm_call_record record_of(enum fm_call_status status)
{
    static char texts[3][8] = {"u", "echo", "v"};
    return (struct fm_call_record){
        .id = {.high = UINT64_C(0x0123456789ab7002), .low = UINT64_C(0x8000000000000003)},
        .status = status,
        .attempt = 2,
        .user = texts[0],
        .function = texts[1],
        .version = texts[2],
        .created_real_ns = 5 * FM_NS_PER_S,
        .started_real_ns = 6 * FM_NS_PER_S,
    };
}

static void expect_json(struct peer *peer, int status, const char *part)
{
    struct reply reply = listen_for(peer, false);
    if (reply.status != status || !strstr(reply.body, part))
        fail_msg("expected %d '%s', got %d '%s'", status, part, reply.status, reply.body);
    assert_string_equal(header_of(&reply, "Content-Type"), "application/json");
    free(reply.body);
}

/* --- accepting -------------------------------------------------------------------------------- */

static void submit(struct peer *peer, const char *header, const char *value)
{
    char text[1024];
    (void)snprintf(text, sizeof(text),
                   "POST /fa/u/echo HTTP/1.1\r\nHost: h\r\n%s: %s\r\nContent-Length: 3\r\n\r\nabc",
                   header, value);
    say(peer, text);
}

static void test_accepted(void **state)
{
    (void)state;
    struct peer peer = dial();
    answers_held = true;
    post(&peer, "/fa/u/echo/ignored", "abc");
    assert_no_reply(&peer); /* not before it is on disk */
    finish_submit();
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 202);
    assert_string_equal(reply.body, "{\"id\":\"01234567-89ab-7002-0000-000000000003\","
                                    "\"status\":\"queued\"}\n");
    assert_string_equal(header_of(&reply, "Location"),
                        "/calls/01234567-89ab-7002-0000-000000000003");
    assert_string_equal(header_of(&reply, "X-Faasm-Durable"), "yes");
    free(reply.body);
    answers_held = false;
    post(&peer, "/fa/u/busy", "abc");
    expect_problem(&peer, 503, "busy", "too many");
    post(&peer, "/fa/u/small", "12345678901");
    expect_problem(&peer, 413, "too_large", "");
    submit_fails = FM_ERR_STORAGE_FULL;
    post(&peer, "/fa/u/echo", "abc");
    expect_problem(&peer, 507, "storage_full", "");
    hang_up(&peer);
}

static void test_quotas_at_acceptance(void **state)
{
    (void)state;
    struct peer peer = dial();
    request_retry_ns = 1500 * MS;
    post(&peer, "/fa/u/echo", "abc");
    struct reply reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 429);
    assert_string_equal(header_of(&reply, "Retry-After"), "2");
    assert_non_null(strstr(reply.body, "\"quota\":\"requests_per_s\""));
    free(reply.body);
    request_retry_ns = 0;
    queue_full = true;
    post(&peer, "/fa/u/echo", "abc");
    reply = listen_for(&peer, false);
    assert_int_equal(reply.status, 429);
    assert_string_equal(header_of(&reply, "Retry-After"), "1");
    assert_non_null(strstr(reply.body, "\"quota\":\"queue_length\""));
    free(reply.body);
    hang_up(&peer);
}

static void test_client_leaves_before_it_is_accepted(void **state)
{
    (void)state;
    struct peer peer = dial();
    answers_held = true;
    post(&peer, "/fa/u/echo", "abc");
    pump();
    hang_up_hard(&peer);
    pump();
    assert_int_equal(counts().operations, 1); /* it is accepted all the same */
    finish_submit();
    pump();
    assert_int_equal(counts().operations, 0);
    assert_int_equal(counts().open, 0);
}

static void test_keys(void **state)
{
    (void)state;
    struct peer peer = dial();
    submit(&peer, "idempotency-key", "order 66");
    expect_json(&peer, 202, "queued");
    assert_string_equal(submitted_key, "order 66");
    submit_found = true;
    submit(&peer, "Idempotency-Key", "order 66");
    expect_json(&peer, 202, "\"status\":\"succeeded\"");
    submit_fails = FM_ERR_CONFLICT;
    submit(&peer, "Idempotency-Key", "order 66");
    expect_problem(&peer, 409, "conflict", "another input");
    submit_fails = 0;
    submit(&peer, "Idempotency-Key", "");
    expect_problem(&peer, 400, "bad_request", "1 to 255 bytes, not 0");
    submit(&peer, "Idempotency-Key", "a\x7f");
    expect_problem(&peer, 400, "bad_request", "at byte 1");

    char key[FM_CALLS_KEY_BYTES_MAX + 2];
    for (int length = FM_CALLS_KEY_BYTES_MAX - 1; length <= FM_CALLS_KEY_BYTES_MAX + 1; length++) {
        memset(key, 'k', sizeof(key));
        key[length] = '\0';
        submit(&peer, "Idempotency-Key", key);
        if (length <= FM_CALLS_KEY_BYTES_MAX)
            expect_json(&peer, 202, "succeeded");
        else
            expect_problem(&peer, 400, "bad_request", "1 to 255 bytes, not 256");
    }
    hang_up(&peer);
}

static void test_delays(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;       /* UINT64_MAX: a mistake */
        const char *fault; /* in the answer to it */
    } delays[] = {
        {"0", 0, NULL},
        {"1", FM_NS_PER_S, NULL},
        {"1.5", 1500 * FM_NS_PER_MS, NULL},
        {"0.000000001", 1, NULL},
        {"2591999.9", 2591999900 * FM_NS_PER_MS, NULL},
        {"2592000", 2592000 * FM_NS_PER_S, NULL},
        {"2592000.1", UINT64_MAX, "at most 2592000"},
        {"2592001", UINT64_MAX, "at most 2592000"},
        {"99999999999999999999999999", UINT64_MAX, "at most 2592000"},
        {"", UINT64_MAX, "at byte 0"},
        {"-1", UINT64_MAX, "at byte 0"},
        {"1.", UINT64_MAX, "at byte 2"},
        {"1s", UINT64_MAX, "at byte 1"},
        {"1e3", UINT64_MAX, "at byte 1"},
        {"1.0000000001", UINT64_MAX, "nine decimals, at byte 11"},
    };
    struct peer peer = dial();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(delays); i++) {
        submit(&peer, "X-Faasm-Delay", delays[i].text);
        if (delays[i].ns == UINT64_MAX) {
            expect_problem(&peer, 400, "bad_request", delays[i].fault);
            continue;
        }
        expect_json(&peer, 202, "queued");
        assert_int_equal(submitted_delay_ns, delays[i].ns);
    }
    hang_up(&peer);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void test_record(void **state)
{
    (void)state;
    struct peer peer = dial();
    struct fm_call_record record = record_of(FM_STATUS_FAILED);
    record.cpu_ns = 7 * FM_NS_PER_US;
    record.exit_code = 1;
    record.input_bytes = 3;
    record.error = FM_ERR_GUEST_LIMIT;
    record.limit = (char[]){"cpu_ms"};
    record.detail = (char[]){"too \"slow\""};
    disk_has = &record;
    answers_held = true;
    request(&peer, "GET", PATH);
    assert_no_reply(&peer);
    assert_int_equal(counts().suspended, 1);
    assert_int_equal(counts().operations, 1);
    answer_disk();
    answer_queue(); /* nor is there a core dump */
    expect_body(&peer, 200,
                "{\"id\":\"" ID "\",\"user\":\"u\",\"function\":\"echo\",\"version\":\"v\","
                "\"status\":\"failed\",\"attempt\":2,\"created_at\":\"T5\",\"started_at\":\"T6\","
                "\"finished_at\":null,\"cpu_us\":7,\"wall_us\":0,\"memory_bytes\":0,"
                "\"exit_code\":1,\"input_bytes\":3,\"output_bytes\":0,"
                "\"error\":{\"code\":\"guest_limit\",\"detail\":\"too \\\"slow\\\"\","
                "\"backtrace\":\"\",\"limit\":\"cpu_ms\"},\"parent\":null,\"children\":[]}\n");

    answers_held = false;
    memory_dump = "dumped";
    request(&peer, "GET", PATH);
    expect_json(&peer, 200, "\"coredump_bytes\":6}");
    request(&peer, "GET", PATH "/coredump");
    expect_body(&peer, 200, "dumped");
    memory_dump = NULL;
    request(&peer, "GET", PATH "/coredump");
    expect_problem(&peer, 404, "not_found", "no core dump");
    record.status = FM_STATUS_RUNNING;
    record.error = 0;
    struct fm_id children[2] = {record.id, record.id};
    record.children = children;
    record.children_count = 2;
    record.parent = record.id;
    request(&peer, "GET", PATH);
    struct reply reply = listen_for(&peer, false);
    assert_non_null(strstr(reply.body, "\"exit_code\":null"));
    assert_non_null(strstr(reply.body, "\"error\":null,\"parent\":\"" ID "\","
                                       "\"children\":[\"" ID "\",\"" ID "\"]"));
    free(reply.body);
    record.status = FM_STATUS_CANCELLED;
    record.started_real_ns = 0; /* it never had an exit code */
    request(&peer, "GET", PATH);
    expect_json(&peer, 200, "\"exit_code\":null");
    assert_int_equal(counts().operations, 0);
    hang_up(&peer);
}

static void test_output_and_log(void **state)
{
    (void)state;
    struct peer peer = dial();
    struct fm_call_record record = record_of(FM_STATUS_SUCCEEDED);
    record.log_truncated = true;
    disk_has = &record;
    disk_output = "out";
    request(&peer, "GET", PATH "/output");
    expect_body(&peer, 200, "out");
    assert_true(asked_for_output);
    assert_false(asked_for_log);
    request(&peer, "GET", PATH "/log");
    struct reply reply = listen_for(&peer, false);
    assert_string_equal(reply.body, "out");
    assert_string_equal(header_of(&reply, "X-Faasm-Log-Truncated"), "1");
    free(reply.body);
    assert_true(asked_for_log);
    record.status = FM_STATUS_RUNNING;
    request(&peer, "GET", PATH "/output");
    expect_problem(&peer, 409, "conflict", "it is running");
    disk_has = NULL;
    request(&peer, "GET", PATH "/output");
    expect_problem(&peer, 404, "not_found", ID);
    hang_up(&peer);
}

/* The disk does not know it: perhaps its worker remembers. */
static void test_synchronous_calls(void **state)
{
    (void)state;
    struct peer peer = dial();
    struct fm_call_record record = record_of(FM_STATUS_SUCCEEDED);
    record.log_bytes = 2;
    memory_has = &record;
    request(&peer, "GET", PATH);
    expect_json(&peer, 200, "succeeded");
    assert_int_equal(asked_verb, FM_QUEUE_RECALL);
    request(&peer, "GET", PATH "/log");
    expect_body(&peer, 200, "ml");
    request(&peer, "GET", PATH "/output");
    expect_problem(&peer, 404, "not_found", "not kept");
    record.status = FM_STATUS_RUNNING;
    request(&peer, "GET", PATH "/output");
    expect_problem(&peer, 409, "conflict", "it is running");
    memory_has = NULL;
    request(&peer, "GET", PATH);
    expect_problem(&peer, 404, "not_found", ID);
    hang_up(&peer);
}

static void test_client_leaves_before_the_answer(void **state)
{
    (void)state;
    struct peer peer = dial();
    struct fm_call_record record = record_of(FM_STATUS_SUCCEEDED);
    disk_has = &record;
    disk_output = "out"; /* must not leak */
    answers_held = true;
    request(&peer, "GET", PATH "/output");
    pump();
    hang_up_hard(&peer);
    pump();
    answer_disk();
    pump();
    assert_int_equal(counts().open, 0);
    assert_int_equal(counts().operations, 0);
}

static void test_changes(void **state)
{
    (void)state;
    struct peer peer = dial();
    struct fm_call_record record = record_of(FM_STATUS_CANCELLED);
    memory_has = &record;
    request(&peer, "DELETE", PATH);
    expect_json(&peer, 202, "cancelled");
    assert_int_equal(asked_verb, FM_QUEUE_CANCEL);
    record.status = FM_STATUS_QUEUED;
    request(&peer, "POST", PATH "/redrive");
    expect_json(&peer, 202, "queued");
    assert_int_equal(asked_verb, FM_QUEUE_REDRIVE);
    queue_fails = FM_ERR_CONFLICT;
    record.status = FM_STATUS_FAILED;
    request(&peer, "POST", PATH "/redrive");
    expect_problem(&peer, 409, "conflict", "it is failed");
    queue_fails = FM_ERR_STORAGE_FULL;
    request(&peer, "DELETE", PATH);
    expect_problem(&peer, 507, "storage_full", "");
    queue_fails = 0;
    memory_has = NULL;
    request(&peer, "DELETE", PATH);
    expect_problem(&peer, 404, "not_found", ID);
    request(&peer, "DELETE", PATH "?x=1");
    expect_problem(&peer, 400, "bad_request", "unknown parameter 'x'");
    hang_up(&peer);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void test_wait_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *fault; /* NULL: it is fine */
    } queries[] = {
        {"?wait=299.9", NULL},          {"?wait=300", NULL},
        {"?wait=300.1", "at most 300"}, {"?wait=0", NULL},
        {"?wait=", "at byte 0"},        {"?wait=-1", "at byte 0"},
        {"?wait=5x", "at byte 1"},      {"?wait=1&wait=2", "one parameter too many"},
        {"?wait=1&x=2", "'x'"},         {"?x=2", "unknown parameter 'x', at byte 0"},
    };
    struct fm_call_record record = record_of(FM_STATUS_RUNNING);
    disk_has = &record;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(queries); i++) {
        struct peer peer = dial();
        char path[100];
        (void)snprintf(path, sizeof(path), PATH "%s", queries[i].query);
        request(&peer, "GET", path);
        if (queries[i].fault) {
            expect_problem(&peer, 400, "bad_request", queries[i].fault);
        } else {
            pump();
            if (waiting)
                finish_wait();
            expect_json(&peer, 200, "running");
        }
        hang_up(&peer);
        pump();
    }
    assert_int_equal(waits_made, 2);
}

static void test_wait_ends_with_the_call(void **state)
{
    (void)state;
    struct peer peer = dial();
    struct fm_call_record record = record_of(FM_STATUS_SUCCEEDED);
    disk_has = &record;
    request(&peer, "GET", PATH "?wait=10");
    assert_no_reply(&peer);
    assert_non_null(waiting);
    assert_null(asked); /* only when it has ended */
    finish_wait();
    expect_json(&peer, 200, "succeeded");
    advance(20 * FM_NS_PER_S);
    assert_int_equal(waits_stopped, 0);
    hang_up(&peer);
}

static void test_wait_ends_with_its_time(void **state)
{
    (void)state;
    struct peer peer = dial();
    struct fm_call_record record = record_of(FM_STATUS_RUNNING);
    disk_has = &record;
    request(&peer, "GET", PATH "?wait=0.25");
    advance(249 * FM_NS_PER_MS);
    assert_no_reply(&peer);
    advance(1 * FM_NS_PER_MS);
    expect_json(&peer, 200, "running");
    assert_int_equal(waits_stopped, 1);
    hang_up(&peer);
}

static void test_client_leaves_while_it_waits(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "GET", PATH "?wait=10");
    pump();
    hang_up_hard(&peer);
    pump();
    assert_int_equal(waits_stopped, 1);
    assert_int_equal(counts().open, 0);
    assert_int_equal(counts().operations, 0);
}

/* Everybody who waits is answered when the server drains; nobody begins to wait then. */
static void test_drain_ends_waiting(void **state)
{
    (void)state;
    struct peer peers[2] = {dial(), dial()};
    struct fm_call_record record = record_of(FM_STATUS_RUNNING);
    disk_has = &record;
    request(&peers[0], "GET", PATH "?wait=10");
    say(&peers[1], "GET " PATH "?wait=10 HTTP/1.1\r\n");
    pump();
    fm_http_drain(http);
    expect_json(&peers[0], 200, "running");
    assert_closed(&peers[0]);
    hang_up(&peers[0]);
    hang_up(&peers[1]);
    pump();
    assert_int_equal(counts().operations, 0);
}

static void test_close_while_somebody_waits(void **state)
{
    (void)state;
    struct peer peer = dial();
    request(&peer, "GET", PATH "?wait=10");
    pump();
    fm_http_close(http);
    assert_int_equal(counts().open, 0);
    assert_int_equal(waits_stopped, 1);
    wait_stopped = false;
    finish_wait();
    assert_int_equal(counts().operations, 0);
    hang_up(&peer);
}

/* --- lists ------------------------------------------------------------------------------------ */

#define LIST_ID(number) "01234567-89ab-7002-8000-00000000000" #number

/* Records whose ids end in the digits of `numbers`. */
static struct fm_call_record *records_of(const char *numbers)
{
    static struct fm_call_record lists[4][10];
    static unsigned next;
    struct fm_call_record *list = lists[next++ % 4];
    for (size_t i = 0; numbers[i]; i++) {
        list[i] = record_of(FM_STATUS_SUCCEEDED);
        list[i].id.low = UINT64_C(0x8000000000000000) + (uint64_t)(numbers[i] - '0');
    }
    return list;
}

/* The last digits of the ids on the page, and after a colon that of `next`. */
static void expect_page(struct peer *peer, const char *path, const char *expected)
{
    request(peer, "GET", path);
    struct reply reply = listen_for(peer, false);
    char page[32] = "";
    size_t length = 0;
    assert_int_equal(reply.status, 200);
    const char *at = reply.body;
    while ((at = strstr(at, "{\"id\":\"")) != NULL) {
        page[length++] = at[strlen("{\"id\":\"") + 35];
        at++;
    }
    const char *next = strstr(reply.body, "\"next\":\"");
    (void)snprintf(page + length, sizeof(page) - length, ":%.1s", next ? next + 8 + 35 : "-");
    assert_string_equal(page, expected);
    free(reply.body);
}

static void set_lists(const char *disk, const char *memory, const char *next)
{
    list_disk = records_of(disk);
    list_disk_count = strlen(disk);
    list_memory = records_of(memory);
    list_memory_count = strlen(memory);
    list_disk_next = (struct fm_id){0, 0};
    if (next[0])
        list_disk_next = records_of(next)[0].id;
}

static void test_pages(void **state)
{
    (void)state;
    struct peer peer = dial();
    set_lists("", "", "");
    expect_page(&peer, "/calls", ":-");
    set_lists("973", "861", "");
    expect_page(&peer, "/calls", "987631:-");
    expect_page(&peer, "/calls?limit=6", "987631:-");
    expect_page(&peer, "/calls?limit=5", "98763:3");
    expect_page(&peer, "/calls?limit=1", "9:9");
    set_lists("973", "", "3");
    expect_page(&peer, "/calls?limit=3", "973:3");
    set_lists("", "861", "");
    expect_page(&peer, "/calls?limit=3", "861:1"); /* there may be more */
    /* The disk has looked down to 5: what memory has below is for the next page. */
    set_lists("97", "8641", "5");
    expect_page(&peer, "/calls?limit=9", "9876:5");
    set_lists("", "41", "5");
    expect_page(&peer, "/calls?limit=9", ":5");
    hang_up(&peer);
}

static void test_list_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *query;
        const char *fault;
    } queries[] = {
        {"?limit=0", "1 to 1000, at byte 0"},
        {"?limit=1001", "1 to 1000"},
        {"?user=u&limit=x", "1 to 1000, at byte 7"},
        {"?user=.", "not a name"},
        {"?user=", "not a name"},
        {"?function=a%2fb", "not a name"},
        {"?status=done", "not a status of a call (queued, "},
        {"?after=1", "not the id of a call, at byte 0"},
        {"?user=u&user=u", "given twice, at byte 7"},
        {"?x=1", "no such parameter; there are user, function, status, limit and after"},
        {"?%zz", "bad escape"},
    };
    struct peer peer = dial();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(queries); i++) {
        char path[100];
        (void)snprintf(path, sizeof(path), "/calls%s", queries[i].query);
        request(&peer, "GET", path);
        expect_problem(&peer, 400, "bad_request", queries[i].fault);
    }
    answers_held = true;
    request(&peer, "GET", "/calls?user=u&function=f&status=dead&limit=999&after=" ID);
    pump();
    const struct fm_recent_filter *filter = &asked_memory->filter;
    assert_string_equal(filter->user, "u");
    assert_string_equal(filter->function, "f");
    assert_true(filter->by_status);
    assert_int_equal(filter->status, FM_STATUS_DEAD);
    assert_int_equal(asked_memory->limit, 999);
    answer_memory();
    assert_string_equal(asked_disk->user, "u");
    assert_string_equal(asked_disk->function, "f");
    assert_int_equal(asked_disk->status, FM_STATUS_DEAD);
    assert_int_equal(asked_disk->limit, 999);
    assert_int_equal(asked_disk->after.low, UINT64_C(0x8000000000000003));
    hang_up_hard(&peer); /* before the answer */
    pump();
    answer_list();
    pump();
    assert_int_equal(counts().operations, 0);
    assert_int_equal(counts().open, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_accepted),
        TEST(test_quotas_at_acceptance),
        TEST(test_client_leaves_before_it_is_accepted),
        TEST(test_keys),
        TEST(test_delays),
        TEST(test_record),
        TEST(test_output_and_log),
        TEST(test_synchronous_calls),
        TEST(test_client_leaves_before_the_answer),
        TEST(test_changes),
        TEST(test_wait_parameters),
        TEST(test_wait_ends_with_the_call),
        TEST(test_wait_ends_with_its_time),
        TEST(test_client_leaves_while_it_waits),
        TEST(test_drain_ends_waiting),
        TEST(test_close_while_somebody_waits),
        TEST(test_pages),
        TEST(test_list_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
