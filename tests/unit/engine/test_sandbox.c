/* test_sandbox.c - instances: calls, traps, spans, ticks, parking, isolation between tenants. */
#include "engine_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include "base/limits.h"

static struct fm_engine *engine;

/* --- imports for the tests -------------------------------------------------------------------- */

static int import_add(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    (void)host;
    values[0].i32 = values[0].i32 + values[1].i32;
    return 0;
}

static int import_poke(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)host;
    struct fm_span span;
    int failed = fm_guest_span(sandbox, values[0].u32, values[1].u32, &span);
    if (failed)
        return failed;
    memset(span.data, 0xab, span.length);
    return 0;
}

static int import_end(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)host;
    (void)values;
    fm_sandbox_explain(sandbox, "as %s", "asked");
    return FM_ERR_CANCELLED;
}

/* Parks until the host's counter has been asked `values[0]` times. */
static int import_wait(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    int *asked = host;
    if (values[0].i32 == 0) {
        values[0].i32 = -1;
        return 0;
    }
    *asked = 0;
    return FM_PARK;
}

static int import_wait_resume(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    int *asked = host;
    *asked += 1;
    if (*asked < values[0].i32)
        return FM_PARK;
    if (values[0].i32 == 13)
        return FM_ERR_DEADLINE;
    values[0].i32 = *asked * 100;
    return 0;
}

/* Has the kernel swap the guest's memory out; how many pages went. */
static int import_page_out(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)host;
    struct fm_span span;
    int failed = fm_guest_span(sandbox, 0, fm_sandbox_memory_bytes(sandbox), &span);
    if (failed)
        return failed;
    assert_int_equal(madvise(span.data, span.length, MADV_PAGEOUT), 0);
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    assert_true(pagemap >= 0);
    values[0].i32 = 0;
    for (uint64_t i = 0; i < span.length / 4096; i++) {
        uint64_t entry = 0;
        off_t at = (off_t)(((uintptr_t)span.data / 4096 + i) * sizeof(entry));
        assert_int_equal(pread(pagemap, &entry, sizeof(entry), at), sizeof(entry));
        values[0].i32 += (int32_t)(entry >> 62 & 1); /* swapped */
    }
    assert_int_equal(close(pagemap), 0);
    return 0;
}

static const struct fm_import imports[] = {
    {"t", "add", "ii:i", import_add, NULL},
    {"t", "poke", "ii:", import_poke, NULL},
    {"t", "end", ":", import_end, NULL},
    {"t", "wait", "i:i", import_wait, import_wait_resume},
    {"t", "page_out", ":i", import_page_out, NULL},
};

static int setup(void **state)
{
    (void)state;
    engine = fixture_engine(true, imports, FM_ARRAY_LENGTH(imports));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    engine = fm_engine_free(engine);
    return 0;
}

/* --- calls ------------------------------------------------------------------------------------ */

static void calls_pass_arguments_and_results(void **state)
{
    (void)state;
    struct fm_module *module = fixture_module(
        engine, "(module (import \"t\" \"add\" (func $add (param i32 i32) (result i32)))"
                " (func (export \"sum\") (param i32 i32) (result i32)"
                "  (call $add (local.get 0) (local.get 1)))"
                " (func (export \"nothing\"))"
                " (func (export \"wide\") (param i64))"
                " (global (export \"global\") i32 (i32.const 1)))");
    struct fm_sandbox *sandbox = fixture_sandbox(module, NULL, NULL);
    const int32_t arguments[] = {40, 2};
    assert_int_equal(fm_sandbox_call(sandbox, "sum", arguments, 2), 0);
    assert_int_equal(fm_sandbox_poll(sandbox), FM_SANDBOX_DONE);
    assert_int_equal(fm_sandbox_result(sandbox), 42);
    assert_int_equal(fixture_call(sandbox, "nothing").error, 0);
    assert_int_equal(fm_sandbox_result(sandbox), 0);
    assert_int_equal(fm_sandbox_call(sandbox, "absent", NULL, 0), FM_ERR_NOT_FOUND);
    assert_int_equal(fm_sandbox_call(sandbox, "global", NULL, 0), FM_ERR_NOT_FOUND);
    assert_int_equal(fm_sandbox_call(sandbox, "wide", arguments, 1), FM_ERR_UNSUPPORTED_MODULE);
    assert_int_equal(fm_sandbox_call(sandbox, "sum", arguments, 1), FM_ERR_UNSUPPORTED_MODULE);
    fm_sandbox_free(sandbox);
    fm_module_free(module);
}

static void traps_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        int error;
        const char *trap;
    } cases[] = {
        {"unreachable", FM_ERR_GUEST_TRAP, "unreachable"},
        {"(drop (i32.load (i32.const 0x7fffffff)))", FM_ERR_GUEST_TRAP, "memory_out_of_bounds"},
        {"(drop (i32.div_u (i32.const 1) (i32.const 0)))", FM_ERR_GUEST_TRAP, "division_by_zero"},
        {"(drop (i32.trunc_f32_s (f32.const nan)))", FM_ERR_GUEST_TRAP, "bad_conversion"},
        {"(call_indirect (i32.const 0))", FM_ERR_GUEST_TRAP, "indirect_call_to_null"},
        {"(call_indirect (i32.const 9))", FM_ERR_GUEST_TRAP, "table_out_of_bounds"},
        {"(call $deep)", FM_ERR_GUEST_TRAP, "stack_overflow"},
        {"(throw $tag)", FM_ERR_GUEST_TRAP, "uncaught_exception"},
        {"(call $poke (i32.const 65535) (i32.const 2))", FM_ERR_GUEST_TRAP, "bad_pointer"},
        {"(call $poke (i32.const -1) (i32.const -1))", FM_ERR_GUEST_TRAP, "bad_pointer"},
        {"(call $end)", FM_ERR_CANCELLED, ""},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        char text[1024];
        (void)snprintf(text, sizeof(text),
                       "(module (import \"t\" \"poke\" (func $poke (param i32 i32)))"
                       " (import \"t\" \"end\" (func $end))"
                       " (memory (export \"memory\") 1) (table 4 funcref) (tag $tag)"
                       " (func $deep (call $deep))"
                       " (func $culprit %s)"
                       " (func (export \"f\") (call $culprit)))",
                       cases[i].body);
        struct fm_module *module = fixture_module(engine, text);
        struct fm_sandbox *sandbox = fixture_sandbox(module, NULL, NULL);
        struct fm_sandbox_outcome outcome = fixture_call(sandbox, "f");
        assert_int_equal(outcome.error, cases[i].error);
        assert_string_equal(outcome.trap, cases[i].trap);
        assert_true(outcome.detail[0] != '\0');
        if (outcome.error == FM_ERR_GUEST_TRAP && strcmp(outcome.trap, "stack_overflow") != 0)
            assert_non_null(strstr(outcome.backtrace, "culprit"));
        fm_sandbox_free(sandbox);
        fm_module_free(module);
    }
}

static void a_backtrace_is_bounded_and_printable(void **state)
{
    (void)state;
    struct fm_module *module =
        fixture_module(engine, "(module (func $\"bad\\0a\\1b[31mname\" unreachable)"
                               " (func (export \"f\") (call 0)))");
    struct fm_sandbox *sandbox = fixture_sandbox(module, NULL, NULL);
    struct fm_sandbox_outcome outcome = fixture_call(sandbox, "f");
    assert_non_null(strstr(outcome.backtrace, "bad"));
    for (const char *at = outcome.backtrace; *at; at++)
        assert_true(*at == '\n' || (*at >= ' ' && *at < 0x7f));
    fm_sandbox_free(sandbox);
    fm_module_free(module);
}

static void missing_imports_trap_with_their_name_when_stubbed(void **state)
{
    (void)state;
    const char *text = "(module (import \"env\" \"gone\" (func $gone (param i64) (result f32)))"
                       " (func (export \"f\") (drop (call $gone (i64.const 1)))))";
    struct fm_module *module = NULL;
    struct fm_error error = {0};
    assert_int_equal(
        fm_module_compile(engine, (const uint8_t *)text, strlen(text), &module, &error), 0);
    assert_int_equal(fm_module_prepare(module, false, &error), FM_ERR_UNSUPPORTED_MODULE);
    assert_non_null(strstr(error.text, "gone"));
    assert_int_equal(fm_module_prepare(module, true, &error), 0);
    struct fm_sandbox *sandbox = fixture_sandbox(module, NULL, NULL);
    struct fm_sandbox_outcome outcome = fixture_call(sandbox, "f");
    assert_int_equal(outcome.error, FM_ERR_GUEST_TRAP);
    assert_string_equal(outcome.trap, "missing_import");
    assert_non_null(strstr(outcome.detail, "env::gone"));
    fm_sandbox_free(sandbox);
    fm_module_free(module);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void spans_end_with_the_memory(void **state)
{
    (void)state;
    struct fm_module *module = fixture_module(engine, "(module (memory (export \"memory\") 1))");
    struct fm_sandbox *sandbox = fixture_sandbox(module, NULL, NULL);
    struct fm_span span;
    const uint64_t size = 65536;
    assert_int_equal(fm_sandbox_memory_bytes(sandbox), size);
    assert_int_equal(fm_guest_span(sandbox, 0, size, &span), 0);
    assert_int_equal(span.length, size);
    assert_int_equal(fm_guest_span(sandbox, size - 1, 1, &span), 0);
    assert_int_equal(fm_guest_span(sandbox, size, 0, &span), 0);
    assert_int_equal(fm_guest_span(sandbox, size, 1, &span), FM_ERR_GUEST_TRAP);
    assert_int_equal(fm_guest_span(sandbox, size - 1, 2, &span), FM_ERR_GUEST_TRAP);
    assert_int_equal(fm_guest_span(sandbox, size + 1, 0, &span), FM_ERR_GUEST_TRAP);
    assert_int_equal(fm_guest_span(sandbox, UINT64_MAX, 2, &span), FM_ERR_GUEST_TRAP);
    assert_int_equal(fm_guest_span(sandbox, 2, UINT64_MAX, &span), FM_ERR_GUEST_TRAP);

    uint64_t before = 0; /* the limit of these sandboxes is 1 MiB: 16 pages */
    assert_int_equal(fm_sandbox_memory_grow(sandbox, 16, &before), FM_ERR_GUEST_LIMIT);
    assert_int_equal(fm_sandbox_memory_grow(sandbox, 15, &before), 0);
    assert_int_equal(before, 1);
    assert_int_equal(fm_sandbox_memory_bytes(sandbox), FM_MIB);
    assert_int_equal(fm_sandbox_memory_grow(sandbox, 1, &before), FM_ERR_GUEST_LIMIT);
    assert_int_equal(fm_guest_span(sandbox, size, 1, &span), 0);
    fm_sandbox_free(sandbox);
    fm_module_free(module);
}

static const char scribbler[] =
    "(module (import \"t\" \"page_out\" (func $page_out (result i32)))"
    " (memory (export \"memory\") 4 16)"
    " (data (i32.const 100) \"image\")"
    " (func (export \"page_out\") (result i32) (call $page_out))"
    " (global $g (mut i32) (i32.const 7))"
    " (func (export \"dirty\") (global.set $g (i32.const 8))"
    "  (memory.fill (i32.const 0) (i32.const 0xee) (i32.const 262144)))"
    " (func (export \"sum\") (result i32) (local $i i32) (local $sum i32)"
    "  (loop $l"
    "   (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $i))))"
    "   (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1)))"
    "    (i32.const 262144))))"
    "  (i32.add (local.get $sum) (i32.mul (global.get $g) (i32.const 1000000)))))";

/* Each new instance must see the image and nothing of its predecessor, whichever way slots are
 * cleaned, and also after the way was switched. */
static void a_fresh_instance_sees_nothing_of_the_last(void **state)
{
    (void)state;
    struct fm_module *module = fixture_module(engine, scribbler);
    int32_t expected = 7 * 1000000 + 'i' + 'm' + 'a' + 'g' + 'e';
    for (int round = 0; round < 64; round++) {
        (void)fm_engine_page_scanning_set(engine, round % 4 < 2);
        struct fm_sandbox *sandbox = fixture_sandbox(module, NULL, NULL);
        assert_int_equal(fixture_call(sandbox, "sum").error, 0);
        assert_int_equal(fm_sandbox_result(sandbox), expected);
        assert_int_equal(fixture_call(sandbox, "dirty").error, 0);
        fm_sandbox_free(sandbox);
    }
    (void)fm_engine_page_scanning_set(engine, true);
    fm_module_free(module);
}

/* Writes one word into every third page, or the sum of them all. */
static const char scatterer[] =
    "(module (memory (export \"memory\") 16)"
    " (data (i32.const 12288) \"\\07\")"
    " (func (export \"run\") (local $at i32)"
    "  (loop $l"
    "   (i32.store (local.get $at) (i32.const 1000))"
    "   (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 12288)))"
    "    (i32.const 1048576)))))"
    " (func (export \"sum\") (result i32) (local $at i32) (local $sum i32)"
    "  (loop $l"
    "   (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))"
    "   (br_if $l (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4096)))"
    "    (i32.const 1048576))))"
    "  (local.get $sum)))";

/* More regions than the engine takes at once, and more pages than any call before. */
static void scattered_pages_are_cleaned_too(void **state)
{
    (void)state;
    struct fm_module *module = fixture_module(engine, scatterer);
    for (int round = 0; round < 200; round++) {
        struct fm_sandbox *sandbox = fixture_sandbox(module, NULL, NULL);
        assert_int_equal(fixture_call(sandbox, "sum").error, 0);
        assert_int_equal(fm_sandbox_result(sandbox), 7);
        if (round % 5 != 0)
            assert_int_equal(fixture_call(sandbox, "run").error, 0);
        fm_sandbox_free(sandbox);
    }
    fm_module_free(module);
}

/* A swap area for this test alone.  False: not allowed here. */
static bool swap_on(const char *path)
{
    static const char zeros[4096];
    char command[300];
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    for (int i = 0; i < 2048; i++)
        assert_int_equal(fwrite(zeros, sizeof(zeros), 1, file), 1);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, 0600), 0);
    assert_true(snprintf(command, sizeof(command), "mkswap '%s' >/dev/null 2>&1", path) > 0);
    return system(command) == 0 && swapon(path, 0) == 0;
}

/* Page scanning is off while there is swap, so that this hardly happens; and yet: a page that is
 * elsewhere when the slot is cleaned (swapped out, or just being moved, which looks the same) must
 * not survive. */
static void absent_pages_are_cleaned_too(void **state)
{
    (void)state;
    char path[] = "./swap-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    if (!fm_engine_page_scanning(engine) || !swap_on(path)) {
        assert_int_equal(unlink(path), 0);
        skip();
    }
    struct fm_module *module = fixture_module(engine, scribbler);
    int32_t expected = 7 * 1000000 + 'i' + 'm' + 'a' + 'g' + 'e';
    int32_t swapped_out = 0;
    int leaks = 0; /* counted, so that the swap area goes in any case */
    for (int round = 0; round < 20; round++) {
        struct fm_sandbox *sandbox = fixture_sandbox(module, NULL, NULL);
        assert_int_equal(fixture_call(sandbox, "sum").error, 0);
        leaks += fm_sandbox_result(sandbox) != expected;
        assert_int_equal(fixture_call(sandbox, "dirty").error, 0);
        assert_int_equal(fixture_call(sandbox, "page_out").error, 0);
        swapped_out += fm_sandbox_result(sandbox);
        fm_sandbox_free(sandbox);
    }
    fm_module_free(module);
    assert_int_equal(swapoff(path), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(leaks, 0);
    if (swapped_out == 0) /* a control group that may not swap */
        skip();
}

static void page_scanning_can_be_switched(void **state)
{
    (void)state;
    struct fm_engine_config config;
    fm_engine_config_init(&config, true);
    if (!config.page_scanning) { /* an old kernel: it stays off */
        assert_false(fm_engine_page_scanning(engine));
        assert_false(fm_engine_page_scanning_set(engine, true));
        return;
    }
    assert_true(fm_engine_page_scanning(engine));
    assert_true(fm_engine_page_scanning_set(engine, false));
    assert_false(fm_engine_page_scanning(engine));
    assert_true(fm_engine_page_scanning_set(engine, true));
    assert_true(fm_engine_page_scanning(engine));
}

static void slots_run_out_with_busy(void **state)
{
    (void)state;
    struct fm_module *module = fixture_module(engine, "(module (memory (export \"memory\") 1))");
    struct fm_sandbox *sandboxes[SLOTS];
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sandboxes); i++)
        sandboxes[i] = fixture_sandbox(module, NULL, NULL);
    struct fm_sandbox_config config = {.memory_bytes_max = FM_MIB, .on_tick = fixture_go_on};
    struct fm_sandbox *sandbox = NULL;
    assert_int_equal(fm_sandbox_new(module, &config, &sandbox), 0);
    fm_sandbox_instantiate(sandbox);
    assert_int_equal(fm_sandbox_poll(sandbox), FM_SANDBOX_DONE);
    struct fm_sandbox_outcome outcome;
    fm_sandbox_outcome(sandbox, &outcome);
    assert_int_equal(outcome.error, FM_ERR_BUSY);
    fm_sandbox_free(sandbox);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sandboxes); i++)
        fm_sandbox_free(sandboxes[i]);
    fm_sandbox_free(fixture_sandbox(module, NULL, NULL));
    fm_module_free(module);
}

/* --- ticks and parking ------------------------------------------------------------------------ */

static const char spinner[] = "(module (func (export \"spin\") (loop $l (br $l))))";

static int yield_five_times(void *host)
{
    int *ticks = host;
    return ++*ticks <= 5 ? FM_TICK_YIELD : FM_ERR_GUEST_LIMIT;
}

/* The next deadline counts from where the guest goes on, so the clock must move while it runs. */
static void *tick_on(void *data)
{
    atomic_bool *stop = data;
    while (!atomic_load(stop)) {
        fm_engine_tick(engine);
        (void)sched_yield();
    }
    return NULL;
}

static pthread_t clock_thread;
static atomic_bool clock_stop;

static void clock_start(void)
{
    atomic_store(&clock_stop, false);
    assert_int_equal(pthread_create(&clock_thread, NULL, tick_on, &clock_stop), 0);
}

static void clock_end(void)
{
    atomic_store(&clock_stop, true);
    assert_int_equal(pthread_join(clock_thread, NULL), 0);
}

static void a_tick_yields_and_ends(void **state)
{
    (void)state;
    struct fm_module *module = fixture_module(engine, spinner);
    clock_start();
    int ticks = 0;
    struct fm_sandbox *sandbox = fixture_sandbox(module, yield_five_times, &ticks);
    assert_int_equal(fm_sandbox_call(sandbox, "spin", NULL, 0), 0);
    int yields = 0;
    while (fm_sandbox_poll(sandbox) == FM_SANDBOX_YIELDED)
        yields++;
    struct fm_sandbox_outcome outcome;
    fm_sandbox_outcome(sandbox, &outcome);
    assert_int_equal(yields, 5);
    assert_int_equal(outcome.error, FM_ERR_GUEST_LIMIT);
    fm_sandbox_free(sandbox);

    /* A suspended guest can be dropped. */
    ticks = 0;
    sandbox = fixture_sandbox(module, yield_five_times, &ticks);
    assert_int_equal(fm_sandbox_call(sandbox, "spin", NULL, 0), 0);
    assert_int_equal(fm_sandbox_poll(sandbox), FM_SANDBOX_YIELDED);
    fm_sandbox_free(sandbox);
    clock_end();
    fm_module_free(module);
}

static void a_start_function_is_preempted_too(void **state)
{
    (void)state;
    struct fm_module *module = fixture_module(engine, "(module (func $s (loop $l (br $l)))"
                                                      " (start $s))");
    clock_start();
    int ticks = 0;
    struct fm_sandbox_config config = {
        .memory_bytes_max = FM_MIB, .on_tick = yield_five_times, .host = &ticks};
    struct fm_sandbox *sandbox = NULL;
    assert_int_equal(fm_sandbox_new(module, &config, &sandbox), 0);
    fm_sandbox_instantiate(sandbox);
    assert_int_equal(fm_sandbox_poll(sandbox), FM_SANDBOX_YIELDED);
    while (fm_sandbox_poll(sandbox) == FM_SANDBOX_YIELDED)
        ;
    struct fm_sandbox_outcome outcome;
    fm_sandbox_outcome(sandbox, &outcome);
    assert_int_equal(outcome.error, FM_ERR_GUEST_LIMIT);
    clock_end();
    fm_sandbox_free(sandbox);
    fm_module_free(module);
}

static void a_host_function_parks_and_resumes(void **state)
{
    (void)state;
    struct fm_module *module = fixture_module(
        engine, "(module (import \"t\" \"wait\" (func $wait (param i32) (result i32)))"
                " (func (export \"f\") (param i32) (result i32) (call $wait (local.get 0))))");
    int asked = 0;
    struct fm_sandbox *sandbox = fixture_sandbox(module, NULL, &asked);

    int32_t times = 0; /* does not park at all */
    assert_int_equal(fm_sandbox_call(sandbox, "f", &times, 1), 0);
    assert_int_equal(fm_sandbox_poll(sandbox), FM_SANDBOX_DONE);
    assert_int_equal(fm_sandbox_result(sandbox), -1);

    times = 3;
    assert_int_equal(fm_sandbox_call(sandbox, "f", &times, 1), 0);
    int parks = 0;
    while (fm_sandbox_poll(sandbox) == FM_SANDBOX_PARKED)
        parks++;
    assert_int_equal(fm_sandbox_result(sandbox), 300);
    assert_true(parks > 0);

    times = 13; /* ends the guest when it resumes */
    assert_int_equal(fm_sandbox_call(sandbox, "f", &times, 1), 0);
    while (fm_sandbox_poll(sandbox) == FM_SANDBOX_PARKED)
        ;
    struct fm_sandbox_outcome outcome;
    fm_sandbox_outcome(sandbox, &outcome);
    assert_int_equal(outcome.error, FM_ERR_DEADLINE);

    times = 1000; /* is dropped while parked */
    sandbox = fm_sandbox_free(sandbox);
    sandbox = fixture_sandbox(module, NULL, &asked);
    assert_int_equal(fm_sandbox_call(sandbox, "f", &times, 1), 0);
    assert_int_equal(fm_sandbox_poll(sandbox), FM_SANDBOX_PARKED);
    fm_sandbox_free(sandbox);
    fm_module_free(module);
}

/* What this process has in memory, bytes. */
static long resident_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %ld", &pages), 1);
    assert_int_equal(fclose(file), 0);
    return pages * sysconf(_SC_PAGESIZE);
}

static void trim_all_stacks(void)
{
    for (int i = 0; i < SLOTS; i++)
        fm_engine_stack_trim(engine);
}

static void a_deep_stack_is_given_back(void **state)
{
    (void)state;
    struct fm_module *module =
        fixture_module(engine, "(module (func $f (export \"deep\") (call $f) (call $f))"
                               " (func (export \"flat\")))");
    struct fm_sandbox *sandbox = fixture_sandbox(module, NULL, NULL);
    (void)fixture_call(sandbox, "flat");
    fm_sandbox_free(sandbox);
    trim_all_stacks(); /* other tests have left deep ones */

    sandbox = fixture_sandbox(module, NULL, NULL);
    assert_string_equal(fixture_call(sandbox, "deep").trap, "stack_overflow");
    fm_sandbox_free(sandbox);
    long deep = resident_bytes();

    trim_all_stacks();
    assert_true(resident_bytes() < deep - 700 * 1024); /* of 1 MiB */

    sandbox = fixture_sandbox(module, NULL, NULL); /* and it is as good as new */
    assert_string_equal(fixture_call(sandbox, "deep").trap, "stack_overflow");
    fm_sandbox_free(sandbox);
    fm_module_free(module);
}

/* Nothing to trim is no mistake; and a stack in use is not touched. */
static void stacks_in_use_are_not_trimmed(void **state)
{
    (void)state;
    struct fm_module *module = fixture_module(
        engine, "(module (import \"t\" \"wait\" (func $wait (param i32) (result i32)))"
                " (func $f (param i32) (result i32)"
                "  (if (result i32) (local.get 0)"
                "   (then (i32.add (call $f (i32.sub (local.get 0) (i32.const 1)))"
                "                  (local.get 0)))"
                "   (else (drop (call $wait (i32.const 3))) (i32.const 0))))"
                " (func (export \"f\") (param i32) (result i32) (call $f (local.get 0))))");
    struct fm_sandbox *sandboxes[SLOTS];
    int asked[SLOTS] = {0};
    const int32_t depth = 2000;
    for (int i = 0; i < SLOTS; i++) {
        sandboxes[i] = fixture_sandbox(module, NULL, &asked[i]);
        assert_int_equal(fm_sandbox_call(sandboxes[i], "f", &depth, 1), 0);
        assert_int_equal(fm_sandbox_poll(sandboxes[i]), FM_SANDBOX_PARKED);
        fm_engine_stack_trim(engine);
    }
    for (int i = 0; i < SLOTS; i++) {
        while (fm_sandbox_poll(sandboxes[i]) != FM_SANDBOX_DONE)
            ;
        assert_int_equal(fm_sandbox_result(sandboxes[i]), depth * (depth + 1) / 2);
        fm_sandbox_free(sandboxes[i]);
    }
    fm_module_free(module);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_pass_arguments_and_results),
        cmocka_unit_test(traps_are_named),
        cmocka_unit_test(a_backtrace_is_bounded_and_printable),
        cmocka_unit_test(missing_imports_trap_with_their_name_when_stubbed),
        cmocka_unit_test(spans_end_with_the_memory),
        cmocka_unit_test(a_fresh_instance_sees_nothing_of_the_last),
        cmocka_unit_test(scattered_pages_are_cleaned_too),
        cmocka_unit_test(absent_pages_are_cleaned_too),
        cmocka_unit_test(page_scanning_can_be_switched),
        cmocka_unit_test(slots_run_out_with_busy),
        cmocka_unit_test(a_tick_yields_and_ends),
        cmocka_unit_test(a_start_function_is_preempted_too),
        cmocka_unit_test(a_host_function_parks_and_resumes),
        cmocka_unit_test(a_deep_stack_is_given_back),
        cmocka_unit_test(stacks_in_use_are_not_trimmed),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
