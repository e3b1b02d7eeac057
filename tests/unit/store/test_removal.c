/* test_removal.c - what is removed stays removed, and readable for as long as somebody runs it. */
#include "store_fixture.h"

static uint64_t remove_function(const char *user, const char *function)
{
    uint64_t sequence = 0;
    struct fm_error error = {0};
    if (fm_functions_remove(fixture_store, user, function, &sequence, &error) != 0)
        fail_msg("%s", error.text);
    return sequence;
}

static void assert_no_function(const char *user, const char *function)
{
    uint64_t sequence = 77;
    struct fm_error error = {0};
    assert_int_equal(fm_functions_remove(fixture_store, user, function, &sequence, &error),
                     FM_ERR_NOT_FOUND);
    assert_int_equal(error.code, FM_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, function));
    assert_int_equal(sequence, 77);
}

static void assert_seen(size_t wanted)
{
    struct seen seen;
    see(&seen);
    assert_int_equal(seen.count, wanted);
    assert_int_equal(seen.bad_count, 0);
    seen_done(&seen);
}

/* The first walk clears up what the last run left; the tests here are about a running server. */
static void start(void)
{
    open_store();
    assert_seen(0);
}

static void is_gone_at_once_and_at_the_next_start(void **state)
{
    (void)state;
    char id[37];
    start();
    assert_no_function("simon", "echo");
    deploy_id("simon", "echo", "module", id);
    deploy_id("simon", "kept", "module", id);
    assert_int_equal(remove_function("simon", "echo"), 3);
    assert_no_function("simon", "echo");
    assert_seen(1);
    open_store();
    assert_no_function("simon", "echo");
    assert_seen(1);
    assert_false(exists(in_data("functions/simon/echo"))); /* cleared up */
    assert_true(exists(in_data("functions/simon/kept")));
    remove_function("simon", "kept");
    open_store();
    assert_seen(0);
    assert_int_equal(count_in("functions"), 0);
    assert_int_equal(count_in("trash"), 0);
}

static void is_durable_in_one_step(void **state)
{
    (void)state;
    char id[37];
    start();
    deploy_id("simon", "echo", "first", id);
    deploy_id("simon", "echo", "second", id);
    faults_trace_begin();
    remove_function("simon", "echo");
    assert_string_equal(faults_trace_end(), "create TOMBSTONE\n"
                                            "fsync TOMBSTONE\n"
                                            "fsync echo\n");
}

/* With no room for a new file, the tombstone is another name of an old one. */
static void works_on_a_full_disk(void **state)
{
    (void)state;
    size_t linked = 0;
    start();
    for (long nth = 1;; nth++) {
        char id[37];
        uint64_t sequence;
        struct fm_error error = {0};
        deploy_id("simon", "echo", "module", id);
        faults_arm(nth, ENOSPC, false);
        faults_trace_begin();
        int failed = fm_functions_remove(fixture_store, "simon", "echo", &sequence, &error);
        bool struck = faults_disarm();
        assert_int_equal(error.code, failed);
        bool created = strstr(faults_trace_end(), "create TOMBSTONE\nfsync TOMBSTONE\n") != NULL;
        if (!failed && !created)
            linked++;
        open_store();
        assert_seen(failed != 0);
        if (failed)
            remove_function("simon", "echo");
        open_store();
        assert_seen(0);
        if (!struck)
            break;
    }
    assert_int_equal(linked, 2); /* it could not be made, or not be synced */
}

static void stays_readable_until_dropped(void **state)
{
    (void)state;
    start();
    struct deployed first = deploy("simon", "echo", "first");
    struct deployed second = deploy("simon", "echo", "second");
    remove_function("simon", "echo");
    assert_whole(first.version, "first"); /* at the same paths */
    assert_whole(second.version, "second");

    fm_functions_drop(fixture_store, second.version); /* in any order */
    assert_false(exists(second.version->folder));
    assert_whole(first.version, "first");
    open_store(); /* the older one must not come back, whenever the server ends */
    assert_no_function("simon", "echo");
    assert_whole(first.version, "first");

    fm_functions_drop(fixture_store, first.version);
    assert_int_equal(count_in("functions"), 0); /* the tombstone too */
    assert_int_equal(count_in("trash"), 0);
    fm_functions_drop(fixture_store, first.version); /* once more does not matter */
    fm_version_free(first.version);
    fm_version_free(second.version);
}

static void current_ones_are_not_dropped(void **state)
{
    (void)state;
    start();
    struct deployed first = deploy("simon", "echo", "first");
    fm_functions_drop(fixture_store, first.version); /* as at the end of the server */
    assert_whole(first.version, "first");
    struct deployed second = deploy("simon", "echo", "second");
    fm_functions_drop(fixture_store, second.version);
    assert_whole(second.version, "second");
    assert_whole(first.version, "first");
    fm_functions_drop(fixture_store, first.version);
    assert_false(exists(first.version->folder));
    assert_whole(second.version, "second");
    assert_seen(1);
    fm_version_free(first.version);
    fm_version_free(second.version);
}

/* Were a damaged version dropped, or the one in whose place it should be, nothing would be left. */
static void damaged_ones_are_not_dropped(void **state)
{
    (void)state;
    start();
    struct deployed first = deploy("simon", "echo", "first");
    struct deployed second = deploy("simon", "echo", "second");
    assert_int_equal(unlink(in_data("functions/simon/echo/%s/meta.json", second.version->id)), 0);
    fm_functions_drop(fixture_store, first.version);
    fm_functions_drop(fixture_store, second.version);
    assert_whole(first.version, "first");
    assert_true(exists(second.version->folder));
    assert_int_equal(unlink(in_data("functions/simon/echo/%s/meta.json", first.version->id)), 0);
    fm_functions_drop(fixture_store, first.version);
    fm_functions_drop(fixture_store, second.version);
    assert_true(exists(first.version->folder));
    assert_true(exists(second.version->folder));
    fm_version_free(first.version);
    fm_version_free(second.version);
}

static void made_anew_while_the_old_one_runs(void **state)
{
    (void)state;
    start();
    struct deployed old = deploy("simon", "echo", "old");
    assert_int_equal(remove_function("simon", "echo"), 2);
    struct deployed anew = deploy("simon", "echo", "new");
    assert_false(anew.replaced);
    assert_int_equal(anew.sequence, 3);
    assert_true(strcmp(anew.version->id, old.version->id) > 0);
    assert_whole(old.version, "old");
    assert_int_equal(count_in("functions/simon/echo"), 3);

    /* Damage to the new one does not bring back what was removed before it. */
    const char *meta = in_data("functions/simon/echo/%s/meta.json", anew.version->id);
    assert_int_equal(rename(meta, in_data("meta")), 0);
    struct seen seen;
    see(&seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(seen.bad_count, 1);
    assert_int_equal(rename(in_data("meta"), meta), 0);
    assert_seen(1);

    fm_functions_drop(fixture_store, old.version);
    assert_int_equal(count_in("functions/simon/echo"), 1);
    assert_whole(anew.version, "new");
    fm_version_free(old.version);
    fm_version_free(anew.version);
}

/* Removed and made anew over and over, and all of it still in use. */
static void layers(void **state)
{
    (void)state;
    struct deployed deployed[6];
    start();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(deployed); i++) {
        char wasm[16];
        (void)snprintf(wasm, sizeof(wasm), "module %zu", i);
        deployed[i] = deploy("simon", "echo", wasm);
        if (i % 2)
            remove_function("simon", "echo");
    }
    assert_int_equal(count_in("functions/simon/echo"), 9);
    static const size_t order[] = {3, 0, 5, 2, 1, 4}; /* what is left: see the tombstones' rule */
    static const size_t left[] = {8, 7, 6, 5, 2, 0};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(order); i++) {
        fm_functions_drop(fixture_store, deployed[order[i]].version);
        assert_int_equal(count_in("functions/simon/echo"), left[i]);
        assert_no_function("simon", "echo");
        fm_version_free(deployed[order[i]].version);
    }
    assert_int_equal(count_in("functions"), 0);
}

/* A tombstone goes only after a fsync that makes the going of what was older durable. */
static void tombstones_go_last(void **state)
{
    (void)state;
    start();
    struct deployed deployed = deploy("simon", "echo", "module");
    remove_function("simon", "echo");
    faults_trace_begin();
    fm_functions_drop(fixture_store, deployed.version);
    const char *trace = faults_trace_end();
    static const char wanted[] = "rename VERSION RANDOM\n"
                                 "fsync echo\n"
                                 "unlink TOMBSTONE\n"
                                 "unlink echo\n"
                                 "unlink simon\n"
                                 "unlink ";
    assert_memory_equal(trace, wanted, strlen(wanted)); /* then the files, in any order */
    assert_int_equal(count_in("trash"), 0);

    fm_version_free(deployed.version);
    deployed = deploy("simon", "echo", "module");
    remove_function("simon", "echo");
    for (long nth = 1; nth < 40; nth++) {
        faults_arm(nth, EIO, false);
        faults_trace_begin();
        fm_functions_drop(fixture_store, deployed.version);
        (void)faults_disarm();
        trace = faults_trace_end();
        const char *unlinked = strstr(trace, "unlink TOMBSTONE");
        const char *synced = strstr(trace, "fsync echo");
        if (unlinked)
            assert_true(synced && synced < unlinked);
        open_store();
        assert_no_function("simon", "echo");
        assert_seen(0);
        assert_int_equal(count_in("functions"), 0);
        assert_int_equal(count_in("trash"), 0);
        fm_version_free(deployed.version);
        deployed = deploy("simon", "echo", "module");
        remove_function("simon", "echo");
    }
    fm_version_free(deployed.version);
}

static int remove_it(void *data)
{
    (void)data;
    uint64_t sequence = 0;
    struct fm_error error = {0};
    int failed = fm_functions_remove(fixture_store, "simon", "echo", &sequence, &error);
    if (failed == FM_ERR_NOT_FOUND) /* jansson takes some failures for text that is not JSON */
        failed = FM_ERR_NOMEM;
    assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    return failed;
}

static void tortured(void **state)
{
    (void)state;
    start();
    struct deployed older = deploy("simon", "echo", "older");
    char id[37];
    deploy_id("simon", "echo", "newer", id);
    for (long nth = 1; exists(older.version->folder); nth++) {
        assert_true(nth < 1000);
        torture_fail_nth(nth);
        fm_functions_drop(fixture_store, older.version);
        torture_fail_nth(0);
        assert_seen(1);
    }
    fm_version_free(older.version);
    assert_true(torture(remove_it, NULL) > 20);
    assert_seen(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(is_gone_at_once_and_at_the_next_start),
        STORE_TEST(is_durable_in_one_step),
        STORE_TEST(works_on_a_full_disk),
        STORE_TEST(stays_readable_until_dropped),
        STORE_TEST(current_ones_are_not_dropped),
        STORE_TEST(damaged_ones_are_not_dropped),
        STORE_TEST(made_anew_while_the_old_one_runs),
        STORE_TEST(layers),
        STORE_TEST(tombstones_go_last),
        STORE_TEST(tortured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
