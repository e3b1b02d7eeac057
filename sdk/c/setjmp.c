/* setjmp.c - what LLVM calls for setjmp() and longjmp() (its "SjLj" lowering).
 *
 * The compiler rewrites a function that contains setjmp(): each call becomes __wasm_setjmp(), which
 * notes the place and the frame, and calls below it are wrapped in a handler. longjmp() becomes
 * __wasm_longjmp(), which throws. The handler asks __wasm_setjmp_test() whether the thrown buffer
 * is of its frame: a place to go on from, or 0, and it throws on. Names, parameters and the two
 * words that the handler reads from what was thrown are LLVM's. */
#include "setjmp.h"

void __wasm_setjmp(void *buffer, unsigned label, void *invocation);
unsigned __wasm_setjmp_test(void *buffer, void *invocation);
void __wasm_longjmp(void *buffer, int value);

void __wasm_setjmp(void *buffer, unsigned label, void *invocation)
{
    jmp_buf *jump = buffer;
    (*jump)->invocation = invocation;
    (*jump)->label = label;
}

unsigned __wasm_setjmp_test(void *buffer, void *invocation)
{
    jmp_buf *jump = buffer;
    return (*jump)->invocation == invocation ? (*jump)->label : 0;
}

void __wasm_longjmp(void *buffer, int value)
{
    jmp_buf *jump = buffer;
    (*jump)->thrown.buffer = buffer;
    (*jump)->thrown.value = value ? value : 1;
    __builtin_wasm_throw(1, &(*jump)->thrown); /* 1: longjmp's tag */
}

/* The tag itself: one pointer. */
__asm__(".globl __c_longjmp\n"
        ".tagtype __c_longjmp i32\n"
        "__c_longjmp:\n");
