/* A basic Faasm function: it leaves a greeting in its output. README.md compiles and calls it. */
#include "faasm.h"

int exec(struct FaasmMemory *memory)
{
    strcpy((char *)memory->output, "Hello faasm!");
    return 0;
}
