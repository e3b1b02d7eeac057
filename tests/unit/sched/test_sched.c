/* test_sched.c - the door: inline, queued, sliced, parked, refused, cancelled; versions that change
 * under running calls.  A real engine, loop and ticker; functions are made here, without a disk. */
#include "stage.h"

#include "call/web.h"
#include "loop/loop.h"
#include "sched/life.h"
#include "sched/sched.h"
#include "sched/sched_private.h"

#define CALLS_MAX 4
#define QUEUE_MAX 3
#define MANY 16 /* sandboxes, of which 2 are for users who have none */

/* Sleeps for the milliseconds in the first 8 bytes of its input, by poll_oneoff. */
#define SLEEP                                                                                      \
    "(module (import \"faasm\" \"input_read\" (func $r (param i32 i32 i32) (result i32)))"         \
    " (import \"wasi_snapshot_preview1\" \"poll_oneoff\""                                          \
    "  (func $p (param i32 i32 i32 i32) (result i32)))" GUEST_MEMORY " (func (export \"_start\")"  \
    "  (drop (call $r (i32.const 0) (i32.const 256) (i32.const 8)))"                               \
    "  (i32.store8 (i32.const 8) (i32.const 0))" /* a clock */                                     \
    "  (i32.store (i32.const 16) (i32.const 1))" /* monotonic */                                   \
    "  (i64.store (i32.const 24) (i64.mul (i64.load (i32.const 256)) (i64.const 1000000)))"        \
    "  (drop (call $p (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"

/* Writes what it reads, up to the end. */
#define ECHO_ALL                                                                                   \
    "(module (import \"faasm\" \"input_read\" (func $r (param i32 i32 i32) (result i32)))"         \
    " (import \"faasm\" \"output_write\" (func $w (param i32 i32) (result i32)))" GUEST_MEMORY     \
    " (func (export \"_start\") (local $at i32) (local $got i32) (loop $more"                      \
    "  (local.set $got (call $r (local.get $at) (i32.const 0) (i32.const 100)))"                   \
    "  (drop (call $w (i32.const 0) (local.get $got)))"                                            \
    "  (local.set $at (i32.add (local.get $at) (local.get $got)))"                                 \
    "  (br_if $more (local.get $got)))))"

struct fixture {
    struct fm_loop *loop;
    struct stage stage;
    struct fm_sched *sched;
};

static int setup_with(void **state, uint32_t calls_max, uint32_t queue_max)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(fm_loop_new(&f->loop), 0);
    stage_begin(&f->stage, 1, 1, 16);
    const struct fm_sched_config sched = {
        .workers = 1,
        .loop = f->loop,
        .modules = f->stage.modules,
        .ticker = f->stage.ticker,
        .calls_max = calls_max,
        .queue_max = queue_max,
    };
    assert_int_equal(fm_sched_new(&sched, &f->sched), 0);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, CALLS_MAX, QUEUE_MAX);
}

static int setup_many(void **state)
{
    return setup_with(state, MANY, MANY);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fm_sched_free(f->sched);
    stage_end(&f->stage);
    fm_loop_free(f->loop);
    free(f);
    return 0;
}

/* Publishes a function; `limits` may be NULL. */
static void publish(struct fixture *f, const char *user, const char *name, const char *text,
                    const struct fm_limits *limits)
{
    struct fm_limits defaults;
    fm_limits_defaults(&defaults);
    struct fm_code *code = stage_code(&f->stage, user, name, text, limits ? limits : &defaults);
    assert_int_equal(fm_sched_publish(f->sched, code, f->stage.sequence), 0);
}

static struct fm_function *find(struct fixture *f, const char *user, const char *name)
{
    return fm_sched_function(f->sched, user, strlen(user), name, strlen(name));
}

static char order[64]; /* the first letters of the owners of ended calls */

static void on_done(struct fm_call *call)
{
    const char *owner = call->owner;
    order[strlen(order)] = owner[0];
}

static struct fm_call *new_call(struct fixture *f, const char *user, const char *name,
                                const void *input, size_t bytes)
{
    struct fm_call *call = NULL;
    assert_non_null(find(f, user, name));
    assert_int_equal(fm_sched_call_new(f->sched, find(f, user, name), &call), 0);
    call->input = input;
    call->input_bytes = bytes;
    call->owner = (void *)(uintptr_t)user; /* only read */
    call->on_done = on_done;
    return call;
}

static enum fm_submit submit(struct fixture *f, struct fm_call *call)
{
    return fm_sched_submit(f->sched, call);
}

/* One pass of a worker. */
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

static struct fm_sched_counts counts(struct fixture *f)
{
    struct fm_sched_counts now;
    fm_sched_counts(f->sched, &now);
    return now;
}

/* --- tests ------------------------------------------------------------------------------------ */

/* A module of this worker's own is got at the first call; later ones find it there. */
static void a_short_call_ends_inside_submit(void **state)
{
    struct fixture *f = *state;
    publish(f, "ada", "echo", GUEST_ECHO, NULL);
    struct fm_call *call = new_call(f, "ada", "echo", "hi", 2);
    if (submit(f, call) == FM_SUBMIT_LATER)
        run_until_done(f, call);
    fm_sched_call_free(f->sched, call);

    uint64_t inlined = counts(f).inlined;
    call = new_call(f, "ada", "echo", "hello", 5);
    assert_int_equal(submit(f, call), FM_SUBMIT_DONE);
    assert_int_equal(call->error, 0);
    assert_int_equal(call->output.length, 5);
    assert_memory_equal(call->output.data, "hello", 5);
    assert_true(call->cpu_ns > 0);
    assert_int_equal(counts(f).inlined, inlined + 1);
    assert_int_equal(counts(f).sandboxes, 0);
    assert_int_equal(counts(f).calls, 0);
    fm_sched_call_free(f->sched, call);
    assert_null(find(f, "ada", "nobody"));
    assert_null(find(f, "bob", "echo"));
}

static void load(struct fixture *f, const char *user, const char *name)
{
    struct fm_call *call = new_call(f, user, name, NULL, 0);
    if (submit(f, call) == FM_SUBMIT_LATER)
        run_until_done(f, call);
    fm_sched_call_free(f->sched, call);
}

/* An echo that comes when so many guests have had so much time in this pass. */
static struct fm_call *echo_after(struct fixture *f, uint64_t runs, uint64_t guest_ns,
                                  enum fm_submit expected)
{
    struct fm_call *call = new_call(f, "ada", "echo", "hi", 2);
    f->sched->pass_runs = runs;
    f->sched->pass_guest_ns = guest_ns;
    assert_int_equal(submit(f, call), expected);
    assert_int_equal(f->sched->pass_runs, runs + (expected == FM_SUBMIT_DONE));
    return call;
}

/* A pass gives guests a slice, or more when there are many and they are short. */
static void a_burst_of_short_calls_runs_inside_submit(void **state)
{
    struct fixture *f = *state;
    const uint64_t slice_runs = FM_SLICE_NS / FM_CALL_SHARE_NS;
    publish(f, "ada", "echo", GUEST_ECHO, NULL);
    load(f, "ada", "echo");

    static const struct {
        unsigned slices;
        int ns; /* more or less */
        enum fm_submit expected;
    } cases[] = {{0, 0, FM_SUBMIT_DONE},  {1, -1, FM_SUBMIT_DONE}, {1, 0, FM_SUBMIT_LATER},
                 {2, -1, FM_SUBMIT_DONE}, {2, 0, FM_SUBMIT_LATER}, {4, -1, FM_SUBMIT_DONE},
                 {4, 0, FM_SUBMIT_LATER}, {5, -1, FM_SUBMIT_LATER}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        uint64_t guest_ns = cases[i].slices * FM_SLICE_NS + (uint64_t)(int64_t)cases[i].ns;
        struct fm_call *call =
            echo_after(f, cases[i].slices * slice_runs, guest_ns, cases[i].expected);
        run_until_done(f, call);
        fm_sched_turn(f->sched);
        assert_int_equal(f->sched->pass_runs, 0); /* the next pass begins anew */
        fm_sched_call_free(f->sched, call);
    }
}

/* Or what was queued once would keep all that follows from running at once. */
static void a_turn_runs_short_calls_beyond_its_slice(void **state)
{
    struct fixture *f = *state;
    publish(f, "ada", "echo", GUEST_ECHO, NULL);
    load(f, "ada", "echo");

    struct fm_call *calls[2];
    for (int i = 0; i < 2; i++)
        calls[i] = echo_after(f, 0, FM_SLICE_NS, FM_SUBMIT_LATER);
    fm_sched_turn(f->sched);
    assert_int_equal(calls[0]->state, FM_CALL_QUEUED); /* this pass has had its slice */
    f->sched->pass_runs = FM_SLICE_NS / FM_CALL_SHARE_NS + 1;
    f->sched->pass_guest_ns = FM_SLICE_NS;
    fm_sched_turn(f->sched);
    assert_int_equal(calls[0]->state, FM_CALL_DONE);
    run_until_done(f, calls[1]);
    for (int i = 0; i < 2; i++)
        fm_sched_call_free(f->sched, calls[i]);
}

static void cpu_time_and_wall_time_end_a_call(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.cpu_ms = 5;
    publish(f, "ada", "cpu", GUEST_SPIN, &limits);
    limits.cpu_ms = 10000;
    limits.wall_ms = 10;
    publish(f, "ada", "wall", GUEST_SPIN, &limits);
    publish(f, "ada", "sleep", SLEEP, &limits);

    struct fm_call *call = new_call(f, "ada", "cpu", NULL, 0);
    assert_int_equal(submit(f, call), FM_SUBMIT_LATER); /* a tick came: it is an ordinary entry */
    run_until_done(f, call);
    assert_int_equal(call->error, FM_ERR_GUEST_LIMIT);
    assert_string_equal(call->limit, "cpu_ms");
    assert_true(call->cpu_ns >= 5 * FM_NS_PER_MS);
    fm_sched_call_free(f->sched, call);

    call = new_call(f, "ada", "wall", NULL, 0);
    assert_int_equal(submit(f, call), FM_SUBMIT_LATER);
    run_until_done(f, call);
    assert_int_equal(call->error, FM_ERR_DEADLINE);
    fm_sched_call_free(f->sched, call);

    const uint64_t long_ms = 1000000;
    call = new_call(f, "ada", "sleep", &long_ms, sizeof(long_ms));
    assert_int_equal(submit(f, call), FM_SUBMIT_LATER); /* parked, until its deadline */
    run_until_done(f, call);
    assert_int_equal(call->error, FM_ERR_DEADLINE);
    assert_int_equal(counts(f).parked, 0);
    assert_int_equal(counts(f).sandboxes, 0);
    fm_sched_call_free(f->sched, call);
}

static void parked_calls_cost_no_thread_and_wake(void **state)
{
    struct fixture *f = *state;
    publish(f, "ada", "sleep", SLEEP, NULL);
    publish(f, "bob", "echo", GUEST_ECHO, NULL);
    const uint64_t naps_ms[2] = {20, 40};
    memset(order, 0, sizeof(order));
    struct fm_call *calls[2];
    for (int i = 0; i < 2; i++) {
        calls[i] = new_call(f, "ada", "sleep", &naps_ms[1 - i], sizeof(naps_ms[0]));
        assert_int_equal(submit(f, calls[i]), FM_SUBMIT_LATER);
        while (calls[i]->state != FM_CALL_PARKED)
            pass(f);
    }
    assert_int_equal(counts(f).parked, 2);
    struct fm_call *echo = new_call(f, "bob", "echo", "x", 1);
    if (submit(f, echo) == FM_SUBMIT_LATER)
        run_until_done(f, echo);
    assert_int_equal(echo->error, 0);
    assert_int_equal(counts(f).parked, 2);
    run_until_done(f, calls[0]);
    assert_int_equal(calls[1]->state, FM_CALL_DONE); /* the shorter nap, though it came later */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(calls[i]->error, 0);
        fm_sched_call_free(f->sched, calls[i]);
    }
    fm_sched_call_free(f->sched, echo);
}

/* A hundred slices of ada's work are waiting; bob's call waits for one of them. */
static void users_take_turns(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.cpu_ms = 30;
    publish(f, "ada", "spin", GUEST_SPIN, &limits);
    publish(f, "bob", "echo", GUEST_ECHO, NULL);
    memset(order, 0, sizeof(order));
    struct fm_call *calls[CALLS_MAX - 1];
    for (int i = 0; i < CALLS_MAX - 1; i++) {
        calls[i] = new_call(f, "ada", "spin", NULL, 0);
        assert_int_equal(submit(f, calls[i]), FM_SUBMIT_LATER);
    }
    struct fm_call *echo = new_call(f, "bob", "echo", "x", 1);
    assert_int_equal(submit(f, echo), FM_SUBMIT_LATER); /* others wait: not inline */
    for (int i = 0; i < CALLS_MAX - 1; i++)
        run_until_done(f, calls[i]);
    assert_int_equal(order[0], 'b');
    assert_string_equal(order + 1, "aaa");
    for (int i = 0; i < CALLS_MAX - 1; i++)
        fm_sched_call_free(f->sched, calls[i]);
    fm_sched_call_free(f->sched, echo);
}

/* --- streams ---------------------------------------------------------------------------------- */

static size_t body_here;
static char streamed[20];

static int64_t read_body(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes)
{
    (void)call;
    (void)bytes;
    if (offset == 3)
        return 0;
    if (offset >= body_here)
        return FM_WEB_WAIT;
    data[0] = (uint8_t)("abc"[offset]);
    return 1;
}

static int64_t write_answer(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    (void)call;
    strncat(streamed, (const char *)data, bytes);
    return (int64_t)bytes;
}

static void no_end(struct fm_call *call)
{
    (void)call;
}

static int64_t known_size(struct fm_call *call)
{
    (void)call;
    return 3;
}

static const struct fm_web_ops web_ops = {
    .read = read_body, .size = known_size, .write = write_answer, .end = no_end};

static void a_stream_wakes_whom_it_parked(void **state)
{
    struct fixture *f = *state;
    publish(f, "ada", "echo", ECHO_ALL, NULL);
    publish(f, "ada", "sleep", SLEEP, NULL);
    struct fm_call *call = new_call(f, "ada", "echo", NULL, 0);
    call->web = &web_ops;
    call->pinned = true;
    fm_sched_wake(f->sched, call); /* not even submitted */
    assert_int_equal(submit(f, call), FM_SUBMIT_LATER);
    while (call->state != FM_CALL_PARKED)
        pass(f);
    for (body_here = 1; body_here <= 3; body_here++) {
        assert_int_equal(call->state, FM_CALL_PARKED);
        uint64_t slices = counts(f).slices;
        fm_sched_wake(f->sched, call);
        fm_sched_wake(f->sched, call); /* it is on its way */
        assert_int_equal(call->state, FM_CALL_QUEUED);
        pass(f);
        assert_int_equal(counts(f).slices, slices + 1);
        assert_int_equal(strlen(streamed), body_here);
    }
    assert_int_equal(call->state, FM_CALL_DONE);
    assert_string_equal(streamed, "abc");
    fm_sched_wake(f->sched, call);
    assert_int_equal(call->error, 0);
    fm_sched_call_free(f->sched, call);

    /* One that waits for something else goes on waiting. */
    static const uint64_t long_ms = 1000000;
    call = new_call(f, "ada", "sleep", &long_ms, sizeof(long_ms));
    call->pinned = true;
    assert_int_equal(submit(f, call), FM_SUBMIT_LATER);
    while (call->state != FM_CALL_PARKED)
        pass(f);
    fm_sched_wake(f->sched, call);
    assert_int_equal(call->state, FM_CALL_PARKED);
    fm_sched_cancel(f->sched, call, FM_ERR_CANCELLED);
    fm_sched_call_free(f->sched, call);
}

static struct fm_call *parked(struct fixture *f, const char *name)
{
    static const uint64_t long_ms = 1000000;
    struct fm_call *call = new_call(f, "ada", name, &long_ms, sizeof(long_ms));
    assert_int_equal(submit(f, call), FM_SUBMIT_LATER);
    return call;
}

static void cancel(struct fixture *f, struct fm_call *call)
{
    fm_sched_cancel(f->sched, call, FM_ERR_CANCELLED);
    assert_int_equal(call->state, FM_CALL_DONE);
    assert_int_equal(call->error, FM_ERR_CANCELLED);
    fm_sched_cancel(f->sched, call, FM_ERR_DEADLINE); /* nothing more happens */
    assert_int_equal(call->error, FM_ERR_CANCELLED);
    fm_sched_call_free(f->sched, call);
}

static void concurrency_is_exact(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.concurrency = 2;
    publish(f, "ada", "two", SLEEP, &limits);
    struct fm_call *one = parked(f, "two");
    struct fm_call *two = parked(f, "two");
    struct fm_call *three = new_call(f, "ada", "two", NULL, 0);
    assert_int_equal(submit(f, three), FM_SUBMIT_DONE);
    assert_int_equal(three->error, FM_ERR_QUOTA);
    assert_string_equal(three->limit, "concurrency");
    fm_sched_call_free(f->sched, three);
    cancel(f, one);
    three = parked(f, "two");
    cancel(f, two);
    cancel(f, three);
    assert_int_equal(counts(f).calls, 0);
    assert_int_equal(counts(f).cancelled, 3);
}

static void slots_and_queue_are_bounded(void **state)
{
    struct fixture *f = *state;
    publish(f, "ada", "sleep", SLEEP, NULL);
    publish(f, "bob", "echo", GUEST_ECHO, NULL);
    struct fm_call *sleepers[CALLS_MAX];
    for (int i = 0; i < CALLS_MAX; i++) {
        sleepers[i] = parked(f, "sleep");
        while (sleepers[i]->state != FM_CALL_PARKED)
            pass(f);
    }
    assert_int_equal(counts(f).sandboxes, CALLS_MAX);
    struct fm_call *waiting[QUEUE_MAX];
    for (int i = 0; i < QUEUE_MAX; i++) {
        waiting[i] = new_call(f, "bob", "echo", "x", 1);
        assert_int_equal(submit(f, waiting[i]), FM_SUBMIT_LATER);
    }
    struct fm_call *surplus = new_call(f, "bob", "echo", "x", 1);
    assert_int_equal(submit(f, surplus), FM_SUBMIT_DONE);
    assert_int_equal(surplus->error, FM_ERR_BUSY);
    fm_sched_call_free(f->sched, surplus);
    fm_sched_turn(f->sched);
    assert_false(fm_sched_busy(f->sched)); /* it need not spin: only an event helps */

    cancel(f, sleepers[0]);
    assert_true(fm_sched_busy(f->sched));
    for (int i = 0; i < QUEUE_MAX; i++) {
        run_until_done(f, waiting[i]);
        assert_int_equal(waiting[i]->error, 0);
        fm_sched_call_free(f->sched, waiting[i]);
    }
    for (int i = 1; i < CALLS_MAX; i++)
        cancel(f, sleepers[i]);
    assert_int_equal(counts(f).sandboxes, 0);
}

/* Of two users who want everything each gets what is not kept for others; these get it at once, one
 * call at a time each. */
static void the_last_sandboxes_are_for_those_who_have_none(void **state)
{
    struct fixture *f = *state;
    static const char *const greedy[] = {"ada", "bob"};
    publish(f, "ada", "spin", GUEST_SPIN, NULL);
    publish(f, "bob", "spin", GUEST_SPIN, NULL);
    publish(f, "eve", "sleep", SLEEP, NULL);
    publish(f, "eve", "echo", GUEST_ECHO, NULL);
    publish(f, "joe", "echo", GUEST_ECHO, NULL);
    struct fm_call *spins[MANY];
    for (int i = 0; i < MANY; i++) {
        spins[i] = new_call(f, greedy[i % 2], "spin", NULL, 0);
        assert_int_equal(submit(f, spins[i]), FM_SUBMIT_LATER);
    }
    while (counts(f).sandboxes < MANY - 2)
        pass(f);
    for (int i = 0; i < 10 * MANY; i++)
        pass(f);
    assert_int_equal(counts(f).sandboxes, MANY - 2);

    static const uint64_t long_ms = 1000000;
    struct fm_call *sleeper = new_call(f, "eve", "sleep", &long_ms, sizeof(long_ms));
    assert_int_equal(submit(f, sleeper), FM_SUBMIT_LATER);
    while (sleeper->state != FM_CALL_PARKED)
        pass(f);
    struct fm_call *second = new_call(f, "eve", "echo", "x", 1);
    assert_int_equal(submit(f, second), FM_SUBMIT_LATER);
    struct fm_call *first = new_call(f, "joe", "echo", "x", 1);
    assert_int_equal(submit(f, first), FM_SUBMIT_LATER);
    run_until_done(f, first);
    assert_int_equal(first->error, 0);
    for (int i = 0; i < 10 * MANY; i++)
        pass(f);
    assert_int_equal(second->state, FM_CALL_QUEUED); /* eve has one */
    cancel(f, sleeper);
    run_until_done(f, second);
    assert_int_equal(second->error, 0);

    assert_int_equal(counts(f).sandboxes, MANY - 2);
    fm_sched_call_free(f->sched, first);
    fm_sched_call_free(f->sched, second);
    for (int i = 0; i < MANY; i++)
        cancel(f, spins[i]);
    assert_int_equal(counts(f).sandboxes, 0);
}

/* New calls that wait for a sandbox must not put those to sleep that have one. */
static void calls_go_on_while_new_ones_wait_for_a_sandbox(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.cpu_ms = 5;
    publish(f, "ada", "sleep", SLEEP, NULL);
    publish(f, "bob", "spin", GUEST_SPIN, &limits);
    struct fm_call *sleepers[CALLS_MAX - 1];
    for (int i = 0; i < CALLS_MAX - 1; i++) {
        sleepers[i] = parked(f, "sleep");
        while (sleepers[i]->state != FM_CALL_PARKED)
            pass(f);
    }
    struct fm_call *spins[3]; /* one has the last sandbox, the others wait for it */
    for (int i = 0; i < 3; i++) {
        spins[i] = new_call(f, "bob", "spin", NULL, 0);
        assert_int_equal(submit(f, spins[i]), FM_SUBMIT_LATER);
    }
    for (int i = 0; i < 3; i++) {
        while (spins[i]->state != FM_CALL_DONE) {
            assert_true(fm_sched_busy(f->sched));
            pass(f);
        }
        assert_int_equal(spins[i]->error, FM_ERR_GUEST_LIMIT);
        fm_sched_call_free(f->sched, spins[i]);
    }
    for (int i = 0; i < CALLS_MAX - 1; i++)
        cancel(f, sleepers[i]);
}

static void queued_calls_can_be_cancelled(void **state)
{
    struct fixture *f = *state;
    publish(f, "ada", "spin", GUEST_SPIN, NULL);
    struct fm_call *one = new_call(f, "ada", "spin", NULL, 0);
    struct fm_call *two = new_call(f, "ada", "spin", NULL, 0);
    assert_int_equal(submit(f, one), FM_SUBMIT_LATER);
    assert_int_equal(submit(f, two), FM_SUBMIT_LATER);
    assert_int_equal(counts(f).queued, 2);
    cancel(f, two); /* perhaps never started */
    cancel(f, one); /* in the middle of its loop */
    assert_int_equal(counts(f).queued, 0);
    assert_int_equal(counts(f).sandboxes, 0);
}

static void a_running_call_keeps_its_version(void **state)
{
    struct fixture *f = *state;
    publish(f, "ada", "f", SLEEP, NULL);
    struct fm_call *old = parked(f, "f");
    const struct fm_version *before = old->version;
    publish(f, "ada", "f", GUEST_ECHO, NULL);
    struct fm_call *call = new_call(f, "ada", "f", "new", 3);
    assert_ptr_not_equal(call->version, before);
    if (submit(f, call) == FM_SUBMIT_LATER)
        run_until_done(f, call);
    assert_memory_equal(call->output.data, "new", 3);
    fm_sched_call_free(f->sched, call);
    assert_string_equal(old->version->function, "f"); /* still there */

    fm_registry_remove(&f->sched->registry, "ada", "f", ++f->stage.sequence);
    assert_null(find(f, "ada", "f"));
    cancel(f, old);
    /* News that comes late changes nothing. */
    publish(f, "ada", "f", GUEST_ECHO, NULL);
    fm_registry_remove(&f->sched->registry, "ada", "f", f->stage.sequence - 1);
    assert_non_null(find(f, "ada", "f"));
}

static void an_evicted_module_comes_back(void **state)
{
    struct fixture *f = *state;
    publish(f, "ada", "echo", GUEST_ECHO, NULL);
    for (int round = 0; round < 2; round++) {
        struct fm_call *call = new_call(f, "ada", "echo", "x", 1);
        fm_registry_evict(&f->sched->registry, f->stage.codes[0]); /* has a call: stays */
        if (submit(f, call) == FM_SUBMIT_LATER)
            run_until_done(f, call);
        assert_int_equal(call->error, 0);
        fm_sched_call_free(f->sched, call);
        assert_int_equal(f->stage.codes[0]->users, 2);
        fm_registry_evict(&f->sched->registry, f->stage.codes[0]);
        assert_int_equal(f->stage.codes[0]->users, 1); /* the test's own */
    }
}

static void a_draining_door_refuses(void **state)
{
    struct fixture *f = *state;
    publish(f, "ada", "echo", GUEST_ECHO, NULL);
    fm_sched_drain(f->sched);
    struct fm_call *call = new_call(f, "ada", "echo", NULL, 0);
    assert_int_equal(submit(f, call), FM_SUBMIT_DONE);
    assert_int_equal(call->error, FM_ERR_BUSY);
    fm_sched_call_free(f->sched, call);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_short_call_ends_inside_submit),
        TEST(a_burst_of_short_calls_runs_inside_submit),
        TEST(a_turn_runs_short_calls_beyond_its_slice),
        TEST(cpu_time_and_wall_time_end_a_call),
        TEST(parked_calls_cost_no_thread_and_wake),
        TEST(users_take_turns),
        TEST(a_stream_wakes_whom_it_parked),
        TEST(concurrency_is_exact),
        TEST(slots_and_queue_are_bounded),
        TEST(calls_go_on_while_new_ones_wait_for_a_sandbox),
        cmocka_unit_test_setup_teardown(the_last_sandboxes_are_for_those_who_have_none, setup_many,
                                        teardown),
        TEST(queued_calls_can_be_cancelled),
        TEST(a_running_call_keeps_its_version),
        TEST(an_evicted_module_comes_back),
        TEST(a_draining_door_refuses),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
