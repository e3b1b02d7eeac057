/* reply.h - the head of an answer that a function makes: its status and headers, checked.
 *
 * What a function says here goes to its client, over a connection that it does not own.  So nothing
 * can end a line early, and what frames the answer is not the function's business.  Private to
 * http/; no thread of its own. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "base/limits.h"

struct fm_reply {
    unsigned status;         /* 0: it was not said */
    bool has_length;         /* Content-Length was */
    uint64_t content_length; /* then it is this */
    size_t headers_count;
    struct {
        uint32_t name_at; /* in `text`, NUL-ended; the value likewise, behind it */
        uint32_t value_at;
    } headers[FM_WEB_HEADERS_MAX];
    struct fm_buffer text;
};

void fm_reply_init(struct fm_reply *reply);
void fm_reply_done(struct fm_reply *reply);

/* FM_ERR_BAD_REQUEST: not from 200 to 599. */
FM_MUST_CHECK int fm_reply_status(struct fm_reply *reply, uint32_t status);

enum fm_reply_how {
    FM_REPLY_ADD, /* beside others of the name; some can be there once only */
    FM_REPLY_SET, /* in place of others of the name, Set-Cookie aside; no value: none */
};

/* FM_ERR_BAD_REQUEST: not a name, not a value, or a header that is the server's.
 * FM_ERR_TOO_LARGE: FM_WEB_HEADERS_MAX or FM_WEB_HEAD_BYTES_MAX.  FM_ERR_NOMEM.  Why is in `error`
 * (NULL is fine), in printable words. */
FM_MUST_CHECK int fm_reply_header(struct fm_reply *reply, enum fm_reply_how how, const char *name,
                                  size_t name_length, const char *value, size_t value_length,
                                  struct fm_error *error);

/* NULL: there is none.  In any case of letters. */
const char *fm_reply_find(const struct fm_reply *reply, const char *name);

const char *fm_reply_name(const struct fm_reply *reply, size_t index);
const char *fm_reply_value(const struct fm_reply *reply, size_t index);

/* A request's or answer's header name, in any case of letters. */
bool fm_header_is(const char *name, size_t length, const char *wanted);
