/* guest_fixture.h - what the tests of guest/ share: modules written as the body of an entry, run to
 * their end in a real engine.
 *
 * Every function of the chosen import tables is there under its own name (`$fd_write`,
 * `$__syscall_brk`), and `(call $keep X)` notes an i32. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <signal.h>
#include <time.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "engine/module.h"
#include "guest/imports_later.h"
#include "guest/memory.h"
#include "guest/private.h"

#define KEPT_AT 57344 /* in the guest's first page: where $keep writes */

static struct fm_engine *fixture_engine;

/* The engine turns SIGILL, SIGSEGV and SIGFPE into traps; cmocka installs handlers of its own for
 * every test.  The engine's are remembered when it is made and put back inside each test. */
static const int fixture_signals[] = {SIGILL, SIGSEGV, SIGFPE};
static struct sigaction fixture_handlers[3];

static inline int fixture_setup(void **state)
{
    (void)state;
    struct fm_engine_config config;
    struct fm_error error = {0};
    fm_engine_config_init(&config, false);
    config.compile_parallel = false;
    if (fm_engine_new(&config, &fixture_engine, &error) != 0)
        fail_msg("%s", error.text);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(sigaction(fixture_signals[i], NULL, &fixture_handlers[i]), 0);
    if (fm_guest_imports_add(fixture_engine, &error) != 0)
        fail_msg("%s", error.text);
    return 0;
}

static inline int fixture_teardown(void **state)
{
    (void)state;
    fixture_engine = fm_engine_free(fixture_engine);
    return 0;
}

/* --- text ------------------------------------------------------------------------------------- */

static inline void put_types(struct fm_buffer *text, const char *word, const char *letters,
                             size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_int_equal(
            fm_buffer_printf(text, " (%s %s)", word, letters[i] == 'i' ? "i32" : "i64"), 0);
}

static inline void put_imports(struct fm_buffer *text, const struct fm_import_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct fm_import *row = &table->rows[i];
        const char *colon = strchr(row->signature, ':');
        assert_int_equal(fm_buffer_printf(text, "(import \"%s\" \"%s\" (func $%s", row->module,
                                          row->name, row->name),
                         0);
        put_types(text, "param", row->signature, (size_t)(colon - row->signature));
        put_types(text, "result", colon + 1, strlen(colon + 1));
        assert_int_equal(fm_buffer_append_text(text, "))\n"), 0);
    }
}

/* "faasm", "wasi", "env" (of 2018) or "later". */
static inline const char *table_word(const struct fm_import_table *table)
{
    if (strncmp(table->rows[0].name, FM_LATER_PREFIX, strlen(FM_LATER_PREFIX)) == 0)
        return "later";
    return strncmp(table->module, "wasi", 4) == 0 ? "wasi" : table->module;
}

/* "faasm" also has WASI's functions, as has "later"; "wasi" and "env" only their own. */
static inline void put_tables(struct fm_buffer *text, const char *which)
{
    bool with_wasi = strcmp(which, "env") != 0;
    for (size_t i = 0; i < fm_guest_tables_count; i++) {
        const char *word = table_word(&fm_guest_tables[i]);
        if (strcmp(word, which) == 0 || (with_wasi && strcmp(word, "wasi") == 0))
            put_imports(text, &fm_guest_tables[i]);
    }
}

#define ENTRY "(func (export \"_start\")\n"
#define ENTRY_2018                                                                                 \
    "(func (export \"run\") (param $in i32) (param $out i32) (param $names i32)"                   \
    "  (param $inputs i32) (result i32)\n"

/* The instructions of an entry, one after another.  The result of each that is a call is noted, to
 * be read back with KEPT() or kept() (only proc_exit has none). */
#define BODY(...) ((const char *const[]){__VA_ARGS__, NULL})

/* `entry` is the whole entry function; `more` are other fields, such as data. */
static inline char *module_text(const char *which, const char *entry, const char *more)
{
    struct fm_buffer text;
    fm_buffer_init(&text, 4 * FM_MIB);
    assert_int_equal(fm_buffer_append_text(&text, "(module\n"), 0);
    put_tables(&text, which);
    assert_int_equal(
        fm_buffer_printf(&text,
                         "(memory (export \"memory\") 1)\n"
                         "(global $kept (mut i32) (i32.const %d))\n"
                         "(func $keep (param i32)\n"
                         "  (i32.store (global.get $kept) (local.get 0))\n"
                         "  (global.set $kept (i32.add (global.get $kept) (i32.const 4))))\n"
                         "%s\n%s)",
                         KEPT_AT, more, entry),
        0);
    assert_int_equal(fm_buffer_append(&text, "", 1), 0);
    return (char *)fm_buffer_take(&text, &(size_t){0});
}

/* --- runs ------------------------------------------------------------------------------------- */

struct run {
    struct fm_arena arena;
    struct fm_module *module;
    struct fm_version description; /* filled in before run_call() */
    struct fm_node *files;         /* borrowed; the test may set it before run_call() */
    const struct fm_web_ops *web;  /* the same */
    struct fm_version *version;
    struct fm_call *call;
    struct fm_guest *guest;
    int ticks;
    int verdict; /* of on_tick */
};

static inline int run_tick(void *data)
{
    struct fm_call *call = data;
    struct run *run = call->owner;
    run->ticks++;
    return run->verdict;
}

/* Compiles and classifies; the test may change run->description afterwards. */
static inline struct run *run_module(const char *text)
{
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(sigaction(fixture_signals[i], &fixture_handlers[i], NULL), 0);
    struct run *run = calloc(1, sizeof(*run));
    struct fm_error error = {0};
    fm_arena_init(&run->arena, 4 * FM_MIB);
    if (fm_module_compile(fixture_engine, (const uint8_t *)text, strlen(text), &run->module,
                          &error) != 0)
        fail_msg("%s", error.text);
    run->description = (struct fm_version){.user = "simon", .function = "echo", .id = "1"};
    fm_limits_defaults(&run->description.limits);
    if (fm_guest_classify(run->module, &run->arena, &run->description.facts, NULL, &error) != 0 ||
        fm_guest_prepare(run->module, run->description.facts.abi, &error) != 0)
        fail_msg("%s", error.text);
    return run;
}

static inline void run_call(struct run *run, const void *input, size_t input_bytes)
{
    assert_int_equal(fm_version_new(&run->description, &run->version), 0);
    assert_int_equal(fm_call_new(run->version, &run->call), 0);
    run->call->owner = run;
    run->call->input = input;
    run->call->input_bytes = input_bytes;
    run->call->files = run->files;
    run->call->web = run->web;
    assert_int_equal(fm_guest_new(run->call, run->module, run_tick, &run->guest), 0);
    fm_call_set_state(run->call, FM_CALL_RUNNING, 1);
}

static inline void sleep_until(uint64_t until_ns)
{
    const struct timespec until = {.tv_sec = (time_t)(until_ns / FM_NS_PER_S),
                                   .tv_nsec = (long)(until_ns % FM_NS_PER_S)};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL); /* early is fine */
}

/* Stops at the first parking when `ret_wait` is given; true: the guest has ended. */
static inline bool run_on(struct run *run, struct fm_guest_wait *ret_wait)
{
    for (;;) {
        enum fm_guest_state state = fm_guest_run(run->guest);
        if (state == FM_GUEST_DONE)
            return true;
        if (state != FM_GUEST_PARKED)
            continue;
        struct fm_guest_wait wait;
        fm_guest_wait(run->guest, &wait);
        if (ret_wait) {
            *ret_wait = wait;
            return false;
        }
        assert_true(wait.until_ns != UINT64_MAX);
        sleep_until(wait.until_ns);
    }
}

/* Memory of the guest after its end, or while it is parked. */
static inline uint8_t *run_memory(struct run *run, uint32_t address, uint32_t bytes)
{
    struct fm_span span;
    assert_int_equal(fm_guest_span(run->guest->sandbox, address, bytes, &span), 0);
    return span.data;
}

static inline int32_t kept(struct run *run, uint32_t index)
{
    int32_t value;
    memcpy(&value, run_memory(run, KEPT_AT + 4 * index, 4), 4);
    return value;
}

static inline void assert_kept(struct run *run, const int32_t *expected, size_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (kept(run, i) != expected[i])
            fail_msg("value %u is %d, not %d", i, kept(run, i), expected[i]);
}

/* All values that the module kept, in order. */
#define KEPT(run, ...)                                                                             \
    assert_kept(run, (const int32_t[]){__VA_ARGS__},                                               \
                sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

static inline uint32_t word_at(struct run *run, uint32_t address)
{
    return fm_load_u32(run_memory(run, address, 4));
}

static inline uint64_t long_at(struct run *run, uint32_t address)
{
    return fm_load_u64(run_memory(run, address, 8));
}

static inline struct run *run_free(struct run *run)
{
    run->guest = fm_guest_free(run->guest);
    if (run->call) {
        fm_call_set_state(run->call, FM_CALL_DONE, 2);
        fm_call_free(run->call);
    }
    fm_version_free(run->version);
    fm_module_free(run->module);
    fm_arena_done(&run->arena);
    free(run);
    return NULL;
}

/* A module whose entry is `body`: `run` where `which` is "env", else `_start`. */
static inline struct run *run_body(const char *which, const char *const *body, const char *more)
{
    struct fm_buffer entry;
    bool legacy = strcmp(which, "env") == 0;
    fm_buffer_init(&entry, 4 * FM_MIB);
    assert_int_equal(fm_buffer_append_text(&entry, legacy ? ENTRY_2018 : ENTRY), 0);
    for (; *body; body++) {
        bool keep = strncmp(*body, "(call $", 7) == 0 && strncmp(*body, "(call $proc_exit", 16);
        assert_int_equal(fm_buffer_printf(&entry, keep ? "(call $keep %s)\n" : "%s\n", *body), 0);
    }
    assert_int_equal(fm_buffer_append(&entry, legacy ? "(i32.const 0))" : ")", legacy ? 15 : 2), 0);
    char *text = module_text(which, (const char *)entry.data, more);
    struct run *run = run_module(text);
    free(text);
    fm_buffer_done(&entry);
    return run;
}

static inline struct run *run_to_end(struct run *run, const char *input)
{
    run_call(run, input, strlen(input));
    assert_true(run_on(run, NULL));
    return run;
}

/* The same for an entry that is given as a whole. */
static inline struct run *run_wat(const char *which, const char *entry, const char *more,
                                  const char *input)
{
    char *text = module_text(which, entry, more);
    struct run *run = run_module(text);
    free(text);
    return run_to_end(run, input);
}

/* A plain command, run to its end on a text as input. */
static inline struct run *run_wasi(const char *const *body, const char *input)
{
    return run_to_end(run_body("wasi", body, ""), input);
}

static inline void assert_buffer(const struct fm_buffer *buffer, const char *text)
{
    assert_int_equal(buffer->length, strlen(text));
    if (buffer->length > 0)
        assert_memory_equal(buffer->data, text, buffer->length);
}
