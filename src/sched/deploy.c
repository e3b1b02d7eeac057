/* deploy.c - the blocking half of an upload, of a change of limits, env or args, and of a removal.
 *
 * A job on the pool for builds does everything up to the commit in order; each step that fails ends
 * the deployment with nothing changed.  After the commit the news goes to all workers, and their
 * last acknowledgement is the answer.
 *
 * The module is loaded and linked before the commit: what the pool of sandboxes cannot hold (too
 * large a memory, too many tables) is refused here and not at the first call, which finds it
 * loaded.
 *
 * A change takes a moment and not seconds, so it does not wait behind modules that are compiled. It
 * is applied to what is current when the store lets it in: two changes of different things at once
 * are both kept, in either order (store/edit.c). */
#include "sched/deploy.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "call/change.h"
#include "engine/module.h"
#include "guest/guest.h"
#include "loop/loop.h"
#include "sched/modules.h"
#include "sched/news.h"
#include "store/functions.h"

#define ARENA_BYTES_MAX (8 * FM_IMPORTS_BYTES_MAX) /* the shortest names take four times theirs */

struct fm_deployer {
    struct fm_deployer_config config;
    atomic_bool stopped;
};

int fm_deployer_new(const struct fm_deployer_config *config, struct fm_deployer **ret_deployer)
{
    struct fm_deployer *deployer = calloc(1, sizeof(*deployer));
    if (!deployer)
        return FM_ERR_NOMEM;
    deployer->config = *config;
    atomic_init(&deployer->stopped, false);
    *ret_deployer = deployer;
    return 0;
}

struct fm_deployer *fm_deployer_free(struct fm_deployer *deployer)
{
    free(deployer);
    return NULL;
}

void fm_deployer_stop(struct fm_deployer *deployer)
{
    if (deployer)
        atomic_store(&deployer->stopped, true);
}

/* --- the steps -------------------------------------------------------------------------------- */

/* The server's own ceiling; a default that is above it follows it. */
static int check_ceiling(const struct fm_deployer *deployer, struct fm_version *wanted,
                         struct fm_error *error)
{
    uint64_t most = deployer->config.memory_bytes_max;
    struct fm_limits defaults;
    fm_limits_defaults(&defaults);
    if (wanted->limits.memory_bytes <= most)
        return 0;
    if (wanted->limits.memory_bytes != defaults.memory_bytes)
        return fm_error_set(error, FM_ERR_BAD_REQUEST,
                            "limit memory_bytes = %llu is over this server's ceiling of %llu",
                            (unsigned long long)wanted->limits.memory_bytes,
                            (unsigned long long)most);
    wanted->limits.memory_bytes = most;
    return 0;
}

static bool memory_fits(const struct fm_version *wanted)
{
    return wanted->facts.memory_pages_min <= wanted->limits.memory_bytes / (64 * FM_KIB);
}

static int check_memory(const struct fm_version *wanted, struct fm_error *error)
{
    if (memory_fits(wanted))
        return 0;
    return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                        "the module starts with %llu bytes of memory, over its limit memory_bytes "
                        "= %llu; give limit.memory_bytes at upload",
                        (unsigned long long)(wanted->facts.memory_pages_min * 64 * FM_KIB),
                        (unsigned long long)wanted->limits.memory_bytes);
}

static int prove(const struct fm_deployer *deployer, const char *cwasm_path,
                 const struct fm_version *wanted, struct fm_module **ret_module,
                 struct fm_error *error)
{
    struct fm_module *module = NULL;
    struct fm_error cause = {0};
    int failed = fm_module_load(deployer->config.engine, cwasm_path, &module, &cause);
    if (failed) /* compiled a moment ago by this very program: the pool does not take it */
        return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE, "%s", cause.text);
    failed = fm_guest_prepare(module, wanted->facts.abi, error);
    if (failed) {
        fm_module_free(module);
        return failed;
    }
    *ret_module = module;
    return 0;
}

/* To machine code; with the compile cache of the version that is current now, and to that of the
 * coming one, where it is worth the while. */
static int compile(const struct fm_deployer *deployer, struct fm_upload *upload,
                   struct fm_version *wanted, struct fm_arena *arena, struct fm_refusal *refusal,
                   struct fm_error *error)
{
    const struct fm_deployer_config *config = &deployer->config;
    bool cached = config->compile_cache && fm_upload_bytes(upload) >= FM_COMPILE_CACHE_MODULE_MIN;
    struct fm_compilation compilation = {
        .wasm_path = fm_upload_wasm_path(upload),
        .cwasm_path = fm_upload_cwasm_path(upload),
        .cache_fd = cached
                        ? fm_functions_cache_open(config->functions, wanted->user, wanted->function)
                        : -1,
        .cache_path = cached ? fm_upload_cache_path(upload) : NULL,
        .arena = arena,
    };
    int failed = config->compile(config->compile_data, &compilation, error);
    if (compilation.cache_fd >= 0)
        (void)close(compilation.cache_fd); /* only read */
    /* A cache must not be what stands in the way of an upload. */
    if (failed && cached && compilation.crashed) {
        compilation.cache_fd = -1;
        compilation.cache_path = NULL;
        (void)unlink(fm_upload_cache_path(upload));
        *error = (struct fm_error){0};
        failed = config->compile(config->compile_data, &compilation, error);
    }
    wanted->facts = compilation.facts;
    *refusal = compilation.refusal;
    return failed;
}

/* Compiles, checks, commits.  `wanted` gets the facts, or `refusal` its texts, from `arena`.  The
 * module is the caller's. */
static int build(const struct fm_deployer *deployer, struct fm_upload *upload,
                 struct fm_version *wanted, struct fm_arena *arena, struct fm_version **ret_version,
                 struct fm_module **ret_module, bool *ret_replaced, uint64_t *ret_sequence,
                 struct fm_refusal *refusal, struct fm_error *error)
{
    int failed = check_ceiling(deployer, wanted, error);
    if (!failed)
        failed = fm_upload_written(upload, error);
    if (!failed)
        failed = compile(deployer, upload, wanted, arena, refusal, error);
    if (!failed)
        failed = check_memory(wanted, error);
    struct fm_module *module = NULL;
    if (!failed)
        failed = prove(deployer, fm_upload_cwasm_path(upload), wanted, &module, error);
    if (!failed)
        failed = fm_upload_commit(upload, wanted, ret_version, ret_replaced, ret_sequence, error);
    if (failed) {
        fm_module_free(module);
        return failed;
    }
    *ret_module = module;
    return 0;
}

/* --- deployments of a running server ---------------------------------------------------------- */

static void on_told(struct fm_message *message)
{
    struct fm_deploy *deploy = FM_CONTAINER_OF(message, struct fm_deploy, told);
    deploy->on_done(deploy);
}

/* With its module, so that the first call need not load it again; NULL: it is loaded then. */
static int publish(struct fm_deploy *deploy, struct fm_version *version, struct fm_module *module)
{
    const struct fm_deployer_config *config = &deploy->deployer->config;
    struct fm_code *code = NULL;
    int failed = fm_version_new(version, &deploy->version); /* for the asker */
    if (failed)
        fm_version_free(version);
    else
        failed = fm_code_new(config->modules, version, &code);
    if (failed) {
        fm_module_free(module);
        return failed;
    }
    if (module)
        fm_code_module_ahead(config->modules, code, module);
    unsigned workers = config->audience->count;
    fm_code_hold(config->modules, code, workers);
    failed = fm_news_tell(config->audience, FM_NEWS_PUBLISH, code, NULL, NULL, deploy->sequence,
                          &deploy->told, deploy->home);
    for (unsigned i = 0; failed && i < workers; i++)
        fm_code_release(config->modules, code);
    fm_code_release(config->modules, code); /* our own; the workers have theirs */
    return failed;
}

static int run_upload(struct fm_deploy *deploy)
{
    struct fm_version *version = NULL;
    struct fm_module *module = NULL;
    int failed =
        build(deploy->deployer, deploy->upload, &deploy->wanted, &deploy->arena, &version, &module,
              &deploy->replaced, &deploy->sequence, &deploy->refusal, &deploy->error);
    deploy->wanted.facts = (struct fm_module_facts){0}; /* are the arena's */
    if (!failed) /* else it holds the refusal's texts, until fm_deploy_done() */
        fm_arena_done(&deploy->arena);
    deploy->upload = fm_upload_end(deploy->upload);
    return failed ? failed : publish(deploy, version, module);
}

/* --- changes and removals --------------------------------------------------------------------- */

/* Under the store's lock. */
static int edit_version(void *data, struct fm_version *version, struct fm_error *error)
{
    struct fm_deploy *deploy = data;
    int failed = fm_change_apply(deploy->change, &deploy->arena, version, error);
    if (!failed)
        failed = check_ceiling(deploy->deployer, version, error);
    if (!failed && !memory_fits(version)) /* nothing is wrong with the module */
        failed = fm_error_set(error, FM_ERR_BAD_REQUEST,
                              "limits.memory_bytes = %llu is under the %llu bytes of memory with "
                              "which the module starts",
                              (unsigned long long)version->limits.memory_bytes,
                              (unsigned long long)(version->facts.memory_pages_min * 64 * FM_KIB));
    return failed;
}

static int run_change(struct fm_deploy *deploy)
{
    struct fm_version *version = NULL;
    int failed = fm_functions_edit(deploy->deployer->config.functions, deploy->wanted.user,
                                   deploy->wanted.function, edit_version, deploy, &version,
                                   &deploy->sequence, &deploy->error);
    fm_arena_done(&deploy->arena);
    if (failed)
        return failed;
    deploy->replaced = true;
    return publish(deploy, version, NULL);
}

static int run_removal(struct fm_deploy *deploy)
{
    const struct fm_deployer_config *config = &deploy->deployer->config;
    const struct fm_version *wanted = &deploy->wanted;
    int failed = fm_functions_remove(config->functions, wanted->user, wanted->function,
                                     &deploy->sequence, &deploy->error);
    if (failed)
        return failed;
    return fm_news_tell(config->audience, FM_NEWS_REMOVE, NULL, wanted->user, wanted->function,
                        deploy->sequence, &deploy->told, deploy->home);
}

/* On a pool thread. */
static void run_deploy(struct fm_job *job)
{
    struct fm_deploy *deploy = FM_CONTAINER_OF(job, struct fm_deploy, job);
    deploy->told.on_message = on_told;
    int failed = FM_ERR_BUSY;
    if (atomic_load(&deploy->deployer->stopped))
        deploy->upload = fm_upload_end(deploy->upload);
    else if (deploy->upload)
        failed = run_upload(deploy);
    else
        failed = deploy->change ? run_change(deploy) : run_removal(deploy);
    if (!failed)
        return; /* the last worker that has heard answers; perhaps it has, and `deploy` is gone */
    if (!deploy->error.code)
        (void)fm_error_set(&deploy->error, failed, "%s", fm_err_meaning(failed));
    fm_mailbox_post(deploy->home, &deploy->told);
}

int fm_deploy_start(struct fm_deployer *deployer, struct fm_deploy *deploy, struct fm_mailbox *home)
{
    deploy->deployer = deployer;
    deploy->home = home;
    deploy->error = (struct fm_error){0};
    deploy->refusal = (struct fm_refusal){0};
    deploy->version = NULL;
    deploy->replaced = false;
    fm_arena_init(&deploy->arena, ARENA_BYTES_MAX);
    deploy->job.run = run_deploy;
    return fm_pool_submit(deploy->upload ? deployer->config.builds : deployer->config.pool,
                          &deploy->job, NULL);
}

void fm_deploy_done(struct fm_deploy *deploy)
{
    deploy->refusal = (struct fm_refusal){0};
    fm_arena_done(&deploy->arena);
    deploy->version = fm_version_free(deploy->version);
}

int fm_deploy_now(struct fm_deployer *deployer, struct fm_upload *upload,
                  const struct fm_version *wanted, struct fm_version **ret_version,
                  struct fm_error *error)
{
    struct fm_arena arena;
    fm_arena_init(&arena, ARENA_BYTES_MAX);
    struct fm_version filled = *wanted;
    struct fm_module *module = NULL;
    bool replaced = false;
    uint64_t sequence = 0;
    struct fm_refusal refusal = {0}; /* the error says the most of it */
    int failed = build(deployer, upload, &filled, &arena, ret_version, &module, &replaced,
                       &sequence, &refusal, error);
    fm_module_free(module); /* a start keeps nothing in memory that nobody has called */
    fm_upload_end(upload);
    fm_arena_done(&arena);
    return failed;
}

int fm_deploy_renew(struct fm_deployer *deployer, const struct fm_version *version,
                    struct fm_error *error)
{
    const struct fm_deployer_config *config = &deployer->config;
    char wasm[FM_FUNCTIONS_PATH_SIZE];
    char cwasm[FM_FUNCTIONS_PATH_SIZE];
    fm_functions_code_paths(config->functions, version, wasm, cwasm);
    struct fm_arena arena;
    fm_arena_init(&arena, ARENA_BYTES_MAX);
    /* Its compile cache, if it has one, is most likely of another build, too. */
    struct fm_compilation compilation = {
        .wasm_path = wasm, .cwasm_path = cwasm, .cache_fd = -1, .arena = &arena};
    int failed = config->compile(config->compile_data, &compilation, error);
    if (!failed)
        failed = fm_functions_code_renew(config->functions, version, cwasm, error);
    else
        (void)unlink(cwasm); /* what is left would go at the next start */
    fm_arena_done(&arena);
    return failed;
}
