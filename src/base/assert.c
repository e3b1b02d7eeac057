/* assert.c - the last words of a process that found itself wrong.
 *
 * FM_ASSERT stays on in release builds: state that broke a promise may belong to another tenant, so
 * going on is worse than a crash.  The line is handed to the kernel in pieces by one writev(2), not
 * formatted into a buffer: nothing is cut off, nothing is allocated (the heap may be what is
 * broken) and no lock of stdio is taken.  abort(3) follows, for the core dump.
 *
 * Any thread. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define LINE_DIGITS_MAX 10 /* of a positive int */

static struct iovec piece(const char *text)
{
    /* writev only reads, but its type is shared with readv. */
    union {
        const char *from;
        void *to;
    } base = {.from = text};
    return (struct iovec){.iov_base = base.to, .iov_len = strlen(text)};
}

void fm_assert_failed(const char *condition, const char *file, int line, const char *function)
{
    char digits[LINE_DIGITS_MAX + 1];
    char *number = digits + LINE_DIGITS_MAX;
    *number = '\0';
    do {
        *--number = (char)('0' + line % 10);
        line /= 10;
    } while (line > 0);

    struct iovec pieces[] = {
        piece("faasm: "),
        piece(file),
        piece(":"),
        piece(number),
        piece(": "),
        piece(function),
        piece(": assertion failed: "),
        piece(condition),
        piece("\n"),
    };
    ssize_t written = writev(STDERR_FILENO, pieces, FM_ARRAY_LENGTH(pieces));
    (void)written; /* the process ends in any case */
    abort();
}
