/* test_tree.c - lists of names, and deletion that stays in its own tree. */
#include "store_fixture.h"

#include "store/files.h"

static int root_fd;

static int setup(void **state)
{
    (void)fixture_setup(state);
    root_fd = open(fixture_root, O_RDONLY | O_DIRECTORY);
    return root_fd < 0;
}

/* With rm, since the trees are made too deep for our own deletion. */
static int teardown(void **state)
{
    (void)state;
    char command[128];
    (void)close(root_fd);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", fixture_root);
    return system(command);
}

static void make(const char *path, bool folder)
{
    char full[512];
    (void)snprintf(full, sizeof(full), "%s/%s", fixture_root, path);
    if (folder)
        assert_int_equal(mkdir(full, 0700), 0);
    else
        put_file(full, "x");
}

static bool there(const char *path)
{
    char full[512];
    (void)snprintf(full, sizeof(full), "%s/%s", fixture_root, path);
    return exists(full);
}

static bool starts_with_k(const char *name)
{
    return name[0] == 'k';
}

static void lists_sorted_and_chosen(void **state)
{
    (void)state;
    static const char *const wanted[] = {"k-", "k10", "k9", "kB", "kb"};
    make("kb", false);
    make("k9", true);
    make("k10", false);
    make("other", false);
    make(".k", false);
    make("kB", false);
    make("k-", false);
    struct fm_names names = {0};
    assert_int_equal(fm_tree_list(root_fd, starts_with_k, &names, NULL), 0);
    assert_int_equal(names.count, FM_ARRAY_LENGTH(wanted));
    for (size_t i = 0; i < names.count; i++)
        assert_string_equal(names.names[i], wanted[i]);
    fm_names_done(&names);
    assert_int_equal(names.count, 0);

    for (int i = 0; i < 100; i++) { /* more than the first block holds */
        char name[16];
        (void)snprintf(name, sizeof(name), "k%03d", i);
        make(name, false);
    }
    assert_int_equal(fm_tree_list(root_fd, starts_with_k, &names, NULL), 0);
    assert_int_equal(names.count, FM_ARRAY_LENGTH(wanted) + 100);
    fm_names_done(&names);
}

static int list_all(void *data)
{
    (void)data;
    struct fm_names names = {0};
    int failed = fm_tree_list(root_fd, any_name, &names, NULL);
    if (!failed)
        assert_int_equal(names.count, 20);
    fm_names_done(&names);
    return failed;
}

static void lists_under_torture(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%d", i);
        make(name, false);
    }
    assert_int_equal(torture(list_all, NULL), 20 + 2 + 1); /* names, two blocks, and none */
}

static void deletes_everything_and_nothing_else(void **state)
{
    (void)state;
    struct fm_error error = {0};
    make("outside", true);
    make("outside/file", false);
    make("tree", true);
    make("tree/a", false);
    make("tree/b", true);
    make("tree/b/c", false);
    make("tree/b/.hidden", false);
    make("tree/b/d", true);
    make("tree/e", true);
    assert_int_equal(symlinkat("../outside", root_fd, "tree/link"), 0);
    assert_int_equal(symlinkat("../../outside/file", root_fd, "tree/b/link"), 0);
    assert_int_equal(symlinkat("nowhere", root_fd, "tree/b/dangling"), 0);
    assert_int_equal(fm_tree_remove(root_fd, "tree", &error), 0);
    assert_false(there("tree"));
    assert_true(there("outside/file"));

    /* A link in the place of the tree, a file, and nothing. */
    assert_int_equal(symlinkat("outside", root_fd, "tree"), 0);
    assert_int_equal(fm_tree_remove(root_fd, "tree", &error), 0);
    assert_false(there("tree"));
    assert_true(there("outside/file"));
    make("file", false);
    assert_int_equal(fm_tree_remove(root_fd, "file", &error), 0);
    assert_false(there("file"));
    assert_int_equal(fm_tree_remove(root_fd, "file", &error), 0);
}

static void empties_a_folder(void **state)
{
    (void)state;
    make("a", true);
    make("a/b", true);
    make("a/b/c", false);
    make("d", false);
    assert_int_equal(fm_tree_empty(root_fd, NULL), 0);
    assert_false(there("a"));
    assert_false(there("d"));
    assert_true(there(""));
    assert_int_equal(fm_tree_empty(root_fd, NULL), 0);
}

/* tree/1/1/1... with `depth` folders below the tree. */
static void make_deep(unsigned depth)
{
    char path[256] = "tree";
    make(path, true);
    for (unsigned i = 0; i < depth; i++) {
        (void)strcat(path, "/1");
        make(path, true);
    }
    (void)strcat(path, "/file");
    make(path, false);
}

static void deletes_to_a_depth(void **state)
{
    (void)state;
    struct fm_error error = {0};
    make_deep(FM_TREE_DEPTH_MAX - 1);
    assert_int_equal(fm_tree_remove(root_fd, "tree", &error), 0);
    make_deep(FM_TREE_DEPTH_MAX);
    assert_int_equal(fm_tree_remove(root_fd, "tree", &error), 0);
    assert_false(there("tree"));
    make_deep(FM_TREE_DEPTH_MAX + 1);
    assert_int_equal(fm_tree_remove(root_fd, "tree", &error), FM_ERR_IO);
    assert_non_null(strstr(error.text, "too deep"));
    assert_true(there("tree/1/1/1/1/1/1"));
}

/* A fault ends the deletion with an error, and the next try does the rest. */
static void deletes_after_faults(void **state)
{
    (void)state;
    for (long nth = 1;; nth++) {
        struct fm_error error = {0};
        assert_true(nth < 100);
        make_deep(3);
        faults_arm(nth, EIO, false);
        int failed = fm_tree_remove(root_fd, "tree", &error);
        bool struck = faults_disarm();
        assert_int_equal(failed, struck ? FM_ERR_IO : 0);
        assert_int_equal(error.code, failed);
        assert_int_equal(fm_tree_remove(root_fd, "tree", &error), 0);
        assert_false(there("tree"));
        if (!struck)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lists_sorted_and_chosen, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_under_torture, setup, teardown),
        cmocka_unit_test_setup_teardown(deletes_everything_and_nothing_else, setup, teardown),
        cmocka_unit_test_setup_teardown(empties_a_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(deletes_to_a_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(deletes_after_faults, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
