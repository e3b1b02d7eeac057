/* cgi.c - a header block, line by line.
 *
 * Lines end in LF or CR LF; a CR elsewhere, or any other control character, is refused, and so are
 * lines that go on in the next one.  `Status` is a number from 200 to 599, with or without words;
 * without it a `Location` means 302, and all else 200.  What is a header otherwise is reply.c's.
 *
 * A block is small, so a line is copied together from its pieces and looked at as a whole. */
#include "http/cgi.h"

#include <string.h>

#define STATUS_FOUND 302

void fm_cgi_init(struct fm_cgi *cgi, struct fm_reply *reply)
{
    *cgi = (struct fm_cgi){.reply = reply};
    fm_buffer_init(&cgi->line, FM_WEB_HEAD_BYTES_MAX);
}

void fm_cgi_done(struct fm_cgi *cgi)
{
    fm_buffer_done(&cgi->line);
}

static int bad_line(const struct fm_cgi *cgi, struct fm_error *error, const char *what)
{
    return fm_error_set(error, FM_ERR_BAD_RESPONSE, "line %u of the function's header block: %s",
                        cgi->lines, what);
}

/* "404", "404 Not Found". */
static int take_status(struct fm_cgi *cgi, const char *value, size_t length, struct fm_error *error)
{
    uint32_t status = 0;
    size_t digits = 0;
    while (length > 0 && (value[0] == ' ' || value[0] == '\t')) {
        value++;
        length--;
    }
    while (digits < length && digits < 4 && value[digits] >= '0' && value[digits] <= '9')
        status = status * 10 + (uint32_t)(value[digits++] - '0');
    bool ends = digits == length || value[digits] == ' ' || value[digits] == '\t';
    if (cgi->reply->status)
        return bad_line(cgi, error, "there are two headers Status");
    if (digits != 3 || !ends || fm_reply_status(cgi->reply, status) != 0)
        return bad_line(cgi, error, "Status is no number from 200 to 599");
    for (size_t i = digits; i < length; i++)
        if ((unsigned char)value[i] < ' ' && value[i] != '\t')
            return bad_line(cgi, error, "the value of the header Status holds a control character");
    return 0;
}

static int take_line(struct fm_cgi *cgi, const char *line, size_t length, struct fm_error *error)
{
    const char *colon = memchr(line, ':', length);
    if (!colon)
        return bad_line(cgi, error,
                        "it is no header (a function's output begins with headers, `Name: value`, "
                        "and an empty line)");
    size_t name_length = (size_t)(colon - line);
    const char *value = colon + 1;
    size_t value_length = length - name_length - 1;
    if (fm_header_is(line, name_length, "status"))
        return take_status(cgi, value, value_length, error);
    struct fm_error cause = {0};
    int failed =
        fm_reply_header(cgi->reply, FM_REPLY_ADD, line, name_length, value, value_length, &cause);
    if (failed == FM_ERR_NOMEM)
        return fm_error_set(error, failed, "%s", cause.text);
    return failed ? bad_line(cgi, error, cause.text) : 0;
}

static void complete(struct fm_cgi *cgi)
{
    cgi->complete = true;
    if (!cgi->reply->status && fm_reply_find(cgi->reply, "location"))
        cgi->reply->status = STATUS_FOUND;
}

/* The line is whole, and `cgi->line` holds it without its LF. */
static int end_line(struct fm_cgi *cgi, struct fm_error *error)
{
    size_t length = cgi->line.length;
    const char *line = (const char *)cgi->line.data;
    cgi->lines++;
    if (length > 0 && line[length - 1] == '\r')
        length--;
    int failed = 0;
    if (length == 0)
        complete(cgi);
    else
        failed = take_line(cgi, line, length, error);
    fm_buffer_clear(&cgi->line, SIZE_MAX);
    return failed;
}

int fm_cgi_take(struct fm_cgi *cgi, const uint8_t *data, size_t bytes, size_t *ret_taken,
                struct fm_error *error)
{
    size_t taken = 0;
    while (taken < bytes && !cgi->complete) {
        const uint8_t *end = memchr(data + taken, '\n', bytes - taken);
        size_t piece = end ? (size_t)(end - data) - taken : bytes - taken;
        size_t with_end = piece + (end ? 1 : 0);
        if (with_end > FM_WEB_HEAD_BYTES_MAX - cgi->bytes)
            return fm_error_set(error, FM_ERR_BAD_RESPONSE,
                                "the function's header block has more than %llu bytes",
                                (unsigned long long)FM_WEB_HEAD_BYTES_MAX);
        int failed = fm_buffer_append(&cgi->line, data + taken, piece);
        if (failed)
            return fm_error_set(error, failed, "%s", fm_err_meaning(failed));
        cgi->bytes += with_end;
        taken += with_end;
        failed = end ? end_line(cgi, error) : 0;
        if (failed)
            return failed;
    }
    *ret_taken = taken;
    return 0;
}

int fm_cgi_end(const struct fm_cgi *cgi, struct fm_error *error)
{
    if (cgi->complete || cgi->bytes == 0)
        return 0;
    return fm_error_set(error, FM_ERR_BAD_RESPONSE,
                        "the function's output ends in its header block: there is no empty line");
}
