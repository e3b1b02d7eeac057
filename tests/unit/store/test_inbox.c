/* test_inbox.c - what may wait, how much of it one transaction takes, and how it ends. */
#include "calls_fixture.h"

/* --- the inbox alone -------------------------------------------------------------------------- */

static bool take_three(struct fm_message *message, void *data)
{
    unsigned *left = data;
    (void)message;
    if (*left == 0)
        return false;
    *left -= 1;
    return true;
}

static void counts(void **state)
{
    (void)state;
    struct fm_calls_inbox inbox;
    fm_inbox_init(&inbox, 3, 1000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fm_inbox_enter(&inbox, FM_LANE_ACCEPTS, 0), 0);
    assert_int_equal(fm_inbox_enter(&inbox, FM_LANE_ACCEPTS, 0), FM_ERR_BUSY);
    for (int i = 0; i < 3; i++) /* the other lane is its own */
        assert_int_equal(fm_inbox_enter(&inbox, FM_LANE_OTHERS, 0), 0);
    assert_int_equal(fm_inbox_enter(&inbox, FM_LANE_OTHERS, 0), FM_ERR_BUSY);
    fm_inbox_leave(&inbox, FM_LANE_ACCEPTS, 1, 0);
    assert_int_equal(fm_inbox_enter(&inbox, FM_LANE_OTHERS, 0), FM_ERR_BUSY);
    assert_int_equal(fm_inbox_enter(&inbox, FM_LANE_ACCEPTS, 0), 0);
    fm_inbox_leave(&inbox, FM_LANE_ACCEPTS, 3, 0);
    fm_inbox_leave(&inbox, FM_LANE_OTHERS, 3, 0);
    fm_inbox_done(&inbox);
}

static void bytes(void **state)
{
    (void)state;
    struct fm_calls_inbox inbox;
    fm_inbox_init(&inbox, 100, 1000);
    static const struct {
        uint64_t first;
        uint64_t second;
        int error;
    } cases[] = {
        {600, 399, 0},          {600, 400, 0},          {600, 401, FM_ERR_BUSY},
        {1000, 0, 0},           {1000, 1, FM_ERR_BUSY}, {0, 5000, 0}, /* alone, whatever its size */
        {5000, 0, 0},                                                 /* without bytes: always */
        {5000, 1, FM_ERR_BUSY}, {1, 5000, FM_ERR_BUSY}, {1, UINT64_MAX, FM_ERR_BUSY},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        assert_int_equal(fm_inbox_enter(&inbox, FM_LANE_ACCEPTS, cases[i].first), 0);
        assert_int_equal(fm_inbox_enter(&inbox, FM_LANE_ACCEPTS, cases[i].second), cases[i].error);
        assert_int_equal(fm_inbox_enter(&inbox, FM_LANE_OTHERS, 1000), 0);
        fm_inbox_leave(&inbox, FM_LANE_OTHERS, 1, 1000);
        fm_inbox_leave(&inbox, FM_LANE_ACCEPTS, 1, cases[i].first);
        if (cases[i].error == 0)
            fm_inbox_leave(&inbox, FM_LANE_ACCEPTS, 1, cases[i].second);
    }
    fm_inbox_done(&inbox);
}

static void order(void **state)
{
    (void)state;
    struct fm_calls_inbox inbox;
    struct fm_message messages[5];
    fm_inbox_init(&inbox, 100, 1000);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(fm_inbox_enter_put(&inbox, (enum fm_calls_lane)(i % 2), 10, &messages[i]),
                         0);
    unsigned left = 3;
    struct fm_message *list = fm_inbox_take(&inbox, take_three, &left);
    for (size_t i = 0; i < 3; i++, list = list->next)
        assert_ptr_equal(list, &messages[i]);
    assert_null(list);
    assert_false(fm_inbox_empty(&inbox));
    left = 0; /* the first is taken all the same */
    list = fm_inbox_take(&inbox, take_three, &left);
    assert_ptr_equal(list, &messages[3]);
    assert_null(list->next);
    left = 3;
    assert_ptr_equal(fm_inbox_take(&inbox, take_three, &left), &messages[4]);
    assert_true(fm_inbox_empty(&inbox));
    fm_inbox_leave(&inbox, FM_LANE_ACCEPTS, 3, 30);
    fm_inbox_leave(&inbox, FM_LANE_OTHERS, 2, 20);
    fm_inbox_stop(&inbox);
    assert_null(fm_inbox_take(&inbox, take_three, &left));
    assert_int_equal(fm_inbox_enter(&inbox, FM_LANE_OTHERS, 0), FM_ERR_BUSY);
    fm_inbox_done(&inbox);
}

/* --- the store -------------------------------------------------------------------------------- */

static void open_idle(void)
{
    struct fm_error error = {0};
    if (fm_calls_open_idle(&fixture.config, &fixture.calls, &fixture.notice, &error) != 0)
        fail_msg("%s", error.text);
}

#define MANY 8
static struct fm_calls_entry entries[MANY];
static struct fm_calls_accept accepts[MANY];

static void ask_many(size_t count, const uint8_t *data, size_t input_bytes)
{
    for (size_t i = 0; i < count; i++) {
        entries[i] = entry_of("simon", "echo", data, input_bytes);
        accepts[i] = (struct fm_calls_accept){
            .write.on_done = on_written_one, .entries = &entries[i], .entries_count = 1};
        fm_calls_accept(fixture.calls, &accepts[i], home());
    }
}

/* Turns until all are written; how many rows each transaction brought. */
static void assert_batches(const int64_t *rows, size_t turns)
{
    int64_t before = 0;
    for (size_t i = 0; i < turns; i++) {
        assert_true(fm_calls_writer_turn(fixture.calls));
        int64_t now = sql_number("SELECT rows FROM totals");
        assert_int_equal(now - before, rows[i]);
        before = now;
    }
    assert_true(fm_inbox_empty(&fixture.calls->writes));
}

static void batch_counts(void **state)
{
    (void)state;
    static const struct {
        uint32_t most;
        int64_t rows[3];
        size_t turns;
    } cases[] = {{2, {2, 2, 1}, 3}, {4, {4, 1}, 2}, {5, {5}, 1}, {6, {5}, 1}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        unsigned until = answers + 5;
        fixture.config.batch_max = cases[i].most;
        open_idle();
        ask_many(5, (const uint8_t *)"ping", 4);
        assert_batches(cases[i].rows, cases[i].turns);
        wait_answers(until);
        close_calls();
        assert_int_equal(unlink(in_folder("calls.db")), 0);
    }
}

static void batch_bytes(void **state)
{
    (void)state;
    uint8_t *data = pattern(100, 1);
    static const struct {
        uint64_t most;
        int64_t rows[5];
        size_t turns;
    } cases[] = {{1, {1, 1, 1, 1, 1}, 5},
                 {299, {2, 2, 1}, 3},
                 {300, {3, 2}, 2},
                 {301, {3, 2}, 2},
                 {500, {5}, 1}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        unsigned until = answers + 5;
        fixture.config.batch_bytes_max = cases[i].most;
        open_idle();
        ask_many(5, data, 100);
        assert_batches(cases[i].rows, cases[i].turns);
        wait_answers(until);
        close_calls();
        assert_int_equal(unlink(in_folder("calls.db")), 0);
    }
    free(data);
}

static void waiting_bytes(void **state)
{
    (void)state;
    uint8_t *data = pattern(100, 1);
    for (uint64_t most = 299; most <= 301; most++) {
        unsigned before = answers;
        fixture.config.waiting_bytes_max = most;
        open_idle();
        ask_many(4, data, 100);
        assert_true(fm_calls_writer_turn(fixture.calls));
        wait_answers(before + 4);
        size_t refused = 0;
        for (size_t i = 0; i < 4; i++)
            refused += accepts[i].write.error == FM_ERR_BUSY;
        assert_int_equal(refused, most < 300 ? 2 : 1);
        ask_many(1, data, 100); /* there is room again */
        assert_true(fm_calls_writer_turn(fixture.calls));
        wait_answers(before + 5);
        assert_int_equal(accepts[0].write.error, 0);
        close_calls();
        assert_int_equal(unlink(in_folder("calls.db")), 0);
    }
    free(data);
}

static void waiting_reads(void **state)
{
    (void)state;
    enum { MOST = FM_CALLS_READS_MAX };
    struct fm_calls_get *gets = calloc(MOST + 1, sizeof(*gets));
    assert_non_null(gets);
    open_idle();
    unsigned before = answers;
    for (size_t i = 0; i < MOST + 1; i++) {
        gets[i] = (struct fm_calls_get){.read.on_done = on_read_one, .id = {1, 2}};
        fm_calls_get(fixture.calls, &gets[i], home());
    }
    wait_answers(before + 1);
    assert_int_equal(gets[MOST].read.error, FM_ERR_BUSY);
    while (!fm_inbox_empty(&fixture.calls->reads))
        assert_true(fm_calls_reader_turn(fixture.calls));
    wait_answers(before + MOST + 1);
    for (size_t i = 0; i < MOST; i++)
        assert_int_equal(gets[i].read.error, FM_ERR_NOT_FOUND);
    free(gets);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void stop(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static struct fm_calls_entry many[COUNT];
    static struct fm_calls_accept asked[COUNT];
    uint8_t *data = pattern(20000, 1);
    unsigned before = answers;
    for (size_t i = 0; i < COUNT; i++) {
        many[i] = entry_of("simon", "echo", data, i % 2 ? 20000 : 4);
        asked[i] = (struct fm_calls_accept){
            .write.on_done = on_written_one, .entries = &many[i], .entries_count = 1};
        fm_calls_accept(fixture.calls, &asked[i], home());
    }
    fm_calls_stop(fixture.calls); /* waits for all of them, with their blobs */
    assert_int_equal(sql_number("SELECT rows FROM totals"), COUNT);
    wait_answers(before + COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(asked[i].write.error, 0);
    struct fm_calls_accept late = {.entries = &many[0], .entries_count = 1};
    assert_int_equal(do_accept(&late), FM_ERR_BUSY);
    struct fm_calls_get get = {.id = many[0].id};
    assert_int_equal(do_get(&get), FM_ERR_BUSY);
    fm_calls_stop(fixture.calls); /* again */
    close_calls();
    check_sums(COUNT / 2);
    open_calls();
    free(data);
}

static void free_nothing(void **state)
{
    (void)state;
    fm_calls_stop(NULL);
    assert_null(fm_calls_free(NULL));
}

/* A large body on its way does not keep small writes out, not even where it fills its own lane. */
static void large_apart(void **state)
{
    (void)state;
    uint8_t *data = pattern(30000, 1);
    unsigned before = answers;
    fixture.config.waiting_bytes_max = 20000;
    open_idle(); /* without a writer all of them stay */
    static struct fm_calls_entry all[3];
    static struct fm_calls_accept asked[3];
    static const size_t sizes[] = {30000, 100, 17000};
    for (size_t i = 0; i < 3; i++) {
        all[i] = entry_of("simon", "echo", data, sizes[i]);
        asked[i] = (struct fm_calls_accept){
            .write.on_done = on_written_one, .entries = &all[i], .entries_count = 1};
        fm_calls_accept(fixture.calls, &asked[i], home());
    }
    wait_answers(before + 1);
    assert_int_equal(asked[2].write.error, FM_ERR_BUSY);
    fm_calls_stop(fixture.calls);
    wait_answers(before + 3);
    assert_int_equal(asked[0].write.error, 0);
    assert_int_equal(asked[1].write.error, 0);
    free(data);
}

/* --- a pool without room ---------------------------------------------------------------------- */

/* The pool refuses: what needs it is answered with FM_ERR_BUSY, what can do without does. */
static void pool_is_full(void **state)
{
    (void)state;
    uint8_t *data = pattern(20000, 1);
    struct fm_calls_entry entry = entry_of("simon", "echo", data, 20000);
    assert_int_equal(accept_entry(&entry), 0);
    fm_pool_stop(fixture.pool); /* refuses from now on */
    struct fm_calls_entry other = entry_of("simon", "echo", data, 20000);
    assert_int_equal(accept_entry(&other), FM_ERR_BUSY);
    struct fm_calls_claim claim = {.id = entry.id, .started_real_ns = NOW, .want_input = true};
    assert_int_equal(do_claim(&claim), FM_ERR_BUSY);
    assert_true(claim.won);
    assert_null(claim.input);
    struct fm_calls_get get = {.id = entry.id, .want_input = true};
    assert_int_equal(do_get(&get), FM_ERR_BUSY);
    assert_null(get.record.user);
    struct fm_calls_finish finish = finish_of_call(entry.id, FM_STATUS_SUCCEEDED);
    finish.output = data;
    finish.output_bytes = 20000;
    assert_int_equal(do_finish(&finish), FM_ERR_BUSY);
    finish.output_bytes = 100;
    assert_int_equal(do_finish(&finish), 0);
    assert_int_equal(status_of(entry.id), FM_STATUS_SUCCEEDED);
    close_calls();
    check_sums(0); /* its input was removed by the writer itself */
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),   cmocka_unit_test(bytes),  cmocka_unit_test(order),
        CLOSED_TEST(batch_counts),  CLOSED_TEST(batch_bytes), CLOSED_TEST(waiting_bytes),
        CLOSED_TEST(waiting_reads), CALLS_TEST(stop),         cmocka_unit_test(free_nothing),
        CALLS_TEST(pool_is_full),   CLOSED_TEST(large_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
