/* sched.c - the door, and what happens behind it on one worker.
 *
 *      submit -- refused? --> DONE (BUSY, QUOTA), or BLOCKED until there is a unit  (door.c)
 *         |
 *         +-- module, or its user's --------+
 *         |   files, not here: LOADING      |
 *         |                                 v
 *         +-- busy, or not its turn -----> READY --> INSIDE --> DONE
 *         |                                 ^          | |
 *         |                                 +- slice --+ +-- waits --> PARKED --> READY
 *         +-- inline: INSIDE at once, in the caller's stack
 *
 * (A child, a call that another call has started, is never inline, and may be CROWDED: waiting for
 * a sandbox of its level before it is READY.  children.c.)
 *
 * The inline rule: a call runs inside submit only if nobody is queued and this pass of the loop has
 * given guests less than one slice; so a burst of calls that burn CPU costs the other connections
 * one slice and not the sum of all.  An inline call that meets a tick becomes an ordinary entry.
 *
 * But many short calls are no such burst.  Of a thousand connections hundreds are ready at once,
 * reading and answering each takes longer than its guest, and putting a request aside costs as much
 * again.  And a queue that is not emptied by the end of a pass makes all that come in the next one
 * wait in it too, for as long as the load lasts.  So a pass goes on while its guests have had less
 * than FM_CALL_SHARE_NS each, about what reading a request costs, up to some slices.
 *
 * What a guest is charged is CPU time from when it gets the thread to when it gives it back
 * (cputime.h), making and clearing its sandbox included: cleaning up is part of what a call costs.
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
#include "sched/children.h"
#include "sched/door.h"
#include "sched/reads.h"
#include "sched/sched_private.h"

#define FREE_TASKS_MAX 256 /* kept for reuse */
#define FIRST_SHARE 8      /* one of so many sandboxes is for users who have none */

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
static void cancel_here(struct fm_task *task, int error);

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
    task->home = sched;
    fm_list_init(&task->link);
    fm_list_init(&task->borrowed_link);
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
    fm_call_forget(task->call);
    fm_list_push_front(&sched->free_tasks, &task->link);
    sched->free_tasks_count++;
}

int fm_sched_call_new(struct fm_sched *sched, struct fm_function *function,
                      struct fm_call **ret_call)
{
    struct fm_slot *slot = function->current;
    FM_ASSERT(slot);
    struct fm_user *user = fm_function_user(sched, function);
    struct fm_task *task = user ? task_new(sched, slot->code->version) : NULL;
    if (!task)
        return FM_ERR_NOMEM;
    task->slot = slot;
    task->user = user;
    task->home_user = user;
    task->guest = NULL;
    task->place = FM_TASK_NOWHERE;
    task->holds = 0;
    task->memory_bytes = 0;
    task->level = 0;
    task->sandbox = false;
    task->announce = false;
    atomic_store_explicit(&task->cancel_error, 0, memory_order_relaxed);
    fm_slot_call_begin(slot);
    if (slot->recent)
        fm_recent_expect(slot->recent);

    struct fm_call *call = task->call;
    call->task = task;
    call->child_ops = &fm_children_ops;
    call->pinned = slot->starts_calls;
    call->output_expected = slot->output_bytes;
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
    FM_ASSERT(!task->away && !task->cancelling && task->place == FM_TASK_NOWHERE);
    struct fm_slot *slot = task->slot;
    task->slot = NULL;
    task->user = NULL;
    task_recycle(sched, task);
    fm_slot_call_end(slot);
}

/* A new call needs a free sandbox; one that has started has its own, and a child gets it before it
 * enters the run queue.  The last eighth of the sandboxes is for users who have none: whatever
 * those do who came before, another one's call does not have to wait for the end of theirs. */
unsigned fm_sched_lanes(const struct fm_sched *sched)
{
    uint32_t all = sched->config.calls_max;
    unsigned lanes = FM_LANE_BIT(FM_LANE_STARTED);
    if (fm_sandbox_free_for(sched, 0))
        lanes |= FM_LANE_BIT(FM_LANE_FIRST);
    if (sched->counts.sandboxes < all - all / FIRST_SHARE)
        lanes |= FM_LANE_BIT(FM_LANE_NEW);
    return lanes;
}

enum fm_lane fm_task_lane(const struct fm_task *task)
{
    if (task->sandbox)
        return FM_LANE_STARTED;
    return task->user->sandboxes > 0 ? FM_LANE_NEW : FM_LANE_FIRST;
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

bool fm_task_arm(struct fm_task *task)
{
    return arm(task, task->call->deadline_ns);
}

void fm_task_ready(struct fm_task *task)
{
    struct fm_sched *sched = task->sched;
    (void)fm_quotas_may_run(task->user); /* if it may not, the queue holds it */
    if (task->call->state != FM_CALL_QUEUED)
        fm_call_set_state(task->call, FM_CALL_QUEUED, 0);
    if (task->level > 0 && !task->sandbox && fm_sandbox_free_for(sched, task->level))
        fm_task_take_sandbox(task);
    if (task->level > 0 && !task->sandbox) {
        task->place = FM_TASK_CROWDED;
        fm_children_crowd(task);
    } else {
        task->place = FM_TASK_READY;
        sched->policy->push(&sched->queue, fm_task_lane(task), &task->user->turns, &task->link);
    }
    if (task->timer.at_ns == task->call->deadline_ns && fm_timer_armed(&task->timer))
        return;
    if (!arm(task, task->call->deadline_ns))
        cancel_here(task, FM_ERR_NOMEM);
}

static void wait_in_queue(struct fm_task *task)
{
    if (task->guest || fm_door_wait(task)) /* else refused */
        fm_task_ready(task);
}

static void on_task_time(struct fm_timer *timer)
{
    struct fm_task *task = FM_CONTAINER_OF(timer, struct fm_task, timer);
    struct fm_call *call = task->call;
    if (fm_loop_now_ns(task->sched->config.loop) >= call->deadline_ns) {
        cancel_here(task, FM_ERR_DEADLINE);
        return;
    }
    FM_ASSERT(!task->read); /* then the timer is the deadline's */
    fm_task_wake(task);
}

void fm_task_wake(struct fm_task *task)
{
    FM_ASSERT(task->place == FM_TASK_PARKED);
    task->sched->counts.parked--;
    fm_task_ready(task);
}

void fm_sched_wake(struct fm_sched *sched, struct fm_call *call)
{
    struct fm_task *task = task_of(call);
    FM_ASSERT(call->pinned && task->home == sched);
    if (task->place == FM_TASK_PARKED && task->streams)
        fm_task_wake(task);
}

/* --- running ---------------------------------------------------------------------------------- */

/* On the guest's fiber, once a tick. */
static int on_tick(void *data)
{
    struct fm_call *call = data;
    struct fm_task *task = task_of(call);
    const struct fm_sched *sched = task->sched;
    int cancelled = atomic_load_explicit(&task->cancel_error, memory_order_relaxed);
    if (cancelled)
        return cancelled;
    uint64_t now_ns = fm_clock_monotonic_ns();
    if (now_ns >= call->deadline_ns)
        return FM_ERR_DEADLINE;
    uint64_t slice_ns = fm_cputime_so_far(&sched->cputime, now_ns);
    if (call->cpu_ns + slice_ns > call->limits.cpu_ms * FM_NS_PER_MS) {
        fm_call_fail_limit(call, "cpu_ms", call->limits.cpu_ms);
        return FM_ERR_GUEST_LIMIT;
    }
    return slice_ns >= FM_SLICE_MIN_NS ? FM_TICK_YIELD : 0;
}

void fm_task_take_sandbox(struct fm_task *task)
{
    if (task->sandbox)
        return; /* perhaps at a borrower, who must not touch what is its home's */
    struct fm_user *user = task->home_user;
    task->sandbox = true;
    task->home->counts.sandboxes++;
    if (user->sandboxes++ == 0)
        fm_runqueue_move(&task->home->queue, &user->turns, FM_LANE_FIRST, FM_LANE_NEW);
}

static void give_sandbox(struct fm_task *task)
{
    if (!task->sandbox)
        return;
    struct fm_sched *sched = task->home;
    struct fm_user *user = task->home_user;
    task->sandbox = false;
    sched->counts.sandboxes--;
    if (--user->sandboxes == 0)
        fm_runqueue_move(&sched->queue, &user->turns, FM_LANE_NEW, FM_LANE_FIRST);
    if (sched->crowded > 0)
        fm_children_admit(sched);
}

/* True when the task has a guest to run; otherwise it has failed. */
static bool ensure_guest(struct fm_task *task)
{
    if (task->guest)
        return true;
    int failed = fm_guest_new(task->call, task->slot->module, on_tick, &task->guest);
    if (failed) {
        fm_call_fail(task->call, failed, NULL);
        return false;
    }
    fm_trimmer_take(&task->sched->trimmer);
    fm_task_take_sandbox(task);
    fm_door_started(task);
    return true;
}

static void drop_guest(struct fm_task *task)
{
    if (!task->guest)
        return;
    fm_reads_leave(task);
    task->guest = fm_guest_free(task->guest);
    fm_trimmer_give(&task->sched->trimmer);
    (void)!fm_quotas_memory_set(task->user, &task->memory_bytes, 0); /* less is always within */
}

/* What a guest has used, making and clearing its sandbox included. */
static void charge(struct fm_task *task, uint64_t used_ns)
{
    struct fm_sched *sched = task->sched;
    task->call->cpu_ns += used_ns;
    sched->counts.guest_cpu_ns += used_ns;
    fm_quotas_cpu(task->user, used_ns);
}

/* A guest that goes on has its memory charged; true: its user may not have that much. */
static bool over_memory(struct fm_task *task)
{
    struct fm_call *call = task->call;
    struct fm_user *user = task->user;
    if (fm_quotas_memory_set(user, &task->memory_bytes, call->memory_bytes))
        return false;
    fm_call_fail(call, FM_ERR_QUOTA,
                 "the calls of the user have more memory than its limit "
                 "memory_bytes");
    call->limit = "memory_bytes";
    FM_USER_COUNT(user, refused, 1);
    return true;
}

void fm_task_park(struct fm_task *task)
{
    struct fm_sched *sched = task->sched;
    struct fm_call *call = task->call;
    struct fm_guest_wait wait;
    fm_guest_wait(task->guest, &wait);
    fm_call_set_state(call, FM_CALL_PARKED, 0);
    task->place = FM_TASK_PARKED;
    task->streams = wait.stream;
    sched->counts.parked++;
    uint64_t until_ns = wait.content ? UINT64_MAX : wait.until_ns;
    if (!arm(task, fm_min_u64(until_ns, call->deadline_ns)))
        cancel_here(task, FM_ERR_NOMEM);
    else if (wait.content)
        fm_reads_start(task, wait.content);
}

static bool at_home(const struct fm_task *task)
{
    return task->sched == task->home;
}

static void finish(struct fm_task *task, uint64_t now_ns);

/* The outcome is set and the guest is gone. */
static void conclude(struct fm_task *task, uint64_t now_ns)
{
    if (at_home(task))
        finish(task, now_ns);
    else
        fm_handover_return(task, FM_RETURN_ENDED);
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
    fm_cputime_begin(&sched->cputime, fm_clock_monotonic_ns(), task->guest != NULL);
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
    uint64_t now_ns = fm_clock_monotonic_ns();
    uint64_t used_ns = fm_cputime_end(&sched->cputime, now_ns);
    charge(task, used_ns);
    sched->policy->charge(&sched->queue, &task->user->turns, used_ns);
    sched->pass_guest_ns += used_ns;
    sched->pass_runs++;

    int cancelled = atomic_load(&task->cancel_error);
    task->place = FM_TASK_NOWHERE;
    if (state == FM_GUEST_DONE)
        conclude(task, now_ns);
    else if (over_memory(task))
        fm_task_end(task, FM_ERR_QUOTA);
    else if (cancelled)
        fm_task_end(task, cancelled);
    else if (state == FM_GUEST_YIELDED)
        fm_task_ready(task);
    else if (at_home(task))
        fm_task_park(task);
    else
        fm_handover_return(task, FM_RETURN_PARKED);
}

/* Whether this pass of the loop has time left for guests: of a slice or, if they are short, of what
 * so many may have together. */
static bool has_time(const struct fm_sched *sched, uint64_t slice_ns)
{
    uint64_t shares_ns = fm_min_u64(sched->pass_runs * FM_CALL_SHARE_NS, FM_PASS_NS_MAX);
    return sched->pass_guest_ns < fm_max_u64(slice_ns, shares_ns);
}

/* Its turn has come, but not its memory: it stays the first of its user, whose new calls are held
 * now. */
static void put_back(struct fm_task *task)
{
    struct fm_sched *sched = task->sched;
    struct fm_turns *turns = &task->user->turns;
    sched->policy->charge(&sched->queue, turns, 0);
    enum fm_lane lane = fm_task_lane(task);
    sched->policy->push(&sched->queue, lane, turns, &task->link);
    fm_list_remove(&task->link);
    fm_list_push_front(&turns->tasks[lane], &task->link);
}

/* Less than a slice, so that with the one that comes last it is not much more than one; or many
 * short calls.  And not another slice of a call that has had one, when somebody can be answered. */
void fm_sched_turn(struct fm_sched *sched)
{
    fm_children_reap(sched, false);
    uint64_t answers = sched->answers;
    while (has_time(sched, FM_SLICE_MIN_NS)) {
        if (sched->answers != answers && sched->queue.counts[FM_LANE_STARTED] > 0)
            break;
        struct fm_turns *turns = NULL;
        struct fm_list *link = sched->policy->pick(&sched->queue, fm_sched_lanes(sched), &turns);
        if (!link)
            break;
        struct fm_task *task = task_at(link);
        /* A child does not wait for memory, which the calls that wait for it may hold. */
        if (task->guest || task->level > 0 ||
            fm_quotas_memory_ready(task->user, task->call->limits.memory_bytes))
            run_task(task);
        else
            put_back(task);
        fm_handover_give(sched, turns);
    }
    if (!fm_runqueue_empty(&sched->queue))
        fm_handover_give(sched, NULL);
    fm_handover_tell(sched);
    sched->pass_guest_ns = 0;
    sched->pass_runs = 0;
}

bool fm_sched_busy(const struct fm_sched *sched)
{
    return !fm_list_empty(&sched->orphans) ||
           fm_runqueue_count(&sched->queue, fm_sched_lanes(sched)) > 0;
}

/* --- the door --------------------------------------------------------------------------------- */

void fm_task_refuse(struct fm_task *task, int error, const char *limit, const char *detail)
{
    fm_call_fail(task->call, error, detail);
    task->call->limit = limit;
    fm_task_finish(task);
}

/* The task is in the list of those that wait for the same. */
static void wait_while_loading(struct fm_task *task)
{
    if (task->call->state != FM_CALL_QUEUED)
        fm_call_set_state(task->call, FM_CALL_QUEUED, 0);
    task->place = FM_TASK_LOADING;
    if (!arm(task, task->call->deadline_ns))
        fm_sched_cancel(task->sched, task->call, FM_ERR_NOMEM);
}

/* Puts the task behind its module, or ends it if that cannot be loaded now. */
static void wait_for_module(struct fm_task *task)
{
    struct fm_slot *slot = task->slot;
    if (!fm_door_wait(task))
        return; /* refused */
    if (!slot->loading && fm_slot_load(slot) != 0) {
        fm_task_refuse(task, FM_ERR_BUSY, "", "too many functions are being loaded");
        return;
    }
    if (slot->module) { /* another worker had it */
        fm_task_proceed(task, false);
        return;
    }
    task->call->cold = true;
    task->sched->counts.cold++;
    fm_list_push_back(&slot->waiting, &task->link);
    wait_while_loading(task);
}

/* The same behind its user's files. */
static void wait_for_files(struct fm_task *task)
{
    if (!fm_door_wait(task))
        return; /* refused */
    if (fm_roots_wait(task) != 0)
        fm_task_refuse(task, FM_ERR_BUSY, "", "too many files are being read");
    else
        wait_while_loading(task);
}

void fm_task_proceed(struct fm_task *task, bool may_run)
{
    struct fm_sched *sched = task->sched;
    if (!task->slot->module) {
        wait_for_module(task);
    } else if (!fm_roots_take(task)) {
        wait_for_files(task);
    } else if (may_run && task->level == 0 && fm_runqueue_empty(&sched->queue) &&
               has_time(sched, FM_SLICE_NS) &&
               (fm_sched_lanes(sched) & FM_LANE_BIT(fm_task_lane(task))) &&
               fm_quotas_may_run(task->user) &&
               fm_quotas_memory_room(task->user, task->call->limits.memory_bytes)) {
        sched->policy->begin(&sched->queue, &task->user->turns);
        run_task(task);
        sched->counts.inlined += task->call->state == FM_CALL_DONE;
    } else {
        wait_in_queue(task);
    }
}

enum fm_submit fm_sched_submit(struct fm_sched *sched, struct fm_call *call)
{
    struct fm_task *task = task_of(call);
    FM_ASSERT(call->state == FM_CALL_NEW && task->sched == sched);
    if (fm_door_admit(task))
        fm_task_proceed(task, true);
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
            fm_task_proceed(task, false);
            continue;
        }
        fm_call_fail(task->call, FM_ERR_INTERNAL, error->text);
        fm_task_finish(task);
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

void fm_task_finish(struct fm_task *task)
{
    finish(task, fm_clock_monotonic_ns());
}

static void finish(struct fm_task *task, uint64_t now_ns)
{
    struct fm_sched *sched = task->sched;
    struct fm_call *call = task->call;
    FM_ASSERT(!task->guest && at_home(task));
    disarm(task);
    task->place = FM_TASK_NOWHERE;
    give_sandbox(task);
    fm_roots_give(task);
    fm_call_set_state(call, FM_CALL_DONE, now_ns);
    fm_door_leave(task);
    task->slot->output_bytes = call->output.length;
    struct fm_function *function = task->slot->function;
    sched->counts.finished++;
    sched->answers += task->level == 0;
    function->calls_total++;
    if (call->error) {
        sched->counts.failed++;
        function->calls_failed++;
        sched->counts.cancelled += call->error == FM_ERR_CANCELLED;
    }
    if (task->children)
        fm_children_orphan(task->children);
    task->children = NULL;
    if (task->announce) {
        task->announce = false;
        call->on_done(call);
    }
}

/* Ends a call that does not have the thread; its guest, if any, is unwound. */
void fm_task_end(struct fm_task *task, int error)
{
    struct fm_sched *sched = task->sched;
    fm_cputime_begin(&sched->cputime, fm_clock_monotonic_ns(), true);
    drop_guest(task);
    uint64_t now_ns = fm_clock_monotonic_ns();
    uint64_t used_ns = fm_cputime_end(&sched->cputime, now_ns);
    charge(task, used_ns);
    sched->pass_guest_ns += used_ns;
    fm_call_fail(task->call, error, NULL);
    conclude(task, now_ns);
}

/* On the worker that has the task. */
static void cancel_here(struct fm_task *task, int error)
{
    struct fm_sched *sched = task->sched;
    switch (task->place) {
    case FM_TASK_NOWHERE:
        return; /* DONE */
    case FM_TASK_INSIDE:
        /* It ends at its next tick, or when it gives the thread back. */
        atomic_store(&task->cancel_error, error);
        return;
    case FM_TASK_BLOCKED:
        fm_blocked_leave(task);
        break;
    case FM_TASK_READY:
        fm_runqueue_remove(&sched->queue, fm_task_lane(task), &task->user->turns, &task->link);
        break;
    case FM_TASK_LOADING:
        fm_list_remove(&task->link);
        break;
    case FM_TASK_CROWDED:
        fm_children_uncrowd(task);
        break;
    case FM_TASK_PARKED:
        sched->counts.parked--;
        break;
    }
    task->place = FM_TASK_NOWHERE;
    fm_task_end(task, error);
}

void fm_sched_cancel(struct fm_sched *sched, struct fm_call *call, int error)
{
    struct fm_task *task = task_of(call);
    FM_ASSERT(task->home == sched);
    if (task->away)
        fm_handover_cancel(task, error);
    else if (!task->cancelling)
        cancel_here(task, error);
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
    fm_cputime_init(&sched->cputime, fm_clock_thread_cpu_ns);
    fm_trimmer_init(&sched->trimmer, config->engine, config->loop);
    fm_runqueue_init(&sched->queue);
    fm_registry_init(&sched->registry, config->modules, fm_loop_mailbox(config->loop));
    sched->registry.on_loaded = on_slot_loaded;
    sched->policy = &fm_policy_fair;
    fm_list_init(&sched->borrowed);
    sched->told_idle = true;
    if (config->peers)
        config->peers->peers[config->worker].sched = sched;
    fm_map_init(&sched->users);
    sched->all_users = config->users;
    int failed = fm_children_init(sched);
    if (!failed)
        failed = fm_id_generator_init(&sched->ids);
    if (!failed && !config->users) {
        failed =
            fm_users_new(&(struct fm_users_config){.workers = config->workers}, &sched->own_users);
        sched->all_users = sched->own_users;
    }
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
    fm_children_reap(sched, true);
    FM_ASSERT(sched->counts.calls == 0 && sched->counts.borrowed == 0 && sched->chaining == 0);
    fm_trimmer_done(&sched->trimmer);
    fm_children_done(sched);
    struct fm_list *link = NULL;
    while ((link = fm_list_pop_front(&sched->free_tasks)) != NULL)
        task_free(task_at(link));
    fm_registry_done(&sched->registry);
    fm_user_free_all(sched);
    fm_users_free(sched->own_users);
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
    fm_handover_close(sched);
}

bool fm_sched_drained(const struct fm_sched *sched)
{
    return sched->closed && sched->counts.calls == 0 && sched->counts.borrowed == 0 &&
           sched->chaining == 0;
}

void fm_sched_recall(struct fm_sched *sched)
{
    fm_handover_recall(sched);
}

void fm_sched_reap(struct fm_sched *sched)
{
    fm_children_reap(sched, true);
}

void fm_sched_counts(const struct fm_sched *sched, struct fm_sched_counts *ret_counts)
{
    *ret_counts = sched->counts;
    ret_counts->queued = fm_runqueue_count(&sched->queue, FM_LANES_ALL) + sched->crowded;
}
