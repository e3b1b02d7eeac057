/* imports_faasm.h - module `faasm`: what a function asks of its platform.
 *
 * One list for registration (imports.c), prototypes (faasm.h) and the reference page.  A row is the
 * import's name, its signature (engine/import.h) and its meaning.  Results below 0 are errors,
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
    X(log, "iii:i",                                                                                \
      "(level, ptr, len): one line to the call's log; 0 debug, 1 info, 2 warning, 3 error")
