/* imports_faasm.h - module `faasm`: what a function asks of its platform.
 *
 * One list, of which are made: what the engine is given and uploads are checked against
 * (imports.c), the prototypes (faasm.h), and, by script/imports, the declarations in
 * include/faasm/faasm.h and the table of docs/guest-abi.md; a test compares these two.
 *
 * A row is the import's name, its signature (engine/import.h), its parameters in C and its meaning.
 * X rows never park; of a PARKS row the function whose name ends in `_again` is asked when the
 * guest is polled.  Results below 0 are errors, `-errno` in WASI's numbers; a pointer outside the
 * memory ends the function with the trap `bad_pointer`. */
#pragma once

#define FM_FAASM_IMPORTS(X, PARKS)                                                                 \
    X(input_size, ":i", (void), "the size of the input, bytes")                                    \
    X(input_read, "iii:i", (uint32_t offset, void *buffer, uint32_t length),                       \
      "copies at most `length` bytes of the input; how many, 0 at its end")                        \
    X(output_write, "ii:i", (const void *data, uint32_t length),                                   \
      "appends to the output; 0, or -51 (`ENOSPC`) over the limit")                                \
    X(chain, "iiii:i", (const char *name, uint32_t nameLength, const void *data, uint32_t length), \
      "after this call has succeeded, call `name` of the same user; the number of chained calls "  \
      "so far, -28 (`EINVAL`) for a bad name, -6 (`EAGAIN`) over `chain_fanout`, -48 (`ENOMEM`) "  \
      "over 64 MiB of names and inputs")                                                           \
    X(call_start, "iiii:I",                                                                        \
      (const char *name, uint32_t nameLength, const void *data, uint32_t length),                  \
      "starts a call of `name` of the same user, a child, now; its handle, > 0 and counted from "  \
      "1, or an error: below")                                                                     \
    PARKS(call_wait, "II:i", (int64_t call, int64_t timeoutMs),                                    \
          "parks the call until the child has ended, at most so long; -1: for ever, 0: does not "  \
          "wait. Its exit code (0 to 255), or an error: below")                                    \
    PARKS(call_wait_any, "iiI:i", (const int64_t *calls, uint32_t count, int64_t timeoutMs),       \
          "the same for `count` children, at most 1024; `calls` points to as many `i64`. The "     \
          "index of the first that ended, -73 "                                                    \
          "(`ETIMEDOUT`), -44 (`ENOENT`) when one of the handles is none, -28 (`EINVAL`) for "     \
          "another `count`")                                                                       \
    X(call_output_size, "I:i", (int64_t call),                                                     \
      "bytes that the child has written, however it ended; -6 (`EAGAIN`) before its end, -44 "     \
      "(`ENOENT`)")                                                                                \
    X(call_output_read, "Iiii:i", (int64_t call, uint32_t offset, void *buffer, uint32_t length),  \
      "copies at most `length` bytes of that; how many, 0 at its end, or the same errors")         \
    X(call_info, "iii:i", (int32_t field, char *buffer, uint32_t size),                            \
      "text about this call: 0 id, 1 user, 2 function, 3 version, 4 attempt, 5 deadline (ms "      \
      "since 1970), 6 id of the call that made it. Its length, of which at most `size` bytes are " \
      "copied; 0 where there is nothing to tell (no parent, `faasm run`), -28 (`EINVAL`) for "     \
      "another field")                                                                             \
    X(http_header, "iiii:i", (const char *name, uint32_t nameLength, char *buffer, uint32_t size), \
      "a header of the request that the call answers, or `:method`, `:path`, `:query`; its "       \
      "length, of which at most `size` bytes are copied, -44 (`ENOENT`), -58 (`ENOTSUP`): "        \
      "[below](#http)")                                                                            \
    X(http_status, "i:i", (int32_t status),                                                        \
      "the answer's status, 200 to 599; 0, -28 (`EINVAL`), -7 (`EALREADY`) once the answer has "   \
      "begun, -58")                                                                                \
    X(http_header_set, "iiii:i",                                                                   \
      (const char *name, uint32_t nameLength, const char *value, uint32_t valueLength),            \
      "a header of the answer, in place of others of that name (`Set-Cookie`: beside them); no "   \
      "value takes it away. 0, or the same errors, -1 (`E2BIG`) over 100 headers or 8 KiB")        \
    X(http_flush, ":i", (void), "the answer begins, with what was written so far; 0, -58")         \
    X(log, "iii:i", (int32_t level, const char *text, uint32_t length),                            \
      "one line to the call's log; level 0 debug, 1 info, 2 warning, 3 error; control characters " \
      "become `?`; -28 for another level")
