/* cgroup.c - what the control group says.
 *
 *      /proc/self/cgroup     "0::/system.slice/faasm.service"
 *      /sys/fs/cgroup  +         /system.slice/faasm.service  +  /memory.max
 *      /sys/fs/cgroup  +         /system.slice                +  /memory.max     ...and so on up
 *
 * A limit holds for all groups below it, so the least one counts.  In a container the topmost
 * folder that can be seen is the container's own group, with its limit; on the machine itself it is
 * the root, which has no such file.
 *
 * Only where version 2 is alone, that is where its line is the first.  Beside groups of version 1
 * the memory controller is usually one of those, and the folders lie elsewhere.  A group outside of
 * what this process can see ("/../x") is not looked for: its path would lead somewhere else. */
#include "base/cgroup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

#define OWN_PATH "/proc/self/cgroup"
#define TOP_PATH "/sys/fs/cgroup"
#define VERSION_2 "0::/"
#define FILE_NAME_SIZE 64 /* of "memory.swap.current" and its like */
#define NUMBER_SIZE 24    /* 20 digits, a newline, a NUL */

/* Without its newline.  False: no such file, or the line is longer. */
static bool read_line(const char *path, char *line, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool got = fgets(line, (int)size, file) != NULL;
    (void)fclose(file); /* only read */
    if (!got)
        return false;
    size_t length = strcspn(line, "\n");
    if (line[length] != '\n')
        return false;
    line[length] = '\0';
    return true;
}

/* One of its parts is "..". */
static bool leads_up(const char *path)
{
    for (const char *at = path; (at = strstr(at, "/..")) != NULL; at += strlen("/.."))
        if (at[3] == '/' || at[3] == '\0')
            return true;
    return false;
}

int fm_cgroup_find(const char *root, struct fm_cgroup *ret_group)
{
    struct fm_cgroup group;
    char path[FM_CGROUP_PATH_SIZE];
    char line[FM_CGROUP_PATH_SIZE];
    int length = snprintf(path, sizeof(path), "%s" OWN_PATH, root);
    if (length < 0 || (size_t)length >= sizeof(path) || !read_line(path, line, sizeof(line)) ||
        strncmp(line, VERSION_2, strlen(VERSION_2)) != 0)
        return FM_ERR_NOT_FOUND;
    const char *name = line + strlen(VERSION_2) - 1; /* with its slash */
    if (leads_up(name))
        return FM_ERR_NOT_FOUND;
    group.top_length = strlen(root) + strlen(TOP_PATH);
    length = snprintf(group.path, sizeof(group.path), "%s" TOP_PATH "%s", root,
                      name[1] ? name : ""); /* the topmost has no name */
    if (length < 0 || (size_t)length >= sizeof(group.path))
        return FM_ERR_NOT_FOUND;
    *ret_group = group;
    return 0;
}

static bool parse(const char *text, uint64_t *ret_number)
{
    if (strcmp(text, "max") == 0) {
        *ret_number = UINT64_MAX;
        return true;
    }
    uint64_t number = 0;
    for (const char *at = text; *at; at++) {
        uint64_t digit = (uint64_t)*at - '0';
        if (digit > 9 || number > (UINT64_MAX - digit) / 10)
            return false;
        number = 10 * number + digit;
    }
    *ret_number = number;
    return text[0] != '\0';
}

int fm_cgroup_number(const struct fm_cgroup *group, const char *file, uint64_t *ret_number)
{
    char path[FM_CGROUP_PATH_SIZE + FILE_NAME_SIZE];
    char line[NUMBER_SIZE];
    FM_ASSERT(strlen(file) + 1 < FILE_NAME_SIZE);
    (void)snprintf(path, sizeof(path), "%s/%s", group->path, file); /* fits */
    uint64_t number;
    if (!read_line(path, line, sizeof(line)) || !parse(line, &number))
        return FM_ERR_NOT_FOUND;
    *ret_number = number;
    return 0;
}

static uint64_t machine_memory_bytes(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page_bytes = sysconf(_SC_PAGESIZE);
    return pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : FM_GIB;
}

uint64_t fm_cgroup_memory_bytes(const char *root)
{
    uint64_t bytes = machine_memory_bytes();
    struct fm_cgroup group;
    if (fm_cgroup_find(root, &group) != 0)
        return bytes;
    for (;;) {
        uint64_t limit;
        if (fm_cgroup_number(&group, "memory.max", &limit) == 0)
            bytes = fm_min_u64(bytes, limit);
        size_t length = strlen(group.path);
        if (length <= group.top_length)
            return bytes;
        while (group.path[--length] != '/') /* there is one: below the top all have names */
            continue;
        group.path[length] = '\0';
    }
}
