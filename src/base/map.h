/* map.h - a hash map from short byte strings to pointers, whose nodes live in the mapped objects.
 *
 * Chained buckets, doubled when there is more than one entry a bucket; the hash is SipHash-1-3 with
 * a random key per map (Aumasson, Bernstein 2012), since users choose the keys.  Entries are never
 * copied: the object owns its key and must keep it unchanged while it is in the map.  One thread at
 * a time. */
#pragma once

#include "base/base.h"

struct fm_map_node {
    struct fm_map_node *next; /* in the bucket */
    const char *key;
    size_t key_length;
    uint64_t hash;
};

struct fm_map {
    struct fm_map_node **buckets; /* NULL while empty */
    size_t buckets_count;         /* 0 or a power of two */
    size_t count;
    uint64_t seed[2];
};

void fm_map_init(struct fm_map *map); /* allocates nothing yet */
void fm_map_done(struct fm_map *map); /* the entries are not touched */

FM_MUST_CHECK struct fm_map_node *fm_map_get(const struct fm_map *map, const char *key,
                                             size_t key_length);

/* FM_ERR_CONFLICT: the key is there already.  FM_ERR_NOMEM and FM_ERR_IO (no random seed) can
 * only come from the first put into a map. */
FM_MUST_CHECK int fm_map_put(struct fm_map *map, struct fm_map_node *node, const char *key,
                             size_t key_length);
void fm_map_remove(struct fm_map *map, struct fm_map_node *node);

/* Visits every entry, in no order.  Start with NULL; do not change the map meanwhile. */
struct fm_map_node *fm_map_next(const struct fm_map *map, const struct fm_map_node *node);
