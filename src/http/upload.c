/* upload.c - PUT /f/<user>/<function>: a body to disk, and then to every worker.
 *
 *      TAKES <--- written ---- WRITES
 *        | |                     ^
 *        | +- piece full, whole -+
 *        |
 *        +- whole, all written --> DEPLOYS --> OVER
 *        +- client left ---------> CLEANS  --> OVER
 *
 * A module may be large and a disk slow, so the worker only fills a piece of 256 KiB; the piece is
 * written by the I/O pool while the connection is put aside, which also tells the client to wait
 * (TCP does it for us).  One piece and not two: the disk is faster than most clients, and an upload
 * is rare.
 *
 * The object lives on its own: a job or a deployment that is under way cannot be called back, so
 * when the client leaves first, the object stays until that is over and then cleans up after
 * itself.  What a client has sent completely is deployed even if it does not wait for the answer.
 *
 * Threading: the worker's, except for the two run functions: those run on a thread of the pool,
 * while the worker leaves the upload, the piece and the error alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "http/parameters.h"
#include "http/routes.h"
#include "sched/deploy.h"
#include "store/functions.h"

#define PIECE_BYTES (256 * FM_KIB)

enum put_state {
    PUT_TAKES,   /* waits for more of the body */
    PUT_WRITES,  /* waits for the pool to write the piece */
    PUT_DEPLOYS, /* waits for the deployer */
    PUT_CLEANS,  /* waits for the pool to remove what was written */
    PUT_OVER,    /* deployed, or refused by the deployer; waits for its answer to be sent */
};

struct fm_put {
    enum put_state state;
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    bool whole;                 /* the body has come to its end */
    struct fm_job job;
    struct fm_upload *upload; /* NULL: not yet begun, or taken by the deployer */
    uint8_t *piece;           /* PIECE_BYTES */
    size_t piece_bytes;
    uint64_t bytes; /* of the body so far */
    struct fm_error error;
    struct fm_deploy deploy;
    char user[FM_NAME_LENGTH_MAX + 1];
    char function[FM_NAME_LENGTH_MAX + 1];
    struct fm_arena arena; /* of the parameters */
};

static const unsigned legal_moves[] = {
    [PUT_TAKES] = 1u << PUT_WRITES | 1u << PUT_DEPLOYS | 1u << PUT_CLEANS,
    [PUT_WRITES] = 1u << PUT_TAKES,
    [PUT_DEPLOYS] = 1u << PUT_OVER,
    [PUT_CLEANS] = 1u << PUT_OVER,
    [PUT_OVER] = 0,
};

static void set_state(struct fm_put *put, enum put_state state)
{
    FM_ASSERT(legal_moves[put->state] & (1u << state));
    put->state = state;
}

/* --- the end ---------------------------------------------------------------------------------- */

static void free_put(struct fm_put *put)
{
    FM_ASSERT(!put->upload && !put->request);
    put->http->uploads--;
    fm_deploy_done(&put->deploy);
    fm_arena_done(&put->arena);
    free(put->piece);
    free(put);
}

/* On a thread of the pool. */
static void run_clean(struct fm_job *job)
{
    struct fm_put *put = FM_CONTAINER_OF(job, struct fm_put, job);
    put->upload = fm_upload_end(put->upload);
}

static void on_cleaned(struct fm_job *job)
{
    struct fm_put *put = FM_CONTAINER_OF(job, struct fm_put, job);
    put->http->counts.operations--;
    set_state(put, PUT_OVER);
    free_put(put);
}

/* Nobody waits for it any more and nothing is under way. */
static void clean_up(struct fm_put *put)
{
    struct fm_http *http = put->http;
    if (!put->upload) {
        free_put(put);
        return;
    }
    set_state(put, PUT_CLEANS);
    put->job.run = run_clean;
    put->job.on_done = on_cleaned;
    http->counts.operations++;
    if (!http->closed &&
        fm_pool_submit(http->config.pool, &put->job, fm_loop_mailbox(http->config.loop)) == 0)
        return;
    /* The pool is full, or the end has come.  Removing one file here costs less than keeping it. */
    run_clean(&put->job);
    on_cleaned(&put->job);
}

/* --- deploying -------------------------------------------------------------------------------- */

static void log_deployed(const struct fm_version *version, bool replaced)
{
    fm_log(FM_LOG_INFO, "deployed", "user", version->user, "function", version->function, "version",
           version->id, "abi", fm_abi_text(version->facts.abi), "replaced", replaced ? "yes" : "no",
           NULL);
}

static void answer_deployed(struct fm_put *put)
{
    struct fm_request *request = put->request;
    const struct fm_deploy *deploy = &put->deploy;
    fm_function_answer(request, deploy->replaced ? MHD_HTTP_OK : MHD_HTTP_CREATED, deploy->version);
    char location[sizeof("/f//") + 2 * FM_NAME_LENGTH_MAX] = "";
    if (deploy->replaced)
        return;
    (void)snprintf(location, sizeof(location), "/f/%s/%s", put->user, put->function);
    fm_answer_header(request, MHD_HTTP_HEADER_LOCATION, location);
}

static void answer_refused(const struct fm_put *put)
{
    const struct fm_problem problem = {
        .error = put->deploy.error.code,
        .detail = put->deploy.error.text,
        .refusal = &put->deploy.refusal,
    };
    fm_answer_problem(put->request, &problem);
}

static void on_deployed(struct fm_deploy *deploy)
{
    struct fm_put *put = FM_CONTAINER_OF(deploy, struct fm_put, deploy);
    struct fm_request *request = put->request;
    put->http->counts.operations--;
    set_state(put, PUT_OVER);
    if (!deploy->error.code)
        log_deployed(deploy->version, deploy->replaced);
    if (!request) {
        clean_up(put);
        return;
    }
    if (deploy->error.code)
        answer_refused(put);
    else
        answer_deployed(put);
    fm_request_wake(request);
}

/* FM_ERR_BUSY. */
static int start_deploy(struct fm_put *put)
{
    struct fm_http *http = put->http;
    put->deploy.wanted.user = put->user;
    put->deploy.wanted.function = put->function;
    put->deploy.upload = put->upload;
    put->deploy.on_done = on_deployed;
    int failed =
        fm_deploy_start(http->config.deployer, &put->deploy, fm_loop_mailbox(http->config.loop));
    if (failed)
        return fm_error_set(&put->error, failed, "too many uploads are being compiled, try again");
    put->upload = NULL;
    http->counts.operations++;
    set_state(put, PUT_DEPLOYS);
    return 0;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* On a thread of the pool. */
static void run_write(struct fm_job *job)
{
    struct fm_put *put = FM_CONTAINER_OF(job, struct fm_put, job);
    int failed = 0;
    if (!put->upload)
        failed = fm_upload_begin(put->http->config.functions, &put->upload, &put->error);
    if (!failed)
        failed = fm_upload_write(put->upload, put->piece, put->piece_bytes, &put->error);
    if (failed && !put->error.code)
        (void)fm_error_set(&put->error, failed, "%s", fm_err_meaning(failed));
    if (put->error.code == FM_ERR_NOT_FOUND)
        put->error.code = FM_ERR_IO; /* a folder of ours, nothing that the client asked for */
}

static void on_written(struct fm_job *job)
{
    struct fm_put *put = FM_CONTAINER_OF(job, struct fm_put, job);
    struct fm_request *request = put->request;
    put->http->counts.operations--;
    put->piece_bytes = 0;
    set_state(put, PUT_TAKES);
    if (put->whole && !put->error.code && !put->http->closed && start_deploy(put) == 0)
        return; /* whether or not the client still waits */
    if (!request) {
        clean_up(put);
        return;
    }
    if (put->whole)
        fm_answer_error(request, &put->error);
    fm_request_wake(request); /* a failure in the middle is told to the next piece */
}

/* Puts the request aside meanwhile.  FM_ERR_BUSY. */
static int start_write(struct fm_put *put)
{
    struct fm_http *http = put->http;
    put->job.run = run_write;
    put->job.on_done = on_written;
    int failed = fm_pool_submit(http->config.pool, &put->job, fm_loop_mailbox(http->config.loop));
    if (failed)
        return fm_error_set(&put->error, failed, "too many uploads are being written, try again");
    http->counts.operations++;
    set_state(put, PUT_WRITES);
    fm_request_wait(put->request, false);
    return 0;
}

/* --- the handler ------------------------------------------------------------------------------ */

static int make_put(struct fm_request *request)
{
    struct fm_http *http = request->http;
    if (http->uploads == FM_HTTP_UPLOADS_MAX)
        return fm_error_set(&request->error, FM_ERR_BUSY,
                            "too many uploads are under way, try again later");
    struct fm_put *put = calloc(1, sizeof(*put));
    if (!put)
        return fm_error_set(&request->error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    fm_arena_init(&put->arena, FM_PARAMETERS_ARENA_BYTES_MAX);
    put->http = http;
    put->request = request;
    memcpy(put->user, request->target.segments[1].text, sizeof(put->user));
    memcpy(put->function, request->target.segments[2].text, sizeof(put->function));
    request->put = put;
    http->uploads++;
    return 0;
}

static int begin(struct fm_request *request)
{
    uint64_t bytes_max = request->http->config.module_bytes_max;
    int failed = fm_invoke_names(request);
    if (!failed && request->content_length > bytes_max)
        failed = fm_error_set(&request->error, FM_ERR_TOO_LARGE,
                              "the module has %llu bytes, at most %llu are accepted",
                              (unsigned long long)request->content_length,
                              (unsigned long long)bytes_max);
    if (!failed)
        failed = make_put(request);
    if (failed)
        return failed;
    struct fm_put *put = request->put;
    char nothing[1] = "";
    char *query = request->query.length > 0 ? (char *)request->query.data : nothing;
    return fm_parameters_parse(query, &put->arena, &put->deploy.wanted, &request->error);
}

/* Adds to the piece. */
static int fill(struct fm_put *put, const uint8_t *data, size_t bytes)
{
    uint64_t bytes_max = put->http->config.module_bytes_max;
    if (put->bytes + bytes > bytes_max)
        return fm_error_set(&put->error, FM_ERR_TOO_LARGE,
                            "the module has more than the %llu bytes that are accepted",
                            (unsigned long long)bytes_max);
    if (!put->piece)
        put->piece = malloc(PIECE_BYTES);
    if (!put->piece)
        return fm_error_set(&put->error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    memcpy(put->piece + put->piece_bytes, data, bytes);
    put->piece_bytes += bytes;
    put->bytes += bytes;
    return 0;
}

static int take(struct fm_request *request, const uint8_t *data, size_t bytes, size_t *ret_taken)
{
    struct fm_put *put = request->put;
    size_t taken = fm_min_u64(bytes, PIECE_BYTES - put->piece_bytes);
    int failed = put->error.code; /* of the last piece */
    if (!failed)
        failed = fill(put, data, taken);
    if (!failed && put->piece_bytes == PIECE_BYTES)
        failed = start_write(put);
    if (failed) {
        request->error = put->error;
        return failed;
    }
    *ret_taken = taken;
    return 0;
}

/* The body is complete; there may be nothing of it, which the compiler will say. */
static void run(struct fm_request *request)
{
    struct fm_put *put = request->put;
    put->whole = true;
    int failed = put->error.code;
    if (!failed)
        failed = start_write(put);
    if (failed)
        fm_answer_error(request, &put->error);
}

static bool leave(struct fm_request *request)
{
    struct fm_put *put = request->put;
    if (!put)
        return true;
    request->put = NULL;
    put->request = NULL;
    if (put->state == PUT_TAKES || put->state == PUT_OVER)
        clean_up(put);
    return true;
}

const struct fm_handler fm_put_handler = {
    .intake = FM_INTAKE_STREAM,
    .begin = begin,
    .take = take,
    .run = run,
    .leave = leave,
};
