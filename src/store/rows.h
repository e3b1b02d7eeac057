/* rows.h - from a row of calls.db to a record.  Private to store/. */
#pragma once

#include "call/record.h"
#include "store/calls.h"
#include "store/db.h"

/* The columns of FM_SQL_RECORD, in its order; GET has the contents after them. */
enum fm_column {
    FM_COLUMN_SEQ,
    FM_COLUMN_ID,
    FM_COLUMN_USER,
    FM_COLUMN_FUNCTION,
    FM_COLUMN_VERSION,
    FM_COLUMN_STATUS,
    FM_COLUMN_CANCELLED,
    FM_COLUMN_ATTEMPT,
    FM_COLUMN_ATTEMPTS_MAX,
    FM_COLUMN_STRIKES,
    FM_COLUMN_DEPTH,
    FM_COLUMN_PARENT,
    FM_COLUMN_CREATED,
    FM_COLUMN_RUN_AT,
    FM_COLUMN_STARTED,
    FM_COLUMN_FINISHED,
    FM_COLUMN_CPU_NS,
    FM_COLUMN_WALL_NS,
    FM_COLUMN_MEMORY_BYTES,
    FM_COLUMN_INPUT_BYTES,
    FM_COLUMN_OUTPUT_BYTES,
    FM_COLUMN_LOG_BYTES,
    FM_COLUMN_LOG_TRUNCATED,
    FM_COLUMN_EXIT_CODE,
    FM_COLUMN_ERROR,
    FM_COLUMN_ERROR_CODE,
    FM_COLUMN_LIMIT,
    FM_COLUMN_TRAP,
    FM_COLUMN_KEY,
    FM_COLUMN_DETAIL,
    FM_COLUMN_BACKTRACE,
    FM_COLUMN_CHILDREN,
    FM_COLUMN_INPUT_FILE,
    FM_COLUMN_OUTPUT_FILE,
    FM_COLUMN_LOG_FILE,
    FM_COLUMN_INPUT,
    FM_COLUMN_OUTPUT,
    FM_COLUMN_LOG,
};

/* Values of a row that has been fetched.  Borrowed until the next row or the end. */
uint64_t fm_rows_count(const struct fm_query *query, int column);
struct fm_id fm_rows_id(const struct fm_query *query, int column); /* NULL: none */

/* Copies.  A name of a blob that is longer than any of ours is FM_ERR_IO; NULL is "". */
FM_MUST_CHECK int fm_rows_file(const struct fm_query *query, int column,
                               char ret_file[FM_CALLS_FILE_SIZE]);
FM_MUST_CHECK int fm_rows_text(const struct fm_query *query, int column, char **ret_text);
FM_MUST_CHECK int fm_rows_bytes(const struct fm_query *query, int column, uint8_t **ret_data,
                                size_t *ret_bytes); /* NULL: NULL */

/* FM_ERR_IO: not a status of this version. */
FM_MUST_CHECK int fm_rows_status(const struct fm_query *query, int column,
                                 enum fm_call_status *ret_status);

/* The record of a row of FM_SQL_RECORD.  FM_ERR_NOMEM; FM_ERR_IO: the row makes no sense. */
FM_MUST_CHECK int fm_rows_record(const struct fm_query *query, struct fm_call_record *ret_record);
