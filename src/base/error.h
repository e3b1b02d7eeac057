/* error.h - the one table of errors.
 *
 * Functions return 0 or a negative FM_ERR_*.  The table gives each its code in an HTTP problem
 * (RFC 9457), its HTTP status, the exit code of the command line (sysexits), the errno that a guest
 * sees (WASI's numbers) and a sentence.  Cold paths also fill a struct fm_error that the caller
 * owns: no heap, nothing to release. */
#pragma once

#include "base/base.h"

/* clang-format off */
#define FM_ERR_MAP(X)                                                                              \
    /* name              code                  http exit guest meaning */                          \
    X(NOMEM,              "busy",               503, 71, 48, "out of memory")                      \
    X(BUSY,               "busy",               503, 75,  6, "the server is over a limit, try again later") \
    X(QUOTA,              "quota",              429, 75,  6, "over a quota, try again later")      \
    X(TOO_LARGE,          "too_large",          413, 65,  1, "larger than this server accepts")    \
    X(BAD_REQUEST,        "bad_request",        400, 64, 28, "the request is malformed")           \
    X(BAD_NAME,           "bad_name",           400, 64, 28, "not a valid name")                   \
    X(BAD_MODULE,         "bad_module",         422, 65, 28, "not a valid WebAssembly module")     \
    X(UNSUPPORTED_MODULE, "unsupported_module", 422, 65, 28, "a module that needs what this server lacks") \
    X(UNAUTHORIZED,       "unauthorized",       401, 77, 63, "credentials are needed")             \
    X(FORBIDDEN,          "forbidden",          403, 77, 63, "not allowed")                        \
    X(NOT_FOUND,          "not_found",          404, 66, 44, "no such thing")                      \
    X(METHOD_NOT_ALLOWED, "method_not_allowed", 405, 64, 28, "the method is not allowed here")     \
    X(CONFLICT,           "conflict",           409, 73, 20, "in conflict with the present state") \
    X(CANCELLED,          "cancelled",          409, 75, 11, "the call was cancelled")             \
    X(GUEST_EXIT,         "guest_exit",         500,  1, 21, "the function ended with a non-zero exit code") \
    X(GUEST_TRAP,         "guest_trap",         502, 70, 21, "the function trapped")               \
    X(GUEST_LIMIT,        "guest_limit",        502, 70, 19, "the function broke a limit")         \
    X(DEADLINE,           "deadline",           504, 75, 73, "the call took longer than its wall time") \
    X(CHAIN_TARGET,       "chain_target",       500, 70, 44, "a chained function does not exist")  \
    X(STORAGE_FULL,       "storage_full",       507, 74, 51, "no space left for storage")          \
    X(IO,                 "internal",           500, 74, 29, "an input or output error")           \
    X(INTERNAL,           "internal",           500, 70, 29, "an internal error")                  \
    X(BAD_RESPONSE,       "bad_response",       502, 70, 28, "what the function wrote is no HTTP response")
/* clang-format on */

enum fm_err {
    FM_ERR_OK_ = 0,
#define X(name, code, http, exit, guest, meaning) FM_ERR_INDEX_##name,
    FM_ERR_MAP(X)
#undef X
        FM_ERR_COUNT_,
#define X(name, code, http, exit, guest, meaning) FM_ERR_##name = -FM_ERR_INDEX_##name,
    FM_ERR_MAP(X)
#undef X
};

/* All take a negative FM_ERR_*; an unknown value is answered as INTERNAL. */
const char *fm_err_code(int error);
const char *fm_err_meaning(int error);
int fm_err_http_status(int error);
int fm_err_exit_code(int error);
int fm_err_guest_errno(int error); /* positive; a guest sees it negated */

/* FM_ERR_STORAGE_FULL, _NOMEM, _NOT_FOUND... for an errno value; FM_ERR_IO for most. */
int fm_err_from_errno(int errnum);

struct fm_error {
    int code; /* FM_ERR_*, 0 when nothing was set */
    char text[512];
};

/* Fills `error` (NULL is fine) and returns `code`, so that a failure is one expression.
 * A longer text ends in "...".  The arguments may quote error->text. */
int fm_error_set(struct fm_error *error, int code, const char *format, ...) FM_PRINTF(3, 4);

/* The same for a failed system call: the text is `format`: strerror(errnum).
 * Returns fm_err_from_errno(errnum). */
int fm_error_errno(struct fm_error *error, int errnum, const char *format, ...) FM_PRINTF(3, 4);
