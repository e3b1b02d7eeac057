/* test_error.c - the table answers for every error, and texts are never cut without a sign. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

#define TEXT_LENGTH_MAX (sizeof(((struct fm_error *)NULL)->text) - 1)

static void test_each_error_has_its_own_row(void **state)
{
    (void)state;
    int rows = 0;
#define X(name, code_text, http, exit, guest, text)                                                \
    assert_string_equal(fm_err_code(FM_ERR_##name), code_text);                                    \
    assert_string_equal(fm_err_meaning(FM_ERR_##name), text);                                      \
    assert_int_equal(fm_err_http_status(FM_ERR_##name), http);                                     \
    assert_int_equal(fm_err_exit_code(FM_ERR_##name), exit);                                       \
    assert_int_equal(fm_err_guest_errno(FM_ERR_##name), guest);                                    \
    assert_int_equal(FM_ERR_##name, -(rows + 1));                                                  \
    rows += 1;
    FM_ERR_MAP(X)
#undef X
    assert_int_equal(rows, FM_ERR_COUNT_ - 1);
}

/* What clients, shells and guests rely on, written down a second time on purpose. */
static void test_contract(void **state)
{
    (void)state;
    assert_string_equal(fm_err_code(FM_ERR_NOT_FOUND), "not_found");
    assert_int_equal(fm_err_http_status(FM_ERR_NOT_FOUND), 404);
    assert_int_equal(fm_err_guest_errno(FM_ERR_NOT_FOUND), 44);
    assert_string_equal(fm_err_code(FM_ERR_TOO_LARGE), "too_large");
    assert_int_equal(fm_err_http_status(FM_ERR_TOO_LARGE), 413);
    assert_int_equal(fm_err_guest_errno(FM_ERR_TOO_LARGE), 1);
    assert_string_equal(fm_err_code(FM_ERR_QUOTA), "quota");
    assert_int_equal(fm_err_http_status(FM_ERR_QUOTA), 429);
    assert_int_equal(fm_err_guest_errno(FM_ERR_QUOTA), 6);
    assert_string_equal(fm_err_code(FM_ERR_NOMEM), "busy");
    assert_int_equal(fm_err_http_status(FM_ERR_NOMEM), 503);
    assert_int_equal(fm_err_http_status(FM_ERR_DEADLINE), 504);
    assert_int_equal(fm_err_exit_code(FM_ERR_BAD_REQUEST), 64);
    assert_int_equal(fm_err_exit_code(FM_ERR_INTERNAL), 70);
    assert_string_equal(fm_err_code(FM_ERR_IO), "internal"); /* ours, and none of their business */
}

static void test_every_row_is_an_error(void **state)
{
    (void)state;
    for (int error = -1; error > -FM_ERR_COUNT_; error--) {
        assert_in_range(fm_err_http_status(error), 400, 599);
        assert_in_range(fm_err_exit_code(error), 1, 78);
        assert_in_range(fm_err_guest_errno(error), 1, 76); /* WASI's errno ends at 76 */
        assert_true(fm_err_code(error)[0] != '\0');
        assert_true(fm_err_meaning(error)[0] != '\0');
    }
}

static void test_unknown_is_internal(void **state)
{
    (void)state;
    const int unknown[] = {0,       1,      FM_ERR_COUNT_, -FM_ERR_COUNT_, -FM_ERR_COUNT_ - 1,
                           INT_MAX, INT_MIN};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(unknown); i++) {
        assert_string_equal(fm_err_code(unknown[i]), "internal");
        assert_string_equal(fm_err_meaning(unknown[i]), fm_err_meaning(FM_ERR_INTERNAL));
        assert_int_equal(fm_err_http_status(unknown[i]), 500);
        assert_int_equal(fm_err_exit_code(unknown[i]), 70);
        assert_int_equal(fm_err_guest_errno(unknown[i]), 29);
    }
}

static void test_errno(void **state)
{
    (void)state;
    assert_int_equal(fm_err_from_errno(ENOMEM), FM_ERR_NOMEM);
    assert_int_equal(fm_err_from_errno(ENOSPC), FM_ERR_STORAGE_FULL);
    assert_int_equal(fm_err_from_errno(EDQUOT), FM_ERR_STORAGE_FULL);
    assert_int_equal(fm_err_from_errno(ENOENT), FM_ERR_NOT_FOUND);
    assert_int_equal(fm_err_from_errno(ENOTDIR), FM_ERR_NOT_FOUND);
    assert_int_equal(fm_err_from_errno(EEXIST), FM_ERR_CONFLICT);
    assert_int_equal(fm_err_from_errno(EFBIG), FM_ERR_TOO_LARGE);
    assert_int_equal(fm_err_from_errno(ENAMETOOLONG), FM_ERR_BAD_NAME);
    assert_int_equal(fm_err_from_errno(EMFILE), FM_ERR_BUSY);
    assert_int_equal(fm_err_from_errno(EIO), FM_ERR_IO);
    assert_int_equal(fm_err_from_errno(EACCES), FM_ERR_IO);
    for (int errnum = -1; errnum < 200; errnum++)
        assert_true(fm_err_from_errno(errnum) < 0); /* never success, not even for 0 */
}

static void test_set(void **state)
{
    (void)state;
    struct fm_error error = {0};
    assert_int_equal(fm_error_set(&error, FM_ERR_BAD_NAME, "line %d: '%s'", 7, "x/y"),
                     FM_ERR_BAD_NAME);
    assert_int_equal(error.code, FM_ERR_BAD_NAME);
    assert_string_equal(error.text, "line 7: 'x/y'");
    assert_int_equal(fm_error_set(NULL, FM_ERR_BUSY, "nobody %s", "listens"), FM_ERR_BUSY);
    assert_int_equal(fm_error_set(&error, FM_ERR_BUSY, "%s", ""), FM_ERR_BUSY);
    assert_string_equal(error.text, "");
}

static void test_set_may_quote_itself(void **state)
{
    (void)state;
    struct fm_error error = {0};
    (void)fm_error_set(&error, FM_ERR_BAD_REQUEST, "no such key");
    (void)fm_error_set(&error, error.code, "line 3: %s, really", error.text);
    assert_string_equal(error.text, "line 3: no such key, really");
    (void)fm_error_errno(&error, ENOENT, "(%s)", error.text);
    assert_string_equal(error.text, "(line 3: no such key, really): No such file or directory");
}

static void test_long_text_ends_in_dots(void **state)
{
    (void)state;
    struct fm_error error;
    char text[TEXT_LENGTH_MAX + 2];
    memset(text, 'a', sizeof(text));
    text[sizeof(text) - 1] = '\0';

    for (size_t length = TEXT_LENGTH_MAX - 1; length <= TEXT_LENGTH_MAX; length++) {
        (void)fm_error_set(&error, FM_ERR_IO, "%.*s", (int)length, text);
        assert_int_equal(strlen(error.text), length);
        assert_memory_equal(error.text, text, length);
    }
    (void)fm_error_set(&error, FM_ERR_IO, "%.*s", (int)TEXT_LENGTH_MAX + 1, text);
    assert_int_equal(strlen(error.text), TEXT_LENGTH_MAX);
    assert_memory_equal(error.text, text, TEXT_LENGTH_MAX - 3);
    assert_string_equal(error.text + TEXT_LENGTH_MAX - 3, "...");
}

/* Three bytes a character: whatever comes before, the cut is between two of them. */
static void test_cut_keeps_characters_whole(void **state)
{
    (void)state;
    struct fm_error error;
    char text[2 * TEXT_LENGTH_MAX];
    for (size_t i = 0; i + 3 < sizeof(text); i += 3)
        memcpy(text + i, "\xe2\x82\xac", 4);
    for (int shift = 0; shift < 3; shift++) {
        (void)fm_error_set(&error, FM_ERR_IO, "%.*s%s", shift, "abc", text);
        size_t length = strlen(error.text);
        assert_in_range(length, TEXT_LENGTH_MAX - 2, TEXT_LENGTH_MAX);
        assert_string_equal(error.text + length - 6, "\xe2\x82\xac...");
        assert_int_equal((length - 3 - (size_t)shift) % 3, 0);
    }
}

static void test_errno_text(void **state)
{
    (void)state;
    struct fm_error error = {0};
    assert_int_equal(fm_error_errno(&error, ENOSPC, "cannot write '%s'", "a.wasm"),
                     FM_ERR_STORAGE_FULL);
    assert_int_equal(error.code, FM_ERR_STORAGE_FULL);
    assert_string_equal(error.text, "cannot write 'a.wasm': No space left on device");
    assert_int_equal(fm_error_errno(NULL, ENOENT, "x"), FM_ERR_NOT_FOUND);
    assert_int_equal(fm_error_errno(&error, 99999, "odd"), FM_ERR_IO);
    assert_string_equal(error.text, "odd: Unknown error 99999");
}

static void test_errno_text_keeps_the_reason(void **state)
{
    (void)state;
    static const char reason[] = ": No space left on device";
    size_t room = TEXT_LENGTH_MAX - strlen(reason);
    struct fm_error error;
    char text[TEXT_LENGTH_MAX];
    memset(text, 'a', sizeof(text));

    (void)fm_error_errno(&error, ENOSPC, "%.*s", (int)room, text);
    assert_int_equal(strlen(error.text), TEXT_LENGTH_MAX);
    assert_memory_equal(error.text, text, room);
    assert_string_equal(error.text + room, reason);

    (void)fm_error_errno(&error, ENOSPC, "%.*s", (int)room + 1, text);
    assert_int_equal(strlen(error.text), TEXT_LENGTH_MAX);
    assert_memory_equal(error.text + room - 4, "a...", 4);
    assert_string_equal(error.text + room, reason);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_error_has_its_own_row),
        cmocka_unit_test(test_contract),
        cmocka_unit_test(test_every_row_is_an_error),
        cmocka_unit_test(test_unknown_is_internal),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_set_may_quote_itself),
        cmocka_unit_test(test_long_text_ends_in_dots),
        cmocka_unit_test(test_cut_keeps_characters_whole),
        cmocka_unit_test(test_errno_text),
        cmocka_unit_test(test_errno_text_keeps_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
