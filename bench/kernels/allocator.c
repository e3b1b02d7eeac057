/* allocator.c - objects of many sizes come and go: the C library's malloc. */
#include "kernel.h"

#include <stdlib.h>
#include <string.h>

#define PLACES 20000
#define STEPS 600000

struct step {
    uint32_t place;
    uint32_t bytes;
};

static struct step steps[STEPS];
static uint8_t *objects[PLACES];

void kernel_prepare(void)
{
    for (int i = 0; i < STEPS; i++) {
        steps[i].place = kernel_random(PLACES);
        uint32_t bits = 4 + kernel_random(6); /* small ones are frequent */
        steps[i].bytes = 8 + kernel_random(1U << bits);
    }
}

uint64_t kernel_run(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < STEPS; i++) {
        uint8_t **object = &objects[steps[i].place];
        if (*object)
            sum += (*object)[0];
        free(*object);
        *object = malloc(steps[i].bytes);
        if (!*object)
            abort();
        memset(*object, i & 0xff, 8);
    }
    for (int i = 0; i < PLACES; i++) {
        free(objects[i]);
        objects[i] = NULL;
    }
    return sum;
}
