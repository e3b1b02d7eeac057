/* test_fairness.c - a simulation of workers that share CPU between users, on the real policy
 * (fair.c) and the real decisions about who hands over what (balance.c).
 *
 * Time is a number here: a worker's slice takes as long as the dice say, a message takes LATENCY.
 * Everything follows from a seed, which is printed when a bound is broken;
 * FAASM_SEED=N runs that one alone.
 *
 * The bound.  Of two users who have, all the time, at least as many calls that could run as there
 * are workers, take the CPU time that each has got, times 100 / weight.  Over any interval the two
 * grow by the same amount, but for BOUND_SLICES slices (of the one with the smaller weight),
 * whatever the number of workers.  Intervals that begin when one of the two has just come, and has
 * not yet got a call to every worker, may add one slice for each worker. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "sched/balance.h"
#include "sched/policy.h"

#define BOUND_SLICES 6
#define SETTLE_NS (20 * FM_NS_PER_MS)
#define SEEDS 20
#define WORKERS_MAX 16
#define USERS_MAX 6
#define TASKS_MAX 512
#define LATENCY_NS 20000
#define END_NS (2 * FM_NS_PER_S)
#define NEVER UINT64_MAX

struct user {
    struct fm_share share;
    struct fm_turns *_Atomic addresses[WORKERS_MAX];
    struct fm_turns turns[WORKERS_MAX];
    uint64_t weight;
    uint64_t got_ns; /* in slices that have ended */
    bool full;       /* has enough calls all the time: the bound is for it */
};

struct task {
    struct fm_list link;
    struct user *user;
    unsigned home;
    unsigned left_slices_max; /* of a call: then it ends, and comes again at its home; 0: never */
    uint64_t pause_ns;        /* before it comes again */
    uint64_t left_ns;
    bool started;
    /* Under way to a worker. */
    unsigned to;
    uint64_t arrives_ns; /* NEVER: it is not */
    bool gift;
};

struct worker {
    struct fm_runqueue queue;
    struct task *inside;
    uint64_t began_ns;
    uint64_t ends_ns; /* NEVER: idle */
};

struct world {
    unsigned workers_count;
    size_t users_count;
    size_t tasks_count;
    struct worker workers[WORKERS_MAX];
    struct user users[USERS_MAX];
    struct task tasks[TASKS_MAX];
    struct fm_peers *peers;
    uint64_t now_ns;
    uint64_t dice;
    uint64_t gifts;
    double least[USERS_MAX][USERS_MAX]; /* of the difference between two users */
    double most[USERS_MAX][USERS_MAX];
};

static const struct fm_policy *const policy = &fm_policy_fair;

/* xorshift64* */
static uint64_t roll(struct world *world, uint64_t below)
{
    world->dice ^= world->dice >> 12;
    world->dice ^= world->dice << 25;
    world->dice ^= world->dice >> 27;
    return (world->dice * UINT64_C(2685821657736338717) >> 33) % below;
}

/* --- making a world --------------------------------------------------------------------------- */

static struct world *world_new(unsigned workers, uint64_t seed)
{
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    world->workers_count = workers;
    world->dice = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    assert_int_equal(fm_peers_new(workers, &world->peers), 0);
    for (unsigned i = 0; i < workers; i++) {
        fm_runqueue_init(&world->workers[i].queue);
        world->workers[i].ends_ns = NEVER;
    }
    return world;
}

static struct user *add_user(struct world *world, uint64_t weight, bool full)
{
    struct user *user = &world->users[world->users_count++];
    user->weight = weight;
    user->full = full;
    user->share.workers = world->workers_count;
    user->share.turns = user->addresses;
    for (unsigned i = 0; i < world->workers_count; i++) {
        struct fm_turns *turns = &user->turns[i];
        assert_int_equal(fm_runqueue_add(&world->workers[i].queue, turns, &user->share), 0);
        policy->set_weight(turns, weight);
        atomic_store(&user->addresses[i], turns);
    }
    return user;
}

static uint64_t demand(struct world *world, const struct task *task)
{
    if (task->left_slices_max == 0)
        return NEVER;
    return 1 + roll(world, task->left_slices_max * FM_SLICE_NS);
}

static void send(struct world *world, struct task *task, unsigned to, uint64_t after_ns, bool gift)
{
    task->to = to;
    task->arrives_ns = world->now_ns + after_ns;
    task->gift = gift;
}

static void add_task(struct world *world, struct user *user, unsigned home,
                     unsigned left_slices_max, uint64_t pause_ns)
{
    struct task *task = &world->tasks[world->tasks_count++];
    assert_true(world->tasks_count <= TASKS_MAX);
    *task = (struct task){
        .user = user, .home = home, .left_slices_max = left_slices_max, .pause_ns = pause_ns};
    task->left_ns = demand(world, task);
    send(world, task, home, 0, false);
}

static void world_free(struct world *world)
{
    for (unsigned w = 0; w < world->workers_count; w++) {
        struct worker *worker = &world->workers[w];
        if (worker->inside)
            policy->charge(&worker->queue, &worker->inside->user->turns[w], 0);
        for (size_t u = 0; u < world->users_count; u++) {
            struct fm_turns *turns = &world->users[u].turns[w];
            for (int lane = 0; lane < FM_LANES; lane++)
                while (turns->counts[lane] > 0)
                    fm_runqueue_remove(&worker->queue, (enum fm_lane)lane, turns,
                                       turns->tasks[lane].next);
            fm_runqueue_drop(&worker->queue, turns);
        }
        fm_runqueue_done(&worker->queue);
    }
    fm_peers_free(world->peers);
    free(world);
}

/* --- its clockwork ---------------------------------------------------------------------------- */

static void end_slice(struct world *world, unsigned index)
{
    struct worker *worker = &world->workers[index];
    struct task *task = worker->inside;
    struct fm_turns *turns = &task->user->turns[index];
    uint64_t used_ns = world->now_ns - worker->began_ns;
    worker->inside = NULL;
    worker->ends_ns = NEVER;
    task->user->got_ns += used_ns;
    policy->charge(&worker->queue, turns, used_ns);
    if (task->left_ns != NEVER)
        task->left_ns -= used_ns;
    if (task->left_ns > 0) {
        policy->push(&worker->queue, FM_LANE_STARTED, turns, &task->link);
        return;
    }
    task->started = false;
    task->left_ns = demand(world, task);
    send(world, task, task->home, task->pause_ns + (task->home == index ? 0 : LATENCY_NS), false);
}

static void receive(struct world *world, unsigned index)
{
    for (size_t i = 0; i < world->tasks_count; i++) {
        struct task *task = &world->tasks[i];
        if (task->to != index || task->arrives_ns > world->now_ns)
            continue;
        task->arrives_ns = NEVER;
        if (task->gift)
            fm_balance_received(world->peers, index);
        policy->push(&world->workers[index].queue, task->started ? FM_LANE_STARTED : FM_LANE_NEW,
                     &task->user->turns[index], &task->link);
    }
}

static void give(struct world *world, unsigned index, struct fm_turns *turns)
{
    struct fm_gift gift;
    const struct fm_giver giver = {.worker = index, .lanes = FM_LANES_ALL};
    while (fm_balance_give(world->peers, &giver, &world->workers[index].queue, turns, &gift)) {
        struct task *task = FM_LIST_ENTRY(gift.link, struct task, link);
        assert_int_equal(task->started, gift.lane == FM_LANE_STARTED);
        send(world, task, gift.worker, LATENCY_NS, true);
        world->gifts++;
    }
}

/* A worker's pass. */
static void step(struct world *world, unsigned index)
{
    struct worker *worker = &world->workers[index];
    struct fm_turns *turns = worker->inside ? &worker->inside->user->turns[index] : NULL;
    if (worker->inside)
        end_slice(world, index);
    receive(world, index);
    give(world, index, turns);
    struct fm_list *link = policy->pick(&worker->queue, FM_LANES_ALL, &turns);
    fm_balance_idle(world->peers, index, !link);
    if (!link)
        return;
    worker->inside = FM_LIST_ENTRY(link, struct task, link);
    worker->inside->started = true;
    worker->began_ns = world->now_ns;
    uint64_t slice_ns = FM_SLICE_NS * 9 / 10 + roll(world, FM_SLICE_NS / 5);
    worker->ends_ns = world->now_ns + fm_min_u64(slice_ns, worker->inside->left_ns);
}

static double normal(const struct world *world, size_t u)
{
    const struct user *user = &world->users[u];
    uint64_t got_ns = user->got_ns;
    for (unsigned w = 0; w < world->workers_count; w++) {
        const struct worker *worker = &world->workers[w];
        if (worker->inside && worker->inside->user == user)
            got_ns += world->now_ns - worker->began_ns;
    }
    return (double)got_ns * FM_WEIGHT_DEFAULT / (double)user->weight;
}

static void measure(struct world *world)
{
    for (size_t a = 0; a < world->users_count; a++) {
        for (size_t b = 0; b < a; b++) {
            double difference = normal(world, a) - normal(world, b);
            if (difference < world->least[a][b])
                world->least[a][b] = difference;
            if (difference > world->most[a][b])
                world->most[a][b] = difference;
        }
    }
}

static void run(struct world *world, uint64_t until_ns)
{
    while (world->now_ns < until_ns) {
        unsigned next = 0;
        uint64_t at_ns = NEVER;
        for (unsigned w = 0; w < world->workers_count; w++) {
            if (world->workers[w].ends_ns < at_ns) {
                at_ns = world->workers[w].ends_ns;
                next = w;
            }
        }
        for (size_t i = 0; i < world->tasks_count; i++) {
            const struct task *task = &world->tasks[i];
            bool waits = world->workers[task->to].inside == NULL; /* else after its slice */
            if (task->arrives_ns < at_ns && waits) {
                at_ns = task->arrives_ns;
                next = task->to;
            }
        }
        if (at_ns == NEVER)
            return;
        world->now_ns = fm_max_u64(world->now_ns, at_ns);
        measure(world);
        step(world, next);
    }
}

/* --- the bound -------------------------------------------------------------------------------- */

static void start_measuring(struct world *world)
{
    for (size_t a = 0; a < world->users_count; a++)
        for (size_t b = 0; b < a; b++)
            world->least[a][b] = world->most[a][b] = normal(world, a) - normal(world, b);
}

static void check(const struct world *world, uint64_t seed, const char *what, double bound)
{
    double worst = 0;
    for (size_t a = 0; a < world->users_count; a++) {
        for (size_t b = 0; b < a; b++) {
            const struct user *first = &world->users[a];
            const struct user *second = &world->users[b];
            if (!first->full || !second->full)
                continue;
            double slice = (double)FM_SLICE_NS * FM_WEIGHT_DEFAULT /
                           (double)fm_min_u64(first->weight, second->weight);
            double slices = (world->most[a][b] - world->least[a][b]) / slice;
            worst = slices > worst ? slices : worst;
        }
    }
    if (getenv("FAASM_VERBOSE"))
        print_message("%s: seed %llu, %u workers: %.2f slices, %llu gifts\n", what,
                      (unsigned long long)seed, world->workers_count, worst,
                      (unsigned long long)world->gifts);
    if (worst > bound)
        fail_msg("%s: %.2f slices apart with %u workers; replay with FAASM_SEED=%llu", what, worst,
                 world->workers_count, (unsigned long long)seed);
}

/* From now on, when the last of the users has come. */
static void run_and_check(struct world *world, uint64_t seed, const char *what)
{
    uint64_t from_ns = world->now_ns;
    start_measuring(world);
    run(world, from_ns + SETTLE_NS);
    check(world, seed, what, BOUND_SLICES + world->workers_count);
    start_measuring(world);
    run(world, from_ns + END_NS);
    check(world, seed, what, BOUND_SLICES);
}

static const unsigned sizes[] = {1, 2, 16};

static void for_seeds(void (*make)(struct world *world), const char *what)
{
    const char *only = getenv("FAASM_SEED");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1;
    uint64_t last = only ? first : SEEDS;
    for (uint64_t seed = first; seed <= last; seed++) {
        for (size_t i = 0; i < FM_ARRAY_LENGTH(sizes); i++) {
            struct world *world = world_new(sizes[i], seed);
            make(world);
            run_and_check(world, seed, what);
            world_free(world);
        }
    }
}

static unsigned any_worker(struct world *world)
{
    return (unsigned)roll(world, world->workers_count);
}

/* A crowd against just enough, all of it on one worker at first. */
static void make_loops(struct world *world)
{
    struct user *ada = add_user(world, 100, true);
    struct user *bob = add_user(world, 100, true);
    for (int i = 0; i < 64; i++)
        add_task(world, ada, 0, 0, 0);
    for (unsigned i = 0; i < world->workers_count; i++)
        add_task(world, bob, any_worker(world), 0, 0);
}

static void endless_calls_share_alike(void **state)
{
    (void)state;
    for_seeds(make_loops, "loops");
}

static void make_weights(struct world *world)
{
    uint64_t weights[] = {50, 100, 300};
    for (size_t u = 0; u < FM_ARRAY_LENGTH(weights); u++) {
        struct user *user = add_user(world, weights[u], true);
        unsigned count = world->workers_count * (1 + (unsigned)roll(world, 3));
        for (unsigned i = 0; i < count; i++)
            add_task(world, user, any_worker(world), 0, 0);
    }
}

static void weights_count(void **state)
{
    (void)state;
    for_seeds(make_weights, "weights");
}

/* Calls that end and come again, so that they go home all the time. */
static void make_short(struct world *world)
{
    struct user *ada = add_user(world, 100, true);
    struct user *bob = add_user(world, 100, true);
    for (unsigned i = 0; i < 2 * world->workers_count; i++) {
        add_task(world, ada, any_worker(world), 3, 0);
        add_task(world, bob, any_worker(world), 0, 0);
    }
}

static void short_calls_and_long_ones_share_alike(void **state)
{
    (void)state;
    for_seeds(make_short, "short");
}

/* Others come and go. */
static void make_visitors(struct world *world)
{
    make_loops(world);
    struct user *eve = add_user(world, 1000, false);
    struct user *joe = add_user(world, 10, false);
    for (int i = 0; i < 3; i++) {
        add_task(world, eve, any_worker(world), 4, 7 * FM_SLICE_NS);
        add_task(world, joe, any_worker(world), 20, 50 * FM_SLICE_NS);
    }
}

static void visitors_change_nothing_between_the_others(void **state)
{
    (void)state;
    for_seeds(make_visitors, "visitors");
}

/* What a user used while it was alone does not count, neither for nor against it. */
static void the_past_is_forgotten(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sizes); i++) {
        struct world *world = world_new(sizes[i], 7);
        struct user *ada = add_user(world, 100, true);
        struct user *bob = add_user(world, 100, true);
        for (unsigned w = 0; w < 2 * world->workers_count; w++)
            add_task(world, ada, any_worker(world), 0, 0);
        run(world, END_NS);
        assert_true(ada->got_ns > END_NS * world->workers_count * 95 / 100); /* nobody idles */
        for (unsigned w = 0; w < 2 * world->workers_count; w++)
            add_task(world, bob, any_worker(world), 0, 0);
        run_and_check(world, 7, "past");
        world_free(world);
    }
}

/* A worker that has nothing gets something, as long as anybody has more than one call. */
static void nobody_idles_beside_a_backlog(void **state)
{
    (void)state;
    struct world *world = world_new(4, 3);
    struct user *ada = add_user(world, 100, true);
    for (int i = 0; i < 16; i++)
        add_task(world, ada, 0, 5, 0); /* all of them at home on worker 0 */
    run(world, END_NS);
    assert_true(ada->got_ns > END_NS * 4 * 85 / 100);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endless_calls_share_alike),
        cmocka_unit_test(weights_count),
        cmocka_unit_test(short_calls_and_long_ones_share_alike),
        cmocka_unit_test(visitors_change_nothing_between_the_others),
        cmocka_unit_test(the_past_is_forgotten),
        cmocka_unit_test(nobody_idles_beside_a_backlog),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
