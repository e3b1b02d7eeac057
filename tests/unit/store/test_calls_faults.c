/* test_calls_faults.c - a disk that fails at every single step, that is full, that stands still;
 * and memory that runs out at every single allocation.
 *
 * Without threads, where one thing is to fail after another: the turns of writer and reader are
 * then taken here, so that their allocations are counted as well (SQLite's too). */
#include <malloc.h>

#include "calls_fixture.h"
#include "vfs.h"

/* --- SQLite's memory is ours, so that it can run out -------------------------------------------
 */

static void *memory_new(int bytes)
{
    return malloc((size_t)bytes);
}

static void memory_free(void *memory)
{
    free(memory);
}

static void *memory_resize(void *memory, int bytes)
{
    return realloc(memory, (size_t)bytes);
}

static int memory_size(void *memory)
{
    return (int)malloc_usable_size(memory);
}

static int memory_round(int bytes)
{
    return (bytes + 7) & ~7;
}

static int memory_begin(void *data)
{
    (void)data;
    return SQLITE_OK;
}

static void memory_end(void *data)
{
    (void)data;
}

static void take_memory(void)
{
    static const sqlite3_mem_methods methods = {
        .xMalloc = memory_new,
        .xFree = memory_free,
        .xRealloc = memory_resize,
        .xSize = memory_size,
        .xRoundup = memory_round,
        .xInit = memory_begin,
        .xShutdown = memory_end,
    };
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) != SQLITE_OK)
        abort();
}

/* --- without threads -------------------------------------------------------------------------- */

static int open_idle(struct fm_error *error)
{
    fixture.config.vfs = VFS_NAME;
    memset(&fixture.notice, 0, sizeof(fixture.notice));
    return fm_calls_open_idle(&fixture.config, &fixture.calls, &fixture.notice, error);
}

static void must_open_idle(void)
{
    struct fm_error error = {0};
    if (open_idle(&error) != 0)
        fail_msg("%s", error.text);
    assert_false(fixture.notice.damaged);
}

static bool is_disk_error(int error)
{
    return error == FM_ERR_IO || error == FM_ERR_STORAGE_FULL || error == FM_ERR_BUSY;
}

/* The writes, each on a store that was made ready for it. */
struct step {
    const char *name;
    void (*ready)(void);
    int (*run)(void);    /* the answer's error */
    bool (*there)(void); /* whether it is to be seen */
};

static struct fm_id target;
static struct fm_id child;

static int turn(struct fm_calls_write *write)
{
    unsigned until = answers + 1;
    if (!fm_inbox_empty(&fixture.calls->writes))
        (void)fm_calls_writer_turn(fixture.calls);
    wait_answers(until);
    return write->error;
}

#define RUN(kind, one)                                                                             \
    ((one).write.on_done = on_written_one, fm_calls_##kind(fixture.calls, &(one), home()),         \
     turn(&(one).write))

static struct fm_id make(bool running, const char *key)
{
    struct fm_calls_entry entry = entry_of("simon", "echo", "ping", 4);
    entry.started_real_ns = running ? NOW : 0;
    entry.key = key;
    struct fm_calls_accept accept = {.entries = &entry, .entries_count = 1};
    assert_int_equal(RUN(accept, accept), 0);
    return entry.id;
}

static int64_t number_of(const char *format)
{
    char id[FM_ID_TEXT_SIZE];
    char text[400];
    char hex[33];
    fm_id_format(target, id);
    size_t length = 0;
    for (const char *from = id; *from; from++) {
        if (*from != '-')
            hex[length++] = *from;
    }
    hex[length] = '\0';
    (void)snprintf(text, sizeof(text),
                   "SELECT count(*) FROM calls WHERE hex(id) = upper('%s') AND %s", hex, format);
    return sql_number(text);
}

static void ready_none(void)
{
    target = new_id();
}

static void ready_queued(void)
{
    target = make(false, NULL);
}

static void ready_running(void)
{
    target = make(true, NULL);
    child = new_id();
}

static void ready_key(void)
{
    target = make(false, "key");
}

static void ready_dead(void)
{
    ready_running();
    struct fm_calls_finish finish = finish_of_call(target, FM_STATUS_DEAD);
    finish.detail = "crashed";
    assert_int_equal(RUN(finish, finish), 0);
}

static int run_accept(void)
{
    struct fm_calls_entry entries[2] = {entry_of("simon", "echo", "ping", 4),
                                        entry_of("simon", "echo", "ping", 4)};
    entries[0].id = target;
    struct fm_calls_accept accept = {.entries = entries, .entries_count = 2};
    return RUN(accept, accept);
}

static bool there_accept(void)
{
    return number_of("1") == 1;
}

static int run_key(void)
{
    struct fm_calls_entry entry = entry_of("simon", "echo", "ping", 4);
    entry.key = "key";
    struct fm_calls_accept accept = {.entries = &entry, .entries_count = 1};
    int failed = RUN(accept, accept);
    assert_int_equal(accept.found, failed == 0);
    assert_int_equal(accept.existing.user != NULL, failed == 0);
    fm_call_record_done(&accept.existing);
    return failed;
}

static int run_claim(void)
{
    struct fm_calls_claim claim = {.id = target, .started_real_ns = NOW, .want_input = true};
    int failed = RUN(claim, claim);
    assert_int_equal(claim.won, failed == 0);
    assert_int_equal(claim.input != NULL, failed == 0);
    free(claim.input);
    return failed;
}

static bool there_claim(void)
{
    return number_of("status = 1") == 1;
}

static int run_finish(void)
{
    struct fm_calls_entry entry = entry_of("simon", "child", "ping", 4);
    entry.id = child;
    struct fm_calls_finish finish = finish_of_call(target, FM_STATUS_SUCCEEDED);
    finish.children = &entry;
    finish.children_count = 1;
    finish.output = (const uint8_t *)"pong";
    finish.output_bytes = 4;
    int failed = RUN(finish, finish);
    assert_int_equal(finish.result, failed ? FM_STATUS_RUNNING : FM_STATUS_SUCCEEDED);
    return failed;
}

static bool there_finish(void)
{
    bool parent = number_of("status = 2") == 1;
    assert_int_equal(sql_number("SELECT count(*) FROM calls WHERE function = 'child'") > 0, parent);
    return parent;
}

static int run_cancel(void)
{
    struct fm_calls_cancel cancel = {
        .id = target, .finished_real_ns = NOW, .keep_until_real_ns = KEEP};
    int failed = RUN(cancel, cancel);
    assert_int_equal(cancel.record.user != NULL, failed == 0);
    fm_call_record_done(&cancel.record);
    return failed;
}

static bool there_cancel(void)
{
    return number_of("(status = 4 OR cancelled)") == 1;
}

static int run_redrive(void)
{
    struct fm_calls_redrive redrive = {.id = target, .run_at_real_ns = NOW};
    int failed = RUN(redrive, redrive);
    assert_int_equal(redrive.record.user != NULL, failed == 0);
    fm_call_record_done(&redrive.record);
    return failed;
}

static bool there_redrive(void)
{
    return number_of("status = 0") == 1;
}

static int run_forget(void)
{
    struct fm_calls_forget forget = {
        .now_real_ns = KEEP, .rows_max = UINT64_MAX, .bytes_max = UINT64_MAX};
    int failed = RUN(forget, forget);
    assert_int_equal(forget.forgotten, failed ? 0 : 1);
    return failed;
}

static bool there_forget(void)
{
    return number_of("1") == 0;
}

static const struct step steps[] = {
    {"accept", ready_none, run_accept, there_accept},
    {"key", ready_key, run_key, there_accept},
    {"claim", ready_queued, run_claim, there_claim},
    {"finish", ready_running, run_finish, there_finish},
    {"cancel queued", ready_queued, run_cancel, there_cancel},
    {"cancel running", ready_running, run_cancel, there_cancel},
    {"redrive", ready_dead, run_redrive, there_redrive},
    {"forget", ready_dead, run_forget, there_forget},
};

static void clear(void)
{
    fixture.calls = fm_calls_free(fixture.calls);
    assert_int_equal(unlink(in_folder("calls.db")), 0);
    (void)unlink(in_folder("calls.db-wal"));
    (void)unlink(in_folder("calls.db-shm"));
}

/* --- the disk fails --------------------------------------------------------------------------- */

/* One write with the n-th operation failing.  The very next try, on a disk that works, succeeds. */
static bool fail_once(const struct step *step, long nth, bool full)
{
    must_open_idle();
    step->ready();
    vfs_fail(nth, full, false);
    int failed = step->run();
    bool struck = vfs_disarm();
    if (failed) {
        assert_true(struck);
        assert_true(is_disk_error(failed));
        if (full)
            assert_int_equal(failed, FM_ERR_STORAGE_FULL);
        assert_int_equal(step->there(), step->run == run_key); /* nothing of it is to be seen */
        assert_int_equal(step->run(), 0);
    }
    assert_true(step->there());
    check_sums(0);
    fixture.calls = fm_calls_free(fixture.calls);
    must_open_idle();
    if (step->run != run_claim && step->run != run_cancel) /* those a start settles */
        assert_true(step->there());
    check_sums(0);
    clear();
    return struck;
}

/* The n-th and all later ones fail, as if the process had died there.  What was acknowledged is
 * there at the next start, and all of it or nothing. */
static bool fail_for_good(const struct step *step, long nth)
{
    must_open_idle();
    step->ready();
    vfs_fail(nth, false, true);
    int failed = step->run();
    fixture.calls = fm_calls_free(fixture.calls);
    bool struck = vfs_disarm();
    if (failed)
        assert_true(struck && is_disk_error(failed));
    must_open_idle();
    check_sums(0);
    bool there = step->there();
    if (!failed && step->run != run_claim)
        assert_true(there);
    clear();
    return struck;
}

static void disk_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(steps); i++) {
        long nth = 1;
        while (fail_once(&steps[i], nth, false))
            nth++;
        assert_true(nth < 200);
        assert_true(nth > 1 || steps[i].run == run_key); /* which reads what it has in memory */
    }
}

static void disk_fails_for_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(steps); i++) {
        long nth = 1;
        while (nth < 60 && fail_for_good(&steps[i], nth))
            nth++;
        assert_true(nth > 1 || steps[i].run == run_key);
    }
}

static void disk_is_full(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(steps); i++) {
        long nth = 1;
        while (fail_once(&steps[i], nth, true))
            nth++;
        assert_true(nth < 200);
        assert_true(nth > 1 || steps[i].run == run_key); /* which writes nothing */
    }
}

/* A start that fails leaves everything as it was: the next one finds it sound. */
static void opening_fails(void **state)
{
    (void)state;
    for (int old = 0; old <= 1; old++) {
        long nth = 1;
        for (bool struck = true; struck; nth++) {
            struct fm_error error = {0};
            if (old) {
                must_open_idle();
                target = make(true, NULL);
                fixture.calls = fm_calls_free(fixture.calls);
            }
            vfs_fail(nth, false, nth % 2 == 0);
            int failed = open_idle(&error);
            if (!failed) {
                if (fixture.notice.damaged)
                    fail_msg("operation %ld: %s", nth, fixture.notice.reason);
                fixture.calls = fm_calls_free(fixture.calls);
            }
            struck = vfs_disarm();
            if (failed) {
                assert_true(struck && is_disk_error(failed));
                assert_int_equal(error.code, failed);
                assert_true(error.text[0] != '\0');
            }
            must_open_idle();
            if (old)
                assert_int_equal(number_of("status = 0"), 1);
            check_sums(0);
            clear();
        }
        assert_true(nth > 20 && nth < 1000);
    }
}

static int turn_read(struct fm_calls_read *read)
{
    unsigned until = answers + 1;
    if (!fm_inbox_empty(&fixture.calls->reads))
        (void)fm_calls_reader_turn(fixture.calls);
    wait_answers(until);
    return read->error;
}

static int read_all(void)
{
    struct fm_calls_get get = {.id = target, .want_input = true};
    get.read.on_done = on_read_one;
    fm_calls_get(fixture.calls, &get, home());
    int failed = turn_read(&get.read);
    if (!failed)
        assert_content(&get.input, (const uint8_t *)"ping", 4);
    else
        assert_null(get.record.user);
    fm_calls_get_done(&get);
    if (failed)
        return failed;
    struct fm_calls_list list = {.limit = 10, .user = "simon", .function = "echo"};
    list.read.on_done = on_read_one;
    fm_calls_list(fixture.calls, &list, home());
    failed = turn_read(&list.read);
    assert_int_equal(list.records_count, failed ? 0 : 1);
    fm_calls_list_done(&list);
    if (failed)
        return failed;
    struct fm_calls_totals totals = {.read.on_done = on_read_one};
    fm_calls_totals(fixture.calls, &totals, home());
    return turn_read(&totals.read);
}

static void reading_fails(void **state)
{
    (void)state;
    long nth = 1;
    for (bool struck = true; struck; nth++) {
        must_open_idle();
        target = make(false, NULL);
        vfs_fail(nth, false, false);
        int failed = read_all();
        struck = vfs_disarm();
        if (failed)
            assert_true(struck && is_disk_error(failed));
        assert_int_equal(read_all(), 0);
        clear();
    }
    assert_true(nth > 3 && nth < 200);
}

/* Without a restart, which would take most of the time. */
static void empty(void)
{
    sql("DELETE FROM calls; "
        "UPDATE totals SET rows = 0, rows_open = 0, bytes = 0");
    fixture.calls->sums = (struct fm_calls_sums){0};
}

/* --- memory runs out -------------------------------------------------------------------------- */

static void memory_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(steps); i++) {
        must_open_idle();
        long nth = 1;
        for (bool struck = true; struck; nth++) {
            steps[i].ready();
            torture_fail_nth(nth);
            int failed = steps[i].run();
            struck = torture_stop();
            if (failed) {
                assert_true(struck);
                if (failed != FM_ERR_NOMEM)
                    fail_msg("%s, allocation %ld: %d", steps[i].name, nth, failed);
                assert_int_equal(steps[i].there(), steps[i].run == run_key);
                assert_int_equal(steps[i].run(), 0);
            }
            assert_true(steps[i].there());
            check_sums(0);
            empty();
        }
        if (nth < 3 || nth > 1000) /* two allocations at least: there is something to fail */
            fail_msg("%s: %ld runs", steps[i].name, nth);
        clear();
    }
}

/* SQLite gets by without some of its memory; so it is not only the first run without an error that
 * ends this, but the first in which every allocation was granted. */
static void memory_fails_at_start(void **state)
{
    (void)state;
    enum { STRIDE = 7 }; /* a start takes thousands; which of them, differs from run to run */
    must_open_idle();
    target = make(false, NULL);
    fixture.calls = fm_calls_free(fixture.calls);
    long nth = 1;
    for (bool struck = true; struck; nth += nth < 200 ? 1 : STRIDE) {
        struct fm_error error = {0};
        torture_fail_nth(nth);
        int failed = open_idle(&error);
        struck = torture_stop();
        if (failed) {
            assert_true(struck);
            assert_int_equal(failed, FM_ERR_NOMEM);
            assert_int_equal(error.code, failed);
            continue;
        }
        assert_false(fixture.notice.damaged);
        fixture.calls = fm_calls_free(fixture.calls);
    }
    assert_true(nth > 200);
    must_open_idle();
    assert_int_equal(read_all(), 0);
    check_sums(0);
}

static void memory_fails_at_reading(void **state)
{
    (void)state;
    must_open_idle();
    target = make(false, "key");
    long nth = 1;
    for (bool struck = true; struck; nth++) {
        torture_fail_nth(nth);
        int failed = read_all();
        struck = torture_stop();
        assert_true(failed == 0 || (struck && failed == FM_ERR_NOMEM));
    }
    assert_true(nth > 10);
}

/* --- with threads: full, and slow ------------------------------------------------------------- */

/* Two writes on a full disk, in one transaction: what asks for more is refused, what gives back is
 * done all the same, in the space of the log. */
static void end_on_a_full_disk(void **state)
{
    (void)state;
    enum { MANY = 200 };
    static struct fm_calls_entry entries[MANY];
    uint8_t *data = pattern(FM_CALLS_INLINE_BYTES_MAX, 1);
    must_open_idle();
    target = make(true, NULL);
    for (int i = 0; i < 50; i++)
        (void)make(false, NULL); /* makes the log long */
    sql("PRAGMA wal_checkpoint(PASSIVE)");
    for (size_t i = 0; i < MANY; i++)
        entries[i] = entry_of("simon", "echo", data, FM_CALLS_INLINE_BYTES_MAX);
    struct fm_calls_accept accept = {
        .write.on_done = on_written_one, .entries = entries, .entries_count = MANY};
    struct fm_calls_finish finish = finish_of_call(target, FM_STATUS_SUCCEEDED);
    finish.write.on_done = on_written_one;
    vfs_space(0);
    unsigned until = answers + 2;
    fm_calls_accept(fixture.calls, &accept, home());
    fm_calls_finish(fixture.calls, &finish, home());
    (void)fm_calls_writer_turn(fixture.calls);
    wait_answers(until);
    assert_int_equal(accept.write.error, FM_ERR_STORAGE_FULL);
    assert_int_equal(finish.write.error, 0);
    assert_int_equal(finish.result, FM_STATUS_SUCCEEDED);
    assert_true(number_of("status = 2") == 1);
    assert_int_equal(RUN(accept, accept), FM_ERR_STORAGE_FULL);
    vfs_space(-1);
    assert_int_equal(RUN(accept, accept), 0); /* there is space again */
    check_sums(0);
    free(data);
}

static int setup_threads(void **state)
{
    vfs_space(-1);
    calls_setup(state);
    fixture.config.vfs = VFS_NAME;
    open_calls();
    return 0;
}

static void full_and_not(void **state)
{
    (void)state;
    int failed = 0;
    vfs_space(200000);
    for (int i = 0; !failed && i < 10000; i++) {
        struct fm_calls_entry entry = entry_of("simon", "echo", "ping", 4);
        failed = accept_entry(&entry);
    }
    assert_int_equal(failed, FM_ERR_STORAGE_FULL);
    struct fm_calls_list list = {.limit = 1};
    assert_int_equal(do_list(&list), 0); /* reading goes on */
    assert_int_equal(list.records_count, 1);
    fm_calls_list_done(&list);
    vfs_space(-1);
    (void)accepted("simon", "echo", "ping");
    check_sums(0);
}

/* The writer stands still in an fsync.  Asking does not wait, reading goes on, and when enough
 * waits the rest is refused: the others' lane is still open.  Then all of it is done. */
static void slow_disk(void **state)
{
    (void)state;
    enum { MOST = 20 };
    static struct fm_calls_entry entries[MOST + 1];
    static struct fm_calls_accept accepts[MOST + 1];
    close_calls();
    fixture.config.waiting_max = MOST;
    open_calls();
    struct fm_id old = accepted("simon", "echo", "ping");
    unsigned before = answers;
    vfs_gate_close(VFS_LOG);
    for (size_t i = 0; i < MOST + 1; i++) {
        entries[i] = entry_of("simon", "echo", "ping", 4);
        accepts[i] = (struct fm_calls_accept){
            .write.on_done = on_written_one, .entries = &entries[i], .entries_count = 1};
        fm_calls_accept(fixture.calls, &accepts[i], home());
        if (i == 0)
            vfs_gate_wait();
    }
    wait_answers(before + 1); /* the last one, at once */
    assert_int_equal(accepts[MOST].write.error, FM_ERR_BUSY);
    struct fm_calls_claim claim = {
        .write.on_done = on_written_one, .id = old, .started_real_ns = NOW};
    fm_calls_claim(fixture.calls, &claim, home());
    for (int i = 0; i < 10; i++)
        assert_int_equal(status_of(old), FM_STATUS_QUEUED); /* what is on disk */
    struct fm_calls_get get = {.id = entries[0].id};
    assert_int_equal(do_get(&get), FM_ERR_NOT_FOUND);
    before = answers;
    vfs_gate_open();
    wait_answers(before + MOST + 1);
    assert_true(claim.won);
    for (size_t i = 0; i < MOST; i++)
        assert_int_equal(accepts[i].write.error, 0);
    check_sums(0);
}

/* Carrying over the log stands still: commits go on. */
static void slow_checkpoint(void **state)
{
    (void)state;
    uint8_t *data = pattern(FM_CALLS_INLINE_BYTES_MAX, 1);
    static struct fm_calls_entry entries[600];
    for (size_t i = 0; i < FM_ARRAY_LENGTH(entries); i++)
        entries[i] = entry_of("simon", "echo", data, FM_CALLS_INLINE_BYTES_MAX);
    vfs_gate_close(VFS_DATABASE);
    struct fm_calls_accept accept = {.entries = entries, .entries_count = FM_ARRAY_LENGTH(entries)};
    assert_int_equal(do_accept(&accept), 0); /* more than FM_CALLS_WAL_BYTES */
    vfs_gate_wait();
    for (int i = 0; i < 20; i++)
        assert_int_equal(status_of(accepted("simon", "echo", "ping")), FM_STATUS_QUEUED);
    vfs_gate_open();
    (void)accepted("simon", "echo", "ping");
    check_sums(0);
    free(data);
}

#define SLOW_TEST(test) cmocka_unit_test_setup_teardown(test, setup_threads, calls_teardown)

int main(void)
{
    /* Thousands of starts, each with its syncs: in memory, where there is such a folder. */
    if (access("/dev/shm", W_OK) == 0)
        fixture_folder = "/dev/shm";
    take_memory();
    vfs_install();
    const struct CMUnitTest tests[] = {
        CLOSED_TEST(disk_fails),
        CLOSED_TEST(disk_fails_for_good),
        CLOSED_TEST(disk_is_full),
        CLOSED_TEST(opening_fails),
        CLOSED_TEST(reading_fails),
        CLOSED_TEST(memory_fails),
        CLOSED_TEST(memory_fails_at_start),
        CLOSED_TEST(memory_fails_at_reading),
        CLOSED_TEST(end_on_a_full_disk),
        SLOW_TEST(full_and_not),
        SLOW_TEST(slow_disk),
        SLOW_TEST(slow_checkpoint),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
