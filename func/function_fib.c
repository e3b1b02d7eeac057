/* Parallel Fibonacci: a call for n starts two calls of itself, for n-1 and n-2, and adds what they
 * found. So that this does not become a call per addition, only the LEVELS uppermost levels of the
 * tree are calls; what lies below is computed in place.
 *
 * The input is n, up to 93, as decimal text (none: 20); a child's has the n from which on to
 * compute behind it. Where no call can be started (`faasm run`, a limit) the work is done here. */
#include "faasm.h"

#define N_MAX 93 /* the last that fits into 64 bits */
#define LEVELS 6 /* at most 2^7 - 2 calls beside the first */

/* Reads digits at `at`. Returns how many there were, or -1 for a number that is too large. */
static int parse(const char *at, uint64_t *ret_number)
{
    int digits = 0;
    *ret_number = 0;
    for (; at[digits] >= '0' && at[digits] <= '9'; digits++) {
        if (*ret_number > (UINT64_MAX - 9) / 10)
            return -1;
        *ret_number = 10 * *ret_number + (uint64_t)(at[digits] - '0');
    }
    return digits;
}

/* Writes the number, without a zero behind it. Returns how many digits that were, at most 20. */
static uint32_t format(uint64_t number, char *text)
{
    uint32_t length = 1;
    for (uint64_t rest = number / 10; rest > 0; rest /= 10)
        length++;
    for (uint32_t i = length; i-- > 0; number /= 10)
        text[i] = (char)('0' + number % 10);
    return length;
}

/* The slow way, on purpose: this is the work that is shared out. */
static uint64_t compute(unsigned n)
{
    return n < 2 ? n : compute(n - 1) + compute(n - 2);
}

static int64_t start(struct FaasmMemory *memory, const char *self, unsigned n, unsigned leaf)
{
    char input[48];
    uint32_t length = format(n, input);
    input[length++] = ' ';
    length += format(leaf, input + length);
    return faasmCallStart(memory, self, input, length);
}

/* What the call found; or, if there is none, what we find. */
static int result_of(struct FaasmMemory *memory, int64_t call, unsigned n, uint64_t *ret_result)
{
    char text[32] = "";
    if (call < 0) {
        *ret_result = compute(n);
        return 0;
    }
    if (faasmAwaitCallOutput(memory, call, text, sizeof(text) - 1) > 0 &&
        parse(text, ret_result) > 0)
        return 0;
    faasmLog(FAASM_LOG_ERROR, "fib: a call has failed");
    return 1;
}

static int add_up(struct FaasmMemory *memory, unsigned n, unsigned leaf, uint64_t *ret_result)
{
    char self[65];
    uint64_t one = 0;
    uint64_t two = 0;
    if (faasmCallInfo(memory, FAASM_INFO_FUNCTION, self, sizeof(self)) < 0)
        return 1;
    int64_t first = start(memory, self, n - 1, leaf);
    int64_t second = start(memory, self, n - 2, leaf);
    if (result_of(memory, first, n - 1, &one) != 0 || result_of(memory, second, n - 2, &two) != 0)
        return 1;
    *ret_result = one + two;
    return 0;
}

/* "n", or "n leaf". */
static int parse_input(const char *text, unsigned *ret_n, unsigned *ret_leaf)
{
    uint64_t n = 0;
    uint64_t leaf = 0;
    int digits = parse(text, &n);
    if (digits == 0 && *text == '\0')
        n = 20;
    else if (digits <= 0)
        return -1;
    if (n > N_MAX)
        return -1;
    leaf = n > LEVELS ? n - LEVELS : 0;
    text += digits;
    if (*text == ' ') {
        digits = parse(text + 1, &leaf);
        if (digits <= 0 || leaf > N_MAX)
            return -1;
        text += 1 + digits;
    }
    *ret_n = (unsigned)n;
    *ret_leaf = (unsigned)leaf;
    return *text == '\0' || (text[0] == '\n' && text[1] == '\0') ? 0 : -1;
}

int exec(struct FaasmMemory *memory)
{
    unsigned n;
    unsigned leaf;
    uint64_t result = 0;
    if (parse_input((const char *)memory->input, &n, &leaf) != 0) {
        faasmLog(FAASM_LOG_ERROR, "fib: the input must be a number up to 93");
        return 1;
    }
    if (n < 2 || n <= leaf)
        result = compute(n);
    else if (add_up(memory, n, leaf, &result) != 0)
        return 1;
    faasmSetOutputLength(memory, format(result, (char *)memory->output));
    return 0;
}
