/* call.c - the life of a call: made, moved through its states, failed at most once, reused.
 *
 * The table of legal moves is the whole state machine; the setter checks it and stamps times, and
 * does nothing else.  An outcome is set once, because the first reason is the cause and what
 * follows from it is noise (a cancelled guest also traps). */
#include "call/call.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/name.h"
#include "call/dump.h"
#include "call/function.h"

#define ARENA_BYTES_MAX (64 * FM_MIB) /* of chained names and inputs, texts */
#define KEEP_BYTES (64 * FM_KIB)      /* of an output or log buffer, between two calls */
#define CHILDREN_ROOM_MIN 8           /* ids, then doubled */
#define BIT(state) (1u << (state))

static const unsigned legal_moves[] = {
    [FM_CALL_NEW] = BIT(FM_CALL_QUEUED) | BIT(FM_CALL_RUNNING) | BIT(FM_CALL_DONE),
    [FM_CALL_QUEUED] = BIT(FM_CALL_RUNNING) | BIT(FM_CALL_DONE),
    [FM_CALL_RUNNING] = BIT(FM_CALL_QUEUED) | BIT(FM_CALL_PARKED) | BIT(FM_CALL_DONE),
    [FM_CALL_PARKED] = BIT(FM_CALL_RUNNING) | BIT(FM_CALL_QUEUED) | BIT(FM_CALL_DONE),
    [FM_CALL_DONE] = 0,
};

static const char *const state_texts[] = {
    [FM_CALL_NEW] = "new",       [FM_CALL_QUEUED] = "queued", [FM_CALL_RUNNING] = "running",
    [FM_CALL_PARKED] = "parked", [FM_CALL_DONE] = "done",
};

const char *fm_call_state_text(enum fm_call_state state)
{
    return state_texts[state];
}

static int64_t read_input(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes)
{
    if (offset >= call->input_bytes)
        return 0;
    size_t length = (size_t)fm_min_u64(bytes, call->input_bytes - offset);
    if (length > 0)
        memcpy(data, call->input + offset, length);
    return (int64_t)length;
}

/* A large output is not copied each time that its buffer doubles: once it is more than what is kept
 * anyway, there is room for as much as the function wrote before.  Without memory for that it grows
 * as it must. */
static void expect_output(struct fm_call *call, size_t bytes)
{
    struct fm_buffer *output = &call->output;
    size_t length = output->length + bytes;
    if (length > KEEP_BYTES && length > output->capacity && call->output_expected > length)
        (void)!fm_buffer_reserve(output, call->output_expected - output->length);
}

static int write_output(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    expect_output(call, bytes);
    int failed = fm_buffer_append(&call->output, data, bytes);
    return failed == FM_ERR_TOO_LARGE ? FM_ERR_GUEST_LIMIT : failed;
}

static int set_output(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    if (bytes > call->output.length_max)
        return FM_ERR_GUEST_LIMIT;
    fm_buffer_clear(&call->output, call->output.length_max); /* its memory is used again */
    return bytes > 0 ? fm_buffer_append(&call->output, data, bytes) : 0;
}

static void write_log(struct fm_call *call, const uint8_t *data, size_t bytes)
{
    size_t room = call->log.length_max - call->log.length;
    size_t length = bytes < room ? bytes : room;
    if (length < bytes)
        call->log_truncated = true;
    if (length > 0 && fm_buffer_append(&call->log, data, length) != 0)
        call->log_truncated = true; /* out of memory: the call matters more than its log */
}

const struct fm_call_io fm_call_io_memory = {
    .read_input = read_input,
    .write_output = write_output,
    .set_output = set_output,
    .write_log = write_log,
};

int fm_call_new(const struct fm_version *version, struct fm_call **ret_call)
{
    struct fm_call *call = calloc(1, sizeof(*call));
    if (!call)
        return FM_ERR_NOMEM;
    fm_arena_init(&call->arena, ARENA_BYTES_MAX);
    fm_buffer_init(&call->output, 0);
    fm_buffer_init(&call->log, 0);
    fm_list_init(&call->chains);
    fm_call_reset(call, version);
    *ret_call = call;
    return 0;
}

struct fm_call *fm_call_free(struct fm_call *call)
{
    if (!call)
        return NULL;
    FM_ASSERT(call->state == FM_CALL_NEW || call->state == FM_CALL_DONE);
    fm_dump_unref(call->dump);
    fm_buffer_done(&call->output);
    fm_buffer_done(&call->log);
    fm_arena_done(&call->arena);
    free(call->guest_room);
    free(call);
    return NULL;
}

void fm_call_forget(struct fm_call *call)
{
    FM_ASSERT(call->state == FM_CALL_NEW || call->state == FM_CALL_DONE);
    fm_buffer_clear(&call->output, KEEP_BYTES);
    fm_buffer_clear(&call->log, KEEP_BYTES);
    fm_arena_reset(&call->arena);
    fm_dump_unref(call->dump);
    call->dump = NULL;
}

void fm_call_reset(struct fm_call *call, const struct fm_version *version)
{
    fm_call_forget(call);
    struct fm_buffer output = call->output;
    struct fm_buffer log = call->log;
    struct fm_arena arena = call->arena;
    void *guest_room = call->guest_room;
    *call = (struct fm_call){
        .state = FM_CALL_NEW,
        .attempt = 1,
        .principal = "anonymous",
        .version = version,
        .limits = version->limits,
        .io = &fm_call_io_memory,
        .output = output,
        .log = log,
        .arena = arena,
        .guest_room = guest_room,
        .limit = "",
        .trap = "",
        .detail = "",
        .backtrace = "",
    };
    call->output.length_max = (size_t)version->limits.output_bytes;
    call->log.length_max = (size_t)version->limits.log_bytes;
    fm_list_init(&call->chains);
}

void fm_call_set_state(struct fm_call *call, enum fm_call_state state, uint64_t now_ns)
{
    FM_ASSERT(legal_moves[call->state] & BIT(state));
    if (state == FM_CALL_RUNNING && call->started_ns == 0)
        call->started_ns = now_ns;
    if (state == FM_CALL_DONE)
        call->finished_ns = now_ns;
    call->state = state;
}

void fm_call_fail(struct fm_call *call, int error, const char *detail)
{
    FM_ASSERT(error < 0 && call->state != FM_CALL_DONE);
    if (call->error)
        return;
    call->error = error;
    if (!detail)
        return;
    const char *copy = fm_arena_strndup(&call->arena, detail, strlen(detail));
    call->detail = copy ? copy : ""; /* out of memory: the code still tells */
}

void fm_call_fail_limit(struct fm_call *call, const char *limit, uint64_t value)
{
    if (call->error)
        return;
    const struct fm_limit_row *row = fm_limit_row_find(limit);
    char number[FM_UNITS_TEXT_SIZE];
    fm_units_format(value, row ? row->unit : FM_UNIT_BYTES, number);
    char text[128];
    (void)snprintf(text, sizeof(text), "the call is over its limit %s = %s", limit, number);
    fm_call_fail(call, FM_ERR_GUEST_LIMIT, text);
    call->limit = limit;
}

static bool power_of_two(uint32_t number)
{
    return (number & (number - 1)) == 0;
}

/* The ids are for people who look at the call: without memory for one it is only counted.  The list
 * is full when its length is CHILDREN_ROOM_MIN or that times a power of two. */
void fm_call_child_add(struct fm_call *call, struct fm_id id)
{
    call->children_started++;
    uint32_t count = call->children_count;
    if (count == FM_CALL_CHILDREN_LISTED_MAX)
        return;
    if (count == 0 || (count >= CHILDREN_ROOM_MIN && power_of_two(count))) {
        size_t room = count ? 2 * (size_t)count : CHILDREN_ROOM_MIN;
        struct fm_id *ids = fm_arena_alloc(&call->arena, room * sizeof(*ids));
        if (!ids)
            return;
        if (count > 0)
            memcpy(ids, call->children, count * sizeof(*ids));
        call->children = ids;
    }
    call->children[call->children_count++] = id;
}

uint64_t fm_call_output_bytes(const struct fm_call *call)
{
    return call->output.length + call->streamed_bytes;
}

uint64_t fm_call_deadline_unix_ms(const struct fm_call *call)
{
    if (call->deadline_ns == UINT64_MAX || call->deadline_ns == 0)
        return 0;
    int64_t left_ns = (int64_t)(call->deadline_ns - call->created_ns);
    return (uint64_t)((int64_t)call->created_real_ns + left_ns) / FM_NS_PER_MS;
}

int fm_call_chain(struct fm_call *call, const char *name, size_t name_length, const uint8_t *input,
                  size_t input_bytes)
{
    if (!fm_name_valid(name, name_length))
        return FM_ERR_BAD_NAME;
    if ((uint64_t)call->chains_count + call->children_started >= call->limits.chain_fanout)
        return FM_ERR_QUOTA;
    struct fm_chain *chain = fm_arena_alloc(&call->arena, sizeof(*chain));
    const char *name_copy = fm_arena_strndup(&call->arena, name, name_length);
    uint8_t *input_copy = fm_arena_alloc(&call->arena, input_bytes);
    if (!chain || !name_copy || !input_copy)
        return FM_ERR_NOMEM;
    if (input_bytes > 0)
        memcpy(input_copy, input, input_bytes);
    *chain = (struct fm_chain){.name = name_copy,
                               .name_length = name_length,
                               .input = input_copy,
                               .input_bytes = input_bytes};
    fm_list_push_back(&call->chains, &chain->link);
    call->chains_count++;
    return 0;
}
