/* faasm-native.h - the host of faasm.h for ordinary programs: `gcc -g -I include/faasm function.c`.
 *
 * Standard input is the input, read whole when it is first asked for; standard output takes the
 * output; log and chained calls (which nobody runs) are told on standard error, as are calls that
 * it would start: that fails with -ENOSYS. Everything is weak, so that several files can include
 * it, and one that wants to can bring its own host. */
#ifndef FAASM_NATIVE_H
#define FAASM_NATIVE_H

#include <errno.h>
#include <stdlib.h>

#define FAASM_DECLARE(result, name, parameters) result faasm_##name parameters;
FAASM_IMPORTS(FAASM_DECLARE)
const uint8_t *faasm_native_input(uint32_t *ret_size);

__attribute__((weak)) const uint8_t *faasm_native_input(uint32_t *ret_size)
{
    static uint8_t *input;
    static size_t size;
    if (!input) {
        size_t capacity = 0;
        do {
            capacity = capacity ? 2 * capacity : MAX_INPUT_BYTES;
            input = (uint8_t *)realloc(input, capacity);
            if (!input || size > INT32_MAX) {
                fprintf(stderr, "faasm: the input does not fit into memory\n");
                exit(FAASM_EXIT_REFUSED);
            }
            size += fread(input + size, 1, capacity - size, stdin);
        } while (size == capacity);
        if (ferror(stdin)) {
            perror("faasm: cannot read standard input");
            exit(FAASM_EXIT_REFUSED);
        }
    }
    *ret_size = (uint32_t)size;
    return input;
}

__attribute__((weak)) int32_t faasm_input_size(void)
{
    uint32_t size;
    (void)faasm_native_input(&size);
    return (int32_t)size;
}

__attribute__((weak)) int32_t faasm_input_read(uint32_t offset, void *buffer, uint32_t length)
{
    uint32_t size;
    const uint8_t *input = faasm_native_input(&size);
    if (offset >= size)
        return 0;
    if (length > size - offset)
        length = size - offset;
    memcpy(buffer, input + offset, length);
    return (int32_t)length;
}

__attribute__((weak)) int32_t faasm_output_write(const void *data, uint32_t length)
{
    return fwrite(data, 1, length, stdout) == length ? 0 : -EIO;
}

__attribute__((weak)) int32_t faasm_chain(const char *name, uint32_t nameLength, const void *data,
                                          uint32_t length)
{
    static int32_t count;
    (void)data;
    fprintf(stderr, "faasm: chains %.*s with %u bytes\n", (int)nameLength, name, (unsigned)length);
    return ++count;
}

__attribute__((weak)) int64_t faasm_call_start(const char *name, uint32_t nameLength,
                                               const void *data, uint32_t length)
{
    (void)data;
    fprintf(stderr, "faasm: cannot start %.*s with %u bytes\n", (int)nameLength, name,
            (unsigned)length);
    return -ENOSYS;
}

__attribute__((weak)) int32_t faasm_call_wait(int64_t call, int64_t timeoutMs)
{
    (void)call;
    (void)timeoutMs;
    return -ENOENT;
}

__attribute__((weak)) int32_t faasm_call_wait_any(const int64_t *calls, uint32_t count,
                                                  int64_t timeoutMs)
{
    (void)calls;
    (void)timeoutMs;
    return count == 0 ? -EINVAL : -ENOENT;
}

__attribute__((weak)) int32_t faasm_call_output_size(int64_t call)
{
    (void)call;
    return -ENOENT;
}

__attribute__((weak)) int32_t faasm_call_output_read(int64_t call, uint32_t offset, void *buffer,
                                                     uint32_t length)
{
    (void)call;
    (void)offset;
    (void)buffer;
    (void)length;
    return -ENOENT;
}

/* An ordinary program is the first attempt, and nothing else is known of it. */
__attribute__((weak)) int32_t faasm_call_info(int32_t field, char *buffer, uint32_t size)
{
    if (field < FAASM_INFO_ID || field > FAASM_INFO_PARENT)
        return -EINVAL;
    if (field != FAASM_INFO_ATTEMPT)
        return 0;
    if (size > 0)
        buffer[0] = '1';
    return 1;
}

/* Nor does it answer an HTTP request. */
__attribute__((weak)) int32_t faasm_http_header(const char *name, uint32_t nameLength, char *buffer,
                                                uint32_t size)
{
    (void)name;
    (void)nameLength;
    (void)buffer;
    (void)size;
    return -ENOTSUP;
}

__attribute__((weak)) int32_t faasm_http_status(int32_t status)
{
    (void)status;
    return -ENOTSUP;
}

__attribute__((weak)) int32_t faasm_http_header_set(const char *name, uint32_t nameLength,
                                                    const char *value, uint32_t valueLength)
{
    (void)name;
    (void)nameLength;
    (void)value;
    (void)valueLength;
    return -ENOTSUP;
}

__attribute__((weak)) int32_t faasm_http_flush(void)
{
    return -ENOTSUP;
}

__attribute__((weak)) int32_t faasm_log(int32_t level, const char *text, uint32_t length)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    if (level < FAASM_LOG_DEBUG || level > FAASM_LOG_ERROR)
        return -EINVAL;
    fprintf(stderr, "faasm: %s: %.*s\n", names[level], (int)length, text);
    return 0;
}

#endif
