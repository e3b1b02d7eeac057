/* mailbox.c - the one way in which threads talk to a loop.
 *
 *      post:     newest -> c -> b -> a          push: one compare-and-swap
 *      receive:  read the eventfd, take all     one exchange; then turned round: a, b, c
 *
 * Discarded: a ring between every two workers (memory grows with their square, and a full ring
 * makes posting fail), and a queue under a lock (a sender that is preempted while holding it stops
 * the receiver; here a loop never waits for anybody).
 *
 * The eventfd is written by the sender that found the stack empty, and by no other.  The receiver
 * takes the stack only after it has read the eventfd.  The order of these four steps matters twice:
 *
 *   - Nothing is lost.  A stack that is not empty has had its write, or its first sender is about
 * to write.  Taking first and reading afterwards could swallow the write of a sender in between.
 *   - Nobody is left behind.  Each stack that is taken was preceded by the write of its first
 * sender, and the other senders touch nothing after their compare-and-swap.  So once a message is
 * handled, its sender is through with the mailbox: whoever has received the last message may free
 * the loop at once, without waiting for the senders' threads.
 *
 * Messages are bounded by the objects in which they are embedded, so there is no limit here.
 *
 * Lifetime: part of the loop.  Threading: posting from any thread, the rest by the loop's thread.
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "loop/mailbox_private.h"

int fm_mailbox_init(struct fm_mailbox *mailbox)
{
    atomic_init(&mailbox->newest, NULL);
    mailbox->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (mailbox->event_fd < 0)
        return errno == ENOMEM ? FM_ERR_NOMEM : FM_ERR_IO;
    return 0;
}

void fm_mailbox_done(struct fm_mailbox *mailbox)
{
    if (mailbox->event_fd >= 0)
        (void)close(mailbox->event_fd); /* holds no data that could be lost */
    mailbox->event_fd = -1;
}

static void wake(int event_fd)
{
    uint64_t one = 1;
    while (write(event_fd, &one, sizeof(one)) < 0) {
        if (errno == EAGAIN)
            return; /* the counter is full: then the loop wakes without us */
        FM_ASSERT(errno == EINTR);
    }
}

/* False: nobody has woken us since the last time. */
static bool woken(int event_fd)
{
    uint64_t wakes = 0;
    while (read(event_fd, &wakes, sizeof(wakes)) < 0) {
        if (errno == EAGAIN)
            return false;
        FM_ASSERT(errno == EINTR);
    }
    return true;
}

void fm_mailbox_post(struct fm_mailbox *mailbox, struct fm_message *message)
{
    struct fm_message *newest = atomic_load_explicit(&mailbox->newest, memory_order_relaxed);
    do {
        message->next = newest;
    } while (!atomic_compare_exchange_weak_explicit(&mailbox->newest, &newest, message,
                                                    memory_order_release, memory_order_relaxed));
    /* The message is the receiver's now, and unless it was the first the mailbox may be gone. */
    if (!newest)
        wake(mailbox->event_fd);
}

/* The whole stack, oldest first. */
static struct fm_message *take_all(struct fm_mailbox *mailbox)
{
    struct fm_message *newest =
        atomic_exchange_explicit(&mailbox->newest, NULL, memory_order_acquire);
    struct fm_message *oldest = NULL;
    while (newest) {
        struct fm_message *older = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = older;
    }
    return oldest;
}

void fm_mailbox_receive(struct fm_mailbox *mailbox)
{
    if (!woken(mailbox->event_fd))
        return;
    struct fm_message *message = take_all(mailbox);
    while (message) {
        struct fm_message *next = message->next; /* the callback may free or post the message */
        message->on_message(message);
        message = next;
    }
}
