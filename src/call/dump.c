/* dump.c - a list of dumps, the latest first.
 *
 * There are few (a dump is made on request), so they are searched one after the other.  The bounds
 * are per user first: one whose functions fail all the time only pushes out its own dumps.
 *
 * Lifetime: the worker's; a dump lives on while somebody sends it.  Threading: the list is one
 * thread's, a dump anybody's. */
#include "call/dump.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/list.h"

struct kept {
    struct fm_list link;
    struct fm_id id;
    struct fm_dump *dump;
    char user[];
};

struct fm_dumps {
    struct fm_list order; /* the latest first */
    uint64_t bytes;
};

struct fm_dump *fm_dump_new(uint8_t *data, size_t bytes)
{
    struct fm_dump *dump = malloc(sizeof(*dump));
    if (!dump) {
        free(data);
        return NULL;
    }
    atomic_init(&dump->references, 1);
    dump->data = data;
    dump->bytes = bytes;
    return dump;
}

struct fm_dump *fm_dump_ref(struct fm_dump *dump)
{
    atomic_fetch_add_explicit(&dump->references, 1, memory_order_relaxed);
    return dump;
}

struct fm_dump *fm_dump_unref(struct fm_dump *dump)
{
    if (!dump || atomic_fetch_sub_explicit(&dump->references, 1, memory_order_acq_rel) > 1)
        return NULL;
    free(dump->data);
    free(dump);
    return NULL;
}

int fm_dumps_new(struct fm_dumps **ret_dumps)
{
    struct fm_dumps *dumps = calloc(1, sizeof(*dumps));
    if (!dumps)
        return FM_ERR_NOMEM;
    fm_list_init(&dumps->order);
    *ret_dumps = dumps;
    return 0;
}

static struct kept *kept_at(struct fm_list *link)
{
    return FM_LIST_ENTRY(link, struct kept, link);
}

static void drop(struct fm_dumps *dumps, struct kept *kept)
{
    dumps->bytes -= kept->dump->bytes;
    fm_list_remove(&kept->link);
    fm_dump_unref(kept->dump);
    free(kept);
}

struct fm_dumps *fm_dumps_free(struct fm_dumps *dumps)
{
    if (!dumps)
        return NULL;
    while (!fm_list_empty(&dumps->order))
        drop(dumps, kept_at(dumps->order.next));
    free(dumps);
    return NULL;
}

static struct kept *find(const struct fm_dumps *dumps, const struct fm_id *id)
{
    FM_LIST_FOREACH(&dumps->order, link)
    {
        struct kept *kept = kept_at(link);
        if (kept->id.high == id->high && kept->id.low == id->low)
            return kept;
    }
    return NULL;
}

/* Of one user, or (NULL) of all: what is over the bounds goes, the oldest first. */
static void shrink(struct fm_dumps *dumps, const char *user, uint32_t count_max, uint64_t bytes_max)
{
    uint32_t count = 0;
    uint64_t bytes = 0;
    struct fm_list *next = NULL;
    for (struct fm_list *link = dumps->order.next; link != &dumps->order; link = next) {
        struct kept *kept = kept_at(link);
        next = link->next;
        if (user && strcmp(kept->user, user) != 0)
            continue;
        count++;
        bytes += kept->dump->bytes;
        if (count > count_max || bytes > bytes_max)
            drop(dumps, kept);
    }
}

void fm_dumps_add(struct fm_dumps *dumps, const struct fm_id *id, const char *user,
                  struct fm_dump *dump)
{
    struct kept *older = find(dumps, id);
    if (older)
        drop(dumps, older);
    struct kept *kept = malloc(sizeof(*kept) + strlen(user) + 1);
    if (!kept)
        return;
    kept->id = *id;
    kept->dump = fm_dump_ref(dump);
    memcpy(kept->user, user, strlen(user) + 1);
    fm_list_init(&kept->link);
    fm_list_push_front(&dumps->order, &kept->link);
    dumps->bytes += dump->bytes;
    shrink(dumps, user, FM_DUMPS_USER_MAX, FM_DUMPS_BYTES_MAX / 4);
    if (dumps->bytes > FM_DUMPS_BYTES_MAX)
        shrink(dumps, NULL, UINT32_MAX, FM_DUMPS_BYTES_MAX);
}

struct fm_dump *fm_dumps_get(const struct fm_dumps *dumps, const struct fm_id *id)
{
    const struct kept *kept = find(dumps, id);
    return kept ? fm_dump_ref(kept->dump) : NULL;
}
