#include "faasm.h"

/* Greets whom the input names. */
int exec(struct FaasmMemory *memory)
{
    const char *name = (const char *)memory->input;
    snprintf((char *)memory->output, MAX_INPUT_BYTES, "Hello %s!", *name ? name : "faasm");
    return 0;
}
