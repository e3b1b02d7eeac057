/* test_keep.c - what stays in a slot: by function, within a budget, without any engine. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "engine/keep.h"

#define PAGES_MAX 1000
#define TOTAL_PAGES 4000
#define SLOT_A 0x7f0000000000u
#define SLOT_B 0x7f0100000000u

static struct fm_keep_pool *pool;
static struct fm_keep keep;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(fm_keep_pool_new(16, PAGES_MAX, TOTAL_PAGES, &pool), 0);
    fm_keep_init(&keep, pool);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    pool = fm_keep_pool_free(pool);
    return 0;
}

/* A call in the slot that writes so many pages, and what the kernel would find afterwards: those of
 * this call, or what stayed before, up to where it is told to stop looking. */
struct slot {
    uintptr_t base;
    uint32_t pages; /* that are there */
};

static bool call(struct slot *slot, uint32_t written)
{
    fm_keep_taken(pool, slot->base);
    uint32_t there = written > slot->pages ? written : slot->pages;
    uint32_t most = fm_keep_ask(pool, &keep, slot->base);
    slot->pages = there < most ? there : most;
    if (most > 0)
        fm_keep_tell(pool, &keep, slot->base, slot->pages, there <= most);
    return most > 0;
}

static void calls(struct slot *slot, uint32_t written, int count)
{
    for (int i = 0; i < count; i++)
        (void)call(slot, written);
}

static void a_function_keeps_what_its_calls_write(void **state)
{
    (void)state;
    struct slot slot = {SLOT_A, 0};
    calls(&slot, 80, 2 * FM_KEEP_SAMPLES);
    assert_int_equal(keep.pages, 91);
    calls(&slot, 80, 10);
    assert_int_equal(slot.pages, 80);
    assert_int_equal(fm_keep_pages(pool), 80);
}

static void one_that_writes_nothing_keeps_next_to_nothing(void **state)
{
    (void)state;
    struct slot slot = {SLOT_A, 700};
    calls(&slot, 0, 2 * FM_KEEP_SAMPLES + 2);
    assert_int_equal(slot.pages, 0);
    assert_int_equal(fm_keep_pages(pool), 0);
}

static void the_ceiling_holds(void **state)
{
    (void)state;
    static const uint32_t written[] = {PAGES_MAX - 1, PAGES_MAX, PAGES_MAX + 1};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(written); i++) {
        struct slot slot = {SLOT_A, 0};
        fm_keep_init(&keep, pool);
        calls(&slot, written[i], 100);
        assert_int_equal(slot.pages, written[i] < PAGES_MAX ? written[i] : PAGES_MAX);
    }
}

static void a_rare_large_call_leaves_nothing_behind(void **state)
{
    (void)state;
    struct slot slot = {SLOT_A, 0};
    calls(&slot, 8, 100);
    for (int i = 0; i < 50; i++) {
        (void)call(&slot, 900);
        assert_true(slot.pages <= 16);
        calls(&slot, 8, 99);
    }
}

static void a_function_that_changes_is_learned_anew(void **state)
{
    (void)state;
    struct slot slot = {SLOT_A, 0};
    calls(&slot, 8, 100);
    calls(&slot, 500, 100);
    assert_int_equal(slot.pages, 500);
    calls(&slot, 8, 5000);
    assert_true(slot.pages <= 16);
}

static void slots_are_sampled_for_all_others(void **state)
{
    (void)state;
    struct slot a = {SLOT_A, 0};
    struct slot b = {SLOT_B, 0};
    for (int i = 0; i < 40; i++) {
        (void)call(&a, 20);
        (void)call(&b, 20);
    }
    assert_int_equal(keep.pages, 23);
    assert_int_equal(fm_keep_pages(pool), 40);
    fm_keep_taken(pool, a.base);
    assert_int_equal(fm_keep_pages(pool), 20);
}

static void all_slots_keep_to_their_budget(void **state)
{
    (void)state;
    struct slot slots[16];
    for (size_t i = 0; i < FM_ARRAY_LENGTH(slots); i++)
        slots[i] = (struct slot){SLOT_A + i * 0x100000000u, 0};
    for (int round = 0; round < 20; round++)
        for (size_t i = 0; i < FM_ARRAY_LENGTH(slots); i++)
            (void)call(&slots[i], 400);
    uint64_t pages = 0;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(slots); i++)
        pages += slots[i].pages;
    assert_int_equal(fm_keep_pages(pool), pages);
    /* All is one thread's here, but others may have called before. */
    assert_true(pages > 0 && pages < TOTAL_PAGES + PAGES_MAX);
}

static void without_a_budget_nothing_stays(void **state)
{
    (void)state;
    pool = fm_keep_pool_free(pool);
    assert_int_equal(fm_keep_pool_new(1, PAGES_MAX, 0, &pool), 0);
    fm_keep_init(&keep, pool);
    struct slot slot = {SLOT_A, 0};
    for (int i = 0; i < 20; i++)
        assert_false(call(&slot, 5));
    assert_int_equal(fm_keep_pages(pool), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_function_keeps_what_its_calls_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_writes_nothing_keeps_next_to_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(the_ceiling_holds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_rare_large_call_leaves_nothing_behind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_function_that_changes_is_learned_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(slots_are_sampled_for_all_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_slots_keep_to_their_budget, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_budget_nothing_stays, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
