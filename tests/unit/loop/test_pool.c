/* test_pool.c - threads for what blocks: order, limits, the way back, and how it ends.
 *
 * Threads are held up with gates, so nothing here depends on how fast anything is.  This program
 * has its own pthread_create() and pthread_join(), which count, and can refuse the n-th thread. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "crash.h"
#include "loop/loop.h"
#include "loop/pool.h"
#include "torture.h"

/* --- threads that are refused -------------------------------------------------------------------
 */

static struct {
    int (*real_create)(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                       void *data);
    int (*real_join)(pthread_t thread, void **result);
    unsigned refuse_nth; /* 1: the next; 0: none */
    unsigned created;
    unsigned joined;
} threads;

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*body)(void *),
                   void *data)
{
    if (threads.refuse_nth > 0 && --threads.refuse_nth == 0)
        return EAGAIN;
    int error = threads.real_create(thread, attributes, body, data);
    threads.created += error == 0;
    return error;
}

int pthread_join(pthread_t thread, void **result)
{
    int error = threads.real_join(thread, result);
    threads.joined += error == 0;
    return error;
}

static void find_real(void)
{
    void *symbol = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&threads.real_create, &symbol, sizeof(symbol));
    symbol = dlsym(RTLD_NEXT, "pthread_join");
    memcpy(&threads.real_join, &symbol, sizeof(symbol));
}

/* --- gates --------------------------------------------------------------------------------------
 */

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned waiting;
    bool open;
};

static void gate_init(struct gate *gate)
{
    *gate = (struct gate){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
}

static void gate_pass(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->waiting += 1;
    pthread_cond_broadcast(&gate->changed);
    while (!gate->open)
        pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

/* Returns when so many threads stand before the gate. */
static void gate_await(struct gate *gate, unsigned waiting)
{
    pthread_mutex_lock(&gate->lock);
    while (gate->waiting < waiting)
        pthread_cond_wait(&gate->changed, &gate->lock);
    pthread_mutex_unlock(&gate->lock);
}

static void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->lock);
}

/* --- jobs ---------------------------------------------------------------------------------------
 */

static atomic_uint runs; /* jobs that ran, over all tests: a job's place in it is its start order */

struct work {
    struct fm_job job;
    struct gate *gate; /* stands before it while running; NULL: does not */
    unsigned place;    /* what `runs` was when it ran */
    bool ran;
    unsigned done;
    pthread_t ran_on;
    pthread_t done_on;
};

static void work_run(struct fm_job *job)
{
    struct work *work = FM_CONTAINER_OF(job, struct work, job);
    work->place = atomic_fetch_add(&runs, 1);
    work->ran = true;
    work->ran_on = pthread_self();
    if (work->gate)
        gate_pass(work->gate);
}

static void work_done(struct fm_job *job)
{
    struct work *work = FM_CONTAINER_OF(job, struct work, job);
    work->done += 1;
    work->done_on = pthread_self();
}

static struct work work_make(struct gate *gate)
{
    return (struct work){.job = {.run = work_run, .on_done = work_done}, .gate = gate};
}

static struct fm_loop *loop_make(void)
{
    struct fm_loop *loop = NULL;
    assert_int_equal(fm_loop_new(&loop), 0);
    return loop;
}

static struct fm_pool *pool_make(unsigned count, size_t jobs_max)
{
    struct fm_pool *pool = NULL;
    assert_int_equal(fm_pool_new(count, jobs_max, &pool), 0);
    return pool;
}

static void submit(struct fm_pool *pool, struct work *work, struct fm_loop *loop)
{
    assert_int_equal(fm_pool_submit(pool, &work->job, fm_loop_mailbox(loop)), 0);
}

/* --- one job ------------------------------------------------------------------------------------
 */

static void test_there_and_back(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    struct fm_pool *pool = pool_make(1, 1);
    struct work work = work_make(NULL);
    for (unsigned round = 1; round <= 3; round++) { /* a job that came back can go again */
        submit(pool, &work, loop);
        while (work.done < round)
            fm_loop_pass(loop, UINT64_MAX);
        assert_true(work.ran);
        assert_false(pthread_equal(work.ran_on, pthread_self()));
        assert_true(pthread_equal(work.done_on, pthread_self()));
    }
    assert_null(fm_pool_free(pool));
    fm_loop_pass(loop, 0);
    assert_int_equal(work.done, 3);
    fm_loop_free(loop);
}

static struct {
    char name[16];
    sigset_t blocked;
    int error;
} seen;

static void look_run(struct fm_job *job)
{
    (void)job;
    seen.error = pthread_getname_np(pthread_self(), seen.name, sizeof(seen.name));
    if (!seen.error)
        seen.error = pthread_sigmask(SIG_SETMASK, NULL, &seen.blocked);
}

static bool is_fault(int signal)
{
    return signal == SIGSEGV || signal == SIGBUS || signal == SIGILL || signal == SIGFPE;
}

static bool is_ours(int signal) /* not those that cannot be blocked, nor the C library's own */
{
    return signal != SIGKILL && signal != SIGSTOP && (signal <= SIGSYS || signal >= SIGRTMIN);
}

/* A mask that differs from the pool's, so that one that was not restored shows. */
static sigset_t mask_known(void)
{
    sigset_t mask;
    assert_int_equal(sigemptyset(&mask), 0);
    assert_int_equal(sigaddset(&mask, SIGUSR1), 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &mask, NULL), 0);
    return mask;
}

static void assert_mask(const sigset_t *expected)
{
    sigset_t mask;
    assert_int_equal(pthread_sigmask(SIG_SETMASK, NULL, &mask), 0);
    for (int signal = 1; signal <= SIGRTMAX; signal++)
        assert_int_equal(sigismember(&mask, signal), sigismember(expected, signal));
}

static void test_name_and_signals(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    sigset_t mask = mask_known();
    struct fm_pool *pool = pool_make(1, 1);
    assert_mask(&mask);
    struct work work = work_make(NULL);
    work.job.run = look_run;
    submit(pool, &work, loop);
    while (work.done == 0)
        fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(seen.error, 0);
    assert_string_equal(seen.name, "faasm-io");
    for (int signal = 1; signal <= SIGRTMAX; signal++)
        if (is_ours(signal))
            assert_int_equal(sigismember(&seen.blocked, signal), !is_fault(signal));
    fm_pool_free(pool);
    fm_loop_free(loop);
}

static void free_run(struct fm_job *job)
{
    struct work *work = FM_CONTAINER_OF(job, struct work, job);
    struct gate *gate = work->gate;
    free(work);
    gate_pass(gate);
}

/* Without a home the job is its own: it may free itself. */
static void test_no_way_back(void **state)
{
    (void)state;
    struct fm_pool *pool = pool_make(2, 50);
    struct gate gate;
    gate_init(&gate);
    gate.open = true;
    for (unsigned i = 0; i < 50; i++) {
        struct work *work = calloc(1, sizeof(*work));
        assert_non_null(work);
        *work = (struct work){.job.run = free_run, .gate = &gate};
        assert_int_equal(fm_pool_submit(pool, &work->job, NULL), 0);
    }
    fm_pool_free(pool);
    assert_int_equal(gate.waiting, 50);
}

/* --- order and limits ------------------------------------------------------------------------- */

static void test_order(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    struct fm_loop *loop = loop_make();
    struct fm_pool *pool = pool_make(1, COUNT);
    struct gate gate;
    gate_init(&gate);
    struct work *works = calloc(COUNT, sizeof(*works));
    assert_non_null(works);
    for (unsigned i = 0; i < COUNT; i++) {
        works[i] = work_make(i % 100 == 0 ? &gate : NULL); /* the first holds up the rest */
        submit(pool, &works[i], loop);
    }
    gate_await(&gate, 1);
    gate_open(&gate);
    fm_pool_free(pool);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(works[i].place, works[0].place + i);
    fm_loop_pass(loop, UINT64_MAX);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(works[i].done, 1);
    free(works);
    fm_loop_free(loop);
}

/* With several threads, jobs start in order too: each thread is let through by a gate of its own,
 * so only one thread at a time takes a job, and it is not always the same. */
static void test_order_over_threads(void **state)
{
    (void)state;
    enum { THREADS = 3, COUNT = 60 };
    struct fm_loop *loop = loop_make();
    struct fm_pool *pool = pool_make(THREADS, COUNT);
    struct gate gates[COUNT];
    struct work works[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        gate_init(&gates[i]);
        works[i] = work_make(&gates[i]);
        submit(pool, &works[i], loop);
    }
    for (unsigned i = 0; i < THREADS; i++)
        gate_await(&gates[i], 1);
    for (unsigned i = 0; i < COUNT; i++) {
        gate_open(&gates[i]); /* its thread is free now, and must take exactly this one: */
        if (i + THREADS < COUNT)
            gate_await(&gates[i + THREADS], 1);
    }
    fm_pool_free(pool);
    for (unsigned i = THREADS; i < COUNT; i++)
        assert_int_equal(works[i].place, works[THREADS].place + i - THREADS);
    fm_loop_free(loop);
}

static void limit_of(unsigned count, size_t jobs_max)
{
    struct fm_loop *loop = loop_make();
    struct fm_pool *pool = pool_make(count, jobs_max);
    struct gate gate;
    gate_init(&gate);
    struct work *holding = calloc(count, sizeof(*holding));
    struct work *waiting = calloc(jobs_max + 1, sizeof(*waiting));
    assert_true(holding && waiting);
    for (unsigned i = 0; i < count; i++) {
        holding[i] = work_make(&gate);
        submit(pool, &holding[i], loop);
        gate_await(&gate, i + 1); /* taken: it does not count as waiting any more */
    }
    for (size_t i = 0; i < jobs_max; i++) { /* ..., max-1, max */
        waiting[i] = work_make(NULL);
        submit(pool, &waiting[i], loop);
    }
    struct work *refused = &waiting[jobs_max];
    *refused = work_make(NULL);
    for (int i = 0; i < 3; i++) {
        int error = fm_pool_submit(pool, &refused->job, fm_loop_mailbox(loop));
        assert_int_equal(error, FM_ERR_BUSY);
    }

    gate_open(&gate);
    for (size_t i = 0; i < jobs_max; i++)
        while (waiting[i].done == 0)
            fm_loop_pass(loop, UINT64_MAX);
    assert_false(refused->ran);
    submit(pool, refused, loop); /* there is room again */
    fm_pool_free(pool);
    fm_loop_pass(loop, UINT64_MAX);
    for (size_t i = 0; i <= jobs_max; i++)
        assert_int_equal(waiting[i].done, 1);
    free(waiting);
    free(holding);
    fm_loop_free(loop);
}

static void test_limit(void **state)
{
    (void)state;
    limit_of(1, 1);
    limit_of(1, 2);
    limit_of(3, 10);
    limit_of(2, 1000);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void test_free_finishes_all(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    struct fm_loop *loop = loop_make();
    struct fm_pool *pool = pool_make(2, COUNT);
    struct gate gate;
    gate_init(&gate);
    struct work *works = calloc(COUNT, sizeof(*works));
    assert_non_null(works);
    for (unsigned i = 0; i < COUNT; i++) {
        works[i] = work_make(&gate);
        submit(pool, &works[i], loop);
    }
    gate_await(&gate, 2);
    gate_open(&gate);
    unsigned joined_before = threads.joined;
    fm_pool_free(pool);
    assert_int_equal(threads.joined - joined_before, 2);
    for (unsigned i = 0; i < COUNT; i++)
        assert_true(works[i].ran);
    fm_loop_pass(loop, UINT64_MAX);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(works[i].done, 1);
    free(works);
    fm_loop_free(loop);
}

struct chain {
    struct fm_job job;
    struct fm_pool *pool;
    struct gate *gate;
    unsigned links;
    unsigned refused;
};

/* The job submits itself again, until the pool closes. */
static void chain_run(struct fm_job *job)
{
    struct chain *chain = FM_CONTAINER_OF(job, struct chain, job);
    chain->links += 1;
    gate_pass(chain->gate);
    if (fm_pool_submit(chain->pool, job, NULL) == FM_ERR_BUSY)
        chain->refused += 1;
}

/* Submitting from a job while the pool is being freed is refused, and the pool still ends. */
static void test_submit_while_closing(void **state)
{
    (void)state;
    struct fm_pool *pool = pool_make(1, 10);
    struct gate gate;
    gate_init(&gate);
    gate.open = true;
    struct chain chain = {.job.run = chain_run, .pool = pool, .gate = &gate};
    assert_int_equal(fm_pool_submit(pool, &chain.job, NULL), 0);
    gate_await(&gate, 1);
    fm_pool_free(pool); /* would never return if the chain went on */
    assert_int_equal(chain.refused, 1);
    assert_int_equal(gate.waiting, chain.links);
}

static void test_no_threads(void **state)
{
    (void)state;
    sigset_t mask = mask_known();
    for (unsigned nth = 1; nth <= 4; nth++) {
        struct fm_pool *const untouched = (struct fm_pool *)(void *)&mask;
        struct fm_pool *pool = untouched;
        threads.created = 0;
        threads.joined = 0;
        threads.refuse_nth = nth;
        assert_int_equal(fm_pool_new(4, 1, &pool), FM_ERR_BUSY);
        assert_ptr_equal(pool, untouched);
        assert_int_equal(threads.created, nth - 1);
        assert_int_equal(threads.joined, nth - 1);
    }
    assert_mask(&mask);

    threads.refuse_nth = 5;
    struct fm_pool *pool = pool_make(4, 1);
    threads.refuse_nth = 0;
    fm_pool_free(pool);
}

static int torture_body(void *data)
{
    (void)data;
    struct fm_pool *pool = NULL;
    struct fm_loop *loop = NULL;
    struct work work = work_make(NULL);
    int error = fm_loop_new(&loop);
    if (!error)
        error = fm_pool_new(2, 1, &pool);
    if (!error)
        error = fm_pool_submit(pool, &work.job, fm_loop_mailbox(loop));
    while (!error && work.done == 0)
        fm_loop_pass(loop, UINT64_MAX);
    fm_pool_free(pool);
    fm_loop_free(loop);
    return error;
}

static void test_torture(void **state)
{
    (void)state;
    assert_null(fm_pool_free(NULL));
    assert_int_equal(torture(torture_body, NULL), 3); /* the loop, the pool; a job needs none */
}

/* --- many ------------------------------------------------------------------------------------- */

enum {
    CLIENTS = 3,
    CLIENT_WORKS = 8, /* at once; together more than the pool takes */
    CLIENT_JOBS = 5000,
};

struct client {
    pthread_t thread;
    struct fm_pool *pool;
    struct fm_loop *loop;
    unsigned under_way;
    unsigned finished;
};

struct client_work {
    struct fm_job job;
    struct client *client;
    unsigned value; /* written by either side in turn: the sanitizers watch */
    bool busy;
};

static void client_run(struct fm_job *job)
{
    FM_CONTAINER_OF(job, struct client_work, job)->value += 1;
}

static void client_done(struct fm_job *job)
{
    struct client_work *work = FM_CONTAINER_OF(job, struct client_work, job);
    work->value += 1;
    work->busy = false;
    work->client->under_way -= 1;
    work->client->finished += 1;
}

static void *client_main(void *data)
{
    struct client *client = data;
    struct client_work works[CLIENT_WORKS] = {0};
    unsigned submitted = 0;
    while (client->finished < CLIENT_JOBS) {
        for (size_t i = 0; i < CLIENT_WORKS && submitted < CLIENT_JOBS; i++) {
            if (works[i].busy)
                continue;
            works[i].job = (struct fm_job){.run = client_run, .on_done = client_done};
            works[i].client = client;
            if (fm_pool_submit(client->pool, &works[i].job, fm_loop_mailbox(client->loop)) < 0)
                break;
            works[i].busy = true;
            client->under_way += 1;
            submitted += 1;
        }
        if (client->under_way > 0)
            fm_loop_pass(client->loop, UINT64_MAX);
        else
            sched_yield(); /* the others fill the pool: there is no event of ours to wait for */
    }
    unsigned total = 0;
    for (size_t i = 0; i < CLIENT_WORKS; i++)
        total += works[i].value;
    client->finished = total / 2;
    return NULL;
}

static void test_many_clients(void **state)
{
    (void)state;
    struct client clients[CLIENTS] = {0};
    struct fm_pool *pool = pool_make(4, 10);
    for (size_t i = 0; i < CLIENTS; i++) {
        clients[i].pool = pool;
        clients[i].loop = loop_make();
        assert_int_equal(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]), 0);
    }
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
        assert_int_equal(clients[i].finished, CLIENT_JOBS);
        assert_int_equal(clients[i].under_way, 0);
    }
    fm_pool_free(pool);
    for (size_t i = 0; i < CLIENTS; i++)
        fm_loop_free(clients[i].loop);
}

/* --- mistakes --------------------------------------------------------------------------------- */

static void pool_of_no_threads(void)
{
    struct fm_pool *pool = NULL;
    (void)!fm_pool_new(0, 1, &pool);
}

static void pool_of_no_jobs(void)
{
    struct fm_pool *pool = NULL;
    (void)!fm_pool_new(1, 0, &pool);
}

static void test_mistakes(void **state)
{
    (void)state;
    assert_true(crashes(pool_of_no_threads));
    assert_true(crashes(pool_of_no_jobs));
}

int main(void)
{
    find_real();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),     cmocka_unit_test(test_name_and_signals),
        cmocka_unit_test(test_no_way_back),        cmocka_unit_test(test_order),
        cmocka_unit_test(test_order_over_threads), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_free_finishes_all),  cmocka_unit_test(test_submit_while_closing),
        cmocka_unit_test(test_no_threads),         cmocka_unit_test(test_torture),
        cmocka_unit_test(test_many_clients),       cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
