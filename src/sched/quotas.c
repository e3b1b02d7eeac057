/* quotas.c - a user's quotas on one worker.
 *
 *      concurrency, queue_length   leases of units; the latter twice (backlog.c)    (lease.h)
 *      requests_per_s              a bucket; a worker takes a few credits at once   (bucket.h)
 *      cpu_percent                 a bucket, charged afterwards; in debt: all calls are held
 *      memory_bytes                bytes, taken from the account before a guest may need them
 *
 * Memory.  A guest grows while it runs, and is looked at when its slice ends.  So before a call
 * begins its worker must have room for all that the call's own limit allows: then what it grows in
 * a slice is there already.  What a call grew beyond that (many calls grew, each a little) is taken
 * after the slice; if it is not there, that call ends.  The room stays with the worker, if the user
 * has plenty, so that a stream of short calls takes and gives nothing.
 *
 * Waiting.  Calls that wait for units or bytes are told by whoever gives some back:
 *
 *      who waits:  starving = true, then looks once more       at least one of them
 *      who gives:  gives, then reads `account->starving`       sees the other
 *
 * so `starving` is read with each unit that is given back, and written only by those who wait. */
#include "base/limits.h"
#include "sched/blocked.h"
#include "sched/sched_private.h"

#define DEPTH_NS FM_NS_PER_S /* of both buckets: a second's worth */
#define CPU_PENDING_NS_MAX (FM_SLICE_NS / 4)
#define REQUESTS_BATCHES_PER_WORKER 8 /* a batch is 1/8 of a worker's fair share */

static uint64_t now_ns(const struct fm_user *user)
{
    return fm_loop_now_ns(user->sched->config.loop);
}

static void update_hold(struct fm_user *user)
{
    unsigned lanes = user->throttled ? FM_LANES_ALL : user->memory_wanted ? FM_LANES_FRESH : 0;
    fm_runqueue_hold(&user->sched->queue, &user->turns, lanes);
}

/* --- those who wait --------------------------------------------------------------------------- */

static bool waits(const struct fm_user *user)
{
    return user->memory_wanted > 0 || !fm_list_empty(&user->blocked) ||
           !fm_list_empty(&user->blocked_slots);
}

static void look_again(struct fm_user *user)
{
    if (user->memory_wanted > 0 && fm_quotas_memory_room(user, user->memory_wanted)) {
        user->memory_wanted = 0;
        update_hold(user);
    }
    fm_blocked_admit(user);
}

static void stop_starving(struct fm_user *user)
{
    if (atomic_exchange(&user->starving, false))
        atomic_fetch_sub(&user->account->starving, 1);
}

void fm_quotas_starve(struct fm_user *user)
{
    if (!atomic_exchange(&user->starving, true))
        atomic_fetch_add(&user->account->starving, 1);
    look_again(user);
}

static void on_credit(struct fm_message *message)
{
    struct fm_user *user = FM_CONTAINER_OF(message, struct fm_user, credit);
    look_again(user);
    if (waits(user))
        fm_quotas_starve(user);
}

static void tell_others(struct fm_user *user)
{
    struct fm_share *share = &user->account->share;
    fm_lease_trim(&user->concurrency);
    for (unsigned i = 0; i < share->workers; i++) {
        struct fm_turns *turns = atomic_load_explicit(&share->turns[i], memory_order_acquire);
        struct fm_user *other = turns ? fm_user_of(turns) : NULL;
        if (!other || other == user || !atomic_exchange(&other->starving, false))
            continue;
        atomic_fetch_sub(&user->account->starving, 1);
        fm_mailbox_post(fm_loop_mailbox(other->sched->config.loop), &other->credit);
    }
}

void fm_quotas_gave(struct fm_user *user)
{
    if (FM_UNLIKELY(waits(user)))
        look_again(user);
    if (FM_UNLIKELY(atomic_load(&user->account->starving) > 0))
        tell_others(user);
}

/* --- requests_per_s --------------------------------------------------------------------------- */

bool fm_quotas_request(struct fm_user *user, uint64_t *ret_wait_ns)
{
    if (!(user->bounds & FM_BOUND_REQUESTS))
        return true;
    if (user->requests > 0) {
        user->requests--;
        return true;
    }
    uint64_t rate = user->quotas.requests_per_s;
    uint64_t cost_ns = FM_NS_PER_S / rate;
    uint64_t depth_ns = cost_ns * rate;
    uint64_t batch = rate / fm_users_workers(user->account->users) / REQUESTS_BATCHES_PER_WORKER;
    struct fm_bucket *bucket = &user->account->requests;
    if (batch > 1 && fm_bucket_take(bucket, now_ns(user), batch * cost_ns, depth_ns, ret_wait_ns)) {
        user->requests = batch - 1;
        return true;
    }
    return fm_bucket_take(bucket, now_ns(user), cost_ns, depth_ns, ret_wait_ns);
}

/* --- cpu_percent ------------------------------------------------------------------------------ */

static void charge_cpu(struct fm_user *user)
{
    uint64_t cost_ns = user->cpu_pending_ns * 100 / user->quotas.cpu_percent;
    user->cpu_pending_ns = 0;
    fm_bucket_charge(&user->account->cpu, now_ns(user), cost_ns);
}

void fm_quotas_cpu(struct fm_user *user, uint64_t cpu_ns)
{
    FM_USER_COUNT(user, cpu_ns, cpu_ns);
    if (!(user->bounds & FM_BOUND_CPU))
        return;
    user->cpu_pending_ns += cpu_ns;
    if (user->cpu_pending_ns >= CPU_PENDING_NS_MAX)
        charge_cpu(user);
}

uint64_t fm_quotas_cpu_wait_ns(const struct fm_user *user)
{
    if (!(user->bounds & FM_BOUND_CPU))
        return 0;
    return fm_bucket_debt_ns(&user->account->cpu, now_ns(user), DEPTH_NS);
}

/* Without memory for the timer the user runs on: nobody would wake it. */
static void throttle(struct fm_user *user, uint64_t wait_ns)
{
    user->throttled =
        fm_loop_timer_set(user->sched->config.loop, &user->throttle, now_ns(user) + wait_ns) == 0;
    update_hold(user);
}

static void on_throttle_time(struct fm_timer *timer)
{
    struct fm_user *user = FM_CONTAINER_OF(timer, struct fm_user, throttle);
    uint64_t wait_ns = fm_quotas_cpu_wait_ns(user);
    if (wait_ns > 0) {
        throttle(user, wait_ns);
        return;
    }
    user->throttled = false;
    update_hold(user);
}

bool fm_quotas_may_run(struct fm_user *user)
{
    if (FM_LIKELY(!(user->bounds & FM_BOUND_CPU)))
        return true;
    if (user->throttled)
        return false;
    uint64_t wait_ns = fm_quotas_cpu_wait_ns(user);
    if (wait_ns > 0)
        throttle(user, wait_ns);
    return !user->throttled;
}

/* --- memory_bytes ----------------------------------------------------------------------------- */

/* Takes up to `bytes` more from the account. */
static void take_memory(struct fm_user *user, int64_t bytes)
{
    atomic_int_least64_t *credits = &user->account->memory.credits;
    int64_t there = atomic_load(credits);
    while (there >= bytes) {
        if (atomic_compare_exchange_weak(credits, &there, there - bytes)) {
            user->memory_taken += bytes;
            return;
        }
    }
}

static void give_memory(struct fm_user *user, int64_t keep)
{
    int64_t spare = user->memory_taken - user->memory_used - keep;
    if (spare <= 0)
        return;
    user->memory_taken -= spare;
    atomic_fetch_add(&user->account->memory.credits, spare);
    fm_quotas_gave(user);
}

static void on_spare(struct fm_message *message)
{
    struct fm_user *user = FM_CONTAINER_OF(message, struct fm_user, spare);
    atomic_store(&user->asked, false);
    if (!(user->bounds & FM_BOUND_MEMORY))
        return;
    user->memory_keep = 0;
    give_memory(user, 0);
}

/* What others keep and do not use could be what is missing; it comes too late for this call, but
 * not for the next. */
static void ask_for_spare(const struct fm_user *user)
{
    const struct fm_share *share = &user->account->share;
    for (unsigned i = 0; i < share->workers; i++) {
        struct fm_turns *turns = atomic_load_explicit(&share->turns[i], memory_order_acquire);
        struct fm_user *other = turns ? fm_user_of(turns) : NULL;
        if (other && other != user && !atomic_exchange(&other->asked, true))
            fm_mailbox_post(fm_loop_mailbox(other->sched->config.loop), &other->spare);
    }
}

bool fm_quotas_memory_room(struct fm_user *user, uint64_t bytes)
{
    if (FM_LIKELY(!(user->bounds & FM_BOUND_MEMORY)))
        return true;
    uint64_t workers = fm_users_workers(user->account->users);
    user->memory_keep = 2 * workers * bytes <= user->quotas.memory_bytes ? (int64_t)bytes : 0;
    int64_t missing = (int64_t)bytes - (user->memory_taken - user->memory_used);
    if (missing > 0)
        take_memory(user, missing);
    bool room = user->memory_taken - user->memory_used >= (int64_t)bytes;
    if (!room)
        ask_for_spare(user);
    return room;
}

bool fm_quotas_memory_ready(struct fm_user *user, uint64_t bytes)
{
    if (fm_quotas_memory_room(user, bytes))
        return true;
    user->memory_wanted = bytes;
    update_hold(user);
    fm_quotas_starve(user);
    return false;
}

bool fm_quotas_memory_set(struct fm_user *user, uint64_t *bytes, uint64_t now_bytes)
{
    int64_t change = (int64_t)(now_bytes - *bytes);
    *bytes = now_bytes;
    user->memory_used += change;
    FM_USER_COUNT(user, memory_bytes, change);
    if (FM_LIKELY(!(user->bounds & FM_BOUND_MEMORY)))
        return true;
    if (user->memory_used > user->memory_taken)
        take_memory(user, user->memory_used - user->memory_taken);
    bool within = user->memory_used <= user->memory_taken;
    give_memory(user, user->memory_keep);
    return within;
}

void fm_quotas_memory_leave(struct fm_user *user, uint64_t bytes, uint64_t *ret_credits)
{
    user->memory_used -= (int64_t)bytes;
    FM_USER_COUNT(user, memory_bytes, -(int64_t)bytes);
    *ret_credits = user->bounds & FM_BOUND_MEMORY ? bytes : 0;
    user->memory_taken -= (int64_t)*ret_credits;
}

/* One of the two workers may not have heard yet that there is a bound, or none any more. */
void fm_quotas_memory_arrive(struct fm_user *user, uint64_t bytes, uint64_t credits)
{
    bool bounded = user->bounds & FM_BOUND_MEMORY;
    user->memory_used += (int64_t)bytes;
    FM_USER_COUNT(user, memory_bytes, bytes);
    if (bounded)
        user->memory_taken += (int64_t)bytes;
    atomic_int_least64_t *shared = &user->account->memory.credits;
    if (bounded && credits == 0 && bytes > 0)
        atomic_fetch_sub(shared, (int64_t)bytes);
    if (!bounded && credits > 0)
        atomic_fetch_add(shared, (int64_t)credits);
}

/* --- values ----------------------------------------------------------------------------------- */

static void bound_memory(struct fm_user *user, bool bounded)
{
    if (!bounded) {
        atomic_fetch_add(&user->account->memory.credits, user->memory_taken);
        user->memory_taken = 0;
        user->memory_keep = 0;
    } else if (!(user->bounds & FM_BOUND_MEMORY)) {
        /* What is in use counts, even if it is more than there may be. */
        user->memory_taken = user->memory_used;
        atomic_fetch_sub(&user->account->memory.credits, user->memory_taken);
    } else {
        user->memory_keep = 0;
        give_memory(user, 0);
    }
}

static void set_values(struct fm_user *user, const struct fm_quotas *quotas)
{
    bound_memory(user, quotas->memory_bytes > 0);
    user->quotas = *quotas;
    user->bounds = (quotas->requests_per_s > 0 ? FM_BOUND_REQUESTS : 0u) |
                   (quotas->cpu_percent > 0 ? FM_BOUND_CPU : 0u) |
                   (quotas->memory_bytes > 0 ? FM_BOUND_MEMORY : 0u);
    user->requests = 0;
    user->cpu_pending_ns = 0;
    user->sched->policy->set_weight(&user->turns, quotas->weight);
}

void fm_quotas_init(struct fm_user *user, const struct fm_quotas *quotas)
{
    fm_lease_init(&user->concurrency, &user->account->concurrency);
    fm_lease_init(&user->waiting, &user->account->waiting);
    fm_lease_init(&user->backlog, &user->account->backlog);
    fm_timer_init(&user->throttle, on_throttle_time);
    fm_list_init(&user->blocked);
    fm_list_init(&user->blocked_slots);
    user->credit.on_message = on_credit;
    user->spare.on_message = on_spare;
    set_values(user, quotas);
}

void fm_quotas_changed(struct fm_user *user, const struct fm_quotas *quotas)
{
    fm_lease_trim(&user->concurrency);
    fm_lease_trim(&user->waiting);
    fm_lease_trim(&user->backlog);
    set_values(user, quotas);
    fm_loop_timer_cancel(user->sched->config.loop, &user->throttle);
    user->throttled = false;
    update_hold(user);
    (void)fm_quotas_may_run(user); /* if it may not, its calls are held from now on */
    look_again(user);
}

void fm_quotas_done(struct fm_user *user)
{
    FM_ASSERT(!waits(user) && user->memory_used == 0);
    stop_starving(user);
    fm_loop_timer_cancel(user->sched->config.loop, &user->throttle);
    fm_lease_done(&user->concurrency);
    fm_lease_done(&user->waiting);
    fm_lease_done(&user->backlog);
    if (user->bounds & FM_BOUND_MEMORY)
        atomic_fetch_add(&user->account->memory.credits, user->memory_taken);
}
