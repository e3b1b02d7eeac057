/* test_timer.c - timers and waiting, on a machine whose time stands still unless somebody waits.
 *
 * This program has its own clock_gettime(), epoll_pwait2() and epoll_wait(): a wait in which
 * nothing is ready moves the clock by its length and returns.  So the tests are exact to the
 * nanosecond, and take no time. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "crash.h"
#include "loop/loop.h"
#include "loop/mailbox.h"
#include "torture.h"

/* --- the machine ------------------------------------------------------------------------------ */

static const uint64_t START_NS = 5 * FM_NS_PER_S;

static struct {
    uint64_t now_ns;
    int fine_errno;      /* epoll_pwait2() fails with it; 0: it works */
    unsigned interrupts; /* so many waits are ended by a signal, after half their time */
    unsigned waits;      /* since the last reset */
    unsigned waits_coarse;
    uint64_t first_wait_ns;
} machine;

static void machine_reset(void)
{
    memset(&machine, 0, sizeof(machine));
    machine.now_ns = START_NS;
}

int clock_gettime(clockid_t id, struct timespec *time)
{
    if (id != CLOCK_MONOTONIC)
        return (int)syscall(SYS_clock_gettime, id, time);
    time->tv_sec = (time_t)(machine.now_ns / FM_NS_PER_S);
    time->tv_nsec = (long)(machine.now_ns % FM_NS_PER_S);
    return 0;
}

static int machine_wait(int epoll_fd, struct epoll_event *events, int max, uint64_t wait_ns)
{
    if (machine.waits++ == 0)
        machine.first_wait_ns = wait_ns;
    if (machine.interrupts > 0) {
        machine.interrupts -= 1;
        machine.now_ns += wait_ns == UINT64_MAX ? 1 : wait_ns / 2;
        errno = EINTR;
        return -1;
    }
    int count = (int)syscall(SYS_epoll_pwait, epoll_fd, events, max, 0, NULL, (size_t)8);
    if (count == 0) {
        assert_true(wait_ns != UINT64_MAX); /* would never wake */
        machine.now_ns += wait_ns;
    }
    return count;
}

int epoll_pwait2(int epoll_fd, struct epoll_event *events, int max, const struct timespec *timeout,
                 const sigset_t *signals)
{
    assert_null(signals);
    if (machine.fine_errno) {
        errno = machine.fine_errno;
        return -1;
    }
    uint64_t wait_ns = UINT64_MAX;
    if (timeout) {
        assert_in_range(timeout->tv_nsec, 0, FM_NS_PER_S - 1);
        wait_ns = (uint64_t)timeout->tv_sec * FM_NS_PER_S + (uint64_t)timeout->tv_nsec;
    }
    return machine_wait(epoll_fd, events, max, wait_ns);
}

int epoll_wait(int epoll_fd, struct epoll_event *events, int max, int timeout_ms)
{
    assert_true(timeout_ms >= -1);
    machine.waits_coarse += 1;
    uint64_t wait_ns = timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms * FM_NS_PER_MS;
    return machine_wait(epoll_fd, events, max, wait_ns);
}

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t random_next(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* --- what is tested --------------------------------------------------------------------------- */

struct probe {
    struct fm_timer timer;
    struct fm_loop *loop;
    struct probe *other;
    unsigned fired;
    uint64_t again_ns; /* the callback sets it anew for this time; 0: it does not */
};

static void on_probe(struct fm_timer *timer)
{
    struct probe *probe = FM_CONTAINER_OF(timer, struct probe, timer);
    assert_false(fm_timer_armed(timer));
    assert_true(machine.now_ns >= timer->at_ns);
    probe->fired += 1;
    if (probe->again_ns)
        assert_int_equal(fm_loop_timer_set(probe->loop, timer, probe->again_ns), 0);
}

static struct probe probe_make(struct fm_loop *loop)
{
    struct probe probe = {.loop = loop};
    fm_timer_init(&probe.timer, on_probe);
    return probe;
}

static struct fm_loop *loop_make(void)
{
    struct fm_loop *loop = NULL;
    machine_reset();
    assert_int_equal(fm_loop_new(&loop), 0);
    assert_int_equal(fm_loop_now_ns(loop), START_NS);
    return loop;
}

static void test_waits_exactly(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    struct probe probe = probe_make(loop);
    assert_false(fm_timer_armed(&probe.timer));
    assert_int_equal(fm_loop_timer_set(loop, &probe.timer, START_NS + 2000000001), 0);
    assert_true(fm_timer_armed(&probe.timer));

    fm_loop_pass(loop, START_NS + 2000000000); /* a nanosecond too short */
    assert_int_equal(machine.waits, 1);
    assert_int_equal(machine.first_wait_ns, 2000000000);
    assert_int_equal(fm_loop_now_ns(loop), START_NS + 2000000000);
    assert_int_equal(probe.fired, 0);
    fm_loop_pass(loop, 0);
    assert_int_equal(probe.fired, 0);

    machine.waits = 0;
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(machine.waits, 1);
    assert_int_equal(machine.first_wait_ns, 1);
    assert_int_equal(fm_loop_now_ns(loop), START_NS + 2000000001);
    assert_int_equal(probe.fired, 1);
    assert_int_equal(probe.timer.at_ns, START_NS + 2000000001);
    assert_false(fm_timer_armed(&probe.timer));

    fm_loop_pass(loop, machine.now_ns + FM_NS_PER_S); /* once is once */
    assert_int_equal(probe.fired, 1);
    fm_loop_free(loop);
}

static void test_past_and_never(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    struct probe past = probe_make(loop);
    struct probe never = probe_make(loop);
    assert_int_equal(fm_loop_timer_set(loop, &past.timer, 0), 0);
    assert_int_equal(fm_loop_timer_set(loop, &never.timer, UINT64_MAX), 0);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(machine.now_ns, START_NS); /* did not wait */
    assert_int_equal(past.fired, 1);
    fm_loop_pass(loop, UINT64_MAX - 1);
    assert_int_equal(machine.now_ns, UINT64_MAX - 1);
    assert_int_equal(never.fired, 0);
    fm_loop_timer_cancel(loop, &never.timer);
    fm_loop_free(loop);
}

static void test_cancel_and_move(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    struct probe a = probe_make(loop);
    struct probe b = probe_make(loop);
    fm_loop_timer_cancel(loop, &a.timer); /* idle is fine */
    assert_int_equal(fm_loop_timer_set(loop, &a.timer, START_NS + 10), 0);
    assert_int_equal(fm_loop_timer_set(loop, &b.timer, START_NS + 20), 0);
    fm_loop_timer_cancel(loop, &a.timer);
    assert_false(fm_timer_armed(&a.timer));
    assert_int_equal(fm_loop_timer_set(loop, &b.timer, START_NS + 30), 0); /* later */
    fm_loop_pass(loop, START_NS + 29);
    assert_int_equal(a.fired + b.fired, 0);
    assert_int_equal(fm_loop_timer_set(loop, &a.timer, START_NS + 90), 0);
    assert_int_equal(fm_loop_timer_set(loop, &a.timer, START_NS + 29), 0); /* earlier */
    fm_loop_pass(loop, 0);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 0);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(machine.now_ns, START_NS + 30);
    assert_int_equal(b.fired, 1);
    fm_loop_free(loop);
}

/* --- order ------------------------------------------------------------------------------------ */

enum { MANY = 10000 };

static struct {
    uint64_t times[MANY];
    size_t count;
} fired_log;

static void on_logged(struct fm_timer *timer)
{
    assert_true(fired_log.count < MANY);
    fired_log.times[fired_log.count++] = timer->at_ns;
}

static int compare_times(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;
    return (*left > *right) - (*left < *right);
}

/* All due at once, and all one after another: the order is that of the sorted list. */
static void order_of(uint64_t seed, bool at_once, uint64_t spread_ns)
{
    struct fm_loop *loop = loop_make();
    struct fm_timer *timers = calloc(MANY, sizeof(*timers));
    uint64_t *sorted = calloc(MANY, sizeof(*sorted));
    assert_true(timers && sorted);
    fired_log.count = 0;
    for (size_t i = 0; i < MANY; i++) {
        fm_timer_init(&timers[i], on_logged);
        sorted[i] = START_NS + random_next(&seed) % spread_ns;
        assert_int_equal(fm_loop_timer_set(loop, &timers[i], sorted[i]), 0);
    }
    qsort(sorted, MANY, sizeof(*sorted), compare_times);
    if (at_once) {
        machine.now_ns += spread_ns;
        fm_loop_pass(loop, 0);
    }
    while (fired_log.count < MANY) {
        fm_loop_pass(loop, UINT64_MAX);
        assert_int_equal(machine.now_ns, fired_log.times[fired_log.count - 1]);
    }
    assert_memory_equal(fired_log.times, sorted, MANY * sizeof(*sorted));
    free(sorted);
    free(timers);
    fm_loop_free(loop);
}

static void test_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        order_of(seed, true, 60 * FM_NS_PER_S);
        order_of(seed, false, 60 * FM_NS_PER_S);
        order_of(seed, true, MANY / 10); /* many at the same time */
        order_of(seed, false, MANY / 10);
    }
}

/* Everything at random, also from within callbacks, against a model that is searched from end to
 * end. */
enum { PLAYERS = 100 };

static struct {
    struct fm_loop *loop;
    struct fm_timer timers[PLAYERS];
    uint64_t due_ns[PLAYERS]; /* the model: UINT64_MAX is idle */
    uint64_t seed;
    uint64_t firing_ns; /* the present moment while timers fire, else 0 */
    size_t fired;
} game;

static void game_move(void)
{
    size_t player = random_next(&game.seed) % PLAYERS;
    uint64_t dice = random_next(&game.seed);
    if (dice % 4 == 0) {
        fm_loop_timer_cancel(game.loop, &game.timers[player]);
        game.due_ns[player] = UINT64_MAX;
        return;
    }
    uint64_t at_ns = machine.now_ns + (dice >> 8) % 150 - 50; /* past, present or future */
    assert_int_equal(fm_loop_timer_set(game.loop, &game.timers[player], at_ns), 0);
    assert_int_equal(game.timers[player].at_ns, at_ns);
    uint64_t next_pass_ns = game.firing_ns + 1;
    game.due_ns[player] = game.firing_ns && at_ns < next_pass_ns ? next_pass_ns : at_ns;
}

static void on_game_time(struct fm_timer *timer)
{
    size_t player = (size_t)(timer - game.timers);
    game.firing_ns = fm_loop_now_ns(game.loop);
    assert_true(game.due_ns[player] <= game.firing_ns); /* also: not idle */
    for (size_t i = 0; i < PLAYERS; i++)
        assert_true(game.due_ns[player] <= game.due_ns[i]);
    game.due_ns[player] = UINT64_MAX;
    game.fired += 1;
    for (uint64_t moves = random_next(&game.seed) % 3; moves > 0; moves--)
        game_move();
}

static void test_random_play(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        memset(&game, 0, sizeof(game));
        game.seed = seed;
        game.loop = loop_make();
        for (size_t i = 0; i < PLAYERS; i++) {
            fm_timer_init(&game.timers[i], on_game_time);
            game.due_ns[i] = UINT64_MAX;
        }
        for (int pass = 0; pass < 500; pass++) {
            for (uint64_t moves = random_next(&game.seed) % 20; moves > 0; moves--)
                game_move();
            fm_loop_pass(game.loop, machine.now_ns + random_next(&game.seed) % 40);
            game.firing_ns = 0;
            for (size_t i = 0; i < PLAYERS; i++) {
                assert_true(game.due_ns[i] > machine.now_ns); /* nobody was left out */
                assert_int_equal(fm_timer_armed(&game.timers[i]), game.due_ns[i] != UINT64_MAX);
            }
        }
        assert_true(game.fired > 1000);
        fm_loop_free(game.loop);
    }
}

/* --- inside callbacks ------------------------------------------------------------------------- */

static void test_set_for_the_past_while_firing(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    struct probe probe = probe_make(loop);
    probe.again_ns = 1; /* long ago */
    assert_int_equal(fm_loop_timer_set(loop, &probe.timer, START_NS), 0);
    for (unsigned pass = 1; pass <= 100; pass++) {
        fm_loop_pass(loop, UINT64_MAX);
        assert_int_equal(probe.fired, pass); /* once a pass, without a gap */
        assert_int_equal(probe.timer.at_ns, 1);
    }
    assert_true(machine.now_ns <= START_NS + 100); /* and without waiting */
    fm_loop_timer_cancel(loop, &probe.timer);
    fm_loop_free(loop);
}

struct pair {
    struct fm_timer timers[2];
    struct fm_loop *loop;
    unsigned *calls;
};

static void pair_end(struct pair *pair, struct fm_timer *other)
{
    *pair->calls += 1;
    fm_loop_timer_cancel(pair->loop, other);
    free(pair);
}

static void on_first_of_pair(struct fm_timer *timer)
{
    struct pair *pair = FM_CONTAINER_OF(timer, struct pair, timers[0]);
    pair_end(pair, &pair->timers[1]);
}

static void on_second_of_pair(struct fm_timer *timer)
{
    struct pair *pair = FM_CONTAINER_OF(timer, struct pair, timers[1]);
    pair_end(pair, &pair->timers[0]);
}

/* Both are due; whichever fires first cancels the other and frees both. */
static void test_free_while_firing(void **state)
{
    (void)state;
    for (size_t first = 0; first < 2; first++) {
        struct fm_loop *loop = loop_make();
        struct probe bystander = probe_make(loop);
        unsigned calls = 0;
        struct pair *pair = calloc(1, sizeof(*pair));
        assert_non_null(pair);
        *pair = (struct pair){.loop = loop, .calls = &calls};
        fm_timer_init(&pair->timers[0], on_first_of_pair);
        fm_timer_init(&pair->timers[1], on_second_of_pair);
        assert_int_equal(fm_loop_timer_set(loop, &pair->timers[first], START_NS + 1), 0);
        assert_int_equal(fm_loop_timer_set(loop, &pair->timers[1 - first], START_NS + 2), 0);
        assert_int_equal(fm_loop_timer_set(loop, &bystander.timer, START_NS + 3), 0);
        machine.now_ns += 10;
        fm_loop_pass(loop, 0);
        assert_int_equal(calls, 1);
        assert_int_equal(bystander.fired, 1);
        fm_loop_free(loop);
    }
}

/* --- memory ----------------------------------------------------------------------------------- */

static void test_no_memory(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    enum { COUNT = 5000 };
    struct probe *probes = calloc(COUNT, sizeof(*probes));
    assert_non_null(probes);
    for (size_t i = 0; i < COUNT; i++)
        probes[i] = probe_make(loop);

    /* Until the heap is full and cannot grow. */
    assert_int_equal(fm_loop_timer_set(loop, &probes[0].timer, START_NS + COUNT), 0);
    size_t full = 1;
    int error = 0;
    for (; full < COUNT; full++) {
        torture_fail_nth(1);
        error = fm_loop_timer_set(loop, &probes[full].timer, START_NS + COUNT - full);
        torture_fail_nth(0);
        if (error)
            break;
    }
    assert_int_equal(error, FM_ERR_NOMEM);
    assert_false(fm_timer_armed(&probes[full].timer));

    torture_fail_nth(1); /* moving needs no memory, nor does setting in place of another */
    assert_int_equal(fm_loop_timer_set(loop, &probes[0].timer, START_NS + 1), 0);
    fm_loop_timer_cancel(loop, &probes[1].timer);
    assert_int_equal(fm_loop_timer_set(loop, &probes[full].timer, START_NS + 2), 0);
    torture_fail_nth(0);
    for (size_t i = full + 1; i < COUNT; i++)
        assert_int_equal(fm_loop_timer_set(loop, &probes[i].timer, START_NS + 3), 0);

    fm_loop_pass(loop, START_NS + 1);
    assert_int_equal(probes[0].fired, 1);
    assert_int_equal(probes[full].fired, 0);
    fm_loop_pass(loop, START_NS + 2);
    assert_int_equal(probes[full].fired, 1);
    machine.now_ns += COUNT;
    fm_loop_pass(loop, 0);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(probes[i].fired, i == 1 ? 0 : 1);
    free(probes);
    fm_loop_free(loop);
}

static int torture_body(void *data)
{
    struct fm_loop *loop = NULL;
    struct probe *probes = data;
    machine_reset();
    int error = fm_loop_new(&loop);
    for (size_t i = 0; !error && i < 200; i++) {
        probes[i] = probe_make(loop);
        error = fm_loop_timer_set(loop, &probes[i].timer, START_NS + i);
        assert_int_equal(fm_timer_armed(&probes[i].timer), error == 0);
    }
    if (!error)
        fm_loop_pass(loop, START_NS + 50);
    fm_loop_free(loop);
    return error;
}

static void test_torture(void **state)
{
    (void)state;
    struct probe probes[200];
    assert_true(torture(torture_body, probes) > 3); /* the loop, and the heap that grows twice */
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void count_message(struct fm_message *message)
{
    (void)message;
}

/* A signal does not end the wait: what is left is waited for. */
static void test_interrupted_wait(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    machine.interrupts = 10;
    fm_loop_pass(loop, START_NS + 1024 * 3);
    assert_int_equal(machine.waits, 11);
    assert_int_equal(machine.first_wait_ns, 1024 * 3);
    assert_int_equal(machine.now_ns, START_NS + 1024 * 3);

    struct fm_message message = {.on_message = count_message};
    fm_mailbox_post(fm_loop_mailbox(loop), &message);
    machine.interrupts = 10;
    machine.waits = 0;
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(machine.waits, 11);
    assert_int_equal(machine.first_wait_ns, UINT64_MAX);
    fm_loop_free(loop);
}

static uint64_t coarse_wait(uint64_t wait_ns)
{
    struct fm_loop *loop = loop_make();
    machine.fine_errno = ENOSYS;
    fm_loop_pass(loop, START_NS + wait_ns);
    assert_true(machine.now_ns >= START_NS + wait_ns);
    assert_int_equal(machine.waits, machine.waits_coarse);
    fm_loop_free(loop);
    return machine.first_wait_ns;
}

/* Without epoll_pwait2: milliseconds, rounded up. */
static void test_old_kernel(void **state)
{
    (void)state;
    assert_int_equal(coarse_wait(0), 0);
    assert_int_equal(coarse_wait(1), FM_NS_PER_MS);
    assert_int_equal(coarse_wait(FM_NS_PER_MS - 1), FM_NS_PER_MS);
    assert_int_equal(coarse_wait(FM_NS_PER_MS), FM_NS_PER_MS);
    assert_int_equal(machine.waits, 1);
    assert_int_equal(coarse_wait(FM_NS_PER_MS + 1), 2 * FM_NS_PER_MS);
    uint64_t longest_ns = INT_MAX * FM_NS_PER_MS;
    assert_int_equal(coarse_wait(longest_ns), longest_ns);
    assert_int_equal(machine.waits, 1);
    assert_int_equal(coarse_wait(longest_ns + 1), longest_ns);
    assert_int_equal(machine.waits, 2);
}

/* The change is made once, and the pass in which it is made misses nothing. */
static void test_old_kernel_found_out(void **state)
{
    (void)state;
    static const int errors[] = {ENOSYS, EPERM};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(errors); i++) {
        struct fm_loop *loop = loop_make();
        struct probe probe = probe_make(loop);
        assert_int_equal(fm_loop_timer_set(loop, &probe.timer, START_NS), 0);
        machine.fine_errno = errors[i];
        fm_loop_pass(loop, 0);
        assert_int_equal(probe.fired, 1);
        assert_int_equal(machine.waits_coarse, 1);
        machine.fine_errno = 0;
        machine.interrupts = 1;
        fm_loop_pass(loop, machine.now_ns + 1);
        assert_int_equal(machine.waits_coarse, machine.waits);
        struct fm_message message = {.on_message = count_message};
        fm_mailbox_post(fm_loop_mailbox(loop), &message);
        machine.waits = 0;
        fm_loop_pass(loop, UINT64_MAX);
        assert_int_equal(machine.first_wait_ns, UINT64_MAX);
        fm_loop_free(loop);
    }
}

/* --- mistakes --------------------------------------------------------------------------------- */

static void cancel_at_another_loop(void)
{
    struct fm_loop *loop = loop_make();
    struct fm_loop *other = loop_make();
    struct probe probe = probe_make(loop);
    if (fm_loop_timer_set(loop, &probe.timer, 1) == 0)
        fm_loop_timer_cancel(other, &probe.timer);
}

static void set_without_init(void)
{
    struct fm_loop *loop = loop_make();
    struct fm_timer timer = {.on_time = on_probe};
    (void)!fm_loop_timer_set(loop, &timer, 1);
}

static void test_mistakes(void **state)
{
    (void)state;
    assert_true(crashes(cancel_at_another_loop));
    assert_true(crashes(set_without_init));
}

int main(void)
{
    machine_reset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_exactly),
        cmocka_unit_test(test_past_and_never),
        cmocka_unit_test(test_cancel_and_move),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_random_play),
        cmocka_unit_test(test_set_for_the_past_while_firing),
        cmocka_unit_test(test_free_while_firing),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_torture),
        cmocka_unit_test(test_interrupted_wait),
        cmocka_unit_test(test_old_kernel),
        cmocka_unit_test(test_old_kernel_found_out),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
