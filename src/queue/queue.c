/* queue.c - a queue's life: made, filled with what an earlier process has left, drained, stopped.
 *
 * The end of a process, in order: drain (no new calls, no new attempts; what runs may end), stop
 * (what still runs is broken off and its row made QUEUED again), the store is stopped (it writes
 * what waits), its answers are heard, and then the queue is freed.  Entries that wait are not
 * touched: their rows are all that the next process needs.
 *
 * Threading: the worker's; before it has started and after it has ended, whoever is alone. */
#include "queue/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "call/call.h"
#include "call/function.h"
#include "queue/private.h"
#include "sched/sched.h"

static void on_open(struct fm_ready *ready)
{
    fm_queue_wake(FM_CONTAINER_OF(ready, struct fm_queue, ready));
}

int fm_queue_new(const struct fm_queue_config *config, struct fm_queue **ret_queue)
{
    FM_ASSERT(config->running_max > 0);
    struct fm_queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return FM_ERR_NOMEM;
    queue->config = *config;
    fm_map_init(&queue->entries);
    fm_ask_under_way(queue);
    fm_ready_init(&queue->ready, config->loop, config->running_max);
    queue->ready.on_open = on_open;
    fm_disk_init(queue);
    int failed = fm_id_generator_init(&queue->ids);
    if (!failed)
        failed = fm_disk_start(queue);
    if (failed) {
        fm_queue_free(queue);
        return failed;
    }
    *ret_queue = queue;
    return 0;
}

int fm_queue_restore(struct fm_queue *const *all, unsigned all_count,
                     const struct fm_calls_open_call *call)
{
    struct fm_queue *queue = all[(call->id.low & FM_SCHED_WORKERS_MASK) % all_count];
    struct fm_queue_entry *entry = NULL;
    const struct fm_entry_birth birth = {.id = call->id,
                                         .user = call->user,
                                         .function = call->function,
                                         .input_bytes = (size_t)call->input_bytes,
                                         .accepted = true};
    int failed = fm_entry_new(queue, &birth, &entry);
    if (failed)
        return failed;
    struct fm_function *function = fm_entry_function(entry);
    entry->parent = call->parent;
    entry->depth = call->depth;
    entry->number = call->attempt;
    entry->attempts_max = call->attempts_max;
    entry->run_at_real_ns = call->run_at_real_ns;
    entry->age_ns = fm_queue_age_ns(function);
    if (function)
        fm_ready_target_limit(entry->target, fm_function_version(function)->limits.concurrency);
    fm_entry_wait(entry);
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* Claimed, and waiting before the door: QUEUED again. */
static void give_back_claimed(struct fm_queue_entry *entry)
{
    if (entry->state != FM_ENTRY_READY || !entry->claimed || fm_attempt_begin(entry) != 0)
        return; /* without memory its row stays RUNNING, as after a crash */
    fm_ready_remove(entry->target, &entry->link);
    fm_entry_set_state(entry, FM_ENTRY_RUNNING);
    fm_attempt_give_back(entry->attempt, 0);
}

void fm_queue_drain(struct fm_queue *queue)
{
    queue->draining = true;
    struct fm_map_node *node = NULL;
    while ((node = fm_map_next(&queue->entries, node)) != NULL)
        give_back_claimed(FM_CONTAINER_OF(node, struct fm_queue_entry, node));
}

/* The call's end comes before fm_sched_cancel() returns, or it ends by itself. */
static void break_off(struct fm_queue_entry *entry)
{
    if (entry->state != FM_ENTRY_RUNNING || !entry->attempt->call)
        return;
    entry->attempt->broken_off = true;
    fm_sched_cancel(entry->queue->config.sched, entry->attempt->call, FM_ERR_CANCELLED);
}

void fm_queue_stop(struct fm_queue *queue)
{
    fm_queue_drain(queue);
    queue->stopped = true;
    struct fm_map_node *node = NULL;
    while ((node = fm_map_next(&queue->entries, node)) != NULL)
        break_off(FM_CONTAINER_OF(node, struct fm_queue_entry, node));
    fm_attempt_write_again(queue);
}

struct fm_queue *fm_queue_free(struct fm_queue *queue)
{
    if (!queue)
        return NULL;
    FM_ASSERT(!queue->wake_posted && !queue->forgetting);
    fm_ask_stop(queue);
    queue->draining = true;
    queue->stopped = true;
    struct fm_map_node *node = NULL;
    while ((node = fm_map_next(&queue->entries, NULL)) != NULL)
        fm_entry_free(FM_CONTAINER_OF(node, struct fm_queue_entry, node));
    fm_disk_stop(queue);
    fm_ready_done(&queue->ready);
    fm_map_done(&queue->entries);
    free(queue);
    return NULL;
}

void fm_queue_counts(const struct fm_queue *queue, struct fm_queue_counts *ret_counts)
{
    struct fm_recent_counts recent;
    fm_recent_counts(queue->config.recent, &recent);
    *ret_counts = queue->counts;
    ret_counts->due = queue->ready.count;
    ret_counts->writing = queue->ends;
    ret_counts->busy = queue->busy;
    ret_counts->recent = recent.calls;
    ret_counts->recent_bytes = recent.bytes;
}
