/* runqueue.h - whose turn it is: round robin between users, and between the calls of a user.
 *
 *      ready:  ada -> bob -> eve            a user is in the ring while it has a task that can run
 *               |      |
 *              t1     t4                    taken from the front, put back at the end
 *              t2
 *
 * Taking a task moves its user to the ring's end, so that a user with a thousand calls gets as many
 * slices as one with a single call.
 *
 * There are two such rings: calls that have a sandbox and can go on at once, and new ones, which
 * can only be taken while a sandbox is free.  Whichever user at the front of a ring was served
 * longer ago is next, and being served moves it to the end of both; so it is one round for all, and
 * new calls that nobody can start hold nobody up.  A user with calls of both kinds gets them in
 * turn.  One worker, one thread. */
#pragma once

#include "base/list.h"
#include "base/map.h"

enum fm_lane {
    FM_LANE_STARTED, /* has a sandbox */
    FM_LANE_NEW,     /* needs one */
    FM_LANES,
};

struct fm_user {
    struct fm_map_node node; /* by name */
    char *name;
    struct fm_list tasks[FM_LANES]; /* fm_task.link, those that can run */
    struct fm_list links[FM_LANES]; /* in fm_runqueue.ready, while its tasks are not empty */
    uint64_t served;                /* by fm_runqueue.clock, when it was or when it joined */
    enum fm_lane lane;              /* the kind that is next */
    uint32_t references;            /* tasks of this user */
};

struct fm_runqueue {
    struct fm_map users;
    struct fm_list ready[FM_LANES]; /* fm_user.links */
    uint32_t counts[FM_LANES];      /* tasks */
    uint64_t clock;                 /* tasks taken so far */
};

void fm_runqueue_init(struct fm_runqueue *queue);
void fm_runqueue_done(struct fm_runqueue *queue); /* empty */

/* The user of that name, made if need be, with one more reference.  NULL: out of memory. */
FM_MUST_CHECK struct fm_user *fm_runqueue_user_ref(struct fm_runqueue *queue, const char *name,
                                                   size_t name_length);
void fm_runqueue_user_unref(struct fm_runqueue *queue, struct fm_user *user);

static inline bool fm_runqueue_empty(const struct fm_runqueue *queue)
{
    return queue->counts[FM_LANE_STARTED] == 0 && queue->counts[FM_LANE_NEW] == 0;
}

/* `link` is the task's. */
void fm_runqueue_push(struct fm_runqueue *queue, enum fm_lane lane, struct fm_user *user,
                      struct fm_list *link);

/* The next task; a new one only with `take_new`.  NULL: there is none to take. */
struct fm_list *fm_runqueue_pop(struct fm_runqueue *queue, bool take_new);
void fm_runqueue_remove(struct fm_runqueue *queue, enum fm_lane lane, struct fm_user *user,
                        struct fm_list *link);
