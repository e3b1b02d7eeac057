/* found.c - what the writes share: the row that a write is about, and errors of one write alone.
 *
 * Looking something up changes nothing.  So when that fails (a page that is damaged, no memory),
 * the write gets the error and the others of its transaction go on: nobody can make the writes of
 * others fail by asking for a call that cannot be read.
 *
 * Threading: the writer's thread, in a transaction. */
#include "store/found.h"

#include "base/limits.h"
#include "store/blobs.h"
#include "store/calls_private.h"
#include "store/rows.h"

int fm_calls_write_error(struct fm_calls *calls, struct fm_calls_write *write, int error)
{
    FM_ASSERT(error);
    if (sqlite3_get_autocommit(calls->writer.sqlite))
        return error; /* SQLite has rolled all of it back */
    write->error = error;
    return 0;
}

int fm_calls_find(struct fm_calls *calls, struct fm_id id, struct fm_calls_found *ret_found)
{
    struct fm_calls_found found = {0};
    uint8_t bytes[FM_DB_ID_BYTES];
    bool row = false;
    fm_db_id_bytes(id, bytes);
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_ROW);
    fm_query_bytes(&query, bytes, sizeof(bytes));
    int failed = fm_query_row(&query, &row);
    if (!failed && !row)
        failed = FM_ERR_NOT_FOUND;
    if (!failed) {
        found.seq = sqlite3_column_int64(query.statement, 0);
        failed = fm_rows_status(&query, 1, &found.status);
    }
    if (!failed)
        failed = fm_rows_file(&query, 6, found.input_file);
    if (!failed)
        failed = fm_rows_file(&query, 7, found.output_file);
    if (!failed)
        failed = fm_rows_file(&query, 8, found.log_file);
    if (!failed) {
        found.cancelled = fm_rows_count(&query, 2) != 0;
        found.attempt = (uint32_t)fm_rows_count(&query, 3);
        found.input_bytes = fm_rows_count(&query, 4);
        found.bytes = fm_rows_count(&query, 5);
        *ret_found = found;
    }
    fm_query_end(&query);
    return failed;
}

int fm_calls_record(struct fm_db *db, int64_t seq, struct fm_call_record *ret_record)
{
    bool row = false;
    struct fm_query query = fm_query_begin(db, FM_SQL_BY_SEQ);
    fm_query_number(&query, seq);
    int failed = fm_query_row(&query, &row);
    if (!failed)
        failed = row ? fm_rows_record(&query, ret_record) : FM_ERR_NOT_FOUND;
    fm_query_end(&query);
    return failed;
}

void fm_calls_doom_found(struct fm_calls *calls, const struct fm_calls_found *found, bool input)
{
    if (input)
        fm_blobs_doom(calls, found->input_file);
    fm_blobs_doom(calls, found->output_file);
    fm_blobs_doom(calls, found->log_file);
}

void fm_calls_resize(struct fm_calls *calls, const struct fm_calls_found *found, uint64_t bytes)
{
    calls->sums.bytes += bytes;
    calls->sums.bytes -= fm_min_u64(found->bytes, calls->sums.bytes);
}
