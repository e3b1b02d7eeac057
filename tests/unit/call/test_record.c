/* test_record.c - records: copies, statuses and errors as texts that stay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "call/record.h"
#include "torture.h"

/* These are on users' disks. */
static void numbers_stay(void **state)
{
    (void)state;
    static const char *const texts[] = {"queued", "running",   "succeeded",
                                        "failed", "cancelled", "dead"};
    assert_int_equal(FM_STATUS_COUNT_, FM_ARRAY_LENGTH(texts));
    for (size_t i = 0; i < FM_ARRAY_LENGTH(texts); i++) {
        enum fm_call_status status = FM_STATUS_COUNT_;
        assert_string_equal(fm_call_status_text((enum fm_call_status)i), texts[i]);
        assert_int_equal(fm_call_status_parse(texts[i], strlen(texts[i]), &status), 0);
        assert_int_equal(status, i);
        assert_int_equal(fm_call_status_ended(status), i >= 2);
    }
}

static void not_a_status(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "queue", "queuedd", "Queued", "dead ", "0"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(texts); i++) {
        enum fm_call_status status = FM_STATUS_COUNT_;
        assert_int_equal(fm_call_status_parse(texts[i], strlen(texts[i]), &status),
                         FM_ERR_BAD_REQUEST);
        assert_int_equal(status, FM_STATUS_COUNT_);
    }
}

/* Every error of the table has a text, and comes back from it. */
static void errors_come_back(void **state)
{
    (void)state;
    for (int error = -1; error > -FM_ERR_COUNT_; error--) {
        const char *text = fm_call_error_text(error);
        assert_int_equal(fm_call_error_parse(text, NULL), error);
        assert_int_equal(fm_call_error_parse(text, "gone"), error);
    }
    assert_string_equal(fm_call_error_text(0), "");
    assert_int_equal(fm_call_error_parse("", NULL), 0);
}

static void error_texts_stay(void **state)
{
    (void)state;
    assert_string_equal(fm_call_error_text(FM_ERR_NOMEM), "out_of_memory");
    assert_string_equal(fm_call_error_text(FM_ERR_BUSY), "busy");
    assert_string_equal(fm_call_error_text(FM_ERR_IO), "io");
    assert_string_equal(fm_call_error_text(FM_ERR_INTERNAL), "internal");
    assert_string_equal(fm_call_error_text(FM_ERR_GUEST_TRAP), "guest_trap");
    assert_string_equal(fm_call_error_text(FM_ERR_DEADLINE), "deadline");
    assert_string_equal(fm_call_error_text(-10000), "internal");
}

/* What a later version wrote. */
static void unknown_errors(void **state)
{
    (void)state;
    assert_int_equal(fm_call_error_parse("new_kind", "guest_limit"), FM_ERR_GUEST_LIMIT);
    assert_int_equal(fm_call_error_parse("new_kind", "busy"), FM_ERR_NOMEM);
    assert_int_equal(fm_call_error_parse("new_kind", "new_code"), FM_ERR_INTERNAL);
    assert_int_equal(fm_call_error_parse("new_kind", NULL), FM_ERR_INTERNAL);
}

static struct fm_id children[] = {{1, 2}, {3, 4}};

static const struct fm_call_record full = {
    .id = {5, 6},
    .status = FM_STATUS_FAILED,
    .attempt = 2,
    .user = (char[]){"user"},
    .function = (char[]){"function"},
    .version = (char[]){"version"},
    .key = (char[]){"key"},
    .children = children,
    .children_count = 2,
    .error = FM_ERR_GUEST_TRAP,
    .limit = (char[]){"limit"},
    .trap = (char[]){"trap"},
    .detail = (char[]){"detail"},
    .backtrace = (char[]){"backtrace"},
};

static int copy_full(void *data)
{
    (void)data;
    struct fm_call_record copy = {.attempt = 77};
    int failed = fm_call_record_copy(&full, &copy);
    if (failed) {
        assert_int_equal(failed, FM_ERR_NOMEM);
        assert_int_equal(copy.attempt, 77);
        return failed;
    }
    assert_int_equal(copy.attempt, 2);
    assert_string_equal(copy.user, "user");
    assert_string_equal(copy.function, "function");
    assert_string_equal(copy.version, "version");
    assert_string_equal(copy.key, "key");
    assert_string_equal(copy.limit, "limit");
    assert_string_equal(copy.trap, "trap");
    assert_string_equal(copy.detail, "detail");
    assert_string_equal(copy.backtrace, "backtrace");
    assert_ptr_not_equal(copy.detail, full.detail);
    assert_int_equal(copy.children_count, 2);
    assert_memory_equal(copy.children, children, sizeof(children));
    assert_ptr_not_equal(copy.children, children);
    fm_call_record_done(&copy);
    assert_null(copy.user);
    fm_call_record_done(&copy);
    return 0;
}

static void copies(void **state)
{
    (void)state;
    assert_int_equal(torture(copy_full, NULL), 10); /* nine allocations */
}

static void empty_copies(void **state)
{
    (void)state;
    struct fm_call_record empty = {0};
    struct fm_call_record copy;
    assert_int_equal(fm_call_record_copy(&empty, &copy), 0);
    assert_null(copy.user);
    assert_null(copy.children);
    fm_call_record_done(&copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_stay),     cmocka_unit_test(not_a_status),
        cmocka_unit_test(errors_come_back), cmocka_unit_test(error_texts_stay),
        cmocka_unit_test(unknown_errors),   cmocka_unit_test(copies),
        cmocka_unit_test(empty_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
