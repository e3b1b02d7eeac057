/* db.c - a connection: how it is set up, and why.
 *
 *   journal_mode=WAL      readers and the writer do not wait for each other; a commit is one
 *                         sequential write and one fsync
 *   synchronous=FULL      that fsync: acknowledged means durable
 *   wal_autocheckpoint=0  carrying the log over to the database is our own business, on another
 *                         thread (checkpoint.c): no commit pays for it
 *   secure_delete=FAST    distributions differ; this one costs no writes of its own
 *   temp_store=MEMORY     no files outside the data folder
 *   mmap off              an error of the disk must be an error, and not SIGBUS
 *   defensive, trusted_schema=OFF, cell_size_check
 *                         the file may be damaged; SQLite then is as careful as it can be
 *
 * Discarded: a wrapper for every type and statement.  What is here is what would be repeated.
 *
 * Lifetime: the store's.  Threading: one thread at a time each. */
#include "store/db.h"

#include <string.h>

#define BUSY_TIMEOUT_MS 10000 /* that another program may hold the database, as a tool would */

static const char *const statements[FM_SQL_COUNT_] = {
#define X(name, sql) [FM_SQL_##name] = sql,
    FM_SQL_MAP(X)
#undef X
};

static const char settings[] = "PRAGMA temp_store = MEMORY;"
                               "PRAGMA cell_size_check = ON;"
                               "PRAGMA trusted_schema = OFF;"
                               "PRAGMA mmap_size = 0;"
                               "PRAGMA cache_size = -16384;"
                               "PRAGMA secure_delete = FAST;"
                               "PRAGMA synchronous = FULL;"
                               "PRAGMA wal_autocheckpoint = 0;"
                               "PRAGMA journal_size_limit = 67108864;";

/* --- errors ----------------------------------------------------------------------------------- */

int fm_db_code(struct fm_db *db, int rc)
{
    int errnum = db->sqlite ? sqlite3_system_errno(db->sqlite) : 0;
    int code = errnum ? fm_err_from_errno(errnum) : FM_ERR_IO;
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return FM_ERR_STORAGE_FULL;
    case SQLITE_NOMEM:
        return FM_ERR_NOMEM;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return FM_ERR_BUSY;
    case SQLITE_CANTOPEN:
    case SQLITE_IOERR:
        if (rc == SQLITE_IOERR_NOMEM)
            return FM_ERR_NOMEM;
        return code == FM_ERR_STORAGE_FULL || code == FM_ERR_BUSY || code == FM_ERR_NOMEM
                   ? code
                   : FM_ERR_IO;
    default:
        return FM_ERR_IO;
    }
}

int fm_db_error(struct fm_error *error, struct fm_db *db, int rc, const char *what)
{
    return fm_error_set(error, fm_db_code(db, rc), "cannot %s calls.db: %s", what,
                        db->sqlite ? sqlite3_errmsg(db->sqlite) : sqlite3_errstr(rc));
}

/* --- connections ------------------------------------------------------------------------------ */

int fm_db_open(struct fm_db *db, const char *path, const char *vfs, int *ret_sqlite_code,
               struct fm_error *error)
{
    FM_ASSERT(!db->sqlite);
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOFOLLOW;
    int rc = sqlite3_open_v2(path, &db->sqlite, flags, vfs);
    if (rc == SQLITE_OK)
        rc = sqlite3_busy_timeout(db->sqlite, BUSY_TIMEOUT_MS);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db->sqlite, settings, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        return 0;
    int failed = fm_db_error(error, db, rc, "open");
    fm_db_close(db);
    *ret_sqlite_code = rc & 0xff;
    return failed;
}

void fm_db_tidy(struct fm_db *db)
{
    /* It fails only for what SQLite does not know. */
    (void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
}

void fm_db_close(struct fm_db *db)
{
    for (size_t i = 0; i < FM_ARRAY_LENGTH(db->statements); i++) {
        (void)sqlite3_finalize(db->statements[i]); /* tells only of its last run */
        db->statements[i] = NULL;
    }
    int rc = sqlite3_close(db->sqlite);
    FM_ASSERT(rc == SQLITE_OK); /* fails only while statements are left */
    db->sqlite = NULL;
}

/* Where it cannot be had, the journal silently stays another one. */
int fm_db_log(struct fm_db *db)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db->sqlite, "PRAGMA journal_mode = WAL", -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        const char *mode = (const char *)sqlite3_column_text(statement, 0);
        rc = !mode ? SQLITE_NOMEM : strcmp(mode, "wal") == 0 ? SQLITE_OK : SQLITE_CANTOPEN;
    }
    int failed = rc == SQLITE_OK ? 0 : fm_db_code(db, rc);
    (void)sqlite3_finalize(statement); /* tells of the run again */
    return failed;
}

int fm_db_run(struct fm_db *db, const char *sql)
{
    int rc = sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : fm_db_code(db, rc);
}

int fm_db_number(struct fm_db *db, const char *sql, int64_t *ret_number)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(db->sqlite, sql, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    int failed = rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? FM_ERR_IO : fm_db_code(db, rc);
    if (!failed)
        *ret_number = sqlite3_column_int64(statement, 0);
    (void)sqlite3_finalize(statement); /* tells of the run again */
    return failed;
}

int fm_db_prepare(struct fm_db *db)
{
    for (size_t i = 0; i < FM_ARRAY_LENGTH(db->statements); i++) {
        int rc = sqlite3_prepare_v3(db->sqlite, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &db->statements[i], NULL);
        if (rc != SQLITE_OK)
            return fm_db_code(db, rc);
    }
    return 0;
}

/* --- statements ------------------------------------------------------------------------------- */

void fm_db_id_bytes(struct fm_id id, uint8_t bytes[FM_DB_ID_BYTES])
{
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(id.high >> (56 - 8 * i));
        bytes[8 + i] = (uint8_t)(id.low >> (56 - 8 * i));
    }
}

struct fm_query fm_query_begin(struct fm_db *db, enum fm_sql sql)
{
    FM_ASSERT(!sqlite3_stmt_busy(db->statements[sql]));
    return (struct fm_query){.db = db, .statement = db->statements[sql], .rc = SQLITE_OK};
}

static void bound(struct fm_query *query, int rc)
{
    if (query->rc == SQLITE_OK)
        query->rc = rc;
}

void fm_query_number(struct fm_query *query, int64_t value)
{
    bound(query, sqlite3_bind_int64(query->statement, ++query->bound, value));
}

void fm_query_count(struct fm_query *query, uint64_t value)
{
    fm_query_number(query, (int64_t)fm_min_u64(value, INT64_MAX));
}

void fm_query_time(struct fm_query *query, uint64_t real_ns)
{
    if (real_ns == 0)
        fm_query_null(query);
    else
        fm_query_count(query, real_ns);
}

void fm_query_text(struct fm_query *query, const char *text)
{
    if (!text || text[0] == '\0')
        fm_query_null(query);
    else
        bound(query, sqlite3_bind_text(query->statement, ++query->bound, text, -1, SQLITE_STATIC));
}

void fm_query_bytes(struct fm_query *query, const void *data, size_t bytes)
{
    bound(query, sqlite3_bind_blob64(query->statement, ++query->bound, bytes ? data : "", bytes,
                                     SQLITE_STATIC));
}

void fm_query_null(struct fm_query *query)
{
    bound(query, sqlite3_bind_null(query->statement, ++query->bound));
}

int fm_query_row(struct fm_query *query, bool *ret_row)
{
    if (query->rc == SQLITE_OK) {
        FM_ASSERT(query->bound == sqlite3_bind_parameter_count(query->statement));
        int rc = sqlite3_step(query->statement);
        if (rc == SQLITE_ROW || rc == SQLITE_DONE) {
            *ret_row = rc == SQLITE_ROW;
            return 0;
        }
        query->rc = rc;
    }
    return fm_db_code(query->db, query->rc);
}

int fm_query_run(struct fm_query *query)
{
    bool row = false;
    int failed = fm_query_row(query, &row);
    FM_ASSERT(failed || !row);
    fm_query_end(query);
    return failed;
}

void fm_query_end(struct fm_query *query)
{
    (void)sqlite3_reset(query->statement);          /* tells of the run again */
    (void)sqlite3_clear_bindings(query->statement); /* always OK */
}
