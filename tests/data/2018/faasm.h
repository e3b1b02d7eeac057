/* A header in the style of 2018, for the test of the guest compiler: no main(), no imports, chained
 * calls are left in slots of memory, and an entry point for the compiler of that time only. */
#ifndef _FAASM_H
#define _FAASM_H 1

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MAX_NAME_LENGTH 32
#define MAX_INPUT_BYTES 65536
#define MAX_CHAINS 20

struct FaasmMemory {
    uint8_t *input;
    uint8_t *output;
    uint8_t *chainFunctions;
    uint8_t *chainInputs;
    int32_t chainCount;
};

int exec(struct FaasmMemory *memory);

#if __clang_major__ == 8
int run(uint8_t *in, uint8_t *out, uint8_t *names, uint8_t *inputs)
{
    struct FaasmMemory memory = {in, out, names, inputs, 0};
    return exec(&memory);
}
#endif

void chainFunction(struct FaasmMemory *memory, const char *name, uint8_t *data, int length)
{
    int slot = memory->chainCount;
    if (slot > MAX_CHAINS) {
        fprintf(stderr, "too many chained functions\n");
        return;
    }
    strcpy((char *)memory->chainFunctions + slot * MAX_NAME_LENGTH, name);
    memcpy(memory->chainInputs + slot * MAX_INPUT_BYTES, data, length);
    memory->chainCount = slot + 1;
}

#endif
