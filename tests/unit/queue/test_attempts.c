/* test_attempts.c - calls that fail and are tried again, die, and are driven again; calls that
 * outlive the process that took them. */
#include "queue_fixture.h"

#define RETRY_MS 2

static void limits_with(struct fm_limits *limits, uint64_t attempts)
{
    fm_limits_defaults(limits);
    limits->attempts = attempts;
    limits->retry_ms = RETRY_MS;
}

static void publish_all(void)
{
    struct fm_limits limits;
    publish("echo", GUEST_ECHO);
    publish("spin", GUEST_SPIN);
    limits_with(&limits, 1);
    publish_limited("trap1", TRAP, &limits);
    limits_with(&limits, 2);
    publish_limited("trap2", TRAP, &limits);
    limits_with(&limits, 3);
    publish_limited("trap3", TRAP, &limits);
    limits_with(&limits, 2);
    limits.wall_ms = 20;
    publish_limited("slow", GUEST_SPIN, &limits);
}

static void failures_are_tried_again_as_often_as_the_function_says(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    static const char *const names[] = {"trap1", "trap2", "trap3"};
    for (uint32_t i = 0; i < 3; i++) {
        struct fm_calls_get get = wait_for_end(submit(names[i], "x"));
        assert_int_equal(get.record.status, i == 0 ? FM_STATUS_FAILED : FM_STATUS_DEAD);
        assert_int_equal(get.record.attempt, i + 1);
        assert_int_equal(get.record.error, FM_ERR_GUEST_TRAP);
        fm_calls_get_done(&get);
    }
    UNTIL(counts().busy == 0);
    assert_int_equal(counts().retries, 3);
    assert_int_equal(counts().dead, 2);
    assert_int_equal(counts().failed, 1);
    struct fm_calls_get get = wait_for_end(submit("slow", ""));
    assert_int_equal(get.record.status, FM_STATUS_DEAD);
    assert_int_equal(get.record.attempt, 2);
    assert_int_equal(get.record.error, FM_ERR_DEADLINE);
    fm_calls_get_done(&get);
    fixture_end();
}

/* Between two attempts it is QUEUED and shows why the first failed; then it can be cancelled. */
static void a_call_between_two_attempts(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_limits limits;
    limits_with(&limits, 2);
    limits.retry_ms = 3600000;
    publish_limited("later", TRAP, &limits);
    struct fm_id id = submit("later", "x");
    UNTIL(counts().later == 1);
    struct fm_calls_get get = look(id);
    assert_int_equal(get.record.status, FM_STATUS_QUEUED);
    assert_int_equal(get.record.attempt, 1);
    assert_int_equal(get.record.error, FM_ERR_GUEST_TRAP);
    fm_calls_get_done(&get);
    assert_int_equal(change(FM_QUEUE_CANCEL, id, NULL), 0);
    expect_end(id, FM_STATUS_CANCELLED, 1, "");
    UNTIL(counts().later == 0);
    fixture_end();
}

static void the_dead_are_driven_again(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id id = submit("trap2", "input");
    expect_end(id, FM_STATUS_DEAD, 2, "");
    enum fm_call_status status;
    assert_int_equal(change(FM_QUEUE_REDRIVE, id, &status), 0);
    assert_int_equal(status, FM_STATUS_QUEUED);
    expect_end(id, FM_STATUS_DEAD, 2, "");
    publish("trap2", GUEST_ECHO); /* now it is better */
    assert_int_equal(change(FM_QUEUE_REDRIVE, id, &status), 0);
    expect_end(id, FM_STATUS_SUCCEEDED, 1, "input");
    assert_int_equal(change(FM_QUEUE_REDRIVE, id, &status), FM_ERR_CONFLICT);
    assert_int_equal(status, FM_STATUS_SUCCEEDED);
    id.high ^= 1;
    assert_int_equal(change(FM_QUEUE_REDRIVE, id, NULL), FM_ERR_NOT_FOUND);
    fixture_end();
}

/* --- the next process ------------------------------------------------------------------------- */

static void what_waits_is_run_by_the_next_process(void **state)
{
    (void)state;
    f.config.running_max = 1;
    fixture_begin(publish_all);
    struct fm_id spin = submit("spin", "");
    struct fm_id ids[3];
    for (int i = 0; i < 3; i++)
        ids[i] = submit("echo", "waited");
    struct fm_id delayed;
    assert_int_equal(submit_with("echo", "x", NULL, 3600 * FM_NS_PER_S, &delayed), 0);
    fixture_end();

    fixture_begin(publish_all);
    assert_int_equal(f.notice.requeued, 0); /* the one that ran was put back in order */
    assert_int_equal(counts().due, 4);
    assert_int_equal(counts().later, 1);
    wait_for(spin, FM_STATUS_RUNNING);
    struct fm_calls_get get = look(spin);
    assert_int_equal(get.record.attempt, 2);
    assert_int_equal(get.record.attempts_max, FM_QUEUE_CRASH_ATTEMPTS + 1); /* none is lost */
    fm_calls_get_done(&get);
    assert_int_equal(change(FM_QUEUE_CANCEL, spin, NULL), 0);
    for (int i = 0; i < 3; i++)
        expect_end(ids[i], FM_STATUS_SUCCEEDED, 1, "waited");
    assert_int_equal(status_of(delayed), FM_STATUS_QUEUED);
    fixture_end();
}

/* A drained attempt costs neither one of the crash's attempts nor one of the function's. */
static void drained_attempts_do_not_count(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_limits limits;
    limits_with(&limits, 2);
    publish_limited("any", GUEST_SPIN, &limits);
    struct fm_id id = submit("any", "");
    fixture_end();
    for (uint32_t i = 0; i < 3; i++) { /* would be more than enough, if they counted */
        fixture_begin(publish_all);
        publish_limited("any", i < 2 ? GUEST_SPIN : TRAP, &limits);
        if (i < 2)
            wait_for(id, FM_STATUS_RUNNING);
        else
            expect_end(id, FM_STATUS_DEAD, 5, ""); /* 3 broken off, 2 that trapped */
        fixture_end();
    }
}

static void calls_that_ran_in_a_crash_are_run_again_three_times_in_all(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id id = submit("spin", "");
    for (uint32_t attempt = 1; attempt < FM_QUEUE_CRASH_ATTEMPTS; attempt++) {
        fixture_crash();
        fixture_begin(publish_all);
        assert_int_equal(f.notice.requeued, 1);
        wait_for(id, FM_STATUS_RUNNING);
        struct fm_calls_get get = look(id);
        assert_int_equal(get.record.attempt, attempt + 1);
        fm_calls_get_done(&get);
    }
    fixture_crash();
    fixture_begin(publish_all);
    assert_int_equal(f.notice.dead, 1);
    assert_int_equal(status_of(id), FM_STATUS_DEAD);
    fixture_end();
}

static void two_strikes(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id id = submit("spin", "");
    struct fm_id other = submit("spin", "");
    f.suspect = id;
    fixture_crash();
    fixture_begin(publish_all);
    wait_for(id, FM_STATUS_RUNNING);
    wait_for(other, FM_STATUS_RUNNING);
    fixture_crash();
    fixture_begin(publish_all);
    assert_int_equal(status_of(id), FM_STATUS_DEAD);
    wait_for(other, FM_STATUS_RUNNING); /* its third */
    enum fm_call_status status;
    assert_int_equal(change(FM_QUEUE_REDRIVE, id, &status), 0);
    wait_for(id, FM_STATUS_RUNNING);
    fixture_end();
}

static void publish_only_echo(void)
{
    publish("echo", GUEST_ECHO);
}

static void a_function_that_is_gone(void **state)
{
    (void)state;
    f.config.running_max = 1;
    fixture_begin(publish_all);
    struct fm_id spin = submit("spin", "");
    struct fm_id waiting = submit("trap1", "x");
    fixture_end();
    fixture_begin(publish_only_echo);
    for (int i = 0; i < 2; i++) {
        struct fm_calls_get get = wait_for_end(i ? waiting : spin);
        assert_int_equal(get.record.status, FM_STATUS_FAILED);
        assert_int_equal(get.record.error, FM_ERR_NOT_FOUND);
        fm_calls_get_done(&get);
    }
    fixture_end();
}

static void a_function_that_takes_less_now(void **state)
{
    (void)state;
    f.config.running_max = 1;
    fixture_begin(publish_all);
    struct fm_id spin = submit("spin", "");
    struct fm_id id = submit("echo", "four");
    struct fm_limits limits;
    limits_with(&limits, 1);
    limits.input_bytes = 3;
    publish_limited("echo", GUEST_ECHO, &limits);
    assert_int_equal(change(FM_QUEUE_CANCEL, spin, NULL), 0);
    struct fm_calls_get get = wait_for_end(id);
    assert_int_equal(get.record.status, FM_STATUS_FAILED);
    assert_int_equal(get.record.error, FM_ERR_TOO_LARGE);
    fm_calls_get_done(&get);
    fixture_end();
}

/* While a process drains it takes nothing and starts nothing. */
static void draining(void **state)
{
    (void)state;
    f.config.running_max = 1;
    fixture_begin(publish_all);
    struct fm_id spin = submit("spin", "");
    struct fm_id id = submit("echo", "x");
    fm_queue_drain(f.workers[0].queue);
    struct fm_id other;
    assert_int_equal(submit_with("echo", "x", NULL, 0, &other), FM_ERR_BUSY);
    assert_int_equal(counts().busy, 1); /* spin */
    assert_int_equal(change(FM_QUEUE_CANCEL, spin, NULL), 0);
    UNTIL(counts().busy == 0);
    assert_int_equal(status_of(spin), FM_STATUS_CANCELLED);
    assert_int_equal(status_of(id), FM_STATUS_QUEUED);
    fixture_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(failures_are_tried_again_as_often_as_the_function_says),
        QUEUE_TEST(a_call_between_two_attempts),
        QUEUE_TEST(the_dead_are_driven_again),
        QUEUE_TEST(what_waits_is_run_by_the_next_process),
        QUEUE_TEST(drained_attempts_do_not_count),
        QUEUE_TEST(calls_that_ran_in_a_crash_are_run_again_three_times_in_all),
        QUEUE_TEST(two_strikes),
        QUEUE_TEST(a_function_that_is_gone),
        QUEUE_TEST(a_function_that_takes_less_now),
        QUEUE_TEST(draining),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
