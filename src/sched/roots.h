/* roots.h - the files that a call sees: the root of its user's tree, held from before its start to
 * its end.  Private to sched/.
 *
 * A worker keeps the root that it last used of each user.  One number of the whole process
 * (fm_user_trees_generation()) says whether any user's files have changed since: then it asks
 * again. So a call that uses no files touches nothing shared, and one that does reads one atomic.
 */
#pragma once

#include "base/list.h"
#include "loop/pool.h"
#include "store/user_trees.h"

struct fm_sched;
struct fm_task;
struct fm_user;

/* Of one user on one worker. */
struct fm_roots {
    struct fm_node *root;   /* held; NULL: none is known */
    uint64_t generation;    /* of before it was asked for */
    struct fm_list waiting; /* tasks, by their link */

    /* Reading the tree into memory. */
    bool loading;
    struct fm_job job;
    struct fm_user *user;
    struct fm_user_tree loaded;
    struct fm_error error;
};

void fm_roots_init(struct fm_user *user);
void fm_roots_done(struct fm_user *user);   /* nothing waits */
void fm_roots_forget(struct fm_user *user); /* news: the user's files have changed */

/* True: the task's call has the files that it is to see, if it uses any.  False: they are not in
 * memory. */
FM_MUST_CHECK bool fm_roots_take(struct fm_task *task);

/* Puts a task into `waiting`; fm_task_proceed() is called when they are in memory.  FM_ERR_BUSY. */
FM_MUST_CHECK int fm_roots_wait(struct fm_task *task);

void fm_roots_give(struct fm_task *task); /* its guest is gone */
