/* file_list.c - names of users and files in targets, and a folder as a page of JSON.
 *
 * A list is made from the tree, which is in memory and does not change: no disk, and nothing that
 * could move between two names.  The next page is of the tree of its own time.
 *
 * Threading: the worker's. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "files/tree.h"
#include "http/files.h"
#include "store/paths.h"

#define LIMIT_DEFAULT 100

int fm_files_check(struct fm_request *request, bool file)
{
    if (!request->http->config.trees)
        return fm_error_set(&request->error, FM_ERR_NOT_FOUND, "there are no files here");
    int failed = fm_target_name(&request->target, 1, "user", &request->error);
    if (failed)
        return failed;
    if (file && request->path_slash)
        return fm_error_set(&request->error, FM_ERR_BAD_NAME,
                            "bad path: the name of a file does not end in a slash");
    if (!file && request->path.length == 1)
        return 0;
    return fm_path_check(fm_files_path(request), &request->error);
}

/* --- parameters ------------------------------------------------------------------------------- */

static int bad(struct fm_request *request, const struct fm_parameter *parameter, const char *fault)
{
    return fm_error_set(&request->error, FM_ERR_BAD_REQUEST,
                        "parameter '%.64s': %s, at byte %zu of the query", parameter->name, fault,
                        parameter->position);
}

static int take(struct fm_request *request, const struct fm_parameter *parameter,
                struct fm_file_page *page)
{
    bool limit = strcmp(parameter->name, "limit") == 0;
    bool after = strcmp(parameter->name, "after") == 0;
    unsigned bit = limit ? 1 : 2;
    uint64_t number = 0;
    if (!limit && !after)
        return bad(request, parameter, "there is no such parameter; there are limit and after");
    if (page->seen & bit)
        return bad(request, parameter, "given twice");
    page->seen |= bit;
    if (limit) {
        if (fm_units_parse(parameter->value, FM_UNIT_NONE, &number) != 0 || number < 1 ||
            number > FM_FILES_LIST_MAX)
            return fm_error_set(&request->error, FM_ERR_BAD_REQUEST,
                                "parameter 'limit': not a number from 1 to %d, at byte %zu of the "
                                "query",
                                FM_FILES_LIST_MAX, parameter->position);
        page->limit = (uint32_t)number;
        return 0;
    }
    page->after = strdup(parameter->value);
    return page->after
               ? 0
               : fm_error_set(&request->error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
}

int fm_file_page_parse(struct fm_request *request, struct fm_file_page *page)
{
    size_t cursor = 0;
    struct fm_parameter parameter;
    page->limit = LIMIT_DEFAULT;
    if (request->query.length == 0)
        return 0;
    while (fm_query_next((char *)request->query.data, &cursor, &parameter, &request->error)) {
        int failed = take(request, &parameter, page);
        if (failed)
            return failed;
    }
    return request->error.code;
}

/* --- the page --------------------------------------------------------------------------------- */

static void write_node(struct fm_json *json, const struct fm_node *node)
{
    char time[FM_CLOCK_TEXT_SIZE];
    fm_clock_format(fm_node_modified_ns(node), time);
    fm_json_begin(json, NULL, '{');
    fm_json_string(json, "name", fm_node_name(node));
    fm_json_string(json, "type", fm_node_is_folder(node) ? "folder" : "file");
    fm_json_number(json, "bytes", fm_node_files_bytes(node));
    fm_json_string(json, "modified_at", time);
    fm_json_end(json, '}');
}

int fm_file_page_write(const struct fm_file_page *page, const struct fm_node *folder,
                       struct fm_buffer *text)
{
    size_t from = page->after ? fm_node_child_after(folder, page->after) : 0;
    size_t end = fm_node_children_count(folder);
    bool more = end - from > page->limit;
    struct fm_json json;
    if (more)
        end = from + page->limit;
    fm_json_init(&json, text);
    fm_json_begin(&json, NULL, '{');
    fm_json_begin(&json, "files", '[');
    for (size_t i = from; i < end; i++)
        write_node(&json, fm_node_child(folder, i));
    fm_json_end(&json, ']');
    if (more)
        fm_json_string(&json, "next", fm_node_name(fm_node_child(folder, end - 1)));
    else
        fm_json_null(&json, "next");
    fm_json_end(&json, '}');
    return fm_json_done(&json);
}
