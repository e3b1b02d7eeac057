/* Counts primes: the input is a number n of up to 4 million in decimal, the output how many primes
 * there are up to n, and the largest of them.
 *
 * The sieve does not depend on the input, so it is made once, when the module is uploaded: every
 * call starts with the memory that prepare() has left.  Elsewhere (a native program, a server that
 * knows nothing of this) the first call makes it. */
#include "faasm.h"

#define LIMIT 4000000

#if defined(__wasm__) && !defined(PRIMES_NOT_PREPARED) /* bench/ measures the difference */
#define AT_UPLOAD __attribute__((export_name("wizer-initialize")))
#else
#define AT_UPLOAD
#endif

static uint8_t composite[LIMIT / 16 + 1];  /* a bit for each odd number */
static uint32_t counted[LIMIT / 8192 + 2]; /* primes below each multiple of 8192 */
static int ready;

static int is_prime(uint32_t n)
{
    if (n < 3 || n % 2 == 0)
        return n == 2;
    return !(composite[n / 16] >> n / 2 % 8 & 1);
}

AT_UPLOAD void prepare(void);

void prepare(void)
{
    composite[0] = 1; /* 1 is none */
    for (uint32_t n = 3; n * n <= LIMIT; n += 2)
        for (uint32_t i = n * n; is_prime(n) && i <= LIMIT; i += 2 * n)
            composite[i / 16] = (uint8_t)(composite[i / 16] | 1 << i / 2 % 8);
    uint32_t count = 0;
    for (uint32_t n = 0; n <= LIMIT; n++) {
        if (n % 8192 == 0)
            counted[n / 8192] = count;
        count += (uint32_t)is_prime(n);
    }
    ready = 1;
}

static uint8_t *put_number(uint8_t *at, uint32_t number)
{
    uint32_t unit = 1;
    while (number / unit > 9)
        unit *= 10;
    for (; unit > 0; unit /= 10)
        *at++ = (uint8_t)('0' + number / unit % 10);
    return at;
}

int exec(struct FaasmMemory *memory)
{
    const char *text = (const char *)memory->input;
    uint32_t n = 0;
    const char *digit = text;
    for (; *digit >= '0' && *digit <= '9' && n <= LIMIT; digit++)
        n = 10 * n + (uint32_t)(*digit - '0');
    if (*digit == '\n')
        digit++;
    if (*digit != '\0' || digit == text || n > LIMIT) {
        faasmLog(FAASM_LOG_ERROR, "primes: the input must be a number up to 4000000");
        return 1;
    }
    if (!ready)
        prepare();

    uint32_t count = counted[n / 8192];
    uint32_t largest = 0;
    for (uint32_t i = n / 8192 * 8192; i <= n; i++)
        count += (uint32_t)is_prime(i);
    for (uint32_t i = n; i > 1 && !largest; i--)
        largest = is_prime(i) ? i : 0;
    uint8_t *end = put_number(memory->output, count);
    *end++ = ' ';
    put_number(end, largest);
    return 0;
}
