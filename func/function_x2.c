/* Doubles each byte of its input (modulo 256), of any size. */
#include "faasm.h"

int exec(struct FaasmMemory *memory)
{
    uint8_t *bytes = memory->input;
    uint32_t offset = 0;
    int length;
    while ((length = faasmReadInput(memory, offset, bytes, MAX_INPUT_BYTES)) > 0) {
        for (int i = 0; i < length; i++)
            bytes[i] = (uint8_t)(2 * bytes[i]);
        if (faasmWriteOutput(memory, bytes, (uint32_t)length) != 0)
            return 1;
        offset += (uint32_t)length;
    }
    return length < 0 ? 1 : 0;
}
