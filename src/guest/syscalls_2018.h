/* syscalls_2018.h - the functions of imports_2018.h. */
#pragma once

#include "engine/import.h"
#include "guest/imports_2018.h"

struct fm_guest;

/* `in` holds the parameters; the result is what the system call gives, or -errno. */
#define X(function, name, signature)                                                               \
    int32_t fm_2018_##function(struct fm_guest *guest, const union fm_value *in);
FM_2018_IMPORTS(X)
#undef X

#define X(function, name, signature, again) fm_import_fn fm_2018_##function;
FM_2018_IMPORTS_SPECIAL(X)
#undef X
fm_import_fn fm_2018_poll_again;

/* POLLIN and the like that hold for a descriptor; 0: it is not open. */
int16_t fm_2018_ready(struct fm_guest *guest, int32_t fd);
