/* trap.c - how a guest ended, in words.
 *
 * The engine reports an end as a trap (a code), as an error (text), or both absent.  A host
 * function or a tick that ends a guest leaves its own code in sandbox->host_error, which wins: the
 * engine's trap is then only the vehicle.  Texts are made when they are asked for, so that a call
 * that ends well pays nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
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

#define NAME_SIZE 120              /* of a function's name, with its NUL */
#define TEXT_BYTES_MAX (64 * 1024) /* of a backtrace; frames beyond it are left out */

/* Function names come from the guest: only graphic ASCII is let through. */
static void put_name(char *text, size_t size, const wasm_frame_t *frame)
{
    const wasm_name_t *name = wasmtime_frame_func_name(frame);
    if (!name || name->size == 0) {
        (void)snprintf(text, size, "function[%u]", wasm_frame_func_index(frame));
        return;
    }
    size_t length = name->size < size - 1 ? name->size : size - 1;
    for (size_t i = 0; i < length; i++)
        text[i] = name->data[i] > ' ' && name->data[i] < 0x7f ? name->data[i] : '?';
    text[length] = '\0';
}

/* "file:line:column, " as far as it is known. */
static void put_place(char *text, size_t size, const struct fm_line_frame *line)
{
    text[0] = '\0';
    if (line->file[0] == '\0')
        return;
    if (line->line == 0)
        (void)snprintf(text, size, "%s, ", line->file);
    else if (line->column == 0)
        (void)snprintf(text, size, "%s:%u, ", line->file, line->line);
    else
        (void)snprintf(text, size, "%s:%u:%u, ", line->file, line->line, line->column);
}

/* A frame of the engine's, and before it those that were inlined into it. */
static int put_frame(struct fm_buffer *text, const struct fm_lines *lines,
                     const wasm_frame_t *frame)
{
    char name[NAME_SIZE];
    char place[256] = "";
    put_name(name, sizeof(name), frame);
    size_t offset = wasm_frame_module_offset(frame);
    if (offset == SIZE_MAX) /* the entry of a function, where the stack is checked: has no place */
        return fm_buffer_printf(text, "%s\n", name);

    struct fm_line_frame found[FM_LINES_INLINED_MAX];
    size_t count = fm_lines_find(lines, offset, found);
    for (size_t i = 0; i < count; i++) {
        const char *function = found[i].function[0] ? found[i].function : "?";
        put_place(place, sizeof(place), &found[i]);
        if (i == count - 1)
            break;
        int failed = fm_buffer_printf(text, "%s (%sinlined)\n", function, place);
        if (failed)
            return failed;
    }
    return fm_buffer_printf(text, "%s (%smodule offset 0x%zx)\n",
                            count > 0 && found[count - 1].function[0] ? found[count - 1].function
                                                                      : name,
                            place, fm_lines_shown(lines, offset));
}

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
    struct fm_buffer text;
    fm_buffer_init(&text, TEXT_BYTES_MAX);
    int failed = 0;
    for (size_t i = 0; !failed && i < count; i++)
        failed = put_frame(&text, &sandbox->module->lines, frames.data[i]);
    wasm_frame_vec_delete(&frames);
    if (fm_buffer_append(&text, "", 1) != 0) {
        fm_buffer_done(&text);
        return ""; /* out of memory: the trap itself is still told */
    }
    size_t length = 0;
    sandbox->backtrace_text = (char *)fm_buffer_take(&text, &length);
    return sandbox->backtrace_text;
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

/* The innermost cause of an error, one line of printable text: names in it are the guest's. */
static void root_cause(const wasmtime_error_t *error, char *text, size_t size)
{
    fm_wt_root_cause(error, text, size);
    text[strcspn(text, "\n")] = '\0';
    for (char *at = text; *at; at++)
        if (*at < ' ' || *at >= 0x7f)
            *at = '?';
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
    bool shown = ret_outcome->error == FM_ERR_GUEST_TRAP ||
                 ret_outcome->error == FM_ERR_GUEST_LIMIT || ret_outcome->error == FM_ERR_DEADLINE;
    if (shown && !sandbox->backtrace_text)
        ret_outcome->backtrace = backtrace(sandbox);
    else if (sandbox->backtrace_text)
        ret_outcome->backtrace = sandbox->backtrace_text;
}
