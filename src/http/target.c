/* target.c - a request target taken apart, in one pass and without memory of its own.
 *
 *      /f/simon/ec%68o/x.wasm?env.A=b
 *       |   |      |      |   `------- query_position
 *       0   1      2      3            segments
 *
 * The library's own decoding is of no use here: it turns `%2f` and `%00` into `/` and NUL before
 * anyone can see them, and the path is then another one than the client's.
 *
 * No state; any thread. */
#include "http/target.h"

#include <string.h>
#include <strings.h>

#include "base/buffer.h"
#include "base/name.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* The byte that the escape at `text` ("%41") stands for; -1: it is none. */
static int unescape(const char *text)
{
    int high = hex_digit(text[1]);
    int low = high < 0 ? -1 : hex_digit(text[2]);
    return low < 0 ? -1 : high * 16 + low;
}

/* --- segments --------------------------------------------------------------------------------- */

static void find_fault(struct fm_segment *segment, const char *fault, size_t position)
{
    if (segment->fault)
        return; /* the first one is told */
    segment->fault = fault;
    segment->fault_position = position;
}

static const char *fault_of(char byte, bool escaped, bool first)
{
    if (escaped && byte == '/')
        return "an encoded slash";
    if (byte == '\0')
        return "an encoded NUL";
    bool alphanumeric = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                        (byte >= 'A' && byte <= 'Z');
    bool mark = byte == '.' || byte == '_' || byte == '-';
    if (!alphanumeric && !mark)
        return "a character other than A-Z a-z 0-9 . _ -";
    return first && mark ? "a name starts with a letter or a digit" : NULL;
}

/* Decodes up to the end of the segment; returns where that is. */
static size_t parse_segment(const char *raw, size_t position, struct fm_segment *segment)
{
    size_t start = position;
    size_t length = 0;
    segment->fault = NULL;
    segment->deceptive = false;
    while (raw[position] != '/' && raw[position] != '?' && raw[position] != '\0') {
        size_t taken = 1;
        int byte = (uint8_t)raw[position];
        bool escaped = byte == '%';
        if (escaped) {
            byte = unescape(raw + position);
            taken = byte < 0 ? 1 : 3;
            segment->deceptive |= byte <= 0 || byte == '/';
        }
        const char *fault = byte < 0 ? "a bad escape" : fault_of((char)byte, escaped, length == 0);
        if (!fault && length == FM_NAME_LENGTH_MAX)
            fault = "a name has at most 64 bytes";
        if (fault)
            find_fault(segment, fault, position);
        if (length < FM_NAME_LENGTH_MAX)
            segment->text[length] = (char)byte;
        length++;
        position += taken;
    }
    if (length == 0)
        find_fault(segment, "an empty name", start);
    if (length > FM_NAME_LENGTH_MAX)
        length = 0; /* nothing can match it by accident */
    segment->text[length] = '\0';
    segment->length = (uint8_t)length;
    segment->end = position;
    return position;
}

/* Where the path begins; SIZE_MAX: nowhere. */
static size_t find_path(const char *raw)
{
    if (raw[0] == '/')
        return 0;
    size_t scheme = strncasecmp(raw, "http://", 7) == 0    ? 7
                    : strncasecmp(raw, "https://", 8) == 0 ? 8
                                                           : 0;
    return scheme == 0 ? SIZE_MAX : scheme + strcspn(raw + scheme, "/?");
}

int fm_target_parse(const char *raw, struct fm_target *ret_target, struct fm_error *error)
{
    size_t position = find_path(raw);
    bool asterisk = strcmp(raw, "*") == 0;
    if (position == SIZE_MAX && !asterisk)
        return fm_error_set(error, FM_ERR_BAD_REQUEST,
                            "the request target starts neither with '/' nor with 'http://'");
    ret_target->count = 0;
    ret_target->query_position = 0;
    ret_target->asterisk = asterisk;
    if (asterisk)
        return 0;
    struct fm_segment ignored;
    while (raw[position] == '/') {
        position++;
        bool last = raw[position] == '\0' || raw[position] == '?';
        if (last)
            break; /* the path ends in a slash */
        size_t index = ret_target->count++;
        position =
            parse_segment(raw, position,
                          index < FM_TARGET_SEGMENTS_MAX ? &ret_target->segments[index] : &ignored);
    }
    if (raw[position] == '?')
        ret_target->query_position = position + 1;
    return 0;
}

/* Appends a decoded byte, or the slash between two segments. */
static int take_byte(const char *raw, size_t *position, struct fm_buffer *path,
                     struct fm_error *error)
{
    int byte = (uint8_t)raw[*position];
    size_t taken = 1;
    if (byte == '%') {
        byte = unescape(raw + *position);
        taken = 3;
        const char *fault = byte < 0      ? "a bad escape"
                            : byte == 0   ? "an encoded NUL"
                            : byte == '/' ? "an encoded slash"
                                          : NULL;
        if (fault)
            return fm_error_set(error, FM_ERR_BAD_NAME, "bad path: %s, at byte %zu of the target",
                                fault, *position);
    }
    *position += taken;
    const char one = (char)byte;
    return fm_buffer_append(path, &one, 1);
}

int fm_target_rest(const char *raw, struct fm_buffer *path, bool *ret_slash, struct fm_error *error)
{
    size_t position = find_path(raw);
    *ret_slash = false;
    for (int slashes = 0; slashes < 3;) { /* before the first segment, and behind the second */
        if (raw[position] == '\0' || raw[position] == '?')
            break;
        slashes += raw[position++] == '/';
    }
    int failed = 0;
    while (!failed && raw[position] != '\0' && raw[position] != '?')
        failed = take_byte(raw, &position, path, error);
    if (!failed && raw[position - 1] == '/') {
        *ret_slash = true;
        path->length -= path->length > 0;
    }
    return failed ? failed : fm_buffer_append(path, "", 1);
}

int fm_target_name(const struct fm_target *target, size_t index, const char *what,
                   struct fm_error *error)
{
    FM_ASSERT(index < target->count && index < FM_TARGET_SEGMENTS_MAX);
    const struct fm_segment *segment = &target->segments[index];
    if (segment->fault)
        return fm_error_set(error, FM_ERR_BAD_NAME,
                            "bad name of a %s: %s, at byte %zu of the target", what, segment->fault,
                            segment->fault_position);
    FM_ASSERT(fm_name_valid(segment->text, segment->length)); /* one grammar, told in two ways */
    return 0;
}

/* --- query ------------------------------------------------------------------------------------ */

/* Decodes `length` bytes at `text` in place and ends them with a NUL (there is room: the separator
 * behind them).  NULL, or what is wrong. */
static const char *decode(char *text, size_t length)
{
    size_t to = 0;
    for (size_t from = 0; from < length; from++) {
        int byte = (uint8_t)text[from];
        if (byte == '+') {
            byte = ' ';
        } else if (byte == '%') {
            byte = length - from > 2 ? unescape(text + from) : -1;
            if (byte <= 0)
                return byte == 0 ? "an encoded NUL" : "a bad escape";
            from += 2;
        }
        text[to++] = (char)byte;
    }
    text[to] = '\0';
    return NULL;
}

bool fm_query_next(char *query, size_t *cursor, struct fm_parameter *ret_parameter,
                   struct fm_error *error)
{
    size_t start = *cursor;
    while (query[start] == '&')
        start++;
    char *name = query + start;
    size_t length = strcspn(name, "&");
    if (length == 0)
        return false;
    size_t name_length = strcspn(name, "=&");
    *cursor = start + length + (name[length] == '&');

    char *value = name + name_length + (name_length < length);
    size_t value_length = length - (size_t)(value - name);
    const char *fault =
        decode(value, value_length); /* first: it ends where the name cannot reach */
    if (!fault)
        fault = decode(name, name_length);
    if (fault) {
        (void)fm_error_set(error, FM_ERR_BAD_REQUEST,
                           "bad query: %s in the parameter at byte %zu of the query", fault, start);
        return false;
    }
    *ret_parameter = (struct fm_parameter){.name = name, .value = value, .position = start};
    return true;
}
