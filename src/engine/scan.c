/* scan.c - switches page scanning off while this process can be swapped, and on again.
 *
 * A slot is cleaned by asking the kernel which of its pages were written (PAGEMAP_SCAN).  The
 * answer leaves out pages that are swapped out: they would survive into the slot's next tenant.  So
 * scanning may only be used while nothing can be swapped out.
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
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/private.h"

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
