/* list.h - a doubly linked list whose links live inside the listed objects.
 *
 *      head <-> a <-> b <-> c <-> head          an empty list's head points at itself
 *
 * A link that is in no list must be initialised with fm_list_init() before fm_list_linked() or
 * fm_list_remove() is asked of it; removing twice is fine. */
#pragma once

#include "base/base.h"

struct fm_list {
    struct fm_list *next;
    struct fm_list *prev;
};

static inline void fm_list_init(struct fm_list *link)
{
    link->next = link;
    link->prev = link;
}

static inline bool fm_list_empty(const struct fm_list *head)
{
    return head->next == head;
}

static inline bool fm_list_linked(const struct fm_list *link)
{
    return link->next != link;
}

/* Before `position`; before the head is the end of the list. */
static inline void fm_list_insert(struct fm_list *position, struct fm_list *link)
{
    link->prev = position->prev;
    link->next = position;
    position->prev->next = link;
    position->prev = link;
}

static inline void fm_list_push_back(struct fm_list *head, struct fm_list *link)
{
    fm_list_insert(head, link);
}

static inline void fm_list_push_front(struct fm_list *head, struct fm_list *link)
{
    fm_list_insert(head->next, link);
}

static inline void fm_list_remove(struct fm_list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    fm_list_init(link);
}

/* NULL when empty; the link is out of the list afterwards. */
static inline struct fm_list *fm_list_pop_front(struct fm_list *head)
{
    struct fm_list *first = head->next;
    if (first == head)
        return NULL;
    fm_list_remove(first);
    return first;
}

/* All of them, in their order, to an empty list. */
static inline void fm_list_move_all(struct fm_list *from, struct fm_list *to)
{
    FM_ASSERT(fm_list_empty(to));
    if (fm_list_empty(from))
        return;
    *to = *from;
    to->next->prev = to;
    to->prev->next = to;
    fm_list_init(from);
}

#define FM_LIST_ENTRY(link, type, member) FM_CONTAINER_OF(link, type, member)

/* The body may remove `link` itself, nothing else. */
#define FM_LIST_FOREACH(head, link)                                                                \
    for (struct fm_list *link = (head)->next, *link##_next = link->next; link != (head);           \
         link = link##_next, link##_next = link->next)
