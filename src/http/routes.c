/* routes.c - the table of the interface: path and method to handler.
 *
 * A handful of rows, compared one after the other: the first segment decides, and the hottest row
 * stands first.  Discarded: a hash or a tree of routes, which would be slower for so few.
 *
 * HEAD is GET whose body the library leaves out; OPTIONS is answered from this table.  Where a
 * function is the web page, all methods are its own. */
#include "http/routes.h"

#include <stdio.h>
#include <string.h>

enum method {
    GET,
    PUT,
    POST,
    DELETE,
    PATCH,
    METHODS_COUNT, /* of those that a route can have */
    OPTIONS = METHODS_COUNT,
    OTHER,
};

#define ANY_MORE SIZE_MAX /* what follows is ignored: `curl -T` appends the file's name */

struct fm_route {
    const char *first; /* segment */
    size_t segments_min;
    size_t segments_max;
    const char *third; /* NULL: any */
    const struct fm_handler *handlers[METHODS_COUNT];
    const struct fm_handler *any; /* of every method, whatever its name; NULL: `handlers` */
};

static const struct fm_route routes[] = {
    {.first = "f",
     .segments_min = 3,
     .segments_max = ANY_MORE,
     .handlers = {[POST] = &fm_invoke_handler,
                  [PUT] = &fm_put_handler,
                  [GET] = &fm_function_get_handler,
                  [DELETE] = &fm_function_delete_handler,
                  [PATCH] = &fm_function_patch_handler}},
    {.first = "h", .segments_min = 3, .segments_max = ANY_MORE, .any = &fm_web_handler},
    {.first = "fa",
     .segments_min = 3,
     .segments_max = ANY_MORE,
     .handlers = {[POST] = &fm_async_handler}},
    {.first = "f",
     .segments_min = 2,
     .segments_max = 2,
     .handlers = {[GET] = &fm_function_list_handler}},
    {.first = "calls",
     .segments_min = 1,
     .segments_max = 1,
     .handlers = {[GET] = &fm_call_list_handler}},
    {.first = "calls",
     .segments_min = 2,
     .segments_max = 2,
     .handlers = {[GET] = &fm_call_get_handler, [DELETE] = &fm_call_delete_handler}},
    {.first = "calls",
     .segments_min = 3,
     .segments_max = 3,
     .third = "output",
     .handlers = {[GET] = &fm_call_output_handler}},
    {.first = "calls",
     .segments_min = 3,
     .segments_max = 3,
     .third = "log",
     .handlers = {[GET] = &fm_call_log_handler}},
    {.first = "calls",
     .segments_min = 3,
     .segments_max = 3,
     .third = "coredump",
     .handlers = {[GET] = &fm_call_coredump_handler}},
    {.first = "calls",
     .segments_min = 3,
     .segments_max = 3,
     .third = "redrive",
     .handlers = {[POST] = &fm_call_redrive_handler}},
    {.first = "users",
     .segments_min = 2,
     .segments_max = 2,
     .handlers = {[GET] = &fm_user_get_handler, [PATCH] = &fm_user_patch_handler}},
    {.first = "files",
     .segments_min = 3,
     .segments_max = ANY_MORE,
     .handlers = {[PUT] = &fm_file_put_handler,
                  [GET] = &fm_file_get_handler,
                  [DELETE] = &fm_file_delete_handler}},
    {.first = "files",
     .segments_min = 2,
     .segments_max = 2,
     .handlers = {[GET] = &fm_file_get_handler, [DELETE] = &fm_file_delete_handler}},
    {.first = "healthz",
     .segments_min = 1,
     .segments_max = 1,
     .handlers = {[GET] = &fm_health_handler}},
    {.first = "readyz",
     .segments_min = 1,
     .segments_max = 1,
     .handlers = {[GET] = &fm_ready_handler}},
    {.first = "metrics",
     .segments_min = 1,
     .segments_max = 1,
     .handlers = {[GET] = &fm_metrics_handler}},
};

static const char *const method_names[METHODS_COUNT] = {
    [GET] = "GET", [PUT] = "PUT", [POST] = "POST", [DELETE] = "DELETE", [PATCH] = "PATCH",
};

static enum method parse_method(const char *name)
{
    for (size_t i = 0; i < METHODS_COUNT; i++)
        if (strcmp(name, method_names[i]) == 0)
            return (enum method)i;
    if (strcmp(name, "HEAD") == 0)
        return GET;
    return strcmp(name, "OPTIONS") == 0 ? OPTIONS : OTHER;
}

static bool is(const struct fm_segment *segment, const char *name)
{
    return !segment->fault && strcmp(segment->text, name) == 0;
}

static bool matches(const struct fm_route *route, const struct fm_target *target)
{
    if (target->count < route->segments_min || target->count > route->segments_max)
        return false;
    return is(&target->segments[0], route->first) &&
           (!route->third || is(&target->segments[2], route->third));
}

/* What no route has is a slip of the pen (404); but an escape that hides a slash or a NUL, or is
 * none, was a mistake wherever it stands. */
static int nothing_found(struct fm_request *request)
{
    const struct fm_target *target = &request->target;
    for (size_t i = 0; i < target->count && i < FM_TARGET_SEGMENTS_MAX; i++)
        if (target->segments[i].deceptive)
            return fm_target_name(target, i, "path", &request->error);
    return fm_error_set(&request->error, FM_ERR_NOT_FOUND, "there is nothing at this path");
}

int fm_route_find(struct fm_request *request, const char *method)
{
    const struct fm_target *target = &request->target;
    enum method wanted = parse_method(method);
    request->head = wanted == GET && method[0] == 'H';
    for (size_t i = 0; i < FM_ARRAY_LENGTH(routes) && !request->route; i++)
        if (matches(&routes[i], target))
            request->route = &routes[i];
    if (!request->route && !target->asterisk)
        return nothing_found(request);
    if (request->route && request->route->any) {
        request->handler = request->route->any;
        return 0;
    }
    if (wanted == OPTIONS) {
        request->handler = &fm_options_handler;
        return 0;
    }
    if (!request->route)
        return fm_error_set(&request->error, FM_ERR_BAD_REQUEST,
                            "only OPTIONS knows the target '*'");
    if (wanted < METHODS_COUNT)
        request->handler = request->route->handlers[wanted];
    if (request->handler)
        return 0;
    char allow[FM_ALLOW_SIZE];
    fm_route_allow(request->route, allow);
    return fm_error_set(&request->error, FM_ERR_METHOD_NOT_ALLOWED,
                        "the method %.32s is not allowed here; there are %s", method, allow);
}

void fm_route_allow(const struct fm_route *route, char text[FM_ALLOW_SIZE])
{
    int length = 0;
    for (size_t i = 0; i < METHODS_COUNT; i++) {
        if (route && !route->handlers[i])
            continue;
        length += snprintf(text + length, FM_ALLOW_SIZE - (size_t)length, "%s%s, ", method_names[i],
                           i == GET ? ", HEAD" : "");
    }
    (void)snprintf(text + length, FM_ALLOW_SIZE - (size_t)length, "OPTIONS"); /* 49 bytes at most */
}

/* --- OPTIONS ---------------------------------------------------------------------------------- */

static void run_options(struct fm_request *request)
{
    char allow[FM_ALLOW_SIZE];
    fm_route_allow(request->route, allow);
    fm_answer_empty(request, MHD_HTTP_NO_CONTENT);
    fm_answer_header(request, MHD_HTTP_HEADER_ALLOW, allow);
}

const struct fm_handler fm_options_handler = {.run = run_options};
