/* test_wasi_path.c - opening a file of the user's tree, which may have to be loaded first.  What
 * else paths do is tested from inside a guest: tests/guests/wasi.c. */
#include "guest_fixture.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files/content.h"
#include "files/tree.h"

#define TEXT "what the file holds"

static char file[] = "/tmp/faasm-path-XXXXXX";
static struct fm_contents *contents;
static struct fm_node *tree;

static int setup(void **state)
{
    const struct fm_contents_config config = {.bytes_max = FM_MIB, .files_max = 10};
    struct fm_content *content = NULL;
    struct fm_node *empty = NULL;
    int fd = mkstemp(file);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, TEXT, strlen(TEXT)), strlen(TEXT));
    assert_int_equal(close(fd), 0);
    assert_int_equal(fm_contents_new(&config, &contents), 0);
    assert_int_equal(fm_content_new(contents, file, strlen(TEXT), &content), 0);
    assert_int_equal(fm_node_folder_new(1, &empty), 0);
    assert_int_equal(fm_tree_put(empty, "a", 1, content, &tree), 0);
    fm_content_release(content);
    fm_node_release(empty);
    return fixture_setup(state);
}

static int teardown(void **state)
{
    fm_node_release(tree);
    fm_contents_free(contents);
    assert_int_equal(unlink(file), 0);
    return fixture_teardown(state);
}

/* Opens "a" for reading; its number goes to 16.  Then reads it to 100, the length to 24. */
static struct run *prepared(void)
{
    struct run *run = run_body(
        "wasi",
        BODY("(call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1)"
             "  (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16))",
             "(i32.store (i32.const 32) (i32.const 100)) (i32.store (i32.const 36) (i32.const 64))",
             "(call $fd_read (i32.load (i32.const 16)) (i32.const 32) (i32.const 1)"
             "  (i32.const 24))"),
        "(data (i32.const 0) \"a\")");
    run->files = tree;
    run_call(run, "", 0);
    return run;
}

static struct fm_content *parked(struct run *run)
{
    struct fm_guest_wait wait;
    assert_false(run_on(run, &wait));
    assert_non_null(wait.content);
    assert_true(wait.until_ns == UINT64_MAX);
    return wait.content;
}

static void assert_read(struct run *run)
{
    assert_true(run_on(run, NULL));
    KEPT(run, 0, 0);
    assert_int_equal(word_at(run, 16), 4);
    assert_int_equal(word_at(run, 24), strlen(TEXT));
    assert_memory_equal(run_memory(run, 100, 64), TEXT, strlen(TEXT));
}

static void waits_until_it_is_loaded(void **state)
{
    (void)state;
    struct run *run = prepared();
    struct fm_content *content = parked(run);
    assert_ptr_equal(parked(run), content); /* polled for nothing */
    assert_int_equal(fm_content_load(content), 0);
    fm_guest_content_loaded(run->guest, 0);
    assert_read(run);
    run_free(run);

    run = prepared(); /* now it is in memory */
    assert_read(run);
    run_free(run);
}

/* What the disk says is what the guest gets; it may try again. */
static void cannot_be_loaded(void **state)
{
    (void)state;
    static const int errors[][2] = {{EIO, 29}, {ENOENT, 44}, {ENOMEM, 48}, {EAGAIN, 6}};
    struct fm_node *saved_tree = tree;
    struct fm_node *empty = NULL;
    struct fm_content *cold = NULL;
    assert_int_equal(fm_content_new(contents, "/tmp/faasm-no-such-file", 5, &cold), 0);
    assert_int_equal(fm_node_folder_new(1, &empty), 0);
    assert_int_equal(fm_tree_put(empty, "a", 1, cold, &tree), 0);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(errors); i++) {
        struct run *run = prepared();
        struct fm_content *content = parked(run);
        assert_int_equal(fm_content_load(content), -ENOENT);
        fm_guest_content_loaded(run->guest, -errors[i][0]);
        assert_true(run_on(run, NULL));
        KEPT(run, errors[i][1], 0); /* 0 is the input then, which is at its end */
        run_free(run);
    }
    fm_node_release(tree);
    fm_node_release(empty);
    fm_content_release(cold);
    tree = saved_tree;
}

/* Ended while it waits, before and after the answer: no pin is left (fm_contents_free() sees). */
static void ended_while_it_waits(void **state)
{
    (void)state;
    static const char other[] = "/tmp/faasm-path-other";
    struct fm_node *saved_tree = tree;
    struct fm_node *empty = NULL;
    struct fm_content *cold = NULL;
    FILE *out = fopen(other, "w");
    assert_non_null(out);
    assert_true(fputs("x", out) >= 0);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(fm_content_new(contents, other, 1, &cold), 0);
    assert_int_equal(fm_node_folder_new(1, &empty), 0);
    assert_int_equal(fm_tree_put(empty, "a", 1, cold, &tree), 0);
    struct run *run = prepared();
    (void)parked(run);
    run_free(run);

    run = prepared();
    struct fm_content *content = parked(run);
    assert_int_equal(fm_content_load(content), 0);
    fm_guest_content_loaded(run->guest, 0);
    run_free(run);

    fm_node_release(tree);
    fm_node_release(empty);
    fm_content_release(cold);
    assert_int_equal(unlink(other), 0);
    tree = saved_tree;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waits_until_it_is_loaded),
        cmocka_unit_test(cannot_be_loaded),
        cmocka_unit_test(ended_while_it_waits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
