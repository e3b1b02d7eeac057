/* faasm.h - the functions of imports_faasm.h, as the engine calls them. */
#pragma once

#include "engine/import.h"
#include "guest/imports_faasm.h"

#define X(name, signature, parameters, meaning) fm_import_fn fm_faasm_##name;
#define PARKS(name, signature, parameters, meaning)                                                \
    fm_import_fn fm_faasm_##name;                                                                  \
    fm_import_fn fm_faasm_##name##_again;
FM_FAASM_IMPORTS(X, PARKS)
#undef PARKS
#undef X
