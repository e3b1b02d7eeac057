/* test_runqueue.c - users take turns, calls of a user are first in, first out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sched/runqueue.h"
#include "torture.h"

struct item {
    struct fm_list link;
    char name;
};

static char pop(struct fm_runqueue *queue)
{
    struct fm_list *link = fm_runqueue_pop(queue, true);
    return link ? FM_LIST_ENTRY(link, struct item, link)->name : '-';
}

static void users_take_turns(void **state)
{
    (void)state;
    struct fm_runqueue queue;
    fm_runqueue_init(&queue);
    struct fm_user *ada = fm_runqueue_user_ref(&queue, "ada", 3);
    struct fm_user *bob = fm_runqueue_user_ref(&queue, "bobby", 3);
    assert_ptr_equal(fm_runqueue_user_ref(&queue, "ada", 3), ada);
    assert_string_equal(bob->name, "bob");

    struct item items[6] = {{.name = 'a'}, {.name = 'b'}, {.name = 'c'},
                            {.name = 'd'}, {.name = 'x'}, {.name = 'y'}};
    for (int i = 0; i < 6; i++)
        fm_runqueue_push(&queue, FM_LANE_NEW, i < 4 ? ada : bob, &items[i].link);
    char order[8] = {0};
    for (int i = 0; i < 7; i++)
        order[i] = pop(&queue);
    assert_string_equal(order, "axbycd-");
    assert_true(fm_runqueue_empty(&queue));

    /* A user that comes later gets its turn at once, and one that leaves is skipped. */
    for (int i = 0; i < 3; i++)
        fm_runqueue_push(&queue, FM_LANE_NEW, ada, &items[i].link);
    assert_int_equal(pop(&queue), 'a');
    fm_runqueue_push(&queue, FM_LANE_NEW, bob, &items[4].link);
    fm_runqueue_push(&queue, FM_LANE_NEW, ada,
                     &items[0].link); /* its slice is over: behind the others */
    fm_runqueue_remove(&queue, FM_LANE_NEW, ada, &items[2].link);
    assert_int_equal(pop(&queue), 'b');
    assert_int_equal(pop(&queue), 'x');
    assert_int_equal(pop(&queue), 'a');
    assert_int_equal(pop(&queue), '-');
    fm_runqueue_push(&queue, FM_LANE_NEW, bob, &items[5].link);
    fm_runqueue_remove(&queue, FM_LANE_NEW, bob, &items[5].link);
    assert_true(fm_runqueue_empty(&queue));
    assert_int_equal(pop(&queue), '-');

    fm_runqueue_user_unref(&queue, ada);
    fm_runqueue_user_unref(&queue, ada);
    fm_runqueue_user_unref(&queue, bob);
    fm_runqueue_done(&queue);
}

/* Upper case: has a sandbox. */
static void started_and_new_calls_share_one_round(void **state)
{
    (void)state;
    struct fm_runqueue queue;
    fm_runqueue_init(&queue);
    struct fm_user *ada = fm_runqueue_user_ref(&queue, "ada", 3);
    struct fm_user *bob = fm_runqueue_user_ref(&queue, "bob", 3);
    struct item items[7] = {{.name = 'A'}, {.name = 'B'}, {.name = 'a'}, {.name = 'b'},
                            {.name = 'x'}, {.name = 'Y'}, {.name = 'z'}};
    for (int i = 0; i < 4; i++)
        fm_runqueue_push(&queue, i < 2 ? FM_LANE_STARTED : FM_LANE_NEW, ada, &items[i].link);
    assert_int_equal(pop(&queue), 'A');

    /* Whoever comes has its turn after one of the others, whatever they have. */
    fm_runqueue_push(&queue, FM_LANE_NEW, bob, &items[4].link);
    fm_runqueue_push(&queue, FM_LANE_STARTED, ada, &items[0].link);
    char order[8] = {0};
    for (int i = 0; i < 4; i++)
        order[i] = pop(&queue);
    assert_true(strchr(order, 'x') <= order + 1);
    assert_non_null(strchr(order, 'a')); /* ada's own kinds take turns */
    assert_non_null(strchr(order, 'B'));

    /* Without a free sandbox new calls stay, and hold nobody up. */
    while (pop(&queue) != '-')
        ;
    fm_runqueue_push(&queue, FM_LANE_NEW, ada, &items[2].link);
    fm_runqueue_push(&queue, FM_LANE_NEW, bob, &items[6].link);
    fm_runqueue_push(&queue, FM_LANE_STARTED, bob, &items[5].link);
    struct fm_list *link = fm_runqueue_pop(&queue, false);
    assert_ptr_equal(link, &items[5].link);
    assert_null(fm_runqueue_pop(&queue, false));
    assert_false(fm_runqueue_empty(&queue));
    assert_int_equal(pop(&queue), 'a');
    assert_int_equal(pop(&queue), 'z');
    assert_true(fm_runqueue_empty(&queue));

    fm_runqueue_user_unref(&queue, ada);
    fm_runqueue_user_unref(&queue, bob);
    fm_runqueue_done(&queue);
}

static int make_user(void *data)
{
    (void)data;
    struct fm_runqueue queue;
    fm_runqueue_init(&queue);
    struct fm_user *user = fm_runqueue_user_ref(&queue, "ada", 3);
    if (user)
        fm_runqueue_user_unref(&queue, user);
    fm_runqueue_done(&queue);
    return user ? 0 : -1;
}

static void memory_may_fail_anywhere(void **state)
{
    (void)state;
    assert_true(torture(make_user, NULL) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_take_turns),
        cmocka_unit_test(started_and_new_calls_share_one_round),
        cmocka_unit_test(memory_may_fail_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
