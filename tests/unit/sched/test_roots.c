/* test_roots.c - calls that see files: they wait for the tree, and their guests for contents; both
 * end under deadlines, cancellations and a full pool.  Real files in a real folder. */
#include "stage.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

#include "files/content.h"
#include "loop/loop.h"
#include "sched/life.h"
#include "sched/sched.h"
#include "sched/sched_private.h"
#include "store/functions.h"
#include "store/user_trees.h"

/* Opens the file that its input names, and gives out its first 64 KiB; the exit code is the error
 * of the open. */
#define CAT                                                                                        \
    "(module (import \"faasm\" \"input_size\" (func $s (result i32)))"                             \
    " (import \"faasm\" \"input_read\" (func $r (param i32 i32 i32) (result i32)))"                \
    " (import \"faasm\" \"output_write\" (func $w (param i32 i32) (result i32)))"                  \
    " (import \"wasi_snapshot_preview1\" \"path_open\""                                            \
    "  (func $o (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))"                        \
    " (import \"wasi_snapshot_preview1\" \"fd_read\" (func $f (param i32 i32 i32 i32) (result "    \
    "i32)))"                                                                                       \
    " (import \"wasi_snapshot_preview1\" \"proc_exit\" (func $x (param i32)))"                     \
    " (memory (export \"memory\") 2) (func (export \"_start\") (local $e i32)"                     \
    "  (drop (call $r (i32.const 0) (i32.const 1024) (i32.const 1024)))"                           \
    "  (local.set $e (call $o (i32.const 3) (i32.const 0) (i32.const 1024) (call $s)"              \
    "   (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)))"                  \
    "  (if (local.get $e) (then (call $x (local.get $e))))"                                        \
    "  (i32.store (i32.const 0) (i32.const 65536)) (i32.store (i32.const 4) (i32.const 65536))"    \
    "  (drop (call $f (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 8)))"       \
    "  (drop (call $w (i32.const 65536) (i32.load (i32.const 8))))))"

#define GUEST_EAGAIN 6
#define JOBS_MAX 8

struct fixture {
    char folder[64];
    struct fm_loop *loop;
    struct stage stage;
    struct fm_functions *store;
    struct fm_user_trees *trees;
    struct fm_sched *sched;
    sem_t go;
    struct fm_job block;
    struct fm_job filler[JOBS_MAX];
    int blocked;
};

static void give_quotas(void *data, const char *user, struct fm_quotas *ret_quotas)
{
    (void)data;
    (void)user;
    fm_quotas_defaults(ret_quotas);
}

static void start_sched(struct fixture *f)
{
    const struct fm_sched_config sched = {
        .workers = 1,
        .loop = f->loop,
        .modules = f->stage.modules,
        .ticker = f->stage.ticker,
        .trees = f->trees,
        .pool = f->stage.pool,
        .calls_max = 8,
        .queue_max = 8,
    };
    assert_int_equal(fm_sched_new(&sched, &f->sched), 0);
}

static void publish(struct fixture *f, const char *name, uint64_t wall_ms)
{
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.wall_ms = wall_ms;
    struct fm_code *code = stage_code(&f->stage, "ada", name, CAT, &limits);
    assert_int_equal(fm_sched_publish(f->sched, code, f->stage.sequence), 0);
}

static int setup(void **state)
{
    struct fm_error error = {0};
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    (void)snprintf(f->folder, sizeof(f->folder), "/tmp/faasm-roots-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    assert_int_equal(fm_loop_new(&f->loop), 0);
    stage_begin(&f->stage, 1, 1, JOBS_MAX);
    assert_int_equal(fm_functions_open(f->folder, "build", &f->store, &error), 0);
    const struct fm_user_trees_config trees = {
        .functions = f->store,
        .contents_bytes_max = FM_MIB,
        .kept_bytes_max = FM_GIB,
        .names_max = 1000,
        .quotas = give_quotas,
    };
    assert_int_equal(fm_user_trees_open(&trees, &f->trees, &error), 0);
    assert_int_equal(sem_init(&f->go, 0, 0), 0);
    start_sched(f);
    publish(f, "cat", 60000);
    publish(f, "short", 500);
    *state = f;
    return 0;
}

/* What the pool's thread has said is heard. */
static void settle(struct fixture *f)
{
    fm_pool_stop(f->stage.pool);
    for (int i = 0; i < 5; i++) {
        fm_loop_pass(f->loop, 0);
        fm_sched_turn(f->sched);
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[100];
    (void)sem_post(&f->go); /* where a test has failed before it did */
    settle(f);
    fm_sched_free(f->sched);
    fm_user_trees_close(f->trees); /* nobody holds a root or a content any more */
    stage_end(&f->stage);
    fm_functions_close(f->store);
    fm_loop_free(f->loop);
    (void)sem_destroy(&f->go);
    (void)snprintf(command, sizeof(command), "rm -rf %s", f->folder);
    free(f);
    return system(command);
}

/* --- the pool --------------------------------------------------------------------------------- */

static void run_block(struct fm_job *job)
{
    struct fixture *f = FM_CONTAINER_OF(job, struct fixture, block);
    while (sem_wait(&f->go) != 0) {
    }
}

static void run_nothing(struct fm_job *job)
{
    (void)job;
}

/* Its only thread has something else to do, until release(). */
static void block(struct fixture *f)
{
    f->block.run = run_block;
    assert_int_equal(fm_pool_submit(f->stage.pool, &f->block, NULL), 0);
}

static void release(struct fixture *f)
{
    assert_int_equal(sem_post(&f->go), 0);
}

/* It takes nothing more, either. */
static void fill(struct fixture *f)
{
    size_t taken = 0;
    block(f);
    while (taken < JOBS_MAX) { /* until its thread has taken the first one */
        f->filler[taken].run = run_nothing;
        if (fm_pool_submit(f->stage.pool, &f->filler[taken], NULL) == 0)
            taken++;
    }
}

/* --- files and calls -------------------------------------------------------------------------- */

static void put(struct fixture *f, const char *path, const char *text)
{
    struct fm_error error = {0};
    struct fm_new_file *file = NULL;
    struct fm_new_file_facts facts;
    const char *quota = NULL;
    assert_int_equal(fm_new_file_begin(f->trees, "ada", path, 0, &file, &quota, &error), 0);
    assert_int_equal(fm_new_file_write(file, text, strlen(text), &quota, &error), 0);
    assert_int_equal(fm_new_file_commit(file, &facts, &quota, &error), 0);
    fm_new_file_end(file);
}

/* Out of memory, as after a restart. */
static void forget_trees(struct fixture *f)
{
    struct fm_error error = {0};
    const struct fm_user_trees_config trees = {
        .functions = f->store,
        .contents_bytes_max = FM_MIB,
        .kept_bytes_max = FM_GIB,
        .names_max = 1000,
        .quotas = give_quotas,
    };
    fm_user_trees_close(f->trees);
    assert_int_equal(fm_user_trees_open(&trees, &f->trees, &error), 0);
    f->sched->config.trees = f->trees;
}

static void on_done(struct fm_call *call)
{
    (void)call;
}

static struct fm_call *new_call(struct fixture *f, const char *name, const char *path)
{
    struct fm_call *call = NULL;
    struct fm_function *function = fm_sched_function(f->sched, "ada", 3, name, strlen(name));
    assert_non_null(function);
    assert_int_equal(fm_sched_call_new(f->sched, function, &call), 0);
    call->input = (const uint8_t *)path;
    call->input_bytes = strlen(path);
    call->on_done = on_done;
    return call;
}

static void pass(struct fixture *f)
{
    fm_loop_pass(f->loop, fm_sched_busy(f->sched) ? 0 : UINT64_MAX);
    fm_sched_turn(f->sched);
}

static void run_until_done(struct fixture *f, const struct fm_call *call)
{
    while (call->state != FM_CALL_DONE)
        pass(f);
}

static void ends_with(struct fixture *f, struct fm_call *call, const char *output)
{
    run_until_done(f, call);
    assert_int_equal(call->error, 0);
    assert_int_equal(call->output.length, strlen(output));
    assert_memory_equal(call->output.data, output, strlen(output));
    assert_null(call->files);
    fm_sched_call_free(f->sched, call);
}

static void ends_with_error(struct fixture *f, struct fm_call *call, int error)
{
    run_until_done(f, call);
    assert_int_equal(call->error, error);
    assert_null(call->files);
    fm_sched_call_free(f->sched, call);
}

static struct fm_user_trees_counts counts(struct fixture *f, struct fm_contents_counts *contents)
{
    struct fm_user_trees_counts now;
    fm_user_trees_counts(f->trees, &now, contents);
    return now;
}

static enum fm_task_place place_of(const struct fm_call *call)
{
    return ((const struct fm_task *)call->task)->place;
}

/* The function's module is at hand, and the tree in memory. */
static void warm_up(struct fixture *f)
{
    struct fm_call *call = new_call(f, "cat", "other");
    assert_int_equal(fm_sched_submit(f->sched, call), FM_SUBMIT_LATER);
    ends_with(f, call, "O");
}

/* --- tests ------------------------------------------------------------------------------------ */

static void a_call_waits_for_tree_and_content(void **state)
{
    struct fixture *f = *state;
    struct fm_contents_counts contents;
    put(f, "x", "hello");
    forget_trees(f);
    struct fm_call *call = new_call(f, "cat", "x");
    assert_int_equal(fm_sched_submit(f->sched, call), FM_SUBMIT_LATER);
    assert_int_equal(place_of(call), FM_TASK_LOADING);
    ends_with(f, call, "hello");
    call = new_call(f, "cat", "x"); /* all of it is here now */
    assert_int_equal(fm_sched_submit(f->sched, call), FM_SUBMIT_DONE);
    ends_with(f, call, "hello");
    assert_int_equal(counts(f, &contents).scans, 1);
    assert_int_equal(contents.loads, 1);
}

static void several_calls_wait_for_one_reading(void **state)
{
    struct fixture *f = *state;
    struct fm_contents_counts contents;
    struct fm_call *calls[3];
    put(f, "x", "hello");
    forget_trees(f);
    block(f);
    for (size_t i = 0; i < 3; i++) {
        calls[i] = new_call(f, "cat", "x");
        assert_int_equal(fm_sched_submit(f->sched, calls[i]), FM_SUBMIT_LATER);
    }
    release(f);
    for (size_t i = 0; i < 3; i++)
        ends_with(f, calls[i], "hello");
    assert_int_equal(counts(f, &contents).scans, 1);
}

static void a_call_that_waits_for_the_tree_can_end(void **state)
{
    struct fixture *f = *state;
    put(f, "x", "hello");
    forget_trees(f);
    block(f);
    struct fm_call *cancelled = new_call(f, "cat", "x");
    struct fm_call *late = new_call(f, "short", "x");
    assert_int_equal(fm_sched_submit(f->sched, cancelled), FM_SUBMIT_LATER);
    assert_int_equal(fm_sched_submit(f->sched, late), FM_SUBMIT_LATER);
    assert_int_equal(place_of(late), FM_TASK_LOADING);
    fm_sched_cancel(f->sched, cancelled, FM_ERR_CANCELLED);
    ends_with_error(f, cancelled, FM_ERR_CANCELLED);
    ends_with_error(f, late, FM_ERR_DEADLINE);
    release(f);
    struct fm_call *call = new_call(f, "cat", "x");
    assert_int_equal(fm_sched_submit(f->sched, call), FM_SUBMIT_LATER);
    ends_with(f, call, "hello");
}

static void a_guest_that_waits_for_a_content_can_end(void **state)
{
    struct fixture *f = *state;
    struct fm_contents_counts contents;
    put(f, "x", "hello");
    put(f, "other", "O");
    warm_up(f);
    block(f);
    struct fm_call *cancelled = new_call(f, "cat", "x");
    struct fm_call *late = new_call(f, "short", "x");
    assert_int_equal(fm_sched_submit(f->sched, cancelled), FM_SUBMIT_LATER);
    assert_int_equal(fm_sched_submit(f->sched, late), FM_SUBMIT_LATER);
    assert_int_equal(place_of(cancelled), FM_TASK_PARKED);
    fm_sched_cancel(f->sched, cancelled, FM_ERR_CANCELLED);
    ends_with_error(f, cancelled, FM_ERR_CANCELLED);
    ends_with_error(f, late, FM_ERR_DEADLINE);
    release(f);
    settle(f);
    (void)counts(f, &contents); /* it was loaded for nobody, and nobody has it pinned: teardown */
    assert_int_equal(contents.files, 2);
}

static void a_full_pool_is_an_answer(void **state)
{
    struct fixture *f = *state;
    put(f, "x", "hello");
    put(f, "other", "O");
    warm_up(f);
    fill(f);
    struct fm_call *call = new_call(f, "cat", "x"); /* the tree is here, the content is not */
    assert_int_equal(fm_sched_submit(f->sched, call), FM_SUBMIT_LATER);
    run_until_done(f, call);
    assert_int_equal(call->error, FM_ERR_GUEST_EXIT);
    assert_int_equal(call->exit_code, GUEST_EAGAIN);
    fm_sched_call_free(f->sched, call);

    fm_user_files_changed(f->sched, "ada");
    forget_trees(f);
    call = new_call(f, "cat", "x");
    assert_int_equal(fm_sched_submit(f->sched, call), FM_SUBMIT_DONE);
    ends_with_error(f, call, FM_ERR_BUSY);
    release(f);
}

static void a_change_while_the_tree_is_read_is_seen(void **state)
{
    struct fixture *f = *state;
    put(f, "x", "old");
    forget_trees(f);
    block(f);
    struct fm_call *first = new_call(f, "cat", "x");
    assert_int_equal(fm_sched_submit(f->sched, first), FM_SUBMIT_LATER);
    put(f, "x", "new");
    struct fm_call *second = new_call(f, "cat", "x");
    assert_int_equal(fm_sched_submit(f->sched, second), FM_SUBMIT_LATER);
    release(f);
    ends_with(f, second, "new");
    ends_with(f, first, "new");
}

static void every_change_is_seen(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 10; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "version %d", i);
        put(f, "x", text);
        struct fm_call *call = new_call(f, "cat", "x");
        (void)!fm_sched_submit(f->sched, call); /* done at once, or later */
        ends_with(f, call, text);
    }
}

static void a_call_keeps_the_state_of_its_start(void **state)
{
    struct fixture *f = *state;
    put(f, "x", "old");
    put(f, "other", "O");
    warm_up(f);
    block(f);
    struct fm_call *call = new_call(f, "cat", "x");
    assert_int_equal(fm_sched_submit(f->sched, call), FM_SUBMIT_LATER);
    assert_int_equal(place_of(call), FM_TASK_PARKED);
    put(f, "x", "new");
    release(f);
    ends_with(f, call, "old");
    call = new_call(f, "cat", "x");
    assert_int_equal(fm_sched_submit(f->sched, call), FM_SUBMIT_LATER);
    ends_with(f, call, "new");
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_call_waits_for_tree_and_content),
        TEST(several_calls_wait_for_one_reading),
        TEST(a_call_that_waits_for_the_tree_can_end),
        TEST(a_guest_that_waits_for_a_content_can_end),
        TEST(a_full_pool_is_an_answer),
        TEST(a_change_while_the_tree_is_read_is_seen),
        TEST(every_change_is_seen),
        TEST(a_call_keeps_the_state_of_its_start),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
