/* test_disk.c - the queue on a disk that stands still, fails, or is full. */
#include "queue_fixture.h"

#include "../store/vfs.h"

static void publish_all(void)
{
    publish("echo", GUEST_ECHO);
    publish("spin", GUEST_SPIN);
    publish("call", CHAIN);
}

static int setup(void **state)
{
    (void)fixture_setup(state);
    f.vfs = VFS_NAME;
    return 0;
}

static int teardown(void **state)
{
    (void)vfs_disarm();
    vfs_space(-1);
    return fixture_teardown(state);
}

static void pass_some(void)
{
    for (int i = 0; i < 20; i++)
        pass_all();
}

static void close_gate(void)
{
    vfs_gate_close(VFS_LOG);
}

static void fail_all(void)
{
    vfs_fail(1, false, true);
}

static void fill(void)
{
    vfs_fail(1, true, true);
}

/* What the disk has not confirmed has not happened: no 202, no attempt, no result. */
static void nothing_happens_before_it_is_on_disk(void **state)
{
    (void)state;
    f.config.running_max = 1;
    fixture_begin(publish_all);
    struct submission submission;
    vfs_gate_close(VFS_LOG);
    assert_int_equal(begin_submit(0, "echo", "x", NULL, 0, &submission), 0);
    vfs_gate_wait();
    pass_some();
    assert_false(submission.done);
    assert_int_equal(counts().attempts, 0); /* though its claim is in the same write */
    when_accepted(1, close_gate);           /* for its end */
    vfs_gate_open();
    UNTIL(submission.done && counts().attempts == 1);
    vfs_gate_wait();
    assert_int_equal(status_of(submission.submit.id), FM_STATUS_RUNNING);
    assert_int_equal(counts().ended, 0);
    vfs_gate_open();
    expect_end(submission.submit.id, FM_STATUS_SUCCEEDED, 1, "x");

    /* A later claim, likewise. */
    struct fm_id spin = submit("spin", "");
    struct fm_id id = submit("echo", "y");
    assert_int_equal(change(FM_QUEUE_CANCEL, spin, NULL), 0);
    wait_for(spin, FM_STATUS_CANCELLED);
    expect_end(id, FM_STATUS_SUCCEEDED, 1, "y");
    fixture_end();
}

static void a_full_disk_refuses_new_calls_and_loses_none(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id running = submit("spin", "");
    struct fm_id other;
    vfs_space(0);
    assert_int_equal(submit_with("echo", "x", NULL, 0, &other), FM_ERR_STORAGE_FULL);
    assert_true(counts().write_errors > 0);
    assert_int_equal(counts().running, 1);
    vfs_space(-1);
    assert_int_equal(submit_with("echo", "x", NULL, 0, &other), 0);
    expect_end(other, FM_STATUS_SUCCEEDED, 1, "x");
    assert_int_equal(change(FM_QUEUE_CANCEL, running, NULL), 0);
    expect_end(running, FM_STATUS_CANCELLED, 1, "");
    fixture_end();
}

/* Ends that the disk does not take stay in memory, bounded by the places, and get there later. */
static void an_end_that_cannot_be_written_is_written_later(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct submission submissions[3];
    vfs_gate_close(VFS_LOG);
    for (int i = 0; i < 3; i++)
        assert_int_equal(begin_submit(0, "echo", "kept", NULL, 0, &submissions[i]), 0);
    vfs_gate_wait();
    when_accepted(3, fail_all);
    vfs_gate_open();
    UNTIL(counts().write_errors > 0);
    assert_true(submissions[0].done && submissions[1].done && submissions[2].done);
    pass_some();
    vfs_disarm();
    for (int i = 0; i < 3; i++)
        expect_end(submissions[i].submit.id, FM_STATUS_SUCCEEDED, 1, "kept");
    UNTIL(counts().busy == 0);
    assert_int_equal(counts().writing, 0);
    assert_int_equal(counts().attempts, 3); /* none was made again */
    fixture_end();
}

/* ... also through the end of the process: then it is made again, as after a crash. */
static void an_end_that_was_never_written(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id id = submit("spin", "");
    vfs_fail(1, false, true);
    stop_queues();
    fm_calls_stop(f.calls);
    vfs_disarm();
    fixture_end();
    fixture_begin(publish_all);
    wait_for(id, FM_STATUS_RUNNING);
    struct fm_calls_get get = look(id);
    assert_int_equal(get.record.attempt, 2);
    fm_calls_get_done(&get);
    fixture_end();
}

static void claims_wait_for_the_disk(void **state)
{
    (void)state;
    f.config.running_max = 1;
    fixture_begin(publish_all);
    struct fm_id spin = submit("spin", "");
    struct fm_id id = submit("echo", "x");
    fm_sched_cancel(f.workers[0].sched, fm_entry_find(f.queues[0], &spin)->attempt->call,
                    FM_ERR_CANCELLED); /* behind the store's back: its end, then the claim */
    vfs_fail(1, false, true);
    UNTIL(counts().write_errors > 0);
    pass_some();
    vfs_disarm();
    expect_end(id, FM_STATUS_SUCCEEDED, 1, "x");
    fixture_end();
}

/* The parent has succeeded; that its children cannot be stored is told in its own end. */
static void children_that_cannot_be_stored(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct submission submission;
    vfs_gate_close(VFS_LOG);
    assert_int_equal(begin_submit(0, "call", "echo", NULL, 0, &submission), 0);
    vfs_gate_wait();
    when_accepted(1, fill);
    vfs_gate_open();
    UNTIL(counts().write_errors > 0);
    assert_true(submission.done);
    vfs_disarm();
    struct fm_calls_get get = wait_for_end(submission.submit.id);
    assert_int_equal(get.record.status, FM_STATUS_FAILED);
    assert_int_equal(get.record.error, FM_ERR_STORAGE_FULL);
    assert_non_null(strstr(get.record.detail, "the chained calls cannot be stored: "));
    assert_int_equal(get.record.children_count, 0);
    assert_int_equal(get.output.bytes, 4);
    assert_memory_equal(get.output.data, "kept", 4);
    fm_calls_get_done(&get);
    UNTIL(counts().busy == 0);
    assert_int_equal(counts().accepted, 1);
    fixture_end();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    vfs_install();
    const struct CMUnitTest tests[] = {
        TEST(nothing_happens_before_it_is_on_disk),
        TEST(a_full_disk_refuses_new_calls_and_loses_none),
        TEST(an_end_that_cannot_be_written_is_written_later),
        TEST(an_end_that_was_never_written),
        TEST(claims_wait_for_the_disk),
        TEST(children_that_cannot_be_stored),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
