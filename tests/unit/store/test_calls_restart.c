/* test_calls_restart.c - the process dies, and the next one finds what was acknowledged.
 *
 * The first life is a child process that ends by _exit() with everything open: nothing is closed,
 * flushed or carried over.  What it was told it tells through a pipe. */
#include <sys/wait.h>

#include "calls_fixture.h"

#define MADE_MAX 16

struct made {
    struct fm_id ids[MADE_MAX];
};

/* Runs `life` in a child that dies, and returns the ids of the calls it made. */
static struct made die_after(void (*life)(struct made *made))
{
    struct made made = {0};
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    fixture.pool = fm_pool_free(fixture.pool); /* a fork takes no threads along */
    fixture.loop = fm_loop_free(fixture.loop);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (fm_loop_new(&fixture.loop) != 0 || fm_pool_new(2, 100, &fixture.pool) != 0 ||
            fm_id_generator_init(&fixture.ids) != 0) /* else it makes the parent's ids */
            _exit(1);
        fixture.config.pool = fixture.pool;
        open_calls();
        life(&made);
        _exit(write(pipes[1], &made, sizeof(made)) == (ssize_t)sizeof(made) ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(close(pipes[1]), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(read(pipes[0], &made, sizeof(made)), (ssize_t)sizeof(made));
    assert_int_equal(close(pipes[0]), 0);
    assert_int_equal(fm_loop_new(&fixture.loop), 0);
    assert_int_equal(fm_pool_new(2, 1000, &fixture.pool), 0);
    fixture.config.pool = fixture.pool;
    return made;
}

struct open_list {
    struct fm_calls_open_call calls[MADE_MAX];
    size_t count;
};

static int add_open(const struct fm_calls_open_call *call, void *data)
{
    struct open_list *list = data;
    assert_true(list->count < MADE_MAX);
    list->calls[list->count] = *call;
    assert_string_equal(call->user, "simon");
    assert_string_equal(call->function, "echo");
    assert_string_equal(call->version, "v1");
    list->count++;
    return 0;
}

static struct open_list each_open(void)
{
    struct open_list list = {.count = 0};
    struct fm_error error = {0};
    assert_int_equal(fm_calls_each_open(fixture.calls, add_open, &list, &error), 0);
    return list;
}

/* --- every state ------------------------------------------------------------------------------ */

enum { QUEUED, RUNNING, RUNNING_AGAIN, RETRY, CANCELLED, CANCEL_ASKED, SUCCEEDED, FAILED, DEAD };

static struct fm_calls_cancel cancel_of_call(struct fm_id id)
{
    return (struct fm_calls_cancel){
        .id = id, .finished_real_ns = NOW + 6, .keep_until_real_ns = KEEP};
}

static void live_all(struct made *made)
{
    for (size_t i = 0; i <= DEAD; i++)
        made->ids[i] = i == QUEUED || i == CANCELLED ? accepted("simon", "echo", "ping")
                                                     : accepted_running("simon", "echo", "ping");
    struct fm_calls_finish finish = finish_of_call(made->ids[RUNNING_AGAIN], FM_STATUS_QUEUED);
    assert_int_equal(do_finish(&finish), 0);
    claimed(made->ids[RUNNING_AGAIN]);
    finish = finish_of_call(made->ids[RETRY], FM_STATUS_QUEUED);
    finish.error = FM_ERR_DEADLINE;
    assert_int_equal(do_finish(&finish), 0);
    struct fm_calls_cancel cancel = cancel_of_call(made->ids[CANCELLED]);
    assert_int_equal(do_cancel(&cancel), 0);
    cancel = cancel_of_call(made->ids[CANCEL_ASKED]);
    assert_int_equal(do_cancel(&cancel), 0);
    finish = finish_of_call(made->ids[SUCCEEDED], FM_STATUS_SUCCEEDED);
    finish.output = (const uint8_t *)"pong";
    finish.output_bytes = 4;
    assert_int_equal(do_finish(&finish), 0);
    finished(made->ids[FAILED], FM_STATUS_FAILED);
    finished(made->ids[DEAD], FM_STATUS_DEAD);
}

static void every_state(void **state)
{
    (void)state;
    static const enum fm_call_status expected[] = {
        [QUEUED] = FM_STATUS_QUEUED,
        [RUNNING] = FM_STATUS_QUEUED,
        [RUNNING_AGAIN] = FM_STATUS_QUEUED,
        [RETRY] = FM_STATUS_QUEUED,
        [CANCELLED] = FM_STATUS_CANCELLED,
        [CANCEL_ASKED] = FM_STATUS_CANCELLED,
        [SUCCEEDED] = FM_STATUS_SUCCEEDED,
        [FAILED] = FM_STATUS_FAILED,
        [DEAD] = FM_STATUS_DEAD,
    };
    struct made made = die_after(live_all);
    fixture.config.now_real_ns = NOW + 50 * SECOND;
    open_calls();
    assert_false(fixture.notice.damaged);
    assert_int_equal(fixture.notice.requeued, 2);
    assert_int_equal(fixture.notice.cancelled, 1);
    assert_int_equal(fixture.notice.dead, 0);
    for (size_t i = 0; i <= DEAD; i++)
        assert_int_equal(status_of(made.ids[i]), expected[i]);
    check_sums(0);

    struct fm_call_record record = record_of(made.ids[RUNNING_AGAIN]);
    assert_int_equal(record.attempt, 2); /* stays counted */
    assert_int_equal(record.run_at_real_ns, NOW + 50 * SECOND);
    assert_int_equal(record.error, FM_ERR_INTERNAL);
    assert_non_null(strstr(record.detail, "server ended"));
    fm_call_record_done(&record);
    record = record_of(made.ids[RETRY]);
    assert_int_equal(record.run_at_real_ns, NOW + 5 * SECOND); /* it was waiting, and goes on */
    assert_int_equal(record.error, FM_ERR_DEADLINE);
    fm_call_record_done(&record);
    record = record_of(made.ids[CANCEL_ASKED]);
    assert_int_equal(record.error, FM_ERR_CANCELLED);
    assert_int_equal(record.finished_real_ns, NOW + 50 * SECOND);
    assert_false(record.cancelled);
    fm_call_record_done(&record);
    struct fm_calls_get get = {.id = made.ids[SUCCEEDED], .want_output = true};
    assert_int_equal(do_get(&get), 0);
    assert_content(&get.output, (const uint8_t *)"pong", 4);
    fm_calls_get_done(&get);

    struct open_list list = each_open();
    static const size_t order[] = {QUEUED, RUNNING, RUNNING_AGAIN, RETRY};
    assert_int_equal(list.count, FM_ARRAY_LENGTH(order));
    for (size_t i = 0; i < list.count; i++)
        assert_true(same_id(list.calls[i].id, made.ids[order[i]]));
    assert_int_equal(list.calls[0].attempt, 0);
    assert_int_equal(list.calls[1].attempt, 1);
    assert_int_equal(list.calls[2].attempt, 2);
    assert_int_equal(list.calls[1].input_bytes, 4);
    assert_int_equal(list.calls[3].run_at_real_ns, NOW + 5 * SECOND);
    assert_int_equal(list.calls[0].created_real_ns, NOW);
    claimed(made.ids[RUNNING]); /* and they can go on */
}

/* --- attempts and strikes --------------------------------------------------------------------- */

static void live_attempts(struct made *made)
{
    static const uint32_t most[] = {0, 1, 2};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(most); i++) {
        struct fm_calls_entry entry = entry_of("simon", "echo", "ping", 4);
        entry.started_real_ns = NOW;
        entry.attempts_max = most[i];
        assert_int_equal(accept_entry(&entry), 0);
        made->ids[i] = entry.id;
    }
}

static void last_attempt(void **state)
{
    (void)state;
    struct made made = die_after(live_attempts);
    open_calls();
    assert_int_equal(fixture.notice.dead, 1);
    assert_int_equal(fixture.notice.requeued, 2);
    assert_int_equal(status_of(made.ids[0]), FM_STATUS_QUEUED); /* no bound */
    assert_int_equal(status_of(made.ids[2]), FM_STATUS_QUEUED); /* one left */
    struct fm_call_record record = record_of(made.ids[1]);
    assert_int_equal(record.status, FM_STATUS_DEAD);
    assert_int_equal(record.error, FM_ERR_INTERNAL);
    assert_non_null(strstr(record.detail, "last of its 1 attempts"));
    fm_call_record_done(&record);
    check_sums(0);
    struct fm_calls_redrive redrive = {.id = made.ids[1], .run_at_real_ns = NOW};
    assert_int_equal(do_redrive(&redrive), 0); /* with its input */
    fm_call_record_done(&redrive.record);
    struct fm_calls_claim claim = {.id = made.ids[1], .started_real_ns = NOW, .want_input = true};
    assert_int_equal(do_claim(&claim), 0);
    assert_memory_equal(claim.input, "ping", 4);
    free(claim.input);
}

static struct fm_id suspect; /* of the next life, inherited by the child */

static void live_two(struct made *made)
{
    made->ids[0] = accepted_running("simon", "echo", "suspect");
    made->ids[1] = accepted_running("simon", "echo", "bystander");
}

static void live_claim_suspect(struct made *made)
{
    (void)made;
    claimed(suspect);
}

/* The first crash is a strike, the second makes it dead; a crash of others, or a kill, is none. */
static void strikes(void **state)
{
    (void)state;
    struct made made = die_after(live_two);
    suspect = made.ids[0];
    fixture.config.suspects = &suspect;
    fixture.config.suspects_count = 1;
    open_calls();
    assert_int_equal(fixture.notice.requeued, 2);
    struct fm_call_record record = record_of(suspect);
    assert_int_equal(record.status, FM_STATUS_QUEUED);
    assert_int_equal(record.strikes, 1);
    fm_call_record_done(&record);
    record = record_of(made.ids[1]);
    assert_int_equal(record.strikes, 0);
    fm_call_record_done(&record);
    reopen_calls(); /* it was not running: no strike */
    close_calls();

    fixture.config.suspects_count = 0;
    (void)die_after(live_claim_suspect);
    open_calls(); /* a kill: nobody's fault */
    record = record_of(suspect);
    assert_int_equal(record.status, FM_STATUS_QUEUED);
    assert_int_equal(record.strikes, 1);
    fm_call_record_done(&record);
    close_calls();

    (void)die_after(live_claim_suspect);
    fixture.config.suspects_count = 1;
    open_calls();
    assert_int_equal(fixture.notice.dead, 1);
    record = record_of(suspect);
    assert_int_equal(record.status, FM_STATUS_DEAD);
    assert_int_equal(record.strikes, 2);
    assert_non_null(strstr(record.detail, "crashed 2 times"));
    fm_call_record_done(&record);
    check_sums(0);
    struct fm_calls_redrive redrive = {.id = suspect, .run_at_real_ns = NOW};
    assert_int_equal(do_redrive(&redrive), 0);
    assert_int_equal(redrive.record.strikes, 0);
    fm_call_record_done(&redrive.record);
}

/* Who is to be cancelled is cancelled, even if it crashed. */
static void live_cancelled_suspect(struct made *made)
{
    made->ids[0] = accepted_running("simon", "echo", "ping");
    struct fm_calls_cancel cancel = cancel_of_call(made->ids[0]);
    assert_int_equal(do_cancel(&cancel), 0);
}

static void cancelled_suspect(void **state)
{
    (void)state;
    struct made made = die_after(live_cancelled_suspect);
    fixture.config.suspects = made.ids;
    fixture.config.suspects_count = 1;
    open_calls();
    assert_int_equal(status_of(made.ids[0]), FM_STATUS_CANCELLED);
    assert_int_equal(fixture.notice.cancelled, 1);
    check_sums(0);
}

/* --- blobs ------------------------------------------------------------------------------------ */

static uint8_t *large;

static void live_blobs(struct made *made)
{
    for (size_t i = 0; i < 4; i++) {
        struct fm_calls_entry entry = entry_of("simon", "echo", large, 20000);
        entry.started_real_ns = NOW;
        assert_int_equal(accept_entry(&entry), 0);
        made->ids[i] = entry.id;
    }
    struct fm_calls_finish finish = finish_of_call(made->ids[1], FM_STATUS_SUCCEEDED);
    finish.output = large;
    finish.output_bytes = 20000;
    finish.log = large;
    finish.log_bytes = 20000;
    assert_int_equal(do_finish(&finish), 0);
    struct fm_calls_cancel cancel = cancel_of_call(made->ids[2]);
    assert_int_equal(do_cancel(&cancel), 0);
}

/* What a crash between a blob and its row leaves, or between a row and its blob. */
static void make_orphan(struct fm_id id, const char *rest)
{
    char text[FM_ID_TEXT_SIZE];
    char path[512];
    fm_id_format(id, text);
    (void)snprintf(path, sizeof(path), "%s/blobs/%s%s", fixture.data, fm_id_none(id) ? "" : text,
                   rest);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
}

static void orphans(void **state)
{
    (void)state;
    large = pattern(20000, 1);
    struct made made = die_after(live_blobs);
    size_t before = count_in("blobs", NULL);
    make_orphan(made.ids[0], ".input.01234567");  /* of a call that has another one */
    make_orphan(made.ids[0], ".output.01234567"); /* that has none */
    make_orphan(new_id(), ".input.01234567");     /* of no call */
    make_orphan(made.ids[0], "");
    make_orphan((struct fm_id){0, 0}, "leftover");
    make_orphan((struct fm_id){0, 0}, "one-with-a-name-that-is-longer-than-any-of-ours-would-be");
    open_calls();
    /* Left are two inputs, an output and a log; the third input was of the one to be cancelled. */
    check_sums(4);
    assert_int_equal(fixture.notice.orphans, before + 6 - 4);
    for (size_t i = 0; i < 4; i += 3) {
        struct fm_calls_claim claim = {
            .id = made.ids[i], .started_real_ns = NOW, .want_input = true};
        assert_int_equal(do_claim(&claim), 0);
        assert_int_equal(claim.input_bytes, 20000);
        assert_memory_equal(claim.input, large, 20000);
        free(claim.input);
    }
    free(large);
}

/* --- not acknowledged, but there -------------------------------------------------------------- */

struct one {
    struct fm_calls_entry entry;
    struct fm_calls_accept accept;
};

static struct made acknowledged;
static size_t acknowledged_count;

static void on_one(struct fm_calls_write *write)
{
    struct one *one =
        FM_CONTAINER_OF(FM_CONTAINER_OF(write, struct fm_calls_accept, write), struct one, accept);
    if (write->error == 0 && acknowledged_count < MADE_MAX)
        acknowledged.ids[acknowledged_count++] = one->entry.id;
    answers++;
}

/* Dies with writes on their way. */
static void live_many(struct made *made)
{
    enum { COUNT = 300 };
    static struct one all[COUNT];
    unsigned until = answers + MADE_MAX;
    for (size_t i = 0; i < COUNT; i++) {
        struct one *one = &all[i];
        one->entry = entry_of("simon", "echo", large, i % 3 == 0 ? 20000 : 100);
        one->accept = (struct fm_calls_accept){
            .write.on_done = on_one, .entries = &one->entry, .entries_count = 1};
        fm_calls_accept(fixture.calls, &one->accept, home());
    }
    wait_answers(until);
    *made = acknowledged;
}

static void in_the_middle(void **state)
{
    (void)state;
    large = pattern(20000, 1);
    struct made made = die_after(live_many);
    open_calls();
    for (size_t i = 0; i < MADE_MAX; i++) {
        struct fm_calls_claim claim = {
            .id = made.ids[i], .started_real_ns = NOW, .want_input = true};
        assert_int_equal(do_claim(&claim), 0);
        assert_true(claim.won);
        assert_memory_equal(claim.input, large, claim.input_bytes);
        free(claim.input);
    }
    check_sums((size_t)sql_number("SELECT count(input_file) FROM calls"));
    free(large);
}

static int stop_walk(const struct fm_calls_open_call *call, void *data)
{
    (void)call;
    ++*(int *)data;
    return FM_ERR_QUOTA;
}

static void live_waiting(struct made *made)
{
    (void)made;
    (void)accepted("simon", "echo", "1");
    (void)accepted("simon", "echo", "2");
}

static void a_walk_may_be_ended(void **state)
{
    (void)state;
    int seen = 0;
    struct fm_error error = {0};
    (void)die_after(live_waiting);
    open_calls();
    assert_int_equal(fm_calls_each_open(fixture.calls, stop_walk, &seen, &error), FM_ERR_QUOTA);
    assert_int_equal(seen, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED_TEST(every_state),
        CLOSED_TEST(last_attempt),
        CLOSED_TEST(strikes),
        CLOSED_TEST(orphans),
        CLOSED_TEST(cancelled_suspect),
        CLOSED_TEST(in_the_middle),
        CLOSED_TEST(a_walk_may_be_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
