/* roots.c - roots by user, asked for when the generation says so.
 *
 *      same generation as the cached root's?  --yes--> that one
 *        | no
 *      in the table of the process?           --yes--> cached, with the generation of before
 *        | no
 *      the I/O pool reads the folder; tasks wait; then each starts at the top again
 *
 * A root that the pool brings is not handed out as it is: in the meantime there may have been a
 * change, which was answered before a task that waits here was submitted.
 *
 * Threading: the worker's, but for the job, which touches `loaded` and `error` alone. */
#include "sched/roots.h"

#include "call/call.h"
#include "files/tree.h"
#include "sched/sched_private.h"

void fm_roots_init(struct fm_user *user)
{
    user->roots = (struct fm_roots){.user = user};
    fm_list_init(&user->roots.waiting);
}

void fm_roots_forget(struct fm_user *user)
{
    user->roots.root = fm_node_release(user->roots.root);
}

void fm_roots_done(struct fm_user *user)
{
    FM_ASSERT(!user->roots.loading && fm_list_empty(&user->roots.waiting));
    fm_roots_forget(user);
}

bool fm_roots_take(struct fm_task *task)
{
    struct fm_user_trees *trees = task->sched->config.trees;
    struct fm_roots *roots = &task->user->roots;
    struct fm_call *call = task->call;
    if (!trees || !call->version->uses_files || call->files)
        return true;
    uint64_t generation = fm_user_trees_generation(trees);
    if (!roots->root || roots->generation != generation) {
        struct fm_user_tree tree = {0};
        fm_roots_forget(task->user);
        if (!fm_user_trees_get(trees, task->user->account->name, &tree))
            return false;
        roots->root = tree.root;
        roots->generation = generation;
    }
    call->files = fm_node_hold(roots->root);
    return true;
}

void fm_roots_give(struct fm_task *task)
{
    task->call->files = fm_node_release(task->call->files);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* On a thread of the pool. */
static void run_load(struct fm_job *job)
{
    struct fm_roots *roots = FM_CONTAINER_OF(job, struct fm_roots, job);
    const struct fm_user *user = roots->user;
    int failed = fm_user_trees_load(user->sched->config.trees, user->account->name, &roots->loaded,
                                    &roots->error);
    if (failed)
        roots->error.code = failed;
}

static void fail_task(struct fm_task *task, const struct fm_error *error)
{
    bool shortage = error->code == FM_ERR_NOMEM || error->code == FM_ERR_BUSY;
    fm_call_fail(task->call, shortage ? error->code : FM_ERR_INTERNAL, error->text);
    fm_task_finish(task);
}

static void on_loaded(struct fm_job *job)
{
    struct fm_roots *roots = FM_CONTAINER_OF(job, struct fm_roots, job);
    struct fm_error error = roots->error;
    struct fm_node *loaded = roots->loaded.root; /* holds it in memory until all have asked */
    struct fm_list waiting;
    struct fm_list *link = NULL;
    roots->loading = false;
    fm_list_init(&waiting);
    fm_list_move_all(&roots->waiting, &waiting); /* some may have to wait once more */
    while ((link = fm_list_pop_front(&waiting)) != NULL) {
        struct fm_task *task = FM_LIST_ENTRY(link, struct fm_task, link);
        task->place = FM_TASK_NOWHERE;
        if (error.code)
            fail_task(task, &error);
        else
            fm_task_proceed(task, false);
    }
    fm_node_release(loaded);
}

int fm_roots_wait(struct fm_task *task)
{
    struct fm_sched *sched = task->sched;
    struct fm_roots *roots = &task->user->roots;
    if (!roots->loading) {
        roots->loaded = (struct fm_user_tree){0};
        roots->error = (struct fm_error){0};
        roots->job.run = run_load;
        roots->job.on_done = on_loaded;
        int failed =
            fm_pool_submit(sched->config.pool, &roots->job, fm_loop_mailbox(sched->config.loop));
        if (failed)
            return failed;
        roots->loading = true;
    }
    fm_list_push_back(&roots->waiting, &task->link);
    return 0;
}
