/* test_user_trees.c - users' files: put, found, replaced, removed, counted; on a failing disk. */
#include <pthread.h>
#include <stdatomic.h>

#include "base/limits.h"
#include "files/content.h"
#include "files/tree.h"
#include "store/user_trees.h"
#include "store_fixture.h"

static struct fm_user_trees *trees;
static struct fm_quotas quotas;
static atomic_uint changes;
static struct fm_node *cached; /* of bob, as a worker has it */

static void give_quotas(void *data, const char *user, struct fm_quotas *ret_quotas)
{
    (void)data;
    (void)user;
    *ret_quotas = quotas;
}

static void note_change(void *data, const char *user)
{
    (void)data;
    atomic_fetch_add(&changes, 1);
    if (strcmp(user, "bob") == 0)
        cached = fm_node_release(cached);
}

static void open_trees_of(uint64_t names_max)
{
    struct fm_error error = {0};
    trees = fm_user_trees_close(trees);
    open_store();
    const struct fm_user_trees_config config = {
        .functions = fixture_store,
        .contents_bytes_max = FM_MIB,
        .kept_bytes_max = FM_GIB,
        .names_max = names_max,
        .quotas = give_quotas,
        .changed = note_change,
    };
    if (fm_user_trees_open(&config, &trees, &error) != 0)
        fail_msg("%s", error.text);
}

static int setup(void **state)
{
    fm_quotas_defaults(&quotas);
    atomic_store(&changes, 0);
    assert_int_equal(fixture_setup(state), 0);
    open_trees_of(1000);
    return 0;
}

static int teardown(void **state)
{
    trees = fm_user_trees_close(trees);
    return fixture_teardown(state);
}

#define TREES_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* --- helpers ---------------------------------------------------------------------------------- */

static const char *last_quota;
static struct fm_new_file_facts last;

static int try_put(const char *user, const char *path, const void *data, size_t bytes)
{
    struct fm_error error = {0};
    struct fm_new_file *file = NULL;
    last_quota = NULL;
    int failed = fm_new_file_begin(trees, user, path, 0, &file, &last_quota, &error);
    if (!failed)
        failed = fm_new_file_write(file, data, bytes, &last_quota, &error);
    if (!failed)
        failed = fm_new_file_commit(file, &last, &last_quota, &error);
    fm_new_file_end(file);
    assert_int_equal(error.code, failed);
    assert_int_equal(failed == FM_ERR_QUOTA, last_quota != NULL);
    return failed;
}

static void put(const char *user, const char *path, const char *text)
{
    assert_int_equal(try_put(user, path, text, strlen(text)), 0);
}

static int try_remove(const char *user, const char *path, bool recursive)
{
    struct fm_error error = {0};
    int failed = fm_user_trees_remove(trees, user, path, recursive, &error);
    assert_int_equal(error.code, failed);
    return failed;
}

static struct fm_user_tree tree_of(const char *user)
{
    struct fm_user_tree tree = {0};
    struct fm_error error = {0};
    if (fm_user_trees_load(trees, user, &tree, &error) != 0)
        fail_msg("%s", error.text);
    return tree;
}

static bool in_memory(const char *user)
{
    struct fm_user_tree tree = {0};
    bool found = fm_user_trees_get(trees, user, &tree);
    fm_node_release(tree.root);
    return found;
}

/* Through the content, as a call reads. */
static void assert_content(struct fm_node *root, const char *path, const char *wanted)
{
    struct fm_node *file = fm_tree_find(root, path);
    assert_non_null(file);
    struct fm_content *content = fm_node_content(file);
    const uint8_t *data = NULL;
    uint64_t bytes = 0;
    assert_int_equal(fm_content_load(content), 0);
    assert_true(fm_content_pin(content, &data, &bytes));
    assert_int_equal(bytes, strlen(wanted));
    assert_int_equal(fm_node_bytes(file), bytes);
    if (bytes > 0)
        assert_memory_equal(data, wanted, bytes);
    fm_content_unpin(content);
    fm_content_unpin(content);
}

/* NULL: nothing is there. */
static void assert_now(const char *user, const char *path, const char *wanted)
{
    struct fm_user_tree tree = tree_of(user);
    if (wanted)
        assert_content(tree.root, path, wanted);
    else
        assert_null(fm_tree_find(tree.root, path));
    fm_node_release(tree.root);
}

/* --- changes ---------------------------------------------------------------------------------- */

static void a_file_is_put_and_found(void **state)
{
    (void)state;
    uint64_t generation = fm_user_trees_generation(trees);
    put("ada", "data/a.csv", "one");
    assert_false(last.replaced);
    assert_int_equal(last.bytes, 3);
    assert_string_equal(last.sha256,
                        "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
    assert_int_not_equal(fm_user_trees_generation(trees), generation);
    assert_int_equal(atomic_load(&changes), 1);
    assert_now("ada", "data/a.csv", "one");
    assert_file(in_data("files/ada/data/a.csv"), "one");
    put("ada", "data/a.csv", "three");
    assert_true(last.replaced);
    assert_now("ada", "data/a.csv", "three");
    assert_now("bob", "data/a.csv", NULL);
    assert_int_equal(count_in("incoming"), 0);
    assert_int_equal(count_in("trash"), 0);
}

static void a_restart_keeps_them(void **state)
{
    (void)state;
    put("ada", "a/b/c", "one");
    put("ada", "a/\xc3\xa9", "two");
    put("ada", "empty", "");
    struct fm_user_tree tree = tree_of("ada");
    uint64_t modified_ns = fm_node_modified_ns(fm_tree_find(tree.root, "a/b/c"));
    fm_node_release(tree.root);
    open_trees_of(1000);
    assert_false(in_memory("ada"));
    tree = tree_of("ada");
    assert_true(tree.exists);
    assert_int_equal(fm_node_modified_ns(fm_tree_find(tree.root, "a/b/c")), modified_ns);
    assert_int_equal(fm_node_files_count(tree.root), 3);
    assert_int_equal(fm_node_folders_count(tree.root), 2);
    assert_content(tree.root, "a/b/c", "one");
    assert_content(tree.root, "a/\xc3\xa9", "two");
    assert_content(tree.root, "empty", "");
    fm_node_release(tree.root);
}

static void a_call_reads_what_it_saw_at_its_start(void **state)
{
    (void)state;
    put("ada", "x", "one");
    put("ada", "y", "two");
    put("ada", "f/g/z", "three");
    struct fm_user_tree before = tree_of("ada");
    put("ada", "x", "ONE");
    assert_int_equal(try_remove("ada", "y", false), 0);
    assert_int_equal(try_remove("ada", "f", true), 0);
    put("ada", "y", "TWO");
    assert_int_equal(count_in("trash"), 3);
    assert_content(before.root, "x", "one");
    assert_content(before.root, "y", "two");
    assert_content(before.root, "f/g/z", "three");
    assert_now("ada", "x", "ONE");
    assert_now("ada", "y", "TWO");
    assert_now("ada", "f", NULL);
    assert_false(exists(in_data("files/ada/f")));
    fm_node_release(before.root);
    assert_int_equal(count_in("trash"), 0);
}

static void files_and_folders_conflict(void **state)
{
    (void)state;
    put("ada", "a/b", "");
    assert_int_equal(try_put("ada", "a", "x", 1), FM_ERR_CONFLICT);
    assert_int_equal(try_put("ada", "a/b/c", "x", 1), FM_ERR_CONFLICT);
    assert_int_equal(try_put("ada", "a/b/c/d", "x", 1), FM_ERR_CONFLICT);
    assert_int_equal(count_in("incoming"), 0);
    assert_now("ada", "a/b", "");
}

static void removing(void **state)
{
    (void)state;
    assert_int_equal(try_remove("ada", "a", false), FM_ERR_NOT_FOUND);
    assert_int_equal(try_remove("ada", "", false), FM_ERR_NOT_FOUND);
    put("ada", "a/b/c", "1");
    put("ada", "a/d", "2");
    put("ada", "e", "3");
    assert_int_equal(try_remove("ada", "a/x", true), FM_ERR_NOT_FOUND);
    assert_int_equal(try_remove("ada", "e/x", true), FM_ERR_NOT_FOUND);
    assert_int_equal(try_remove("ada", "a", false), FM_ERR_CONFLICT);
    assert_int_equal(try_remove("ada", "", false), FM_ERR_CONFLICT);
    assert_int_equal(try_remove("ada", "a/b/c", false), 0);
    assert_true(exists(in_data("files/ada/a/b")));
    assert_int_equal(try_remove("ada", "a/b", false), 0);
    assert_false(exists(in_data("files/ada/a/b")));
    assert_now("ada", "a/b", NULL);
    assert_int_equal(try_remove("ada", "a", true), 0);
    assert_now("ada", "a", NULL);
    assert_now("ada", "e", "3");
    assert_int_equal(try_remove("ada", "", true), 0);
    assert_false(exists(in_data("files/ada")));
    struct fm_user_tree tree = tree_of("ada");
    assert_false(tree.exists);
    fm_node_release(tree.root);
    assert_int_equal(count_in("trash"), 0);
    put("ada", "a/b/c", "again");
    assert_now("ada", "a/b/c", "again");
}

/* --- what an operator may have done ----------------------------------------------------------- */

static void only_files_and_folders_are_seen(void **state)
{
    (void)state;
    put("ada", "a/b", "1");
    put_file(in_data("secret"), "secret");
    assert_int_equal(symlink("../../secret", in_data("files/ada/link")), 0);
    assert_int_equal(symlink("../../../data", in_data("files/ada/folder")), 0);
    assert_int_equal(mkfifo(in_data("files/ada/a/pipe"), 0600), 0);
    put_file(in_data("files/ada/a/\xff"), "");
    put_file(in_data("files/ada/a/copied"), "by hand");
    open_trees_of(1000);
    struct fm_user_tree tree = tree_of("ada");
    assert_int_equal(fm_node_files_count(tree.root), 2);
    assert_int_equal(fm_node_folders_count(tree.root), 1);
    assert_content(tree.root, "a/copied", "by hand");
    fm_node_release(tree.root);
    /* A file takes the place of a link; what the link led to stays. */
    assert_int_equal(try_put("ada", "folder/x", "x", 1), FM_ERR_CONFLICT);
    put("ada", "link", "mine");
    assert_file(in_data("secret"), "secret");
    assert_file(in_data("files/ada/link"), "mine");
    assert_int_equal(try_remove("ada", "folder", true), FM_ERR_NOT_FOUND);
    assert_int_equal(try_remove("ada", "", true), 0);
    assert_file(in_data("secret"), "secret");
    assert_true(exists(in_data("functions")));
}

static void what_was_removed_by_hand_can_be_removed(void **state)
{
    (void)state;
    put("ada", "a/b", "1");
    put("ada", "c", "1");
    put("ada", "d", "1");
    assert_int_equal(unlink(in_data("files/ada/a/b")), 0);
    assert_int_equal(rmdir(in_data("files/ada/a")), 0);
    assert_int_equal(unlink(in_data("files/ada/c")), 0);
    assert_int_equal(unlink(in_data("files/ada/d")), 0);
    assert_int_equal(try_remove("ada", "c", false), 0);
    put("ada", "d", "again");
    assert_int_equal(try_remove("ada", "a", true), 0);
    assert_now("ada", "d", "again");
}

static void leftovers_are_swept(void **state)
{
    (void)state;
    struct fm_error error = {0};
    struct fm_new_file *file = NULL;
    const char *quota = NULL;
    assert_int_equal(fm_new_file_begin(trees, "ada", "x", 0, &file, &quota, &error), 0);
    assert_int_equal(fm_new_file_write(file, "half", 4, &quota, &error), 0);
    assert_int_equal(count_in("incoming"), 1);
    put_file(in_data("trash/old"), "");
    fm_new_file_end(file);
    put_file(in_data("incoming/left"), "");
    open_trees_of(1000);
    assert_int_equal(count_in("incoming"), 0);
    assert_int_equal(count_in("trash"), 0);
    assert_now("ada", "x", NULL);
}

static void the_deepest_path(void **state)
{
    (void)state;
    char path[2 * FM_FILE_DEPTH_MAX + 2] = "";
    for (int i = 0; i < FM_FILE_DEPTH_MAX; i++)
        strcat(path, "d/");
    strcat(path, "f");
    put("ada", path, "deep");
    open_trees_of(1000);
    assert_now("ada", path, "deep");
    assert_int_equal(try_remove("ada", "d", true), 0);
    assert_false(exists(in_data("files/ada/d")));
    assert_int_equal(count_in("trash"), 0);
}

/* --- quotas ----------------------------------------------------------------------------------- */

static void bytes_have_a_quota(void **state)
{
    (void)state;
    quotas.files_bytes = 10;
    put("ada", "a", "123456789");
    assert_int_equal(try_put("ada", "b", "xx", 2), FM_ERR_QUOTA);
    assert_string_equal(last_quota, "files_bytes");
    put("ada", "b", "x");
    assert_int_equal(try_put("ada", "c", "x", 1), FM_ERR_QUOTA);
    put("ada", "c", "");
    put("ada", "a", "abcdefghi"); /* in place of as many */
    assert_int_equal(try_put("ada", "a", "abcdefghij", 10), FM_ERR_QUOTA);
    quotas.files_bytes = 3;
    assert_int_equal(try_put("ada", "b", "xx", 2), FM_ERR_QUOTA);
    put("ada", "a", "ABC"); /* less than before is always fine */
    assert_now("ada", "b", "x");
    assert_int_equal(count_in("incoming"), 0);
}

static void files_and_folders_have_a_quota(void **state)
{
    (void)state;
    quotas.files_count = 3;
    put("ada", "a", "");
    assert_int_equal(try_put("ada", "f/g/x", "", 0), FM_ERR_QUOTA); /* three */
    assert_string_equal(last_quota, "files_count");
    put("ada", "f/x", "");
    assert_int_equal(try_put("ada", "b", "", 0), FM_ERR_QUOTA);
    put("ada", "a", "again");
    assert_int_equal(try_remove("ada", "f/x", false), 0);
    put("ada", "b", "");
    assert_int_equal(try_put("ada", "c", "", 0), FM_ERR_QUOTA); /* the folder is still there */
}

static void what_is_coming_counts(void **state)
{
    (void)state;
    struct fm_error error = {0};
    const char *quota = NULL;
    struct fm_new_file *known = NULL;
    struct fm_new_file *unknown = NULL;
    struct fm_new_file *third = NULL;
    quotas.files_bytes = 10;
    put("ada", "a", "12");
    assert_int_equal(fm_new_file_begin(trees, "ada", "x", 5, &known, &quota, &error), 0);
    assert_int_equal(fm_new_file_begin(trees, "ada", "y", 0, &unknown, &quota, &error), 0);
    assert_int_equal(fm_new_file_write(unknown, "123", 3, &quota, &error), 0);
    assert_int_equal(fm_new_file_write(unknown, "4", 1, &quota, &error), FM_ERR_QUOTA);
    assert_string_equal(quota, "files_bytes");
    assert_int_equal(fm_new_file_begin(trees, "ada", "z", 1, &third, &quota, &error), FM_ERR_QUOTA);
    assert_null(third);
    fm_new_file_end(unknown);
    put("ada", "z", "1");
    assert_int_equal(fm_new_file_write(known, "12345", 5, &quota, &error), 0);
    assert_int_equal(fm_new_file_commit(known, &last, &quota, &error), 0);
    fm_new_file_end(known);
    put("ada", "y", "12");
    assert_int_equal(try_put("ada", "w", "1", 1), FM_ERR_QUOTA);
}

/* The old file gives its room to one of those that are to replace it, not to each. */
static void what_comes_to_one_path_counts(void **state)
{
    (void)state;
    struct fm_error error = {0};
    const char *quota = NULL;
    struct fm_new_file *first = NULL;
    struct fm_new_file *second = NULL;
    struct fm_new_file *unknown = NULL;
    quotas.files_bytes = 10;
    put("ada", "f/a", "12345678");
    assert_int_equal(fm_new_file_begin(trees, "ada", "f/a", 8, &first, &quota, &error), 0);
    assert_int_equal(fm_new_file_begin(trees, "ada", "f/a", 8, &second, &quota, &error),
                     FM_ERR_QUOTA);
    assert_string_equal(quota, "files_bytes");
    assert_int_equal(fm_new_file_begin(trees, "ada", "f/a", 0, &unknown, &quota, &error), 0);
    assert_int_equal(fm_new_file_write(unknown, "12345678", 8, &quota, &error), FM_ERR_QUOTA);
    fm_new_file_end(unknown);
    assert_int_equal(fm_new_file_write(first, "abcdefgh", 8, &quota, &error), 0);
    assert_int_equal(fm_new_file_commit(first, &last, &quota, &error), 0);
    fm_new_file_end(first);
    put("ada", "f/a", "ABCDEFGH"); /* nothing else is coming any more */
    assert_now("ada", "f/a", "ABCDEFGH");
    assert_int_equal(count_in("incoming"), 0);
}

static void *put_many(void *data)
{
    const char *name = data;
    uintptr_t done = 0;
    for (int i = 0; i < 8; i++) {
        char path[16];
        struct fm_error error = {0};
        struct fm_new_file *file = NULL;
        const char *quota = NULL;
        struct fm_new_file_facts facts;
        (void)snprintf(path, sizeof(path), "%s%d", name, i);
        int failed = fm_new_file_begin(trees, "ada", path, 0, &file, &quota, &error);
        if (!failed)
            failed = fm_new_file_write(file, "12345", 5, &quota, &error);
        if (!failed)
            failed = fm_new_file_commit(file, &facts, &quota, &error);
        fm_new_file_end(file);
        done += !failed;
    }
    return (void *)done;
}

/* Each would fit alone; together no more do than there is room for. */
static void many_threads_do_not_exceed_a_quota(void **state)
{
    (void)state;
    pthread_t threads[4];
    uintptr_t done = 0;
    static const char *const names[] = {"a", "b", "c", "d"};
    quotas.files_count = 13;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, put_many, (void *)(uintptr_t)names[i]),
                         0);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(threads); i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        done += (uintptr_t)result;
    }
    assert_int_equal(done, 13);
    struct fm_user_tree tree = tree_of("ada");
    assert_int_equal(fm_node_files_count(tree.root), 13);
    fm_node_release(tree.root);
    assert_int_equal(count_in("files/ada"), 13);
}

/* --- memory ----------------------------------------------------------------------------------- */

static void the_least_recently_used_tree_goes(void **state)
{
    (void)state;
    open_trees_of(6);
    put("ada", "a", ""); /* two names each: the file, and the user */
    put("bob", "a", "");
    put("eve", "a", "");
    assert_true(in_memory("bob"));
    assert_true(in_memory("ada")); /* now bob is the oldest, then eve */
    assert_true(in_memory("eve"));
    put("joe", "a", "");
    assert_false(in_memory("bob"));
    assert_true(in_memory("ada"));
    assert_now("bob", "a", "");
    assert_false(in_memory("eve"));
}

/* Workers cache roots: if they were not told, all trees would stay in memory. */
static void who_caches_a_tree_that_goes_is_told(void **state)
{
    (void)state;
    open_trees_of(4);
    put("bob", "a", "");
    cached = tree_of("bob").root;
    assert_non_null(cached);
    put("ada", "a", "");
    assert_non_null(cached);
    put("eve", "a", "");
    assert_false(in_memory("bob"));
    assert_null(cached);
    assert_now("bob", "a", "");
}

static void a_user_without_files_has_an_empty_tree(void **state)
{
    (void)state;
    struct fm_user_tree tree = tree_of("nobody");
    assert_false(tree.exists);
    assert_int_equal(fm_node_children_count(tree.root), 0);
    fm_node_release(tree.root);
    assert_true(in_memory("nobody"));
    assert_false(exists(in_data("files/nobody")));
}

/* --- what fails ------------------------------------------------------------------------------- */

/* Whatever fails, there is one of the two files, whole, and the tree says which. */
static void a_failing_disk_leaves_a_whole_file(void **state)
{
    (void)state;
    put("ada", "f/x", "old");
    for (long nth = 1;; nth++) {
        assert_true(nth < 200);
        faults_arm(nth, EIO, false);
        int failed = try_put("ada", "f/x", "new", 3);
        bool struck = faults_disarm();
        struct fm_user_tree tree = tree_of("ada");
        char *text = get_file(in_data("files/ada/f/x"));
        assert_true(strcmp(text, "old") == 0 || strcmp(text, "new") == 0);
        assert_content(tree.root, "f/x", text);
        if (!failed)
            assert_string_equal(text, "new");
        free(text);
        fm_node_release(tree.root);
        put("ada", "f/x", "old");
        if (!struck) {
            assert_int_equal(failed, 0);
            return;
        }
    }
}

static void a_failing_disk_removes_all_or_some(void **state)
{
    (void)state;
    for (long nth = 1;; nth++) {
        assert_true(nth < 200);
        put("ada", "f/g/x", "1");
        put("ada", "f/y", "2");
        faults_arm(nth, EIO, false);
        int failed = try_remove("ada", "f", true);
        bool struck = faults_disarm();
        struct fm_user_tree tree = tree_of("ada");
        assert_int_equal(fm_tree_find(tree.root, "f/y") != NULL, exists(in_data("files/ada/f/y")));
        assert_int_equal(fm_tree_find(tree.root, "f/g/x") != NULL,
                         exists(in_data("files/ada/f/g/x")));
        if (!failed)
            assert_null(fm_tree_find(tree.root, "f"));
        fm_node_release(tree.root);
        if (!struck)
            return;
    }
}

static void a_failing_disk_shows_no_half_tree(void **state)
{
    (void)state;
    put("ada", "f/g/x", "1");
    put("ada", "y", "2");
    for (long nth = 1;; nth++) {
        assert_true(nth < 200);
        open_trees_of(1000);
        struct fm_user_tree tree = {0};
        struct fm_error error = {0};
        faults_arm(nth, EIO, false);
        int failed = fm_user_trees_load(trees, "ada", &tree, &error);
        bool struck = faults_disarm();
        assert_int_equal(failed, struck ? FM_ERR_IO : 0);
        if (!failed)
            assert_int_equal(fm_node_files_count(tree.root), 2);
        fm_node_release(tree.root);
        if (!struck)
            return;
    }
}

static int put_replace_remove(void *data)
{
    (void)data;
    int failed = try_put("ada", "f/x", "new", 3);
    if (!failed)
        failed = try_put("ada", "f/x", "newer", 5);
    if (!failed)
        failed = try_remove("ada", "f", true);
    assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    return failed;
}

static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    assert_true(torture(put_replace_remove, NULL) > 20);
    put("ada", "f/x", "whole");
    assert_now("ada", "f/x", "whole");
    assert_int_equal(try_remove("ada", "", true), 0);
    assert_int_equal(count_in("incoming"), 0);
    assert_int_equal(count_in("trash"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TREES_TEST(a_file_is_put_and_found),
        TREES_TEST(a_restart_keeps_them),
        TREES_TEST(a_call_reads_what_it_saw_at_its_start),
        TREES_TEST(files_and_folders_conflict),
        TREES_TEST(removing),
        TREES_TEST(only_files_and_folders_are_seen),
        TREES_TEST(what_was_removed_by_hand_can_be_removed),
        TREES_TEST(leftovers_are_swept),
        TREES_TEST(the_deepest_path),
        TREES_TEST(bytes_have_a_quota),
        TREES_TEST(files_and_folders_have_a_quota),
        TREES_TEST(what_is_coming_counts),
        TREES_TEST(what_comes_to_one_path_counts),
        TREES_TEST(many_threads_do_not_exceed_a_quota),
        TREES_TEST(the_least_recently_used_tree_goes),
        TREES_TEST(who_caches_a_tree_that_goes_is_told),
        TREES_TEST(a_user_without_files_has_an_empty_tree),
        TREES_TEST(a_failing_disk_leaves_a_whole_file),
        TREES_TEST(a_failing_disk_removes_all_or_some),
        TREES_TEST(a_failing_disk_shows_no_half_tree),
        TREES_TEST(without_memory_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
