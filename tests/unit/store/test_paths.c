/* test_paths.c - which paths there can be. */
#include "base/limits.h"
#include "store/paths.h"
#include "store_fixture.h"

static int check(const char *path)
{
    struct fm_error error = {0};
    int failed = fm_path_check(path, &error);
    assert_int_equal(failed, error.code);
    return failed;
}

static void good_paths(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "a",   "a/b", ".a", "..a", "a..", "...", "a b", "a\nb", "a\\b", "\xc3\xa9/\xf0\x9f\x98\x80",
        "%2f",
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(paths); i++)
        assert_int_equal(check(paths[i]), 0);
}

static void bad_paths(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "",      "/",    "/a",    "a/",       "a//b",         ".", "..", "a/..",
        "a/./b", "../a", "a\xff", "\xc0\xaf", "\xed\xa0\x80",
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(paths); i++)
        assert_int_equal(check(paths[i]), FM_ERR_BAD_NAME);
}

static void lengths(void **state)
{
    (void)state;
    char path[FM_FILE_PATH_BYTES_MAX + 2];
    memset(path, 'a', sizeof(path));
    path[FM_FILE_NAME_BYTES_MAX] = '\0';
    assert_int_equal(check(path), 0);
    path[FM_FILE_NAME_BYTES_MAX] = 'a';
    path[FM_FILE_NAME_BYTES_MAX + 1] = '\0';
    assert_int_equal(check(path), FM_ERR_BAD_NAME);
    for (size_t i = 0; i < sizeof(path); i++)
        path[i] = i % 200 == 199 ? '/' : 'a';
    path[FM_FILE_PATH_BYTES_MAX] = '\0';
    assert_int_equal(check(path), 0);
    path[FM_FILE_PATH_BYTES_MAX] = 'a';
    path[FM_FILE_PATH_BYTES_MAX + 1] = '\0';
    assert_int_equal(check(path), FM_ERR_BAD_NAME);
}

static void depths(void **state)
{
    (void)state;
    char path[2 * FM_FILE_DEPTH_MAX + 8] = "";
    for (int i = 0; i < FM_FILE_DEPTH_MAX; i++)
        strcat(path, "a/");
    strcat(path, "b");
    assert_int_equal(check(path), 0);
    strcat(path, "/b");
    assert_int_equal(check(path), FM_ERR_BAD_NAME);
}

static void names(void **state)
{
    (void)state;
    char name[FM_FILE_NAME_BYTES_MAX + 2];
    assert_true(fm_path_name_valid("a"));
    assert_true(fm_path_name_valid("..."));
    assert_false(fm_path_name_valid(""));
    assert_false(fm_path_name_valid("."));
    assert_false(fm_path_name_valid(".."));
    assert_false(fm_path_name_valid("\xff"));
    memset(name, 'a', sizeof(name));
    name[FM_FILE_NAME_BYTES_MAX] = '\0';
    assert_true(fm_path_name_valid(name));
    name[FM_FILE_NAME_BYTES_MAX] = 'a';
    name[FM_FILE_NAME_BYTES_MAX + 1] = '\0';
    assert_false(fm_path_name_valid(name));
}

/* --- the way ---------------------------------------------------------------------------------- */

static int find(const char *path, bool make)
{
    struct fm_error error = {0};
    const char *name = NULL;
    int fd = -1;
    int base = open(fixture_root, O_RDONLY | O_DIRECTORY);
    int failed = fm_path_open(base, path, make, &name, &fd, &error);
    (void)close(base);
    if (failed)
        return failed;
    assert_string_equal(name, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
    (void)close(fd);
    return 0;
}

static void folders_are_made_on_the_way(void **state)
{
    (void)state;
    assert_int_equal(find("data", false), 0);
    assert_int_equal(find("data/x/y/f", false), FM_ERR_NOT_FOUND);
    assert_int_equal(find("data/x/y/f", true), 0);
    assert_int_equal(find("data/x/y/f", false), 0);
    assert_true(exists(in_data("x/y")));
    assert_false(exists(in_data("x/y/f")));
}

static void nothing_else_is_a_folder(void **state)
{
    (void)state;
    assert_int_equal(find("data/real/x", true), 0);
    put_file(in_data("file"), "");
    assert_int_equal(symlink("real", in_data("link")), 0);
    assert_int_equal(find("data/file/x", false), FM_ERR_NOT_FOUND);
    assert_int_equal(find("data/file/x", true), FM_ERR_CONFLICT);
    assert_int_equal(find("data/link/x", false), FM_ERR_NOT_FOUND);
    assert_int_equal(find("data/link/x", true), FM_ERR_CONFLICT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_paths),
        cmocka_unit_test(bad_paths),
        cmocka_unit_test(lengths),
        cmocka_unit_test(depths),
        cmocka_unit_test(names),
        STORE_TEST(folders_are_made_on_the_way),
        STORE_TEST(nothing_else_is_a_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
