/* cgi.c - the classic alternative: isolation by process, one for each request (RFC 3875).
 *
 *      bench_cgi PROGRAM [PORT [THREADS]]      0: any port, as many threads as below
 *
 * The same HTTP library as ours, one copy of a body into a buffer as there, and nothing besides:
 * no routes, limits or metrics, and no confinement of the program.
 *
 * What makes it as fast as this way can be: posix_spawn(), which shares the memory of the parent
 * until the program is there, where fork() would copy page tables; a program that is linked
 * statically; a body that lies in the pipe before the program starts.  A thread waits for its
 * program; with twice as many threads as cores a core is never without work, and more of them only
 * add switches.
 *
 * Lifetime: until it is killed.  Threading: a request belongs to its daemon's thread. */
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/base.h"

#define BODY_BYTES_MAX (64 * FM_KIB) /* what an empty pipe takes */
#define HEAD_BYTES_MAX (4 * FM_KIB)  /* of the program's answer */
#define CONNECTIONS_MAX 4096u
#define THREADS_PER_CORE 2
#define THREADS_MAX 256

struct request {
    size_t received;
    bool is_too_large;
    uint8_t body[BODY_BYTES_MAX];
};

struct answer {
    size_t bytes;
    char data[HEAD_BYTES_MAX + BODY_BYTES_MAX];
};

static const char *program;

static _Noreturn void fail(const char *what)
{
    (void)fprintf(stderr, "cgi: %s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

static void close_all(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fds[i] >= 0)
            (void)close(fds[i]);
}

/* --- the program
 * --------------------------------------------------------------------------------- */

static pid_t spawn(size_t body_bytes, int in, int out)
{
    char length[64];
    char *arguments[] = {(char *)(uintptr_t)program, NULL};
    char *environment[] = {"GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=POST",
                           "SERVER_PROTOCOL=HTTP/1.1", length, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid = -1;
    (void)snprintf(length, sizeof(length), "CONTENT_LENGTH=%zu", body_bytes);
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -1;
    if (posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO) != 0 ||
        posix_spawn(&pid, program, &actions, NULL, arguments, environment) != 0)
        pid = -1;
    (void)posix_spawn_file_actions_destroy(&actions);
    return pid;
}

static bool read_all(int fd, struct answer *answer)
{
    while (answer->bytes < sizeof(answer->data)) {
        ssize_t got = read(fd, answer->data + answer->bytes, sizeof(answer->data) - answer->bytes);
        if (got == 0)
            return true;
        if (got < 0 && errno != EINTR)
            return false;
        if (got > 0)
            answer->bytes += (size_t)got;
    }
    return false; /* too long */
}

/* Runs the program on the body; false unless it succeeds. */
static bool run(const struct request *request, struct answer *answer)
{
    int pipes[4] = {-1, -1, -1, -1}; /* its input: read, write; its output: read, write */
    int status = -1;
    if (pipe2(&pipes[0], O_CLOEXEC) != 0 || pipe2(&pipes[2], O_CLOEXEC) != 0 ||
        write(pipes[1], request->body, request->received) != (ssize_t)request->received) {
        close_all(pipes, 4);
        return false;
    }
    pid_t pid = spawn(request->received, pipes[0], pipes[3]);
    close_all((int[]){pipes[0], pipes[1], pipes[3]}, 3);
    bool complete = pid > 0 && read_all(pipes[2], answer);
    (void)close(pipes[2]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return complete && status == 0;
}

/* --- the library's callbacks
 * ---------------------------------------------------------------------- */

/* The program's answer: `Content-Type: ...`, an empty line, the body. */
static struct MHD_Response *response_of(struct answer *answer)
{
    static const char name[] = "Content-Type: ";
    static const char blank[] = "\r\n\r\n";
    char *type = answer->data + sizeof(name) - 1;
    char *end = memmem(answer->data, answer->bytes, blank, sizeof(blank) - 1);
    if (!end || end < type || memcmp(answer->data, name, sizeof(name) - 1) != 0)
        return NULL;
    *end = '\0';
    char *body = end + sizeof(blank) - 1;
    size_t bytes = answer->bytes - (size_t)(body - answer->data);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(bytes, body, MHD_RESPMEM_MUST_COPY);
    if (response && MHD_add_response_header(response, "Content-Type", type) != MHD_YES) {
        MHD_destroy_response(response);
        response = NULL;
    }
    return response;
}

static enum MHD_Result answer_with(struct MHD_Connection *connection, unsigned status,
                                   struct MHD_Response *response)
{
    if (!response)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_error(struct MHD_Connection *connection, unsigned status)
{
    return answer_with(connection, status,
                       MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *piece,
                                  size_t *piece_bytes, void **context)
{
    (void)data;
    (void)url;
    (void)method;
    (void)version;
    struct request *request = *context;
    if (!request) {
        request = malloc(sizeof(*request));
        *context = request;
        if (!request)
            return MHD_NO;
        request->received = 0;
        request->is_too_large = false;
        return MHD_YES;
    }
    if (*piece_bytes > 0) {
        if (*piece_bytes > BODY_BYTES_MAX - request->received)
            request->is_too_large = true; /* the library wants all of it before the answer */
        if (!request->is_too_large) {
            memcpy(request->body + request->received, piece, *piece_bytes);
            request->received += *piece_bytes;
        }
        *piece_bytes = 0;
        return MHD_YES;
    }
    if (request->is_too_large)
        return answer_error(connection, MHD_HTTP_CONTENT_TOO_LARGE);
    struct answer *answer = malloc(sizeof(*answer));
    if (!answer)
        return MHD_NO;
    answer->bytes = 0;
    enum MHD_Result result = run(request, answer)
                                 ? answer_with(connection, MHD_HTTP_OK, response_of(answer))
                                 : answer_error(connection, MHD_HTTP_BAD_GATEWAY);
    free(answer);
    return result;
}

static void on_completed(void *data, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    (void)data;
    (void)connection;
    (void)code;
    free(*context);
    *context = NULL;
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    long port = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    long threads = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    if (threads == 0)
        threads = THREADS_PER_CORE * sysconf(_SC_NPROCESSORS_ONLN);
    if (argc < 2 || argc > 4 || port < 0 || port > UINT16_MAX || threads < 1 ||
        threads > THREADS_MAX) {
        (void)fprintf(stderr, "usage: bench_cgi PROGRAM [PORT [THREADS]]\n");
        return 64;
    }
    program = argv[1];
    address.sin_port = htons((uint16_t)port);
    unsigned flags = (unsigned)MHD_USE_EPOLL_INTERNAL_THREAD | (unsigned)MHD_USE_TURBO;
    struct MHD_Daemon *daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, on_request, NULL,          /* */
                         MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, /* */
                         MHD_OPTION_SOCK_ADDR, &address,                  /* */
                         MHD_OPTION_THREAD_POOL_SIZE, (unsigned)threads,  /* */
                         MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX, MHD_OPTION_END);
    if (!daemon)
        fail("cannot start the HTTP library");
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT);
    if (!info)
        fail("no port");
    (void)fprintf(stderr, "info listening address=127.0.0.1:%d\n", info->port);
    for (;;)
        (void)pause();
}
