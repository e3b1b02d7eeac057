/* test_deadlines.c - deadlines pass in order, once, and not before their time.  The clock is ours.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "http/deadlines.h"
#include "torture.h"

static uint64_t now_ns = 1000;

uint64_t fm_clock_monotonic_ns(void)
{
    return now_ns;
}

static struct fm_loop *loop;
static struct fm_deadlines deadlines;
static struct fm_deadline *late[16];
static size_t late_count;
static void (*also_on_late)(struct fm_deadline *deadline);

static void on_late(struct fm_deadline *deadline)
{
    late[late_count++] = deadline;
    if (also_on_late)
        also_on_late(deadline);
}

static void pass_at(uint64_t at_ns)
{
    now_ns = at_ns;
    fm_loop_pass(loop, 0);
}

static int setup(void **state)
{
    (void)state;
    now_ns = 1000;
    late_count = 0;
    also_on_late = NULL;
    assert_int_equal(fm_loop_new(&loop), 0);
    assert_int_equal(fm_deadlines_init(&deadlines, loop, 100, on_late), 0);
    fm_loop_pass(loop, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fm_deadlines_done(&deadlines);
    loop = fm_loop_free(loop);
    return 0;
}

static void test_time_before_on_and_after(void **state)
{
    (void)state;
    struct fm_deadline a;
    fm_deadline_init(&a);
    fm_deadline_set(&deadlines, &a);
    pass_at(1099);
    assert_int_equal(late_count, 0);
    pass_at(1100);
    assert_int_equal(late_count, 1);
    assert_ptr_equal(late[0], &a);
    pass_at(5000);
    assert_int_equal(late_count, 1); /* once */
}

static void test_cleared_ones_do_not_pass(void **state)
{
    (void)state;
    struct fm_deadline a;
    struct fm_deadline b;
    fm_deadline_init(&a);
    fm_deadline_init(&b);
    fm_deadline_clear(&a); /* not set: fine */
    fm_deadline_set(&deadlines, &a);
    pass_at(1050);
    fm_deadline_set(&deadlines, &b);
    fm_deadline_clear(&a);
    fm_deadline_clear(&a);
    pass_at(1149);
    assert_int_equal(late_count, 0);
    pass_at(1150);
    assert_int_equal(late_count, 1);
    assert_ptr_equal(late[0], &b);
}

static void test_order_and_several_at_once(void **state)
{
    (void)state;
    struct fm_deadline all[3];
    for (size_t i = 0; i < 3; i++) {
        fm_deadline_init(&all[i]);
        fm_deadline_set(&deadlines, &all[i]);
    }
    pass_at(1010);
    fm_deadline_set(&deadlines, &all[0]); /* moved to the end */
    pass_at(3000);
    assert_int_equal(late_count, 3);
    assert_ptr_equal(late[0], &all[1]);
    assert_ptr_equal(late[1], &all[2]);
    assert_ptr_equal(late[2], &all[0]);
}

static void set_again(struct fm_deadline *deadline)
{
    fm_deadline_set(&deadlines, deadline);
}

static void test_set_again_from_the_callback(void **state)
{
    (void)state;
    struct fm_deadline a;
    fm_deadline_init(&a);
    fm_deadline_set(&deadlines, &a);
    also_on_late = set_again;
    pass_at(1100);
    assert_int_equal(late_count, 1);
    pass_at(1199);
    assert_int_equal(late_count, 1);
    pass_at(1200);
    assert_int_equal(late_count, 2);
    fm_deadline_clear(&a);
}

static void test_moved_to_another_list(void **state)
{
    (void)state;
    struct fm_deadlines longer;
    assert_int_equal(fm_deadlines_init(&longer, loop, 1000, on_late), 0);
    struct fm_deadline a;
    fm_deadline_init(&a);
    fm_deadline_set(&deadlines, &a);
    fm_deadline_set(&longer, &a);
    pass_at(1999);
    assert_int_equal(late_count, 0);
    pass_at(2000);
    assert_int_equal(late_count, 1);
    fm_deadlines_done(&longer);
}

static int start_under_torture(void *data)
{
    (void)data;
    struct fm_loop *own = NULL;
    int failed = fm_loop_new(&own);
    if (failed)
        return failed;
    struct fm_deadlines here;
    failed = fm_deadlines_init(&here, own, 100, on_late);
    fm_deadlines_done(&here); /* fine in both cases */
    fm_loop_free(own);
    return failed;
}

static void test_without_memory(void **state)
{
    (void)state;
    assert_true(torture(start_under_torture, NULL) > 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_time_before_on_and_after, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cleared_ones_do_not_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_and_several_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_set_again_from_the_callback, setup, teardown),
        cmocka_unit_test_setup_teardown(test_moved_to_another_list, setup, teardown),
        cmocka_unit_test(test_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
