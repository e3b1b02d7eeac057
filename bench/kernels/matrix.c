/* matrix.c - the product of two dense matrices, in blocks that fit the first cache. */
#include "kernel.h"

#define SIZE 384
#define BLOCK 48

static double left[SIZE][SIZE];
static double right[SIZE][SIZE];
static double product[SIZE][SIZE];

void kernel_prepare(void)
{
    for (int i = 0; i < SIZE; i++) {
        for (int j = 0; j < SIZE; j++) {
            left[i][j] = kernel_random(1000) / 1000.0;
            right[i][j] = kernel_random(1000) / 1000.0;
        }
    }
}

static void add_block(int rows, int inner, int columns)
{
    for (int i = rows; i < rows + BLOCK; i++) {
        for (int k = inner; k < inner + BLOCK; k++) {
            double factor = left[i][k];
            for (int j = columns; j < columns + BLOCK; j++)
                product[i][j] += factor * right[k][j];
        }
    }
}

uint64_t kernel_run(void)
{
    for (int i = 0; i < SIZE; i++) {
        for (int j = 0; j < SIZE; j++)
            product[i][j] = 0;
    }
    for (int i = 0; i < SIZE; i += BLOCK) {
        for (int k = 0; k < SIZE; k += BLOCK) {
            for (int j = 0; j < SIZE; j += BLOCK)
                add_block(i, k, j);
        }
    }
    uint64_t sum = 0;
    for (int i = 0; i < SIZE; i++)
        sum = kernel_mix_double(sum, product[i][SIZE - 1 - i]);
    return sum;
}
