/* machine.c - what this machine charges for the things that every server is made of.
 *
 *      bench_machine FOLDER      one JSON object; fsync is measured on FOLDER's disk
 *
 * Absolute times mean little without these beside them: a virtual machine may take three times as
 * long for a page fault, and a disk a hundred times as long for an fsync, as the next one.
 *
 * Each number is the median of several batches.  Threading: one, and a second one to be woken. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define BATCHES 9
#define PAGE_BYTES 4096

static _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "machine: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median over batches of `count` runs each, in nanoseconds a run. */
static double median_ns(void (*batch)(void *data, int count), void *data, int count)
{
    double results[BATCHES];
    for (int i = 0; i < BATCHES; i++) {
        uint64_t before_ns = fm_clock_monotonic_ns();
        batch(data, count);
        results[i] = (double)(fm_clock_monotonic_ns() - before_ns) / count;
    }
    qsort(results, BATCHES, sizeof(results[0]), compare);
    return results[BATCHES / 2];
}

static void system_calls(void *data, int count)
{
    (void)data;
    for (int i = 0; i < count; i++)
        (void)syscall(SYS_getppid);
}

/* First touches of private memory, in pages of 4 KiB. */
static void page_faults(void *data, int count)
{
    (void)data;
    size_t bytes = (size_t)count * PAGE_BYTES;
    uint8_t *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        fail("cannot map memory");
    (void)madvise(memory, bytes, MADV_NOHUGEPAGE); /* a kernel without huge pages refuses */
    for (size_t at = 0; at < bytes; at += PAGE_BYTES)
        ((volatile uint8_t *)memory)[at] = 1;
    (void)munmap(memory, bytes);
}

static void syncs(void *data, int count)
{
    static const uint8_t page[PAGE_BYTES];
    int fd = *(const int *)data;
    for (int i = 0; i < count; i++)
        if (write(fd, page, sizeof(page)) != (ssize_t)sizeof(page) || fsync(fd) != 0)
            fail("cannot write and sync");
}

/* --- waking another thread
 * ------------------------------------------------------------------------ */

struct pair {
    int to;
    int from;
};

static void *answer_wakes(void *data)
{
    const struct pair *pair = data;
    eventfd_t value;
    while (eventfd_read(pair->to, &value) == 0 && value < 2)
        (void)eventfd_write(pair->from, 1);
    return NULL;
}

static void wakes(void *data, int count)
{
    const struct pair *pair = data;
    eventfd_t value;
    for (int i = 0; i < count; i++)
        if (eventfd_write(pair->to, 1) != 0 || eventfd_read(pair->from, &value) != 0)
            fail("cannot wake a thread");
}

static double wake_ns(void)
{
    pthread_t thread;
    struct pair pair = {.to = eventfd(0, EFD_CLOEXEC), .from = eventfd(0, EFD_CLOEXEC)};
    if (pair.to < 0 || pair.from < 0 || pthread_create(&thread, NULL, answer_wakes, &pair) != 0)
        fail("cannot make a thread");
    double result = median_ns(wakes, &pair, 2000) / 2;
    (void)eventfd_write(pair.to, 2);
    (void)pthread_join(thread, NULL);
    (void)close(pair.to);
    (void)close(pair.from);
    return result;
}

static double sync_ns(const char *folder)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof(path), "%s/machine.XXXXXX", folder) >= sizeof(path))
        errno = ENAMETOOLONG, fail(folder);
    int fd = mkstemp(path);
    if (fd < 0)
        fail(path);
    double result = median_ns(syncs, &fd, 16);
    (void)unlink(path);
    (void)close(fd);
    return result;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: bench_machine FOLDER\n");
        return 64;
    }
    (void)printf("{\"system_call_ns\": %.0f, \"page_fault_ns\": %.0f, \"thread_wake_ns\": %.0f, "
                 "\"fsync_us\": %.0f}\n",
                 median_ns(system_calls, NULL, 200000), median_ns(page_faults, NULL, 8192),
                 wake_ns(), sync_ns(argv[1]) / 1000);
    return 0;
}
