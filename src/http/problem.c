/* problem.c - every error that a client sees goes through here.
 *
 * A failed call adds what the case needs: exit code, trap, backtrace, the last lines of its log,
 * the limit or quota that it broke, and what it had written.  The output is text when that is
 * possible and sensible, else base64: bytes that are not UTF-8 have no form in JSON, and a long run
 * of control characters would take six times its size.
 *
 * A module that was refused for its imports adds all of them.  Their list is either whole or left
 * out: who reads it is to rely on it.
 *
 * No state; any thread. */
#include "http/problem.h"

#include <stdio.h>

#include "base/encode.h"
#include "call/call.h"
#include "call/dump.h"
#include "call/function.h"
#include "http/json.h"
#include "http/record_json.h"

#define TYPE_PREFIX "urn:faasm:problem:"
#define ESCAPE_SLACK 1024 /* bytes by which escapes may exceed twice a short output */

int fm_problem_status(const struct fm_problem *problem)
{
    return problem->status ? problem->status : fm_err_http_status(problem->error);
}

uint64_t fm_problem_retry_s(const struct fm_problem *problem)
{
    uint64_t retry_ns = problem->retry_ns;
    if (problem->call)
        retry_ns = fm_max_u64(retry_ns, problem->call->retry_ns);
    return fm_max_u64(1, (retry_ns + FM_NS_PER_S - 1) / FM_NS_PER_S);
}

static bool good_as_text(const char *output, size_t bytes)
{
    return fm_utf8_valid((const uint8_t *)output, bytes) &&
           fm_json_escaped_bytes(output, bytes) <= 2 * bytes + ESCAPE_SLACK;
}

static void write_output(struct fm_json *json, const struct fm_call *call)
{
    const char *output = (const char *)call->output.data;
    size_t bytes = call->output.length;
    if (bytes > FM_PROBLEM_OUTPUT_BYTES_MAX) {
        fm_json_bool(json, "output_omitted", true);
        fm_json_number(json, "output_bytes", bytes);
    } else if (good_as_text(output, bytes)) {
        fm_json_text(json, "output", output, bytes);
    } else {
        fm_json_base64(json, "output", call->output.data, bytes);
        fm_json_string(json, "output_encoding", "base64");
    }
}

static void write_call(struct fm_json *json, const struct fm_problem *problem)
{
    const struct fm_call *call = problem->call;
    char id[FM_ID_TEXT_SIZE];
    fm_id_format(call->id, id);
    fm_json_string(json, "id", id);
    if (call->limit[0])
        fm_json_string(json, problem->error == FM_ERR_GUEST_LIMIT ? "limit" : "quota", call->limit);
    if (call->trap[0])
        fm_json_string(json, "trap", call->trap);
    if (call->backtrace[0])
        fm_json_string(json, "backtrace", call->backtrace);
    fm_log_tail_json(json, call->log.data, call->log.length);
    if (call->dump)
        fm_json_number(json, "coredump_bytes", call->dump->bytes);
    if (call->dump_omitted)
        fm_json_bool(json, "coredump_omitted", true);
    if (problem->error == FM_ERR_GUEST_EXIT)
        fm_json_integer(json, "exit_code", call->exit_code);
    /* The function ran to its end, but what came of it is an error: its output is all there is.
     * That of a web call is an answer that was not given. */
    if (!call->web && (problem->error == FM_ERR_GUEST_EXIT || !call->error))
        write_output(json, call);
}

static void write_missing(struct fm_json *json, const struct fm_missing_imports *missing)
{
    if (!missing->names) {
        fm_json_bool(json, "missing_imports_omitted", true);
        fm_json_number(json, "missing_imports_count", missing->count);
        return;
    }
    fm_json_begin(json, "missing_imports", '[');
    for (size_t i = 0; i < missing->count; i++)
        fm_json_string(json, NULL, missing->names[i]);
    fm_json_end(json, ']');
}

static void write_refusal(struct fm_json *json, const struct fm_refusal *refusal)
{
    if (refusal->missing.count > 0)
        write_missing(json, &refusal->missing);
    if (refusal->trap)
        fm_json_string(json, "trap", refusal->trap);
    if (refusal->backtrace)
        fm_json_string(json, "backtrace", refusal->backtrace);
    if (refusal->log)
        fm_json_string(json, "log_tail", refusal->log);
}

int fm_problem_write(const struct fm_problem *problem, struct fm_buffer *text)
{
    const char *code = fm_err_code(problem->error);
    const char *meaning = fm_err_meaning(problem->error);
    struct fm_json json;
    fm_json_init(&json, text);
    fm_json_begin(&json, NULL, '{');

    char type[sizeof(TYPE_PREFIX) + 64];
    (void)snprintf(type, sizeof(type), TYPE_PREFIX "%s", code); /* codes are short words of ours */
    fm_json_string(&json, "type", type);
    fm_json_string(&json, "title", meaning);
    fm_json_integer(&json, "status", fm_problem_status(problem));
    fm_json_string(&json, "code", code);
    fm_json_string(&json, "detail",
                   problem->detail && problem->detail[0] ? problem->detail : meaning);
    if (problem->quota)
        fm_json_string(&json, "quota", problem->quota);
    if (problem->refusal)
        write_refusal(&json, problem->refusal);
    if (problem->call)
        write_call(&json, problem);
    fm_json_end(&json, '}');
    return fm_json_done(&json);
}
