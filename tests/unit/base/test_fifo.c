/* test_fifo.c - a ring against a plain list of bytes: order, ceilings, failing memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/fifo.h"
#include "torture.h"

static size_t put(struct fm_fifo *fifo, const void *data, size_t bytes, size_t length_max)
{
    size_t taken = SIZE_MAX;
    assert_int_equal(fm_fifo_put(fifo, data, bytes, length_max, &taken), 0);
    return taken;
}

static void test_order(void **state)
{
    (void)state;
    struct fm_fifo fifo;
    fm_fifo_init(&fifo);
    char text[20] = "";
    assert_int_equal(fm_fifo_get(&fifo, text, sizeof(text)), 0);
    assert_int_equal(put(&fifo, NULL, 0, 100), 0);
    assert_int_equal(put(&fifo, "abc", 3, 100), 3);
    assert_int_equal(put(&fifo, "defg", 4, 100), 4);
    assert_int_equal(fm_fifo_get(&fifo, text, 2), 2);
    assert_memory_equal(text, "ab", 2);
    assert_int_equal(fm_fifo_get(&fifo, NULL, 1), 1);
    assert_int_equal(fm_fifo_get(&fifo, text, sizeof(text)), 4);
    assert_memory_equal(text, "defg", 4);
    assert_int_equal(fifo.length, 0);
    fm_fifo_done(&fifo);
}

static void test_ceiling(void **state)
{
    (void)state;
    struct fm_fifo fifo;
    fm_fifo_init(&fifo);
    char text[20];
    assert_int_equal(put(&fifo, "0123456789", 9, 10), 9);
    assert_int_equal(put(&fifo, "xyz", 3, 10), 1);
    assert_int_equal(put(&fifo, "xyz", 3, 10), 0);
    assert_int_equal(fifo.capacity, 10);
    assert_int_equal(put(&fifo, "xyz", 3, 5), 0); /* lower than what is in it */
    assert_int_equal(put(&fifo, "+", 1, 11), 1);  /* higher than before */
    assert_int_equal(fm_fifo_get(&fifo, text, 20), 11);
    assert_memory_equal(text, "012345678x+", 11);
    fm_fifo_done(&fifo);
}

/* Wherever the content lies, and however it is cut, the same bytes come out. */
static void test_against_a_counter(void **state)
{
    (void)state;
    struct fm_fifo fifo;
    fm_fifo_init(&fifo);
    uint32_t in = 0;
    uint32_t out = 0;
    uint32_t random = 12345;
    for (int i = 0; i < 100000; i++) {
        uint8_t data[700];
        random = random * 1664525 + 1013904223;
        size_t bytes = (random >> 8) % sizeof(data);
        if (random >> 31) {
            for (size_t j = 0; j < bytes; j++)
                data[j] = (uint8_t)((in + j) * 7 % 251);
            in += (uint32_t)put(&fifo, data, bytes, 5000);
        } else {
            size_t front = 0;
            const uint8_t *at = fm_fifo_front(&fifo, &front);
            for (size_t j = 0; j < front; j++)
                assert_int_equal(at[j], (uint8_t)((out + j) * 7 % 251));
            assert_true(fifo.length == 0 || front > 0);
            size_t got = fm_fifo_get(&fifo, data, bytes);
            for (size_t j = 0; j < got; j++)
                assert_int_equal(data[j], (uint8_t)((out + j) * 7 % 251));
            out += (uint32_t)got;
        }
        assert_int_equal(fifo.length, in - out);
        assert_true(fifo.length <= 5000 && fifo.capacity <= 5000);
    }
    assert_true(out > 1000000);
    fm_fifo_done(&fifo);
}

static int grow_twice(void *data)
{
    struct fm_fifo fifo;
    static const uint8_t zeros[4000];
    size_t taken = 0;
    (void)data;
    fm_fifo_init(&fifo);
    int failed = fm_fifo_put(&fifo, zeros, 500, 10000, &taken);
    if (!failed) {
        failed = fm_fifo_put(&fifo, zeros, 4000, 10000, &taken);
        assert_int_equal(fifo.length, failed ? 500 : 4500); /* as it was */
    }
    assert_true(!failed || failed == FM_ERR_NOMEM);
    fm_fifo_done(&fifo);
    return failed;
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_int_equal(torture(grow_twice, NULL), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_ceiling),
        cmocka_unit_test(test_against_a_counter),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
