/* interpreter.c - a small machine with a stack runs a sieve: the loop over a switch that
 * interpreters of languages are made of. */
#include "kernel.h"

#include <stdlib.h>

#define LIMIT 400000 /* of the sieve */
#define STACK_MAX 16
#define VARIABLES 4

enum operation {
    PUSH, /* the operand */
    GET,  /* a variable */
    SET,  /* a variable, from the stack */
    ADD,
    MULTIPLY,
    LESS,
    LOAD,  /* a cell whose index is on the stack */
    STORE, /* value, index */
    JUMP,
    JUMP_IF_NOT,
    HALT,
};

struct instruction {
    enum operation operation;
    int32_t operand;
};

static int32_t cells[LIMIT];

/* Variables: 0 is the number, 1 its multiple, 2 how many primes there are. */
static const struct instruction program[] = {
    {PUSH, 2},     {SET, 0},                                        /* 0: number = 2 */
    {GET, 0},      {PUSH, LIMIT},                                   /* 2: while number < LIMIT */
    {LESS, 0},     {JUMP_IF_NOT, 34}, {GET, 0},          {LOAD, 0}, /* 6: if (!cells[number]) */
    {PUSH, 1},     {LESS, 0},         {JUMP_IF_NOT, 29}, {GET, 2},  /* 11: primes += 1 */
    {PUSH, 1},     {ADD, 0},          {SET, 2},          {GET, 0},  /* 15: multiple = number * 2 */
    {PUSH, 2},     {MULTIPLY, 0},     {SET, 1},          {GET, 1},  /* 19: while multiple < LIMIT */
    {PUSH, LIMIT}, {LESS, 0},         {JUMP_IF_NOT, 29}, {PUSH, 1}, /* 23: cells[multiple] = 1 */
    {GET, 1},      {STORE, 0},        {JUMP, 36},        {HALT, 0}, /* 26 */
    {HALT, 0},     {GET, 0},                                        /* 29: number += 1 */
    {PUSH, 1},     {ADD, 0},          {SET, 0},          {JUMP, 2},
    {GET, 2},      {HALT, 0}, /* 34: the answer */
    {GET, 1},      {GET, 0},  /* 36: multiple += number */
    {ADD, 0},      {SET, 1},          {JUMP, 19},
};

void kernel_prepare(void)
{
}

static int32_t run(const struct instruction *code)
{
    int32_t stack[STACK_MAX];
    int32_t variables[VARIABLES] = {0};
    int32_t *top = stack; /* the first free place */
    for (const struct instruction *at = code;;) {
        int32_t operand = at->operand;
        switch ((at++)->operation) {
        case PUSH:
            *top++ = operand;
            break;
        case GET:
            *top++ = variables[operand];
            break;
        case SET:
            variables[operand] = *--top;
            break;
        case ADD:
            top--;
            top[-1] += top[0];
            break;
        case MULTIPLY:
            top--;
            top[-1] *= top[0];
            break;
        case LESS:
            top--;
            top[-1] = top[-1] < top[0];
            break;
        case LOAD:
            top[-1] = cells[top[-1]];
            break;
        case STORE:
            top -= 2;
            cells[top[1]] = top[0];
            break;
        case JUMP:
            at = code + operand;
            break;
        case JUMP_IF_NOT:
            if (!*--top)
                at = code + operand;
            break;
        case HALT:
            return top[-1];
        default:
            abort();
        }
    }
}

uint64_t kernel_run(void)
{
    for (int i = 0; i < LIMIT; i++)
        cells[i] = 0;
    return (uint64_t)run(program);
}
