/* test_ready.c - whose turn it is: users, their functions, their calls; places and holds.  Without
 * a store and without guests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "loop/loop.h"
#include "queue/ready.h"
#include "torture.h"

struct item {
    struct fm_list link;
    struct fm_target *target;
    char name;
};

static struct fm_loop *loop;
static struct fm_ready ready;
static struct item items[64];
static size_t items_count;
static unsigned opened;

static void on_open(struct fm_ready *it)
{
    (void)it;
    opened++;
}

static void begin(uint32_t places_max)
{
    assert_int_equal(fm_loop_new(&loop), 0);
    fm_ready_init(&ready, loop, places_max);
    ready.on_open = on_open;
    items_count = 0;
    opened = 0;
}

static struct fm_target *target_of(const char *user, const char *function)
{
    struct fm_target *target = NULL;
    assert_int_equal(fm_ready_target_ref(&ready, user, function, &target), 0);
    return target;
}

static void add(struct fm_target *target, const char *names)
{
    for (; *names; names++) {
        struct item *item = &items[items_count++];
        *item = (struct item){.target = target, .name = *names};
        fm_list_init(&item->link);
        fm_ready_push(target, &item->link, false);
    }
}

/* The names of those that get a place now, in their order. */
static const char *take_all(void)
{
    static char order[64];
    size_t length = 0;
    struct fm_list *link = NULL;
    while ((link = fm_ready_next(&ready)) != NULL)
        order[length++] = FM_LIST_ENTRY(link, struct item, link)->name;
    order[length] = '\0';
    return order;
}

static void end(struct fm_target *const *targets, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct fm_target *target = targets[i];
        while (!fm_list_empty(&target->calls))
            fm_ready_remove(target, target->calls.next);
        while (target->places > 0)
            fm_ready_give(target);
        fm_ready_target_unref(target);
    }
    assert_int_equal(ready.count, 0);
    fm_ready_done(&ready);
    loop = fm_loop_free(loop);
}

static void users_take_turns_then_functions_then_calls(void **state)
{
    (void)state;
    begin(100);
    struct fm_target *targets[] = {target_of("ada", "f"), target_of("ada", "g"),
                                   target_of("bob", "f")};
    add(targets[0], "1234");
    add(targets[1], "ab");
    add(targets[2], "xyz");
    assert_int_equal(ready.count, 9);
    assert_string_equal(take_all(), "1xay2zb34");
    assert_int_equal(ready.places, 9);
    end(targets, 3);
}

static void places_are_bounded(void **state)
{
    (void)state;
    begin(4);
    struct fm_target *targets[] = {target_of("ada", "f"), target_of("bob", "f")};
    add(targets[0], "12345");
    assert_string_equal(take_all(), "123"); /* the fourth is never hers alone */
    add(targets[1], "xy");
    assert_string_equal(take_all(), "x");
    fm_ready_give(targets[0]);
    assert_string_equal(take_all(), "y"); /* he has waited longer than she may */
    fm_ready_give(targets[1]);
    assert_string_equal(take_all(), "4");
    end(targets, 2);

    begin(1); /* nobody's alone would be nobody's at all */
    targets[0] = target_of("ada", "f");
    add(targets[0], "12");
    assert_string_equal(take_all(), "1");
    end(targets, 1);
}

static void a_function_has_its_own_limit(void **state)
{
    (void)state;
    begin(100);
    struct fm_target *targets[] = {target_of("ada", "f"), target_of("ada", "g")};
    fm_ready_target_limit(targets[0], 2);
    add(targets[0], "123");
    add(targets[1], "ab");
    assert_string_equal(take_all(), "1a2b");
    fm_ready_give(targets[0]);
    assert_string_equal(take_all(), "3");
    add(targets[0], "4");
    assert_string_equal(take_all(), "");
    fm_ready_target_limit(targets[0], 3);
    assert_string_equal(take_all(), "4");
    end(targets, 2);
}

static void a_user_has_its_own_limit(void **state)
{
    (void)state;
    begin(100);
    struct fm_target *targets[] = {target_of("ada", "f"), target_of("ada", "g"),
                                   target_of("bob", "f")};
    fm_ready_tenant_limit(targets[0], 2);
    add(targets[0], "12");
    add(targets[1], "ab");
    add(targets[2], "xy");
    assert_string_equal(take_all(), "1xay");
    fm_ready_give(targets[0]);
    assert_string_equal(take_all(), "2");
    assert_false(fm_ready_take(targets[1]));
    fm_ready_tenant_limit(targets[1], 3);
    assert_string_equal(take_all(), "b");
    end(targets, 3);
}

static void a_place_without_a_turn(void **state)
{
    (void)state;
    begin(4);
    struct fm_target *targets[] = {target_of("ada", "f"), target_of("bob", "f")};
    fm_ready_target_limit(targets[1], 1);
    assert_true(fm_ready_take(targets[1]));
    assert_false(fm_ready_take(targets[1])); /* its limit */
    for (int i = 0; i < 3; i++)
        assert_true(fm_ready_take(targets[0]));
    assert_false(fm_ready_take(targets[0])); /* no place */
    fm_ready_give(targets[1]);
    assert_false(fm_ready_take(targets[0])); /* never hers alone */
    fm_ready_give(targets[0]);
    add(targets[0], "1");
    assert_false(fm_ready_take(targets[1])); /* somebody waits */
    assert_string_equal(take_all(), "1");
    assert_true(fm_ready_take(targets[1]));
    end(targets, 2);
}

static void whoever_is_refused_is_held_back(void **state)
{
    (void)state;
    begin(100);
    struct fm_target *targets[] = {target_of("ada", "f"), target_of("ada", "g")};
    add(targets[0], "12");
    add(targets[1], "a");
    assert_non_null(fm_ready_next(&ready));
    fm_ready_give(targets[0]);
    fm_ready_hold(targets[0], 12345);
    fm_ready_push(targets[0], &items[0].link, true);
    assert_string_equal(take_all(), "a"); /* the other goes on */
    assert_false(fm_ready_take(targets[0]));
    while (opened == 0) /* by itself, after a while */
        fm_loop_pass(loop, UINT64_MAX);
    assert_string_equal(take_all(), "12");
    fm_ready_hold(targets[0], 1);
    add(targets[0], "3");
    assert_string_equal(take_all(), "");
    fm_ready_give(targets[0]); /* or when one of its calls ends */
    assert_string_equal(take_all(), "3");
    for (int i = 0; i < 100; i++) /* its pause does not grow for ever */
        fm_ready_hold(targets[0], UINT32_MAX);
    assert_true(targets[0]->timer.at_ns < fm_loop_now_ns(loop) + 5 * FM_NS_PER_S);
    fm_ready_admitted(targets[0]);
    assert_int_equal(targets[0]->refusals, 0);
    end(targets, 2);
}

static int ref_under_torture(void *data)
{
    struct fm_target *target = NULL;
    int failed = fm_ready_target_ref(&ready, "ada", data, &target);
    if (!failed)
        fm_ready_target_unref(target);
    return failed;
}

static void without_memory(void **state)
{
    (void)state;
    char name[] = "f";
    begin(1);
    assert_true(torture(ref_under_torture, name) >= 4);
    end(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_take_turns_then_functions_then_calls),
        cmocka_unit_test(places_are_bounded),
        cmocka_unit_test(a_function_has_its_own_limit),
        cmocka_unit_test(a_user_has_its_own_limit),
        cmocka_unit_test(a_place_without_a_turn),
        cmocka_unit_test(whoever_is_refused_is_held_back),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
