/* changes.c - what happens to calls from outside: cancelled, redriven, forgotten.
 *
 * An answer that shows the call is read before the change and then changed alike, so that nothing
 * can fail once the row is written but the transaction itself.
 *
 * Threading: prepare on the asker's thread, the rest on the writer's. */
#include <string.h>

#include "base/limits.h"
#include "store/blobs.h"
#include "store/calls_private.h"
#include "store/found.h"
#include "store/rows.h"

static int nothing_to_prepare(struct fm_calls *calls, struct fm_calls_write *write)
{
    (void)calls;
    (void)write;
    return 0;
}

/* --- cancel ----------------------------------------------------------------------------------- */

static struct fm_calls_cancel *cancel_of(struct fm_calls_write *write)
{
    return FM_CONTAINER_OF(write, struct fm_calls_cancel, write);
}

static int cancel_queued(struct fm_calls *calls, struct fm_calls_cancel *cancel,
                         const struct fm_calls_found *found)
{
    uint64_t bytes = found->bytes - fm_min_u64(found->input_bytes, found->bytes);
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_CANCEL_QUEUED);
    fm_query_count(&query, cancel->finished_real_ns);
    fm_query_count(&query, cancel->keep_until_real_ns);
    fm_query_text(&query, fm_call_error_text(FM_ERR_CANCELLED));
    fm_query_text(&query, fm_err_code(FM_ERR_CANCELLED));
    fm_query_count(&query, bytes);
    fm_query_number(&query, found->seq);
    int failed = fm_query_run(&query);
    if (failed)
        return failed;
    cancel->record.status = FM_STATUS_CANCELLED;
    cancel->record.finished_real_ns = cancel->finished_real_ns;
    cancel->record.error = FM_ERR_CANCELLED;
    fm_calls_resize(calls, found, bytes);
    calls->sums.rows_open -= 1;
    fm_blobs_doom(calls, found->input_file);
    return 0;
}

static int cancel_running(struct fm_calls *calls, struct fm_calls_cancel *cancel,
                          const struct fm_calls_found *found)
{
    cancel->record.cancelled = true;
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_CANCEL_RUNNING);
    fm_query_number(&query, found->seq);
    return fm_query_run(&query);
}

static int cancel_apply(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_cancel *cancel = cancel_of(write);
    struct fm_calls_found found;
    int failed = fm_calls_find(calls, cancel->id, &found);
    if (!failed)
        failed = fm_calls_record(&calls->writer, found.seq, &cancel->record);
    if (failed)
        return fm_calls_write_error(calls, write, failed);
    cancel->found = found.status;
    if (found.status == FM_STATUS_QUEUED)
        return cancel_queued(calls, cancel, &found);
    if (found.status == FM_STATUS_RUNNING && !found.cancelled)
        return cancel_running(calls, cancel, &found);
    return 0;
}

static void cancel_undo(struct fm_calls_write *write)
{
    fm_call_record_done(&cancel_of(write)->record);
}

static int cancel_prepare(struct fm_calls *calls, struct fm_calls_write *write)
{
    (void)calls;
    FM_ASSERT(cancel_of(write)->finished_real_ns != 0 && cancel_of(write)->keep_until_real_ns != 0);
    return 0;
}

void fm_calls_cancel(struct fm_calls *calls, struct fm_calls_cancel *cancel,
                     struct fm_mailbox *home)
{
    static const struct fm_calls_kind kind = {
        .lane = FM_LANE_OTHERS,
        .prepare = cancel_prepare,
        .apply = cancel_apply,
        .undo = cancel_undo,
    };
    cancel->found = FM_STATUS_QUEUED;
    cancel->record = (struct fm_call_record){0};
    fm_calls_write_ask(calls, &cancel->write, &kind, home);
}

/* --- redrive ---------------------------------------------------------------------------------- */

static struct fm_calls_redrive *redrive_of(struct fm_calls_write *write)
{
    return FM_CONTAINER_OF(write, struct fm_calls_redrive, write);
}

/* The record of a call as it was accepted. */
static void renew(struct fm_call_record *record, uint64_t run_at_real_ns)
{
    struct fm_call_record old = *record;
    *record = (struct fm_call_record){
        .id = old.id,
        .status = FM_STATUS_QUEUED,
        .attempts_max = old.attempts_max,
        .depth = old.depth,
        .user = old.user,
        .function = old.function,
        .version = old.version,
        .key = old.key,
        .parent = old.parent,
        .created_real_ns = old.created_real_ns,
        .run_at_real_ns = run_at_real_ns,
        .input_bytes = old.input_bytes,
    };
    old.user = NULL;
    old.function = NULL;
    old.version = NULL;
    old.key = NULL;
    fm_call_record_done(&old);
}

static int redrive_apply(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_redrive *redrive = redrive_of(write);
    struct fm_calls_found found;
    int failed = fm_calls_find(calls, redrive->id, &found);
    if (!failed)
        failed = fm_calls_record(&calls->writer, found.seq, &redrive->record);
    if (!failed && found.status != FM_STATUS_DEAD)
        failed = FM_ERR_CONFLICT;
    if (failed)
        return fm_calls_write_error(calls, write, failed);
    uint64_t bytes = FM_CALLS_ROW_BYTES + found.input_bytes;
    renew(&redrive->record, redrive->run_at_real_ns);
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_REDRIVE);
    fm_query_count(&query, redrive->run_at_real_ns);
    fm_query_count(&query, bytes);
    fm_query_number(&query, found.seq);
    failed = fm_query_run(&query);
    if (failed)
        return failed;
    fm_calls_resize(calls, &found, bytes);
    calls->sums.rows_open += 1;
    fm_calls_doom_found(calls, &found, false);
    return 0;
}

static void redrive_undo(struct fm_calls_write *write)
{
    fm_call_record_done(&redrive_of(write)->record);
}

void fm_calls_redrive(struct fm_calls *calls, struct fm_calls_redrive *redrive,
                      struct fm_mailbox *home)
{
    static const struct fm_calls_kind kind = {
        .lane = FM_LANE_OTHERS,
        .prepare = nothing_to_prepare,
        .apply = redrive_apply,
        .undo = redrive_undo,
    };
    redrive->record = (struct fm_call_record){0};
    fm_calls_write_ask(calls, &redrive->write, &kind, home);
}

/* --- forget ----------------------------------------------------------------------------------- */

static struct fm_calls_forget *forget_of(struct fm_calls_write *write)
{
    return FM_CONTAINER_OF(write, struct fm_calls_forget, write);
}

/* The first of those that have ended.  `*ret_seq` 0: there is none. */
static int find_ended(struct fm_calls *calls, struct fm_calls_found *ret_found,
                      uint64_t *ret_keep_until)
{
    struct fm_calls_found found = {0};
    bool row = false;
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_ENDED);
    int failed = fm_query_row(&query, &row);
    if (!failed && row) {
        found.seq = sqlite3_column_int64(query.statement, 0);
        *ret_keep_until = fm_rows_count(&query, 1);
        found.bytes = fm_rows_count(&query, 2);
        failed = fm_rows_file(&query, 3, found.input_file);
        if (!failed)
            failed = fm_rows_file(&query, 4, found.output_file);
        if (!failed)
            failed = fm_rows_file(&query, 5, found.log_file);
    }
    fm_query_end(&query);
    *ret_found = found;
    return failed;
}

static int forget_one(struct fm_calls *calls, const struct fm_calls_found *found)
{
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_DELETE);
    fm_query_number(&query, found->seq);
    int failed = fm_query_run(&query);
    if (failed)
        return failed;
    fm_calls_resize(calls, found, 0);
    calls->sums.rows -= 1;
    fm_calls_doom_found(calls, found, true);
    return 0;
}

static int forget_apply(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_forget *forget = forget_of(write);
    for (;;) {
        struct fm_calls_found found;
        uint64_t keep_until = 0;
        int failed = find_ended(calls, &found, &keep_until);
        if (failed) {
            failed = fm_calls_write_error(calls, write, failed);
            if (!failed && forget->forgotten > 0)
                write->error = 0; /* what is done stays done */
            return failed;
        }
        if (found.seq == 0)
            return 0;
        forget->next_real_ns = keep_until;
        if (keep_until > forget->now_real_ns && calls->sums.rows <= forget->rows_max &&
            calls->sums.bytes <= forget->bytes_max)
            return 0;
        if (forget->forgotten == FM_CALLS_FORGET_MAX) {
            forget->more = true;
            return 0;
        }
        failed = forget_one(calls, &found);
        if (failed)
            return failed;
        forget->forgotten += 1;
        forget->next_real_ns = 0;
    }
}

static void forget_undo(struct fm_calls_write *write)
{
    struct fm_calls_forget *forget = forget_of(write);
    forget->forgotten = 0;
    forget->more = false;
    forget->next_real_ns = 0;
}

void fm_calls_forget(struct fm_calls *calls, struct fm_calls_forget *forget,
                     struct fm_mailbox *home)
{
    static const struct fm_calls_kind kind = {
        .lane = FM_LANE_OTHERS,
        .prepare = nothing_to_prepare,
        .apply = forget_apply,
        .undo = forget_undo,
    };
    forget->forgotten = 0;
    forget->more = false;
    forget->next_real_ns = 0;
    fm_calls_write_ask(calls, &forget->write, &kind, home);
}
