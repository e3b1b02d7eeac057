/* test_list.c - the links stay a ring, whatever is added or removed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct item {
    int number;
    struct fm_list link;
};

/* The numbers from front to back as decimal digits; checks the way back too. */
static int digits(const struct fm_list *head)
{
    int forward = 0;
    int count = 0;
    for (struct fm_list *link = head->next; link != head; link = link->next) {
        assert_ptr_equal(link->next->prev, link);
        assert_ptr_equal(link->prev->next, link);
        forward = forward * 10 + FM_LIST_ENTRY(link, struct item, link)->number;
        count += 1;
    }
    for (struct fm_list *link = head->prev; link != head; link = link->prev)
        count -= 1;
    assert_int_equal(count, 0);
    return forward;
}

static void fill(struct fm_list *head, struct item items[4])
{
    fm_list_init(head);
    for (int i = 0; i < 4; i++) {
        items[i].number = i + 1;
        fm_list_init(&items[i].link);
        fm_list_push_back(head, &items[i].link);
    }
}

static void test_empty(void **state)
{
    (void)state;
    struct fm_list head;
    fm_list_init(&head);
    assert_true(fm_list_empty(&head));
    assert_null(fm_list_pop_front(&head));
    FM_LIST_FOREACH(&head, link)
    fail();
}

static void test_order(void **state)
{
    (void)state;
    struct fm_list head;
    struct item items[4];
    fill(&head, items);
    assert_false(fm_list_empty(&head));
    assert_int_equal(digits(&head), 1234);

    struct item five = {.number = 5};
    fm_list_init(&five.link);
    assert_false(fm_list_linked(&five.link));
    fm_list_push_front(&head, &five.link);
    assert_true(fm_list_linked(&five.link));
    assert_int_equal(digits(&head), 51234);

    struct item six = {.number = 6};
    fm_list_insert(&items[2].link, &six.link); /* before the third */
    assert_int_equal(digits(&head), 512634);
}

static void test_move_all(void **state)
{
    (void)state;
    struct fm_list from;
    struct fm_list to;
    struct item items[4];
    fill(&from, items);
    fm_list_init(&to);
    fm_list_move_all(&from, &to);
    assert_true(fm_list_empty(&from));
    assert_int_equal(digits(&to), 1234);
    fm_list_move_all(&from, &from); /* nothing */
    assert_true(fm_list_empty(&from));
    fm_list_remove(&items[0].link);
    fm_list_move_all(&to, &from);
    assert_true(fm_list_empty(&to));
    assert_int_equal(digits(&from), 234);
}

static void test_remove(void **state)
{
    (void)state;
    struct fm_list head;
    struct item items[4];
    fill(&head, items);
    fm_list_remove(&items[1].link);
    assert_int_equal(digits(&head), 134);
    assert_false(fm_list_linked(&items[1].link));
    fm_list_remove(&items[1].link); /* twice is fine */
    assert_int_equal(digits(&head), 134);
    fm_list_remove(&items[0].link);
    fm_list_remove(&items[3].link);
    assert_int_equal(digits(&head), 3);
    fm_list_remove(&items[2].link);
    assert_true(fm_list_empty(&head));
    fm_list_push_back(&head, &items[1].link);
    assert_int_equal(digits(&head), 2);
}

static void test_pop_front(void **state)
{
    (void)state;
    struct fm_list head;
    struct item items[4];
    fill(&head, items);
    for (int i = 0; i < 4; i++) {
        assert_ptr_equal(fm_list_pop_front(&head), &items[i].link);
        assert_false(fm_list_linked(&items[i].link));
    }
    assert_null(fm_list_pop_front(&head));
    assert_true(fm_list_empty(&head));
}

static void test_foreach_may_remove_itself(void **state)
{
    (void)state;
    struct fm_list head;
    struct item items[4];
    fill(&head, items);
    int seen = 0;
    FM_LIST_FOREACH(&head, link)
    {
        int number = FM_LIST_ENTRY(link, struct item, link)->number;
        seen = seen * 10 + number;
        if (number % 2 == 0)
            fm_list_remove(link);
    }
    assert_int_equal(seen, 1234);
    assert_int_equal(digits(&head), 13);
    FM_LIST_FOREACH(&head, link)
    fm_list_remove(link);
    assert_true(fm_list_empty(&head));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),     cmocka_unit_test(test_order),
        cmocka_unit_test(test_move_all),  cmocka_unit_test(test_remove),
        cmocka_unit_test(test_pop_front), cmocka_unit_test(test_foreach_may_remove_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
