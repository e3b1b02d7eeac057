/* imports.c - all host functions as the engine and the classifier see them, made from four lists.
 *
 * Most functions of WASI and of 2018 give one number and neither park nor end the guest: they are
 * written as plain functions from parameters to that number, and the lists make the import around
 * each.  The tables live as long as the process; the engine keeps pointers to their rows. */
#include <string.h>

#include "guest/faasm.h"
#include "guest/later.h"
#include "guest/private.h"
#include "guest/streaming.h"
#include "guest/syscalls_2018.h"
#include "guest/wasi.h"

/* The whole 64 bits are set, so that no stale half of a parameter is left beside the result. */
#define X(name, signature)                                                                         \
    static int import_wasi_##name(struct fm_sandbox *sandbox, void *host, union fm_value *values)  \
    {                                                                                              \
        (void)sandbox;                                                                             \
        values[0].u64 = fm_wasi_##name(host, values);                                              \
        return 0;                                                                                  \
    }
FM_WASI_IMPORTS(X)
#undef X

#define X(function, name, signature)                                                               \
    static int import_2018_##function(struct fm_sandbox *sandbox, void *host,                      \
                                      union fm_value *values)                                      \
    {                                                                                              \
        (void)sandbox;                                                                             \
        values[0].u64 = (uint32_t)fm_2018_##function(host, values);                                \
        return 0;                                                                                  \
    }
FM_2018_IMPORTS(X)
#undef X

static const struct fm_import faasm_rows[] = {
#define X(name, signature, parameters, meaning) {"faasm", #name, signature, fm_faasm_##name, NULL},
#define PARKS(name, signature, parameters, meaning)                                                \
    {"faasm", #name, signature, fm_faasm_##name, fm_faasm_##name##_again},
    FM_FAASM_IMPORTS(X, PARKS)
#undef PARKS
#undef X
};

#define WASI "wasi_snapshot_preview1"
static const struct fm_import wasi_rows[] = {
#define X(name, signature) {WASI, #name, signature, import_wasi_##name, NULL},
    FM_WASI_IMPORTS(X)
#undef X
#define X(name, signature, again) {WASI, #name, signature, fm_wasi_##name, again},
        FM_WASI_IMPORTS_SPECIAL(X)
#undef X
};

static const struct fm_import env_rows[] = {
#define X(function, name, signature) {"env", name, signature, import_2018_##function, NULL},
    FM_2018_IMPORTS(X)
#undef X
#define X(function, name, signature, again) {"env", name, signature, fm_2018_##function, again},
        FM_2018_IMPORTS_SPECIAL(X)
#undef X
};

static const struct fm_import later_rows[] = {
#define X(name, signature, parameters, meaning)                                                    \
    {"env", FM_LATER_PREFIX #name, signature, fm_later_##name, NULL},
#define PARKS(name, signature, parameters, meaning)                                                \
    {"env", FM_LATER_PREFIX #name, signature, fm_later_##name, fm_later_##name##_again},
    FM_LATER_IMPORTS(X, PARKS)
#undef PARKS
#undef X
};

static const struct fm_import streaming_rows[] = {
#define X(module, name, signature, call, again) {module, name, signature, call, again},
    FM_STREAMING_IMPORTS(X)
#undef X
};

const struct fm_import_table fm_guest_tables[] = {
    {"faasm", faasm_rows, FM_ARRAY_LENGTH(faasm_rows)},
    {WASI, wasi_rows, FM_ARRAY_LENGTH(wasi_rows)},
    {"env", env_rows, FM_ARRAY_LENGTH(env_rows)},
    {"env", later_rows, FM_ARRAY_LENGTH(later_rows)},
};
const size_t fm_guest_tables_count = FM_ARRAY_LENGTH(fm_guest_tables);

const struct fm_import *fm_guest_import_find(const char *module, const char *name)
{
    for (size_t i = 0; i < fm_guest_tables_count; i++) {
        const struct fm_import_table *table = &fm_guest_tables[i];
        if (strcmp(table->module, module) != 0)
            continue;
        for (size_t row = 0; row < table->count; row++)
            if (strcmp(table->rows[row].name, name) == 0)
                return &table->rows[row];
    }
    return NULL;
}

int fm_guest_imports_add(struct fm_engine *engine, struct fm_error *error)
{
    for (size_t i = 0; i < fm_guest_tables_count; i++) {
        const struct fm_import_table *table = &fm_guest_tables[i];
        int failed = fm_engine_imports_add(engine, table->rows, table->count, error);
        if (failed)
            return failed;
    }
    return fm_engine_streaming_add(engine, streaming_rows, FM_ARRAY_LENGTH(streaming_rows), error);
}
