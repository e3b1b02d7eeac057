/* hostile.c - guests that take all they can get.  The argument says of what.
 *
 * What a limit leaves to them they print, and end well; what ends them is theirs alone. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 65536

static char block[1 << 20];

static void loop(void)
{
    for (volatile int i = 0;; i++) {
    }
}

static int deeper(volatile char *above)
{
    volatile char here[64];
    here[0] = above[0];
    return deeper(here) + here[0];
}

/* Into the stack in its own memory, which lies at the memory's beginning. */
static void stack(void)
{
    exit(deeper((volatile char *)block));
}

static int (*volatile next)(int);

static int one_more(int n)
{
    return next(n + 1) + n;
}

/* Without any memory: into the stack that the engine keeps. */
static void recursion(void)
{
    next = one_more;
    exit(next(0));
}

static void grow(void)
{
    while (__builtin_wasm_memory_grow(0, 1) != SIZE_MAX) {
    }
    printf("%zu pages\n", (size_t)__builtin_wasm_memory_size(0));
}

/* All of the memory again and again, by single instructions that no tick interrupts. */
static void fill(void)
{
    grow();
    size_t bytes = __builtin_wasm_memory_size(0) * PAGE - (1 << 20) - sizeof(block);
    char *from = (char *)(uintptr_t)((1 << 20) + sizeof(block));
    for (int i = 0;; i++)
        memset(from, i, bytes);
}

static void copy(void)
{
    grow();
    size_t bytes = __builtin_wasm_memory_size(0) * PAGE - (1 << 20) - sizeof(block);
    char *from = (char *)(uintptr_t)((1 << 20) + sizeof(block));
    for (;;)
        memmove(from, from + 8, bytes - 8);
}

static void output(void)
{
    while (write(1, block, sizeof(block)) > 0) {
    }
}

static void logs(void)
{
    for (int i = 0; i < 200; i++)
        (void)!write(2, block, sizeof(block));
    printf("logged\n");
}

/* One file, until there is no room, and then for ever. */
static void file(void)
{
    int fd = open("big", O_CREAT | O_RDWR, 0600);
    long long bytes = 0;
    ssize_t put;
    while ((put = write(fd, block, sizeof(block))) > 0)
        bytes += put;
    printf("%s after %lld MiB\n", strerror(errno), bytes >> 20);
    for (int i = 0; i < 1000; i++)
        if (write(fd, block, sizeof(block)) > 0)
            abort();
}

static void names(void)
{
    char name[32];
    int count = 0;
    for (;; count++) {
        snprintf(name, sizeof(name), "n%d", count);
        int fd = open(name, O_CREAT | O_WRONLY, 0600);
        if (fd < 0)
            break;
        close(fd);
    }
    printf("%s, %s\n", strerror(errno), count > 1000 ? "many" : "few");
}

static void descriptors(void)
{
    int count = 3;
    while (open("f", O_CREAT | O_RDWR, 0600) >= 0)
        count++;
    printf("%s at %d\n", strerror(errno), count + 1);
}

static void folders(void)
{
    char path[8192] = "";
    int depth = 0;
    while (mkdir(strcat(path, depth ? "/d" : "d"), 0700) == 0)
        depth++;
    printf("%s at %d\n", strerror(errno), depth);
}

static void links(void)
{
    (void)!symlink("b/b/b/b/b/b/b/b/b/b", "a");
    (void)!symlink("a/a/a/a/a/a/a/a/a/a", "b");
    for (int i = 0; i < 100000; i++)
        if (open("a", O_RDONLY) >= 0)
            abort();
    printf("%s\n", strerror(errno));
}

/* Names that come and go for ever: what they took is given back each time. */
static void renames(void)
{
    char name[64];
    for (int i = 0; i < 300000; i++) {
        snprintf(name, sizeof(name), "f%d", i % 100);
        int fd = open(name, O_CREAT | O_WRONLY, 0600);
        if (fd < 0 || write(fd, block, 5000) != 5000)
            abort();
        close(fd);
        if (rename(name, "target") != 0)
            abort();
    }
    printf("renamed\n");
}

static void listing(void)
{
    char name[32];
    for (int i = 0; i < 20000; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    for (;;) {
        DIR *folder = opendir(".");
        int count = 0;
        while (readdir(folder))
            count++;
        closedir(folder);
        if (count < 20000)
            abort();
    }
}

static void holes(void)
{
    int fd = open("hole", O_CREAT | O_RDWR, 0600);
    errno = 0;
    for (off_t at = 1; at > 0 && at < (off_t)1 << 62; at *= 2)
        if (pwrite(fd, "x", 1, at) != 1)
            break;
    printf("%s\n", strerror(errno));
}

static void sleeper(void)
{
    const struct timespec long_time = {.tv_sec = 1000000};
    nanosleep(&long_time, NULL);
}

static void pointer(void)
{
    *(volatile char *)0xfffffff0 = 1;
}

static void calls_null(void)
{
    void (*volatile function)(void) = (void (*)(void))(uintptr_t)12345;
    function();
}

static void ends(void)
{
    exit(77);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*function)(void);
    } ways[] = {
        {"loop", loop},         {"recursion", recursion}, {"grow", grow},
        {"fill", fill},         {"copy", copy},           {"output", output},
        {"logs", logs},         {"file", file},           {"names", names},
        {"descriptors", descriptors}, {"folders", folders}, {"links", links},
        {"renames", renames},   {"listing", listing},     {"holes", holes},
        {"sleeper", sleeper},   {"pointer", pointer},     {"null", calls_null},
        {"ends", ends},         {"stack", stack},
    };
    for (size_t i = 0; argc > 1 && i < sizeof(ways) / sizeof(ways[0]); i++) {
        if (strcmp(argv[1], ways[i].name) == 0) {
            ways[i].function();
            return 0;
        }
    }
    return 2;
}
