/* test_mailbox.c - messages: order, wake-ups that are neither lost nor repeated, and lifetime.
 *
 * This program has its own write() and read(), which pass everything on, but can hold up or disturb
 * those of one eventfd: that is how the moment between pushing and waking becomes long enough to be
 * looked at. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "loop/loop.h"
#include "loop/mailbox_private.h"

/* --- disturbances ----------------------------------------------------------------------------- */

static ssize_t (*real_write)(int fd, const void *data, size_t bytes);
static ssize_t (*real_read)(int fd, void *data, size_t bytes);

static struct {
    atomic_int fd; /* -1: nothing is disturbed */
    atomic_int interrupts;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held; /* writes wait while this is set */
    bool waiting;
} disturb = {
    .fd = -1,
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .changed = PTHREAD_COND_INITIALIZER,
};

static bool interrupted(int fd)
{
    if (fd != atomic_load(&disturb.fd) || atomic_load(&disturb.interrupts) == 0)
        return false;
    atomic_fetch_sub(&disturb.interrupts, 1);
    errno = EINTR;
    return true;
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    if (interrupted(fd))
        return -1;
    if (fd == atomic_load(&disturb.fd)) {
        pthread_mutex_lock(&disturb.lock);
        disturb.waiting = true;
        pthread_cond_broadcast(&disturb.changed);
        while (disturb.held)
            pthread_cond_wait(&disturb.changed, &disturb.lock);
        pthread_mutex_unlock(&disturb.lock);
    }
    return real_write ? real_write(fd, data, bytes) : syscall(SYS_write, fd, data, bytes);
}

ssize_t read(int fd, void *data, size_t bytes)
{
    if (interrupted(fd))
        return -1;
    return real_read ? real_read(fd, data, bytes) : syscall(SYS_read, fd, data, bytes);
}

static void find_real(void)
{
    void *symbol = dlsym(RTLD_NEXT, "write");
    memcpy(&real_write, &symbol, sizeof(symbol));
    symbol = dlsym(RTLD_NEXT, "read");
    memcpy(&real_read, &symbol, sizeof(symbol));
}

/* --- one thread ---------------------------------------------------------------------------------
 */

struct letter {
    struct fm_message message;
    struct fm_mailbox *reply_to; /* posted there when it arrives; NULL: it stays */
    unsigned number;
};

static unsigned received[100];
static unsigned received_count;

static void on_letter(struct fm_message *message)
{
    struct letter *letter = FM_CONTAINER_OF(message, struct letter, message);
    assert_true(received_count < FM_ARRAY_LENGTH(received));
    received[received_count++] = letter->number;
    if (letter->reply_to)
        fm_mailbox_post(letter->reply_to, message);
}

static void on_letter_free(struct fm_message *message)
{
    on_letter(message);
    free(FM_CONTAINER_OF(message, struct letter, message));
}

static uint64_t wakes_take(const struct fm_mailbox *mailbox)
{
    uint64_t wakes = 0;
    if (read(mailbox->event_fd, &wakes, sizeof(wakes)) < 0)
        assert_int_equal(errno, EAGAIN);
    return wakes;
}

static void wakes_give(const struct fm_mailbox *mailbox, uint64_t wakes)
{
    assert_int_equal(write(mailbox->event_fd, &wakes, sizeof(wakes)), sizeof(wakes));
}

static void test_order_and_wakes(void **state)
{
    (void)state;
    struct fm_mailbox mailbox;
    struct letter letters[3];
    assert_int_equal(fm_mailbox_init(&mailbox), 0);
    assert_int_equal(wakes_take(&mailbox), 0);
    for (int round = 0; round < 3; round++) {
        received_count = 0;
        for (unsigned i = 0; i < 3; i++) {
            letters[i] = (struct letter){.message.on_message = on_letter, .number = i};
            fm_mailbox_post(&mailbox, &letters[i].message);
        }
        assert_int_equal(wakes_take(&mailbox), 1); /* one for all three */
        fm_mailbox_receive(&mailbox);
        assert_int_equal(received_count, 0); /* not before it is woken */
        wakes_give(&mailbox, 1);
        fm_mailbox_receive(&mailbox);
        assert_int_equal(received_count, 3);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(received[i], i);
        fm_mailbox_receive(&mailbox);
        assert_int_equal(received_count, 3);
    }
    fm_mailbox_done(&mailbox);
}

static void test_post_from_callback(void **state)
{
    (void)state;
    struct fm_loop *loop = NULL;
    assert_int_equal(fm_loop_new(&loop), 0);
    struct fm_mailbox *mailbox = fm_loop_mailbox(loop);
    struct letter first = {.message.on_message = on_letter, .reply_to = mailbox, .number = 1};
    struct letter second = {.message.on_message = on_letter, .reply_to = mailbox, .number = 2};
    received_count = 0;
    fm_mailbox_post(mailbox, &first.message);
    fm_mailbox_post(mailbox, &second.message);
    for (unsigned pass = 1; pass <= 10; pass++) {
        fm_loop_pass(loop, UINT64_MAX);
        assert_int_equal(received_count,
                         2 * pass); /* each once a pass, and the loop does not sleep */
        assert_int_equal(received[received_count - 2], 1);
        assert_int_equal(received[received_count - 1], 2);
    }
    first.reply_to = NULL;
    second.reply_to = NULL;
    fm_loop_pass(loop, UINT64_MAX);
    fm_loop_pass(loop, 0);
    assert_int_equal(received_count, 22);
    fm_loop_free(loop);
}

static void test_free_in_callback(void **state)
{
    (void)state;
    struct fm_loop *loop = NULL;
    assert_int_equal(fm_loop_new(&loop), 0);
    received_count = 0;
    for (unsigned i = 0; i < 50; i++) {
        struct letter *letter = calloc(1, sizeof(*letter));
        assert_non_null(letter);
        *letter = (struct letter){.message.on_message = on_letter_free, .number = i};
        fm_mailbox_post(fm_loop_mailbox(loop), &letter->message);
    }
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(received_count, 50);
    fm_loop_free(loop);
}

static void test_disturbed_eventfd(void **state)
{
    (void)state;
    struct fm_mailbox mailbox;
    struct letter letter = {.message.on_message = on_letter};
    assert_int_equal(fm_mailbox_init(&mailbox), 0);
    received_count = 0;

    wakes_give(&mailbox, UINT64_MAX - 1); /* full: one more write would block */
    fm_mailbox_post(&mailbox, &letter.message);
    fm_mailbox_receive(&mailbox);
    assert_int_equal(received_count, 1);

    atomic_store(&disturb.fd, mailbox.event_fd);
    atomic_store(&disturb.interrupts, 3);
    fm_mailbox_post(&mailbox, &letter.message);
    assert_int_equal(atomic_load(&disturb.interrupts), 0);
    atomic_store(&disturb.interrupts, 3);
    fm_mailbox_receive(&mailbox);
    assert_int_equal(atomic_load(&disturb.interrupts), 0);
    assert_int_equal(received_count, 2);
    atomic_store(&disturb.fd, -1);
    fm_mailbox_done(&mailbox);
}

/* --- lifetime -----------------------------------------------------------------------------------
 */

struct sender {
    pthread_t thread;
    struct fm_mailbox *mailbox;
    struct letter *letters;
    unsigned count;
};

static void *sender_main(void *data)
{
    struct sender *sender = data;
    for (unsigned i = 0; i < sender->count; i++)
        fm_mailbox_post(sender->mailbox, &sender->letters[i].message);
    return NULL;
}

static void sender_start(struct sender *sender)
{
    assert_int_equal(pthread_create(&sender->thread, NULL, sender_main, sender), 0);
}

/* A sender stands between pushing and waking: its message must not be handled yet, because it is
 * going to touch the mailbox once more. */
static void test_not_before_the_wake(void **state)
{
    (void)state;
    struct fm_loop *loop = NULL;
    assert_int_equal(fm_loop_new(&loop), 0);
    struct letter letters[2] = {{.message.on_message = on_letter, .number = 1},
                                {.message.on_message = on_letter, .number = 2}};
    struct sender sender = {.mailbox = fm_loop_mailbox(loop), .letters = &letters[0], .count = 1};
    received_count = 0;
    disturb.held = true;
    disturb.waiting = false;
    atomic_store(&disturb.fd, sender.mailbox->event_fd);
    sender_start(&sender);
    pthread_mutex_lock(&disturb.lock);
    while (!disturb.waiting)
        pthread_cond_wait(&disturb.changed, &disturb.lock);
    pthread_mutex_unlock(&disturb.lock);

    fm_mailbox_post(sender.mailbox, &letters[1].message); /* finds a stack that is not empty */
    for (int i = 0; i < 10; i++)
        fm_loop_pass(loop, 0);
    assert_int_equal(received_count, 0);

    pthread_mutex_lock(&disturb.lock);
    disturb.held = false;
    pthread_cond_broadcast(&disturb.changed);
    pthread_mutex_unlock(&disturb.lock);
    fm_loop_pass(loop, UINT64_MAX);
    assert_int_equal(received_count, 2);
    assert_int_equal(received[0], 1);
    assert_int_equal(received[1], 2);
    assert_int_equal(pthread_join(sender.thread, NULL), 0);
    atomic_store(&disturb.fd, -1);
    fm_loop_free(loop);
}

/* The loop is freed as soon as the last message was handled, while its sender may still be
 * returning. */
static void test_free_after_last_message(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        struct fm_loop *loop = NULL;
        assert_int_equal(fm_loop_new(&loop), 0);
        struct letter letters[4];
        struct sender senders[2];
        received_count = 0;
        for (unsigned i = 0; i < 4; i++)
            letters[i] = (struct letter){.message.on_message = on_letter};
        for (unsigned i = 0; i < 2; i++) {
            senders[i] = (struct sender){
                .mailbox = fm_loop_mailbox(loop), .letters = &letters[2 * i], .count = 2};
            sender_start(&senders[i]);
        }
        while (received_count < 4)
            fm_loop_pass(loop, UINT64_MAX);
        fm_loop_free(loop);
        for (unsigned i = 0; i < 2; i++)
            assert_int_equal(pthread_join(senders[i].thread, NULL), 0);
    }
}

/* --- many threads -------------------------------------------------------------------------------
 */

enum {
    SENDERS = 8,
    LETTERS = 20000,
};

static unsigned expected[SENDERS]; /* the number of the next letter of each */
static unsigned arrived;

static void on_numbered(struct fm_message *message)
{
    unsigned number = FM_CONTAINER_OF(message, struct letter, message)->number;
    unsigned sender = number / LETTERS;
    assert_int_equal(number % LETTERS, expected[sender]);
    expected[sender] += 1;
    arrived += 1;
}

static void test_many_senders(void **state)
{
    (void)state;
    struct fm_loop *loop = NULL;
    struct sender senders[SENDERS];
    assert_int_equal(fm_loop_new(&loop), 0);
    memset(expected, 0, sizeof(expected));
    arrived = 0;
    for (unsigned s = 0; s < SENDERS; s++) {
        struct letter *letters = calloc(LETTERS, sizeof(*letters));
        assert_non_null(letters);
        for (unsigned i = 0; i < LETTERS; i++)
            letters[i] =
                (struct letter){.message.on_message = on_numbered, .number = s * LETTERS + i};
        senders[s] =
            (struct sender){.mailbox = fm_loop_mailbox(loop), .letters = letters, .count = LETTERS};
    }
    for (unsigned s = 0; s < SENDERS; s++)
        sender_start(&senders[s]);
    while (arrived < SENDERS * LETTERS)
        fm_loop_pass(loop, UINT64_MAX); /* a lost wake-up hangs here */
    fm_loop_pass(loop, 0);
    assert_int_equal(arrived, SENDERS * LETTERS);
    for (unsigned s = 0; s < SENDERS; s++) {
        assert_int_equal(pthread_join(senders[s].thread, NULL), 0);
        assert_int_equal(expected[s], LETTERS);
        free(senders[s].letters);
    }
    fm_loop_free(loop);
}

/* A few balls between two loops: most of the time both sleep, so each wake-up counts. */
enum {
    BALLS = 3,
    TOUCHES = 20000, /* of one ball, on each side */
};

struct player {
    struct fm_loop *loop;
    struct player *other;
    unsigned touches; /* all balls, this side */
};

struct ball {
    struct fm_message message;
    struct player *at; /* who gets it next; changed by whoever holds the ball, as is `left` */
    unsigned left;     /* touches, both sides */
};

static void on_ball(struct fm_message *message)
{
    struct ball *ball = FM_CONTAINER_OF(message, struct ball, message);
    ball->at->touches += 1;
    ball->left -= 1;
    if (ball->left == 0)
        return;
    ball->at = ball->at->other;
    fm_mailbox_post(fm_loop_mailbox(ball->at->loop), message);
}

static void *player_main(void *data)
{
    struct player *player = data;
    while (player->touches < BALLS * TOUCHES)
        fm_loop_pass(player->loop, UINT64_MAX);
    return NULL;
}

static void test_two_loops(void **state)
{
    (void)state;
    struct player players[2] = {{.other = &players[1]}, {.other = &players[0]}};
    struct ball balls[BALLS];
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(fm_loop_new(&players[i].loop), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, player_main, &players[1]), 0);
    for (size_t i = 0; i < BALLS; i++) {
        balls[i] =
            (struct ball){.message.on_message = on_ball, .at = &players[0], .left = 2 * TOUCHES};
        fm_mailbox_post(fm_loop_mailbox(players[0].loop), &balls[i].message);
    }
    player_main(&players[0]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(players[i].touches, BALLS * TOUCHES);
        fm_loop_free(players[i].loop);
    }
}

int main(void)
{
    find_real();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_wakes),     cmocka_unit_test(test_post_from_callback),
        cmocka_unit_test(test_free_in_callback),    cmocka_unit_test(test_disturbed_eventfd),
        cmocka_unit_test(test_not_before_the_wake), cmocka_unit_test(test_free_after_last_message),
        cmocka_unit_test(test_many_senders),        cmocka_unit_test(test_two_loops),
    };
    return cmocka_run_group_tests_name("mailbox", tests, NULL, NULL);
}
