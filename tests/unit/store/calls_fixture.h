/* calls_fixture.h - what the tests of calls on disk share: a fresh data folder, a loop, a pool, a
 * store in it; and each write and read as a function that waits for its answer. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/limits.h"
#include "faults.h"
#include "loop/loop.h"
#include "store/calls_private.h"
#include "store/tree.h"
#include "torture.h"

#define NOW UINT64_C(1800000000000000000) /* 2027 */
#define SECOND FM_NS_PER_S
#define KEEP                                                                                       \
    (NOW + 100 * SECOND) /* until when ended calls are kept, where nothing else is said            \
                          */

static const char *fixture_folder = "/tmp";

static struct {
    char data[64];
    struct fm_loop *loop;
    struct fm_pool *pool;
    struct fm_calls *calls;
    struct fm_calls_config config;
    struct fm_calls_notice notice;
    struct fm_id_generator ids;
} fixture;

static inline struct fm_mailbox *home(void)
{
    return fm_loop_mailbox(fixture.loop);
}

static inline int try_open_calls(struct fm_error *error)
{
    memset(&fixture.notice, 0, sizeof(fixture.notice));
    return fm_calls_open(&fixture.config, &fixture.calls, &fixture.notice, error);
}

static inline void open_calls(void)
{
    struct fm_error error = {0};
    if (try_open_calls(&error) != 0)
        fail_msg("%s", error.text);
}

static inline void close_calls(void)
{
    fixture.calls = fm_calls_free(fixture.calls);
}

static inline void reopen_calls(void)
{
    close_calls();
    open_calls();
}

static inline int calls_setup(void **state)
{
    (void)state;
    (void)snprintf(fixture.data, sizeof(fixture.data), "%s/faasm-calls-XXXXXX", fixture_folder);
    assert_non_null(mkdtemp(fixture.data));
    assert_int_equal(fm_loop_new(&fixture.loop), 0);
    assert_int_equal(fm_pool_new(2, 1000, &fixture.pool), 0);
    assert_int_equal(fm_id_generator_init(&fixture.ids), 0);
    fm_calls_config_defaults(&fixture.config);
    fixture.config.data = fixture.data;
    fixture.config.pool = fixture.pool;
    fixture.config.now_real_ns = NOW;
    fixture.config.retention_ns = 100 * SECOND;
    return 0;
}

static inline int calls_setup_open(void **state)
{
    calls_setup(state);
    open_calls();
    return 0;
}

static inline int calls_teardown(void **state)
{
    (void)state;
    close_calls();
    fixture.pool = fm_pool_free(fixture.pool);
    fixture.loop = fm_loop_free(fixture.loop);
    struct fm_error error = {0};
    int fd = open(fixture.data, O_RDONLY | O_DIRECTORY);
    assert_true(fd >= 0);
    if (fm_tree_empty(fd, &error) != 0)
        fail_msg("%s", error.text);
    (void)close(fd);
    assert_int_equal(rmdir(fixture.data), 0);
    return 0;
}

#define CALLS_TEST(test) cmocka_unit_test_setup_teardown(test, calls_setup_open, calls_teardown)
#define CLOSED_TEST(test) cmocka_unit_test_setup_teardown(test, calls_setup, calls_teardown)

/* --- files ------------------------------------------------------------------------------------ */

static inline const char *in_folder(const char *name)
{
    static char path[512];
    (void)snprintf(path, sizeof(path), "%s/%s", fixture.data, name);
    return path;
}

static inline bool all_names(const char *name)
{
    (void)name;
    return true;
}

/* How many files lie in a folder of the data folder; of which `ret_first` is the first. */
static inline size_t count_in(const char *name, char *ret_first)
{
    struct fm_names names = {0};
    struct fm_error error = {0};
    int fd = open(in_folder(name), O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return 0;
    assert_int_equal(fm_tree_list(fd, all_names, &names, &error), 0);
    (void)close(fd);
    size_t count = names.count;
    if (ret_first && count > 0)
        (void)strcpy(ret_first, names.names[0]);
    fm_names_done(&names);
    return count;
}

/* A statement on the database, from outside. */
static inline void sql(const char *text)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    assert_int_equal(sqlite3_open(in_folder("calls.db"), &db), SQLITE_OK);
    if (sqlite3_exec(db, text, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s: %s", text, message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static inline int64_t number_in(sqlite3 *db, const char *text)
{
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    assert_int_equal(sqlite3_finalize(statement), SQLITE_OK);
    return number;
}

static inline int64_t sql_number(const char *text)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(in_folder("calls.db"), &db), SQLITE_OK);
    int64_t number = number_in(db, text);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return number;
}

/* The sums are what a count would say; nothing is left in the folder of blobs but `blobs`. */
static inline void check_sums(size_t blobs)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(in_folder("calls.db"), &db), SQLITE_OK);
    assert_int_equal(number_in(db, "SELECT rows FROM totals"),
                     number_in(db, "SELECT count(*) FROM calls"));
    assert_int_equal(number_in(db, "SELECT rows_open FROM totals"),
                     number_in(db, "SELECT count(*) FROM calls WHERE keep_until IS NULL"));
    assert_int_equal(number_in(db, "SELECT bytes FROM totals"),
                     number_in(db, "SELECT coalesce(sum(bytes), 0) FROM calls"));
    assert_int_equal(number_in(db, "SELECT count(*) FROM calls WHERE (keep_until IS NULL) <> "
                                   "(status < 2)"),
                     0);
    assert_int_equal(number_in(db, "SELECT count(input_file) + count(output_file) + "
                                   "count(log_file) FROM calls"),
                     blobs);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_int_equal(count_in("blobs", NULL), blobs);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static unsigned answers; /* that came since the start of the program */

static inline void on_written_one(struct fm_calls_write *write)
{
    (void)write;
    answers++;
}

static inline void on_read_one(struct fm_calls_read *read)
{
    (void)read;
    answers++;
}

static inline void wait_answers(unsigned until)
{
    while (answers < until)
        fm_loop_pass(fixture.loop, UINT64_MAX);
}

static inline struct fm_id new_id(void)
{
    return fm_id_next(&fixture.ids, NOW);
}

static inline struct fm_calls_entry entry_with(struct fm_id id, const char *user,
                                               const char *function, const void *input,
                                               size_t input_bytes)
{
    return (struct fm_calls_entry){
        .id = id,
        .user = user,
        .function = function,
        .version = "v1",
        .input = input,
        .input_bytes = input_bytes,
        .created_real_ns = NOW,
        .run_at_real_ns = NOW,
    };
}

static inline struct fm_calls_entry entry_of(const char *user, const char *function,
                                             const void *input, size_t input_bytes)
{
    return entry_with(new_id(), user, function, input, input_bytes);
}

#define WRITE_AND_WAIT(kind)                                                                       \
    static inline int do_##kind(struct fm_calls_##kind *one)                                       \
    {                                                                                              \
        unsigned until = answers + 1;                                                              \
        one->write.on_done = on_written_one;                                                       \
        fm_calls_##kind(fixture.calls, one, home());                                               \
        wait_answers(until);                                                                       \
        return one->write.error;                                                                   \
    }
#define READ_AND_WAIT(kind)                                                                        \
    static inline int do_##kind(struct fm_calls_##kind *one)                                       \
    {                                                                                              \
        unsigned until = answers + 1;                                                              \
        one->read.on_done = on_read_one;                                                           \
        fm_calls_##kind(fixture.calls, one, home());                                               \
        wait_answers(until);                                                                       \
        return one->read.error;                                                                    \
    }
WRITE_AND_WAIT(accept)
WRITE_AND_WAIT(claim)
WRITE_AND_WAIT(finish)
WRITE_AND_WAIT(cancel)
WRITE_AND_WAIT(redrive)
WRITE_AND_WAIT(forget)
READ_AND_WAIT(get)
READ_AND_WAIT(list)
READ_AND_WAIT(totals)

/* --- calls ------------------------------------------------------------------------------------ */

static inline int accept_entry(struct fm_calls_entry *entry)
{
    struct fm_calls_accept accept = {.entries = entry, .entries_count = 1};
    int failed = do_accept(&accept);
    assert_false(accept.found);
    return failed;
}

static inline struct fm_id accepted(const char *user, const char *function, const char *input)
{
    struct fm_calls_entry entry = entry_of(user, function, input, strlen(input));
    assert_int_equal(accept_entry(&entry), 0);
    return entry.id;
}

static inline struct fm_id accepted_running(const char *user, const char *function,
                                            const char *input)
{
    struct fm_calls_entry entry = entry_of(user, function, input, strlen(input));
    entry.started_real_ns = NOW + 1;
    assert_int_equal(accept_entry(&entry), 0);
    return entry.id;
}

static inline struct fm_calls_finish finish_of_call(struct fm_id id, enum fm_call_status status)
{
    return (struct fm_calls_finish){
        .id = id,
        .status = status,
        .run_at_real_ns = NOW + 5 * SECOND,
        .finished_real_ns = NOW + 2 * SECOND,
        .keep_until_real_ns = KEEP,
    };
}

static inline void finished(struct fm_id id, enum fm_call_status status)
{
    struct fm_calls_finish finish = finish_of_call(id, status);
    assert_int_equal(do_finish(&finish), 0);
    assert_int_equal(finish.result, status);
}

static inline void claimed(struct fm_id id)
{
    struct fm_calls_claim claim = {.id = id, .started_real_ns = NOW + 3};
    assert_int_equal(do_claim(&claim), 0);
    assert_true(claim.won);
}

/* The record; to be released. */
static inline struct fm_call_record record_of(struct fm_id id)
{
    struct fm_calls_get get = {.id = id};
    assert_int_equal(do_get(&get), 0);
    assert_null(get.input.data);
    assert_null(get.output.data);
    assert_null(get.log.data);
    return get.record;
}

static inline enum fm_call_status status_of(struct fm_id id)
{
    struct fm_call_record record = record_of(id);
    enum fm_call_status status = record.status;
    fm_call_record_done(&record);
    return status;
}

static inline bool same_id(struct fm_id a, struct fm_id b)
{
    return a.high == b.high && a.low == b.low;
}

/* Bytes that differ from place to place. */
static inline uint8_t *pattern(size_t bytes, uint8_t seed)
{
    uint8_t *data = malloc(bytes ? bytes : 1);
    assert_non_null(data);
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(i * 7 + i / 251 + seed);
    return data;
}

static inline void assert_content(const struct fm_calls_content *content, const uint8_t *data,
                                  size_t bytes)
{
    assert_non_null(content->data);
    assert_int_equal(content->bytes, bytes);
    if (bytes > 0)
        assert_memory_equal(content->data, data, bytes);
}
