/* server.c - the server process, from its parts to its end.
 *
 *      engine, disk, pools --> modules, deployer, ticker --> workers (without threads)
 *          --> functions from disk --> samples --> calls from disk
 *          --> threads --> ready --> signal --> drain --> end
 *
 * Up to the start of the threads everything is one thread's, so a mistake in the configuration or a
 * damaged folder is an error message and not a race.  After it the main thread only waits for the
 * signal that ends the server.
 *
 * Draining: the acceptor stops, workers answer 503 to new calls and close connections after their
 * present answer; calls under way have drain_ms to end.  Then synchronous ones are cancelled, and
 * asynchronous ones go back to where the next process will find them.  At the end every message
 * that is still under way is delivered, so that nothing is left in the air. */
#include "cmd/server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd/compile.h"
#include "cmd/suspects.h"
#include "cmd/swap_guard.h"
#include "engine/engine.h"
#include "guest/guest.h"
#include "loop/loop.h"
#include "loop/pool.h"
#include "sched/balance.h"
#include "sched/deploy.h"
#include "sched/modules.h"
#include "sched/ticker.h"
#include "sched/users.h"
#include "store/calls.h"
#include "store/functions.h"
#include "store/user_files.h"
#include "store/user_trees.h"

#define POOL_THREADS 2
#define POOL_JOBS_MAX 10000
#define BUILD_JOBS_MAX 256
#define LAST_PASSES 16 /* messages that answer messages, at the end */

/* --- the parts -------------------------------------------------------------------------------- */

static int make_engine(struct fm_server *server, struct fm_error *error)
{
    const struct fm_config *config = server->config;
    struct fm_engine_config engine;
    fm_engine_config_init(&engine, true);
    engine.slots = (uint32_t)(config->slots + fm_config_slots_beside(config));
    engine.memory_bytes_max = config->memory_bytes_max;
    engine.stack_bytes = config->guest_stack_bytes;
    engine.keep_resident_bytes = config->keep_resident_bytes;
    engine.keep_total_bytes = config->keep_total_bytes;
    engine.warm_slots = config->warm_slots;
    engine.page_scanning = engine.page_scanning && config->page_scanning;
    int failed = fm_engine_new(&engine, &server->engine, error);
    return failed ? failed : fm_guest_imports_add(server->engine, error);
}

static int renew_code(void *data, const struct fm_version *version, struct fm_error *error)
{
    struct fm_server *server = data;
    fm_log(FM_LOG_INFO, "compiling_again", "user", version->user, "function", version->function,
           "reason", error->text, NULL);
    return fm_deploy_renew(server->deployer, version, error);
}

static void evict_code(void *data, struct fm_code *code)
{
    struct fm_server *server = data;
    unsigned workers = server->audience.count;
    /* Each copy of the news carries one hold.  Without memory the module just stays. */
    fm_code_hold(server->modules, code, workers);
    if (fm_news_tell(&server->audience, FM_NEWS_EVICT, code, NULL, NULL, 0, NULL, NULL) == 0)
        return;
    for (unsigned i = 0; i < workers; i++)
        fm_code_release(server->modules, code);
}

static int make_shared(struct fm_server *server, const struct fm_server_start *start,
                       struct fm_error *error)
{
    const struct fm_config *config = server->config;
    int failed = make_engine(server, error);
    if (!failed)
        failed = fm_functions_open(config->data, fm_engine_build_id(), &server->functions, error);
    if (failed)
        return failed;
    failed = fm_pool_new(POOL_THREADS, POOL_JOBS_MAX, &server->pool);
    if (!failed)
        failed = fm_pool_new((unsigned)config->builds, BUILD_JOBS_MAX, &server->builds);
    if (!failed) {
        failed = fm_server_calls_open(server, start, error);
        if (failed)
            return failed;
    }
    if (!failed)
        failed = fm_compile_client_new(start->build_sockets, start->build_sockets_count,
                                       &server->compiler);
    const struct fm_modules_config modules = {
        .engine = server->engine,
        .functions = server->functions,
        .pool = server->pool,
        .builds = server->builds,
        .workers = (unsigned)config->workers,
        .bytes_max = config->modules_bytes,
        .renew = renew_code,
        .evict = evict_code,
        .data = server,
    };
    if (!failed)
        failed = fm_modules_new(&modules, &server->modules);
    const struct fm_deployer_config deployer = {
        .functions = server->functions,
        .modules = server->modules,
        .engine = server->engine,
        .audience = &server->audience,
        .builds = server->builds,
        .pool = server->pool,
        .memory_bytes_max = config->memory_bytes_max,
        .compile_cache = config->compile_cache,
        .compile = fm_compile,
        .compile_data = server->compiler,
    };
    if (!failed)
        failed = fm_deployer_new(&deployer, &server->deployer);
    if (!failed)
        failed = fm_ticker_new(server->engine, (unsigned)config->workers, &server->ticker);
    return failed ? fm_error_set(error, failed, "cannot start: %s", fm_err_meaning(failed)) : 0;
}

/* --- users ------------------------------------------------------------------------------------ */

static void configured_quotas(void *data, const char *user, struct fm_quotas *quotas)
{
    const struct fm_server *server = data;
    fm_config_quotas(server->config, user, quotas);
}

static int keep_user(void *data, const char *user, const struct fm_quota_set *changed,
                     struct fm_error *error)
{
    const struct fm_server *server = data;
    return fm_user_files_put(server->user_files, user, changed, error);
}

static int take_user(const char *user, const struct fm_quota_set *changed, void *data)
{
    const struct fm_server *server = data;
    return fm_users_set(server->users, user, changed);
}

static void on_bad_user(const char *name, const char *reason, void *data)
{
    (void)data;
    fm_log(FM_LOG_ERROR, "user_skipped", "file", name, "reason", reason, NULL);
}

static int make_users(struct fm_server *server, struct fm_error *error)
{
    const struct fm_users_config users = {
        .workers = (unsigned)server->config->workers,
        .pool = server->pool,
        .audience = &server->audience,
        .configured = configured_quotas,
        .persist = keep_user,
        .data = server,
    };
    int failed = fm_user_files_open(server->functions, &server->user_files, error);
    if (!failed && fm_users_new(&users, &server->users) != 0)
        failed = fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    if (!failed && fm_peers_new((unsigned)server->config->workers, &server->peers) != 0)
        failed = fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    return failed ? failed
                  : fm_user_files_each(server->user_files, take_user, on_bad_user, server, error);
}

/* --- users' files ----------------------------------------------------------------------------- */

static void quotas_in_force(void *data, const char *user, struct fm_quotas *ret_quotas)
{
    const struct fm_server *server = data;
    struct fm_user_state state;
    fm_users_state(server->users, user, &state);
    *ret_quotas = state.quotas;
}

/* Without memory workers keep old files longer than they have to, and see the new ones all the
 * same.
 */
static void on_files_changed(void *data, const char *user)
{
    const struct fm_server *server = data;
    (void)!fm_news_tell(&server->audience, FM_NEWS_FILES, NULL, user, "", 0, NULL, NULL);
}

static int make_trees(struct fm_server *server, struct fm_error *error)
{
    const struct fm_user_trees_config trees = {
        .functions = server->functions,
        .pool = server->pool,
        .contents_bytes_max = server->config->files_memory_bytes,
        .kept_bytes_max = FM_TREES_KEPT_BYTES_MAX,
        .names_max = FM_TREES_NAMES_MAX,
        .quotas = quotas_in_force,
        .changed = on_files_changed,
        .data = server,
    };
    return fm_user_trees_open(&trees, &server->trees, error);
}

static int make_workers(struct fm_server *server, const struct fm_server_start *start,
                        struct fm_error *error)
{
    unsigned count = (unsigned)server->config->workers;
    server->workers = calloc(count, sizeof(*server->workers));
    server->scheds = calloc(count, sizeof(*server->scheds));
    server->queues = calloc(count, sizeof(*server->queues));
    if (!server->workers || !server->scheds || !server->queues)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    for (unsigned i = 0; i < count; i++) {
        int failed = fm_worker_init(&server->workers[i], server, i,
                                    fm_suspects_slot(start->suspects_page, i), error);
        if (failed)
            return failed;
        server->workers_count = i + 1;
        server->scheds[i] = server->workers[i].sched;
        server->queues[i] = server->workers[i].queue;
    }
    server->audience = (struct fm_audience){.count = count, .scheds = server->scheds};
    return 0;
}

/* --- functions from disk ---------------------------------------------------------------------- */

int fm_server_publish(struct fm_server *server, struct fm_version *version)
{
    struct fm_code *code = NULL;
    int failed = fm_code_new(server->modules, version, &code);
    if (failed)
        return failed;
    fm_code_hold(server->modules, code, server->workers_count);
    for (unsigned i = 0; i < server->workers_count; i++) {
        int lost = fm_sched_publish(server->scheds[i], code, 0);
        failed = failed ? failed : lost;
    }
    fm_code_release(server->modules, code);
    return failed;
}

static int publish_stored(struct fm_version *version, void *data)
{
    return fm_server_publish(data, version);
}

static void on_bad_version(const char *folder, const char *reason, void *data)
{
    (void)data;
    fm_log(FM_LOG_ERROR, "function_skipped", "folder", folder, "reason", reason, NULL);
}

/* --- life ------------------------------------------------------------------------------------- */

static int start_threads(struct fm_server *server, const struct fm_server_start *start,
                         struct fm_error *error)
{
    int failed = fm_swap_guard_new(server->workers[0].loop, server->engine, "/proc/swaps",
                                   &server->swap_guard);
    if (!failed)
        failed = fm_acceptor_new(server, start->listener, &server->acceptor);
    for (unsigned i = 0; !failed && i < server->workers_count; i++)
        failed = fm_worker_start(&server->workers[i]);
    return failed ? fm_error_set(error, failed, "cannot start: %s", fm_err_meaning(failed)) : 0;
}

static void tell_ready(const struct fm_server *server, const struct fm_server_start *start)
{
    char workers[16];
    char ms[16];
    uint64_t took_ns = fm_clock_monotonic_ns() - server->started_ns;
    (void)snprintf(workers, sizeof(workers), "%u", server->workers_count);
    (void)snprintf(ms, sizeof(ms), "%llu", (unsigned long long)(took_ns / FM_NS_PER_MS));
    fm_log(FM_LOG_INFO, "ready", "workers", workers, "start_ms", ms, NULL);
    const char byte = 'r';
    (void)!write(start->ready, &byte, 1); /* without a supervisor that listens we end anyway */
    (void)close(start->ready);
}

/* What one has left may be a question to another, which counts as the asker's until it is answered:
 * so none of them is stopped before all have drained. */
static bool all_drained(struct fm_server *server)
{
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct fm_worker_counts counts;
        fm_worker_counts(&server->workers[i], &counts);
        if (!counts.drained)
            return false;
    }
    return true;
}

/* Waits for the workers to finish what they have, for at most drain_ms or until a second signal. */
static void drain(struct fm_server *server, const sigset_t *signals)
{
    fm_log(FM_LOG_INFO, "draining", NULL);
    atomic_store(&server->draining, true);
    for (unsigned i = 0; i < server->workers_count; i++)
        fm_worker_drain(&server->workers[i]);
    uint64_t until_ns = fm_clock_monotonic_ns() + server->config->drain_ms * FM_NS_PER_MS;
    while (!all_drained(server) && fm_clock_monotonic_ns() < until_ns) {
        const struct timespec step = {.tv_nsec = 5 * (long)FM_NS_PER_MS};
        if (sigtimedwait(signals, NULL, &step) > 0)
            break;
    }
}

static void join_workers(struct fm_server *server)
{
    for (unsigned i = 0; i < server->workers_count; i++)
        if (server->workers[i].running)
            fm_worker_stop(&server->workers[i]);
    for (unsigned i = 0; i < server->workers_count; i++) {
        if (!server->workers[i].running)
            continue;
        (void)pthread_join(server->workers[i].thread, NULL); /* our own thread: cannot fail */
        server->workers[i].running = false;
    }
}

/* Delivers what is still in the mailboxes, on this thread, which is the only one left. */
static void deliver_rest(struct fm_server *server)
{
    for (int pass = 0; pass < LAST_PASSES; pass++)
        for (unsigned i = 0; i < server->workers_count; i++)
            fm_loop_pass(server->workers[i].loop, 0);
}

/* In this order: nobody starts anything more; calls that are with other workers come home; clients'
 * calls are cancelled, and asynchronous ones broken off, whose rows are written again; what calls
 * had started, and nobody waits for any more, ends; what threads do ends, soon, the store's last
 * writes among it; what they had to say is heard; then the parts go, users before what they use. */
static void server_done(struct fm_server *server)
{
    join_workers(server);
    for (unsigned i = 0; i < server->workers_count; i++)
        fm_sched_recall(server->workers[i].sched);
    deliver_rest(server);
    for (unsigned i = 0; i < server->workers_count; i++)
        fm_http_close(server->workers[i].http);
    for (unsigned i = 0; i < server->workers_count; i++)
        fm_queue_stop(server->workers[i].queue);
    for (unsigned i = 0; i < server->workers_count; i++)
        fm_sched_reap(server->workers[i].sched);
    fm_deployer_stop(server->deployer);
    fm_compile_client_stop(server->compiler);
    fm_pool_stop(server->builds);
    fm_calls_stop(server->calls);
    fm_pool_stop(server->pool);
    deliver_rest(server);
    fm_acceptor_free(server->acceptor);
    fm_swap_guard_free(server->swap_guard);
    for (unsigned i = 0; i < server->workers_count; i++)
        fm_worker_done(&server->workers[i]);
    fm_user_trees_close(server->trees);
    fm_calls_free(server->calls);
    fm_pool_free(server->builds);
    fm_pool_free(server->pool);
    fm_users_free(server->users);
    fm_peers_free(server->peers);
    fm_user_files_close(server->user_files);
    fm_ticker_free(server->ticker);
    fm_deployer_free(server->deployer);
    fm_modules_free(server->modules);
    fm_compile_client_free(server->compiler);
    fm_functions_close(server->functions);
    fm_engine_free(server->engine);
    free(server->workers);
    free(server->scheds);
    free(server->queues);
}

static int run(struct fm_server *server, const struct fm_server_start *start,
               const sigset_t *signals, struct fm_error *error)
{
    const struct fm_config *config = server->config;
    int failed = make_shared(server, start, error);
    if (!failed)
        failed = make_users(server, error);
    if (!failed)
        failed = make_trees(server, error);
    if (!failed)
        failed = make_workers(server, start, error);
    if (!failed)
        failed =
            fm_functions_each(server->functions, publish_stored, on_bad_version, server, error);
    if (!failed && config->samples[0])
        fm_samples_install(server, config->samples);
    if (!failed)
        failed = fm_server_calls_restore(server, error);
    if (!failed)
        failed = start_threads(server, start, error);
    if (failed)
        return failed;
    tell_ready(server, start);
    int signal = 0;
    (void)sigwait(signals, &signal); /* the set is valid */
    drain(server, signals);
    return 0;
}

int fm_server_run(const struct fm_server_start *start)
{
    struct fm_server server = {.config = start->config, .started_ns = fm_clock_monotonic_ns()};
    atomic_init(&server.draining, false);
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    (void)signal(SIGINT, SIG_IGN);  /* Ctrl-C reaches us too, but the supervisor decides */
    (void)signal(SIGPIPE, SIG_IGN); /* a client that has gone is an error of its write */

    struct fm_error error = {0};
    int failed = run(&server, start, &signals, &error);
    if (failed)
        fm_log(FM_LOG_ERROR, "start_failed", "reason", error.text, NULL);
    server_done(&server);
    if (!failed)
        fm_log(FM_LOG_INFO, "ended", NULL);
    return failed ? fm_err_exit_code(failed) : 0;
}
