/* nbody.c - bodies that attract each other: few numbers, many divisions and square roots. */
#include "kernel.h"

#include <math.h>

#define BODIES 24
#define STEPS 6000
#define STEP 0.0005
#define SOFTENING 0.01 /* so that no two come so near that the numbers explode */

struct body {
    double position[3];
    double speed[3];
    double mass;
};

static struct body start[BODIES];

void kernel_prepare(void)
{
    for (int i = 0; i < BODIES; i++) {
        for (int axis = 0; axis < 3; axis++) {
            start[i].position[axis] = kernel_random(20000) / 1000.0 - 10;
            start[i].speed[axis] = kernel_random(2000) / 1000.0 - 1;
        }
        start[i].mass = 0.5 + kernel_random(1000) / 1000.0;
    }
}

static void attract(struct body *one, struct body *other)
{
    double way[3];
    double square = SOFTENING;
    for (int axis = 0; axis < 3; axis++) {
        way[axis] = one->position[axis] - other->position[axis];
        square += way[axis] * way[axis];
    }
    double pull = STEP / (square * sqrt(square));
    for (int axis = 0; axis < 3; axis++) {
        one->speed[axis] -= way[axis] * other->mass * pull;
        other->speed[axis] += way[axis] * one->mass * pull;
    }
}

uint64_t kernel_run(void)
{
    struct body bodies[BODIES];
    for (int i = 0; i < BODIES; i++)
        bodies[i] = start[i];
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < BODIES; i++) {
            for (int j = i + 1; j < BODIES; j++)
                attract(&bodies[i], &bodies[j]);
        }
        for (int i = 0; i < BODIES; i++) {
            for (int axis = 0; axis < 3; axis++)
                bodies[i].position[axis] += STEP * bodies[i].speed[axis];
        }
    }
    uint64_t sum = 0;
    for (int i = 0; i < BODIES; i++)
        sum = kernel_mix_double(sum, bodies[i].position[0]);
    return sum;
}
