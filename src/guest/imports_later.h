/* imports_later.h - module `env`: the names of the Faasm that came after 2018, for its programs.
 *
 * They are WASI commands that import `__faasm_NAME` of `env` (libfaasm's host_interface.h, as of
 * its version 0.8.0).  A row is as in imports_faasm.h.  What a program may import besides, and we
 * lack (state, S3, calls by pointer...), is refused at upload like any other import. */
#pragma once

#define FM_LATER_PREFIX "__faasm_"

#define FM_LATER_IMPORTS(X, PARKS)                                                                 \
    X(read_input, "ii:i", (uint8_t * buffer, long length),                                         \
      "copies at most `length` bytes from the beginning of the input; how many. With `length` 0: " \
      "the size of the input")                                                                     \
    X(write_output, "ii:", (const char *data, long length),                                        \
      "this is the output, in place of what was written before")                                   \
    X(chain_name, "iii:i", (const char *name, const uint8_t *data, long length),                   \
      "starts a call of `name` (up to its NUL) of the same user, a child, now; its number, > 0. "  \
      "0 when it cannot be started; the log says why")                                             \
    PARKS(                                                                                         \
        await_call, "i:i", (unsigned call),                                                        \
        "parks the call until the child has ended; its exit code. 1 when it ended otherwise, or "  \
        "there is no such child")                                                                  \
    PARKS(                                                                                         \
        await_call_output, "iii:i", (unsigned call, char **data, int *length),                     \
        "the same, and stores where its output lies and how long it is: in memory that is added "  \
        "for it, which `free` accepts but does not free. A program that exports no `malloc` "      \
        "means the older form: up to `length` bytes are copied to `data`")
