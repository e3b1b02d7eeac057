/* name.h - names of users and functions: [A-Za-z0-9][A-Za-z0-9._-]{0,63}.  A valid name is also a
 * safe name of a folder: it cannot be `.`, `..`, hidden, or hold a slash. */
#pragma once

#include "base/base.h"

bool fm_name_valid(const char *name, size_t length);
