/* test_id.c - ids are valid UUIDs of version 7, sort by creation, and never repeat.
 *
 * getrandom is defined here, before the C library's, so that a seed can be missing or chosen. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/id.h"

enum { RANDOM_KERNEL, RANDOM_FAILS, RANDOM_SHORT, RANDOM_ZERO };

static int random_mode;

ssize_t getrandom(void *data, size_t bytes, unsigned flags)
{
    switch (random_mode) {
    case RANDOM_FAILS:
        errno = ENOSYS;
        return -1;
    case RANDOM_SHORT:
        return syscall(SYS_getrandom, data, bytes / 2, flags);
    case RANDOM_ZERO:
        memset(data, 0, bytes);
        return (ssize_t)bytes;
    default:
        return syscall(SYS_getrandom, data, bytes, flags);
    }
}

static uint64_t time_ms(struct fm_id id)
{
    return id.high >> 16;
}

static unsigned counter(struct fm_id id)
{
    return (unsigned)(id.high & 0xfff);
}

static void test_layout(void **state)
{
    (void)state;
    /* From the state 1, 2, 3, 4 xoshiro256** gives 11520, 0, 1509978240, 1215971899390074240. */
    struct fm_id_generator generator = {.random = {1, 2, 3, 4}};
    uint64_t ms = 0x017f22e279b0;
    struct fm_id id = fm_id_next(&generator, ms * FM_NS_PER_MS + 999999);
    assert_int_equal(id.high, 0x017f22e279b07000);
    assert_int_equal(id.low, 0x8000000000000000 | 11520 >> 2);
    id = fm_id_next(&generator, ms * FM_NS_PER_MS);
    assert_int_equal(id.high, 0x017f22e279b07001);
    assert_int_equal(id.low, 0x8000000000000000);
    id = fm_id_next(&generator, (ms + 1) * FM_NS_PER_MS);
    assert_int_equal(id.high, 0x017f22e279b17000); /* counts from 0 again */
    assert_int_equal(id.low, 0x8000000000000000 | 1509978240 >> 2);
    id = fm_id_next(&generator, (ms + 1) * FM_NS_PER_MS);
    assert_int_equal(id.low, 0x8000000000000000 | 1215971899390074240 >> 2);
}

static void test_text(void **state)
{
    (void)state;
    /* The example of RFC 9562, appendix A.6. */
    static const char upper[] = "017F22E2-79B0-7CC3-98C4-DC0C0C07398F";
    struct fm_id id;
    assert_int_equal(fm_id_parse(upper, strlen(upper), &id), 0);
    assert_int_equal(id.high, 0x017f22e279b07cc3);
    assert_int_equal(id.low, 0x98c4dc0c0c07398f);
    char text[FM_ID_TEXT_SIZE + 1];
    text[FM_ID_TEXT_SIZE] = '#';
    fm_id_format(id, text);
    assert_string_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    assert_int_equal(text[FM_ID_TEXT_SIZE], '#');
    assert_int_equal(strlen(text), 36);
}

static void test_there_and_back(void **state)
{
    (void)state;
    struct fm_id_generator generator;
    assert_int_equal(fm_id_generator_init(&generator), 0);
    for (uint64_t i = 0; i < 5000; i++) {
        struct fm_id id = fm_id_next(&generator, i * i * i * FM_NS_PER_MS);
        char text[FM_ID_TEXT_SIZE];
        fm_id_format(id, text);
        struct fm_id parsed;
        assert_int_equal(fm_id_parse(text, strlen(text), &parsed), 0);
        assert_int_equal(parsed.high, id.high);
        assert_int_equal(parsed.low, id.low);
    }
}

static void test_bad_text(void **state)
{
    (void)state;
    static const char good[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
    struct fm_id id = {1, 2};
    char text[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0";
    for (size_t length = 0; length < sizeof(text); length++) {
        if (length != strlen(good))
            assert_int_equal(fm_id_parse(text, length, &id), FM_ERR_BAD_REQUEST);
    }
    for (size_t at = 0; at < strlen(good); at++) {
        static const char wrong[] = {'g', 'G', '/', ':', '@', '`', ' ', '\0', '\xff'};
        for (size_t i = 0; i < sizeof(wrong); i++) {
            memcpy(text, good, sizeof(good));
            text[at] = wrong[i];
            assert_int_equal(fm_id_parse(text, strlen(good), &id), FM_ERR_BAD_REQUEST);
        }
        memcpy(text, good, sizeof(good));
        text[at] = text[at] == '-' ? '0' : '-'; /* dashes only in their places */
        assert_int_equal(fm_id_parse(text, strlen(good), &id), FM_ERR_BAD_REQUEST);
    }
    assert_int_equal(id.high, 1); /* untouched */
    assert_int_equal(id.low, 2);
}

static void test_only_version_7(void **state)
{
    (void)state;
    struct fm_id id;
    for (int digit = 0; digit < 16; digit++) {
        char text[] = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        text[14] = "0123456789abcdef"[digit];
        assert_int_equal(fm_id_parse(text, 36, &id), digit == 7 ? 0 : FM_ERR_BAD_REQUEST);
        text[14] = '7';
        text[19] = "0123456789abcdef"[digit];
        bool variant = digit >= 8 && digit <= 11;
        assert_int_equal(fm_id_parse(text, 36, &id), variant ? 0 : FM_ERR_BAD_REQUEST);
    }
}

static void expect_after(struct fm_id_generator *generator, uint64_t real_ns, struct fm_id *last)
{
    struct fm_id id = fm_id_next(generator, real_ns);
    assert_true(id.high > last->high);
    char text[FM_ID_TEXT_SIZE];
    char last_text[FM_ID_TEXT_SIZE];
    fm_id_format(id, text);
    fm_id_format(*last, last_text);
    assert_true(strcmp(text, last_text) > 0); /* as texts, too */
    assert_int_equal(id.high >> 12 & 15, 7);
    assert_int_equal(id.low >> 62, 2);
    *last = id;
}

static void test_a_full_millisecond_runs_ahead(void **state)
{
    (void)state;
    struct fm_id_generator generator;
    assert_int_equal(fm_id_generator_init(&generator), 0);
    uint64_t now = 1000 * FM_NS_PER_MS;
    struct fm_id last = fm_id_next(&generator, now);
    assert_int_equal(counter(last), 0);
    for (int i = 1; i < 4095; i++)
        expect_after(&generator, now, &last);
    expect_after(&generator, now, &last);
    assert_int_equal(counter(last), 4095);
    assert_int_equal(time_ms(last), 1000);
    expect_after(&generator, now, &last);
    assert_int_equal(counter(last), 0);
    assert_int_equal(time_ms(last), 1001);
    expect_after(&generator, now + FM_NS_PER_MS, &last); /* the clock catches up */
    assert_int_equal(counter(last), 1);
    assert_int_equal(time_ms(last), 1001);
    expect_after(&generator, now + 2 * FM_NS_PER_MS, &last);
    assert_int_equal(counter(last), 0);
    assert_int_equal(time_ms(last), 1002);
}

static void test_clock_goes_back(void **state)
{
    (void)state;
    struct fm_id_generator generator;
    assert_int_equal(fm_id_generator_init(&generator), 0);
    struct fm_id last = fm_id_next(&generator, 5000 * FM_NS_PER_MS);
    for (uint64_t ms = 5000; ms-- > 0;)
        expect_after(&generator, ms * FM_NS_PER_MS, &last);
    assert_int_equal(time_ms(last), 5001); /* 5001 ids from 5000 on */
    expect_after(&generator, UINT64_MAX, &last);
    expect_after(&generator, 0, &last);
}

static void test_generators_differ(void **state)
{
    (void)state;
    struct fm_id_generator generators[2];
    assert_int_equal(fm_id_generator_init(&generators[0]), 0);
    assert_int_equal(fm_id_generator_init(&generators[1]), 0);
    for (int i = 0; i < 1000; i++) {
        struct fm_id a = fm_id_next(&generators[0], 1);
        struct fm_id b = fm_id_next(&generators[1], 1);
        assert_int_equal(a.high, b.high);
        assert_int_not_equal(a.low, b.low);
    }
}

static void test_seed(void **state)
{
    (void)state;
    struct fm_id_generator generator = {.last = 7};
    random_mode = RANDOM_FAILS;
    assert_int_equal(fm_id_generator_init(&generator), FM_ERR_IO);
    random_mode = RANDOM_SHORT;
    assert_int_equal(fm_id_generator_init(&generator), FM_ERR_IO);
    assert_int_equal(generator.last, 7); /* untouched */
    random_mode = RANDOM_ZERO;
    assert_int_equal(fm_id_generator_init(&generator), 0);
    random_mode = RANDOM_KERNEL;

    /* All zeros is the state in which xoshiro stays for ever. */
    int different = 0;
    uint64_t last = 0;
    for (int i = 0; i < 100; i++) {
        struct fm_id id = fm_id_next(&generator, 1);
        different += id.low != last;
        last = id.low;
    }
    assert_true(different > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_only_version_7),
        cmocka_unit_test(test_a_full_millisecond_runs_ahead),
        cmocka_unit_test(test_clock_goes_back),
        cmocka_unit_test(test_generators_differ),
        cmocka_unit_test(test_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
