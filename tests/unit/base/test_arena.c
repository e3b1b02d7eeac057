/* test_arena.c - what an arena gives is separate, aligned, bounded, and gone after a reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/error.h"
#include "torture.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define UNDER_ASAN true
#define POISONED(address) (__asan_address_is_poisoned(address) != 0)
#else
#define UNDER_ASAN false
#define POISONED(address) ((void)(address), true)
#endif

#define UNIT 16 /* what every allocation is rounded to */

static void test_allocations_are_separate_and_aligned(void **state)
{
    (void)state;
    struct fm_arena arena;
    fm_arena_init(&arena, 16 * FM_MIB);
    unsigned char *pieces[2000];
    for (size_t i = 0; i < FM_ARRAY_LENGTH(pieces); i++) {
        size_t bytes = i * 7 % 3000;
        pieces[i] = fm_arena_alloc(&arena, bytes);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
        memset(pieces[i], (int)(i % 251), bytes);
    }
    for (size_t i = 0; i < FM_ARRAY_LENGTH(pieces); i++) {
        for (size_t at = 0; at < i * 7 % 3000; at++)
            assert_int_equal(pieces[i][at], i % 251);
    }
    fm_arena_done(&arena);
}

static void expect_ceiling(size_t bytes_max)
{
    struct fm_arena arena;
    fm_arena_init(&arena, bytes_max);
    assert_null(fm_arena_alloc(&arena, bytes_max + 1));
    for (size_t bytes = bytes_max - 1; bytes <= bytes_max; bytes++) {
        char *all = fm_arena_alloc(&arena, bytes);
        assert_non_null(all);
        memset(all, 1, bytes);
        assert_int_equal(arena.bytes, bytes_max);
        assert_null(fm_arena_alloc(&arena, 0)); /* even nothing costs something */
        fm_arena_reset(&arena);
        assert_int_equal(arena.bytes, 0);
    }
    fm_arena_done(&arena);
}

static void test_ceiling_in_one_piece(void **state)
{
    (void)state;
    expect_ceiling(UNIT);
    expect_ceiling(4 * FM_KIB);
    expect_ceiling(FM_MIB);
}

static void test_ceiling_in_small_pieces(void **state)
{
    (void)state;
    struct fm_arena arena;
    fm_arena_init(&arena, 100 * FM_KIB);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 100 * FM_KIB / UNIT; i++)
            assert_non_null(fm_arena_alloc(&arena, i % (UNIT + 1))); /* 0 to 16 all cost 16 */
        assert_null(fm_arena_alloc(&arena, 1));
        assert_int_equal(arena.bytes, 100 * FM_KIB);
        fm_arena_reset(&arena);
    }
    fm_arena_done(&arena);
}

static void test_sizes_that_wrap(void **state)
{
    (void)state;
    struct fm_arena arena;
    fm_arena_init(&arena, PTRDIFF_MAX);
    for (size_t less = 0; less < 64; less++)
        assert_null(fm_arena_alloc(&arena, SIZE_MAX - less));
    assert_null(fm_arena_strndup(&arena, "", SIZE_MAX));
    assert_int_equal(arena.bytes, 0);
    fm_arena_done(&arena);

    fm_arena_init(&arena, 0);
    assert_null(fm_arena_alloc(&arena, 0));
    fm_arena_done(&arena);
}

static void test_zero_bytes(void **state)
{
    (void)state;
    struct fm_arena arena;
    fm_arena_init(&arena, FM_KIB);
    void *first = fm_arena_alloc(&arena, 0);
    void *second = fm_arena_alloc(&arena, 0);
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    fm_arena_done(&arena);
}

static void test_strndup(void **state)
{
    (void)state;
    struct fm_arena arena;
    fm_arena_init(&arena, FM_KIB);
    char *copy = fm_arena_strndup(&arena, "functional", 8);
    assert_non_null(copy);
    assert_string_equal(copy, "function");
    char *binary = fm_arena_strndup(&arena, "a\0b", 3);
    assert_non_null(binary);
    assert_memory_equal(binary, "a\0b", 4); /* whole, and a NUL behind it */
    char *empty = fm_arena_strndup(&arena, NULL, 0);
    assert_non_null(empty);
    assert_string_equal(empty, "");
    fm_arena_done(&arena);

    fm_arena_init(&arena, 2 * UNIT);
    assert_null(fm_arena_strndup(&arena, "01234567890123456789012345678901", 2 * UNIT));
    assert_non_null(fm_arena_strndup(&arena, "0123456789012345678901234567890", 2 * UNIT - 1));
    fm_arena_done(&arena);
}

/* The next call finds its first chunk ready; but not a large one that one call happened to need. */
static void test_reset_keeps_only_the_usual_chunk(void **state)
{
    (void)state;
    struct fm_arena arena;
    fm_arena_init(&arena, 16 * FM_MIB);
    for (int i = 0; i < 100; i++)
        assert_non_null(fm_arena_alloc(&arena, FM_KIB));
    fm_arena_reset(&arena);
    torture_fail_nth(1);
    void *again = fm_arena_alloc(&arena, FM_KIB);
    torture_fail_nth(0);
    assert_true((again == NULL) == UNDER_ASAN); /* there every allocation is a malloc */
    fm_arena_done(&arena);
    assert_null(arena.chunks);

    assert_non_null(fm_arena_alloc(&arena, 8 * FM_MIB)); /* usable after done */
    fm_arena_reset(&arena);
    assert_null(arena.chunks);
    fm_arena_done(&arena);
    fm_arena_done(&arena); /* twice is fine */
}

static void test_can_be_moved(void **state)
{
    (void)state;
    struct fm_arena arena;
    fm_arena_init(&arena, FM_KIB);
    char *text = fm_arena_strndup(&arena, "moved", 5);
    struct fm_arena other = arena;
    memset(&arena, 0xa5, sizeof(arena));
    assert_non_null(fm_arena_alloc(&other, 100));
    assert_string_equal(text, "moved");
    fm_arena_done(&other);
}

static void test_sanitizer_sees_overruns(void **state)
{
    (void)state;
    if (!UNDER_ASAN)
        skip();
    struct fm_arena arena;
    fm_arena_init(&arena, FM_KIB);
    char *five = fm_arena_alloc(&arena, 5);
    assert_non_null(fm_arena_alloc(&arena, 5));
    assert_true(POISONED(five + 5));
    fm_arena_reset(&arena);
    assert_true(POISONED(five));
    fm_arena_done(&arena);
}

static int use_everything(void *data)
{
    struct fm_arena *arena = data;
    for (int round = 0; round < 2; round++) {
        for (size_t bytes = 1; bytes < 100000; bytes *= 3) {
            unsigned char *piece = fm_arena_alloc(arena, bytes);
            size_t before = arena->bytes;
            char *copy = fm_arena_strndup(arena, "copy", 4);
            if (!piece || !copy) {
                assert_true(copy || arena->bytes == before); /* a failure costs nothing */
                fm_arena_done(arena);
                return FM_ERR_NOMEM;
            }
            memset(piece, 0xff, bytes);
            assert_string_equal(copy, "copy");
        }
        fm_arena_reset(arena);
    }
    fm_arena_done(arena);
    return 0;
}

static void test_torture(void **state)
{
    (void)state;
    struct fm_arena arena;
    fm_arena_init(&arena, FM_MIB);
    assert_true(torture(use_everything, &arena) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_allocations_are_separate_and_aligned),
        cmocka_unit_test(test_ceiling_in_one_piece),
        cmocka_unit_test(test_ceiling_in_small_pieces),
        cmocka_unit_test(test_sizes_that_wrap),
        cmocka_unit_test(test_zero_bytes),
        cmocka_unit_test(test_strndup),
        cmocka_unit_test(test_reset_keeps_only_the_usual_chunk),
        cmocka_unit_test(test_can_be_moved),
        cmocka_unit_test(test_sanitizer_sees_overruns),
        cmocka_unit_test(test_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
