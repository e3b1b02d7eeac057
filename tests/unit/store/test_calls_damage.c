/* test_calls_damage.c - a database that is damaged, or not ours, or of a later version: kept aside
 * whole, or left alone, and never overwritten. */
#include "base/buffer.h"
#include "calls_fixture.h"

#define ASIDE "calls.db.damaged-20270115T080000Z" /* NOW, as it is written */
#define BLOBS_ASIDE "blobs.damaged-20270115T080000Z"

static uint8_t *read_whole(const char *name, size_t *ret_bytes)
{
    struct fm_buffer buffer;
    FILE *file = fopen(in_folder(name), "r");
    if (!file)
        return NULL;
    fm_buffer_init(&buffer, 100 * FM_MIB);
    for (;;) {
        uint8_t chunk[4096];
        size_t got = fread(chunk, 1, sizeof(chunk), file);
        if (got == 0)
            break;
        assert_int_equal(fm_buffer_append(&buffer, chunk, got), 0);
    }
    assert_int_equal(fclose(file), 0);
    uint8_t *data = fm_buffer_take(&buffer, ret_bytes);
    return data ? data : calloc(1, 1);
}

static void assert_same_file(const char *name, const uint8_t *data, size_t bytes)
{
    size_t found_bytes = 0;
    uint8_t *found = read_whole(name, &found_bytes);
    assert_non_null(found);
    assert_int_equal(found_bytes, bytes);
    assert_memory_equal(found, data, bytes);
    free(found);
}

static bool is_file(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

static void overwrite(const char *name, off_t offset, const void *data, size_t bytes)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, bytes, offset), (ssize_t)bytes);
    assert_int_equal(close(fd), 0);
}

/* A store with some calls, closed. */
static void make_store(void)
{
    uint8_t *data = pattern(20000, 1);
    struct fm_calls_entry entry = entry_of("simon", "echo", data, 20000);
    open_calls();
    assert_int_equal(accept_entry(&entry), 0);
    for (int i = 0; i < 50; i++)
        (void)accepted("simon", "echo", "ping");
    close_calls();
    free(data);
}

/* Opens what somebody has damaged: it works, it is empty, and the old file is there as it was. */
static void assert_kept_aside(const char *in_reason)
{
    size_t bytes = 0;
    uint8_t *damaged = read_whole("calls.db", &bytes);
    open_calls();
    assert_true(fixture.notice.damaged);
    assert_non_null(strstr(fixture.notice.kept, ASIDE));
    assert_non_null(strstr(fixture.notice.kept, BLOBS_ASIDE));
    if (!strstr(fixture.notice.reason, in_reason))
        fail_msg("'%s' is not in '%s'", in_reason, fixture.notice.reason);
    assert_same_file(ASIDE, damaged, bytes);
    assert_int_equal(count_in(BLOBS_ASIDE, NULL), 1); /* its blobs are not swept */
    assert_int_equal(count_in("blobs", NULL), 0);
    struct fm_calls_totals totals = {0};
    assert_int_equal(do_totals(&totals), 0);
    assert_int_equal(totals.rows, 0);
    (void)accepted("simon", "echo", "ping");
    reopen_calls();
    assert_false(fixture.notice.damaged);
    check_sums(0);
    free(damaged);
}

static void garbage_header(void **state)
{
    (void)state;
    make_store();
    overwrite("calls.db", 0, "this is no database", 19);
    assert_kept_aside("not a database");
}

static void garbage_all(void **state)
{
    (void)state;
    make_store();
    uint8_t *data = pattern(30000, 3);
    overwrite("calls.db", 0, data, 30000);
    free(data);
    assert_kept_aside("not a database");
}

static void garbage_page(void **state)
{
    (void)state;
    make_store();
    uint8_t *data = pattern(4096, 3);
    overwrite("calls.db", 4096, data, 4096); /* the root of the calls */
    free(data);
    assert_kept_aside("");
}

static void cut_off(void **state)
{
    (void)state;
    make_store();
    struct stat status;
    assert_int_equal(stat(in_folder("calls.db"), &status), 0);
    assert_int_equal(truncate(in_folder("calls.db"), status.st_size / 2), 0);
    assert_kept_aside("malformed");
}

static void cut_off_in_header(void **state)
{
    (void)state;
    make_store();
    assert_int_equal(truncate(in_folder("calls.db"), 50), 0);
    assert_kept_aside("");
}

static void empty_file(void **state)
{
    (void)state;
    make_store();
    assert_int_equal(truncate(in_folder("calls.db"), 0), 0);
    assert_kept_aside("missing or empty");
}

static void missing_column(void **state)
{
    (void)state;
    make_store();
    sql("ALTER TABLE calls DROP COLUMN backtrace");
    assert_kept_aside("backtrace");
}

static void other_application(void **state)
{
    (void)state;
    make_store();
    sql("PRAGMA application_id = 77");
    assert_kept_aside("not made by this program");
}

static void no_version(void **state)
{
    (void)state;
    make_store();
    sql("PRAGMA user_version = 0");
    assert_kept_aside("no version");
}

/* Some other program's database. */
static void foreign_database(void **state)
{
    (void)state;
    make_store();
    assert_int_equal(unlink(in_folder("calls.db")), 0);
    sql("CREATE TABLE t(x)");
    assert_kept_aside("not made by this program");
}

static void missing_database(void **state)
{
    (void)state;
    make_store();
    assert_int_equal(unlink(in_folder("calls.db")), 0);
    open_calls();
    assert_true(fixture.notice.damaged);
    assert_string_equal(fixture.notice.kept, BLOBS_ASIDE);
    assert_int_equal(count_in(BLOBS_ASIDE, NULL), 1);
    check_sums(0);
}

/* A log without its database must not be taken for that of a fresh one. */
static void lone_log(void **state)
{
    (void)state;
    uint8_t *data = pattern(10000, 5);
    overwrite("calls.db-wal", 0, data, 10000);
    open_calls();
    assert_true(fixture.notice.damaged);
    assert_string_equal(fixture.notice.kept, ASIDE "-wal");
    assert_same_file(ASIDE "-wal", data, 10000);
    free(data);
}

/* A damaged log is only cut where the damage begins: that is what it is for. */
static void damaged_log(void **state)
{
    (void)state;
    open_calls();
    struct fm_id id = accepted("simon", "echo", "ping");
    for (int i = 0; i < 100; i++)
        (void)accepted("simon", "echo", "ping");
    size_t db_bytes = 0;
    size_t wal_bytes = 0;
    uint8_t *db = read_whole("calls.db", &db_bytes);
    uint8_t *wal = read_whole("calls.db-wal", &wal_bytes);
    assert_true(wal_bytes > 100000);
    close_calls();
    overwrite("calls.db", 0, db, db_bytes); /* as after a crash */
    assert_int_equal(truncate(in_folder("calls.db"), (off_t)db_bytes), 0);
    memset(wal + wal_bytes / 2, 0, 1000);
    overwrite("calls.db-wal", 0, wal, wal_bytes);
    open_calls();
    assert_false(fixture.notice.damaged);
    assert_int_equal(status_of(id), FM_STATUS_QUEUED);
    check_sums(0);
    free(db);
    free(wal);
}

/* What is damaged is kept with its log, and neither is changed by having been looked at. */
static void damaged_with_log(void **state)
{
    (void)state;
    size_t db_bytes = 0;
    size_t wal_bytes = 0;
    make_store();
    open_calls();
    (void)accepted("simon", "echo", "only in the log");
    int64_t page = sql_number("SELECT rootpage FROM sqlite_schema WHERE name = 'calls_key'");
    uint8_t *db = read_whole("calls.db", &db_bytes);
    uint8_t *wal = read_whole("calls.db-wal", &wal_bytes);
    close_calls();
    memset(db + (page - 1) * 4096, 0xff, 4096);
    overwrite("calls.db", 0, db, db_bytes);
    assert_int_equal(truncate(in_folder("calls.db"), (off_t)db_bytes), 0);
    overwrite("calls.db-wal", 0, wal, wal_bytes);
    open_calls();
    assert_true(fixture.notice.damaged);
    assert_string_equal(fixture.notice.kept, ASIDE ", " ASIDE "-wal, " ASIDE "-shm, " BLOBS_ASIDE);
    assert_same_file(ASIDE, db, db_bytes);
    assert_same_file(ASIDE "-wal", wal, wal_bytes);
    free(db);
    free(wal);
}

/* After a clean end there is no log. */
static void clean_end(void **state)
{
    (void)state;
    make_store();
    assert_true(is_file("calls.db"));
    assert_false(is_file("calls.db-wal"));
    assert_false(is_file("calls.db-shm"));
}

/* Twice within a second: the second does not take the name of the first. */
static void damaged_twice(void **state)
{
    (void)state;
    make_store();
    overwrite("calls.db", 0, "first", 5);
    open_calls();
    close_calls();
    overwrite("calls.db", 0, "second", 6);
    open_calls();
    assert_non_null(strstr(fixture.notice.kept, ASIDE ".1"));
    close_calls();
    overwrite("calls.db", 0, "third", 5);
    open_calls();
    assert_non_null(strstr(fixture.notice.kept, ASIDE ".2"));
    static const char *const names[] = {ASIDE, ASIDE ".1", ASIDE ".2"};
    static const char *const begins[] = {"first", "second", "third"};
    for (size_t i = 0; i < 3; i++) {
        size_t bytes = 0;
        uint8_t *data = read_whole(names[i], &bytes);
        assert_non_null(data);
        assert_memory_equal(data, begins[i], strlen(begins[i]));
        free(data);
    }
}

/* --- left alone ------------------------------------------------------------------------------- */

static void later_version(void **state)
{
    (void)state;
    struct fm_error error = {0};
    make_store();
    sql("PRAGMA user_version = 2");
    size_t bytes = 0;
    uint8_t *data = read_whole("calls.db", &bytes);
    assert_int_equal(try_open_calls(&error), FM_ERR_CONFLICT);
    assert_non_null(strstr(error.text, "version 2"));
    assert_null(fixture.calls);
    assert_same_file("calls.db", data, bytes);
    assert_false(is_file(ASIDE));
    assert_int_equal(count_in("blobs", NULL), 1);
    sql("PRAGMA user_version = 1");
    open_calls();
    assert_false(fixture.notice.damaged);
    check_sums(1);
    free(data);
}

/* A large database is not read through: the damage shows when the page is read, as an error of that
 * call. */
static void unchecked(void **state)
{
    (void)state;
    make_store();
    fixture.config.check_bytes_max = 4096;
    open_calls();
    assert_false(fixture.notice.damaged);
    check_sums(1);
}

/* At the limit it is read through, beyond it is not. */
static void check_limit(void **state)
{
    (void)state;
    struct stat status;
    make_store();
    assert_int_equal(stat(in_folder("calls.db"), &status), 0);
    int64_t page = sql_number("SELECT rootpage FROM sqlite_schema WHERE name = 'calls_user'");
    uint8_t *data = pattern(4096, 3);
    data[0] = 10; /* looks like a leaf of an index */
    overwrite("calls.db", (off_t)(page - 1) * 4096, data, 4096);
    free(data);
    fixture.config.check_bytes_max = (uint64_t)status.st_size - 1;
    open_calls();
    assert_false(fixture.notice.damaged);
    close_calls();
    fixture.config.check_bytes_max = (uint64_t)status.st_size;
    open_calls();
    assert_true(fixture.notice.damaged);
}

static void not_a_file(void **state)
{
    (void)state;
    struct fm_error error = {0};
    assert_int_equal(mkdir(in_folder("calls.db"), 0700), 0);
    assert_int_equal(try_open_calls(&error), FM_ERR_IO);
    assert_int_equal(rmdir(in_folder("calls.db")), 0);
    assert_int_equal(symlink("/dev/null", in_folder("calls.db")), 0);
    assert_int_equal(try_open_calls(&error), FM_ERR_IO);
    assert_int_equal(unlink(in_folder("calls.db")), 0);
    fixture.config.data = "/tmp/faasm-there-is-no-such-folder";
    assert_int_equal(try_open_calls(&error), FM_ERR_NOT_FOUND);
}

/* Nobody else can read what users send. */
static void rights(void **state)
{
    (void)state;
    static const char *const names[] = {"calls.db", "calls.db-wal", "calls.db-shm"};
    make_store();
    open_calls();
    (void)accepted("simon", "echo", "ping");
    struct stat status;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(names); i++) {
        assert_int_equal(stat(in_folder(names[i]), &status), 0);
        assert_int_equal(status.st_mode & 0777, 0600);
    }
    assert_int_equal(stat(in_folder("blobs"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    char name[64];
    char path[128];
    assert_int_equal(count_in("blobs", name), 1);
    (void)snprintf(path, sizeof(path), "blobs/%s", name);
    assert_int_equal(stat(in_folder(path), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED_TEST(garbage_header),
        CLOSED_TEST(garbage_all),
        CLOSED_TEST(garbage_page),
        CLOSED_TEST(cut_off),
        CLOSED_TEST(cut_off_in_header),
        CLOSED_TEST(empty_file),
        CLOSED_TEST(missing_column),
        CLOSED_TEST(other_application),
        CLOSED_TEST(no_version),
        CLOSED_TEST(foreign_database),
        CLOSED_TEST(missing_database),
        CLOSED_TEST(lone_log),
        CLOSED_TEST(damaged_log),
        CLOSED_TEST(damaged_twice),
        CLOSED_TEST(damaged_with_log),
        CLOSED_TEST(clean_end),
        CLOSED_TEST(later_version),
        CLOSED_TEST(unchecked),
        CLOSED_TEST(check_limit),
        CLOSED_TEST(not_a_file),
        CLOSED_TEST(rights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
