/* schema.c - the tables, and how a file is judged.
 *
 * One row a call, with its small contents at the end, where reading the rest does not touch them.
 * Rows have numbers (rowid): a row with its contents is too large for a table that is its own index
 * (WITHOUT ROWID), whose inner pages hold whole rows; and the numbers are the order of acceptance,
 * in which the unfinished are handed back to the queue.
 *
 *   status      0 queued, 1 running, 2 succeeded, 3 failed, 4 cancelled, 5 dead
 *   cancelled   1: running, and is to end as cancelled
 *   keep_until  NULL until the call has ended
 *   times       nanoseconds since 1970
 *   error       a text of its own (call/record.h), error_code as in the HTTP problem
 *   bytes       what the row counts for in `totals`, which the writer keeps with each transaction:
 *               counting a million rows at every start would take seconds
 *
 * application_id tells that the file is ours, user_version which steps below it has had.  A later
 * version is left alone: its calls are not ours to guess at.
 *
 * At start, by one thread. */
#include "store/schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "store/calls_private.h"

/* Step n leads from version n to n + 1.  A step that was released never changes. */
static const char *const steps[FM_CALLS_VERSION] = {
    "CREATE TABLE calls("
    "seq INTEGER PRIMARY KEY, id BLOB NOT NULL, user TEXT NOT NULL, function TEXT NOT NULL, "
    "version TEXT NOT NULL, status INTEGER NOT NULL, cancelled INTEGER NOT NULL DEFAULT 0, "
    "attempt INTEGER NOT NULL, attempts_max INTEGER NOT NULL, strikes INTEGER NOT NULL DEFAULT 0, "
    "depth INTEGER NOT NULL, parent BLOB, created INTEGER NOT NULL, run_at INTEGER NOT NULL, "
    "started INTEGER, finished INTEGER, keep_until INTEGER, cpu_ns INTEGER NOT NULL DEFAULT 0, "
    "wall_ns INTEGER NOT NULL DEFAULT 0, memory_bytes INTEGER NOT NULL DEFAULT 0, "
    "input_bytes INTEGER NOT NULL, output_bytes INTEGER NOT NULL DEFAULT 0, "
    "log_bytes INTEGER NOT NULL DEFAULT 0, log_truncated INTEGER NOT NULL DEFAULT 0, "
    "exit_code INTEGER NOT NULL DEFAULT 0, error TEXT, error_code TEXT, limit_name TEXT, "
    "trap TEXT, bytes INTEGER NOT NULL, key TEXT, input_sha256 BLOB, input_file TEXT, "
    "output_file TEXT, log_file TEXT, detail TEXT, backtrace TEXT, children BLOB, "
    "input BLOB, output BLOB, log BLOB);"
    "CREATE UNIQUE INDEX calls_id ON calls(id);"
    "CREATE INDEX calls_user ON calls(user, id);"
    "CREATE INDEX calls_keep ON calls(keep_until);"
    "CREATE UNIQUE INDEX calls_key ON calls(user, function, key) WHERE key IS NOT NULL;"
    "CREATE TABLE totals(rows INTEGER NOT NULL, rows_open INTEGER NOT NULL, "
    "bytes INTEGER NOT NULL);"
    "INSERT INTO totals VALUES(0, 0, 0);",
};

bool fm_schema_damage(int sqlite_code)
{
    return sqlite_code == SQLITE_CORRUPT || sqlite_code == SQLITE_NOTADB;
}

static int damaged(struct fm_error *error, enum fm_schema_state *ret_state, const char *reason)
{
    (void)fm_error_set(error, FM_ERR_IO, "%s", reason);
    *ret_state = FM_SCHEMA_DAMAGED;
    return 0;
}

/* What failed: the file, or something else? */
static int judge(struct fm_db *db, int failed, const char *what, enum fm_schema_state *ret_state,
                 struct fm_error *error)
{
    int rc = sqlite3_errcode(db->sqlite) & 0xff;
    if (fm_schema_damage(rc) || rc == SQLITE_ERROR) /* the latter: a table or column is missing */
        return damaged(error, ret_state, sqlite3_errmsg(db->sqlite));
    return fm_error_set(error, failed, "cannot %s calls.db: %s", what, sqlite3_errmsg(db->sqlite));
}

/* The check also tells, as a text, of pages that could not be read at all; and that may be the
 * fault of the machine. */
static bool tells_of_machine(const char *text)
{
    static const char words[] = "error code=";
    const char *found = strstr(text, words);
    return found && !fm_schema_damage((int)strtol(found + strlen(words), NULL, 10) & 0xff);
}

/* "ok", or what is wrong first. */
static int read_through(struct fm_db *db, enum fm_schema_state *ret_state, struct fm_error *error)
{
    sqlite3_stmt *statement = NULL;
    int failed = 0;
    int rc = sqlite3_prepare_v2(db->sqlite, "PRAGMA quick_check(1)", -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    const char *text = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    if (rc != SQLITE_ROW)
        failed = judge(db, fm_db_code(db, rc), "check", ret_state, error);
    else if (!text)
        failed = fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    else if (tells_of_machine(text))
        failed = fm_error_set(error, FM_ERR_IO, "cannot check calls.db: %s", text);
    else if (strcmp(text, "ok") != 0)
        failed = damaged(error, ret_state, text);
    (void)sqlite3_finalize(statement); /* tells of the run again */
    return failed;
}

static int upgrade(struct fm_db *db, int64_t version)
{
    char end[128];
    (void)sqlite3_snprintf(sizeof(end), end,
                           "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT",
                           FM_CALLS_APPLICATION_ID, FM_CALLS_VERSION);
    int failed = fm_db_run(db, "BEGIN IMMEDIATE");
    for (int64_t step = version; !failed && step < FM_CALLS_VERSION; step++)
        failed = fm_db_run(db, steps[step]);
    if (!failed)
        failed = fm_db_run(db, end);
    return failed; /* closing rolls back */
}

int fm_schema_check(struct fm_db *db, bool read_all, enum fm_schema_state *ret_state,
                    struct fm_error *error)
{
    int64_t application = 0;
    int64_t version = 0;
    int64_t tables = 0;
    *ret_state = FM_SCHEMA_GOOD;
    int failed = fm_db_number(db, "PRAGMA application_id", &application);
    if (!failed)
        failed = fm_db_number(db, "PRAGMA user_version", &version);
    if (!failed)
        failed = fm_db_number(db, "SELECT count(*) FROM sqlite_schema", &tables);
    if (failed)
        return judge(db, failed, "read", ret_state, error);
    bool fresh = application == 0 && version == 0 && tables == 0;
    if (!fresh && application != FM_CALLS_APPLICATION_ID)
        return damaged(error, ret_state, "the database was not made by this program");
    if (version > FM_CALLS_VERSION)
        return fm_error_set(error, FM_ERR_CONFLICT,
                            "calls.db has version %lld, of a later release than this one, which "
                            "knows versions up to %d; it is left as it is",
                            (long long)version, FM_CALLS_VERSION);
    if (version < 0 || (!fresh && version == 0))
        return damaged(error, ret_state, "the database has no version");
    if (!fresh && read_all) {
        failed = read_through(db, ret_state, error);
        if (failed || *ret_state == FM_SCHEMA_DAMAGED)
            return failed;
    }
    failed = fm_db_log(db);
    if (!failed && version < FM_CALLS_VERSION)
        failed = upgrade(db, version);
    if (failed)
        return judge(db, failed, "upgrade", ret_state, error);
    failed = fm_db_prepare(db);
    if (failed)
        return judge(db, failed, "use", ret_state, error);
    return 0;
}
