/* libfaasm.c - main() for sources that are compiled with the header of 2018.
 *
 * That header only declares exec(), and its chainFunction() writes into slots of memory: names of
 * 32 bytes, inputs of 64 KiB, 20 of each. In 2018 the server called into the module and read the
 * slots itself; here main() does so, and tells the host through today's imports. It keeps to the
 * rules of then: no lengths, trailing zeros are trimmed, the first slot without a name ends the
 * list.
 *
 * The compiler wrapper links this object into every program. main() is weak and takes arguments, so
 * that it gives way to any other: to a program's own, strong one, and to the one of today's
 * faasm.h, main(void), which the C library's start-up code prefers. (An archive would be the usual
 * way, but LLVM's archiver is a package of its own.) An unused main() leaves nothing in the
 * program. */
#define FAASM_NO_MAIN
#include "faasm.h"

/* The header of 2018 refused a call only after the 21st: it may write one slot too many. */
#define SLOTS (MAX_CHAINS + 1)

static uint8_t input[MAX_INPUT_BYTES + 1];
static uint8_t output[MAX_INPUT_BYTES];
static char chain_names[SLOTS][MAX_NAME_LENGTH];
static uint8_t chain_inputs[SLOTS][MAX_INPUT_BYTES];

static void chain_slots(void)
{
    for (int slot = 0; slot < MAX_CHAINS; slot++) {
        const char *name = chain_names[slot];
        uint32_t length = faasm_length_without_zeros(chain_inputs[slot], MAX_INPUT_BYTES);
        if (!name[0])
            return;
        if (faasm_chain(name, (uint32_t)strnlen(name, MAX_NAME_LENGTH), chain_inputs[slot],
                        length) < 0)
            faasmLog(FAASM_LOG_ERROR, "chainFunction: not chained, the host refused");
    }
    if (chain_names[MAX_CHAINS][0])
        faasmLog(FAASM_LOG_ERROR, "chainFunction: not chained, MAX_CHAINS reached");
}

__attribute__((weak)) int main(int argc, char **argv)
{
    /* The fields beyond those of 2018 are not known to exec() and stay as they are. */
    struct FaasmMemory memory = {input, output, (uint8_t *)chain_names, (uint8_t *)chain_inputs,
                                 0,     -1};
    (void)argc;
    (void)argv;

    int32_t size = faasm_input_size();
    if (size > MAX_INPUT_BYTES) {
        faasmLog(FAASM_LOG_ERROR, "the input is over 65536 bytes, and the header of 2018 cannot "
                                  "read more");
        return FAASM_EXIT_REFUSED;
    }
    if (size < 0 || faasm_input_read(0, input, MAX_INPUT_BYTES) < 0) {
        faasmLog(FAASM_LOG_ERROR, "the input cannot be read");
        return FAASM_EXIT_REFUSED;
    }

    int result = exec(&memory);
    chain_slots();
    uint32_t length = faasm_length_without_zeros(output, MAX_INPUT_BYTES);
    int written = length > 0 ? faasm_output_write(output, length) : 0;
    return result || written == 0 ? result : FAASM_EXIT_REFUSED;
}
