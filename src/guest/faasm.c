/* faasm.c - module `faasm`: input, output, chaining and log for functions written for this
 * platform.
 *
 * Lengths are explicit and nothing is bounded but by the call's limits.  A bad pointer is a bug of
 * the function, so it traps at once with the addresses in its words, instead of handing an errno to
 * code that does not look at it.  Errors that a correct function can meet come back as -errno. */
#include "guest/faasm.h"

#include <string.h>

#include "guest/private.h"
#include "guest/wasi.h"

#define LOG_CHUNK_BYTES 256

static void put_result(union fm_value *values, int64_t result)
{
    values[0].u64 = (uint32_t)(int32_t)result;
}

int fm_faasm_input_size(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    const struct fm_guest *guest = host;
    size_t bytes = guest->call->input_bytes;
    put_result(values, bytes <= INT32_MAX ? (int64_t)bytes : -FM_WASI_2BIG);
    return 0;
}

int fm_faasm_input_read(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    const struct fm_guest *guest = host;
    struct fm_span span;
    int failed = fm_guest_span(sandbox, values[1].u32, values[2].u32, &span);
    if (failed)
        return failed;
    size_t bytes = (size_t)fm_min_u64(span.length, INT32_MAX); /* the result must tell */
    struct fm_call *call = guest->call;
    int64_t got = bytes ? call->io->read_input(call, values[0].u32, span.data, bytes) : 0;
    put_result(values, got < 0 ? -fm_err_guest_errno((int)got) : got);
    return 0;
}

int fm_faasm_output_write(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    struct fm_span span;
    int failed = fm_guest_span(sandbox, values[0].u32, values[1].u32, &span);
    if (failed)
        return failed;
    int refused = fm_stream_write(guest, span.data, (size_t)span.length);
    put_result(values, refused ? -(int64_t)fm_wasi_output_errno(refused) : 0);
    return 0;
}

int fm_faasm_chain(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    struct fm_span name;
    struct fm_span input;
    int failed = fm_guest_span(sandbox, values[0].u32, values[1].u32, &name);
    if (!failed)
        failed = fm_guest_span(sandbox, values[2].u32, values[3].u32, &input);
    if (failed)
        return failed;
    int refused = fm_call_chain(guest->call, (const char *)name.data, (size_t)name.length,
                                input.data, (size_t)input.length);
    put_result(values, refused ? -fm_err_guest_errno(refused) : (int64_t)guest->call->chains_count);
    return 0;
}

/* --- log -------------------------------------------------------------------------------------- */

static const char *const log_levels[] = {"DEBUG ", "INFO ", "WARNING ", "ERROR "};

/* One line, whatever the text holds: control characters, line ends too, become question marks. */
static void log_text(struct fm_guest *guest, const uint8_t *text, size_t bytes)
{
    uint8_t chunk[LOG_CHUNK_BYTES];
    while (bytes > 0) {
        size_t length = bytes < sizeof(chunk) ? bytes : sizeof(chunk);
        for (size_t i = 0; i < length; i++)
            chunk[i] = (text[i] < ' ' && text[i] != '\t') || text[i] == 0x7f ? '?' : text[i];
        fm_stream_log(guest, chunk, length);
        text += length;
        bytes -= length;
    }
}

int fm_faasm_log(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    struct fm_guest *guest = host;
    struct fm_span span;
    int failed = fm_guest_span(sandbox, values[1].u32, values[2].u32, &span);
    if (failed)
        return failed;
    if (values[0].u32 >= FM_ARRAY_LENGTH(log_levels)) {
        put_result(values, -FM_WASI_INVAL);
        return 0;
    }
    const char *level = log_levels[values[0].u32];
    fm_stream_log(guest, (const uint8_t *)level, strlen(level));
    /* What the log cannot hold anyway is not walked through. */
    uint64_t bytes = fm_min_u64(span.length, guest->call->limits.log_bytes + 1);
    if (bytes < span.length)
        guest->call->log_truncated = true;
    log_text(guest, span.data, (size_t)bytes);
    fm_stream_log(guest, (const uint8_t *)"\n", 1);
    put_result(values, 0);
    return 0;
}
