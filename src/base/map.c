/* map.c - buckets of chained nodes.
 *
 *      buckets [ 0 ] -> node -> node            bucket = hash & (buckets_count - 1)
 *              [ 1 ]                            node: inside the mapped object, holds
 *              [ 2 ] -> node                          its whole hash and points at its key
 *
 * Chains, and not open addressing: entries stay where their owner has them, removal leaves no
 * tombstones, and a put needs memory only when the table doubles.  If that memory is missing, the
 * put succeeds all the same and the chains are longer until a later put finds some: an optimisation
 * must not fail a request.  Only the first put, which makes the table, can fail.  The table never
 * shrinks; it costs 8 bytes for each entry of its fullest hour.
 *
 * Users choose the keys, so the hash is keyed: without the seed nobody can aim at one bucket.
 * SipHash-1-3 (one round a word, three at the end) is written from the paper of Aumasson and
 * Bernstein, 2012.
 *
 * One thread at a time. */
#include "base/map.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"

#define BUCKETS_MIN 8

void fm_map_init(struct fm_map *map)
{
    *map = (struct fm_map){0};
}

void fm_map_done(struct fm_map *map)
{
    free(map->buckets);
    fm_map_init(map);
}

static uint64_t rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

/* Up to 8 bytes, little-endian, missing ones are 0. */
static uint64_t word(const char *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value |= (uint64_t)(unsigned char)bytes[i] << (8 * i);
    return value;
}

static uint64_t siphash13(const uint64_t seed[2], const char *key, size_t length)
{
    uint64_t v[4] = {
        seed[0] ^ UINT64_C(0x736f6d6570736575), /* "somepseudorandomlygeneratedbytes" */
        seed[1] ^ UINT64_C(0x646f72616e646f6d),
        seed[0] ^ UINT64_C(0x6c7967656e657261),
        seed[1] ^ UINT64_C(0x7465646279746573),
    };
    size_t whole = length - length % 8;
    for (size_t at = 0; at <= whole; at += 8) {
        /* The last word has what is left over, and the length in its top byte. */
        uint64_t m = at < whole ? word(key + at, 8)
                                : word(key + at, length - whole) | (uint64_t)length << 56;
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    v[2] ^= 0xff;
    for (int round = 0; round < 3; round++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct fm_map_node **bucket_of(const struct fm_map *map, uint64_t hash)
{
    return &map->buckets[hash & (map->buckets_count - 1)];
}

static struct fm_map_node *find(const struct fm_map *map, uint64_t hash, const char *key,
                                size_t key_length)
{
    for (struct fm_map_node *node = *bucket_of(map, hash); node; node = node->next) {
        if (node->hash == hash && node->key_length == key_length &&
            (key_length == 0 || memcmp(node->key, key, key_length) == 0))
            return node;
    }
    return NULL;
}

struct fm_map_node *fm_map_get(const struct fm_map *map, const char *key, size_t key_length)
{
    if (map->count == 0)
        return NULL;
    return find(map, siphash13(map->seed, key, key_length), key, key_length);
}

/* The first table, and the seed with it: 16 bytes of getrandom come whole or not at all. */
static int start(struct fm_map *map)
{
    uint64_t seed[2];
    if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed))
        return FM_ERR_IO;
    struct fm_map_node **buckets = calloc(BUCKETS_MIN, sizeof(struct fm_map_node *));
    if (!buckets)
        return FM_ERR_NOMEM;
    map->buckets = buckets;
    map->buckets_count = BUCKETS_MIN;
    memcpy(map->seed, seed, sizeof(seed));
    return 0;
}

/* Doubles the table if there is memory for it. */
static void try_to_double(struct fm_map *map)
{
    struct fm_map_node **buckets =
        calloc(map->buckets_count, 2 * sizeof(struct fm_map_node *)); /* checks the product */
    if (!buckets)
        return;
    struct fm_map old = *map;
    map->buckets = buckets;
    map->buckets_count = 2 * old.buckets_count;
    for (size_t i = 0; i < old.buckets_count; i++) {
        struct fm_map_node *next;
        for (struct fm_map_node *node = old.buckets[i]; node; node = next) {
            next = node->next;
            struct fm_map_node **bucket = bucket_of(map, node->hash);
            node->next = *bucket;
            *bucket = node;
        }
    }
    free(old.buckets);
}

int fm_map_put(struct fm_map *map, struct fm_map_node *node, const char *key, size_t key_length)
{
    if (!map->buckets) {
        int result = start(map);
        if (result != 0)
            return result;
    }
    uint64_t hash = siphash13(map->seed, key, key_length);
    if (find(map, hash, key, key_length))
        return FM_ERR_CONFLICT;
    if (map->count >= map->buckets_count)
        try_to_double(map);

    struct fm_map_node **bucket = bucket_of(map, hash);
    *node = (struct fm_map_node){
        .next = *bucket,
        .key = key,
        .key_length = key_length,
        .hash = hash,
    };
    *bucket = node;
    map->count += 1;
    return 0;
}

void fm_map_remove(struct fm_map *map, struct fm_map_node *node)
{
    FM_ASSERT(map->count > 0);
    struct fm_map_node **link = bucket_of(map, node->hash);
    while (*link && *link != node)
        link = &(*link)->next;
    FM_ASSERT(*link == node); /* it is in this map */
    *link = node->next;
    node->next = NULL;
    map->count -= 1;
}

struct fm_map_node *fm_map_next(const struct fm_map *map, const struct fm_map_node *node)
{
    if (node && node->next)
        return node->next;
    size_t i = node ? (node->hash & (map->buckets_count - 1)) + 1 : 0;
    for (; i < map->buckets_count; i++) {
        if (map->buckets[i])
            return map->buckets[i];
    }
    return NULL;
}
