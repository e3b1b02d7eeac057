/* instance_cost.c - what a fresh instance costs, without HTTP.
 *
 *      bench_instance [ROUNDS [CALLS [PAGES...]]]     one JSON object a line: a case in a round
 *
 * A call is everything that the server does for a guest: a sandbox made, instantiated, its entry
 * run, and the slot given back clean.  The guest writes one word into each of N pages, since
 * putting written pages back is what costs.  Then 200 pages with two untouched ones between them,
 * and calls that write one page, one in a hundred of which follows one that writes a thousand.  The
 * last case goes through guest/ as well: a call with its input, its imports and its output.
 *
 * Beside each stands the same memory in plain C: a fresh mapping of the same size, N pages of it
 * written, and unmapped.  That is the cheapest way to memory that nobody else has seen which does
 * not reuse any.
 *
 * The engine is set up as `faasm serve` does.  One thread. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/base.h"
#include "base/clock.h"
#include "call/call.h"
#include "call/function.h"
#include "engine/engine.h"
#include "engine/module.h"
#include "engine/sandbox.h"
#include "guest/guest.h"

#define ROUNDS_DEFAULT 5
#define CALLS_DEFAULT 5000
#define WARM_UP_SHARE 10 /* of the calls come before, uncounted */
#define INPUT_BYTES 100
#define LARGE_EACH 100 /* calls of the case "beside large": one large one */
#define LARGE_PAGES 1000
#define PAGES_MAX 1024 /* 4 MiB */
#define CASES_MAX 16
#define PAGE_BYTES 4096
#define MEMORY_BYTES (80 * 65536)

/* A data segment, as every compiled program has one; then one word into each of `pages` pages, of
 * which `step` - 1 are left out between two. */
#define WRITER                                                                                     \
    "(module (memory (export \"memory\") 80) (data (i32.const 1024) \"initialised\")\n"            \
    "  (func (export \"run\") (param $pages i32) (param $step i32) (local $at i32)\n"              \
    "    (block $done (loop $next\n"                                                               \
    "      (br_if $done (i32.eqz (local.get $pages)))\n"                                           \
    "      (i32.store (local.get $at) (i32.const 1))\n"                                            \
    "      (local.set $at (i32.add (local.get $at)\n"                                              \
    "        (i32.mul (local.get $step) (i32.const 4096))))\n"                                     \
    "      (local.set $pages (i32.sub (local.get $pages) (i32.const 1)))\n"                        \
    "      (br $next)))))"

#define ECHO                                                                                       \
    "(module\n"                                                                                    \
    "  (import \"faasm\" \"input_size\" (func $size (result i32)))\n"                              \
    "  (import \"faasm\" \"input_read\" (func $read (param i32 i32 i32) (result i32)))\n"          \
    "  (import \"faasm\" \"output_write\" (func $write (param i32 i32) (result i32)))\n"           \
    "  (memory (export \"memory\") 32) (data (i32.const 1024) \"initialised\")\n"                  \
    "  (func (export \"_start\")\n"                                                                \
    "    (drop (call $read (i32.const 0) (i32.const 65536) (call $size)))\n"                       \
    "    (drop (call $write (i32.const 65536) (call $size)))))"

struct bench {
    struct fm_module *module;
    struct fm_version version; /* of the echo, like the next */
    struct fm_call *call;
    int pages; /* that the guest writes */
    int step;  /* from one to the next */
};

static void check(bool good, const char *what, const struct fm_error *error)
{
    if (good)
        return;
    (void)fprintf(stderr, "instance_cost: %s: %s\n", what, error ? error->text : "failed");
    exit(EXIT_FAILURE);
}

/* --- what is measured
 * ----------------------------------------------------------------------------- */

static int go_on(void *host)
{
    (void)host;
    return 0;
}

static void finish(struct fm_sandbox *sandbox)
{
    while (fm_sandbox_poll(sandbox) != FM_SANDBOX_DONE)
        ;
    struct fm_sandbox_outcome outcome;
    fm_sandbox_outcome(sandbox, &outcome);
    check(outcome.error == 0, "the guest failed", NULL);
}

static void run_sandbox(struct bench *bench)
{
    const int32_t arguments[] = {bench->pages, bench->step};
    const struct fm_sandbox_config config = {.memory_bytes_max = 64 * FM_MIB, .on_tick = go_on};
    struct fm_sandbox *sandbox = NULL;
    check(fm_sandbox_new(bench->module, &config, &sandbox) == 0, "no sandbox", NULL);
    fm_sandbox_instantiate(sandbox);
    finish(sandbox);
    check(fm_sandbox_call(sandbox, "run", arguments, 2) == 0, "no entry", NULL);
    finish(sandbox);
    fm_sandbox_free(sandbox);
}

static void run_guest(struct bench *bench)
{
    static const uint8_t input[INPUT_BYTES] = "ping";
    struct fm_call *call = bench->call;
    struct fm_guest *guest = NULL;
    fm_call_reset(call, &bench->version);
    call->input = input;
    call->input_bytes = sizeof(input);
    check(fm_guest_new(call, bench->module, go_on, &guest) == 0, "no guest", NULL);
    fm_call_set_state(call, FM_CALL_RUNNING, 1);
    while (fm_guest_run(guest) != FM_GUEST_DONE)
        ;
    fm_guest_free(guest);
    fm_call_set_state(call, FM_CALL_DONE, 2);
    check(call->error == 0 && call->output.length == sizeof(input) &&
              memcmp(call->output.data, input, sizeof(input)) == 0,
          "the echo is wrong", NULL);
}

static void run_mapping(struct bench *bench)
{
    uint8_t *memory =
        mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(memory != MAP_FAILED, "no memory", NULL);
    (void)madvise(memory, MEMORY_BYTES, MADV_NOHUGEPAGE); /* a kernel without huge pages refuses */
    for (int i = 0; i < bench->pages; i++)
        ((volatile uint8_t *)memory)[i * bench->step * PAGE_BYTES] = 1;
    (void)munmap(memory, MEMORY_BYTES);
}

static double us_each(void (*run)(struct bench *bench), struct bench *bench, long calls)
{
    for (long i = 0; i < calls / WARM_UP_SHARE; i++)
        run(bench);
    uint64_t before_ns = fm_clock_monotonic_ns();
    for (long i = 0; i < calls; i++)
        run(bench);
    return (double)(fm_clock_monotonic_ns() - before_ns) / (double)calls / 1000;
}

static void print(const char *name, const struct bench *bench, double us, double mapping_us)
{
    (void)printf("{\"case\": \"%s\", \"pages\": %d, \"us\": %.3f, \"mapping_us\": %.3f}\n", name,
                 bench->pages, us, mapping_us);
    (void)fflush(stdout);
}

static void measure(const char *name, void (*run)(struct bench *bench), struct bench *bench,
                    long round, long calls)
{
    double us[2];
    /* Who goes first changes with the round. */
    for (long i = 0; i < 2; i++) {
        bool mapping = ((i + round) & 1) != 0;
        us[mapping] = us_each(mapping ? run_mapping : run, bench, calls);
    }
    print(name, bench, us[0], us[1]);
}

/* What a call costs that comes after others of its function which wrote much more. */
static void measure_beside_large(struct bench *small, struct bench *large, long calls)
{
    uint64_t passed_ns = 0;
    for (long i = 0; i < calls; i++) {
        if (i % LARGE_EACH == 0)
            run_sandbox(large);
        uint64_t before_ns = fm_clock_monotonic_ns();
        run_sandbox(small);
        passed_ns += fm_clock_monotonic_ns() - before_ns;
    }
    print("beside large", small, (double)passed_ns / (double)calls / 1000,
          us_each(run_mapping, small, calls));
}

/* --- set-up
 * --------------------------------------------------------------------------------------- */

static struct fm_module *compile(struct fm_engine *engine, const char *text)
{
    struct fm_error error = {0};
    struct fm_module *module = NULL;
    int failed = fm_module_compile(engine, (const uint8_t *)text, strlen(text), &module, &error);
    if (!failed)
        failed = fm_guest_prepare(module, FM_ABI_FAASM, &error);
    check(!failed, "cannot compile", &error);
    return module;
}

static struct fm_engine *make_engine(void)
{
    struct fm_error error = {0};
    struct fm_engine_config config;
    struct fm_engine *engine = NULL;
    fm_engine_config_init(&config, true);
    check(fm_engine_new(&config, &engine, &error) == 0, "no engine", &error);
    check(fm_guest_imports_add(engine, &error) == 0, "no imports", &error);
    fm_engine_thread_init();
    (void)printf("{\"page_scanning\": %s, \"keep_resident_bytes\": %llu, \"slots\": %u}\n",
                 fm_engine_page_scanning(engine) ? "true" : "false",
                 (unsigned long long)config.keep_resident_bytes, config.slots);
    return engine;
}

/* A module for each kind of calls, as they are different functions: the first `count` of them for
 * the numbers of pages. */
static void run_all(struct fm_module **modules, struct bench *echo, const int *pages, size_t count,
                    long rounds, long calls)
{
    struct bench scattered = {.module = modules[count], .pages = 200, .step = 3};
    struct bench small = {.module = modules[count + 1], .pages = 1, .step = 1};
    struct bench large = {.module = modules[count + 1], .pages = LARGE_PAGES, .step = 1};
    for (long round = 0; round < rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            struct bench bench = {.module = modules[i], .pages = pages[i], .step = 1};
            measure("instance", run_sandbox, &bench, round, calls);
        }
        measure("scattered", run_sandbox, &scattered, round, calls);
        measure_beside_large(&small, &large, calls);
        measure("echo", run_guest, echo, round, calls);
    }
}

static int usage(void)
{
    (void)fprintf(stderr,
                  "usage: bench_instance [ROUNDS [CALLS [PAGES...]]]     PAGES: written, 0 to %d\n",
                  PAGES_MAX);
    return 64;
}

int main(int argc, char **argv)
{
    int pages[CASES_MAX] = {0, 16, 200};
    size_t count = 3;
    long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : ROUNDS_DEFAULT;
    long calls = argc > 2 ? strtol(argv[2], NULL, 10) : CALLS_DEFAULT;
    if (argc > 3 + CASES_MAX || rounds < 1 || calls < WARM_UP_SHARE)
        return usage();
    for (int i = 3; i < argc; i++) {
        count = (size_t)i - 2;
        pages[i - 3] = (int)strtol(argv[i], NULL, 10);
        if (pages[i - 3] < 0 || pages[i - 3] > PAGES_MAX)
            return usage();
    }
    struct fm_engine *engine = make_engine();
    struct fm_module *writers[CASES_MAX + 2];
    for (size_t i = 0; i < count + 2; i++)
        writers[i] = compile(engine, WRITER);
    struct bench echo = {
        .module = compile(engine, ECHO),
        .version = {.user = "bench", .function = "echo", .id = "1", .facts = {.abi = FM_ABI_FAASM}},
        .pages = 1,
        .step = 1,
    };
    fm_limits_defaults(&echo.version.limits);
    check(fm_call_new(&echo.version, &echo.call) == 0, "no call", NULL);

    run_all(writers, &echo, pages, count, rounds, calls);

    fm_call_free(echo.call);
    fm_module_free(echo.module);
    for (size_t i = 0; i < count + 2; i++)
        fm_module_free(writers[i]);
    fm_engine_free(engine);
    return 0;
}
