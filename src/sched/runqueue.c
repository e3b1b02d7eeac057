/* runqueue.c - the rings of users with something to run. */
#include "sched/runqueue.h"

#include <stdlib.h>
#include <string.h>

void fm_runqueue_init(struct fm_runqueue *queue)
{
    fm_map_init(&queue->users);
    for (int lane = 0; lane < FM_LANES; lane++) {
        fm_list_init(&queue->ready[lane]);
        queue->counts[lane] = 0;
    }
}

void fm_runqueue_done(struct fm_runqueue *queue)
{
    FM_ASSERT(queue->users.count == 0 && fm_runqueue_empty(queue));
    fm_map_done(&queue->users);
}

struct fm_user *fm_runqueue_user_ref(struct fm_runqueue *queue, const char *name,
                                     size_t name_length)
{
    struct fm_map_node *node = fm_map_get(&queue->users, name, name_length);
    if (node) {
        struct fm_user *known = FM_CONTAINER_OF(node, struct fm_user, node);
        known->references++;
        return known;
    }
    struct fm_user *user = calloc(1, sizeof(*user));
    char *copy = strndup(name, name_length);
    if (!user || !copy || fm_map_put(&queue->users, &user->node, copy, name_length) != 0) {
        free(copy);
        free(user);
        return NULL;
    }
    user->name = copy;
    user->references = 1;
    for (int lane = 0; lane < FM_LANES; lane++) {
        fm_list_init(&user->tasks[lane]);
        fm_list_init(&user->links[lane]);
    }
    return user;
}

void fm_runqueue_user_unref(struct fm_runqueue *queue, struct fm_user *user)
{
    FM_ASSERT(user->references > 0);
    if (--user->references > 0)
        return;
    FM_ASSERT(fm_list_empty(&user->tasks[FM_LANE_STARTED]) &&
              fm_list_empty(&user->tasks[FM_LANE_NEW]));
    fm_map_remove(&queue->users, &user->node);
    free(user->name);
    free(user);
}

void fm_runqueue_push(struct fm_runqueue *queue, enum fm_lane lane, struct fm_user *user,
                      struct fm_list *link)
{
    if (fm_list_empty(&user->tasks[lane]))
        fm_list_push_back(&queue->ready[lane], &user->links[lane]);
    fm_list_push_back(&user->tasks[lane], link);
    queue->counts[lane]++;
}

struct fm_list *fm_runqueue_pop(struct fm_runqueue *queue, enum fm_lane lane)
{
    struct fm_list *first = fm_list_pop_front(&queue->ready[lane]);
    if (!first)
        return NULL;
    struct fm_user *user = FM_LIST_ENTRY(first - lane, struct fm_user, links);
    struct fm_list *link = fm_list_pop_front(&user->tasks[lane]);
    if (!fm_list_empty(&user->tasks[lane]))
        fm_list_push_back(&queue->ready[lane], &user->links[lane]);
    queue->counts[lane]--;
    return link;
}

void fm_runqueue_remove(struct fm_runqueue *queue, enum fm_lane lane, struct fm_user *user,
                        struct fm_list *link)
{
    fm_list_remove(link);
    if (fm_list_empty(&user->tasks[lane]))
        fm_list_remove(&user->links[lane]);
    queue->counts[lane]--;
}
