/* file_put.c - PUT /files/<user>/<path>: a body to disk, and from there into its place.
 *
 *      TAKES <--- written ---- WORKS --- committed, or refused ---> OVER
 *        | |                     ^
 *        | +- piece full, whole -+
 *        |
 *        +- client left ------> CLEANS --> OVER
 *
 * As in upload.c the worker fills a piece, and the I/O pool writes it while the connection is put
 * aside; the last piece is committed by the same job.  So a small file is one job.
 *
 * The object lives on its own: when the client leaves while a job is under way, it stays until that
 * is over and then cleans up after itself.  What a client has sent completely is carried through
 * even if it does not wait for the answer.
 *
 * Threading: the worker's, except for the run functions: those run on a thread of the pool, while
 * the worker leaves everything but `request` and `whole` alone. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "http/files.h"
#include "loop/loop.h"
#include "loop/pool.h"
#include "store/user_trees.h"

#define PIECE_BYTES (256 * FM_KIB)

enum state {
    TAKES,  /* waits for more of the body */
    WORKS,  /* waits for the pool to write the piece, and to commit the file if it was the last */
    CLEANS, /* waits for the pool to remove what was written */
    OVER,   /* committed, or not; waits for its answer to be sent */
};

struct fm_file_put {
    enum state state;
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    struct fm_job job;
    bool last; /* the piece of this job is */
    uint64_t content_length;
    struct fm_new_file *file; /* NULL: not yet begun, or over */
    uint8_t *piece;           /* PIECE_BYTES */
    size_t piece_bytes;
    uint64_t bytes; /* of the body so far */
    struct fm_error error;
    const char *quota; /* of that */
    struct fm_new_file_facts facts;
    char user[FM_NAME_LENGTH_MAX + 1];
    char *path;
};

static const unsigned legal_moves[] = {
    [TAKES] = 1u << WORKS | 1u << CLEANS,
    [WORKS] = 1u << TAKES | 1u << OVER,
    [CLEANS] = 1u << OVER,
    [OVER] = 0,
};

static void set_state(struct fm_file_put *put, enum state state)
{
    FM_ASSERT(legal_moves[put->state] & (1u << state));
    put->state = state;
}

static struct fm_file_put *put_of(struct fm_job *job)
{
    return FM_CONTAINER_OF(job, struct fm_file_put, job);
}

/* FM_ERR_BUSY. */
static int start(struct fm_file_put *put, void (*run)(struct fm_job *job),
                 void (*on_done)(struct fm_job *job))
{
    struct fm_http *http = put->http;
    put->job.run = run;
    put->job.on_done = on_done;
    int failed = fm_pool_submit(http->config.pool, &put->job, fm_loop_mailbox(http->config.loop));
    http->counts.operations += !failed;
    return failed;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void free_put(struct fm_file_put *put)
{
    FM_ASSERT(!put->file && !put->request);
    put->http->file_puts--;
    free(put->piece);
    free(put->path);
    free(put);
}

/* On a thread of the pool. */
static void run_clean(struct fm_job *job)
{
    struct fm_file_put *put = put_of(job);
    put->file = fm_new_file_end(put->file);
}

static void on_cleaned(struct fm_job *job)
{
    struct fm_file_put *put = put_of(job);
    put->http->counts.operations--;
    set_state(put, OVER);
    free_put(put);
}

/* Nobody waits for it any more and nothing is under way. */
static void clean_up(struct fm_file_put *put)
{
    if (!put->file) {
        free_put(put);
        return;
    }
    set_state(put, CLEANS);
    if (!put->http->closed && start(put, run_clean, on_cleaned) == 0)
        return;
    /* The pool is full, or the end has come.  Removing one file here costs less than keeping it. */
    put->file = fm_new_file_end(put->file);
    set_state(put, OVER);
    free_put(put);
}

/* --- the work --------------------------------------------------------------------------------- */

static int write_piece(struct fm_file_put *put)
{
    int failed = 0;
    if (!put->file)
        failed = fm_new_file_begin(put->http->config.trees, put->user, put->path,
                                   put->content_length, &put->file, &put->quota, &put->error);
    if (!failed)
        failed =
            fm_new_file_write(put->file, put->piece, put->piece_bytes, &put->quota, &put->error);
    if (!failed && put->last)
        failed = fm_new_file_commit(put->file, &put->facts, &put->quota, &put->error);
    return failed;
}

/* On a thread of the pool. */
static void run_write(struct fm_job *job)
{
    struct fm_file_put *put = put_of(job);
    int failed = write_piece(put);
    if (failed && !put->error.code)
        (void)fm_error_set(&put->error, failed, "%s", fm_err_meaning(failed));
    if (failed || put->last)
        put->file = fm_new_file_end(put->file);
}

static int write_answer(const struct fm_file_put *put, struct fm_buffer *text)
{
    char time[FM_CLOCK_TEXT_SIZE];
    struct fm_json json;
    fm_clock_format(put->facts.modified_ns, time);
    fm_json_init(&json, text);
    fm_json_begin(&json, NULL, '{');
    fm_json_string(&json, "user", put->user);
    fm_json_string(&json, "path", put->path);
    fm_json_number(&json, "bytes", put->facts.bytes);
    fm_json_string(&json, "sha256", put->facts.sha256);
    fm_json_string(&json, "modified_at", time);
    fm_json_end(&json, '}');
    return fm_json_done(&json);
}

static void answer(const struct fm_file_put *put)
{
    struct fm_request *request = put->request;
    if (put->error.code) {
        request->quota = put->quota;
        fm_answer_error(request, &put->error);
        return;
    }
    unsigned status = put->facts.replaced ? MHD_HTTP_OK : MHD_HTTP_CREATED;
    fm_answer_text(request, status, FM_TYPE_JSON, write_answer(put, &request->text));
}

static void on_written(struct fm_job *job)
{
    struct fm_file_put *put = put_of(job);
    struct fm_request *request = put->request;
    put->http->counts.operations--;
    put->piece_bytes = 0;
    set_state(put, put->last ? OVER : TAKES);
    if (!request) {
        clean_up(put);
        return;
    }
    if (put->last)
        answer(put);
    else /* each piece has as much time as other bodies: a file may be large */
        fm_deadline_set(&put->http->bodies, &request->client->deadline);
    fm_request_wake(request); /* a failure in the middle is told to the next piece */
}

/* Puts the request aside meanwhile.  FM_ERR_BUSY. */
static int start_write(struct fm_file_put *put)
{
    int failed = start(put, run_write, on_written);
    if (failed)
        return fm_error_set(&put->error, failed, "too many files are being written, try again");
    set_state(put, WORKS);
    fm_request_wait(put->request, false);
    return 0;
}

/* --- the handler ------------------------------------------------------------------------------ */

static int no_memory(struct fm_error *error)
{
    return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
}

static int make_put(struct fm_request *request)
{
    struct fm_http *http = request->http;
    if (http->file_puts == FM_HTTP_FILE_PUTS_MAX)
        return fm_error_set(&request->error, FM_ERR_BUSY,
                            "too many files are being written, try again later");
    struct fm_file_put *put = calloc(1, sizeof(*put));
    char *path = strdup(fm_files_path(request));
    if (!put || !path) {
        free(put);
        free(path);
        return no_memory(&request->error);
    }
    put->http = http;
    put->request = request;
    put->path = path;
    put->content_length = request->content_length;
    memcpy(put->user, fm_files_user(request), strlen(fm_files_user(request)));
    request->file_put = put;
    http->file_puts++;
    return 0;
}

static int begin(struct fm_request *request)
{
    uint64_t bytes_max = request->http->config.file_bytes_max;
    int failed = fm_files_check(request, true);
    if (!failed)
        failed = fm_request_no_query(request);
    if (!failed && MHD_lookup_connection_value(request->client->connection, MHD_HEADER_KIND,
                                               MHD_HTTP_HEADER_CONTENT_RANGE))
        failed = fm_error_set(&request->error, FM_ERR_BAD_REQUEST,
                              "a file is put as a whole: Content-Range is not possible here");
    if (!failed && request->content_length > bytes_max)
        failed = fm_error_set(
            &request->error, FM_ERR_TOO_LARGE, "the file has %llu bytes, at most %llu are accepted",
            (unsigned long long)request->content_length, (unsigned long long)bytes_max);
    return failed ? failed : make_put(request);
}

/* Adds to the piece. */
static int fill(struct fm_file_put *put, const uint8_t *data, size_t bytes)
{
    uint64_t bytes_max = put->http->config.file_bytes_max;
    if (put->bytes + bytes > bytes_max)
        return fm_error_set(&put->error, FM_ERR_TOO_LARGE,
                            "the file has more than the %llu bytes that are accepted",
                            (unsigned long long)bytes_max);
    if (!put->piece)
        put->piece = malloc(PIECE_BYTES);
    if (!put->piece)
        return no_memory(&put->error);
    memcpy(put->piece + put->piece_bytes, data, bytes);
    put->piece_bytes += bytes;
    put->bytes += bytes;
    return 0;
}

static int take(struct fm_request *request, const uint8_t *data, size_t bytes, size_t *ret_taken)
{
    struct fm_file_put *put = request->file_put;
    size_t taken = fm_min_u64(bytes, PIECE_BYTES - put->piece_bytes);
    int failed = put->error.code; /* of the last piece */
    if (!failed)
        failed = fill(put, data, taken);
    if (!failed && put->piece_bytes == PIECE_BYTES)
        failed = start_write(put);
    if (failed) {
        request->error = put->error;
        request->quota = put->quota;
        return failed;
    }
    *ret_taken = taken;
    return 0;
}

static void run(struct fm_request *request)
{
    struct fm_file_put *put = request->file_put;
    put->last = true;
    int failed = put->error.code; /* of the last piece */
    if (!failed)
        failed = start_write(put);
    if (failed)
        answer(put);
}

static bool leave(struct fm_request *request)
{
    struct fm_file_put *put = request->file_put;
    if (!put)
        return true;
    request->file_put = NULL;
    put->request = NULL;
    if (put->state == TAKES || put->state == OVER)
        clean_up(put);
    return true;
}

const struct fm_handler fm_file_put_handler = {
    .intake = FM_INTAKE_STREAM,
    .begin = begin,
    .take = take,
    .run = run,
    .leave = leave,
};
