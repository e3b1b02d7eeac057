/* answer.c - from what a handler says to a response of the library.
 *
 * Bodies are never copied: a call's output, a record's and the text that was made for the request
 * all stay where they are until the library has let go of the request, which it says before it
 * drops its last reference to the response without touching the body again.
 *
 * Threading: the worker's. */
#include "http/answer.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "http/routes.h"

#define STREAM_BLOCK_BYTES (32 * FM_KIB) /* of a stream, that the library holds */

static void make(struct fm_request *request, unsigned status, const char *type, void *data,
                 size_t bytes)
{
    FM_ASSERT(!request->response);
    request->response = MHD_create_response_from_buffer(bytes, data, MHD_RESPMEM_PERSISTENT);
    request->status = status;
    request->answer_bytes = bytes;
    if (type)
        fm_answer_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, type);
}

void fm_answer_empty(struct fm_request *request, unsigned status)
{
    make(request, status, NULL, NULL, 0);
}

void fm_answer_bytes(struct fm_request *request, unsigned status, const char *type, uint8_t *data,
                     size_t bytes)
{
    make(request, status, type, data, bytes);
}

void fm_answer_stream(struct fm_request *request, unsigned status, const char *type, uint64_t bytes,
                      MHD_ContentReaderCallback read, void *data)
{
    FM_ASSERT(!request->response);
    request->response =
        MHD_create_response_from_callback(bytes, STREAM_BLOCK_BYTES, read, data, NULL);
    request->status = status;
    request->answer_bytes = bytes;
    if (type)
        fm_answer_header(request, MHD_HTTP_HEADER_CONTENT_TYPE, type);
}

void fm_answer_text(struct fm_request *request, unsigned status, const char *type, int failed)
{
    if (failed)
        return; /* no response: the connection is closed */
    make(request, status, type, request->text.data, request->text.length);
}

void fm_answer_header(struct fm_request *request, const char *name, const char *value)
{
    if (!request->response)
        return;
    if (MHD_add_response_header(request->response, name, value) == MHD_YES)
        return;
    MHD_destroy_response(request->response); /* out of memory: better no answer than half of one */
    request->response = NULL;
}

void fm_answer_number(struct fm_request *request, const char *name, uint64_t number)
{
    char text[21];
    size_t at = sizeof(text) - 1;
    text[at] = '\0';
    do {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    fm_answer_header(request, name, text + at);
}

/* --- problems --------------------------------------------------------------------------------- */

/* Our own failures are told to the operator too. */
static void log_problem(const struct fm_request *request, const struct fm_problem *problem)
{
    int error = problem->error;
    if (error != FM_ERR_INTERNAL && error != FM_ERR_IO && error != FM_ERR_STORAGE_FULL)
        return;
    const struct fm_target *target = &request->target;
    const char *first = target->segments[0].text;
    bool function = strcmp(first, "f") == 0 || strcmp(first, "fa") == 0;
    bool named = function || strcmp(first, "files") == 0;
    fm_log(FM_LOG_ERROR, "request_failed", "code", fm_err_code(error), "user",
           named && target->count > 1 ? target->segments[1].text : "", "function",
           function && target->count > 2 ? target->segments[2].text : "", "detail",
           problem->detail ? problem->detail : fm_err_meaning(error), NULL);
}

void fm_answer_problem(struct fm_request *request, const struct fm_problem *problem)
{
    unsigned status = (unsigned)fm_problem_status(problem);
    int failed = fm_problem_write(problem, &request->text);
    fm_answer_text(request, status, FM_PROBLEM_TYPE, failed);
    if (status == MHD_HTTP_TOO_MANY_REQUESTS || status == MHD_HTTP_SERVICE_UNAVAILABLE)
        fm_answer_number(request, MHD_HTTP_HEADER_RETRY_AFTER, fm_problem_retry_s(problem));
    if (problem->error == FM_ERR_METHOD_NOT_ALLOWED) {
        char allow[FM_ALLOW_SIZE];
        fm_route_allow(request->route, allow);
        fm_answer_header(request, MHD_HTTP_HEADER_ALLOW, allow);
    }
    log_problem(request, problem);
}

void fm_answer_error(struct fm_request *request, const struct fm_error *error)
{
    struct fm_problem problem = {
        .error = error->code,
        .status = (int)request->status, /* 0, but for the few whose status is not the table's */
        .detail = error->text,
        .quota = request->quota,
    };
    fm_answer_problem(request, &problem);
}

void fm_answer_failed(struct fm_request *request, int failed)
{
    if (!request->error.code)
        (void)fm_error_set(&request->error, failed, "%s", fm_err_meaning(failed));
    fm_answer_error(request, &request->error);
}
