/* queue_fixture.h - what the tests of queue/ share: two workers with a loop, a scheduler and a
 * queue each, all driven by one thread, on a real store in a fresh folder; and each thing that one
 * can do to a queue as a function that waits for its answer.
 *
 * Nothing is faked: the guests run, the rows are on disk.  "The process ends" is fixture_end()
 * (orderly) or fixture_crash() (what is not on disk is gone). */
#pragma once

#pragma GCC diagnostic ignored "-Wunused-function" /* a program uses what it needs */

#include "stage.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "call/call.h"
#include "call/function.h"
#include "call/recent.h"
#include "call/under_way.h"
#include "loop/loop.h"
#include "queue/ask.h"
#include "queue/private.h"
#include "sched/life.h"
#include "sched/sched.h"
#include "sched/users.h"

#define WORKERS 2

#define TRAP                                                                                       \
    "(module" GUEST_MEMORY " (func $oops unreachable) (func (export \"_start\") (call $oops)))"
/* Writes "kept" and chains the function whose name is in the first 4 bytes of its input, twice. */
#define CHAIN                                                                                      \
    "(module (import \"faasm\" \"input_read\" (func $r (param i32 i32 i32) (result i32)))"         \
    " (import \"faasm\" \"chain\" (func $c (param i32 i32 i32 i32) (result i32)))"                 \
    " (import \"faasm\" \"output_write\" (func $w (param i32 i32) (result i32)))" GUEST_MEMORY     \
    " (data (i32.const 100) \"kept\")"                                                             \
    " (func (export \"_start\")"                                                                   \
    "  (drop (call $w (i32.const 100) (i32.const 4)))"                                             \
    "  (drop (call $r (i32.const 0) (i32.const 0) (i32.const 4)))"                                 \
    "  (drop (call $c (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)))"                   \
    "  (drop (call $c (i32.const 0) (i32.const 4) (i32.const 1) (i32.const 2)))))"

struct worker {
    struct fm_loop *loop;
    struct fm_recent *recent;
    struct fm_under_way under_way;
    struct fm_sched *sched;
    struct fm_queue *queue;
};

static struct fixture {
    char data[64];
    struct stage stage;
    struct fm_calls *calls;
    struct fm_users *users;
    struct worker workers[WORKERS];
    struct fm_queue *queues[WORKERS];
    struct fm_queue_config config; /* what a test changes before fixture_begin() */
    struct fm_id suspect;
    struct fm_calls_notice notice;
    uint32_t slots;
    const char *vfs; /* NULL: the usual disk */
    void (*then)(void);
    unsigned accepts_left; /* before `then` */
} f;

static void publish_limited(const char *name, const char *text, const struct fm_limits *limits)
{
    struct fm_code *code = stage_code(&f.stage, "ada", name, text, limits);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(fm_sched_publish(f.workers[i].sched, code, f.stage.sequence), 0);
}

static void publish(const char *name, const char *text)
{
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.chain_depth = 2;
    publish_limited(name, text, &limits);
}

static void open_store(void)
{
    struct fm_calls_config config;
    struct fm_error error = {0};
    fm_calls_config_defaults(&config);
    config.data = f.data;
    config.pool = f.stage.pool;
    config.vfs = f.vfs;
    config.now_real_ns = fm_clock_real_ns();
    config.retention_ns = 100 * FM_NS_PER_S;
    config.suspects = &f.suspect;
    config.suspects_count = !fm_id_none(f.suspect);
    memset(&f.notice, 0, sizeof(f.notice));
    if (fm_calls_open(&config, &f.calls, &f.notice, &error) != 0)
        fail_msg("%s", error.text);
}

static void make_worker(unsigned index)
{
    struct worker *worker = &f.workers[index];
    assert_int_equal(fm_loop_new(&worker->loop), 0);
    assert_int_equal(fm_recent_new(FM_MIB, &worker->recent), 0);
    fm_under_way_init(&worker->under_way);
    const struct fm_sched_config sched = {.worker = index,
                                          .workers = WORKERS,
                                          .loop = worker->loop,
                                          .modules = f.stage.modules,
                                          .ticker = f.stage.ticker,
                                          .users = f.users,
                                          .recent = worker->recent,
                                          .under_way = &worker->under_way,
                                          .calls_max = f.slots,
                                          .queue_max = 16};
    assert_int_equal(fm_sched_new(&sched, &worker->sched), 0);
    struct fm_queue_config queue = f.config;
    queue.worker = index;
    queue.loop = worker->loop;
    queue.sched = worker->sched;
    queue.calls = f.calls;
    queue.recent = worker->recent;
    queue.under_way = &worker->under_way;
    queue.all = f.queues;
    queue.all_count = WORKERS;
    assert_int_equal(fm_queue_new(&queue, &worker->queue), 0);
    f.queues[index] = worker->queue;
}

static int restore(const struct fm_calls_open_call *call, void *data)
{
    (void)data;
    return fm_queue_restore(f.queues, WORKERS, call);
}

/* A process begins, with the functions that `publish_all` gives it. */
static void fixture_begin(void (*publish_all)(void))
{
    struct fm_error error = {0};
    stage_begin(&f.stage, WORKERS, 2, 1000);
    assert_int_equal(fm_users_new(&(struct fm_users_config){.workers = WORKERS}, &f.users), 0);
    open_store();
    for (unsigned i = 0; i < WORKERS; i++)
        make_worker(i);
    publish_all();
    assert_int_equal(fm_calls_each_open(f.calls, restore, NULL, &error), 0);
}

/* Each in turn, so a worker that has nothing to do waits no longer than a moment. */
static void pass_all(void)
{
    for (int i = 0; i < WORKERS; i++) {
        bool busy = fm_sched_busy(f.workers[i].sched);
        fm_loop_pass(f.workers[i].loop, busy ? 0 : fm_clock_monotonic_ns() + 100 * FM_NS_PER_US);
        fm_sched_turn(f.workers[i].sched);
    }
}

static void stop_queues(void)
{
    for (int i = 0; i < WORKERS; i++)
        fm_queue_stop(f.workers[i].queue);
    for (int i = 0; i < WORKERS; i++)
        fm_sched_reap(f.workers[i].sched);
}

static void free_all(void)
{
    fm_calls_stop(f.calls);
    for (int pass = 0; pass < 16; pass++)
        for (int i = 0; i < WORKERS; i++)
            fm_loop_pass(f.workers[i].loop, 0);
    for (int i = 0; i < WORKERS; i++) {
        fm_queue_free(f.workers[i].queue);
        fm_sched_free(f.workers[i].sched);
        fm_recent_free(f.workers[i].recent);
        fm_under_way_done(&f.workers[i].under_way);
    }
    f.calls = fm_calls_free(f.calls);
    fm_users_free(f.users);
    stage_end(&f.stage);
    for (int i = 0; i < WORKERS; i++)
        fm_loop_free(f.workers[i].loop);
}

static void fixture_end(void)
{
    stop_queues();
    free_all();
}

/* The store hears nothing more; then what there is in memory is thrown away. */
static void fixture_crash(void)
{
    fm_calls_stop(f.calls);
    stop_queues();
    free_all();
}

static int fixture_setup(void **state)
{
    (void)state;
    f = (struct fixture){.slots = 4};
    (void)strcpy(f.data, "/tmp/faasm-queue-XXXXXX");
    assert_non_null(mkdtemp(f.data));
    f.config = (struct fm_queue_config){
        .calls_max = 100,
        .running_max = 4,
        .inputs_bytes_max = FM_MIB,
        .retention_ns_max = 1000 * FM_NS_PER_S,
        .stored_rows_max = 1000,
        .stored_bytes_max = FM_GIB,
    };
    return 0;
}

static int fixture_teardown(void **state)
{
    (void)state;
    char command[100];
    (void)snprintf(command, sizeof(command), "rm -rf %s", f.data);
    return system(command);
}

#define QUEUE_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

/* Passes until it is so; the tests' own time limit ends what never comes. */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        while (!(condition))                                                                       \
            pass_all();                                                                            \
    } while (0)

/* --- submitting ------------------------------------------------------------------------------- */

struct submission {
    struct fm_queue_submit submit;
    bool done;
};

static void on_submitted(struct fm_queue_submit *submit)
{
    FM_CONTAINER_OF(submit, struct submission, submit)->done = true;
    if (f.accepts_left > 0 && --f.accepts_left == 0)
        f.then();
}

/* What happens when so many more calls are accepted: before the last of them begins. */
static void when_accepted(unsigned count, void (*then)(void))
{
    f.accepts_left = count;
    f.then = then;
}

static int begin_submit(unsigned worker, const char *function, const char *input, const char *key,
                        uint64_t delay_ns, struct submission *submission)
{
    struct fm_function *found =
        fm_sched_function(f.workers[worker].sched, "ada", 3, function, strlen(function));
    assert_non_null(found);
    *submission = (struct submission){.submit = {.function = found,
                                                 .input = (uint8_t *)strdup(input),
                                                 .input_bytes = strlen(input),
                                                 .key = key,
                                                 .delay_ns = delay_ns,
                                                 .on_done = on_submitted}};
    struct fm_error error = {0};
    int failed = fm_queue_submit(f.workers[worker].queue, &submission->submit, &error);
    assert_int_equal(failed, error.code);
    if (failed)
        free(submission->submit.input);
    return failed;
}

static int submit_with(const char *function, const char *input, const char *key, uint64_t delay_ns,
                       struct fm_id *ret_id)
{
    struct submission submission;
    int failed = begin_submit(0, function, input, key, delay_ns, &submission);
    if (failed)
        return failed;
    UNTIL(submission.done);
    if (!submission.submit.error)
        *ret_id = submission.submit.id;
    return submission.submit.error;
}

static struct fm_id submit(const char *function, const char *input)
{
    struct fm_id id = {0};
    assert_int_equal(submit_with(function, input, NULL, 0, &id), 0);
    return id;
}

/* --- asking ----------------------------------------------------------------------------------- */

struct question {
    struct fm_queue_ask ask;
    bool answered;
};

static void on_answer(struct fm_queue_ask *ask)
{
    FM_CONTAINER_OF(ask, struct question, ask)->answered = true;
}

/* Worker 1 asks: calls are worker 0's, so the question travels.  The caller ends the record. */
static struct fm_queue_ask ask(enum fm_queue_verb verb, struct fm_id id)
{
    struct question question = {.ask = {.verb = verb, .id = id, .on_answer = on_answer}};
    fm_queue_ask(f.workers[1].queue, &question.ask);
    assert_false(question.answered);
    UNTIL(question.answered);
    return question.ask;
}

static int change(enum fm_queue_verb verb, struct fm_id id, enum fm_call_status *ret_status)
{
    struct fm_queue_ask answer = ask(verb, id);
    if (ret_status)
        *ret_status = answer.record.status;
    fm_call_record_done(&answer.record);
    return answer.error;
}

struct reading {
    struct fm_calls_get get;
    bool done;
};

static void on_read(struct fm_calls_read *read)
{
    struct fm_calls_get *get = FM_CONTAINER_OF(read, struct fm_calls_get, read);
    FM_CONTAINER_OF(get, struct reading, get)->done = true;
}

/* What the disk has; the caller ends it with fm_calls_get_done(). */
static struct fm_calls_get look(struct fm_id id)
{
    struct reading reading = {.get = {.read = {.on_done = on_read},
                                      .id = id,
                                      .want_input = true,
                                      .want_output = true,
                                      .want_log = true}};
    fm_calls_get(f.calls, &reading.get, fm_loop_mailbox(f.workers[1].loop));
    UNTIL(reading.done);
    return reading.get;
}

static enum fm_call_status status_of(struct fm_id id)
{
    struct fm_calls_get get = look(id);
    assert_int_equal(get.read.error, 0);
    enum fm_call_status status = get.record.status;
    fm_calls_get_done(&get);
    return status;
}

static void wait_for(struct fm_id id, enum fm_call_status status)
{
    UNTIL(status_of(id) == status);
}

/* What the disk has of it once it has ended. */
static struct fm_calls_get wait_for_end(struct fm_id id)
{
    UNTIL(fm_call_status_ended(status_of(id)));
    return look(id);
}

/* The call ends like that, with this output (NULL: none is looked at) and this attempt. */
static void expect_end(struct fm_id id, enum fm_call_status status, uint32_t attempt,
                       const char *output)
{
    struct fm_calls_get get = wait_for_end(id);
    if (get.record.status != status)
        fail_msg("%s: %s", fm_call_status_text(get.record.status),
                 get.record.detail ? get.record.detail : "");
    assert_int_equal(get.record.attempt, attempt);
    if (output) {
        assert_int_equal(get.output.bytes, strlen(output));
        assert_memory_equal(get.output.data, output, strlen(output));
    }
    fm_calls_get_done(&get);
}

static struct fm_queue_counts counts(void)
{
    struct fm_queue_counts now;
    fm_queue_counts(f.workers[0].queue, &now);
    return now;
}
