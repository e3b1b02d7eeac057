/* report.c - what is told of a call: how far it has come, and, after its end, what is remembered.
 *
 * A call that is with another worker is that worker's alone.  Its home knows what it was when it
 * left, and whether it is to end; that has to do until it is back.
 *
 * Threading: the call's home worker. */
#include "call/recent.h"
#include "sched/sched_private.h"

void fm_sched_progress(const struct fm_call *call, struct fm_progress *ret_progress)
{
    const struct fm_task *task = call->task;
    if (task->away) {
        *ret_progress = task->left;
    } else {
        *ret_progress = (struct fm_progress){
            .state = call->state,
            .started_ns = call->started_ns,
            .finished_ns = call->finished_ns,
            .cpu_ns = call->cpu_ns,
            .memory_bytes = call->memory_bytes,
        };
    }
    ret_progress->away = task->away;
    ret_progress->cancelled =
        ret_progress->state != FM_CALL_DONE && atomic_load(&task->cancel_error) != 0;
}

static bool refused(const struct fm_call *call)
{
    return call->started_ns == 0 && (call->error == FM_ERR_BUSY || call->error == FM_ERR_QUOTA);
}

/* NULL: there is no memory for its names, or nothing is remembered here. */
static struct fm_recent_function *names_of(struct fm_sched *sched, struct fm_slot *slot)
{
    if (FM_UNLIKELY(!slot->recent) && sched->config.recent)
        (void)!fm_recent_function_new(sched->config.recent, slot->code->version, &slot->recent);
    return slot->recent;
}

void fm_sched_remember(struct fm_sched *sched, const struct fm_call *call,
                       const struct fm_error *chains_error, const struct fm_id *chained,
                       size_t chained_count)
{
    const struct fm_task *task = call->task;
    FM_ASSERT(call->state == FM_CALL_DONE && task->home == sched);
    struct fm_recent_function *names = refused(call) ? NULL : names_of(sched, task->slot);
    if (!names)
        return;
    bool failed = FM_UNLIKELY(chains_error && chains_error->code);
    fm_recent_add(names, &(struct fm_recent_end){
                             .call = call,
                             .error = failed ? chains_error->code : call->error,
                             .detail = failed ? chains_error->text : call->detail,
                             .chained = chained,
                             .chained_count = chained_count,
                         });
}
