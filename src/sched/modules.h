/* modules.h - the versions that exist and their machine code, shared by all workers.
 *
 * A `code` is one version of one function: it is made when the version is published, and lives as
 * long as anyone holds it.  Its module (machine code in memory) is loaded by the first worker that
 * needs it, shared by all that do, and unloaded when the last of them puts it back.
 *
 * When loaded modules exceed the budget, some are given up (eviction.h): every worker is told, and
 * puts the module back unless it is running it.  One mutex guards it all; it is taken
 * when a worker gets or puts a module, never for a call of one that the worker already has. */
#pragma once

#include "base/error.h"
#include "call/function.h"
#include "loop/mailbox.h"
#include "loop/pool.h"
#include "sched/eviction.h"
#include "sched/lease.h"

struct fm_engine;
struct fm_functions;
struct fm_module;
struct fm_modules; /* opaque */

struct fm_code {
    struct fm_version *version; /* never changes */
    struct fm_quota concurrency;
    struct fm_evictable resident; /* while its module is loaded */

    /* Under the mutex of fm_modules. */
    unsigned holders;         /* who keep the code */
    unsigned users;           /* who have the module */
    struct fm_module *module; /* NULL: not loaded */
    bool ahead;               /* one of the users is whoever gets it next */

    struct fm_job drop; /* after the last hold: removes its files */
    struct fm_modules *modules;
};

struct fm_modules_config {
    struct fm_engine *engine;
    struct fm_functions *functions; /* NULL in tests without a disk: codes are given their module */
    struct fm_pool *pool;           /* loads run here */
    struct fm_pool *builds;         /* loads that must compile first, which takes seconds */
    unsigned workers;
    uint64_t bytes_max; /* of loaded modules, as mapped */
    /* Makes machine code of another build again, on a pool thread; see deploy.h. */
    int (*renew)(void *data, const struct fm_version *version, struct fm_error *error);
    /* Every worker should put back `code`, if it does not run it.  Any thread. */
    void (*evict)(void *data, struct fm_code *code);
    void *data;
};

FM_MUST_CHECK int fm_modules_new(const struct fm_modules_config *config,
                                 struct fm_modules **ret_modules);
struct fm_modules *fm_modules_free(struct fm_modules *modules); /* nothing held; NULL is fine */

/* A code, held once.  Takes the version in any case.  FM_ERR_NOMEM.  Any thread. */
FM_MUST_CHECK int fm_code_new(struct fm_modules *modules, struct fm_version *version,
                              struct fm_code **ret_code);
void fm_code_hold(struct fm_modules *modules, struct fm_code *code, unsigned times);
void fm_code_release(struct fm_modules *modules, struct fm_code *code);

/* The module, if it is loaded; one fm_modules_put() for each non-NULL.  Any thread. */
FM_MUST_CHECK struct fm_module *fm_modules_get(struct fm_modules *modules, struct fm_code *code);
void fm_modules_put(struct fm_modules *modules, struct fm_code *code);

/* Loading it, as a job: of the pool, and of the builds' pool after that if its machine code must be
 * made again. */
struct fm_load {
    struct fm_job job; /* private */
    struct fm_modules *modules;
    struct fm_code *code;
    struct fm_mailbox *home;  /* private */
    bool renew;               /* private: the code must be made again */
    struct fm_module *module; /* the answer; NULL: see error */
    struct fm_error error;
    void (*on_loaded)(struct fm_load *load); /* on the asker's loop */
};

/* The caller fills in code and on_loaded, and keeps it until then.  FM_ERR_BUSY. */
FM_MUST_CHECK int fm_modules_load_start(struct fm_modules *modules, struct fm_load *request,
                                        struct fm_mailbox *home);

/* Adopts a module that was made otherwise, for the code's first user: the next to get it.  Until
 * then it goes like any other when there is too much, and with its code. */
void fm_code_module_ahead(struct fm_modules *modules, struct fm_code *code,
                          struct fm_module *module);

/* The same for tests: the caller has the module, and puts it back. */
void fm_code_module_set(struct fm_modules *modules, struct fm_code *code, struct fm_module *module);

struct fm_modules_counts {
    uint64_t loads;
    uint64_t evictions; /* asked for */
    uint64_t loaded;    /* now */
    uint64_t bytes;     /* of these */
};

void fm_modules_counts(struct fm_modules *modules, struct fm_modules_counts *ret_counts);
