/* record.c - a call as plain data: copied, freed, and its status and error as texts.
 *
 * A record is read from a disk that another version may have written.  So what stands for an error
 * there is neither its number (which moves when the table in base/error.h gets a line) nor its code
 * in an HTTP problem (which two errors can share), but a text of its own that never changes.
 *
 * No state; one thread at a time. */
#include "call/record.h"

#include <stdlib.h>
#include <string.h>

static const char *const status_texts[FM_STATUS_COUNT_] = {
    [FM_STATUS_QUEUED] = "queued",       [FM_STATUS_RUNNING] = "running",
    [FM_STATUS_SUCCEEDED] = "succeeded", [FM_STATUS_FAILED] = "failed",
    [FM_STATUS_CANCELLED] = "cancelled", [FM_STATUS_DEAD] = "dead",
};

/* On disk: lines are added, none is ever changed. */
static const struct {
    int error;
    const char *text;
} error_texts[] = {
    {FM_ERR_NOMEM, "out_of_memory"},
    {FM_ERR_BUSY, "busy"},
    {FM_ERR_QUOTA, "quota"},
    {FM_ERR_TOO_LARGE, "too_large"},
    {FM_ERR_BAD_REQUEST, "bad_request"},
    {FM_ERR_BAD_NAME, "bad_name"},
    {FM_ERR_BAD_MODULE, "bad_module"},
    {FM_ERR_UNSUPPORTED_MODULE, "unsupported_module"},
    {FM_ERR_UNAUTHORIZED, "unauthorized"},
    {FM_ERR_FORBIDDEN, "forbidden"},
    {FM_ERR_NOT_FOUND, "not_found"},
    {FM_ERR_METHOD_NOT_ALLOWED, "method_not_allowed"},
    {FM_ERR_CONFLICT, "conflict"},
    {FM_ERR_CANCELLED, "cancelled"},
    {FM_ERR_GUEST_EXIT, "guest_exit"},
    {FM_ERR_GUEST_TRAP, "guest_trap"},
    {FM_ERR_GUEST_LIMIT, "guest_limit"},
    {FM_ERR_DEADLINE, "deadline"},
    {FM_ERR_CHAIN_TARGET, "chain_target"},
    {FM_ERR_STORAGE_FULL, "storage_full"},
    {FM_ERR_IO, "io"},
    {FM_ERR_INTERNAL, "internal"},
    {FM_ERR_BAD_RESPONSE, "bad_response"},
};

const char *fm_call_status_text(enum fm_call_status status)
{
    FM_ASSERT(status < FM_STATUS_COUNT_);
    return status_texts[status];
}

bool fm_call_status_ended(enum fm_call_status status)
{
    return status != FM_STATUS_QUEUED && status != FM_STATUS_RUNNING;
}

int fm_call_status_parse(const char *text, size_t length, enum fm_call_status *ret_status)
{
    for (size_t i = 0; i < FM_ARRAY_LENGTH(status_texts); i++) {
        if (strlen(status_texts[i]) == length && memcmp(status_texts[i], text, length) == 0) {
            *ret_status = (enum fm_call_status)i;
            return 0;
        }
    }
    return FM_ERR_BAD_REQUEST;
}

const char *fm_call_error_text(int error)
{
    if (error == 0)
        return "";
    for (size_t i = 0; i < FM_ARRAY_LENGTH(error_texts); i++) {
        if (error_texts[i].error == error)
            return error_texts[i].text;
    }
    return "internal";
}

int fm_call_error_parse(const char *text, const char *code)
{
    if (text[0] == '\0')
        return 0;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(error_texts); i++) {
        if (strcmp(error_texts[i].text, text) == 0)
            return error_texts[i].error;
    }
    for (size_t i = 0; code && i < FM_ARRAY_LENGTH(error_texts); i++) {
        if (strcmp(fm_err_code(error_texts[i].error), code) == 0)
            return error_texts[i].error;
    }
    return FM_ERR_INTERNAL;
}

/* --- records ---------------------------------------------------------------------------------- */

void fm_call_record_done(struct fm_call_record *record)
{
    free(record->user);
    free(record->function);
    free(record->version);
    free(record->key);
    free(record->children);
    free(record->limit);
    free(record->trap);
    free(record->detail);
    free(record->backtrace);
    *record = (struct fm_call_record){0};
}

static bool copy_text(const char *from, char **ret_to)
{
    *ret_to = from ? strdup(from) : NULL;
    return *ret_to || !from;
}

int fm_call_record_copy(const struct fm_call_record *record, struct fm_call_record *ret_record)
{
    struct fm_call_record copy = *record;
    bool copied = copy_text(record->user, &copy.user);
    copied &= copy_text(record->function, &copy.function);
    copied &= copy_text(record->version, &copy.version);
    copied &= copy_text(record->key, &copy.key);
    copied &= copy_text(record->limit, &copy.limit);
    copied &= copy_text(record->trap, &copy.trap);
    copied &= copy_text(record->detail, &copy.detail);
    copied &= copy_text(record->backtrace, &copy.backtrace);
    copy.children = NULL;
    if (record->children_count > 0) {
        copy.children = calloc(record->children_count, sizeof(*copy.children));
        copied &= copy.children != NULL;
        if (copy.children)
            memcpy(copy.children, record->children,
                   record->children_count * sizeof(*copy.children));
    }
    if (!copied) {
        fm_call_record_done(&copy);
        return FM_ERR_NOMEM;
    }
    *ret_record = copy;
    return 0;
}
