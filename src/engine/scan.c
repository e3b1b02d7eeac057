/* scan.c - what page scanning must not miss.
 *
 * A slot is cleaned by asking the kernel which of its pages were written (PAGEMAP_SCAN).  What the
 * answer leaves out survives into the slot's next tenant.  The engine asks for pages that are
 * present; but a page is not while it is swapped out, nor for the moment in which the kernel moves
 * it elsewhere (compaction, NUMA balancing), when a migration entry stands in its place.  Both are
 * in the kernel's category "swapped".
 *
 * First, the question is completed: every page that is present *or* swapped, and written.  The
 * engine's ioctl(2) is linked to the one below (--wrap), which widens the question and passes
 * everything else on.  One walk looks at each page once, under its lock, so there is no gap between
 * the two.  Clearing such a page brings it back.
 *
 * Second, scanning is off while this process can be swapped: it is meant to be cheap, and a walk
 * that brings pages back from a disk is not.
 *
 * The engine decides about scanning once, when the pool is made.  But it falls back to rewriting
 * and giving back the memory whenever the scan fails, and it scans through one descriptor of
 * /proc/self/pagemap that it opened at first use.  So putting /dev/null into that descriptor turns
 * scanning off, for all threads at once and without touching the engine, and putting a fresh
 * /proc/self/pagemap there turns it on again; dup3() replaces it atomically.  The engine's own fork
 * handler relies on the same mechanism.
 *
 * The descriptor is found by its name in /proc/self/fd: there is exactly one such per process. */
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/private.h"

/* --- the question ----------------------------------------------------------------------------- */

/* linux/fs.h of Linux 6.7, which may be newer than the headers here. */
struct scan_question {
    uint64_t size;
    uint64_t flags;
    uint64_t start;
    uint64_t end;
    uint64_t walk_end;
    uint64_t vec;
    uint64_t vec_len;
    uint64_t max_pages;
    uint64_t category_inverted;
    uint64_t category_mask;       /* all of these */
    uint64_t category_anyof_mask; /* and one of these, if there are any */
    uint64_t return_mask;
};

#define SCAN_REQUEST _IOWR('f', 16, struct scan_question)
#define PAGE_PRESENT (UINT64_C(1) << 3)
#define PAGE_SWAPPED (UINT64_C(1) << 4)

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    struct scan_question *question = argument;
    if (request == SCAN_REQUEST && (question->category_mask & PAGE_PRESENT) &&
        !(question->category_inverted & PAGE_PRESENT)) {
        question->category_mask &= ~PAGE_PRESENT;
        question->category_anyof_mask |= PAGE_PRESENT | PAGE_SWAPPED;
    }
    return __real_ioctl(fd, request, argument);
}

/* --- the switch ------------------------------------------------------------------------------- */

static bool leads_to_pagemap(int folder, const char *name)
{
    char target[64];
    ssize_t length = readlinkat(folder, name, target, sizeof(target) - 1);
    if (length < 8)
        return false;
    target[length] = '\0';
    return strcmp(target + length - 8, "/pagemap") == 0;
}

/* -1: the engine has none. */
static int find_descriptor(void)
{
    int found = -1;
    DIR *folder = opendir("/proc/self/fd");
    if (!folder)
        return -1;
    struct dirent *entry = NULL;
    while (found < 0 && (entry = readdir(folder)) != NULL)
        if (leads_to_pagemap(dirfd(folder), entry->d_name))
            found = (int)strtol(entry->d_name, NULL, 10);
    (void)closedir(folder); /* only read */
    return found;
}

/* Of the process, as the engine's is; set once at start. */
static int scan_descriptor = -1;
static int null_descriptor = -1; /* kept open: switching off must not fail for want of one */

void fm_scan_init(struct fm_engine *engine)
{
    if (!engine->config.pooled || !engine->config.page_scanning)
        return;
    if (scan_descriptor < 0)
        scan_descriptor = find_descriptor();
    if (null_descriptor < 0)
        null_descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC);
    engine->scanning = scan_descriptor >= 0 && null_descriptor >= 0;
}

bool fm_engine_page_scanning(const struct fm_engine *engine)
{
    return engine->scanning;
}

bool fm_engine_page_scanning_set(struct fm_engine *engine, bool on)
{
    if (scan_descriptor < 0 || null_descriptor < 0 || !engine->config.page_scanning)
        return false;
    if (engine->scanning == on)
        return true;
    int fd = on ? open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) : null_descriptor;
    if (fd < 0)
        return false; /* stays off, which is always safe */
    int placed = dup3(fd, scan_descriptor, O_CLOEXEC);
    FM_ASSERT(placed == scan_descriptor);
    if (on)
        (void)close(fd); /* its copy stays */
    engine->scanning = on;
    return true;
}
