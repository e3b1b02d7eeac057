/* record_json.c - the call JSON, field by field, and its opposite for the little that comes in.
 *
 * A call that was never started has no exit code; one that has not ended neither.
 *
 * No state; any thread. */
#include "http/record_json.h"

#include <string.h>

#include "base/clock.h"
#include "base/limits.h"

#define DECIMALS_MAX 9 /* nanoseconds */

/* --- out -------------------------------------------------------------------------------------- */

static void write_time(struct fm_json *json, const char *name, uint64_t real_ns)
{
    if (real_ns == 0) {
        fm_json_null(json, name);
        return;
    }
    char text[FM_CLOCK_TEXT_SIZE];
    fm_clock_format(real_ns, text);
    fm_json_string(json, name, text);
}

static void write_id(struct fm_json *json, const char *name, struct fm_id id)
{
    char text[FM_ID_TEXT_SIZE];
    fm_id_format(id, text);
    fm_json_string(json, name, text);
}

static const char *text_of(const char *text)
{
    return text ? text : "";
}

void fm_log_tail_json(struct fm_json *json, const uint8_t *log, size_t log_bytes)
{
    if (!log || log_bytes == 0)
        return;
    const uint8_t *start = log;
    if (log_bytes > FM_LOG_TAIL_BYTES_MAX) {
        start = log + log_bytes - FM_LOG_TAIL_BYTES_MAX;
        /* Whole lines, unless the last one is longer than all of it. */
        const uint8_t *newline = memchr(start - 1, '\n', FM_LOG_TAIL_BYTES_MAX);
        if (newline)
            start = newline + 1;
    }
    fm_json_text(json, "log_tail", (const char *)start, log_bytes - (size_t)(start - log));
}

static void write_error(struct fm_json *json, const struct fm_call_record *record,
                        const struct fm_record_more *more)
{
    if (!record->error) {
        fm_json_null(json, "error");
        return;
    }
    const char *detail = text_of(record->detail);
    fm_json_begin(json, "error", '{');
    fm_json_string(json, "code", fm_err_code(record->error));
    fm_json_string(json, "detail", detail[0] ? detail : fm_err_meaning(record->error));
    fm_json_string(json, "backtrace", text_of(record->backtrace));
    if (text_of(record->trap)[0])
        fm_json_string(json, "trap", record->trap);
    if (text_of(record->limit)[0])
        fm_json_string(json, record->error == FM_ERR_GUEST_LIMIT ? "limit" : "quota",
                       record->limit);
    if (more)
        fm_log_tail_json(json, more->log, more->log_bytes);
    if (more && more->dump_bytes > 0)
        fm_json_number(json, "coredump_bytes", more->dump_bytes);
    fm_json_end(json, '}');
}

void fm_record_json(struct fm_json *json, const struct fm_call_record *record,
                    const struct fm_record_more *more)
{
    fm_json_begin(json, NULL, '{');
    write_id(json, "id", record->id);
    fm_json_string(json, "user", text_of(record->user));
    fm_json_string(json, "function", text_of(record->function));
    fm_json_string(json, "version", text_of(record->version));
    fm_json_string(json, "status", fm_call_status_text(record->status));
    fm_json_number(json, "attempt", record->attempt);
    write_time(json, "created_at", record->created_real_ns);
    write_time(json, "started_at", record->started_real_ns);
    write_time(json, "finished_at", record->finished_real_ns);
    fm_json_number(json, "cpu_us", record->cpu_ns / FM_NS_PER_US);
    fm_json_number(json, "wall_us", record->wall_ns / FM_NS_PER_US);
    fm_json_number(json, "memory_bytes", record->memory_bytes);
    if (fm_call_status_ended(record->status) && record->started_real_ns)
        fm_json_integer(json, "exit_code", record->exit_code);
    else
        fm_json_null(json, "exit_code");
    fm_json_number(json, "input_bytes", record->input_bytes);
    fm_json_number(json, "output_bytes", record->output_bytes);
    write_error(json, record, more);
    if (fm_id_none(record->parent))
        fm_json_null(json, "parent");
    else
        write_id(json, "parent", record->parent);
    fm_json_begin(json, "children", '[');
    for (size_t i = 0; i < record->children_count; i++)
        write_id(json, NULL, record->children[i]);
    fm_json_end(json, ']');
    fm_json_end(json, '}');
}

/* --- in --------------------------------------------------------------------------------------- */

static int bad(struct fm_error *error, const char *what, const char *fault, size_t position)
{
    return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s: %s, at byte %zu", what, fault, position);
}

int fm_seconds_parse(const char *text, uint64_t ns_max, const char *what, uint64_t *ret_ns,
                     struct fm_error *error)
{
    uint64_t ns = 0;
    size_t i = 0;
    for (; text[i] >= '0' && text[i] <= '9'; i++) {
        ns = ns * 10 + (uint64_t)(text[i] - '0') * FM_NS_PER_S;
        if (ns > ns_max)
            return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s: at most %llu seconds", what,
                                (unsigned long long)(ns_max / FM_NS_PER_S));
    }
    if (i == 0)
        return bad(error, what, "a number of seconds has to begin with a digit", i);
    if (text[i] == '.') {
        size_t point = i++;
        uint64_t unit_ns = FM_NS_PER_S / 10;
        for (; text[i] >= '0' && text[i] <= '9'; i++, unit_ns /= 10) {
            if (i - point > DECIMALS_MAX)
                return bad(error, what, "more than nine decimals", i);
            ns += (uint64_t)(text[i] - '0') * unit_ns;
        }
        if (i == point + 1)
            return bad(error, what, "a digit has to follow the point", i);
    }
    if (text[i] != '\0')
        return bad(error, what, "not a number of seconds", i);
    if (ns > ns_max)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s: at most %llu seconds", what,
                            (unsigned long long)(ns_max / FM_NS_PER_S));
    *ret_ns = ns;
    return 0;
}
