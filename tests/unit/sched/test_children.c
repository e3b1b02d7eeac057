/* test_children.c - calls that start calls: outcomes, limits at their edges, tickets, orphans.  A
 * real engine and loop; functions are made here, without a disk. */
#include "stage.h"

#include "base/clock.h"
#include "loop/loop.h"
#include "sched/children.h"
#include "torture.h"

#define CALLS_MAX 4
#define QUEUE_MAX 40
#define DEPTH 3

#define IMPORTS                                                                                    \
    "(module" GUEST_INPUT                                                                          \
    "(import \"faasm\" \"output_write\" (func $w (param i32 i32) (result i32)))"                   \
    "(import \"faasm\" \"chain\" (func $chain (param i32 i32 i32 i32) (result i32)))"              \
    "(import \"faasm\" \"call_start\" (func $start (param i32 i32 i32 i32) (result i64)))"         \
    "(import \"faasm\" \"call_wait\" (func $wait (param i64 i64) (result i32)))"                   \
    "(import \"faasm\" \"call_output_read\""                                                       \
    "  (func $read (param i64 i32 i32 i32) (result i32)))"                                         \
    "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func $exit (param i32)))"                   \
    "(import \"wasi_snapshot_preview1\" \"poll_oneoff\""                                           \
    "  (func $poll (param i32 i32 i32 i32) (result i32)))" GUEST_MEMORY
#define START(...) " (func (export \"_start\") " __VA_ARGS__ "))"

/* Calls itself as deep as the byte of input says.  Its output: what its child wrote, or `-` and the
 * error's number, and then its own byte as a digit. */
#define NEST                                                                                       \
    IMPORTS "(data (i32.const 0) \"nest\")" START(                                                 \
        "(local $h i64) (local $e i32)"                                                            \
        "(drop (call $r (i32.const 0) (i32.const 16) (i32.const 1)))"                              \
        "(if (i32.load8_u (i32.const 16)) (then"                                                   \
        "  (i32.store8 (i32.const 17) (i32.sub (i32.load8_u (i32.const 16)) (i32.const 1)))"       \
        "  (local.set $h (call $start (i32.const 0) (i32.const 4) (i32.const 17) (i32.const 1)))"  \
        "  (local.set $e (i32.wrap_i64 (local.get $h)))"                                           \
        "  (if (i64.gt_s (local.get $h) (i64.const 0)) (then"                                      \
        "    (local.set $e (call $wait (local.get $h) (i64.const -1)))"                            \
        "    (drop (call $w (i32.const 100) (call $read (local.get $h) (i32.const 0)"              \
        "      (i32.const 100) (i32.const 1000))))))"                                              \
        "  (if (local.get $e) (then"                                                               \
        "    (i32.store8 (i32.const 18) (i32.const 45))"                                           \
        "    (i32.store8 (i32.const 19) (i32.sub (i32.const 0) (local.get $e)))"                   \
        "    (drop (call $w (i32.const 18) (i32.const 2)))))))"                                    \
        "(i32.store8 (i32.const 16) (i32.add (i32.load8_u (i32.const 16)) (i32.const 48)))"        \
        "(drop (call $w (i32.const 16) (i32.const 1)))")

/* Its input: how many, then the name of what it starts so many times, each with its index as input.
 * Its output: a byte for each, the exit code or the error (-6 is 250). */
#define FAN                                                                                        \
    IMPORTS START(                                                                                 \
        "(local $i i32) (local $n i32) (local $name i32) (local $h i64)"                           \
        "(local.set $name (i32.sub (call $r (i32.const 0) (i32.const 16) (i32.const 100))"         \
        "  (i32.const 1)))"                                                                        \
        "(local.set $n (i32.load8_u (i32.const 16)))"                                              \
        "(loop $more"                                                                              \
        "  (i32.store8 (i32.const 8) (local.get $i))"                                              \
        "  (i64.store (i32.add (i32.const 1000) (i32.mul (i32.const 8) (local.get $i)))"           \
        "    (call $start (i32.const 17) (local.get $name) (i32.const 8) (i32.const 1)))"          \
        "  (local.set $i (i32.add (local.get $i) (i32.const 1)))"                                  \
        "  (br_if $more (i32.lt_u (local.get $i) (local.get $n))))"                                \
        "(local.set $i (i32.const 0))"                                                             \
        "(loop $more"                                                                              \
        "  (local.set $h (i64.load (i32.add (i32.const 1000)"                                      \
        "    (i32.mul (i32.const 8) (local.get $i)))))"                                            \
        "  (i32.store8 (i32.add (i32.const 500) (local.get $i))"                                   \
        "    (if (result i32) (i64.lt_s (local.get $h) (i64.const 0))"                             \
        "      (then (i32.wrap_i64 (local.get $h)))"                                               \
        "      (else (call $wait (local.get $h) (i64.const -1)))))"                                \
        "  (local.set $i (i32.add (local.get $i) (i32.const 1)))"                                  \
        "  (br_if $more (i32.lt_u (local.get $i) (local.get $n))))"                                \
        "(drop (call $w (i32.const 500) (local.get $n)))")

/* A tree: input depth and fan; output how many calls there were, in 4 bytes. */
#define TREE                                                                                       \
    IMPORTS "(data (i32.const 64) \"tree\")" START(                                                \
        "(local $i i32) (local $n i32) (local $sum i32) (local $h i64)"                            \
        "(drop (call $r (i32.const 0) (i32.const 0) (i32.const 2)))"                               \
        "(local.set $sum (i32.const 1))"                                                           \
        "(if (i32.load8_u (i32.const 0)) (then"                                                    \
        "  (local.set $n (i32.load8_u (i32.const 1)))"                                             \
        "  (i32.store8 (i32.const 0) (i32.sub (i32.load8_u (i32.const 0)) (i32.const 1)))"         \
        "  (loop $more"                                                                            \
        "    (local.set $h (call $start (i32.const 64) (i32.const 4) (i32.const 0)"                \
        "      (i32.const 2)))"                                                                    \
        "    (if (i64.le_s (local.get $h) (i64.const 0)) (then unreachable))"                      \
        "    (i64.store (i32.add (i32.const 1000) (i32.mul (i32.const 8) (local.get $i)))"         \
        "      (local.get $h))"                                                                    \
        "    (local.set $i (i32.add (local.get $i) (i32.const 1)))"                                \
        "    (br_if $more (i32.lt_u (local.get $i) (local.get $n))))"                              \
        "  (loop $more"                                                                            \
        "    (local.set $i (i32.sub (local.get $i) (i32.const 1)))"                                \
        "    (local.set $h (i64.load (i32.add (i32.const 1000)"                                    \
        "      (i32.mul (i32.const 8) (local.get $i)))))"                                          \
        "    (if (call $wait (local.get $h) (i64.const -1)) (then unreachable))"                   \
        "    (drop (call $read (local.get $h) (i32.const 0) (i32.const 8) (i32.const 4)))"         \
        "    (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 8))))"                 \
        "    (br_if $more (local.get $i)))))"                                                      \
        "(i32.store (i32.const 8) (local.get $sum))"                                               \
        "(drop (call $w (i32.const 8) (i32.const 4)))")

/* Sleeps for a long time. */
#define DOZE_BODY                                                                                  \
    "(i32.store (i32.const 2016) (i32.const 1))"                                                   \
    "(i64.store (i32.const 2024) (i64.const 1000000000000000))"                                    \
    "(drop (call $poll (i32.const 2000) (i32.const 3000) (i32.const 1) (i32.const 3100)))"
#define DOZE IMPORTS START(DOZE_BODY)
/* Starts two of what its data names, which has 4 letters, and waits for the first. */
#define TWO(name)                                                                                  \
    IMPORTS "(data (i32.const 0) \"" name "\")" START(                                             \
        "(local $h i64)"                                                                           \
        "(local.set $h (call $start (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0)))"     \
        "(drop (call $start (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0)))"             \
        "(drop (call $wait (local.get $h) (i64.const -1)))")
/* The same without waiting. */
#define LEAVE                                                                                      \
    IMPORTS "(data (i32.const 0) \"doze\")" START(                                                 \
        "(drop (call $start (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0)))"             \
        "(drop (call $start (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0)))")
/* Ends in the way that its byte of input says: 1 with a trap, 2 with too much output, any other
 * with that exit code. */
#define CODE                                                                                       \
    IMPORTS START("(drop (call $r (i32.const 0) (i32.const 0) (i32.const 1)))"                     \
                  "(if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 1)) (then unreachable))"     \
                  "(if (i32.eq (i32.load8_u (i32.const 0)) (i32.const 2)) (then"                   \
                  "  (drop (call $w (i32.const 0) (i32.const 101)))))"                             \
                  "(call $exit (i32.load8_u (i32.const 0)))")
/* As many bytes of output as the number in its input says. */
#define WRITE                                                                                      \
    IMPORTS START("(drop (call $r (i32.const 0) (i32.const 0) (i32.const 4)))"                     \
                  "(drop (memory.grow (i32.const 3)))"                                             \
                  "(drop (call $w (i32.const 1000) (i32.load (i32.const 0))))")
/* Writes and chains. */
#define CHAINS                                                                                     \
    IMPORTS "(data (i32.const 0) \"next\")" START(                                                 \
        "(drop (call $chain (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0)))"             \
        "(drop (call $w (i32.const 0) (i32.const 4)))")

struct fixture {
    struct fm_loop *loop;
    struct stage stage;
    struct fm_sched *sched;
    uint32_t sandboxes_max;       /* that were seen */
    unsigned chains;              /* calls of the hook */
    struct fm_call seen[8];       /* by it; only their plain fields */
    int chains_refused;           /* at once */
    int chains_failed;            /* later */
    bool chains_held;             /* no answer before answer_chains() */
    bool chains_break_memory;     /* after the answer */
    struct fm_message chains_due; /* their answer is under way */
    struct fm_sched_chains *chains_asked[8];
    unsigned chains_waiting;
};

static void answer_chains(struct fixture *f)
{
    unsigned waiting = f->chains_waiting;
    f->chains_waiting = 0;
    for (unsigned i = 0; i < waiting; i++) {
        struct fm_sched_chains *chains = f->chains_asked[i];
        if (f->chains_failed) {
            (void)fm_error_set(&chains->error, f->chains_failed, "not stored");
        } else {
            chains->children = calloc(1, sizeof(*chains->children));
            assert_non_null(chains->children);
            chains->children_count = 1;
        }
        if (f->chains_break_memory)
            torture_fail_nth(1);
        chains->on_done(chains);
    }
}

static void on_chains_due(struct fm_message *message)
{
    answer_chains(FM_CONTAINER_OF(message, struct fixture, chains_due));
}

/* A disk that answers with the next pass. */
static int on_chains(void *data, struct fm_sched_chains *chains)
{
    struct fixture *f = data;
    assert_int_equal(chains->call->error, 0);
    assert_int_equal(chains->call->state, FM_CALL_DONE);
    assert_true(f->chains < FM_ARRAY_LENGTH(f->seen));
    f->seen[f->chains++] = *chains->call;
    if (f->chains_refused)
        return fm_error_set(&chains->error, f->chains_refused, "refused");
    if (f->chains_waiting == 0 && !f->chains_held) {
        f->chains_due.on_message = on_chains_due;
        fm_mailbox_post(fm_loop_mailbox(f->loop), &f->chains_due);
    }
    f->chains_asked[f->chains_waiting++] = chains;
    return 0;
}

static char order[100]; /* the first letters of the names of ended calls */

static void on_done(struct fm_call *call)
{
    assert_true(strlen(order) < sizeof(order) - 1);
    order[strlen(order)] = call->version->function[0];
}

static void open_sched(struct fixture *f, uint32_t calls_max, uint32_t queue_max, uint32_t depth)
{
    const struct fm_sched_config sched = {
        .workers = 1,
        .loop = f->loop,
        .modules = f->stage.modules,
        .ticker = f->stage.ticker,
        .calls_max = calls_max,
        .queue_max = queue_max,
        .await_depth = depth,
        .chains = on_chains,
        .data = f,
    };
    f->sched = fm_sched_free(f->sched);
    assert_int_equal(fm_sched_new(&sched, &f->sched), 0);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(fm_loop_new(&f->loop), 0);
    stage_begin(&f->stage, 1, 1, 16);
    open_sched(f, CALLS_MAX, QUEUE_MAX, DEPTH);
    memset(order, 0, sizeof(order));
    *state = f;
    return 0;
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

static struct fm_limits defaults(void)
{
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    return limits;
}

static void publish_limited(struct fixture *f, const char *name, const char *text,
                            const struct fm_limits *limits)
{
    struct fm_code *code = stage_code(&f->stage, "ada", name, text, limits);
    assert_int_equal(fm_sched_publish(f->sched, code, f->stage.sequence), 0);
}

static void publish(struct fixture *f, const char *name, const char *text)
{
    const struct fm_limits limits = defaults();
    publish_limited(f, name, text, &limits);
}

static struct fm_call *new_call(struct fixture *f, const char *name, const void *input,
                                size_t bytes)
{
    struct fm_call *call = NULL;
    struct fm_function *function = fm_sched_function(f->sched, "ada", 3, name, strlen(name));
    assert_non_null(function);
    assert_int_equal(fm_sched_call_new(f->sched, function, &call), 0);
    call->input = input;
    call->input_bytes = bytes;
    call->on_done = on_done;
    return call;
}

static struct fm_sched_counts counts(struct fixture *f)
{
    struct fm_sched_counts now;
    fm_sched_counts(f->sched, &now);
    return now;
}

static void pass(struct fixture *f)
{
    fm_loop_pass(f->loop, fm_sched_busy(f->sched) ? 0 : UINT64_MAX);
    fm_sched_turn(f->sched);
    if (counts(f).sandboxes > f->sandboxes_max)
        f->sandboxes_max = counts(f).sandboxes;
}

static void run_until_done(struct fixture *f, const struct fm_call *call)
{
    while (call->state != FM_CALL_DONE)
        pass(f);
}

static void assert_nothing_left(struct fixture *f)
{
    while (fm_sched_busy(f->sched))
        pass(f);
    assert_int_equal(counts(f).calls, 0);
    assert_int_equal(counts(f).children, 0);
    assert_int_equal(counts(f).sandboxes, 0);
    assert_int_equal(counts(f).queued, 0);
    assert_int_equal(counts(f).parked, 0);
    assert_int_equal(f->sched->counts.sandboxes, 0);
    assert_int_equal(f->sched->crowded, 0);
}

static struct fm_call *start_call(struct fixture *f, const char *name, const void *input,
                                  size_t bytes)
{
    struct fm_call *call = new_call(f, name, input, bytes);
    (void)!fm_sched_submit(f->sched, call);
    return call;
}

/* Runs one call to its end; the caller frees it. */
static struct fm_call *ended(struct fixture *f, const char *name, const void *input, size_t bytes)
{
    struct fm_call *call = start_call(f, name, input, bytes);
    run_until_done(f, call);
    return call;
}

static void assert_output(const struct fm_call *call, const void *expected, size_t bytes)
{
    assert_int_equal(call->error, 0);
    assert_int_equal(call->output.length, bytes);
    assert_memory_equal(call->output.data, expected, bytes);
}

/* Runs it, and compares its output. */
static void check(struct fixture *f, const char *name, const void *input, size_t bytes,
                  const void *expected, size_t expected_bytes)
{
    struct fm_call *call = ended(f, name, input, bytes);
    assert_output(call, expected, expected_bytes);
    fm_sched_call_free(f->sched, call);
}

/* A parent that is parked, for tests that start its children themselves. */
static struct fm_call *parked_parent(struct fixture *f, const char *name)
{
    struct fm_call *call = start_call(f, name, NULL, 0);
    while (call->state != FM_CALL_PARKED)
        pass(f);
    return call;
}

static int64_t start_child(struct fm_call *parent, const char *name, const void *input,
                           size_t bytes)
{
    return parent->child_ops->start(parent, name, strlen(name), input, bytes);
}

static const struct fm_child *child_of(struct fm_call *parent, int64_t handle)
{
    const struct fm_child *child = parent->child_ops->find(parent, handle);
    assert_non_null(child);
    return child;
}

static const struct fm_child *ended_child(struct fixture *f, struct fm_call *parent, int64_t handle)
{
    const struct fm_child *child = child_of(parent, handle);
    while (!child->ended)
        pass(f);
    return child;
}

static void end_call(struct fixture *f, struct fm_call *call)
{
    fm_sched_cancel(f->sched, call, FM_ERR_CANCELLED);
    assert_int_equal(call->state, FM_CALL_DONE);
    fm_sched_call_free(f->sched, call);
}

/* --- what a parent sees ----------------------------------------------------------------------- */

/* Also that all of it needs one turn: the parent parks inside submit, its children and then itself
 * run in the turn after that. */
static void children_and_then_their_parent_run_in_one_turn(void **state)
{
    struct fixture *f = *state;
    publish(f, "fan", FAN);
    publish(f, "code", CODE);
    const char input[] = "\x01"
                         "code";
    check(f, "fan", input, 5, "\0", 1); /* loads both modules */
    struct fm_call *call = new_call(f, "fan", input, 5);
    assert_int_equal(fm_sched_submit(f->sched, call), FM_SUBMIT_LATER);
    assert_int_equal(call->state, FM_CALL_PARKED);
    assert_int_equal(counts(f).children, 1);
    fm_sched_turn(f->sched);
    if (call->state != FM_CALL_DONE) /* a slow machine: its share of time was over */
        run_until_done(f, call);
    assert_output(call, "\0", 1);
    fm_sched_call_free(f->sched, call);
    assert_nothing_left(f);
}

static void a_parent_hears_how_each_child_ended(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits = defaults();
    limits.output_bytes = 100;
    publish_limited(f, "code", CODE, &limits);
    publish(f, "fan", FAN);
    const uint8_t expected[] = {0, 256 - 21, 256 - 19, 3, 4, 5};
    check(f, "fan",
          "\x06"
          "code",
          5, expected, sizeof(expected));
    check(f, "fan",
          "\x01"
          "nobody",
          7, "\xd4", 1); /* -44: ENOENT */
    check(f, "fan",
          "\x01"
          "a/b",
          4, "\xe4", 1); /* -28: EINVAL */
    check(f, "fan", "\x01", 1, "\xe4", 1);
    assert_nothing_left(f);
}

/* What the hook for chained calls sees of a child. */
static void a_child_has_its_parents_deadline_at_most(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits = defaults();
    publish(f, "doze", DOZE);
    limits.wall_ms = 3600000;
    publish_limited(f, "long", CHAINS, &limits);
    limits.wall_ms = 10000;
    publish_limited(f, "short", CHAINS, &limits);
    struct fm_call *parent = parked_parent(f, "doze");
    parent->depth = 7; /* of chained calls above it */
    assert_int_equal(start_child(parent, "long", NULL, 0), 1);
    assert_int_equal(ended_child(f, parent, 1)->error, 0);
    assert_int_equal(f->seen[0].deadline_ns, parent->deadline_ns);
    assert_int_equal(start_child(parent, "short", NULL, 0), 2);
    assert_int_equal(ended_child(f, parent, 2)->error, 0);
    assert_true(f->seen[1].deadline_ns < parent->deadline_ns);
    assert_int_equal(parent->children_started, 2);
    assert_int_equal(parent->children_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_memory_equal(&f->seen[i].parent, &parent->id, sizeof(parent->id));
        assert_memory_equal(&f->seen[i].id, &parent->children[i], sizeof(parent->id));
        assert_int_equal(f->seen[i].depth, 8);
        assert_int_equal(f->seen[i].attempt, 1);
    }
    end_call(f, parent);
    assert_nothing_left(f);
}

static void a_child_that_is_late_has_broken_a_limit(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits = defaults();
    publish(f, "doze", DOZE);
    limits.wall_ms = 10;
    publish_limited(f, "late", DOZE, &limits);
    struct fm_call *parent = parked_parent(f, "doze");
    assert_int_equal(start_child(parent, "late", NULL, 0), 1);
    assert_int_equal(ended_child(f, parent, 1)->error, FM_ERR_DEADLINE);
    assert_int_equal(parent->state, FM_CALL_PARKED); /* it waits for something else */
    end_call(f, parent);
    assert_nothing_left(f);
}

static void output_is_kept_until_the_parent_ends(void **state)
{
    struct fixture *f = *state;
    publish(f, "doze", DOZE);
    publish(f, "write", WRITE);
    struct fm_call *parent = parked_parent(f, "doze");
    const uint32_t sizes[] = {0, 1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 200000};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sizes); i++)
        assert_int_equal(start_child(parent, "write", &sizes[i], 4), i + 1);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sizes); i++) {
        const struct fm_child *child = ended_child(f, parent, (int64_t)i + 1);
        assert_int_equal(child->error, 0);
        assert_int_equal(child->output_bytes, sizes[i]);
        for (size_t at = 0; at < sizes[i]; at++)
            assert_int_equal(child->output[at], 0);
    }
    unsigned seen = 0; /* each has its place, in whatever order their slices made them end */
    for (size_t i = 1; i <= FM_ARRAY_LENGTH(sizes); i++)
        seen |= 1u << child_of(parent, (int64_t)i)->order;
    assert_int_equal(seen, 0x7e);
    assert_null(parent->child_ops->find(parent, 0));
    assert_null(parent->child_ops->find(parent, -1));
    assert_null(parent->child_ops->find(parent, 7));
    end_call(f, parent);
    assert_nothing_left(f);
}

/* --- limits at their edges -------------------------------------------------------------------- */

static void chain_depth_bounds_nesting(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits = defaults();
    limits.chain_depth = 2;
    publish_limited(f, "nest", NEST, &limits);
    check(f, "nest", "\x01", 1, "01", 2);
    check(f, "nest", "\x02", 1, "012", 3);
    check(f, "nest", "\x03", 1,
          "-\x06"
          "123",
          5);
    limits.chain_depth = 0;
    publish_limited(f, "nest", NEST, &limits);
    check(f, "nest", "\x01", 1,
          "-\x06"
          "1",
          3);
    assert_nothing_left(f);
}

static void await_depth_bounds_nesting(void **state)
{
    struct fixture *f = *state;
    publish(f, "nest", NEST);
    check(f, "nest", "\x02", 1, "012", 3);
    check(f, "nest", "\x03", 1, "0123", 4);
    check(f, "nest", "\x04", 1,
          "-\x06"
          "1234",
          6);
    assert_nothing_left(f);
}

static void fan_out_counts_chained_and_started_calls(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits = defaults();
    limits.chain_fanout = 3;
    publish_limited(f, "doze", DOZE, &limits);
    struct fm_call *parent = parked_parent(f, "doze");
    assert_int_equal(fm_call_chain(parent, "doze", 4, NULL, 0), 0);
    assert_int_equal(start_child(parent, "doze", NULL, 0), 1);
    assert_int_equal(start_child(parent, "nobody", NULL, 0), FM_ERR_NOT_FOUND); /* not counted */
    assert_int_equal(start_child(parent, "doze", NULL, 0), 2);
    assert_int_equal(start_child(parent, "doze", NULL, 0), FM_ERR_QUOTA);
    assert_int_equal(fm_call_chain(parent, "doze", 4, NULL, 0), FM_ERR_QUOTA);
    end_call(f, parent);
    assert_nothing_left(f);
}

static void input_is_bounded_by_the_target_and_by_the_parent(void **state)
{
    struct fixture *f = *state;
    static const uint8_t input[102];
    struct fm_limits limits = defaults();
    limits.input_bytes = 50;
    publish_limited(f, "small", DOZE, &limits);
    limits = defaults();
    limits.children_bytes = 100;
    publish_limited(f, "doze", DOZE, &limits);
    publish(f, "code", CODE);
    struct fm_call *parent = parked_parent(f, "doze");
    assert_int_equal(start_child(parent, "small", input, 51), FM_ERR_TOO_LARGE);
    assert_int_equal(start_child(parent, "code", input, 101), FM_ERR_QUOTA);
    assert_int_equal(start_child(parent, "code", input, 100), 1);
    assert_int_equal(start_child(parent, "small", input, 0), 2);
    assert_int_equal(start_child(parent, "small", input, 1), FM_ERR_QUOTA);
    (void)ended_child(f, parent, 1); /* its input is given back */
    assert_int_equal(start_child(parent, "small", input, 49), 3);
    assert_int_equal(start_child(parent, "small", input, 50), 4);
    assert_int_equal(start_child(parent, "small", input, 2), FM_ERR_QUOTA);
    assert_int_equal(start_child(parent, "small", input, 1), 5);
    end_call(f, parent);
    assert_nothing_left(f);
}

/* The input of 4 bytes is given back before the output is kept. */
static void output_is_bounded_by_the_parent(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits = defaults();
    publish(f, "write", WRITE);
    for (uint32_t bytes = 99; bytes <= 101; bytes++) {
        limits.children_bytes = 130;
        publish_limited(f, "doze", DOZE, &limits);
        struct fm_call *parent = parked_parent(f, "doze");
        const uint32_t first = 30;
        assert_int_equal(start_child(parent, "write", &first, 4), 1);
        assert_int_equal(ended_child(f, parent, 1)->error, 0);
        assert_int_equal(start_child(parent, "write", &bytes, 4), 2);
        const struct fm_child *child = ended_child(f, parent, 2);
        assert_int_equal(child->error, bytes > 100 ? FM_ERR_GUEST_LIMIT : 0);
        assert_int_equal(child->output_bytes, bytes > 100 ? 0 : bytes);
        /* What was too much holds nothing. */
        assert_int_equal(start_child(parent, "write", &bytes, 4), bytes == 100  ? FM_ERR_QUOTA
                                                                  : bytes == 99 ? FM_ERR_QUOTA
                                                                                : 3);
        end_call(f, parent);
    }
    assert_nothing_left(f);
}

static void concurrency_counts_children(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits = defaults();
    limits.concurrency = 2;
    publish_limited(f, "doze", DOZE, &limits);
    struct fm_call *parent = parked_parent(f, "doze");
    assert_int_equal(start_child(parent, "doze", NULL, 0), 1);
    assert_int_equal(start_child(parent, "doze", NULL, 0), FM_ERR_QUOTA);
    assert_int_equal(parent->children_started, 1);
    end_call(f, parent);
    assert_nothing_left(f);
    parent = parked_parent(f, "doze"); /* all was given back */
    assert_int_equal(start_child(parent, "doze", NULL, 0), 1);
    end_call(f, parent);
    assert_nothing_left(f);
}

/* Of three slots and two places in the queue, so five of each kind. */
static void children_and_other_calls_have_room_of_their_own(void **state)
{
    struct fixture *f = *state;
    open_sched(f, 3, 2, 1);
    publish(f, "doze", DOZE);
    struct fm_call *calls[5];
    for (size_t i = 0; i < 5; i++)
        calls[i] = start_call(f, "doze", NULL, 0);
    struct fm_call *surplus = start_call(f, "doze", NULL, 0);
    assert_int_equal(surplus->error, FM_ERR_BUSY);
    fm_sched_call_free(f->sched, surplus);
    while (counts(f).parked < 3)
        pass(f);
    for (int64_t i = 1; i <= 5; i++)
        assert_int_equal(start_child(calls[0], "doze", NULL, 0), i);
    assert_int_equal(start_child(calls[0], "doze", NULL, 0), FM_ERR_BUSY);
    assert_int_equal(counts(f).calls, 10);
    assert_int_equal(counts(f).children, 5);

    fm_sched_drain(f->sched); /* the door is closed to others only */
    surplus = start_call(f, "doze", NULL, 0);
    assert_int_equal(surplus->error, FM_ERR_BUSY);
    fm_sched_call_free(f->sched, surplus);
    end_call(f, calls[1]);
    while (counts(f).sandboxes < 3)
        pass(f);
    assert_int_equal(start_child(calls[2], "doze", NULL, 0), FM_ERR_BUSY); /* still five */
    end_call(f, calls[0]);
    while (counts(f).children > 0)
        pass(f);
    assert_int_equal(start_child(calls[2], "doze", NULL, 0), 1);
    for (size_t i = 2; i < 5; i++)
        end_call(f, calls[i]);
    assert_nothing_left(f);
}

static void without_depth_there_are_no_children(void **state)
{
    struct fixture *f = *state;
    open_sched(f, 3, 2, 0);
    publish(f, "nest", NEST);
    check(f, "nest", "\0", 1, "0", 1);
    check(f, "nest", "\x01", 1,
          "-\x06"
          "1",
          3);
    assert_nothing_left(f);
}

/* --- tickets ---------------------------------------------------------------------------------- */

static void parents_that_hold_all_slots_do_not_deadlock(void **state)
{
    struct fixture *f = *state;
    for (uint32_t slots = 1; slots <= 4; slots++) {
        open_sched(f, slots, QUEUE_MAX, DEPTH);
        publish(f, "nest", NEST);
        struct fm_call *calls[12];
        f->sandboxes_max = 0;
        for (size_t i = 0; i < 12; i++)
            calls[i] = start_call(f, "nest", "\x03", 1);
        for (size_t i = 0; i < 12; i++) {
            run_until_done(f, calls[i]);
            assert_output(calls[i], "0123", 4);
            fm_sched_call_free(f->sched, calls[i]);
        }
        assert_true(f->sandboxes_max <= slots + DEPTH);
        assert_nothing_left(f);
    }
}

static uint32_t tree_size(uint32_t depth, uint32_t fan)
{
    uint32_t size = 1;
    for (uint32_t i = 0; i < depth; i++)
        size = 1 + fan * size;
    return size;
}

/* Trees of all shapes at once, on few slots. */
static void trees_of_every_shape_come_to_an_end(void **state)
{
    struct fixture *f = *state;
    uint64_t seed = 1;
    for (uint32_t slots = 1; slots <= 3; slots++) {
        open_sched(f, slots, 3000, DEPTH);
        publish(f, "tree", TREE);
        struct fm_call *calls[20];
        uint8_t inputs[20][2];
        for (size_t i = 0; i < 20; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            inputs[i][0] = (uint8_t)((seed >> 33) % (DEPTH + 1));
            inputs[i][1] = (uint8_t)(1 + (seed >> 40) % 4);
            calls[i] = start_call(f, "tree", inputs[i], 2);
        }
        for (size_t i = 0; i < 20; i++) {
            run_until_done(f, calls[i]);
            uint32_t size = tree_size(inputs[i][0], inputs[i][1]);
            assert_output(calls[i], &size, 4);
            fm_sched_call_free(f->sched, calls[i]);
        }
        assert_true(f->sandboxes_max <= slots + DEPTH);
        assert_nothing_left(f);
    }
}

/* Both slots are held by parents, so there is one ticket for children.  One parent starts three
 * first, but the other need not wait for all of them. */
static void parents_take_turns(void **state)
{
    struct fixture *f = *state;
    open_sched(f, 2, QUEUE_MAX, 1);
    publish(f, "doze", DOZE);
    publish(f, "chains", CHAINS);
    struct fm_call *many = parked_parent(f, "doze");
    struct fm_call *one = parked_parent(f, "doze");
    for (int64_t i = 1; i <= 3; i++)
        assert_int_equal(start_child(many, "chains", NULL, 0), i);
    assert_int_equal(start_child(one, "chains", NULL, 0), 1);
    assert_int_equal(counts(f).queued, 4);
    assert_int_equal(f->sched->crowded, 3);
    for (int64_t i = 1; i <= 3; i++)
        (void)ended_child(f, many, i);
    (void)ended_child(f, one, 1);
    const struct fm_call *const expected[] = {many, many, one, many};
    for (size_t i = 0; i < 4; i++)
        assert_memory_equal(&f->seen[i].parent, &expected[i]->id, sizeof(struct fm_id));
    end_call(f, many);
    end_call(f, one);
    assert_nothing_left(f);
}

/* New calls wait for a slot; children of those that have one go before them. */
static void children_are_not_starved_by_new_calls(void **state)
{
    struct fixture *f = *state;
    open_sched(f, 1, QUEUE_MAX, 1);
    publish(f, "fan", FAN);
    publish(f, "code", CODE);
    struct fm_call *parent = start_call(f, "fan",
                                        "\x03"
                                        "code",
                                        5);
    struct fm_call *others[5];
    for (size_t i = 0; i < 5; i++)
        others[i] = start_call(f, "code", "\x05", 1);
    run_until_done(f, others[4]);
    assert_string_equal(order, "fccccc");
    fm_sched_call_free(f->sched, parent);
    for (size_t i = 0; i < 5; i++)
        fm_sched_call_free(f->sched, others[i]);
    assert_nothing_left(f);
}

/* --- ends ------------------------------------------------------------------------------------- */

static void a_cancelled_parent_takes_its_tree_along(void **state)
{
    struct fixture *f = *state;
    open_sched(f, 8, QUEUE_MAX, DEPTH);
    publish(f, "root", TWO("twos"));
    publish(f, "twos", TWO("doze"));
    publish(f, "doze", DOZE);
    struct fm_call *root = start_call(f, "root", NULL, 0);
    while (counts(f).parked < 7)
        pass(f);
    assert_int_equal(counts(f).children, 6);
    fm_sched_cancel(f->sched, root, FM_ERR_CANCELLED);
    assert_int_equal(root->state, FM_CALL_DONE); /* it waits for nobody */
    assert_int_equal(counts(f).sandboxes, 6);
    assert_true(fm_sched_busy(f->sched));
    fm_sched_call_free(f->sched, root);
    assert_nothing_left(f);
    assert_int_equal(counts(f).cancelled, 7);
}

/* The same when nobody turns the scheduler any more: its end ends them. */
static void orphans_end_with_the_scheduler(void **state)
{
    struct fixture *f = *state;
    open_sched(f, 8, QUEUE_MAX, DEPTH);
    publish(f, "root", TWO("twos"));
    publish(f, "twos", TWO("doze"));
    publish(f, "doze", DOZE);
    struct fm_call *root = start_call(f, "root", NULL, 0);
    while (counts(f).parked < 7)
        pass(f);
    end_call(f, root);
    assert_int_equal(counts(f).children, 6);
    f->sched = fm_sched_free(f->sched); /* which asserts that there are none */
}

/* In every place that a child can be: waiting for a ticket, for its turn, parked. */
static void a_parent_that_returns_ends_its_children(void **state)
{
    struct fixture *f = *state;
    for (uint32_t slots = 1; slots <= 3; slots++) {
        open_sched(f, slots, QUEUE_MAX, DEPTH);
        publish(f, "leave", LEAVE);
        publish(f, "doze", DOZE);
        struct fm_call *call = ended(f, "leave", NULL, 0);
        assert_int_equal(call->error, 0);
        fm_sched_call_free(f->sched, call);
        assert_nothing_left(f);
    }
}

static void a_parent_that_traps_or_is_late_ends_its_children(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits = defaults();
    limits.wall_ms = 50;
    publish_limited(f, "root", TWO("doze"), &limits);
    publish(f, "doze", DOZE);
    struct fm_call *root = ended(f, "root", NULL, 0);
    assert_int_equal(root->error, FM_ERR_DEADLINE);
    fm_sched_call_free(f->sched, root);
    assert_nothing_left(f);

    struct fm_call *parent = parked_parent(f, "doze"); /* fails in another way */
    assert_int_equal(start_child(parent, "doze", NULL, 0), 1);
    fm_sched_cancel(f->sched, parent, FM_ERR_GUEST_LIMIT);
    fm_sched_call_free(f->sched, parent);
    assert_nothing_left(f);
}

/* One task a turn; the tree is cancelled after every number of them, down to its very end. */
static void a_tree_may_be_cancelled_at_any_time(void **state)
{
    struct fixture *f = *state;
    open_sched(f, 2, QUEUE_MAX, DEPTH);
    publish(f, "tree", TREE);
    bool ended_by_itself = false;
    for (int steps = 0; !ended_by_itself; steps++) {
        struct fm_call *root = start_call(f, "tree", "\x03\x02", 2);
        for (int step = 0; step < steps && root->state != FM_CALL_DONE; step++) {
            f->sched->pass_guest_ns = FM_SLICE_MIN_NS - 1;
            fm_sched_turn(f->sched);
        }
        ended_by_itself = root->state == FM_CALL_DONE;
        fm_sched_cancel(f->sched, root, FM_ERR_CANCELLED);
        assert_int_equal(root->error, ended_by_itself ? 0 : FM_ERR_CANCELLED);
        fm_sched_call_free(f->sched, root);
        assert_nothing_left(f);
        assert_true(steps < 10000);
    }
}

/* Many orphans take more than one turn, each within its share of time. */
static void many_orphans_are_ended_bit_by_bit(void **state)
{
    struct fixture *f = *state;
    open_sched(f, 2, 20000, 1);
    struct fm_limits limits = defaults();
    limits.chain_fanout = 10000;
    limits.concurrency = 10000;
    publish_limited(f, "doze", DOZE, &limits);
    struct fm_call *parent = parked_parent(f, "doze");
    for (int64_t i = 1; i <= 9000; i++)
        assert_int_equal(start_child(parent, "doze", NULL, 0), i);
    end_call(f, parent);
    uint32_t before = counts(f).children;
    fm_sched_turn(f->sched);
    assert_true(counts(f).children < before);
    assert_true(counts(f).children > 0); /* nine thousand are not ended in half a slice */
    assert_nothing_left(f);
}

/* --- chained calls of children ---------------------------------------------------------------- */

static void what_a_child_chains_is_started(void **state)
{
    struct fixture *f = *state;
    publish(f, "doze", DOZE);
    publish(f, "chains", CHAINS);
    struct fm_call *parent = parked_parent(f, "doze");
    assert_int_equal(start_child(parent, "chains", NULL, 0), 1);
    const struct fm_child *child = ended_child(f, parent, 1);
    assert_int_equal(child->error, 0);
    assert_int_equal(f->chains, 1);

    f->chains_refused = FM_ERR_CHAIN_TARGET;
    assert_int_equal(start_child(parent, "chains", NULL, 0), 2);
    child = ended_child(f, parent, 2);
    assert_int_equal(child->error, FM_ERR_CHAIN_TARGET);
    assert_int_equal(child->output_bytes, 4); /* the output is kept either way */
    assert_int_equal(f->chains, 2);

    f->chains_refused = 0;
    f->chains_failed = FM_ERR_STORAGE_FULL;
    assert_int_equal(start_child(parent, "chains", NULL, 0), 3);
    child = ended_child(f, parent, 3);
    assert_int_equal(child->error, FM_ERR_STORAGE_FULL);
    assert_int_equal(child->output_bytes, 4);
    assert_int_equal(f->chains, 3);
    end_call(f, parent);
    assert_nothing_left(f);
}

static void run_until_chaining(struct fixture *f, uint32_t children)
{
    while (f->sched->chaining < children)
        pass(f);
}

static void a_child_has_ended_when_what_it_chained_is_stored(void **state)
{
    struct fixture *f = *state;
    publish(f, "doze", DOZE);
    publish(f, "chains", CHAINS);
    struct fm_call *parent = parked_parent(f, "doze");
    f->chains_held = true;
    assert_int_equal(start_child(parent, "chains", NULL, 0), 1);
    run_until_chaining(f, 1);
    const struct fm_child *child = parent->child_ops->find(parent, 1);
    assert_false(child->ended);
    assert_int_equal(counts(f).sandboxes, 1); /* its own is free: only the parent's is left */
    assert_int_equal(counts(f).children, 0);
    fm_sched_drain(f->sched);
    assert_false(fm_sched_drained(f->sched));
    answer_chains(f);
    assert_true(child->ended);
    assert_int_equal(child->error, 0);
    assert_int_equal(child->output_bytes, 4);
    end_call(f, parent);
    assert_nothing_left(f);
    assert_true(fm_sched_drained(f->sched));
}

/* The parent ends in the middle, in two ways: its orphans were looked at before the answer comes,
 * or they were not yet. */
static void a_parent_may_end_before_what_its_children_chained_is_stored(void **state)
{
    struct fixture *f = *state;
    publish(f, "doze", DOZE);
    publish(f, "chains", CHAINS);
    f->chains_held = true;
    for (int looked_at = 0; looked_at <= 1; looked_at++) {
        struct fm_call *parent = parked_parent(f, "doze");
        assert_int_equal(start_child(parent, "chains", NULL, 0), 1);
        run_until_chaining(f, 1);
        assert_int_equal(start_child(parent, "chains", NULL, 0), 2);
        assert_int_equal(start_child(parent, "doze", NULL, 0), 3);
        run_until_chaining(f, 2);
        end_call(f, parent);
        while (looked_at && fm_sched_busy(f->sched))
            pass(f);
        assert_int_equal(f->sched->chaining, 2);
        answer_chains(f);
        assert_int_equal(f->sched->chaining, 0);
        assert_nothing_left(f);
    }
    assert_int_equal(f->chains, 4); /* each was stored */
}

/* --- memory ----------------------------------------------------------------------------------- */

static void memory_may_fail_at_a_start(void **state)
{
    struct fixture *f = *state;
    publish(f, "doze", DOZE);
    long n = 1;
    for (int64_t handles[2] = {0, 0}; handles[0] <= 0 || handles[1] <= 0; n++) {
        struct fm_call *parent = parked_parent(f, "doze");
        torture_fail_nth(n);
        for (int i = 0; i < 2; i++)
            handles[i] = start_child(parent, "doze", "x", 1);
        torture_fail_nth(0);
        for (int i = 0; i < 2; i++)
            assert_true(handles[i] > 0 || handles[i] == FM_ERR_NOMEM);
        end_call(f, parent);
        assert_nothing_left(f);
        assert_true(n < 100);
    }
    assert_true(n > 6);
}

static void an_output_without_memory_is_no_success(void **state)
{
    struct fixture *f = *state;
    publish(f, "doze", DOZE);
    publish(f, "chains", CHAINS);
    struct fm_call *parent = parked_parent(f, "doze");
    f->chains_break_memory = true; /* what comes next is the copy of the output */
    assert_int_equal(start_child(parent, "chains", NULL, 0), 1);
    const struct fm_child *child = ended_child(f, parent, 1);
    torture_fail_nth(0);
    assert_int_equal(child->error, FM_ERR_NOMEM);
    assert_int_equal(child->output_bytes, 0);
    end_call(f, parent);
    assert_nothing_left(f);
}

static void memory_may_fail_at_the_making_of_a_scheduler(void **state)
{
    struct fixture *f = *state;
    struct fm_sched *sched = NULL;
    const struct fm_sched_config config = f->sched->config;
    long n = 1;
    for (int failed = -1; failed; n++) {
        torture_fail_nth(n);
        failed = fm_sched_new(&config, &sched);
        torture_fail_nth(0);
        assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    }
    fm_sched_free(sched);
    assert_true(n > 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(children_and_then_their_parent_run_in_one_turn),
        TEST(a_parent_hears_how_each_child_ended),
        TEST(a_child_has_its_parents_deadline_at_most),
        TEST(a_child_that_is_late_has_broken_a_limit),
        TEST(output_is_kept_until_the_parent_ends),
        TEST(chain_depth_bounds_nesting),
        TEST(await_depth_bounds_nesting),
        TEST(fan_out_counts_chained_and_started_calls),
        TEST(input_is_bounded_by_the_target_and_by_the_parent),
        TEST(output_is_bounded_by_the_parent),
        TEST(concurrency_counts_children),
        TEST(children_and_other_calls_have_room_of_their_own),
        TEST(without_depth_there_are_no_children),
        TEST(parents_that_hold_all_slots_do_not_deadlock),
        TEST(trees_of_every_shape_come_to_an_end),
        TEST(parents_take_turns),
        TEST(children_are_not_starved_by_new_calls),
        TEST(a_cancelled_parent_takes_its_tree_along),
        TEST(orphans_end_with_the_scheduler),
        TEST(a_parent_that_returns_ends_its_children),
        TEST(a_parent_that_traps_or_is_late_ends_its_children),
        TEST(a_tree_may_be_cancelled_at_any_time),
        TEST(many_orphans_are_ended_bit_by_bit),
        TEST(what_a_child_chains_is_started),
        TEST(a_child_has_ended_when_what_it_chained_is_stored),
        TEST(a_parent_may_end_before_what_its_children_chained_is_stored),
        TEST(memory_may_fail_at_a_start),
        TEST(an_output_without_memory_is_no_success),
        TEST(memory_may_fail_at_the_making_of_a_scheduler),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
