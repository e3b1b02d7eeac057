/* test_blobs.c - contents that are files: written and synced in the right order, on a disk that
 * fails at every step, and gone when they should be. */
#include "calls_fixture.h"

#include "store/blobs.h"

#define LARGE 20000

static uint8_t *data;

static int setup(void **state)
{
    calls_setup_open(state);
    data = pattern(LARGE, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)faults_disarm();
    free(data);
    return calls_teardown(state);
}

/* A write with everything in files, whose blobs this thread is to write: the pool does not. */
static struct fm_calls_entry children[2];

static void prepare(struct fm_calls_finish *finish)
{
    *finish = finish_of_call(accepted_running("simon", "echo", "ping"), FM_STATUS_SUCCEEDED);
    fm_pool_stop(fixture.pool);
    for (size_t i = 0; i < 2; i++)
        children[i] = entry_of("simon", "child", data, LARGE);
    finish->output = data;
    finish->output_bytes = LARGE;
    finish->log = data;
    finish->log_bytes = LARGE;
    finish->children = children;
    finish->children_count = 2;
    assert_int_equal(do_finish(finish), FM_ERR_BUSY); /* but it is prepared */
    finish->write.error = 0;
    assert_true(finish->write.blobs);
}

static void names(void **state)
{
    (void)state;
    char first[FM_CALLS_FILE_SIZE];
    char second[FM_CALLS_FILE_SIZE];
    char id[FM_ID_TEXT_SIZE];
    struct fm_id one = new_id();
    fm_id_format(one, id);
    fm_blobs_name(one, "output", first);
    fm_blobs_name(one, "output", second);
    assert_memory_equal(first, id, strlen(id));
    assert_memory_equal(first + strlen(id), ".output.", 8);
    assert_int_equal(strlen(first), strlen(id) + 8 + 8);
    assert_string_not_equal(first, second);
}

/* Every file is synced before the folder is, and the folder last. */
static void order(void **state)
{
    (void)state;
    struct fm_calls_finish finish;
    prepare(&finish);
    faults_trace_begin();
    assert_int_equal(finish.write.kind->blobs(fixture.calls, &finish.write), 0);
    assert_string_equal(faults_trace_end(), "create TOMBSTONE\nfsync TOMBSTONE\n"
                                            "create TOMBSTONE\nfsync TOMBSTONE\n"
                                            "create TOMBSTONE\nfsync TOMBSTONE\n"
                                            "create TOMBSTONE\nfsync TOMBSTONE\n"
                                            "fsync blobs\n");
    assert_int_equal(count_in("blobs", NULL), 4);
}

/* A failure at any step leaves none of the files. */
static void faults(void **state)
{
    (void)state;
    static const int errnums[] = {ENOSPC, EDQUOT, EIO, EMFILE};
    static const int codes[] = {FM_ERR_STORAGE_FULL, FM_ERR_STORAGE_FULL, FM_ERR_IO, FM_ERR_BUSY};
    struct fm_calls_finish finish;
    prepare(&finish);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(errnums); i++) {
        long nth = 1;
        for (bool struck = true; struck; nth++) {
            faults_arm(nth, errnums[i], false);
            int failed = finish.write.kind->blobs(fixture.calls, &finish.write);
            struck = faults_disarm();
            assert_int_equal(failed, struck ? codes[i] : 0);
            assert_int_equal(count_in("blobs", NULL), struck ? 0 : 4);
        }
        assert_true(nth > 12 && nth < 30);
        assert_int_equal(fm_tree_empty(fixture.calls->blobs_fd, NULL), 0);
    }
}

static void accept_faults(void **state)
{
    (void)state;
    struct fm_calls_entry entries[2] = {entry_of("simon", "echo", data, LARGE),
                                        entry_of("simon", "echo", data, LARGE)};
    struct fm_calls_accept accept = {.entries = entries, .entries_count = 2};
    fm_pool_stop(fixture.pool);
    assert_int_equal(do_accept(&accept), FM_ERR_BUSY);
    long nth = 1;
    for (bool struck = true; struck; nth++) {
        faults_arm(nth, EIO, false);
        int failed = accept.write.kind->blobs(fixture.calls, &accept.write);
        struck = faults_disarm();
        assert_int_equal(failed, struck ? FM_ERR_IO : 0);
        assert_int_equal(count_in("blobs", NULL), struck ? 0 : 2);
    }
    assert_true(nth > 6);
}

/* Writes that take less than was asked. */
static void short_writes(void **state)
{
    (void)state;
    char file[FM_CALLS_FILE_SIZE];
    for (long nth = 1; nth <= 2; nth++) {
        uint8_t *found = NULL;
        size_t found_bytes = 0;
        fm_blobs_name(new_id(), "input", file);
        faults_arm_short(1);
        assert_int_equal(fm_blobs_write(fixture.calls, file, data, LARGE), 0);
        assert_true(faults_disarm());
        faults_arm_short(1);
        assert_int_equal(fm_blobs_read(fixture.calls, file, LARGE, &found, &found_bytes), 0);
        assert_true(faults_disarm());
        assert_int_equal(found_bytes, LARGE);
        assert_memory_equal(found, data, LARGE);
        free(found);
    }
}

/* A file is either what was written, or an error. */
static void wrong_files(void **state)
{
    (void)state;
    char file[FM_CALLS_FILE_SIZE];
    uint8_t *found = NULL;
    size_t found_bytes = 77;
    fm_blobs_name(new_id(), "input", file);
    assert_int_equal(fm_blobs_read(fixture.calls, file, LARGE, &found, &found_bytes),
                     FM_ERR_NOT_FOUND);
    assert_int_equal(fm_blobs_write(fixture.calls, file, data, LARGE), 0);
    assert_int_equal(fm_blobs_read(fixture.calls, file, LARGE - 1, &found, &found_bytes),
                     FM_ERR_IO);
    assert_int_equal(fm_blobs_read(fixture.calls, file, LARGE + 1, &found, &found_bytes),
                     FM_ERR_IO);
    assert_null(found);
    assert_int_equal(found_bytes, 77);
    assert_int_equal(fm_blobs_write(fixture.calls, file, data, LARGE), FM_ERR_IO); /* is there */
    torture_fail_nth(1);
    assert_int_equal(fm_blobs_read(fixture.calls, file, LARGE, &found, &found_bytes), FM_ERR_NOMEM);
    assert_int_equal(torture_stop(), 1);
}

/* Without memory for its name, a blob stays until the next start. */
static void doomed_without_memory(void **state)
{
    (void)state;
    char file[FM_CALLS_FILE_SIZE];
    fm_blobs_name(new_id(), "input", file);
    assert_int_equal(fm_blobs_write(fixture.calls, file, data, LARGE), 0);
    close_calls();
    struct fm_error error = {0};
    fixture.config.check_bytes_max = 0;
    assert_int_equal(count_in("blobs", NULL), 1);
    assert_int_equal(fm_calls_open_idle(&fixture.config, &fixture.calls, &fixture.notice, &error),
                     0);
    assert_int_equal(fixture.notice.orphans, 1);
    assert_int_equal(fm_blobs_write(fixture.calls, file, data, LARGE), 0);
    torture_fail_nth(1);
    fm_blobs_doom(fixture.calls, file);
    assert_int_equal(torture_stop(), 1);
    fm_blobs_remove_doomed(fixture.calls);
    assert_int_equal(count_in("blobs", NULL), 1);
    fm_blobs_doom(fixture.calls, file);
    torture_fail_nth(1); /* no memory for the job: removed at once */
    fm_blobs_remove_doomed(fixture.calls);
    assert_int_equal(torture_stop(), 1);
    assert_int_equal(count_in("blobs", NULL), 0);
}

/* The disk fails during the sweep and the rest of a start. */
static void start_faults(void **state)
{
    (void)state;
    char file[FM_CALLS_FILE_SIZE];
    struct fm_calls_entry entry = entry_of("simon", "echo", data, LARGE);
    assert_int_equal(accept_entry(&entry), 0);
    long nth = 1;
    for (bool struck = true; struck; nth++) {
        struct fm_error error = {0};
        fm_blobs_name(new_id(), "input", file);
        assert_int_equal(fm_blobs_write(fixture.calls, file, data, LARGE), 0);
        close_calls();
        faults_arm(nth, EIO, false);
        int failed = try_open_calls(&error);
        struck = faults_disarm();
        if (failed) {
            assert_true(struck);
            assert_int_equal(failed, FM_ERR_IO);
            assert_int_equal(error.code, failed);
            open_calls();
        }
        assert_false(fixture.notice.damaged);
        assert_int_equal(status_of(entry.id), FM_STATUS_QUEUED);
        reopen_calls(); /* what could not be removed then is removed now */
        check_sums(1);
    }
    assert_true(nth > 5 && nth < 100);
}

#define BLOB_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BLOB_TEST(names),
        BLOB_TEST(order),
        BLOB_TEST(faults),
        BLOB_TEST(accept_faults),
        BLOB_TEST(short_writes),
        BLOB_TEST(wrong_files),
        BLOB_TEST(doomed_without_memory),
        BLOB_TEST(start_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
