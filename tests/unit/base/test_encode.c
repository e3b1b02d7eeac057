/* test_encode.c - UTF-8 and base64 against their RFCs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/encode.h"
#include "base/error.h"
#include "torture.h"

static size_t step(const char *text)
{
    return fm_utf8_step((const uint8_t *)text, strlen(text));
}

static void test_sequences(void **state)
{
    (void)state;
    assert_int_equal(step("a"), 1);
    assert_int_equal(step("\x7F"), 1);
    assert_int_equal(step("\xC2\x80"), 2);
    assert_int_equal(step("\xDF\xBF"), 2);
    assert_int_equal(step("\xE0\xA0\x80"), 3);
    assert_int_equal(step("\xED\x9F\xBF"), 3); /* U+D7FF */
    assert_int_equal(step("\xEE\x80\x80"), 3);
    assert_int_equal(step("\xEF\xBF\xBF"), 3);
    assert_int_equal(step("\xF0\x90\x80\x80"), 4);
    assert_int_equal(step("\xF4\x8F\xBF\xBF"), 4);             /* U+10FFFF */
    assert_int_equal(fm_utf8_step((const uint8_t *)"", 1), 1); /* NUL is a character */
    assert_int_equal(fm_utf8_step((const uint8_t *)"", 0), 0);
}

static void test_what_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "\xBF",
        "\xC0\x80",
        "\xC1\xBF", /* overlong */
        "\xE0\x9F\xBF",
        "\xED\xA0\x80",
        "\xED\xBF\xBF", /* surrogates */
        "\xF0\x8F\xBF\xBF",
        "\xF4\x90\x80\x80",
        "\xF5\x80\x80\x80",
        "\xFF",
        "\xC2",
        "\xC2z",
        "\xE1\x80",
        "\xE1\x80z", /* cut off */
        "\xF1\x80\x80",
        "\xF1\x80\x80z",
    };
    assert_true(fm_utf8_text_valid("a\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80z"));
    assert_false(fm_utf8_text_valid("good until \xFF here"));
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bad); i++) {
        assert_int_equal(step(bad[i]), 0);
        assert_false(fm_utf8_valid((const uint8_t *)bad[i], strlen(bad[i])));
    }
}

/* Every code point, encoded by the book, is accepted in its own length, and surrogates are not. */
static void test_all_code_points(void **state)
{
    (void)state;
    for (uint32_t c = 0x80; c <= 0x10FFFF; c++) {
        uint8_t text[4];
        size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        for (size_t i = length; i-- > 1;)
            text[i] = (uint8_t)(0x80 | (c >> (6 * (length - 1 - i)) & 0x3F));
        static const uint8_t leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
        text[0] = (uint8_t)(leads[length] | c >> (6 * (length - 1)));
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;
        assert_int_equal(fm_utf8_step(text, length), surrogate ? 0 : length);
    }
}

/* The fast path over eight ASCII bytes must not step over anything. */
static void test_bad_byte_at_every_place(void **state)
{
    (void)state;
    uint8_t text[40];
    for (size_t length = 0; length <= sizeof(text); length++) {
        memset(text, 'a', sizeof(text));
        assert_true(fm_utf8_valid(text, length));
        for (size_t i = 0; i < length; i++) {
            text[i] = 0xFF;
            assert_false(fm_utf8_valid(text, length));
            text[i] = 'a';
        }
    }
}

static void assert_base64(const char *text, const char *expected)
{
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, 100);
    assert_int_equal(fm_base64_append(&buffer, (const uint8_t *)text, strlen(text)), 0);
    assert_int_equal(buffer.length, strlen(expected));
    if (buffer.length > 0)
        assert_memory_equal(buffer.data, expected, buffer.length);
    fm_buffer_done(&buffer);
}

static void test_base64(void **state)
{
    (void)state;
    assert_base64("", ""); /* RFC 4648, section 10 */
    assert_base64("f", "Zg==");
    assert_base64("fo", "Zm8=");
    assert_base64("foo", "Zm9v");
    assert_base64("foob", "Zm9vYg==");
    assert_base64("fooba", "Zm9vYmE=");
    assert_base64("foobar", "Zm9vYmFy");
    assert_base64("\xFB\xFF\xFE", "+//+");
}

static void test_base64_limits(void **state)
{
    (void)state;
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, 7);
    assert_int_equal(fm_base64_append(&buffer, (const uint8_t *)"foob", 4), FM_ERR_TOO_LARGE);
    assert_int_equal(buffer.length, 0);
    assert_int_equal(fm_base64_append(&buffer, (const uint8_t *)"foo", 3), 0);
    fm_buffer_done(&buffer);
    torture_fail_nth(1);
    assert_int_equal(fm_base64_append(&buffer, (const uint8_t *)"f", 1), FM_ERR_NOMEM);
    torture_fail_nth(0);
    assert_int_equal(fm_base64_append(&buffer, NULL, SIZE_MAX), FM_ERR_TOO_LARGE);
    fm_buffer_done(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sequences),       cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_all_code_points), cmocka_unit_test(test_bad_byte_at_every_place),
        cmocka_unit_test(test_base64),          cmocka_unit_test(test_base64_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
