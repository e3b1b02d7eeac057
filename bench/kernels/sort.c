/* sort.c - records, by a comparison that the caller gives: calls through pointers, and branches
 * that nobody can foresee.  A heap sort, and a merge of runs. */
#include "kernel.h"

#include <string.h>

#define COUNT 60000
#define RUN 16 /* records that are sorted by insertion first */

struct record {
    uint32_t key;
    uint32_t weight;
    char name[8];
};

typedef int comparison(const struct record *one, const struct record *other);

static struct record input[COUNT];
static struct record records[COUNT];
static struct record spare[COUNT];

void kernel_prepare(void)
{
    for (int i = 0; i < COUNT; i++) {
        input[i].key = kernel_random(COUNT);
        input[i].weight = kernel_random(1000);
        for (size_t j = 0; j < sizeof(input[i].name); j++)
            input[i].name[j] = (char)('a' + kernel_random(4));
    }
}

static int by_key(const struct record *one, const struct record *other)
{
    if (one->key != other->key)
        return one->key < other->key ? -1 : 1;
    return one->weight < other->weight ? -1 : one->weight > other->weight;
}

static int by_name(const struct record *one, const struct record *other)
{
    int order = memcmp(one->name, other->name, sizeof(one->name));
    return order ? order : by_key(one, other);
}

/* Not known when the sorts are compiled, as in a library. */
static comparison *volatile comparisons[] = {by_key, by_name};

static void sift(struct record *heap, size_t at, size_t count, comparison *compare)
{
    struct record moved = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && compare(&heap[child], &heap[child + 1]) < 0)
            child++;
        if (compare(&moved, &heap[child]) >= 0)
            break;
        heap[at] = heap[child];
    }
    heap[at] = moved;
}

static void heap_sort(struct record *array, size_t count, comparison *compare)
{
    for (size_t i = count / 2; i-- > 0;)
        sift(array, i, count, compare);
    for (size_t i = count - 1; i > 0; i--) {
        struct record last = array[i];
        array[i] = array[0];
        array[0] = last;
        sift(array, 0, i, compare);
    }
}

static void insertion_sort(struct record *array, size_t count, comparison *compare)
{
    for (size_t i = 1; i < count; i++) {
        struct record moved = array[i];
        size_t at = i;
        for (; at > 0 && compare(&array[at - 1], &moved) > 0; at--)
            array[at] = array[at - 1];
        array[at] = moved;
    }
}

static void merge(struct record *to, const struct record *from, size_t middle, size_t count,
                  comparison *compare)
{
    size_t left = 0;
    size_t right = middle;
    for (size_t i = 0; i < count; i++) {
        if (left < middle && (right == count || compare(&from[left], &from[right]) <= 0))
            to[i] = from[left++];
        else
            to[i] = from[right++];
    }
}

static size_t smaller(size_t one, size_t other)
{
    return one < other ? one : other;
}

static void merge_sort(struct record *array, size_t count, comparison *compare)
{
    for (size_t at = 0; at < count; at += RUN)
        insertion_sort(array + at, smaller(RUN, count - at), compare);
    for (size_t width = RUN; width < count; width *= 2) {
        memcpy(spare, array, count * sizeof(*array));
        for (size_t at = 0; at < count; at += 2 * width) {
            size_t length = smaller(2 * width, count - at);
            merge(array + at, spare + at, smaller(width, length), length, compare);
        }
    }
}

static uint64_t sum_of(uint64_t sum)
{
    for (int i = 0; i < COUNT; i += 7)
        sum = kernel_mix(sum, (uint64_t)records[i].key << 32 | records[i].weight);
    return sum;
}

uint64_t kernel_run(void)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof(comparisons) / sizeof(comparisons[0]); i++) {
        memcpy(records, input, sizeof(records));
        heap_sort(records, COUNT, comparisons[i]);
        sum = sum_of(sum);
        memcpy(records, input, sizeof(records));
        merge_sort(records, COUNT, comparisons[i]);
        sum = sum_of(sum);
    }
    return sum;
}
