/* test_user_files.c - changed quotas on disk: there and back, damaged, on a failing disk. */
#include "store/user_files.h"
#include "store_fixture.h"

struct seen_users {
    size_t count;
    size_t bad;
    char name[65]; /* of the last */
    struct fm_quota_set changed;
    char reason[256];
};

static struct fm_user_files *open_files(void)
{
    struct fm_error error = {0};
    struct fm_user_files *files = NULL;
    open_store();
    if (fm_user_files_open(fixture_store, &files, &error) != 0)
        fail_msg("%s", error.text);
    return files;
}

static int see_user(const char *user, const struct fm_quota_set *changed, void *data)
{
    struct seen_users *seen = data;
    seen->count++;
    (void)snprintf(seen->name, sizeof(seen->name), "%s", user);
    seen->changed = *changed;
    return 0;
}

static void see_bad_user(const char *name, const char *reason, void *data)
{
    struct seen_users *seen = data;
    (void)name;
    seen->bad++;
    (void)snprintf(seen->reason, sizeof(seen->reason), "%s", reason);
}

static struct seen_users see_users(const struct fm_user_files *files)
{
    struct seen_users seen = {0};
    struct fm_error error = {0};
    if (fm_user_files_each(files, see_user, see_bad_user, &seen, &error) != 0)
        fail_msg("%s", error.text);
    return seen;
}

static struct fm_quota_set set_of(uint64_t weight, uint64_t memory_bytes)
{
    struct fm_quota_set set = {0};
    fm_quota_set_put(&set, fm_quota_row_find("weight"), weight);
    fm_quota_set_put(&set, fm_quota_row_find("memory_bytes"), memory_bytes);
    return set;
}

static int put(const struct fm_user_files *files, const char *user, struct fm_quota_set set)
{
    struct fm_error error = {0};
    return fm_user_files_put(files, user, &set, &error);
}

static void there_and_back(void **state)
{
    (void)state;
    struct fm_user_files *files = open_files();
    assert_int_equal(see_users(files).count, 0);
    assert_int_equal(put(files, "ada", set_of(7, 1 << 20)), 0);
    assert_file(in_data("users/ada.json"), "{\"weight\":7,\"memory_bytes\":1048576}");
    assert_int_equal(put(files, "ada", set_of(9, 0)), 0); /* in place of the other */
    fm_user_files_close(files);

    files = open_files();
    struct seen_users seen = see_users(files);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.name, "ada");
    struct fm_quotas quotas;
    fm_quotas_defaults(&quotas);
    fm_quota_set_apply(&seen.changed, &quotas);
    assert_int_equal(quotas.weight, 9);
    assert_int_equal(quotas.memory_bytes, 0);
    assert_int_equal(quotas.concurrency, 10000);

    assert_int_equal(put(files, "ada", (struct fm_quota_set){0}), 0);
    assert_int_equal(put(files, "ada", (struct fm_quota_set){0}), 0); /* it is not there: fine */
    assert_false(exists(in_data("users/ada.json")));
    assert_int_equal(count_in("incoming"), 0);
    fm_user_files_close(files);
}

static void what_is_damaged_is_told_and_left(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "{",
        "[1]",
        "{\"wieght\":1}",
        "{\"weight\":0}",
        "{\"weight\":-1}",
        "{\"weight\":10001}",
        "{\"weight\":\"5\"}",
        "{\"weight\":1,\"weight\":2}",
    };
    struct fm_user_files *files = open_files();
    assert_int_equal(put(files, "bob", set_of(5, 0)), 0);
    put_file(in_data("users/.hidden.json"), "no user has such a name");
    put_file(in_data("users/notes.txt"), "nor such a file");
    for (size_t i = 0; i < FM_ARRAY_LENGTH(texts); i++) {
        (void)unlink(in_data("users/ada.json"));
        put_file(in_data("users/ada.json"), texts[i]);
        struct seen_users seen = see_users(files);
        assert_int_equal(seen.count, 1);
        assert_int_equal(seen.bad, 1);
        assert_true(strlen(seen.reason) > 0);
        assert_file(in_data("users/ada.json"), texts[i]);
    }
    fm_user_files_close(files);
}

/* Each call fails once; after it the file holds the old or the new text, whole, and what was
 * promised is there. */
static void a_failing_disk_leaves_old_or_new(void **state)
{
    (void)state;
    struct fm_user_files *files = open_files();
    assert_int_equal(put(files, "ada", set_of(1, 0)), 0);
    bool struck = true;
    for (long nth = 1; struck; nth++) {
        faults_arm(nth, ENOSPC, false);
        int failed = put(files, "ada", set_of((uint64_t)nth + 1, 0));
        struck = faults_disarm();
        struct seen_users seen = see_users(files);
        uint64_t weight = seen.changed.values.weight;
        assert_int_equal(seen.count, 1);
        assert_int_equal(seen.bad, 0);
        assert_true(failed || weight == (uint64_t)nth + 1);
        assert_true(!failed || weight == (uint64_t)nth || weight == (uint64_t)nth + 1 ||
                    weight == 1);
        assert_true(struck || !failed);
        assert_int_equal(put(files, "ada", set_of(1, 0)), 0);
    }
    assert_int_equal(count_in("incoming"), 0);
    fm_user_files_close(files);
}

static int put_and_read(void *data)
{
    struct fm_user_files *files = data;
    struct seen_users seen = {0};
    struct fm_error error = {0};
    int failed = put(files, "ada", set_of(7, 1));
    if (!failed)
        failed = fm_user_files_each(files, see_user, see_bad_user, &seen, &error);
    assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    /* The JSON library may take want of memory for a file that ends too early: then it is told as
     * bad, and left alone, and the next start reads it. */
    return failed ? failed : seen.bad ? FM_ERR_NOMEM : 0;
}

static void memory_may_fail_anywhere(void **state)
{
    (void)state;
    struct fm_user_files *files = open_files();
    assert_true(torture(put_and_read, files) > 3);
    fm_user_files_close(files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(there_and_back),
        STORE_TEST(what_is_damaged_is_told_and_left),
        STORE_TEST(a_failing_disk_leaves_old_or_new),
        STORE_TEST(memory_may_fail_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
