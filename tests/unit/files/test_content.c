/* test_content.c - contents: loaded once, shared, given up least recently used first. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
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

#include "base/error.h"
#include "base/limits.h"
#include "files/content.h"
#include "torture.h"

#define SMALL (256 * FM_KIB) /* the largest that is not mapped */

static char folder[64];
static struct fm_contents *contents;
static int untidy_count;

static void start(uint64_t bytes_max, uint32_t files_max)
{
    const struct fm_contents_config config = {
        .bytes_max = bytes_max, .files_max = files_max, .kept_bytes_max = 100};
    fm_contents_free(contents);
    assert_int_equal(fm_contents_new(&config, &contents), 0);
}

static int setup(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    (void)snprintf(folder, sizeof(folder), "%.30s/faasm-content-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
    contents = NULL;
    untidy_count = 0;
    start(FM_MIB, 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[128];
    contents = fm_contents_free(contents);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static const char *path_of(const char *name)
{
    static char path[2][256];
    static int turn;
    turn = !turn;
    (void)snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
    return path[turn];
}

static void write_file(const char *name, uint8_t byte, size_t bytes)
{
    FILE *file = fopen(path_of(name), "we");
    assert_non_null(file);
    for (size_t i = 0; i < bytes; i++)
        assert_int_not_equal(fputc(byte, file), EOF);
    assert_int_equal(fclose(file), 0);
}

static bool exists(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static struct fm_content *content_of(const char *name, size_t bytes)
{
    struct fm_content *content = NULL;
    assert_int_equal(fm_content_new(contents, path_of(name), bytes, &content), 0);
    return content;
}

static struct fm_content *made(const char *name, uint8_t byte, size_t bytes)
{
    write_file(name, byte, bytes);
    return content_of(name, bytes);
}

static bool in_memory(struct fm_content *content)
{
    const uint8_t *data = NULL;
    uint64_t bytes = 0;
    bool pinned = fm_content_pin(content, &data, &bytes);
    if (pinned)
        fm_content_unpin(content);
    return pinned;
}

/* Loads it, looks at it, and lets it go. */
static void look(struct fm_content *content, uint8_t byte, size_t bytes)
{
    const uint8_t *data = NULL;
    uint64_t got = 0;
    assert_int_equal(fm_content_load(content), 0);
    assert_true(fm_content_pin(content, &data, &got));
    assert_int_equal(got, bytes);
    if (bytes > 0) {
        assert_int_equal(data[0], byte);
        assert_int_equal(data[bytes / 2], byte);
        assert_int_equal(data[bytes - 1], byte);
    }
    fm_content_unpin(content);
    fm_content_unpin(content);
}

static struct fm_contents_counts counts(void)
{
    struct fm_contents_counts now;
    fm_contents_counts(contents, &now);
    return now;
}

static void it_is_loaded_once(void **state)
{
    (void)state;
    struct fm_content *content = made("a", 'x', 100);
    assert_int_equal(fm_content_bytes(content), 100);
    assert_false(in_memory(content));
    look(content, 'x', 100);
    assert_true(in_memory(content));
    look(content, 'x', 100);
    assert_int_equal(counts().loads, 1);
    assert_int_equal(counts().files, 1);
    assert_int_equal(counts().bytes, 100);
    fm_content_release(content);
    assert_int_equal(counts().files, 0);
    assert_int_equal(counts().bytes, 0);
    assert_true(exists("a"));
}

static void an_empty_file_has_no_bytes(void **state)
{
    (void)state;
    struct fm_content *content = made("a", 'x', 0);
    look(content, 0, 0);
    assert_true(in_memory(content));
    fm_content_release(content);
}

static void small_and_large_files_are_alike(void **state)
{
    (void)state;
    static const size_t sizes[] = {SMALL - 1, SMALL, SMALL + 1};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(sizes); i++) {
        struct fm_content *content = made("a", (uint8_t)('a' + i), sizes[i]);
        look(content, (uint8_t)('a' + i), sizes[i]);
        fm_content_release(content);
    }
    assert_int_equal(counts().bytes, 0);
}

static void there_may_be_more_than_can_be_mapped(void **state)
{
    (void)state;
    start(FM_GIB, 1);
    struct fm_content *all[3];
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < 3; i++) {
        all[i] = made(names[i], (uint8_t)('a' + i), SMALL + 1);
        look(all[i], (uint8_t)('a' + i), SMALL + 1);
    }
    for (size_t i = 0; i < 3; i++) {
        look(all[i], (uint8_t)('a' + i), SMALL + 1);
        fm_content_release(all[i]);
    }
    assert_int_equal(counts().loads, 3);
}

static void the_least_recently_used_goes_first(void **state)
{
    (void)state;
    start(300, 2);
    struct fm_content *a = made("a", 'a', 100);
    struct fm_content *b = made("b", 'b', 100);
    struct fm_content *c = made("c", 'c', 100);
    struct fm_content *d = made("d", 'd', 101);
    look(a, 'a', 100);
    look(b, 'b', 100);
    look(c, 'c', 100);
    assert_int_equal(counts().files, 3); /* at the bound */
    assert_true(in_memory(a));           /* now b is the oldest */
    look(d, 'd', 101);                   /* one byte over: two must go */
    assert_false(in_memory(b));
    assert_false(in_memory(c));
    assert_true(in_memory(a));
    assert_true(in_memory(d));
    assert_int_equal(counts().bytes, 201);
    look(b, 'b', 100); /* a goes, and comes again */
    assert_false(in_memory(a));
    look(a, 'a', 100);
    fm_content_release(a);
    fm_content_release(b);
    fm_content_release(c);
    fm_content_release(d);
}

static void what_is_pinned_stays(void **state)
{
    (void)state;
    start(150, 2);
    struct fm_content *a = made("a", 'a', 100);
    struct fm_content *b = made("b", 'b', 100);
    assert_int_equal(fm_content_load(a), 0);
    look(b, 'b', 100);
    assert_true(in_memory(a));
    assert_false(in_memory(b)); /* it was over the budget */
    fm_content_unpin(a);
    assert_true(in_memory(a));
    fm_content_release(a);
    fm_content_release(b);
}

static void what_cannot_be_read_is_told(void **state)
{
    (void)state;
    struct fm_content *missing = content_of("missing", 5);
    assert_int_equal(fm_content_load(missing), -ENOENT);
    struct fm_content *shorter = made("a", 'a', 10);
    write_file("a", 'a', 9); /* nobody should do that */
    assert_int_equal(fm_content_load(shorter), -EIO);
    assert_int_equal(symlink("a", path_of("link")), 0);
    struct fm_content *link = content_of("link", 9);
    assert_int_equal(fm_content_load(link), -ENOENT);
    assert_int_equal(mkdir(path_of("folder"), 0700), 0);
    struct fm_content *not_a_file = content_of("folder", 0);
    assert_int_equal(fm_content_load(not_a_file), -EIO);
    assert_int_equal(mkfifo(path_of("pipe"), 0600), 0);
    struct fm_content *pipe = content_of("pipe", 0);
    assert_int_equal(fm_content_load(pipe), -EIO);
    assert_int_equal(symlink("folder", path_of("other")), 0);
    write_file("folder/x", 'x', 1);
    struct fm_content *behind = content_of("other/x", 1);
    assert_int_equal(fm_content_load(behind), -ENOENT);
    assert_int_equal(counts().loads, 0);
    assert_int_equal(counts().bytes, 0);
    fm_content_release(missing);
    fm_content_release(shorter);
    fm_content_release(link);
    fm_content_release(not_a_file);
    fm_content_release(pipe);
    fm_content_release(behind);
}

static void a_path_may_be_longer_than_the_system_takes(void **state)
{
    (void)state;
    static char path[64 + 20 * 255];
    char name[255];
    memset(name, 'n', 254);
    name[254] = '\0';
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    strcpy(path, folder);
    for (int i = 0; i < 18; i++) {
        assert_int_equal(mkdirat(at, name, 0700), 0);
        int next = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        (void)close(at);
        at = next;
        strcat(strcat(path, "/"), name);
    }
    int fd = openat(at, "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "zz", 2), 2);
    (void)close(fd);
    (void)close(at);
    strcat(path, "/f");
    assert_true(strlen(path) > 4096);
    struct fm_content *content = NULL;
    assert_int_equal(fm_content_new(contents, path, 2, &content), 0);
    look(content, 'z', 2);
    fm_content_release(content);
}

/* --- moving ----------------------------------------------------------------------------------- */

static int move_a_to_b(void *data, bool keep)
{
    (void)data;
    if (!keep)
        return unlink(path_of("a")) == 0 ? 0 : FM_ERR_IO;
    return rename(path_of("a"), path_of("b")) == 0 ? 0 : FM_ERR_IO;
}

static void a_file_that_was_replaced_is_read_until_the_last_release(void **state)
{
    (void)state;
    struct fm_content *content = made("a", 'a', 10);
    assert_int_equal(fm_content_move(content, path_of("b"), move_a_to_b, NULL), 0);
    write_file("a", 'n', 10);
    look(content, 'a', 10);
    fm_content_hold(content);
    fm_content_release(content);
    assert_true(exists("b"));
    fm_content_release(content);
    assert_false(exists("b"));
    assert_true(exists("a"));
}

static int refuse(void *data, bool keep)
{
    (void)data;
    (void)keep;
    return FM_ERR_IO;
}

static void a_move_that_fails_changes_nothing(void **state)
{
    (void)state;
    struct fm_content *content = made("a", 'a', 10);
    assert_int_equal(fm_content_move(content, path_of("b"), refuse, NULL), FM_ERR_IO);
    torture_fail_nth(1);
    assert_int_equal(fm_content_move(content, path_of("b"), move_a_to_b, NULL), FM_ERR_NOMEM);
    assert_true(torture_stop());
    look(content, 'a', 10);
    fm_content_release(content);
    assert_true(exists("a"));
}

static int rename_it(void *data, bool keep)
{
    const char *const *names = data;
    if (!keep)
        return unlink(path_of(names[0])) == 0 ? 0 : FM_ERR_IO;
    return rename(path_of(names[0]), path_of(names[1])) == 0 ? 0 : FM_ERR_IO;
}

static void replaced(struct fm_content *content, const char *from, const char *to)
{
    const char *names[2] = {from, to};
    assert_int_equal(fm_content_move(content, path_of(to), rename_it, names), 0);
}

/* 100 bytes, or one file. */
static void what_is_kept_has_a_bound(void **state)
{
    (void)state;
    struct fm_content *huge = made("a", 'a', 1000);
    struct fm_content *small = made("b", 'b', 1);
    replaced(huge, "a", "k1");
    replaced(small, "b", "k2");
    look(huge, 'a', 1000);
    assert_int_equal(fm_content_load(small), -EIO);
    assert_false(exists("k2"));
    fm_content_release(huge);
    fm_content_release(small);

    static const char *const names[] = {"c", "d", "e"};
    static const char *const kept[] = {"k3", "k4", "k5"};
    static const size_t sizes[] = {60, 40, 1};
    struct fm_content *all[3];
    for (size_t i = 0; i < 3; i++) {
        all[i] = made(names[i], 'x', sizes[i]);
        replaced(all[i], names[i], kept[i]);
    }
    look(all[0], 'x', 60);
    look(all[1], 'x', 40);
    assert_int_equal(fm_content_load(all[2]), -EIO);
    fm_content_release(all[1]);
    struct fm_content *last = made("f", 'x', 40);
    replaced(last, "f", "k6");
    look(last, 'x', 40);
    fm_content_release(last);
    fm_content_release(all[0]);
    fm_content_release(all[2]);
    assert_false(exists("k3"));
    assert_false(exists("k6"));
}

/* --- tidying ---------------------------------------------------------------------------------- */

static void count_untidy(void *data)
{
    (void)data;
    untidy_count++;
}

static void somebody_else_may_tidy(void **state)
{
    (void)state;
    const struct fm_contents_config config = {
        .bytes_max = 150, .files_max = 1, .untidy = count_untidy};
    fm_contents_free(contents);
    assert_int_equal(fm_contents_new(&config, &contents), 0);
    struct fm_content *a = made("a", 'a', 100);
    struct fm_content *b = made("c", 'c', 100);
    assert_int_equal(fm_content_load(a), 0);
    assert_int_equal(fm_content_load(b), 0);
    fm_content_unpin(b);
    assert_int_equal(untidy_count, 1);
    assert_true(in_memory(b)); /* and that asks once more */
    fm_contents_tidy(contents);
    assert_false(in_memory(b));
    fm_content_unpin(a);
    assert_int_equal(fm_content_move(a, path_of("b"), move_a_to_b, NULL), 0);
    untidy_count = 0;
    fm_content_release(a);
    assert_int_equal(untidy_count, 1);
    assert_true(exists("b"));
    assert_int_equal(counts().bytes, 0);
    fm_contents_tidy(contents);
    assert_false(exists("b"));
    fm_content_release(b); /* nothing to tidy */
    assert_int_equal(untidy_count, 1);
}

/* --- memory, threads -------------------------------------------------------------------------- */

static int load_both(void *data)
{
    (void)data;
    struct fm_content *small = NULL;
    struct fm_content *large = NULL;
    int failed = fm_content_new(contents, path_of("a"), 100, &small);
    if (!failed)
        failed = fm_content_new(contents, path_of("b"), SMALL + 1, &large);
    if (!failed)
        failed = fm_content_load(small);
    if (!failed) {
        fm_content_unpin(small);
        failed = fm_content_load(large);
    }
    if (!failed)
        fm_content_unpin(large);
    assert_true(failed == 0 || failed == FM_ERR_NOMEM || failed == -ENOMEM);
    fm_content_release(small);
    fm_content_release(large);
    assert_int_equal(counts().bytes, 0);
    return failed;
}

static void without_memory_nothing_is_lost(void **state)
{
    (void)state;
    write_file("a", 'a', 100);
    write_file("b", 'b', SMALL + 1);
    assert_true(torture(load_both, NULL) > 4);
    start(FM_MIB, 0); /* the large one is read, too */
    assert_true(torture(load_both, NULL) > 5);
}

static struct fm_content *shared[4];

static void *use_all(void *data)
{
    for (int i = 0; i < 300; i++) {
        struct fm_content *content = shared[(size_t)i % 4];
        const uint8_t *bytes = NULL;
        uint64_t count = 0;
        fm_content_hold(content);
        if (!fm_content_pin(content, &bytes, &count)) {
            if (fm_content_load(content) != 0)
                return NULL;
            if (!fm_content_pin(content, &bytes, &count))
                return NULL;
            fm_content_unpin(content);
        }
        if (count != 100 || bytes[99] != 'a' + i % 4)
            return NULL;
        fm_content_unpin(content);
        fm_content_release(content);
    }
    return data;
}

static void many_threads_share_contents(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d"};
    pthread_t threads[4];
    start(250, 2); /* they push one another out all the time */
    for (size_t i = 0; i < 4; i++)
        shared[i] = made(names[i], (uint8_t)('a' + i), 100);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_all, threads), 0);
    for (size_t i = 0; i < 4; i++) {
        void *result = NULL;
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_non_null(result);
    }
    for (size_t i = 0; i < 4; i++)
        fm_content_release(shared[i]);
    assert_int_equal(counts().bytes, 0);
}

static void *hold_and_release(void *data)
{
    for (int i = 0; i < 1000; i++)
        fm_content_release(fm_content_hold(data));
    return data;
}

/* For the thread sanitizer: a call ends while the file that it has seen is replaced. */
static void others_hold_a_content_that_moves(void **state)
{
    (void)state;
    struct fm_content *content = made("a", 'a', 10);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, hold_and_release, content), 0);
    assert_int_equal(fm_content_move(content, path_of("b"), move_a_to_b, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    fm_content_release(content);
    assert_false(exists("b"));
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(it_is_loaded_once),
        TEST(an_empty_file_has_no_bytes),
        TEST(small_and_large_files_are_alike),
        TEST(there_may_be_more_than_can_be_mapped),
        TEST(the_least_recently_used_goes_first),
        TEST(what_is_pinned_stays),
        TEST(what_cannot_be_read_is_told),
        TEST(a_path_may_be_longer_than_the_system_takes),
        TEST(a_file_that_was_replaced_is_read_until_the_last_release),
        TEST(a_move_that_fails_changes_nothing),
        TEST(what_is_kept_has_a_bound),
        TEST(somebody_else_may_tidy),
        TEST(without_memory_nothing_is_lost),
        TEST(many_threads_share_contents),
        TEST(others_hold_a_content_that_moves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
