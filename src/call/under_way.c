/* under_way.c - a map by id, whose nodes live with the calls.
 *
 * In this module, and not in queue/ whose clients ask: sched/, which makes the calls that calls
 * start, stands below that.
 *
 * One thread. */
#include "call/under_way.h"

#include "base/base.h"
#include "base/id.h"
#include "call/call.h"

static struct fm_under_way_call *entry_at(struct fm_map_node *node)
{
    return node ? FM_CONTAINER_OF(node, struct fm_under_way_call, node) : NULL;
}

void fm_under_way_init(struct fm_under_way *table)
{
    *table = (struct fm_under_way){0};
    fm_map_init(&table->calls);
}

void fm_under_way_done(struct fm_under_way *table)
{
    FM_ASSERT(table->calls.count == 0);
    fm_map_done(&table->calls);
}

void fm_under_way_begin(struct fm_under_way *table, struct fm_under_way_call *entry,
                        struct fm_call *call)
{
    entry->call = call;
    fm_list_init(&entry->waits);
    fm_list_init(&entry->cancels);
    entry->known =
        fm_map_put(&table->calls, &entry->node, (const char *)&call->id, sizeof(call->id)) == 0;
}

void fm_under_way_end(struct fm_under_way *table, struct fm_under_way_call *entry)
{
    if (FM_LIKELY(!entry->known))
        return;
    fm_map_remove(&table->calls, &entry->node);
    entry->known = false;
    if (table->on_end)
        table->on_end(table->data, entry);
}

struct fm_under_way_call *fm_under_way_find(const struct fm_under_way *table,
                                            const struct fm_id *id)
{
    return entry_at(fm_map_get(&table->calls, (const char *)id, sizeof(*id)));
}

struct fm_under_way_call *fm_under_way_next(const struct fm_under_way *table,
                                            const struct fm_under_way_call *entry)
{
    return entry_at(fm_map_next(&table->calls, entry ? &entry->node : NULL));
}
