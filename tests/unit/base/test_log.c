/* test_log.c - one event is one line and one write, whatever the values hold.
 *
 * Standard error becomes a pipe in packet mode (O_DIRECT), which keeps the bounds of each write:
 * one read returns exactly what one write wrote. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/clock.h"
#include "base/log.h"
#include "torture.h"

#define LINE_MAX_BYTES 4096
#define TIME_LENGTH (FM_CLOCK_TEXT_SIZE - 1)

struct capture {
    int saved; /* the real standard error */
    int from;
};

static int capture_start(void **state)
{
    static struct capture capture;
    int ends[2];
    if (pipe2(ends, O_DIRECT | O_NONBLOCK) != 0)
        return -1;
    capture.saved = dup(STDERR_FILENO);
    if (capture.saved < 0 || dup2(ends[1], STDERR_FILENO) < 0)
        return -1;
    (void)close(ends[1]);
    capture.from = ends[0];
    *state = &capture;
    return 0;
}

/* What nobody expected is shown. */
static int capture_end(void **state)
{
    struct capture *capture = *state;
    if (dup2(capture->saved, STDERR_FILENO) < 0)
        return -1;
    char line[LINE_MAX_BYTES];
    ssize_t length;
    while ((length = read(capture->from, line, sizeof(line))) > 0)
        (void)fprintf(stderr, "left over: %.*s\n", (int)length, line);
    (void)close(capture->saved);
    (void)close(capture->from);
    return 0;
}

/* What one write wrote, or "" when there is nothing. */
static size_t next_line(const struct capture *capture, char line[LINE_MAX_BYTES + 1])
{
    ssize_t length = read(capture->from, line, LINE_MAX_BYTES);
    line[length > 0 ? length : 0] = '\0';
    return length > 0 ? (size_t)length : 0;
}

/* One line, whose part after the time is `expected`. */
static void expect_line(const struct capture *capture, const char *expected)
{
    char line[LINE_MAX_BYTES + 1];
    size_t length = next_line(capture, line);
    assert_true(length > TIME_LENGTH);
    assert_string_equal(line + TIME_LENGTH, expected);
    char none[LINE_MAX_BYTES + 1];
    assert_int_equal(next_line(capture, none), 0);
}

static void quotes_as(const struct capture *capture, const char *value, const char *expected)
{
    char line[256];
    (void)snprintf(line, sizeof(line), " info e k=%s\n", expected);
    fm_log(FM_LOG_INFO, "e", "k", value, NULL);
    expect_line(capture, line);
}

static void test_line(void **state)
{
    const struct capture *capture = *state;
    fm_log(FM_LOG_INFO, "started", NULL);
    expect_line(capture, " info started\n");
    fm_log(FM_LOG_ERROR, "upload_failed", "user", "simon", "function", "echo", "detail",
           "disk full", NULL);
    expect_line(capture, " error upload_failed user=simon function=echo detail=\"disk full\"\n");
    fm_log(FM_LOG_WARNING, "odd", "a", "1", NULL);
    expect_line(capture, " warning odd a=1\n");
}

static void test_time_is_now(void **state)
{
    const struct capture *capture = *state;
    char line[LINE_MAX_BYTES + 1];
    char before[FM_CLOCK_TEXT_SIZE];
    char after[FM_CLOCK_TEXT_SIZE];
    fm_clock_format(fm_clock_real_ns(), before);
    fm_log(FM_LOG_INFO, "e", NULL);
    fm_clock_format(fm_clock_real_ns(), after);
    (void)next_line(capture, line);
    line[TIME_LENGTH] = '\0';
    assert_true(strcmp(before, line) <= 0);
    assert_true(strcmp(line, after) <= 0);
}

static void test_levels(void **state)
{
    const struct capture *capture = *state;
    static const char *const names[] = {"debug", "info", "warning", "error"};
    fm_log(FM_LOG_DEBUG, "dropped", NULL); /* the default is info */
    char line[LINE_MAX_BYTES + 1];
    assert_int_equal(next_line(capture, line), 0);
    for (int min = FM_LOG_DEBUG; min <= FM_LOG_ERROR; min++) {
        fm_log_level_set((enum fm_log_level)min);
        for (int level = FM_LOG_DEBUG; level <= FM_LOG_ERROR; level++) {
            fm_log((enum fm_log_level)level, "e", NULL);
            char expected[64];
            (void)snprintf(expected, sizeof(expected), " %s e\n", names[level]);
            if (level >= min)
                expect_line(capture, expected);
            else
                assert_int_equal(next_line(capture, line), 0);
        }
    }
    fm_log_level_set(FM_LOG_INFO);
}

static void test_quoting(void **state)
{
    quotes_as(*state, "plain", "plain");
    quotes_as(*state, "/a/b?c=d&e=[f]'", "/a/b?c=d&e=[f]'");
    quotes_as(*state, "", "\"\"");
    quotes_as(*state, " ", "\" \"");
    quotes_as(*state, "two words", "\"two words\"");
    quotes_as(*state, "\"", "\"\\\"\"");
    quotes_as(*state, "a\\b", "\"a\\\\b\"");
    quotes_as(*state, "\"quoted\"", "\"\\\"quoted\\\"\"");
    quotes_as(*state, "a\nerror fake user=root", "\"a\\nerror fake user=root\"");
    quotes_as(*state, "\r\t", "\"\\r\\t\"");
    quotes_as(*state, "\033[2J\007", "\"\\x1b[2J\\x07\"");
    quotes_as(*state, "caf\xc3\xa9", "\"caf\\xc3\\xa9\"");
    quotes_as(*state, "\x7f\x80\xff", "\"\\x7f\\x80\\xff\"");
}

/* All 255 bytes: the line is one line of graphic ASCII and spaces. */
static void test_no_byte_escapes(void **state)
{
    const struct capture *capture = *state;
    for (int byte = 1; byte < 256; byte++) {
        char value[] = {(char)byte, '\0'};
        char line[LINE_MAX_BYTES + 1];
        fm_log(FM_LOG_INFO, "e", "k", value, NULL);
        size_t length = next_line(capture, line);
        assert_true(length > 0);
        for (size_t i = 0; i < length - 1; i++)
            assert_in_range(line[i], ' ', '~');
        assert_int_equal(line[length - 1], '\n');
    }
}

/* " info e k=" and the newline leave this much for a value. */
#define VALUE_MAX (LINE_MAX_BYTES - TIME_LENGTH - sizeof(" info e k=\n") + 1)

/* Logs `length` times `c`; returns the length of the line, which is in `line` from " info" on. */
static size_t log_long(const struct capture *capture, char c, size_t length, char *line)
{
    static char value[20000];
    assert_true(length < sizeof(value));
    memset(value, c, length);
    value[length] = '\0';
    fm_log(FM_LOG_INFO, "e", "k", value, NULL);
    char whole[LINE_MAX_BYTES + 1];
    size_t bytes = next_line(capture, whole);
    memcpy(line, whole + TIME_LENGTH, bytes - TIME_LENGTH + 1);
    char none[LINE_MAX_BYTES + 1];
    assert_int_equal(next_line(capture, none), 0);
    return bytes;
}

static void test_longest_line(void **state)
{
    const struct capture *capture = *state;
    char line[LINE_MAX_BYTES + 1];
    for (size_t length = VALUE_MAX - 1; length <= VALUE_MAX; length++) {
        assert_int_equal(log_long(capture, 'a', length, line),
                         LINE_MAX_BYTES - (VALUE_MAX - length));
        assert_string_equal(line + strlen(line) - 5, "aaaa\n");
    }
    for (size_t length = VALUE_MAX + 1; length < 20000; length *= 2) {
        assert_int_equal(log_long(capture, 'a', length, line), LINE_MAX_BYTES);
        assert_string_equal(line + strlen(line) - 8, "aaaa...\n");
    }
}

/* The same where a byte becomes two or four: an escape is written whole or not at all. */
static void test_longest_quoted_line(void **state)
{
    const struct capture *capture = *state;
    char line[LINE_MAX_BYTES + 1];
    size_t fitting = (VALUE_MAX - 2) / 2;
    assert_true(log_long(capture, '\n', fitting, line) <= LINE_MAX_BYTES);
    assert_string_equal(line + strlen(line) - 6, "\\n\\n\"\n");
    size_t bytes = log_long(capture, '\n', fitting + 1, line);
    assert_in_range(bytes, LINE_MAX_BYTES - 1, LINE_MAX_BYTES);
    assert_string_equal(line + strlen(line) - 9, "\\n\\n...\"\n");

    fitting = (VALUE_MAX - 2) / 4;
    assert_true(log_long(capture, '\x01', fitting, line) <= LINE_MAX_BYTES);
    assert_string_equal(line + strlen(line) - 10, "\\x01\\x01\"\n");
    bytes = log_long(capture, '\x01', fitting + 1, line);
    assert_in_range(bytes, LINE_MAX_BYTES - 3, LINE_MAX_BYTES);
    assert_string_equal(line + strlen(line) - 13, "\\x01\\x01...\"\n");
}

/* A huge value does not push out the pairs behind it. */
static void test_no_pair_is_lost(void **state)
{
    const struct capture *capture = *state;
    static char huge[10000];
    memset(huge, 'h', sizeof(huge) - 1);
    char line[LINE_MAX_BYTES + 1];
    fm_log(FM_LOG_INFO, "e", "first", huge, "second", huge, "user", "al", "detail", "disk is full",
           NULL);
    assert_int_equal(next_line(capture, line), LINE_MAX_BYTES);
    const char *tail = strstr(line, "... second=");
    assert_non_null(tail);
    assert_string_equal(tail, "... second=hh... user=al detail=\"dis...\"\n");
}

static void *log_many(void *data)
{
    const char *name = data;
    for (int i = 0; i < 8; i++)
        fm_log(FM_LOG_INFO, "e", "thread", name, "text", "a\nb", NULL);
    return NULL;
}

static void test_threads_do_not_mix(void **state)
{
    const struct capture *capture = *state;
    enum { THREADS = 2 };
    static char names[THREADS][1000];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        memset(names[i], 'A' + i, sizeof(names[i]) - 1);
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, names[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    int counts[THREADS] = {0};
    char line[LINE_MAX_BYTES + 1];
    while (next_line(capture, line) > 0) {
        char expected[LINE_MAX_BYTES];
        const char *name = strstr(line, "thread=") + strlen("thread=");
        int thread = *name - 'A';
        assert_in_range(thread, 0, THREADS - 1);
        (void)snprintf(expected, sizeof(expected), " info e thread=%s text=\"a\\nb\"\n",
                       names[thread]);
        assert_string_equal(line + TIME_LENGTH, expected);
        counts[thread] += 1;
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(counts[i], 8);
}

static void test_errno_survives(void **state)
{
    const struct capture *capture = *state;
    errno = EXDEV;
    fm_log(FM_LOG_INFO, "e", NULL);
    assert_int_equal(errno, EXDEV);
    expect_line(capture, " info e\n");
    errno = EXDEV;
    (void)close(STDERR_FILENO); /* a write that fails is nobody's crash */
    fm_log(FM_LOG_INFO, "e", NULL);
    assert_int_equal(errno, EXDEV);
}

static void bad_event(void)
{
    fm_log(FM_LOG_INFO, "two words", NULL);
}

static void bad_key(void)
{
    fm_log(FM_LOG_INFO, "e", "a=b", "c", NULL);
}

static void empty_key(void)
{
    fm_log(FM_LOG_INFO, "e", "", "c", NULL);
}

static void newline_in_key(void)
{
    fm_log(FM_LOG_INFO, "e", "a\n", "c", NULL);
}

static void no_value(void)
{
    const char *missing = NULL;
    fm_log(FM_LOG_INFO, "e", "key", missing, NULL);
}

static void bad_level(void)
{
    fm_log_level_set((enum fm_log_level)4);
}

static void test_mistakes_crash(void **state)
{
    const struct capture *capture = *state;
    void (*const mistakes[])(void) = {bad_event,      bad_key,  empty_key,
                                      newline_in_key, no_value, bad_level};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(mistakes); i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct rlimit none = {0, 0};
            (void)setrlimit(RLIMIT_CORE, &none); /* an expected crash leaves no core */
            mistakes[i]();
            _exit(0);
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        char line[LINE_MAX_BYTES + 1];
        (void)next_line(capture, line);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGABRT);
        assert_non_null(strstr(line, "assertion failed"));
    }
}

static int log_once(void *data)
{
    (void)data;
    fm_log(FM_LOG_INFO, "e", "k", "v w", NULL);
    return 0;
}

static void test_needs_no_memory(void **state)
{
    const struct capture *capture = *state;
    assert_int_equal(torture(log_once, NULL), 1);
    expect_line(capture, " info e k=\"v w\"\n");
}

#define CAPTURED(test) cmocka_unit_test_setup_teardown(test, capture_start, capture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CAPTURED(test_line),
        CAPTURED(test_time_is_now),
        CAPTURED(test_levels),
        CAPTURED(test_quoting),
        CAPTURED(test_no_byte_escapes),
        CAPTURED(test_longest_line),
        CAPTURED(test_longest_quoted_line),
        CAPTURED(test_no_pair_is_lost),
        CAPTURED(test_threads_do_not_mix),
        CAPTURED(test_errno_survives),
        CAPTURED(test_mistakes_crash),
        CAPTURED(test_needs_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
