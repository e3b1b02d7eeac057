/* faasm.h - the functions of imports_faasm.h, as the engine calls them. */
#pragma once

#include "engine/import.h"
#include "guest/imports_faasm.h"

#define X(name, signature, meaning)                                                                \
    int fm_faasm_##name(struct fm_sandbox *sandbox, void *host, union fm_value *values);
FM_FAASM_IMPORTS(X)
#undef X

#define X(name, signature, meaning)                                                                \
    fm_import_fn fm_faasm_##name;                                                                  \
    fm_import_fn fm_faasm_##name##_again;
FM_FAASM_IMPORTS_SPECIAL(X)
#undef X
