/* test_runqueue.c - heaps of users and their tasks, and the fair policy on one worker: who is next,
 * by weight, after a pause, by lane, and while held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "sched/policy.h"
#include "torture.h"

#define USERS 3

struct item {
    struct fm_list link;
    char name;
};

struct fixture {
    struct fm_runqueue queue;
    struct fm_share shares[USERS];
    struct fm_turns *_Atomic addresses[USERS][1];
    struct fm_turns users[USERS];
};

static const struct fm_policy *const policy = &fm_policy_fair;

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    fm_runqueue_init(&f->queue);
    for (int i = 0; i < USERS; i++) {
        f->shares[i].workers = 1;
        f->shares[i].turns = f->addresses[i];
        assert_int_equal(fm_runqueue_add(&f->queue, &f->users[i], &f->shares[i]), 0);
        policy->set_weight(&f->users[i], FM_WEIGHT_DEFAULT);
        atomic_store(&f->addresses[i][0], &f->users[i]);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    assert_true(fm_runqueue_empty(&f->queue));
    for (int i = 0; i < USERS; i++)
        fm_runqueue_drop(&f->queue, &f->users[i]);
    fm_runqueue_done(&f->queue);
    free(f);
    return 0;
}

static void push(struct fixture *f, int user, enum fm_lane lane, struct item *item)
{
    policy->push(&f->queue, lane, &f->users[user], &item->link);
}

/* Picks one, which consumes `cpu_ns`; '-' when there is none. */
static char turn(struct fixture *f, unsigned lanes, uint64_t cpu_ns)
{
    struct fm_turns *turns = NULL;
    struct fm_list *link = policy->pick(&f->queue, lanes, &turns);
    if (!link)
        return '-';
    policy->charge(&f->queue, turns, cpu_ns);
    return FM_LIST_ENTRY(link, struct item, link)->name;
}

static void users_take_turns_and_calls_keep_their_order(void **state)
{
    struct fixture *f = *state;
    struct item items[] = {{.name = 'a'}, {.name = 'b'}, {.name = 'c'},
                           {.name = 'd'}, {.name = 'x'}, {.name = 'y'}};
    for (int i = 0; i < 6; i++)
        push(f, i < 4 ? 0 : 1, FM_LANE_NEW, &items[i]);
    char order[8] = {0};
    for (int i = 0; i < 7; i++)
        order[i] = turn(f, FM_LANES_ALL, FM_SLICE_NS);
    assert_string_equal(order, "axbycd-");
}

static void calls_of_a_light_user_overtake_a_backlog(void **state)
{
    struct fixture *f = *state;
    struct item items[10];
    struct item late = {.name = 'x'};
    for (int i = 0; i < 10; i++) {
        items[i].name = 'a';
        push(f, 0, FM_LANE_NEW, &items[i]);
    }
    assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), 'a');
    push(f, 1, FM_LANE_NEW, &late);
    assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), 'x');
    for (int i = 0; i < 9; i++)
        assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), 'a');
}

/* Endless calls; counts the slices that each user gets. */
static void share(struct fixture *f, int slices, int ret_counts[USERS])
{
    struct item items[USERS];
    memset(ret_counts, 0, USERS * sizeof(ret_counts[0]));
    for (int i = 0; i < USERS; i++) {
        items[i].name = (char)('0' + i);
        push(f, i, FM_LANE_STARTED, &items[i]);
    }
    for (int i = 0; i < slices; i++) {
        int user = turn(f, FM_LANES_ALL, FM_SLICE_NS) - '0';
        ret_counts[user]++;
        push(f, user, FM_LANE_STARTED, &items[user]);
    }
    for (int i = 0; i < USERS; i++)
        fm_runqueue_remove(&f->queue, FM_LANE_STARTED, &f->users[i], &items[i].link);
}

static void cpu_follows_weights(void **state)
{
    struct fixture *f = *state;
    int counts[USERS];
    policy->set_weight(&f->users[0], 50);
    policy->set_weight(&f->users[2], 250);
    share(f, 800, counts);
    assert_in_range(counts[0], 99, 101);
    assert_in_range(counts[1], 199, 201);
    assert_in_range(counts[2], 499, 501);
}

static void dear_slices_count_as_what_they_cost(void **state)
{
    struct fixture *f = *state;
    struct item one = {.name = 'a'};
    struct item two = {.name = 'b'};
    uint64_t used_ns[2] = {0};
    push(f, 0, FM_LANE_STARTED, &one);
    push(f, 1, FM_LANE_STARTED, &two);
    for (int i = 0; i < 300; i++) {
        struct fm_turns *turns = NULL;
        struct fm_list *link = policy->pick(&f->queue, FM_LANES_ALL, &turns);
        int user = turns == &f->users[1];
        uint64_t cost_ns = user ? FM_SLICE_NS / 7 : 3 * FM_SLICE_NS; /* a bulk operation */
        policy->charge(&f->queue, turns, cost_ns);
        policy->push(&f->queue, FM_LANE_STARTED, turns, link);
        used_ns[user] += cost_ns;
    }
    int64_t apart_ns = (int64_t)(used_ns[0] - used_ns[1]);
    assert_true(llabs(apart_ns) <= (int64_t)(4 * FM_SLICE_NS));
    fm_runqueue_remove(&f->queue, FM_LANE_STARTED, &f->users[0], &one.link);
    fm_runqueue_remove(&f->queue, FM_LANE_STARTED, &f->users[1], &two.link);
}

/* What was used alone is no debt, and what was not used is no credit. */
static void a_pause_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct item item = {.name = 'a'};
    int counts[USERS];
    for (int i = 0; i < 1000; i++) {
        push(f, 0, FM_LANE_NEW, &item);
        assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), 'a');
    }
    policy->begin(&f->queue, &f->users[1]); /* inline, and long ago */
    policy->charge(&f->queue, &f->users[1], 1);
    share(f, 300, counts);
    for (int i = 0; i < USERS; i++)
        assert_in_range(counts[i], 99, 101);
}

/* Upper case: has a sandbox. */
static void without_a_free_sandbox_new_calls_stay(void **state)
{
    struct fixture *f = *state;
    struct item items[] = {{.name = 'a'}, {.name = 'x'}, {.name = 'X'}, {.name = 'Y'}};
    push(f, 0, FM_LANE_NEW, &items[0]);
    push(f, 1, FM_LANE_NEW, &items[1]);
    push(f, 1, FM_LANE_STARTED, &items[2]);
    push(f, 1, FM_LANE_STARTED, &items[3]);
    assert_int_equal(turn(f, FM_LANE_BIT(FM_LANE_STARTED), FM_SLICE_NS), 'X');
    assert_int_equal(turn(f, FM_LANE_BIT(FM_LANE_STARTED), FM_SLICE_NS), 'Y');
    assert_int_equal(turn(f, FM_LANE_BIT(FM_LANE_STARTED), FM_SLICE_NS), '-');
    assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), 'a');
    assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), 'x');
}

/* While there are few sandboxes, a new call of a user who has one waits. */
static void first_calls_may_pass_other_new_ones(void **state)
{
    struct fixture *f = *state;
    const unsigned few = FM_LANE_BIT(FM_LANE_STARTED) | FM_LANE_BIT(FM_LANE_FIRST);
    struct item items[] = {{.name = 'a'}, {.name = 'b'}, {.name = 'A'}, {.name = 'x'}};
    push(f, 0, FM_LANE_NEW, &items[0]);
    push(f, 0, FM_LANE_NEW, &items[1]);
    push(f, 0, FM_LANE_STARTED, &items[2]);
    push(f, 1, FM_LANE_FIRST, &items[3]);
    assert_int_equal(turn(f, few, FM_SLICE_NS), 'A');
    assert_int_equal(turn(f, few, FM_SLICE_NS), 'x');
    assert_int_equal(turn(f, few, FM_SLICE_NS), '-');
    assert_int_equal(fm_runqueue_count(&f->queue, few), 0);
    assert_int_equal(fm_runqueue_count(&f->queue, FM_LANES_ALL), 2);
    fm_runqueue_move(&f->queue, &f->users[0], FM_LANE_NEW, FM_LANE_FIRST); /* it has none now */
    assert_int_equal(turn(f, few, FM_SLICE_NS), 'a');
    fm_runqueue_move(&f->queue, &f->users[0], FM_LANE_FIRST, FM_LANE_NEW);
    assert_int_equal(turn(f, few, FM_SLICE_NS), '-');
    assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), 'b');
    fm_runqueue_move(&f->queue, &f->users[0], FM_LANE_NEW, FM_LANE_FIRST); /* nothing */
}

static void held_calls_move_and_stay_held(void **state)
{
    struct fixture *f = *state;
    struct item items[] = {{.name = 'a'}, {.name = 'b'}};
    push(f, 0, FM_LANE_NEW, &items[0]);
    push(f, 0, FM_LANE_NEW, &items[1]);
    fm_runqueue_hold(&f->queue, &f->users[0], FM_LANES_FRESH);
    fm_runqueue_move(&f->queue, &f->users[0], FM_LANE_NEW, FM_LANE_FIRST);
    assert_int_equal(f->queue.held, 2);
    assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), '-');
    fm_runqueue_hold(&f->queue, &f->users[0], 0);
    assert_int_equal(f->queue.held, 0);
    assert_int_equal(turn(f, FM_LANE_BIT(FM_LANE_FIRST), FM_SLICE_NS), 'a');
    assert_int_equal(turn(f, FM_LANE_BIT(FM_LANE_FIRST), FM_SLICE_NS), 'b');
}

/* One new call for a round of all that have started. */
static void what_has_started_comes_before_new_calls(void **state)
{
    struct fixture *f = *state;
    struct item items[] = {{.name = 'a'}, {.name = 'b'}, {.name = 'A'}, {.name = 'B'}};
    for (int i = 0; i < 4; i++)
        push(f, 0, i < 2 ? FM_LANE_NEW : FM_LANE_STARTED, &items[i]);
    char order[5] = {0};
    for (int i = 0; i < 4; i++)
        order[i] = turn(f, FM_LANES_ALL, FM_SLICE_NS);
    assert_string_equal(order, "aABb");
}

static void held_calls_keep_their_places(void **state)
{
    struct fixture *f = *state;
    struct item items[] = {{.name = 'a'}, {.name = 'A'}, {.name = 'x'}, {.name = 'b'}};
    push(f, 0, FM_LANE_NEW, &items[0]);
    push(f, 0, FM_LANE_STARTED, &items[1]);
    push(f, 1, FM_LANE_NEW, &items[2]);
    fm_runqueue_hold(&f->queue, &f->users[0], FM_LANE_BIT(FM_LANE_NEW));
    push(f, 0, FM_LANE_NEW, &items[3]);
    assert_int_equal(f->queue.held, 2);
    assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), 'A');
    assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), 'x');
    assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), '-');
    assert_true(fm_runqueue_empty(&f->queue)); /* nobody is kept from running inline */
    fm_runqueue_remove(&f->queue, FM_LANE_NEW, &f->users[0], &items[0].link);
    assert_int_equal(f->queue.held, 1);
    fm_runqueue_hold(&f->queue, &f->users[0], 0);
    assert_int_equal(f->queue.held, 0);
    assert_int_equal(turn(f, FM_LANES_ALL, FM_SLICE_NS), 'b');
}

static void the_heap_sorts(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static struct fm_turns users[COUNT];
    static struct item items[COUNT];
    struct fm_share share = {0};
    struct fm_runqueue queue;
    fm_runqueue_init(&queue);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(fm_runqueue_add(&queue, &users[i], &share), 0);
        users[i].tag = UINT64_MAX - 100 + i * 7919 % COUNT; /* wraps on the way */
        fm_runqueue_push(&queue, FM_LANE_NEW, &users[i], &items[i].link);
    }
    users[17].tag += 500;
    fm_runqueue_moved(&queue, &users[17]);
    uint64_t before = UINT64_MAX - 101;
    for (unsigned i = 0; i < COUNT; i++) {
        struct fm_turns *top = fm_runqueue_least(&queue, FM_LANE_BIT(FM_LANE_NEW));
        assert_true((int64_t)(top->tag - before) > 0);
        before = top->tag;
        assert_true(i < COUNT - 1 || top == &users[17]);
        fm_runqueue_remove(&queue, FM_LANE_NEW, top, top->tasks[FM_LANE_NEW].next);
        fm_runqueue_drop(&queue, top);
    }
    fm_runqueue_done(&queue);
}

static int add_many(void *data)
{
    (void)data;
    struct fm_share share = {0};
    struct fm_turns users[40];
    struct fm_runqueue queue;
    fm_runqueue_init(&queue);
    int failed = 0;
    size_t count = 0;
    while (!failed && count < FM_ARRAY_LENGTH(users)) {
        failed = fm_runqueue_add(&queue, &users[count], &share);
        count += !failed;
    }
    while (count > 0)
        fm_runqueue_drop(&queue, &users[--count]);
    fm_runqueue_done(&queue);
    return failed;
}

static void memory_may_fail_anywhere(void **state)
{
    (void)state;
    assert_true(torture(add_many, NULL) > 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(users_take_turns_and_calls_keep_their_order),
        TEST(calls_of_a_light_user_overtake_a_backlog),
        TEST(cpu_follows_weights),
        TEST(dear_slices_count_as_what_they_cost),
        TEST(a_pause_changes_nothing),
        TEST(without_a_free_sandbox_new_calls_stay),
        TEST(what_has_started_comes_before_new_calls),
        TEST(held_calls_keep_their_places),
        TEST(first_calls_may_pass_other_new_ones),
        TEST(held_calls_move_and_stay_held),
        cmocka_unit_test(the_heap_sorts),
        cmocka_unit_test(memory_may_fail_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
