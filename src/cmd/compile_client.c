/* compile_client.c - how a build thread of the server gets a module compiled.
 *
 * A request is a few descriptors in one datagram, an answer the status of a process that has ended;
 * everything else stands in the output file, which only this side reads.  Sockets are handed out
 * one to a thread at a time; there are as many as build threads, so nobody waits for one. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/compile.h"
#include "cmd/compile_format.h"
#include "sched/deploy.h"

struct fm_compile_client {
    pthread_mutex_t mutex;
    pthread_cond_t returned;
    size_t sockets_count;
    size_t free_count;
    struct fm_compile_counts counts;
    int *free_sockets; /* the second half of `sockets` */
    int sockets[];     /* all of them */
};

int fm_compile_client_new(const int *sockets, size_t sockets_count,
                          struct fm_compile_client **ret_client)
{
    struct fm_compile_client *client =
        malloc(sizeof(*client) + 2 * sockets_count * sizeof(client->sockets[0]));
    if (!client)
        return FM_ERR_NOMEM;
    if (pthread_mutex_init(&client->mutex, NULL) != 0) {
        free(client);
        return FM_ERR_NOMEM;
    }
    if (pthread_cond_init(&client->returned, NULL) != 0) {
        (void)pthread_mutex_destroy(&client->mutex); /* not held */
        free(client);
        return FM_ERR_NOMEM;
    }
    client->free_sockets = client->sockets + sockets_count;
    memcpy(client->sockets, sockets, sockets_count * sizeof(sockets[0]));
    memcpy(client->free_sockets, sockets, sockets_count * sizeof(sockets[0]));
    client->sockets_count = sockets_count;
    client->free_count = sockets_count;
    client->counts = (struct fm_compile_counts){0};
    *ret_client = client;
    return 0;
}

struct fm_compile_client *fm_compile_client_free(struct fm_compile_client *client)
{
    if (!client)
        return NULL;
    FM_ASSERT(client->free_count == client->sockets_count);
    for (size_t i = 0; i < client->sockets_count; i++)
        (void)close(client->sockets[i]); /* nothing under way */
    (void)pthread_cond_destroy(&client->returned);
    (void)pthread_mutex_destroy(&client->mutex);
    free(client);
    return NULL;
}

void fm_compile_client_stop(struct fm_compile_client *client)
{
    for (size_t i = 0; client && i < client->sockets_count; i++)
        (void)shutdown(client->sockets[i],
                       SHUT_RDWR); /* whoever waits for an answer sees the end */
}

static int take_socket(struct fm_compile_client *client)
{
    int failed = pthread_mutex_lock(&client->mutex);
    FM_ASSERT(!failed);
    while (client->free_count == 0) {
        failed = pthread_cond_wait(&client->returned, &client->mutex);
        FM_ASSERT(!failed);
    }
    int socket = client->free_sockets[--client->free_count];
    failed = pthread_mutex_unlock(&client->mutex);
    FM_ASSERT(!failed);
    return socket;
}

static void give_socket(struct fm_compile_client *client, int socket)
{
    int failed = pthread_mutex_lock(&client->mutex);
    FM_ASSERT(!failed);
    client->free_sockets[client->free_count++] = socket;
    failed = pthread_cond_signal(&client->returned);
    FM_ASSERT(!failed);
    failed = pthread_mutex_unlock(&client->mutex);
    FM_ASSERT(!failed);
}

static void count(struct fm_compile_client *client, const struct fm_compile_counts *more)
{
    int failed = pthread_mutex_lock(&client->mutex);
    FM_ASSERT(!failed);
    client->counts.reused += more->reused;
    client->counts.compiled += more->compiled;
    failed = pthread_mutex_unlock(&client->mutex);
    FM_ASSERT(!failed);
}

void fm_compile_client_counts(struct fm_compile_client *client,
                              struct fm_compile_counts *ret_counts)
{
    int failed = pthread_mutex_lock(&client->mutex);
    FM_ASSERT(!failed);
    *ret_counts = client->counts;
    failed = pthread_mutex_unlock(&client->mutex);
    FM_ASSERT(!failed);
}

/* --- the answer ------------------------------------------------------------------------------- */

static int receive_reply(int socket, struct fm_compile_reply *reply)
{
    ssize_t got;
    do {
        got = recv(socket, reply, sizeof(*reply), 0);
    } while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof(*reply) ? 0 : FM_ERR_IO;
}

void fm_compile_answer(int socket, const struct fm_compile_reply *reply)
{
    /* A server that has gone does not need the answer. */
    (void)!send(socket, reply, sizeof(*reply), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* --- the output ------------------------------------------------------------------------------- */

static int read_at(int fd, void *data, size_t bytes, off_t offset)
{
    char *at = data;
    while (bytes > 0) {
        ssize_t got = pread(fd, at, bytes, offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return FM_ERR_IO;
        at += got;
        offset += got;
        bytes -= (size_t)got;
    }
    return 0;
}

/* Of the JSON at the end; `ret_code_bytes` is where it starts. */
static int read_result(int fd, struct fm_arena *arena, struct fm_compile_result *ret_result,
                       off_t *ret_code_bytes)
{
    struct stat info;
    struct fm_compile_footer footer;
    const off_t footer_bytes = (off_t)sizeof(footer);
    if (fstat(fd, &info) != 0 || info.st_size < footer_bytes ||
        read_at(fd, &footer, sizeof(footer), info.st_size - footer_bytes) != 0 ||
        memcmp(footer.magic, FM_COMPILE_MAGIC, sizeof(footer.magic)) != 0 ||
        footer.json_length > FM_COMPILE_JSON_MAX ||
        (off_t)footer.json_length > info.st_size - footer_bytes)
        return FM_ERR_INTERNAL;
    size_t length = (size_t)footer.json_length;
    off_t start = info.st_size - footer_bytes - (off_t)length;
    char *text = malloc(length + 1);
    if (!text)
        return FM_ERR_NOMEM;
    int failed = read_at(fd, text, length, start);
    if (!failed)
        failed = fm_compile_result_read(text, length, arena, ret_result);
    free(text);
    *ret_code_bytes = start;
    return failed;
}

static int read_output(int fd, struct fm_compilation *compilation,
                       struct fm_compile_counts *ret_counts, struct fm_error *error)
{
    off_t code_bytes = 0;
    struct fm_compile_result result;
    int failed = read_result(fd, compilation->arena, &result, &code_bytes);
    if (failed)
        return fm_error_set(error, failed, "%s",
                            failed == FM_ERR_NOMEM ? fm_err_meaning(failed)
                                                   : "the compiler gave no result");
    if (result.error.code) {
        *error = result.error;
        compilation->refusal = result.refusal;
        return result.error.code;
    }
    if (ftruncate(fd, code_bytes) != 0)
        return fm_error_errno(error, errno, "cannot cut the compiler's output");
    compilation->facts = result.facts;
    *ret_counts = result.bodies;
    return 0;
}

/* A compile process that did not end by itself was stopped by one of its limits, or crashed. */
static int status_error(const struct fm_compile_reply *reply, bool *ret_crashed,
                        struct fm_error *error)
{
    if (!reply->started)
        return fm_error_errno(error, reply->status, "cannot start a compile process");
    int status = reply->status;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFEXITED(status))
        return fm_error_set(error,
                            WEXITSTATUS(status) == fm_err_exit_code(FM_ERR_STORAGE_FULL)
                                ? FM_ERR_STORAGE_FULL
                                : FM_ERR_INTERNAL,
                            "the compiler ended with code %d", WEXITSTATUS(status));
    switch (WTERMSIG(status)) {
    case SIGXCPU:
    case SIGKILL:
        return fm_error_set(error, FM_ERR_BAD_MODULE,
                            "the module takes more than the compile limit of %d s of CPU time, "
                            "%d s in all",
                            FM_COMPILE_CPU_S, FM_COMPILE_WALL_S);
    case SIGXFSZ:
        return fm_error_set(error, FM_ERR_BAD_MODULE,
                            "the module's machine code is over the compile limit of %llu bytes",
                            (unsigned long long)FM_COMPILE_OUTPUT_BYTES);
    case SIGABRT: /* how the compiler ends without memory */
    default:
        *ret_crashed = true;
        return fm_error_set(error, FM_ERR_BAD_MODULE,
                            "the module made the compiler stop (signal %d): it is broken, or takes "
                            "more than the compile limit of %llu bytes of memory",
                            WTERMSIG(status), (unsigned long long)FM_COMPILE_MEMORY_BYTES);
    }
}

static int exchange(struct fm_compile_client *client, const struct fm_compile_files *files,
                    struct fm_compile_reply *reply)
{
    int socket = take_socket(client);
    int failed = fm_compile_send(socket, files);
    if (!failed)
        failed = receive_reply(socket, reply);
    give_socket(client, socket);
    return failed;
}

static int create(const char *path, int *ret_fd, struct fm_error *error)
{
    *ret_fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return *ret_fd >= 0 ? 0 : fm_error_errno(error, errno, "cannot create '%s'", path);
}

/* Without a cache all of the module is compiled, and nothing else is different. */
static int open_files(const struct fm_compilation *compilation, struct fm_compile_files *ret_files,
                      struct fm_error *error)
{
    struct fm_compile_files files = {{-1, -1, -1, -1}};
    int failed = 0;
    files.fds[FM_COMPILE_WASM] = open(compilation->wasm_path, O_RDONLY | O_CLOEXEC);
    if (files.fds[FM_COMPILE_WASM] < 0)
        failed = fm_error_errno(error, errno, "cannot open '%s'", compilation->wasm_path);
    if (!failed)
        failed = create(compilation->cwasm_path, &files.fds[FM_COMPILE_OUTPUT], error);
    if (failed) {
        fm_compile_files_close(&files);
        return failed;
    }
    if (compilation->cache_path)
        (void)!create(compilation->cache_path, &files.fds[FM_COMPILE_NEW_CACHE], NULL);
    if (compilation->cache_fd >= 0)
        files.fds[FM_COMPILE_CACHE] = fcntl(compilation->cache_fd, F_DUPFD_CLOEXEC, 0);
    *ret_files = files;
    return 0;
}

int fm_compile(void *data, struct fm_compilation *compilation, struct fm_error *error)
{
    struct fm_compile_client *client = data;
    struct fm_compile_files files;
    int failed = open_files(compilation, &files, error);
    if (failed)
        return failed;
    struct fm_compile_reply reply = {0};
    struct fm_compile_counts bodies = {0};
    int output_fd = files.fds[FM_COMPILE_OUTPUT];
    failed = exchange(client, &files, &reply);
    if (failed)
        (void)fm_error_set(error, failed, "the supervisor does not answer");
    if (!failed)
        failed = status_error(&reply, &compilation->crashed, error);
    if (!failed)
        failed = read_output(output_fd, compilation, &bodies, error);
    files.fds[FM_COMPILE_OUTPUT] = -1;
    fm_compile_files_close(&files);
    if (close(output_fd) != 0 && !failed)
        failed = fm_error_errno(error, errno, "cannot write '%s'", compilation->cwasm_path);
    if (!failed)
        count(client, &bodies);
    return failed;
}
