/* test_buffer.c - bytes come out as they went in, and the ceiling is exact. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/error.h"
#include "torture.h"

static void test_append(void **state)
{
    (void)state;
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, 1000);
    assert_int_equal(fm_buffer_append(&buffer, "a\0b", 3), 0);
    assert_int_equal(fm_buffer_append(&buffer, NULL, 0), 0);
    assert_int_equal(fm_buffer_append_text(&buffer, ""), 0);
    assert_int_equal(fm_buffer_append_text(&buffer, "cd"), 0);
    assert_int_equal(fm_buffer_printf(&buffer, "-%d-%s", 12, "x"), 0);
    assert_int_equal(fm_buffer_printf(&buffer, "%s", ""), 0);
    assert_int_equal(buffer.length, 10);
    assert_memory_equal(buffer.data, "a\0bcd-12-x", 10);
    fm_buffer_done(&buffer);
    assert_null(buffer.data);
    assert_int_equal(buffer.length, 0);
    assert_int_equal(fm_buffer_append(&buffer, "again", 5), 0); /* stays usable */
    assert_memory_equal(buffer.data, "again", 5);
    fm_buffer_done(&buffer);
}

static int fill(struct fm_buffer *buffer, int way, size_t bytes)
{
    char text[300];
    assert_true(bytes < sizeof(text));
    memset(text, 'x', bytes);
    text[bytes] = '\0';
    switch (way) {
    case 0:
        return fm_buffer_append(buffer, text, bytes);
    case 1:
        return fm_buffer_append_text(buffer, text);
    case 2:
        return fm_buffer_printf(buffer, "%s", text);
    default:
        return fm_buffer_reserve(buffer, bytes);
    }
}

/* Every way in, from empty and from partly full, around the ceiling. */
static void test_ceiling(void **state)
{
    (void)state;
    enum { LENGTH_MAX = 200 };
    for (int way = 0; way < 4; way++) {
        for (size_t before = 0; before <= LENGTH_MAX; before += 50) {
            struct fm_buffer buffer;
            fm_buffer_init(&buffer, LENGTH_MAX);
            size_t room = LENGTH_MAX - before;
            assert_int_equal(fill(&buffer, 0, before), 0);
            assert_int_equal(fill(&buffer, way, room + 1), FM_ERR_TOO_LARGE);
            assert_int_equal(buffer.length, before); /* as it was */
            if (room > 0)
                assert_int_equal(fill(&buffer, way, room - 1), 0);
            size_t last = way == 3 ? room : room > 0; /* a reservation used up nothing */
            assert_int_equal(fill(&buffer, way, last), 0);
            assert_int_equal(buffer.length, way == 3 ? before : LENGTH_MAX);
            for (size_t i = 0; i < buffer.length; i++)
                assert_int_equal(buffer.data[i], 'x');
            assert_true(buffer.capacity <= LENGTH_MAX + 1);
            fm_buffer_done(&buffer);
        }
    }
}

static void test_ceiling_of_zero_and_of_everything(void **state)
{
    (void)state;
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, 0);
    assert_int_equal(fm_buffer_append(&buffer, "", 0), 0);
    assert_int_equal(fm_buffer_reserve(&buffer, 0), 0);
    assert_int_equal(fm_buffer_printf(&buffer, "%s", ""), 0);
    assert_int_equal(fm_buffer_append(&buffer, "x", 1), FM_ERR_TOO_LARGE);
    assert_int_equal(fm_buffer_printf(&buffer, "x"), FM_ERR_TOO_LARGE);
    fm_buffer_done(&buffer);

    fm_buffer_init(&buffer, PTRDIFF_MAX);
    assert_int_equal(fm_buffer_append(&buffer, "x", 1), 0);
    assert_int_equal(fm_buffer_reserve(&buffer, SIZE_MAX), FM_ERR_TOO_LARGE);
    assert_int_equal(fm_buffer_reserve(&buffer, PTRDIFF_MAX), FM_ERR_TOO_LARGE);
    assert_memory_equal(buffer.data, "x", 1);
    fm_buffer_done(&buffer);
}

static void test_reserve_is_room(void **state)
{
    (void)state;
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, FM_MIB);
    assert_int_equal(fm_buffer_append(&buffer, "abc", 3), 0);
    assert_int_equal(fm_buffer_reserve(&buffer, 5000), 0);
    assert_true(buffer.capacity >= 5003);
    assert_int_equal(buffer.length, 3);
    memset(buffer.data + 3, 'z', 5000);
    buffer.length += 5000;
    torture_fail_nth(1);
    assert_int_equal(fm_buffer_reserve(&buffer, buffer.capacity - buffer.length),
                     0); /* no malloc */
    torture_fail_nth(0);
    assert_memory_equal(buffer.data, "abcz", 4);
    fm_buffer_done(&buffer);
}

static void test_clear(void **state)
{
    (void)state;
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, 10000);
    assert_int_equal(fm_buffer_reserve(&buffer, 1000), 0);
    assert_int_equal(fm_buffer_append(&buffer, "abc", 3), 0);
    size_t capacity = buffer.capacity;

    fm_buffer_clear(&buffer, capacity);
    assert_int_equal(buffer.length, 0);
    assert_int_equal(buffer.capacity, capacity);
    assert_non_null(buffer.data);

    fm_buffer_clear(&buffer, capacity - 1);
    assert_int_equal(buffer.capacity, 0);
    assert_null(buffer.data);
    assert_int_equal(buffer.length_max, 10000);
    fm_buffer_clear(&buffer, 0); /* of nothing */
    fm_buffer_done(&buffer);
}

static void test_take(void **state)
{
    (void)state;
    struct fm_buffer buffer;
    size_t length = 99;
    fm_buffer_init(&buffer, 100);
    assert_null(fm_buffer_take(&buffer, &length));
    assert_int_equal(length, 0);

    assert_int_equal(fm_buffer_reserve(&buffer, 10), 0);
    length = 99;
    assert_null(fm_buffer_take(&buffer, &length)); /* reserved, but empty; leaks nothing */
    assert_int_equal(length, 0);

    assert_int_equal(fm_buffer_append(&buffer, "mine", 4), 0);
    uint8_t *data = fm_buffer_take(&buffer, &length);
    assert_int_equal(length, 4);
    assert_memory_equal(data, "mine", 4);
    assert_null(buffer.data);
    assert_int_equal(buffer.length, 0);
    assert_int_equal(fm_buffer_append(&buffer, "next", 4), 0);
    assert_memory_equal(data, "mine", 4);
    free(data);
    fm_buffer_done(&buffer);
}

static int append_a_mebibyte(void *data)
{
    struct fm_buffer *buffer = data;
    fm_buffer_clear(buffer, 0);
    for (size_t i = 0; i < FM_MIB; i++) {
        uint8_t byte = (uint8_t)(i % 251);
        int result = fm_buffer_append(buffer, &byte, 1);
        if (result != 0) {
            assert_int_equal(result, FM_ERR_NOMEM);
            assert_int_equal(buffer->length, i); /* as it was */
            return result;
        }
    }
    return 0;
}

/* Doubling: about one allocation for each power of two, not one a byte. */
static void test_growth_is_linear(void **state)
{
    (void)state;
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, FM_MIB);
    int allocations = torture(append_a_mebibyte, &buffer) - 1;
    assert_in_range(allocations, 1, 20);
    assert_int_equal(buffer.length, FM_MIB);
    assert_int_equal(buffer.capacity, FM_MIB);
    for (size_t i = 0; i < FM_MIB; i++)
        assert_int_equal(buffer.data[i], i % 251);
    fm_buffer_done(&buffer);
}

static int print_lines(void *data)
{
    struct fm_buffer *buffer = data;
    fm_buffer_clear(buffer, 0);
    for (int i = 0; i < 1000; i++) {
        size_t before = buffer->length;
        int result = fm_buffer_printf(buffer, "line %d\n", i);
        if (result != 0) {
            assert_int_equal(result, FM_ERR_NOMEM);
            assert_int_equal(buffer->length, before);
            return result;
        }
    }
    return 0;
}

static void test_printf_torture(void **state)
{
    (void)state;
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, FM_MIB);
    assert_true(torture(print_lines, &buffer) > 3);
    assert_int_equal(buffer.length, 10 * 7 + 90 * 8 + 900 * 9);
    assert_memory_equal(buffer.data + buffer.length - 9, "line 999\n", 9);
    fm_buffer_done(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_ceiling_of_zero_and_of_everything),
        cmocka_unit_test(test_reserve_is_room),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_take),
        cmocka_unit_test(test_growth_is_linear),
        cmocka_unit_test(test_printf_torture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
