/* sql.h - the statements that are kept prepared.  Private to store/.
 *
 * Which index serves which:
 *   calls_id     one call; all calls, the latest first
 *   calls_user   a user's calls, the latest first
 *   calls_keep   those that have not ended (keep_until NULL), in the order of acceptance;
 *                those that have, by when they may be forgotten
 *   calls_key    who sent this Idempotency-Key before
 *
 * Each costs a page or two a transaction, since ids, acceptance and ends grow with the time. */
#pragma once

/* In the order of enum fm_column (rows.h). */
#define FM_SQL_RECORD                                                                              \
    "seq, id, user, function, version, status, cancelled, attempt, attempts_max, strikes, depth, " \
    "parent, created, run_at, started, finished, cpu_ns, wall_ns, memory_bytes, input_bytes, "     \
    "output_bytes, log_bytes, log_truncated, exit_code, error, error_code, limit_name, trap, "     \
    "key, detail, backtrace, children, input_file, output_file, log_file"

/* clang-format off */
#define FM_SQL_MAP(X)                                                                              \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(TOTALS, "SELECT rows, rows_open, bytes FROM totals")                                         \
    X(TOTALS_SET, "UPDATE totals SET rows = ?, rows_open = ?, bytes = ?")                          \
    /* --- the writer's */                                                                         \
    X(INSERT, "INSERT INTO calls(id, user, function, version, status, attempt, attempts_max, depth, " \
        "parent, created, run_at, started, input_bytes, bytes, key, input_sha256, input_file, input) " \
        "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")                            \
    X(UNINSERT, "DELETE FROM calls WHERE seq BETWEEN ? AND ?")                                     \
    X(BY_KEY, "SELECT input_sha256, id FROM calls WHERE user = ? AND function = ? AND key = ?")    \
    X(ROW, "SELECT seq, status, cancelled, attempt, input_bytes, bytes, input_file, output_file, " \
        "log_file FROM calls WHERE id = ?")                                                        \
    X(INPUT, "SELECT input FROM calls WHERE seq = ?")                                              \
    X(CLAIM, "UPDATE calls SET status = 1, attempt = ?, started = ? WHERE seq = ?")                \
    X(FINISH, "UPDATE calls SET status = ?, cancelled = 0, attempts_max = attempts_max + "         \
        "(attempts_max > 0 AND ?), run_at = coalesce(?, run_at), "                                 \
        "finished = ?, keep_until = ?, cpu_ns = ?, wall_ns = ?, memory_bytes = ?, "                \
        "output_bytes = ?, log_bytes = ?, log_truncated = ?, exit_code = ?, error = ?, "           \
        "error_code = ?, limit_name = ?, trap = ?, detail = ?, backtrace = ?, children = ?, "      \
        "output = ?, output_file = ?, log = ?, log_file = ?, input = CASE WHEN ? THEN input END, " \
        "input_file = CASE WHEN ? THEN input_file END, bytes = ? WHERE seq = ?")                   \
    X(CANCEL_QUEUED, "UPDATE calls SET status = 4, finished = ?, keep_until = ?, error = ?, "      \
        "error_code = ?, bytes = ?, input = NULL, input_file = NULL WHERE seq = ?")                \
    X(CANCEL_RUNNING, "UPDATE calls SET cancelled = 1 WHERE seq = ?")                              \
    X(REDRIVE, "UPDATE calls SET status = 0, cancelled = 0, attempt = 0, strikes = 0, run_at = ?, " \
        "started = NULL, finished = NULL, keep_until = NULL, cpu_ns = 0, wall_ns = 0, "            \
        "memory_bytes = 0, output_bytes = 0, log_bytes = 0, log_truncated = 0, exit_code = 0, "    \
        "error = NULL, error_code = NULL, limit_name = NULL, trap = NULL, detail = NULL, "         \
        "backtrace = NULL, children = NULL, output = NULL, output_file = NULL, log = NULL, "       \
        "log_file = NULL, bytes = ? WHERE seq = ?")                                                \
    X(ENDED, "SELECT seq, keep_until, bytes, input_file, output_file, log_file FROM calls "        \
        "WHERE keep_until IS NOT NULL ORDER BY keep_until LIMIT 1")                                \
    X(DELETE, "DELETE FROM calls WHERE seq = ?")                                                   \
    /* --- at the start */                                                                         \
    X(STRIKE, "UPDATE calls SET strikes = strikes + 1 WHERE id = ? AND status = 1")                \
    X(INTERRUPTED, "SELECT seq, cancelled, bytes FROM calls WHERE keep_until IS NULL AND status = 1") \
    X(INTERRUPTED_CANCEL, "UPDATE calls SET status = 4, cancelled = 0, finished = ?, "             \
        "keep_until = ?, error = ?, error_code = ?, bytes = ?, input = NULL, input_file = NULL, "  \
        "detail = NULL, backtrace = NULL, log = NULL, log_file = NULL, log_bytes = 0 "             \
        "WHERE seq = ? AND status = 1 AND cancelled")                                              \
    X(INTERRUPTED_STRUCK, "UPDATE calls SET status = 5, finished = ?, keep_until = ?, error = ?, " \
        "error_code = ?, detail = 'the server crashed ' || strikes || ' times while this call ran' " \
        "WHERE seq = ? AND status = 1 AND strikes >= ?")                                           \
    X(INTERRUPTED_LAST, "UPDATE calls SET status = 5, finished = ?, keep_until = ?, error = ?, "   \
        "error_code = ?, detail = 'the server ended while this call ran, in the last of its ' "    \
        "|| attempts_max || ' attempts' WHERE seq = ? AND status = 1 AND attempts_max > 0 "        \
        "AND attempt >= attempts_max")                                                             \
    X(INTERRUPTED_AGAIN, "UPDATE calls SET status = 0, run_at = ?, error = ?, error_code = ?, "    \
        "detail = 'the server ended while this call ran' WHERE seq = ? AND status = 1")            \
    X(FILES, "SELECT input_file, output_file, log_file FROM calls WHERE id = ?")                   \
    X(EACH_OPEN, "SELECT id, parent, user, function, version, created, run_at, input_bytes, "      \
        "attempt, attempts_max, strikes, depth FROM calls WHERE keep_until IS NULL ORDER BY seq")  \
    /* --- the reader's */                                                                         \
    X(GET, "SELECT " FM_SQL_RECORD ", CASE WHEN ? THEN input END, CASE WHEN ? THEN output END, "   \
        "CASE WHEN ? THEN log END FROM calls WHERE id = ?")                                        \
    X(BY_SEQ, "SELECT " FM_SQL_RECORD " FROM calls WHERE seq = ?")                                 \
    X(SCAN_ALL, "SELECT seq, id, function, status FROM calls WHERE id < ? ORDER BY id DESC")       \
    X(SCAN_USER, "SELECT seq, id, function, status FROM calls WHERE id < ? AND user = ? "          \
        "ORDER BY id DESC")
/* clang-format on */

enum fm_sql {
#define X(name, sql) FM_SQL_##name,
    FM_SQL_MAP(X)
#undef X
        FM_SQL_COUNT_
};
