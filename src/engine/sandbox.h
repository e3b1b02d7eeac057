/* sandbox.h - one fresh, isolated instance of a module, run on a fiber.
 *
 *      new -> instantiate -> poll... DONE -> call -> poll... DONE -> call ... -> free
 *
 * A sandbox never blocks its thread: poll runs the guest until it has ended (DONE), a tick asked it
 * to make room (YIELDED), or a host function parked (PARKED); then poll again, when its turn comes
 * or the awaited event has happened.  One thread at a time, but any thread: whoever hands it over
 * makes the hand-over visible (a mailbox does).  Free is allowed in every state: a guest that is in
 * the middle of something is unwound first, which runs none of its code. */
#pragma once

#include "base/error.h"

struct fm_module;
struct fm_sandbox; /* opaque */

enum fm_sandbox_state {
    FM_SANDBOX_DONE,
    FM_SANDBOX_YIELDED,
    FM_SANDBOX_PARKED,
};

/* Asked on the guest's fiber at every tick: 0 go on, FM_TICK_YIELD let others run, FM_ERR_* end the
 * guest with that error. */
#define FM_TICK_YIELD 1
typedef int fm_tick_fn(void *host);

struct fm_sandbox_config {
    uint64_t memory_bytes_max; /* of the linear memory; memory.grow fails above it */
    bool streams;              /* gets the imports of fm_engine_streaming_add() */
    fm_tick_fn *on_tick;
    void *host; /* handed to on_tick and to every import */
    void *room; /* where the sandbox is made: fm_sandbox_bytes(), aligned as by malloc, until it is
                   freed; NULL: by malloc */
};

size_t fm_sandbox_bytes(void);

/* How the last instantiate or call ended.  `error` is 0, FM_ERR_GUEST_TRAP, FM_ERR_BUSY (no slot is
 * free, at instantiate only), or what a host function or on_tick returned. */
struct fm_sandbox_outcome {
    int error;
    const char *trap;      /* FM_ERR_GUEST_TRAP: a short name such as "unreachable"; else "" */
    const char *detail;    /* one sentence; "" when there is none */
    const char *backtrace; /* where a trap, a limit or a deadline ended it, a line a frame: "name
                              (file:line:column, module offset 0x12)"; "" when there is none */
};

/* FM_ERR_NOMEM.  `module` must be prepared, and outlives the sandbox. */
FM_MUST_CHECK int fm_sandbox_new(struct fm_module *module, const struct fm_sandbox_config *config,
                                 struct fm_sandbox **ret_sandbox);
struct fm_sandbox *fm_sandbox_free(struct fm_sandbox *sandbox); /* NULL is fine; returns NULL */

/* Starts instantiation (also the module's start function); poll until DONE. */
void fm_sandbox_instantiate(struct fm_sandbox *sandbox);

/* Starts a call of an export that takes i32 parameters (at most 4) and gives nothing or one i32;
 * poll until DONE.  FM_ERR_NOT_FOUND: no such function.  FM_ERR_UNSUPPORTED_MODULE: its type. */
FM_MUST_CHECK int fm_sandbox_call(struct fm_sandbox *sandbox, const char *export_name,
                                  const int32_t *arguments, size_t arguments_count);

enum fm_sandbox_state fm_sandbox_poll(struct fm_sandbox *sandbox);

/* After DONE; the texts live until the next instantiate, call or free. */
void fm_sandbox_outcome(struct fm_sandbox *sandbox, struct fm_sandbox_outcome *ret_outcome);
int32_t fm_sandbox_result(const struct fm_sandbox *sandbox); /* 0 when the export gives nothing */

/* --- for host functions ----------------------------------------------------------------------- */

struct fm_span {
    uint8_t *data;
    uint64_t length; /* bytes */
};

/* The one way to a guest's memory.  A span is valid until the guest runs again.
 * FM_ERR_GUEST_TRAP: not inside the memory; returned from an import it ends the guest with the trap
 * "bad_pointer". */
FM_MUST_CHECK int fm_guest_span(struct fm_sandbox *sandbox, uint64_t offset, uint64_t length,
                                struct fm_span *ret_span);

/* The size of the linear memory, bytes; 0 when there is none. */
uint64_t fm_sandbox_memory_bytes(const struct fm_sandbox *sandbox);

/* Grows by pages of 64 KiB.  FM_ERR_GUEST_LIMIT: over the sandbox's limit or the module's own. */
FM_MUST_CHECK int fm_sandbox_memory_grow(struct fm_sandbox *sandbox, uint64_t pages,
                                         uint64_t *ret_pages_before);

/* Words for the trap or error that the host function is about to return; cut at 200 bytes. */
void fm_sandbox_explain(struct fm_sandbox *sandbox, const char *format, ...) FM_PRINTF(2, 3);
