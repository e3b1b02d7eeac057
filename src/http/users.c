/* users.c - GET and PATCH /users/<user>: weight, quotas and use of a user.
 *
 * A patch has the form of what GET shows, with only what is to change; null goes back to what the
 * configuration says (RFC 7396):
 *
 *      {"weight": 200, "quotas": {"concurrency": 50, "memory_bytes": "1GiB", "cpu_percent": null}}
 *
 * What a user's files take is read off their tree.  If that is not in memory the I/O pool reads it,
 * and the answer waits; if that fails the answer has null for it, and is good otherwise.
 *
 * It is checked as a whole before anything is done, kept by the pool, told to every worker, and
 * then answered.  The object that waits for that outlives its client: what was asked for is done.
 *
 * Threading: the worker's. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "files/tree.h"
#include "http/json.h"
#include "http/patch.h"
#include "http/routes.h"
#include "sched/users_change.h"
#include "store/user_trees.h"

#define WEIGHT "weight" /* the quota that stands beside the others, and not among them */

static const char *user_of(const struct fm_request *request)
{
    return request->target.segments[1].text;
}

/* --- showing ---------------------------------------------------------------------------------- */

static void write_quotas(struct fm_json *json, const struct fm_quotas *quotas)
{
    fm_json_number(json, WEIGHT, quotas->weight);
    fm_json_begin(json, "quotas", '{');
    for (size_t i = 0; i < fm_quota_rows_count; i++) {
        const struct fm_quota_row *row = &fm_quota_rows[i];
        if (strcmp(row->name, WEIGHT) != 0)
            fm_json_number(json, row->name, fm_quotas_value(quotas, row));
    }
    fm_json_end(json, '}');
}

/* `files` NULL: it is not known. */
static void write_files_use(struct fm_json *json, const struct fm_node *files)
{
    if (!files) {
        fm_json_null(json, "files_bytes");
        fm_json_null(json, "files_count");
        return;
    }
    fm_json_number(json, "files_bytes", fm_node_files_bytes(files));
    fm_json_number(json, "files_count", fm_node_files_count(files) + fm_node_folders_count(files));
}

static void write_use(struct fm_json *json, const struct fm_use *use, const struct fm_node *files)
{
    fm_json_begin(json, "use", '{');
    fm_json_number(json, "calls", use->calls);
    fm_json_number(json, "queued", use->queued);
    fm_json_number(json, "accepted", use->accepted);
    fm_json_number(json, "memory_bytes", use->memory_bytes);
    fm_json_number(json, "requests", use->requests);
    fm_json_number(json, "refused", use->refused);
    fm_json_number(json, "finished", use->finished);
    fm_json_number(json, "failed", use->failed);
    fm_json_number(json, "cpu_us", use->cpu_ns / FM_NS_PER_US);
    fm_json_number(json, "wall_us", use->wall_ns / FM_NS_PER_US);
    fm_json_number(json, "input_bytes", use->bytes_in);
    fm_json_number(json, "output_bytes", use->bytes_out);
    write_files_use(json, files);
    fm_json_end(json, '}');
}

static void answer_user(struct fm_request *request, const struct fm_node *files)
{
    struct fm_user_state state;
    fm_users_state(request->http->config.users, user_of(request), &state);
    struct fm_json json;
    fm_json_init(&json, &request->text);
    fm_json_begin(&json, NULL, '{');
    fm_json_string(&json, "name", user_of(request));
    write_quotas(&json, &state.quotas);
    write_use(&json, &state.use, files);
    fm_json_end(&json, '}');
    fm_answer_text(request, MHD_HTTP_OK, FM_TYPE_JSON, fm_json_done(&json));
}

struct fm_show {
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    struct fm_job job;
    bool working; /* the job is under way */
    char user[FM_NAME_LENGTH_MAX + 1];
    struct fm_user_tree tree;
};

static void free_show(struct fm_show *show)
{
    fm_node_release(show->tree.root);
    free(show);
}

/* On a thread of the pool. */
static void run_load(struct fm_job *job)
{
    struct fm_show *show = FM_CONTAINER_OF(job, struct fm_show, job);
    struct fm_error ignored = {0}; /* the answer says null then */
    (void)!fm_user_trees_load(show->http->config.trees, show->user, &show->tree, &ignored);
}

static void on_loaded(struct fm_job *job)
{
    struct fm_show *show = FM_CONTAINER_OF(job, struct fm_show, job);
    struct fm_request *request = show->request;
    show->working = false;
    show->http->counts.operations--;
    if (!request) {
        free_show(show);
        return;
    }
    answer_user(request, show->tree.root);
    fm_request_wake(request);
}

/* FM_ERR_NOMEM, FM_ERR_BUSY. */
static int start_load(struct fm_request *request)
{
    struct fm_http *http = request->http;
    struct fm_show *show = calloc(1, sizeof(*show));
    if (!show)
        return FM_ERR_NOMEM;
    show->http = http;
    show->request = request;
    memcpy(show->user, user_of(request), strlen(user_of(request)));
    show->job.run = run_load;
    show->job.on_done = on_loaded;
    int failed = fm_pool_submit(http->config.pool, &show->job, fm_loop_mailbox(http->config.loop));
    if (failed) {
        free(show);
        return failed;
    }
    show->working = true;
    http->counts.operations++;
    request->show = show;
    return 0;
}

/* True: it is answered.  False: it will be, and the request is to be put aside. */
static bool show_user(struct fm_request *request)
{
    struct fm_user_trees *trees = request->http->config.trees;
    struct fm_user_tree tree = {0};
    if (trees && !fm_user_trees_get(trees, user_of(request), &tree) && start_load(request) == 0)
        return false;
    answer_user(request, tree.root);
    fm_node_release(tree.root);
    return true;
}

static void run_get(struct fm_request *request)
{
    if (!show_user(request))
        fm_request_wait(request, false);
}

static bool leave_get(struct fm_request *request)
{
    struct fm_show *show = request->show;
    if (!show)
        return true;
    request->show = NULL;
    show->request = NULL;
    if (!show->working)
        free_show(show);
    return true;
}

static int begin_get(struct fm_request *request)
{
    int failed = fm_target_name(&request->target, 1, "user", &request->error);
    return failed ? failed : fm_request_no_query(request);
}

const struct fm_handler fm_user_get_handler = {
    .begin = begin_get, .run = run_get, .leave = leave_get};

/* --- reading a patch -------------------------------------------------------------------------- */

static int take_value(const struct fm_quota_row *row, const char *path, const json_t *value,
                      struct fm_users_change *change, struct fm_error *error)
{
    uint64_t number = 0;
    int failed = 0;
    struct fm_error cause = {0};
    if (json_is_null(value)) {
        fm_quota_set_put(&change->cleared, row, 0);
        return 0;
    }
    if (json_is_string(value)) {
        failed = fm_quota_parse(row, json_string_value(value), &number, &cause);
    } else if (json_is_integer(value) && json_integer_value(value) >= 0) {
        number = (uint64_t)json_integer_value(value);
        failed = fm_quota_check(row, number, &cause);
    } else {
        failed = fm_error_set(&cause, FM_ERR_BAD_REQUEST,
                              "neither a whole number from 0, nor a text with a unit, nor null");
    }
    if (failed)
        return fm_error_set(error, failed, "%s: %s", path, cause.text);
    fm_quota_set_put(&change->set, row, number);
    return 0;
}

static int take_quotas(json_t *quotas, struct fm_users_change *change, struct fm_error *error)
{
    const char *key = NULL;
    json_t *value = NULL;
    if (json_is_null(quotas)) {
        for (size_t i = 0; i < fm_quota_rows_count; i++)
            if (strcmp(fm_quota_rows[i].name, WEIGHT) != 0)
                fm_quota_set_put(&change->cleared, &fm_quota_rows[i], 0);
        return 0;
    }
    if (!json_is_object(quotas))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "quotas: neither an object nor null");
    json_object_foreach(quotas, key, value)
    {
        char path[96];
        (void)snprintf(path, sizeof(path), "quotas.%.64s", key);
        const struct fm_quota_row *row = fm_quota_row_find(key);
        if (!row || strcmp(key, WEIGHT) == 0)
            return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s: there is no such quota", path);
        int failed = take_value(row, path, value, change, error);
        if (failed)
            return failed;
    }
    return 0;
}

static int take_patch(json_t *patch, struct fm_users_change *change, struct fm_error *error)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(patch, key, value)
    {
        int failed = 0;
        if (strcmp(key, WEIGHT) == 0)
            failed = take_value(fm_quota_row_find(WEIGHT), WEIGHT, value, change, error);
        else if (strcmp(key, "quotas") == 0)
            failed = take_quotas(value, change, error);
        else
            failed = fm_error_set(error, FM_ERR_BAD_REQUEST,
                                  "%.64s: cannot be changed; there are weight and quotas", key);
        if (failed)
            return failed;
    }
    return 0;
}

static int parse_patch(const struct fm_buffer *body, struct fm_users_change *change,
                       struct fm_error *error)
{
    json_auto_t *patch = NULL;
    int failed = fm_patch_parse(body, &patch, error);
    return failed ? failed : take_patch(patch, change, error);
}

/* --- changing --------------------------------------------------------------------------------- */

struct fm_patch {
    struct fm_users_change change;
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    bool done;
};

static void on_changed(struct fm_users_change *change)
{
    struct fm_patch *patch = FM_CONTAINER_OF(change, struct fm_patch, change);
    struct fm_request *request = patch->request;
    patch->done = true;
    patch->http->counts.operations--;
    if (!change->error.code)
        fm_log(FM_LOG_INFO, "user_changed", "user", change->name, NULL);
    if (!request) {
        free(patch);
        return;
    }
    if (change->error.code)
        fm_answer_error(request, &change->error);
    else if (!show_user(request))
        return; /* it goes on waiting */
    fm_request_wake(request);
}

static int begin_patch(struct fm_request *request)
{
    int failed = begin_get(request);
    return failed ? failed : fm_patch_begin(request);
}

/* FM_ERR_BAD_REQUEST, FM_ERR_NOMEM, FM_ERR_BUSY. */
static int start_change(struct fm_request *request)
{
    struct fm_http *http = request->http;
    struct fm_patch *patch = calloc(1, sizeof(*patch));
    if (!patch)
        return FM_ERR_NOMEM;
    memcpy(patch->change.name, user_of(request), strlen(user_of(request)) + 1);
    patch->change.on_done = on_changed;
    patch->http = http;
    patch->request = request;
    int failed = parse_patch(&request->body, &patch->change, &request->error);
    if (!failed)
        failed = fm_users_change_start(http->config.users, &patch->change,
                                       fm_loop_mailbox(http->config.loop));
    if (failed) {
        free(patch);
        return failed;
    }
    request->patch = patch;
    http->counts.operations++;
    return 0;
}

static void run_patch(struct fm_request *request)
{
    int failed = start_change(request);
    if (!failed) {
        fm_request_wait(request, false);
        return;
    }
    fm_answer_failed(request, failed);
}

static bool leave_patch(struct fm_request *request)
{
    struct fm_patch *patch = request->patch;
    (void)leave_get(request); /* always true */
    if (!patch)
        return true;
    request->patch = NULL;
    patch->request = NULL;
    if (patch->done)
        free(patch);
    return true;
}

const struct fm_handler fm_user_patch_handler = {
    .intake = FM_INTAKE_KEEP,
    .begin = begin_patch,
    .run = run_patch,
    .leave = leave_patch,
};
