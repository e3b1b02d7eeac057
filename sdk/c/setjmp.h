/* setjmp.h - for functions, on top of WebAssembly's exceptions (setjmp.c says how). */
#ifndef FAASM_SETJMP_H
#define FAASM_SETJMP_H

#ifndef __wasm_exception_handling__
#error "setjmp() needs the option --setjmp of the Faasm compiler"
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    void *invocation; /* which call of the function that contains setjmp(): its frame */
    unsigned label;   /* which setjmp() in it */
    struct {
        void *buffer;
        int value;
    } thrown; /* what longjmp() throws points here */
} jmp_buf[1];

int setjmp(jmp_buf buffer) __attribute__((__returns_twice__));
void longjmp(jmp_buf buffer, int value) __attribute__((__noreturn__));

/* There are no signals, so there is no signal mask to keep. */
typedef jmp_buf sigjmp_buf;
#define _setjmp(buffer) setjmp(buffer)
#define _longjmp(buffer, value) longjmp(buffer, value)
#define sigsetjmp(buffer, save) setjmp(buffer)
#define siglongjmp(buffer, value) longjmp(buffer, value)

#ifdef __cplusplus
}
#endif

#endif
