/* commit_cost.c - what a durable call costs, without HTTP and without running anything.
 *
 *      bench_commit [FOLDER [ROUNDS [SECONDS]]]    one JSON object a line: a case in a round
 *
 * So many askers on one loop, each with one call at a time: accepted, (claimed,) finished, the next
 * one.  Every step is answered after its fsync, as the server does it.  Three cases:
 *
 *   accept   accepted, and nothing else
 *   direct   accepted with its claim (a slot is free), finished
 *   queued   accepted, claimed with its input, finished
 *
 * Beside each stands bare SQLite on the same disk in the same minute, twice: a loop that does as
 * many inserts, and then as many updates for each further step, in one transaction each.
 *
 *   same     into the very same table, with all its columns and indexes: what is left is the cost
 *            of threads, messages, looking up what is changed, and sums
 *   small    into a table of user, function, input, status and output with one index: the least
 *            that a queue on SQLite could do with
 *
 * The data goes into a new folder in FOLDER (the default is the working directory: a disk, and no
 * tmpfs), which is removed at the end. */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "loop/loop.h"
#include "store/calls_write.h"

#define ROUNDS_DEFAULT 5
#define SECONDS_DEFAULT 1.0
#define ASKERS_MAX 64
#define CONTENT_BYTES 100
#define POOL_THREADS 2
#define POOL_JOBS 1024

enum way { WAY_ACCEPT, WAY_DIRECT, WAY_QUEUED, WAY_COUNT };

static const char *const way_names[WAY_COUNT] = {"accept", "direct", "queued"};
static const uint8_t content[CONTENT_BYTES] = "ping";

static void check(bool good, const char *what)
{
    if (good)
        return;
    (void)fprintf(stderr, "bench_commit: %s failed\n", what);
    exit(EXIT_FAILURE);
}

/* --- ours ------------------------------------------------------------------------------------- */

struct bench {
    struct fm_loop *loop;
    struct fm_calls *calls;
    struct fm_id_generator ids;
    enum way way;
    uint64_t until_ns;
    uint64_t ended; /* calls */
    int busy;       /* askers that have not stopped */
};

struct asker {
    struct bench *bench;
    struct fm_calls_entry entry;
    struct fm_calls_accept accept;
    struct fm_calls_claim claim;
    struct fm_calls_finish finish;
};

static void next_call(struct asker *asker)
{
    struct bench *bench = asker->bench;
    uint64_t now_ns = fm_clock_real_ns();
    if (fm_clock_monotonic_ns() >= bench->until_ns) {
        bench->busy--;
        return;
    }
    asker->entry = (struct fm_calls_entry){
        .id = fm_id_next(&bench->ids, now_ns),
        .user = "simon",
        .function = "echo",
        .version = "01a20a4b-b4e3-7000-8032-7e9f23c5bf2a",
        .input = content,
        .input_bytes = sizeof(content),
        .created_real_ns = now_ns,
        .run_at_real_ns = now_ns,
        .started_real_ns = bench->way == WAY_DIRECT ? now_ns : 0,
    };
    asker->accept.entries = &asker->entry;
    asker->accept.entries_count = 1;
    fm_calls_accept(bench->calls, &asker->accept, fm_loop_mailbox(bench->loop));
}

static void end_call(struct asker *asker)
{
    asker->bench->ended++;
    next_call(asker);
}

static void finish(struct asker *asker)
{
    uint64_t now_ns = fm_clock_real_ns();
    asker->finish.id = asker->entry.id;
    asker->finish.status = FM_STATUS_SUCCEEDED;
    asker->finish.finished_real_ns = now_ns;
    asker->finish.keep_until_real_ns = now_ns + 3600 * FM_NS_PER_S;
    asker->finish.output = content;
    asker->finish.output_bytes = sizeof(content);
    fm_calls_finish(asker->bench->calls, &asker->finish, fm_loop_mailbox(asker->bench->loop));
}

static void on_accepted(struct fm_calls_write *write)
{
    struct asker *asker = FM_CONTAINER_OF(FM_CONTAINER_OF(write, struct fm_calls_accept, write),
                                          struct asker, accept);
    check(write->error == 0, "accept");
    if (asker->bench->way == WAY_ACCEPT) {
        end_call(asker);
    } else if (asker->bench->way == WAY_DIRECT) {
        finish(asker);
    } else {
        asker->claim.id = asker->entry.id;
        asker->claim.started_real_ns = fm_clock_real_ns();
        asker->claim.want_input = true;
        fm_calls_claim(asker->bench->calls, &asker->claim, fm_loop_mailbox(asker->bench->loop));
    }
}

static void on_claimed(struct fm_calls_write *write)
{
    struct asker *asker =
        FM_CONTAINER_OF(FM_CONTAINER_OF(write, struct fm_calls_claim, write), struct asker, claim);
    check(write->error == 0 && asker->claim.won, "claim");
    free(asker->claim.input);
    finish(asker);
}

static void on_finished(struct fm_calls_write *write)
{
    check(write->error == 0, "finish");
    end_call(FM_CONTAINER_OF(FM_CONTAINER_OF(write, struct fm_calls_finish, write), struct asker,
                             finish));
}

/* Calls a second. */
static double run_ours(const char *data, struct fm_pool *pool, enum way way, int askers,
                       double seconds)
{
    static struct asker all[ASKERS_MAX];
    struct bench bench = {.way = way, .busy = askers};
    struct fm_error error = {0};
    struct fm_calls_notice notice;
    struct fm_calls_config config;
    fm_calls_config_defaults(&config);
    config.data = data;
    config.pool = pool;
    config.now_real_ns = fm_clock_real_ns();
    check(fm_id_generator_init(&bench.ids) == 0 && fm_loop_new(&bench.loop) == 0, "set-up");
    check(fm_calls_open(&config, &bench.calls, &notice, &error) == 0, error.text);
    uint64_t begin_ns = fm_clock_monotonic_ns();
    bench.until_ns = begin_ns + (uint64_t)(seconds * (double)FM_NS_PER_S);
    for (int i = 0; i < askers; i++) {
        all[i] = (struct asker){.bench = &bench};
        all[i].accept.write.on_done = on_accepted;
        all[i].claim.write.on_done = on_claimed;
        all[i].finish.write.on_done = on_finished;
        next_call(&all[i]);
    }
    while (bench.busy > 0)
        fm_loop_pass(bench.loop, UINT64_MAX);
    double took = (double)(fm_clock_monotonic_ns() - begin_ns) / (double)FM_NS_PER_S;
    bench.calls = fm_calls_free(bench.calls);
    bench.loop = fm_loop_free(bench.loop);
    return (double)bench.ended / took;
}

/* --- bare ------------------------------------------------------------------------------------- */

static void execute(sqlite3 *db, const char *sql)
{
    check(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    check(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, sql);
    return statement;
}

static void step(sqlite3_stmt *statement)
{
    check(sqlite3_step(statement) == SQLITE_DONE, "bare step");
    (void)sqlite3_reset(statement);
}

struct statements {
    sqlite3_stmt *insert; /* parameter 1: the id, where there is one */
    sqlite3_stmt *claim;  /* by parameter 1 */
    sqlite3_stmt *end;    /* by parameter 1 */
};

static struct statements prepare_small(sqlite3 *db)
{
    execute(db, "CREATE TABLE c(id INTEGER PRIMARY KEY, user TEXT, fn TEXT, input BLOB, "
                "status INT, out BLOB); CREATE INDEX ci ON c(status, id)");
    return (struct statements){
        prepare(db, "INSERT INTO c(user, fn, input, status) VALUES('simon', 'echo', ?2, 0)"),
        prepare(db, "UPDATE c SET status = 1 WHERE id = ?1"),
        prepare(db, "UPDATE c SET status = 2, out = ?2 WHERE id = ?1"),
    };
}

/* The columns that the store sets, too; its own statements are its own affair. */
static struct statements prepare_same(sqlite3 *db)
{
    return (struct statements){
        prepare(db,
                "INSERT INTO calls(id, user, function, version, status, attempt, attempts_max, "
                "depth, created, run_at, input_bytes, bytes, input) VALUES(?1, 'simon', 'echo', "
                "'01a20a4b-b4e3-7000-8032-7e9f23c5bf2a', 0, 0, 0, 0, 1800000000000000000, "
                "1800000000000000000, 100, 612, ?2)"),
        prepare(db, "UPDATE calls SET status = 1, attempt = 1, started = 1800000000000000000 "
                    "WHERE seq = ?1"),
        prepare(db, "UPDATE calls SET status = 2, finished = 1800000000000000000, keep_until = "
                    "1800000000000000000 + ?1, output_bytes = 100, output = ?2, input = NULL, "
                    "bytes = 612 WHERE seq = ?1"),
    };
}

static void insert_one(struct statements *statements, struct fm_id_generator *ids)
{
    struct fm_id id = fm_id_next(ids, fm_clock_real_ns());
    const uint64_t words[2] = {__builtin_bswap64(id.high), __builtin_bswap64(id.low)};
    (void)sqlite3_bind_blob(statements->insert, 1, words, sizeof(words), SQLITE_STATIC);
    step(statements->insert);
}

static double group_commit(sqlite3 *db, struct statements *statements, enum way way, int group,
                           double seconds)
{
    struct fm_id_generator ids;
    uint64_t ended = 0;
    check(fm_id_generator_init(&ids) == 0, "random numbers");
    (void)sqlite3_bind_blob(statements->insert, 2, content, CONTENT_BYTES, SQLITE_STATIC);
    (void)sqlite3_bind_blob(statements->end, 2, content, CONTENT_BYTES, SQLITE_STATIC);
    uint64_t begin_ns = fm_clock_monotonic_ns();
    uint64_t until_ns = begin_ns + (uint64_t)(seconds * (double)FM_NS_PER_S);
    while (fm_clock_monotonic_ns() < until_ns) {
        execute(db, "BEGIN");
        for (int i = 0; i < group; i++)
            insert_one(statements, &ids);
        execute(db, "COMMIT");
        int64_t last = sqlite3_last_insert_rowid(db);
        for (int turn = way == WAY_QUEUED ? 0 : 1; way != WAY_ACCEPT && turn < 2; turn++) {
            sqlite3_stmt *update = turn == 0 ? statements->claim : statements->end;
            execute(db, "BEGIN");
            for (int64_t i = last - group + 1; i <= last; i++) {
                (void)sqlite3_bind_int64(update, 1, i);
                step(update);
            }
            execute(db, "COMMIT");
        }
        ended += (uint64_t)group;
    }
    return (double)ended * (double)FM_NS_PER_S / (double)(fm_clock_monotonic_ns() - begin_ns);
}

static double run_bare(const char *data, struct fm_pool *pool, bool same, enum way way, int group,
                       double seconds)
{
    char path[4200];
    sqlite3 *db = NULL;
    if (same) /* makes the tables */
        (void)run_ours(data, pool, WAY_ACCEPT, 0, 0);
    (void)snprintf(path, sizeof(path), "%s/%s", data, same ? "calls.db" : "bare.db");
    check(sqlite3_open(path, &db) == SQLITE_OK, "opening");
    execute(db,
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA secure_delete = FAST");
    struct statements statements = same ? prepare_same(db) : prepare_small(db);
    double rate = group_commit(db, &statements, way, group, seconds);
    (void)sqlite3_finalize(statements.insert);
    (void)sqlite3_finalize(statements.claim);
    (void)sqlite3_finalize(statements.end);
    check(sqlite3_close(db) == SQLITE_OK, "closing");
    return rate;
}

/* --- both ------------------------------------------------------------------------------------- */

static void remove_files(const char *data)
{
    static const char *const names[] = {"bare.db",  "bare.db-wal",  "bare.db-shm",
                                        "calls.db", "calls.db-wal", "calls.db-shm"};
    char path[4200];
    for (size_t i = 0; i < FM_ARRAY_LENGTH(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", data, names[i]);
        (void)unlink(path); /* not all are there */
    }
    (void)snprintf(path, sizeof(path), "%s/blobs", data);
    (void)rmdir(path);
}

static void measure(const char *data, struct fm_pool *pool, enum way way, int askers, long round,
                    double seconds)
{
    double rates[3] = {0, 0, 0}; /* ours, same, small */
    /* Who goes first changes with the round. */
    for (long i = 0; i < 3; i++) {
        long who = (i + round) % 3;
        rates[who] = who == 0 ? run_ours(data, pool, way, askers, seconds)
                              : run_bare(data, pool, who == 1, way, askers, seconds);
        remove_files(data);
    }
    (void)printf("{\"case\": \"%s\", \"askers\": %d, \"calls_per_s\": %.0f, "
                 "\"same_calls_per_s\": %.0f, \"small_calls_per_s\": %.0f, "
                 "\"ratio_same\": %.3f, \"ratio_small\": %.3f}\n",
                 way_names[way], askers, rates[0], rates[1], rates[2], rates[0] / rates[1],
                 rates[0] / rates[2]);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    static const int askers[] = {1, 8, ASKERS_MAX};
    const char *folder = argc > 1 ? argv[1] : ".";
    long rounds = argc > 2 ? strtol(argv[2], NULL, 10) : ROUNDS_DEFAULT;
    double seconds = argc > 3 ? strtod(argv[3], NULL) : SECONDS_DEFAULT;
    char data[4096];
    if (argc > 4 || rounds < 1 || seconds <= 0 || strlen(folder) > 4000) {
        (void)fprintf(stderr, "usage: bench_commit [FOLDER [ROUNDS [SECONDS]]]\n");
        return 64;
    }
    (void)snprintf(data, sizeof(data), "%s/bench-commit-XXXXXX", folder);
    check(mkdtemp(data) != NULL, "making a folder");
    struct fm_pool *pool = NULL;
    check(fm_pool_new(POOL_THREADS, POOL_JOBS, &pool) == 0, "starting threads");
    for (long round = 0; round < rounds; round++) {
        for (enum way way = 0; way < WAY_COUNT; way++) {
            for (size_t i = 0; i < FM_ARRAY_LENGTH(askers); i++)
                measure(data, pool, way, askers[i], round, seconds);
        }
    }
    pool = fm_pool_free(pool);
    check(rmdir(data) == 0, "removing the folder");
    return 0;
}
