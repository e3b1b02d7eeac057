/* schema.h - the tables of calls.db: made, checked, brought up to this version.  Private to
 * store/. */
#pragma once

#include "store/db.h"

/* What is in a file that could be opened. */
enum fm_schema_state {
    FM_SCHEMA_GOOD,
    FM_SCHEMA_DAMAGED, /* or not ours; the reason is in the error */
};

/* Checks, makes what is missing, prepares the statements.  `read_all`: every page is looked at.
 * FM_ERR_CONFLICT: of a later version; nothing was changed.  Other failures say nothing about the
 * file: FM_ERR_NOMEM, FM_ERR_BUSY, FM_ERR_STORAGE_FULL, FM_ERR_IO. */
FM_MUST_CHECK int fm_schema_check(struct fm_db *db, bool read_all, enum fm_schema_state *ret_state,
                                  struct fm_error *error);

/* Whether SQLite's (primary) code speaks of what is in the file, and not of the machine. */
bool fm_schema_damage(int sqlite_code);
