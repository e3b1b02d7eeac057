/* later.h - the functions of imports_later.h, as the engine calls them. */
#pragma once

#include "engine/import.h"
#include "guest/imports_later.h"

#define X(name, signature, parameters, meaning) fm_import_fn fm_later_##name;
#define PARKS(name, signature, parameters, meaning)                                                \
    fm_import_fn fm_later_##name;                                                                  \
    fm_import_fn fm_later_##name##_again;
FM_LATER_IMPORTS(X, PARKS)
#undef PARKS
#undef X
