/* ready.h - which of the calls that are due gets the next place to run: users take turns, the
 * functions of a user take turns, and the calls of a function come in their order.
 *
 *      ring: ada -> bob                 a user is in it while one of its functions is open
 *             |      |
 *            echo   resize              a function is open while it has calls that are due, is not
 *             |      |                  held back, and runs fewer than its limit `concurrency`
 *            c1,c2  c7
 *
 * A user is also out of it while it has as many places as its quota `concurrency` allows: its calls
 * would only wait at the door, with a place that others could use.
 *
 * A place stands for a call that is claimed and not yet over.  A quarter of the places is never one
 * user's alone, so that its endless loops leave room for others.  One worker, one thread; private
 * to queue/. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "loop/loop.h"

struct fm_tenant {
    struct fm_map_node node; /* by name */
    struct fm_list link;     /* in ready->ring */
    struct fm_list open;     /* fm_target.link */
    uint32_t targets;        /* that name it */
    uint32_t places;         /* taken by its calls */
    uint32_t places_max;     /* that its concurrency allows */
    char name[];
};

struct fm_target {
    struct fm_map_node node; /* by "user/function" */
    struct fm_list link;     /* in tenant->open */
    struct fm_list calls;    /* that are due; the link is the entry's */
    struct fm_ready *ready;
    struct fm_tenant *tenant;
    struct fm_timer timer; /* ends holding it back */
    uint32_t entries;      /* that name it */
    uint32_t places;
    uint32_t places_max;  /* what its function allows */
    uint32_t refusals;    /* of the door, one after another */
    bool held;            /* no call of it is started for a while */
    const char *function; /* in `key` */
    char key[];
};

struct fm_ready {
    struct fm_loop *loop;
    struct fm_map tenants;
    struct fm_map targets;
    struct fm_list ring;
    uint32_t places;
    uint32_t places_max;
    uint32_t count;                          /* calls that are due */
    void (*on_open)(struct fm_ready *ready); /* somebody is not held back any more */
};

void fm_ready_init(struct fm_ready *ready, struct fm_loop *loop, uint32_t places_max);
void fm_ready_done(struct fm_ready *ready); /* no targets left */

/* With one more reference.  FM_ERR_NOMEM, FM_ERR_IO (no random seed for a map). */
FM_MUST_CHECK int fm_ready_target_ref(struct fm_ready *ready, const char *user,
                                      const char *function, struct fm_target **ret_target);
void fm_ready_target_unref(struct fm_target *target);

/* How many calls of a function, and of its user, may be under way. */
void fm_ready_target_limit(struct fm_target *target, uint64_t concurrency);
void fm_ready_tenant_limit(struct fm_target *target, uint64_t concurrency);

void fm_ready_push(struct fm_target *target, struct fm_list *call, bool first);
void fm_ready_remove(struct fm_target *target, struct fm_list *call);

/* The next call, out of its list and with a place.  NULL: there is none, or no place. */
struct fm_list *fm_ready_next(struct fm_ready *ready);

/* A place without a turn, for a call that is new: only if nobody waits before it. */
FM_MUST_CHECK bool fm_ready_take(struct fm_target *target);
void fm_ready_give(struct fm_target *target);

/* The door refused a call of it: holds it back until one of its calls ends, or for a time that
 * grows with every refusal; `random` spreads it. */
void fm_ready_hold(struct fm_target *target, uint64_t random);
void fm_ready_admitted(struct fm_target *target); /* the door let one in */
