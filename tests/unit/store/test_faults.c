/* test_faults.c - a disk that fails, or a process that dies, at every single step of a change.
 *
 * The change is made again and again, with the n-th system call failing, until none fails.  In the
 * one kind of run only that call fails: who got an error must find everything as it was.  In the
 * other every later call fails too, as if the process had died there: then the next start finds the
 * old state or the new one, whole. */
#include "store_fixture.h"

static const int errnums[] = {ENOSPC, EDQUOT, EIO, EMFILE, EROFS};

static int wanted_code(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return FM_ERR_STORAGE_FULL;
    case EMFILE:
        return FM_ERR_BUSY;
    default:
        return FM_ERR_IO;
    }
}

/* What the next start finds: the module of simon/echo, or NULL; nothing else, and nothing half. */
static const char *after_restart(const char *old, const char *new)
{
    struct seen seen;
    const char *found = NULL;
    open_store();
    assert_int_equal(count_in("incoming"), 0);
    assert_int_equal(count_in("trash"), 0);
    see(&seen);
    assert_int_equal(seen.bad_count, 0);
    assert_true(seen.count <= 1);
    if (seen.count == 1) {
        char *module =
            get_file(in_data("functions/simon/echo/%s/function.wasm", seen.versions[0]->id));
        found = old && strcmp(module, old) == 0 ? old : new;
        assert_non_null(found);
        assert_whole(seen.versions[0], found);
        free(module);
    } else {
        assert_int_equal(count_in("functions"), 0); /* not even folders */
    }
    seen_done(&seen);
    return found;
}

static void clear(void)
{
    uint64_t sequence;
    int failed = fm_functions_remove(fixture_store, "simon", "echo", &sequence, NULL);
    assert_true(failed == 0 || failed == FM_ERR_NOT_FOUND);
    assert_null(after_restart(NULL, NULL));
}

/* One run.  `old` is NULL for a function that is new.  Whether the fault struck. */
static bool upload_run(const char *old, long nth, int errnum, bool crash)
{
    struct deployed first = {0};
    struct deployed second = {0};
    struct fm_error error = {0};
    if (old)
        first = deploy("simon", "echo", old);
    faults_arm(nth, errnum, crash);
    int failed = try_deploy("simon", "echo", "the new module", &second, &error);
    bool struck = faults_disarm();
    assert_int_equal(failed == 0, second.version != NULL);
    if (failed) {
        assert_true(struck);
        assert_int_equal(error.code, failed);
        if (!crash)
            assert_int_equal(failed, wanted_code(errnum));
    }
    if (failed && old && !crash) { /* this server goes on as before */
        struct fm_version *none = second.version;
        assert_null(none);
        assert_whole(first.version, old);
        assert_int_equal(count_in("functions/simon/echo"), 1);
        assert_int_equal(count_in("incoming") <= 1, 1); /* what could not be deleted */
    }
    const char *found = after_restart(old, "the new module");
    if (!failed)
        assert_string_equal(found, "the new module"); /* acknowledged is durable */
    else if (!crash)
        assert_ptr_equal(found, old);
    else
        assert_true(found != NULL || old == NULL);
    fm_version_free(first.version);
    fm_version_free(second.version);
    clear();
    return struck;
}

static void uploads(void **state)
{
    (void)state;
    static const char *const olds[] = {NULL, "the old one"};
    open_store();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(olds); i++) {
        for (size_t j = 0; j < FM_ARRAY_LENGTH(errnums); j++) {
            for (int crash = 0; crash <= 1; crash++) {
                long nth = 1;
                while (upload_run(olds[i], nth, errnums[j], crash))
                    nth++;
                assert_true(nth > 20 && nth < 200);
            }
        }
    }
}

static int edit_args(void *data, struct fm_version *version, struct fm_error *error)
{
    (void)data;
    (void)error;
    version->args_count = 1;
    return 0;
}

/* Another configuration for the same module. */
static bool edit_run(long nth, int errnum, bool crash)
{
    struct deployed first = deploy("simon", "echo", "module");
    struct deployed second = {0};
    struct fm_error error = {0};
    struct seen seen;
    faults_arm(nth, errnum, crash);
    int failed = fm_functions_edit(fixture_store, "simon", "echo", edit_args, NULL, &second.version,
                                   &second.sequence, &error);
    bool struck = faults_disarm();
    assert_int_equal(failed == 0, second.version != NULL);
    assert_int_equal(error.code, failed);
    if (failed)
        assert_true(struck);
    if (failed && !crash) { /* what cannot be read is an error of the disk, whatever the reason */
        assert_true(failed == wanted_code(errnum) || failed == FM_ERR_IO);
        assert_int_equal(count_in("functions/simon/echo"), 1);
    }
    assert_whole(first.version, "module");
    assert_string_equal(after_restart("module", NULL), "module");
    see(&seen);
    assert_int_equal(seen.count, 1);
    if (!failed)
        assert_int_equal(seen.versions[0]->args_count, 1);
    else if (!crash)
        assert_int_equal(seen.versions[0]->args_count, 2);
    seen_done(&seen);
    fm_version_free(first.version);
    fm_version_free(second.version);
    clear();
    return struck;
}

static void edits(void **state)
{
    (void)state;
    open_store();
    for (size_t j = 0; j < FM_ARRAY_LENGTH(errnums); j++) {
        for (int crash = 0; crash <= 1; crash++) {
            long nth = 1;
            while (edit_run(nth, errnums[j], crash))
                nth++;
            assert_true(nth > 20 && nth < 200);
        }
    }
}

static bool removal_run(long nth, int errnum, bool crash)
{
    uint64_t sequence = 77;
    struct fm_error error = {0};
    struct deployed deployed = deploy("simon", "echo", "module");
    faults_arm(nth, errnum, crash);
    int failed = fm_functions_remove(fixture_store, "simon", "echo", &sequence, &error);
    bool struck = faults_disarm();
    assert_int_equal(error.code, failed);
    assert_whole(deployed.version, "module"); /* removed or not, it can be run */
    if (failed) {
        assert_true(struck);
        assert_int_equal(sequence, 77);
    }
    const char *found = after_restart("module", NULL);
    if (!failed)
        assert_null(found);
    else if (!crash && failed != FM_ERR_NOT_FOUND)
        assert_non_null(found);
    fm_version_free(deployed.version);
    clear();
    return struck;
}

static void removals(void **state)
{
    (void)state;
    open_store();
    for (size_t j = 0; j < FM_ARRAY_LENGTH(errnums); j++) {
        for (int crash = 0; crash <= 1; crash++) {
            long nth = 1;
            while (removal_run(nth, errnums[j], crash))
                nth++;
            assert_true(nth > 8 && nth < 100);
        }
    }
}

/* Two versions, of which the older one is dropped. */
static bool drop_run(long nth, bool crash)
{
    struct deployed older = deploy("simon", "echo", "older");
    struct deployed newer = deploy("simon", "echo", "newer");
    faults_arm(nth, EIO, crash);
    fm_functions_drop(fixture_store, older.version);
    bool struck = faults_disarm();
    if (!struck) {
        assert_false(exists(older.version->folder));
        assert_int_equal(count_in("trash"), 0);
    }
    if (exists(older.version->folder)) /* all of it or nothing of it */
        assert_whole(older.version, "older");
    assert_whole(newer.version, "newer");
    assert_string_equal(after_restart("older", "newer"), "newer");
    assert_int_equal(count_in("functions/simon/echo"), 1);
    fm_version_free(older.version);
    fm_version_free(newer.version);
    clear();
    return struck;
}

static void drops(void **state)
{
    (void)state;
    open_store();
    for (int crash = 0; crash <= 1; crash++) {
        long nth = 1;
        while (drop_run(nth, crash))
            nth++;
        assert_true(nth > 10 && nth < 100);
    }
}

/* The start that clears up after a crash may crash too. */
static void clearing_up(void **state)
{
    (void)state;
    for (int crash = 0; crash <= 1; crash++) {
        for (long nth = 1;; nth++) {
            char id[37];
            struct seen seen = {.count = 0};
            struct fm_error error = {0};
            open_store();
            see(&seen);
            seen_done(&seen);
            deploy_id("simon", "echo", "oldest", id);
            deploy_id("simon", "echo", "old", id);
            deploy_id("simon", "echo", "new", id);
            open_store();
            faults_arm(nth, EIO, crash);
            int failed = fm_functions_each(fixture_store, see_version, see_bad, &seen, &error);
            bool struck = faults_disarm();
            assert_true(failed == 0 || failed == FM_ERR_IO);
            seen_done(&seen);
            assert_string_equal(after_restart("old", "new"), "new");
            assert_int_equal(count_in("functions/simon/echo"), 1);
            clear();
            if (!struck) {
                assert_true(nth > 20);
                break;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(uploads), STORE_TEST(edits),       STORE_TEST(removals),
        STORE_TEST(drops),   STORE_TEST(clearing_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
