/* distance.c - how many changes make one text of another (Levenshtein, 1966): a table filled row by
 * row, each entry from three neighbours. */
#include "kernel.h"

#define LENGTH 5000

static char one[LENGTH];
static char other[LENGTH];
static int row[LENGTH + 1];

void kernel_prepare(void)
{
    for (int i = 0; i < LENGTH; i++) {
        one[i] = (char)('a' + kernel_random(4));
        other[i] = kernel_random(5) ? one[i] : (char)('a' + kernel_random(4));
    }
}

static int smallest(int a, int b, int c)
{
    int least = a < b ? a : b;
    return least < c ? least : c;
}

uint64_t kernel_run(void)
{
    for (int j = 0; j <= LENGTH; j++)
        row[j] = j;
    for (int i = 0; i < LENGTH; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 0; j < LENGTH; j++) {
            int above = row[j + 1];
            row[j + 1] = smallest(above + 1, row[j] + 1, diagonal + (one[i] != other[j]));
            diagonal = above;
        }
    }
    return (uint64_t)row[LENGTH];
}
