/* modules.c - one table of loaded machine code under one mutex.
 *
 * Loading takes the mutex only to look and to publish, so that several modules load at once; two
 * threads that load the same code both do the work and one result wins, which is rarer and simpler
 * than making one wait for the other.
 *
 * Eviction is a request, not an act: the mutex's holder picks modules beyond the budget and asks
 * the workers, who know whether they are running them.  A module that is asked for again meanwhile
 * just stays. */
#include "sched/modules.h"

#include <pthread.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "engine/module.h"
#include "guest/guest.h"
#include "store/functions.h"

#define EVICTIONS_MAX 64 /* asked for at once */

struct fm_modules {
    struct fm_modules_config config;
    pthread_mutex_t mutex;
    struct fm_eviction loaded; /* struct fm_code.resident */
    struct fm_modules_counts counts;
};

int fm_modules_new(const struct fm_modules_config *config, struct fm_modules **ret_modules)
{
    struct fm_modules *modules = calloc(1, sizeof(*modules));
    if (!modules)
        return FM_ERR_NOMEM;
    modules->config = *config;
    fm_eviction_init(&modules->loaded, config->bytes_max);
    if (pthread_mutex_init(&modules->mutex, NULL) != 0) {
        free(modules);
        return FM_ERR_NOMEM;
    }
    *ret_modules = modules;
    return 0;
}

struct fm_modules *fm_modules_free(struct fm_modules *modules)
{
    if (!modules)
        return NULL;
    FM_ASSERT(modules->counts.loaded == 0);
    (void)pthread_mutex_destroy(&modules->mutex); /* not held */
    free(modules);
    return NULL;
}

static void lock(struct fm_modules *modules)
{
    int failed = pthread_mutex_lock(&modules->mutex);
    FM_ASSERT(!failed);
}

static void unlock(struct fm_modules *modules)
{
    int failed = pthread_mutex_unlock(&modules->mutex);
    FM_ASSERT(!failed);
}

/* --- codes ------------------------------------------------------------------------------------ */

int fm_code_new(struct fm_modules *modules, struct fm_version *version, struct fm_code **ret_code)
{
    struct fm_code *code = calloc(1, sizeof(*code));
    if (!code) {
        fm_version_free(version);
        return FM_ERR_NOMEM;
    }
    code->version = version;
    code->holders = 1;
    code->modules = modules;
    fm_evictable_init(&code->resident);
    fm_quota_init(&code->concurrency, version->limits.concurrency, modules->config.workers);
    *ret_code = code;
    return 0;
}

void fm_code_hold(struct fm_modules *modules, struct fm_code *code, unsigned times)
{
    lock(modules);
    FM_ASSERT(code->holders > 0);
    code->holders += times;
    unlock(modules);
}

/* --- users of a module.  Under the mutex. ----------------------------------------------------- */

static void take(struct fm_code *code)
{
    if (code->ahead)
        code->ahead = false;
    else
        code->users++;
}

/* The module, if that was its last user: to be freed without the mutex. */
FM_MUST_CHECK static struct fm_module *give_up(struct fm_modules *modules, struct fm_code *code)
{
    FM_ASSERT(code->users > 0);
    if (--code->users > 0)
        return NULL;
    struct fm_module *module = code->module;
    code->module = NULL;
    fm_eviction_remove(&modules->loaded, &code->resident);
    modules->counts.loaded--;
    return module;
}

FM_MUST_CHECK static struct fm_module *give_up_ahead(struct fm_modules *modules,
                                                     struct fm_code *code)
{
    if (!code->ahead)
        return NULL;
    code->ahead = false;
    return give_up(modules, code);
}

/* --- the end of a code ------------------------------------------------------------------------ */

static void free_code(struct fm_code *code)
{
    fm_version_free(code->version);
    free(code);
}

static void run_drop(struct fm_job *job)
{
    struct fm_code *code = FM_CONTAINER_OF(job, struct fm_code, drop);
    fm_functions_drop(code->modules->config.functions, code->version);
    free_code(code);
}

/* The files of a version that was replaced go with its last user.  That is disk work, so the pool
 * does it; when the pool is full, the next start of the server will. */
void fm_code_release(struct fm_modules *modules, struct fm_code *code)
{
    struct fm_module *unloaded = NULL;
    lock(modules);
    FM_ASSERT(code->holders > 0);
    bool last = --code->holders == 0;
    if (last)
        unloaded = give_up_ahead(modules, code);
    FM_ASSERT(!last || (code->users == 0 && !code->module));
    unlock(modules);
    fm_module_free(unloaded);
    if (!last)
        return;
    code->drop.run = run_drop;
    bool on_disk = modules->config.functions && code->version->folder[0];
    if (!on_disk || fm_pool_submit(modules->config.pool, &code->drop, NULL) != 0)
        free_code(code);
}

/* --- modules ---------------------------------------------------------------------------------- */

struct fm_module *fm_modules_get(struct fm_modules *modules, struct fm_code *code)
{
    lock(modules);
    struct fm_module *module = code->module;
    if (module)
        take(code);
    unlock(modules);
    return module;
}

void fm_modules_put(struct fm_modules *modules, struct fm_code *code)
{
    lock(modules);
    struct fm_module *unloaded = give_up(modules, code);
    unlock(modules);
    fm_module_free(unloaded);
}

/* Under the mutex.  Puts the codes whose going would meet the budget into `victims`, each held
 * once, and returns how many. */
static size_t pick_victims(struct fm_modules *modules, struct fm_code *victims[EVICTIONS_MAX])
{
    size_t count = 0;
    struct fm_evictable *next;
    while (count < EVICTIONS_MAX && (next = fm_eviction_next(&modules->loaded))) {
        struct fm_code *code = FM_CONTAINER_OF(next, struct fm_code, resident);
        code->holders++;
        victims[count++] = code;
    }
    modules->counts.evictions += count;
    return count;
}

static void evict(struct fm_modules *modules, struct fm_code *victim)
{
    lock(modules);
    struct fm_module *unloaded = give_up_ahead(modules, victim);
    unlock(modules);
    fm_module_free(unloaded);
    modules->config.evict(modules->config.data, victim);
    fm_code_release(modules, victim);
}

/* Publishes a loaded module, or drops it for one that another thread published first. */
static struct fm_module *publish(struct fm_modules *modules, struct fm_code *code,
                                 struct fm_module *module, bool ahead)
{
    struct fm_module *surplus = NULL;
    struct fm_code *victims[EVICTIONS_MAX];
    size_t victims_count = 0;
    lock(modules);
    if (code->module) {
        surplus = module;
    } else {
        code->module = module;
        fm_eviction_add(&modules->loaded, &code->resident, fm_module_image_bytes(module));
        modules->counts.loaded++;
        modules->counts.loads++;
        if (modules->config.evict)
            victims_count = pick_victims(modules, victims);
    }
    take(code);
    code->ahead = ahead;
    module = code->module;
    unlock(modules);

    fm_module_free(surplus);
    for (size_t i = 0; i < victims_count; i++)
        evict(modules, victims[i]);
    return module;
}

static int load_from_disk(struct fm_modules *modules, const struct fm_version *version,
                          struct fm_module **ret_module, struct fm_error *error)
{
    char path[FM_FUNCTIONS_PATH_SIZE];
    struct fm_module *module = NULL;
    int failed = fm_functions_code(modules->config.functions, version, path, error);
    if (!failed)
        failed = fm_module_load(modules->config.engine, path, &module, error);
    if (failed)
        return failed;
    failed = fm_guest_prepare(module, version->facts.abi, error);
    if (failed) {
        fm_module_free(module);
        return failed;
    }
    *ret_module = module;
    return 0;
}

static int load(struct fm_modules *modules, struct fm_code *code, bool renew,
                struct fm_module **ret_module, struct fm_error *error)
{
    struct fm_module *module = fm_modules_get(modules, code);
    if (module) {
        *ret_module = module;
        return 0;
    }
    int failed = 0;
    if (renew)
        failed = modules->config.renew(modules->config.data, code->version, error);
    if (!failed)
        failed = load_from_disk(modules, code->version, &module, error);
    if (failed)
        return failed;
    *ret_module = publish(modules, code, module, false);
    return 0;
}

static void run_load(struct fm_job *job)
{
    struct fm_load *request = FM_CONTAINER_OF(job, struct fm_load, job);
    int failed =
        load(request->modules, request->code, request->renew, &request->module, &request->error);
    if (failed)
        request->error.code = failed;
}

static void load_done(struct fm_job *job)
{
    struct fm_load *request = FM_CONTAINER_OF(job, struct fm_load, job);
    const struct fm_modules_config *config = &request->modules->config;
    /* Of another build of the engine, another CPU, or not ours at all: made again from the module
     * that the user uploaded. */
    if (!request->module && request->error.code == FM_ERR_CONFLICT && config->renew &&
        !request->renew) {
        request->renew = true;
        if (fm_pool_submit(config->builds, &request->job, request->home) == 0)
            return;
    }
    request->on_loaded(request);
}

int fm_modules_load_start(struct fm_modules *modules, struct fm_load *request,
                          struct fm_mailbox *home)
{
    request->modules = modules;
    request->module = NULL;
    request->renew = false;
    request->home = home;
    request->error = (struct fm_error){0};
    request->job.run = run_load;
    request->job.on_done = load_done;
    return fm_pool_submit(modules->config.pool, &request->job, home);
}

void fm_code_module_ahead(struct fm_modules *modules, struct fm_code *code,
                          struct fm_module *module)
{
    FM_ASSERT(code->users == 0); /* nobody knows the code yet */
    struct fm_module *published = publish(modules, code, module, true);
    FM_ASSERT(published == module);
}

void fm_code_module_set(struct fm_modules *modules, struct fm_code *code, struct fm_module *module)
{
    struct fm_module *published = publish(modules, code, module, false);
    FM_ASSERT(published);
}

void fm_modules_counts(struct fm_modules *modules, struct fm_modules_counts *ret_counts)
{
    lock(modules);
    *ret_counts = modules->counts;
    ret_counts->bytes = modules->loaded.bytes;
    unlock(modules);
}
