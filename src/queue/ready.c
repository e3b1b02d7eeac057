/* ready.c - two rings, one inside the other.
 *
 * What can change whether a function is open (a call came or went, a place, a hold) ends in
 * refresh(), which puts function and user into their rings or takes them out.  So finding the next
 * call is a look at two first links, however many users wait for nothing but their own limits.
 *
 * Discarded: one list of all calls in their order, in which a user with a thousand calls is a
 * thousand places ahead of whoever comes next. */
#include "queue/ready.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/limits.h"

#define NEVER UINT64_MAX
#define HOLD_MIN_NS (5 * FM_NS_PER_MS)
#define HOLD_DOUBLINGS_MAX 8 /* 1.28 s */

static void on_hold_over(struct fm_timer *timer);

void fm_ready_init(struct fm_ready *ready, struct fm_loop *loop, uint32_t places_max)
{
    FM_ASSERT(places_max > 0);
    *ready = (struct fm_ready){.loop = loop, .places_max = places_max};
    fm_map_init(&ready->tenants);
    fm_map_init(&ready->targets);
    fm_list_init(&ready->ring);
}

void fm_ready_done(struct fm_ready *ready)
{
    FM_ASSERT(ready->targets.count == 0 && ready->tenants.count == 0 && ready->places == 0);
    fm_map_done(&ready->tenants);
    fm_map_done(&ready->targets);
}

/* --- users and functions ---------------------------------------------------------------------- */

static void free_tenant_if_unused(struct fm_ready *ready, struct fm_tenant *tenant)
{
    if (tenant->targets > 0)
        return;
    fm_map_remove(&ready->tenants, &tenant->node);
    free(tenant);
}

static int tenant_of(struct fm_ready *ready, const char *name, struct fm_tenant **ret_tenant)
{
    size_t length = strlen(name);
    struct fm_map_node *node = fm_map_get(&ready->tenants, name, length);
    if (node) {
        *ret_tenant = FM_CONTAINER_OF(node, struct fm_tenant, node);
        return 0;
    }
    struct fm_tenant *tenant = calloc(1, sizeof(*tenant) + length + 1);
    if (!tenant)
        return FM_ERR_NOMEM;
    memcpy(tenant->name, name, length + 1);
    fm_list_init(&tenant->link);
    fm_list_init(&tenant->open);
    tenant->places_max = UINT32_MAX;
    int failed = fm_map_put(&ready->tenants, &tenant->node, tenant->name, length);
    if (failed) {
        free(tenant);
        return failed;
    }
    *ret_tenant = tenant;
    return 0;
}

static int target_new(struct fm_ready *ready, const char *key, size_t length, size_t user_length,
                      struct fm_target **ret_target)
{
    struct fm_target *target = calloc(1, sizeof(*target) + length + 1);
    if (!target)
        return FM_ERR_NOMEM;
    memcpy(target->key, key, length + 1);
    target->function = target->key + user_length + 1;
    target->ready = ready;
    target->places_max = UINT32_MAX;
    fm_list_init(&target->link);
    fm_list_init(&target->calls);
    fm_timer_init(&target->timer, on_hold_over);
    /* Armed for good, so that moving it cannot fail. */
    int failed = fm_loop_timer_set(ready->loop, &target->timer, NEVER);
    if (!failed)
        failed = fm_map_put(&ready->targets, &target->node, target->key, length);
    if (failed) {
        fm_loop_timer_cancel(ready->loop, &target->timer);
        free(target);
        return failed;
    }
    *ret_target = target;
    return 0;
}

int fm_ready_target_ref(struct fm_ready *ready, const char *user, const char *function,
                        struct fm_target **ret_target)
{
    char key[2 * FM_NAME_LENGTH_MAX + 2];
    size_t user_length = strlen(user);
    size_t function_length = strlen(function);
    FM_ASSERT(user_length <= FM_NAME_LENGTH_MAX && function_length <= FM_NAME_LENGTH_MAX);
    size_t length = user_length + 1 + function_length;
    memcpy(key, user, user_length);
    key[user_length] = '/';
    memcpy(key + user_length + 1, function, function_length + 1);

    struct fm_map_node *node = fm_map_get(&ready->targets, key, length);
    struct fm_target *target = node ? FM_CONTAINER_OF(node, struct fm_target, node) : NULL;
    if (!target) {
        struct fm_tenant *tenant = NULL;
        int failed = tenant_of(ready, user, &tenant);
        if (failed)
            return failed;
        failed = target_new(ready, key, length, user_length, &target);
        if (failed) {
            free_tenant_if_unused(ready, tenant);
            return failed;
        }
        target->tenant = tenant;
        tenant->targets++;
    }
    target->entries++;
    *ret_target = target;
    return 0;
}

void fm_ready_target_unref(struct fm_target *target)
{
    FM_ASSERT(target->entries > 0);
    if (--target->entries > 0)
        return;
    struct fm_ready *ready = target->ready;
    FM_ASSERT(fm_list_empty(&target->calls) && target->places == 0);
    fm_loop_timer_cancel(ready->loop, &target->timer);
    fm_map_remove(&ready->targets, &target->node);
    target->tenant->targets--;
    free_tenant_if_unused(ready, target->tenant);
    free(target);
}

/* --- who is open ------------------------------------------------------------------------------ */

static void place_in(struct fm_list *head, struct fm_list *link, bool wanted)
{
    if (wanted == fm_list_linked(link))
        return;
    if (wanted)
        fm_list_push_back(head, link);
    else
        fm_list_remove(link);
}

static bool tenant_has_room(const struct fm_ready *ready, const struct fm_tenant *tenant)
{
    return tenant->places < ready->places_max - ready->places_max / 4 &&
           tenant->places < tenant->places_max;
}

static bool target_has_room(const struct fm_target *target)
{
    return !target->held && target->places < target->places_max;
}

static void refresh(struct fm_target *target)
{
    struct fm_tenant *tenant = target->tenant;
    struct fm_ready *ready = target->ready;
    place_in(&tenant->open, &target->link,
             !fm_list_empty(&target->calls) && target_has_room(target));
    place_in(&ready->ring, &tenant->link,
             !fm_list_empty(&tenant->open) && tenant_has_room(ready, tenant));
}

void fm_ready_target_limit(struct fm_target *target, uint64_t concurrency)
{
    target->places_max = (uint32_t)fm_min_u64(concurrency, UINT32_MAX);
    refresh(target);
}

void fm_ready_tenant_limit(struct fm_target *target, uint64_t concurrency)
{
    target->tenant->places_max = (uint32_t)fm_min_u64(concurrency, UINT32_MAX);
    refresh(target);
}

void fm_ready_push(struct fm_target *target, struct fm_list *call, bool first)
{
    if (first)
        fm_list_push_front(&target->calls, call);
    else
        fm_list_push_back(&target->calls, call);
    target->ready->count++;
    refresh(target);
}

void fm_ready_remove(struct fm_target *target, struct fm_list *call)
{
    FM_ASSERT(fm_list_linked(call));
    fm_list_remove(call);
    target->ready->count--;
    refresh(target);
}

/* --- places ----------------------------------------------------------------------------------- */

static void take(struct fm_target *target)
{
    target->places++;
    target->tenant->places++;
    target->ready->places++;
}

struct fm_list *fm_ready_next(struct fm_ready *ready)
{
    if (ready->places == ready->places_max || fm_list_empty(&ready->ring))
        return NULL;
    struct fm_tenant *tenant = FM_LIST_ENTRY(ready->ring.next, struct fm_tenant, link);
    struct fm_target *target = FM_LIST_ENTRY(tenant->open.next, struct fm_target, link);
    struct fm_list *call = fm_list_pop_front(&target->calls);
    ready->count--;
    take(target);
    fm_list_remove(&target->link); /* both to the ends of their rings, if they are still open */
    fm_list_remove(&tenant->link);
    refresh(target);
    return call;
}

bool fm_ready_take(struct fm_target *target)
{
    struct fm_ready *ready = target->ready;
    if (!fm_list_empty(&ready->ring) || !fm_list_empty(&target->calls) ||
        ready->places == ready->places_max || !target_has_room(target) ||
        !tenant_has_room(ready, target->tenant))
        return false;
    take(target);
    refresh(target);
    return true;
}

static void release(struct fm_target *target)
{
    target->held = false;
    int failed = fm_loop_timer_set(target->ready->loop, &target->timer, NEVER);
    FM_ASSERT(!failed); /* it is armed */
}

void fm_ready_give(struct fm_target *target)
{
    FM_ASSERT(target->places > 0);
    target->places--;
    target->tenant->places--;
    target->ready->places--;
    if (target->held)
        release(target);
    /* The room may be what another function of the user has waited for. */
    refresh(target);
}

void fm_ready_hold(struct fm_target *target, uint64_t random)
{
    uint64_t most_ns = HOLD_MIN_NS << target->refusals;
    if (target->refusals < HOLD_DOUBLINGS_MAX)
        target->refusals++;
    target->held = true;
    uint64_t at_ns = fm_clock_monotonic_ns() + most_ns / 2 + random % (most_ns / 2);
    int failed = fm_loop_timer_set(target->ready->loop, &target->timer, at_ns);
    FM_ASSERT(!failed); /* it is armed */
    refresh(target);
}

void fm_ready_admitted(struct fm_target *target)
{
    target->refusals = 0;
}

static void on_hold_over(struct fm_timer *timer)
{
    struct fm_target *target = FM_CONTAINER_OF(timer, struct fm_target, timer);
    struct fm_ready *ready = target->ready;
    int failed = fm_loop_timer_set(ready->loop, timer, NEVER); /* fired: the place is still there */
    FM_ASSERT(!failed);
    target->held = false;
    refresh(target);
    ready->on_open(ready);
}
