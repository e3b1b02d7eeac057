/* engine_fixture.h - what the tests of engine/ share: an engine, modules from text, a poll loop. */
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
#include "engine/sandbox.h"

#define SLOTS 8 /* of the engine */

/* The engine turns SIGILL, SIGSEGV and SIGFPE into traps; cmocka installs handlers of its own for
 * every test.  The engine's are remembered when it is made and put back inside each test. */
static const int fixture_signals[] = {SIGILL, SIGSEGV, SIGFPE};
static struct sigaction fixture_handlers[3];

static inline void fixture_signals_save(void)
{
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(sigaction(fixture_signals[i], NULL, &fixture_handlers[i]), 0);
}

static inline void fixture_signals_put_back(void)
{
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(sigaction(fixture_signals[i], &fixture_handlers[i], NULL), 0);
}

static inline struct fm_engine *fixture_engine(bool pooled, const struct fm_import *imports,
                                               size_t count)
{
    struct fm_engine_config config;
    struct fm_engine *engine = NULL;
    struct fm_error error = {0};
    fm_engine_config_init(&config, pooled);
    config.slots = SLOTS;
    config.compile_parallel = false;
    if (fm_engine_new(&config, &engine, &error) != 0)
        fail_msg("%s", error.text);
    static bool saved; /* only the first engine of a process installs them */
    if (!saved)
        fixture_signals_save();
    saved = true;
    assert_int_equal(fm_engine_imports_add(engine, imports, count, &error), 0);
    return engine;
}

static inline struct fm_module *fixture_module(struct fm_engine *engine, const char *text)
{
    struct fm_module *module = NULL;
    struct fm_error error = {0};
    if (fm_module_compile(engine, (const uint8_t *)text, strlen(text), &module, &error) != 0)
        fail_msg("%s", error.text);
    if (fm_module_prepare(module, false, &error) != 0)
        fail_msg("%s", error.text);
    return module;
}

static inline int fixture_go_on(void *host)
{
    (void)host;
    return 0;
}

static inline struct fm_sandbox *fixture_sandbox(struct fm_module *module, fm_tick_fn *on_tick,
                                                 void *host)
{
    fixture_signals_put_back();
    struct fm_sandbox_config config = {
        .memory_bytes_max = FM_MIB, .on_tick = on_tick ? on_tick : fixture_go_on, .host = host};
    struct fm_sandbox *sandbox = NULL;
    assert_int_equal(fm_sandbox_new(module, &config, &sandbox), 0);
    fm_sandbox_instantiate(sandbox);
    assert_int_equal(fm_sandbox_poll(sandbox), FM_SANDBOX_DONE);
    struct fm_sandbox_outcome outcome;
    fm_sandbox_outcome(sandbox, &outcome);
    assert_int_equal(outcome.error, 0);
    return sandbox;
}

/* Calls an export without parameters and runs it to its end. */
static inline struct fm_sandbox_outcome fixture_call(struct fm_sandbox *sandbox, const char *name)
{
    struct fm_sandbox_outcome outcome;
    assert_int_equal(fm_sandbox_call(sandbox, name, NULL, 0), 0);
    while (fm_sandbox_poll(sandbox) != FM_SANDBOX_DONE)
        ;
    fm_sandbox_outcome(sandbox, &outcome);
    return outcome;
}
