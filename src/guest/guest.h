/* guest.h - a call's guest: what runs in the sandbox and what it may ask of the host.
 *
 * guest/ knows the ABIs (which export is the entry, how input and output travel) and implements
 * every import, against spans (engine/sandbox.h) and the call (call/call.h).  It never blocks: a
 * guest that must wait parks, and says until when. */
#pragma once

#include "base/error.h"
#include "call/function.h"
#include "engine/engine.h"

struct fm_call;
struct fm_content;
struct fm_guest; /* opaque */
struct fm_module;
struct fm_sandbox;

enum fm_guest_state {
    FM_GUEST_DONE,    /* the call's outcome is set; the guest can be freed */
    FM_GUEST_YIELDED, /* its slice is over */
    FM_GUEST_PARKED,  /* waits; see fm_guest_wait() */
};

/* What a parked guest waits for. */
struct fm_guest_wait {
    uint64_t until_ns; /* monotonic; UINT64_MAX: no timer */
    bool stream;       /* for call->web (call/web.h), which has it woken */

    /* NULL, or what is to be loaded (fm_content_load(), which blocks) and told by
     * fm_guest_content_loaded(); the guest holds it until then. */
    struct fm_content *content;
};

/* Gives the engine all host functions (faasm, wasi_snapshot_preview1, env of 2018).  Once. */
FM_MUST_CHECK int fm_guest_imports_add(struct fm_engine *engine, struct fm_error *error);

/* The same for an initialisation whose result every call will find (engine/snapshot.h): what would
 * be another answer each time ends it with the trap "not_in_snapshot".  `*ret_imports`, from
 * malloc, is the caller's, to be freed after the engine. */
FM_MUST_CHECK int fm_guest_imports_add_frozen(struct fm_engine *engine,
                                              struct fm_import **ret_imports,
                                              struct fm_error *error);

/* Decides by what a compiled module imports and exports how it runs (the dispatch table of
 * docs/guest-abi.md), and that everything it needs is there.  Texts come from `arena`.
 * FM_ERR_UNSUPPORTED_MODULE: no usable entry, no memory, too many imports, or some that we lack:
 * `error` then names the first and `missing` (NULL is fine; else it must be zeroed) all of them. */
FM_MUST_CHECK int fm_guest_classify(const struct fm_module *module, struct fm_arena *arena,
                                    struct fm_module_facts *ret_facts,
                                    struct fm_missing_imports *missing, struct fm_error *error);

/* Links a module for its ABI; needed once before fm_guest_new(). */
FM_MUST_CHECK int fm_guest_prepare(struct fm_module *module, enum fm_abi abi,
                                   struct fm_error *error);

/* `on_tick` is asked with the call at every tick of the engine (engine/sandbox.h).  A call has one
 * guest at a time.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_guest_new(struct fm_call *call, struct fm_module *module,
                               int (*on_tick)(void *call), struct fm_guest **ret_guest);
struct fm_sandbox *fm_guest_sandbox(struct fm_guest *guest); /* which it keeps */
struct fm_guest *fm_guest_free(struct fm_guest *guest);      /* in any state; NULL is fine */

/* Runs until one of the states.  The caller has set the call to RUNNING. */
enum fm_guest_state fm_guest_run(struct fm_guest *guest);

void fm_guest_wait(const struct fm_guest *guest, struct fm_guest_wait *ret_wait);

/* The content that it waits for was loaded, with this result: 0, and the pin is the guest's now; or
 * a negative errno.  Then run it again. */
void fm_guest_content_loaded(struct fm_guest *guest, int error);
