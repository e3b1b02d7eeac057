/* handover.c - moves a task between two workers, with all that hangs on it.
 *
 * What to move is decided in balance.c.  Here is what moving means:
 *
 *      the deadline's timer     disarmed where it leaves, armed where it arrives
 *      its sandbox              counted at home, wherever it is: a new call takes one of its
 *                               home's along, so that there are never more than there may be
 *      its guest's memory       its user's on the worker where it is; the credits travel along
 *      its place in the queue   given back when it leaves home: it is about to have its turn
 *      its units, its module    stay at home
 *
 * Cancelling.  A call that is away is only marked (`cancel_error`), and a message sent after it to
 * where it was last: `where` is written by whoever sends the task on, before it does.  There it
 * ends at once if it waits for its turn; if it has moved on in the meantime, whoever has it sees
 * the mark at the next tick, at the end of the slice, or when it arrives.  The message comes back
 * in any case, and before it has the task is not freed.  So the message needs no memory, and nobody
 * follows a task around.
 *
 * Discarded: asking before giving, since both sides would have to remember the question through
 * draining; giving several calls at once, since a slice later there is another chance; parking at
 * the borrower, because whatever wakes a call would then have to find it. */
#include "sched/handover.h"

#include <string.h>

#include "sched/door.h"
#include "sched/sched_private.h"

static struct fm_sched *worker_at(const struct fm_sched *sched, unsigned worker)
{
    return sched->config.peers->peers[worker].sched;
}

static struct fm_mailbox *mailbox_of(const struct fm_sched *sched)
{
    return fm_loop_mailbox(sched->config.loop);
}

/* --- leaving and arriving --------------------------------------------------------------------- */

static void note_progress(struct fm_task *task)
{
    const struct fm_call *call = task->call;
    task->left = (struct fm_progress){
        .state = call->state,
        .started_ns = call->started_ns,
        .cpu_ns = call->cpu_ns,
        .memory_bytes = call->memory_bytes,
    };
}

/* The task is in no list and has no timer here any more. */
static void leave(struct fm_task *task)
{
    struct fm_sched *sched = task->sched;
    fm_loop_timer_cancel(sched->config.loop, &task->timer);
    task->place = FM_TASK_NOWHERE;
    if (task->guest) {
        fm_trimmer_give(&sched->trimmer);
        fm_quotas_memory_leave(task->user, task->memory_bytes, &task->memory_credits);
    }
    if (task->home == sched) {
        fm_task_take_sandbox(task);
        fm_door_started(task);
        note_progress(task);
        task->away = true;
        sched->counts.away++;
    } else {
        fm_list_remove(&task->borrowed_link);
        sched->counts.borrowed--;
    }
}

static void arrive(struct fm_task *task, struct fm_sched *sched, struct fm_user *user)
{
    task->sched = sched;
    task->user = user;
    if (task->guest) {
        fm_trimmer_take(&sched->trimmer);
        fm_quotas_memory_arrive(user, task->memory_bytes, task->memory_credits);
    }
    if (task->home == sched) {
        task->away = false;
        sched->counts.away--;
    } else {
        fm_list_push_back(&sched->borrowed, &task->borrowed_link);
        sched->counts.borrowed++;
    }
}

static void send_to(struct fm_task *task, struct fm_sched *to,
                    void (*on_message)(struct fm_message *message))
{
    task->message.on_message = on_message;
    atomic_store_explicit(&task->where, to->config.worker, memory_order_release);
    fm_mailbox_post(mailbox_of(to), &task->message);
}

static struct fm_task *task_in(struct fm_message *message)
{
    return FM_CONTAINER_OF(message, struct fm_task, message);
}

/* --- at home ---------------------------------------------------------------------------------- */

/* Back, and no message about it is under way: it goes on as what it came back as. */
static void settle(struct fm_task *task)
{
    int error = atomic_load(&task->cancel_error);
    if (task->returned == FM_RETURN_ENDED)
        fm_task_finish(task);
    else if (error)
        fm_task_end(task, error);
    else if (task->returned == FM_RETURN_PARKED)
        fm_task_park(task);
    else
        fm_task_ready(task);
}

static void come_home(struct fm_task *task)
{
    arrive(task, task->home, task->home_user);
    if (!task->cancelling)
        settle(task);
}

static void on_returned(struct fm_message *message)
{
    come_home(task_in(message));
}

static void on_cancel_back(struct fm_message *message)
{
    struct fm_task *task = FM_CONTAINER_OF(message, struct fm_task, cancel);
    task->cancelling = false;
    if (!task->away)
        settle(task);
}

/* On the worker where the task was, and may still be. */
static void on_cancel(struct fm_message *message)
{
    struct fm_task *task = FM_CONTAINER_OF(message, struct fm_task, cancel);
    struct fm_sched *sched = task->cancel_at;
    bool here = atomic_load_explicit(&task->where, memory_order_acquire) == sched->config.worker;
    /* Under way to here it is NOWHERE: it will see the mark when it arrives. */
    if (here && task->place == FM_TASK_READY) {
        fm_runqueue_remove(&sched->queue, fm_task_lane(task), &task->user->turns, &task->link);
        fm_task_end(task, atomic_load(&task->cancel_error));
    }
    task->cancel.on_message = on_cancel_back;
    fm_mailbox_post(mailbox_of(task->home), &task->cancel);
}

void fm_handover_cancel(struct fm_task *task, int error)
{
    FM_ASSERT(task->away);
    if (task->cancelling)
        return;
    task->cancelling = true;
    atomic_store(&task->cancel_error, error);
    unsigned worker = atomic_load_explicit(&task->where, memory_order_acquire);
    task->cancel_at = worker_at(task->home, worker);
    task->cancel.on_message = on_cancel;
    fm_mailbox_post(mailbox_of(task->cancel_at), &task->cancel);
}

/* --- at the borrower -------------------------------------------------------------------------- */

void fm_handover_return(struct fm_task *task, enum fm_return how)
{
    FM_ASSERT(task->home != task->sched);
    task->returned = how;
    leave(task);
    send_to(task, task->home, on_returned);
}

static void take(struct fm_sched *sched, struct fm_task *task)
{
    const char *name = task->home_user->account->name;
    struct fm_user *user = fm_user_get(sched, name, strlen(name));
    if (!user || sched->recalled) { /* no memory even for the user; or nobody runs anything here */
        task->returned = FM_RETURN_READY;
        send_to(task, task->home, on_returned);
        return;
    }
    arrive(task, sched, user);
    int error = atomic_load(&task->cancel_error);
    if (error)
        fm_task_end(task, error);
    else
        fm_task_ready(task);
}

static void on_given(struct fm_message *message)
{
    struct fm_task *task = task_in(message);
    struct fm_sched *sched =
        worker_at(task->home, atomic_load_explicit(&task->where, memory_order_acquire));
    if (sched->draining)
        sched->closed = true; /* it stays claimed: nothing more comes */
    else
        fm_balance_received(sched->config.peers, sched->config.worker);
    sched->told_idle = false;
    sched->counts.received++;
    task->returned = FM_RETURN_READY;
    if (task->home == sched)
        come_home(task); /* it had been lent, and now comes as a gift */
    else
        take(sched, task);
}

/* --- giving ----------------------------------------------------------------------------------- */

static bool can_move(struct fm_list *link)
{
    return !FM_CONTAINER_OF(link, struct fm_task, link)->call->pinned;
}

void fm_handover_give(struct fm_sched *sched, struct fm_turns *turns)
{
    struct fm_peers *peers = sched->config.peers;
    if (!peers || sched->draining)
        return;
    struct fm_giver giver = {
        .worker = sched->config.worker,
        .lanes = fm_sched_lanes(sched),
        .can_move = can_move,
    };
    struct fm_gift gift;
    while (fm_balance_give(peers, &giver, &sched->queue, turns, &gift)) {
        struct fm_task *task = FM_LIST_ENTRY(gift.link, struct fm_task, link);
        leave(task);
        sched->counts.given++;
        send_to(task, worker_at(sched, gift.worker), on_given);
        giver.lanes = fm_sched_lanes(sched);
    }
}

void fm_handover_tell(struct fm_sched *sched)
{
    struct fm_peers *peers = sched->config.peers;
    if (!peers)
        return;
    bool idle = fm_runqueue_empty(&sched->queue);
    if (idle != sched->told_idle)
        fm_balance_idle(peers, sched->config.worker, idle);
    sched->told_idle = idle;
}

/* --- the end ---------------------------------------------------------------------------------- */

void fm_handover_close(struct fm_sched *sched)
{
    struct fm_peers *peers = sched->config.peers;
    sched->closed = !peers || fm_balance_close(peers, sched->config.worker);
}

void fm_handover_recall(struct fm_sched *sched)
{
    sched->recalled = true;
    while (!fm_list_empty(&sched->borrowed)) {
        struct fm_task *task = FM_LIST_ENTRY(sched->borrowed.next, struct fm_task, borrowed_link);
        FM_ASSERT(task->place == FM_TASK_READY); /* no thread is inside any more */
        fm_runqueue_remove(&sched->queue, fm_task_lane(task), &task->user->turns, &task->link);
        fm_handover_return(task, FM_RETURN_READY);
    }
}
