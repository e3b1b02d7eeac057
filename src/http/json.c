/* json.c - a writer, not a tree.
 *
 * What is written here (problems, records of calls) is known field by field, and may carry a
 * guest's output of many megabytes: a tree would hold it twice and hash its keys for nothing. Where
 * a tree exists already (the metadata of functions) jansson writes it.
 *
 * Text is copied in runs: most of it needs no escape, so the inner loop only looks for the next
 * byte that does.
 *
 * No state but the caller's; one thread at a time. */
#include "http/json.h"

#include <stdio.h>
#include <string.h>

#include "base/encode.h"
#include "base/error.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

void fm_json_init(struct fm_json *json, struct fm_buffer *buffer)
{
    *json = (struct fm_json){.buffer = buffer};
}

static void put(struct fm_json *json, const char *text, size_t length)
{
    if (!json->failed)
        json->failed = fm_buffer_append(json->buffer, text, length);
}

static void put_literal(struct fm_json *json, const char *text)
{
    put(json, text, strlen(text));
}

/* What stands before a value. */
static void put_name(struct fm_json *json, const char *name)
{
    if (json->comma)
        put(json, ",", 1);
    json->comma = true;
    if (!name)
        return;
    put(json, "\"", 1);
    put_literal(json, name);
    put(json, "\":", 2);
}

void fm_json_begin(struct fm_json *json, const char *name, char bracket)
{
    put_name(json, name);
    put(json, &bracket, 1);
    json->comma = false;
}

void fm_json_end(struct fm_json *json, char bracket)
{
    put(json, &bracket, 1);
    json->comma = true;
}

/* --- text ------------------------------------------------------------------------------------- */

#define ESCAPE_SIZE 8 /* "\u001f" and its NUL fit */

static const char short_forms[0x20] = {
    ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't',
};

/* Writes the escape of the byte at `text`, which stands for `*ret_taken` bytes of it.  Returns its
 * length; 0: what stands there is copied as it is. */
static size_t escape(const char *text, size_t length, char ret_escape[ESCAPE_SIZE],
                     size_t *ret_taken)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t byte = (uint8_t)text[0];
    *ret_taken = 1;
    if (byte >= 0x80) {
        size_t step = fm_utf8_step((const uint8_t *)text, length);
        if (step > 0) {
            *ret_taken = step;
            return 0;
        }
        memcpy(ret_escape, REPLACEMENT, sizeof(REPLACEMENT));
        return strlen(REPLACEMENT);
    }
    if (byte >= 0x20 && byte != '"' && byte != '\\')
        return 0;
    ret_escape[0] = '\\';
    ret_escape[1] = byte < 0x20 ? short_forms[byte] : (char)byte;
    if (ret_escape[1])
        return 2;
    memcpy(ret_escape + 1, "u00", 3);
    ret_escape[4] = digits[byte >> 4];
    ret_escape[5] = digits[byte & 15];
    return 6;
}

static bool plain(char c)
{
    return c >= 0x20 && c != '"' && c != '\\'; /* char may be signed: then this is ASCII alone */
}

/* ASCII that needs no escape, at the start of `text`. */
static size_t plain_run(const char *text, size_t length)
{
    size_t i = 0;
    while (i < length && plain(text[i]) && (uint8_t)text[i] < 0x80)
        i++;
    return i;
}

void fm_json_text(struct fm_json *json, const char *name, const char *text, size_t length)
{
    put_name(json, name);
    put(json, "\"", 1);
    for (size_t i = 0; i < length && !json->failed;) {
        size_t run = plain_run(text + i, length - i);
        put(json, text + i, run);
        i += run;
        if (i == length)
            break;
        char form[ESCAPE_SIZE];
        size_t taken = 0;
        size_t escaped = escape(text + i, length - i, form, &taken);
        put(json, escaped ? form : text + i, escaped ? escaped : taken);
        i += taken;
    }
    put(json, "\"", 1);
}

size_t fm_json_escaped_bytes(const char *text, size_t length)
{
    size_t bytes = 0;
    for (size_t i = 0; i < length;) {
        size_t run = plain_run(text + i, length - i);
        bytes += run;
        i += run;
        if (i == length)
            break;
        char form[ESCAPE_SIZE];
        size_t taken = 0;
        size_t escaped = escape(text + i, length - i, form, &taken);
        bytes += escaped ? escaped : taken;
        i += taken;
    }
    return bytes;
}

void fm_json_string(struct fm_json *json, const char *name, const char *text)
{
    fm_json_text(json, name, text, strlen(text));
}

void fm_json_base64(struct fm_json *json, const char *name, const uint8_t *data, size_t bytes)
{
    put_name(json, name);
    put(json, "\"", 1);
    if (!json->failed)
        json->failed = fm_base64_append(json->buffer, data, bytes);
    put(json, "\"", 1);
}

/* --- the rest --------------------------------------------------------------------------------- */

void fm_json_number(struct fm_json *json, const char *name, uint64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)number); /* 20 digits at most */
    put_name(json, name);
    put_literal(json, text);
}

void fm_json_integer(struct fm_json *json, const char *name, int64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%lld", (long long)number);
    put_name(json, name);
    put_literal(json, text);
}

void fm_json_bool(struct fm_json *json, const char *name, bool value)
{
    put_name(json, name);
    put_literal(json, value ? "true" : "false");
}

void fm_json_null(struct fm_json *json, const char *name)
{
    put_name(json, name);
    put_literal(json, "null");
}

int fm_json_done(struct fm_json *json)
{
    put(json, "\n", 1);
    return json->failed;
}
