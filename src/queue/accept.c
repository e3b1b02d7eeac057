/* accept.c - new calls: one from a client, or all that a parent chained, written as one.
 *
 * A batch holds an entry and a row for each.  Entries exist before their rows are on disk, so that
 * after the commit nothing can fail; they are in the map, and count, but nobody can know their ids.
 *
 * A call for which a place is free is written as RUNNING, attempt 1, at once: its acceptance and
 * its first claim are one write.  If that write fails the place is given back.
 *
 * Threading: the worker's. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "call/call.h"
#include "call/function.h"
#include "queue/private.h"
#include "sched/sched.h"

#define BATCH_ARENA_BYTES_MAX (64 * FM_MIB)

/* --- batches ---------------------------------------------------------------------------------- */

static struct fm_queue_batch *batch_new(struct fm_queue *queue, size_t room)
{
    struct fm_queue_batch *batch = calloc(1, sizeof(*batch));
    if (!batch)
        return NULL;
    fm_arena_init(&batch->arena, BATCH_ARENA_BYTES_MAX);
    batch->queue = queue;
    batch->room = room;
    batch->rows = calloc(room, sizeof(*batch->rows));
    batch->entries = calloc(room, sizeof(struct fm_queue_entry *));
    if (batch->rows && batch->entries)
        return batch;
    fm_batch_drop(batch);
    return NULL;
}

static void batch_free(struct fm_queue_batch *batch)
{
    fm_arena_done(&batch->arena);
    free(batch->rows);
    free(batch->entries);
    free(batch);
}

void fm_batch_drop(struct fm_queue_batch *batch)
{
    if (!batch)
        return;
    struct fm_queue *queue = batch->queue;
    for (size_t i = 0; i < batch->count; i++)
        fm_entry_free(batch->entries[i]);
    batch_free(batch);
    fm_queue_wake(queue);
}

/* Claimed already, and before all others of its function, which came later. */
static void settle_claimed(struct fm_queue_entry *entry)
{
    fm_ready_give(entry->target);
    entry->placed = false;
    entry->claimed = true;
    entry->number = 1;
    fm_entry_wait_first(entry);
}

void fm_batch_settle(struct fm_queue_batch *batch)
{
    batch->queue->counts.accepted += batch->count;
    for (size_t i = batch->count; i > 0; i--)
        if (batch->entries[i - 1]->placed)
            settle_claimed(batch->entries[i - 1]); /* each goes before the last one */
    for (size_t i = 0; i < batch->count; i++)
        if (batch->entries[i]->state == FM_ENTRY_ARRIVING)
            fm_entry_wait(batch->entries[i]);
    batch_free(batch);
}

/* What a new call is made of. */
struct birth {
    struct fm_function *function;
    uint8_t *input; /* taken by batch_add(), if it succeeds */
    size_t input_bytes;
    const struct fm_call *parent; /* NULL: none */
    uint64_t delay_ns;
    const char *key;
};

static bool fits(const struct fm_queue *queue, uint64_t input_bytes)
{
    return queue->counts.inputs_bytes + input_bytes <= queue->config.inputs_bytes_max ||
           queue->counts.inputs_bytes == 0;
}

static int batch_add(struct fm_queue_batch *batch, const struct birth *birth)
{
    struct fm_queue *queue = batch->queue;
    FM_ASSERT(batch->count < batch->room);
    if (queue->entries.count >= queue->config.calls_max)
        return FM_ERR_BUSY;
    const struct fm_version *version = fm_function_version(birth->function);
    const struct fm_limits *limits = &version->limits;
    char *id_text = fm_arena_strndup(&batch->arena, version->id, strlen(version->id));
    char *key = birth->key ? fm_arena_strndup(&batch->arena, birth->key, strlen(birth->key)) : NULL;
    if (!id_text || (birth->key && !key))
        return FM_ERR_NOMEM;
    uint64_t now_real_ns = fm_clock_real_ns();
    bool room = fits(queue, birth->input_bytes);
    struct fm_queue_entry *entry = NULL;
    const struct fm_entry_birth made_of = {.id = fm_queue_id(queue, now_real_ns),
                                           .user = version->user,
                                           .function = version->function,
                                           .input = birth->input,
                                           .input_bytes = birth->input_bytes};
    int failed = fm_entry_new(queue, &made_of, &entry);
    if (failed)
        return failed;
    if (birth->parent) {
        entry->parent = birth->parent->id;
        entry->depth = birth->parent->depth + 1;
    }
    entry->run_at_real_ns = now_real_ns + birth->delay_ns;
    entry->age_ns = fm_queue_age_ns(birth->function);
    entry->attempts_max = (uint32_t)fm_max_u64(limits->attempts, (uint64_t)FM_QUEUE_CRASH_ATTEMPTS);
    fm_ready_target_limit(entry->target, limits->concurrency);
    entry->placed = birth->delay_ns == 0 && room && !queue->draining && !queue->disk_paused &&
                    fm_ready_take(entry->target);
    batch->entries[batch->count] = entry;
    batch->rows[batch->count] = (struct fm_calls_entry){
        .id = entry->id,
        .parent = entry->parent,
        .user = entry->target->tenant->name,
        .function = entry->target->function,
        .version = id_text,
        .key = key,
        .input = birth->input,
        .input_bytes = birth->input_bytes,
        .created_real_ns = now_real_ns,
        .run_at_real_ns = entry->run_at_real_ns,
        .started_real_ns = entry->placed ? now_real_ns : 0,
        .attempts_max = entry->attempts_max,
        .depth = entry->depth,
    };
    batch->count++;
    return 0;
}

static void write_batch(struct fm_queue_batch *batch, struct fm_calls_accept *accept,
                        void (*on_done)(struct fm_calls_write *write))
{
    struct fm_queue *queue = batch->queue;
    *accept = (struct fm_calls_accept){
        .write = {.on_done = on_done}, .entries = batch->rows, .entries_count = batch->count};
    fm_calls_accept(queue->config.calls, accept, fm_loop_mailbox(queue->config.loop));
}

static int refused(struct fm_error *error, int failed)
{
    const char *why = fm_err_meaning(failed);
    if (failed == FM_ERR_BUSY)
        why = "too many calls have not ended";
    else if (failed == FM_ERR_QUOTA)
        why = "the limit queue_length of the user is reached: so many of its asynchronous calls "
              "have not ended";
    return fm_error_set(error, failed, "%s", why);
}

/* --- a call from a client --------------------------------------------------------------------- */

static void on_accepted(struct fm_calls_write *write)
{
    struct fm_calls_accept *accept = FM_CONTAINER_OF(write, struct fm_calls_accept, write);
    struct fm_queue_submit *submit = FM_CONTAINER_OF(accept, struct fm_queue_submit, accept);
    struct fm_queue_batch *batch = submit->batch;
    bool written = !write->error && !accept->found;
    fm_disk_answer(batch->queue, write->error);
    submit->error = write->error;
    submit->id = accept->found ? accept->existing.id : batch->rows[0].id;
    submit->status = accept->found ? accept->existing.status : FM_STATUS_QUEUED;
    fm_call_record_done(&accept->existing);
    submit->batch = NULL;
    submit->on_done(submit); /* first: whoever submits wants its answer */
    if (written)
        fm_batch_settle(batch);
    else
        fm_batch_drop(batch);
}

int fm_queue_submit(struct fm_queue *queue, struct fm_queue_submit *submit, struct fm_error *error)
{
    if (queue->draining)
        return fm_error_set(error, FM_ERR_BUSY, "the server is shutting down");
    struct fm_queue_batch *batch = batch_new(queue, 1);
    uint8_t *empty = submit->input ? NULL : malloc(1);
    struct birth birth = {
        .function = submit->function,
        .input = submit->input ? submit->input : empty,
        .input_bytes = submit->input_bytes,
        .delay_ns = submit->delay_ns,
        .key = submit->key,
    };
    int failed = batch && birth.input ? batch_add(batch, &birth) : FM_ERR_NOMEM;
    if (failed) {
        free(empty);
        fm_batch_drop(batch);
        return refused(error, failed);
    }
    submit->batch = batch;
    write_batch(batch, &submit->accept, on_accepted);
    return 0;
}

/* --- chained calls ---------------------------------------------------------------------------- */

static int chain_target(struct fm_queue *queue, const struct fm_call *parent,
                        const struct fm_chain *chain, struct fm_function **ret_function,
                        struct fm_error *error)
{
    const char *user = parent->version->user;
    struct fm_function *function =
        fm_sched_function(queue->config.sched, user, strlen(user), chain->name, chain->name_length);
    if (!function)
        return fm_error_set(error, FM_ERR_CHAIN_TARGET, "the chained function %s/%s does not exist",
                            user, chain->name);
    const struct fm_version *version = fm_function_version(function);
    if (chain->input_bytes > version->limits.input_bytes)
        return fm_error_set(error, FM_ERR_TOO_LARGE,
                            "the input of %zu bytes for the chained function %s/%s is over its "
                            "limit input_bytes = %llu",
                            chain->input_bytes, user, chain->name,
                            (unsigned long long)version->limits.input_bytes);
    *ret_function = function;
    return 0;
}

static int add_child(struct fm_queue_batch *batch, const struct fm_call *parent,
                     const struct fm_chain *chain, struct fm_error *error)
{
    struct birth birth = {.input_bytes = chain->input_bytes, .parent = parent};
    int failed = chain_target(batch->queue, parent, chain, &birth.function, error);
    if (failed)
        return failed;
    birth.input = malloc(chain->input_bytes ? chain->input_bytes : 1);
    if (!birth.input)
        return FM_ERR_NOMEM;
    if (chain->input_bytes > 0)
        memcpy(birth.input, chain->input, chain->input_bytes);
    failed = batch_add(batch, &birth);
    if (failed)
        free(birth.input);
    return failed;
}

int fm_batch_children(struct fm_queue *queue, const struct fm_call *parent,
                      struct fm_queue_batch **ret_batch, struct fm_error *error)
{
    FM_ASSERT(parent->chains_count > 0);
    *error = (struct fm_error){0};
    if (parent->depth >= parent->limits.chain_depth)
        return fm_error_set(error, FM_ERR_GUEST_LIMIT,
                            "the call is chained %u deep, its limit chain_depth is %llu",
                            parent->depth, (unsigned long long)parent->limits.chain_depth);
    struct fm_queue_batch *batch = batch_new(queue, parent->chains_count);
    int failed = batch ? 0 : FM_ERR_NOMEM;
    if (!failed) {
        FM_LIST_FOREACH(&parent->chains, link)
        {
            failed = add_child(batch, parent, FM_LIST_ENTRY(link, struct fm_chain, link), error);
            if (failed)
                break;
        }
    }
    if (failed) {
        fm_batch_drop(batch);
        return error->code ? failed : refused(error, failed);
    }
    *ret_batch = batch;
    return 0;
}

static void on_chained(struct fm_calls_write *write)
{
    struct fm_calls_accept *accept = FM_CONTAINER_OF(write, struct fm_calls_accept, write);
    struct fm_queue_chains *chains = FM_CONTAINER_OF(accept, struct fm_queue_chains, accept);
    struct fm_queue_batch *batch = chains->batch;
    int failed = write->error;
    fm_disk_answer(batch->queue, failed);
    if (failed) {
        free(chains->children);
        chains->children = NULL;
        chains->children_count = 0;
        (void)fm_error_set(&chains->error, failed, "the chained calls cannot be stored: %s",
                           fm_err_meaning(failed));
    }
    chains->batch = NULL;
    chains->on_done(chains);
    if (failed)
        fm_batch_drop(batch);
    else
        fm_batch_settle(batch);
}

int fm_queue_chains(struct fm_queue *queue, struct fm_queue_chains *chains)
{
    struct fm_queue_batch *batch = NULL;
    chains->children = NULL;
    chains->children_count = 0;
    chains->error = (struct fm_error){0};
    if (queue->stopped)
        return fm_error_set(&chains->error, FM_ERR_BUSY, "the server is shutting down");
    int failed = fm_batch_children(queue, chains->parent, &batch, &chains->error);
    if (failed)
        return failed;
    chains->children = calloc(batch->count, sizeof(*chains->children));
    if (!chains->children) {
        fm_batch_drop(batch);
        return fm_error_set(&chains->error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    }
    chains->children_count = batch->count;
    for (size_t i = 0; i < batch->count; i++)
        chains->children[i] = batch->rows[i].id;
    chains->batch = batch;
    write_batch(batch, &chains->accept, on_chained);
    return 0;
}
