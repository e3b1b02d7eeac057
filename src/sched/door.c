/* door.c - one place where calls are refused, with the reason and when to come again.
 *
 * The server's own limits are 503 and come first; the function's and the user's are 429.  A limit
 * on what is held (concurrency, memory) says nothing about when it will be free: come again in a
 * second.  One on what flows (requests, CPU time) does. */
#include "sched/door.h"

#include <stdio.h>

#include "sched/blocked.h"
#include "sched/sched_private.h"

#define RETRY_NS FM_NS_PER_S

static void refuse_quota(struct fm_task *task, const char *quota, uint64_t value, uint64_t retry_ns,
                         const char *what)
{
    char text[160];
    (void)snprintf(text, sizeof(text), "%s: the limit %s = %llu %s", task->user->account->name,
                   quota, (unsigned long long)value, what);
    task->call->retry_ns = retry_ns;
    FM_USER_COUNT(task->user, refused, 1);
    fm_task_refuse(task, FM_ERR_QUOTA, quota, text);
}

static void refuse_units(struct fm_task *task, enum fm_units missing)
{
    if (missing == FM_UNITS_FUNCTION) {
        FM_USER_COUNT(task->user, refused, 1);
        task->call->retry_ns = RETRY_NS;
        fm_task_refuse(
            task, FM_ERR_QUOTA, "concurrency",
            "the function already has as many calls under way as its limit `concurrency`");
        return;
    }
    refuse_quota(task, "concurrency", task->user->quotas.concurrency, RETRY_NS,
                 "of the user is reached: so many calls are under way");
}

/* Children have as much room again as other calls, so that a crowd of these does not make those
 * fail that are under way; and a parent that was let in may also finish its work when the door is
 * closed to others. */
static bool server_has_room(struct fm_task *task)
{
    const struct fm_sched *sched = task->sched;
    const struct fm_sched_config *config = &sched->config;
    bool child = task->level > 0;
    uint32_t calls = child ? sched->counts.children : sched->counts.calls - sched->counts.children;
    if (sched->draining && !child)
        fm_task_refuse(task, FM_ERR_BUSY, "", "the server is shutting down");
    else if (calls >= (uint64_t)config->calls_max + config->queue_max)
        fm_task_refuse(task, FM_ERR_BUSY, "queue", "too many calls are waiting");
    else
        return true;
    return false;
}

/* A user with less memory than its functions ask for gets calls that fit. */
static void lower_memory(struct fm_task *task)
{
    const struct fm_user *user = task->user;
    struct fm_limits *limits = &task->call->limits;
    if (user->bounds & FM_BOUND_MEMORY)
        limits->memory_bytes = fm_min_u64(limits->memory_bytes, user->quotas.memory_bytes);
}

static bool user_has_room(struct fm_task *task)
{
    struct fm_user *user = task->user;
    struct fm_call *call = task->call;
    uint64_t wait_ns = 0;
    lower_memory(task);
    if (call->wait_for_quota)
        return true; /* it has been counted when it was accepted, and memory it waits for */
    if (!fm_quotas_memory_room(user, call->limits.memory_bytes))
        refuse_quota(task, "memory_bytes", user->quotas.memory_bytes, RETRY_NS,
                     "leaves no room for another call of the user");
    else if (!fm_quotas_request(user, &wait_ns))
        refuse_quota(task, "requests_per_s", user->quotas.requests_per_s, wait_ns,
                     "of the user is reached");
    else
        return true;
    return false;
}

static void enter(struct fm_task *task)
{
    task->holds |= FM_HOLDS_CALL;
    task->sched->counts.calls++;
    task->sched->counts.children += task->level > 0;
    FM_USER_COUNT(task->user, calls, 1);
}

static void wait_in_line(struct fm_task *task, enum fm_units missing)
{
    enter(task);
    if (!fm_door_wait(task))
        return;
    fm_call_set_state(task->call, FM_CALL_QUEUED, 0);
    fm_blocked_wait(task, missing);
    if (!fm_task_arm(task)) {
        fm_sched_cancel(task->sched, task->call, FM_ERR_NOMEM);
        return;
    }
    fm_quotas_starve(task->user);
}

bool fm_door_admit(struct fm_task *task)
{
    task->sched->counts.submitted++;
    FM_USER_COUNT(task->user, requests, 1);
    if (!server_has_room(task))
        return false;
    enum fm_units missing = fm_blocked_take(task);
    if (missing != FM_UNITS_TAKEN) {
        if (task->call->wait_for_quota)
            wait_in_line(task, missing);
        else
            refuse_units(task, missing);
        return false;
    }
    if (!user_has_room(task))
        return false;
    enter(task);
    return true;
}

bool fm_door_wait(struct fm_task *task)
{
    struct fm_user *user = task->user;
    if (task->holds & FM_HOLDS_PLACE || task->call->wait_for_quota)
        return true; /* the latter has one since it was accepted: backlog.c */
    if (fm_lease_take(&user->waiting)) {
        task->holds |= FM_HOLDS_PLACE;
        FM_USER_COUNT(user, queued, 1);
        return true;
    }
    uint64_t wait_ns = fm_quotas_cpu_wait_ns(user);
    if (wait_ns > 0)
        refuse_quota(task, "cpu_percent", user->quotas.cpu_percent, wait_ns,
                     "is used up, and the queue of the user is full");
    else
        refuse_quota(task, "queue_length", user->quotas.queue_length, RETRY_NS,
                     "of the user is reached: so many calls are waiting");
    return false;
}

void fm_door_started(struct fm_task *task)
{
    if (!(task->holds & FM_HOLDS_PLACE))
        return;
    task->holds &= ~(unsigned)FM_HOLDS_PLACE;
    fm_lease_give(&task->user->waiting);
    FM_USER_COUNT(task->user, queued, -1);
}

void fm_door_leave(struct fm_task *task)
{
    struct fm_user *user = task->user;
    const struct fm_call *call = task->call;
    FM_ASSERT(task->memory_bytes == 0); /* with its guest */
    fm_door_started(task);
    if (task->holds & FM_HOLDS_CALL) {
        task->sched->counts.calls--;
        task->sched->counts.children -= task->level > 0;
        FM_USER_COUNT(user, calls, -1);
        FM_USER_COUNT(user, finished, 1);
        FM_USER_COUNT(user, failed, call->error != 0);
        FM_USER_COUNT(user, wall_ns, call->finished_ns - call->created_ns);
        FM_USER_COUNT(user, bytes_in, call->input_bytes);
        FM_USER_COUNT(user, bytes_out, fm_call_output_bytes(call));
    }
    bool units = task->holds & FM_HOLDS_UNITS;
    task->holds = 0;
    if (!units)
        return;
    fm_lease_give(&task->slot->concurrency);
    fm_lease_give(&user->concurrency);
    if (FM_UNLIKELY(atomic_load(&user->account->starving) > 0))
        fm_lease_trim(&task->slot->concurrency);
    fm_quotas_gave(user);
}
