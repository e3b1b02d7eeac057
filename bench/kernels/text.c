/* text.c - lines are split, joined, searched and copied, by the functions of the C library. */
#include "kernel.h"

#include <string.h>

#define TEXT_BYTES (2 << 20)
#define LINE_BYTES_MAX 4096
#define ROUNDS 6

static char text[TEXT_BYTES + 1];
static char copy[TEXT_BYTES + 1];
static char joined[2 * TEXT_BYTES];

void kernel_prepare(void)
{
    size_t at = 0;
    while (at < TEXT_BYTES) {
        uint32_t length =
            kernel_random(16) ? 20 + kernel_random(80) : kernel_random(LINE_BYTES_MAX);
        for (; length > 0 && at < TEXT_BYTES; length--)
            text[at++] = "etaoin shrdlu=;"[kernel_random(15)];
        if (at < TEXT_BYTES)
            text[at++] = '\n';
    }
    text[TEXT_BYTES - 1] = '\n';
}

static char *append(char *to, const char *from, size_t length)
{
    memcpy(to, from, length);
    return to + length;
}

/* key=value;rest of a line becomes rest;value, and lines without are dropped. */
static char *add_line(char *to, char *line, uint64_t *sum)
{
    char *equals = strchr(line, '=');
    if (!equals)
        return to;
    char *semicolon = strchr(equals, ';');
    if (!semicolon)
        return to;
    *semicolon = '\0';
    const char *rest = semicolon + 1;
    *sum = kernel_mix(*sum, strlen(rest));
    if (strstr(rest, "shrd") || strncmp(rest, "eta", 3) == 0)
        *sum = kernel_mix(*sum, 1);
    to = append(to, rest, strlen(rest));
    to = append(to, ";", 1);
    to = append(to, equals + 1, strlen(equals + 1));
    return append(to, "\n", 1);
}

uint64_t kernel_run(void)
{
    uint64_t sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        memmove(copy, text, sizeof(text));
        char *to = joined;
        char *end;
        for (char *line = copy; (end = memchr(line, '\n', (size_t)(copy + TEXT_BYTES - line)));
             line = end + 1) {
            *end = '\0';
            to = add_line(to, line, &sum);
            if (end == copy + TEXT_BYTES - 1)
                break;
        }
        *to = '\0';
        sum = kernel_mix(sum, strlen(joined));
        memset(joined, round, (size_t)(to - joined));
    }
    return sum;
}
