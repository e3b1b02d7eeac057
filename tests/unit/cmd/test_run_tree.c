/* test_run_tree.c - a folder of the machine as a user's files. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cmd/run_tree.h"
#include "files/content.h"
#include "files/tree.h"
#include "torture.h"

static char scratch[256];
static struct fm_contents *contents;

static const char *in_scratch(const char *name)
{
    static char paths[2][4096];
    static unsigned next;
    char *path = paths[next++ % 2];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(in_scratch(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void folder(const char *name)
{
    assert_int_equal(mkdir(in_scratch(name), 0777), 0);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(scratch, sizeof(scratch), "/tmp/faasm-run-tree-XXXXXX");
    assert_non_null(mkdtemp(scratch));
    const struct fm_contents_config config = {.bytes_max = FM_MIB, .files_max = 10};
    return fm_contents_new(&config, &contents);
}

static int teardown(void **state)
{
    (void)state;
    contents = fm_contents_free(contents); /* asserts that nobody holds one */
    char command[300];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", scratch);
    return system(command);
}

static void a_folder_becomes_a_tree(void **state)
{
    (void)state;
    folder("a");
    folder("a/empty");
    folder("a/deep");
    put("a/deep/file", "deep text");
    put("z", "");
    put("a/b", "b");
    struct fm_node *root = NULL;
    struct fm_error error = {0};
    uint64_t left_out = 7;
    assert_int_equal(fm_run_tree_read(scratch, contents, &root, &left_out, &error), 0);
    assert_int_equal(left_out, 0);
    assert_string_equal(fm_node_name(root), "");
    assert_int_equal(fm_node_children_count(root), 2);
    assert_int_equal(fm_node_files_count(root), 3);
    assert_int_equal(fm_node_files_bytes(root), 10);
    assert_string_equal(fm_node_name(fm_node_child(root, 0)), "a");
    struct fm_node *empty = fm_tree_find(root, "a/empty");
    assert_non_null(empty);
    assert_true(fm_node_is_folder(empty));
    assert_int_equal(fm_node_children_count(empty), 0);

    struct fm_node *file = fm_tree_find(root, "a/deep/file");
    struct stat stat_of;
    assert_int_equal(stat(in_scratch("a/deep/file"), &stat_of), 0);
    assert_int_equal(fm_node_bytes(file), 9);
    assert_int_equal(fm_node_modified_ns(file), (uint64_t)stat_of.st_mtim.tv_sec * FM_NS_PER_S +
                                                    (uint64_t)stat_of.st_mtim.tv_nsec);
    const uint8_t *data = NULL;
    uint64_t bytes = 0;
    assert_int_equal(fm_content_load(fm_node_content(file)), 0);
    assert_true(fm_content_pin(fm_node_content(file), &data, &bytes));
    assert_int_equal(bytes, 9);
    assert_memory_equal(data, "deep text", 9);
    fm_content_unpin(fm_node_content(file));
    fm_content_unpin(fm_node_content(file));
    fm_node_release(root);

    /* Also where the path is a link, and has a slash. */
    assert_int_equal(symlink("a", in_scratch("link")), 0);
    assert_int_equal(fm_run_tree_read(in_scratch("link"), contents, &root, &left_out, &error), 0);
    assert_non_null(fm_tree_find(root, "deep/file"));
    fm_node_release(root);
    assert_int_equal(fm_run_tree_read(in_scratch("a//"), contents, &root, &left_out, &error), 0);
    assert_string_equal(fm_node_name(root), "");
    assert_non_null(fm_tree_find(root, "deep/file"));
    fm_node_release(root);
}

static void what_users_files_cannot_be_is_left_out(void **state)
{
    (void)state;
    put("file", "x");
    assert_int_equal(symlink("file", in_scratch("link")), 0);
    assert_int_equal(symlink("nothing", in_scratch("dangling")), 0);
    assert_int_equal(symlink("/", in_scratch("root")), 0);
    assert_int_equal(mkfifo(in_scratch("pipe"), 0666), 0);
    put("bad\xff", "x");
    folder("worse\xff");
    put("worse\xff/file", "x");
    struct fm_node *root = NULL;
    struct fm_error error = {0};
    uint64_t left_out = 0;
    assert_int_equal(fm_run_tree_read(scratch, contents, &root, &left_out, &error), 0);
    assert_int_equal(left_out, 6);
    assert_int_equal(fm_node_children_count(root), 1);
    fm_node_release(root);
}

static void what_cannot_be_read_is_told(void **state)
{
    (void)state;
    struct fm_node *root = NULL;
    struct fm_error error = {0};
    uint64_t left_out = 0;
    put("file", "x");
    assert_int_equal(fm_run_tree_read(in_scratch("no"), contents, &root, &left_out, &error),
                     FM_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, "/no"));
    assert_int_equal(fm_run_tree_read(in_scratch("file"), contents, &root, &left_out, &error),
                     FM_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, "no folder"));
    assert_int_equal(fm_run_tree_read("/dev/null", contents, &root, &left_out, &error),
                     FM_ERR_NOT_FOUND);
    assert_int_equal(fm_run_tree_read("", contents, &root, &left_out, &error), FM_ERR_NOT_FOUND);
    assert_null(root);
}

static void deep_folders(void **state)
{
    (void)state;
    struct fm_node *root = NULL;
    struct fm_error error = {0};
    uint64_t left_out = 0;
    char path[4 * FM_FILE_DEPTH_MAX] = "d";
    for (unsigned depth = 1; depth < FM_FILE_DEPTH_MAX; depth++) {
        folder(path);
        (void)strncat(path, "/d", 3);
    }
    folder(path);
    assert_int_equal(fm_run_tree_read(scratch, contents, &root, &left_out, &error), 0);
    assert_non_null(fm_tree_find(root, path));
    fm_node_release(root);

    root = NULL;
    (void)strncat(path, "/d", 3);
    folder(path);
    assert_int_equal(fm_run_tree_read(scratch, contents, &root, &left_out, &error),
                     FM_ERR_TOO_LARGE);
    assert_null(root);
}

static int read_once(void *data)
{
    (void)data;
    struct fm_node *root = NULL;
    struct fm_error error = {0};
    uint64_t left_out = 0;
    int failed = fm_run_tree_read(scratch, contents, &root, &left_out, &error);
    if (!failed)
        fm_node_release(root);
    return failed;
}

static void without_memory(void **state)
{
    (void)state;
    folder("a");
    folder("a/b");
    put("a/b/file", "x");
    put("file", "x");
    assert_true(torture(read_once, NULL) > 8);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_folder_becomes_a_tree),
        TEST(what_users_files_cannot_be_is_left_out),
        TEST(what_cannot_be_read_is_told),
        TEST(deep_folders),
        TEST(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
