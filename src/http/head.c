/* head.c - what the headers say about the body that follows.
 *
 * The library has parsed them, and is lenient: it takes the first of two lengths, prefers chunks to
 * a length, and reads a coding that it does not know until the connection ends.  Each of these
 * could be read in another way by a proxy in front of us, which then takes for a body what is a
 * request here, or the reverse (RFC 9112, 11.2).  So they are refused, and the connection closed.
 *
 * All headers are looked at in one walk; there are few, and looking one up is a walk too.
 *
 * Threading: the worker's. */
#include "http/head.h"

#include <string.h>
#include <strings.h>

#define NOTE_BYTES 64 /* that the library keeps about each header */

static bool parse_length(const char *text, uint64_t *ret_length)
{
    uint64_t length = 0;
    for (const char *c = text; *c; c++) {
        if (*c < '0' || *c > '9' || length > UINT64_MAX / 10 - 1)
            return false;
        length = length * 10 + (uint64_t)(*c - '0');
    }
    *ret_length = length;
    return text[0] != '\0';
}

static void note_length(struct fm_request *request, const char *value)
{
    uint64_t length = 0;
    if (!parse_length(value, &length))
        request->broken = "the header Content-Length is no number";
    else if (request->has_length && length != request->content_length)
        request->broken = "two headers Content-Length differ";
    request->has_length = true;
    request->content_length = length;
}

static void note_coding(struct fm_request *request, const char *value)
{
    if (request->chunked)
        request->broken = "there are two headers Transfer-Encoding";
    else if (strcasecmp(value, "chunked") != 0)
        request->broken = "the only Transfer-Encoding known here is 'chunked'";
    request->chunked = true;
}

/* A copy, and a note about each. */
static void note_cookies(struct fm_request *request, const char *value)
{
    request->head_bytes += strlen(value) + NOTE_BYTES;
    for (const char *c = value; *c; c++)
        request->head_bytes += *c == ';' ? NOTE_BYTES : 0;
}

/* Called by the library for each header. */
static enum MHD_Result note_header(void *data, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    (void)kind;
    struct fm_request *request = data;
    const char *text = value ? value : "";
    request->head_bytes += NOTE_BYTES;
    switch (name[0] | 0x20) { /* most headers are none of these */
    case 'c':
        if (strcasecmp(name, MHD_HTTP_HEADER_COOKIE) == 0)
            note_cookies(request, text);
        if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0)
            note_length(request, text);
        break;
    case 't':
        if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0)
            note_coding(request, text);
        break;
    case 'e':
        if (strcasecmp(name, MHD_HTTP_HEADER_EXPECT) == 0)
            request->expects = strcasecmp(text, "100-continue") == 0;
        break;
    }
    return MHD_YES;
}

/* A NUL in the request line ends the text that we were given, but not the target: it shows in where
 * the library found what comes behind. */
static bool holds_nul(const struct fm_request *request, const char *version)
{
    const char *end = request->raw_target + request->raw_length;
    return version[0] != '\0' && end + 1 != version;
}

int fm_head_check(struct fm_request *request, const char *version)
{
    struct MHD_Connection *connection = request->client->connection;
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, note_header, request);
    if (request->chunked && request->has_length)
        request->broken = "there is both a Content-Length and a Transfer-Encoding";
    if (request->broken)
        return fm_error_set(&request->error, FM_ERR_BAD_REQUEST, "%s", request->broken);
    if (holds_nul(request, version))
        return fm_error_set(&request->error, FM_ERR_BAD_REQUEST, "a NUL in the request line");

    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    uint64_t bytes_max = request->http->config.header_bytes_max;
    if (info)
        request->head_bytes += info->header_size;
    if (info && info->header_size > bytes_max) {
        request->status = MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
        return fm_error_set(
            &request->error, FM_ERR_TOO_LARGE,
            "the request line and headers have %zu bytes, at most %llu are accepted",
            info->header_size, (unsigned long long)bytes_max);
    }
    return request->error.code; /* of the target, found earlier */
}
