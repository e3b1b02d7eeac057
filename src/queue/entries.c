/* entries.c - what a worker knows of a call that has not ended.
 *
 * An entry is light (some 300 bytes and its input), since there may be a hundred thousand: what an
 * attempt needs is made with the attempt.  Its timer is armed from the beginning, for never if
 * there is nothing to wait for, so that no later step of its life can fail for want of memory: what
 * is on disk must not be lost here.
 *
 * Inputs are kept in memory while there is room (inputs_bytes_max); beyond that they are dropped,
 * and read again by the claim.
 *
 * One worker, one thread. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "call/function.h"
#include "queue/private.h"
#include "sched/sched.h"

#define NEVER UINT64_MAX

static void on_entry_time(struct fm_timer *timer);

/* --- small things that everybody needs -------------------------------------------------------- */

struct fm_id fm_queue_id(struct fm_queue *queue, uint64_t now_real_ns)
{
    struct fm_id id = fm_id_next(&queue->ids, now_real_ns);
    id.low = (id.low & ~(uint64_t)FM_SCHED_WORKERS_MASK) | queue->config.worker;
    return id;
}

uint64_t fm_queue_random(struct fm_queue *queue)
{
    return fm_id_next(&queue->ids, 0).low >> 16 & UINT32_MAX;
}

uint64_t fm_queue_retention_ns(const struct fm_queue *queue, const struct fm_limits *limits)
{
    struct fm_limits defaults;
    if (!limits) {
        fm_limits_defaults(&defaults);
        limits = &defaults;
    }
    return fm_min_u64(limits->retention_ms * FM_NS_PER_MS, queue->config.retention_ns_max);
}

uint64_t fm_queue_age_ns(const struct fm_function *function)
{
    /* Of a function that is gone: its start will tell. */
    return function ? fm_function_version(function)->limits.age_ms * FM_NS_PER_MS : NEVER / 2;
}

struct fm_function *fm_entry_function(const struct fm_queue_entry *entry)
{
    const struct fm_target *target = entry->target;
    const char *user = target->tenant->name;
    return fm_sched_function(entry->queue->config.sched, user, strlen(user), target->function,
                             strlen(target->function));
}

struct fm_queue_entry *fm_entry_find(struct fm_queue *queue, const struct fm_id *id)
{
    struct fm_map_node *node = fm_map_get(&queue->entries, (const char *)id, sizeof(*id));
    return node ? FM_CONTAINER_OF(node, struct fm_queue_entry, node) : NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

/* Undoes what fm_entry_new() has done so far. */
static void unmake(struct fm_queue_entry *entry)
{
    fm_loop_timer_cancel(entry->queue->config.loop, &entry->timer);
    if (entry->target)
        fm_ready_target_unref(entry->target);
    if (entry->user)
        fm_sched_backlog_leave(entry->user);
    free(entry);
}

int fm_entry_new(struct fm_queue *queue, const struct fm_entry_birth *birth,
                 struct fm_queue_entry **ret_entry)
{
    struct fm_queue_entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return FM_ERR_NOMEM;
    entry->queue = queue;
    entry->id = birth->id;
    fm_list_init(&entry->link);
    fm_list_init(&entry->waits);
    fm_timer_init(&entry->timer, on_entry_time);
    int failed =
        fm_sched_backlog_enter(queue->config.sched, birth->user, birth->accepted, &entry->user);
    if (!failed)
        failed = fm_ready_target_ref(&queue->ready, birth->user, birth->function, &entry->target);
    if (!failed)
        failed = fm_loop_timer_set(queue->config.loop, &entry->timer, NEVER);
    if (!failed)
        failed =
            fm_map_put(&queue->entries, &entry->node, (const char *)&entry->id, sizeof(entry->id));
    if (failed) {
        unmake(entry);
        return failed;
    }
    fm_ready_tenant_limit(entry->target, fm_sched_backlog_concurrency(entry->user));
    entry->input = birth->input;
    entry->input_bytes = birth->input_bytes;
    if (entry->input)
        queue->counts.inputs_bytes += entry->input_bytes;
    entry->state = FM_ENTRY_ARRIVING;
    queue->busy++;
    *ret_entry = entry;
    return 0;
}

void fm_entry_input_drop(struct fm_queue_entry *entry)
{
    if (entry->input)
        entry->queue->counts.inputs_bytes -= entry->input_bytes;
    free(entry->input);
    entry->input = NULL;
}

static bool idle(enum fm_entry_state state)
{
    return state == FM_ENTRY_LATER || state == FM_ENTRY_READY;
}

void fm_entry_set_state(struct fm_queue_entry *entry, enum fm_entry_state state)
{
    struct fm_queue *queue = entry->queue;
    queue->counts.later -= entry->state == FM_ENTRY_LATER;
    queue->counts.running -= entry->state == FM_ENTRY_RUNNING;
    queue->counts.later += state == FM_ENTRY_LATER;
    queue->counts.running += state == FM_ENTRY_RUNNING;
    queue->busy -= !idle(entry->state);
    queue->busy += !idle(state);
    entry->state = state;
}

void fm_entry_free(struct fm_queue_entry *entry)
{
    struct fm_queue *queue = entry->queue;
    if (entry->attempt)
        fm_attempt_end(entry);
    if (entry->state == FM_ENTRY_READY)
        fm_ready_remove(entry->target, &entry->link);
    fm_list_remove(&entry->link);
    fm_entry_set_state(entry, FM_ENTRY_LATER);
    queue->counts.later--;
    if (entry->placed)
        fm_ready_give(entry->target);
    fm_loop_timer_cancel(queue->config.loop, &entry->timer);
    fm_map_remove(&queue->entries, &entry->node);
    fm_entry_input_drop(entry);
    fm_ready_target_unref(entry->target);
    fm_sched_backlog_leave(entry->user);
    fm_waits_over(&entry->waits);
    free(entry);
}

void fm_entry_end(struct fm_queue_entry *entry, enum fm_call_status status)
{
    struct fm_queue *queue = entry->queue;
    queue->counts.ended++;
    queue->counts.failed += status == FM_STATUS_FAILED;
    queue->counts.cancelled += status == FM_STATUS_CANCELLED;
    queue->counts.dead += status == FM_STATUS_DEAD;
    fm_entry_free(entry);
    fm_queue_wake(queue); /* its place may be another's now */
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* Times on disk are those of the calendar, timers those of the loop.  If the calendar's clock is
 * moved meanwhile the timer is early or late by as much; when it is early it is set again. */
static void set_timer(struct fm_queue_entry *entry, uint64_t at_real_ns, uint64_t now_real_ns)
{
    uint64_t at_ns = NEVER;
    if (at_real_ns != NEVER) {
        uint64_t left_ns = at_real_ns > now_real_ns ? at_real_ns - now_real_ns : 0;
        at_ns = fm_clock_monotonic_ns() + fm_min_u64(left_ns, NEVER / 2);
    }
    int failed = fm_loop_timer_set(entry->queue->config.loop, &entry->timer, at_ns);
    FM_ASSERT(!failed); /* it is armed */
}

static uint64_t expires(const struct fm_queue_entry *entry)
{
    return entry->run_at_real_ns + fm_min_u64(entry->age_ns, NEVER / 2);
}

static void wait_from(struct fm_queue_entry *entry, bool first)
{
    struct fm_queue *queue = entry->queue;
    uint64_t now_real_ns = fm_clock_real_ns();
    bool later = entry->run_at_real_ns > now_real_ns && !entry->expired;
    uint64_t expires_real_ns = entry->expired ? NEVER : expires(entry);
    if (!entry->claimed && queue->counts.inputs_bytes > queue->config.inputs_bytes_max)
        fm_entry_input_drop(entry);
    set_timer(entry, later ? entry->run_at_real_ns : expires_real_ns, now_real_ns);
    if (later) {
        fm_entry_set_state(entry, FM_ENTRY_LATER);
        return;
    }
    fm_entry_set_state(entry, FM_ENTRY_READY);
    fm_ready_push(entry->target, &entry->link, first);
    fm_queue_wake(queue);
}

void fm_entry_wait(struct fm_queue_entry *entry)
{
    wait_from(entry, false);
}

void fm_entry_wait_first(struct fm_queue_entry *entry)
{
    wait_from(entry, true);
}

void fm_entry_wait_behind_door(struct fm_queue_entry *entry)
{
    set_timer(entry, expires(entry), fm_clock_real_ns());
}

static void on_entry_time(struct fm_timer *timer)
{
    struct fm_queue_entry *entry = FM_CONTAINER_OF(timer, struct fm_queue_entry, timer);
    set_timer(entry, NEVER, 0); /* fired, so its place in the heap is still there */
    bool behind_door = fm_attempt_waits(entry);
    if ((!idle(entry->state) && !behind_door) || entry->queue->draining)
        return;
    if (fm_clock_real_ns() >= expires(entry)) {
        entry->expired = true;
        if (behind_door)
            fm_attempt_withdraw(entry);
        else
            fm_attempt_expire(entry);
        return;
    }
    if (entry->state == FM_ENTRY_LATER)
        wait_from(entry, false);
    else
        set_timer(entry, expires(entry), fm_clock_real_ns());
}
