/* attempts.c - a call's attempts: claimed, and finished.
 *
 *      QUEUED --claim--> RUNNING --finish--> SUCCEEDED, FAILED, DEAD, CANCELLED, or QUEUED again
 *                           |
 *                        cancel: a mark --finish--> CANCELLED, whatever it says
 *
 * Who comes first, a cancellation or the end, is the order of the writer and nothing else.
 *
 * A claim's input that is a file is read after the claim is on disk, on the pool: the claim then
 * stands, whether the file can be read or not.
 *
 * Threading: prepare on the asker's thread, blobs and files on the pool, the rest on the
 * writer's. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "store/blobs.h"
#include "store/calls_private.h"
#include "store/files.h"
#include "store/found.h"
#include "store/rows.h"

static int nothing_to_prepare(struct fm_calls *calls, struct fm_calls_write *write)
{
    (void)calls;
    (void)write;
    return 0;
}

/* --- claim ------------------------------------------------------------------------------------ */

static struct fm_calls_claim *claim_of(struct fm_calls_write *write)
{
    return FM_CONTAINER_OF(write, struct fm_calls_claim, write);
}

static int read_input(struct fm_calls *calls, struct fm_calls_claim *claim, int64_t seq)
{
    bool row = false;
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_INPUT);
    fm_query_number(&query, seq);
    int failed = fm_query_row(&query, &row);
    if (!failed)
        failed = row ? fm_rows_bytes(&query, 0, &claim->input, &claim->input_bytes) : FM_ERR_IO;
    if (!failed && !claim->input)
        failed = FM_ERR_IO; /* neither in the row nor a file */
    fm_query_end(&query);
    return failed;
}

static int claim_apply(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_claim *claim = claim_of(write);
    struct fm_calls_found found;
    int failed = fm_calls_find(calls, claim->id, &found);
    if (!failed && found.status == FM_STATUS_QUEUED && claim->want_input) {
        if (found.input_file[0] == '\0')
            failed = read_input(calls, claim, found.seq);
        memcpy(claim->input_file, found.input_file, sizeof(found.input_file));
    }
    if (failed)
        return fm_calls_write_error(calls, write, failed);
    claim->found = found.status;
    if (found.status != FM_STATUS_QUEUED)
        return 0;
    claim->won = true;
    claim->attempt = found.attempt + 1;
    if (claim->input_file[0] != '\0')
        claim->input_bytes = (size_t)found.input_bytes;
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_CLAIM);
    fm_query_number(&query, claim->attempt);
    fm_query_count(&query, claim->started_real_ns);
    fm_query_number(&query, found.seq);
    return fm_query_run(&query);
}

static void claim_undo(struct fm_calls_write *write)
{
    struct fm_calls_claim *claim = claim_of(write);
    free(claim->input);
    claim->won = false;
    claim->attempt = 0;
    claim->input = NULL;
    claim->input_bytes = 0;
    claim->input_file[0] = '\0';
}

static void claim_answer(struct fm_calls *calls, struct fm_calls_claim *claim)
{
    if (claim->write.error)
        claim->input_bytes = 0;
    fm_calls_write_answer(&claim->write);
    fm_inbox_leave(&calls->writes, FM_LANE_OTHERS, 1, 0);
}

static void read_input_file(struct fm_job *job)
{
    struct fm_calls_write *write = FM_CONTAINER_OF(job, struct fm_calls_write, job);
    struct fm_calls_claim *claim = claim_of(write);
    struct fm_calls *calls = write->calls;
    write->error = fm_blobs_read(calls, claim->input_file, claim->input_bytes, &claim->input,
                                 &claim->input_bytes);
    if (write->error == FM_ERR_NOT_FOUND)
        write->error = FM_ERR_IO; /* it is RUNNING: nobody removes its input */
    claim_answer(calls, claim);
    fm_inbox_job_done(&calls->writes);
}

static bool claim_after(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_claim *claim = claim_of(write);
    if (write->error || claim->input_file[0] == '\0')
        return false;
    write->job.run = read_input_file;
    int failed = fm_inbox_job(&calls->writes, calls->config.pool, &write->job);
    if (!failed)
        return true;
    write->error = failed;
    claim->input_bytes = 0;
    return false;
}

void fm_calls_claim(struct fm_calls *calls, struct fm_calls_claim *claim, struct fm_mailbox *home)
{
    static const struct fm_calls_kind kind = {
        .lane = FM_LANE_OTHERS,
        .prepare = nothing_to_prepare,
        .apply = claim_apply,
        .undo = claim_undo,
        .after = claim_after,
    };
    claim->won = false;
    claim->found = FM_STATUS_QUEUED;
    claim->attempt = 0;
    claim->input = NULL;
    claim->input_bytes = 0;
    claim->input_file[0] = '\0';
    fm_calls_write_ask(calls, &claim->write, &kind, home);
}

/* --- finish ----------------------------------------------------------------------------------- */

static struct fm_calls_finish *finish_of(struct fm_calls_write *write)
{
    return FM_CONTAINER_OF(write, struct fm_calls_finish, write);
}

static void prepare_content(struct fm_calls *calls, struct fm_calls_finish *finish,
                            const char *kind, size_t bytes, char *file)
{
    finish->write.bytes += bytes;
    file[0] = '\0';
    if (bytes > calls->config.inline_bytes_max) {
        fm_blobs_name(finish->id, kind, file);
        finish->write.blobs = true;
    } else {
        finish->write.inline_bytes += bytes;
    }
}

static size_t children_of(const struct fm_calls_finish *finish)
{
    return finish->status == FM_STATUS_SUCCEEDED ? finish->children_count : 0;
}

static int finish_prepare(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_finish *finish = finish_of(write);
    FM_ASSERT(finish->status != FM_STATUS_RUNNING && finish->finished_real_ns != 0 &&
              finish->keep_until_real_ns != 0);
    prepare_content(calls, finish, "output", finish->output_bytes, finish->output_file);
    prepare_content(calls, finish, "log", finish->log_bytes, finish->log_file);
    return fm_entries_prepare(calls, write, finish->children, children_of(finish));
}

static void unlink_file(struct fm_calls *calls, const char *file)
{
    if (file[0] != '\0')
        (void)unlinkat(calls->blobs_fd, file, 0); /* else the next start removes it */
}

static int finish_blobs(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_finish *finish = finish_of(write);
    size_t children_count = children_of(finish);
    int failed = 0;
    if (finish->output_file[0] != '\0')
        failed = fm_blobs_write(calls, finish->output_file, finish->output, finish->output_bytes);
    if (!failed && finish->log_file[0] != '\0')
        failed = fm_blobs_write(calls, finish->log_file, finish->log, finish->log_bytes);
    if (!failed)
        failed = fm_entries_blobs(calls, finish->children, children_count);
    else
        children_count = 0;
    if (!failed)
        failed = fm_blobs_sync(calls);
    else
        children_count = 0;
    if (failed) {
        unlink_file(calls, finish->output_file);
        unlink_file(calls, finish->log_file);
        for (size_t i = 0; i < children_count; i++)
            unlink_file(calls, finish->children[i].input_file);
    }
    return failed;
}

/* What is kept of it, which depends on what it becomes. */
struct kept {
    enum fm_call_status status;
    int error;
    bool output;
    bool input;
    size_t children_count; /* that are stored with it */
    uint8_t *ids;          /* of these, and before them of those that it started; from malloc */
    size_t ids_count;
    uint64_t bytes;
};

static size_t length_of(const char *text)
{
    return text ? strlen(text) : 0;
}

static int collect_ids(const struct fm_calls_finish *finish, struct kept *kept)
{
    if (kept->ids_count == 0)
        return 0;
    kept->ids = malloc(kept->ids_count * FM_DB_ID_BYTES);
    if (!kept->ids)
        return FM_ERR_NOMEM;
    uint8_t *at = kept->ids;
    for (size_t i = 0; i < finish->started_count; i++, at += FM_DB_ID_BYTES)
        fm_db_id_bytes(finish->started[i], at);
    for (size_t i = 0; i < kept->children_count; i++, at += FM_DB_ID_BYTES)
        fm_db_id_bytes(finish->children[i].id, at);
    return 0;
}

static int decide(const struct fm_calls_finish *finish, const struct fm_calls_found *found,
                  struct kept *ret_kept)
{
    struct kept kept = {.status = finish->status, .error = finish->error};
    if (found->cancelled && finish->status != FM_STATUS_CANCELLED) {
        kept.status = FM_STATUS_CANCELLED;
        kept.error = FM_ERR_CANCELLED;
    }
    bool ended = fm_call_status_ended(kept.status);
    kept.output = ended && kept.status == finish->status;
    kept.input = !ended || kept.status == FM_STATUS_DEAD;
    kept.children_count = kept.status == FM_STATUS_SUCCEEDED ? finish->children_count : 0;
    kept.ids_count = finish->started_count + kept.children_count;
    kept.bytes = FM_CALLS_ROW_BYTES + (kept.input ? found->input_bytes : 0) +
                 (kept.output ? finish->output_bytes : 0) + finish->log_bytes +
                 length_of(finish->detail) + length_of(finish->backtrace) +
                 kept.ids_count * FM_DB_ID_BYTES;
    int failed = collect_ids(finish, &kept);
    if (failed)
        return failed;
    *ret_kept = kept;
    return 0;
}

/* A content and the name of its file: one of the two, or neither. */
static void bind_content(struct fm_query *query, bool keep, const uint8_t *data, size_t bytes,
                         const char *file)
{
    if (keep && file[0] == '\0')
        fm_query_bytes(query, data, bytes);
    else
        fm_query_null(query);
    fm_query_text(query, keep ? file : NULL);
}

static int update(struct fm_calls *calls, const struct fm_calls_finish *finish,
                  const struct fm_calls_found *found, const struct kept *kept)
{
    bool ended = fm_call_status_ended(kept->status);
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_FINISH);
    fm_query_number(&query, kept->status);
    fm_query_number(&query, !ended && finish->uncounted);
    fm_query_time(&query, ended ? 0 : finish->run_at_real_ns);
    fm_query_time(&query, ended ? finish->finished_real_ns : 0);
    fm_query_time(&query, ended ? finish->keep_until_real_ns : 0);
    fm_query_count(&query, finish->cpu_ns);
    fm_query_count(&query, finish->wall_ns);
    fm_query_count(&query, finish->memory_bytes);
    fm_query_count(&query, kept->output ? finish->output_bytes : 0);
    fm_query_count(&query, finish->log_bytes);
    fm_query_number(&query, finish->log_truncated);
    fm_query_number(&query, finish->exit_code);
    fm_query_text(&query, fm_call_error_text(kept->error));
    fm_query_text(&query, kept->error ? fm_err_code(kept->error) : NULL);
    fm_query_text(&query, finish->limit);
    fm_query_text(&query, finish->trap);
    fm_query_text(&query, finish->detail);
    fm_query_text(&query, finish->backtrace);
    if (kept->ids_count > 0)
        fm_query_bytes(&query, kept->ids, kept->ids_count * FM_DB_ID_BYTES);
    else
        fm_query_null(&query);
    bind_content(&query, kept->output, finish->output, finish->output_bytes, finish->output_file);
    bind_content(&query, true, finish->log, finish->log_bytes, finish->log_file);
    fm_query_number(&query, kept->input);
    fm_query_number(&query, kept->input);
    fm_query_count(&query, kept->bytes);
    fm_query_number(&query, found->seq);
    return fm_query_run(&query);
}

static int finish_found(struct fm_calls *calls, struct fm_calls_finish *finish,
                        const struct fm_calls_found *found, const struct kept *kept)
{
    bool taken = false;
    int failed = 0;
    if (kept->children_count > 0)
        failed = fm_entries_insert(calls, finish->children, kept->children_count, &taken);
    if (failed || taken) {
        finish->write.error = taken ? FM_ERR_CONFLICT : 0;
        return failed;
    }
    failed = update(calls, finish, found, kept);
    if (failed)
        return failed;
    finish->result = kept->status;
    fm_calls_resize(calls, found, kept->bytes);
    if (fm_call_status_ended(kept->status))
        calls->sums.rows_open -= 1;
    fm_calls_doom_found(calls, found, !kept->input); /* an output or log of the attempt before */
    if (!kept->output)
        fm_blobs_doom(calls, finish->output_file);
    if (kept->children_count == 0)
        fm_entries_doom(calls, finish->children, children_of(finish));
    return 0;
}

static int finish_apply(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_finish *finish = finish_of(write);
    struct fm_calls_found found;
    struct kept kept = {0};
    int failed = fm_calls_find(calls, finish->id, &found);
    if (!failed && found.status != FM_STATUS_RUNNING) {
        finish->result = found.status;
        failed = FM_ERR_CONFLICT;
    }
    if (!failed)
        failed = decide(finish, &found, &kept);
    if (failed)
        return fm_calls_write_error(calls, write, failed);
    failed = finish_found(calls, finish, &found, &kept);
    free(kept.ids);
    return failed;
}

static void finish_undo(struct fm_calls_write *write)
{
    finish_of(write)->result = FM_STATUS_RUNNING;
}

static void finish_unused(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_finish *finish = finish_of(write);
    if (!write->error)
        return;
    fm_blobs_doom(calls, finish->output_file);
    fm_blobs_doom(calls, finish->log_file);
    fm_entries_doom(calls, finish->children, children_of(finish));
}

void fm_calls_finish(struct fm_calls *calls, struct fm_calls_finish *finish,
                     struct fm_mailbox *home)
{
    static const struct fm_calls_kind kind = {
        .lane = FM_LANE_OTHERS,
        .prepare = finish_prepare,
        .blobs = finish_blobs,
        .apply = finish_apply,
        .undo = finish_undo,
        .unused = finish_unused,
    };
    finish->result = FM_STATUS_RUNNING;
    fm_calls_write_ask(calls, &finish->write, &kind, home);
}
