/* configure.c - PATCH /f/<user>/<function>: other limits, environment and arguments.
 *
 * A patch has the form of what GET shows, with only what is to change; null goes back to the
 * default, or removes a variable (RFC 7396):
 *
 *      {"limits": {"cpu_ms": "2s", "retention_ms": null}, "env": {"LANG": "C"}, "args": ["-v"]}
 *
 * It is checked here as far as it stands alone, and applied to what is current by the deployer,
 * which makes a new version of it: patches of different things at once are all kept.  The answer
 * comes when every worker runs the new version.  The object that waits for that outlives its
 * client: what was asked for is done.  So how many there are at once has a bound of its own: the
 * pool that makes them is everybody's.
 *
 * Threading: the worker's; the change, and the JSON that its texts belong to, are left alone while
 * the deployer has them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "call/change.h"
#include "http/patch.h"
#include "http/routes.h"
#include "sched/deploy.h"

#define PLACE_SIZE 96 /* of a place in the patch, for a message; keys are cut */

struct fm_configuration {
    struct fm_deploy deploy;
    struct fm_change change;
    json_t *patch;         /* holds the texts of `change` */
    struct fm_arena arena; /* and this its lists */
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    bool done;
    char user[FM_NAME_LENGTH_MAX + 1];
    char function[FM_NAME_LENGTH_MAX + 1];
};

static void free_configuration(struct fm_configuration *configuration)
{
    fm_deploy_done(&configuration->deploy);
    fm_arena_done(&configuration->arena);
    json_decref(configuration->patch);
    free(configuration);
}

/* --- reading a patch -------------------------------------------------------------------------- */

static int bad(struct fm_error *error, const char *place, const char *reason)
{
    return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s: %s", place, reason);
}

static int out_of_memory(struct fm_error *error)
{
    return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
}

static int take_limit(struct fm_change *change, const char *key, const json_t *value,
                      struct fm_error *error)
{
    char place[PLACE_SIZE];
    struct fm_error cause = {0};
    uint64_t number = 0;
    int failed = 0;
    (void)snprintf(place, sizeof(place), "limits.%.64s", key);
    const struct fm_limit_row *row = fm_limit_row_find(key);
    if (!row)
        return bad(error, place, "there is no such limit");
    if (json_is_null(value)) {
        number = row->initial;
    } else if (json_is_string(value)) {
        failed = fm_limit_parse(row, json_string_value(value), &number, &cause);
    } else if (json_is_integer(value) && json_integer_value(value) >= 0) {
        number = (uint64_t)json_integer_value(value);
        failed = fm_limit_check(row, number, &cause);
    } else {
        return bad(error, place, "neither a whole number from 0, nor a text with a unit, nor null");
    }
    if (failed)
        return bad(error, place, cause.text);
    fm_change_limit(change, row, number);
    return 0;
}

static int take_limits(struct fm_change *change, json_t *limits, struct fm_error *error)
{
    const char *key = NULL;
    json_t *value = NULL;
    if (json_is_null(limits)) {
        for (size_t i = 0; i < fm_limit_rows_count; i++)
            fm_change_limit(change, &fm_limit_rows[i], fm_limit_rows[i].initial);
        return 0;
    }
    if (!json_is_object(limits))
        return bad(error, "limits", "neither an object nor null");
    json_object_foreach(limits, key, value)
    {
        int failed = take_limit(change, key, value, error);
        if (failed)
            return failed;
    }
    return 0;
}

/* JSON that was read holds no NUL: what C sees of a text is all of it. */
static int take_variable(const char *key, const json_t *value,
                         struct fm_change_variable *ret_variable, struct fm_error *error)
{
    char place[PLACE_SIZE];
    (void)snprintf(place, sizeof(place), "env.%.64s", key);
    if (key[0] == '\0' || strchr(key, '='))
        return bad(error, place, "not a name of an environment variable");
    if (!json_is_string(value) && !json_is_null(value))
        return bad(error, place, "neither a text nor null");
    *ret_variable = (struct fm_change_variable){key, json_string_value(value)};
    return 0;
}

static int take_env(struct fm_configuration *configuration, json_t *env, struct fm_error *error)
{
    struct fm_change *change = &configuration->change;
    const char *key = NULL;
    json_t *value = NULL;
    if (json_is_null(env)) {
        change->env_cleared = true;
        return 0;
    }
    if (!json_is_object(env))
        return bad(error, "env", "neither an object nor null");
    size_t count = json_object_size(env);
    if (count > FM_FUNCTION_VARIABLES_MAX)
        return fm_error_set(error, FM_ERR_TOO_LARGE,
                            "env: %zu variables, at most %d can be changed at once", count,
                            FM_FUNCTION_VARIABLES_MAX);
    struct fm_change_variable *variables =
        fm_arena_alloc(&configuration->arena, count * sizeof(*variables));
    if (!variables)
        return out_of_memory(error);
    count = 0;
    json_object_foreach(env, key, value)
    {
        int failed = take_variable(key, value, &variables[count], error);
        if (failed)
            return failed;
        count++;
    }
    change->env = variables;
    change->env_count = count;
    return 0;
}

static int take_args(struct fm_configuration *configuration, const json_t *args,
                     struct fm_error *error)
{
    struct fm_change *change = &configuration->change;
    size_t count = json_array_size(args); /* 0 of what is none */
    if (!json_is_array(args) && !json_is_null(args))
        return bad(error, "args", "neither an array nor null");
    const char **texts = fm_arena_alloc(&configuration->arena, (count + 1) * sizeof(*texts));
    if (!texts)
        return out_of_memory(error);
    for (size_t i = 0; i < count; i++) {
        texts[i] = json_string_value(json_array_get(args, i));
        if (!texts[i])
            return fm_error_set(error, FM_ERR_BAD_REQUEST, "args[%zu]: not a text", i);
    }
    texts[count] = NULL;
    change->args_given = true;
    change->args = texts;
    change->args_count = count;
    return 0;
}

static int take_patch(struct fm_configuration *configuration, struct fm_error *error)
{
    const char *key = NULL;
    json_t *value = NULL;
    json_object_foreach(configuration->patch, key, value)
    {
        int failed = 0;
        if (strcmp(key, "limits") == 0)
            failed = take_limits(&configuration->change, value, error);
        else if (strcmp(key, "env") == 0)
            failed = take_env(configuration, value, error);
        else if (strcmp(key, "args") == 0)
            failed = take_args(configuration, value, error);
        else
            failed = fm_error_set(error, FM_ERR_BAD_REQUEST,
                                  "%.64s: cannot be changed; there are limits, env and args", key);
        if (failed)
            return failed;
    }
    return 0;
}

/* --- changing --------------------------------------------------------------------------------- */

static void on_configured(struct fm_deploy *deploy)
{
    struct fm_configuration *configuration =
        FM_CONTAINER_OF(deploy, struct fm_configuration, deploy);
    struct fm_request *request = configuration->request;
    configuration->done = true;
    configuration->http->configurations--;
    configuration->http->counts.operations--;
    if (!deploy->error.code)
        fm_log(FM_LOG_INFO, "configured", "user", configuration->user, "function",
               configuration->function, "version", deploy->version->id, NULL);
    if (!request) {
        free_configuration(configuration);
        return;
    }
    if (deploy->error.code)
        fm_answer_error(request, &deploy->error);
    else
        fm_function_answer(request, MHD_HTTP_OK, deploy->version);
    fm_request_wake(request);
}

static int begin(struct fm_request *request)
{
    int failed = fm_invoke_names(request);
    if (!failed)
        failed = fm_request_no_query(request);
    return failed ? failed : fm_patch_begin(request);
}

/* Hands it over to the deployer.  FM_ERR_BAD_REQUEST, FM_ERR_TOO_LARGE, FM_ERR_NOMEM, FM_ERR_BUSY.
 */
static int start(struct fm_configuration *configuration)
{
    struct fm_request *request = configuration->request;
    struct fm_http *http = configuration->http;
    struct fm_deploy *deploy = &configuration->deploy;
    int failed = fm_patch_parse(&request->body, &configuration->patch, &request->error);
    if (!failed)
        failed = take_patch(configuration, &request->error);
    if (failed)
        return failed;
    deploy->change = &configuration->change;
    deploy->wanted.user = configuration->user;
    deploy->wanted.function = configuration->function;
    deploy->on_done = on_configured;
    return fm_deploy_start(http->config.deployer, deploy, fm_loop_mailbox(http->config.loop));
}

/* As above, and FM_ERR_NOT_FOUND. */
static int make(struct fm_request *request)
{
    struct fm_http *http = request->http;
    struct fm_function *function = NULL;
    int failed = fm_invoke_find(request, &function);
    if (failed)
        return failed;
    if (http->configurations == FM_HTTP_CONFIGURATIONS_MAX)
        return fm_error_set(&request->error, FM_ERR_BUSY,
                            "too many functions are being changed, try again later");
    struct fm_configuration *configuration = calloc(1, sizeof(*configuration));
    if (!configuration)
        return FM_ERR_NOMEM;
    fm_arena_init(&configuration->arena, FM_MIB); /* more than lists of 64 KiB of JSON take */
    memcpy(configuration->user, request->target.segments[1].text, sizeof(configuration->user));
    memcpy(configuration->function, request->target.segments[2].text,
           sizeof(configuration->function));
    configuration->http = http;
    configuration->request = request;
    failed = start(configuration);
    if (failed) {
        free_configuration(configuration);
        return failed;
    }
    request->configuration = configuration;
    http->configurations++;
    http->counts.operations++;
    return 0;
}

static void run(struct fm_request *request)
{
    int failed = make(request);
    if (!failed) {
        fm_request_wait(request, false);
        return;
    }
    fm_answer_failed(request, failed);
}

static bool leave(struct fm_request *request)
{
    struct fm_configuration *configuration = request->configuration;
    if (!configuration)
        return true;
    request->configuration = NULL;
    configuration->request = NULL;
    if (configuration->done)
        free_configuration(configuration);
    return true;
}

const struct fm_handler fm_function_patch_handler = {
    .intake = FM_INTAKE_KEEP,
    .begin = begin,
    .run = run,
    .leave = leave,
};
