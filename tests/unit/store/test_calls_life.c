/* test_calls_life.c - threads that are refused, a call that goes while it is read, and many askers
 * on many threads at once. */
#include <dlfcn.h>
#include <pthread.h>

#include "calls_fixture.h"

static unsigned refuse_nth; /* 1: the next thread is refused; 0: none */

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                   void *data)
{
    int (*real)(pthread_t * thread, const pthread_attr_t *attributes, void *(*body)(void *),
                void *data);
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&real, &symbol, sizeof(symbol));
    if (refuse_nth > 0 && --refuse_nth == 0)
        return EAGAIN;
    return real(thread, attributes, body, data);
}

static void refused_threads(void **state)
{
    (void)state;
    for (unsigned nth = 1; nth <= 2; nth++) {
        struct fm_error error = {0};
        refuse_nth = nth;
        assert_int_equal(try_open_calls(&error), FM_ERR_BUSY);
        assert_int_equal(error.code, FM_ERR_BUSY);
        assert_null(fixture.calls);
    }
    open_calls();
    (void)accepted("simon", "echo", "ping");
}

/* --- a call that goes while its files are read ------------------------------------------------ */

struct stopper {
    struct fm_job job;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;
};

static void stop_here(struct fm_job *job)
{
    struct stopper *stopper = FM_CONTAINER_OF(job, struct stopper, job);
    assert_int_equal(pthread_mutex_lock(&stopper->lock), 0);
    while (!stopper->open)
        assert_int_equal(pthread_cond_wait(&stopper->changed, &stopper->lock), 0);
    assert_int_equal(pthread_mutex_unlock(&stopper->lock), 0);
}

static void go_on(struct stopper *stopper)
{
    assert_int_equal(pthread_mutex_lock(&stopper->lock), 0);
    stopper->open = true;
    assert_int_equal(pthread_cond_broadcast(&stopper->changed), 0);
    assert_int_equal(pthread_mutex_unlock(&stopper->lock), 0);
}

/* The row was read, the file not yet, when it goes: with its row, or without it. */
static int read_what_goes(bool with_row)
{
    static struct stopper stopper;
    struct fm_error error = {0};
    char name[64];
    char path[512];
    uint8_t *data = pattern(20000, 1);
    open_calls();
    struct fm_calls_entry entry = entry_of("simon", "echo", data, 20000);
    assert_int_equal(accept_entry(&entry), 0);
    close_calls();
    fixture.pool = fm_pool_free(fixture.pool);
    assert_int_equal(fm_pool_new(1, 100, &fixture.pool), 0);
    fixture.config.pool = fixture.pool;
    assert_int_equal(fm_calls_open_idle(&fixture.config, &fixture.calls, &fixture.notice, &error),
                     0);
    stopper = (struct stopper){.job.run = stop_here,
                               .lock = PTHREAD_MUTEX_INITIALIZER,
                               .changed = PTHREAD_COND_INITIALIZER};
    assert_int_equal(fm_pool_submit(fixture.pool, &stopper.job, NULL), 0);
    struct fm_calls_get get = {.id = entry.id, .want_input = true};
    get.read.on_done = on_read_one;
    unsigned until = answers + 1;
    fm_calls_get(fixture.calls, &get, home());
    assert_true(fm_calls_reader_turn(fixture.calls)); /* its job waits behind the stopper */
    assert_int_equal(count_in("blobs", name), 1);
    (void)snprintf(path, sizeof(path), "%s/blobs/%s", fixture.data, name);
    assert_int_equal(unlink(path), 0);
    if (with_row)
        sql("DELETE FROM calls; UPDATE totals SET rows = 0, rows_open = 0, bytes = 0");
    go_on(&stopper);
    assert_true(fm_calls_reader_turn(fixture.calls)); /* asked once more */
    wait_answers(until);
    assert_null(get.record.user);
    assert_null(get.input.data);
    free(data);
    return get.read.error;
}

static void gone_while_read(void **state)
{
    (void)state;
    assert_int_equal(read_what_goes(true), FM_ERR_NOT_FOUND);
}

static void damaged_while_read(void **state)
{
    (void)state;
    assert_int_equal(read_what_goes(false), FM_ERR_IO);
}

/* --- many askers ------------------------------------------------------------------------------ */

enum { WORKERS = 3, ASKERS = 16, ROUNDS = 30 };

struct worker {
    struct fm_loop *loop;
    struct fm_id_generator ids;
    unsigned busy;
    unsigned ended;
    unsigned cancelled;
    pthread_t thread;
};

struct asker {
    struct worker *worker;
    unsigned rounds;
    unsigned waiting; /* answers that are missing */
    struct fm_calls_entry entry;
    struct fm_calls_accept accept;
    struct fm_calls_claim claim;
    struct fm_calls_finish finish;
    struct fm_calls_cancel cancel;
    struct fm_calls_get get;
};

static uint8_t *bodies;

static struct fm_mailbox *home_of(struct asker *asker)
{
    return fm_loop_mailbox(asker->worker->loop);
}

static void next_round(struct asker *asker)
{
    if (asker->rounds == 0) {
        asker->worker->busy--;
        return;
    }
    asker->rounds--;
    asker->entry = entry_with(fm_id_next(&asker->worker->ids, NOW), "simon", "echo", bodies,
                              asker->rounds % 7 == 0 ? 20000 : 50);
    asker->accept.entries = &asker->entry;
    asker->accept.entries_count = 1;
    fm_calls_accept(fixture.calls, &asker->accept, home_of(asker));
}

static void on_accepted(struct fm_calls_write *write)
{
    struct asker *asker = FM_CONTAINER_OF(FM_CONTAINER_OF(write, struct fm_calls_accept, write),
                                          struct asker, accept);
    assert_int_equal(write->error, 0);
    asker->claim.id = asker->entry.id;
    asker->claim.started_real_ns = NOW;
    asker->claim.want_input = true;
    fm_calls_claim(fixture.calls, &asker->claim, home_of(asker));
}

/* The end and the cancellation at once. */
static void on_claimed(struct fm_calls_write *write)
{
    struct asker *asker =
        FM_CONTAINER_OF(FM_CONTAINER_OF(write, struct fm_calls_claim, write), struct asker, claim);
    assert_int_equal(write->error, 0);
    assert_true(asker->claim.won);
    assert_int_equal(asker->claim.input_bytes, asker->entry.input_bytes);
    assert_memory_equal(asker->claim.input, bodies, asker->entry.input_bytes);
    free(asker->claim.input);
    asker->finish.id = asker->entry.id;
    asker->finish.status = FM_STATUS_SUCCEEDED;
    asker->finish.finished_real_ns = NOW;
    asker->finish.keep_until_real_ns = KEEP;
    asker->finish.output = bodies;
    asker->finish.output_bytes = asker->rounds % 5 == 0 ? 20000 : 50;
    asker->cancel.id = asker->entry.id;
    asker->cancel.finished_real_ns = NOW;
    asker->cancel.keep_until_real_ns = KEEP;
    asker->waiting = 2;
    fm_calls_finish(fixture.calls, &asker->finish, home_of(asker));
    fm_calls_cancel(fixture.calls, &asker->cancel, home_of(asker));
}

static void both(struct asker *asker)
{
    if (--asker->waiting > 0)
        return;
    asker->get.id = asker->entry.id;
    asker->get.want_output = true;
    fm_calls_get(fixture.calls, &asker->get, home_of(asker));
}

static void on_finished(struct fm_calls_write *write)
{
    assert_int_equal(write->error, 0);
    both(FM_CONTAINER_OF(FM_CONTAINER_OF(write, struct fm_calls_finish, write), struct asker,
                         finish));
}

static void on_cancelled(struct fm_calls_write *write)
{
    struct asker *asker = FM_CONTAINER_OF(FM_CONTAINER_OF(write, struct fm_calls_cancel, write),
                                          struct asker, cancel);
    assert_int_equal(write->error, 0);
    fm_call_record_done(&asker->cancel.record);
    both(asker);
}

/* One of the two has won, and everybody was told the same. */
static void on_got(struct fm_calls_read *read)
{
    struct asker *asker =
        FM_CONTAINER_OF(FM_CONTAINER_OF(read, struct fm_calls_get, read), struct asker, get);
    assert_int_equal(read->error, 0);
    bool cancelled = asker->cancel.found == FM_STATUS_RUNNING;
    assert_int_equal(asker->finish.result, cancelled ? FM_STATUS_CANCELLED : FM_STATUS_SUCCEEDED);
    assert_int_equal(asker->get.record.status, asker->finish.result);
    assert_int_equal(asker->get.output.data == NULL, cancelled);
    if (!cancelled)
        assert_content(&asker->get.output, bodies, asker->finish.output_bytes);
    fm_calls_get_done(&asker->get);
    asker->worker->ended++;
    asker->worker->cancelled += cancelled;
    next_round(asker);
}

static void *work(void *data)
{
    struct worker *worker = data;
    struct asker *askers = calloc(ASKERS, sizeof(*askers));
    assert_non_null(askers);
    worker->busy = ASKERS;
    for (size_t i = 0; i < ASKERS; i++) {
        askers[i] = (struct asker){.worker = worker, .rounds = ROUNDS};
        askers[i].accept.write.on_done = on_accepted;
        askers[i].claim.write.on_done = on_claimed;
        askers[i].finish.write.on_done = on_finished;
        askers[i].cancel.write.on_done = on_cancelled;
        askers[i].get.read.on_done = on_got;
        next_round(&askers[i]);
    }
    while (worker->busy > 0)
        fm_loop_pass(worker->loop, UINT64_MAX);
    free(askers);
    return NULL;
}

static void many_askers(void **state)
{
    (void)state;
    static struct worker workers[WORKERS];
    bodies = pattern(20000, 1);
    fixture.config.batch_max = 7; /* many transactions */
    fixture.config.batch_bytes_max = 1000;
    open_calls();
    for (size_t i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.loop = NULL};
        assert_int_equal(fm_loop_new(&workers[i].loop), 0);
        assert_int_equal(fm_id_generator_init(&workers[i].ids), 0);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    unsigned ended = 0;
    unsigned cancelled = 0;
    for (size_t i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
        ended += workers[i].ended;
        cancelled += workers[i].cancelled;
        fm_loop_free(workers[i].loop);
    }
    assert_int_equal(ended, WORKERS * ASKERS * ROUNDS);
    close_calls();
    assert_int_equal(sql_number("SELECT count(*) FROM calls WHERE status = 4"), cancelled);
    assert_int_equal(sql_number("SELECT count(*) FROM calls WHERE status = 2"), ended - cancelled);
    check_sums((size_t)sql_number("SELECT count(output_file) FROM calls"));
    open_calls();
    free(bodies);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED_TEST(refused_threads),
        CLOSED_TEST(gone_while_read),
        CLOSED_TEST(damaged_while_read),
        CLOSED_TEST(many_askers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
