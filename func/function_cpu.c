/* Burns CPU: the input is a number of iterations in decimal (none: a million), the output the state
 * of a random number generator after so many steps. */
#include "faasm.h"

static int parse(const char *text, uint64_t *ret_number)
{
    const char *digit = text;
    uint64_t number = 0;
    for (; *digit >= '0' && *digit <= '9'; digit++) {
        if (number > (UINT64_MAX - 9) / 10)
            return -1;
        number = 10 * number + (uint64_t)(*digit - '0');
    }
    *ret_number = digit == text ? 1000000 : number;
    return *digit == '\0' || (digit[0] == '\n' && digit[1] == '\0') ? 0 : -1;
}

int exec(struct FaasmMemory *memory)
{
    uint64_t iterations;
    if (parse((const char *)memory->input, &iterations) != 0) {
        faasmLog(FAASM_LOG_ERROR, "cpu: the input must be a number of iterations");
        return 1;
    }

    /* xorshift64: each step needs the one before, so no compiler can do without the loop. */
    uint64_t state = 88172645463325252u;
    for (uint64_t i = 0; i < iterations; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
    }

    for (int i = 15; i >= 0; i--, state >>= 4)
        memory->output[i] = (uint8_t) "0123456789abcdef"[state & 15];
    return 0;
}
