/* faasm_calls.c - module `faasm`: calls of one's own, and what a call is told about itself.
 *
 * Children belong to whoever runs the call (call/child.h); here are only the guest's questions.
 * call_wait and call_wait_any park the guest.  One function each decides, at the first call and
 * whenever the parked guest is asked again: after the end of a child that it waits for, or when the
 * time is over.  They mark the children that they wait for, so that the end of another one does not
 * wake the guest.  Relative times count from the first call.
 *
 * Where nobody runs children (`faasm run`) a start is answered as if there were no room: a function
 * that can do the work itself then does. */
#include <string.h>

#include "base/clock.h"
#include "call/child.h"
#include "guest/faasm.h"
#include "guest/memory.h"
#include "guest/private.h"
#include "guest/wasi.h"

#define FOR_EVER INT64_C(-1)
#define HANDLE_BYTES 8

static int answer(union fm_value *values, int64_t result)
{
    values[0].u64 = (uint32_t)(int32_t)result;
    return 0;
}

static struct fm_child *find(struct fm_call *call, int64_t handle)
{
    return call->child_ops ? call->child_ops->find(call, handle) : NULL;
}

/* --- starting --------------------------------------------------------------------------------- */

int fm_faasm_call_start(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    struct fm_call *call = guest->call;
    struct fm_span name;
    struct fm_span input;
    int failed = fm_guest_span(sandbox, values[0].u32, values[1].u32, &name);
    if (!failed)
        failed = fm_guest_span(sandbox, values[2].u32, values[3].u32, &input);
    if (failed)
        return failed;
    int64_t started = FM_ERR_BUSY;
    if (call->child_ops)
        started = call->child_ops->start(call, (const char *)name.data, (size_t)name.length,
                                         input.data, (size_t)input.length);
    else
        call->children_refused++;
    values[0].i64 = started < 0 ? -(int64_t)fm_err_guest_errno((int)started) : started;
    return 0;
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* The exit code has 8 bits, and one that is not 0 stays so. */
static int64_t exit_code_of(const struct fm_child *child)
{
    int code = child->exit_code & 0xff;
    return code == 0 && child->exit_code != 0 ? 1 : code;
}

/* What a waiting parent is told.  The wall time is a limit here, as -ETIMEDOUT is the wait's own;
 * and what the child has chained is not what its parent has asked for, hence no -ENOENT. */
static int64_t outcome_of(const struct fm_child *child)
{
    switch (child->error) {
    case 0:
    case FM_ERR_GUEST_EXIT:
        return exit_code_of(child);
    case FM_ERR_DEADLINE:
        return -FM_WASI_DQUOT;
    case FM_ERR_CHAIN_TARGET:
        return -FM_WASI_IO;
    default:
        return -(int64_t)fm_err_guest_errno(child->error);
    }
}

static uint64_t due_ns(const struct fm_guest *guest, int64_t timeout_ms)
{
    uint64_t left_ms = (UINT64_MAX - guest->park_start_ns) / FM_NS_PER_MS;
    if (timeout_ms == FOR_EVER || (uint64_t)timeout_ms >= left_ms)
        return UINT64_MAX;
    return guest->park_start_ns + (uint64_t)timeout_ms * FM_NS_PER_MS;
}

/* Nothing has ended yet. */
static int wait_more(struct fm_guest *guest, union fm_value *values, int64_t timeout_ms)
{
    guest->park_until_ns = due_ns(guest, timeout_ms);
    if (fm_clock_monotonic_ns() >= guest->park_until_ns)
        return answer(values, -FM_WASI_TIMEDOUT);
    return FM_PARK;
}

static void begin_wait(struct fm_guest *guest)
{
    guest->park_start_ns = fm_clock_monotonic_ns();
    guest->call->waits++;
}

int fm_faasm_call_wait_again(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    struct fm_guest *guest = host;
    int64_t timeout_ms = values[1].i64;
    if (timeout_ms < FOR_EVER)
        return answer(values, -FM_WASI_INVAL);
    struct fm_child *child = find(guest->call, values[0].i64);
    if (!child)
        return answer(values, -FM_WASI_NOENT);
    if (child->ended)
        return answer(values, outcome_of(child));
    child->awaited = guest->call->waits;
    return wait_more(guest, values, timeout_ms);
}

int fm_faasm_call_wait(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    begin_wait(host);
    return fm_faasm_call_wait_again(sandbox, host, values);
}

/* Looks at all of them, also when an early one has ended: a bad handle is a mistake whenever it
 * comes to light.  `ret_first` is -1 when none has ended.  Returns 0 or an errno. */
static uint32_t first_ended(struct fm_guest *guest, const uint8_t *handles, uint32_t count,
                            int64_t *ret_first)
{
    uint64_t order = UINT64_MAX;
    *ret_first = -1;
    for (uint32_t i = 0; i < count; i++) {
        int64_t handle = (int64_t)fm_load_u64(handles + (size_t)i * HANDLE_BYTES);
        struct fm_child *child = find(guest->call, handle);
        if (!child)
            return FM_WASI_NOENT;
        child->awaited = guest->call->waits;
        if (child->ended && child->order < order) {
            order = child->order;
            *ret_first = i;
        }
    }
    return FM_WASI_SUCCESS;
}

int fm_faasm_call_wait_any_again(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    uint32_t count = values[1].u32;
    int64_t timeout_ms = values[2].i64;
    struct fm_span handles;
    int failed = fm_guest_span(sandbox, values[0].u32, (uint64_t)count * HANDLE_BYTES, &handles);
    if (failed)
        return failed;
    if (count == 0 || count > FM_GUEST_HANDLES_MAX || timeout_ms < FOR_EVER)
        return answer(values, -FM_WASI_INVAL);
    int64_t first = -1;
    uint32_t bad = first_ended(guest, handles.data, count, &first);
    if (bad)
        return answer(values, -(int64_t)bad);
    return first >= 0 ? answer(values, first) : wait_more(guest, values, timeout_ms);
}

int fm_faasm_call_wait_any(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    begin_wait(host);
    return fm_faasm_call_wait_any_again(sandbox, host, values);
}

/* --- output ----------------------------------------------------------------------------------- */

/* NULL: the answer is in `values`. */
static const struct fm_child *ended_child(struct fm_guest *guest, union fm_value *values)
{
    const struct fm_child *child = find(guest->call, values[0].i64);
    if (child && child->ended)
        return child;
    (void)answer(values, child ? -FM_WASI_AGAIN : -FM_WASI_NOENT);
    return NULL;
}

int fm_faasm_call_output_size(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    const struct fm_child *child = ended_child(host, values);
    return child ? answer(values, (int64_t)child->output_bytes) : 0; /* at most a GiB */
}

int fm_faasm_call_output_read(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_span span;
    int failed = fm_guest_span(sandbox, values[2].u32, values[3].u32, &span);
    if (failed)
        return failed;
    const struct fm_child *child = ended_child(host, values);
    if (!child)
        return 0;
    uint64_t offset = values[1].u32;
    if (offset >= child->output_bytes)
        return answer(values, 0);
    size_t bytes = (size_t)fm_min_u64(span.length, child->output_bytes - offset);
    if (bytes > 0)
        memcpy(span.data, child->output + offset, bytes);
    return answer(values, (int64_t)bytes);
}

/* --- about oneself ---------------------------------------------------------------------------- */

#define TEXT_SIZE 40 /* an id, a 64-bit number */

enum info {
    INFO_ID,
    INFO_USER,
    INFO_FUNCTION,
    INFO_VERSION,
    INFO_ATTEMPT,
    INFO_DEADLINE,
    INFO_PARENT,
};

static const char *id_text(struct fm_id id, char text[TEXT_SIZE])
{
    if (id.high == 0 && id.low == 0)
        return "";
    fm_id_format(id, text);
    return text;
}

static const char *number_text(uint64_t number, char text[TEXT_SIZE])
{
    char *digit = text + TEXT_SIZE - 1;
    *digit = '\0';
    do {
        *--digit = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    return digit;
}

/* NULL: there is no such field.  "" where there is nothing to tell. */
static const char *info_text(const struct fm_call *call, uint32_t field, char text[TEXT_SIZE])
{
    switch (field) {
    case INFO_ID:
        return id_text(call->id, text);
    case INFO_USER:
        return call->version->user;
    case INFO_FUNCTION:
        return call->version->function;
    case INFO_VERSION:
        return call->version->id;
    case INFO_ATTEMPT:
        return number_text(call->attempt, text);
    case INFO_DEADLINE: {
        uint64_t deadline_ms = fm_call_deadline_unix_ms(call);
        return deadline_ms ? number_text(deadline_ms, text) : "";
    }
    case INFO_PARENT:
        return id_text(call->parent, text);
    default:
        return NULL;
    }
}

int fm_faasm_call_info(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    const struct fm_guest *guest = host;
    char buffer[TEXT_SIZE];
    struct fm_span span;
    int failed = fm_guest_span(sandbox, values[1].u32, values[2].u32, &span);
    if (failed)
        return failed;
    const char *text = info_text(guest->call, values[0].u32, buffer);
    if (!text)
        return answer(values, -FM_WASI_INVAL);
    size_t length = strlen(text);
    size_t bytes = (size_t)fm_min_u64(span.length, length);
    if (bytes > 0)
        memcpy(span.data, text, bytes);
    return answer(values, (int64_t)length);
}
