/* guest.c - a call's guest, from its instance to the call's outcome.
 *
 *      INSTANTIATE --> ALLOCATE --> INITIALIZE --> ENTRY --> ENDED
 *           |  (where it matters) (where exported)   |         ^
 *           +----------------------------------------+---------+     (trap, exit, limit)
 *                                                    |         |
 *                                                    +-> DUMP -+     (where one is wanted)
 *
 * A step starts something in the sandbox and is over when the sandbox is DONE; one driver polls it,
 * whatever the step.  The ABIs differ only in the name of their entry, in what goes before it and
 * what comes after it (abi_2018.c), and in where their standard output leads (descriptors.c), so
 * there is no table of methods per ABI.  A core dump is made a piece a slice, with the guest's CPU
 * time and turns: a memory may be large, and a worker must not be held up by it.
 *
 * How a call ended is decided here and nowhere else.  The order matters where several reasons meet:
 * a limit that the host enforced (time, cancellation) is the reason it gave; otherwise a failed
 * write of output comes before the trap or the exit code, which mostly follow from it.
 *
 * Lifetime: made for one call, freed in any state (a parked guest is simply dropped).  One thread
 * at a time. */
#include "guest/guest.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call/dump.h"
#include "call/web.h"
#include "engine/coredump.h"
#include "files/content.h"
#include "files/overlay.h"
#include "guest/private.h"

#define WASM_PAGE_BYTES UINT64_C(65536)

static const char *const entries[] = {
    [FM_ABI_FAASM] = "_start",
    [FM_ABI_WASI] = "_start",
    [FM_ABI_FAASM_2018] = "run",
    [FM_ABI_REACTOR] = "handle",
};

static enum fm_abi abi_of(const struct fm_guest *guest)
{
    return guest->call->version->facts.abi;
}

static int on_tick(void *host)
{
    struct fm_guest *guest = host;
    return guest->on_tick(guest->call);
}

int fm_guest_new(struct fm_call *call, struct fm_module *module, int (*on_call_tick)(void *call),
                 struct fm_guest **ret_guest)
{
    /* A guest and, behind it, its sandbox. */
    size_t sandbox_at = (sizeof(struct fm_guest) + _Alignof(max_align_t) - 1) &
                        ~(size_t)(_Alignof(max_align_t) - 1);
    if (!call->guest_room)
        call->guest_room = malloc(sandbox_at + fm_sandbox_bytes());
    struct fm_guest *guest = call->guest_room;
    if (!guest)
        return FM_ERR_NOMEM;
    memset(guest, 0, sizeof(*guest));
    guest->call = call;
    guest->on_tick = on_call_tick;
    const struct fm_sandbox_config config = {
        .memory_bytes_max = call->limits.memory_bytes,
        .streams = call->web != NULL,
        .on_tick = on_tick,
        .host = guest,
        .room = (char *)guest + sandbox_at,
    };
    int failed = fm_sandbox_new(module, &config, &guest->sandbox);
    if (failed)
        return failed;
    fm_descriptors_init(guest);
    *ret_guest = guest;
    return 0;
}

struct fm_sandbox *fm_guest_sandbox(struct fm_guest *guest)
{
    return guest->sandbox;
}

struct fm_guest *fm_guest_free(struct fm_guest *guest)
{
    if (!guest)
        return NULL;
    fm_coredump_free(guest->coredump);
    fm_sandbox_free(guest->sandbox);
    if (guest->content && guest->content_loaded && !guest->content_error)
        fm_content_unpin(guest->content);
    fm_descriptors_done(guest);
    fm_overlay_free(guest->overlay);
    return NULL; /* its room is the call's */
}

int fm_guest_exit(struct fm_guest *guest, uint32_t code)
{
    guest->exited = true;
    guest->exit_code = (int)code;
    return FM_ERR_GUEST_EXIT;
}

int fm_guest_trap(struct fm_guest *guest, const char *trap, const char *detail)
{
    guest->trap = trap;
    fm_sandbox_explain(guest->sandbox, "%s", detail);
    return FM_ERR_GUEST_TRAP;
}

/* --- the outcome ------------------------------------------------------------------------------ */

static const char *keep_text(struct fm_call *call, const char *text)
{
    const char *copy = fm_arena_strndup(&call->arena, text, strlen(text));
    return copy ? copy : ""; /* out of memory: the error's code still tells */
}

static void fail_output(struct fm_guest *guest)
{
    struct fm_call *call = guest->call;
    if (guest->output_error == FM_ERR_GUEST_LIMIT)
        fm_call_fail_limit(call, "output_bytes", call->limits.output_bytes);
    else
        fm_call_fail(call, guest->output_error, "the output could not be written");
}

/* The entry has returned, or the guest has asked to end. */
static void end_normally(struct fm_guest *guest, int exit_code)
{
    struct fm_call *call = guest->call;
    call->exit_code = exit_code;
    if (abi_of(guest) == FM_ABI_FAASM_2018 && guest->step == FM_STEP_ENTRY && !call->initialize)
        fm_2018_collect(guest); /* not if it ended in `_initialize`: it has no regions yet */
    if (guest->output_error) {
        fail_output(guest);
    } else if (exit_code != 0 && abi_of(guest) != FM_ABI_FAASM_2018) {
        char text[64];
        (void)snprintf(text, sizeof(text), "the function ended with exit code %d", exit_code);
        fm_call_fail(call, FM_ERR_GUEST_EXIT, text);
    } else if (call->web) {
        call->web->end(call);
    }
}

static void end_with_trap(struct fm_guest *guest, const struct fm_sandbox_outcome *outcome)
{
    struct fm_call *call = guest->call;
    const char *trap = guest->trap ? guest->trap : outcome->trap;
    if (call->error)
        return; /* the first reason stays */
    if (guest->output_error) {
        fail_output(guest);
    } else if (strcmp(trap, "stack_overflow") == 0) {
        fm_call_fail(call, FM_ERR_GUEST_LIMIT, "the call is over its limit guest_stack_bytes");
        call->limit = "guest_stack_bytes";
    } else {
        fm_call_fail(call, FM_ERR_GUEST_TRAP, outcome->detail);
        call->trap = keep_text(call, trap);
    }
    call->backtrace = keep_text(call, outcome->backtrace);
}

static void end_by_host(struct fm_guest *guest, const struct fm_sandbox_outcome *outcome)
{
    struct fm_call *call = guest->call;
    fm_call_fail(call, outcome->error, NULL);
    if (call->error == FM_ERR_GUEST_LIMIT || call->error == FM_ERR_DEADLINE)
        call->backtrace = keep_text(call, outcome->backtrace); /* what took so long */
}

static void end_guest(struct fm_guest *guest, const struct fm_sandbox_outcome *outcome)
{
    if (outcome->error == FM_ERR_GUEST_EXIT && guest->exited)
        end_normally(guest, guest->exit_code);
    else if (outcome->error == FM_ERR_GUEST_TRAP)
        end_with_trap(guest, outcome);
    else if (outcome->error == FM_ERR_BUSY)
        fm_call_fail(guest->call, FM_ERR_BUSY, outcome->detail);
    else /* on_tick's verdict, or a host function's: its words are the table's */
        end_by_host(guest, outcome);
}

/* --- a core dump ------------------------------------------------------------------------------ */

static bool wants_dump(const struct fm_call *call)
{
    return FM_UNLIKELY(call->limits.coredump_bytes > 0) &&
           (call->error == FM_ERR_GUEST_TRAP || call->error == FM_ERR_GUEST_LIMIT ||
            call->error == FM_ERR_GUEST_EXIT || call->error == FM_ERR_DEADLINE);
}

/* True: there is one to be made. */
static bool begin_dump(struct fm_guest *guest)
{
    struct fm_call *call = guest->call;
    int failed = fm_coredump_begin(guest->sandbox, call->version->function,
                                   (size_t)call->limits.coredump_bytes, &guest->coredump);
    call->dump_omitted = failed == FM_ERR_TOO_LARGE || failed == FM_ERR_NOMEM;
    return !failed;
}

/* True: another step is needed. */
static bool step_dump(struct fm_guest *guest)
{
    struct fm_call *call = guest->call;
    int result = fm_coredump_step(guest->coredump);
    if (result == FM_COREDUMP_MORE)
        return true;
    if (result == 0) {
        size_t bytes = 0;
        uint8_t *data = fm_coredump_take(guest->coredump, &bytes);
        call->dump = fm_dump_new(data, bytes);
    }
    call->dump_omitted = !call->dump;
    guest->coredump = fm_coredump_free(guest->coredump);
    return false;
}

/* --- the steps -------------------------------------------------------------------------------- */

/* What can be known before an instance costs anything. */
static int check_before(struct fm_guest *guest)
{
    struct fm_call *call = guest->call;
    uint64_t pages_max = call->limits.memory_bytes / WASM_PAGE_BYTES;
    if (call->version->facts.memory_pages_min > pages_max) {
        fm_call_fail_limit(call, "memory_bytes", call->limits.memory_bytes);
        return call->error;
    }
    if (abi_of(guest) == FM_ABI_FAASM_2018 && call->input_bytes > FM_2018_INPUT_BYTES) {
        fm_call_fail(call, FM_ERR_TOO_LARGE,
                     "a function of the faasm-2018 ABI takes at most 65536 bytes of input");
        return call->error;
    }
    return 0;
}

static int start_step(struct fm_guest *guest)
{
    int32_t arguments[4] = {0};
    size_t arguments_count = 0;
    switch (guest->step) {
    case FM_STEP_INSTANTIATE: {
        int failed = check_before(guest);
        if (!failed)
            fm_sandbox_instantiate(guest->sandbox);
        return failed;
    }
    case FM_STEP_INITIALIZE:
        return fm_sandbox_call(guest->sandbox, "_initialize", NULL, 0);
    case FM_STEP_ENTRY:
        if (guest->call->initialize)
            return fm_sandbox_call(guest->sandbox, guest->call->initialize, NULL, 0);
        if (abi_of(guest) == FM_ABI_FAASM_2018) {
            int failed = fm_2018_place(guest, arguments);
            if (failed)
                return failed;
            arguments_count = FM_ARRAY_LENGTH(arguments);
        }
        return fm_sandbox_call(guest->sandbox, entries[abi_of(guest)], arguments, arguments_count);
    case FM_STEP_ALLOCATE: /* finish_step() has started it */
    case FM_STEP_DUMP:
    case FM_STEP_ENDED:
        break;
    }
    return FM_ERR_INTERNAL; /* not reached: fm_guest_run() refuses it */
}

/* The sandbox is done with a step.  True: so is the guest. */
static bool finish_step(struct fm_guest *guest)
{
    struct fm_sandbox_outcome outcome;
    fm_sandbox_outcome(guest->sandbox, &outcome);
    if (outcome.error) {
        end_guest(guest, &outcome);
        if (wants_dump(guest->call) && begin_dump(guest))
            guest->step = FM_STEP_DUMP;
        return true;
    }
    if (guest->step == FM_STEP_ENTRY) {
        end_normally(guest, fm_sandbox_result(guest->sandbox));
        return true;
    }
    if (guest->step == FM_STEP_INSTANTIATE && fm_later_begin(guest)) {
        guest->step = FM_STEP_ALLOCATE;
        guest->under_way = true;
        return false;
    }
    bool initialize =
        guest->step < FM_STEP_INITIALIZE && guest->call->version->facts.has_initialize;
    guest->step = initialize ? FM_STEP_INITIALIZE : FM_STEP_ENTRY;
    return false;
}

static enum fm_guest_state end_run(struct fm_guest *guest, enum fm_guest_state state)
{
    guest->call->memory_bytes = fm_sandbox_memory_bytes(guest->sandbox);
    if (state == FM_GUEST_DONE)
        guest->step = FM_STEP_ENDED;
    return state;
}

enum fm_guest_state fm_guest_run(struct fm_guest *guest)
{
    FM_ASSERT(guest->step != FM_STEP_ENDED);
    for (;;) {
        if (guest->step == FM_STEP_DUMP)
            return end_run(guest, step_dump(guest) ? FM_GUEST_YIELDED : FM_GUEST_DONE);
        if (!guest->under_way) {
            int failed = start_step(guest);
            if (failed) {
                fm_call_fail(guest->call, failed, NULL); /* unless the step said why */
                return end_run(guest, FM_GUEST_DONE);
            }
            guest->under_way = true;
        }
        guest->park_stream = false;
        switch (fm_sandbox_poll(guest->sandbox)) {
        case FM_SANDBOX_YIELDED:
            return end_run(guest, FM_GUEST_YIELDED);
        case FM_SANDBOX_PARKED:
            return end_run(guest, guest->park_until_ns == FM_NOT_WAITING ? FM_GUEST_YIELDED
                                                                         : FM_GUEST_PARKED);
        case FM_SANDBOX_DONE:
            guest->under_way = false;
            if (finish_step(guest) && guest->step != FM_STEP_DUMP)
                return end_run(guest, FM_GUEST_DONE);
            break;
        }
    }
}

void fm_guest_wait(const struct fm_guest *guest, struct fm_guest_wait *ret_wait)
{
    ret_wait->until_ns = guest->park_until_ns;
    ret_wait->stream = guest->park_stream;
    ret_wait->content = guest->content_loaded ? NULL : guest->content;
}

void fm_guest_content_loaded(struct fm_guest *guest, int error)
{
    FM_ASSERT(guest->content && !guest->content_loaded);
    guest->content_loaded = true;
    guest->content_error = error;
}
