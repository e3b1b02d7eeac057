/* cgi_echo.c - the program of bench/peers/cgi.c: answers with its body, as CGI (RFC 3875) wants it.
 *
 * Static and without buffers of the C library, so that nothing but the kernel's work for a process
 * is left to measure.  Lifetime: one request.  Threading: one. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

#define BODY_BYTES_MAX (64 * FM_KIB)

int main(void)
{
    static const char head[] = "Content-Type: application/octet-stream\r\n\r\n";
    static char answer[sizeof(head) - 1 + BODY_BYTES_MAX];
    const char *length = getenv("CONTENT_LENGTH");
    size_t wanted = length ? strtoull(length, NULL, 10) : 0;
    size_t bytes = sizeof(head) - 1;
    if (wanted > BODY_BYTES_MAX)
        return EXIT_FAILURE;
    memcpy(answer, head, bytes);
    for (size_t end = bytes + wanted; bytes < end;) {
        ssize_t got = read(STDIN_FILENO, answer + bytes, end - bytes);
        if (got <= 0)
            return EXIT_FAILURE;
        bytes += (size_t)got;
    }
    for (size_t sent = 0; sent < bytes;) {
        ssize_t put = write(STDOUT_FILENO, answer + sent, bytes - sent);
        if (put <= 0)
            return EXIT_FAILURE;
        sent += (size_t)put;
    }
    return EXIT_SUCCESS;
}
