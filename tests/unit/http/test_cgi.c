/* test_cgi.c - the header block of a command's output: whole, in pieces, hostile, and at its
 * limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/cgi.h"
#include "torture.h"

static struct fm_reply reply;
static struct fm_cgi cgi;
static struct fm_error error;

static void begin(void)
{
    fm_reply_init(&reply);
    fm_cgi_init(&cgi, &reply);
    error = (struct fm_error){0};
}

static void done(void)
{
    fm_cgi_done(&cgi);
    fm_reply_done(&reply);
}

/* Gives `bytes` in pieces of `piece` until it is complete; returns how many were taken, or the
 * error. */
static int64_t feed(const char *text, size_t bytes, size_t piece)
{
    size_t total = 0;
    while (total < bytes && !cgi.complete) {
        size_t length = bytes - total < piece ? bytes - total : piece;
        /* A copy of exactly this size: the sanitizer sees a byte too far. */
        uint8_t *copy = malloc(length);
        memcpy(copy, text + total, length);
        size_t taken = SIZE_MAX;
        int failed = fm_cgi_take(&cgi, copy, length, &taken, &error);
        free(copy);
        if (failed)
            return failed;
        assert_true(taken == length || cgi.complete);
        total += taken;
    }
    return (int64_t)total;
}

/* What comes of it: "status|name=value|...|" and the rest of the text; or the error. */
static void expect(const char *text, const char *expected)
{
    for (size_t piece = 1; piece <= strlen(text) + 1; piece = piece < 8 ? piece + 1 : 2 * piece) {
        char found[2000];
        begin();
        int64_t taken = feed(text, strlen(text), piece);
        if (taken < 0) {
            assert_int_equal(taken, FM_ERR_BAD_RESPONSE);
            (void)snprintf(found, sizeof(found), "%s", error.text);
            if (!strstr(found, expected))
                fail_msg("'%s' with pieces of %zu: '%s'", text, piece, found);
            done();
            continue;
        }
        int length = snprintf(found, sizeof(found), "%u|", reply.status);
        for (size_t i = 0; i < reply.headers_count; i++)
            length += snprintf(found + length, sizeof(found) - (size_t)length, "%s=%s|",
                               fm_reply_name(&reply, i), fm_reply_value(&reply, i));
        if (reply.has_length)
            length += snprintf(found + length, sizeof(found) - (size_t)length, "length=%llu|",
                               (unsigned long long)reply.content_length);
        (void)snprintf(found + length, sizeof(found) - (size_t)length, "%s%s",
                       cgi.complete ? "" : "incomplete", text + taken);
        if (strcmp(found, expected) != 0)
            fail_msg("'%s' with pieces of %zu: '%s', not '%s'", text, piece, found, expected);
        assert_int_equal(fm_cgi_end(&cgi, &error),
                         cgi.complete || text[0] == '\0' ? 0 : FM_ERR_BAD_RESPONSE);
        done();
    }
}

static void test_blocks(void **state)
{
    (void)state;
    expect("Content-Type: text/html\n\n<p>", "0|Content-Type=text/html|<p>");
    expect("Content-Type: text/html\r\n\r\n<p>", "0|Content-Type=text/html|<p>");
    expect("a: 1\r\nb: 2\n\r\n\r\n", "0|a=1|b=2|\r\n");
    expect("\nbody", "0|body");
    expect("\r\n", "0|");
    expect("Status: 404 Not Found\nA:b\n\n", "404|A=b|");
    expect("status:\t201\n\n", "201|");
    expect("Status: 200\tfine\n\n", "200|");
    expect("Location: /x\n\n", "302|Location=/x|");
    expect("Location: /x\nStatus: 201 Created\n\n", "201|Location=/x|");
    expect("Content-Length: 12\n\n", "0|length=12|");
    expect("a: b: c\n\n", "0|a=b: c|");
    expect("Set-Cookie: a=1\nSet-Cookie: b=2\n\n", "0|Set-Cookie=a=1|Set-Cookie=b=2|");
    expect("a:\nb: 1\n\n", "0|b=1|"); /* says nothing */
}

static void test_incomplete(void **state)
{
    (void)state;
    expect("", "0|incomplete");
    expect("a", "0|incomplete");
    expect("a: b", "0|incomplete");
    expect("a: b\n", "0|a=b|incomplete");
    expect("a: b\n\r", "0|a=b|incomplete");
}

static void test_refused(void **state)
{
    (void)state;
    expect("hello\n", "line 1 of the function's header block: it is no header");
    expect("a: b\nhello\n", "line 2");
    expect("a: b\n more\n\n", "line 2");
    expect("a: b\n\tmore: x\n\n", "line 2");
    expect("a : b\n\n", "no name");
    expect(": b\n\n", "no name");
    expect("<p>: b\n\n", "no name");
    expect("a: b\rc\n\n", "control character");
    expect("a: b\r\r\n\n", "control character");
    expect("\r\r\n", "it is no header");
    expect("a\r: b\n\n", "no name");
    expect("a: \x1b[31m\n\n", "control character");
    expect("a: \x7f\n\n", "control character");
    expect("Connection: close\n\n", "the header Connection is not the function's");
    expect("transfer-encoding: chunked\n\n", "is not the function's");
    expect("X-Faasm-Call-Id: 1\n\n", "is not the function's");
    expect("Content-Type: a\ncontent-type: b\n\n", "line 2 of the function's header block: there "
                                                   "are two headers content-type");
    expect("Content-Length: 1\nContent-Length: 1\n\n", "two headers Content-Length");
    expect("Content-Length: 1, 1\n\n", "no number");
    static const char *const statuses[] = {"",    "abc",          "20",   "2000", "200OK", "199",
                                           "600", "100 Continue", "-200", "+200", "0x200", "2 00"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(statuses); i++) {
        char text[100];
        (void)snprintf(text, sizeof(text), "Status: %s\n\n", statuses[i]);
        expect(text, "Status is no number");
    }
    expect("Status: 200\nStatus: 200\n\n", "two headers Status");
    expect("Status: 200 a\rb\n\n", "control character");
}

/* A NUL ends neither a line nor a comparison. */
static void test_nul(void **state)
{
    (void)state;
    static const char *const texts[] = {"a\0b: c\n\n", "a: b\0c\n\n", "\0\n\n.....", "a: b\n\0\n.",
                                        "Status: 200\0\n\n"};
    static const size_t lengths[] = {8, 8, 3, 7, 14};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(texts); i++) {
        for (size_t piece = 1; piece < 9; piece++) {
            begin();
            assert_int_equal(feed(texts[i], lengths[i], piece), FM_ERR_BAD_RESPONSE);
            done();
        }
    }
}

/* Whatever comes, it ends in a block without control characters, or in an error. */
static void test_any_bytes(void **state)
{
    (void)state;
    static const char alphabet[] = "aS:t \t\r\n\n\n\0\x7f\xff-12Location";
    uint32_t random = 1;
    for (int round = 0; round < 200000; round++) {
        char text[24];
        size_t bytes = 1 + (size_t)(round % 23);
        for (size_t i = 0; i < bytes; i++) {
            random = random * 1664525 + 1013904223;
            text[i] = alphabet[(random >> 16) % (sizeof(alphabet) - 1)];
        }
        begin();
        int64_t taken = feed(text, bytes, 1 + (random >> 8) % 5);
        if (taken >= 0) {
            assert_true(cgi.complete || (size_t)taken == bytes);
            assert_true(!cgi.complete || text[taken - 1] == '\n');
            for (size_t i = 0; i < reply.headers_count; i++) {
                assert_null(strpbrk(fm_reply_name(&reply, i), " \t\r\n\x7f:"));
                assert_null(strpbrk(fm_reply_value(&reply, i), "\r\n\x7f"));
                assert_true(fm_reply_value(&reply, i)[0]);
            }
        }
        done();
    }
}

/* A block of exactly `bytes`, whose empty line is in it. */
static char *block_of(size_t bytes)
{
    char *text = malloc(bytes);
    memset(text, 'v', bytes);
    memcpy(text, "n:", 2);
    for (size_t at = 1000; at + 1000 < bytes; at += 1000)
        memcpy(text + at, "\nm:", 3);
    memcpy(text + bytes - 2, "\n\n", 2);
    return text;
}

static void test_bytes(void **state)
{
    (void)state;
    for (size_t bytes = FM_WEB_HEAD_BYTES_MAX - 1; bytes <= FM_WEB_HEAD_BYTES_MAX + 1; bytes++) {
        for (size_t piece = 1; piece <= 2 * bytes; piece *= 7) {
            char *text = block_of(bytes);
            begin();
            bool fits = bytes <= FM_WEB_HEAD_BYTES_MAX;
            assert_int_equal(feed(text, bytes, piece), fits ? (int64_t)bytes : FM_ERR_BAD_RESPONSE);
            assert_int_equal(cgi.complete, fits);
            if (!fits)
                assert_non_null(strstr(error.text, "more than 8192 bytes"));
            done();
            free(text);
        }
    }
}

static void test_headers(void **state)
{
    (void)state;
    for (int count = FM_WEB_HEADERS_MAX - 1; count <= FM_WEB_HEADERS_MAX + 1; count++) {
        char text[8 * (FM_WEB_HEADERS_MAX + 2)];
        size_t length = 0;
        for (int i = 0; i < count; i++)
            length += (size_t)sprintf(text + length, "n%d:x\n", i);
        length += (size_t)sprintf(text + length, "\n");
        begin();
        bool fits = count <= FM_WEB_HEADERS_MAX;
        assert_int_equal(feed(text, length, 10), fits ? (int64_t)length : FM_ERR_BAD_RESPONSE);
        if (!fits)
            assert_non_null(strstr(error.text, "line 101"));
        done();
    }
}

static int one_block(void *data)
{
    (void)data;
    static const char text[] = "Status: 404\nContent-Type: text/plain\nLocation: /abc\n\n";
    begin();
    size_t taken = 0;
    int failed = 0;
    for (size_t i = 0; i + 1 < sizeof(text) && !failed; i++)
        failed = fm_cgi_take(&cgi, (const uint8_t *)text + i, 1, &taken, &error);
    assert_true(!failed || failed == FM_ERR_NOMEM);
    assert_true(failed || cgi.complete);
    done();
    return failed;
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(torture(one_block, NULL) >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks),    cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_nul),
        cmocka_unit_test(test_any_bytes), cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_headers),   cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
