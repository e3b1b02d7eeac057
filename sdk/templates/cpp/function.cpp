#include <string>

#include "faasm.h"

// Greets whom the input names.
int exec(struct FaasmMemory *memory)
{
    std::string name(faasmInputSize(memory), '\0');
    faasmReadInput(memory, 0, &name[0], static_cast<uint32_t>(name.size()));
    std::string greeting = "Hello " + (name.empty() ? "faasm" : name) + "!";
    return faasmWriteOutput(memory, greeting.data(), static_cast<uint32_t>(greeting.size()));
}
