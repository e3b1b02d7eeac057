/* json.h - writes JSON into a buffer, value by value.
 *
 *      fm_json_begin(&json, NULL, '{');
 *      fm_json_text(&json, "code", "busy", 4);
 *      fm_json_end(&json, '}');
 *      failed = fm_json_done(&json);
 *
 * Names are given inside objects and NULL inside arrays and at the top; they are written as they
 * are. After a failure the rest is skipped, and fm_json_done() tells it.  One thread at a time. */
#pragma once

#include "base/buffer.h"

struct fm_json {
    struct fm_buffer *buffer; /* the caller's */
    int failed;               /* the first failure */
    bool comma;               /* one is due before the next value */
};

void fm_json_init(struct fm_json *json, struct fm_buffer *buffer);

void fm_json_begin(struct fm_json *json, const char *name, char bracket); /* '{' or '[' */
void fm_json_end(struct fm_json *json, char bracket);                     /* '}' or ']' */

/* Bytes that are not UTF-8 become U+FFFD, one each. */
void fm_json_text(struct fm_json *json, const char *name, const char *text, size_t length);
void fm_json_string(struct fm_json *json, const char *name, const char *text); /* up to its NUL */
void fm_json_base64(struct fm_json *json, const char *name, const uint8_t *data, size_t bytes);
void fm_json_number(struct fm_json *json, const char *name, uint64_t number);
void fm_json_integer(struct fm_json *json, const char *name, int64_t number);
void fm_json_bool(struct fm_json *json, const char *name, bool value);
void fm_json_null(struct fm_json *json, const char *name);

/* Ends the text with a newline.  0, FM_ERR_TOO_LARGE, FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_json_done(struct fm_json *json);

/* How long `text` is inside the quotes. */
size_t fm_json_escaped_bytes(const char *text, size_t length);
