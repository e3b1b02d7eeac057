/* test_queue.c - asynchronous calls: accepted, run, remembered, forgotten, asked for, cancelled,
 * chained.  Two queues with a loop each, both driven by this thread. */
#include "guests.h"

#include "loop/loop.h"
#include "loop/pool.h"
#include "queue/queue.h"
#include "sched/sched.h"
#include "sched/ticker.h"

#define WORKERS 2
#define RECORDS_MAX 4
#define RETENTION_NS (20 * FM_NS_PER_MS)
#define FOREVER_NS (1000000 * FM_NS_PER_S)

#define TRAP                                                                                       \
    "(module" GUEST_MEMORY " (func $oops unreachable) (func (export \"_start\") (call $oops)))"
/* Chains the function whose name is in the first 4 bytes of its input, twice. */
#define CHAIN                                                                                      \
    "(module (import \"faasm\" \"input_read\" (func $r (param i32 i32 i32) (result i32)))"         \
    " (import \"faasm\" \"chain\" (func $c (param i32 i32 i32 i32) (result i32)))" GUEST_MEMORY    \
    " (func (export \"_start\")"                                                                   \
    "  (drop (call $r (i32.const 0) (i32.const 0) (i32.const 4)))"                                 \
    "  (drop (call $c (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 4)))"                   \
    "  (drop (call $c (i32.const 0) (i32.const 4) (i32.const 1) (i32.const 2)))))"

struct worker {
    struct fm_loop *loop;
    struct fm_sched *sched;
    struct fm_queue *queue;
};

struct fixture {
    struct fm_pool *pool;
    struct fm_modules *modules;
    struct fm_ticker *ticker;
    struct worker workers[WORKERS];
    struct fm_queue *queues[WORKERS];
    struct fm_code *codes[8];
    size_t codes_count;
};

static void publish(struct fixture *f, const char *name, const char *text)
{
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.chain_depth = 2;
    struct fm_code *code = guest_code(f->modules, "ada", name, text, &limits, WORKERS);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(fm_sched_publish(f->workers[i].sched, code, 1), 0);
    f->codes[f->codes_count++] = code;
}

static struct fixture *make(uint64_t retention_ns, uint64_t bytes_max)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(fm_pool_new(1, 16, &f->pool), 0);
    assert_int_equal(fm_ticker_new(engine, WORKERS, &f->ticker), 0);
    const struct fm_modules_config modules = {
        .engine = engine, .pool = f->pool, .workers = WORKERS, .bytes_max = FM_GIB};
    assert_int_equal(fm_modules_new(&modules, &f->modules), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        struct worker *worker = &f->workers[i];
        assert_int_equal(fm_loop_new(&worker->loop), 0);
        const struct fm_sched_config sched = {.worker = i,
                                              .workers = WORKERS,
                                              .loop = worker->loop,
                                              .modules = f->modules,
                                              .ticker = f->ticker,
                                              .calls_max = 4,
                                              .queue_max = 16};
        assert_int_equal(fm_sched_new(&sched, &worker->sched), 0);
        const struct fm_queue_config queue = {.worker = i,
                                              .loop = worker->loop,
                                              .sched = worker->sched,
                                              .retention_ns = retention_ns,
                                              .records_bytes_max = bytes_max,
                                              .records_max = RECORDS_MAX,
                                              .all = f->queues,
                                              .all_count = WORKERS};
        assert_int_equal(fm_queue_new(&queue, &worker->queue), 0);
        f->queues[i] = worker->queue;
    }
    publish(f, "echo", GUEST_ECHO);
    publish(f, "spin", GUEST_SPIN);
    publish(f, "trap", TRAP);
    publish(f, "call", CHAIN);
    return f;
}

static void pass_all(struct fixture *f)
{
    for (int i = 0; i < WORKERS; i++) {
        fm_loop_pass(f->workers[i].loop, 0);
        fm_sched_turn(f->workers[i].sched);
    }
}

static void end(struct fixture *f)
{
    for (int pass = 0; pass < 4; pass++)
        pass_all(f);
    for (int i = 0; i < WORKERS; i++) {
        fm_queue_free(f->workers[i].queue);
        fm_sched_free(f->workers[i].sched);
    }
    for (size_t i = 0; i < f->codes_count; i++)
        guest_code_release(f->modules, f->codes[i]);
    fm_pool_free(f->pool);
    fm_modules_free(f->modules);
    fm_ticker_free(f->ticker);
    for (int i = 0; i < WORKERS; i++)
        fm_loop_free(f->workers[i].loop);
    free(f);
}

static int submit(struct fixture *f, const char *function, const char *input, struct fm_id *id)
{
    struct fm_function *found =
        fm_sched_function(f->workers[0].sched, "ada", 3, function, strlen(function));
    assert_non_null(found);
    return fm_queue_submit(f->workers[0].queue, found, (const uint8_t *)input, strlen(input), id);
}

struct question {
    struct fm_query query;
    bool answered;
};

static void on_answer(struct fm_query *query)
{
    FM_CONTAINER_OF(query, struct question, query)->answered = true;
}

/* Worker 1 asks: the call is worker 0's, so the question travels. */
static struct fm_query ask(struct fixture *f, struct fm_id id, bool output, bool cancel)
{
    struct question question = {
        .query = {.id = id, .want_output = output, .cancel = cancel, .on_answer = on_answer}};
    fm_queue_ask(f->workers[1].queue, &question.query);
    assert_false(question.answered);
    while (!question.answered)
        pass_all(f);
    return question.query;
}

static struct fm_query wait_for_end(struct fixture *f, struct fm_id id)
{
    for (;;) {
        struct fm_query query = ask(f, id, true, false);
        assert_true(query.found);
        if (query.record.finished_real_ns)
            return query;
        fm_record_done(&query.record);
    }
}

/* --- tests ------------------------------------------------------------------------------------ */

static void a_call_runs_later_and_keeps_its_result(void **state)
{
    (void)state;
    struct fixture *f = make(FOREVER_NS, FM_MIB);
    struct fm_id id;
    assert_int_equal(submit(f, "echo", "hello", &id), 0);
    struct fm_query query = ask(f, id, false, false);
    assert_true(query.found);
    assert_null(query.record.output);
    fm_record_done(&query.record);

    query = wait_for_end(f, id);
    const struct fm_record *record = &query.record;
    assert_string_equal(fm_record_status_text(record->status), "succeeded");
    assert_int_equal(record->output_bytes, 5);
    assert_memory_equal(record->output, "hello", 5);
    assert_string_equal(record->user, "ada");
    assert_string_equal(record->function, "echo");
    assert_string_equal(record->version, "v1");
    assert_int_equal(record->input_bytes, 5);
    assert_true(record->created_real_ns <= record->started_real_ns);
    assert_true(record->started_real_ns <= record->finished_real_ns);
    assert_true(record->cpu_ns > 0 && record->wall_ns > 0);
    fm_record_done(&query.record);
    end(f);
}

static void a_failure_keeps_its_reason(void **state)
{
    (void)state;
    struct fixture *f = make(FOREVER_NS, FM_MIB);
    struct fm_id id;
    assert_int_equal(submit(f, "trap", "", &id), 0);
    struct fm_query query = wait_for_end(f, id);
    assert_int_equal(query.record.status, FM_RECORD_FAILED);
    assert_int_equal(query.record.error, FM_ERR_GUEST_TRAP);
    assert_string_equal(query.record.trap, "unreachable");
    assert_non_null(strstr(query.record.backtrace, "oops"));
    fm_record_done(&query.record);
    end(f);
}

static void unknown_ids_are_not_found(void **state)
{
    (void)state;
    struct fixture *f = make(FOREVER_NS, FM_MIB);
    struct fm_id id;
    assert_int_equal(submit(f, "echo", "", &id), 0);
    struct fm_id other = id;
    other.high ^= 1;
    assert_false(ask(f, other, true, true).found);
    other = id;
    other.low |= 0xff; /* a worker that does not exist */
    assert_false(ask(f, other, true, true).found);
    struct fm_query query = wait_for_end(f, id);
    fm_record_done(&query.record);
    end(f);
}

static void a_call_can_be_cancelled_before_and_while_it_runs(void **state)
{
    (void)state;
    struct fixture *f = make(FOREVER_NS, FM_MIB);
    struct fm_id ids[2];
    assert_int_equal(submit(f, "spin", "", &ids[0]), 0);
    struct fm_query query = ask(f, ids[0], false, false);
    while (query.record.status != FM_RECORD_RUNNING) {
        fm_record_done(&query.record);
        query = ask(f, ids[0], false, false);
    }
    fm_record_done(&query.record);
    assert_int_equal(submit(f, "spin", "", &ids[1]), 0);
    for (int i = 1; i >= 0; i--) {
        query = ask(f, ids[i], false, true);
        assert_int_equal(query.record.status, FM_RECORD_CANCELLED);
        fm_record_done(&query.record);
        query = ask(f, ids[i], false, true); /* once more changes nothing */
        assert_int_equal(query.record.status, FM_RECORD_CANCELLED);
        fm_record_done(&query.record);
    }
    end(f);
}

static void the_table_is_bounded_and_the_oldest_goes_first(void **state)
{
    (void)state;
    struct fixture *f = make(FOREVER_NS, FM_MIB);
    struct fm_id ids[RECORDS_MAX + 2];
    for (int i = 0; i < RECORDS_MAX + 1; i++) {
        assert_int_equal(submit(f, "echo", "x", &ids[i]), 0);
        struct fm_query query = wait_for_end(f, ids[i]);
        fm_record_done(&query.record);
    }
    assert_false(ask(f, ids[0], false, false).found);
    struct fm_query query = ask(f, ids[1], false, false);
    assert_true(query.found);
    fm_record_done(&query.record);

    /* Calls that have not ended are never forgotten: then new ones are refused. */
    for (int i = 0; i < RECORDS_MAX; i++)
        assert_int_equal(submit(f, "spin", "", &ids[i]), 0);
    assert_int_equal(submit(f, "spin", "", &ids[RECORDS_MAX]), FM_ERR_BUSY);
    end(f); /* cancels them */
}

static void bytes_are_bounded_too(void **state)
{
    (void)state;
    struct fixture *f = make(FOREVER_NS, 8);
    struct fm_id ids[3];
    assert_int_equal(submit(f, "echo", "123456789", &ids[0]), FM_ERR_BUSY);
    assert_int_equal(submit(f, "echo", "12345678", &ids[0]), 0);
    struct fm_query query = wait_for_end(f, ids[0]);
    fm_record_done(&query.record);
    assert_int_equal(submit(f, "echo", "1", &ids[1]), 0); /* the first one makes room */
    assert_false(ask(f, ids[0], false, false).found);
    query = wait_for_end(f, ids[1]);
    fm_record_done(&query.record);
    end(f);
}

static void results_are_forgotten_in_time(void **state)
{
    (void)state;
    struct fixture *f = make(RETENTION_NS, FM_MIB);
    struct fm_id ids[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(submit(f, "echo", "x", &ids[i]), 0);
    for (int i = 0; i < 2; i++) {
        for (;;) { /* ends with the timer of the queue, which this loop waits for */
            struct fm_query query = ask(f, ids[i], false, false);
            if (!query.found)
                break;
            fm_record_done(&query.record);
        }
    }
    end(f);
}

static void chained_calls_run_after_their_parent(void **state)
{
    (void)state;
    struct fixture *f = make(FOREVER_NS, FM_MIB);
    struct fm_id id;
    assert_int_equal(submit(f, "call", "echo", &id), 0);
    struct fm_query parent = wait_for_end(f, id);
    assert_int_equal(parent.record.status, FM_RECORD_SUCCEEDED);
    assert_int_equal(parent.record.children_count, 2);
    static const char *const outputs[] = {"echo", "ch"};
    for (int i = 0; i < 2; i++) {
        struct fm_query child = wait_for_end(f, parent.record.children[i]);
        assert_int_equal(child.record.output_bytes, strlen(outputs[i]));
        assert_memory_equal(child.record.output, outputs[i], strlen(outputs[i]));
        assert_memory_equal(&child.record.parent, &id, sizeof(id));
        fm_record_done(&child.record);
    }
    fm_record_done(&parent.record);
    end(f);
}

static void a_missing_target_fails_the_parent_and_starts_none(void **state)
{
    (void)state;
    struct fixture *f = make(FOREVER_NS, FM_MIB);
    struct fm_id id;
    assert_int_equal(submit(f, "call", "none", &id), 0);
    struct fm_query query = wait_for_end(f, id);
    assert_int_equal(query.record.status, FM_RECORD_FAILED);
    assert_int_equal(query.record.error, FM_ERR_CHAIN_TARGET);
    assert_non_null(strstr(query.record.detail, "ada/none"));
    assert_int_equal(query.record.children_count, 0);
    fm_record_done(&query.record);
    end(f);
}

static void a_chain_has_a_depth(void **state)
{
    (void)state;
    struct fixture *f = make(FOREVER_NS, FM_MIB);
    struct fm_call *parent = NULL;
    struct fm_error error = {0};
    struct fm_sched *sched = f->workers[0].sched;
    assert_int_equal(
        fm_sched_call_new(sched, fm_sched_function(sched, "ada", 3, "call", 4), &parent), 0);
    assert_int_equal(fm_call_chain(parent, "echo", 4, NULL, 0), 0);
    parent->depth = 1; /* of at most 2 */
    assert_int_equal(fm_queue_chains(f->workers[0].queue, parent, &error), 0);
    parent->depth = 2;
    assert_int_equal(fm_queue_chains(f->workers[0].queue, parent, &error), FM_ERR_GUEST_LIMIT);
    assert_non_null(strstr(error.text, "chain_depth"));
    fm_sched_call_free(sched, parent);
    end(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_runs_later_and_keeps_its_result),
        cmocka_unit_test(a_failure_keeps_its_reason),
        cmocka_unit_test(unknown_ids_are_not_found),
        cmocka_unit_test(a_call_can_be_cancelled_before_and_while_it_runs),
        cmocka_unit_test(the_table_is_bounded_and_the_oldest_goes_first),
        cmocka_unit_test(bytes_are_bounded_too),
        cmocka_unit_test(results_are_forgotten_in_time),
        cmocka_unit_test(chained_calls_run_after_their_parent),
        cmocka_unit_test(a_missing_target_fails_the_parent_and_starts_none),
        cmocka_unit_test(a_chain_has_a_depth),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
