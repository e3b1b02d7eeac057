#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/limits.h"
#include "call/dump.h"

static struct fm_dumps *dumps;

static int setup(void **state)
{
    (void)state;
    return fm_dumps_new(&dumps);
}

static int teardown(void **state)
{
    (void)state;
    dumps = fm_dumps_free(dumps);
    return 0;
}

static void add(uint64_t id, const char *user, size_t bytes)
{
    struct fm_dump *dump = fm_dump_new(calloc(1, 1), bytes); /* nobody reads it */
    assert_non_null(dump);
    fm_dumps_add(dumps, &(struct fm_id){1, id}, user, dump);
    fm_dump_unref(dump);
}

static bool kept(uint64_t id)
{
    struct fm_dump *dump = fm_dumps_get(dumps, &(struct fm_id){1, id});
    fm_dump_unref(dump);
    return dump != NULL;
}

static void a_users_latest_are_kept(void **state)
{
    (void)state;
    add(100, "bob", 10);
    for (uint64_t id = 0; id < FM_DUMPS_USER_MAX; id++)
        add(id, "ada", 10);
    assert_true(kept(0));
    add(50, "ada", 10);
    assert_false(kept(0));
    assert_true(kept(1) && kept(50) && kept(100));
    add(50, "ada", 20); /* another attempt of the same call */
    assert_true(kept(1));
    struct fm_dump *dump = fm_dumps_get(dumps, &(struct fm_id){1, 50});
    assert_int_equal(dump->bytes, 20);
    fm_dump_unref(dump);
    assert_false(kept(51));
}

static void bytes_are_bounded_by_user_and_in_all(void **state)
{
    (void)state;
    const uint64_t quarter = FM_DUMPS_BYTES_MAX / 4;
    add(1, "ada", quarter);
    assert_true(kept(1));
    add(2, "ada", 1);
    assert_false(kept(1));
    assert_true(kept(2));
    add(3, "bob", quarter);
    add(4, "cat", quarter);
    add(5, "dan", quarter);
    add(6, "eve", quarter - 1);
    assert_true(kept(2) && kept(3)); /* exactly as much as there may be */
    add(7, "fay", 1);
    assert_false(kept(2));
    assert_true(kept(3) && kept(7));
}

static void a_dump_outlives_its_place(void **state)
{
    (void)state;
    add(1, "ada", 1);
    struct fm_dump *dump = fm_dumps_get(dumps, &(struct fm_id){1, 1});
    dumps = fm_dumps_free(dumps);
    assert_int_equal(dump->data[0], 0);
    assert_null(fm_dump_unref(dump));
    assert_null(fm_dump_unref(NULL));
    assert_int_equal(fm_dumps_new(&dumps), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_users_latest_are_kept, setup, teardown),
        cmocka_unit_test_setup_teardown(bytes_are_bounded_by_user_and_in_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_dump_outlives_its_place, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
