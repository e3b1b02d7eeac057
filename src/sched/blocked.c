/* blocked.c - lines of calls that wait for a unit of concurrency.
 *
 *      user -> blocked:        call call call           the user's own units are used up
 *           -> blocked_slots:  slot -> blocked: call    the function's are
 *                              slot -> blocked: call call
 *
 * Lines of their own for functions, so that one that is full keeps no other of its user waiting,
 * and looking again costs a step per line and not per call. */
#include "sched/blocked.h"

#include "sched/sched_private.h"

enum fm_units fm_blocked_take(struct fm_task *task)
{
    if (!fm_lease_take(&task->slot->concurrency))
        return FM_UNITS_FUNCTION;
    if (!fm_lease_take(&task->user->concurrency)) {
        fm_lease_give(&task->slot->concurrency);
        return FM_UNITS_USER;
    }
    task->holds |= FM_HOLDS_UNITS;
    return FM_UNITS_TAKEN;
}

void fm_blocked_wait(struct fm_task *task, enum fm_units missing)
{
    struct fm_user *user = task->user;
    struct fm_slot *slot = task->slot;
    task->place = FM_TASK_BLOCKED;
    task->missing = missing;
    if (missing == FM_UNITS_USER) {
        fm_list_push_back(&user->blocked, &task->link);
        return;
    }
    if (fm_list_empty(&slot->blocked))
        fm_list_push_back(&user->blocked_slots, &slot->blocked_link);
    fm_list_push_back(&slot->blocked, &task->link);
}

void fm_blocked_leave(struct fm_task *task)
{
    struct fm_slot *slot = task->slot;
    fm_list_remove(&task->link);
    task->place = FM_TASK_NOWHERE;
    if (task->missing == FM_UNITS_FUNCTION && fm_list_empty(&slot->blocked))
        fm_list_remove(&slot->blocked_link);
}

/* True: the first of a line has left it. */
static bool move_first(struct fm_list *line)
{
    if (fm_list_empty(line))
        return false;
    struct fm_task *task = FM_LIST_ENTRY(line->next, struct fm_task, link);
    enum fm_units missing = fm_blocked_take(task);
    if (missing == task->missing || missing == FM_UNITS_USER)
        return false;
    fm_blocked_leave(task);
    if (missing == FM_UNITS_TAKEN)
        fm_task_proceed(task, false);
    else
        fm_blocked_wait(task, missing); /* the user has room, but the function has not */
    return true;
}

static bool move_any(struct fm_user *user)
{
    FM_LIST_FOREACH(&user->blocked_slots, link)
    {
        struct fm_slot *slot = FM_LIST_ENTRY(link, struct fm_slot, blocked_link);
        if (move_first(&slot->blocked))
            return true; /* the list may have changed */
    }
    return move_first(&user->blocked);
}

/* What ends in here gives units back, which would come here again: once is enough. */
void fm_blocked_admit(struct fm_user *user)
{
    if (user->admitting)
        return;
    user->admitting = true;
    while (move_any(user))
        ;
    user->admitting = false;
}
