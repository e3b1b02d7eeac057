/* stacks.c - gives the memory of free call stacks back to the kernel.
 *
 * The pool keeps the stacks of fibers as they are: what a guest once touched stays resident, up to
 * the whole of `guest_stack_bytes` after a deep recursion, in as many stacks as ever ran at once.
 * The engine can clear a stack after every call instead, which costs a call a third of its time.
 *
 * So they are trimmed now and then, from the inside.  The pool hands out the stack that was free
 * for longest; a host function that is called as a guest's entry would be runs on it, and what lies
 * below its own frame is nobody's.  Doing that as often as stacks were in use at once reaches all
 * of them, since each goes to the end of the row.
 *
 *      top                                                                    bottom
 *      | frames, KEEP_BYTES |            given back            | NEAR_BYTES |guard|
 *                           ^ here
 *
 * Where a stack ends is not told.  But a frame this shallow is less than NEAR_BYTES from the top,
 * so that what is given back ends above the bottom in any case; and the last part belongs to host
 * functions on top of a full guest stack, so it is hardly ever touched. */
#include <sys/mman.h>
#include <unistd.h>

#include "engine/private.h"

#define NEAR_BYTES (64 * FM_KIB)
#define KEEP_BYTES (32 * FM_KIB) /* what an ordinary call needs stays */

static wasm_trap_t *trim(void *env, wasmtime_caller_t *caller, wasmtime_val_raw_t *values,
                         size_t values_count)
{
    (void)caller;
    (void)values;
    (void)values_count;
    const struct fm_engine *engine = env;
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    uintptr_t low = here + NEAR_BYTES - fm_settings_fiber_bytes(&engine->config);
    uintptr_t high = here - KEEP_BYTES;
    low = (low + page - 1) & ~(page - 1);
    high &= ~(page - 1);
    if (low < high) /* fails only for locked memory: then it stays */
        (void)madvise((void *)low, high - low, MADV_DONTNEED);
    return NULL;
}

void fm_engine_stack_trim(struct fm_engine *engine)
{
    wasmtime_store_t *store = wasmtime_store_new(engine->wasm, NULL, NULL);
    wasmtime_context_t *context = wasmtime_store_context(store);
    wasm_functype_t *type = fm_link_type_new(":");
    wasmtime_func_t function;
    wasm_trap_t *trap = NULL;
    wasmtime_error_t *error = NULL;
    wasmtime_func_new_unchecked(context, type, trim, engine, NULL, &function);
    wasmtime_call_future_t *future =
        wasmtime_func_call_async(context, &function, NULL, 0, NULL, 0, &trap, &error);
    while (!wasmtime_call_future_poll(future))
        ;
    wasmtime_call_future_delete(future);
    FM_ASSERT(!trap);
    if (error) /* no stack is free: none to trim */
        wasmtime_error_delete(error);
    wasm_functype_delete(type);
    wasmtime_store_delete(store);
}
