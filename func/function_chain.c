/* Calls three other functions of the same user, which run when this one has ended. */
#include "faasm.h"

int exec(struct FaasmMemory *memory)
{
    uint8_t for_echo[] = {0, 1, 2};
    uint8_t for_x2[] = {1, 2, 3};
    uint8_t for_dummy[] = {2, 3, 4};

    chainFunction(memory, "echo", for_echo, sizeof(for_echo));
    chainFunction(memory, "x2", for_x2, sizeof(for_x2));
    chainFunction(memory, "dummy", for_dummy, sizeof(for_dummy));
    return 0;
}
