/* snapshot.c - from a module to one that has been initialised.
 *
 * The initialisation is guest code, and runs as a call does: in a sandbox, with the host functions
 * of guest/frozen.c, under limits of its own.  Its engine is another one than that which compiles
 * for the server: it reserves as much address space as a guest may use, not 4 GiB, since a compile
 * process may have no more than that.
 *
 * Lifetime: everything but the snapshot goes before it returns. */
#include "cmd/snapshot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/encode.h"
#include "base/limits.h"
#include "call/call.h"
#include "engine/engine.h"
#include "engine/module.h"
#include "engine/snapshot.h"
#include "guest/guest.h"

struct making {
    struct fm_engine *engine;
    struct fm_import *imports; /* the engine's until its end */
    struct fm_module *module;
    struct fm_version *version;
    struct fm_call *call;
    struct fm_guest *guest;
    uint8_t *instrumented;
    size_t instrumented_bytes;
    uint64_t start_ns;
    pthread_t ticker;
    bool ticking;
    atomic_bool stop;
};

static void making_done(struct making *making)
{
    fm_guest_free(making->guest);
    if (making->ticking) {
        atomic_store(&making->stop, true);
        (void)pthread_join(making->ticker, NULL); /* our own thread: cannot fail */
    }
    fm_call_free(making->call);
    fm_version_free(making->version);
    fm_module_free(making->module);
    fm_engine_free(making->engine);
    free(making->imports);
    free(making->instrumented);
}

static int out_of_memory(struct fm_error *error)
{
    return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
}

/* --- before ----------------------------------------------------------------------------------- */

static int check_type(const struct making *making, struct fm_arena *arena, struct fm_error *error)
{
    struct fm_module_shape shape;
    if (fm_module_shape(making->module, arena, &shape) != 0)
        return out_of_memory(error);
    for (size_t i = 0; i < shape.exports_count; i++) {
        const struct fm_extern *item = &shape.exports[i];
        if (strcmp(item->name, FM_SNAPSHOT_EXPORT) == 0 && item->kind == FM_EXTERN_FUNCTION &&
            strcmp(item->signature, ":") == 0)
            return 0;
    }
    return fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                        "the export " FM_SNAPSHOT_EXPORT " is no function of type ()->()");
}

static int compile(struct making *making, const uint8_t *wasm, size_t bytes, bool parallel,
                   struct fm_error *error)
{
    struct fm_engine_config config;
    fm_engine_config_init(&config, false);
    config.compile_parallel = parallel;
    config.memory_bytes_max = FM_SNAPSHOT_MEMORY_BYTES;
    config.reserve_little = true;
    int failed = fm_engine_new(&config, &making->engine, error);
    if (!failed)
        failed = fm_guest_imports_add_frozen(making->engine, &making->imports, error);
    if (failed)
        return failed;
    failed = fm_snapshot_instrument(wasm, bytes, &making->instrumented, &making->instrumented_bytes,
                                    error);
    if (failed) { /* perhaps it is no module at all, which the compiler says better */
        struct fm_error cause = {0};
        int broken = fm_module_compile(making->engine, wasm, bytes, &making->module, &cause);
        if (broken)
            *error = cause;
        return broken ? broken : failed;
    }
    failed = fm_module_compile(making->engine, making->instrumented, making->instrumented_bytes,
                               &making->module, error);
    if (!failed && fm_module_lines(making->module, wasm, bytes, making->instrumented,
                                   making->instrumented_bytes) != 0)
        failed = out_of_memory(error);
    return failed;
}

static int make_call(struct making *making, struct fm_arena *arena, struct fm_refusal *refusal,
                     struct fm_error *error)
{
    struct fm_version version = {.user = "", .function = "", .id = "0"};
    fm_limits_defaults(&version.limits);
    version.limits.memory_bytes = FM_SNAPSHOT_MEMORY_BYTES;
    version.limits.cpu_ms = FM_SNAPSHOT_CPU_MS;
    int failed = fm_guest_classify(making->module, arena, &version.facts, &refusal->missing, error);
    if (!failed)
        failed = check_type(making, arena, error);
    if (!failed)
        failed = fm_guest_prepare(making->module, version.facts.abi, error);
    if (failed)
        return failed;
    if (fm_version_new(&version, &making->version) != 0 ||
        fm_call_new(making->version, &making->call) != 0)
        return out_of_memory(error);
    making->call->owner = making;
    making->call->initialize = FM_SNAPSHOT_EXPORT;
    return 0;
}

/* --- running it ------------------------------------------------------------------------------- */

static int on_tick(void *data)
{
    struct fm_call *call = data;
    const struct making *making = call->owner;
    if (fm_clock_thread_cpu_ns() - making->start_ns <= call->limits.cpu_ms * FM_NS_PER_MS)
        return 0;
    fm_call_fail_limit(call, "cpu_ms", call->limits.cpu_ms);
    return FM_ERR_GUEST_LIMIT;
}

static void *tick(void *data)
{
    struct making *making = data;
    while (!atomic_load(&making->stop)) {
        const struct timespec millisecond = {.tv_nsec = (long)FM_NS_PER_MS};
        (void)nanosleep(&millisecond, NULL); /* the tick itself; early is fine */
        fm_engine_tick(making->engine);
    }
    return NULL;
}

static int run(struct making *making, struct fm_error *error)
{
    if (pthread_create(&making->ticker, NULL, tick, making) != 0)
        return fm_error_set(error, FM_ERR_BUSY, "cannot start a thread");
    making->ticking = true;
    if (fm_guest_new(making->call, making->module, on_tick, &making->guest) != 0)
        return out_of_memory(error);
    making->start_ns = fm_clock_thread_cpu_ns();
    fm_call_set_state(making->call, FM_CALL_RUNNING, fm_clock_monotonic_ns());
    while (fm_guest_run(making->guest) != FM_GUEST_DONE)
        ; /* nothing that would park is left to it */
    making->call->cpu_ns = fm_clock_thread_cpu_ns() - making->start_ns;
    fm_call_set_state(making->call, FM_CALL_DONE, fm_clock_monotonic_ns());
    return 0;
}

/* The end of its log, as text: what is not UTF-8 becomes question marks. */
static const char *log_tail(const struct fm_call *call, struct fm_arena *arena)
{
    size_t bytes = call->log.length;
    size_t start = bytes > FM_LOG_TAIL_BYTES_MAX ? bytes - FM_LOG_TAIL_BYTES_MAX : 0;
    char *text = bytes > 0
                     ? fm_arena_strndup(arena, (const char *)call->log.data + start, bytes - start)
                     : NULL;
    if (!text)
        return NULL;
    for (size_t at = 0; at < bytes - start;) {
        size_t step = fm_utf8_step((const uint8_t *)text + at, bytes - start - at);
        if (step == 0 || text[at] == '\0')
            text[at] = '?';
        at += step > 0 ? step : 1;
    }
    return text;
}

static const char *keep(struct fm_arena *arena, const char *text)
{
    return text[0] ? fm_arena_strndup(arena, text, strlen(text)) : NULL;
}

static int explain(const struct fm_call *call, struct fm_arena *arena, struct fm_refusal *refusal,
                   struct fm_error *error)
{
    refusal->trap = keep(arena, call->trap);
    refusal->backtrace = keep(arena, call->backtrace);
    if (call->error == FM_ERR_NOMEM)
        return out_of_memory(error);
    return fm_error_set(error, FM_ERR_BAD_MODULE, FM_SNAPSHOT_EXPORT " failed: %s",
                        call->detail[0] ? call->detail : fm_err_meaning(call->error));
}

int fm_snapshot_make(const uint8_t *wasm, size_t bytes, bool compile_parallel,
                     struct fm_arena *arena, struct fm_snapshot *ret_snapshot,
                     struct fm_refusal *refusal, struct fm_error *error)
{
    struct making making = {0};
    struct fm_snapshot snapshot = {0};
    int failed = compile(&making, wasm, bytes, compile_parallel, error);
    if (!failed)
        failed = make_call(&making, arena, refusal, error);
    if (!failed)
        failed = run(&making, error);
    if (!failed)
        refusal->log = log_tail(making.call, arena);
    if (!failed && making.call->error)
        failed = explain(making.call, arena, refusal, error);
    if (!failed)
        failed = fm_snapshot_take(fm_guest_sandbox(making.guest), wasm, bytes, &snapshot.wasm,
                                  &snapshot.bytes, error);
    if (!failed && snapshot.bytes > FM_SNAPSHOT_BYTES_MAX) {
        free(snapshot.wasm);
        failed =
            fm_error_set(error, FM_ERR_UNSUPPORTED_MODULE,
                         "the snapshot has %zu bytes, over the most of %llu: " FM_SNAPSHOT_EXPORT
                         " leaves too much in memory that is not zero",
                         snapshot.bytes, (unsigned long long)FM_SNAPSHOT_BYTES_MAX);
    }
    if (!failed) {
        snapshot.took_ns = making.call->cpu_ns;
        *ret_snapshot = snapshot;
    }
    making_done(&making);
    return failed;
}
