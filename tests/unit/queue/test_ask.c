/* test_ask.c - cancelling in every state, waiting for an end, synchronous calls, chained calls. */
#include "queue_fixture.h"

static void publish_all(void)
{
    publish("echo", GUEST_ECHO);
    publish("spin", GUEST_SPIN);
    publish("call", CHAIN);
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    limits.input_bytes = 3;
    publish_limited("tiny", GUEST_ECHO, &limits);
}

/* --- cancelling ------------------------------------------------------------------------------- */

static void cancelling_in_every_state(void **state)
{
    (void)state;
    f.config.running_max = 1;
    fixture_begin(publish_all);
    enum fm_call_status status;
    struct fm_id running = submit("spin", "");
    struct fm_id due = submit("echo", "x");
    struct fm_id later;
    assert_int_equal(submit_with("echo", "x", NULL, 3600 * FM_NS_PER_S, &later), 0);

    assert_int_equal(change(FM_QUEUE_CANCEL, due, &status), 0);
    assert_int_equal(status, FM_STATUS_CANCELLED);
    expect_end(due, FM_STATUS_CANCELLED, 0, "");
    assert_int_equal(change(FM_QUEUE_CANCEL, later, &status), 0);
    assert_int_equal(status, FM_STATUS_CANCELLED);
    expect_end(later, FM_STATUS_CANCELLED, 0, "");
    assert_int_equal(change(FM_QUEUE_CANCEL, running, &status), 0);
    assert_int_equal(status, FM_STATUS_RUNNING); /* not yet ended, but it will */
    expect_end(running, FM_STATUS_CANCELLED, 1, "");
    assert_int_equal(change(FM_QUEUE_CANCEL, running, &status), 0); /* nothing changes */
    assert_int_equal(status, FM_STATUS_CANCELLED);

    struct fm_id ended = submit("echo", "x");
    expect_end(ended, FM_STATUS_SUCCEEDED, 1, "x");
    assert_int_equal(change(FM_QUEUE_CANCEL, ended, &status), 0);
    assert_int_equal(status, FM_STATUS_SUCCEEDED);
    ended.high ^= 1;
    assert_int_equal(change(FM_QUEUE_CANCEL, ended, NULL), FM_ERR_NOT_FOUND);
    UNTIL(counts().busy == 0);
    assert_int_equal(counts().due + counts().later, 0);
    assert_int_equal(counts().cancelled, 3);
    fixture_end();
}

/* A cancellation that comes while the call is about to start, run or end: one of them wins, and
 * everybody sees the same. */
static void races_have_one_winner(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    unsigned cancelled = 0;
    for (int passes = 0; passes < 40; passes++) {
        struct submission submission;
        assert_int_equal(begin_submit(0, "echo", "x", NULL, 0, &submission), 0);
        UNTIL(submission.done);
        for (int i = 0; i < passes % 8; i++)
            pass_all();
        enum fm_call_status said;
        struct fm_id id = submission.submit.id;
        assert_int_equal(change(FM_QUEUE_CANCEL, id, &said), 0);
        struct fm_calls_get get = wait_for_end(id);
        if (said == FM_STATUS_SUCCEEDED)
            assert_int_equal(get.record.status, FM_STATUS_SUCCEEDED);
        else
            assert_int_equal(get.record.status, FM_STATUS_CANCELLED);
        cancelled += get.record.status == FM_STATUS_CANCELLED;
        fm_calls_get_done(&get);
    }
    UNTIL(counts().busy == 0);
    assert_int_equal(counts().ended, 40);
    assert_int_equal(counts().cancelled, cancelled);
    fixture_end();
}

/* --- waiting ---------------------------------------------------------------------------------- */

struct waiter {
    struct fm_queue_wait wait;
    bool over;
};

static void on_end(struct fm_queue_wait *wait)
{
    FM_CONTAINER_OF(wait, struct waiter, wait)->over = true;
}

static void begin_wait(struct waiter *waiter, struct fm_id id)
{
    *waiter = (struct waiter){.wait = {.id = id, .on_end = on_end}};
    fm_queue_wait(f.workers[1].queue, &waiter->wait);
}

static void waiting_for_the_end(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id id = submit("spin", "");
    struct waiter waiters[3];
    for (int i = 0; i < 3; i++)
        begin_wait(&waiters[i], id);
    for (int i = 0; i < 10; i++)
        pass_all();
    for (int i = 0; i < 3; i++)
        assert_false(waiters[i].over);
    fm_queue_wait_stop(&waiters[1].wait); /* gives up */
    UNTIL(waiters[1].over);
    assert_false(waiters[0].over);
    assert_int_equal(change(FM_QUEUE_CANCEL, id, NULL), 0);
    UNTIL(waiters[0].over && waiters[2].over);
    assert_int_equal(status_of(id), FM_STATUS_CANCELLED); /* its end can be read */
    begin_wait(&waiters[0], id);                          /* has ended: at once */
    UNTIL(waiters[0].over);
    id.low ^= UINT64_C(1) << 20; /* unknown */
    begin_wait(&waiters[0], id);
    fm_queue_wait_stop(&waiters[0].wait); /* the end and the stop cross */
    UNTIL(waiters[0].over);
    fixture_end();
}

/* --- synchronous calls ------------------------------------------------------------------------ */

struct synchronous {
    struct fm_under_way_call under_way;
    struct fm_call *call;
    bool done;
};

static void remember(struct synchronous *it)
{
    struct worker *worker = &f.workers[0];
    fm_sched_remember(worker->sched, it->call, NULL, NULL, 0);
    fm_under_way_end(&worker->under_way, &it->under_way);
    fm_sched_call_free(worker->sched, it->call);
    it->done = true;
}

static void on_sync_done(struct fm_call *call)
{
    remember(call->owner);
}

/* A call as http/ makes them, on worker 0. */
static struct fm_id begin_sync(struct synchronous *it, const char *function)
{
    struct worker *worker = &f.workers[0];
    struct fm_function *found =
        fm_sched_function(worker->sched, "ada", 3, function, strlen(function));
    *it = (struct synchronous){0};
    assert_int_equal(fm_sched_call_new(worker->sched, found, &it->call), 0);
    struct fm_id id = it->call->id;
    it->call->owner = it;
    it->call->on_done = on_sync_done;
    if (fm_sched_submit(worker->sched, it->call) == FM_SUBMIT_DONE)
        remember(it);
    else
        fm_under_way_begin(&worker->under_way, &it->under_way, it->call);
    return id;
}

static void on_held_done(struct fm_call *call)
{
    (void)call;
}

static void synchronous_calls_are_found(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct synchronous ended;
    struct synchronous running;
    struct fm_id ended_id = begin_sync(&ended, "echo");
    struct fm_id running_id = begin_sync(&running, "spin");
    UNTIL(ended.done && running.call->started_ns);

    enum fm_call_status status;
    assert_int_equal(change(FM_QUEUE_RECALL, ended_id, &status), 0);
    assert_int_equal(status, FM_STATUS_SUCCEEDED);
    assert_int_equal(change(FM_QUEUE_CANCEL, ended_id, &status), 0); /* nothing changes */
    assert_int_equal(status, FM_STATUS_SUCCEEDED);
    assert_int_equal(change(FM_QUEUE_RECALL, running_id, &status), 0);
    assert_int_equal(status, FM_STATUS_RUNNING);

    struct waiter waiter;
    begin_wait(&waiter, running_id);
    assert_int_equal(change(FM_QUEUE_CANCEL, running_id, &status), 0);
    assert_true(running.done);
    assert_int_equal(status, FM_STATUS_CANCELLED);
    UNTIL(waiter.over);
    assert_int_equal(change(FM_QUEUE_RECALL, running_id, &status), 0);
    assert_int_equal(status, FM_STATUS_CANCELLED);
    running_id.high ^= 1;
    assert_int_equal(change(FM_QUEUE_RECALL, running_id, NULL), FM_ERR_NOT_FOUND);
    fixture_end();
}

struct canceller {
    struct fm_queue_ask ask;
    bool answered;
};

static void on_cancel_answer(struct fm_queue_ask *ask)
{
    FM_CONTAINER_OF(ask, struct canceller, ask)->answered = true;
}

/* It has ended when its cancellation is answered, also if that takes some time: here its owner lets
 * it be known a little later, as one does that has to write something first. */
static void cancelling_waits_for_the_end(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct worker *worker = &f.workers[0];
    struct synchronous it;
    struct fm_id id = begin_sync(&it, "spin");
    it.call->on_done = on_held_done;
    struct canceller cancellers[2];
    for (int i = 0; i < 2; i++) {
        cancellers[i] = (struct canceller){
            .ask = {.verb = FM_QUEUE_CANCEL, .id = id, .on_answer = on_cancel_answer}};
        fm_queue_ask(f.workers[1].queue, &cancellers[i].ask);
    }
    UNTIL(it.call->state == FM_CALL_DONE);
    enum fm_call_status status;
    assert_int_equal(change(FM_QUEUE_RECALL, id, &status), 0); /* asked later, answered before */
    assert_false(cancellers[0].answered || cancellers[1].answered);
    fm_sched_remember(worker->sched, it.call, NULL, NULL, 0);
    fm_under_way_end(&worker->under_way, &it.under_way);
    fm_sched_call_free(worker->sched, it.call);
    UNTIL(cancellers[0].answered && cancellers[1].answered);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(cancellers[i].ask.error, 0);
        assert_int_equal(cancellers[i].ask.record.status, FM_STATUS_CANCELLED);
        fm_call_record_done(&cancellers[i].ask.record);
    }
    fixture_end();
}

struct listing {
    struct fm_queue_list list;
    bool answered;
};

static void on_list(struct fm_queue_list *list)
{
    FM_CONTAINER_OF(list, struct listing, list)->answered = true;
}

/* How many of a page are in the order that lists have: all of them. */
static size_t list_of(uint32_t limit, enum fm_call_status status, struct fm_id after)
{
    struct listing listing = {
        .list = {.filter = {.user = "ada", .by_status = true, .status = status, .after = after},
                 .limit = limit,
                 .on_answer = on_list}};
    fm_queue_list(f.workers[1].queue, &listing.list);
    UNTIL(listing.answered);
    assert_int_equal(listing.list.error, 0);
    size_t count = listing.list.records_count;
    for (size_t i = 1; i < count; i++)
        assert_true(listing.list.records[i - 1].id.high > listing.list.records[i].id.high);
    fm_queue_list_done(&listing.list);
    return count;
}

static void synchronous_calls_are_listed(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct synchronous calls[12];
    struct fm_id ids[12];
    for (int i = 0; i < 12; i++)
        ids[i] = begin_sync(&calls[i], i % 6 ? "echo" : "spin");
    UNTIL(calls[11].done);
    const struct fm_id start = {0, 0};
    assert_int_equal(list_of(100, FM_STATUS_RUNNING, start), 2);
    assert_int_equal(list_of(100, FM_STATUS_SUCCEEDED, start), 10);
    assert_int_equal(list_of(11, FM_STATUS_SUCCEEDED, start), 10);
    assert_int_equal(list_of(10, FM_STATUS_SUCCEEDED, start), 10);
    assert_int_equal(list_of(9, FM_STATUS_SUCCEEDED, start), 9);
    assert_int_equal(list_of(100, FM_STATUS_SUCCEEDED, ids[3]), 2);
    assert_int_equal(list_of(100, FM_STATUS_FAILED, start), 0);
    for (int i = 0; i < 12; i += 6)
        assert_int_equal(change(FM_QUEUE_CANCEL, ids[i], NULL), 0);
    fixture_end();
}

/* --- chained calls ---------------------------------------------------------------------------- */

static void chained_calls_run_after_their_parent(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    struct fm_id id = submit("call", "echo");
    struct fm_calls_get parent = wait_for_end(id);
    assert_int_equal(parent.record.status, FM_STATUS_SUCCEEDED);
    assert_int_equal(parent.record.children_count, 2);
    static const char *const outputs[] = {"echo", "ch"};
    for (int i = 0; i < 2; i++) {
        struct fm_calls_get child = wait_for_end(parent.record.children[i]);
        assert_int_equal(child.record.status, FM_STATUS_SUCCEEDED);
        assert_int_equal(child.output.bytes, strlen(outputs[i]));
        assert_memory_equal(child.output.data, outputs[i], strlen(outputs[i]));
        assert_memory_equal(&child.record.parent, &id, sizeof(id));
        assert_int_equal(child.record.depth, 1);
        fm_calls_get_done(&child);
    }
    fm_calls_get_done(&parent);
    fixture_end();
}

static void a_parent_whose_children_cannot_be(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        int error;
        const char *detail;
    } parents[] = {
        {"none", FM_ERR_CHAIN_TARGET, "ada/none"},
        {"tiny", FM_ERR_TOO_LARGE, "input_bytes"},
    };
    fixture_begin(publish_all);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(parents); i++) {
        struct fm_calls_get get = wait_for_end(submit("call", parents[i].target));
        assert_int_equal(get.record.status, FM_STATUS_FAILED);
        assert_int_equal(get.record.error, parents[i].error);
        assert_non_null(strstr(get.record.detail, parents[i].detail));
        assert_int_equal(get.record.children_count, 0);
        assert_int_equal(get.output.bytes, 4); /* its output is kept */
        fm_calls_get_done(&get);
    }
    UNTIL(counts().busy == 0);
    assert_int_equal(counts().accepted, FM_ARRAY_LENGTH(parents)); /* no child began */
    fixture_end();
}

/* What a call chains counts for its user's queue_length, as does the call itself until then. */
static void chained_calls_count_for_the_user(void **state)
{
    (void)state;
    fixture_begin(publish_all);
    for (uint64_t length = 2; length <= 4; length++) {
        struct fm_quota_set set = {0};
        fm_quota_set_put(&set, fm_quota_row_find("queue_length"), length);
        assert_int_equal(fm_users_set(f.users, "ada", &set), 0);
        struct fm_calls_get get = wait_for_end(submit("call", "echo")); /* chains two */
        bool room = length >= 3;
        assert_int_equal(get.record.status, room ? FM_STATUS_SUCCEEDED : FM_STATUS_FAILED);
        assert_int_equal(get.record.error, room ? 0 : FM_ERR_QUOTA);
        if (!room)
            assert_string_equal(get.record.limit, "queue_length");
        fm_calls_get_done(&get);
        UNTIL(f.queues[0]->entries.count == 0);
    }
    fixture_end();
}

/* A parent that is cancelled before its end has no children. */
static void a_chain_is_as_deep_as_allowed(void **state)
{
    (void)state;
    fixture_begin(publish_all); /* chain_depth 2 */
    struct fm_calls_get top = wait_for_end(submit("call", "call"));
    assert_int_equal(top.record.children_count, 2);
    /* The first child gets the input "call" again, and so do its children. */
    struct fm_calls_get middle = wait_for_end(top.record.children[0]);
    assert_int_equal(middle.record.children_count, 2);
    struct fm_calls_get bottom = wait_for_end(middle.record.children[0]);
    assert_int_equal(bottom.record.depth, 2);
    assert_int_equal(bottom.record.status, FM_STATUS_FAILED);
    assert_int_equal(bottom.record.error, FM_ERR_GUEST_LIMIT);
    assert_non_null(strstr(bottom.record.detail, "chain_depth"));
    fm_calls_get_done(&bottom);
    fm_calls_get_done(&middle);
    fm_calls_get_done(&top);
    UNTIL(counts().busy == 0 && counts().due == 0);
    fixture_end();
}

struct chaining {
    struct fm_queue_chains chains;
    bool done;
};

static void on_chained(struct fm_queue_chains *chains)
{
    FM_CONTAINER_OF(chains, struct chaining, chains)->done = true;
}

static void the_children_of_a_synchronous_parent(void **state)
{
    (void)state;
    f.config.calls_max = 2;
    fixture_begin(publish_all);
    struct fm_sched *sched = f.workers[0].sched;
    struct fm_call *parent = NULL;
    assert_int_equal(
        fm_sched_call_new(sched, fm_sched_function(sched, "ada", 3, "call", 4), &parent), 0);
    assert_int_equal(fm_call_chain(parent, "echo", 4, (const uint8_t *)"one", 3), 0);
    assert_int_equal(fm_call_chain(parent, "echo", 4, (const uint8_t *)"two", 3), 0);
    struct chaining chaining = {.chains = {.parent = parent, .on_done = on_chained}};
    assert_int_equal(fm_queue_chains(f.workers[0].queue, &chaining.chains), 0);
    UNTIL(chaining.done);
    assert_int_equal(chaining.chains.error.code, 0);
    assert_int_equal(chaining.chains.children_count, 2);
    for (int i = 0; i < 2; i++)
        expect_end(chaining.chains.children[i], FM_STATUS_SUCCEEDED, 1, i ? "two" : "one");
    free(chaining.chains.children);
    UNTIL(counts().busy == 0);

    /* One more than there is room for: none. */
    assert_int_equal(fm_call_chain(parent, "echo", 4, NULL, 0), 0);
    assert_int_equal(fm_queue_chains(f.workers[0].queue, &chaining.chains), FM_ERR_BUSY);
    assert_int_equal(counts().accepted, 2);
    parent->depth = 1; /* of at most 2 */
    assert_int_equal(fm_queue_chains(f.workers[0].queue, &chaining.chains), FM_ERR_BUSY);
    parent->depth = 2;
    assert_int_equal(fm_queue_chains(f.workers[0].queue, &chaining.chains), FM_ERR_GUEST_LIMIT);
    fm_sched_call_free(sched, parent);
    fixture_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUEUE_TEST(cancelling_in_every_state),
        QUEUE_TEST(races_have_one_winner),
        QUEUE_TEST(waiting_for_the_end),
        QUEUE_TEST(synchronous_calls_are_found),
        QUEUE_TEST(cancelling_waits_for_the_end),
        QUEUE_TEST(synchronous_calls_are_listed),
        QUEUE_TEST(chained_calls_run_after_their_parent),
        QUEUE_TEST(a_parent_whose_children_cannot_be),
        QUEUE_TEST(chained_calls_count_for_the_user),
        QUEUE_TEST(a_chain_is_as_deep_as_allowed),
        QUEUE_TEST(the_children_of_a_synchronous_parent),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
