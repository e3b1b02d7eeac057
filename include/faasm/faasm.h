/* faasm.h - what a Faasm function includes.
 *
 * A function is one `int exec(struct FaasmMemory *)`. The header brings the rest: the host's
 * imports, the calls below and, as weak symbols, the main() that fetches the input, calls exec()
 * and sends the output. So a source needs no library and no wrapper, may be C or C++, and may be
 * one file of many that all include this header.
 *
 * Two ways of input and output, which can be mixed:
 *   memory->input, memory->output   64 KiB each and without a length, as in 2018. The input ends
 *                                   in zeros; trailing zeros of the output are not sent.
 *   faasmReadInput() and relatives  any size, every byte counts.
 *
 * A program that nowhere uses faasmInputSize() or faasmReadInput() could see only the beginning of
 * an input over 64 KiB. It is not run on one: it says so on its log and ends with exit code 75.
 *
 * Compiled for another target than WebAssembly, the same source is an ordinary program from
 * standard input to standard output, for the debugger (faasm-native.h).
 *
 * Errors are negative numbers of <errno.h>.
 *
 * Define FAASM_NO_MAIN before the #include where a program has its own main(). */
#ifndef FAASM_H
#define FAASM_H

#include <stdint.h>
#include <stdio.h> /* not needed here, but sources of 2018 count on it */
#include <string.h>

#define MAX_INPUT_BYTES 65536 /* of memory->input and of memory->output */
#define MAX_CHAINS 20         /* calls of chainFunction(); faasmChain() has no such limit */
#define MAX_NAME_LENGTH 32    /* what 2018 had room for; a name may be longer now */

#define FAASM_LOG_DEBUG 0
#define FAASM_LOG_INFO 1
#define FAASM_LOG_WARNING 2
#define FAASM_LOG_ERROR 3

#define FAASM_FOR_EVER (-1) /* of faasmAwaitCall() and faasmAwaitAny(), milliseconds */

/* Of faasmCallInfo(). */
#define FAASM_INFO_ID 0
#define FAASM_INFO_USER 1
#define FAASM_INFO_FUNCTION 2
#define FAASM_INFO_VERSION 3
#define FAASM_INFO_ATTEMPT 4
#define FAASM_INFO_DEADLINE 5 /* milliseconds since 1970 */
#define FAASM_INFO_PARENT 6   /* the id of the call that made this one; may be empty */

/* Of faasmInputSize(): a request's body, sent in chunks and over 256 KiB, whose end has not come.
 */
#define FAASM_SIZE_UNKNOWN 0xffffffffu

/* ECHILD and ENOSPC of <errno.h>, which C++98 cannot include here. */
#ifdef __wasm__
#define FAASM_ECHILD 12
#define FAASM_ENOSPC 51
#else
#define FAASM_ECHILD ECHILD
#define FAASM_ENOSPC ENOSPC
#endif

#define FAASM_EXIT_REFUSED 75 /* the input or the output did not fit */

#ifdef __cplusplus
extern "C" {
#endif

/* The first five fields are those of 2018, in their order. */
struct FaasmMemory {
    uint8_t *input;          /* its first 64 KiB, then zeros; one more zero follows the last byte */
    uint8_t *output;         /* 64 KiB of zeros to write into */
    uint8_t *chainFunctions; /* only chainFunction() knew what lies here; now nothing does, */
    uint8_t *chainInputs;    /* and a write to either traps */
    int32_t chainCount;      /* calls of chainFunction() so far */
    int32_t outputLength;    /* bytes of `output` that count; -1: up to the last that is not zero */
};

/* Yours. The result is the exit code: other than 0, the call has failed. */
int exec(struct FaasmMemory *memory);

/* --- the host ------------------------------------------------------------------------------- */

/* Every import of the module `faasm`: result, name, parameters. Its name in C has faasm_ before. */
/* Made by script/imports: */
#define FAASM_IMPORTS(X)                                                                           \
    X(int32_t, input_size, (void))                                                                 \
    X(int32_t, input_read, (uint32_t offset, void *buffer, uint32_t length))                       \
    X(int32_t, output_write, (const void *data, uint32_t length))                                  \
    X(int32_t, chain, (const char *name, uint32_t nameLength, const void *data, uint32_t length))  \
    X(int64_t, call_start,                                                                         \
      (const char *name, uint32_t nameLength, const void *data, uint32_t length))                  \
    X(int32_t, call_wait, (int64_t call, int64_t timeoutMs))                                       \
    X(int32_t, call_wait_any, (const int64_t *calls, uint32_t count, int64_t timeoutMs))           \
    X(int32_t, call_output_size, (int64_t call))                                                   \
    X(int32_t, call_output_read, (int64_t call, uint32_t offset, void *buffer, uint32_t length))   \
    X(int32_t, call_info, (int32_t field, char *buffer, uint32_t size))                            \
    X(int32_t, http_header, (const char *name, uint32_t nameLength, char *buffer, uint32_t size))  \
    X(int32_t, http_status, (int32_t status))                                                      \
    X(int32_t, http_header_set,                                                                    \
      (const char *name, uint32_t nameLength, const char *value, uint32_t valueLength))            \
    X(int32_t, http_flush, (void))                                                                 \
    X(int32_t, log, (int32_t level, const char *text, uint32_t length))
/* (end) */

#ifdef __wasm__
#define FAASM_IMPORT(result, name, parameters)                                                     \
    __attribute__((import_module("faasm"), import_name(#name))) result faasm_##name parameters;
FAASM_IMPORTS(FAASM_IMPORT)
#else
#include "faasm-native.h"
#endif

/* --- input ---------------------------------------------------------------------------------- */

/* Using a call that sees all of the input leaves this mark in the program, by which main() knows
 * that long input is welcome. The linker collects the section, so the answer holds for the whole
 * program: whichever file's main() it takes, and whichever path a call takes. */
static inline void faasm_mark_reads_input(void)
{
    static const volatile char mark __attribute__((section("faasm_reads_input"))) = 1;
    char read_so_that_it_stays = mark;
    (void)read_so_that_it_stays;
}

/* All the bytes of the input, however many. Of a request's body, where the function answers an HTTP
 * request, what Content-Length says; without it this waits for the end, or, when too much comes for
 * that, gives FAASM_SIZE_UNKNOWN. */
static inline uint32_t faasmInputSize(struct FaasmMemory *memory)
{
    (void)memory;
    faasm_mark_reads_input();
    int32_t size = faasm_input_size();
    return size < 0 ? FAASM_SIZE_UNKNOWN : (uint32_t)size;
}

/* Copies up to `length` bytes of the input from `offset` on. Returns how many, 0 at its end, or an
 * error. Of a request's body it waits for some, and may give fewer than there will be; behind the
 * first 64 KiB it only goes forward: -EINVAL for what was read before. */
static inline int faasmReadInput(struct FaasmMemory *memory, uint32_t offset, void *buffer,
                                 uint32_t length)
{
    (void)memory;
    faasm_mark_reads_input();
    return faasm_input_read(offset, buffer, length);
}

/* --- output and log ------------------------------------------------------------------------- */

/* One line for the call's log. */
static inline void faasmLog(int level, const char *text)
{
    (void)faasm_log(level, text, (uint32_t)strlen(text)); /* nowhere to report a full log to */
}

/* Appends `length` bytes to the output. What lies in memory->output is then not sent, unless
 * faasmSetOutputLength() says so. 0, or an error: -ENOSPC is the output's limit, and then the call
 * fails whatever this function goes on to do. */
static inline int faasmWriteOutput(struct FaasmMemory *memory, const void *data, uint32_t length)
{
    if (memory->outputLength < 0)
        memory->outputLength = 0;
    return faasm_output_write(data, length);
}

/* The first `length` bytes of memory->output are output, zeros included; they are sent when exec()
 * returns, after what faasmWriteOutput() has sent. Over 64 KiB is a mistake that ends the call. */
static inline void faasmSetOutputLength(struct FaasmMemory *memory, uint32_t length)
{
    if (length > MAX_INPUT_BYTES) {
        faasmLog(FAASM_LOG_ERROR, "faasmSetOutputLength: memory->output has room for 65536 bytes; "
                                  "faasmWriteOutput() takes more");
        __builtin_trap();
    }
    memory->outputLength = (int32_t)length;
}

/* --- chaining ------------------------------------------------------------------------------- */

/* When this call has succeeded, `name` of the same user is called with this input, of any size.
 * Returns how many calls are chained so far, or an error. */
__attribute__((warn_unused_result)) static inline int
faasmChain(struct FaasmMemory *memory, const char *name, const void *data, uint32_t length)
{
    (void)memory;
    return faasm_chain(name, (uint32_t)strlen(name), data, length);
}

/* The same with 2018's limit of MAX_CHAINS calls. What cannot be chained is told to the log. */
static inline void chainFunction(struct FaasmMemory *memory, const char *name, const uint8_t *data,
                                 int length)
{
    if (memory->chainCount >= MAX_CHAINS)
        faasmLog(FAASM_LOG_ERROR, "chainFunction: not chained, MAX_CHAINS reached");
    else if (length < 0)
        faasmLog(FAASM_LOG_ERROR, "chainFunction: not chained, the length is negative");
    else if (faasmChain(memory, name, data, (uint32_t)length) < 0)
        faasmLog(FAASM_LOG_ERROR, "chainFunction: not chained, the host refused");
    else
        memory->chainCount++;
}

/* --- calls to wait for ---------------------------------------------------------------------- */

/* Starts a call of `name` of the same user now, with this input, of any size. Returns its handle,
 * which is > 0 and means something to this call alone, or an error: -ENOENT no such function,
 * -E2BIG its input may not be that long, -EAGAIN a limit, now or at all. A call that is under way
 * when this one ends is cancelled. */
__attribute__((warn_unused_result)) static inline int64_t
faasmCallStart(struct FaasmMemory *memory, const char *name, const void *data, uint32_t length)
{
    (void)memory;
    return faasm_call_start(name, (uint32_t)strlen(name), data, length);
}

/* Waits until it has ended, without using CPU time. Returns its exit code, 0 to 255, or an error:
 * -ETIMEDOUT it goes on, -EFAULT it trapped, -EDQUOT it broke a limit, -ECANCELED... A timeout of 0
 * does not wait. May be asked again and again. */
static inline int faasmAwaitCall(struct FaasmMemory *memory, int64_t call, int64_t timeoutMs)
{
    (void)memory;
    return faasm_call_wait(call, timeoutMs);
}

/* The same for up to 1024 calls. Returns the index of the first to have ended, or an error. */
static inline int faasmAwaitAny(struct FaasmMemory *memory, const int64_t *calls, uint32_t count,
                                int64_t timeoutMs)
{
    (void)memory;
    return faasm_call_wait_any(calls, count, timeoutMs);
}

/* Bytes of output of a call that has ended, whether it succeeded or not; or an error: -EAGAIN it
 * has not. */
static inline int faasmCallOutputSize(struct FaasmMemory *memory, int64_t call)
{
    (void)memory;
    return faasm_call_output_size(call);
}

/* Copies up to `length` bytes of that from `offset` on. Returns how many, 0 at the end, or an
 * error. */
static inline int faasmCallOutput(struct FaasmMemory *memory, int64_t call, uint32_t offset,
                                  void *buffer, uint32_t length)
{
    (void)memory;
    return faasm_call_output_read(call, offset, buffer, length);
}

/* Waits until the call has ended, and copies its output if it has succeeded. Returns how many bytes
 * the output has; over `size`, only the first `size` were copied. Or an error: also -ECHILD, its
 * exit code is not 0. */
static inline int faasmAwaitCallOutput(struct FaasmMemory *memory, int64_t call, void *buffer,
                                       uint32_t size)
{
    int code = faasmAwaitCall(memory, call, FAASM_FOR_EVER);
    if (code != 0)
        return code < 0 ? code : -FAASM_ECHILD;
    code = faasmCallOutput(memory, call, 0, buffer, size);
    return code < 0 ? code : faasmCallOutputSize(memory, call);
}

/* Text about this call, FAASM_INFO_ID to FAASM_INFO_PARENT, with a NUL at its end. Returns its
 * length, which is < size, or an error: -ENOSPC it is longer. Names have up to 64 characters. */
static inline int faasmCallInfo(struct FaasmMemory *memory, int field, char *buffer, uint32_t size)
{
    (void)memory;
    int length = faasm_call_info(field, buffer, size);
    if (length >= 0 && (uint32_t)length >= size)
        return -FAASM_ENOSPC;
    if (length >= 0)
        buffer[length] = '\0';
    return length;
}

/* --- HTTP ----------------------------------------------------------------------------------- */

/* For a function that answers HTTP requests (/h/<user>/<function>/...). Its input is the request's
 * body, its output the answer's. In other calls all of these are -ENOTSUP. */

/* A header of the request, in any case of letters, or ":method", ":path" (what follows the function
 * in the path, as it came), ":query"; with a NUL at its end. Returns its length, which is < size,
 * or an error: -ENOENT there is none, -ENOSPC it is longer. */
static inline int faasmHttpHeader(struct FaasmMemory *memory, const char *name, char *buffer,
                                  uint32_t size)
{
    (void)memory;
    int length = faasm_http_header(name, (uint32_t)strlen(name), buffer, size);
    if (length >= 0 && (uint32_t)length >= size)
        return -FAASM_ENOSPC;
    if (length >= 0)
        buffer[length] = '\0';
    return length;
}

/* The status of the answer, 200 to 599; 200 if nothing is said. 0, or an error: -EALREADY the
 * answer has begun. */
static inline int faasmHttpStatus(struct FaasmMemory *memory, int status)
{
    (void)memory;
    return faasm_http_status(status);
}

/* A header of the answer, in place of one of that name (beside others if it is Set-Cookie); ""
 * takes it away. 0, or an error: -EINVAL a bad name or value, or a header that is the server's. */
static inline int faasmHttpSetHeader(struct FaasmMemory *memory, const char *name,
                                     const char *value)
{
    (void)memory;
    return faasm_http_header_set(name, (uint32_t)strlen(name), value, (uint32_t)strlen(value));
}

/* The answer begins, if it has not yet: with status and headers, and what faasmWriteOutput() was
 * given so far. From then on that sends at once what it is given. 0, or an error. */
static inline int faasmHttpFlush(struct FaasmMemory *memory)
{
    (void)memory;
    return faasm_http_flush();
}

/* --- main ----------------------------------------------------------------------------------- */

/* The rule of 2018, for a function that never said how long its output is. */
static inline uint32_t faasm_length_without_zeros(const uint8_t *data, uint32_t length)
{
    uint64_t words[4];
    while (length >= sizeof(words)) {
        memcpy(words, data + length - sizeof(words), sizeof(words));
        if (words[0] | words[1] | words[2] | words[3])
            break;
        length -= (uint32_t)sizeof(words);
    }
    while (length > 0 && data[length - 1] == 0)
        length--;
    return length;
}

#ifndef FAASM_NO_MAIN
/* Where the mark's section begins; at no address when nothing left a mark. */
extern const char __start_faasm_reads_input __attribute__((weak));

/* The beginning of the input. A request's body comes in pieces, and its size (< 0 then) may not be
 * known. Returns 1 if there is more, 0 if there is not, or an error. */
static inline int faasm_fill(uint8_t *input, int32_t size)
{
    uint32_t length = 0;
    uint8_t more;
    while (length < MAX_INPUT_BYTES && (size < 0 || length < (uint32_t)size)) {
        int32_t got = faasm_input_read(length, input + length, MAX_INPUT_BYTES - length);
        if (got <= 0)
            return got;
        length += (uint32_t)got;
    }
    if (size < 0 && !&__start_faasm_reads_input) /* who does not read can lose a byte */
        return faasm_input_read(length, &more, 1);
    return size > MAX_INPUT_BYTES;
}

static inline int faasm_call_exec(uint8_t *input, uint8_t *output)
{
    uint8_t *nowhere = (uint8_t *)~(uintptr_t)0xfffffff; /* outside of any memory: traps */
    struct FaasmMemory memory = {input, output, nowhere, nowhere, 0, -1};

    int more = faasm_fill(input, faasm_input_size());
    if (more > 0 && !&__start_faasm_reads_input) {
        faasmLog(FAASM_LOG_ERROR, "the input is over 65536 bytes, and this function does not use "
                                  "faasmInputSize() or faasmReadInput()");
        return FAASM_EXIT_REFUSED;
    }
    if (more < 0) {
        faasmLog(FAASM_LOG_ERROR, "the input cannot be read");
        return FAASM_EXIT_REFUSED;
    }

    int result = exec(&memory);
    uint32_t length = memory.outputLength < 0 ? faasm_length_without_zeros(output, MAX_INPUT_BYTES)
                                              : (uint32_t)memory.outputLength;
    int written = length > 0 ? faasm_output_write(output, length) : 0;
    return result || written == 0 ? result : FAASM_EXIT_REFUSED;
}
#endif

#ifdef __cplusplus
}
#endif

#ifndef FAASM_NO_MAIN
__attribute__((weak)) int main(void)
{
    static uint8_t input[MAX_INPUT_BYTES + 1];
    static uint8_t output[MAX_INPUT_BYTES];
    return faasm_call_exec(input, output);
}
#endif

#endif
