/* test_tree.c - trees that never change: what a change shares, what it leaves alone, who frees. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/limits.h"
#include "files/content.h"
#include "files/tree.h"
#include "torture.h"

static struct fm_contents *contents;
static struct fm_node *root;

static int setup(void **state)
{
    (void)state;
    const struct fm_contents_config config = {.bytes_max = FM_MIB, .files_max = 10};
    assert_int_equal(fm_contents_new(&config, &contents), 0);
    assert_int_equal(fm_node_folder_new(7, &root), 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    root = fm_node_release(root);
    contents = fm_contents_free(contents); /* asserts that nobody holds a content */
    return 0;
}

/* A content called after the path, put into `tree`; the content is the new tree's alone. */
static int put_into(struct fm_node *tree, const char *path, uint64_t bytes, uint64_t modified_ns,
                    struct fm_node **ret_root)
{
    struct fm_content *content = NULL;
    int failed = fm_content_new(contents, path, bytes, &content);
    if (!failed)
        failed = fm_tree_put(tree, path, modified_ns, content, ret_root);
    fm_content_release(content);
    return failed;
}

static void put(const char *path, uint64_t bytes, uint64_t modified_ns)
{
    struct fm_node *changed = NULL;
    assert_int_equal(put_into(root, path, bytes, modified_ns, &changed), 0);
    fm_node_release(root);
    root = changed;
}

static void removes(const char *path, uint64_t modified_ns)
{
    struct fm_node *changed = NULL;
    assert_int_equal(fm_tree_remove_at(root, path, modified_ns, &changed), 0);
    fm_node_release(root);
    root = changed;
}

static void a_file_is_found_with_its_folders(void **state)
{
    (void)state;
    put("data/2024/a.csv", 5, 100);
    struct fm_node *file = fm_tree_find(root, "data/2024/a.csv");
    assert_non_null(file);
    assert_false(fm_node_is_folder(file));
    assert_string_equal(fm_node_name(file), "a.csv");
    assert_int_equal(fm_node_bytes(file), 5);
    assert_int_equal(fm_node_modified_ns(file), 100);
    assert_non_null(fm_node_content(file));
    struct fm_node *folder = fm_tree_find(root, "data/2024");
    assert_true(fm_node_is_folder(folder));
    assert_string_equal(fm_node_name(folder), "2024");
    assert_int_equal(fm_node_bytes(folder), 0);
    assert_null(fm_node_content(folder));
    assert_int_equal(fm_node_files_count(root), 1);
    assert_int_equal(fm_node_files_bytes(root), 5);
    assert_int_equal(fm_node_folders_count(root), 2);
    assert_null(fm_tree_find(root, "data/2025"));
    assert_null(fm_tree_find(root, "data/2024/a.csv/b"));
    assert_null(fm_tree_find(root, "dat"));
    assert_null(fm_tree_find(root, "data2"));
    assert_ptr_equal(fm_tree_find(root, ""), root);
    assert_string_equal(fm_node_name(root), "");
}

static void names_are_sorted_by_bytes(void **state)
{
    (void)state;
    static const char *const names[] = {"b", "a", "B", "\xc3\xa9", "aa", "a-", "a."};
    static const char *const sorted[] = {"B", "a", "a-", "a.", "aa", "b", "\xc3\xa9"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(names); i++)
        put(names[i], i, 1);
    assert_int_equal(fm_node_children_count(root), FM_ARRAY_LENGTH(sorted));
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sorted); i++) {
        struct fm_node *child = fm_node_child(root, i);
        assert_string_equal(fm_node_name(child), sorted[i]);
        assert_ptr_equal(fm_node_child_find(root, sorted[i], strlen(sorted[i])), child);
        assert_int_equal(fm_node_child_after(root, sorted[i]), i + 1);
    }
    assert_int_equal(fm_node_child_after(root, ""), 0);
    assert_int_equal(fm_node_child_after(root, "C"), 1);
    assert_null(fm_node_child_find(root, "a-b", 3));
    assert_non_null(fm_node_child_find(root, "a-b", 2));
}

static void an_old_root_keeps_its_state(void **state)
{
    (void)state;
    put("a/x", 1, 10);
    put("b/y", 2, 20);
    struct fm_node *old = fm_node_hold(root);
    put("a/x", 3, 30);
    put("a/z", 4, 40);
    removes("b", 50);
    assert_int_equal(fm_node_bytes(fm_tree_find(old, "a/x")), 1);
    assert_null(fm_tree_find(old, "a/z"));
    assert_int_equal(fm_node_bytes(fm_tree_find(old, "b/y")), 2);
    assert_int_equal(fm_node_files_bytes(old), 3);
    assert_int_equal(fm_node_bytes(fm_tree_find(root, "a/x")), 3);
    assert_null(fm_tree_find(root, "b"));
    assert_int_equal(fm_node_files_bytes(root), 7);
    assert_int_equal(fm_node_files_count(root), 2);
    assert_int_equal(fm_node_folders_count(root), 1);
    fm_node_release(old);
}

static void what_did_not_change_is_shared(void **state)
{
    (void)state;
    put("a/x", 1, 10);
    put("b/y", 2, 20);
    struct fm_node *old = fm_node_hold(root);
    put("b/z", 3, 30);
    assert_ptr_equal(fm_tree_find(old, "a"), fm_tree_find(root, "a"));
    assert_ptr_equal(fm_tree_find(old, "b/y"), fm_tree_find(root, "b/y"));
    assert_ptr_not_equal(fm_tree_find(old, "b"), fm_tree_find(root, "b"));
    assert_int_not_equal(fm_node_inode(fm_tree_find(old, "b")),
                         fm_node_inode(fm_tree_find(root, "b")));
    fm_node_release(old);
}

static void only_the_folder_of_a_change_is_modified(void **state)
{
    (void)state;
    put("a/b/x", 1, 10);
    put("a/b/y", 1, 20);
    assert_int_equal(fm_node_modified_ns(root), 10);
    assert_int_equal(fm_node_modified_ns(fm_tree_find(root, "a")), 10);
    assert_int_equal(fm_node_modified_ns(fm_tree_find(root, "a/b")), 20);
    removes("a/b/x", 30);
    assert_int_equal(fm_node_modified_ns(fm_tree_find(root, "a")), 10);
    assert_int_equal(fm_node_modified_ns(fm_tree_find(root, "a/b")), 30);
    put("a/c/x", 1, 40);
    assert_int_equal(fm_node_modified_ns(root), 10);
    assert_int_equal(fm_node_modified_ns(fm_tree_find(root, "a")), 40);
    assert_int_equal(fm_node_modified_ns(fm_tree_find(root, "a/b/y")), 20);
}

static void files_and_folders_do_not_replace_one_another(void **state)
{
    (void)state;
    struct fm_node *changed = NULL;
    put("a/x", 1, 10);
    assert_int_equal(put_into(root, "a", 1, 20, &changed), FM_ERR_CONFLICT);
    assert_int_equal(put_into(root, "a/x/y", 1, 20, &changed), FM_ERR_CONFLICT);
    assert_int_equal(put_into(root, "a/x/y/z", 1, 20, &changed), FM_ERR_CONFLICT);
    assert_null(changed);
}

static void what_is_not_there_is_not_removed(void **state)
{
    (void)state;
    struct fm_node *changed = NULL;
    put("a/x", 1, 10);
    static const char *const paths[] = {"b", "a/y", "a/x/y", "b/c/d"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(paths); i++)
        assert_int_equal(fm_tree_remove_at(root, paths[i], 20, &changed), FM_ERR_NOT_FOUND);
    assert_null(changed);
}

static void folders_stay_when_they_are_empty(void **state)
{
    (void)state;
    put("a/b/x", 1, 10);
    removes("a/b/x", 20);
    assert_true(fm_node_is_folder(fm_tree_find(root, "a/b")));
    assert_int_equal(fm_node_files_count(root), 0);
    assert_int_equal(fm_node_folders_count(root), 2);
    removes("a", 30);
    assert_int_equal(fm_node_children_count(root), 0);
    assert_int_equal(fm_node_folders_count(root), 0);
}

static void depth_has_a_bound(void **state)
{
    (void)state;
    char path[2 * (FM_FILE_DEPTH_MAX + 2) + 1] = "";
    for (int i = 0; i < FM_FILE_DEPTH_MAX; i++)
        strcat(path, "d/");
    strcat(path, "f");
    put(path, 1, 10);
    assert_int_equal(fm_node_folders_count(root), FM_FILE_DEPTH_MAX);
    path[strlen(path) - 1] = '\0';
    strcat(path, "e/f");
    struct fm_node *changed = NULL;
    assert_int_equal(put_into(root, path, 1, 20, &changed), FM_ERR_TOO_LARGE);
    assert_int_equal(fm_tree_remove_at(root, path, 20, &changed), FM_ERR_NOT_FOUND);
}

static int make_children(struct fm_node *children[3])
{
    static const char *const names[] = {"c", "a", "b"};
    int failed = 0;
    for (size_t i = 0; i < 3 && !failed; i++) {
        struct fm_content *content = NULL;
        failed = fm_content_new(contents, names[i], i + 1, &content);
        if (!failed)
            failed = fm_node_file_new(names[i], 10 + i, content, &children[i]);
        fm_content_release(content);
    }
    return failed;
}

static int build(void *data)
{
    (void)data;
    struct fm_node *children[3] = {NULL, NULL, NULL};
    struct fm_node *folder = NULL;
    int failed = make_children(children);
    if (!failed)
        failed = fm_node_folder_of("", 5, children, 3, &folder);
    if (failed) {
        for (size_t i = 0; i < 3; i++)
            fm_node_release(children[i]);
        return failed;
    }
    assert_string_equal(fm_node_name(fm_node_child(folder, 0)), "a");
    assert_string_equal(fm_node_name(fm_node_child(folder, 2)), "c");
    assert_int_equal(fm_node_files_bytes(folder), 6);
    assert_int_equal(fm_node_modified_ns(folder), 5);
    fm_node_release(folder);
    return 0;
}

static void a_folder_is_built_from_the_bottom(void **state)
{
    (void)state;
    assert_true(torture(build, NULL) > 8); /* three for a file, one for the folder */
}

static int change(void *data)
{
    (void)data;
    struct fm_node *with = NULL;
    struct fm_node *without = NULL;
    int failed = put_into(root, "a/b/c/y", 1, 20, &with);
    if (!failed)
        failed = fm_tree_remove_at(with, "a/b/x", 30, &without);
    if (!failed) {
        assert_non_null(fm_tree_find(without, "a/b/c/y"));
        assert_null(fm_tree_find(without, "a/b/x"));
    }
    fm_node_release(with);
    fm_node_release(without);
    assert_non_null(fm_tree_find(root, "a/b/x"));
    return failed;
}

static void a_change_that_fails_changes_nothing(void **state)
{
    (void)state;
    put("a/b/x", 1, 10);
    put("a/q", 1, 10);
    assert_true(torture(change, NULL) > 10);
}

static void *hold_and_release(void *data)
{
    for (int i = 0; i < 1000; i++) {
        struct fm_node *held = fm_node_hold(data);
        assert_non_null(fm_tree_find(held, "a/x"));
        fm_node_release(held);
    }
    return NULL;
}

static void many_threads_hold_one_root(void **state)
{
    (void)state;
    pthread_t threads[4];
    put("a/x", 1, 10);
    struct fm_node *old = fm_node_hold(root);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_release, old), 0);
    for (uint64_t i = 0; i < 1000; i++)
        put("a/y", i, i);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    fm_node_release(old);
}

static void a_large_tree_is_freed_without_recursion(void **state)
{
    (void)state;
    for (int i = 0; i < 2000; i++) {
        char path[32];
        (void)snprintf(path, sizeof(path), "%d/%d/%d", i % 10, i % 100, i);
        put(path, 1, 10);
    }
    assert_int_equal(fm_node_files_count(root), 2000);
    assert_int_equal(fm_node_folders_count(root), 110);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_file_is_found_with_its_folders),
        TEST(names_are_sorted_by_bytes),
        TEST(an_old_root_keeps_its_state),
        TEST(what_did_not_change_is_shared),
        TEST(only_the_folder_of_a_change_is_modified),
        TEST(files_and_folders_do_not_replace_one_another),
        TEST(what_is_not_there_is_not_removed),
        TEST(folders_stay_when_they_are_empty),
        TEST(depth_has_a_bound),
        TEST(a_folder_is_built_from_the_bottom),
        TEST(a_change_that_fails_changes_nothing),
        TEST(many_threads_hold_one_root),
        TEST(a_large_tree_is_freed_without_recursion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
