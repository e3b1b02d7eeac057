/* deploy.h - from an uploaded module to a function that every worker runs; other limits, env and
 * args for it; and its removal.
 *
 *      upload written --> compiled (elsewhere) --> loaded, as a proof -------> committed to disk
 *      change --------> checked, for what is current -----------------------> committed to disk
 *      removal -------------------------------------------------------------> marked on disk
 *                     --> told to every worker --> answered
 *
 * The blocking steps run on the pool for builds, the short ones on the one for files.  The answer
 * comes when all workers know, so that whoever got it finds the new version on any connection.  Two
 * deployments of one function end in one of them, whole: the later commit wins everywhere. */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "call/function.h"
#include "loop/mailbox.h"
#include "loop/pool.h"

struct fm_audience;
struct fm_change;
struct fm_deployer; /* one per process; opaque; any thread */
struct fm_engine;
struct fm_functions;
struct fm_modules;
struct fm_upload;

/* A module to be compiled, all files by their paths. */
struct fm_compilation {
    const char *wasm_path;
    const char *cwasm_path; /* to be made: its machine code */
    int cache_fd;           /* the compile cache that it may use, borrowed; -1: there is none */
    const char *cache_path; /* to be made, or not: the one that it leaves; NULL: not wanted */
    struct fm_arena *arena; /* of what follows */

    /* The outcome. */
    struct fm_module_facts facts;
    struct fm_refusal refusal; /* says more about a failure */
    bool crashed;              /* a failure that may have come from a cache, or from its size */
};

/* Compiles it, in a process of its own, and waits for that.  FM_ERR_BAD_MODULE,
 * FM_ERR_UNSUPPORTED_MODULE, FM_ERR_BUSY... */
typedef int fm_compile_fn(void *data, struct fm_compilation *compilation, struct fm_error *error);

struct fm_deployer_config {
    struct fm_functions *functions;
    struct fm_modules *modules;
    struct fm_engine *engine;
    const struct fm_audience *audience; /* all workers */
    struct fm_pool *builds;             /* its threads may wait for seconds */
    struct fm_pool *pool;               /* for changes and removals */
    uint64_t memory_bytes_max;          /* ceiling of the limit memory_bytes */
    bool compile_cache;                 /* what has not changed is not compiled again */
    fm_compile_fn *compile;
    void *compile_data;
};

FM_MUST_CHECK int fm_deployer_new(const struct fm_deployer_config *config,
                                  struct fm_deployer **ret_deployer);
struct fm_deployer *fm_deployer_free(struct fm_deployer *deployer); /* NULL is fine */

/* Deployments that have not begun end with FM_ERR_BUSY from now on.  Any thread; NULL is fine. */
void fm_deployer_stop(struct fm_deployer *deployer);

/* One deployment, change or removal; embedded in the asker, who keeps it until on_done is called on
 * its own loop.  The outcome: error.code is 0, or FM_ERR_* with a text for the user. */
struct fm_deploy {
    /* The asker's part. */
    struct fm_upload *upload;       /* written; taken over (ended in every case) */
    const struct fm_change *change; /* borrowed; neither: a removal */
    struct fm_version wanted;       /* user, function; of an upload also limits, env and args, which
                                       are checked (call/change.h); borrowed texts */
    void (*on_done)(struct fm_deploy *deploy);

    /* The answer's part; what it points to is there until fm_deploy_done(). */
    struct fm_error error;
    struct fm_refusal refusal;  /* of a module that was refused */
    bool replaced;              /* there was a version before */
    struct fm_version *version; /* a copy for the asker; NULL for a removal */

    /* Private. */
    struct fm_job job;
    struct fm_deployer *deployer;
    struct fm_mailbox *home;
    struct fm_message told; /* the way back */
    struct fm_arena arena;  /* of `refusal` */
    uint64_t sequence;
};

/* FM_ERR_BUSY: too many wait already; nothing was taken. */
FM_MUST_CHECK int fm_deploy_start(struct fm_deployer *deployer, struct fm_deploy *deploy,
                                  struct fm_mailbox *home);

/* Frees what the answer holds.  Not while it is under way; one that is zeroed is fine.  A removal
 * holds nothing.
 *
 * A change: FM_ERR_NOT_FOUND, no such function (any more); FM_ERR_BAD_REQUEST, FM_ERR_TOO_LARGE:
 * not with the rest of what is current. */
void fm_deploy_done(struct fm_deploy *deploy);

/* The same steps without loops, for the start of the server: on this thread, before there are
 * workers; does not tell anyone.  `upload` is ended in every case. */
FM_MUST_CHECK int fm_deploy_now(struct fm_deployer *deployer, struct fm_upload *upload,
                                const struct fm_version *wanted, struct fm_version **ret_version,
                                struct fm_error *error);

/* Makes a version's machine code again (another build of the engine, another CPU).  Blocks. */
FM_MUST_CHECK int fm_deploy_renew(struct fm_deployer *deployer, const struct fm_version *version,
                                  struct fm_error *error);
