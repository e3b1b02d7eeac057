/* invoke.c - POST /f/<user>/<function>: a request becomes a call, and its outcome the answer.
 *
 *      headers: is there such a function? is the body small enough?
 *      body:    collected
 *      whole:   call_new --> submit --> DONE: answer
 *                              |
 *                              +------> LATER: put aside, until on_done: answer
 *                                              or the client hangs up: cancel
 *
 * This is the path that must be short.  The body is collected in a buffer that the next request
 * uses again, the guest reads it there, and the answer is sent from where the guest wrote it; so
 * request and call live until both the library and the scheduler have let go of them.
 *
 * What a call chained is on disk before its parent is answered: chaining.c.
 *
 * A call that ended is remembered (call/recent.h); one that is put aside can be found and cancelled
 * by others (call/under_way.h).
 *
 * Threading: the worker's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call/call.h"
#include "http/chaining.h"
#include "http/routes.h"
#include "sched/sched.h"

/* --- the function ----------------------------------------------------------------------------- */

int fm_invoke_names(struct fm_request *request)
{
    int failed = fm_target_name(&request->target, 1, "user", &request->error);
    return failed ? failed : fm_target_name(&request->target, 2, "function", &request->error);
}

int fm_invoke_find(struct fm_request *request, struct fm_function **ret_function)
{
    struct fm_http *http = request->http;
    const struct fm_segment *user = &request->target.segments[1];
    const struct fm_segment *function = &request->target.segments[2];
    if (!request->function || request->function_pass != http->pass) {
        request->function = fm_sched_function(http->config.sched, user->text, user->length,
                                              function->text, function->length);
        request->function_pass = http->pass;
    }
    if (!request->function)
        return fm_error_set(&request->error, FM_ERR_NOT_FOUND, "no function '%s/%s'", user->text,
                            function->text);
    *ret_function = request->function;
    return 0;
}

static int check_input(struct fm_request *request, uint64_t bytes,
                       const struct fm_function *function)
{
    uint64_t bytes_max = fm_function_version(function)->limits.input_bytes;
    request->body.length_max = (size_t)bytes_max;
    if (bytes <= bytes_max)
        return 0;
    return fm_error_set(&request->error, FM_ERR_TOO_LARGE,
                        "the body has %llu bytes, the function's limit input_bytes is %llu",
                        (unsigned long long)bytes, (unsigned long long)bytes_max);
}

int fm_invoke_begin(struct fm_request *request)
{
    struct fm_function *function = NULL;
    int failed = fm_invoke_names(request);
    if (!failed)
        failed = fm_invoke_find(request, &function);
    return failed ? failed : check_input(request, request->content_length, function);
}

/* --- the outcome ------------------------------------------------------------------------------ */

void fm_invoke_headers_early(struct fm_request *request, const struct fm_call *call)
{
    char id[FM_ID_TEXT_SIZE];
    fm_id_format(call->id, id);
    fm_answer_header(request, "X-Faasm-Call-Id", id);
    fm_answer_header(request, "X-Faasm-Cold", call->cold ? "1" : "0");
}

void fm_invoke_headers(struct fm_request *request, const struct fm_call *call)
{
    fm_invoke_headers_early(request, call);
    char exit_code[12] = "0";
    if (call->exit_code != 0)
        (void)snprintf(exit_code, sizeof(exit_code), "%d", call->exit_code);
    fm_answer_header(request, "X-Faasm-Exit-Code", exit_code);
    fm_answer_number(request, "X-Faasm-Cpu-Us", call->cpu_ns / FM_NS_PER_US);
}

void fm_invoke_failed(struct fm_request *request, const struct fm_error *chains)
{
    const struct fm_call *call = request->call;
    struct fm_problem problem = {
        .error = call->error ? call->error : chains->code,
        .detail = call->error ? call->detail : chains->text,
        .call = call,
    };
    if (!call->error && chains->code == FM_ERR_QUOTA)
        problem.quota = "queue_length"; /* there is no other for chained calls */
    fm_answer_problem(request, &problem);
    fm_invoke_headers(request, call);
}

static void answer(struct fm_request *request, const struct fm_error *chains)
{
    struct fm_call *call = request->call;
    if (call->error || chains->code) {
        fm_invoke_failed(request, chains);
        return;
    }
    fm_answer_bytes(request, MHD_HTTP_OK, FM_TYPE_BYTES, call->output.data, call->output.length);
    fm_invoke_headers(request, call);
}

static void free_call(struct fm_request *request)
{
    fm_sched_call_free(request->http->config.sched, request->call);
    request->call = NULL;
}

/* All that follows from the call is on disk, or never will be. */
static void complete(struct fm_request *request, const struct fm_queue_chains *chains)
{
    static const struct fm_error none;
    fm_sched_remember(request->http->config.sched, request->call, chains ? &chains->error : NULL,
                      chains ? chains->children : NULL, chains ? chains->children_count : 0);
    fm_under_way_end(request->http->config.under_way, &request->under_way);
    request->call->input = NULL; /* read for the last time */
    fm_request_forget_body(request);
    if (!request->client) {
        free_call(request);
        fm_request_free(request);
        return;
    }
    if (request->phase == FM_REQUEST_CLOSE)
        return; /* leave() is about to come */
    if (request->suspended && request->hung_up) {
        fm_request_close(request);
        return;
    }
    answer(request, chains ? &chains->error : &none);
    if (request->suspended)
        fm_request_wake(request);
}

static void on_call_done(struct fm_call *call)
{
    struct fm_request *request = call->owner;
    request->call_ended = true;
    if (fm_chaining_needed(call))
        fm_chaining_start(request, complete);
    else
        complete(request, NULL);
}

/* `?coredump=1`: a dump of this call, if it fails.  The rest of a query is the caller's own. */
static bool asks_for_dump(struct fm_request *request)
{
    char *query = (char *)request->query.data;
    char *rest = NULL;
    for (char *one = strtok_r(query, "&", &rest); one; one = strtok_r(NULL, "&", &rest))
        if (strcmp(one, "coredump=1") == 0)
            return true;
    return false;
}

/* --- the handler ------------------------------------------------------------------------------ */

static void run(struct fm_request *request)
{
    struct fm_sched *sched = request->http->config.sched;
    struct fm_function *function = NULL;
    int failed = fm_invoke_find(request, &function);
    if (!failed)
        failed = check_input(request, request->body.length, function);
    if (!failed)
        failed = fm_sched_call_new(sched, function, &request->call);
    if (failed) {
        fm_answer_failed(request, failed);
        return;
    }
    struct fm_call *call = request->call;
    call->principal = request->principal;
    call->input = request->body.data;
    call->input_bytes = request->body.length;
    call->owner = request;
    call->on_done = on_call_done;
    if (FM_UNLIKELY(request->query.length > 0) && asks_for_dump(request))
        call->limits.coredump_bytes = fm_max_u64(call->limits.coredump_bytes, FM_DUMP_ASKED_BYTES);
    if (fm_sched_submit(sched, call) == FM_SUBMIT_LATER)
        fm_under_way_begin(request->http->config.under_way, &request->under_way, call);
    else
        on_call_done(call);
    if (!request->call_ended || request->chaining)
        fm_request_wait(request, true);
}

static void cancel(struct fm_request *request)
{
    if (request->chaining)
        fm_request_close(request); /* its chained calls are accepted all the same */
    else
        fm_sched_cancel(request->http->config.sched, request->call, FM_ERR_CANCELLED);
}

static bool leave(struct fm_request *request)
{
    if (!request->call)
        return true;
    if (!request->call_ended) {
        cancel(request); /* complete() frees both, perhaps already has */
        return false;
    }
    if (request->chaining)
        return false; /* the same, later */
    free_call(request);
    return true;
}

const struct fm_handler fm_invoke_handler = {
    .intake = FM_INTAKE_KEEP,
    .begin = fm_invoke_begin,
    .run = run,
    .cancel = cancel,
    .leave = leave,
};
