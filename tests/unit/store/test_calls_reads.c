/* test_calls_reads.c - what each read finds: lists and their pages, contents, sums; and what was
 * written before. */
#include "calls_fixture.h"

#define SCAN ((size_t)FM_CALLS_LIST_SCAN_MAX)

/* --- one call --------------------------------------------------------------------------------- */

/* Only what was wanted is there. */
static void get_wants(void **state)
{
    (void)state;
    uint8_t *data = pattern(20000, 1);
    for (int large = 0; large <= 1; large++) {
        struct fm_calls_entry entry = entry_of("simon", "echo", data, large ? 20000 : 10);
        entry.started_real_ns = NOW;
        assert_int_equal(accept_entry(&entry), 0);
        struct fm_calls_finish finish = finish_of_call(entry.id, FM_STATUS_DEAD);
        finish.output = data + 1;
        finish.output_bytes = large ? 19000 : 11;
        finish.log = data + 2;
        finish.log_bytes = large ? 18000 : 12;
        assert_int_equal(do_finish(&finish), 0);
        for (int want = 0; want < 8; want++) {
            struct fm_calls_get get = {.id = entry.id,
                                       .want_input = want & 1,
                                       .want_output = want & 2,
                                       .want_log = want & 4};
            assert_int_equal(do_get(&get), 0);
            assert_int_equal(get.input.data != NULL, get.want_input);
            assert_int_equal(get.output.data != NULL, get.want_output);
            assert_int_equal(get.log.data != NULL, get.want_log);
            if (get.want_input)
                assert_content(&get.input, data, entry.input_bytes);
            if (get.want_output)
                assert_content(&get.output, data + 1, finish.output_bytes);
            if (get.want_log)
                assert_content(&get.log, data + 2, finish.log_bytes);
            fm_calls_get_done(&get);
            assert_null(get.record.user);
        }
    }
    free(data);
}

/* Each read is asked in the on_done of the write that it must see. */
struct chain {
    struct fm_calls_entry entry;
    struct fm_calls_accept accept;
    struct fm_calls_get get;
    unsigned rounds;
};

static void chain_next(struct chain *chain)
{
    chain->entry = entry_of("simon", "echo", "ping", 4);
    chain->accept.entries = &chain->entry;
    chain->accept.entries_count = 1;
    fm_calls_accept(fixture.calls, &chain->accept, home());
}

static void chain_written(struct fm_calls_write *write)
{
    struct chain *chain = FM_CONTAINER_OF(FM_CONTAINER_OF(write, struct fm_calls_accept, write),
                                          struct chain, accept);
    assert_int_equal(write->error, 0);
    chain->get.id = chain->entry.id;
    fm_calls_get(fixture.calls, &chain->get, home());
}

static void chain_read(struct fm_calls_read *read)
{
    struct chain *chain =
        FM_CONTAINER_OF(FM_CONTAINER_OF(read, struct fm_calls_get, read), struct chain, get);
    assert_int_equal(read->error, 0); /* it is there, at once */
    fm_calls_get_done(&chain->get);
    if (--chain->rounds > 0)
        chain_next(chain);
    else
        answers++;
}

static void read_after_write(void **state)
{
    (void)state;
    enum { CHAINS = 8, ROUNDS = 100 };
    static struct chain chains[CHAINS];
    unsigned until = answers + CHAINS;
    for (size_t i = 0; i < CHAINS; i++) {
        chains[i] = (struct chain){.rounds = ROUNDS};
        chains[i].accept.write.on_done = chain_written;
        chains[i].get.read.on_done = chain_read;
        chain_next(&chains[i]);
    }
    wait_answers(until);
    check_sums(0);
}

/* --- lists ------------------------------------------------------------------------------------ */

static void list_empty(void **state)
{
    (void)state;
    struct fm_calls_list list = {.limit = 10};
    assert_int_equal(do_list(&list), 0);
    assert_int_equal(list.records_count, 0);
    assert_true(fm_id_none(list.next));
    fm_calls_list_done(&list);
}

static void list_limits(void **state)
{
    (void)state;
    static const struct {
        uint32_t limit;
        int error;
    } cases[] = {{0, FM_ERR_BAD_REQUEST},
                 {1, 0},
                 {FM_CALLS_LIST_MAX - 1, 0},
                 {FM_CALLS_LIST_MAX, 0},
                 {FM_CALLS_LIST_MAX + 1, FM_ERR_BAD_REQUEST},
                 {UINT32_MAX, FM_ERR_BAD_REQUEST}};
    enum { COUNT = FM_CALLS_LIST_MAX + 5 };
    static struct fm_calls_entry entries[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        entries[i] = entry_of("simon", "echo", "", 0);
    struct fm_calls_accept accept = {.entries = entries, .entries_count = COUNT};
    assert_int_equal(do_accept(&accept), 0);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        struct fm_calls_list list = {.limit = cases[i].limit};
        assert_int_equal(do_list(&list), cases[i].error);
        if (cases[i].error)
            continue;
        assert_int_equal(list.records_count, cases[i].limit);
        assert_true(same_id(list.next, entries[COUNT - cases[i].limit].id));
        fm_calls_list_done(&list);
    }
}

/* Pages of every size show all calls once, the latest first. */
static void list_pages(void **state)
{
    (void)state;
    struct fm_id ids[7];
    for (size_t i = 0; i < 7; i++)
        ids[i] = accepted("simon", "echo", "");
    for (uint32_t limit = 1; limit <= 8; limit++) {
        struct fm_calls_list list = {.limit = limit};
        size_t seen = 0;
        size_t pages = 0;
        do {
            assert_int_equal(do_list(&list), 0);
            for (size_t i = 0; i < list.records_count; i++, seen++)
                assert_true(same_id(list.records[i].id, ids[6 - seen]));
            list.after = list.next;
            fm_calls_list_done(&list);
            pages++;
        } while (!fm_id_none(list.after));
        assert_int_equal(seen, 7);
        assert_int_equal(pages, (7 + limit - 1) / limit); /* no empty one at the end */
    }
}

/* A cursor goes on being one after its call was forgotten. */
static void list_cursor_gone(void **state)
{
    (void)state;
    struct fm_id oldest = accepted("simon", "echo", "");
    struct fm_id gone = accepted_running("simon", "echo", "");
    (void)accepted("simon", "echo", "");
    finished(gone, FM_STATUS_SUCCEEDED);
    struct fm_calls_forget forget = {
        .now_real_ns = KEEP, .rows_max = UINT64_MAX, .bytes_max = UINT64_MAX};
    assert_int_equal(do_forget(&forget), 0);
    assert_int_equal(forget.forgotten, 1);
    struct fm_calls_list list = {.limit = 10, .after = gone};
    assert_int_equal(do_list(&list), 0);
    assert_int_equal(list.records_count, 1);
    assert_true(same_id(list.records[0].id, oldest));
    fm_calls_list_done(&list);
}

static void list_filters(void **state)
{
    (void)state;
    static const struct {
        const char *user;
        const char *function;
        enum fm_call_status status;
    } made[] = {
        {"simon", "echo", FM_STATUS_QUEUED},  {"simon", "echo", FM_STATUS_RUNNING},
        {"simon", "echo", FM_STATUS_DEAD},    {"simon", "copy", FM_STATUS_SUCCEEDED},
        {"tom", "echo", FM_STATUS_QUEUED},    {"tom", "copy", FM_STATUS_FAILED},
        {"tom", "copy", FM_STATUS_SUCCEEDED},
    };
    static const struct {
        const char *user;
        const char *function;
        int status; /* -1: any */
        size_t count;
    } cases[] = {
        {NULL, NULL, -1, 7},
        {"simon", NULL, -1, 4},
        {"tom", NULL, -1, 3},
        {"nobody", NULL, -1, 0},
        {NULL, "echo", -1, 4},
        {NULL, "nothing", -1, 0},
        {"simon", "echo", -1, 3},
        {NULL, NULL, FM_STATUS_QUEUED, 2},
        {NULL, NULL, FM_STATUS_SUCCEEDED, 2},
        {"tom", NULL, FM_STATUS_SUCCEEDED, 1},
        {"tom", "copy", FM_STATUS_FAILED, 1},
        {"tom", "echo", FM_STATUS_FAILED, 0},
        {NULL, NULL, FM_STATUS_CANCELLED, 0},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(made); i++) {
        bool queued = made[i].status == FM_STATUS_QUEUED;
        struct fm_id id = queued ? accepted(made[i].user, made[i].function, "")
                                 : accepted_running(made[i].user, made[i].function, "");
        if (!queued && made[i].status != FM_STATUS_RUNNING)
            finished(id, made[i].status);
    }
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        struct fm_calls_list list = {.limit = 10,
                                     .user = cases[i].user,
                                     .function = cases[i].function,
                                     .by_status = cases[i].status >= 0};
        if (list.by_status)
            list.status = (enum fm_call_status)cases[i].status;
        assert_int_equal(do_list(&list), 0);
        assert_int_equal(list.records_count, cases[i].count);
        for (size_t j = 0; j < list.records_count; j++) {
            if (cases[i].user)
                assert_string_equal(list.records[j].user, cases[i].user);
            if (cases[i].function)
                assert_string_equal(list.records[j].function, cases[i].function);
            if (cases[i].status >= 0)
                assert_int_equal(list.records[j].status, cases[i].status);
        }
        assert_true(fm_id_none(list.next));
        fm_calls_list_done(&list);
    }
}

/* A search that finds nothing gives up after so many calls, and says from where to go on. */
static void list_scan_limit(void **state)
{
    (void)state;
    struct fm_calls_entry *entries = calloc(SCAN + 1, sizeof(*entries));
    assert_non_null(entries);
    for (int extra = -1; extra <= 1; extra++) {
        size_t count = (size_t)((int64_t)SCAN + extra);
        const char *user = extra < 0 ? "a" : extra == 0 ? "b" : "c";
        for (size_t i = 0; i < count; i++)
            entries[i] = entry_of(user, i == 0 ? "wanted" : "other", "", 0);
        struct fm_calls_accept accept = {.entries = entries, .entries_count = count};
        assert_int_equal(do_accept(&accept), 0);
        struct fm_calls_list list = {.user = user, .function = "wanted", .limit = 10};
        assert_int_equal(do_list(&list), 0);
        assert_int_equal(list.records_count, extra <= 0);
        assert_int_equal(fm_id_none(list.next), extra <= 0);
        list.after = list.next;
        fm_calls_list_done(&list);
        if (extra <= 0)
            continue;
        assert_true(same_id(list.after, entries[1].id));
        assert_int_equal(do_list(&list), 0);
        assert_int_equal(list.records_count, 1);
        assert_true(fm_id_none(list.next));
        fm_calls_list_done(&list);
    }
    free(entries);
}

/* A page ends early when its records are large; each is on one page. */
static void list_bytes_limit(void **state)
{
    (void)state;
    enum { COUNT = 5 };
    size_t bytes = FM_CALLS_LIST_BYTES_MAX / 2;
    char *detail = malloc(bytes + 1);
    assert_non_null(detail);
    memset(detail, 'x', bytes);
    detail[bytes] = '\0';
    for (size_t i = 0; i < COUNT; i++) {
        struct fm_calls_finish finish =
            finish_of_call(accepted_running("simon", "echo", ""), FM_STATUS_FAILED);
        finish.detail = detail;
        assert_int_equal(do_finish(&finish), 0);
    }
    struct fm_calls_list list = {.limit = COUNT};
    static const size_t expected[] = {2, 2, 1};
    for (size_t page = 0; page < 3; page++) {
        assert_int_equal(do_list(&list), 0);
        assert_int_equal(list.records_count, expected[page]);
        list.after = list.next;
        fm_calls_list_done(&list);
    }
    assert_true(fm_id_none(list.after));
    free(detail);
}

static void totals(void **state)
{
    (void)state;
    struct fm_calls_totals sums = {0};
    assert_int_equal(do_totals(&sums), 0);
    assert_int_equal(sums.rows + sums.rows_open + sums.bytes, 0);
    (void)accepted("simon", "echo", "ping");
    finished(accepted_running("simon", "echo", "ping"), FM_STATUS_SUCCEEDED);
    assert_int_equal(do_totals(&sums), 0);
    assert_int_equal(sums.rows, 2);
    assert_int_equal(sums.rows_open, 1);
    assert_int_equal(sums.bytes, 2 * FM_CALLS_ROW_BYTES + 4);
    reopen_calls();
    assert_int_equal(do_totals(&sums), 0);
    assert_int_equal(sums.rows, 2);
}

/* Someone else reads the database for long: writes and reads go on, and the log is begun anew when
 * he has ended. */
static void foreign_reader(void **state)
{
    (void)state;
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    struct fm_id id = accepted("simon", "echo", "ping");
    assert_int_equal(sqlite3_open(in_folder("calls.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "BEGIN", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT status FROM calls", -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    claimed(id);
    finished(id, FM_STATUS_SUCCEEDED);
    assert_int_equal(status_of(id), FM_STATUS_SUCCEEDED);
    assert_int_equal(sqlite3_reset(statement), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), FM_STATUS_QUEUED); /* what he began with */
    (void)sqlite3_finalize(statement);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* The log does not grow for ever under a steady load. */
static void log_is_carried_over(void **state)
{
    (void)state;
    uint8_t *data = pattern(FM_CALLS_INLINE_BYTES_MAX, 1);
    uint64_t largest = 0;
    uint64_t written = 0;
    while (written < 20 * FM_CALLS_WAL_BYTES) {
        struct fm_calls_entry entries[64];
        for (size_t i = 0; i < 64; i++)
            entries[i] = entry_of("simon", "echo", data, FM_CALLS_INLINE_BYTES_MAX);
        struct fm_calls_accept accept = {.entries = entries, .entries_count = 64};
        assert_int_equal(do_accept(&accept), 0);
        written += 64 * FM_CALLS_INLINE_BYTES_MAX;
        struct stat status;
        assert_int_equal(stat(in_folder("calls.db-wal"), &status), 0);
        largest = fm_max_u64(largest, (uint64_t)status.st_size);
    }
    assert_true(largest < 10 * FM_CALLS_WAL_BYTES);
    assert_true(largest >= FM_CALLS_WAL_BYTES);
    check_sums(0);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CALLS_TEST(get_wants),    CALLS_TEST(read_after_write), CALLS_TEST(list_empty),
        CALLS_TEST(list_limits),  CALLS_TEST(list_pages),       CALLS_TEST(list_cursor_gone),
        CALLS_TEST(list_filters), CALLS_TEST(list_scan_limit),  CALLS_TEST(list_bytes_limit),
        CALLS_TEST(totals),       CALLS_TEST(foreign_reader),   CALLS_TEST(log_is_carried_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
