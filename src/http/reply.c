/* reply.c - status and headers, in one block of text with a list of places.
 *
 *      text     Content-Type\0text/html\0Set-Cookie\0a=1\0...
 *      headers  (0, 13)                 (23, 34)
 *
 * A header that goes takes its text along, so that the ceiling counts what is there.
 *
 * Refused are control characters in values (a line end would begin a header, or a body, of the
 * function's making), names that are no tokens, and headers that say how the message is framed or
 * what becomes of the connection: those are between the server and whoever is at the other end.
 * Content-Length is the exception: it is understood, kept as a number, and held to. */
#include "http/reply.h"

#include <string.h>
#include <strings.h>

#define OURS "x-faasm-"

void fm_reply_init(struct fm_reply *reply)
{
    *reply = (struct fm_reply){0};
    fm_buffer_init(&reply->text, FM_WEB_HEAD_BYTES_MAX);
}

void fm_reply_done(struct fm_reply *reply)
{
    fm_buffer_done(&reply->text);
}

int fm_reply_status(struct fm_reply *reply, uint32_t status)
{
    if (status < 200 || status > 599)
        return FM_ERR_BAD_REQUEST;
    reply->status = status;
    return 0;
}

const char *fm_reply_name(const struct fm_reply *reply, size_t index)
{
    FM_ASSERT(index < reply->headers_count);
    return (const char *)reply->text.data + reply->headers[index].name_at;
}

const char *fm_reply_value(const struct fm_reply *reply, size_t index)
{
    FM_ASSERT(index < reply->headers_count);
    return (const char *)reply->text.data + reply->headers[index].value_at;
}

bool fm_header_is(const char *name, size_t length, const char *wanted)
{
    return strlen(wanted) == length && strncasecmp(name, wanted, length) == 0;
}

const char *fm_reply_find(const struct fm_reply *reply, const char *name)
{
    for (size_t i = 0; i < reply->headers_count; i++)
        if (strcasecmp(fm_reply_name(reply, i), name) == 0)
            return fm_reply_value(reply, i);
    return NULL;
}

/* --- what may be said ------------------------------------------------------------------------- */

static bool is_token(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool alphanumeric =
            (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alphanumeric && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return length > 0;
}

/* Tabs are white space, bytes from 128 on whatever the function means. */
static bool is_value(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

static bool is_one_of(const char *name, size_t length, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fm_header_is(name, length, list[i]))
            return true;
    return false;
}

static bool is_ours(const char *name, size_t length)
{
    static const char *const framing[] = {"connection", "keep-alive", "proxy-connection", "te",
                                          "trailer",    "upgrade",    "transfer-encoding"};
    return is_one_of(name, length, framing, FM_ARRAY_LENGTH(framing)) ||
           (length >= strlen(OURS) && strncasecmp(name, OURS, strlen(OURS)) == 0);
}

static bool is_single(const char *name, size_t length)
{
    static const char *const single[] = {"content-type", "location", "date"};
    return is_one_of(name, length, single, FM_ARRAY_LENGTH(single));
}

static int check(const char *name, size_t name_length, const char *value, size_t value_length,
                 struct fm_error *error)
{
    if (!is_token(name, name_length))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "the name of a header is no name");
    int shown = (int)fm_min_u64(name_length, 64);
    if (is_ours(name, name_length))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "the header %.*s is not the function's",
                            shown, name);
    if (!is_value(value, value_length))
        return fm_error_set(error, FM_ERR_BAD_REQUEST,
                            "the value of the header %.*s holds a control character", shown, name);
    return 0;
}

/* --- the list --------------------------------------------------------------------------------- */

static void drop(struct fm_reply *reply, size_t index)
{
    uint32_t start = reply->headers[index].name_at;
    uint32_t bytes = reply->headers[index].value_at - start;
    bytes += (uint32_t)strlen(fm_reply_value(reply, index)) + 1;
    uint8_t *at = reply->text.data + start;
    memmove(at, at + bytes, reply->text.length - start - bytes);
    reply->text.length -= bytes;
    reply->headers_count--;
    for (size_t i = index; i < reply->headers_count; i++) {
        reply->headers[i].name_at = reply->headers[i + 1].name_at - bytes;
        reply->headers[i].value_at = reply->headers[i + 1].value_at - bytes;
    }
}

static void drop_all(struct fm_reply *reply, const char *name, size_t name_length)
{
    for (size_t i = reply->headers_count; i > 0; i--)
        if (fm_header_is(name, name_length, fm_reply_name(reply, i - 1)))
            drop(reply, i - 1);
}

static int append(struct fm_reply *reply, const char *name, size_t name_length, const char *value,
                  size_t value_length, struct fm_error *error)
{
    struct fm_buffer *text = &reply->text;
    int failed = fm_buffer_reserve(text, name_length + value_length + 2);
    if (failed)
        return fm_error_set(error, failed, "%s", fm_err_meaning(failed));
    char *at = (char *)text->data + text->length;
    memcpy(at, name, name_length);
    at[name_length] = '\0';
    at += name_length + 1;
    for (size_t i = 0; i < value_length; i++)
        at[i] = value[i] == '\t' ? ' ' : value[i]; /* the HTTP library takes no tabs */
    at[value_length] = '\0';
    reply->headers[reply->headers_count].name_at = (uint32_t)text->length;
    reply->headers[reply->headers_count].value_at = (uint32_t)(text->length + name_length + 1);
    reply->headers_count++;
    text->length += name_length + value_length + 2;
    return 0;
}

static int set_length(struct fm_reply *reply, enum fm_reply_how how, const char *value,
                      size_t value_length, struct fm_error *error)
{
    uint64_t length = 0;
    bool good = value_length > 0 && value_length <= 18;
    for (size_t i = 0; good && i < value_length; i++) {
        good = value[i] >= '0' && value[i] <= '9';
        length = length * 10 + (uint64_t)(value[i] - '0');
    }
    if (!good && !(value_length == 0 && how == FM_REPLY_SET))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "the header Content-Length is no number");
    if (how == FM_REPLY_ADD && reply->has_length)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "there are two headers Content-Length");
    reply->has_length = good;
    reply->content_length = good ? length : 0;
    return 0;
}

static void trim(const char **text, size_t *length)
{
    while (*length > 0 && (**text == ' ' || **text == '\t')) {
        (*text)++;
        (*length)--;
    }
    while (*length > 0 && ((*text)[*length - 1] == ' ' || (*text)[*length - 1] == '\t'))
        (*length)--;
}

/* Those of the same name, and what they take. */
static size_t measure(const struct fm_reply *reply, const char *name, size_t length,
                      size_t *ret_bytes)
{
    size_t count = 0;
    *ret_bytes = 0;
    for (size_t i = 0; i < reply->headers_count; i++) {
        if (!fm_header_is(name, length, fm_reply_name(reply, i)))
            continue;
        count++;
        *ret_bytes += length + strlen(fm_reply_value(reply, i)) + 2;
    }
    return count;
}

static int put(struct fm_reply *reply, enum fm_reply_how how, const char *name, size_t name_length,
               const char *value, size_t value_length, struct fm_error *error)
{
    size_t bytes = 0;
    size_t same = measure(reply, name, name_length, &bytes);
    bool replaces = how == FM_REPLY_SET && !fm_header_is(name, name_length, "set-cookie");
    if (how == FM_REPLY_ADD && same > 0 && is_single(name, name_length))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "there are two headers %.*s",
                            (int)fm_min_u64(name_length, 64), name);
    if (!replaces)
        same = bytes = 0;
    if (reply->headers_count - same == FM_WEB_HEADERS_MAX)
        return fm_error_set(error, FM_ERR_TOO_LARGE, "there are more than %d headers",
                            FM_WEB_HEADERS_MAX);
    size_t room = reply->text.length_max - reply->text.length + bytes;
    if (name_length + value_length + 2 > room)
        return fm_error_set(error, FM_ERR_TOO_LARGE, "the headers have more than %llu bytes",
                            (unsigned long long)FM_WEB_HEAD_BYTES_MAX);
    if (same > 0)
        drop_all(reply, name, name_length);
    return append(reply, name, name_length, value, value_length, error);
}

int fm_reply_header(struct fm_reply *reply, enum fm_reply_how how, const char *name,
                    size_t name_length, const char *value, size_t value_length,
                    struct fm_error *error)
{
    trim(&value, &value_length);
    int failed = check(name, name_length, value, value_length, error);
    if (failed)
        return failed;
    if (fm_header_is(name, name_length, "content-length"))
        return set_length(reply, how, value, value_length, error);
    if (value_length > 0)
        return put(reply, how, name, name_length, value, value_length, error);
    if (how == FM_REPLY_SET)
        drop_all(reply, name, name_length);
    return 0; /* one without a value says nothing, and the HTTP library cannot send it */
}
