/* main.c - runs a kernel and prints its checksum, and the shortest of its runs in nanoseconds.
 *   KERNEL [RUNS]
 * The shortest, because whatever else happens on the machine only makes a run longer. */
#include "kernel.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS_DEFAULT 5
#define NS_PER_S 1000000000

static uint64_t state = 0x9e3779b97f4a7c15U;

uint32_t kernel_random(uint32_t limit)
{
    state ^= state << 13; /* xorshift64 */
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 32) % limit);
}

uint64_t kernel_mix(uint64_t sum, uint64_t value)
{
    return ((sum ^ value) * 0x100000001b3U) ^ (sum >> 29);
}

uint64_t kernel_mix_double(uint64_t sum, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return kernel_mix(sum, bits);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        abort();
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
    int runs = argc > 1 ? atoi(argv[1]) : RUNS_DEFAULT;
    uint64_t shortest_ns = UINT64_MAX;
    uint64_t sum = 0;
    kernel_prepare();
    for (int i = 0; i < runs; i++) {
        uint64_t before = now_ns();
        uint64_t found = kernel_run();
        uint64_t took = now_ns() - before;
        if (i > 0 && found != sum)
            abort();
        sum = found;
        if (took < shortest_ns)
            shortest_ns = took;
    }
    printf("%016" PRIx64 " %" PRIu64 "\n", sum, shortest_ns);
    return 0;
}
