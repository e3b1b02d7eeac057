/* calls_list.c - GET /calls: what is on disk and what memory has, as one list, the latest first.
 *
 *      memory (all workers): up to `limit` --+
 *                                            +--> merged by id --> the first `limit` --> page
 *      disk: up to `limit`, and `next` ------+
 *
 * A call is in one of the two: asynchronous ones on disk, synchronous ones in memory.  The disk may
 * stop before it has found enough and say where (`next`): what memory has beyond that belongs to
 * the page that follows.
 *
 * Threading: the worker's. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/name.h"
#include "http/record_json.h"
#include "http/routes.h"
#include "queue/ask.h"

#define LIMIT_DEFAULT 100

struct fm_listing {
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    bool asking;                /* somebody works for it */
    unsigned seen;              /* parameters, a bit each */
    char user[FM_NAME_LENGTH_MAX + 1];
    char function[FM_NAME_LENGTH_MAX + 1];
    struct fm_calls_list disk;
    struct fm_queue_list memory;
};

static void free_listing(struct fm_listing *listing)
{
    fm_calls_list_done(&listing->disk);
    fm_queue_list_done(&listing->memory);
    free(listing);
}

/* --- parameters ------------------------------------------------------------------------------- */

static int bad(struct fm_request *request, const struct fm_parameter *parameter, const char *fault)
{
    return fm_error_set(&request->error, FM_ERR_BAD_REQUEST,
                        "parameter '%s': %s, at byte %zu of the query", parameter->name, fault,
                        parameter->position);
}

static int take_name(struct fm_request *request, const struct fm_parameter *parameter, char *name,
                     const char **ret_name)
{
    size_t length = strlen(parameter->value);
    if (!fm_name_valid(parameter->value, length))
        return bad(request, parameter, "not a name");
    memcpy(name, parameter->value, length + 1);
    *ret_name = name;
    return 0;
}

static int take_limit(struct fm_request *request, const struct fm_parameter *parameter)
{
    uint64_t limit = 0;
    if (fm_units_parse(parameter->value, FM_UNIT_NONE, &limit) != 0 || limit < 1 ||
        limit > FM_CALLS_LIST_MAX)
        return fm_error_set(&request->error, FM_ERR_BAD_REQUEST,
                            "parameter 'limit': not a number from 1 to %d, at byte %zu of the "
                            "query",
                            FM_CALLS_LIST_MAX, parameter->position);
    request->listing->memory.limit = (uint32_t)limit;
    return 0;
}

static int take(struct fm_request *request, const struct fm_parameter *parameter)
{
    static const char *const names[] = {"user", "function", "status", "limit", "after"};
    struct fm_listing *listing = request->listing;
    struct fm_recent_filter *filter = &listing->memory.filter;
    const char *value = parameter->value;
    unsigned which = 0;
    while (which < FM_ARRAY_LENGTH(names) && strcmp(names[which], parameter->name) != 0)
        which++;
    if (which == FM_ARRAY_LENGTH(names))
        return bad(request, parameter,
                   "there is no such parameter; there are user, function, status, limit and "
                   "after");
    if (listing->seen & 1u << which)
        return bad(request, parameter, "given twice");
    listing->seen |= 1u << which;
    switch (which) {
    case 0:
        return take_name(request, parameter, listing->user, &filter->user);
    case 1:
        return take_name(request, parameter, listing->function, &filter->function);
    case 2:
        filter->by_status = true;
        if (fm_call_status_parse(value, strlen(value), &filter->status) != 0)
            return bad(request, parameter,
                       "not a status of a call (queued, running, succeeded, failed, cancelled, "
                       "dead)");
        return 0;
    case 3:
        return take_limit(request, parameter);
    default:
        if (fm_id_parse(value, strlen(value), &filter->after) != 0)
            return bad(request, parameter, "not the id of a call");
        return 0;
    }
}

static int begin(struct fm_request *request)
{
    struct fm_listing *listing = calloc(1, sizeof(*listing));
    if (!listing)
        return fm_error_set(&request->error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    listing->http = request->http;
    listing->request = request;
    listing->memory.limit = LIMIT_DEFAULT;
    request->listing = listing;
    size_t cursor = 0;
    struct fm_parameter parameter;
    if (request->query.length == 0)
        return 0;
    while (fm_query_next((char *)request->query.data, &cursor, &parameter, &request->error)) {
        int failed = take(request, &parameter);
        if (failed)
            return failed;
    }
    return request->error.code;
}

/* --- the page --------------------------------------------------------------------------------- */

static bool older(const struct fm_id *a, const struct fm_id *b)
{
    return a->high != b->high ? a->high < b->high : a->low < b->low;
}

static int write_page(struct fm_listing *listing, struct fm_buffer *text)
{
    const struct fm_calls_list *disk = &listing->disk;
    const struct fm_queue_list *memory = &listing->memory;
    uint32_t limit = memory->limit;
    size_t in_memory = memory->records_count;
    while (!fm_id_none(disk->next) && in_memory > 0 &&
           older(&memory->records[in_memory - 1].id, &disk->next))
        in_memory--; /* for a later page */

    struct fm_json json;
    fm_json_init(&json, text);
    fm_json_begin(&json, NULL, '{');
    fm_json_begin(&json, "calls", '[');
    size_t d = 0;
    size_t m = 0;
    struct fm_id last = {0, 0};
    while (d + m < limit && (d < disk->records_count || m < in_memory)) {
        bool from_disk = m == in_memory || (d < disk->records_count &&
                                            older(&memory->records[m].id, &disk->records[d].id));
        const struct fm_call_record *record =
            from_disk ? &disk->records[d++] : &memory->records[m++];
        fm_record_json(&json, record, NULL);
        last = record->id;
    }
    fm_json_end(&json, ']');
    bool rest = d < disk->records_count || m < in_memory || in_memory == limit;
    struct fm_id next = rest ? last : disk->next;
    char id[FM_ID_TEXT_SIZE];
    fm_id_format(next, id);
    if (fm_id_none(next))
        fm_json_null(&json, "next");
    else
        fm_json_string(&json, "next", id);
    fm_json_end(&json, '}');
    return fm_json_done(&json);
}

/* --- asking ----------------------------------------------------------------------------------- */

static void over(struct fm_listing *listing, int error)
{
    struct fm_request *request = listing->request;
    listing->http->counts.operations--;
    listing->asking = false;
    if (!request) {
        free_listing(listing);
        return;
    }
    if (error) {
        (void)fm_error_set(&request->error, error, "%s", fm_err_meaning(error));
        fm_answer_error(request, &request->error);
    } else {
        fm_answer_text(request, MHD_HTTP_OK, FM_TYPE_JSON, write_page(listing, &request->text));
    }
    fm_request_wake(request);
}

static void on_disk(struct fm_calls_read *read)
{
    struct fm_calls_list *disk = FM_CONTAINER_OF(read, struct fm_calls_list, read);
    over(FM_CONTAINER_OF(disk, struct fm_listing, disk), read->error);
}

static void on_memory(struct fm_queue_list *memory)
{
    struct fm_listing *listing = FM_CONTAINER_OF(memory, struct fm_listing, memory);
    const struct fm_http_config *config = &listing->http->config;
    const struct fm_recent_filter *filter = &memory->filter;
    if (memory->error || !listing->request) {
        over(listing, memory->error);
        return;
    }
    listing->disk = (struct fm_calls_list){
        .read = {.on_done = on_disk},
        .user = filter->user,
        .function = filter->function,
        .by_status = filter->by_status,
        .status = filter->status,
        .limit = memory->limit,
        .after = filter->after,
    };
    fm_calls_list(config->calls, &listing->disk, fm_loop_mailbox(config->loop));
}

static void run(struct fm_request *request)
{
    struct fm_listing *listing = request->listing;
    listing->asking = true;
    listing->memory.on_answer = on_memory;
    request->http->counts.operations++;
    fm_queue_list(request->http->config.queue, &listing->memory);
    fm_request_wait(request, false);
}

static bool leave(struct fm_request *request)
{
    struct fm_listing *listing = request->listing;
    if (!listing)
        return true;
    request->listing = NULL;
    listing->request = NULL;
    if (!listing->asking)
        free_listing(listing);
    return true;
}

const struct fm_handler fm_call_list_handler = {
    .begin = begin,
    .run = run,
    .leave = leave,
};
