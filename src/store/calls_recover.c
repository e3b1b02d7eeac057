/* calls_recover.c - the start: what the last process left in the middle is put right.
 *
 *      RUNNING --+-- its cancellation was on disk --------------> CANCELLED
 *                +-- it was on a thread at a crash, again ------> DEAD
 *                +-- no attempt left ---------------------------> DEAD
 *                +-- otherwise ---------------------------------> QUEUED, due at once
 *
 * In one transaction with the strikes, so that a start which is cut short and tried again counts
 * none of them twice.  Then blobs that no call names are removed: those of calls that never came to
 * be, or are gone, or were cancelled just now.
 *
 * By one thread, before there are others. */
#include <stdlib.h>

#include "base/limits.h"
#include "store/blobs.h"
#include "store/calls_private.h"
#include "store/rows.h"

static int strike(struct fm_calls *calls, struct fm_id id)
{
    uint8_t bytes[FM_DB_ID_BYTES];
    fm_db_id_bytes(id, bytes);
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_STRIKE);
    fm_query_bytes(&query, bytes, sizeof(bytes));
    return fm_query_run(&query);
}

static int read_sums(struct fm_calls *calls)
{
    bool row = false;
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_TOTALS);
    int failed = fm_query_row(&query, &row);
    if (!failed && !row)
        failed = FM_ERR_IO;
    calls->sums = (struct fm_calls_sums){
        .rows = fm_rows_count(&query, 0),
        .rows_open = fm_rows_count(&query, 1),
        .bytes = fm_rows_count(&query, 2),
    };
    fm_query_end(&query);
    return failed;
}

static int write_sums(struct fm_calls *calls)
{
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_TOTALS_SET);
    fm_query_count(&query, calls->sums.rows);
    fm_query_count(&query, calls->sums.rows_open);
    fm_query_count(&query, calls->sums.bytes);
    return fm_query_run(&query);
}

/* A call that was RUNNING.  They are looked for once, and then changed one by one: what has not
 * ended can be many more, all QUEUED. */
struct interrupted {
    int64_t seq;
    uint64_t dropped_bytes; /* of its input, if it is to be cancelled */
};

struct interrupted_list {
    struct interrupted *calls;
    size_t count;
    size_t capacity;
};

static int add_interrupted(struct interrupted_list *list, const struct fm_query *query)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        struct interrupted *calls = realloc(list->calls, capacity * sizeof(*calls));
        if (!calls)
            return FM_ERR_NOMEM;
        list->calls = calls;
        list->capacity = capacity;
    }
    uint64_t bytes = fm_rows_count(query, 2);
    bool cancelled = fm_rows_count(query, 1) != 0;
    list->calls[list->count] = (struct interrupted){
        .seq = sqlite3_column_int64(query->statement, 0),
        .dropped_bytes = cancelled ? bytes - fm_min_u64(bytes, FM_CALLS_ROW_BYTES) : 0,
    };
    list->count += 1;
    return 0;
}

static int find_interrupted(struct fm_calls *calls, struct interrupted_list *list)
{
    int failed = 0;
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_INTERRUPTED);
    for (bool row = true; !failed && row;) {
        failed = fm_query_row(&query, &row);
        if (!failed && row)
            failed = add_interrupted(list, &query);
    }
    fm_query_end(&query);
    return failed;
}

/* The parameters that the statements INTERRUPTED_... begin with. */
static struct fm_query interrupted(struct fm_calls *calls, enum fm_sql sql, int error)
{
    uint64_t now = calls->config.now_real_ns;
    struct fm_query query = fm_query_begin(&calls->writer, sql);
    fm_query_count(&query, now);
    if (sql != FM_SQL_INTERRUPTED_AGAIN)
        fm_query_count(&query, now + fm_min_u64(calls->config.retention_ns, INT64_MAX - now));
    fm_query_text(&query, fm_call_error_text(error));
    fm_query_text(&query, fm_err_code(error));
    return query;
}

static int run_interrupted(struct fm_calls *calls, struct fm_query *query, uint64_t *count)
{
    int failed = fm_query_run(query);
    if (!failed)
        *count += (uint64_t)sqlite3_changes64(calls->writer.sqlite);
    return failed;
}

/* In this order: each takes it only if the ones before have left it. */
static int settle(struct fm_calls *calls, int64_t seq, struct fm_calls_notice *notice)
{
    struct fm_query query = interrupted(calls, FM_SQL_INTERRUPTED_CANCEL, FM_ERR_CANCELLED);
    fm_query_number(&query, FM_CALLS_ROW_BYTES);
    fm_query_number(&query, seq);
    int failed = run_interrupted(calls, &query, &notice->cancelled);
    if (failed)
        return failed;
    query = interrupted(calls, FM_SQL_INTERRUPTED_STRUCK, FM_ERR_INTERNAL);
    fm_query_number(&query, seq);
    fm_query_number(&query, FM_CALLS_STRIKES_MAX);
    failed = run_interrupted(calls, &query, &notice->dead);
    if (failed)
        return failed;
    query = interrupted(calls, FM_SQL_INTERRUPTED_LAST, FM_ERR_INTERNAL);
    fm_query_number(&query, seq);
    failed = run_interrupted(calls, &query, &notice->dead);
    if (failed)
        return failed;
    query = interrupted(calls, FM_SQL_INTERRUPTED_AGAIN, FM_ERR_INTERNAL);
    fm_query_number(&query, seq);
    return run_interrupted(calls, &query, &notice->requeued);
}

static int settle_all(struct fm_calls *calls, struct fm_calls_notice *notice)
{
    struct interrupted_list list = {0};
    int failed = find_interrupted(calls, &list);
    for (size_t i = 0; !failed && i < list.count; i++) {
        failed = settle(calls, list.calls[i].seq, notice);
        calls->sums.bytes -= fm_min_u64(list.calls[i].dropped_bytes, calls->sums.bytes);
    }
    free(list.calls);
    calls->sums.rows_open -= fm_min_u64(notice->cancelled + notice->dead, calls->sums.rows_open);
    return failed;
}

static int recover_all(struct fm_calls *calls, struct fm_calls_notice *notice)
{
    int failed = fm_db_run(&calls->writer, "BEGIN IMMEDIATE");
    if (!failed)
        failed = read_sums(calls);
    for (size_t i = 0; !failed && i < calls->config.suspects_count; i++)
        failed = strike(calls, calls->config.suspects[i]);
    if (!failed)
        failed = settle_all(calls, notice);
    if (!failed)
        failed = write_sums(calls);
    return failed ? failed : fm_db_run(&calls->writer, "COMMIT"); /* or closing rolls back */
}

int fm_calls_recover(struct fm_calls *calls, struct fm_calls_notice *notice, struct fm_error *error)
{
    int failed = recover_all(calls, notice);
    if (failed)
        return fm_error_set(error, failed, "cannot recover the calls of calls.db: %s",
                            sqlite3_errmsg(calls->writer.sqlite));
    return fm_blobs_sweep(calls, &notice->orphans, error);
}
