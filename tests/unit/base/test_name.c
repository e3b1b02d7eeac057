/* test_name.c - every byte at every kind of place, and the length. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/name.h"

static bool valid(const char *text)
{
    return fm_name_valid(text, strlen(text));
}

static void test_examples(void **state)
{
    (void)state;
    assert_true(valid("simon"));
    assert_true(valid("a"));
    assert_true(valid("0"));
    assert_true(valid("Echo-2.1_final"));
    assert_true(valid("a..b"));
    assert_false(valid(""));
    assert_false(valid("."));
    assert_false(valid(".."));
    assert_false(valid(".hidden"));
    assert_false(valid("-rf"));
    assert_false(valid("_x"));
    assert_false(valid("a/b"));
    assert_false(valid("a b"));
    assert_false(valid("a\n"));
    assert_false(valid("caf\xc3\xa9"));
    assert_false(fm_name_valid("a\0b", 3));
    assert_false(fm_name_valid(NULL, 0));
    assert_true(fm_name_valid("ab/", 2)); /* looks no further than it is told */
}

static void test_every_byte(void **state)
{
    (void)state;
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    static const char later[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        bool in_first = memchr(first, byte, strlen(first)) != NULL;
        bool in_later = memchr(later, byte, strlen(later)) != NULL;
        assert_true(fm_name_valid((const char[]){c, 'a', 'a'}, 3) == in_first);
        assert_true(fm_name_valid((const char[]){c}, 1) == in_first);
        assert_true(fm_name_valid((const char[]){'a', c, 'a'}, 3) == in_later);
        assert_true(fm_name_valid((const char[]){'a', 'a', c}, 3) == in_later);
    }
}

static void test_length(void **state)
{
    (void)state;
    char name[FM_NAME_LENGTH_MAX + 1];
    memset(name, 'n', sizeof(name));
    assert_int_equal(FM_NAME_LENGTH_MAX, 64);
    assert_true(fm_name_valid(name, FM_NAME_LENGTH_MAX - 1));
    assert_true(fm_name_valid(name, FM_NAME_LENGTH_MAX));
    assert_false(fm_name_valid(name, FM_NAME_LENGTH_MAX + 1));
    assert_false(fm_name_valid(name, SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
