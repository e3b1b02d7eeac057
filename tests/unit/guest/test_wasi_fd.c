/* test_wasi_fd.c - descriptors: attributes, closing, renumbering, and what a stream cannot do. */
#include "guest_fixture.h"

/* Rights, from the specification. */
#define READ (UINT64_C(1) << 1)
#define SET_FLAGS (UINT64_C(1) << 3)
#define WRITE (UINT64_C(1) << 6)
#define FILESTAT (UINT64_C(1) << 21)
#define POLL (UINT64_C(1) << 27)

static void test_fdstat(void **state)
{
    (void)state;
    struct run *run = run_wasi(BODY("(memory.fill (i32.const 0) (i32.const 255) (i32.const 96))",
                                    "(call $fd_fdstat_get (i32.const 0) (i32.const 0))",
                                    "(call $fd_fdstat_get (i32.const 1) (i32.const 24))",
                                    "(call $fd_fdstat_get (i32.const 2) (i32.const 48))",
                                    "(call $fd_fdstat_get (i32.const 9) (i32.const 72))",
                                    "(call $fd_fdstat_get (i32.const 0)"
                                    "  (i32.const 65513))"),
                               "");
    KEPT(run, 0, 0, 0, 8, 21);
    for (uint32_t fd = 0; fd < 3; fd++) {
        assert_int_equal(long_at(run, 24 * fd), 0); /* unknown type (no terminal), no flags */
        assert_int_equal(long_at(run, 24 * fd + 8),
                         (fd == 0 ? READ : WRITE) | SET_FLAGS | FILESTAT | POLL);
        assert_int_equal(long_at(run, 24 * fd + 16), 0);
    }
    assert_int_equal(long_at(run, 72), UINT64_MAX); /* untouched */
    run_free(run);
}

static void test_flags(void **state)
{
    (void)state;
    struct run *run = run_wasi(BODY("(call $fd_fdstat_set_flags (i32.const 1) (i32.const 5))",
                                    "(call $fd_fdstat_set_flags (i32.const 1) (i32.const 32))",
                                    "(call $fd_fdstat_set_flags (i32.const 1)"
                                    "  (i32.const 65537))",
                                    "(call $fd_fdstat_set_flags (i32.const 9)"
                                    "  (i32.const 0))",
                                    "(call $fd_fdstat_get (i32.const 1)"
                                    "  (i32.const 0))"),
                               "");
    KEPT(run, 0, 28, 28, 8, 0);
    assert_int_equal(fm_load_u16(run_memory(run, 2, 2)), 5);
    run_free(run);
}

/* Rights can be given up, and never come back. */
static void test_rights(void **state)
{
    (void)state;
    struct run *run =
        run_wasi(BODY(
                     /* without set_flags, filestat and poll */
                     "(call $fd_fdstat_set_rights (i32.const 1) "
                     "(i64.const 64) (i64.const 0))",
                     "(call $fd_fdstat_set_flags (i32.const 1) (i32.const 1))",
                     "(call $fd_filestat_get (i32.const 1) (i32.const 0))",
                     "(call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0))",
                     /* not even that */
                     "(call $fd_fdstat_set_rights (i32.const 1) (i64.const 0) (i64.const 0))",
                     "(call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0))",
                     "(call $fd_fdstat_set_rights (i32.const 1) (i64.const 64) (i64.const 0))",
                     "(call $fd_fdstat_set_rights (i32.const 0) (i64.const 2) (i64.const 1))",
                     "(call $fd_fdstat_set_rights (i32.const 0) (i64.const 64)"
                     "  (i64.const 0))",
                     "(call $fd_fdstat_set_rights (i32.const 9) (i64.const 0)"
                     "  (i64.const 0))"),
                 "");
    KEPT(run, 0, 76, 76, 0, 0, 76, 76, 76, 76, 8);
    run_free(run);
}

static void test_filestat(void **state)
{
    (void)state;
    struct run *run = run_wasi(BODY("(memory.fill (i32.const 0) (i32.const 255) (i32.const 192))",
                                    "(call $fd_filestat_get (i32.const 0) (i32.const 0))",
                                    "(call $fd_filestat_get (i32.const 1) (i32.const 64))",
                                    "(call $fd_filestat_get (i32.const 9) (i32.const 128))",
                                    "(call $fd_filestat_get (i32.const 0)"
                                    "  (i32.const 65473))"),
                               "");
    KEPT(run, 0, 0, 8, 21);
    assert_int_equal(long_at(run, 16), 0); /* type unknown */
    assert_int_equal(long_at(run, 24), 1); /* one link */
    assert_int_equal(long_at(run, 32), 0); /* size */
    assert_true(long_at(run, 8) != long_at(run, 64 + 8));
    assert_int_equal(long_at(run, 128), UINT64_MAX);
    run_free(run);
}

static void test_close(void **state)
{
    (void)state;
    struct run *run =
        run_wasi(BODY("(call $fd_close (i32.const 9))", "(call $fd_close (i32.const -1))",
                      "(call $fd_close (i32.const 1))", "(call $fd_close (i32.const 1))",
                      "(call $fd_fdstat_get (i32.const 1) (i32.const 0))",
                      "(call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0))",
                      "(call $fd_close (i32.const 0))",
                      "(call $fd_read (i32.const 0) (i32.const 0) (i32.const 0)"
                      "  (i32.const 0))",
                      "(call $fd_close (i32.const 2))"),
                 "");
    KEPT(run, 8, 8, 0, 8, 8, 8, 0, 8, 0);
    assert_int_equal(run->call->error, 0);
    run_free(run);
}

/* Writes the two bytes "AB" through a descriptor. */
#define WRITE_TO(fd) "(call $fd_write (i32.const " fd ") (i32.const 0) (i32.const 1) (i32.const 8))"
#define PREPARE                                                                                    \
    "(i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 2))"             \
    "(i32.store (i32.const 16) (i32.const 0x4241))"

static void test_renumber(void **state)
{
    (void)state;
    struct run *run = run_wasi(BODY(PREPARE, "(call $fd_renumber (i32.const 1) (i32.const 2))",
                                    WRITE_TO("2"), WRITE_TO("1")),
                               "");
    KEPT(run, 0, 0, 8);
    assert_buffer(&run->call->output, "AB"); /* descriptor 2 is the output now */
    assert_buffer(&run->call->log, "");
    run_free(run);

    run =
        run_wasi(BODY(PREPARE, "(call $fd_renumber (i32.const 1) (i32.const 1))",
                      "(call $fd_renumber (i32.const 1) (i32.const 9))",
                      "(call $fd_renumber (i32.const 9) (i32.const 1))", WRITE_TO("1"),
                      "(call $fd_close (i32.const 2))", /* what is to be overwritten must be open */
                      "(call $fd_renumber (i32.const 1) (i32.const 2))",
                      "(call $fd_renumber (i32.const 2) (i32.const 1))",
                      "(call $fd_renumber (i32.const 2) (i32.const 2))", WRITE_TO("1")),
                 "");
    KEPT(run, 0, 8, 8, 0, 0, 8, 8, 8, 0);
    assert_buffer(&run->call->output, "ABAB");
    run_free(run);
}

/* The input under the number of the output can be read there, and no more be written. */
static void test_renumber_the_input(void **state)
{
    (void)state;
    struct run *run =
        run_wasi(BODY(PREPARE, "(call $fd_renumber (i32.const 0) (i32.const 1))", WRITE_TO("1"),
                      "(call $fd_read (i32.const 1) (i32.const 0)"
                      "  (i32.const 1) (i32.const 8))"),
                 "xyz");
    KEPT(run, 0, 8, 0);
    assert_int_equal(word_at(run, 8), 2);
    assert_memory_equal(run_memory(run, 16, 2), "xy", 2);
    run_free(run);
}

/* --- what a stream cannot do ------------------------------------------------------------------ */

/* Calls of which one parameter is the descriptor. */
struct refusal {
    const char *function;
    const char *before; /* parameters before the descriptor */
    const char *after;
    int32_t error; /* on an open stream; EBADF otherwise */
};

#define N "(i32.const 0)"
#define ONE "(i32.const 1)"
#define L "(i64.const 0)"

static const struct refusal refusals[] = {
    {"fd_seek", "", L N N, 70},
    {"fd_seek", "", L "(i32.const 2)" N, 70},
    {"fd_seek", "", L "(i32.const 3)" N, 28},
    {"fd_tell", "", N, 70},
    {"fd_pread", "", N N L N, 70},
    {"fd_pwrite", "", N N L N, 70},
    {"fd_advise", "", L L "(i32.const 5)", 70},
    {"fd_advise", "", L L "(i32.const 6)", 28},
    {"fd_allocate", "", L "(i64.const 1)", 70},
    {"fd_sync", "", "", 28},
    {"fd_datasync", "", "", 28},
    {"fd_filestat_set_size", "", L, 28},
    {"fd_filestat_set_times", "", L L "(i32.const 9)", 58},
    {"fd_filestat_set_times", "", L L "(i32.const 3)", 28},
    {"fd_filestat_set_times", "", L L "(i32.const 12)", 28},
    {"fd_filestat_set_times", "", L L "(i32.const 16)", 28},
    {"fd_prestat_get", "", N, 8},
    {"fd_prestat_dir_name", "", N N, 8},
    {"fd_readdir", "", N "(i32.const 99)" L N, 54},
    {"path_create_directory", "", N ONE, 54},
    {"path_filestat_get", "", N N ONE N, 54},
    {"path_filestat_set_times", "", N N ONE L L N, 54},
    {"path_link", "", N N ONE N N ONE, 54},
    {"path_open", "", N N ONE N L L N N, 54},
    {"path_readlink", "", N ONE N ONE N, 54},
    {"path_remove_directory", "", N ONE, 54},
    {"path_rename", "", N ONE N N ONE, 54},
    {"path_symlink", N ONE, N ONE, 54},
    {"path_unlink_file", "", N ONE, 54},
    {"sock_accept", "", N N, 57},
    {"sock_recv", "", N N N N N, 57},
    {"sock_send", "", N N N N, 57},
    {"sock_shutdown", "", ONE, 57},
};

static void test_refusals(void **state)
{
    (void)state;
    const char *const fds[] = {"0", "1", "2", "9", "4096", "-1"};
    char body[sizeof(refusals) / sizeof(refusals[0]) * 6 * 220] = "";
    size_t used = 0;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(refusals); i++) {
        for (size_t fd = 0; fd < FM_ARRAY_LENGTH(fds); fd++) {
            used += (size_t)snprintf(
                body + used, sizeof(body) - used, "(call $keep (call $%s %s (i32.const %s) %s))\n",
                refusals[i].function, refusals[i].before, fds[fd], refusals[i].after);
        }
    }
    char *entry = malloc(used + 100);
    (void)snprintf(entry, used + 100, "(func (export \"_start\") %s)", body);
    struct run *run = run_wat("wasi", entry, "", "");
    free(entry);
    assert_int_equal(run->call->error, 0);
    uint32_t index = 0;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(refusals); i++) {
        for (size_t fd = 0; fd < FM_ARRAY_LENGTH(fds); fd++, index++) {
            int32_t expected = fd < 3 ? refusals[i].error : 8;
            if (kept(run, index) != expected)
                fail_msg("%s on %s is %d, not %d", refusals[i].function, fds[fd], kept(run, index),
                         expected);
        }
    }
    run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fdstat),
        cmocka_unit_test(test_flags),
        cmocka_unit_test(test_rights),
        cmocka_unit_test(test_filestat),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_renumber),
        cmocka_unit_test(test_renumber_the_input),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
