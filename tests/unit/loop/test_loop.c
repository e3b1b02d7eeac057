/* test_loop.c - descriptors and passes.  Descriptors are eventfds: readable while their counter is
 * not 0, always writable. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "crash.h"
#include "loop/loop.h"
#include "loop/mailbox.h"
#include "torture.h"

struct probe {
    struct fm_watch watch;
    struct fm_loop *loop;
    unsigned calls;
    uint32_t events; /* of the last call */
    size_t number;
};

static void on_ready(struct fm_watch *watch, uint32_t events)
{
    struct probe *probe = FM_CONTAINER_OF(watch, struct probe, watch);
    assert_true(watch->fd >= 0);
    probe->calls += 1;
    probe->events = events;
}

static int descriptor_make(unsigned counter)
{
    int fd = eventfd(counter, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(fd >= 0);
    return fd;
}

static void descriptor_fill(int fd)
{
    uint64_t one = 1;
    assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void descriptor_empty(int fd)
{
    uint64_t count = 0;
    assert_int_equal(read(fd, &count, sizeof(count)), sizeof(count));
}

static struct fm_loop *loop_make(void)
{
    struct fm_loop *loop = NULL;
    assert_int_equal(fm_loop_new(&loop), 0);
    return loop;
}

static void probe_init(struct probe *probe, struct fm_loop *loop, unsigned counter, uint32_t events)
{
    *probe = (struct probe){.watch = {.fd = -1, .on_ready = on_ready}, .loop = loop};
    int fd = descriptor_make(counter);
    assert_int_equal(fm_loop_watch_add(loop, &probe->watch, fd, events), 0);
    assert_int_equal(probe->watch.fd, fd);
}

static void probe_done(struct probe *probe)
{
    int fd = probe->watch.fd;
    fm_loop_watch_remove(probe->loop, &probe->watch);
    assert_int_equal(probe->watch.fd, -1);
    assert_int_equal(close(fd), 0);
}

/* --- one descriptor --------------------------------------------------------------------------- */

static void test_add_change_remove(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    struct probe probe;
    probe_init(&probe, loop, 0, EPOLLIN);
    fm_loop_pass(loop, 0);
    assert_int_equal(probe.calls, 0);

    descriptor_fill(probe.watch.fd);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(probe.calls, 1);
    assert_int_equal(probe.events, EPOLLIN);
    assert_int_equal(fm_loop_watch_change(loop, &probe.watch, EPOLLIN | EPOLLOUT), 0);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(probe.calls, 2); /* still readable */
    assert_int_equal(probe.events, EPOLLIN | EPOLLOUT);
    descriptor_empty(probe.watch.fd);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(probe.events, EPOLLOUT);
    assert_int_equal(fm_loop_watch_change(loop, &probe.watch, 0), 0);
    fm_loop_pass(loop, 0);
    assert_int_equal(probe.calls, 3);

    assert_int_equal(fm_loop_watch_change(loop, &probe.watch, EPOLLOUT), 0);
    int fd = probe.watch.fd;
    fm_loop_watch_remove(loop, &probe.watch);
    fm_loop_watch_remove(loop, &probe.watch); /* twice is fine */
    fm_loop_pass(loop, 0);
    assert_int_equal(probe.calls, 3);
    assert_int_equal(fm_loop_watch_add(loop, &probe.watch, fd, EPOLLOUT), 0);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(probe.calls, 4);
    probe_done(&probe);
    fm_loop_free(loop);
}

static void test_hang_up_is_always_told(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    struct probe probe = {.watch = {.fd = -1, .on_ready = on_ready}, .loop = loop};
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_int_equal(fm_loop_watch_add(loop, &probe.watch, pipes[0], 0), 0);
    assert_int_equal(close(pipes[1]), 0);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(probe.calls, 1);
    assert_int_equal(probe.events, EPOLLHUP);
    probe_done(&probe);
    fm_loop_free(loop);
}

static void test_refused_descriptors(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    struct fm_watch watch = {.fd = -1, .on_ready = on_ready};
    assert_int_equal(fm_loop_watch_add(loop, &watch, -1, EPOLLIN), FM_ERR_IO);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); /* files are always ready: no epoll */
    assert_true(file >= 0);
    assert_int_equal(fm_loop_watch_add(loop, &watch, file, EPOLLIN), FM_ERR_IO);
    assert_int_equal(close(file), 0);

    struct probe probe;
    probe_init(&probe, loop, 0, EPOLLIN);
    assert_int_equal(fm_loop_watch_add(loop, &watch, probe.watch.fd, EPOLLIN), FM_ERR_IO);
    assert_int_equal(watch.fd, -1);
    descriptor_fill(probe.watch.fd);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(probe.calls, 1);
    probe_done(&probe);
    fm_loop_free(loop);
}

/* --- taking away while events are handed out ----------------------------------------------------
 */

enum { CROWD = 64 };

static struct {
    struct probe *probes[CROWD]; /* each allocated by itself; NULL: freed */
    unsigned calls;
    uint64_t seed;
} crowd;

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13; /* xorshift64 (Marsaglia 2003) */
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void crowd_free(size_t number)
{
    struct probe *probe = crowd.probes[number];
    if (!probe)
        return;
    probe_done(probe);
    memset(probe, 0xa5, sizeof(*probe)); /* also without a sanitizer, a late call must show */
    free(probe);
    crowd.probes[number] = NULL;
}

static void crowd_make(struct fm_loop *loop,
                       void (*on_crowd)(struct fm_watch *watch, uint32_t events))
{
    crowd.calls = 0;
    for (size_t i = 0; i < CROWD; i++) {
        struct probe *probe = calloc(1, sizeof(*probe));
        assert_non_null(probe);
        probe_init(probe, loop, 1, EPOLLIN);
        probe->watch.on_ready = on_crowd;
        probe->number = i;
        crowd.probes[i] = probe;
    }
}

static size_t crowd_left(void)
{
    size_t left = 0;
    for (size_t i = 0; i < CROWD; i++)
        left += crowd.probes[i] != NULL;
    return left;
}

static void free_everybody(struct fm_watch *watch, uint32_t events)
{
    (void)watch;
    (void)events;
    crowd.calls += 1;
    for (size_t i = 0; i < CROWD; i++)
        crowd_free(i); /* itself too */
}

static void free_the_others(struct fm_watch *watch, uint32_t events)
{
    (void)events;
    crowd.calls += 1;
    size_t self = FM_CONTAINER_OF(watch, struct probe, watch)->number;
    for (size_t i = CROWD; i-- > 0;)
        if (i != self)
            crowd_free(i);
}

/* Each that is called frees itself and one other. */
static void free_itself_and_another(struct fm_watch *watch, uint32_t events)
{
    (void)events;
    crowd.calls += 1;
    crowd_free(FM_CONTAINER_OF(watch, struct probe, watch)->number);
    if (crowd_left() == 0)
        return;
    size_t number = random_next(&crowd.seed) % CROWD;
    while (!crowd.probes[number])
        number = (number + 1) % CROWD;
    crowd_free(number);
}

static void test_free_in_callback(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    crowd_make(loop, free_everybody);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(crowd.calls, 1);
    assert_int_equal(crowd_left(), 0);

    crowd_make(loop, free_the_others);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(crowd.calls, 1);
    assert_int_equal(crowd_left(), 1);
    fm_loop_pass(loop, UINT64_MAX); /* the one that is left is still watched */
    assert_int_equal(crowd.calls, 2);
    for (size_t i = 0; i < CROWD; i++)
        crowd_free(i);

    for (uint64_t seed = 1; seed <= 100; seed++) {
        crowd.seed = seed;
        crowd_make(loop, free_itself_and_another);
        fm_loop_pass(loop, UINT64_MAX);
        assert_int_equal(crowd.calls, CROWD / 2);
        assert_int_equal(crowd_left(), 0);
    }
    fm_loop_free(loop);
}

/* Two that do something to each other: whichever is called first does it. */
static struct probe pair[2];
static unsigned pair_calls;

static struct probe *other_of(struct fm_watch *watch)
{
    return watch == &pair[0].watch ? &pair[1] : &pair[0];
}

static struct fm_loop *pair_make(void (*on_pair)(struct fm_watch *watch, uint32_t events),
                                 uint32_t events)
{
    struct fm_loop *loop = loop_make();
    pair_calls = 0;
    for (size_t i = 0; i < 2; i++) {
        probe_init(&pair[i], loop, 1, events);
        pair[i].watch.on_ready = on_pair;
    }
    return loop;
}

static void pair_done(struct fm_loop *loop)
{
    probe_done(&pair[0]);
    probe_done(&pair[1]);
    fm_loop_free(loop);
}

/* The same watch, with the same descriptor number, but another descriptor, which is not ready. */
static void replace_other(struct fm_watch *watch, uint32_t events)
{
    (void)events;
    struct probe *other = other_of(watch);
    struct fm_loop *loop = other->loop;
    pair_calls += 1;
    int old_fd = other->watch.fd;
    probe_done(other);
    probe_init(other, loop, 0, EPOLLIN);
    assert_int_equal(other->watch.fd, old_fd);
    descriptor_empty(watch->fd);
}

static void test_replaced_in_callback(void **state)
{
    (void)state;
    struct fm_loop *loop = pair_make(replace_other, EPOLLIN);
    fm_loop_pass(loop, UINT64_MAX);
    fm_loop_pass(loop, 0);
    assert_int_equal(pair_calls, 1);
    assert_int_equal(pair[0].calls + pair[1].calls, 0); /* the replacement */
    struct probe *replaced = pair[0].watch.on_ready == on_ready ? &pair[0] : &pair[1];
    descriptor_fill(replaced->watch.fd);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(replaced->calls, 1);
    pair_done(loop);
}

static uint32_t changed_events;

static void change_other(struct fm_watch *watch, uint32_t events)
{
    struct probe *other = other_of(watch);
    pair_calls += 1;
    if (pair_calls == 1) {
        assert_int_equal(events, EPOLLIN | EPOLLOUT);
        assert_int_equal(fm_loop_watch_change(other->loop, &other->watch, changed_events), 0);
    } else {
        assert_int_equal(events, changed_events);
    }
}

/* What was reported for the old mask does not arrive after the change. */
static void test_changed_in_callback(void **state)
{
    (void)state;
    changed_events = 0;
    struct fm_loop *loop = pair_make(change_other, EPOLLIN | EPOLLOUT);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(pair_calls, 1);
    pair_done(loop);

    changed_events = EPOLLOUT;
    loop = pair_make(change_other, EPOLLIN | EPOLLOUT);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(pair_calls, 2);
    pair_done(loop);
}

static void change_there_and_back(struct fm_watch *watch, uint32_t events)
{
    struct probe *other = other_of(watch);
    assert_int_equal(events, EPOLLIN);
    pair_calls += 1;
    assert_int_equal(fm_loop_watch_change(other->loop, &other->watch, 0), 0);
    assert_int_equal(fm_loop_watch_change(other->loop, &other->watch, EPOLLIN | EPOLLET), 0);
}

/* An event that was struck out is reported again, even edge-triggered, once it is asked for. */
static void test_struck_out_is_not_lost(void **state)
{
    (void)state;
    struct fm_loop *loop = pair_make(change_there_and_back, EPOLLIN | EPOLLET);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(pair_calls, 1);
    fm_loop_pass(loop, UINT64_MAX); /* the other; it gives the first one its turn */
    assert_int_equal(pair_calls, 2);
    pair_done(loop);
}

/* --- the parts of a pass ------------------------------------------------------------------------
 */

static struct {
    struct fm_loop *loop;
    char order[16];
    size_t count;
    struct probe a, b;
    struct fm_message message;
    struct fm_timer timer;
} parts;

static void note(char what)
{
    assert_true(parts.count < sizeof(parts.order) - 1);
    parts.order[parts.count++] = what;
}

static void on_part_ready(struct fm_watch *watch, uint32_t events)
{
    (void)watch;
    (void)events;
    note('d');
}

static void on_part_message(struct fm_message *message)
{
    (void)message;
    note('m');
    probe_done(&parts.a);
}

static void on_part_time(struct fm_timer *timer)
{
    (void)timer;
    note('t');
    probe_done(&parts.b);
}

/* Descriptors, mailbox, timers; and the later ones may remove watches as well. */
static void test_order_of_a_pass(void **state)
{
    (void)state;
    memset(&parts, 0, sizeof(parts));
    parts.loop = loop_make();
    fm_timer_init(&parts.timer, on_part_time);
    assert_int_equal(fm_loop_timer_set(parts.loop, &parts.timer, 0), 0);
    parts.message.on_message = on_part_message;
    fm_mailbox_post(fm_loop_mailbox(parts.loop), &parts.message);
    probe_init(&parts.a, parts.loop, 1, EPOLLIN);
    probe_init(&parts.b, parts.loop, 1, EPOLLIN);
    parts.a.watch.on_ready = on_part_ready;
    parts.b.watch.on_ready = on_part_ready;
    fm_loop_pass(parts.loop, UINT64_MAX);
    fm_loop_pass(parts.loop, 0);
    assert_string_equal(parts.order, "ddmt");
    fm_loop_free(parts.loop);
}

static void test_waits_until(void **state)
{
    (void)state;
    struct fm_loop *loop = loop_make();
    fm_loop_pass(loop, 0); /* nothing to do: would hang if it waited */
    fm_loop_pass(loop, 1); /* long ago */
    uint64_t until_ns = fm_clock_monotonic_ns() + 3 * FM_NS_PER_MS / 2;
    fm_loop_pass(loop, until_ns);
    assert_true(fm_loop_now_ns(loop) >= until_ns);
    assert_true(fm_loop_now_ns(loop) <= fm_clock_monotonic_ns());
    fm_loop_free(loop);
}

/* --- full batches -------------------------------------------------------------------------------
 */

static void on_counted_message(struct fm_message *message)
{
    (void)message;
    parts.count += 1;
}

static unsigned calls_of(const struct probe *probes, size_t count)
{
    unsigned calls = 0;
    for (size_t i = 0; i < count; i++)
        calls += probes[i].calls;
    return calls;
}

static void batch_of(size_t count, unsigned first_pass, unsigned two_passes)
{
    struct fm_loop *loop = loop_make();
    struct probe *probes = calloc(count, sizeof(*probes));
    assert_non_null(probes);
    for (size_t i = 0; i < count; i++)
        probe_init(&probes[i], loop, 1, EPOLLIN);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(calls_of(probes, count), first_pass);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(calls_of(probes, count), two_passes);
    for (size_t i = 0; i < count; i++)
        assert_true(probes[i].calls > 0); /* nobody is left out, though all stay ready */

    /* Nor is the mailbox, however many are ready before it. */
    struct fm_message message = {.on_message = on_counted_message};
    parts.count = 0;
    fm_mailbox_post(fm_loop_mailbox(loop), &message);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(parts.count, 1);
    fm_mailbox_post(fm_loop_mailbox(loop), &message);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(parts.count, 2);
    for (size_t i = 0; i < count; i++)
        probe_done(&probes[i]);
    free(probes);
    fm_loop_free(loop);
}

static void test_full_batch(void **state)
{
    (void)state;
    batch_of(255, 255, 510);
    batch_of(256, 256, 512);
    batch_of(257, 256, 512);
    batch_of(500, 256, 512);
}

/* --- making a loop ------------------------------------------------------------------------------
 */

static void test_no_descriptors(void **state)
{
    (void)state;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int lowest = descriptor_make(0);
    assert_int_equal(close(lowest), 0);
    struct fm_loop *const untouched = (struct fm_loop *)(void *)&before;
    for (unsigned spare = 0; spare <= 2; spare++) {
        struct rlimit tight = {.rlim_cur = (rlim_t)lowest + spare, .rlim_max = before.rlim_max};
        struct fm_loop *loop = untouched;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        int error = fm_loop_new(&loop);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(error, spare < 2 ? FM_ERR_IO : 0);
        if (error)
            assert_ptr_equal(loop, untouched);
        else
            fm_loop_free(loop);
        int fd = descriptor_make(0); /* nothing was left open */
        assert_int_equal(fd, lowest);
        assert_int_equal(close(fd), 0);
    }
}

static int torture_body(void *data)
{
    (void)data;
    struct fm_loop *loop = NULL;
    int error = fm_loop_new(&loop);
    assert_true(!error == (loop != NULL));
    if (!error)
        fm_loop_pass(loop, 0);
    fm_loop_free(loop);
    return error;
}

static void test_torture(void **state)
{
    (void)state;
    assert_null(fm_loop_free(NULL));
    assert_int_equal(torture(torture_body, NULL), 2); /* one allocation */
}

/* --- mistakes -----------------------------------------------------------------------------------
 */

static void on_ready_pass(struct fm_watch *watch, uint32_t events)
{
    (void)events;
    fm_loop_pass(FM_CONTAINER_OF(watch, struct probe, watch)->loop, 0);
}

static void on_ready_free(struct fm_watch *watch, uint32_t events)
{
    (void)events;
    fm_loop_free(FM_CONTAINER_OF(watch, struct probe, watch)->loop);
}

static void pass_with(void (*callback)(struct fm_watch *watch, uint32_t events))
{
    struct probe probe;
    probe_init(&probe, loop_make(), 1, EPOLLIN);
    probe.watch.on_ready = callback;
    fm_loop_pass(probe.loop, 0);
}

static void pass_within_pass(void)
{
    pass_with(on_ready_pass);
}

static void free_within_pass(void)
{
    pass_with(on_ready_free);
}

static void remove_after_close(void)
{
    struct probe probe;
    probe_init(&probe, loop_make(), 1, EPOLLIN);
    (void)close(probe.watch.fd);
    fm_loop_watch_remove(probe.loop, &probe.watch);
}

static void test_mistakes(void **state)
{
    (void)state;
    assert_true(crashes(pass_within_pass));
    assert_true(crashes(free_within_pass));
    assert_true(crashes(remove_after_close));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add_change_remove),
        cmocka_unit_test(test_hang_up_is_always_told),
        cmocka_unit_test(test_refused_descriptors),
        cmocka_unit_test(test_free_in_callback),
        cmocka_unit_test(test_replaced_in_callback),
        cmocka_unit_test(test_changed_in_callback),
        cmocka_unit_test(test_struck_out_is_not_lost),
        cmocka_unit_test(test_order_of_a_pass),
        cmocka_unit_test(test_waits_until),
        cmocka_unit_test(test_full_batch),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_torture),
        cmocka_unit_test(test_mistakes),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
