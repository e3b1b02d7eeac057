/* image.c - a picture is blurred, made half as large and grey, as for a thumbnail: bytes. */
#include "kernel.h"

#define WIDTH 1536
#define HEIGHT 1024
#define CHANNELS 4

static uint8_t picture[HEIGHT][WIDTH][CHANNELS];
static uint8_t blurred[HEIGHT][WIDTH][CHANNELS];
static uint8_t small[HEIGHT / 2][WIDTH / 2][CHANNELS];
static uint8_t grey[HEIGHT / 2][WIDTH / 2];

void kernel_prepare(void)
{
    for (int y = 0; y < HEIGHT; y++) {
        for (int x = 0; x < WIDTH; x++) {
            for (int c = 0; c < CHANNELS; c++)
                picture[y][x][c] = (uint8_t)((x * (c + 1) + y * 3) / 8 + (int)kernel_random(32));
        }
    }
}

/* Weights 1 2 1 in both directions. */
static void blur(void)
{
    for (int y = 1; y < HEIGHT - 1; y++) {
        const uint8_t *above = picture[y - 1][0];
        const uint8_t *here = picture[y][0];
        const uint8_t *below = picture[y + 1][0];
        uint8_t *to = blurred[y][0];
        for (int i = CHANNELS; i < (WIDTH - 1) * CHANNELS; i++) {
            int left = above[i - CHANNELS] + 2 * here[i - CHANNELS] + below[i - CHANNELS];
            int middle = above[i] + 2 * here[i] + below[i];
            int right = above[i + CHANNELS] + 2 * here[i + CHANNELS] + below[i + CHANNELS];
            to[i] = (uint8_t)((left + 2 * middle + right + 8) / 16);
        }
    }
}

static void shrink(void)
{
    for (int y = 0; y < HEIGHT / 2; y++) {
        for (int x = 0; x < WIDTH / 2; x++) {
            for (int c = 0; c < CHANNELS; c++) {
                int sum = blurred[2 * y][2 * x][c] + blurred[2 * y][2 * x + 1][c] +
                          blurred[2 * y + 1][2 * x][c] + blurred[2 * y + 1][2 * x + 1][c];
                small[y][x][c] = (uint8_t)((sum + 2) / 4);
            }
        }
    }
}

static void make_grey(void)
{
    for (int y = 0; y < HEIGHT / 2; y++) {
        for (int x = 0; x < WIDTH / 2; x++) {
            const uint8_t *pixel = small[y][x];
            grey[y][x] = (uint8_t)((77 * pixel[0] + 150 * pixel[1] + 29 * pixel[2]) / 256);
        }
    }
}

uint64_t kernel_run(void)
{
    blur();
    shrink();
    make_grey();
    uint64_t sum = 0;
    for (int y = 0; y < HEIGHT / 2; y++) {
        for (int x = 0; x < WIDTH / 2; x += 61)
            sum = kernel_mix(sum, grey[y][x]);
    }
    return sum;
}
