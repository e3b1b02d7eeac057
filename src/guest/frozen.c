/* frozen.c - host functions as an initialisation sees them whose result is kept for all calls.
 *
 * What happens before a snapshot happens once, and every call finds its traces.  So nothing may be
 * asked for there that is to be different each time: a random seed would be every call's, and known
 * to whoever has seen one; a time would be that of the upload.  Nor is there a call that could have
 * an output, or start others.  These functions refuse, with words for whoever uploads.
 *
 * The rest is the usual, on an empty input, an empty folder `/`, without arguments and variables,
 * which are known only later and can be changed. */
#include <stdlib.h>
#include <string.h>

#include "guest/private.h"

#define WASI "wasi_snapshot_preview1"

#define REFUSED(X)                                                                                 \
    X(clock_time_get, WASI, "clock_time_get", "reads the clock")                                   \
    X(random_get, WASI, "random_get", "asks for random bytes")                                     \
    X(poll_oneoff, WASI, "poll_oneoff", "waits")                                                   \
    X(proc_exit, WASI, "proc_exit", "ends the program")                                            \
    X(output_write, "faasm", "output_write", "writes output")                                      \
    X(chain, "faasm", "chain", "chains a call")                                                    \
    X(call_start, "faasm", "call_start", "starts a call")                                          \
    X(call_info, "faasm", "call_info", "asks about its call")                                      \
    X(clock_2018, "env", "__syscall_clock_gettime", "reads the clock")                             \
    X(time_2018, "env", "__syscall_gettimeofday", "reads the clock")                               \
    X(poll_2018, "env", "__syscall_poll", "waits")                                                 \
    X(exit_2018, "env", "__syscall_exit", "ends the program")                                      \
    X(exit_group_2018, "env", "__syscall_exit_group", "ends the program")

#define X(id, module, name, what)                                                                  \
    static int refuse_##id(struct fm_sandbox *sandbox, void *host, union fm_value *values)         \
    {                                                                                              \
        (void)sandbox;                                                                             \
        (void)values;                                                                              \
        return fm_guest_trap(host, "not_in_snapshot",                                              \
                             "the initialisation " what " (" name                                  \
                             "), which every call would share; do that in the call");              \
    }
REFUSED(X)
#undef X

static const struct {
    const char *module;
    const char *name;
    fm_import_fn *call;
} refusals[] = {
#define X(id, module, name, what) {module, name, refuse_##id},
    REFUSED(X)
#undef X
};

static fm_import_fn *refusal_of(const struct fm_import *import)
{
    for (size_t i = 0; i < FM_ARRAY_LENGTH(refusals); i++)
        if (strcmp(refusals[i].module, import->module) == 0 &&
            strcmp(refusals[i].name, import->name) == 0)
            return refusals[i].call;
    return NULL;
}

int fm_guest_imports_add_frozen(struct fm_engine *engine, struct fm_import **ret_rows,
                                struct fm_error *error)
{
    size_t count = 0;
    for (size_t i = 0; i < fm_guest_tables_count; i++)
        count += fm_guest_tables[i].count;
    struct fm_import *rows = calloc(count, sizeof(*rows));
    if (!rows)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    struct fm_import *row = rows;
    for (size_t i = 0; i < fm_guest_tables_count; i++) {
        for (size_t j = 0; j < fm_guest_tables[i].count; j++, row++) {
            *row = fm_guest_tables[i].rows[j];
            fm_import_fn *refusal = refusal_of(row);
            if (refusal) {
                row->call = refusal;
                row->resume = NULL;
            }
        }
    }
    int failed = fm_engine_imports_add(engine, rows, count, error);
    if (failed) {
        free(rows);
        return failed;
    }
    *ret_rows = rows;
    return 0;
}
