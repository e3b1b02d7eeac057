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
    queue->clock = 0;
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
    bool waits =
        fm_list_linked(&user->links[FM_LANE_STARTED]) || fm_list_linked(&user->links[FM_LANE_NEW]);
    if (!waits)
        user->served = queue->clock; /* who joins is behind those who wait already */
    if (fm_list_empty(&user->tasks[lane]))
        fm_list_push_back(&queue->ready[lane], &user->links[lane]);
    fm_list_push_back(&user->tasks[lane], link);
    queue->counts[lane]++;
}

static struct fm_user *front(struct fm_runqueue *queue, enum fm_lane lane)
{
    struct fm_list *first = queue->ready[lane].next;
    return first == &queue->ready[lane] ? NULL : FM_LIST_ENTRY(first - lane, struct fm_user, links);
}

static struct fm_user *next_user(struct fm_runqueue *queue, bool take_new)
{
    struct fm_user *started = front(queue, FM_LANE_STARTED);
    struct fm_user *fresh = take_new ? front(queue, FM_LANE_NEW) : NULL;
    if (!started || !fresh)
        return started ? started : fresh;
    return started->served < fresh->served ? started : fresh;
}

struct fm_list *fm_runqueue_pop(struct fm_runqueue *queue, bool take_new)
{
    struct fm_user *user = next_user(queue, take_new);
    if (!user)
        return NULL;
    bool started = !fm_list_empty(&user->tasks[FM_LANE_STARTED]);
    bool fresh = take_new && !fm_list_empty(&user->tasks[FM_LANE_NEW]);
    enum fm_lane lane = started && fresh ? user->lane : started ? FM_LANE_STARTED : FM_LANE_NEW;
    user->lane = lane == FM_LANE_STARTED ? FM_LANE_NEW : FM_LANE_STARTED;

    struct fm_list *link = fm_list_pop_front(&user->tasks[lane]);
    queue->counts[lane]--;
    user->served = ++queue->clock;
    for (int i = 0; i < FM_LANES; i++) {
        fm_list_remove(&user->links[i]);
        if (!fm_list_empty(&user->tasks[i]))
            fm_list_push_back(&queue->ready[i], &user->links[i]);
    }
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
