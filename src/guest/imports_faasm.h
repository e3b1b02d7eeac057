/* imports_faasm.h - module `faasm`: what a function asks of its platform.
 *
 * Two lists for registration (imports.c), prototypes (faasm.h) and the reference page: imports that
 * never park, and those that may, whose name with `_again` is asked when the guest is polled.  A
 * row is the import's name, its signature (engine/import.h) and its meaning.  Results below 0 are
 * errors,
 * `-errno` in WASI's numbers; a pointer outside the memory ends the function with the trap
 * `bad_pointer`. */
#pragma once

#define FM_FAASM_IMPORTS(X)                                                                        \
    X(input_size, ":i", "the size of the input, bytes")                                            \
    X(input_read, "iii:i",                                                                         \
      "(offset, ptr, len): copies at most len bytes of the input; how many, 0 at its end")         \
    X(output_write, "ii:i", "(ptr, len): appends to the output; 0, or -ENOSPC over the limit")     \
    X(chain, "iiii:i",                                                                             \
      "(name, name_len, in, in_len): after this call has succeeded, call name of the same user; "  \
      "the number of chained calls so far, -EINVAL for a bad name, -EAGAIN over the limit")        \
    X(call_start, "iiii:I",                                                                        \
      "(name, name_len, in, in_len): starts a call of name of the same user now; its handle > 0, " \
      "or -EINVAL, -ENOENT, -E2BIG, -EAGAIN, -ENOMEM")                                             \
    X(call_output_size, "I:i", "(handle): bytes of output of a started call that has ended")       \
    X(call_output_read, "Iiii:i",                                                                  \
      "(handle, offset, ptr, len): copies at most len bytes of that; how many, 0 at its end")      \
    X(call_info, "iii:i",                                                                          \
      "(field, ptr, len): text of 0 id, 1 user, 2 function, 3 version, 4 attempt, 5 deadline "     \
      "(Unix ms), 6 parent id; its length, of which at most len bytes are copied")                 \
    X(log, "iii:i",                                                                                \
      "(level, ptr, len): one line to the call's log; 0 debug, 1 info, 2 warning, 3 error")

#define FM_FAASM_IMPORTS_SPECIAL(X)                                                                \
    X(call_wait, "II:i",                                                                           \
      "(handle, timeout_ms): parks until the started call has ended; its exit code, or an error. " \
      "-1: for ever, 0: does not wait")                                                            \
    X(call_wait_any, "iiI:i",                                                                      \
      "(handles, n, timeout_ms): the same for the first of several to end; its index")
