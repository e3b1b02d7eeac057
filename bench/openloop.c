/* openloop.c - calls by the clock: each at its time, whether or not the last answers have come.
 *
 *      bench_openloop ADDRESS:PORT PATH RATE SECONDS [CONNECTIONS [BYTES]]
 *
 * POSTs BYTES (default 100) RATE times a second, on CONNECTIONS (default 64) of keep-alive,
 * compares every answer with what was sent, and prints one JSON object.
 *
 * A generator that asks again only when it has been answered, or that counts from when it came to
 * sending, leaves out the very calls that a server which stood still would have kept waiting
 * ("coordinated omission", Gil Tene).  So a call's time counts from when it was due to the last
 * byte of its answer:
 *
 *      due             a connection is free     sent                           answered
 *       |-- server's fault --|-- own lateness --|--------- in the server ---------|
 *       |------------------------------- latency --------------------------------|
 *
 * Own lateness has a column of its own, since it stands in the latency too.  To keep it small the
 * one thread never sleeps, as waking takes longer than most answers: it is for a core that the
 * server does not use.  Free connections take turns, so that all are used at any rate.
 *
 * Lifetime: one run.  Threading: one. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define CONNECTIONS_MAX 10000
#define RATE_MAX 10000000          /* calls a second */
#define SECONDS_MAX 3600           /* of calls being due */
#define BODY_BYTES_MAX 16384       /* a free connection takes that much at once */
#define HEAD_BYTES_MAX 4096        /* of a request, of an answer */
#define LATE_NS (10 * FM_NS_PER_S) /* for answers after the last call was due */
#define EVENTS 64                  /* looked at between two looks at the clock */

static _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "openloop: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/* --- times: 64 buckets for each power of two, so a time is known to 1.6 %
 * -------------------------- */

#define BUCKET_BITS 6
#define BUCKETS ((64 - BUCKET_BITS + 1) << BUCKET_BITS)

struct times {
    uint64_t counts[BUCKETS];
    uint64_t count;
    uint64_t max_ns;
};

static size_t bucket_of(uint64_t ns)
{
    unsigned shift = 0;
    if (ns >> (BUCKET_BITS + 1))
        shift = 63 - (unsigned)__builtin_clzll(ns) - BUCKET_BITS;
    return ((size_t)shift << BUCKET_BITS) + (size_t)(ns >> shift);
}

/* The largest time in it. */
static uint64_t bucket_end_ns(size_t bucket)
{
    size_t shift = bucket >> (BUCKET_BITS + 1) ? (bucket >> BUCKET_BITS) - 1 : 0;
    return ((bucket - (shift << BUCKET_BITS) + 1) << shift) - 1;
}

static void times_add(struct times *times, uint64_t ns)
{
    times->counts[bucket_of(ns)] += 1;
    times->count += 1;
    times->max_ns = fm_max_u64(times->max_ns, ns);
}

/* What `share` of them do not exceed, in microseconds. */
static double times_us(const struct times *times, double share)
{
    double wanted = share * (double)times->count;
    uint64_t seen = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        seen += times->counts[i];
        if (seen > 0 && (double)seen >= wanted)
            return (double)fm_min_u64(bucket_end_ns(i), times->max_ns) / 1000;
    }
    return 0;
}

/* --- connections
 * --------------------------------------------------------------------------------- */

struct link {
    int fd;
    bool is_free;
    uint64_t due_ns;        /* of the call under way */
    uint64_t free_since_ns; /* while there is none */
    size_t received;
    size_t expected; /* of the whole answer; 0: its head is not complete */
    char *answer;    /* HEAD_BYTES_MAX + body_bytes */
};

static struct {
    struct sockaddr_in address;
    char *request;
    size_t request_bytes;
    size_t body_bytes; /* at the end of it */
    size_t answer_bytes_max;
    int poll;
    struct link *links;
    uint32_t *free_links; /* a ring of indices */
    uint32_t links_count;
    uint32_t free_first;
    uint32_t free_count;
    uint64_t ended;
    uint64_t errors;
    struct times latencies;
    struct times lateness;
} load;

static void link_open(struct link *link)
{
    const int on = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link->fd < 0 ||
        connect(link->fd, (struct sockaddr *)&load.address, sizeof(load.address)) != 0 ||
        setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        epoll_ctl(load.poll, EPOLL_CTL_ADD, link->fd, &event) != 0)
        fail("cannot connect");
}

static void link_set_free(struct link *link, uint64_t now_ns)
{
    link->is_free = true;
    link->free_since_ns = now_ns;
    uint32_t end = (load.free_first + load.free_count) % load.links_count;
    load.free_links[end] = (uint32_t)(link - load.links);
    load.free_count += 1;
}

static struct link *free_link_take(void)
{
    struct link *link = &load.links[load.free_links[load.free_first]];
    load.free_first = (load.free_first + 1) % load.links_count;
    load.free_count -= 1;
    return link;
}

static void link_send(struct link *link, uint64_t due_ns)
{
    uint64_t since_ns = fm_max_u64(due_ns, link->free_since_ns);
    times_add(&load.lateness, fm_clock_monotonic_ns() - since_ns);
    link->is_free = false;
    link->due_ns = due_ns;
    link->received = 0;
    link->expected = 0;
    ssize_t sent = send(link->fd, load.request, load.request_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0 && sent < (ssize_t)load.request_bytes)
        errno = ENOBUFS, fail("a free connection does not take a request");
    /* A connection that has ended is told by the read that finds it. */
    if (sent < 0 && errno != EPIPE && errno != ECONNRESET)
        fail("cannot send");
}

/* The call has ended: rightly, or else with a new connection. */
static void link_end(struct link *link, bool right)
{
    uint64_t now_ns = fm_clock_monotonic_ns();
    load.ended += 1;
    if (right) {
        times_add(&load.latencies, now_ns - link->due_ns);
    } else {
        load.errors += 1;
        (void)close(link->fd);
        link_open(link);
    }
    link_set_free(link, now_ns);
}

/* How long the answer is to be; 0: not known yet.  False: it is not the one that we want. */
static bool head_read(struct link *link)
{
    static const char start[] = "HTTP/1.1 200 ";
    static const char length[] = "\r\nContent-Length:";
    const char *end = memmem(link->answer, link->received, "\r\n\r\n", 4);
    if (!end)
        return link->received < HEAD_BYTES_MAX;
    size_t head_bytes = (size_t)(end - link->answer) + 4;
    if (head_bytes < sizeof(start) || memcmp(link->answer, start, sizeof(start) - 1) != 0)
        return false;
    for (const char *at = link->answer; at + sizeof(length) - 1 < end; at++) {
        if (*at == '\r' && strncasecmp(at, length, sizeof(length) - 1) == 0) {
            link->expected = head_bytes + strtoull(at + sizeof(length) - 1, NULL, 10);
            return link->expected == head_bytes + load.body_bytes;
        }
    }
    return false;
}

static bool answer_is_right(const struct link *link)
{
    const char *sent = load.request + load.request_bytes - load.body_bytes;
    const char *came = link->answer + link->expected - load.body_bytes;
    return link->received == link->expected && memcmp(sent, came, load.body_bytes) == 0;
}

static void link_receive(struct link *link)
{
    ssize_t got = recv(link->fd, link->answer + link->received,
                       load.answer_bytes_max - link->received, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (link->is_free)
        errno = EPROTO, fail("the server sent something unasked or left");
    if (got > 0)
        link->received += (size_t)got;
    if (got <= 0 || (link->expected == 0 && !head_read(link)))
        link_end(link, false);
    else if (link->expected != 0 && link->received >= link->expected)
        link_end(link, answer_is_right(link));
}

/* --- the run
 * ------------------------------------------------------------------------------------- */

static void receive(void)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(load.poll, events, EVENTS, 0);
    if (count < 0 && errno != EINTR)
        fail("cannot wait");
    for (int i = 0; i < count; i++)
        link_receive(events[i].data.ptr);
}

/* The seconds that it took. */
static double run(uint64_t rate, uint64_t count)
{
    uint64_t start_ns = fm_clock_monotonic_ns();
    uint64_t end_ns = start_ns + count * FM_NS_PER_S / rate + LATE_NS;
    uint64_t now_ns = start_ns;
    for (uint64_t sent = 0; load.ended < count && now_ns < end_ns;) {
        now_ns = fm_clock_monotonic_ns();
        uint64_t due_ns = start_ns + sent * FM_NS_PER_S / rate;
        if (sent < count && due_ns <= now_ns && load.free_count > 0) {
            link_send(free_link_take(), due_ns);
            sent += 1;
        } else {
            receive();
        }
    }
    load.errors += count - load.ended; /* without an answer */
    return (double)(now_ns - start_ns) / (double)FM_NS_PER_S;
}

static void say(double seconds)
{
    const struct times *latencies = &load.latencies;
    const struct times *lateness = &load.lateness;
    (void)printf("{\"requests\": %llu, \"errors\": %llu, \"rate\": %.1f, ",
                 (unsigned long long)latencies->count, (unsigned long long)load.errors,
                 (double)latencies->count / seconds);
    (void)printf("\"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"max_us\": %.1f, ",
                 times_us(latencies, 0.5), times_us(latencies, 0.99), times_us(latencies, 0.999),
                 (double)latencies->max_ns / 1000);
    (void)printf("\"late_p50_us\": %.1f, \"late_p99_us\": %.1f, \"late_max_us\": %.1f}\n",
                 times_us(lateness, 0.5), times_us(lateness, 0.99),
                 (double)lateness->max_ns / 1000);
}

/* --- start
 * ---------------------------------------------------------------------------------------- */

static void read_address(char *text)
{
    char *colon = strrchr(text, ':');
    if (!colon)
        errno = EINVAL, fail(text);
    *colon = '\0';
    load.address.sin_family = AF_INET;
    load.address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, text, &load.address.sin_addr) != 1)
        errno = EINVAL, fail(text);
}

static void make_request(const char *path, size_t body_bytes)
{
    load.body_bytes = body_bytes;
    load.answer_bytes_max = HEAD_BYTES_MAX + body_bytes;
    load.request = malloc(HEAD_BYTES_MAX + body_bytes);
    if (!load.request)
        fail("no memory");
    int head_bytes = snprintf(load.request, HEAD_BYTES_MAX,
                              "POST %s HTTP/1.1\r\nHost: bench\r\nContent-Length: %zu\r\n\r\n",
                              path, body_bytes);
    if (head_bytes < 0 || head_bytes >= HEAD_BYTES_MAX)
        errno = ENAMETOOLONG, fail(path);
    for (size_t i = 0; i < body_bytes; i++)
        load.request[(size_t)head_bytes + i] = (char)('a' + i % 26);
    load.request_bytes = (size_t)head_bytes + body_bytes;
}

static void open_links(uint32_t count)
{
    load.poll = epoll_create1(EPOLL_CLOEXEC);
    load.links = calloc(count, sizeof(*load.links));
    load.free_links = calloc(count, sizeof(*load.free_links));
    if (load.poll < 0 || !load.links || !load.free_links)
        fail("cannot start");
    load.links_count = count;
    for (uint32_t i = 0; i < count; i++) {
        load.links[i].answer = malloc(load.answer_bytes_max);
        if (!load.links[i].answer)
            fail("no memory");
        link_open(&load.links[i]);
        link_set_free(&load.links[i], fm_clock_monotonic_ns());
    }
}

int main(int argc, char **argv)
{
    uint64_t numbers[4] = {0, 0, 64, 100};
    const uint64_t max[4] = {RATE_MAX, SECONDS_MAX, CONNECTIONS_MAX, BODY_BYTES_MAX};
    bool right = argc >= 5 && argc <= 7;
    for (int i = 3; right && i < argc; i++) {
        numbers[i - 3] = strtoull(argv[i], NULL, 10);
        right = numbers[i - 3] <= max[i - 3] && (numbers[i - 3] > 0 || i == 6);
    }
    if (!right) {
        (void)fprintf(stderr, "usage: bench_openloop ADDRESS:PORT PATH RATE SECONDS "
                              "[CONNECTIONS [BYTES]]\n");
        return 64;
    }
    read_address(argv[1]);
    make_request(argv[2], numbers[3]);
    open_links((uint32_t)numbers[2]);
    say(run(numbers[0], numbers[0] * numbers[1]));
    return 0;
}
