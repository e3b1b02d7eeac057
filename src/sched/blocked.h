/* blocked.h - calls that wait for a unit of concurrency instead of being refused.  Private to
 * sched/.
 *
 * Calls with `wait_for_quota` do.  They stand in line at their function or, when only their user
 * has too many calls, at their user; whoever gives a unit back lets the first in (quotas.c). */
#pragma once

#include <stdbool.h>

struct fm_task;
struct fm_user;

enum fm_units {
    FM_UNITS_TAKEN,
    FM_UNITS_FUNCTION, /* the function has as many calls as it may */
    FM_UNITS_USER,     /* its user has */
};

/* Takes the units of concurrency that a call needs, all or none. */
enum fm_units fm_blocked_take(struct fm_task *task);

void fm_blocked_wait(struct fm_task *task, enum fm_units missing);
void fm_blocked_leave(struct fm_task *task); /* it ends instead */

/* Lets in what can be let in. */
void fm_blocked_admit(struct fm_user *user);
