/* test_quotas.c - quotas of users at the door of one or two workers, which this thread drives: each
 * at its edge, waiting instead of being refused, changes at run time, and that every way out of a
 * call gives back what it held. */
#include "stage.h"

#include "loop/loop.h"
#include "sched/life.h"
#include "sched/news.h"
#include "sched/sched.h"
#include "sched/sched_private.h"
#include "sched/users_change.h"
#include "torture.h"

#define WORKERS 2
#define CALLS_MAX 6
#define QUEUE_MAX 1000

/* Waits for ever: parked. */
#define PARK                                                                                       \
    "(module (import \"wasi_snapshot_preview1\" \"poll_oneoff\""                                   \
    "  (func $p (param i32 i32 i32 i32) (result i32)))" GUEST_MEMORY " (func (export \"_start\")"  \
    "  (i32.store (i32.const 16) (i32.const 1))"                                                   \
    "  (i64.store (i32.const 24) (i64.const 1000000000000))"                                       \
    "  (drop (call $p (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"
/* Grows to 16 pages, then waits for ever. */
#define GROW                                                                                       \
    "(module (import \"wasi_snapshot_preview1\" \"poll_oneoff\""                                   \
    "  (func $p (param i32 i32 i32 i32) (result i32)))" GUEST_MEMORY " (func (export \"_start\")"  \
    "  (drop (memory.grow (i32.const 15)))"                                                        \
    "  (i32.store (i32.const 16) (i32.const 1))"                                                   \
    "  (i64.store (i32.const 24) (i64.const 1000000000000))"                                       \
    "  (drop (call $p (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"

struct fixture {
    struct stage stage;
    struct fm_users *users;
    struct fm_loop *loops[WORKERS];
    struct fm_sched *scheds[WORKERS];
    struct fm_audience audience;
    struct fm_quota_set kept; /* of the last change */
    int keeping_fails;
};

static int keep(void *data, const char *user, const struct fm_quota_set *changed,
                struct fm_error *error)
{
    struct fixture *f = data;
    (void)user;
    if (f->keeping_fails)
        return fm_error_set(error, f->keeping_fails, "the disk is full");
    f->kept = *changed;
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    stage_begin(&f->stage, WORKERS, 1, 16);
    f->audience = (struct fm_audience){.count = WORKERS, .scheds = f->scheds};
    const struct fm_users_config users = {.workers = WORKERS,
                                          .pool = f->stage.pool,
                                          .audience = &f->audience,
                                          .persist = keep,
                                          .data = f};
    assert_int_equal(fm_users_new(&users, &f->users), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(fm_loop_new(&f->loops[i]), 0);
        const struct fm_sched_config sched = {.worker = i,
                                              .workers = WORKERS,
                                              .loop = f->loops[i],
                                              .modules = f->stage.modules,
                                              .ticker = f->stage.ticker,
                                              .users = f->users,
                                              .calls_max = CALLS_MAX,
                                              .queue_max = QUEUE_MAX};
        assert_int_equal(fm_sched_new(&sched, &f->scheds[i]), 0);
    }
    *state = f;
    return 0;
}

static void assert_use(struct fixture *f, const char *user, uint64_t calls, uint64_t queued)
{
    struct fm_user_state now;
    fm_users_state(f->users, user, &now);
    assert_int_equal(now.use.calls, calls);
    assert_int_equal(now.use.queued, queued);
}

/* Everything that was taken has been given back, whatever the test did. */
static void assert_nothing_leaked(struct fixture *f, const char *user)
{
    struct fm_account *account = NULL;
    struct fm_quotas quotas;
    assert_use(f, user, 0, 0);
    struct fm_user_state now;
    fm_users_state(f->users, user, &now);
    assert_int_equal(now.use.memory_bytes, 0);
    assert_int_equal(fm_users_account(f->users, user, strlen(user), &account), 0);
    fm_account_quotas(account, &quotas);
    assert_int_equal(atomic_load(&account->starving), 0);
    assert_int_equal(atomic_load(&account->concurrency.credits), quotas.concurrency);
    assert_int_equal(atomic_load(&account->waiting.credits), quotas.queue_length);
    assert_int_equal(atomic_load(&account->memory.credits), quotas.memory_bytes);
}

static void pass_all(struct fixture *f)
{
    for (int i = 0; i < WORKERS; i++) {
        fm_loop_pass(f->loops[i], 0);
        fm_sched_turn(f->scheds[i]);
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 4; i++)
        pass_all(f);
    for (int i = 0; i < WORKERS; i++)
        fm_sched_free(f->scheds[i]);
    assert_nothing_leaked(f, "ada");
    fm_pool_stop(f->stage.pool); /* it answers before it is done with a change */
    fm_users_free(f->users);
    stage_end(&f->stage);
    for (int i = 0; i < WORKERS; i++)
        fm_loop_free(f->loops[i]);
    free(f);
    return 0;
}

static void publish_limited(struct fixture *f, const char *name, const char *text,
                            const struct fm_limits *limits)
{
    struct fm_code *code = stage_code(&f->stage, "ada", name, text, limits);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(fm_sched_publish(f->scheds[i], code, f->stage.sequence), 0);
}

static void publish(struct fixture *f, const char *name, const char *text)
{
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    publish_limited(f, name, text, &limits);
}

static void quota(struct fixture *f, const char *name, uint64_t value)
{
    struct fm_quota_set set = {0};
    fm_quota_set_put(&set, fm_quota_row_find(name), value);
    assert_int_equal(fm_users_set(f->users, "ada", &set), 0);
    for (int i = 0; i < WORKERS; i++)
        fm_user_changed(f->scheds[i], "ada");
}

static void on_done(struct fm_call *call)
{
    call->owner = call; /* it has ended */
}

static struct fm_call *new_call(struct fixture *f, int worker, const char *name)
{
    struct fm_sched *sched = f->scheds[worker];
    struct fm_function *function = fm_sched_function(sched, "ada", 3, name, strlen(name));
    struct fm_call *call = NULL;
    assert_non_null(function);
    assert_int_equal(fm_sched_call_new(sched, function, &call), 0);
    call->on_done = on_done;
    return call;
}

/* Submits; the call is on its way, parked or queued. */
static struct fm_call *start(struct fixture *f, int worker, const char *name)
{
    struct fm_call *call = new_call(f, worker, name);
    if (fm_sched_submit(f->scheds[worker], call) != FM_SUBMIT_LATER)
        fail_msg("%s", call->detail);
    return call;
}

static struct fm_call *start_waiting(struct fixture *f, int worker, const char *name)
{
    struct fm_call *call = new_call(f, worker, name);
    call->wait_for_quota = true;
    assert_int_equal(fm_sched_submit(f->scheds[worker], call), FM_SUBMIT_LATER);
    return call;
}

static void refused(struct fixture *f, int worker, const char *name, const char *wanted)
{
    struct fm_call *call = new_call(f, worker, name);
    if (fm_sched_submit(f->scheds[worker], call) != FM_SUBMIT_DONE)
        fail_msg("not refused");
    assert_int_equal(call->error, FM_ERR_QUOTA);
    assert_string_equal(call->limit, wanted);
    assert_true(call->retry_ns > 0);
    fm_sched_call_free(f->scheds[worker], call);
}

static void run_until_parked(struct fixture *f, const struct fm_call *call)
{
    while (call->state != FM_CALL_PARKED)
        pass_all(f);
}

static void run_until_done(struct fixture *f, const struct fm_call *call)
{
    while (call->state != FM_CALL_DONE)
        pass_all(f);
}

static void end(struct fixture *f, int worker, struct fm_call *call)
{
    fm_sched_cancel(f->scheds[worker], call, FM_ERR_CANCELLED);
    assert_int_equal(call->state, FM_CALL_DONE);
    assert_ptr_equal(call->owner, call);
    fm_sched_call_free(f->scheds[worker], call);
}

/* --- each quota at its edge ------------------------------------------------------------------- */

static void concurrency_is_exact_over_all_workers(void **state)
{
    struct fixture *f = *state;
    publish(f, "park", PARK);
    publish(f, "other", PARK);
    quota(f, "concurrency", 3);
    struct fm_call *calls[3];
    for (int i = 0; i < 3; i++) /* max - 1, and max: of two functions, on two workers */
        calls[i] = start(f, i % 2, i == 2 ? "other" : "park");
    refused(f, 0, "other", "concurrency");
    refused(f, 1, "park", "concurrency");
    end(f, 0, calls[0]);
    calls[0] = start(f, 1, "park");
    refused(f, 0, "park", "concurrency");
    end(f, 1, calls[0]);
    end(f, 1, calls[1]);
    end(f, 0, calls[2]);
}

static void queue_length_is_exact(void **state)
{
    struct fixture *f = *state;
    publish(f, "park", PARK);
    quota(f, "queue_length", 2);
    struct fm_call *calls[CALLS_MAX + 2];
    for (int i = 0; i < CALLS_MAX; i++) {
        calls[i] = start(f, 0, "park");
        run_until_parked(f, calls[i]);
    }
    assert_use(f, "ada", CALLS_MAX, 0);
    for (int i = CALLS_MAX; i < CALLS_MAX + 2; i++)
        calls[i] = start(f, 0, "park"); /* without a sandbox: they wait */
    assert_use(f, "ada", CALLS_MAX + 2, 2);
    refused(f, 0, "park", "queue_length");
    end(f, 0, calls[0]);
    run_until_parked(f, calls[CALLS_MAX]); /* it waits no longer */
    assert_use(f, "ada", CALLS_MAX + 1, 1);
    calls[0] = start(f, 0, "park");
    refused(f, 0, "park", "queue_length");
    for (int i = 0; i < CALLS_MAX + 2; i++)
        end(f, 0, calls[i]);
}

static void without_a_queue_calls_run_at_once_or_not_at_all(void **state)
{
    struct fixture *f = *state;
    publish(f, "echo", GUEST_ECHO);
    publish(f, "spin", GUEST_SPIN);
    struct fm_call *warm = new_call(f, 0, "echo"); /* the worker gets the modules */
    struct fm_call *spin = new_call(f, 0, "spin");
    if (fm_sched_submit(f->scheds[0], warm) == FM_SUBMIT_LATER)
        run_until_done(f, warm);
    fm_sched_call_free(f->scheds[0], warm);
    quota(f, "queue_length", 0);
    refused(f, 0, "spin", "queue_length"); /* its module is not here */
    quota(f, "queue_length", 1);
    assert_int_equal(fm_sched_submit(f->scheds[0], spin), FM_SUBMIT_LATER);
    while (spin->state == FM_CALL_QUEUED && spin->started_ns == 0)
        pass_all(f);
    quota(f, "queue_length", 0);
    refused(f, 0, "echo", "queue_length"); /* somebody waits for the thread */
    end(f, 0, spin);
    fm_sched_turn(f->scheds[0]);
    struct fm_call *echo = new_call(f, 0, "echo");
    assert_int_equal(fm_sched_submit(f->scheds[0], echo), FM_SUBMIT_DONE);
    assert_int_equal(echo->error, 0);
    fm_sched_call_free(f->scheds[0], echo);
}

static void requests_come_back_with_time(void **state)
{
    struct fixture *f = *state;
    publish(f, "park", PARK);
    quota(f, "requests_per_s", 2);
    struct fm_call *one = start(f, 0, "park");
    struct fm_call *two = start(f, 1, "park");
    struct fm_call *three = new_call(f, 0, "park");
    assert_int_equal(fm_sched_submit(f->scheds[0], three), FM_SUBMIT_DONE);
    assert_string_equal(three->limit, "requests_per_s");
    assert_in_range(three->retry_ns, 1, FM_NS_PER_S / 2);
    fm_sched_call_free(f->scheds[0], three);

    uint64_t retry_ns = 0;
    struct fm_function *function = fm_sched_function(f->scheds[1], "ada", 3, "park", 4);
    assert_int_equal(fm_sched_request(f->scheds[1], function, &retry_ns), FM_ERR_QUOTA);
    assert_in_range(retry_ns, 1, FM_NS_PER_S / 2);
    quota(f, "requests_per_s", 0);
    assert_int_equal(fm_sched_request(f->scheds[1], function, &retry_ns), 0);
    end(f, 0, one);
    end(f, 1, two);
}

static struct fm_user *accept_one(struct fixture *f, int worker, bool anyway)
{
    struct fm_user *user = NULL;
    int failed = fm_sched_backlog_enter(f->scheds[worker], "ada", anyway, &user);
    if (failed)
        assert_int_equal(failed, FM_ERR_QUOTA);
    return user;
}

static uint64_t accepted(struct fixture *f)
{
    struct fm_user_state now;
    fm_users_state(f->users, "ada", &now);
    return now.use.accepted;
}

/* Of calls that were accepted, over all workers, and beside those that wait at the door. */
static void queue_length_bounds_accepted_calls(void **state)
{
    struct fixture *f = *state;
    publish(f, "park", PARK);
    quota(f, "queue_length", 3);
    struct fm_user *places[4];
    for (int i = 0; i < 3; i++) { /* max - 1, and max */
        places[i] = accept_one(f, i % 2, false);
        assert_non_null(places[i]);
    }
    assert_null(accept_one(f, 0, false));
    assert_null(accept_one(f, 1, false));
    struct fm_call *waiting = start(f, 0, "park"); /* a place of the other kind */
    end(f, 0, waiting);
    places[3] = accept_one(f, 1, true); /* promised before */
    assert_non_null(places[3]);
    assert_int_equal(accepted(f), 4);
    fm_sched_backlog_leave(places[3]);
    assert_null(accept_one(f, 1, false));
    fm_sched_backlog_leave(places[0]);
    places[0] = accept_one(f, 1, false); /* what one worker gives the other can take */
    assert_non_null(places[0]);
    for (int i = 0; i < 3; i++)
        fm_sched_backlog_leave(places[i]);
    assert_int_equal(accepted(f), 0);
    quota(f, "queue_length", 0);
    assert_null(accept_one(f, 0, false));
}

/* The bucket holds a second's worth at once; then the user is held until there is more. */
static void cpu_percent_holds_a_user(void **state)
{
    struct fixture *f = *state;
    publish(f, "spin", GUEST_SPIN);
    publish(f, "echo", GUEST_ECHO);
    quota(f, "cpu_percent", 1); /* 10 ms at once */
    struct fm_call *spin = start(f, 0, "spin");
    struct fm_user *user = fm_user_get(f->scheds[0], "ada", 3);
    while (!user->throttled)
        pass_all(f);
    assert_in_range(spin->cpu_ns, 8 * FM_NS_PER_MS, 40 * FM_NS_PER_MS);
    assert_false(fm_sched_busy(f->scheds[0])); /* it does not spin: a timer wakes it */
    uint64_t before_ns = spin->cpu_ns;
    pass_all(f);
    assert_int_equal(spin->cpu_ns, before_ns);

    struct fm_call *echo = start(f, 0, "echo"); /* waits */
    assert_use(f, "ada", 2, 1);
    quota(f, "queue_length", 0); /* which also ends the bound */
    assert_false(user->throttled);
    run_until_done(f, echo);
    assert_int_equal(echo->error, 0);
    fm_sched_call_free(f->scheds[0], echo);
    end(f, 0, spin);
}

static void a_throttled_user_with_a_full_queue_is_told_so(void **state)
{
    struct fixture *f = *state;
    publish(f, "spin", GUEST_SPIN);
    struct fm_quota_set set = {0};
    fm_quota_set_put(&set, fm_quota_row_find("cpu_percent"), 1);
    fm_quota_set_put(&set, fm_quota_row_find("queue_length"), 1);
    assert_int_equal(fm_users_set(f->users, "ada", &set), 0);
    struct fm_call *spin = start(f, 0, "spin");
    struct fm_user *user = fm_user_get(f->scheds[0], "ada", 3);
    while (!user->throttled)
        pass_all(f);
    struct fm_call *waiting = start(f, 0, "spin");
    refused(f, 0, "spin", "cpu_percent");
    /* Time brings it back, without anybody asking. */
    uint64_t before_ns = spin->cpu_ns + waiting->cpu_ns;
    while (spin->cpu_ns + waiting->cpu_ns == before_ns) {
        fm_loop_pass(f->loops[0], UINT64_MAX);
        fm_sched_turn(f->scheds[0]);
    }
    end(f, 0, waiting);
    end(f, 0, spin);
}

static void memory_is_for_all_calls_together(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.memory_bytes = FM_MIB;
    publish_limited(f, "grow", GROW, &limits);
    quota(f, "memory_bytes", 3 * FM_MIB);
    struct fm_call *calls[3];
    for (int i = 0; i < 3; i++) { /* each needs all of its megabyte */
        calls[i] = start(f, i % 2, "grow");
        run_until_parked(f, calls[i]);
        assert_int_equal(calls[i]->memory_bytes, FM_MIB);
    }
    refused(f, 0, "grow", "memory_bytes");
    refused(f, 1, "grow", "memory_bytes");
    end(f, 1, calls[1]);
    calls[1] = start(f, 0, "grow");
    run_until_parked(f, calls[1]);
    refused(f, 0, "grow", "memory_bytes");
    for (int i = 0; i < 3; i++)
        end(f, 0, calls[i]);
}

static void calls_are_made_to_fit_the_users_memory(void **state)
{
    struct fixture *f = *state;
    publish(f, "park", PARK);
    quota(f, "memory_bytes", FM_MIB); /* less than the function's limit of 64 MiB */
    struct fm_call *call = start(f, 0, "park");
    assert_int_equal(call->limits.memory_bytes, FM_MIB);
    run_until_parked(f, call);
    refused(f, 0, "park", "memory_bytes"); /* a second could not grow to all of it */
    end(f, 0, call);
}

/* What is in use when the bound comes is counted, and over it nothing begins. */
static void a_bound_on_memory_can_come_and_go(void **state)
{
    struct fixture *f = *state;
    publish(f, "park", PARK);
    struct fm_call *one = start(f, 0, "park");
    struct fm_call *two = start(f, 1, "park");
    run_until_parked(f, one);
    run_until_parked(f, two);
    quota(f, "memory_bytes", 64 * FM_KIB);
    refused(f, 0, "park", "memory_bytes");
    end(f, 0, one);
    refused(f, 1, "park", "memory_bytes");
    end(f, 1, two);
    two = start(f, 1, "park");
    run_until_parked(f, two);
    quota(f, "memory_bytes", 0);
    one = start(f, 0, "park");
    run_until_parked(f, one);
    end(f, 1, two);
    end(f, 0, one);
}

/* Room that one worker keeps and does not use is given up when another needs it. */
static void kept_room_is_given_up(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.memory_bytes = FM_MIB;
    publish_limited(f, "small", GUEST_ECHO, &limits);
    limits.memory_bytes = 8 * FM_MIB;
    publish_limited(f, "large", PARK, &limits);
    quota(f, "memory_bytes", 8 * FM_MIB);
    struct fm_call *small = new_call(f, 1, "small");
    if (fm_sched_submit(f->scheds[1], small) == FM_SUBMIT_LATER)
        run_until_done(f, small);
    assert_int_equal(small->error, 0);
    fm_sched_call_free(f->scheds[1], small);
    assert_int_equal(fm_user_get(f->scheds[1], "ada", 3)->memory_taken, FM_MIB);
    refused(f, 0, "large", "memory_bytes");
    pass_all(f);
    struct fm_call *large = start(f, 0, "large");
    run_until_parked(f, large);
    end(f, 0, large);
}

/* --- waiting instead -------------------------------------------------------------------------- */

static void calls_can_wait_for_their_user(void **state)
{
    struct fixture *f = *state;
    publish(f, "park", PARK);
    quota(f, "concurrency", 1);
    struct fm_call *one = start(f, 0, "park");
    run_until_parked(f, one);
    struct fm_call *two = start_waiting(f, 0, "park");
    struct fm_call *far = start_waiting(f, 1, "park"); /* on another worker */
    refused(f, 0, "park", "concurrency");
    for (int i = 0; i < 4; i++)
        pass_all(f);
    assert_int_equal(two->started_ns, 0);
    assert_int_equal(far->started_ns, 0);
    end(f, 0, one);
    run_until_parked(f, two); /* the first of this worker has it */
    refused(f, 0, "park", "concurrency");
    end(f, 0, two);
    run_until_parked(f, far); /* and then it is told */
    end(f, 1, far);
}

static void calls_can_wait_for_their_function(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.concurrency = 1;
    publish_limited(f, "one", PARK, &limits);
    publish(f, "many", PARK);
    quota(f, "concurrency", 2);
    struct fm_call *first = start(f, 0, "one");
    struct fm_call *second = start_waiting(f, 0, "one");
    struct fm_call *far = start_waiting(f, 1, "one");
    struct fm_call *other = start(f, 0, "many"); /* nobody stands in its way */
    run_until_parked(f, other);
    struct fm_call *also = start_waiting(f, 0, "many"); /* for its user */
    end(f, 0, other);
    run_until_parked(f, also);
    assert_int_equal(second->started_ns, 0);
    end(f, 0, first);
    run_until_parked(f, second);
    end(f, 0, second);
    run_until_parked(f, far);
    end(f, 1, far);
    end(f, 0, also);
}

static void calls_can_wait_for_memory(void **state)
{
    struct fixture *f = *state;
    publish(f, "park", PARK);
    quota(f, "memory_bytes", FM_MIB);
    struct fm_call *one = start(f, 0, "park");
    run_until_parked(f, one);
    struct fm_call *two = start_waiting(f, 0, "park");
    struct fm_call *far = start_waiting(f, 1, "park");
    for (int i = 0; i < 4; i++)
        pass_all(f);
    assert_int_equal(two->started_ns | far->started_ns, 0);
    end(f, 0, one);
    while (two->state != FM_CALL_PARKED && far->state != FM_CALL_PARKED)
        pass_all(f);
    bool here = two->state == FM_CALL_PARKED;
    end(f, here ? 0 : 1, here ? two : far);
    run_until_parked(f, here ? far : two);
    end(f, here ? 1 : 0, here ? far : two);
}

static void waiting_calls_count_in_the_queue_and_have_deadlines(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.wall_ms = 20;
    publish(f, "park", PARK);
    publish_limited(f, "short", PARK, &limits);
    struct fm_quota_set set = {0};
    fm_quota_set_put(&set, fm_quota_row_find("concurrency"), 1);
    fm_quota_set_put(&set, fm_quota_row_find("queue_length"), 1);
    assert_int_equal(fm_users_set(f->users, "ada", &set), 0);
    struct fm_call *one = start(f, 0, "park");
    run_until_parked(f, one);
    struct fm_call *waiting = start_waiting(f, 0, "short");
    struct fm_call *another = start_waiting(f, 0, "park"); /* they need no place in the queue */
    assert_use(f, "ada", 3, 0);
    end(f, 0, another);
    while (waiting->state != FM_CALL_DONE)
        fm_loop_pass(f->loops[0], UINT64_MAX);
    assert_int_equal(waiting->error, FM_ERR_DEADLINE);
    fm_sched_call_free(f->scheds[0], waiting);
    waiting = start_waiting(f, 0, "park");
    end(f, 0, waiting); /* cancelled in line */
    end(f, 0, one);
}

/* --- changes ---------------------------------------------------------------------------------- */

struct waiter {
    struct fm_users_change change;
    bool done;
};

static void on_changed(struct fm_users_change *change)
{
    FM_CONTAINER_OF(change, struct waiter, change)->done = true;
}

static void change(struct fixture *f, struct waiter *waiter)
{
    memcpy(waiter->change.name, "ada", 4);
    waiter->change.on_done = on_changed;
    assert_int_equal(fm_users_change_start(f->users, &waiter->change, fm_loop_mailbox(f->loops[0])),
                     0);
    while (!waiter->done)
        pass_all(f);
}

static void a_change_is_kept_and_heard_by_all(void **state)
{
    struct fixture *f = *state;
    publish(f, "park", PARK);
    struct fm_call *calls[2] = {start(f, 0, "park"), start(f, 1, "park")};
    struct waiter waiter = {0};
    fm_quota_set_put(&waiter.change.set, fm_quota_row_find("concurrency"), 2);
    fm_quota_set_put(&waiter.change.set, fm_quota_row_find("weight"), 300);
    change(f, &waiter);
    assert_int_equal(waiter.change.error.code, 0);
    assert_int_equal(f->kept.values.concurrency, 2);
    for (int i = 0; i < WORKERS; i++)
        refused(f, i, "park", "concurrency");
    end(f, 0, calls[0]);
    calls[0] = start(f, 0, "park");

    /* The next one changes what it names, and takes back what it clears. */
    waiter = (struct waiter){0};
    fm_quota_set_put(&waiter.change.cleared, fm_quota_row_find("concurrency"), 0);
    change(f, &waiter);
    struct fm_user_state now;
    fm_users_state(f->users, "ada", &now);
    assert_int_equal(now.quotas.concurrency, 10000);
    assert_int_equal(now.quotas.weight, 300);
    assert_false(fm_quota_set_has(&f->kept, fm_quota_row_find("concurrency")));
    end(f, 0, calls[0]);
    end(f, 1, calls[1]);
}

static void what_cannot_be_kept_is_not_in_force(void **state)
{
    struct fixture *f = *state;
    f->keeping_fails = FM_ERR_STORAGE_FULL;
    struct waiter waiter = {0};
    fm_quota_set_put(&waiter.change.set, fm_quota_row_find("weight"), 7);
    change(f, &waiter);
    assert_int_equal(waiter.change.error.code, FM_ERR_STORAGE_FULL);
    assert_string_equal(waiter.change.error.text, "the disk is full");
    struct fm_user_state now;
    fm_users_state(f->users, "ada", &now);
    assert_int_equal(now.quotas.weight, 100);
}

/* --- every way out ---------------------------------------------------------------------------- */

/* Refused, loading, inline, queued, parked, cancelled in each place, over a limit, drained: the
 * counts are looked at after each, and in the end by the teardown. */
static void every_way_out_gives_back(void **state)
{
    struct fixture *f = *state;
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.cpu_ms = 3;
    publish(f, "echo", GUEST_ECHO);
    publish(f, "park", PARK);
    publish_limited(f, "spin", GUEST_SPIN, &limits);
    limits.concurrency = 1;
    limits.memory_bytes = 8 * 64 * FM_KIB; /* of the 16 pages that it wants */
    publish_limited(f, "grow", GROW, &limits);
    quota(f, "memory_bytes", 200 * FM_MIB);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) { /* loaded or queued, later inline */
            static const char *const names[] = {"echo", "spin", "park", "grow"};
            struct fm_call *call = new_call(f, i % 2, names[i]);
            bool later = fm_sched_submit(f->scheds[i % 2], call) == FM_SUBMIT_LATER;
            if (later && i < 2)
                run_until_done(f, call);
            for (int pass = 0; later && pass < round; pass++)
                pass_all(f);
            if (i == 3)
                refused(f, 0, "grow", "concurrency");
            fm_sched_cancel(f->scheds[i % 2], call, round ? FM_ERR_CANCELLED : FM_ERR_DEADLINE);
            assert_int_equal(call->state, FM_CALL_DONE);
            fm_sched_call_free(f->scheds[i % 2], call);
            assert_use(f, "ada", 0, 0);
        }
    }
    struct fm_call *parked = start(f, 0, "park");
    run_until_parked(f, parked);
    fm_sched_drain(f->scheds[0]);
    struct fm_call *late = new_call(f, 0, "park");
    assert_int_equal(fm_sched_submit(f->scheds[0], late), FM_SUBMIT_DONE);
    assert_int_equal(late->error, FM_ERR_BUSY);
    fm_sched_call_free(f->scheds[0], late);
    end(f, 0, parked);
    fm_sched_call_free(f->scheds[1], new_call(f, 1, "park")); /* never submitted */
}

/* The engine ends the process when it gets no memory, so what fails here are the allocations before
 * it is asked: `nth` of making the call, or the one for its guest. */
static void with_failure(struct fixture *f, const char *name, long making, long running)
{
    struct fm_sched *sched = f->scheds[0];
    struct fm_function *function = fm_sched_function(sched, "ada", 3, name, strlen(name));
    struct fm_call *call = NULL;
    torture_fail_nth(making);
    int failed = fm_sched_call_new(sched, function, &call);
    torture_fail_nth(0);
    if (failed) {
        assert_int_equal(failed, FM_ERR_NOMEM);
        return;
    }
    call->on_done = on_done;
    call->wait_for_quota = making % 2;
    free(call->guest_room); /* of the call that was here before */
    call->guest_room = NULL;
    torture_fail_nth(running);
    enum fm_submit submitted = fm_sched_submit(sched, call);
    if (running > 0 && submitted == FM_SUBMIT_LATER)
        fm_sched_turn(sched);
    torture_fail_nth(0);
    fm_sched_cancel(sched, call, FM_ERR_CANCELLED);
    assert_int_equal(call->state, FM_CALL_DONE);
    fm_sched_call_free(sched, call);
    assert_use(f, "ada", 0, 0);
}

static void memory_may_fail(void **state)
{
    struct fixture *f = *state;
    publish(f, "echo", GUEST_ECHO);
    struct fm_quota_set set = {0};
    fm_quota_set_put(&set, fm_quota_row_find("memory_bytes"), 256 * FM_MIB);
    fm_quota_set_put(&set, fm_quota_row_find("concurrency"), 2);
    fm_quota_set_put(&set, fm_quota_row_find("requests_per_s"), 1000000);
    fm_quota_set_put(&set, fm_quota_row_find("cpu_percent"), 25600);
    assert_int_equal(fm_users_set(f->users, "ada", &set), 0);
    for (long making = 12; making >= 0; making--)
        with_failure(f, "echo", making, 0);
    for (long running = 1; running >= 0; running--)
        with_failure(f, "echo", 0, running);
    struct fm_sched_counts counts;
    fm_sched_counts(f->scheds[0], &counts);
    assert_int_equal(counts.calls, 0);
    assert_int_equal(counts.sandboxes, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(concurrency_is_exact_over_all_workers),
        TEST(queue_length_is_exact),
        TEST(without_a_queue_calls_run_at_once_or_not_at_all),
        TEST(requests_come_back_with_time),
        TEST(queue_length_bounds_accepted_calls),
        TEST(cpu_percent_holds_a_user),
        TEST(a_throttled_user_with_a_full_queue_is_told_so),
        TEST(memory_is_for_all_calls_together),
        TEST(calls_are_made_to_fit_the_users_memory),
        TEST(a_bound_on_memory_can_come_and_go),
        TEST(kept_room_is_given_up),
        TEST(calls_can_wait_for_their_user),
        TEST(calls_can_wait_for_their_function),
        TEST(calls_can_wait_for_memory),
        TEST(waiting_calls_count_in_the_queue_and_have_deadlines),
        TEST(a_change_is_kept_and_heard_by_all),
        TEST(what_cannot_be_kept_is_not_in_force),
        TEST(every_way_out_gives_back),
        TEST(memory_may_fail),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
