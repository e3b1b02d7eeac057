/* sched.c - the door, and what happens behind it on one worker.
 *
 *      submit -- refused? --> DONE (BUSY, QUOTA)
 *         |
 *         +-- module not here --> LOADING --+
 *         |                                 v
 *         +-- busy, or not its turn -----> READY --> INSIDE --> DONE
 *         |                                 ^          | |
 *         |                                 +- slice --+ +-- waits --> PARKED --> READY
 *         +-- inline: INSIDE at once, in the caller's stack
 *
 * The inline rule: a call runs inside submit only if nobody is queued and this pass of the loop has
 * given guests less than one slice; so a burst of calls that burn CPU costs the other connections
 * one slice and not the sum of all.  An inline call that meets a tick becomes an ordinary entry.
 *
 * Time is the thread's CPU clock, read when a guest gets the thread and when it gives it back,
 * making and clearing its sandbox included: cleaning up is part of what a call costs.
 *
 * One timer per call, armed only when the call waits (queued, loading or parked): the deadline, or
 * the guest's own wake-up if that is earlier.  A call that ends inline never touches the timers;
 * while it runs, the tick looks at the deadline. */
#include "sched/sched.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "call/recent.h"
#include "engine/sandbox.h"
#include "guest/guest.h"
#include "sched/sched_private.h"

#define SLICE_MIN_NS (FM_SLICE_NS / 2) /* a tick that comes earlier is not the end of a slice */
#define FREE_TASKS_MAX 256             /* kept for reuse */

static void finish(struct fm_task *task);
static void end_now(struct fm_task *task, int error);

/* --- tasks ------------------------------------------------------------------------------------ */

static struct fm_task *task_of(const struct fm_call *call)
{
    return call->task;
}

static struct fm_task *task_at(struct fm_list *link)
{
    return FM_LIST_ENTRY(link, struct fm_task, link);
}

static void on_task_time(struct fm_timer *timer);

static struct fm_task *task_new(struct fm_sched *sched, const struct fm_version *version)
{
    struct fm_list *link = fm_list_pop_front(&sched->free_tasks);
    if (link) {
        struct fm_task *task = task_at(link);
        sched->free_tasks_count--;
        fm_call_reset(task->call, version);
        return task;
    }
    struct fm_task *task = calloc(1, sizeof(*task));
    if (!task || fm_call_new(version, &task->call) != 0) {
        free(task);
        return NULL;
    }
    task->sched = sched;
    fm_list_init(&task->link);
    fm_timer_init(&task->timer, on_task_time);
    return task;
}

static void task_free(struct fm_task *task)
{
    fm_call_free(task->call);
    free(task);
}

static void task_recycle(struct fm_sched *sched, struct fm_task *task)
{
    if (sched->free_tasks_count == FREE_TASKS_MAX) {
        task_free(task);
        return;
    }
    fm_list_push_front(&sched->free_tasks, &task->link);
    sched->free_tasks_count++;
}

int fm_sched_call_new(struct fm_sched *sched, struct fm_function *function,
                      struct fm_call **ret_call)
{
    struct fm_slot *slot = function->current;
    FM_ASSERT(slot);
    struct fm_user *user =
        fm_runqueue_user_ref(&sched->queue, function->key, function->user_length);
    struct fm_task *task = user ? task_new(sched, slot->code->version) : NULL;
    if (!task) {
        if (user)
            fm_runqueue_user_unref(&sched->queue, user);
        return FM_ERR_NOMEM;
    }
    task->slot = slot;
    task->user = user;
    task->guest = NULL;
    task->place = FM_TASK_NOWHERE;
    task->admitted = false;
    task->announce = false;
    fm_slot_call_begin(slot, fm_loop_now_ns(sched->config.loop));

    struct fm_call *call = task->call;
    call->task = task;
    call->created_real_ns = fm_clock_real_ns();
    call->created_ns = fm_clock_monotonic_ns();
    call->deadline_ns = call->created_ns + call->limits.wall_ms * FM_NS_PER_MS;
    call->id = fm_id_next(&sched->ids, call->created_real_ns);
    call->id.low = (call->id.low & ~(uint64_t)FM_SCHED_WORKERS_MASK) | sched->config.worker;
    *ret_call = call;
    return 0;
}

void fm_sched_call_free(struct fm_sched *sched, struct fm_call *call)
{
    struct fm_task *task = task_of(call);
    FM_ASSERT(task->place == FM_TASK_NOWHERE);
    struct fm_slot *slot = task->slot;
    fm_runqueue_user_unref(&sched->queue, task->user);
    task->slot = NULL;
    task->user = NULL;
    task_recycle(sched, task);
    fm_slot_call_end(slot);
}

struct fm_recent_function *fm_sched_recent(struct fm_sched *sched, const struct fm_call *call)
{
    struct fm_slot *slot = task_of(call)->slot;
    if (FM_UNLIKELY(!slot->recent) && sched->config.recent)
        (void)!fm_recent_function_new(sched->config.recent, slot->code->version, &slot->recent);
    return slot->recent;
}

/* A new call needs a free sandbox; one that has started has its own. */
static bool sandbox_free(const struct fm_sched *sched)
{
    return sched->counts.sandboxes < sched->config.calls_max;
}

static enum fm_lane lane_of(const struct fm_task *task)
{
    return task->guest ? FM_LANE_STARTED : FM_LANE_NEW;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* The timer's heap has room for every call, so arming fails only when memory is gone; then the call
 * must end, since nothing would wake it. */
static bool arm(struct fm_task *task, uint64_t at_ns)
{
    if (at_ns == UINT64_MAX)
        return true;
    return fm_loop_timer_set(task->sched->config.loop, &task->timer, at_ns) == 0;
}

static void disarm(struct fm_task *task)
{
    fm_loop_timer_cancel(task->sched->config.loop, &task->timer);
}

static void wait_in_queue(struct fm_task *task)
{
    struct fm_sched *sched = task->sched;
    if (task->call->state != FM_CALL_QUEUED)
        fm_call_set_state(task->call, FM_CALL_QUEUED, 0);
    task->place = FM_TASK_READY;
    fm_runqueue_push(&sched->queue, lane_of(task), task->user, &task->link);
    if (task->timer.at_ns == task->call->deadline_ns && fm_timer_armed(&task->timer))
        return;
    if (!arm(task, task->call->deadline_ns))
        fm_sched_cancel(sched, task->call, FM_ERR_NOMEM);
}

static void on_task_time(struct fm_timer *timer)
{
    struct fm_task *task = FM_CONTAINER_OF(timer, struct fm_task, timer);
    struct fm_call *call = task->call;
    if (fm_loop_now_ns(task->sched->config.loop) >= call->deadline_ns) {
        fm_sched_cancel(task->sched, call, FM_ERR_DEADLINE);
        return;
    }
    FM_ASSERT(task->place == FM_TASK_PARKED);
    task->sched->counts.parked--;
    wait_in_queue(task);
}

/* --- running ---------------------------------------------------------------------------------- */

/* On the guest's fiber, once a tick. */
static int on_tick(void *data)
{
    struct fm_call *call = data;
    struct fm_sched *sched = task_of(call)->sched;
    if (call->cancelled)
        return FM_ERR_CANCELLED;
    if (fm_clock_monotonic_ns() >= call->deadline_ns)
        return FM_ERR_DEADLINE;
    uint64_t slice_ns = fm_clock_thread_cpu_ns() - sched->slice_cpu_ns;
    if (call->cpu_ns + slice_ns > call->limits.cpu_ms * FM_NS_PER_MS) {
        fm_call_fail_limit(call, "cpu_ms", call->limits.cpu_ms);
        return FM_ERR_GUEST_LIMIT;
    }
    return slice_ns >= SLICE_MIN_NS ? FM_TICK_YIELD : 0;
}

/* True when the task has a guest to run; otherwise it has failed. */
static bool ensure_guest(struct fm_task *task)
{
    if (task->guest)
        return true;
    struct fm_sched *sched = task->sched;
    int failed = fm_guest_new(task->call, task->slot->module, on_tick, &task->guest);
    if (failed) {
        fm_call_fail(task->call, failed, NULL);
        return false;
    }
    sched->counts.sandboxes++;
    return true;
}

static void drop_guest(struct fm_task *task)
{
    if (!task->guest)
        return;
    task->guest = fm_guest_free(task->guest);
    task->sched->counts.sandboxes--;
}

static void park(struct fm_task *task, uint64_t until_ns)
{
    struct fm_sched *sched = task->sched;
    struct fm_call *call = task->call;
    fm_call_set_state(call, FM_CALL_PARKED, 0);
    task->place = FM_TASK_PARKED;
    sched->counts.parked++;
    if (!arm(task, fm_min_u64(until_ns, call->deadline_ns)))
        fm_sched_cancel(sched, call, FM_ERR_NOMEM);
}

/* Gives the guest the thread once.  Afterwards the task is somewhere else: finished, parked,
 * queued. */
static void run_task(struct fm_task *task)
{
    struct fm_sched *sched = task->sched;
    struct fm_call *call = task->call;
    enum fm_guest_state state = FM_GUEST_DONE;

    disarm(task);
    task->place = FM_TASK_INSIDE;
    sched->slice_cpu_ns = fm_clock_thread_cpu_ns();
    fm_call_set_state(call, FM_CALL_RUNNING, fm_loop_now_ns(sched->config.loop));
    *sched->config.suspect = call->id;
    if (ensure_guest(task)) {
        fm_ticker_enter(sched->seat);
        state = fm_guest_run(task->guest);
        fm_ticker_leave(sched->seat);
        sched->counts.slices++;
        if (state == FM_GUEST_DONE)
            drop_guest(task);
    }
    sched->config.suspect->high = 0; /* no id has this */
    uint64_t used_ns = fm_clock_thread_cpu_ns() - sched->slice_cpu_ns;
    call->cpu_ns += used_ns;
    sched->pass_guest_ns += used_ns;
    sched->counts.guest_cpu_ns += used_ns;

    if (state == FM_GUEST_DONE) {
        finish(task);
    } else if (call->cancelled) {
        end_now(task, FM_ERR_CANCELLED);
    } else if (state == FM_GUEST_YIELDED) {
        wait_in_queue(task);
    } else {
        struct fm_guest_wait wait;
        fm_guest_wait(task->guest, &wait);
        park(task, wait.until_ns);
    }
}

/* Less than a slice, so that with the one that comes last it is not much more than one. */
void fm_sched_turn(struct fm_sched *sched)
{
    while (sched->pass_guest_ns < SLICE_MIN_NS) {
        struct fm_list *link = fm_runqueue_pop(&sched->queue, sandbox_free(sched));
        if (!link)
            break;
        run_task(task_at(link));
    }
    sched->pass_guest_ns = 0;
}

bool fm_sched_busy(const struct fm_sched *sched)
{
    return sched->queue.counts[FM_LANE_STARTED] > 0 ||
           (sched->queue.counts[FM_LANE_NEW] > 0 && sandbox_free(sched));
}

/* --- the door --------------------------------------------------------------------------------- */

static void refuse(struct fm_task *task, int error, const char *limit, const char *detail)
{
    fm_call_fail(task->call, error, detail);
    task->call->limit = limit;
    finish(task);
}

/* False: refused. */
static bool admit(struct fm_task *task)
{
    struct fm_sched *sched = task->sched;
    const struct fm_sched_config *config = &sched->config;
    sched->counts.submitted++;
    if (sched->draining) {
        refuse(task, FM_ERR_BUSY, "", "the server is shutting down");
        return false;
    }
    if (sched->counts.calls >= (uint64_t)config->calls_max + config->queue_max) {
        refuse(task, FM_ERR_BUSY, "queue", "too many calls are waiting");
        return false;
    }
    if (!fm_lease_take(&task->slot->concurrency)) {
        refuse(task, FM_ERR_QUOTA, "concurrency",
               "the function already has as many calls under way as its limit `concurrency`");
        return false;
    }
    task->admitted = true;
    sched->counts.calls++;
    return true;
}

/* Puts the task behind its module, or ends it if that cannot be loaded now. */
static void wait_for_module(struct fm_task *task)
{
    struct fm_slot *slot = task->slot;
    if (!slot->loading && fm_slot_load(slot) != 0) {
        refuse(task, FM_ERR_BUSY, "", "too many functions are being loaded");
        return;
    }
    if (slot->module) { /* another worker had it */
        wait_in_queue(task);
        return;
    }
    task->call->cold = true;
    task->sched->counts.cold++;
    fm_call_set_state(task->call, FM_CALL_QUEUED, 0);
    task->place = FM_TASK_LOADING;
    fm_list_push_back(&slot->waiting, &task->link);
    if (!arm(task, task->call->deadline_ns))
        fm_sched_cancel(task->sched, task->call, FM_ERR_NOMEM);
}

enum fm_submit fm_sched_submit(struct fm_sched *sched, struct fm_call *call)
{
    struct fm_task *task = task_of(call);
    FM_ASSERT(call->state == FM_CALL_NEW);
    if (!admit(task))
        return FM_SUBMIT_DONE;
    if (!task->slot->module) {
        wait_for_module(task);
    } else if (fm_runqueue_empty(&sched->queue) && sched->pass_guest_ns < FM_SLICE_NS &&
               sandbox_free(sched)) {
        run_task(task);
        sched->counts.inlined += call->state == FM_CALL_DONE;
    } else {
        wait_in_queue(task);
    }
    if (call->state == FM_CALL_DONE)
        return FM_SUBMIT_DONE;
    task->announce = true;
    return FM_SUBMIT_LATER;
}

static void on_slot_loaded(struct fm_slot *slot, const struct fm_error *error)
{
    struct fm_list *link = NULL;
    while ((link = fm_list_pop_front(&slot->waiting)) != NULL) {
        struct fm_task *task = task_at(link);
        task->place = FM_TASK_NOWHERE;
        if (!error) {
            wait_in_queue(task);
            continue;
        }
        fm_call_fail(task->call, FM_ERR_INTERNAL, error->text);
        finish(task);
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

static void finish(struct fm_task *task)
{
    struct fm_sched *sched = task->sched;
    struct fm_call *call = task->call;
    FM_ASSERT(!task->guest);
    disarm(task);
    task->place = FM_TASK_NOWHERE;
    if (task->admitted) {
        fm_lease_give(&task->slot->concurrency);
        sched->counts.calls--;
        task->admitted = false;
    }
    fm_call_set_state(call, FM_CALL_DONE, fm_clock_monotonic_ns());
    struct fm_function *function = task->slot->function;
    sched->counts.finished++;
    function->calls_total++;
    if (call->error) {
        sched->counts.failed++;
        function->calls_failed++;
        sched->counts.cancelled += call->error == FM_ERR_CANCELLED;
    }
    if (task->announce) {
        task->announce = false;
        call->on_done(call);
    }
}

/* Ends a call that does not have the thread; its guest, if any, is unwound. */
static void end_now(struct fm_task *task, int error)
{
    uint64_t start_ns = fm_clock_thread_cpu_ns();
    drop_guest(task);
    task->call->cpu_ns += fm_clock_thread_cpu_ns() - start_ns;
    fm_call_fail(task->call, error, NULL);
    finish(task);
}

void fm_sched_cancel(struct fm_sched *sched, struct fm_call *call, int error)
{
    struct fm_task *task = task_of(call);
    switch (task->place) {
    case FM_TASK_NOWHERE:
        return; /* DONE */
    case FM_TASK_INSIDE:
        call->cancelled = true; /* ends at its next tick, or when it gives the thread back */
        return;
    case FM_TASK_READY:
        fm_runqueue_remove(&sched->queue, lane_of(task), task->user, &task->link);
        break;
    case FM_TASK_LOADING:
        fm_list_remove(&task->link);
        break;
    case FM_TASK_PARKED:
        sched->counts.parked--;
        break;
    }
    end_now(task, error);
}

/* --- functions -------------------------------------------------------------------------------- */

struct fm_function *fm_sched_function(struct fm_sched *sched, const char *user, size_t user_length,
                                      const char *function, size_t function_length)
{
    struct fm_function *found =
        fm_registry_find(&sched->registry, user, user_length, function, function_length);
    return found && found->current ? found : NULL;
}

const struct fm_version *fm_function_version(const struct fm_function *function)
{
    return function->current->code->version;
}

void fm_function_counts(const struct fm_function *function, uint64_t *ret_total,
                        uint64_t *ret_failed)
{
    *ret_total = function->calls_total;
    *ret_failed = function->calls_failed;
}

void fm_sched_functions_each(struct fm_sched *sched, const char *user,
                             bool (*visit)(const struct fm_function *function, void *data),
                             void *data)
{
    size_t length = user ? strlen(user) : 0;
    struct fm_map_node *node = NULL;
    while ((node = fm_map_next(&sched->registry.functions, node)) != NULL) {
        const struct fm_function *function = FM_CONTAINER_OF(node, struct fm_function, node);
        bool fits =
            !user || (function->user_length == length && memcmp(function->key, user, length) == 0);
        if (fits && function->current && !visit(function, data))
            return;
    }
}

/* --- life ------------------------------------------------------------------------------------- */

int fm_sched_new(const struct fm_sched_config *config, struct fm_sched **ret_sched)
{
    struct fm_sched *sched = calloc(1, sizeof(*sched));
    if (!sched)
        return FM_ERR_NOMEM;
    sched->config = *config;
    if (!config->suspect)
        sched->config.suspect = &sched->nobody;
    sched->seat = fm_ticker_seat(config->ticker, config->worker);
    fm_list_init(&sched->free_tasks);
    fm_runqueue_init(&sched->queue);
    fm_registry_init(&sched->registry, config->modules, fm_loop_mailbox(config->loop));
    sched->registry.on_loaded = on_slot_loaded;
    int failed = fm_id_generator_init(&sched->ids);
    if (failed) {
        fm_sched_free(sched);
        return failed;
    }
    *ret_sched = sched;
    return 0;
}

struct fm_sched *fm_sched_free(struct fm_sched *sched)
{
    if (!sched)
        return NULL;
    FM_ASSERT(sched->counts.calls == 0);
    struct fm_list *link = NULL;
    while ((link = fm_list_pop_front(&sched->free_tasks)) != NULL)
        task_free(task_at(link));
    fm_registry_done(&sched->registry);
    fm_runqueue_done(&sched->queue);
    free(sched);
    return NULL;
}

int fm_sched_publish(struct fm_sched *sched, struct fm_code *code, uint64_t sequence)
{
    return fm_registry_publish(&sched->registry, code, sequence);
}

void fm_sched_drain(struct fm_sched *sched)
{
    sched->draining = true;
}

void fm_sched_counts(const struct fm_sched *sched, struct fm_sched_counts *ret_counts)
{
    *ret_counts = sched->counts;
    ret_counts->queued = sched->queue.counts[FM_LANE_STARTED] + sched->queue.counts[FM_LANE_NEW];
}
