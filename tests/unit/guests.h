/* guests.h - what the tests of sched/ and queue/ share: an engine that lives as long as the
 * program, small guests in text form, and their way from text to a code that workers can run. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <signal.h>

#include <cmocka.h>

#include "engine/engine.h"
#include "engine/module.h"
#include "guest/guest.h"
#include "sched/modules.h"

#define GUEST_MEMORY " (memory (export \"memory\") 1)"
#define GUEST_INPUT "(import \"faasm\" \"input_read\" (func $r (param i32 i32 i32) (result i32)))"
#define GUEST_ECHO                                                                                 \
    "(module " GUEST_INPUT                                                                         \
    " (import \"faasm\" \"output_write\" (func $w (param i32 i32) (result i32)))" GUEST_MEMORY     \
    " (func (export \"_start\")"                                                                   \
    "  (drop (call $w (i32.const 0) (call $r (i32.const 0) (i32.const 0) (i32.const 1024))))))"
#define GUEST_SPIN "(module" GUEST_MEMORY " (func (export \"_start\") (loop $l (br $l))))"

static struct fm_engine *engine;
static struct sigaction engine_handlers[3];
static const int engine_signals[3] = {SIGSEGV, SIGILL, SIGFPE};

static inline int guests_setup(void **state)
{
    (void)state;
    struct fm_engine_config config;
    struct fm_error error = {0};
    fm_engine_config_init(&config, true);
    config.slots = 16 + 2 * FM_ENGINE_SLOTS_CLEARING; /* of two workers */
    config.compile_parallel = false;
    assert_int_equal(fm_engine_new(&config, &engine, &error), 0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sigaction(engine_signals[i], NULL, &engine_handlers[i]), 0);
    return fm_guest_imports_add(engine, &error);
}

static inline int guests_teardown(void **state)
{
    (void)state;
    engine = fm_engine_free(engine);
    return 0;
}

/* A code, held `holds` times and with its module loaded, from the text of a module. */
static inline struct fm_code *guest_code(struct fm_modules *modules, const char *user,
                                         const char *name, const char *text,
                                         const struct fm_limits *limits, unsigned holds)
{
    for (int i = 0; i < 3; i++) /* cmocka has put its own in their place */
        assert_int_equal(sigaction(engine_signals[i], &engine_handlers[i], NULL), 0);
    struct fm_error error = {0};
    struct fm_module *module = NULL;
    struct fm_arena arena;
    fm_arena_init(&arena, FM_MIB);
    struct fm_version from = {.user = user, .function = name, .id = "v1", .limits = *limits};
    assert_int_equal(
        fm_module_compile(engine, (const uint8_t *)text, strlen(text), &module, &error), 0);
    if (fm_guest_classify(module, &arena, &from.facts, NULL, &error) != 0)
        fail_msg("%s", error.text);
    assert_int_equal(fm_guest_prepare(module, from.facts.abi, &error), 0);
    struct fm_version *version = NULL;
    struct fm_code *code = NULL;
    assert_int_equal(fm_version_new(&from, &version), 0);
    assert_int_equal(fm_code_new(modules, version, &code), 0);
    fm_code_module_set(modules, code, module);
    fm_code_hold(modules, code, holds);
    fm_arena_done(&arena);
    return code;
}

/* The last use: what guest_code() gave beyond `holds`. */
static inline void guest_code_release(struct fm_modules *modules, struct fm_code *code)
{
    fm_modules_put(modules, code);
    fm_code_release(modules, code);
}
