/* writer.c - the writer's thread: one transaction for all that waits.
 *
 *      take -> BEGIN -> apply, apply, ... -> sums -> COMMIT (fsync) -> answers -> doomed blobs
 *                |          |                          |
 *                +----------+--- a failure ------------+--> ROLLBACK: nobody was written
 *
 * A write that cannot be done (no such call, a conflict) changes nothing and does not hurt the
 * others; a failure of the disk or of memory ends the transaction for all of them.  One case gets a
 * second try: on a full disk what asks for more, the new calls, is refused, and the rest tried
 * again without it, after the log was carried over so that its space can be used anew.  So calls
 * that run can still end, and old ones be forgotten, which is what makes room.
 *
 * A COMMIT that failed may be on the disk all the same, and come up after a crash: then a call that
 * was refused runs.  At least once is what we promise, and the asker was not told "no", but "an
 * error".
 *
 * What is taken at once is bounded, so that the first of them does not wait for ever.
 *
 * Threading: the writer's thread only (or a test in its place). */
#include "base/limits.h"
#include "store/blobs.h"
#include "store/calls_private.h"

static struct fm_calls_write *write_of(struct fm_message *message)
{
    return FM_CONTAINER_OF(message, struct fm_calls_write, message);
}

static int run(struct fm_calls *calls, enum fm_sql sql)
{
    struct fm_query query = fm_query_begin(&calls->writer, sql);
    return fm_query_run(&query);
}

static int set_sums(struct fm_calls *calls)
{
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_TOTALS_SET);
    fm_query_count(&query, calls->sums.rows);
    fm_query_count(&query, calls->sums.rows_open);
    fm_query_count(&query, calls->sums.bytes);
    return fm_query_run(&query);
}

static bool sums_differ(const struct fm_calls_sums *a, const struct fm_calls_sums *b)
{
    return a->rows != b->rows || a->rows_open != b->rows_open || a->bytes != b->bytes;
}

/* --- one transaction -------------------------------------------------------------------------- */

/* Those without an error, in their order. */
static int apply_all(struct fm_calls *calls, struct fm_message *list)
{
    for (struct fm_message *message = list; message; message = message->next) {
        struct fm_calls_write *write = write_of(message);
        int failed = write->error ? 0 : write->kind->apply(calls, write);
        if (failed)
            return failed;
    }
    return 0;
}

static int transact(struct fm_calls *calls, struct fm_message *list)
{
    const struct fm_calls_sums before = calls->sums;
    int failed = run(calls, FM_SQL_BEGIN);
    if (failed)
        return failed;
    failed = apply_all(calls, list);
    if (!failed && sums_differ(&calls->sums, &before))
        failed = set_sums(calls);
    if (!failed)
        failed = run(calls, FM_SQL_COMMIT);
    if (!failed)
        return 0;
    if (!sqlite3_get_autocommit(calls->writer.sqlite))
        (void)!run(calls, FM_SQL_ROLLBACK); /* cannot fail in a way that leaves it open */
    FM_ASSERT(sqlite3_get_autocommit(calls->writer.sqlite));
    calls->sums = before;
    fm_blobs_spare(calls, 0);
    return failed;
}

/* Takes back what was answered by a transaction that failed.  Errors of prepare() never come here,
 * so all of the list start anew. */
static void undo_all(struct fm_message *list)
{
    for (struct fm_message *message = list; message; message = message->next) {
        struct fm_calls_write *write = write_of(message);
        write->kind->undo(write);
        write->error = 0;
    }
}

/* Gives an error to those of a lane that have none.  Whether there was one that it missed. */
static bool refuse(struct fm_message *list, bool accepts_only, int error)
{
    bool missed = false;
    for (struct fm_message *message = list; message; message = message->next) {
        struct fm_calls_write *write = write_of(message);
        if (accepts_only && write->kind->lane != FM_LANE_ACCEPTS)
            missed = true;
        else
            write->error = error;
    }
    return missed;
}

static void write_all(struct fm_calls *calls, struct fm_message *list)
{
    int failed = transact(calls, list);
    if (!failed)
        return;
    undo_all(list);
    if (failed == FM_ERR_STORAGE_FULL && refuse(list, true, failed)) {
        (void)fm_calls_checkpoint_now(calls); /* the disk may be full of log */
        failed = transact(calls, list);
        if (!failed)
            return;
        undo_all(list);
    }
    (void)refuse(list, false, failed);
}

/* --- turns ------------------------------------------------------------------------------------ */

struct batch {
    const struct fm_calls_config *config;
    uint32_t count;
    uint64_t bytes; /* in the database */
};

static bool take(struct fm_message *message, void *data)
{
    struct batch *batch = data;
    uint64_t bytes = write_of(message)->inline_bytes;
    bool full = batch->count == batch->config->batch_max ||
                batch->bytes + bytes > batch->config->batch_bytes_max;
    if (full && batch->count > 0)
        return false;
    batch->count += 1;
    batch->bytes += bytes;
    return true;
}

/* A write is the asker's again as soon as it is answered. */
static void answer_all(struct fm_calls *calls, struct fm_message *list)
{
    uint32_t counts[FM_LANE_COUNT_] = {0};
    uint64_t bytes[FM_LANE_COUNT_] = {0};
    while (list) {
        struct fm_calls_write *write = write_of(list);
        list = list->next;
        enum fm_calls_lane lane = fm_calls_write_lane(write);
        uint64_t write_bytes = write->bytes;
        if (write->kind->after && write->kind->after(calls, write))
            continue; /* leaves when it is answered */
        counts[lane] += 1;
        bytes[lane] += write_bytes;
        fm_calls_write_answer(write);
    }
    for (size_t i = 0; i < FM_LANE_COUNT_; i++) {
        if (counts[i] > 0)
            fm_inbox_leave(&calls->writes, (enum fm_calls_lane)i, counts[i], bytes[i]);
    }
}

bool fm_calls_writer_turn(struct fm_calls *calls)
{
    struct batch batch = {.config = &calls->config};
    struct fm_message *list = fm_inbox_take(&calls->writes, take, &batch);
    if (!list)
        return false;
    write_all(calls, list);
    for (struct fm_message *message = list; message; message = message->next) {
        struct fm_calls_write *write = write_of(message);
        if (write->kind->unused)
            write->kind->unused(calls, write);
    }
    answer_all(calls, list);
    fm_blobs_remove_doomed(calls);
    fm_calls_checkpoint_turn(calls);
    return true;
}

void *fm_calls_writer(void *calls)
{
    while (fm_calls_writer_turn(calls))
        ;
    return NULL;
}
