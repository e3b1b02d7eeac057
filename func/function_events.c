/* function_events.c - server-sent events, one by one while the function runs.
 *
 *     curl -N 'http://localhost:8080/h/simon/events?5'
 *
 * The query is how many, the request's body (if any) is what they say, and X-Pause-Ms how long to
 * wait between two of them: 1000 ms if it is not given. */
#include <stdlib.h>
#include <time.h>

#include "faasm.h"

#define EVENTS_MAX 1000
#define PAUSE_MS_MAX 60000

static long number(const char *text, long otherwise, long max)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || value < 0)
        return otherwise;
    return value < max ? value : max;
}

static void sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

int exec(struct FaasmMemory *memory)
{
    char text[300];
    long pause = 1000;
    long count = 3;
    if (faasmHttpHeader(memory, ":query", text, sizeof(text)) >= 0)
        count = number(text, count, EVENTS_MAX);
    if (faasmHttpHeader(memory, "X-Pause-Ms", text, sizeof(text)) >= 0)
        pause = number(text, pause, PAUSE_MS_MAX);

    faasmHttpSetHeader(memory, "Content-Type", "text/event-stream");
    faasmHttpSetHeader(memory, "Cache-Control", "no-store");
    faasmHttpFlush(memory);
    for (long i = 1; i <= count; i++) {
        if (i > 1)
            sleep_ms(pause);
        int length =
            snprintf(text, sizeof(text), "id: %ld\ndata: %.*s %ld\n\n", i,
                     (int)strcspn((char *)memory->input, "\r\n") % 200, (char *)memory->input, i);
        if (faasmWriteOutput(memory, text, (uint32_t)length) != 0)
            return 1;
    }
    return 0;
}
