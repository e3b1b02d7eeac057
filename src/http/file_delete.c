/* file_delete.c - DELETE /files/<user>/<path>: a file, or a folder with `?recursive=1`.
 *
 * One job of the I/O pool; the object that waits for it outlives its client.  Threading: the
 * worker's, but for the job. */
#include <stdlib.h>
#include <string.h>

#include "http/files.h"
#include "loop/loop.h"
#include "loop/pool.h"
#include "store/user_trees.h"

struct fm_file_removal {
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    struct fm_job job;
    bool working; /* the job is under way */
    bool recursive;
    struct fm_error error;
    char user[FM_NAME_LENGTH_MAX + 1];
    char *path;
};

static void free_removal(struct fm_file_removal *removal)
{
    free(removal->path);
    free(removal);
}

/* On a thread of the pool. */
static void run_remove(struct fm_job *job)
{
    struct fm_file_removal *removal = FM_CONTAINER_OF(job, struct fm_file_removal, job);
    int failed = fm_user_trees_remove(removal->http->config.trees, removal->user, removal->path,
                                      removal->recursive, &removal->error);
    if (failed && !removal->error.code)
        (void)fm_error_set(&removal->error, failed, "%s", fm_err_meaning(failed));
}

static void on_removed(struct fm_job *job)
{
    struct fm_file_removal *removal = FM_CONTAINER_OF(job, struct fm_file_removal, job);
    struct fm_request *request = removal->request;
    removal->working = false;
    removal->http->counts.operations--;
    if (!request) {
        free_removal(removal);
        return;
    }
    if (removal->error.code)
        fm_answer_error(request, &removal->error);
    else
        fm_answer_empty(request, MHD_HTTP_NO_CONTENT);
    fm_request_wake(request);
}

static int parse(struct fm_request *request, struct fm_file_removal *removal)
{
    size_t cursor = 0;
    struct fm_parameter parameter;
    if (request->query.length == 0)
        return 0;
    while (fm_query_next((char *)request->query.data, &cursor, &parameter, &request->error)) {
        if (removal->recursive || strcmp(parameter.name, "recursive") != 0 ||
            strcmp(parameter.value, "1") != 0)
            return fm_error_set(&request->error, FM_ERR_BAD_REQUEST,
                                "the only parameter is 'recursive=1', once, at byte %zu of the "
                                "query",
                                parameter.position);
        removal->recursive = true;
    }
    return request->error.code;
}

static int begin(struct fm_request *request)
{
    int failed = fm_files_check(request, false);
    if (failed)
        return failed;
    struct fm_file_removal *removal = calloc(1, sizeof(*removal));
    char *path = strdup(fm_files_path(request));
    if (!removal || !path) {
        free(removal);
        free(path);
        return fm_error_set(&request->error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    }
    removal->http = request->http;
    removal->request = request;
    removal->path = path;
    memcpy(removal->user, fm_files_user(request), strlen(fm_files_user(request)));
    request->file_removal = removal;
    return parse(request, removal);
}

static void run(struct fm_request *request)
{
    struct fm_file_removal *removal = request->file_removal;
    struct fm_http *http = request->http;
    removal->job.run = run_remove;
    removal->job.on_done = on_removed;
    int failed =
        fm_pool_submit(http->config.pool, &removal->job, fm_loop_mailbox(http->config.loop));
    if (failed) {
        fm_answer_failed(request, failed);
        return;
    }
    removal->working = true;
    http->counts.operations++;
    fm_request_wait(request, false);
}

static bool leave(struct fm_request *request)
{
    struct fm_file_removal *removal = request->file_removal;
    if (!removal)
        return true;
    request->file_removal = NULL;
    removal->request = NULL;
    if (!removal->working)
        free_removal(removal);
    return true;
}

const struct fm_handler fm_file_delete_handler = {.begin = begin, .run = run, .leave = leave};
