/* log.c - a line is put together on the stack and written with one call.
 *
 * No buffer, no thread of its own, no lock: what is logged before a crash is on its way, and lines
 * of several threads do not mix, since LINE_BYTES_MAX is PIPE_BUF, up to which POSIX promises that
 * a write into a pipe is not split.  Not stdio: it may split a line, and its lock is held by
 * whoever waits for a slow reader.  Not syslog: whoever starts the server decides where its lines
 * go.
 *
 * No pair is ever left out.  The first walk over the arguments adds up what all pairs need at the
 * least (their keys, and a value that is nothing but "..."); the second writes, and each value may
 * use what is not promised to those behind it:
 *
 *      | time level event key=value key=val... key="..." \n |
 *                             ^ may grow until here ^ the promised rest
 *
 * Keys and events are words of this program, so a strange one is a programmer's mistake.  The level
 * is set before threads start and only read afterwards.  errno survives a call. */
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define LINE_BYTES_MAX PIPE_BUF
#define ELLIPSIS "..."
#define VALUE_BYTES_MIN strlen("\"" ELLIPSIS "\"")

struct line {
    char text[LINE_BYTES_MAX];
    size_t length;
};

static const char *const level_names[] = {
    [FM_LOG_DEBUG] = "debug",
    [FM_LOG_INFO] = "info",
    [FM_LOG_WARNING] = "warning",
    [FM_LOG_ERROR] = "error",
};

static enum fm_log_level level_min = FM_LOG_INFO;

void fm_log_level_set(enum fm_log_level level)
{
    FM_ASSERT((size_t)level < FM_ARRAY_LENGTH(level_names));
    level_min = level;
}

static bool graphic(char c)
{
    return c > ' ' && c <= '~';
}

static bool is_word(const char *text)
{
    for (const char *c = text; *c; c++) {
        if (!graphic(*c) || *c == '=' || *c == '"')
            return false;
    }
    return text[0] != '\0';
}

static void put(struct line *line, const char *text, size_t length)
{
    FM_ASSERT(length <= sizeof(line->text) - line->length);
    memcpy(line->text + line->length, text, length);
    line->length += length;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static bool needs_quotes(const char *value)
{
    for (const char *c = value; *c; c++) {
        if (!graphic(*c) || *c == '"' || *c == '\\')
            return true;
    }
    return value[0] == '\0';
}

/* One byte of a value as it is written; returns its length. */
static size_t escape(char c, char text[5])
{
    static const char plain[] = "\"\\\n\r\t";
    static const char letter[] = "\"\\nrt";
    const char *found = strchr(plain, c);
    if (found)
        return (size_t)snprintf(text, 5, "\\%c", letter[found - plain]);
    if (c == ' ' || graphic(c))
        return (size_t)snprintf(text, 5, "%c", c);
    return (size_t)snprintf(text, 5, "\\x%02x", (unsigned char)c);
}

/* Writes `value` in at most `room` bytes, which are at least VALUE_BYTES_MIN. */
static void put_value(struct line *line, const char *value, size_t room)
{
    bool quoted = needs_quotes(value);
    if (quoted)
        put_text(line, "\"");
    size_t end = line->length + room - (quoted ? 2 : 0);
    size_t cut = line->length; /* as far as "..." still fits behind */
    for (const char *c = value; *c; c++) {
        char escaped[5];
        size_t length = escape(*c, escaped);
        if (length > end - line->length) {
            line->length = cut;
            put_text(line, ELLIPSIS);
            break;
        }
        put(line, escaped, length);
        if (end - line->length >= strlen(ELLIPSIS))
            cut = line->length;
    }
    if (quoted)
        put_text(line, "\"");
}

static size_t pair_bytes_min(const char *key)
{
    return strlen(" ") + strlen(key) + strlen("=") + VALUE_BYTES_MIN;
}

static void put_pairs(struct line *line, va_list pairs)
{
    va_list ahead;
    va_copy(ahead, pairs);
    size_t promised = strlen("\n");
    const char *key;
    while ((key = va_arg(ahead, const char *)) != NULL) {
        const char *value = va_arg(ahead, const char *);
        FM_ASSERT(is_word(key) && value);
        promised += pair_bytes_min(key);
    }
    va_end(ahead);
    FM_ASSERT(promised <= sizeof(line->text) - line->length);

    while ((key = va_arg(pairs, const char *)) != NULL) {
        promised -= pair_bytes_min(key);
        put_text(line, " ");
        put_text(line, key);
        put_text(line, "=");
        put_value(line, va_arg(pairs, const char *), sizeof(line->text) - line->length - promised);
    }
}

void fm_log(enum fm_log_level level, const char *event, ...)
{
    FM_ASSERT((size_t)level < FM_ARRAY_LENGTH(level_names));
    if (level < level_min)
        return;
    int errno_before = errno;

    struct line line;
    line.length = 0;
    char now[FM_CLOCK_TEXT_SIZE];
    fm_clock_format(fm_clock_real_ns(), now);
    put_text(&line, now);
    put_text(&line, " ");
    put_text(&line, level_names[level]);
    put_text(&line, " ");
    FM_ASSERT(is_word(event));
    put_text(&line, event);

    va_list pairs;
    va_start(pairs, event);
    put_pairs(&line, pairs);
    va_end(pairs);
    put_text(&line, "\n");

    ssize_t written;
    do {
        written = write(STDERR_FILENO, line.text, line.length);
    } while (written < 0 && errno == EINTR);
    /* Any other failure has nobody left to be told about it. */
    errno = errno_before;
}
