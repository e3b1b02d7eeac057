/* mandelbrot.c - a fractal: a tight loop that no compiler can make parallel. */
#include "kernel.h"

#define WIDTH 320
#define HEIGHT 240
#define ROUNDS_MAX 400

void kernel_prepare(void)
{
}

static int rounds_at(double real, double imaginary)
{
    double x = 0;
    double y = 0;
    int rounds = 0;
    while (rounds < ROUNDS_MAX && x * x + y * y <= 4) {
        double next = x * x - y * y + real;
        y = 2 * x * y + imaginary;
        x = next;
        rounds++;
    }
    return rounds;
}

uint64_t kernel_run(void)
{
    uint64_t sum = 0;
    for (int row = 0; row < HEIGHT; row++) {
        for (int column = 0; column < WIDTH; column++) {
            int rounds = rounds_at(3.0 * column / WIDTH - 2.25, 2.5 * row / HEIGHT - 1.25);
            sum = kernel_mix(sum, (uint64_t)rounds);
        }
    }
    return sum;
}
