/* json.c - reads a document in JSON, by a machine with a stack of its own. */
#include "kernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES_MAX (6 << 20)
#define RECORDS 24000
#define DEPTH_MAX 64

static char text[TEXT_BYTES_MAX];
static size_t text_bytes;

static void add(const char *piece)
{
    size_t length = strlen(piece);
    memcpy(text + text_bytes, piece, length);
    text_bytes += length;
}

static void add_number(const char *before, uint32_t limit, const char *after)
{
    char digits[16];
    (void)snprintf(digits, sizeof(digits), "%u", (unsigned)kernel_random(limit)); /* fits */
    add(before);
    add(digits);
    add(after);
}

void kernel_prepare(void)
{
    add("[");
    for (int i = 0; i < RECORDS; i++) {
        add_number(i ? ",\n {\"id\": " : " {\"id\": ", 1000000, ", \"name\": \"");
        for (uint32_t j = 4 + kernel_random(20); j > 0; j--)
            text[text_bytes++] = (char)('a' + kernel_random(26));
        add(kernel_random(4) ? "" : "\\n\\\"quoted\\\" \\u00e9");
        add_number("\", \"price\": -", 1000, "");
        add_number(".", 1000, "e-1, \"tags\": [");
        for (uint32_t j = kernel_random(5); j > 0; j--)
            add(j > 1 ? "\"tag\", " : "null");
        add(kernel_random(2) ? "], \"ok\": true}" : "], \"ok\": false}");
    }
    add("]\n");
}

struct reader {
    const char *at;
    const char *end;
    char open[DEPTH_MAX]; /* brackets */
    int depth;
    uint64_t sum;
};

static void fail(void)
{
    abort(); /* the document is ours */
}

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\n' ||
                                        *reader->at == '\t' || *reader->at == '\r'))
        reader->at++;
}

static uint32_t hexadecimal(const char *digits)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        value = value << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return value;
}

static void read_string(struct reader *reader)
{
    uint32_t hash = 0;
    const char *at = reader->at + 1;
    for (; at < reader->end && *at != '"'; at++) {
        uint32_t c = (uint8_t)*at;
        if (c == '\\') {
            c = (uint8_t) * ++at;
            switch (c) {
            case 'n':
                c = '\n';
                break;
            case 't':
                c = '\t';
                break;
            case 'u':
                c = hexadecimal(at + 1);
                at += 4;
                break;
            default:
                break;
            }
        }
        hash = hash * 31 + c;
    }
    reader->at = at + 1;
    reader->sum = kernel_mix(reader->sum, hash);
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static void read_number(struct reader *reader)
{
    const char *at = reader->at;
    int negative = *at == '-';
    at += negative;
    double value = 0;
    for (; is_digit(*at); at++)
        value = value * 10 + (*at - '0');
    double scale = 1;
    if (*at == '.') {
        for (at++; is_digit(*at); at++) {
            value = value * 10 + (*at - '0');
            scale *= 10;
        }
    }
    if (*at == 'e') {
        int down = at[1] == '-';
        at += 1 + down;
        int exponent = 0;
        for (; is_digit(*at); at++)
            exponent = exponent * 10 + (*at - '0');
        for (; exponent > 0; exponent--)
            scale = down ? scale * 10 : scale / 10;
    }
    value /= scale;
    reader->at = at;
    reader->sum = kernel_mix_double(reader->sum, negative ? -value : value);
}

static void read_word(struct reader *reader, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
        fail();
    reader->at += length;
    reader->sum = kernel_mix(reader->sum, length);
}

/* One token; commas and colons are only skipped. */
static void read_token(struct reader *reader)
{
    switch (*reader->at) {
    case '{':
    case '[':
        if (reader->depth == DEPTH_MAX)
            fail();
        reader->open[reader->depth++] = *reader->at++;
        break;
    case '}':
    case ']':
        if (reader->depth == 0 || reader->open[--reader->depth] != *reader->at - 2)
            fail();
        reader->at++;
        break;
    case ',':
    case ':':
        reader->at++;
        break;
    case '"':
        read_string(reader);
        break;
    case 't':
        read_word(reader, "true");
        break;
    case 'f':
        read_word(reader, "false");
        break;
    case 'n':
        read_word(reader, "null");
        break;
    default:
        if (*reader->at != '-' && !is_digit(*reader->at))
            fail();
        read_number(reader);
    }
}

uint64_t kernel_run(void)
{
    struct reader reader = {.at = text, .end = text + text_bytes};
    for (;;) {
        skip_space(&reader);
        if (reader.at == reader.end)
            break;
        read_token(&reader);
    }
    if (reader.depth != 0)
        fail();
    return reader.sum;
}
