/* test_compile_files.c - the files of a compile process arrive as they were sent, each as itself,
 * and end up in their places from wherever they were. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/compile.h"

/* A file of its own, that holds this number of bytes. */
static int numbered(off_t bytes)
{
    char path[] = "/tmp/faasm-files-XXXXXX";
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(ftruncate(fd, bytes), 0);
    return fd;
}

static off_t number_of(int fd)
{
    struct stat info;
    return fstat(fd, &info) == 0 ? info.st_size : -1;
}

static void make_pair(int pair[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
}

/* With and without each of the two that may be missing. */
static void sent_and_received(void **state)
{
    (void)state;
    int pair[2];
    make_pair(pair);
    for (unsigned which = 0; which < 4; which++) {
        struct fm_compile_files sent = {{numbered(1), numbered(2), -1, -1}};
        if (which & 1)
            sent.fds[FM_COMPILE_CACHE] = numbered(3);
        if (which & 2)
            sent.fds[FM_COMPILE_NEW_CACHE] = numbered(4);
        struct fm_compile_files got;
        assert_int_equal(fm_compile_receive(pair[1], false, &got), 0);
        assert_int_equal(fm_compile_send(pair[0], &sent), 0);
        assert_int_equal(fm_compile_receive(pair[1], false, &got), 1);
        for (int i = 0; i < FM_COMPILE_FILES; i++) {
            assert_int_equal(number_of(got.fds[i]), sent.fds[i] < 0 ? -1 : i + 1);
            if (got.fds[i] >= 0)
                assert_int_equal(fcntl(got.fds[i], F_GETFD), FD_CLOEXEC);
        }
        fm_compile_files_close(&sent);
        fm_compile_files_close(&got);
        assert_int_equal(sent.fds[FM_COMPILE_WASM], -1);
    }
    (void)close(pair[0]);
    struct fm_compile_files got;
    assert_int_equal(fm_compile_receive(pair[1], true, &got), FM_ERR_IO);
    (void)close(pair[1]);
}

/* What is no request: the byte says more than there are, or there are none. */
static void not_a_request(void **state)
{
    (void)state;
    int pair[2];
    make_pair(pair);
    struct fm_compile_files got;
    static const char *const bytes[] = {"\x03", "\x0f", "\xff", "c"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bytes); i++) {
        assert_int_equal(send(pair[0], bytes[i], 1, 0), 1);
        assert_int_equal(fm_compile_receive(pair[1], false, &got), FM_ERR_IO);
    }
    /* One without an output, and one without a module; what came is closed. */
    int file = numbered(1);
    int next = dup(file);
    (void)close(next);
    const struct fm_compile_files without[] = {{{file, -1, file, file}}, {{-1, file, -1, -1}}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(without); i++) {
        assert_int_equal(fm_compile_send(pair[0], &without[i]), 0);
        assert_int_equal(fm_compile_receive(pair[1], false, &got), FM_ERR_IO);
        int again = dup(file);
        assert_int_equal(again, next);
        (void)close(again);
    }
    (void)close(file);
    (void)close(pair[0]);
    (void)close(pair[1]);
}

/* In a process of its own: 0, if each file is in its place afterwards, and nothing where there is
 * none. */
static int place_in_child(const int from[FM_COMPILE_FILES])
{
    pid_t pid = fork();
    if (pid == 0) {
        struct fm_compile_files files = {{-1, -1, -1, -1}};
        int aloft[FM_COMPILE_FILES];
        for (int i = FM_COMPILE_CACHE; i < FM_COMPILE_FILES; i++)
            if (dup2(numbered(99), fm_compile_places[i]) < 0) /* of whoever started the server */
                _exit(49);
        for (int i = 0; i < FM_COMPILE_FILES; i++)
            aloft[i] = from[i] < 0 ? -1 : fcntl(numbered(i + 1), F_DUPFD, 100);
        for (int i = 0; i < FM_COMPILE_FILES; i++)
            if (from[i] >= 0) {
                files.fds[i] = from[i];
                if (dup2(aloft[i], from[i]) < 0)
                    _exit(50);
            }
        if (!fm_compile_files_place(&files))
            _exit(51);
        for (int i = 0; i < FM_COMPILE_FILES; i++)
            if (number_of(fm_compile_places[i]) != (from[i] >= 0 ? i + 1 : -1))
                _exit(60 + i);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void placed(void **state)
{
    (void)state;
    static const int from[][FM_COMPILE_FILES] = {
        {0, 1, 3, 4}, /* there already */
        {1, 0, 4, 3}, /* each other's */
        {3, 4, 0, 1}, {4, 3, 1, 0}, {5, 6, 7, 8}, {20, 3, -1, 0}, {3, 4, -1, -1}, {1, 0, -1, 3},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(from); i++) {
        int code = place_in_child(from[i]);
        if (code != 0)
            fail_msg("case %zu: %d", i, code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sent_and_received),
        cmocka_unit_test(not_a_request),
        cmocka_unit_test(placed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
