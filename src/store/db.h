/* db.h - one connection to calls.db: its settings, its prepared statements, SQLite's errors as
 * ours. Private to store/.
 *
 * A connection is used by one thread at a time.  Errors: FM_ERR_STORAGE_FULL, FM_ERR_NOMEM,
 * FM_ERR_BUSY (descriptors ran out, or another program holds the database), FM_ERR_IO. */
#pragma once

#include <sqlite3.h>

#include "base/error.h"
#include "base/id.h"
#include "store/sql.h"

struct fm_db {
    sqlite3 *sqlite; /* NULL: not open */
    sqlite3_stmt *statements[FM_SQL_COUNT_];
};

/* The file must exist, and is not changed.  `*ret_sqlite_code` is SQLite's own (primary) code for a
 * failure. */
FM_MUST_CHECK int fm_db_open(struct fm_db *db, const char *path, const char *vfs,
                             int *ret_sqlite_code, struct fm_error *error);

/* If it is the last one to be closed, the log is carried over and removed.  Otherwise closing
 * leaves the files as they are: they may have to be kept aside. */
void fm_db_tidy(struct fm_db *db);
void fm_db_close(struct fm_db *db); /* one that is not open is fine */

/* From here on it has a log (WAL): once it is known to be ours. */
FM_MUST_CHECK int fm_db_log(struct fm_db *db);

/* Statements without parameters; no rows are given out. */
FM_MUST_CHECK int fm_db_run(struct fm_db *db, const char *sql);

/* The one number that a statement without parameters answers. */
FM_MUST_CHECK int fm_db_number(struct fm_db *db, const char *sql, int64_t *ret_number);

/* All of sql.h. */
FM_MUST_CHECK int fm_db_prepare(struct fm_db *db);

/* What SQLite said last, as one of ours; `rc` is not OK, ROW or DONE. */
int fm_db_code(struct fm_db *db, int rc);

/* "cannot WHAT calls.db: reason"; returns the code. */
int fm_db_error(struct fm_error *error, struct fm_db *db, int rc, const char *what);

/* --- statements ------------------------------------------------------------------------------- */

/* A statement that gets its parameters in their order, then runs.  Texts and bytes are not copied:
 * they must stay until fm_query_end().  Failures of binding are kept for the run. */
struct fm_query {
    struct fm_db *db;
    sqlite3_stmt *statement;
    int bound; /* parameters so far */
    int rc;    /* the first failure of SQLite, or SQLITE_OK */
};

struct fm_query fm_query_begin(struct fm_db *db, enum fm_sql sql);
void fm_query_number(struct fm_query *query, int64_t value);
void fm_query_count(struct fm_query *query, uint64_t value);  /* capped at INT64_MAX */
void fm_query_time(struct fm_query *query, uint64_t real_ns); /* 0: NULL */
void fm_query_text(struct fm_query *query, const char *text); /* NULL and "": NULL */
void fm_query_bytes(struct fm_query *query, const void *data, size_t bytes); /* never NULL */
void fm_query_null(struct fm_query *query);

#define FM_DB_ID_BYTES 16 /* big-endian, so that they sort by time */

void fm_db_id_bytes(struct fm_id id, uint8_t bytes[FM_DB_ID_BYTES]);

/* The next row: `*ret_row` false when there is none. */
FM_MUST_CHECK int fm_query_row(struct fm_query *query, bool *ret_row);

/* Runs a statement that has no rows. */
FM_MUST_CHECK int fm_query_run(struct fm_query *query);

/* The statement can be used again; its columns are gone.  Needed after fm_query_begin() in any
 * case, but for fm_query_run(), which does it. */
void fm_query_end(struct fm_query *query);
