/* engine.h - the WebAssembly engine: one per process, made at start, shared by all threads.
 *
 * engine/ is the only module that sees the engine's own headers (Wasmtime 48, C API).  The others
 * see an engine, modules (module.h), sandboxes (sandbox.h) and the table of imports (import.h). */
#pragma once

#include "base/error.h"
#include "engine/import.h"

struct fm_compile_cache;
struct fm_engine; /* opaque */

/* Slots that a thread may be clearing, which another one that looks for a free slot does not find:
 * so that a sandbox which must be there always is, a pool has as many more, for each thread that
 * runs guests. */
#define FM_ENGINE_SLOTS_CLEARING 3

struct fm_engine_config {
    bool pooled;               /* slots prepared in advance (server), or made on demand (tools) */
    uint32_t slots;            /* sandboxes that can exist at once, when pooled */
    uint64_t memory_bytes_max; /* ceiling of a guest's linear memory */
    uint64_t stack_bytes;      /* a guest's call stack */
    uint64_t keep_resident_bytes; /* of a slot's memory, kept for the next call when dirtied */
    uint64_t keep_total_bytes;    /* all free slots together; only with page scanning */
    uint64_t warm_slots;          /* free slots that keep their module's pages */
    bool page_scanning;           /* find dirtied pages by asking the kernel, where it can tell */
    bool compile_parallel;        /* compile on all cores */
    const struct fm_compile_cache *compile_cache; /* compile_cache.h; NULL: none */
    bool reserve_little; /* addresses for memory_bytes_max alone: slower code, which fits no other
                            engine */
};

/* Fills in what fits this machine: memory (or what a control group leaves of it), vm.max_map_count,
 * page scanning. */
void fm_engine_config_init(struct fm_engine_config *config, bool pooled);

/* The most slots that vm.max_map_count allows. */
uint32_t fm_engine_slots_ceiling(void);

/* FM_ERR_BAD_REQUEST with the engine's own words: a setting that cannot be, or an address space
 * that the machine does not give.  Installs handlers for SIGSEGV, SIGILL and SIGFPE. */
FM_MUST_CHECK int fm_engine_new(const struct fm_engine_config *config,
                                struct fm_engine **ret_engine, struct fm_error *error);

/* After all modules and sandboxes.  NULL is fine; returns NULL. */
struct fm_engine *fm_engine_free(struct fm_engine *engine);

/* Adds host functions; before the first module is prepared.  The table must outlive the engine. */
FM_MUST_CHECK int fm_engine_imports_add(struct fm_engine *engine, const struct fm_import *imports,
                                        size_t count, struct fm_error *error);

/* The same imports again, but for the `count` of them that are given here with other functions,
 * which may park: for sandboxes that stream (sandbox.h).  Once, after all others were added; names
 * and signatures must be those of imports that are there. */
FM_MUST_CHECK int fm_engine_streaming_add(struct fm_engine *engine, const struct fm_import *imports,
                                          size_t count, struct fm_error *error);

/* One tick of the clock by which guests are preempted.  Any thread, also from a signal handler. */
void fm_engine_tick(struct fm_engine *engine);

/* Each thread that runs guests calls this once, so that its first call is not slower. */
void fm_engine_thread_init(void);

/* Gives the memory of one free call stack back to the kernel: of that which was free for longest
 * (stacks.c).  A thread reaches the stacks that it uses itself. */
void fm_engine_stack_trim(struct fm_engine *engine);

/* Memory that free slots keep for their next calls, about; 0 without page scanning. */
uint64_t fm_engine_kept_bytes(const struct fm_engine *engine);

/* A text that changes whenever a compiled module of another build could differ. */
const char *fm_engine_build_id(void);

/* --- page scanning (scan.c) --------------------------------------------------------------------
 */

/* Whether a sandbox is reset by the kernel's list of written pages.  To be off while this process
 * can be swapped.  Takes effect at once, for all threads.  False: cannot be switched on here (not
 * built in, or an old kernel). */
bool fm_engine_page_scanning_set(struct fm_engine *engine, bool on);
bool fm_engine_page_scanning(const struct fm_engine *engine);
