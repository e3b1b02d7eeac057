/* attempt.c - from a call that is due to a call at the scheduler.
 *
 *      READY -- place? --> CLAIMING -- on disk? --> RUNNING --> outcome.c
 *        ^                                             |
 *        +------ held back, its claim stands <---------+   the door refused it
 *
 * pump() gives places to calls until there are none of one or the other.  It is called by
 * everything that adds a call or frees a place, mostly by a message to ourselves: a call that ends
 * inside pump() must not run pump() again, and a chain of chains must not become a chain of stack
 * frames.
 *
 * A call that the door refuses (BUSY, QUOTA, NOMEM), or that waits behind it for longer than its
 * wall_ms or until it is too old, has not begun.  Its claim stays; its function is held back for a
 * while, and then it comes to the door again as the same attempt.  So a full server or a small
 * `concurrency` costs no attempts and no writes.
 *
 * Threading: the worker's. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "call/call.h"
#include "call/function.h"
#include "queue/private.h"
#include "sched/sched.h"

#define INPUT_PAUSE_NS FM_NS_PER_S /* then a claim whose input could not be read is made again */

/* --- an attempt's memory ---------------------------------------------------------------------- */

int fm_attempt_begin(struct fm_queue_entry *entry)
{
    FM_ASSERT(!entry->attempt);
    entry->attempt = calloc(1, sizeof(*entry->attempt));
    if (!entry->attempt)
        return FM_ERR_NOMEM;
    entry->attempt->entry = entry;
    return 0;
}

void fm_attempt_end(struct fm_queue_entry *entry)
{
    struct fm_attempt *attempt = entry->attempt;
    entry->attempt = NULL;
    fm_batch_drop(attempt->children);
    if (attempt->call)
        fm_sched_call_free(entry->queue->config.sched, attempt->call);
    free(attempt);
}

static void give_place(struct fm_queue_entry *entry)
{
    if (entry->placed)
        fm_ready_give(entry->target);
    entry->placed = false;
}

/* Back to the first place of its function's calls, which are held back. */
static void hold(struct fm_queue_entry *entry)
{
    if (entry->attempt)
        fm_attempt_end(entry);
    give_place(entry);
    fm_entry_wait_first(entry);
    fm_ready_hold(entry->target, fm_queue_random(entry->queue));
}

/* --- running ---------------------------------------------------------------------------------- */

/* A deadline that passes while the call waits behind the door is a kind of refusal. */
static bool refused(const struct fm_call *call)
{
    return call->started_ns == 0 && (call->error == FM_ERR_BUSY || call->error == FM_ERR_QUOTA ||
                                     call->error == FM_ERR_NOMEM || call->error == FM_ERR_DEADLINE);
}

static void on_call_done(struct fm_call *call)
{
    struct fm_attempt *attempt = call->owner;
    struct fm_queue_entry *entry = attempt->entry;
    struct fm_queue *queue = entry->queue;
    if (refused(call) && !attempt->broken_off) {
        if (queue->draining)
            fm_attempt_give_back(attempt, 0);
        else
            hold(entry);
        return;
    }
    fm_ready_admitted(entry->target);
    queue->counts.attempts++;
    fm_attempt_conclude(attempt);
    fm_queue_wake(queue);
}

/* Its claim is on disk, its input here, its place taken. */
static void run(struct fm_queue_entry *entry)
{
    struct fm_sched *sched = entry->queue->config.sched;
    struct fm_attempt *attempt = entry->attempt;
    struct fm_function *function = fm_entry_function(entry);
    fm_entry_set_state(entry, FM_ENTRY_RUNNING);
    if (!function) {
        fm_attempt_fail(attempt, FM_ERR_NOT_FOUND, "the function does not exist any more");
        return;
    }
    const struct fm_limits *limits = &fm_function_version(function)->limits;
    fm_ready_target_limit(entry->target, limits->concurrency);
    if (entry->expired) {
        fm_attempt_fail(attempt, FM_ERR_DEADLINE,
                        "it was not started within the function's limit age_ms");
        return;
    }
    if (entry->input_bytes > limits->input_bytes) {
        fm_attempt_fail(attempt, FM_ERR_TOO_LARGE,
                        "the input is over the limit input_bytes that the function now has");
        return;
    }
    if (fm_sched_call_new(sched, function, &attempt->call) != 0) {
        hold(entry);
        return;
    }
    struct fm_call *call = attempt->call;
    call->id = entry->id;
    call->parent = entry->parent;
    call->attempt = entry->number;
    call->depth = entry->depth;
    call->input = entry->input;
    call->input_bytes = entry->input_bytes;
    call->wait_for_quota = true;
    call->owner = attempt;
    call->on_done = on_call_done;
    if (fm_sched_submit(sched, call) == FM_SUBMIT_DONE)
        on_call_done(call);
    else
        fm_entry_wait_behind_door(entry);
}

bool fm_attempt_waits(const struct fm_queue_entry *entry)
{
    if (entry->state != FM_ENTRY_RUNNING || !entry->attempt || !entry->attempt->call)
        return false;
    struct fm_progress progress;
    fm_sched_progress(entry->attempt->call, &progress);
    /* Another worker gets it when its turn has come: from there it is not taken back. */
    return progress.state != FM_CALL_DONE && progress.started_ns == 0 && !progress.away;
}

void fm_attempt_withdraw(struct fm_queue_entry *entry)
{
    fm_sched_cancel(entry->queue->config.sched, entry->attempt->call, FM_ERR_DEADLINE);
}

/* --- claiming --------------------------------------------------------------------------------- */

static void claim_lost(struct fm_queue_entry *entry, enum fm_call_status found)
{
    FM_ASSERT(fm_call_status_ended(found)); /* nobody else makes attempts */
    fm_attempt_end(entry);
    fm_entry_end(entry, found);
}

static void claim_won(struct fm_queue_entry *entry, int input_error)
{
    struct fm_queue *queue = entry->queue;
    struct fm_attempt *attempt = entry->attempt;
    struct fm_calls_claim *claim = &attempt->claim;
    entry->number = claim->attempt;
    entry->claimed = true;
    if (claim->input) {
        FM_ASSERT(!entry->input);
        entry->input = claim->input;
        entry->input_bytes = claim->input_bytes;
        queue->counts.inputs_bytes += entry->input_bytes;
    }
    if (input_error)
        fm_attempt_give_back(attempt, INPUT_PAUSE_NS);
    else if (queue->draining)
        fm_attempt_give_back(attempt, 0);
    else
        run(entry);
}

static void on_claimed(struct fm_calls_write *write)
{
    struct fm_calls_claim *claim = FM_CONTAINER_OF(write, struct fm_calls_claim, write);
    struct fm_attempt *attempt = FM_CONTAINER_OF(claim, struct fm_attempt, claim);
    struct fm_queue_entry *entry = attempt->entry;
    struct fm_queue *queue = entry->queue;
    fm_disk_answer(queue, write->error);
    if (claim->won) {
        claim_won(entry, write->error);
    } else if (!write->error) {
        claim_lost(entry, claim->found);
    } else if (write->error == FM_ERR_NOT_FOUND) {
        claim_lost(entry, FM_STATUS_FAILED); /* its row was removed by somebody else */
    } else {
        fm_attempt_end(entry);
        give_place(entry);
        fm_entry_wait_first(entry); /* the pause of the disk holds it back */
    }
    fm_queue_wake(queue);
}

static void claim(struct fm_queue_entry *entry)
{
    struct fm_queue *queue = entry->queue;
    fm_entry_set_state(entry, FM_ENTRY_CLAIMING);
    entry->attempt->claim = (struct fm_calls_claim){
        .write = {.on_done = on_claimed},
        .id = entry->id,
        .started_real_ns = fm_clock_real_ns(),
        .want_input = !entry->input,
    };
    fm_calls_claim(queue->config.calls, &entry->attempt->claim,
                   fm_loop_mailbox(queue->config.loop));
}

/* --- whose turn it is ------------------------------------------------------------------------- */

static void start(struct fm_queue_entry *entry)
{
    if (fm_attempt_begin(entry) != 0) {
        hold(entry);
        return;
    }
    if (!entry->claimed) {
        claim(entry);
        return;
    }
    run(entry);
}

/* Results that are not on disk yet are memory, too. */
static bool can_start(const struct fm_queue *queue)
{
    return !queue->draining && !queue->disk_paused && queue->ends < FM_QUEUE_WRITING_MAX &&
           (queue->ends_bytes <= queue->config.inputs_bytes_max || queue->ready.places == 0);
}

/* An input that has to be read must find room, except when nothing runs that could make some. */
static bool input_fits(const struct fm_queue_entry *entry)
{
    const struct fm_queue *queue = entry->queue;
    return entry->input || queue->ready.places == 1 || /* its own */
           queue->counts.inputs_bytes + entry->input_bytes <= queue->config.inputs_bytes_max;
}

void fm_queue_pump(struct fm_queue *queue)
{
    if (queue->pumping)
        return;
    queue->pumping = true;
    while (can_start(queue)) {
        struct fm_list *link = fm_ready_next(&queue->ready);
        if (!link)
            break;
        struct fm_queue_entry *entry = FM_LIST_ENTRY(link, struct fm_queue_entry, link);
        entry->placed = true;
        fm_entry_set_state(entry, FM_ENTRY_CLAIMING);
        if (!input_fits(entry)) {
            give_place(entry);
            fm_entry_set_state(entry, FM_ENTRY_READY);
            fm_ready_push(entry->target, &entry->link, true);
            break; /* an end wakes us */
        }
        start(entry);
    }
    queue->pumping = false;
}

static void on_wake(struct fm_message *message)
{
    struct fm_queue *queue = FM_CONTAINER_OF(message, struct fm_queue, wake);
    queue->wake_posted = false;
    fm_queue_pump(queue);
}

void fm_queue_wake(struct fm_queue *queue)
{
    if (queue->wake_posted || queue->stopped)
        return;
    queue->wake_posted = true;
    queue->wake.on_message = on_wake;
    fm_mailbox_post(fm_loop_mailbox(queue->config.loop), &queue->wake);
}

/* Too old to be started: it is claimed all the same, without waiting for a place, because only
 * attempts have ends.  Without memory for that it waits on. */
void fm_attempt_expire(struct fm_queue_entry *entry)
{
    if (entry->state == FM_ENTRY_READY)
        fm_ready_remove(entry->target, &entry->link);
    fm_entry_set_state(entry, FM_ENTRY_CLAIMING);
    if (fm_attempt_begin(entry) != 0) {
        fm_entry_wait_first(entry);
        return;
    }
    if (entry->claimed)
        run(entry);
    else
        claim(entry);
}
