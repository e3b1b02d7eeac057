/* sync.c - calls that are not on disk as others see them: those under way (call/under_way.h),
 * listed together with those that have ended (call/recent.h).
 *
 * A list is asked of one worker after the other.  Each adds what fits and keeps the latest `limit`,
 * in a heap whose top is the oldest, so that a worker with a hundred thousand calls copies few of
 * them.
 *
 * Threading: each worker its own; lists travel as messages. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "call/call.h"
#include "call/function.h"
#include "call/under_way.h"
#include "queue/private.h"
#include "sched/sched.h"

/* --- under way -------------------------------------------------------------------------------- */

static char *lend(const char *text)
{
    return (char *)(uintptr_t)text;
}

void fm_sync_lend(const struct fm_call *call, struct fm_call_record *ret_record)
{
    const struct fm_version *version = call->version;
    struct fm_progress now; /* the call itself may be with another worker */
    fm_sched_progress(call, &now);
    uint64_t started_ns = /* the loop's time may be older than the call */
        now.started_ns ? fm_max_u64(now.started_ns, call->created_ns) : 0;
    *ret_record = (struct fm_call_record){
        .id = call->id,
        .status = started_ns ? FM_STATUS_RUNNING : FM_STATUS_QUEUED,
        .attempt = started_ns ? call->attempt : 0,
        .attempts_max = 1,
        .depth = call->depth,
        .user = lend(version->user),
        .function = lend(version->function),
        .version = lend(version->id),
        .parent = call->parent,
        .created_real_ns = call->created_real_ns,
        .started_real_ns = started_ns ? call->created_real_ns + (started_ns - call->created_ns) : 0,
        .cpu_ns = now.cpu_ns,
        .wall_ns = fm_clock_monotonic_ns() - call->created_ns,
        .input_bytes = call->input_bytes,
        .cancelled = now.cancelled,
    };
    if (!call->pinned)
        return; /* it has started none, and may be with another worker */
    ret_record->children = call->children;
    ret_record->children_count = call->children_count;
}

/* --- lists ------------------------------------------------------------------------------------ */

static bool older(const struct fm_call_record *a, const struct fm_call_record *b)
{
    return a->id.high != b->id.high ? a->id.high < b->id.high : a->id.low < b->id.low;
}

static void swap(struct fm_call_record *a, struct fm_call_record *b)
{
    struct fm_call_record kept = *a;
    *a = *b;
    *b = kept;
}

static void sift_up(struct fm_call_record *heap, size_t at)
{
    while (at > 0 && older(&heap[at], &heap[(at - 1) / 2])) {
        swap(&heap[at], &heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static void sift_down(struct fm_call_record *heap, size_t count, size_t at)
{
    for (;;) {
        size_t oldest = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++)
            if (older(&heap[child], &heap[oldest]))
                oldest = child;
        if (oldest == at)
            return;
        swap(&heap[at], &heap[oldest]);
        at = oldest;
    }
}

static void add(const struct fm_call_record *record, void *data)
{
    struct fm_queue_list *list = data;
    if (list->error)
        return;
    bool full = list->records_count == list->limit;
    if (full && older(record, &list->records[0]))
        return;
    struct fm_call_record copy;
    list->error = fm_call_record_copy(record, &copy);
    if (list->error)
        return;
    if (full) {
        fm_call_record_done(&list->records[0]);
        list->records[0] = copy;
        sift_down(list->records, list->records_count, 0);
        return;
    }
    list->records[list->records_count] = copy;
    sift_up(list->records, list->records_count);
    list->records_count++;
}

static int latest_first(const void *a, const void *b)
{
    return older(a, b) ? 1 : -1; /* no two are the same */
}

static void on_list_back(struct fm_message *message)
{
    struct fm_queue_list *list = FM_CONTAINER_OF(message, struct fm_queue_list, message);
    int error = list->error;
    if (error)
        fm_queue_list_done(list);
    list->error = error;
    if (list->records_count > 1)
        qsort(list->records, list->records_count, sizeof(*list->records), latest_first);
    list->on_answer(list);
}

static void on_list(struct fm_message *message)
{
    struct fm_queue_list *list = FM_CONTAINER_OF(message, struct fm_queue_list, message);
    struct fm_queue *queue = list->target;
    struct fm_under_way_call *entry = NULL;
    while ((entry = fm_under_way_next(queue->config.under_way, entry)) != NULL) {
        struct fm_call_record lent;
        fm_sync_lend(entry->call, &lent);
        if (fm_recent_fits(&list->filter, &lent))
            add(&lent, list);
    }
    fm_recent_each(queue->config.recent, &list->filter, add, list);

    unsigned next = queue->config.worker + 1;
    if (next == queue->config.all_count) {
        message->on_message = on_list_back;
        fm_mailbox_post(list->asker, message);
        return;
    }
    list->target = queue->config.all[next];
    fm_mailbox_post(fm_loop_mailbox(list->target->config.loop), message);
}

void fm_queue_list(struct fm_queue *queue, struct fm_queue_list *list)
{
    FM_ASSERT(list->limit > 0);
    list->error = 0;
    list->records_count = 0;
    list->records = calloc(list->limit, sizeof(*list->records));
    if (!list->records)
        list->error = FM_ERR_NOMEM;
    list->asker = fm_loop_mailbox(queue->config.loop);
    list->target = queue->config.all[0];
    list->message.on_message = on_list;
    fm_mailbox_post(fm_loop_mailbox(list->target->config.loop), &list->message);
}

void fm_queue_list_done(struct fm_queue_list *list)
{
    for (size_t i = 0; i < list->records_count; i++)
        fm_call_record_done(&list->records[i]);
    free(list->records);
    list->records = NULL;
    list->records_count = 0;
}
