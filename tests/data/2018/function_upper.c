/* A source in the style of 2018: the input is a C string, its upper case the output. For each digit
 * in it, as many calls are chained. */
#include "faasm.h"

int exec(struct FaasmMemory *memory)
{
    char *in = (char *)memory->input;
    for (int i = 0; in[i] != '\0' && i < MAX_INPUT_BYTES; i++) {
        memory->output[i] = in[i] >= 'a' && in[i] <= 'z' ? in[i] - 32 : in[i];
        if (in[i] >= '0' && in[i] <= '9') {
            for (int calls = in[i] - '0'; calls > 0; calls--) {
                uint8_t data[] = {1, (uint8_t)calls, 3};
                chainFunction(memory, "next", data, 3);
            }
        }
    }
    printf("%d chained\n", memory->chainCount);
    return 0;
}
