/* Counts words by map and reduce. A text over WHOLE_BYTES is cut at white space into at most
 * PIECES_MAX pieces; a call of this same function counts each, or cuts it up again; what they found
 * is added up. A word is what stands between white space. The output has a line for each, `word
 * count`, in the order of bytes.
 *
 * Where no call can be started (`faasm run`, a limit) the piece is counted here. */
#include "faasm.h"

#include <stdlib.h>

#define WHOLE_BYTES 65536             /* counted in one go */
#define PIECE_BYTES (WHOLE_BYTES / 2) /* at least; the rest of a word comes on top */
#define PIECES_MAX 64

struct word {
    const char *text;
    uint32_t length;
    uint32_t count;
};

/* Words, not sorted and not yet added up; their texts belong to others. */
struct words {
    struct word *items;
    size_t count;
    size_t room;
};

static int is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Without memory the call has failed: nobody could use half of the words. */
static void *checked(void *memory)
{
    if (!memory) {
        faasmLog(FAASM_LOG_ERROR, "wordcount: out of memory");
        exit(1);
    }
    return memory;
}

static void add(struct words *words, const char *text, size_t length, uint32_t count)
{
    if (words->count == words->room) {
        words->room = words->room ? 2 * words->room : 1024;
        words->items =
            (struct word *)checked(realloc(words->items, words->room * sizeof(struct word)));
    }
    words->items[words->count++] = (struct word){text, (uint32_t)length, count};
}

static void add_text(struct words *words, const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        while (at < size && is_space(text[at]))
            at++;
        size_t start = at;
        while (at < size && !is_space(text[at]))
            at++;
        if (at > start)
            add(words, text + start, at - start, 1);
    }
}

/* Lines as below; a word has no space, so the first ends it. */
static void add_lines(struct words *words, const char *lines, size_t size)
{
    const char *end = lines + size;
    while (lines < end) {
        const char *space = (const char *)memchr(lines, ' ', (size_t)(end - lines));
        if (!space)
            return;
        const char *digit = space + 1;
        uint32_t count = 0;
        for (; digit < end && *digit != '\n'; digit++)
            count = 10 * count + (uint32_t)(*digit - '0');
        add(words, lines, (size_t)(space - lines), count);
        lines = digit + 1;
    }
}

static int compare(const void *left, const void *right)
{
    const struct word *a = (const struct word *)left;
    const struct word *b = (const struct word *)right;
    int order = memcmp(a->text, b->text, a->length < b->length ? a->length : b->length);
    return order ? order : (a->length > b->length) - (a->length < b->length);
}

/* A space, the number, a line's end. */
static int write_number(struct FaasmMemory *memory, uint32_t number)
{
    char text[12];
    char *first = text + sizeof(text);
    *--first = '\n';
    do {
        *--first = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    *--first = ' ';
    return faasmWriteOutput(memory, first, (uint32_t)(text + sizeof(text) - first));
}

static int write_counts(struct FaasmMemory *memory, struct words *words)
{
    if (words->count > 0)
        qsort(words->items, words->count, sizeof(struct word), compare);
    for (size_t i = 0; i < words->count;) {
        const struct word *word = &words->items[i];
        uint32_t count = 0;
        for (; i < words->count && compare(word, &words->items[i]) == 0; i++)
            count += words->items[i].count;
        if (faasmWriteOutput(memory, word->text, word->length) != 0 ||
            write_number(memory, count) != 0)
            return 1;
    }
    return 0;
}

/* The first piece of a text: up to the first white space behind `wanted` bytes. */
static size_t piece_size(const char *text, size_t size, size_t wanted)
{
    size_t end = wanted < size ? wanted : size;
    while (end < size && !is_space(text[end]))
        end++;
    return end;
}

/* What a call has found: its lines, which the words refer to. NULL: it has failed. */
static char *add_result(struct FaasmMemory *memory, struct words *words, int64_t call)
{
    int code = faasmAwaitCall(memory, call, FAASM_FOR_EVER);
    int size = code == 0 ? faasmCallOutputSize(memory, call) : -1;
    if (size < 0) {
        faasmLog(FAASM_LOG_ERROR, "wordcount: a call has failed");
        return NULL;
    }
    char *lines = (char *)checked(calloc((size_t)size + 1, 1));
    (void)faasmCallOutput(memory, call, 0, lines, (uint32_t)size);
    add_lines(words, lines, (size_t)size);
    return lines;
}

/* Starts a call for each piece; what cannot be started is counted here. Returns how many. */
static int start_calls(struct FaasmMemory *memory, struct words *words, const char *text,
                       size_t size, int64_t *calls)
{
    char self[65];
    int count = 0;
    size_t wanted = size / PIECES_MAX + 1;
    if (wanted < PIECE_BYTES)
        wanted = PIECE_BYTES;
    if (faasmCallInfo(memory, FAASM_INFO_FUNCTION, self, sizeof(self)) < 0)
        self[0] = '\0'; /* no such function */
    for (size_t at = 0, bytes; at < size; at += bytes) {
        bytes = piece_size(text + at, size - at, wanted);
        /* One word alone cannot be cut, and would be started for ever. */
        int64_t call = bytes < size ? faasmCallStart(memory, self, text + at, (uint32_t)bytes) : -1;
        if (call > 0)
            calls[count++] = call;
        else
            add_text(words, text + at, bytes);
    }
    return count;
}

static int count_words(struct FaasmMemory *memory, const char *text, size_t size)
{
    struct words words = {NULL, 0, 0};
    int64_t calls[PIECES_MAX];
    char *lines[PIECES_MAX];
    int count = 0;
    int failed = 0;
    if (size <= WHOLE_BYTES)
        add_text(&words, text, size);
    else
        count = start_calls(memory, &words, text, size, calls);
    for (int i = 0; i < count; i++) {
        lines[i] = add_result(memory, &words, calls[i]);
        failed |= !lines[i];
    }
    failed = failed || write_counts(memory, &words);
    for (int i = 0; i < count; i++)
        free(lines[i]);
    free(words.items);
    return failed;
}

int exec(struct FaasmMemory *memory)
{
    uint32_t size = faasmInputSize(memory);
    char *text = (char *)checked(malloc((size_t)size + 1));
    uint32_t at = 0;
    int got = 1;
    while (at < size && got > 0) {
        got = faasmReadInput(memory, at, text + at, size - at);
        at += got > 0 ? (uint32_t)got : 0;
    }
    int failed = at < size || count_words(memory, text, size);
    free(text);
    return failed;
}
