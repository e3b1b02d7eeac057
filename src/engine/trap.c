/* trap.c - how a guest ended, in words.
 *
 * The engine reports an end as a trap (a code), as an error (text), or both absent.  A host
 * function or a tick that ends a guest leaves its own code in sandbox->host_error, which wins: the
 * engine's trap is then only the vehicle.  Texts are made when they are asked for, so that a call
 * that ends well pays nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "engine/private.h"
#include "engine/sandbox_private.h"

struct trap_text {
    wasmtime_trap_code_t code;
    const char *name;
    const char *sentence;
};

static const struct trap_text trap_texts[] = {
    {WASMTIME_TRAP_CODE_STACK_OVERFLOW, "stack_overflow", "the call stack is exhausted"},
    {WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS, "memory_out_of_bounds",
     "an access outside the linear memory"},
    {WASMTIME_TRAP_CODE_HEAP_MISALIGNED, "misaligned", "a misaligned atomic access"},
    {WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS, "table_out_of_bounds", "an access outside a table"},
    {WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL, "indirect_call_to_null",
     "an indirect call of an empty table entry"},
    {WASMTIME_TRAP_CODE_BAD_SIGNATURE, "bad_signature",
     "an indirect call of a function of another type"},
    {WASMTIME_TRAP_CODE_INTEGER_OVERFLOW, "integer_overflow", "an integer overflow"},
    {WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO, "division_by_zero",
     "an integer division by zero"},
    {WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER, "bad_conversion",
     "a float that no integer can hold"},
    {WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED, "unreachable",
     "an `unreachable` instruction (abort, failed assertion)"},
    {WASMTIME_TRAP_CODE_NULL_REFERENCE, "null_reference", "a null reference"},
    {WASMTIME_TRAP_CODE_ALLOCATION_TOO_LARGE, "allocation_too_large",
     "an allocation that is too large"},
    {WASMTIME_TRAP_CODE_UNCAUGHT_EXCEPTION, "uncaught_exception", "an exception nobody caught"},
};

void fm_trap_clear(struct fm_sandbox *sandbox)
{
    if (sandbox->trap)
        wasm_trap_delete(sandbox->trap);
    if (sandbox->error)
        wasmtime_error_delete(sandbox->error);
    free(sandbox->backtrace_text);
    sandbox->trap = NULL;
    sandbox->error = NULL;
    sandbox->backtrace_text = NULL;
    sandbox->host_error = 0;
    sandbox->explanation[0] = '\0';
}

/* Function names come from the guest: only graphic ASCII is let through. */
static size_t put_name(char *text, size_t size, const wasm_frame_t *frame)
{
    const wasm_name_t *name = wasmtime_frame_func_name(frame);
    if (!name || name->size == 0)
        return (size_t)snprintf(text, size, "function[%u]", wasm_frame_func_index(frame));
    size_t length = name->size < size - 1 ? name->size : size - 1;
    for (size_t i = 0; i < length; i++)
        text[i] = name->data[i] > ' ' && name->data[i] < 0x7f ? name->data[i] : '?';
    text[length] = '\0';
    return length;
}

#define FRAME_LINE_SIZE 160

static const char *backtrace(struct fm_sandbox *sandbox)
{
    wasm_frame_vec_t frames;
    if (sandbox->trap)
        wasm_trap_trace(sandbox->trap, &frames);
    else if (sandbox->error)
        wasmtime_error_wasm_trace(sandbox->error, &frames);
    else
        return "";
    size_t count = frames.size < FM_BACKTRACE_FRAMES_MAX ? frames.size : FM_BACKTRACE_FRAMES_MAX;
    char *text = malloc(count * FRAME_LINE_SIZE + 1);
    size_t used = 0;
    for (size_t i = 0; text && i < count; i++) {
        char name[FRAME_LINE_SIZE - 40];
        (void)put_name(name, sizeof(name), frames.data[i]);
        size_t offset = wasm_frame_module_offset(frames.data[i]);
        /* The entry of a function, where the stack is checked, has no place in the module. */
        used += (size_t)(offset == SIZE_MAX ? snprintf(text + used, FRAME_LINE_SIZE, "%s\n", name)
                                            : snprintf(text + used, FRAME_LINE_SIZE,
                                                       "%s (module offset 0x%zx)\n", name, offset));
    }
    wasm_frame_vec_delete(&frames);
    if (!text)
        return ""; /* out of memory: the trap itself is still told */
    text[used] = '\0';
    sandbox->backtrace_text = text;
    return text;
}

static void describe_trap(struct fm_sandbox *sandbox, struct fm_sandbox_outcome *outcome)
{
    outcome->error = FM_ERR_GUEST_TRAP;
    outcome->trap = "trap";
    outcome->detail = "the guest trapped";
    wasmtime_trap_code_t code;
    if (!wasmtime_trap_code(sandbox->trap, &code))
        return;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(trap_texts); i++) {
        if (trap_texts[i].code == code) {
            outcome->trap = trap_texts[i].name;
            outcome->detail = trap_texts[i].sentence;
        }
    }
}

/* The innermost cause of an error, one line of printable text.  The engine prints the outermost
 * first and may put a backtrace (with names that the guest chose) in between. */
static void root_cause(const wasmtime_error_t *error, char *text, size_t size)
{
    wasm_name_t message;
    wasmtime_error_message(error, &message);
    static const char mark[] = "Caused by:";
    const char *start = message.data;
    const char *end = message.data + message.size;
    const char *found = NULL;
    while ((found = memmem(start, (size_t)(end - start), mark, sizeof(mark) - 1)) != NULL)
        start = found + sizeof(mark) - 1;
    while (start < end &&
           (*start == '\n' || *start == ' ' || *start == ':' || (*start >= '0' && *start <= '9')))
        start++;
    size_t used = 0;
    for (; start < end && *start != '\n' && used < size - 1; start++)
        text[used++] = *start >= ' ' && *start < 0x7f ? *start : '?';
    text[used] = '\0';
    wasm_byte_vec_delete(&message);
}

/* An error that no host function of ours made: the pool is full, a missing import was called, an
 * exception was not caught, memory ran out. */
static void describe_error(struct fm_sandbox *sandbox, struct fm_sandbox_outcome *outcome)
{
    root_cause(sandbox->error, sandbox->explanation, sizeof(sandbox->explanation));
    outcome->detail = sandbox->explanation;
    outcome->error = FM_ERR_GUEST_TRAP;
    if (strstr(sandbox->explanation, "maximum concurrent")) {
        outcome->error = FM_ERR_BUSY;
        outcome->detail = "no sandbox is free";
    } else if (strstr(sandbox->explanation, "unknown import")) {
        outcome->trap = "missing_import";
    } else if (strstr(sandbox->explanation, "exception")) {
        outcome->trap = "uncaught_exception";
        outcome->detail = "an exception nobody caught";
    } else {
        outcome->trap = "engine";
    }
}

void fm_sandbox_outcome(struct fm_sandbox *sandbox, struct fm_sandbox_outcome *ret_outcome)
{
    FM_ASSERT(!sandbox->future);
    *ret_outcome = (struct fm_sandbox_outcome){.trap = "", .detail = "", .backtrace = ""};
    if (!sandbox->trap && !sandbox->error)
        return;
    if (sandbox->host_error) {
        ret_outcome->error = sandbox->host_error;
        ret_outcome->detail = sandbox->explanation;
        if (sandbox->host_error == FM_ERR_GUEST_TRAP)
            ret_outcome->trap = "bad_pointer";
    } else if (sandbox->trap) {
        describe_trap(sandbox, ret_outcome);
    } else {
        describe_error(sandbox, ret_outcome);
    }
    if (ret_outcome->error == FM_ERR_GUEST_TRAP && !sandbox->backtrace_text)
        ret_outcome->backtrace = backtrace(sandbox);
    else if (sandbox->backtrace_text)
        ret_outcome->backtrace = sandbox->backtrace_text;
}
