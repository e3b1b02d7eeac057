/* roundtrip.c - from submitting an asynchronous call to having its result, one after the other.
 *
 *      bench_roundtrip ADDRESS:PORT PATH COUNT
 *
 * Submits 100 bytes (POST), takes the call's place from the answer, and asks there for its end
 * (GET ...?wait=60), all on one connection.  Prints the median as one JSON object.
 *
 * In C and with blocking calls, since a client's own time stands in the figure: one in Python takes
 * as long as the two commits that are to be measured.
 *
 * Lifetime: one run.  Threading: one. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define COUNT_MAX 1000000
#define BODY_BYTES 100
#define ANSWER_SIZE 8192

static _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "roundtrip: %s\n", what);
    exit(EXIT_FAILURE);
}

static int connect_to(const char *text)
{
    char host[64];
    unsigned port = 0;
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (sscanf(text, "%63[0-9.]:%5u", host, &port) != 2 || port > UINT16_MAX ||
        inet_pton(AF_INET, host, &address.sin_addr) != 1)
        fail("not ADDRESS:PORT");
    address.sin_port = htons((uint16_t)port);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0)
        fail(strerror(errno));
    return fd;
}

/* Sends a request and reads its answer, which has a Content-Length and ends the buffer with a NUL.
 */
static void ask(int fd, const char *request, char answer[ANSWER_SIZE])
{
    size_t bytes = strlen(request);
    if (send(fd, request, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
        fail("cannot send");
    size_t got = 0;
    size_t wanted = SIZE_MAX;
    while (got < wanted) {
        ssize_t more = recv(fd, answer + got, ANSWER_SIZE - 1 - got, 0);
        if (more <= 0)
            fail("the answer is too long, or the connection has ended");
        got += (size_t)more;
        answer[got] = '\0';
        const char *end = strstr(answer, "\r\n\r\n");
        const char *length = strcasestr(answer, "\r\nContent-Length: ");
        if (end && length && length < end)
            wanted = (size_t)(end + 4 - answer) + strtoul(length + 18, NULL, 10);
    }
}

static uint64_t submit_and_wait_ns(int fd, const char *submit)
{
    char answer[ANSWER_SIZE];
    char question[ANSWER_SIZE + 64];
    uint64_t start_ns = fm_clock_monotonic_ns();
    ask(fd, submit, answer);
    char *place = strcasestr(answer, "\r\nLocation: ");
    if (strncmp(answer, "HTTP/1.1 202", 12) != 0 || !place)
        fail(answer);
    place += 12;
    place[strcspn(place, "\r")] = '\0';
    (void)snprintf(question, sizeof(question), "GET %s?wait=60 HTTP/1.1\r\nHost: bench\r\n\r\n",
                   place);
    ask(fd, question, answer);
    uint64_t took_ns = fm_clock_monotonic_ns() - start_ns;
    if (strncmp(answer, "HTTP/1.1 200", 12) != 0 || !strstr(answer, "\"status\":\"succeeded\""))
        fail(answer);
    return took_ns;
}

static int compare(const void *a, const void *b)
{
    uint64_t first = *(const uint64_t *)a;
    uint64_t second = *(const uint64_t *)b;
    return (first > second) - (first < second);
}

int main(int argc, char **argv)
{
    unsigned long count = argc == 4 ? strtoul(argv[3], NULL, 10) : 0;
    if (count < 1 || count > COUNT_MAX)
        fail("usage: bench_roundtrip ADDRESS:PORT PATH COUNT");
    char submit[1024];
    int length = snprintf(submit, sizeof(submit),
                          "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Length: %d\r\n\r\n%0*d",
                          argv[2], BODY_BYTES, BODY_BYTES, 0);
    if (length < 0 || (size_t)length >= sizeof(submit))
        fail("the path is too long");
    uint64_t *times_ns = calloc(count, sizeof(*times_ns));
    if (!times_ns)
        fail("out of memory");
    int fd = connect_to(argv[1]);
    for (unsigned long i = 0; i < count; i++)
        times_ns[i] = submit_and_wait_ns(fd, submit);
    qsort(times_ns, count, sizeof(*times_ns), compare);
    (void)printf("{\"count\": %lu, \"p50_us\": %.1f}\n", count, (double)times_ns[count / 2] / 1e3);
    free(times_ns);
    (void)close(fd);
    return EXIT_SUCCESS;
}
