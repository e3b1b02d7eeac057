/* test_handover.c - calls that run on another worker than their own: given, run, parked, cancelled
 * in every place and on every way, drained, recalled.  First two workers that this thread drives,
 * one step at a time; then two threads, for the thread sanitizer. */
#include "stage.h"

#include <pthread.h>

#include "base/clock.h"
#include "loop/loop.h"
#include "sched/life.h"
#include "sched/sched.h"
#include "sched/sched_private.h"

#define WORKERS 2
#define CALLS_MAX 6
#define HOME 0
#define OTHER 1

/* Waits for the milliseconds in its input, then echoes it. */
#define NAP                                                                                        \
    "(module " GUEST_INPUT " (import \"wasi_snapshot_preview1\" \"poll_oneoff\""                   \
    "  (func $p (param i32 i32 i32 i32) (result i32)))"                                            \
    " (import \"faasm\" \"output_write\" (func $w (param i32 i32) (result i32)))" GUEST_MEMORY     \
    " (func (export \"_start\")"                                                                   \
    "  (drop (call $r (i32.const 0) (i32.const 256) (i32.const 8)))"                               \
    "  (i32.store (i32.const 16) (i32.const 1))"                                                   \
    "  (i64.store (i32.const 24) (i64.mul (i64.load (i32.const 256)) (i64.const 1000000)))"        \
    "  (drop (call $p (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))"                \
    "  (drop (call $w (i32.const 256) (i32.const 8)))))"

struct fixture {
    struct stage stage;
    struct fm_users *users;
    struct fm_peers *peers;
    struct fm_loop *loops[WORKERS];
    struct fm_sched *scheds[WORKERS];
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    stage_begin(&f->stage, WORKERS, 1, 16);
    const struct fm_users_config users = {.workers = WORKERS};
    assert_int_equal(fm_users_new(&users, &f->users), 0);
    assert_int_equal(fm_peers_new(WORKERS, &f->peers), 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        assert_int_equal(fm_loop_new(&f->loops[i]), 0);
        const struct fm_sched_config sched = {.worker = i,
                                              .workers = WORKERS,
                                              .loop = f->loops[i],
                                              .modules = f->stage.modules,
                                              .ticker = f->stage.ticker,
                                              .users = f->users,
                                              .peers = f->peers,
                                              .calls_max = CALLS_MAX,
                                              .queue_max = 1000};
        assert_int_equal(fm_sched_new(&sched, &f->scheds[i]), 0);
    }
    *state = f;
    return 0;
}

static struct fm_sched_counts counts(struct fixture *f, int worker)
{
    struct fm_sched_counts now;
    fm_sched_counts(f->scheds[worker], &now);
    return now;
}

static void assert_all_back(struct fixture *f)
{
    for (int i = 0; i < WORKERS; i++) {
        struct fm_sched_counts now = counts(f, i);
        assert_int_equal(now.calls, 0);
        assert_int_equal(now.away, 0);
        assert_int_equal(now.borrowed, 0);
        assert_int_equal(now.sandboxes, 0);
        assert_int_equal(now.queued, 0);
        assert_int_equal(now.parked, 0);
    }
    static const char *const names[] = {"ada", "bob"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(names); i++) {
        struct fm_account *account = NULL;
        assert_int_equal(fm_users_account(f->users, names[i], 3, &account), 0);
        struct fm_user_state now;
        fm_users_state(f->users, names[i], &now);
        assert_int_equal(now.use.calls | now.use.queued | now.use.memory_bytes, 0);
    }
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    assert_all_back(f);
    for (int i = 0; i < WORKERS; i++)
        fm_sched_free(f->scheds[i]);
    for (int i = 0; i < 2; i++) {
        static const char *const names[] = {"ada", "bob"};
        struct fm_account *account = NULL;
        struct fm_quotas quotas;
        assert_int_equal(fm_users_account(f->users, names[i], 3, &account), 0);
        fm_account_quotas(account, &quotas);
        assert_int_equal(atomic_load(&account->concurrency.credits), quotas.concurrency);
        assert_int_equal(atomic_load(&account->waiting.credits), quotas.queue_length);
        assert_int_equal(atomic_load(&account->memory.credits), quotas.memory_bytes);
    }
    fm_users_free(f->users);
    fm_peers_free(f->peers);
    stage_end(&f->stage);
    for (int i = 0; i < WORKERS; i++)
        fm_loop_free(f->loops[i]);
    free(f);
    return 0;
}

static void publish(struct fixture *f, const char *user, const char *name, const char *text,
                    uint64_t cpu_ms)
{
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.cpu_ms = cpu_ms;
    limits.memory_bytes = FM_MIB;
    struct fm_code *code = stage_code(&f->stage, user, name, text, &limits);
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(fm_sched_publish(f->scheds[i], code, f->stage.sequence), 0);
}

static void on_done(struct fm_call *call)
{
    *(bool *)call->owner = true;
}

static struct fm_call *new_call(struct fixture *f, int worker, const char *user, const char *name,
                                bool *ended)
{
    struct fm_function *function =
        fm_sched_function(f->scheds[worker], user, strlen(user), name, strlen(name));
    struct fm_call *call = NULL;
    assert_non_null(function);
    assert_int_equal(fm_sched_call_new(f->scheds[worker], function, &call), 0);
    *ended = false;
    call->owner = ended;
    call->on_done = on_done;
    return call;
}

struct pair { /* two calls of ada at HOME: one stays, one can be given */
    struct fm_call *calls[2];
    bool ended[2];
};

/* Not inline: it waits for its turn. */
static void submit(struct fixture *f, struct fm_call *call)
{
    f->scheds[HOME]->pass_guest_ns = FM_SLICE_NS;
    assert_int_equal(fm_sched_submit(f->scheds[HOME], call), FM_SUBMIT_LATER);
}

static void start_pair(struct fixture *f, const char *name, struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        pair->calls[i] = new_call(f, HOME, "ada", name, &pair->ended[i]);
        submit(f, pair->calls[i]);
    }
}

static void turn(struct fixture *f, int worker)
{
    fm_sched_turn(f->scheds[worker]);
}

static void deliver(struct fixture *f, int worker)
{
    fm_loop_pass(f->loops[worker], 0);
}

static struct fm_task *task_of(const struct fm_call *call)
{
    return call->task;
}

/* HOME gives one of the two; it is on its way to OTHER. */
static int give_one(struct fixture *f, const struct pair *pair)
{
    fm_handover_give(f->scheds[HOME], NULL);
    assert_int_equal(counts(f, HOME).away, 1);
    return task_of(pair->calls[1])->away ? 1 : 0;
}

/* The same, of endless calls that have begun. */
static int give_one_started(struct fixture *f, struct pair *pair)
{
    assert_true(fm_balance_close(f->peers, OTHER)); /* until both have */
    start_pair(f, "spin", pair);
    while (counts(f, HOME).sandboxes < 2)
        turn(f, HOME);
    fm_balance_received(f->peers, OTHER);
    fm_balance_idle(f->peers, OTHER, true);
    return give_one(f, pair);
}

static void free_pair(struct fixture *f, struct pair *pair)
{
    for (int i = 0; i < 2; i++) {
        if (!pair->ended[i])
            fm_sched_cancel(f->scheds[HOME], pair->calls[i], FM_ERR_CANCELLED);
        while (!pair->ended[i]) {
            deliver(f, OTHER);
            deliver(f, HOME);
        }
        fm_sched_call_free(f->scheds[HOME], pair->calls[i]);
    }
}

/* --- step by step ----------------------------------------------------------------------------- */

static void a_backlog_goes_to_an_idle_worker(void **state)
{
    struct fixture *f = *state;
    struct pair pair;
    publish(f, "ada", "spin", GUEST_SPIN, 5);
    start_pair(f, "spin", &pair);
    int away = give_one(f, &pair);
    struct fm_progress progress;
    fm_sched_progress(pair.calls[away], &progress);
    assert_int_equal(progress.state, FM_CALL_QUEUED);
    assert_true(progress.away && progress.started_ns == 0 && !progress.cancelled);
    fm_sched_progress(pair.calls[!away], &progress);
    assert_false(progress.away);
    deliver(f, OTHER);
    assert_int_equal(counts(f, OTHER).borrowed, 1);
    assert_int_equal(counts(f, OTHER).calls, 0);
    while (counts(f, OTHER).borrowed > 0)
        turn(f, OTHER);
    assert_false(pair.ended[away]); /* only its own worker ends it */
    deliver(f, HOME);
    assert_true(pair.ended[away]);
    fm_sched_progress(pair.calls[away], &progress);
    assert_true(!progress.away && progress.state == FM_CALL_DONE);
    assert_int_equal(pair.calls[away]->error, FM_ERR_GUEST_LIMIT);
    assert_true(pair.calls[away]->cpu_ns >= 5 * FM_NS_PER_MS);
    assert_int_equal(counts(f, HOME).finished, 1);
    assert_int_equal(counts(f, OTHER).finished, 0);
    struct fm_user_state now;
    fm_users_state(f->users, "ada", &now);
    assert_true(now.use.cpu_ns >= 5 * FM_NS_PER_MS); /* charged where it was used */
    free_pair(f, &pair);
}

static void one_call_is_no_backlog(void **state)
{
    struct fixture *f = *state;
    struct pair pair;
    publish(f, "ada", "spin", GUEST_SPIN, 1000);
    pair.calls[0] = new_call(f, HOME, "ada", "spin", &pair.ended[0]);
    submit(f, pair.calls[0]);
    for (int i = 0; i < 5; i++)
        turn(f, HOME);
    assert_int_equal(counts(f, HOME).given, 0);
    pair.calls[1] = new_call(f, HOME, "ada", "spin", &pair.ended[1]);
    pair.calls[1]->pinned = true;
    submit(f, pair.calls[1]);
    assert_int_equal(give_one(f, &pair), 0); /* not the one that must stay */
    free_pair(f, &pair);
}

static void a_guest_moves_in_the_middle_and_keeps_its_state(void **state)
{
    struct fixture *f = *state;
    struct pair pair;
    publish(f, "ada", "spin", GUEST_SPIN, 1000);
    int away = give_one_started(f, &pair);
    uint64_t cpu_ns = task_of(pair.calls[away])->left.cpu_ns;
    deliver(f, OTHER);
    turn(f, OTHER);
    turn(f, OTHER);
    assert_int_equal(counts(f, OTHER).sandboxes, 0); /* it is its home's, wherever it is */
    assert_int_equal(counts(f, HOME).sandboxes, 2);
    assert_true(pair.calls[away]->cpu_ns > cpu_ns);
    free_pair(f, &pair);
}

static void a_call_that_waits_goes_home_first(void **state)
{
    struct fixture *f = *state;
    static const uint64_t naps_ms[2] = {30, 1};
    struct pair pair;
    publish(f, "ada", "nap", NAP, 1000);
    publish(f, "bob", "spin", GUEST_SPIN, 1000);
    bool ended = false;
    struct fm_call *spin = new_call(f, HOME, "bob", "spin", &ended); /* so that the naps queue */
    spin->pinned = true;
    submit(f, spin);
    for (int i = 0; i < 2; i++) {
        pair.calls[i] = new_call(f, HOME, "ada", "nap", &pair.ended[i]);
        pair.calls[i]->input = (const uint8_t *)&naps_ms[i];
        pair.calls[i]->input_bytes = sizeof(naps_ms[i]);
        submit(f, pair.calls[i]);
    }
    int away = give_one(f, &pair);
    deliver(f, OTHER);
    turn(f, OTHER);
    assert_int_equal(counts(f, OTHER).borrowed, 0);
    assert_int_equal(counts(f, OTHER).parked, 0);
    deliver(f, HOME);
    assert_int_equal(pair.calls[away]->state, FM_CALL_PARKED);
    fm_sched_cancel(f->scheds[HOME], spin, FM_ERR_CANCELLED);
    fm_sched_call_free(f->scheds[HOME], spin);
    while (!pair.ended[0] || !pair.ended[1]) {
        for (int i = 0; i < WORKERS; i++) {
            deliver(f, i);
            turn(f, i);
        }
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pair.calls[i]->error, 0);
        assert_memory_equal(pair.calls[i]->output.data, &naps_ms[i], sizeof(naps_ms[i]));
    }
    free_pair(f, &pair);
}

static void deadlines_hold_everywhere(void **state)
{
    struct fixture *f = *state;
    struct pair pair;
    publish(f, "ada", "spin", GUEST_SPIN, 1000000);
    start_pair(f, "spin", &pair);
    int away = give_one(f, &pair);
    pair.calls[away]->deadline_ns = fm_clock_monotonic_ns() + 5 * FM_NS_PER_MS;
    deliver(f, OTHER);
    while (!pair.ended[away]) { /* without a turn: by its timer */
        fm_loop_pass(f->loops[OTHER], counts(f, OTHER).borrowed ? UINT64_MAX : 0);
        deliver(f, HOME);
    }
    assert_int_equal(pair.calls[away]->error, FM_ERR_DEADLINE);
    free_pair(f, &pair);
}

/* --- cancelling, wherever it is --------------------------------------------------------------- */

static void assert_cancelled(struct pair *pair, int which)
{
    assert_true(pair->ended[which]);
    assert_int_equal(pair->calls[which]->error, FM_ERR_CANCELLED);
}

static void cancel(struct fixture *f, struct pair *pair, int which)
{
    fm_sched_cancel(f->scheds[HOME], pair->calls[which], FM_ERR_CANCELLED);
    fm_sched_cancel(f->scheds[HOME], pair->calls[which], FM_ERR_DEADLINE); /* the first stays */
    assert_false(pair->ended[which]);
}

static void cancelled_on_the_way_there(void **state)
{
    struct fixture *f = *state;
    struct pair pair;
    publish(f, "ada", "spin", GUEST_SPIN, 1000);
    start_pair(f, "spin", &pair);
    int away = give_one(f, &pair);
    cancel(f, &pair, away); /* the message comes right after the task */
    deliver(f, OTHER);
    assert_int_equal(counts(f, OTHER).borrowed, 0);
    deliver(f, HOME);
    deliver(f, HOME);
    assert_cancelled(&pair, away);
    assert_int_equal(counts(f, OTHER).slices, 0);
    free_pair(f, &pair);
}

static void cancelled_in_the_borrowers_queue(void **state)
{
    struct fixture *f = *state;
    for (int turns = 0; turns < 3; turns += 2) { /* new, and in the middle of its loop */
        struct pair pair;
        if (turns == 0)
            publish(f, "ada", "spin", GUEST_SPIN, 1000);
        start_pair(f, "spin", &pair);
        int away = give_one(f, &pair);
        deliver(f, OTHER);
        for (int i = 0; i < turns; i++)
            turn(f, OTHER);
        cancel(f, &pair, away);
        deliver(f, OTHER);
        assert_int_equal(counts(f, OTHER).sandboxes, 0);
        assert_int_equal(counts(f, OTHER).queued, 0);
        deliver(f, HOME);
        assert_cancelled(&pair, away);
        free_pair(f, &pair);
        fm_handover_tell(f->scheds[OTHER]);
    }
}

static void cancelled_on_the_way_back(void **state)
{
    struct fixture *f = *state;
    struct pair pair;
    publish(f, "ada", "spin", GUEST_SPIN, 2);
    start_pair(f, "spin", &pair);
    int away = give_one(f, &pair);
    deliver(f, OTHER);
    while (counts(f, OTHER).borrowed > 0)
        turn(f, OTHER);
    fm_sched_cancel(f->scheds[HOME], pair.calls[away], FM_ERR_CANCELLED);
    deliver(f, HOME); /* the task; its message is here as well, to itself and back */
    deliver(f, HOME);
    deliver(f, HOME);
    assert_true(pair.ended[away]);
    assert_int_equal(pair.calls[away]->error, FM_ERR_GUEST_LIMIT); /* it had ended before */
    free_pair(f, &pair);
}

/* Lent, and then given back by the borrower, whose own call must stay: the message about it meets
 * it on this way. */
static void cancelled_while_it_is_given_back(void **state)
{
    struct fixture *f = *state;
    struct pair pair;
    publish(f, "ada", "spin", GUEST_SPIN, 1000);
    publish(f, "bob", "spin", GUEST_SPIN, 1000);
    start_pair(f, "spin", &pair);
    int away = give_one(f, &pair);
    deliver(f, OTHER);
    bool ended = false;
    struct fm_call *own = new_call(f, OTHER, "bob", "spin", &ended);
    own->pinned = true;
    assert_int_equal(fm_sched_submit(f->scheds[OTHER], own), FM_SUBMIT_LATER);
    fm_sched_cancel(f->scheds[HOME], pair.calls[1 - away], FM_ERR_CANCELLED);
    turn(f, HOME); /* has nothing left, and says so */
    while (counts(f, OTHER).borrowed > 0)
        turn(f, OTHER);
    assert_int_equal(counts(f, OTHER).given, 1);
    cancel(f, &pair, away);
    deliver(f, HOME);
    deliver(f, HOME);
    deliver(f, HOME);
    assert_cancelled(&pair, away);
    fm_sched_cancel(f->scheds[OTHER], own, FM_ERR_CANCELLED);
    fm_sched_call_free(f->scheds[OTHER], own);
    free_pair(f, &pair);
}

static void what_is_borrowed_can_be_recalled(void **state)
{
    struct fixture *f = *state;
    struct pair pair;
    publish(f, "ada", "spin", GUEST_SPIN, 1000);
    for (int delivered = 0; delivered < 2; delivered++) {
        start_pair(f, "spin", &pair);
        int away = give_one(f, &pair);
        if (delivered) {
            deliver(f, OTHER);
            turn(f, OTHER);
        }
        fm_sched_recall(f->scheds[OTHER]);
        deliver(f, OTHER); /* what comes late goes back at once */
        deliver(f, HOME);
        assert_int_equal(counts(f, HOME).away, 0);
        assert_int_equal(pair.calls[away]->state, FM_CALL_QUEUED);
        free_pair(f, &pair);
        f->scheds[OTHER]->recalled = false;
        fm_balance_idle(f->peers, OTHER, true);
    }
}

static void a_draining_worker_takes_nothing_and_ends_what_it_has(void **state)
{
    struct fixture *f = *state;
    struct pair pair;
    publish(f, "ada", "spin", GUEST_SPIN, 5);
    start_pair(f, "spin", &pair);
    int away = give_one(f, &pair);
    fm_sched_drain(f->scheds[OTHER]);
    assert_false(fm_sched_drained(f->scheds[OTHER])); /* something is on its way */
    deliver(f, OTHER);
    assert_false(fm_sched_drained(f->scheds[OTHER]));
    while (counts(f, OTHER).borrowed > 0)
        turn(f, OTHER);
    assert_true(fm_sched_drained(f->scheds[OTHER]));
    deliver(f, HOME);
    assert_true(pair.ended[away]);
    free_pair(f, &pair);

    start_pair(f, "spin", &pair);
    for (int i = 0; i < 5; i++)
        turn(f, HOME);
    assert_int_equal(counts(f, HOME).away, 0);
    free_pair(f, &pair);
    fm_sched_drain(f->scheds[HOME]);
    assert_true(fm_sched_drained(f->scheds[HOME]));
}

static void memory_is_charged_where_the_guest_is(void **state)
{
    struct fixture *f = *state;
    struct fm_quota_set set = {0};
    struct pair pair;
    publish(f, "ada", "spin", GUEST_SPIN, 1000);
    fm_quota_set_put(&set, fm_quota_row_find("memory_bytes"), 8 * FM_MIB);
    for (int round = 0; round < 3; round++) {
        (void)give_one_started(f, &pair);
        /* A bound that comes, and goes, while a guest is on its way; HOME hears of it first. */
        assert_int_equal(fm_users_set(f->users, "ada", &set), 0);
        fm_user_changed(f->scheds[HOME], "ada");
        deliver(f, OTHER);
        fm_user_changed(f->scheds[OTHER], "ada");
        turn(f, OTHER);
        struct fm_user_state now;
        fm_users_state(f->users, "ada", &now);
        assert_int_equal(now.use.memory_bytes, 2 * 64 * FM_KIB);
        free_pair(f, &pair);
        fm_handover_tell(f->scheds[OTHER]);
        set.given = round == 1 ? set.given : set.given ^ 1u << 5;
    }
}

/* --- two threads ------------------------------------------------------------------------------ */

#define CALLS 120

struct thread {
    struct fixture *f;
    int worker;
    pthread_t thread;
    struct fm_message stop;
    bool stopping;
    struct fm_call *calls[CALLS];
    bool ended[CALLS];
    unsigned started;
    unsigned finished;
};

static void on_stop(struct fm_message *message)
{
    FM_CONTAINER_OF(message, struct thread, stop)->stopping = true;
}

static void thread_call(struct thread *thread)
{
    static const uint64_t nap_ms = 2;
    static const char *const names[] = {"spin", "nap", "spin", "echo"};
    unsigned i = thread->started++;
    struct fm_sched *sched = thread->f->scheds[thread->worker];
    struct fm_call *call =
        new_call(thread->f, thread->worker, i % 3 ? "ada" : "bob", names[i % 4], &thread->ended[i]);
    call->input = (const uint8_t *)&nap_ms;
    call->input_bytes = sizeof(nap_ms);
    thread->calls[i] = call;
    if (fm_sched_submit(sched, call) == FM_SUBMIT_DONE)
        thread->ended[i] = true;
}

/* Cancels some, and frees what has ended. */
static void look_after(struct thread *thread, unsigned pass)
{
    struct fm_sched *sched = thread->f->scheds[thread->worker];
    for (unsigned i = 0; i < thread->started; i++) {
        struct fm_call *call = thread->calls[i];
        if (!call)
            continue;
        if (!thread->ended[i] && (i * 7 + pass) % 50 == 0)
            fm_sched_cancel(sched, call, FM_ERR_CANCELLED);
        if (!thread->ended[i])
            continue;
        if (call->error && call->error != FM_ERR_CANCELLED && call->error != FM_ERR_GUEST_LIMIT)
            fail_msg("%s: %s", fm_err_code(call->error), call->detail);
        thread->calls[i] = NULL;
        thread->finished++;
        fm_sched_call_free(sched, call);
    }
}

/* Worker 0 has all the calls; worker 1 lends a hand. */
static void *work(void *data)
{
    struct thread *thread = data;
    struct fm_sched *sched = thread->f->scheds[thread->worker];
    fm_engine_thread_init();
    for (unsigned pass = 0; !thread->stopping; pass++) {
        bool more = thread->worker == HOME && thread->finished < CALLS;
        fm_loop_pass(thread->f->loops[thread->worker],
                     more || fm_sched_busy(sched) ? 0 : UINT64_MAX);
        if (thread->worker == HOME && thread->started < CALLS &&
            thread->started < thread->finished + 20)
            thread_call(thread);
        fm_sched_turn(sched);
        look_after(thread, pass);
        if (thread->worker == HOME && thread->finished == CALLS)
            break;
    }
    return NULL;
}

static void two_threads_share_the_work(void **state)
{
    struct fixture *f = *state;
    static struct thread threads[WORKERS];
    static const char *const users[] = {"ada", "bob"};
    for (int i = 0; i < 2; i++) {
        publish(f, users[i], "spin", GUEST_SPIN, 4);
        publish(f, users[i], "nap", NAP, 1000);
        publish(f, users[i], "echo", GUEST_ECHO, 1000);
    }
    memset(threads, 0, sizeof(threads));
    for (int i = 0; i < WORKERS; i++) {
        threads[i] = (struct thread){.f = f, .worker = i, .stop = {.on_message = on_stop}};
        assert_int_equal(pthread_create(&threads[i].thread, NULL, work, &threads[i]), 0);
    }
    assert_int_equal(pthread_join(threads[HOME].thread, NULL), 0);
    fm_mailbox_post(fm_loop_mailbox(f->loops[OTHER]), &threads[OTHER].stop);
    assert_int_equal(pthread_join(threads[OTHER].thread, NULL), 0);
    for (int i = 0; i < 3; i++) {
        deliver(f, HOME);
        deliver(f, OTHER);
    }
    assert_int_equal(threads[HOME].finished, CALLS);
    assert_true(counts(f, OTHER).slices > 0); /* it did */
    assert_int_equal(counts(f, OTHER).received, counts(f, HOME).given);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_backlog_goes_to_an_idle_worker),
        TEST(one_call_is_no_backlog),
        TEST(a_guest_moves_in_the_middle_and_keeps_its_state),
        TEST(a_call_that_waits_goes_home_first),
        TEST(deadlines_hold_everywhere),
        TEST(cancelled_on_the_way_there),
        TEST(cancelled_in_the_borrowers_queue),
        TEST(cancelled_on_the_way_back),
        TEST(cancelled_while_it_is_given_back),
        TEST(what_is_borrowed_can_be_recalled),
        TEST(a_draining_worker_takes_nothing_and_ends_what_it_has),
        TEST(memory_is_charged_where_the_guest_is),
        TEST(two_threads_share_the_work),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
