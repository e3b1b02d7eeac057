/* calls_each.c - what the start hands on: calls that have not ended.
 *
 * On a connection of its own, so that it does not matter whether the threads run already.
 *
 * Any thread; blocks. */
#include "store/calls_private.h"
#include "store/rows.h"

static const char *text_of(const struct fm_query *query, int column)
{
    return (const char *)sqlite3_column_text(query->statement, column);
}

static int visit_call(const struct fm_query *query,
                      int (*visit)(const struct fm_calls_open_call *call, void *data), void *data)
{
    const struct fm_calls_open_call call = {
        .id = fm_rows_id(query, 0),
        .parent = fm_rows_id(query, 1),
        .user = text_of(query, 2),
        .function = text_of(query, 3),
        .version = text_of(query, 4),
        .created_real_ns = fm_rows_count(query, 5),
        .run_at_real_ns = fm_rows_count(query, 6),
        .input_bytes = fm_rows_count(query, 7),
        .attempt = (uint32_t)fm_rows_count(query, 8),
        .attempts_max = (uint32_t)fm_rows_count(query, 9),
        .strikes = (uint32_t)fm_rows_count(query, 10),
        .depth = (uint32_t)fm_rows_count(query, 11),
    };
    if (!call.user || !call.function || !call.version)
        return FM_ERR_NOMEM; /* the columns are NOT NULL */
    return visit(&call, data);
}

int fm_calls_each_open(struct fm_calls *calls,
                       int (*visit)(const struct fm_calls_open_call *call, void *data), void *data,
                       struct fm_error *error)
{
    struct fm_db db = {0};
    int failed = fm_calls_connect(calls, &db, error);
    if (failed)
        return failed;
    struct fm_query query = fm_query_begin(&db, FM_SQL_EACH_OPEN);
    for (bool row = true; !failed && row;) {
        failed = fm_query_row(&query, &row);
        if (failed)
            (void)fm_db_error(error, &db, query.rc, "read");
        else if (row)
            failed = visit_call(&query, visit, data);
    }
    fm_query_end(&query);
    fm_db_close(&db);
    return failed;
}
