/* words.c - counts the words of a text in a hash table, as a map and reduce does. */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_BYTES (4 << 20)
#define WORDS 20000 /* different ones */
#define WORD_BYTES_MAX 14
#define BUCKETS 16384

struct entry {
    struct entry *next;
    uint32_t hash;
    uint32_t count;
    size_t length;
    char word[];
};

static char text[TEXT_BYTES];
static struct entry *buckets[BUCKETS];

void kernel_prepare(void)
{
    static char words[WORDS][WORD_BYTES_MAX + 1];
    for (int i = 0; i < WORDS; i++) {
        uint32_t length = 2 + kernel_random(WORD_BYTES_MAX - 1);
        for (uint32_t j = 0; j < length; j++)
            words[i][j] = (char)('a' + kernel_random(26));
    }
    size_t at = 0;
    while (at + WORD_BYTES_MAX + 1 < TEXT_BYTES) {
        uint32_t ceiling = 1 + kernel_random(WORDS); /* some are much more frequent */
        const char *word = words[kernel_random(ceiling)];
        size_t length = strlen(word);
        memcpy(text + at, word, length);
        at += length;
        text[at++] = " \n,."[kernel_random(16) < 13 ? 0 : 1 + kernel_random(3)];
    }
    memset(text + at, ' ', TEXT_BYTES - at);
}

static int is_letter(char c)
{
    return c >= 'a' && c <= 'z';
}

static void count_word(const char *word, size_t length)
{
    uint32_t hash = 2166136261U; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)word[i]) * 16777619U;
    struct entry **place = &buckets[hash % BUCKETS];
    for (struct entry *entry = *place; entry; entry = entry->next) {
        if (entry->hash == hash && entry->length == length &&
            memcmp(entry->word, word, length) == 0) {
            entry->count++;
            return;
        }
    }
    struct entry *entry = malloc(sizeof(*entry) + length);
    if (!entry)
        abort();
    entry->next = *place;
    entry->hash = hash;
    entry->count = 1;
    entry->length = length;
    memcpy(entry->word, word, length);
    *place = entry;
}

static uint64_t empty_table(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < BUCKETS; i++) {
        while (buckets[i]) {
            struct entry *entry = buckets[i];
            buckets[i] = entry->next;
            sum = kernel_mix(sum, (uint64_t)entry->hash << 32 | entry->count);
            free(entry);
        }
    }
    return sum;
}

uint64_t kernel_run(void)
{
    for (size_t at = 0; at < TEXT_BYTES;) {
        size_t start = at;
        while (at < TEXT_BYTES && is_letter(text[at]))
            at++;
        if (at > start)
            count_word(text + start, at - start);
        else
            at++;
    }
    return empty_table();
}
