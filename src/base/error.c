/* error.c - what each error means to the client, the shell and the guest.
 *
 * The table of error.h becomes an array, indexed by the negated error.  A row that is missing or an
 * unknown error cannot leak out as success: it is answered as INTERNAL.
 *
 * struct fm_error holds its text itself, so that reporting "out of memory" needs no memory.  The
 * price is a fixed size: a longer text ends in "...", cut between two characters of UTF-8, since it
 * goes into JSON.  Of a failed system call the reason is kept whole and what stands before it is
 * cut.  Texts are put together in a buffer of their own, so that an error may quote itself:
 * fm_error_set(error, code, "line 7: %s", error->text).
 *
 * No state; any thread. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ELLIPSIS "..."
#define REASON_SIZE 128 /* the longest text of strerror has about 50 characters */

struct row {
    const char *code;
    const char *meaning;
    int http_status;
    int exit_code;
    int guest_errno;
};

static const struct row rows[] = {
#define X(name, code_text, http, exit, guest, text)                                                \
    [FM_ERR_INDEX_##name] = {.code = code_text,                                                    \
                             .meaning = text,                                                      \
                             .http_status = http,                                                  \
                             .exit_code = exit,                                                    \
                             .guest_errno = guest},
    FM_ERR_MAP(X)
#undef X
};

static const struct row *find(int error)
{
    bool known = error < 0 && error > -FM_ERR_COUNT_;
    return &rows[known ? -error : FM_ERR_INDEX_INTERNAL];
}

const char *fm_err_code(int error)
{
    return find(error)->code;
}

const char *fm_err_meaning(int error)
{
    return find(error)->meaning;
}

int fm_err_http_status(int error)
{
    return find(error)->http_status;
}

int fm_err_exit_code(int error)
{
    return find(error)->exit_code;
}

int fm_err_guest_errno(int error)
{
    return find(error)->guest_errno;
}

/* EACCES and its like are IO, not FORBIDDEN: it is the server that was refused, not its client. */
int fm_err_from_errno(int errnum)
{
    switch (errnum) {
    case ENOMEM:
    case ENOBUFS:
        return FM_ERR_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return FM_ERR_STORAGE_FULL;
    case ENOENT:
    case ENOTDIR:
        return FM_ERR_NOT_FOUND;
    case EEXIST:
    case EISDIR:
    case ENOTEMPTY:
        return FM_ERR_CONFLICT;
    case EFBIG:
        return FM_ERR_TOO_LARGE;
    case ENAMETOOLONG:
        return FM_ERR_BAD_NAME;
    case EAGAIN:
    case EMFILE:
    case ENFILE:
        return FM_ERR_BUSY;
    default:
        return FM_ERR_IO;
    }
}

/* Formats into text[size]; a longer text ends in "...".  Returns the length. */
FM_PRINTF(3, 0)
static size_t format_cut(char *text, size_t size, const char *format, va_list arguments)
{
    int full = vsnprintf(text, size, format, arguments);
    if (full < 0) { /* over INT_MAX, or a wide character that has no bytes */
        text[0] = '\0';
        full = snprintf(text, size, "(unprintable)");
    }
    if ((size_t)full < size)
        return (size_t)full;

    size_t length = size - sizeof(ELLIPSIS);
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
        length -= 1; /* not in the middle of a character */
    memcpy(text + length, ELLIPSIS, sizeof(ELLIPSIS));
    return length + strlen(ELLIPSIS);
}

int fm_error_set(struct fm_error *error, int code, const char *format, ...)
{
    if (!error)
        return code;

    char text[sizeof(error->text)];
    va_list arguments;
    va_start(arguments, format);
    size_t length = format_cut(text, sizeof(text), format, arguments);
    va_end(arguments);

    error->code = code;
    memcpy(error->text, text, length + 1);
    return code;
}

int fm_error_errno(struct fm_error *error, int errnum, const char *format, ...)
{
    int code = fm_err_from_errno(errnum);
    if (!error)
        return code;

    char buffer[REASON_SIZE];
    const char *reason = strerror_r(errnum, buffer, sizeof(buffer));
    size_t reason_length = strnlen(reason, REASON_SIZE - 1);

    char text[sizeof(error->text)];
    va_list arguments;
    va_start(arguments, format);
    size_t length =
        format_cut(text, sizeof(text) - strlen(": ") - reason_length, format, arguments);
    va_end(arguments);

    error->code = code;
    memcpy(error->text, text, length);
    memcpy(error->text + length, ": ", strlen(": "));
    length += strlen(": ");
    memcpy(error->text + length, reason, reason_length);
    error->text[length + reason_length] = '\0';
    return code;
}
