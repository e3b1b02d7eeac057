/* test_calls_writes.c - what each write does to a call, and who wins. */
#include "calls_fixture.h"

/* --- accept ----------------------------------------------------------------------------------- */

static void accept_queued(void **state)
{
    (void)state;
    struct fm_calls_entry entry = entry_of("simon", "echo", "ping", 4);
    entry.parent = new_id();
    entry.run_at_real_ns = NOW + 7;
    entry.attempts_max = 3;
    entry.depth = 2;
    assert_int_equal(accept_entry(&entry), 0);
    struct fm_calls_get get = {
        .id = entry.id, .want_input = true, .want_output = true, .want_log = true};
    assert_int_equal(do_get(&get), 0);
    const struct fm_call_record *record = &get.record;
    assert_true(same_id(record->id, entry.id));
    assert_true(same_id(record->parent, entry.parent));
    assert_int_equal(record->status, FM_STATUS_QUEUED);
    assert_int_equal(record->attempt, 0);
    assert_int_equal(record->attempts_max, 3);
    assert_int_equal(record->depth, 2);
    assert_string_equal(record->user, "simon");
    assert_string_equal(record->function, "echo");
    assert_string_equal(record->version, "v1");
    assert_null(record->key);
    assert_int_equal(record->created_real_ns, NOW);
    assert_int_equal(record->run_at_real_ns, NOW + 7);
    assert_int_equal(record->started_real_ns, 0);
    assert_int_equal(record->finished_real_ns, 0);
    assert_int_equal(record->input_bytes, 4);
    assert_int_equal(record->error, 0);
    assert_content(&get.input, (const uint8_t *)"ping", 4);
    assert_null(get.output.data);
    assert_null(get.log.data);
    fm_calls_get_done(&get);
    check_sums(0);
}

static void accept_running(void **state)
{
    (void)state;
    struct fm_id id = accepted_running("simon", "echo", "");
    struct fm_call_record record = record_of(id);
    assert_int_equal(record.status, FM_STATUS_RUNNING);
    assert_int_equal(record.attempt, 1);
    assert_int_equal(record.started_real_ns, NOW + 1);
    fm_call_record_done(&record);
    struct fm_calls_claim claim = {.id = id, .started_real_ns = NOW, .want_input = true};
    assert_int_equal(do_claim(&claim), 0);
    assert_false(claim.won); /* it has its claim */
    assert_int_equal(claim.found, FM_STATUS_RUNNING);
    assert_null(claim.input);
}

static void accept_several(void **state)
{
    (void)state;
    struct fm_calls_entry entries[3];
    for (size_t i = 0; i < FM_ARRAY_LENGTH(entries); i++)
        entries[i] = entry_of("simon", "echo", "ping", 4);
    struct fm_calls_accept accept = {.entries = entries, .entries_count = 3};
    assert_int_equal(do_accept(&accept), 0);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(entries); i++)
        assert_int_equal(status_of(entries[i].id), FM_STATUS_QUEUED);
    check_sums(0);
}

/* The last one's id is taken: nothing of the others is left, and those around are not touched. */
static void accept_all_or_none(void **state)
{
    (void)state;
    struct fm_calls_entry entries[3];
    struct fm_id before = accepted("simon", "echo", "before");
    for (size_t i = 0; i < FM_ARRAY_LENGTH(entries); i++)
        entries[i] = entry_of("simon", "echo", "ping", 4);
    entries[2].id = before;
    struct fm_calls_accept accept = {.entries = entries, .entries_count = 3};
    assert_int_equal(do_accept(&accept), FM_ERR_CONFLICT);
    struct fm_calls_get get = {.id = entries[0].id};
    assert_int_equal(do_get(&get), FM_ERR_NOT_FOUND);
    get.id = entries[1].id;
    assert_int_equal(do_get(&get), FM_ERR_NOT_FOUND);
    assert_int_equal(status_of(before), FM_STATUS_QUEUED);
    assert_int_equal(sql_number("SELECT rows FROM totals"), 1);
    entries[2].id = entries[0].id; /* the same one twice in one write */
    assert_int_equal(do_accept(&accept), FM_ERR_CONFLICT);
    entries[0].id = before; /* the very first */
    entries[2].id = new_id();
    assert_int_equal(do_accept(&accept), FM_ERR_CONFLICT);
    check_sums(0);
    assert_int_equal(sql_number("SELECT rows FROM totals"), 1);
}

static void accept_entries_limit(void **state)
{
    (void)state;
    size_t most = FM_CALLS_ENTRIES_MAX;
    struct fm_calls_entry *entries = calloc(most + 1, sizeof(*entries));
    assert_non_null(entries);
    for (size_t i = 0; i < most + 1; i++)
        entries[i] = entry_of("simon", "echo", "", 0);
    struct fm_calls_accept accept = {.entries = entries, .entries_count = most + 1};
    assert_int_equal(do_accept(&accept), FM_ERR_TOO_LARGE);
    assert_int_equal(sql_number("SELECT rows FROM totals"), 0);
    accept.entries_count = most;
    assert_int_equal(do_accept(&accept), 0);
    assert_int_equal(sql_number("SELECT rows FROM totals"), most);
    struct fm_calls_accept less = {.entries = entries, .entries_count = most - 1};
    for (size_t i = 0; i < most - 1; i++)
        entries[i].id = new_id();
    assert_int_equal(do_accept(&less), 0);
    check_sums(0);
    free(entries);
}

/* --- keys ------------------------------------------------------------------------------------- */

static void key_same_input(void **state)
{
    (void)state;
    struct fm_calls_entry first = entry_of("simon", "echo", "ping", 4);
    struct fm_calls_entry second = entry_of("simon", "echo", "ping", 4);
    first.key = "order 1";
    second.key = "order 1";
    assert_int_equal(accept_entry(&first), 0);
    struct fm_calls_accept accept = {.entries = &second, .entries_count = 1};
    assert_int_equal(do_accept(&accept), 0);
    assert_true(accept.found);
    assert_true(same_id(accept.existing.id, first.id));
    assert_string_equal(accept.existing.key, "order 1");
    assert_int_equal(accept.existing.status, FM_STATUS_QUEUED);
    fm_call_record_done(&accept.existing);
    check_sums(0);
    assert_int_equal(sql_number("SELECT rows FROM totals"), 1);
    /* As long as the row is there, whatever became of it. */
    claimed(first.id);
    finished(first.id, FM_STATUS_FAILED);
    assert_int_equal(do_accept(&accept), 0);
    assert_true(accept.found);
    assert_int_equal(accept.existing.status, FM_STATUS_FAILED);
    fm_call_record_done(&accept.existing);
    struct fm_calls_forget forget = {
        .now_real_ns = KEEP, .rows_max = UINT64_MAX, .bytes_max = UINT64_MAX};
    assert_int_equal(do_forget(&forget), 0);
    assert_int_equal(do_accept(&accept), 0);
    assert_false(accept.found);
}

static void key_other_input(void **state)
{
    (void)state;
    static const char *const inputs[] = {"pinG", "pin", "ping2", ""};
    struct fm_calls_entry first = entry_of("simon", "echo", "ping", 4);
    first.key = "k";
    assert_int_equal(accept_entry(&first), 0);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(inputs); i++) {
        struct fm_calls_entry second = entry_of("simon", "echo", inputs[i], strlen(inputs[i]));
        second.key = "k";
        assert_int_equal(accept_entry(&second), FM_ERR_CONFLICT);
    }
    check_sums(0);
}

/* A key is one user's, for one function. */
static void key_of_others(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"simon", "echo"}, {"simon", "echo2"}, {"tom", "echo"}, {"tom", "echo2"}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(names); i++) {
        struct fm_calls_entry entry = entry_of(names[i][0], names[i][1], "ping", 4);
        entry.key = "k";
        assert_int_equal(accept_entry(&entry), 0);
    }
    assert_int_equal(sql_number("SELECT rows FROM totals"), 4);
}

static void key_large_input(void **state)
{
    (void)state;
    size_t bytes = FM_CALLS_INLINE_BYTES_MAX + 1;
    uint8_t *data = pattern(bytes, 1);
    struct fm_calls_entry first = entry_of("simon", "echo", data, bytes);
    struct fm_calls_entry second = entry_of("simon", "echo", data, bytes);
    first.key = "k";
    second.key = "k";
    assert_int_equal(accept_entry(&first), 0);
    struct fm_calls_accept accept = {.entries = &second, .entries_count = 1};
    assert_int_equal(do_accept(&accept), 0);
    assert_true(accept.found);
    fm_call_record_done(&accept.existing);
    data[bytes / 2] ^= 1;
    assert_int_equal(do_accept(&accept), FM_ERR_CONFLICT);
    close_calls(); /* waits for the removal of what was written for nothing */
    check_sums(1);
    open_calls();
    free(data);
}

/* Many requests with one key at once: one call. */
static void key_race(void **state)
{
    (void)state;
    enum { COUNT = 50 };
    struct fm_calls_entry entries[COUNT];
    struct fm_calls_accept accepts[COUNT];
    unsigned until = answers + COUNT;
    for (size_t i = 0; i < COUNT; i++) {
        entries[i] = entry_of("simon", "echo", "ping", 4);
        entries[i].key = "k";
        accepts[i] = (struct fm_calls_accept){
            .write.on_done = on_written_one, .entries = &entries[i], .entries_count = 1};
        fm_calls_accept(fixture.calls, &accepts[i], home());
    }
    wait_answers(until);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(accepts[i].write.error, 0);
        assert_int_equal(accepts[i].found, i > 0); /* in the order in which they were asked */
        if (i > 0)
            assert_true(same_id(accepts[i].existing.id, entries[0].id));
        fm_call_record_done(&accepts[i].existing);
    }
    check_sums(0);
}

static void key_limits(void **state)
{
    (void)state;
    char key[FM_CALLS_KEY_BYTES_MAX + 2];
    memset(key, 'k', sizeof(key));
    static const struct {
        size_t length;
        int error;
    } cases[] = {
        {0, FM_ERR_BAD_REQUEST},
        {1, 0},
        {FM_CALLS_KEY_BYTES_MAX - 1, 0},
        {FM_CALLS_KEY_BYTES_MAX, 0},
        {FM_CALLS_KEY_BYTES_MAX + 1, FM_ERR_BAD_REQUEST},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        struct fm_calls_entry entry = entry_of("simon", "echo", "", 0);
        key[cases[i].length] = '\0';
        entry.key = key;
        assert_int_equal(accept_entry(&entry), cases[i].error);
        key[cases[i].length] = 'k';
    }
}

/* --- claim ------------------------------------------------------------------------------------ */

static void claim_wins_once(void **state)
{
    (void)state;
    struct fm_id id = accepted("simon", "echo", "ping");
    struct fm_calls_claim claims[2];
    unsigned until = answers + 2;
    for (size_t i = 0; i < 2; i++) {
        claims[i] = (struct fm_calls_claim){.write.on_done = on_written_one,
                                            .id = id,
                                            .started_real_ns = NOW + 9,
                                            .want_input = i == 0};
        fm_calls_claim(fixture.calls, &claims[i], home());
    }
    wait_answers(until);
    assert_true(claims[0].won);
    assert_int_equal(claims[0].attempt, 1);
    assert_int_equal(claims[0].input_bytes, 4);
    assert_memory_equal(claims[0].input, "ping", 4);
    free(claims[0].input);
    assert_false(claims[1].won);
    assert_int_equal(claims[1].found, FM_STATUS_RUNNING);
    struct fm_call_record record = record_of(id);
    assert_int_equal(record.status, FM_STATUS_RUNNING);
    assert_int_equal(record.attempt, 1);
    assert_int_equal(record.started_real_ns, NOW + 9);
    fm_call_record_done(&record);
    check_sums(0);
}

/* Inputs around the limit, of which the larger ones are files. */
static void claim_inputs(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,
                                   1,
                                   FM_CALLS_INLINE_BYTES_MAX - 1,
                                   FM_CALLS_INLINE_BYTES_MAX,
                                   FM_CALLS_INLINE_BYTES_MAX + 1,
                                   1000000};
    size_t files = 0;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sizes); i++) {
        uint8_t *data = pattern(sizes[i], (uint8_t)i);
        struct fm_calls_entry entry = entry_of("simon", "echo", data, sizes[i]);
        assert_int_equal(accept_entry(&entry), 0);
        files += sizes[i] > FM_CALLS_INLINE_BYTES_MAX;
        check_sums(files);
        struct fm_calls_claim claim = {.id = entry.id, .started_real_ns = NOW, .want_input = true};
        assert_int_equal(do_claim(&claim), 0);
        assert_true(claim.won);
        assert_non_null(claim.input);
        assert_int_equal(claim.input_bytes, sizes[i]);
        if (sizes[i] > 0)
            assert_memory_equal(claim.input, data, sizes[i]);
        free(claim.input);
        free(data);
    }
}

static void claim_without_file(void **state)
{
    (void)state;
    char name[64];
    uint8_t *data = pattern(20000, 1);
    struct fm_calls_entry entry = entry_of("simon", "echo", data, 20000);
    assert_int_equal(accept_entry(&entry), 0);
    assert_int_equal(count_in("blobs", name), 1);
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/blobs/%s", fixture.data, name);
    assert_int_equal(truncate(path, 19999), 0);
    struct fm_calls_claim claim = {.id = entry.id, .started_real_ns = NOW, .want_input = true};
    assert_int_equal(do_claim(&claim), FM_ERR_IO);
    assert_true(claim.won); /* and says so: the attempt has begun */
    assert_null(claim.input);
    assert_int_equal(claim.input_bytes, 0);
    assert_int_equal(unlink(path), 0);
    struct fm_calls_get get = {.id = entry.id, .want_input = true};
    assert_int_equal(do_get(&get), FM_ERR_IO);
    assert_int_equal(status_of(entry.id), FM_STATUS_RUNNING);
    free(data);
}

static void unknown_calls(void **state)
{
    (void)state;
    struct fm_calls_claim claim = {.id = new_id(), .started_real_ns = NOW};
    assert_int_equal(do_claim(&claim), FM_ERR_NOT_FOUND);
    assert_false(claim.won);
    struct fm_calls_finish finish = finish_of_call(new_id(), FM_STATUS_SUCCEEDED);
    assert_int_equal(do_finish(&finish), FM_ERR_NOT_FOUND);
    struct fm_calls_cancel cancel = {
        .id = new_id(), .finished_real_ns = NOW, .keep_until_real_ns = KEEP};
    assert_int_equal(do_cancel(&cancel), FM_ERR_NOT_FOUND);
    assert_null(cancel.record.user);
    struct fm_calls_redrive redrive = {.id = new_id(), .run_at_real_ns = NOW};
    assert_int_equal(do_redrive(&redrive), FM_ERR_NOT_FOUND);
    struct fm_calls_get get = {.id = new_id()};
    assert_int_equal(do_get(&get), FM_ERR_NOT_FOUND);
}

/* --- finish ----------------------------------------------------------------------------------- */

static void finish_with_all(void **state)
{
    (void)state;
    struct fm_id id = accepted_running("simon", "echo", "ping");
    struct fm_calls_finish finish = finish_of_call(id, FM_STATUS_FAILED);
    finish.cpu_ns = 11;
    finish.wall_ns = 12;
    finish.memory_bytes = 13;
    finish.exit_code = -3;
    finish.error = FM_ERR_GUEST_TRAP;
    finish.limit = "wall_ms";
    finish.trap = "unreachable";
    finish.detail = "the guest trapped";
    finish.backtrace = "0: main";
    finish.output = (const uint8_t *)"out";
    finish.output_bytes = 3;
    finish.log = (const uint8_t *)"line\n";
    finish.log_bytes = 5;
    finish.log_truncated = true;
    assert_int_equal(do_finish(&finish), 0);
    assert_int_equal(finish.result, FM_STATUS_FAILED);
    struct fm_calls_get get = {.id = id, .want_input = true, .want_output = true, .want_log = true};
    assert_int_equal(do_get(&get), 0);
    assert_int_equal(get.record.status, FM_STATUS_FAILED);
    assert_int_equal(get.record.finished_real_ns, NOW + 2 * SECOND);
    assert_int_equal(get.record.run_at_real_ns, NOW);
    assert_int_equal(get.record.cpu_ns, 11);
    assert_int_equal(get.record.wall_ns, 12);
    assert_int_equal(get.record.memory_bytes, 13);
    assert_int_equal(get.record.exit_code, -3);
    assert_int_equal(get.record.error, FM_ERR_GUEST_TRAP);
    assert_string_equal(get.record.limit, "wall_ms");
    assert_string_equal(get.record.trap, "unreachable");
    assert_string_equal(get.record.detail, "the guest trapped");
    assert_string_equal(get.record.backtrace, "0: main");
    assert_int_equal(get.record.input_bytes, 4); /* its size is remembered, */
    assert_null(get.input.data);                 /* the input itself is dropped */
    assert_int_equal(get.record.output_bytes, 3);
    assert_content(&get.output, (const uint8_t *)"out", 3);
    assert_content(&get.log, (const uint8_t *)"line\n", 5);
    assert_true(get.record.log_truncated);
    fm_calls_get_done(&get);
    check_sums(0);
}

static void finish_large(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, FM_CALLS_INLINE_BYTES_MAX - 1, FM_CALLS_INLINE_BYTES_MAX,
                                   FM_CALLS_INLINE_BYTES_MAX + 1, 3000000};
    size_t files = 0;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sizes); i++) {
        uint8_t *output = pattern(sizes[i], (uint8_t)i);
        uint8_t *log = pattern(sizes[i], (uint8_t)(i + 100));
        struct fm_id id = accepted_running("simon", "echo", "ping");
        struct fm_calls_finish finish = finish_of_call(id, FM_STATUS_SUCCEEDED);
        finish.output = output;
        finish.output_bytes = sizes[i];
        finish.log = log;
        finish.log_bytes = sizes[i];
        assert_int_equal(do_finish(&finish), 0);
        files += sizes[i] > FM_CALLS_INLINE_BYTES_MAX ? 2 : 0;
        struct fm_calls_get get = {.id = id, .want_output = true, .want_log = true};
        assert_int_equal(do_get(&get), 0);
        assert_content(&get.output, output, sizes[i]);
        assert_content(&get.log, log, sizes[i]);
        fm_calls_get_done(&get);
        free(output);
        free(log);
        check_sums(files);
    }
}

/* The input's file goes with the end, and the files of the attempt before with the next. */
static void finish_drops_files(void **state)
{
    (void)state;
    uint8_t *data = pattern(20000, 1);
    struct fm_calls_entry entry = entry_of("simon", "echo", data, 20000);
    assert_int_equal(accept_entry(&entry), 0);
    claimed(entry.id);
    struct fm_calls_finish finish = finish_of_call(entry.id, FM_STATUS_QUEUED);
    finish.log = data;
    finish.log_bytes = 20000;
    finish.output = data; /* not kept: there will be another attempt */
    finish.output_bytes = 20000;
    assert_int_equal(do_finish(&finish), 0);
    reopen_calls(); /* waits for removals */
    check_sums(2);
    claimed(entry.id);
    finish.log = data;
    assert_int_equal(do_finish(&finish), 0);
    reopen_calls();
    check_sums(2);
    claimed(entry.id);
    finished(entry.id, FM_STATUS_SUCCEEDED);
    reopen_calls();
    check_sums(0);
    free(data);
}

static void retry(void **state)
{
    (void)state;
    struct fm_id id = accepted_running("simon", "echo", "ping");
    struct fm_calls_finish finish = finish_of_call(id, FM_STATUS_QUEUED);
    finish.error = FM_ERR_DEADLINE;
    finish.detail = "too slow";
    finish.output = (const uint8_t *)"half";
    finish.output_bytes = 4;
    finish.log = (const uint8_t *)"line\n";
    finish.log_bytes = 5;
    assert_int_equal(do_finish(&finish), 0);
    assert_int_equal(finish.result, FM_STATUS_QUEUED);
    struct fm_calls_get get = {.id = id, .want_input = true, .want_output = true, .want_log = true};
    assert_int_equal(do_get(&get), 0);
    assert_int_equal(get.record.status, FM_STATUS_QUEUED);
    assert_int_equal(get.record.attempt, 1);
    assert_int_equal(get.record.run_at_real_ns, NOW + 5 * SECOND);
    assert_int_equal(get.record.finished_real_ns, 0);
    assert_int_equal(get.record.error, FM_ERR_DEADLINE);
    assert_int_equal(get.record.output_bytes, 0);
    assert_null(get.output.data);
    assert_content(&get.log, (const uint8_t *)"line\n", 5);
    assert_content(&get.input, (const uint8_t *)"ping", 4);
    fm_calls_get_done(&get);
    check_sums(0);
    struct fm_calls_claim claim = {.id = id, .started_real_ns = NOW, .want_input = true};
    assert_int_equal(do_claim(&claim), 0);
    assert_int_equal(claim.attempt, 2);
    assert_memory_equal(claim.input, "ping", 4);
    free(claim.input);
}

static void finish_only_running(void **state)
{
    (void)state;
    static const enum fm_call_status ends[] = {FM_STATUS_SUCCEEDED, FM_STATUS_FAILED,
                                               FM_STATUS_CANCELLED, FM_STATUS_DEAD};
    struct fm_id id = accepted("simon", "echo", "ping");
    struct fm_calls_finish finish = finish_of_call(id, FM_STATUS_SUCCEEDED);
    assert_int_equal(do_finish(&finish), FM_ERR_CONFLICT);
    assert_int_equal(finish.result, FM_STATUS_QUEUED);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(ends); i++) {
        id = accepted_running("simon", "echo", "ping");
        finished(id, ends[i]);
        finish.id = id;
        assert_int_equal(do_finish(&finish), FM_ERR_CONFLICT);
        assert_int_equal(finish.result, ends[i]);
        assert_int_equal(status_of(id), ends[i]);
    }
    check_sums(0);
}

/* --- children --------------------------------------------------------------------------------- */

static void children_with_parent(void **state)
{
    (void)state;
    struct fm_calls_entry children[2];
    struct fm_id id = accepted_running("simon", "parent", "");
    for (size_t i = 0; i < 2; i++) {
        children[i] = entry_of("simon", "child", "ping", 4);
        children[i].parent = id;
        children[i].depth = 1;
    }
    children[1].started_real_ns = NOW + 4; /* claimed with it */
    struct fm_calls_finish finish = finish_of_call(id, FM_STATUS_SUCCEEDED);
    finish.children = children;
    finish.children_count = 2;
    assert_int_equal(do_finish(&finish), 0);
    struct fm_call_record record = record_of(id);
    assert_int_equal(record.children_count, 2);
    assert_true(same_id(record.children[0], children[0].id));
    assert_true(same_id(record.children[1], children[1].id));
    fm_call_record_done(&record);
    record = record_of(children[0].id);
    assert_true(same_id(record.parent, id));
    assert_int_equal(record.status, FM_STATUS_QUEUED);
    fm_call_record_done(&record);
    assert_int_equal(status_of(children[1].id), FM_STATUS_RUNNING);
    check_sums(0);
}

/* A child that cannot be inserted: the parent has not ended, and can end otherwise. */
/* They have no rows: their ids are kept however the call ends, before those that are stored. */
static void started_calls(void **state)
{
    (void)state;
    const struct fm_id started[2] = {{1, 2}, {3, 4}};
    for (int ends_well = 0; ends_well <= 1; ends_well++) {
        struct fm_id id = accepted_running("simon", "parent", "");
        struct fm_calls_entry child = entry_of("simon", "child", "", 0);
        struct fm_calls_finish finish =
            finish_of_call(id, ends_well ? FM_STATUS_SUCCEEDED : FM_STATUS_FAILED);
        finish.error = ends_well ? 0 : FM_ERR_GUEST_TRAP;
        finish.started = started;
        finish.started_count = 2;
        finish.children = &child;
        finish.children_count = 1;
        assert_int_equal(do_finish(&finish), 0);
        struct fm_call_record record = record_of(id);
        assert_int_equal(record.children_count, ends_well ? 3 : 2);
        assert_true(same_id(record.children[0], started[0]));
        assert_true(same_id(record.children[1], started[1]));
        if (ends_well)
            assert_true(same_id(record.children[2], child.id));
        fm_call_record_done(&record);
    }
}

static void children_conflict(void **state)
{
    (void)state;
    struct fm_id id = accepted_running("simon", "parent", "");
    struct fm_id taken = accepted("simon", "child", "");
    struct fm_calls_entry children[2] = {entry_of("simon", "child", "", 0),
                                         entry_of("simon", "child", "", 0)};
    children[1].id = taken;
    struct fm_calls_finish finish = finish_of_call(id, FM_STATUS_SUCCEEDED);
    finish.children = children;
    finish.children_count = 2;
    assert_int_equal(do_finish(&finish), FM_ERR_CONFLICT);
    assert_int_equal(status_of(id), FM_STATUS_RUNNING);
    assert_int_equal(sql_number("SELECT rows FROM totals"), 2);
    finished(id, FM_STATUS_FAILED);
    check_sums(0);
}

/* Only of one that succeeded. */
static void children_of_failed(void **state)
{
    (void)state;
    static const enum fm_call_status ends[] = {FM_STATUS_FAILED, FM_STATUS_CANCELLED,
                                               FM_STATUS_DEAD, FM_STATUS_QUEUED};
    uint8_t *data = pattern(20000, 1);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(ends); i++) {
        struct fm_id id = accepted_running("simon", "parent", "");
        struct fm_calls_entry child = entry_of("simon", "child", data, 20000);
        struct fm_calls_finish finish = finish_of_call(id, ends[i]);
        finish.children = &child;
        finish.children_count = 1;
        assert_int_equal(do_finish(&finish), 0);
        struct fm_calls_get get = {.id = child.id};
        assert_int_equal(do_get(&get), FM_ERR_NOT_FOUND);
        struct fm_call_record record = record_of(id);
        assert_int_equal(record.children_count, 0);
        fm_call_record_done(&record);
    }
    check_sums(0);
    free(data);
}

static void children_limit(void **state)
{
    (void)state;
    size_t most = FM_CALLS_ENTRIES_MAX;
    struct fm_calls_entry *children = calloc(most + 1, sizeof(*children));
    assert_non_null(children);
    for (size_t i = 0; i < most + 1; i++)
        children[i] = entry_of("simon", "child", "", 0);
    struct fm_id id = accepted_running("simon", "parent", "");
    struct fm_calls_finish finish = finish_of_call(id, FM_STATUS_SUCCEEDED);
    finish.children = children;
    finish.children_count = most + 1;
    assert_int_equal(do_finish(&finish), FM_ERR_TOO_LARGE);
    assert_int_equal(status_of(id), FM_STATUS_RUNNING);
    finish.children_count = most;
    assert_int_equal(do_finish(&finish), 0);
    struct fm_call_record record = record_of(id);
    assert_int_equal(record.children_count, most);
    assert_true(same_id(record.children[most - 1], children[most - 1].id));
    fm_call_record_done(&record);
    check_sums(0);
    free(children);
}

/* --- cancel ----------------------------------------------------------------------------------- */

static struct fm_calls_cancel cancel_of_call(struct fm_id id)
{
    return (struct fm_calls_cancel){
        .id = id, .finished_real_ns = NOW + 6, .keep_until_real_ns = KEEP};
}

static void cancel_queued(void **state)
{
    (void)state;
    uint8_t *data = pattern(20000, 1);
    struct fm_calls_entry entry = entry_of("simon", "echo", data, 20000);
    assert_int_equal(accept_entry(&entry), 0);
    struct fm_calls_cancel cancel = cancel_of_call(entry.id);
    assert_int_equal(do_cancel(&cancel), 0);
    assert_int_equal(cancel.found, FM_STATUS_QUEUED);
    struct fm_call_record record = record_of(entry.id);
    const struct fm_call_record *const both[] = {&cancel.record, &record};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(both[i]->status, FM_STATUS_CANCELLED);
        assert_int_equal(both[i]->error, FM_ERR_CANCELLED);
        assert_int_equal(both[i]->finished_real_ns, NOW + 6);
        assert_int_equal(both[i]->attempt, 0);
        assert_false(both[i]->cancelled);
        assert_string_equal(both[i]->user, "simon");
    }
    fm_call_record_done(&cancel.record);
    fm_call_record_done(&record);
    struct fm_calls_claim claim = {.id = entry.id, .started_real_ns = NOW};
    assert_int_equal(do_claim(&claim), 0);
    assert_false(claim.won);
    assert_int_equal(claim.found, FM_STATUS_CANCELLED);
    close_calls();
    check_sums(0); /* its input is gone */
    open_calls();
    free(data);
}

/* Whatever a call ends as after its cancellation is on disk, it ends as cancelled. */
static void cancel_before_end(void **state)
{
    (void)state;
    static const enum fm_call_status ends[] = {FM_STATUS_SUCCEEDED, FM_STATUS_FAILED,
                                               FM_STATUS_CANCELLED, FM_STATUS_DEAD,
                                               FM_STATUS_QUEUED};
    uint8_t *data = pattern(20000, 1);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(ends); i++) {
        struct fm_id id = accepted_running("simon", "echo", "ping");
        struct fm_calls_cancel cancel = cancel_of_call(id);
        assert_int_equal(do_cancel(&cancel), 0);
        assert_int_equal(cancel.found, FM_STATUS_RUNNING);
        assert_int_equal(cancel.record.status, FM_STATUS_RUNNING);
        assert_true(cancel.record.cancelled);
        fm_call_record_done(&cancel.record);
        struct fm_call_record record = record_of(id);
        assert_true(record.cancelled);
        fm_call_record_done(&record);

        struct fm_calls_entry child = entry_of("simon", "child", data, 20000);
        struct fm_calls_finish finish = finish_of_call(id, ends[i]);
        finish.output = data;
        finish.output_bytes = ends[i] == FM_STATUS_CANCELLED ? 0 : 20000;
        finish.error = ends[i] == FM_STATUS_SUCCEEDED ? 0 : FM_ERR_CANCELLED;
        finish.children = &child;
        finish.children_count = 1;
        assert_int_equal(do_finish(&finish), 0);
        assert_int_equal(finish.result, FM_STATUS_CANCELLED);
        record = record_of(id);
        assert_int_equal(record.status, FM_STATUS_CANCELLED);
        assert_int_equal(record.error, FM_ERR_CANCELLED);
        assert_int_equal(record.output_bytes, 0);
        assert_int_equal(record.children_count, 0);
        assert_int_equal(record.finished_real_ns, NOW + 2 * SECOND);
        assert_false(record.cancelled);
        fm_call_record_done(&record);
        struct fm_calls_get get = {.id = child.id};
        assert_int_equal(do_get(&get), FM_ERR_NOT_FOUND);
    }
    close_calls();
    check_sums(0);
    open_calls();
    free(data);
}

static void cancel_after_end(void **state)
{
    (void)state;
    static const enum fm_call_status ends[] = {FM_STATUS_SUCCEEDED, FM_STATUS_FAILED,
                                               FM_STATUS_CANCELLED, FM_STATUS_DEAD};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(ends); i++) {
        struct fm_id id = accepted_running("simon", "echo", "ping");
        finished(id, ends[i]);
        struct fm_calls_cancel cancel = cancel_of_call(id);
        assert_int_equal(do_cancel(&cancel), 0);
        assert_int_equal(cancel.found, ends[i]);
        assert_int_equal(cancel.record.status, ends[i]);
        assert_int_equal(cancel.record.finished_real_ns, NOW + 2 * SECOND);
        fm_call_record_done(&cancel.record);
        assert_int_equal(status_of(id), ends[i]);
    }
    check_sums(0);
}

/* Asked at once, in one order and the other: the first wins, and both are told. */
static void cancel_races_end(void **state)
{
    (void)state;
    for (int cancel_first = 0; cancel_first <= 1; cancel_first++) {
        struct fm_id id = accepted_running("simon", "echo", "ping");
        struct fm_calls_finish finish = finish_of_call(id, FM_STATUS_SUCCEEDED);
        struct fm_calls_cancel cancel = cancel_of_call(id);
        finish.write.on_done = on_written_one;
        cancel.write.on_done = on_written_one;
        unsigned until = answers + 2;
        if (cancel_first)
            fm_calls_cancel(fixture.calls, &cancel, home());
        fm_calls_finish(fixture.calls, &finish, home());
        if (!cancel_first)
            fm_calls_cancel(fixture.calls, &cancel, home());
        wait_answers(until);
        assert_int_equal(cancel.found, cancel_first ? FM_STATUS_RUNNING : FM_STATUS_SUCCEEDED);
        assert_int_equal(finish.result, cancel_first ? FM_STATUS_CANCELLED : FM_STATUS_SUCCEEDED);
        assert_int_equal(status_of(id), finish.result);
        fm_call_record_done(&cancel.record);
    }
}

/* --- redrive ---------------------------------------------------------------------------------- */

static void redrive_dead(void **state)
{
    (void)state;
    uint8_t *data = pattern(20000, 1);
    struct fm_calls_entry entry = entry_of("simon", "echo", data, 20000);
    entry.key = "k";
    entry.attempts_max = 2;
    entry.started_real_ns = NOW;
    assert_int_equal(accept_entry(&entry), 0);
    sql("UPDATE calls SET strikes = 2");
    struct fm_calls_finish finish = finish_of_call(entry.id, FM_STATUS_DEAD);
    finish.error = FM_ERR_INTERNAL;
    finish.detail = "crashed";
    finish.log = data;
    finish.log_bytes = 20000;
    finish.output = data;
    finish.output_bytes = 20000;
    assert_int_equal(do_finish(&finish), 0);
    check_sums(3);
    struct fm_calls_redrive redrive = {.id = entry.id, .run_at_real_ns = NOW + 77};
    assert_int_equal(do_redrive(&redrive), 0);
    struct fm_calls_get get = {
        .id = entry.id, .want_input = true, .want_output = true, .want_log = true};
    assert_int_equal(do_get(&get), 0);
    const struct fm_call_record *const both[] = {&redrive.record, &get.record};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(both[i]->status, FM_STATUS_QUEUED);
        assert_int_equal(both[i]->attempt, 0);
        assert_int_equal(both[i]->attempts_max, 2);
        assert_int_equal(both[i]->strikes, 0);
        assert_int_equal(both[i]->run_at_real_ns, NOW + 77);
        assert_int_equal(both[i]->started_real_ns, 0);
        assert_int_equal(both[i]->finished_real_ns, 0);
        assert_int_equal(both[i]->error, 0);
        assert_null(both[i]->detail);
        assert_int_equal(both[i]->output_bytes, 0);
        assert_int_equal(both[i]->log_bytes, 0);
        assert_int_equal(both[i]->input_bytes, 20000);
        assert_string_equal(both[i]->key, "k");
    }
    assert_content(&get.input, data, 20000);
    assert_null(get.output.data);
    assert_null(get.log.data);
    fm_calls_get_done(&get);
    fm_call_record_done(&redrive.record);
    reopen_calls();
    check_sums(1);
    claimed(entry.id);
    free(data);
}

static void redrive_others(void **state)
{
    (void)state;
    struct fm_calls_redrive redrive = {.id = accepted("simon", "echo", ""), .run_at_real_ns = NOW};
    assert_int_equal(do_redrive(&redrive), FM_ERR_CONFLICT);
    assert_int_equal(redrive.record.status, FM_STATUS_QUEUED);
    fm_call_record_done(&redrive.record);
    claimed(redrive.id);
    assert_int_equal(do_redrive(&redrive), FM_ERR_CONFLICT);
    fm_call_record_done(&redrive.record);
    finished(redrive.id, FM_STATUS_FAILED);
    assert_int_equal(do_redrive(&redrive), FM_ERR_CONFLICT);
    assert_int_equal(redrive.record.status, FM_STATUS_FAILED);
    fm_call_record_done(&redrive.record);
    check_sums(0);
}

/* --- forget ----------------------------------------------------------------------------------- */

static struct fm_calls_forget forget_at(uint64_t now_real_ns)
{
    return (struct fm_calls_forget){
        .now_real_ns = now_real_ns, .rows_max = UINT64_MAX, .bytes_max = UINT64_MAX};
}

static struct fm_id ended_until(uint64_t keep_until_real_ns)
{
    struct fm_id id = accepted_running("simon", "echo", "ping");
    struct fm_calls_finish finish = finish_of_call(id, FM_STATUS_SUCCEEDED);
    finish.keep_until_real_ns = keep_until_real_ns;
    assert_int_equal(do_finish(&finish), 0);
    return id;
}

static bool is_there(struct fm_id id)
{
    struct fm_calls_get get = {.id = id};
    int failed = do_get(&get);
    fm_calls_get_done(&get);
    return failed == 0;
}

static void forget_by_time(void **state)
{
    (void)state;
    struct fm_id late = ended_until(NOW + 30);
    struct fm_id early = ended_until(NOW + 10);
    struct fm_id middle = ended_until(NOW + 20);
    struct fm_id open = accepted("simon", "echo", "ping");
    struct fm_calls_forget forget = forget_at(NOW + 9);
    assert_int_equal(do_forget(&forget), 0);
    assert_int_equal(forget.forgotten, 0);
    assert_int_equal(forget.next_real_ns, NOW + 10);
    forget = forget_at(NOW + 20);
    assert_int_equal(do_forget(&forget), 0);
    assert_int_equal(forget.forgotten, 2);
    assert_int_equal(forget.next_real_ns, NOW + 30);
    assert_false(forget.more);
    assert_false(is_there(early));
    assert_false(is_there(middle));
    assert_true(is_there(late));
    check_sums(0);
    forget = forget_at(UINT64_MAX);
    assert_int_equal(do_forget(&forget), 0);
    assert_int_equal(forget.forgotten, 1);
    assert_int_equal(forget.next_real_ns, 0);
    assert_true(is_there(open)); /* never one that has not ended */
    check_sums(0);
}

static void forget_by_rows(void **state)
{
    (void)state;
    struct fm_id ids[4];
    for (size_t i = 0; i < 4; i++)
        ids[i] = ended_until(KEEP + i);
    struct fm_calls_forget forget = forget_at(NOW);
    forget.rows_max = 4;
    assert_int_equal(do_forget(&forget), 0);
    assert_int_equal(forget.forgotten, 0);
    forget.rows_max = 3;
    assert_int_equal(do_forget(&forget), 0);
    assert_int_equal(forget.forgotten, 1);
    assert_false(is_there(ids[0]));
    assert_true(is_there(ids[1]));
    (void)accepted("simon", "echo", ""); /* counts as well, but cannot go */
    forget.rows_max = 0;
    assert_int_equal(do_forget(&forget), 0);
    assert_int_equal(forget.forgotten, 3);
    assert_int_equal(sql_number("SELECT rows FROM totals"), 1);
    check_sums(0);
}

static void forget_by_bytes(void **state)
{
    (void)state;
    uint8_t *data = pattern(20000, 1);
    for (size_t i = 0; i < 3; i++) {
        struct fm_id id = accepted_running("simon", "echo", "");
        struct fm_calls_finish finish = finish_of_call(id, FM_STATUS_SUCCEEDED);
        finish.output = data;
        finish.output_bytes = 20000;
        assert_int_equal(do_finish(&finish), 0);
    }
    uint64_t each = FM_CALLS_ROW_BYTES + 20000;
    assert_int_equal(sql_number("SELECT bytes FROM totals"), 3 * each);
    struct fm_calls_forget forget = forget_at(NOW);
    forget.bytes_max = 3 * each;
    assert_int_equal(do_forget(&forget), 0);
    assert_int_equal(forget.forgotten, 0);
    forget.bytes_max = 3 * each - 1;
    assert_int_equal(do_forget(&forget), 0);
    assert_int_equal(forget.forgotten, 1);
    reopen_calls();
    check_sums(2);
    forget.bytes_max = 0;
    assert_int_equal(do_forget(&forget), 0);
    reopen_calls();
    check_sums(0);
    free(data);
}

static void forget_at_most(void **state)
{
    (void)state;
    for (int extra = -1; extra <= 1; extra++) {
        size_t count = (size_t)(FM_CALLS_FORGET_MAX + extra);
        struct fm_calls_entry *entries = calloc(count, sizeof(*entries));
        assert_non_null(entries);
        for (size_t i = 0; i < count; i++)
            entries[i] = entry_of("simon", "echo", "", 0);
        struct fm_calls_accept accept = {.entries = entries, .entries_count = count};
        assert_int_equal(do_accept(&accept), 0);
        close_calls();
        sql("UPDATE calls SET status = 2, keep_until = 5; UPDATE totals SET rows_open = 0");
        open_calls();
        struct fm_calls_forget forget = forget_at(5);
        assert_int_equal(do_forget(&forget), 0);
        assert_int_equal(forget.forgotten, extra > 0 ? FM_CALLS_FORGET_MAX : count);
        assert_int_equal(forget.more, extra > 0);
        if (forget.more) {
            assert_int_equal(do_forget(&forget), 0);
            assert_int_equal(forget.forgotten, 1);
            assert_false(forget.more);
        }
        check_sums(0);
        free(entries);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CALLS_TEST(accept_queued),
        CALLS_TEST(accept_running),
        CALLS_TEST(accept_several),
        CALLS_TEST(accept_all_or_none),
        CALLS_TEST(accept_entries_limit),
        CALLS_TEST(key_same_input),
        CALLS_TEST(key_other_input),
        CALLS_TEST(key_of_others),
        CALLS_TEST(key_large_input),
        CALLS_TEST(key_race),
        CALLS_TEST(key_limits),
        CALLS_TEST(claim_wins_once),
        CALLS_TEST(claim_inputs),
        CALLS_TEST(claim_without_file),
        CALLS_TEST(unknown_calls),
        CALLS_TEST(finish_with_all),
        CALLS_TEST(finish_large),
        CALLS_TEST(finish_drops_files),
        CALLS_TEST(retry),
        CALLS_TEST(finish_only_running),
        CALLS_TEST(children_with_parent),
        CALLS_TEST(started_calls),
        CALLS_TEST(children_conflict),
        CALLS_TEST(children_of_failed),
        CALLS_TEST(children_limit),
        CALLS_TEST(cancel_queued),
        CALLS_TEST(cancel_before_end),
        CALLS_TEST(cancel_after_end),
        CALLS_TEST(cancel_races_end),
        CALLS_TEST(redrive_dead),
        CALLS_TEST(redrive_others),
        CALLS_TEST(forget_by_time),
        CALLS_TEST(forget_by_rows),
        CALLS_TEST(forget_by_bytes),
        CALLS_TEST(forget_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
