/* rows.c - reads what is on disk, and believes nothing that would do harm.
 *
 * Another version may have written the row, and the disk may have changed it: what cannot be is an
 * error, and never an index out of bounds.
 *
 * No state; the thread of the connection. */
#include "store/rows.h"

#include <stdlib.h>
#include <string.h>

uint64_t fm_rows_count(const struct fm_query *query, int column)
{
    int64_t value = sqlite3_column_int64(query->statement, column);
    return value > 0 ? (uint64_t)value : 0;
}

static uint32_t small(const struct fm_query *query, int column)
{
    return (uint32_t)fm_min_u64(fm_rows_count(query, column), UINT32_MAX);
}

static struct fm_id id_of(const uint8_t bytes[FM_DB_ID_BYTES])
{
    struct fm_id id = {0, 0};
    for (int i = 0; i < 8; i++) {
        id.high = id.high << 8 | bytes[i];
        id.low = id.low << 8 | bytes[8 + i];
    }
    return id;
}

struct fm_id fm_rows_id(const struct fm_query *query, int column)
{
    const uint8_t *bytes = sqlite3_column_blob(query->statement, column);
    if (!bytes || sqlite3_column_bytes(query->statement, column) != FM_DB_ID_BYTES)
        return (struct fm_id){0, 0};
    return id_of(bytes);
}

static bool is_null(const struct fm_query *query, int column)
{
    return sqlite3_column_type(query->statement, column) == SQLITE_NULL;
}

int fm_rows_file(const struct fm_query *query, int column, char ret_file[FM_CALLS_FILE_SIZE])
{
    if (is_null(query, column)) {
        ret_file[0] = '\0';
        return 0;
    }
    const char *text = (const char *)sqlite3_column_text(query->statement, column);
    if (!text)
        return FM_ERR_NOMEM;
    size_t length = strlen(text);
    if (length >= FM_CALLS_FILE_SIZE || strchr(text, '/'))
        return FM_ERR_IO;
    memcpy(ret_file, text, length + 1);
    return 0;
}

int fm_rows_text(const struct fm_query *query, int column, char **ret_text)
{
    char *copy = NULL;
    if (!is_null(query, column)) {
        const char *text = (const char *)sqlite3_column_text(query->statement, column);
        copy = text ? strdup(text) : NULL;
        if (!copy)
            return FM_ERR_NOMEM;
    }
    *ret_text = copy;
    return 0;
}

int fm_rows_bytes(const struct fm_query *query, int column, uint8_t **ret_data, size_t *ret_bytes)
{
    if (is_null(query, column)) {
        *ret_data = NULL;
        *ret_bytes = 0;
        return 0;
    }
    const uint8_t *data = sqlite3_column_blob(query->statement, column);
    size_t bytes = (size_t)sqlite3_column_bytes(query->statement, column);
    if (!data && bytes > 0)
        return FM_ERR_NOMEM;
    uint8_t *copy = malloc(bytes ? bytes : 1);
    if (!copy)
        return FM_ERR_NOMEM;
    if (bytes > 0)
        memcpy(copy, data, bytes);
    *ret_data = copy;
    *ret_bytes = bytes;
    return 0;
}

int fm_rows_status(const struct fm_query *query, int column, enum fm_call_status *ret_status)
{
    int64_t status = sqlite3_column_int64(query->statement, column);
    if (status < 0 || status >= FM_STATUS_COUNT_)
        return FM_ERR_IO;
    *ret_status = (enum fm_call_status)status;
    return 0;
}

/* --- records ---------------------------------------------------------------------------------- */

static int read_texts(const struct fm_query *query, struct fm_call_record *record)
{
    const struct {
        int column;
        char **text;
    } texts[] = {
        {FM_COLUMN_USER, &record->user},       {FM_COLUMN_FUNCTION, &record->function},
        {FM_COLUMN_VERSION, &record->version}, {FM_COLUMN_KEY, &record->key},
        {FM_COLUMN_LIMIT, &record->limit},     {FM_COLUMN_TRAP, &record->trap},
        {FM_COLUMN_DETAIL, &record->detail},   {FM_COLUMN_BACKTRACE, &record->backtrace},
    };
    int failed = 0;
    for (size_t i = 0; !failed && i < FM_ARRAY_LENGTH(texts); i++)
        failed = fm_rows_text(query, texts[i].column, texts[i].text);
    if (!failed && (!record->user || !record->function || !record->version))
        failed = FM_ERR_IO;
    return failed;
}

static int read_children(const struct fm_query *query, struct fm_call_record *record)
{
    if (is_null(query, FM_COLUMN_CHILDREN))
        return 0;
    const uint8_t *bytes = sqlite3_column_blob(query->statement, FM_COLUMN_CHILDREN);
    size_t count =
        (size_t)sqlite3_column_bytes(query->statement, FM_COLUMN_CHILDREN) / FM_DB_ID_BYTES;
    if (count == 0)
        return 0;
    if (!bytes)
        return FM_ERR_NOMEM;
    record->children = calloc(count, sizeof(*record->children));
    if (!record->children)
        return FM_ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        record->children[i] = id_of(bytes + i * FM_DB_ID_BYTES);
    record->children_count = count;
    return 0;
}

static int read_error(const struct fm_query *query, struct fm_call_record *record)
{
    if (is_null(query, FM_COLUMN_ERROR))
        return 0;
    const char *text = (const char *)sqlite3_column_text(query->statement, FM_COLUMN_ERROR);
    if (!text)
        return FM_ERR_NOMEM;
    record->error = fm_call_error_parse(
        text, (const char *)sqlite3_column_text(query->statement, FM_COLUMN_ERROR_CODE));
    return 0;
}

static void read_numbers(const struct fm_query *query, struct fm_call_record *record)
{
    const struct {
        int column;
        uint64_t *value;
    } numbers[] = {
        {FM_COLUMN_CREATED, &record->created_real_ns},
        {FM_COLUMN_RUN_AT, &record->run_at_real_ns},
        {FM_COLUMN_STARTED, &record->started_real_ns},
        {FM_COLUMN_FINISHED, &record->finished_real_ns},
        {FM_COLUMN_CPU_NS, &record->cpu_ns},
        {FM_COLUMN_WALL_NS, &record->wall_ns},
        {FM_COLUMN_MEMORY_BYTES, &record->memory_bytes},
        {FM_COLUMN_INPUT_BYTES, &record->input_bytes},
        {FM_COLUMN_OUTPUT_BYTES, &record->output_bytes},
        {FM_COLUMN_LOG_BYTES, &record->log_bytes},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(numbers); i++)
        *numbers[i].value = fm_rows_count(query, numbers[i].column);
    record->id = fm_rows_id(query, FM_COLUMN_ID);
    record->parent = fm_rows_id(query, FM_COLUMN_PARENT);
    record->attempt = small(query, FM_COLUMN_ATTEMPT);
    record->attempts_max = small(query, FM_COLUMN_ATTEMPTS_MAX);
    record->strikes = small(query, FM_COLUMN_STRIKES);
    record->depth = small(query, FM_COLUMN_DEPTH);
    record->exit_code = sqlite3_column_int(query->statement, FM_COLUMN_EXIT_CODE);
    record->log_truncated = fm_rows_count(query, FM_COLUMN_LOG_TRUNCATED) != 0;
    record->cancelled = fm_rows_count(query, FM_COLUMN_CANCELLED) != 0;
}

int fm_rows_record(const struct fm_query *query, struct fm_call_record *ret_record)
{
    struct fm_call_record record = {0};
    read_numbers(query, &record);
    int failed = fm_rows_status(query, FM_COLUMN_STATUS, &record.status);
    if (!failed)
        failed = read_texts(query, &record);
    if (!failed)
        failed = read_error(query, &record);
    if (!failed)
        failed = read_children(query, &record);
    if (failed) {
        fm_call_record_done(&record);
        return failed;
    }
    *ret_record = record;
    return 0;
}
