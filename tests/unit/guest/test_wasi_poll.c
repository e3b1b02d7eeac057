/* test_wasi_poll.c - poll_oneoff: streams at once, timers by parking, and every malformed request.
 */
#include "guest_fixture.h"

#include "call/call.h"

#define SUBSCRIPTIONS_AT 0
#define EVENTS_AT 4096
#define RESULT_AT 8192
#define POLL(count)                                                                                \
    "(call $poll_oneoff (i32.const 0) (i32.const 4096) (i32.const " count ") (i32.const 8192))"

enum { CLOCK = 0, FD_READ = 1, FD_WRITE = 2 };

struct subscription {
    uint64_t userdata;
    uint8_t type;
    uint32_t id; /* clock or descriptor */
    uint64_t timeout_ns;
    uint16_t flags;
};

/* A data segment with the subscriptions, one after another. */
static void put_subscriptions(char *text, size_t size, const struct subscription *list,
                              size_t count)
{
    size_t used = (size_t)snprintf(text, size, "(data (i32.const 0) \"");
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[48] = {0};
        fm_store_u64(bytes, list[i].userdata);
        bytes[8] = list[i].type;
        fm_store_u32(bytes + 16, list[i].id);
        fm_store_u64(bytes + 24, list[i].timeout_ns);
        fm_store_u16(bytes + 40, list[i].flags);
        for (size_t at = 0; at < sizeof(bytes); at++)
            used += (size_t)snprintf(text + used, size - used, "\\%02x", bytes[at]);
    }
    (void)snprintf(text + used, size - used, "\")");
}

static struct run *prepared(const char *const *body, const struct subscription *list, size_t count,
                            const char *input)
{
    char data[4096];
    put_subscriptions(data, sizeof(data), list, count);
    struct run *run = run_body("wasi", body, data);
    run_call(run, input, strlen(input));
    return run;
}

static void assert_event(struct run *run, uint32_t index, uint64_t userdata, uint16_t error,
                         uint8_t type, uint64_t bytes, uint16_t flags)
{
    const uint8_t *at = run_memory(run, EVENTS_AT + 32 * index, 32);
    assert_int_equal(fm_load_u64(at), userdata);
    assert_int_equal(fm_load_u16(at + 8), error);
    assert_int_equal(at[10], type);
    assert_int_equal(fm_load_u64(at + 16), bytes);
    assert_int_equal(fm_load_u16(at + 24), flags);
}

/* --- streams ---------------------------------------------------------------------------------- */

static void test_streams_are_ready(void **state)
{
    (void)state;
    const struct subscription list[] = {
        {.userdata = 10, .type = FD_READ, .id = 0},
        {.userdata = 11, .type = FD_WRITE, .id = 1},
        {.userdata = UINT64_MAX, .type = FD_WRITE, .id = 2},
        {.userdata = 13, .type = CLOCK, .id = 1, .timeout_ns = 3600 * FM_NS_PER_S},
    };
    struct run *run = prepared(BODY(POLL("4")), list, 4, "abc");
    assert_int_equal(fm_guest_run(run->guest), FM_GUEST_DONE);
    KEPT(run, 0);
    assert_int_equal(word_at(run, RESULT_AT), 3); /* the timer is not due */
    assert_event(run, 0, 10, 0, FD_READ, 3, 0);
    assert_event(run, 1, 11, 0, FD_WRITE, run->call->limits.output_bytes, 0);
    assert_event(run, 2, UINT64_MAX, 0, FD_WRITE, run->call->limits.log_bytes, 0);
    assert_int_equal(long_at(run, EVENTS_AT + 96), 0); /* no fourth event */
    run_free(run);
}

/* Four bytes of the input, by an array that the first instruction makes. */
#define ARRAY                                                                                      \
    "(i32.store (i32.const 9000) (i32.const 9200)) (i32.store (i32.const 9004) (i32.const 4))"
#define READ_4 "(call $fd_read (i32.const 0) (i32.const 9000) (i32.const 1) (i32.const 9100))"

/* The input's end is told once it has been read. */
static void test_hangup(void **state)
{
    (void)state;
    const struct subscription list[] = {{.userdata = 1, .type = FD_READ, .id = 0}};
    const struct {
        const char *const *body;
        uint64_t bytes;
        uint16_t flags;
    } cases[] = {
        {BODY(POLL("1")), 5, 0},
        {BODY(ARRAY, READ_4, POLL("1")), 1, 0},
        {BODY(ARRAY, READ_4, READ_4, POLL("1")), 0, 0},
        {BODY(ARRAY, READ_4, READ_4, READ_4, POLL("1")), 0, 1},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        struct run *run = prepared(cases[i].body, list, 1, "abcde");
        assert_true(run_on(run, NULL));
        assert_event(run, 0, 1, 0, FD_READ, cases[i].bytes, cases[i].flags);
        run_free(run);
    }
}

static void test_bad_descriptors(void **state)
{
    (void)state;
    const struct subscription list[] = {
        {.userdata = 1, .type = FD_READ, .id = 1},
        {.userdata = 2, .type = FD_WRITE, .id = 0},
        {.userdata = 3, .type = FD_READ, .id = 3},
        {.userdata = 4, .type = FD_WRITE, .id = UINT32_MAX},
        {.userdata = 5, .type = FD_WRITE, .id = 2},
    };
    struct run *run = prepared(
        BODY("(call $fd_fdstat_set_rights (i32.const 2) (i64.const 64) (i64.const 0))", POLL("5")),
        list, 5, "abc");
    assert_true(run_on(run, NULL));
    KEPT(run, 0, 0);
    assert_int_equal(word_at(run, RESULT_AT), 5);
    assert_event(run, 0, 1, 8, FD_READ, 0, 0);
    assert_event(run, 1, 2, 8, FD_WRITE, 0, 0);
    assert_event(run, 2, 3, 31, FD_READ, 0, 0); /* a folder */
    assert_event(run, 3, 4, 8, FD_WRITE, 0, 0);
    assert_event(run, 4, 5, 76, FD_WRITE, 0, 0); /* gave up the right to poll */
    run_free(run);
}

/* --- timers ----------------------------------------------------------------------------------- */

static void test_timer_parks(void **state)
{
    (void)state;
    const struct subscription list[] = {
        {.userdata = 1, .type = CLOCK, .id = 1, .timeout_ns = 3600 * FM_NS_PER_S},
        {.userdata = 2, .type = CLOCK, .id = 1, .timeout_ns = FM_NS_PER_MS},
        {.userdata = 3, .type = CLOCK, .id = 0, .timeout_ns = 7200 * FM_NS_PER_S},
    };
    struct run *run = prepared(BODY(POLL("3")), list, 3, "");
    uint64_t before_ns = fm_clock_monotonic_ns();
    assert_true(run_on(run, NULL));
    assert_true(fm_clock_monotonic_ns() >= before_ns + FM_NS_PER_MS);
    KEPT(run, 0);
    assert_int_equal(word_at(run, RESULT_AT), 1);
    assert_event(run, 0, 2, 0, CLOCK, 0, 0);
    run_free(run);
}

/* Polled too early, it parks again, until the same time. */
static void test_early_poll(void **state)
{
    (void)state;
    const struct subscription list[] = {
        {.userdata = 1, .type = CLOCK, .id = 1, .timeout_ns = 3600 * FM_NS_PER_S}};
    const uint64_t hour = 3600 * FM_NS_PER_S;
    uint64_t before_ns = fm_clock_monotonic_ns();
    struct run *run = prepared(BODY(POLL("1")), list, 1, "");
    struct fm_guest_wait first = {0};
    assert_false(run_on(run, &first));
    assert_in_range(first.until_ns, before_ns + hour, fm_clock_monotonic_ns() + hour);
    for (int i = 0; i < 3; i++) {
        struct fm_guest_wait wait = {0};
        assert_false(run_on(run, &wait));
        assert_int_equal(wait.until_ns, first.until_ns);
    }
    run_free(run);
}

static void due_at_once(const struct subscription *timer, uint16_t error)
{
    struct run *run = prepared(BODY(POLL("1")), timer, 1, "");
    assert_int_equal(fm_guest_run(run->guest), FM_GUEST_DONE);
    KEPT(run, 0);
    assert_int_equal(word_at(run, RESULT_AT), 1);
    assert_event(run, 0, timer->userdata, error, CLOCK, 0, 0);
    run_free(run);
}

static void test_timers_that_are_due(void **state)
{
    (void)state;
    due_at_once(&(struct subscription){.userdata = 1, .id = 1}, 0);
    due_at_once(&(struct subscription){.userdata = 2, .id = 0}, 0);
    due_at_once(&(struct subscription){.userdata = 3, .id = 1, .timeout_ns = 1, .flags = 1}, 0);
    due_at_once(&(struct subscription){.userdata = 4, .id = 0, .timeout_ns = 1, .flags = 1}, 0);
    /* errors of a subscription are its event */
    due_at_once(&(struct subscription){.userdata = 5, .id = 2, .timeout_ns = 1}, 58);
    due_at_once(&(struct subscription){.userdata = 6, .id = 3, .timeout_ns = 1}, 58);
    due_at_once(&(struct subscription){.userdata = 7, .id = 4, .timeout_ns = 1}, 28);
    due_at_once(&(struct subscription){.userdata = 8, .id = 1, .timeout_ns = 1, .flags = 2}, 28);
}

static uint64_t parks_until(struct subscription timer)
{
    struct run *run = prepared(BODY(POLL("1")), &timer, 1, "");
    struct fm_guest_wait wait = {0};
    assert_false(run_on(run, &wait));
    run_free(run);
    return wait.until_ns;
}

static void test_absolute_timers(void **state)
{
    (void)state;
    uint64_t now_ns = fm_clock_monotonic_ns();
    uint64_t real_ns = fm_clock_real_ns();
    const uint64_t hour = 3600 * FM_NS_PER_S;
    assert_int_equal(
        parks_until((struct subscription){.id = 1, .timeout_ns = now_ns + hour, .flags = 1}),
        now_ns + hour);
    /* Real time is translated, so it moves with the clock; a minute allows for a step of it. */
    uint64_t until_ns =
        parks_until((struct subscription){.id = 0, .timeout_ns = real_ns + hour, .flags = 1});
    assert_in_range(until_ns, now_ns + hour - 60 * FM_NS_PER_S, now_ns + hour + 60 * FM_NS_PER_S);
}

/* Times beyond the end of time do not wrap around. */
static void test_timers_far_away(void **state)
{
    (void)state;
    assert_int_equal(parks_until((struct subscription){.id = 1, .timeout_ns = UINT64_MAX}),
                     UINT64_MAX);
    assert_int_equal(parks_until((struct subscription){.id = 0, .timeout_ns = UINT64_MAX - 1}),
                     UINT64_MAX);
    assert_int_equal(
        parks_until((struct subscription){.id = 1, .timeout_ns = UINT64_MAX, .flags = 1}),
        UINT64_MAX);
    assert_true(parks_until((struct subscription){.id = 0, .timeout_ns = UINT64_MAX, .flags = 1}) >
                UINT64_MAX / 2);
}

/* A second poll in the same guest counts from its own start, which is after the first one's end. */
static void test_two_polls(void **state)
{
    (void)state;
    const uint64_t hour = 3600 * FM_NS_PER_S;
    const struct subscription list[] = {
        {.userdata = 1, .type = CLOCK, .id = 1, .timeout_ns = 10 * FM_NS_PER_MS},
        {.userdata = 2, .type = CLOCK, .id = 1, .timeout_ns = hour}};
    struct run *run = prepared(BODY(POLL("1"), "(call $poll_oneoff (i32.const 48) (i32.const 4096)"
                                               "  (i32.const 1) (i32.const 8192))"),
                               list, 2, "");
    struct fm_guest_wait first = {0};
    struct fm_guest_wait wait = {0};
    assert_false(run_on(run, &first));
    /* A machine that stood still for 10 ms did not see the guest park for the first one. */
    bool parked_twice = first.until_ns < fm_clock_monotonic_ns() + hour / 2;
    for (wait = first; parked_twice && wait.until_ns == first.until_ns;) {
        sleep_until(wait.until_ns);
        assert_false(run_on(run, &wait));
    }
    if (parked_twice)
        assert_true(wait.until_ns >= first.until_ns + hour);
    run_free(run);
}

/* --- malformed -------------------------------------------------------------------------------- */

static void test_malformed(void **state)
{
    (void)state;
    const struct subscription list[] = {{.type = FD_READ}, {.type = 3}};
    struct run *run = prepared(
        BODY(
            POLL("0"), POLL("2"), /* the second has an unknown type */
            "(call $poll_oneoff (i32.const 65489) (i32.const 4096) (i32.const 1) (i32.const 8192))",
            "(call $poll_oneoff (i32.const 0) (i32.const 65505) (i32.const 1)"
            "  (i32.const 8192))",
            "(call $poll_oneoff (i32.const 0) (i32.const 4096) (i32.const 1)"
            "  (i32.const 65533))",
            "(call $poll_oneoff (i32.const -1) (i32.const -1) (i32.const -1)"
            "  (i32.const -1))",
            "(call $poll_oneoff (i32.const -48) (i32.const 0) (i32.const 1)"
            "  (i32.const 0))"),
        list, 2, "");
    assert_true(run_on(run, NULL));
    KEPT(run, 28, 28, 21, 21, 21, 28, 21);
    assert_int_equal(word_at(run, RESULT_AT), 0);
    run_free(run);
}

/* Zeroed subscriptions are timers that are due. */
static void test_count_limit(void **state)
{
    (void)state;
    struct run *run =
        prepared(BODY("(drop (memory.grow (i32.const 2)))",
                      "(call $poll_oneoff (i32.const 65536) (i32.const 120000) (i32.const 1023)"
                      "  (i32.const 0))",
                      "(call $poll_oneoff (i32.const 65536) (i32.const 120000) (i32.const 1024)"
                      "  (i32.const 4))",
                      "(call $poll_oneoff (i32.const 65536) (i32.const 120000) (i32.const 1025)"
                      "  (i32.const 8))"),
                 NULL, 0, "");
    assert_true(run_on(run, NULL));
    KEPT(run, 0, 0, 28);
    assert_int_equal(word_at(run, 0), 1023);
    assert_int_equal(word_at(run, 4), 1024);
    assert_int_equal(word_at(run, 8), 0);
    run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_are_ready), cmocka_unit_test(test_hangup),
        cmocka_unit_test(test_bad_descriptors),   cmocka_unit_test(test_timer_parks),
        cmocka_unit_test(test_early_poll),        cmocka_unit_test(test_timers_that_are_due),
        cmocka_unit_test(test_absolute_timers),   cmocka_unit_test(test_timers_far_away),
        cmocka_unit_test(test_two_polls),         cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_count_limit),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
