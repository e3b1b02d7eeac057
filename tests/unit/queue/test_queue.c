/* test_queue.c - asynchronous calls: accepted, run, kept, forgotten; bounds, keys, delays, age. */
#include "queue_fixture.h"

#include "torture.h"

static void publish_all(void)
{
    publish("echo", GUEST_ECHO);
    publish("spin", GUEST_SPIN);
    publish("trap", TRAP);
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.age_ms = 40;
    publish_limited("old", GUEST_ECHO, &limits);
    fm_limits_defaults(&limits);
    limits.retention_ms = 1;
    publish_limited("gone", GUEST_ECHO, &limits);
    fm_limits_defaults(&limits);
    limits.concurrency = 1;
    publish_limited("one", GUEST_SPIN, &limits);
}

static void cancel(struct fm_id id)
{
    enum fm_call_status status;
    assert_int_equal(change(FM_QUEUE_CANCEL, id, &status), 0);
}

static void a_call_runs_and_its_result_is_kept(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id id = submit("echo", "hello");
    struct fm_calls_get get = wait_for_end(id);
    const struct fm_call_record *record = &get.record;
    assert_int_equal(record->status, FM_STATUS_SUCCEEDED);
    assert_int_equal(record->attempt, 1);
    assert_int_equal(get.output.bytes, 5);
    assert_memory_equal(get.output.data, "hello", 5);
    assert_string_equal(record->user, "ada");
    assert_string_equal(record->function, "echo");
    assert_string_equal(record->version, "v1");
    assert_int_equal(record->input_bytes, 5);
    assert_true(record->created_real_ns <= record->started_real_ns);
    assert_true(record->started_real_ns <= record->finished_real_ns);
    assert_true(record->cpu_ns > 0 && record->wall_ns > 0);
    fm_calls_get_done(&get);
    UNTIL(counts().busy == 0);
    assert_int_equal(counts().accepted, 1);
    assert_int_equal(counts().ended, 1);
    assert_int_equal(counts().attempts, 1);
    assert_int_equal(counts().inputs_bytes, 0);
    fixture_end();
}

static void acceptance_and_first_claim_are_one_write(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id id = submit("spin", "");
    assert_int_equal(status_of(id), FM_STATUS_RUNNING);
    assert_int_equal(counts().writes, 1);
    cancel(id);
    fixture_end();
}

/* Without a place it is QUEUED, and claimed when one is free. */
static void places_are_bounded(void **state)
{
    (void)state;
    f.config.running_max = 4; /* of which one user gets 3 */
    fixture_begin(publish_all);
    struct fm_id ids[5];
    for (int i = 0; i < 5; i++)
        ids[i] = submit("spin", "");
    for (int i = 0; i < 5; i++)
        assert_int_equal(status_of(ids[i]), i < 3 ? FM_STATUS_RUNNING : FM_STATUS_QUEUED);
    assert_int_equal(counts().running, 3);
    assert_int_equal(counts().due, 2);
    cancel(ids[1]);
    wait_for(ids[3], FM_STATUS_RUNNING); /* in their order */
    assert_int_equal(status_of(ids[4]), FM_STATUS_QUEUED);
    expect_end(ids[1], FM_STATUS_CANCELLED, 1, "");
    fixture_end();
}

/* One over the function's `concurrency` waits, and holds up nobody else. */
static void a_function_at_its_limit_waits_alone(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id first = submit("one", "");
    struct fm_id second = submit("one", "");
    assert_int_equal(status_of(second), FM_STATUS_QUEUED);
    expect_end(submit("echo", "x"), FM_STATUS_SUCCEEDED, 1, "x");
    assert_int_equal(status_of(second), FM_STATUS_QUEUED);
    cancel(first);
    wait_for(second, FM_STATUS_RUNNING);
    struct fm_calls_get get = look(second);
    assert_int_equal(get.record.attempt, 1);
    fm_calls_get_done(&get);
    fixture_end();
}

static void on_other_done(struct fm_call *call)
{
    *(bool *)call->owner = true;
}

static struct fm_call *start_other(unsigned worker, const char *function, bool *ended)
{
    struct fm_sched *sched = f.workers[worker].sched;
    struct fm_call *call = NULL;
    struct fm_function *found = fm_sched_function(sched, "ada", 3, function, strlen(function));
    assert_int_equal(fm_sched_call_new(sched, found, &call), 0);
    call->owner = ended;
    call->on_done = on_other_done;
    assert_int_equal(fm_sched_submit(sched, call), FM_SUBMIT_LATER);
    return call;
}

static void end_other(unsigned worker, struct fm_call *call, const bool *ended)
{
    fm_sched_cancel(f.workers[worker].sched, call, FM_ERR_CANCELLED);
    assert_true(*ended);
    fm_sched_call_free(f.workers[worker].sched, call);
}

static uint64_t slices(unsigned worker)
{
    struct fm_sched_counts now;
    fm_sched_counts(f.workers[worker].sched, &now);
    return now.slices;
}

/* The same, when it is another worker's call that has the function's only unit: it is claimed, and
 * waits behind the door. */
static void a_claimed_call_waits_for_concurrency(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    bool ended = false;
    struct fm_call *other = start_other(1, "one", &ended);
    struct fm_id id = submit("one", "");
    assert_int_equal(status_of(id), FM_STATUS_RUNNING); /* its claim is on disk */
    cancel(id);
    expect_end(id, FM_STATUS_CANCELLED, 1, "");

    id = submit("one", "");
    UNTIL(counts().running == 1);
    assert_int_equal(slices(0), 0);
    end_other(1, other, &ended);
    UNTIL(slices(0) > 0); /* by itself */
    struct fm_calls_get get = look(id);
    assert_int_equal(get.record.attempt, 1);
    assert_int_equal(get.record.status, FM_STATUS_RUNNING);
    fm_calls_get_done(&get);
    fixture_end();
}

/* The door is full: the claim stays, and no attempt is lost. */
static void a_refused_call_comes_again(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_call *others[4 + 16]; /* slots, and queue_max */
    bool ended[4 + 16] = {false};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(others); i++)
        others[i] = start_other(0, "spin", &ended[i]);
    struct fm_id id = submit("echo", "x");
    UNTIL(counts().due == 1);
    assert_int_equal(status_of(id), FM_STATUS_RUNNING); /* its claim is on disk */
    cancel(id);
    expect_end(id, FM_STATUS_CANCELLED, 1, "");

    id = submit("echo", "x");
    UNTIL(counts().due == 1);
    assert_int_equal(counts().attempts, 0);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(others); i++)
        end_other(0, others[i], &ended[i]);
    expect_end(id, FM_STATUS_SUCCEEDED, 1, "x"); /* by itself, after a while */
    fixture_end();
}

static void a_failure_keeps_its_reason(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_calls_get get = wait_for_end(submit("trap", ""));
    assert_int_equal(get.record.status, FM_STATUS_FAILED);
    assert_int_equal(get.record.error, FM_ERR_GUEST_TRAP);
    assert_string_equal(get.record.trap, "unreachable");
    assert_non_null(strstr(get.record.backtrace, "oops"));
    fm_calls_get_done(&get);
    fixture_end();
}

static void limit_queue(uint64_t length)
{
    struct fm_quota_set set = {0};
    fm_quota_set_put(&set, fm_quota_row_find("queue_length"), length);
    assert_int_equal(fm_users_set(f.users, "ada", &set), 0);
}

static void publish_with_a_limit(void)
{
    limit_queue(2); /* before what is left enters the queues */
    publish_all();
}

/* By the user's queue_length, over all workers; those of an earlier process are not refused. */
static void accepted_calls_of_a_user_are_bounded(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    limit_queue(3);
    struct fm_id ids[3];
    struct fm_id id;
    for (int i = 0; i < 3; i++) /* max - 1, and max */
        assert_int_equal(submit_with("echo", "x", NULL, FM_NS_PER_S * 3600, &ids[i]), 0);
    assert_int_equal(submit_with("echo", "x", NULL, 0, &id), FM_ERR_QUOTA);
    struct submission submission;
    assert_int_equal(begin_submit(1, "echo", "x", NULL, 0, &submission), FM_ERR_QUOTA);
    cancel(ids[0]);
    UNTIL(submit_with("echo", "x", NULL, 0, &id) == 0);
    expect_end(id, FM_STATUS_SUCCEEDED, 1, "x");
    UNTIL(submit_with("echo", "x", NULL, FM_NS_PER_S * 3600, &ids[0]) == 0);
    fixture_end();

    fixture_begin(publish_with_a_limit);
    assert_int_equal(counts().later, 3); /* one too many */
    assert_int_equal(submit_with("echo", "x", NULL, 0, &id), FM_ERR_QUOTA);
    for (int i = 0; i < 2; i++)
        cancel(ids[i]);
    UNTIL(submit_with("echo", "x", NULL, 0, &id) == 0);
    expect_end(id, FM_STATUS_SUCCEEDED, 1, "x");
    fixture_end();
}

static void calls_that_have_not_ended_are_bounded(void **state)
{
    (void)state;
    f.config.calls_max = 5;
    fixture_begin(publish_all);
    struct fm_id ids[6];
    for (int i = 0; i < 5; i++)
        assert_int_equal(submit_with("spin", "", NULL, 0, &ids[i]), 0);
    assert_int_equal(submit_with("spin", "", NULL, 0, &ids[5]), FM_ERR_BUSY);
    cancel(ids[4]);
    UNTIL(counts().due + counts().running == 4);
    assert_int_equal(submit_with("spin", "", NULL, 0, &ids[5]), 0);
    fixture_end();
}

static void inputs_beyond_the_memory_wait_on_disk(void **state)
{
    (void)state;
    f.config.inputs_bytes_max = 8;
    f.config.running_max = 2;
    fixture_begin(publish_all);
    struct fm_id spins[2] = {submit("spin", ""), submit("spin", "")};
    struct fm_id ids[4];
    for (int i = 0; i < 4; i++) {
        ids[i] = submit("echo", "12345");
        UNTIL(counts().due + counts().running == (uint32_t)i + 3);
        assert_true(counts().inputs_bytes <= 8);
    }
    cancel(spins[0]);
    cancel(spins[1]);
    for (int i = 0; i < 4; i++)
        expect_end(ids[i], FM_STATUS_SUCCEEDED, 1, "12345");
    struct fm_id large = submit("echo", "more than there is room for"); /* alone it is let in */
    expect_end(large, FM_STATUS_SUCCEEDED, 1, "more than there is room for");
    UNTIL(counts().busy == 0);
    assert_int_equal(counts().inputs_bytes, 0);
    fixture_end();
}

static void a_key_is_for_one_call(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id first;
    struct fm_id second;
    assert_int_equal(submit_with("echo", "x", "key", 0, &first), 0);
    expect_end(first, FM_STATUS_SUCCEEDED, 1, "x");
    struct submission again;
    assert_int_equal(begin_submit(1, "echo", "x", "key", 0, &again), 0);
    UNTIL(again.done);
    assert_memory_equal(&again.submit.id, &first, sizeof(first));
    assert_int_equal(again.submit.status, FM_STATUS_SUCCEEDED);
    assert_int_equal(submit_with("echo", "y", "key", 0, &second), FM_ERR_CONFLICT);
    assert_int_equal(submit_with("trap", "y", "key", 0, &second), 0); /* another function */
    assert_int_equal(submit_with("echo", "y", "yek", 0, &second), 0);
    UNTIL(counts().busy == 0);
    assert_int_equal(counts().accepted, 3);
    fixture_end();
}

static void a_delayed_call_waits(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id id;
    assert_int_equal(submit_with("echo", "x", NULL, 3600 * FM_NS_PER_S, &id), 0);
    UNTIL(counts().later == 1);
    assert_int_equal(status_of(id), FM_STATUS_QUEUED);
    cancel(id);
    assert_int_equal(submit_with("echo", "x", NULL, 30 * FM_NS_PER_MS, &id), 0);
    struct fm_calls_get get = wait_for_end(id);
    assert_int_equal(get.record.status, FM_STATUS_SUCCEEDED);
    assert_true(get.record.started_real_ns - get.record.created_real_ns >= 30 * FM_NS_PER_MS);
    fm_calls_get_done(&get);
    /* Its age counts from the end of the delay. */
    assert_int_equal(submit_with("old", "x", NULL, 60 * FM_NS_PER_MS, &id), 0);
    expect_end(id, FM_STATUS_SUCCEEDED, 1, "x");
    fixture_end();
}

static void too_old_to_be_started(void **state)
{
    (void)state;
    f.config.running_max = 1;
    fixture_begin(publish_all);
    struct fm_id spin = submit("spin", "");
    struct fm_id id = submit("old", "x");
    struct fm_calls_get get = wait_for_end(id);
    assert_int_equal(get.record.status, FM_STATUS_FAILED);
    assert_int_equal(get.record.error, FM_ERR_DEADLINE);
    assert_non_null(strstr(get.record.detail, "age_ms"));
    fm_calls_get_done(&get);
    assert_int_equal(status_of(spin), FM_STATUS_RUNNING);
    assert_int_equal(counts().attempts, 0);
    fixture_end();
}

/* Either worker may be the one that tells the store to. */
static uint64_t forgotten_by_all(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < WORKERS; i++) {
        struct fm_queue_counts one;
        fm_queue_counts(f.workers[i].queue, &one);
        sum += one.forgotten;
    }
    return sum;
}

static void results_are_forgotten_in_time(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id kept = submit("echo", "x");
    struct fm_id id = submit("gone", "x");
    wait_for(kept, FM_STATUS_SUCCEEDED);
    for (;;) { /* ends with the queue's timer */
        struct fm_calls_get get = look(id);
        int error = get.read.error;
        fm_calls_get_done(&get);
        if (error == FM_ERR_NOT_FOUND)
            break;
        assert_int_equal(error, 0);
    }
    assert_int_equal(status_of(kept), FM_STATUS_SUCCEEDED);
    UNTIL(forgotten_by_all() == 1);
    fixture_end();
}

/* --- without memory --------------------------------------------------------------------------- */

static int submit_under_torture(void *data)
{
    struct fm_error error = {0};
    struct submission submission = {
        .submit = {.function = fm_sched_function(f.workers[0].sched, "ada", 3, "echo", 4),
                   .input = (uint8_t *)strdup("x"),
                   .input_bytes = 1,
                   .key = data,
                   .delay_ns = FM_NS_PER_S,
                   .on_done = on_submitted}};
    if (!submission.submit.input)
        return FM_ERR_NOMEM;
    int failed = fm_queue_submit(f.workers[0].queue, &submission.submit, &error);
    if (failed) {
        assert_int_equal(failed, FM_ERR_NOMEM);
        free(submission.submit.input);
        return failed;
    }
    UNTIL(submission.done);
    return submission.submit.error;
}

static void submitting_without_memory(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    char key[] = "k";
    assert_true(torture(submit_under_torture, key) > 3);
    UNTIL(counts().busy == 0);
    assert_int_equal(counts().accepted, 1);
    assert_int_equal(counts().later, 1);
    fixture_end();
}

/* What was accepted runs to its end, also if there is no memory for it at first. */
static void starting_without_memory(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id id;
    assert_int_equal(submit_with("echo", "x", NULL, FM_NS_PER_MS, &id), 0);
    torture_fail_nth(1); /* of the attempt itself */
    UNTIL(counts().busy == 0 && counts().due + counts().later == 0);
    torture_fail_nth(0);
    expect_end(id, FM_STATUS_SUCCEEDED, 1, "x");
    fixture_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(a_call_runs_and_its_result_is_kept),
        QUEUE_TEST(acceptance_and_first_claim_are_one_write),
        QUEUE_TEST(places_are_bounded),
        QUEUE_TEST(a_function_at_its_limit_waits_alone),
        QUEUE_TEST(a_claimed_call_waits_for_concurrency),
        QUEUE_TEST(a_refused_call_comes_again),
        QUEUE_TEST(a_failure_keeps_its_reason),
        QUEUE_TEST(accepted_calls_of_a_user_are_bounded),
        QUEUE_TEST(calls_that_have_not_ended_are_bounded),
        QUEUE_TEST(inputs_beyond_the_memory_wait_on_disk),
        QUEUE_TEST(a_key_is_for_one_call),
        QUEUE_TEST(a_delayed_call_waits),
        QUEUE_TEST(too_old_to_be_started),
        QUEUE_TEST(results_are_forgotten_in_time),
        QUEUE_TEST(submitting_without_memory),
        QUEUE_TEST(starting_without_memory),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
