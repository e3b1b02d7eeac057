/* test_target.c - request targets as they come, and as nobody should send them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/name.h"
#include "http/target.h"

static struct fm_target parse(const char *raw)
{
    struct fm_target target;
    memset(&target, 0xA5, sizeof(target));
    assert_int_equal(fm_target_parse(raw, &target, NULL), 0);
    return target;
}

/* The segments as one text: "f|simon|echo". */
static void assert_segments(const char *raw, const char *expected)
{
    struct fm_target target = parse(raw);
    char text[512] = "";
    for (size_t i = 0; i < target.count && i < FM_TARGET_SEGMENTS_MAX; i++) {
        const struct fm_segment *segment = &target.segments[i];
        assert_int_equal(strlen(segment->text), segment->length);
        strcat(text, i > 0 ? "|" : "");
        strcat(text, segment->text);
    }
    assert_string_equal(text, expected);
}

static void test_plain_paths(void **state)
{
    (void)state;
    assert_segments("/f/simon/echo", "f|simon|echo");
    assert_segments("/healthz", "healthz");
    assert_segments("/", "");
    assert_int_equal(parse("/").count, 0);
    assert_int_equal(parse("/f/simon/echo").query_position, 0);
    assert_false(parse("/f/simon/echo").asterisk);
}

static void test_slash_at_the_end_does_not_count(void **state)
{
    (void)state;
    assert_int_equal(parse("/f/simon/echo/").count, 3);
    assert_int_equal(parse("/f/simon/").count, 2);
    assert_int_equal(parse("/healthz/?x").count, 1);
    /* but an empty name in the middle is one, and no good one */
    struct fm_target target = parse("/f//echo");
    assert_int_equal(target.count, 3);
    assert_string_equal(target.segments[1].fault, "an empty name");
    assert_int_equal(target.segments[1].fault_position, 3);
    assert_int_equal(parse("//f").count, 2);
}

static void test_more_segments_are_counted(void **state)
{
    (void)state;
    assert_int_equal(parse("/f/a/b/c/d/e").count, 6);
    assert_segments("/f/a/b/c/d/e", "f|a|b|c");
    assert_int_equal(parse("/f/a/b/c/%zz/%00").count, 6); /* ignored, whatever is in there */
}

static void test_each_segment_is_decoded_once(void **state)
{
    (void)state;
    assert_segments("/%66/s%69mon/%65%63%68%6F", "f|simon|echo");
    assert_segments("/f/a%2Eb", "f|a.b");
    /* what decodes to an escape is not decoded again */
    struct fm_target target = parse("/f/a%252fb/c");
    assert_int_equal(target.count, 3);
    assert_string_equal(target.segments[1].text, "a%2fb");
    assert_non_null(target.segments[1].fault);
    assert_false(target.segments[1].deceptive);
}

static void assert_fault(const char *raw, size_t index, const char *fault, size_t position)
{
    struct fm_target target = parse(raw);
    const struct fm_segment *segment = &target.segments[index];
    assert_non_null(segment->fault);
    assert_string_equal(segment->fault, fault);
    assert_int_equal(segment->fault_position, position);
    struct fm_error error = {0};
    assert_int_equal(fm_target_name(&target, index, "function", &error), FM_ERR_BAD_NAME);
    assert_int_equal(error.code, FM_ERR_BAD_NAME);
    assert_non_null(strstr(error.text, fault));
    char place[32];
    (void)snprintf(place, sizeof(place), "byte %zu ", position);
    assert_non_null(strstr(error.text, place));
}

static void test_deceptive_escapes(void **state)
{
    (void)state;
    assert_fault("/f/simon/a%2fb", 2, "an encoded slash", 10);
    assert_fault("/f/simon/a%2Fb", 2, "an encoded slash", 10);
    assert_fault("/f/si%00mon/a", 1, "an encoded NUL", 5);
    assert_fault("/f/%2e%2e%2fx/a", 1, "a name starts with a letter or a digit", 3);
    assert_fault("/f/simon/a%", 2, "a bad escape", 10);
    assert_fault("/f/simon/a%4", 2, "a bad escape", 10);
    assert_fault("/f/simon/a%4g", 2, "a bad escape", 10);
    assert_fault("/f/simon/a%/b", 2, "a bad escape", 10);
    assert_fault("/f/simon/a%4?b", 2, "a bad escape", 10);
    assert_true(parse("/f/simon/a%2fb").segments[2].deceptive);
    assert_true(parse("/f/si%00mon/a").segments[1].deceptive);
    assert_true(parse("/f/simon/a%zz").segments[2].deceptive);
    assert_true(parse("/f/..%2fx").segments[1].deceptive); /* though it is not the first fault */
    assert_false(parse("/f/a b").segments[1].deceptive);
    assert_int_equal(parse("/f%2fsimon%2fecho").count, 1); /* never a separator */
}

static void test_names_that_lead_elsewhere(void **state)
{
    (void)state;
    const char *mark = "a name starts with a letter or a digit";
    assert_fault("/f/../etc", 1, mark, 3);
    assert_fault("/f/./x", 1, mark, 3);
    assert_fault("/f/.hidden/x", 1, mark, 3);
    assert_fault("/f/-rf/x", 1, mark, 3);
    assert_fault("/f/_x/x", 1, mark, 3);
    const char *character = "a character other than A-Z a-z 0-9 . _ -";
    assert_fault("/f/a~b/x", 1, character, 4);
    assert_fault("/f/a b/x", 1, character, 4);
    assert_fault("/f/a\\b/x", 1, character, 4);
    assert_fault("/f/caf\xC3\xA9/x", 1, character, 6);
    assert_fault("/f/caf%C3%A9/x", 1, character, 6);
    assert_fault("/f/a:b/x", 1, character, 4);
    assert_segments("/f/a..b/x", "f|a..b|x"); /* odd, but a name */
}

static void name_of(char *raw, size_t length)
{
    strcpy(raw, "/f/simon/");
    memset(raw + 9, 'a', length);
    raw[9 + length] = '\0';
}

static void test_length_of_names(void **state)
{
    (void)state;
    char raw[300];
    for (size_t length = 63; length <= 64; length++) {
        name_of(raw, length);
        struct fm_target target = parse(raw);
        assert_null(target.segments[2].fault);
        assert_int_equal(target.segments[2].length, length);
        assert_int_equal(fm_target_name(&target, 2, "function", NULL), 0);
    }
    name_of(raw, 65);
    assert_fault(raw, 2, "a name has at most 64 bytes", 9 + 64);
    assert_string_equal(parse(raw).segments[2].text, ""); /* matches nothing by accident */
    name_of(raw, 280);
    assert_fault(raw, 2, "a name has at most 64 bytes", 9 + 64);
    /* 64 bytes when decoded, 192 on the wire */
    strcpy(raw, "/f/simon/");
    for (int i = 0; i < 64; i++)
        strcat(raw, "%61");
    assert_int_equal(parse(raw).segments[2].length, 64);
    assert_null(parse(raw).segments[2].fault);
}

/* The two ways in which the grammar of names is told agree, for every byte in both places. */
static void test_grammar_is_that_of_names(void **state)
{
    (void)state;
    for (int byte = 1; byte < 256; byte++) {
        for (int place = 0; place < 2; place++) {
            char name[3] = "aa";
            char raw[16];
            name[place] = (char)byte;
            (void)snprintf(raw, sizeof(raw), "/%%%02x%%%02x", (uint8_t)name[0], (uint8_t)name[1]);
            struct fm_target target = parse(raw);
            assert_int_equal(target.segments[0].fault == NULL, fm_name_valid(name, 2));
        }
    }
}

static void test_absolute_form(void **state)
{
    (void)state;
    assert_segments("http://host:8080/f/simon/echo", "f|simon|echo");
    assert_segments("HTTPS://host/f/simon", "f|simon");
    assert_segments("http://host", "");
    struct fm_target target = parse("http://host?x=1");
    assert_int_equal(target.count, 0);
    assert_int_equal(target.query_position, 12);
    assert_fault("http://h/f/a%2fb", 1, "an encoded slash", 12);
}

static void test_other_forms(void **state)
{
    (void)state;
    assert_true(parse("*").asterisk);
    assert_int_equal(parse("*").count, 0);
    static const char *const bad[] = {"", "f/simon/echo", "?x", "*/f", "ftp://host/f", "host:443"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bad); i++) {
        struct fm_target target;
        struct fm_error error = {0};
        assert_int_equal(fm_target_parse(bad[i], &target, &error), FM_ERR_BAD_REQUEST);
        assert_int_equal(error.code, FM_ERR_BAD_REQUEST);
    }
}

static void test_where_the_query_is(void **state)
{
    (void)state;
    assert_int_equal(parse("/f/a/b?x=1").query_position, 7);
    assert_int_equal(parse("/f/a/b/?x=1").query_position, 8);
    assert_int_equal(parse("/?").query_position, 2);
    assert_int_equal(parse("/f/a/b?").query_position, 7);
    struct fm_target target = parse("/f/a/b?x=/y/z"); /* a slash in there separates nothing */
    assert_int_equal(target.count, 3);
    assert_int_equal(parse("/f/a%3fb/c").query_position, 0);
}

/* --- query
 * ---------------------------------------------------------------------------------------- */

/* The parameters as one text: "a=1;b=;". */
static void assert_query(const char *query, const char *expected)
{
    char text[256];
    char got[256] = "";
    strcpy(text, query);
    size_t cursor = 0;
    struct fm_parameter parameter;
    struct fm_error error = {0};
    while (fm_query_next(text, &cursor, &parameter, &error)) {
        strcat(got, parameter.name);
        strcat(got, "=");
        strcat(got, parameter.value);
        strcat(got, ";");
    }
    assert_int_equal(error.code, 0);
    assert_string_equal(got, expected);
}

static void test_query(void **state)
{
    (void)state;
    assert_query("", "");
    assert_query("a=1", "a=1;");
    assert_query("a=1&b=2", "a=1;b=2;");
    assert_query("a", "a=;");
    assert_query("a&b=2", "a=;b=2;");
    assert_query("a=", "a=;");
    assert_query("=x", "=x;");
    assert_query("&&a=1&&b=2&", "a=1;b=2;");
    assert_query("a=1=2", "a=1=2;");
    assert_query("a+b=c+d", "a b=c d;");
    assert_query("a=%2B%26%3d%25", "a=+&=%;");
    assert_query("%61=%62&%63", "a=b;c=;");
    assert_query("a=%2525", "a=%25;"); /* once */
    assert_query("arg=x&arg=y", "arg=x;arg=y;");
    assert_query("a=\xC3\xA9", "a=\xC3\xA9;");
}

static void assert_bad_query(const char *query, const char *reason, size_t position)
{
    char text[64];
    strcpy(text, query);
    size_t cursor = 0;
    struct fm_parameter parameter;
    struct fm_error error = {0};
    while (fm_query_next(text, &cursor, &parameter, &error))
        assert_true(cursor <= strlen(query));
    assert_int_equal(error.code, FM_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.text, reason));
    char place[32];
    (void)snprintf(place, sizeof(place), "byte %zu ", position);
    assert_non_null(strstr(error.text, place));
}

static void test_bad_queries(void **state)
{
    (void)state;
    assert_bad_query("a=%", "a bad escape", 0);
    assert_bad_query("a=%4", "a bad escape", 0);
    assert_bad_query("a=1&b=%zz", "a bad escape", 4);
    assert_bad_query("a=%4&b", "a bad escape", 0);
    assert_bad_query("%=1", "a bad escape", 0);
    assert_bad_query("a=x%00y", "an encoded NUL", 0);
    assert_bad_query("a%00=y", "an encoded NUL", 0);
}

/* "-" stands for what cannot be. */
static void assert_rest(const char *raw, const char *expected, bool slash)
{
    struct fm_buffer path;
    struct fm_error error = {0};
    bool got_slash = false;
    fm_buffer_init(&path, 1000);
    int failed = fm_target_rest(raw, &path, &got_slash, &error);
    if (strcmp(expected, "-") == 0) {
        assert_int_equal(failed, FM_ERR_BAD_NAME);
    } else {
        assert_int_equal(failed, 0);
        assert_string_equal((const char *)path.data, expected);
        assert_int_equal(path.length, strlen(expected) + 1);
        assert_int_equal(got_slash, slash);
    }
    fm_buffer_done(&path);
}

static void test_rest(void **state)
{
    (void)state;
    assert_rest("/files/ada/a/b", "a/b", false);
    assert_rest("/files/ada/a/b/", "a/b", true);
    assert_rest("/files/ada/a/b//", "a/b/", true);
    assert_rest("/files/ada//a", "/a", false);
    assert_rest("/files/ada//", "", true);
    assert_rest("/files/ada/", "", true);
    assert_rest("/files/ada", "", false);
    assert_rest("/files/ada?x=/a", "", false);
    assert_rest("/files/ada/a?x=/b", "a", false);
    assert_rest("http://host/files/ada/a", "a", false);
    assert_rest("/files/ada/a%20b+c/%25%32%66", "a b+c/%2f", false);
    assert_rest("/files/a%2fda/x", "x", false); /* of the user somebody else thinks */
    assert_rest("/files/ada/a%2Fb", "-", false);
    assert_rest("/files/ada/%00", "-", false);
    assert_rest("/files/ada/%", "-", false);
    assert_rest("/files/ada/%4", "-", false);
    assert_rest("/files/ada/%4g", "-", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_paths),
        cmocka_unit_test(test_slash_at_the_end_does_not_count),
        cmocka_unit_test(test_more_segments_are_counted),
        cmocka_unit_test(test_each_segment_is_decoded_once),
        cmocka_unit_test(test_deceptive_escapes),
        cmocka_unit_test(test_names_that_lead_elsewhere),
        cmocka_unit_test(test_length_of_names),
        cmocka_unit_test(test_grammar_is_that_of_names),
        cmocka_unit_test(test_absolute_form),
        cmocka_unit_test(test_other_forms),
        cmocka_unit_test(test_where_the_query_is),
        cmocka_unit_test(test_query),
        cmocka_unit_test(test_bad_queries),
        cmocka_unit_test(test_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
