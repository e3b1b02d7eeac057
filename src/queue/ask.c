/* ask.c - questions about calls, which travel to the worker that is a call's home, and back.
 *
 *      asker's loop                      home's loop                       store's writer
 *      fm_queue_ask() --- message -----> on_question() --- cancel -------> ...
 *      on_answer() <----- message ------ answer() <------- on_done ------- committed
 *
 * A cancellation is decided by the store alone: it says what the call was, in the order of its
 * transactions, so that a race with the call's end has one winner.  What follows from it here, for
 * an entry that waits or runs, comes after.
 *
 * A call that is not on disk (a synchronous one, or one that a call has started) is known to nobody
 * but its worker, so that is asked first.  Its cancellation is answered when it has ended: it may
 * be with another worker just then, and end a little later.
 *
 * Threading: each step on the thread that the picture says. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "call/call.h"
#include "call/function.h"
#include "call/under_way.h"
#include "queue/private.h"
#include "sched/sched.h"

static struct fm_queue *home_of(struct fm_queue *queue, const struct fm_id *id)
{
    return queue->config.all[(id->low & FM_SCHED_WORKERS_MASK) % queue->config.all_count];
}

static struct fm_mailbox *mailbox_of(const struct fm_queue *queue)
{
    return fm_loop_mailbox(queue->config.loop);
}

/* --- back to the asker ------------------------------------------------------------------------ */

static void on_answer(struct fm_message *message)
{
    struct fm_queue_ask *ask = FM_CONTAINER_OF(message, struct fm_queue_ask, message);
    ask->on_answer(ask);
}

static void answer(struct fm_queue_ask *ask, int error)
{
    ask->error = error;
    ask->message.on_message = on_answer;
    fm_mailbox_post(ask->asker, &ask->message);
}

/* --- calls that are not on disk --------------------------------------------------------------- */

static int copy_running(const struct fm_call *call, struct fm_call_record *ret_record)
{
    struct fm_call_record lent;
    fm_sync_lend(call, &lent);
    return fm_call_record_copy(&lent, ret_record);
}

static struct fm_under_way_call *under_way(const struct fm_queue *queue, const struct fm_id *id)
{
    return fm_under_way_find(queue->config.under_way, id);
}

static void recall(struct fm_queue *queue, struct fm_queue_ask *ask)
{
    struct fm_under_way_call *entry = under_way(queue, &ask->id);
    ask->dump = fm_recent_dump_get(queue->config.recent, &ask->id);
    answer(ask, entry ? copy_running(entry->call, &ask->record)
                      : fm_recent_get(queue->config.recent, &ask->id, &ask->record, &ask->log));
}

/* False: memory has no such call. */
static bool cancel_sync(struct fm_queue *queue, struct fm_queue_ask *ask)
{
    struct fm_under_way_call *entry = under_way(queue, &ask->id);
    if (entry) {
        fm_list_push_back(&entry->cancels, &ask->link);
        fm_sched_cancel(queue->config.sched, entry->call, FM_ERR_CANCELLED);
        return true; /* on_end() answers, perhaps already has */
    }
    int failed = fm_recent_get(queue->config.recent, &ask->id, &ask->record, NULL);
    if (failed == FM_ERR_NOT_FOUND)
        return false;
    answer(ask, failed);
    return true;
}

static void on_end(void *data, struct fm_under_way_call *entry)
{
    struct fm_queue *queue = data;
    struct fm_list *link = NULL;
    fm_waits_over(&entry->waits);
    while ((link = fm_list_pop_front(&entry->cancels)) != NULL) {
        struct fm_queue_ask *ask = FM_LIST_ENTRY(link, struct fm_queue_ask, link);
        answer(ask, fm_recent_get(queue->config.recent, &ask->id, &ask->record, NULL));
    }
}

void fm_ask_under_way(struct fm_queue *queue)
{
    queue->config.under_way->data = queue;
    queue->config.under_way->on_end = on_end;
}

void fm_ask_stop(struct fm_queue *queue)
{
    FM_ASSERT(!fm_under_way_next(queue->config.under_way, NULL));
    queue->config.under_way->on_end = NULL;
}

/* --- cancelling ------------------------------------------------------------------------------- */

static void after_cancel(struct fm_queue *queue, const struct fm_calls_cancel *cancel)
{
    struct fm_queue_entry *entry = fm_entry_find(queue, &cancel->id);
    if (!entry)
        return;
    switch (entry->state) {
    case FM_ENTRY_LATER:
    case FM_ENTRY_READY:
        if (cancel->found == FM_STATUS_QUEUED) {
            fm_entry_end(entry, FM_STATUS_CANCELLED);
        } else if (cancel->found == FM_STATUS_RUNNING) { /* claimed, and before the door */
            entry->expired = true; /* any end will do: the row says that it is cancelled */
            fm_attempt_expire(entry);
        }
        break;
    case FM_ENTRY_RUNNING:
        if (cancel->found == FM_STATUS_RUNNING && entry->attempt->call)
            fm_sched_cancel(queue->config.sched, entry->attempt->call, FM_ERR_CANCELLED);
        break;
    case FM_ENTRY_ARRIVING: /* nobody knows its id */
    case FM_ENTRY_CLAIMING: /* the claim is answered next, and says that it is lost */
    case FM_ENTRY_WRITING:  /* the store decides what it becomes */
        break;
    }
}

static void on_cancelled(struct fm_calls_write *write)
{
    struct fm_calls_cancel *cancel = FM_CONTAINER_OF(write, struct fm_calls_cancel, write);
    struct fm_queue_ask *ask = FM_CONTAINER_OF(cancel, struct fm_queue_ask, cancel);
    struct fm_queue *queue = ask->target;
    queue->busy--;
    fm_disk_answer(queue, write->error);
    if (write->error) {
        fm_call_record_done(&cancel->record);
        answer(ask, write->error);
        return;
    }
    ask->record = cancel->record;
    after_cancel(queue, cancel);
    if (cancel->found == FM_STATUS_QUEUED)
        fm_forget_note(queue, cancel->keep_until_real_ns);
    answer(ask, 0);
}

static void cancel(struct fm_queue *queue, struct fm_queue_ask *ask)
{
    if (cancel_sync(queue, ask))
        return;
    const struct fm_queue_entry *entry = fm_entry_find(queue, &ask->id);
    struct fm_function *function = entry ? fm_entry_function(entry) : NULL;
    uint64_t now_real_ns = fm_clock_real_ns();
    ask->cancel = (struct fm_calls_cancel){
        .write = {.on_done = on_cancelled},
        .id = ask->id,
        .finished_real_ns = now_real_ns,
        .keep_until_real_ns =
            now_real_ns +
            fm_queue_retention_ns(queue, function ? &fm_function_version(function)->limits : NULL),
    };
    queue->busy++;
    fm_calls_cancel(queue->config.calls, &ask->cancel, mailbox_of(queue));
}

/* --- driving again ---------------------------------------------------------------------------- */

/* The entry is made first, but for what only the answer can say: who it is of.  So memory may still
 * be out when the row is QUEUED already; then it waits for the next start of the server. */
static void redriven(struct fm_queue *queue, const struct fm_call_record *record)
{
    struct fm_queue_entry *entry = NULL;
    const struct fm_entry_birth birth = {.id = record->id,
                                         .user = record->user,
                                         .function = record->function,
                                         .input_bytes = record->input_bytes,
                                         .accepted = true};
    if (fm_entry_new(queue, &birth, &entry) != 0)
        return;
    entry->parent = record->parent;
    entry->depth = record->depth;
    entry->attempts_max = record->attempts_max;
    entry->run_at_real_ns = record->run_at_real_ns;
    entry->age_ns = fm_queue_age_ns(fm_entry_function(entry));
    fm_entry_wait(entry);
}

static void on_redriven(struct fm_calls_write *write)
{
    struct fm_calls_redrive *redrive = FM_CONTAINER_OF(write, struct fm_calls_redrive, write);
    struct fm_queue_ask *ask = FM_CONTAINER_OF(redrive, struct fm_queue_ask, redrive);
    struct fm_queue *queue = ask->target;
    queue->busy--;
    fm_disk_answer(queue, write->error);
    ask->record = redrive->record;
    if (!write->error)
        redriven(queue, &ask->record);
    answer(ask, write->error);
}

static void redrive(struct fm_queue *queue, struct fm_queue_ask *ask)
{
    if (queue->draining || queue->entries.count >= queue->config.calls_max) {
        answer(ask, FM_ERR_BUSY);
        return;
    }
    ask->redrive = (struct fm_calls_redrive){
        .write = {.on_done = on_redriven}, .id = ask->id, .run_at_real_ns = fm_clock_real_ns()};
    queue->busy++;
    fm_calls_redrive(queue->config.calls, &ask->redrive, mailbox_of(queue));
}

/* --- asking ----------------------------------------------------------------------------------- */

static void on_question(struct fm_message *message)
{
    struct fm_queue_ask *ask = FM_CONTAINER_OF(message, struct fm_queue_ask, message);
    struct fm_queue *queue = ask->target;
    switch (ask->verb) {
    case FM_QUEUE_RECALL:
        recall(queue, ask);
        break;
    case FM_QUEUE_DUMP:
        ask->dump = fm_recent_dump_get(queue->config.recent, &ask->id);
        answer(ask, ask->dump ? 0 : FM_ERR_NOT_FOUND);
        break;
    case FM_QUEUE_CANCEL:
        cancel(queue, ask);
        break;
    case FM_QUEUE_REDRIVE:
        redrive(queue, ask);
        break;
    }
}

void fm_queue_ask(struct fm_queue *queue, struct fm_queue_ask *ask)
{
    ask->error = 0;
    ask->record = (struct fm_call_record){0};
    ask->log = NULL;
    ask->dump = NULL;
    fm_list_init(&ask->link);
    ask->asker = mailbox_of(queue);
    ask->target = home_of(queue, &ask->id);
    ask->message.on_message = on_question;
    fm_mailbox_post(mailbox_of(ask->target), &ask->message);
}

/* --- waiting for an end ----------------------------------------------------------------------- */

/* The asker's part of a wait is in two messages, which both must be back before it is told. */
static void on_wait_back(struct fm_message *message)
{
    struct fm_queue_wait *wait = FM_CONTAINER_OF(message, struct fm_queue_wait, message);
    wait->over = true;
    if (!wait->stopped)
        wait->on_end(wait);
}

static void on_stop_back(struct fm_message *message)
{
    struct fm_queue_wait *wait = FM_CONTAINER_OF(message, struct fm_queue_wait, stop);
    FM_ASSERT(wait->over); /* it was posted before */
    wait->on_end(wait);
}

static void wait_over(struct fm_queue_wait *wait)
{
    fm_list_remove(&wait->link);
    wait->message.on_message = on_wait_back;
    fm_mailbox_post(wait->asker, &wait->message);
}

void fm_waits_over(struct fm_list *waits)
{
    while (!fm_list_empty(waits))
        wait_over(FM_LIST_ENTRY(waits->next, struct fm_queue_wait, link));
}

static void on_wait(struct fm_message *message)
{
    struct fm_queue_wait *wait = FM_CONTAINER_OF(message, struct fm_queue_wait, message);
    struct fm_queue *queue = wait->target;
    struct fm_queue_entry *entry = fm_entry_find(queue, &wait->id);
    struct fm_under_way_call *other = entry ? NULL : under_way(queue, &wait->id);
    if (entry)
        fm_list_push_back(&entry->waits, &wait->link);
    else if (other)
        fm_list_push_back(&other->waits, &wait->link);
    else
        wait_over(wait);
}

static void on_wait_stop(struct fm_message *message)
{
    struct fm_queue_wait *wait = FM_CONTAINER_OF(message, struct fm_queue_wait, stop);
    if (fm_list_linked(&wait->link))
        wait_over(wait);
    message->on_message = on_stop_back;
    fm_mailbox_post(wait->asker, message);
}

void fm_queue_wait(struct fm_queue *queue, struct fm_queue_wait *wait)
{
    wait->asker = mailbox_of(queue);
    wait->target = home_of(queue, &wait->id);
    wait->stopped = false;
    wait->over = false;
    fm_list_init(&wait->link);
    wait->message.on_message = on_wait;
    fm_mailbox_post(mailbox_of(wait->target), &wait->message);
}

void fm_queue_wait_stop(struct fm_queue_wait *wait)
{
    FM_ASSERT(!wait->stopped);
    wait->stopped = true;
    wait->stop.on_message = on_wait_stop;
    fm_mailbox_post(mailbox_of(wait->target), &wait->stop);
}
