/* test_map.c - every key is found until it is removed, and only then not.
 *
 * getrandom is defined here, before the C library's, so that a seed can be missing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/map.h"
#include "torture.h"

static bool random_fails;
static bool random_is_short;

ssize_t getrandom(void *data, size_t bytes, unsigned flags)
{
    if (random_fails) {
        errno = ENOSYS;
        return -1;
    }
    return syscall(SYS_getrandom, data, random_is_short ? bytes / 2 : bytes, flags);
}

struct item {
    struct fm_map_node node;
    char key[32];
    bool in_map;
    int visits;
};

static int put(struct fm_map *map, struct item *item)
{
    return fm_map_put(map, &item->node, item->key, strlen(item->key));
}

static struct fm_map_node *get(const struct fm_map *map, const char *key)
{
    return fm_map_get(map, key, strlen(key));
}

static void test_empty(void **state)
{
    (void)state;
    struct fm_map map;
    fm_map_init(&map);
    assert_null(get(&map, "x"));
    assert_null(fm_map_next(&map, NULL));
    fm_map_done(&map);
    fm_map_done(&map); /* twice is fine */
}

static void test_put_get_remove(void **state)
{
    (void)state;
    struct fm_map map;
    fm_map_init(&map);
    struct item echo = {.key = "simon/echo"};
    struct item sum = {.key = "simon/sum"};
    assert_int_equal(put(&map, &echo), 0);
    assert_int_equal(put(&map, &sum), 0);
    assert_int_equal(map.count, 2);
    assert_ptr_equal(get(&map, "simon/echo"), &echo.node);
    assert_ptr_equal(get(&map, "simon/sum"), &sum.node);
    assert_null(get(&map, "simon/ech"));
    assert_null(get(&map, "simon/echo2"));

    fm_map_remove(&map, &echo.node);
    assert_int_equal(map.count, 1);
    assert_null(get(&map, "simon/echo"));
    assert_ptr_equal(get(&map, "simon/sum"), &sum.node);
    assert_int_equal(put(&map, &echo), 0); /* and again */
    assert_ptr_equal(get(&map, "simon/echo"), &echo.node);
    fm_map_done(&map);
    assert_null(get(&map, "simon/sum"));
}

static void test_same_key_is_refused(void **state)
{
    (void)state;
    struct fm_map map;
    fm_map_init(&map);
    struct item first = {.key = "same"};
    struct item second = {.key = "same"};
    second.node.hash = 42;
    assert_int_equal(put(&map, &first), 0);
    assert_int_equal(put(&map, &second), FM_ERR_CONFLICT);
    assert_int_equal(put(&map, &first), FM_ERR_CONFLICT);
    assert_int_equal(second.node.hash, 42); /* untouched */
    assert_int_equal(map.count, 1);
    assert_ptr_equal(get(&map, "same"), &first.node);
    fm_map_done(&map);
}

static void test_keys_are_bytes(void **state)
{
    (void)state;
    struct fm_map map;
    fm_map_init(&map);
    struct fm_map_node none;
    struct fm_map_node nul;
    struct fm_map_node two;
    assert_int_equal(fm_map_put(&map, &none, NULL, 0), 0); /* the empty key is a key */
    assert_int_equal(fm_map_put(&map, &nul, "\0", 1), 0);
    assert_int_equal(fm_map_put(&map, &two, "\0\xff", 2), 0);
    assert_ptr_equal(fm_map_get(&map, "", 0), &none);
    assert_ptr_equal(fm_map_get(&map, "\0\xff", 1), &nul);
    assert_ptr_equal(fm_map_get(&map, "\0\xff", 2), &two);
    assert_null(fm_map_get(&map, "\0\xfe", 2));
    assert_int_equal(fm_map_put(&map, &none, "", 0), FM_ERR_CONFLICT);
    fm_map_done(&map);
}

/* Against another implementation (OpenSSL's, with 1 and 3 rounds): the key is the bytes 0 to 15,
 * the message the bytes 0 to length - 1. */
static void test_siphash(void **state)
{
    (void)state;
    static const struct {
        size_t length;
        uint64_t hash;
    } known[] = {
        {0, 0xabac0158050fc4dc},  {1, 0xc9f49bf37d57ca93}, {2, 0x82cb9b024dc7d44d},
        {7, 0xd3927d989bb11140},  {8, 0x369095118d299a8e}, {9, 0x25a48eb36c063de4},
        {16, 0xcc4fdd1a7d908b66},
    };
    char message[16];
    for (size_t i = 0; i < sizeof(message); i++)
        message[i] = (char)i;
    struct fm_map map;
    fm_map_init(&map);
    struct fm_map_node node;
    assert_int_equal(fm_map_put(&map, &node, "", 0), 0);
    fm_map_remove(&map, &node);
    map.seed[0] = 0x0706050403020100;
    map.seed[1] = 0x0f0e0d0c0b0a0908;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(known); i++) {
        assert_int_equal(fm_map_put(&map, &node, message, known[i].length), 0);
        assert_int_equal(node.hash, known[i].hash);
        fm_map_remove(&map, &node);
    }
    fm_map_done(&map);
}

/* Two keys with one hash cannot be found by trying, so a hash is forged: `stored` is in the bucket
 * of `asked` and claims to have its hash. */
static void expect_told_apart(const char *stored_key, size_t stored_length, const char *asked_key,
                              size_t asked_length)
{
    struct fm_map map;
    fm_map_init(&map);
    struct fm_map_node stored;
    struct fm_map_node asked;
    assert_int_equal(fm_map_put(&map, &asked, asked_key, asked_length), 0);
    fm_map_remove(&map, &asked);
    assert_int_equal(fm_map_put(&map, &stored, stored_key, stored_length), 0);
    fm_map_remove(&map, &stored);
    stored.hash = asked.hash;
    stored.next = NULL;
    map.buckets[asked.hash & (map.buckets_count - 1)] = &stored;
    map.count = 1;

    assert_null(fm_map_get(&map, asked_key, asked_length));
    assert_int_equal(fm_map_put(&map, &asked, asked_key, asked_length), 0);
    assert_ptr_equal(fm_map_get(&map, asked_key, asked_length), &asked);
    fm_map_remove(&map, &stored);
    assert_ptr_equal(fm_map_get(&map, asked_key, asked_length), &asked);
    fm_map_done(&map);
}

static void test_equal_hashes(void **state)
{
    (void)state;
    expect_told_apart("abc", 3, "abd", 3);
    expect_told_apart("abc", 3, "ab", 2);
    expect_told_apart("ab", 2, "abc", 3);
    expect_told_apart("", 0, "a", 1);
}

static void test_each_map_has_its_own_seed(void **state)
{
    (void)state;
    struct fm_map maps[2];
    struct fm_map_node nodes[2];
    for (int i = 0; i < 2; i++) {
        fm_map_init(&maps[i]);
        assert_int_equal(fm_map_put(&maps[i], &nodes[i], "x", 1), 0);
    }
    assert_memory_not_equal(maps[0].seed, maps[1].seed, sizeof(maps[0].seed));
    assert_int_not_equal(nodes[0].hash, nodes[1].hash);
    fm_map_done(&maps[0]);
    fm_map_done(&maps[1]);
}

static struct item *items_new(size_t count)
{
    struct item *items = calloc(count, sizeof(*items));
    assert_non_null(items);
    for (size_t i = 0; i < count; i++)
        (void)snprintf(items[i].key, sizeof(items[i].key), "user%zu/f", i);
    return items;
}

/* Everything that should be there is found and visited once, and nothing else. */
static void check(const struct fm_map *map, struct item *items, size_t count)
{
    size_t expected = 0;
    for (size_t i = 0; i < count; i++) {
        struct fm_map_node *found = get(map, items[i].key);
        assert_ptr_equal(found, items[i].in_map ? &items[i].node : NULL);
        expected += items[i].in_map;
        items[i].visits = 0;
    }
    assert_int_equal(map->count, expected);
    for (struct fm_map_node *node = NULL; (node = fm_map_next(map, node)) != NULL;)
        FM_CONTAINER_OF(node, struct item, node)->visits += 1;
    for (size_t i = 0; i < count; i++)
        assert_int_equal(items[i].visits, items[i].in_map);
}

static size_t longest_chain(const struct fm_map *map)
{
    size_t longest = 0;
    for (size_t i = 0; i < map->buckets_count; i++) {
        size_t length = 0;
        for (struct fm_map_node *node = map->buckets[i]; node; node = node->next)
            length += 1;
        longest = length > longest ? length : longest;
    }
    return longest;
}

static void test_many(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    struct fm_map map;
    fm_map_init(&map);
    struct item *items = items_new(COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(put(&map, &items[i]), 0);
        items[i].in_map = true;
        assert_true(map.buckets_count >= map.count); /* at most one entry a bucket on average */
    }
    check(&map, items, COUNT);
    assert_true(longest_chain(&map) < 20); /* by chance: once in 10^15 runs */
    for (size_t i = 0; i < COUNT; i += 3) {
        fm_map_remove(&map, &items[i].node);
        items[i].in_map = false;
    }
    check(&map, items, COUNT);
    fm_map_done(&map);
    free(items);
}

/* Random puts and removals against a plain array, from a fixed seed. */
static void test_against_a_model(void **state)
{
    (void)state;
    enum { COUNT = 60 };
    struct fm_map map;
    fm_map_init(&map);
    struct item *items = items_new(COUNT);
    uint32_t random = 1;
    for (int step = 0; step < 5000; step++) {
        random = random * 1664525 + 1013904223;
        struct item *item = &items[(random >> 16) % COUNT];
        if (item->in_map)
            fm_map_remove(&map, &item->node);
        else
            assert_int_equal(put(&map, item), 0);
        item->in_map = !item->in_map;
        check(&map, items, COUNT);
    }
    fm_map_done(&map);
    free(items);
}

/* A map that has a table takes an entry even when no larger table can be had. */
static void test_growth_without_memory(void **state)
{
    (void)state;
    enum { COUNT = 64 };
    struct fm_map map;
    fm_map_init(&map);
    struct item *items = items_new(COUNT);
    assert_int_equal(put(&map, &items[0]), 0);
    items[0].in_map = true;
    size_t buckets_count = map.buckets_count;
    for (size_t i = 1; i < COUNT - 1; i++) {
        torture_fail_nth(1);
        assert_int_equal(put(&map, &items[i]), 0);
        torture_fail_nth(0);
        items[i].in_map = true;
    }
    assert_int_equal(map.buckets_count, buckets_count);
    check(&map, items, COUNT);
    assert_int_equal(put(&map, &items[COUNT - 1]), 0); /* now there is memory again */
    items[COUNT - 1].in_map = true;
    assert_int_equal(map.buckets_count, 2 * buckets_count);
    check(&map, items, COUNT);
    fm_map_done(&map);
    free(items);
}

static void test_no_seed(void **state)
{
    (void)state;
    struct fm_map map;
    fm_map_init(&map);
    struct item item = {.key = "x"};
    random_fails = true;
    assert_int_equal(put(&map, &item), FM_ERR_IO);
    random_fails = false;
    random_is_short = true;
    assert_int_equal(put(&map, &item), FM_ERR_IO);
    random_is_short = false;
    assert_int_equal(map.count, 0);
    assert_null(map.buckets);
    assert_null(get(&map, "x"));

    assert_int_equal(put(&map, &item), 0);
    random_fails = true; /* needed only once */
    struct item other = {.key = "y"};
    assert_int_equal(put(&map, &other), 0);
    random_fails = false;
    fm_map_done(&map);
}

static int put_three(void *data)
{
    (void)data;
    struct fm_map map;
    fm_map_init(&map);
    struct item items[3] = {{.key = "a"}, {.key = "b"}, {.key = "c"}};
    int result = 0;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(items) && result == 0; i++) {
        result = put(&map, &items[i]);
        items[i].in_map = result == 0;
    }
    check(&map, items, FM_ARRAY_LENGTH(items));
    fm_map_done(&map);
    return result;
}

static void test_torture(void **state)
{
    (void)state;
    assert_int_equal(torture(put_three, NULL), 2); /* one allocation, for the table */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_put_get_remove),
        cmocka_unit_test(test_same_key_is_refused),
        cmocka_unit_test(test_keys_are_bytes),
        cmocka_unit_test(test_siphash),
        cmocka_unit_test(test_equal_hashes),
        cmocka_unit_test(test_each_map_has_its_own_seed),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_against_a_model),
        cmocka_unit_test(test_growth_without_memory),
        cmocka_unit_test(test_no_seed),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
