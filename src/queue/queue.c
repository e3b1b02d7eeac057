/* queue.c - one worker's asynchronous calls and what is remembered of them.
 *
 *      submit --> entry (QUEUED) --> scheduler --> on_done --> entry (finished) --> forgotten
 *                                                    |
 *                                                    +--> its chained calls enter here too
 *
 * An entry is found by its id in a map.  Finished entries stand in a list in the order in which
 * they ended, which is the order in which they are forgotten: after the retention time (one timer,
 * for the oldest), or earlier when there are too many entries or bytes.  Entries that have not
 * ended are never forgotten; when they alone fill the table, new calls are refused.
 *
 * An accepted call is submitted by a message to the own mailbox, after its submitter was answered.
 *
 * A question about a call travels to the worker that has it and back in the asker's own message. */
#include "queue/queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/map.h"
#include "loop/loop.h"
#include "sched/sched.h"

struct fm_queue {
    struct fm_queue_config config;
    struct fm_map entries;
    struct fm_list starting; /* accepted, to be submitted when the message comes */
    struct fm_message start; /* to ourselves */
    bool start_posted;
    struct fm_list finished; /* oldest first */
    struct fm_timer retention;
    uint64_t bytes; /* of inputs, outputs, logs, lists of children */
};

struct entry {
    struct fm_map_node node; /* by record.id */
    struct fm_list link;     /* in starting or finished */
    struct fm_queue *queue;
    struct fm_call *call; /* NULL once finished */
    uint8_t *input;
    uint64_t bytes;
    uint64_t forget_ns; /* monotonic */
    struct fm_record record;
};

static const char *const status_texts[] = {
    [FM_RECORD_QUEUED] = "queued",       [FM_RECORD_RUNNING] = "running",
    [FM_RECORD_SUCCEEDED] = "succeeded", [FM_RECORD_FAILED] = "failed",
    [FM_RECORD_CANCELLED] = "cancelled",
};

const char *fm_record_status_text(enum fm_record_status status)
{
    return status_texts[status];
}

void fm_record_done(struct fm_record *record)
{
    free(record->user);
    free(record->function);
    free(record->version);
    free(record->children);
    free(record->trap);
    free(record->detail);
    free(record->backtrace);
    free(record->output);
    free(record->log);
    *record = (struct fm_record){0};
}

/* --- entries ---------------------------------------------------------------------------------- */

static void entry_free(struct entry *entry)
{
    struct fm_queue *queue = entry->queue;
    FM_ASSERT(!entry->call);
    fm_map_remove(&queue->entries, &entry->node);
    fm_list_remove(&entry->link);
    queue->bytes -= entry->bytes;
    fm_record_done(&entry->record);
    free(entry->input);
    free(entry);
}

static void forget_until(struct fm_queue *queue, uint64_t now_ns)
{
    while (!fm_list_empty(&queue->finished)) {
        struct entry *oldest = FM_LIST_ENTRY(queue->finished.next, struct entry, link);
        if (oldest->forget_ns > now_ns) {
            /* Without memory for a timer the next call that ends looks again. */
            (void)!fm_loop_timer_set(queue->config.loop, &queue->retention, oldest->forget_ns);
            return;
        }
        entry_free(oldest);
    }
}

static void on_retention(struct fm_timer *timer)
{
    struct fm_queue *queue = FM_CONTAINER_OF(timer, struct fm_queue, retention);
    forget_until(queue, fm_loop_now_ns(queue->config.loop));
}

static bool over(const struct fm_queue *queue, uint64_t entries, uint64_t bytes)
{
    return queue->entries.count + entries > queue->config.records_max ||
           queue->bytes + bytes > queue->config.records_bytes_max;
}

/* Forgets finished calls, oldest first, until that much more fits.  False: it does not. */
static bool make_room(struct fm_queue *queue, uint64_t entries, uint64_t bytes)
{
    while (over(queue, entries, bytes) && !fm_list_empty(&queue->finished))
        entry_free(FM_LIST_ENTRY(queue->finished.next, struct entry, link));
    return !over(queue, entries, bytes);
}

static struct entry *find(struct fm_queue *queue, const struct fm_id *id)
{
    struct fm_map_node *node = fm_map_get(&queue->entries, (const char *)id, sizeof(*id));
    return node ? FM_CONTAINER_OF(node, struct entry, node) : NULL;
}

/* --- from call to record ---------------------------------------------------------------------- */

static char *copy_text(const char *text)
{
    return text && text[0] ? strdup(text) : NULL; /* NULL stands for "": also when memory is out */
}

static enum fm_record_status final_status(const struct fm_call *call)
{
    if (call->error == 0)
        return FM_RECORD_SUCCEEDED;
    return call->error == FM_ERR_CANCELLED ? FM_RECORD_CANCELLED : FM_RECORD_FAILED;
}

static uint64_t real_of(const struct fm_call *call, uint64_t monotonic_ns)
{
    return monotonic_ns ? call->created_real_ns + (monotonic_ns - call->created_ns) : 0;
}

static void update(struct fm_record *record, const struct fm_call *call)
{
    struct fm_progress now; /* the call itself may be with another worker */
    fm_sched_progress(call, &now);
    bool ended = now.state == FM_CALL_DONE;
    record->status = ended                 ? final_status(call)
                     : now.started_ns == 0 ? FM_RECORD_QUEUED
                                           : FM_RECORD_RUNNING;
    record->started_real_ns = real_of(call, now.started_ns);
    record->finished_real_ns = real_of(call, now.finished_ns);
    record->cpu_ns = now.cpu_ns;
    uint64_t until_ns = ended ? now.finished_ns : fm_clock_monotonic_ns();
    record->wall_ns = until_ns - call->created_ns;
    record->memory_bytes = now.memory_bytes;
    if (!ended)
        return;
    record->exit_code = call->exit_code;
    record->limit = call->limit;
    record->log_truncated = call->log_truncated;
}

static void set_error(struct fm_record *record, const struct fm_call *call)
{
    record->error = call->error;
    record->trap = copy_text(call->trap);
    record->detail = copy_text(call->detail);
    record->backtrace = copy_text(call->backtrace);
}

/* The chained calls of a parent that has ended well are started before its record says so. */
static void chain(struct entry *entry)
{
    struct fm_record *record = &entry->record;
    struct fm_error error = {0};
    int failed = fm_queue_chains(entry->queue, entry->call, &error);
    if (!failed)
        return;
    record->status = FM_RECORD_FAILED;
    record->error = failed;
    record->detail = copy_text(error.text);
}

/* The calls that it started (call_start) stand before those that it chained.  Without memory for
 * the list it stays as it is: the children are what matters, and they have ended. */
static void list_children(struct fm_record *record, const struct fm_call *call)
{
    size_t started = call->children_count;
    if (started == 0)
        return;
    struct fm_id *all = calloc(started + record->children_count, sizeof(*all));
    if (!all)
        return;
    memcpy(all, call->children, started * sizeof(*all));
    if (record->children_count > 0)
        memcpy(all + started, record->children, record->children_count * sizeof(*all));
    free(record->children);
    record->children = all;
    record->children_count += started;
}

static void on_done(struct fm_call *call)
{
    struct entry *entry = call->owner;
    struct fm_queue *queue = entry->queue;
    struct fm_record *record = &entry->record;
    update(record, call);
    set_error(record, call);
    if (call->error == 0 && call->chains_count > 0)
        chain(entry);
    list_children(record, call);
    record->output = fm_buffer_take(&call->output, &record->output_bytes);
    record->log = fm_buffer_take(&call->log, &record->log_bytes);
    free(entry->input);
    entry->input = NULL;

    queue->bytes -= entry->bytes;
    entry->bytes = record->output_bytes + record->log_bytes +
                   record->children_count * sizeof(*record->children);
    queue->bytes += entry->bytes;
    entry->call = NULL;
    fm_sched_call_free(queue->config.sched, call);

    entry->forget_ns = fm_clock_monotonic_ns() + queue->config.retention_ns;
    fm_list_push_back(&queue->finished, &entry->link);
    (void)make_room(queue, 0, 0); /* what cannot be helped are calls that still run */
    if (!fm_timer_armed(&queue->retention))
        forget_until(queue, fm_clock_monotonic_ns());
}

/* --- accepting -------------------------------------------------------------------------------- */

/* An entry with its call, not yet submitted.  The input is copied. */
static int entry_new(struct fm_queue *queue, struct fm_function *function, const uint8_t *input,
                     size_t input_bytes, struct entry **ret_entry)
{
    if (!make_room(queue, 1, input_bytes))
        return FM_ERR_BUSY;
    const struct fm_version *version = fm_function_version(function);
    struct entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return FM_ERR_NOMEM;
    struct fm_record *record = &entry->record;
    record->user = strdup(version->user);
    record->function = strdup(version->function);
    record->version = strdup(version->id);
    entry->input = malloc(input_bytes ? input_bytes : 1);
    bool made = record->user && record->function && record->version && entry->input &&
                fm_sched_call_new(queue->config.sched, function, &entry->call) == 0;
    if (made) {
        record->id = entry->call->id;
        made = fm_map_put(&queue->entries, &entry->node, (const char *)&record->id,
                          sizeof(record->id)) == 0;
    }
    if (!made) {
        if (entry->call)
            fm_sched_call_free(queue->config.sched, entry->call);
        fm_record_done(record);
        free(entry->input);
        free(entry);
        return FM_ERR_NOMEM;
    }
    if (input_bytes > 0)
        memcpy(entry->input, input, input_bytes);
    fm_list_init(&entry->link);
    entry->queue = queue;
    entry->bytes = input_bytes;
    queue->bytes += input_bytes;
    record->created_real_ns = entry->call->created_real_ns;
    record->input_bytes = input_bytes;
    entry->call->input = entry->input;
    entry->call->input_bytes = input_bytes;
    entry->call->owner = entry;
    entry->call->on_done = on_done;
    *ret_entry = entry;
    return 0;
}

static void start_all(struct fm_queue *queue)
{
    struct fm_list *link = NULL;
    while ((link = fm_list_pop_front(&queue->starting)) != NULL) {
        struct fm_call *call = FM_LIST_ENTRY(link, struct entry, link)->call;
        if (fm_sched_submit(queue->config.sched, call) == FM_SUBMIT_DONE)
            on_done(call);
    }
}

static void on_start(struct fm_message *message)
{
    struct fm_queue *queue = FM_CONTAINER_OF(message, struct fm_queue, start);
    queue->start_posted = false;
    start_all(queue);
}

/* Not at once: whoever submits wants its answer first, and a chain of chains must not become a
 * chain of stack frames. */
static void start(struct entry *entry)
{
    struct fm_queue *queue = entry->queue;
    fm_list_push_back(&queue->starting, &entry->link);
    if (queue->start_posted)
        return;
    queue->start_posted = true;
    fm_mailbox_post(fm_loop_mailbox(queue->config.loop), &queue->start);
}

int fm_queue_submit(struct fm_queue *queue, struct fm_function *function, const uint8_t *input,
                    size_t input_bytes, struct fm_id *ret_id)
{
    struct entry *entry = NULL;
    int failed = entry_new(queue, function, input, input_bytes, &entry);
    if (failed)
        return failed;
    *ret_id = entry->record.id;
    start(entry);
    return 0;
}

/* --- chaining --------------------------------------------------------------------------------- */

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

static void drop_unstarted(struct fm_queue *queue, struct entry **entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fm_sched_call_free(queue->config.sched, entries[i]->call);
        entries[i]->call = NULL;
        entry_free(entries[i]);
    }
}

int fm_queue_chains(struct fm_queue *queue, const struct fm_call *parent, struct fm_error *error)
{
    if (parent->depth >= parent->limits.chain_depth)
        return fm_error_set(error, FM_ERR_GUEST_LIMIT,
                            "the call is chained %u deep, its limit chain_depth is %llu",
                            parent->depth, (unsigned long long)parent->limits.chain_depth);
    struct entry **entries = calloc(parent->chains_count, sizeof(*entries));
    struct fm_id *children = calloc(parent->chains_count, sizeof(*children));
    size_t count = 0;
    int failed = entries && children ? 0 : fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    if (!failed) {
        FM_LIST_FOREACH(&parent->chains, link)
        {
            const struct fm_chain *chain = FM_LIST_ENTRY(link, struct fm_chain, link);
            struct fm_function *function = NULL;
            failed = chain_target(queue, parent, chain, &function, error);
            if (!failed)
                failed =
                    entry_new(queue, function, chain->input, chain->input_bytes, &entries[count]);
            if (failed)
                break;
            entries[count]->record.parent = parent->id;
            entries[count]->call->parent = parent->id;
            entries[count]->call->depth = parent->depth + 1;
            children[count] = entries[count]->record.id;
            count++;
        }
    }
    if (failed) {
        if (error && !error->code)
            (void)fm_error_set(error, failed, "%s", fm_err_meaning(failed));
        drop_unstarted(queue, entries, count);
        free(children);
        free(entries);
        return failed;
    }
    struct entry *own = find(queue, &parent->id); /* a synchronous parent has no record */
    if (own) {
        own->record.children = children;
        own->record.children_count = count;
        children = NULL;
    }
    for (size_t i = 0; i < count; i++)
        start(entries[i]);
    free(children);
    free(entries);
    return 0;
}

/* --- questions -------------------------------------------------------------------------------- */

static bool copy_bytes(const uint8_t *from, size_t bytes, uint8_t **ret_to)
{
    *ret_to = malloc(bytes ? bytes : 1);
    if (*ret_to && bytes)
        memcpy(*ret_to, from, bytes);
    return *ret_to != NULL;
}

static bool copy_record(const struct fm_record *from, bool contents, struct fm_record *to)
{
    *to = *from;
    to->children = NULL;
    to->output = NULL;
    to->log = NULL;
    to->user = strdup(from->user);
    to->function = strdup(from->function);
    to->version = strdup(from->version);
    to->trap = copy_text(from->trap);
    to->detail = copy_text(from->detail);
    to->backtrace = copy_text(from->backtrace);
    bool copied = to->user && to->function && to->version;
    if (from->children_count > 0) {
        to->children = calloc(from->children_count, sizeof(*to->children));
        copied = copied && to->children;
        if (to->children)
            memcpy(to->children, from->children, from->children_count * sizeof(*to->children));
    }
    if (contents)
        copied = copied && copy_bytes(from->output, from->output_bytes, &to->output) &&
                 copy_bytes(from->log, from->log_bytes, &to->log);
    return copied;
}

static void on_answer(struct fm_message *message)
{
    struct fm_query *query = FM_CONTAINER_OF(message, struct fm_query, message);
    query->on_answer(query);
}

/* On the loop of the worker that should have the call. */
static void on_question(struct fm_message *message)
{
    struct fm_query *query = FM_CONTAINER_OF(message, struct fm_query, message);
    struct fm_queue *queue = query->target;
    if (query->cancel)
        start_all(queue); /* what has not been submitted cannot be cancelled */
    struct entry *entry = find(queue, &query->id);
    if (entry && entry->call && query->cancel)
        fm_sched_cancel(queue->config.sched, entry->call, FM_ERR_CANCELLED);
    entry = find(queue, &query->id); /* its end may have made room at its own cost */
    query->found = entry != NULL;
    if (entry) {
        if (entry->call)
            update(&entry->record, entry->call);
        if (!copy_record(&entry->record, query->want_output, &query->record)) {
            fm_record_done(&query->record);
            query->record.error = FM_ERR_NOMEM;
        }
    }
    message->on_message = on_answer;
    fm_mailbox_post(query->asker, message);
}

void fm_queue_ask(struct fm_queue *queue, struct fm_query *query)
{
    unsigned worker = (unsigned)(query->id.low & FM_SCHED_WORKERS_MASK);
    query->found = false;
    query->record = (struct fm_record){0};
    query->asker = fm_loop_mailbox(queue->config.loop);
    if (worker >= queue->config.all_count) {
        query->message.on_message = on_answer;
        fm_mailbox_post(query->asker, &query->message);
        return;
    }
    query->target = queue->config.all[worker];
    query->message.on_message = on_question;
    fm_mailbox_post(fm_loop_mailbox(query->target->config.loop), &query->message);
}

/* --- life ------------------------------------------------------------------------------------- */

int fm_queue_new(const struct fm_queue_config *config, struct fm_queue **ret_queue)
{
    struct fm_queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return FM_ERR_NOMEM;
    queue->config = *config;
    fm_map_init(&queue->entries);
    fm_list_init(&queue->starting);
    queue->start.on_message = on_start;
    fm_list_init(&queue->finished);
    fm_timer_init(&queue->retention, on_retention);
    *ret_queue = queue;
    return 0;
}

struct fm_queue *fm_queue_free(struct fm_queue *queue)
{
    if (!queue)
        return NULL;
    FM_ASSERT(!queue->start_posted);
    struct fm_map_node *node = NULL;
    while ((node = fm_map_next(&queue->entries, NULL)) != NULL) {
        struct entry *entry = FM_CONTAINER_OF(node, struct entry, node);
        if (entry->call)
            fm_sched_cancel(queue->config.sched, entry->call, FM_ERR_CANCELLED); /* -> on_done */
        else
            entry_free(entry);
    }
    fm_loop_timer_cancel(queue->config.loop, &queue->retention); /* an end may have set it */
    fm_map_done(&queue->entries);
    free(queue);
    return NULL;
}
