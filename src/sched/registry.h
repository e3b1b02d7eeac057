/* registry.h - the functions as one worker knows them: names to versions, versions to modules.
 *
 * Every worker has its own registry, so that looking a function up touches nothing shared.  News
 * (news.h) keeps the copies equal.  Private to sched/. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "loop/mailbox.h"
#include "sched/lease.h"
#include "sched/modules.h"
#include "sched/sched.h"

struct fm_registry;
struct fm_user;

/* One version on this worker. */
struct fm_slot {
    struct fm_function *function;
    struct fm_registry *registry;
    struct fm_code *code;     /* held */
    struct fm_module *module; /* got from fm_modules; NULL: not loaded here */
    struct fm_lease concurrency;
    bool starts_calls; /* its module imports call_start: its calls stay on this worker */
    struct fm_recent_function *recent; /* NULL: no call of it was remembered yet */
    size_t output_bytes;               /* of the call that ended last */
    uint32_t calls;                    /* made and not yet freed */
    bool retired; /* not the current version any more; goes with its last call */
    bool loading;
    struct fm_load load;
    struct fm_list waiting;      /* tasks that wait for the module */
    struct fm_list blocked;      /* tasks that wait for a unit of concurrency */
    struct fm_list blocked_link; /* in fm_user.blocked_slots, while there are any */
    struct fm_list link;         /* in fm_function.slots */
};

struct fm_function {
    struct fm_map_node node; /* by "user/function" */
    char *key;
    size_t user_length;
    struct fm_user *user; /* as this worker knows it; NULL before the first call */
    struct fm_registry *registry;
    struct fm_slot *current; /* NULL: removed */
    struct fm_list slots;    /* all of them */
    uint64_t sequence;       /* of the newest news applied */
    uint64_t calls_total;
    uint64_t calls_failed;
};

struct fm_registry {
    struct fm_modules *modules;
    struct fm_mailbox *mailbox;
    struct fm_map functions;
    void (*on_loaded)(struct fm_slot *slot,
                      const struct fm_error *error); /* error: NULL if loaded */
};

void fm_registry_init(struct fm_registry *registry, struct fm_modules *modules,
                      struct fm_mailbox *mailbox);
void fm_registry_done(struct fm_registry *registry); /* no calls left */

FM_MUST_CHECK struct fm_function *fm_registry_find(struct fm_registry *registry, const char *user,
                                                   size_t user_length, const char *function,
                                                   size_t function_length);

/* Makes `code` current, if nothing newer is.  The worker takes its own hold of it before.
 * FM_ERR_NOMEM: the hold is given back. */
FM_MUST_CHECK int fm_registry_publish(struct fm_registry *registry, struct fm_code *code,
                                      uint64_t sequence);
void fm_registry_remove(struct fm_registry *registry, const char *user, const char *function,
                        uint64_t sequence);
void fm_registry_evict(struct fm_registry *registry, const struct fm_code *code);

/* Starts loading the slot's module; on_loaded follows.  FM_ERR_BUSY. */
FM_MUST_CHECK int fm_slot_load(struct fm_slot *slot);

void fm_slot_call_begin(struct fm_slot *slot);
void fm_slot_call_end(struct fm_slot *slot); /* may free the slot */
