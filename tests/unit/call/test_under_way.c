/* test_under_way.c - calls that are under way: found, gone through, ended; without memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "call/call.h"
#include "call/under_way.h"
#include "torture.h"

static struct fm_call calls[3] = {
    {.id = {1, 2}}, {.id = {1, 3}}, {.id = {2, 2}}, /* only these are looked at */
};

static unsigned ends;

static void on_end(void *data, struct fm_under_way_call *entry)
{
    struct fm_under_way *table = data;
    assert_null(fm_under_way_find(table, &entry->call->id));
    assert_false(entry->known);
    ends++;
}

static void calls_are_found_until_they_end(void **state)
{
    (void)state;
    struct fm_under_way table;
    struct fm_under_way_call entries[3] = {0};
    fm_under_way_init(&table);
    table.on_end = on_end;
    table.data = &table;
    ends = 0;
    assert_null(fm_under_way_next(&table, NULL));
    for (size_t i = 0; i < 3; i++)
        fm_under_way_begin(&table, &entries[i], &calls[i]);
    unsigned seen = 0;
    struct fm_under_way_call *entry = NULL;
    while ((entry = fm_under_way_next(&table, entry)) != NULL)
        seen |= 1u << (entry - entries);
    assert_int_equal(seen, 7);
    for (size_t i = 0; i < 3; i++) {
        assert_ptr_equal(fm_under_way_find(&table, &calls[i].id), &entries[i]);
        fm_under_way_end(&table, &entries[i]);
        assert_null(fm_under_way_find(&table, &calls[i].id));
        fm_under_way_end(&table, &entries[i]); /* nothing more to end */
        assert_int_equal(ends, i + 1);
    }
    fm_under_way_done(&table);
}

static void an_entry_that_never_began_has_no_end(void **state)
{
    (void)state;
    struct fm_under_way table;
    struct fm_under_way_call entry = {0};
    fm_under_way_init(&table);
    table.on_end = on_end;
    table.data = &table;
    ends = 0;
    fm_under_way_end(&table, &entry);
    assert_int_equal(ends, 0);
    fm_under_way_done(&table);
}

static void without_memory_a_call_is_not_found(void **state)
{
    (void)state;
    struct fm_under_way table;
    struct fm_under_way_call entry = {0};
    fm_under_way_init(&table);
    torture_fail_nth(1);
    fm_under_way_begin(&table, &entry, &calls[0]);
    torture_fail_nth(0);
    assert_null(fm_under_way_find(&table, &calls[0].id));
    fm_under_way_end(&table, &entry);
    fm_under_way_done(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_found_until_they_end),
        cmocka_unit_test(an_entry_that_never_began_has_no_end),
        cmocka_unit_test(without_memory_a_call_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
