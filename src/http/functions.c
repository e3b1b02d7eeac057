/* functions.c - what is known of functions, and their removal.
 *
 * The metadata comes from the version that this worker would run now; the counts are this worker's
 * own.  A removal is a deployment of nothing: it is answered when no worker runs the function any
 * more, and the object that waits for it outlives its client.
 *
 * Threading: the worker's. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "http/routes.h"
#include "sched/deploy.h"
#include "sched/sched.h"
#include "store/meta.h"

/* --- JSON ------------------------------------------------------------------------------------- */

/* NULL: out of memory. */
static json_t *describe(const struct fm_version *version, const struct fm_function *function)
{
    uint64_t total = 0;
    uint64_t failed = 0;
    if (function) /* NULL: removed in this very moment */
        fm_function_counts(function, &total, &failed);
    json_t *json = fm_meta_to_json(version);
    json_t *calls =
        json_pack("{s:I, s:I}", "total", (json_int_t)total, "failed", (json_int_t)failed);
    if (json_object_set_new(json, "calls", calls) != 0) { /* NULL is an error; takes calls anyway */
        json_decref(json);
        return NULL;
    }
    return json;
}

static int append(const char *text, size_t length, void *data)
{
    return fm_buffer_append(data, text, length) == 0 ? 0 : -1;
}

/* Takes `json`; NULL: the connection is closed for want of memory. */
static void answer_json(struct fm_request *request, unsigned status, json_t *json)
{
    int failed = json ? json_dump_callback(json, append, &request->text, JSON_COMPACT) : -1;
    json_decref(json);
    if (!failed)
        failed = fm_buffer_append_text(&request->text, "\n");
    fm_answer_text(request, status, FM_TYPE_JSON, failed);
}

void fm_function_answer(struct fm_request *request, unsigned status,
                        const struct fm_version *version)
{
    struct fm_function *function =
        fm_sched_function(request->http->config.sched, version->user, strlen(version->user),
                          version->function, strlen(version->function));
    answer_json(request, status, describe(version, function));
}

/* --- one function ----------------------------------------------------------------------------- */

static int begin_get(struct fm_request *request)
{
    int failed = fm_invoke_names(request);
    return failed ? failed : fm_request_no_query(request);
}

static void run_get(struct fm_request *request)
{
    struct fm_function *function = NULL;
    if (fm_invoke_find(request, &function) != 0) {
        fm_answer_error(request, &request->error);
        return;
    }
    answer_json(request, MHD_HTTP_OK, describe(fm_function_version(function), function));
}

const struct fm_handler fm_function_get_handler = {.begin = begin_get, .run = run_get};

/* --- all of a user ---------------------------------------------------------------------------- */

struct list {
    const struct fm_function **functions; /* from malloc */
    size_t count;
    size_t capacity;
    bool failed;
};

static bool collect(const struct fm_function *function, void *data)
{
    struct list *list = data;
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? 2 * list->capacity : 64;
        const struct fm_function **functions =
            realloc(list->functions, capacity * sizeof(const struct fm_function *));
        if (!functions) {
            list->failed = true;
            return false;
        }
        list->functions = functions;
        list->capacity = capacity;
    }
    list->functions[list->count++] = function;
    return true;
}

static int by_name(const void *a, const void *b)
{
    const struct fm_function *const *first = a;
    const struct fm_function *const *second = b;
    return strcmp(fm_function_version(*first)->function, fm_function_version(*second)->function);
}

/* NULL: out of memory. */
static json_t *describe_all(const struct list *list)
{
    json_t *array = list->failed ? NULL : json_array();
    for (size_t i = 0; array && i < list->count; i++) {
        json_t *one = describe(fm_function_version(list->functions[i]), list->functions[i]);
        if (!one || json_array_append_new(array, one) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array ? json_pack("{s:o}", "functions", array) : NULL; /* frees it if it fails */
}

static int begin_list(struct fm_request *request)
{
    int failed = fm_target_name(&request->target, 1, "user", &request->error);
    return failed ? failed : fm_request_no_query(request);
}

static void run_list(struct fm_request *request)
{
    struct list list = {0};
    fm_sched_functions_each(request->http->config.sched, request->target.segments[1].text, collect,
                            &list);
    if (list.count > 1)
        qsort(list.functions, list.count, sizeof(const struct fm_function *), by_name);
    answer_json(request, MHD_HTTP_OK, describe_all(&list));
    free(list.functions);
}

const struct fm_handler fm_function_list_handler = {.begin = begin_list, .run = run_list};

/* --- removal ---------------------------------------------------------------------------------- */

struct fm_removal {
    struct fm_deploy deploy;
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    bool done;
    char user[FM_NAME_LENGTH_MAX + 1];
    char function[FM_NAME_LENGTH_MAX + 1];
};

static void on_removed(struct fm_deploy *deploy)
{
    struct fm_removal *removal = FM_CONTAINER_OF(deploy, struct fm_removal, deploy);
    struct fm_request *request = removal->request;
    removal->done = true;
    removal->http->counts.operations--;
    if (!deploy->error.code)
        fm_log(FM_LOG_INFO, "removed", "user", removal->user, "function", removal->function, NULL);
    if (!request) {
        free(removal);
        return;
    }
    if (deploy->error.code)
        fm_answer_error(request, &deploy->error);
    else
        fm_answer_empty(request, MHD_HTTP_NO_CONTENT);
    fm_request_wake(request);
}

/* FM_ERR_NOT_FOUND, FM_ERR_NOMEM, FM_ERR_BUSY. */
static int start_removal(struct fm_request *request)
{
    struct fm_http *http = request->http;
    struct fm_function *function = NULL;
    int failed = fm_invoke_find(request, &function);
    if (failed)
        return failed;
    struct fm_removal *removal = calloc(1, sizeof(*removal));
    if (!removal)
        return FM_ERR_NOMEM;
    memcpy(removal->user, request->target.segments[1].text, sizeof(removal->user));
    memcpy(removal->function, request->target.segments[2].text, sizeof(removal->function));
    removal->http = http;
    removal->request = request;
    removal->deploy.wanted.user = removal->user;
    removal->deploy.wanted.function = removal->function;
    removal->deploy.on_done = on_removed;
    failed = fm_deploy_start(http->config.deployer, &removal->deploy,
                             fm_loop_mailbox(http->config.loop));
    if (failed) {
        free(removal);
        return failed;
    }
    request->removal = removal;
    http->counts.operations++;
    return 0;
}

static void run_delete(struct fm_request *request)
{
    int failed = start_removal(request);
    if (!failed) {
        fm_request_wait(request, false);
        return;
    }
    fm_answer_failed(request, failed);
}

static bool leave_delete(struct fm_request *request)
{
    struct fm_removal *removal = request->removal;
    if (!removal)
        return true;
    request->removal = NULL;
    removal->request = NULL;
    if (removal->done)
        free(removal);
    return true;
}

const struct fm_handler fm_function_delete_handler = {
    .begin = begin_get,
    .run = run_delete,
    .leave = leave_delete,
};
