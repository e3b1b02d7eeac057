/* patch.c - what all merge patches have in common: their type, their size, and that they are JSON.
 *
 * application/json is accepted too: it is what many clients send for any JSON, and nothing else
 * could be meant.
 *
 * No state; the worker's thread. */
#include "http/patch.h"

#include <string.h>

static bool is_patch_type(struct fm_request *request)
{
    static const char *const types[] = {"application/merge-patch+json", "application/json"};
    const char *type = MHD_lookup_connection_value(request->client->connection, MHD_HEADER_KIND,
                                                   MHD_HTTP_HEADER_CONTENT_TYPE);
    for (size_t i = 0; type && i < FM_ARRAY_LENGTH(types); i++) {
        size_t length = strlen(types[i]);
        if (strncasecmp(type, types[i], length) == 0 && strchr("; \t", type[length]))
            return true; /* also at the end: strchr() finds the NUL */
    }
    return false;
}

int fm_patch_begin(struct fm_request *request)
{
    request->body.length_max = FM_HTTP_SMALL_BODY_BYTES;
    if (!is_patch_type(request))
        return fm_error_set(&request->error, FM_ERR_BAD_REQUEST,
                            "Content-Type: application/merge-patch+json is needed");
    if (request->content_length > FM_HTTP_SMALL_BODY_BYTES)
        return fm_error_set(&request->error, FM_ERR_TOO_LARGE, "the body is over %llu bytes",
                            (unsigned long long)FM_HTTP_SMALL_BODY_BYTES);
    return 0;
}

int fm_patch_parse(const struct fm_buffer *body, json_t **ret_patch, struct fm_error *error)
{
    json_error_t why = {0};
    const char *text = body->length > 0 ? (const char *)body->data : "";
    json_auto_t *patch = json_loadb(text, body->length, JSON_REJECT_DUPLICATES, &why);
    if (patch && !json_is_object(patch))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "the body is not a JSON object");
    if (!patch && (why.text[0] == '\0' || json_error_code(&why) == json_error_out_of_memory))
        return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    if (!patch)
        return fm_error_set(error, FM_ERR_BAD_REQUEST,
                            "the body is not JSON: line %d, column %d: %s", why.line, why.column,
                            why.text);
    *ret_patch = json_incref(patch);
    return 0;
}
