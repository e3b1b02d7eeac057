/* test_json.c - what is written is JSON (jansson reads it back), and says the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/error.h"
#include "http/json.h"
#include "torture.h"

static json_t *read_back(const struct fm_buffer *buffer)
{
    json_error_t error;
    json_t *json = json_loadb((const char *)buffer->data, buffer->length,
                              JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json)
        fail_msg("%s at %d in %.*s", error.text, error.position, (int)buffer->length,
                 (const char *)buffer->data);
    return json;
}

static int write_all(struct fm_buffer *buffer)
{
    struct fm_json json;
    fm_json_init(&json, buffer);
    fm_json_begin(&json, NULL, '{');
    fm_json_string(&json, "text", "a\"b\\c");
    fm_json_begin(&json, "list", '[');
    fm_json_number(&json, NULL, UINT64_MAX / 2);
    fm_json_integer(&json, NULL, -7);
    fm_json_begin(&json, NULL, '[');
    fm_json_end(&json, ']');
    fm_json_end(&json, ']');
    fm_json_bool(&json, "yes", true);
    fm_json_bool(&json, "no", false);
    fm_json_null(&json, "nothing");
    fm_json_base64(&json, "bytes", (const uint8_t *)"foob", 4);
    fm_json_begin(&json, "empty", '{');
    fm_json_end(&json, '}');
    fm_json_end(&json, '}');
    return fm_json_done(&json);
}

static void test_shape(void **state)
{
    (void)state;
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, 1000);
    assert_int_equal(write_all(&buffer), 0);
    static const char expected[] =
        "{\"text\":\"a\\\"b\\\\c\",\"list\":[9223372036854775807,-7,[]],\"yes\":true,\"no\":false,"
        "\"nothing\":null,\"bytes\":\"Zm9vYg==\",\"empty\":{}}\n";
    assert_int_equal(buffer.length, strlen(expected));
    assert_memory_equal(buffer.data, expected, buffer.length);
    json_decref(read_back(&buffer));
    fm_buffer_done(&buffer);
}

/* Writes `text`, reads it back, and compares; also what fm_json_escaped_bytes() promised. */
static void assert_same(const char *text, size_t length, const char *expected,
                        size_t expected_length)
{
    struct fm_buffer buffer;
    struct fm_json json;
    fm_buffer_init(&buffer, 10000);
    fm_json_init(&json, &buffer);
    fm_json_begin(&json, NULL, '[');
    fm_json_text(&json, NULL, text, length);
    fm_json_end(&json, ']');
    assert_int_equal(fm_json_done(&json), 0);
    assert_int_equal(buffer.length, fm_json_escaped_bytes(text, length) + strlen("[\"\"]\n"));
    json_t *array = read_back(&buffer);
    const json_t *string = json_array_get(array, 0);
    assert_int_equal(json_string_length(string), expected_length);
    assert_memory_equal(json_string_value(string), expected, expected_length);
    json_decref(array);
    fm_buffer_done(&buffer);
}

static void test_every_character_comes_back(void **state)
{
    (void)state;
    char text[128];
    for (int i = 0; i < 128; i++)
        text[i] = (char)i;
    assert_same(text, sizeof(text), text, sizeof(text));
    for (int i = 0; i < 128; i++)
        assert_same(&text[i], 1, &text[i], 1);
    assert_same("", 0, "", 0);
    const char *wide = "h\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80";
    assert_same(wide, strlen(wide), wide, strlen(wide));
}

static void test_bad_bytes_become_replacements(void **state)
{
    (void)state;
    const char *expected = "a\xEF\xBF\xBD"
                           "b";
    assert_same("a\xFF"
                "b",
                3, expected, strlen(expected));
    const char *two = "\xEF\xBF\xBD\xEF\xBF\xBD";
    assert_same("\xE2\x82", 2, two, strlen(two)); /* cut off */
}

static void test_limit(void **state)
{
    (void)state;
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, 1000);
    assert_int_equal(write_all(&buffer), 0);
    size_t length = buffer.length;
    fm_buffer_done(&buffer);
    fm_buffer_init(&buffer, length);
    assert_int_equal(write_all(&buffer), 0);
    fm_buffer_done(&buffer);
    fm_buffer_init(&buffer, length - 1);
    assert_int_equal(write_all(&buffer), FM_ERR_TOO_LARGE);
    fm_buffer_done(&buffer);
}

static int write_under_torture(void *data)
{
    (void)data;
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, 1000);
    int failed = write_all(&buffer);
    assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    fm_buffer_done(&buffer);
    return failed;
}

static void test_without_memory(void **state)
{
    (void)state;
    assert_true(torture(write_under_torture, NULL) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_every_character_comes_back),
        cmocka_unit_test(test_bad_bytes_become_replacements),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
