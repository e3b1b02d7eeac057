/* test_reply.c - the head of a function's answer: what may be said, how much of it, and what is
 * kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/reply.h"
#include "torture.h"

static struct fm_reply reply;
static struct fm_error error;

static int setup(void **state)
{
    (void)state;
    fm_reply_init(&reply);
    error = (struct fm_error){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fm_reply_done(&reply);
    return 0;
}

static int say(enum fm_reply_how how, const char *name, const char *value)
{
    return fm_reply_header(&reply, how, name, strlen(name), value, strlen(value), &error);
}

/* Each "name=value" line, in order. */
static void assert_reply(const char *expected)
{
    char text[4096] = "";
    for (size_t i = 0; i < reply.headers_count; i++) {
        strcat(text, fm_reply_name(&reply, i));
        strcat(text, "=");
        strcat(text, fm_reply_value(&reply, i));
        strcat(text, "\n");
    }
    assert_string_equal(text, expected);
}

static void test_status(void **state)
{
    (void)state;
    const uint32_t bad[] = {0, 1, 99, 100, 101, 199, 600, 1000, UINT32_MAX};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bad); i++)
        assert_int_equal(fm_reply_status(&reply, bad[i]), FM_ERR_BAD_REQUEST);
    assert_int_equal(reply.status, 0);
    for (uint32_t status = 200; status <= 599; status++)
        assert_int_equal(fm_reply_status(&reply, status), 0);
    assert_int_equal(reply.status, 599);
}

static void test_set_and_add(void **state)
{
    (void)state;
    assert_int_equal(say(FM_REPLY_SET, "A", "1"), 0);
    assert_int_equal(say(FM_REPLY_SET, "Bb", "\t two  "), 0);
    assert_int_equal(say(FM_REPLY_SET, "c", "3\t4"), 0);
    assert_reply("A=1\nBb=two\nc=3 4\n");
    assert_int_equal(say(FM_REPLY_SET, "bB", "longer than before"), 0);
    assert_int_equal(say(FM_REPLY_SET, "a", "x"), 0);
    assert_reply("c=3 4\nbB=longer than before\na=x\n");
    assert_int_equal(say(FM_REPLY_ADD, "A", "y"), 0);
    assert_int_equal(say(FM_REPLY_SET, "Set-Cookie", "k=1"), 0);
    assert_int_equal(say(FM_REPLY_SET, "set-cookie", "l=2"), 0);
    assert_reply("c=3 4\nbB=longer than before\na=x\nA=y\nSet-Cookie=k=1\nset-cookie=l=2\n");
    assert_string_equal(fm_reply_find(&reply, "C"), "3 4");
    assert_null(fm_reply_find(&reply, "d"));
    assert_int_equal(say(FM_REPLY_SET, "A", ""), 0); /* both */
    assert_int_equal(say(FM_REPLY_SET, "Set-Cookie", " "), 0);
    assert_int_equal(say(FM_REPLY_SET, "nothing", ""), 0);
    assert_int_equal(say(FM_REPLY_ADD, "empty", ""), 0);
    assert_reply("c=3 4\nbB=longer than before\n");
    assert_int_equal(say(FM_REPLY_ADD, "obs", "\x80\xff"), 0);
    assert_int_equal(say(FM_REPLY_ADD, "!#$%&'*+-.^_`|~09azAZ", ":"), 0);
}

static void test_only_once(void **state)
{
    (void)state;
    static const char *const names[] = {"Content-Type", "location", "DATE"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(names); i++) {
        assert_int_equal(say(FM_REPLY_ADD, names[i], "x"), 0);
        assert_int_equal(say(FM_REPLY_ADD, names[i], "y"), FM_ERR_BAD_REQUEST);
        assert_non_null(strstr(error.text, "two headers"));
    }
    assert_int_equal(say(FM_REPLY_SET, "content-type", "z"), 0);
    assert_reply("location=x\nDATE=x\ncontent-type=z\n");
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[] = {"",    " ",        "a b", "a:",  "a\r", "a\n", "\x01",
                                        "a\t", "\xc3\xa4", "(a)", "a/b", "a@b", "[",   "\x7f"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(names); i++)
        assert_int_equal(say(FM_REPLY_SET, names[i], "x"), FM_ERR_BAD_REQUEST);
    assert_int_equal(fm_reply_header(&reply, FM_REPLY_SET, "a\0b", 3, "x", 1, NULL),
                     FM_ERR_BAD_REQUEST);
    static const char *const ours[] = {
        "Connection", "keep-alive",       "Transfer-Encoding", "TE",       "trailer",
        "Upgrade",    "Proxy-Connection", "X-Faasm-Call-Id",   "x-faasm-", "X-FAASM-EXIT-CODE"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(ours); i++) {
        assert_int_equal(say(FM_REPLY_SET, ours[i], "x"), FM_ERR_BAD_REQUEST);
        assert_int_equal(say(FM_REPLY_ADD, ours[i], "x"), FM_ERR_BAD_REQUEST);
        assert_non_null(strstr(error.text, "is not the function's"));
    }
    assert_reply("");
    assert_int_equal(say(FM_REPLY_SET, "X-Faasm", "x"), 0);
}

/* What would end the header, or the head. */
static void test_values(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        const char value[] = {'a', (char)c, 'b'};
        bool bad = (c < ' ' && c != '\t') || c == 0x7f;
        assert_int_equal(fm_reply_header(&reply, FM_REPLY_SET, "n", 1, value, 3, &error),
                         bad ? FM_ERR_BAD_REQUEST : 0);
        for (const char *at = error.text; *at; at++)
            assert_true((unsigned char)*at >= ' '); /* fit for a problem and a log */
    }
    assert_int_equal(say(FM_REPLY_SET, "n", "x\r\nSet-Cookie: y"), FM_ERR_BAD_REQUEST);
    assert_int_equal(say(FM_REPLY_SET, "n", "x\n\n<script>"), FM_ERR_BAD_REQUEST);
    assert_int_equal(say(FM_REPLY_SET, "n", "x\r"), FM_ERR_BAD_REQUEST);
}

static void test_length(void **state)
{
    (void)state;
    static const char *const bad[] = {"-1",  "+1",  "1 2", "0x10",
                                      "1,1", "abc", "1e3", "1000000000000000000"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bad); i++)
        assert_int_equal(say(FM_REPLY_SET, "Content-Length", bad[i]), FM_ERR_BAD_REQUEST);
    assert_int_equal(say(FM_REPLY_ADD, "Content-Length", ""), FM_ERR_BAD_REQUEST);
    assert_false(reply.has_length);
    assert_int_equal(say(FM_REPLY_ADD, "content-length", " 999999999999999999 "), 0);
    assert_true(reply.has_length && reply.content_length == UINT64_C(999999999999999999));
    assert_int_equal(say(FM_REPLY_ADD, "Content-Length", "1"), FM_ERR_BAD_REQUEST);
    assert_int_equal(say(FM_REPLY_SET, "Content-Length", "0"), 0);
    assert_true(reply.has_length && reply.content_length == 0);
    assert_int_equal(say(FM_REPLY_SET, "Content-Length", ""), 0);
    assert_false(reply.has_length);
    assert_reply("");
}

static void test_count(void **state)
{
    (void)state;
    char name[16];
    for (int i = 0; i < FM_WEB_HEADERS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "n%d", i);
        assert_int_equal(say(FM_REPLY_SET, name, "x"), 0);
        assert_int_equal(reply.headers_count, i + 1);
    }
    assert_int_equal(say(FM_REPLY_SET, "more", "x"), FM_ERR_TOO_LARGE);
    assert_int_equal(say(FM_REPLY_ADD, "n1", "x"), FM_ERR_TOO_LARGE);
    assert_int_equal(say(FM_REPLY_SET, "n1", "y"), 0); /* in place of one */
    assert_int_equal(say(FM_REPLY_SET, "n2", ""), 0);
    assert_int_equal(say(FM_REPLY_SET, "more", "x"), 0);
    assert_int_equal(reply.headers_count, FM_WEB_HEADERS_MAX);
}

static void test_bytes(void **state)
{
    (void)state;
    char *value = malloc(FM_WEB_HEAD_BYTES_MAX);
    memset(value, 'v', FM_WEB_HEAD_BYTES_MAX);
    const size_t fits = FM_WEB_HEAD_BYTES_MAX - 3; /* a name of one byte, two NULs */
    for (size_t length = fits + 1; length >= fits - 1; length--)
        assert_int_equal(fm_reply_header(&reply, FM_REPLY_SET, "n", 1, value, length, &error),
                         length > fits ? FM_ERR_TOO_LARGE : 0);
    assert_int_equal(say(FM_REPLY_SET, "a", ""), 0);
    assert_int_equal(say(FM_REPLY_SET, "a", "b"), FM_ERR_TOO_LARGE);
    assert_int_equal(strlen(fm_reply_find(&reply, "n")), fits - 1); /* it is still there */
    assert_int_equal(say(FM_REPLY_SET, "n", "b"), 0);
    assert_int_equal(say(FM_REPLY_SET, "a", "b"), 0);
    assert_reply("n=b\na=b\n");
    free(value);
}

static int some_headers(void *data)
{
    (void)data;
    struct fm_reply own;
    char value[300];
    memset(value, 'v', sizeof(value));
    fm_reply_init(&own);
    int failed = 0;
    for (size_t i = 1; i < 20 && !failed; i++)
        failed = fm_reply_header(&own, FM_REPLY_ADD, "name", 4, value, i * 15, NULL);
    assert_true(!failed || failed == FM_ERR_NOMEM);
    fm_reply_done(&own);
    return failed;
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(torture(some_headers, NULL) > 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_status), TEST(test_set_and_add), TEST(test_only_once),
        TEST(test_names),  TEST(test_values),      TEST(test_length),
        TEST(test_count),  TEST(test_bytes),       TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
