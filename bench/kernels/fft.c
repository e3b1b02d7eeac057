/* fft.c - a fast Fourier transform, in place, there and back. */
#include "kernel.h"

#include <math.h>

#define BITS 16
#define SIZE (1 << BITS)

struct number {
    double real;
    double imaginary;
};

static struct number input[SIZE];
static struct number values[SIZE];
static struct number roots[SIZE / 2]; /* of one */

/* The roots by half-angles, from square roots and products, which are exact to the last bit
 * everywhere; the C libraries' sines are not. */
static struct number multiply(struct number one, struct number other)
{
    return (struct number){one.real * other.real - one.imaginary * other.imaginary,
                           one.real * other.imaginary + one.imaginary * other.real};
}

void kernel_prepare(void)
{
    struct number step = {-1, 0}; /* of half a turn, then of a quarter, ... */
    roots[0] = (struct number){1, 0};
    for (int distance = SIZE / 2; distance > 1;) {
        double cosine = sqrt((1 + step.real) / 2);
        step = (struct number){cosine, sqrt((1 - step.real) / 2)};
        distance /= 2;
        for (int i = 0; i < SIZE / 2; i += 2 * distance)
            roots[i + distance] = multiply(roots[i], step);
    }
    for (int i = 0; i < SIZE; i++)
        input[i] = (struct number){kernel_random(2000) / 1000.0 - 1, 0};
}

static void reorder(void)
{
    for (uint32_t i = 0, j = 0; i < SIZE; i++) {
        if (i < j) {
            struct number swapped = values[i];
            values[i] = values[j];
            values[j] = swapped;
        }
        uint32_t bit = SIZE >> 1;
        for (; j & bit; bit >>= 1)
            j ^= bit;
        j |= bit;
    }
}

static void transform(double direction)
{
    reorder();
    for (int half = 1; half < SIZE; half *= 2) {
        int stride = SIZE / 2 / half;
        for (int start = 0; start < SIZE; start += 2 * half) {
            for (int i = 0; i < half; i++) {
                struct number root = roots[i * stride];
                root.imaginary *= direction;
                struct number low = values[start + i];
                struct number high = multiply(values[start + i + half], root);
                values[start + i] =
                    (struct number){low.real + high.real, low.imaginary + high.imaginary};
                values[start + i + half] =
                    (struct number){low.real - high.real, low.imaginary - high.imaginary};
            }
        }
    }
}

uint64_t kernel_run(void)
{
    for (int i = 0; i < SIZE; i++)
        values[i] = input[i];
    transform(-1);
    uint64_t sum = 0;
    for (int i = 0; i < SIZE; i += 97)
        sum = kernel_mix_double(sum, values[i].real);
    transform(1);
    for (int i = 0; i < SIZE; i += 97)
        sum = kernel_mix_double(sum, values[i].real / SIZE);
    return sum;
}
