/* reader.c - the reader's thread: one question after the other, on a connection of its own.
 *
 * Each sees what was on disk when its turn came, so also every write that was answered before it
 * was asked.  A statement is ended before the next question: an open one would keep the log from
 * being used anew.
 *
 * Contents that are files are read on the pool.  Meanwhile the call may be forgotten, or end and
 * drop its input; then the file is gone, and the question is asked once more.  Only a call that
 * still names a file which is not there is damaged.
 *
 * A list is searched by user or not at all; function and status are looked at on the way, which is
 * bounded: an index for every filter would cost every write, and a search without a bound would
 * keep all other reads waiting.
 *
 * Threading: the reader's thread (or a test in its place); files on the pool. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "store/blobs.h"
#include "store/calls_private.h"
#include "store/found.h"
#include "store/rows.h"

/* --- one call --------------------------------------------------------------------------------- */

static struct fm_calls_get *get_of(struct fm_calls_read *read)
{
    return FM_CONTAINER_OF(read, struct fm_calls_get, read);
}

static void drop_content(struct fm_calls_content *content)
{
    free(content->data);
    *content = (struct fm_calls_content){0};
}

void fm_calls_get_done(struct fm_calls_get *get)
{
    fm_call_record_done(&get->record);
    drop_content(&get->input);
    drop_content(&get->output);
    drop_content(&get->log);
}

static int get_content(const struct fm_query *query, bool wanted, int column, int file_column,
                       struct fm_calls_content *content)
{
    if (!wanted)
        return 0;
    int failed = fm_rows_file(query, file_column, content->file);
    if (failed || content->file[0] != '\0')
        return failed;
    return fm_rows_bytes(query, column, &content->data, &content->bytes);
}

static int get_row(struct fm_calls *calls, struct fm_calls_get *get)
{
    bool row = false;
    uint8_t id[FM_DB_ID_BYTES];
    fm_db_id_bytes(get->id, id);
    struct fm_query query = fm_query_begin(&calls->reader, FM_SQL_GET);
    fm_query_number(&query, get->want_input);
    fm_query_number(&query, get->want_output);
    fm_query_number(&query, get->want_log || get->want_log_of_error);
    fm_query_bytes(&query, id, sizeof(id));
    int failed = fm_query_row(&query, &row);
    if (!failed)
        failed = row ? fm_rows_record(&query, &get->record) : FM_ERR_NOT_FOUND;
    if (!failed)
        failed = get_content(&query, get->want_input, FM_COLUMN_INPUT, FM_COLUMN_INPUT_FILE,
                             &get->input);
    if (!failed)
        failed = get_content(&query, get->want_output, FM_COLUMN_OUTPUT, FM_COLUMN_OUTPUT_FILE,
                             &get->output);
    if (!failed)
        failed = get_content(&query, get->want_log || (get->want_log_of_error && get->record.error),
                             FM_COLUMN_LOG, FM_COLUMN_LOG_FILE, &get->log);
    fm_query_end(&query);
    return failed;
}

static int read_file(struct fm_calls *calls, struct fm_calls_content *content, uint64_t bytes)
{
    if (content->file[0] == '\0')
        return 0;
    return fm_blobs_read(calls, content->file, bytes, &content->data, &content->bytes);
}

static void get_files(struct fm_job *job)
{
    struct fm_calls_read *read = FM_CONTAINER_OF(job, struct fm_calls_read, job);
    struct fm_calls_get *get = get_of(read);
    struct fm_calls *calls = read->calls;
    int failed = read_file(calls, &get->input, get->record.input_bytes);
    if (!failed)
        failed = read_file(calls, &get->output, get->record.output_bytes);
    if (!failed)
        failed = read_file(calls, &get->log, get->record.log_bytes);
    if (failed)
        fm_calls_get_done(get);
    if (failed == FM_ERR_NOT_FOUND && !read->again) {
        read->again = true;
        fm_inbox_put(&calls->reads, &read->message);
    } else {
        read->error = failed == FM_ERR_NOT_FOUND ? FM_ERR_IO : failed;
        fm_calls_read_answer(calls, read);
    }
    fm_inbox_job_done(&calls->reads);
}

static bool ask_get(struct fm_calls *calls, struct fm_calls_read *read)
{
    struct fm_calls_get *get = get_of(read);
    int failed = get_row(calls, get);
    bool files = get->input.file[0] || get->output.file[0] || get->log.file[0];
    if (!failed && files) {
        read->job.run = get_files;
        failed = fm_inbox_job(&calls->reads, calls->config.pool, &read->job);
        if (!failed)
            return true; /* and may be answered by now */
    }
    if (failed)
        fm_calls_get_done(get);
    read->error = failed;
    return false;
}

void fm_calls_get(struct fm_calls *calls, struct fm_calls_get *get, struct fm_mailbox *home)
{
    static const struct fm_calls_question question = {.ask = ask_get};
    get->record = (struct fm_call_record){0};
    get->input = (struct fm_calls_content){0};
    get->output = (struct fm_calls_content){0};
    get->log = (struct fm_calls_content){0};
    fm_calls_read_ask(calls, &get->read, &question, home);
}

/* --- lists ------------------------------------------------------------------------------------ */

static struct fm_calls_list *list_of(struct fm_calls_read *read)
{
    return FM_CONTAINER_OF(read, struct fm_calls_list, read);
}

void fm_calls_list_done(struct fm_calls_list *list)
{
    for (size_t i = 0; i < list->records_count; i++)
        fm_call_record_done(&list->records[i]);
    free(list->records);
    list->records = NULL;
    list->records_count = 0;
    list->next = (struct fm_id){0, 0};
}

static size_t length_of(const char *text)
{
    return text ? strlen(text) : 0;
}

static size_t record_bytes(const struct fm_call_record *record)
{
    return sizeof(*record) + length_of(record->detail) + length_of(record->backtrace) +
           record->children_count * sizeof(record->children[0]);
}

static int is_wanted(const struct fm_calls_list *list, const struct fm_query *query,
                     bool *ret_wanted)
{
    enum fm_call_status status = FM_STATUS_QUEUED;
    bool wanted = true;
    if (list->function) {
        const char *function = (const char *)sqlite3_column_text(query->statement, 2);
        if (!function)
            return FM_ERR_NOMEM;
        wanted = strcmp(function, list->function) == 0;
    }
    if (wanted && list->by_status) {
        int failed = fm_rows_status(query, 3, &status);
        if (failed)
            return failed;
        wanted = status == list->status;
    }
    *ret_wanted = wanted;
    return 0;
}

/* Goes through the rows until the page is full or one of the bounds is reached: then `next` is the
 * last row that was looked at, if there is another one. */
static int scan(struct fm_calls *calls, struct fm_calls_list *list, struct fm_query *query)
{
    struct fm_id last = {0, 0};
    size_t scanned = 0;
    size_t bytes = 0;
    for (;;) {
        bool row = false;
        bool wanted = false;
        int failed = fm_query_row(query, &row);
        if (failed || !row)
            return failed;
        if (scanned == FM_CALLS_LIST_SCAN_MAX || list->records_count == list->limit ||
            bytes >= FM_CALLS_LIST_BYTES_MAX) {
            list->next = last;
            return 0;
        }
        scanned++;
        last = fm_rows_id(query, 1);
        failed = is_wanted(list, query, &wanted);
        if (failed)
            return failed;
        if (!wanted)
            continue;
        struct fm_call_record *record = &list->records[list->records_count];
        failed = fm_calls_record(&calls->reader, sqlite3_column_int64(query->statement, 0), record);
        if (failed)
            return failed;
        list->records_count += 1;
        bytes += record_bytes(record);
    }
}

static int list_calls(struct fm_calls *calls, struct fm_calls_list *list)
{
    struct fm_id before = list->after;
    uint8_t bytes[FM_DB_ID_BYTES];
    if (list->limit < 1 || list->limit > FM_CALLS_LIST_MAX)
        return FM_ERR_BAD_REQUEST;
    if (fm_id_none(before))
        before = (struct fm_id){UINT64_MAX, UINT64_MAX};
    list->records = calloc(list->limit, sizeof(*list->records));
    if (!list->records)
        return FM_ERR_NOMEM;
    fm_db_id_bytes(before, bytes);
    struct fm_query query =
        fm_query_begin(&calls->reader, list->user ? FM_SQL_SCAN_USER : FM_SQL_SCAN_ALL);
    fm_query_bytes(&query, bytes, sizeof(bytes));
    if (list->user)
        fm_query_text(&query, list->user);
    int failed = scan(calls, list, &query);
    fm_query_end(&query);
    return failed;
}

static bool ask_list(struct fm_calls *calls, struct fm_calls_read *read)
{
    struct fm_calls_list *list = list_of(read);
    read->error = list_calls(calls, list);
    if (read->error)
        fm_calls_list_done(list);
    return false;
}

void fm_calls_list(struct fm_calls *calls, struct fm_calls_list *list, struct fm_mailbox *home)
{
    static const struct fm_calls_question question = {.ask = ask_list};
    list->records = NULL;
    list->records_count = 0;
    list->next = (struct fm_id){0, 0};
    fm_calls_read_ask(calls, &list->read, &question, home);
}

/* --- totals ----------------------------------------------------------------------------------- */

static bool ask_totals(struct fm_calls *calls, struct fm_calls_read *read)
{
    struct fm_calls_totals *totals = FM_CONTAINER_OF(read, struct fm_calls_totals, read);
    bool row = false;
    struct fm_query query = fm_query_begin(&calls->reader, FM_SQL_TOTALS);
    int failed = fm_query_row(&query, &row);
    if (!failed && !row)
        failed = FM_ERR_IO;
    if (!failed) {
        totals->rows = fm_rows_count(&query, 0);
        totals->rows_open = fm_rows_count(&query, 1);
        totals->bytes = fm_rows_count(&query, 2);
    }
    fm_query_end(&query);
    read->error = failed;
    return false;
}

void fm_calls_totals(struct fm_calls *calls, struct fm_calls_totals *totals,
                     struct fm_mailbox *home)
{
    static const struct fm_calls_question question = {.ask = ask_totals};
    totals->rows = 0;
    totals->bytes = 0;
    totals->rows_open = 0;
    fm_calls_read_ask(calls, &totals->read, &question, home);
}

/* --- turns ------------------------------------------------------------------------------------ */

static bool take_one(struct fm_message *message, void *data)
{
    (void)message;
    bool *taken = data;
    bool first = !*taken;
    *taken = true;
    return first;
}

bool fm_calls_reader_turn(struct fm_calls *calls)
{
    bool taken = false;
    struct fm_message *message = fm_inbox_take(&calls->reads, take_one, &taken);
    if (!message)
        return false;
    struct fm_calls_read *read = FM_CONTAINER_OF(message, struct fm_calls_read, message);
    if (!read->question->ask(calls, read))
        fm_calls_read_answer(calls, read);
    return true;
}

void *fm_calls_reader(void *calls)
{
    while (fm_calls_reader_turn(calls))
        ;
    return NULL;
}
