/* compile_files.c - the files of a compile process: on their way to it, and in their places.
 *
 * They travel as descriptors in one datagram, in their order; its one byte says which there are.
 * The compile process sees each under a number of its own, whoever put it there: the supervisor's
 * child before exec, or the process itself, when it was started early. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cmd/compile.h"

#define ALOFT 10 /* above all places */

const int fm_compile_places[FM_COMPILE_FILES] = {
    [FM_COMPILE_WASM] = 0,
    [FM_COMPILE_OUTPUT] = 1,
    [FM_COMPILE_CACHE] = 3,
    [FM_COMPILE_NEW_CACHE] = 4,
};

void fm_compile_files_close(struct fm_compile_files *files)
{
    for (size_t i = 0; i < FM_COMPILE_FILES; i++) {
        if (files->fds[i] >= 0)
            (void)close(files->fds[i]); /* the compile process has its own */
        files->fds[i] = -1;
    }
}

bool fm_compile_files_place(struct fm_compile_files *files)
{
    bool placed = true;
    struct fm_compile_files high = *files;
    /* Places may be taken by each other's files: by way of numbers that nobody has. */
    for (size_t i = 0; i < FM_COMPILE_FILES; i++)
        if (files->fds[i] >= 0) {
            high.fds[i] = fcntl(files->fds[i], F_DUPFD, ALOFT);
            placed = placed && high.fds[i] >= 0;
        }
    fm_compile_files_close(files); /* one may be there twice, which does no harm */
    for (size_t i = 0; placed && i < FM_COMPILE_FILES; i++)
        if (high.fds[i] >= 0)
            placed = dup2(high.fds[i], fm_compile_places[i]) >= 0;
        else
            (void)close(fm_compile_places[i]); /* whatever the server was started with */
    fm_compile_files_close(&high);
    return placed;
}

/* --- the datagrams ---------------------------------------------------------------------------- */

union descriptors {
    struct cmsghdr header;
    char space[CMSG_SPACE(FM_COMPILE_FILES * sizeof(int))];
};

int fm_compile_send(int socket, const struct fm_compile_files *files)
{
    int given[FM_COMPILE_FILES];
    size_t count = 0;
    uint8_t which = 0;
    for (size_t i = 0; i < FM_COMPILE_FILES; i++) {
        if (files->fds[i] < 0)
            continue;
        given[count++] = files->fds[i];
        which |= (uint8_t)(1U << i);
    }
    struct iovec data = {.iov_base = &which, .iov_len = 1};
    union descriptors control = {0};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), given, count * sizeof(int));
    ssize_t sent;
    do {
        sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    return sent == 1 ? 0 : FM_ERR_IO;
}

/* The descriptors that came, whatever they are. */
static size_t take(struct msghdr *message, struct fm_compile_files *ret_given)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    size_t bytes = header ? header->cmsg_len - CMSG_LEN(0) : 0;
    FM_ASSERT(bytes <= sizeof(ret_given->fds)); /* the room for more is not there */
    memset(ret_given->fds, -1, sizeof(ret_given->fds));
    if (header)
        memcpy(ret_given->fds, CMSG_DATA(header), bytes);
    return bytes / sizeof(ret_given->fds[0]);
}

int fm_compile_receive(int socket, bool wait, struct fm_compile_files *ret_files)
{
    uint8_t which = 0;
    struct iovec data = {.iov_base = &which, .iov_len = 1};
    union descriptors control = {0};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t got = recvmsg(socket, &message, (wait ? 0 : MSG_DONTWAIT) | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : FM_ERR_IO;
    const unsigned always = 1U << FM_COMPILE_WASM | 1U << FM_COMPILE_OUTPUT;
    struct fm_compile_files given;
    size_t count = take(&message, &given);
    if (got == 0 || which >= 1U << FM_COMPILE_FILES || (which & always) != always ||
        count != (size_t)__builtin_popcount(which)) {
        fm_compile_files_close(&given);
        return FM_ERR_IO; /* the server has gone, or is not ours: its socket is closed */
    }
    size_t next = 0;
    for (size_t i = 0; i < FM_COMPILE_FILES; i++)
        ret_files->fds[i] = which & (1U << i) ? given.fds[next++] : -1;
    return 1;
}
