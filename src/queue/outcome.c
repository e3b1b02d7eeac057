/* outcome.c - what becomes of a call whose attempt is over, and that this gets to the disk.
 *
 *      the guest ended well          SUCCEEDED, in one write with its chained calls
 *      chained calls impossible      FAILED: chain_target, storage_full...; the output is kept
 *      cancelled                     CANCELLED
 *      BUSY, NOMEM, QUOTA            another attempt, up to FM_QUEUE_CRASH_ATTEMPTS or `attempts`
 *      exit code, trap, limit...     another attempt, up to the function's limit `attempts`
 *      no attempts left              DEAD if it may have several, FAILED if one
 *      broken off by our own end     QUEUED; the attempt does not count
 *
 * A deadline counts as the function's own fault: whoever set wall_ms said how long an attempt is
 * worth waiting for, and trying again is what `attempts` is for.
 *
 * The pause before another attempt is "full jitter": a random time up to retry_ms, doubled for each
 * attempt, at most an hour; so that what failed together does not come back together.
 *
 * Until the end is on disk, output and log stay in memory with the call, and nobody sees them.  If
 * the store does not take the write it is tried again, again and again, with pauses (disk.c);
 * meanwhile no new attempts start, so what is held that way is bounded by the places that there
 * are.
 *
 * Threading: the worker's. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "call/call.h"
#include "call/function.h"
#include "queue/private.h"
#include "sched/sched.h"

static const struct fm_limits *limits_of(const struct fm_attempt *attempt)
{
    if (attempt->call)
        return &attempt->call->limits;
    struct fm_function *function = fm_entry_function(attempt->entry);
    return function ? &fm_function_version(function)->limits : NULL;
}

/* --- writing the end -------------------------------------------------------------------------- */

static void on_finished(struct fm_calls_write *write);

static void write_end(struct fm_attempt *attempt)
{
    struct fm_queue *queue = attempt->entry->queue;
    struct fm_calls_finish *finish = &attempt->finish;
    finish->write.on_done = on_finished;
    if (attempt->children) {
        finish->children = attempt->children->rows;
        finish->children_count = attempt->children->count;
    }
    fm_calls_finish(queue->config.calls, finish, fm_loop_mailbox(queue->config.loop));
}

/* The guest is over: its place is free, its input needed only if there will be another attempt. */
static void begin_writing(struct fm_attempt *attempt)
{
    struct fm_queue_entry *entry = attempt->entry;
    struct fm_queue *queue = entry->queue;
    struct fm_calls_finish *finish = &attempt->finish;
    finish->id = entry->id;
    finish->finished_real_ns = fm_clock_real_ns();
    finish->keep_until_real_ns =
        finish->finished_real_ns + fm_queue_retention_ns(queue, limits_of(attempt));
    if (finish->status != FM_STATUS_QUEUED)
        fm_entry_input_drop(entry);
    fm_entry_set_state(entry, FM_ENTRY_WRITING);
    if (entry->placed)
        fm_ready_give(entry->target);
    entry->placed = false;
    queue->ends++;
    queue->ends_bytes += finish->output_bytes + finish->log_bytes;
    write_end(attempt);
}

/* The parent has succeeded, but its children cannot be started. */
static void fail_for_children(struct fm_attempt *attempt, const struct fm_error *error)
{
    struct fm_calls_finish *finish = &attempt->finish;
    const char *text = fm_arena_strndup(&attempt->call->arena, error->text, strlen(error->text));
    finish->status = FM_STATUS_FAILED;
    finish->error = error->code;
    finish->limit = error->code == FM_ERR_QUOTA ? "queue_length" : NULL;
    finish->detail = text ? text : fm_err_meaning(error->code);
}

static void fail_for_disk(struct fm_attempt *attempt, int code)
{
    struct fm_error error = {0};
    fm_batch_drop(attempt->children);
    attempt->children = NULL;
    attempt->finish.children = NULL;
    attempt->finish.children_count = 0;
    (void)fm_error_set(&error, code, "the chained calls cannot be stored: %s",
                       fm_err_meaning(code));
    fail_for_children(attempt, &error);
}

static void written(struct fm_attempt *attempt)
{
    struct fm_queue_entry *entry = attempt->entry;
    struct fm_queue *queue = entry->queue;
    const struct fm_calls_finish *finish = &attempt->finish;
    enum fm_call_status result = finish->result;
    uint64_t keep_until_real_ns = finish->keep_until_real_ns;
    bool counted = !finish->uncounted;
    entry->run_at_real_ns = finish->run_at_real_ns;
    if (attempt->children && result == FM_STATUS_SUCCEEDED) {
        struct fm_queue_batch *children = attempt->children;
        attempt->children = NULL;
        fm_batch_settle(children);
    }
    if (!counted)
        entry->attempts_max++;
    fm_attempt_end(entry);
    if (fm_call_status_ended(result)) {
        fm_entry_end(entry, result);
        fm_forget_note(queue, keep_until_real_ns);
        return;
    }
    queue->counts.retries++;
    entry->claimed = false;
    fm_entry_wait(entry);
}

static void on_finished(struct fm_calls_write *write)
{
    struct fm_calls_finish *finish = FM_CONTAINER_OF(write, struct fm_calls_finish, write);
    struct fm_attempt *attempt = FM_CONTAINER_OF(finish, struct fm_attempt, finish);
    struct fm_queue_entry *entry = attempt->entry;
    struct fm_queue *queue = entry->queue;
    int failed = write->error;
    fm_disk_answer(queue, failed);
    bool gone = failed == FM_ERR_NOT_FOUND ||
                (failed == FM_ERR_CONFLICT && finish->result != FM_STATUS_RUNNING);
    if (failed && !gone) {
        if (attempt->children && failed != FM_ERR_BUSY && failed != FM_ERR_NOMEM)
            fail_for_disk(attempt, failed);
        if (queue->disk_paused)
            fm_list_push_back(&queue->unwritten, &entry->link);
        else
            write_end(attempt); /* it was about the children alone */
        return;
    }
    queue->ends--;
    queue->ends_bytes -= finish->output_bytes + finish->log_bytes;
    if (gone) { /* somebody else's doing: the row says what it is */
        enum fm_call_status status = failed == FM_ERR_CONFLICT ? finish->result : FM_STATUS_FAILED;
        fm_attempt_end(entry);
        fm_entry_end(entry, status);
        return;
    }
    written(attempt);
}

void fm_attempt_write_again(struct fm_queue *queue)
{
    struct fm_list again;
    fm_list_init(&again);
    struct fm_list *link = NULL;
    while ((link = fm_list_pop_front(&queue->unwritten)) != NULL)
        fm_list_push_back(&again, link);
    while ((link = fm_list_pop_front(&again)) != NULL)
        write_end(FM_LIST_ENTRY(link, struct fm_queue_entry, link)->attempt);
}

/* --- what becomes of it ----------------------------------------------------------------------- */

/* Before the attempt after number `attempts`. */
static uint64_t pause_ns(struct fm_queue *queue, const struct fm_limits *limits, uint32_t attempts)
{
    uint64_t most_ns = limits->retry_ms * FM_NS_PER_MS;
    for (uint32_t i = 1; i < attempts && most_ns < FM_QUEUE_RETRY_NS_MAX; i++)
        most_ns *= 2;
    most_ns = fm_min_u64(most_ns, FM_QUEUE_RETRY_NS_MAX);
    return (most_ns >> 16) * fm_queue_random(queue) >> 16;
}

static bool is_transient(int error)
{
    return error == FM_ERR_BUSY || error == FM_ERR_NOMEM || error == FM_ERR_QUOTA;
}

/* Attempts that count: not those that were broken off, of which attempts_max has become larger. */
static uint32_t attempts_counted(const struct fm_queue_entry *entry, const struct fm_limits *limits)
{
    uint32_t usual = (uint32_t)fm_max_u64(limits->attempts, (uint64_t)FM_QUEUE_CRASH_ATTEMPTS);
    uint32_t broken_off = entry->attempts_max > usual ? entry->attempts_max - usual : 0;
    return entry->number > broken_off ? entry->number - broken_off : 1;
}

static enum fm_call_status after_failure(struct fm_attempt *attempt, uint64_t *ret_run_at_real_ns)
{
    struct fm_queue_entry *entry = attempt->entry;
    const struct fm_call *call = attempt->call;
    const struct fm_limits *limits = &call->limits;
    if (call->error == FM_ERR_CANCELLED)
        return FM_STATUS_CANCELLED;
    uint32_t counted = attempts_counted(entry, limits);
    uint64_t most = limits->attempts;
    if (is_transient(call->error))
        most = fm_max_u64(most, (uint64_t)FM_QUEUE_CRASH_ATTEMPTS);
    if (counted < most) {
        *ret_run_at_real_ns = fm_clock_real_ns() + pause_ns(entry->queue, limits, counted);
        return FM_STATUS_QUEUED;
    }
    return limits->attempts > 1 ? FM_STATUS_DEAD : FM_STATUS_FAILED;
}

static void fill_in(struct fm_attempt *attempt)
{
    const struct fm_call *call = attempt->call;
    attempt->finish = (struct fm_calls_finish){
        .status = FM_STATUS_SUCCEEDED,
        .cpu_ns = call->cpu_ns,
        .wall_ns = call->finished_ns - call->created_ns,
        .memory_bytes = call->memory_bytes,
        .exit_code = call->exit_code,
        .error = call->error,
        .limit = call->limit,
        .trap = call->trap,
        .detail = call->detail,
        .backtrace = call->backtrace,
        .output = call->output.data,
        .output_bytes = call->output.length,
        .log = call->log.data,
        .log_bytes = call->log.length,
        .log_truncated = call->log_truncated,
        .started = call->children,
        .started_count = call->children_count,
    };
}

void fm_attempt_conclude(struct fm_attempt *attempt)
{
    struct fm_queue_entry *entry = attempt->entry;
    const struct fm_call *call = attempt->call;
    struct fm_calls_finish *finish = &attempt->finish;
    if (attempt->broken_off && call->error == FM_ERR_CANCELLED) {
        fm_attempt_give_back(attempt, 0);
        return;
    }
    fill_in(attempt);
    fm_recent_dump_add(entry->queue->config.recent, call);
    struct fm_error error;
    if (call->error)
        finish->status = after_failure(attempt, &finish->run_at_real_ns);
    else if (call->chains_count > 0 &&
             fm_batch_children(entry->queue, call, &attempt->children, &error) != 0)
        fail_for_children(attempt, &error);
    begin_writing(attempt);
}

void fm_attempt_fail(struct fm_attempt *attempt, int error, const char *detail)
{
    attempt->finish = (struct fm_calls_finish){
        .status = FM_STATUS_FAILED, .error = error, .detail = detail, /* a literal */
    };
    begin_writing(attempt);
}

void fm_attempt_give_back(struct fm_attempt *attempt, uint64_t pause)
{
    attempt->finish = (struct fm_calls_finish){
        .status = FM_STATUS_QUEUED,
        .uncounted = true,
        .run_at_real_ns = fm_clock_real_ns() + pause,
    };
    begin_writing(attempt);
}
