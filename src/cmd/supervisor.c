/* supervisor.c - one thread, no user input, four duties:
 *
 *   - it forks the server, and forks it again when it dies: at once the first time, then with a
 * pause that doubles up to 10 s, until a server has lived for a minute;
 *   - it starts a compile process for every request on the build sockets, the next one in advance
 *     when one has ended, and stops one that takes too long;
 *   - it remembers which calls' guests ran when a server crashed (suspects.h), for the next one;
 *   - it hands on SIGTERM and SIGINT, and ends with the server's exit code.
 *
 * The listening socket stays open here, so that connections that arrive while the server restarts
 * wait in the kernel instead of being refused.  The server dies with its supervisor
 * (PR_SET_PDEATHSIG).  A server that fails before it was ever ready is a mistake in the
 * configuration: not started again. */
#include "cmd/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "cmd/compile.h"

#define BUILDS_MAX 16
#define BACKOFF_MIN_NS (100 * FM_NS_PER_MS)
#define BACKOFF_MAX_NS (10 * FM_NS_PER_S)
#define HEALTHY_NS (60 * FM_NS_PER_S)

/* One build thread of the server, and the process that works for it. */
struct build {
    int socket;  /* our end; -1: the server's is gone */
    pid_t pid;   /* 0: idle */
    bool orphan; /* its server has died: nobody waits for the answer */
    uint64_t kill_ns;
};

/* A compile process that waits for its module. */
struct early {
    int socket; /* -1: there is none */
    pid_t pid;
};

struct supervisor {
    const struct fm_config *config;
    int listener;
    int (*serve)(const struct fm_server_start *start);
    int signals; /* signalfd */
    struct fm_suspects *suspects;
    struct build builds[BUILDS_MAX];
    size_t builds_count;
    struct early early;

    pid_t server; /* 0: none now */
    int ready;    /* read end of the server's pipe; -1: it has been ready */
    bool ever_ready;
    uint64_t started_ns;
    uint64_t backoff_ns;
    uint64_t start_at_ns; /* of the next server */
    bool stopping;
    bool is_server; /* in the child process, once its server has ended */
    int exit_code;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* sockets and pipes: nothing to lose */
    *fd = -1;
}

/* --- the server ------------------------------------------------------------------------------- */

/* In the child: the whole life of a server.  Returns its exit code, which main() will return. */
static int become_server(struct supervisor *supervisor, const int *sockets, const int ready[2],
                         pid_t parent)
{
    bool bound = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
    (void)close(ready[0]); /* the parent's end */
    close_fd(&supervisor->signals);
    close_fd(&supervisor->ready);
    close_fd(&supervisor->early.socket);
    for (size_t i = 0; i < supervisor->builds_count; i++)
        close_fd(&supervisor->builds[i].socket);
    if (!bound) /* it has died already */
        return EXIT_FAILURE;
    struct fm_server_start start = {
        .config = supervisor->config,
        .listener = supervisor->listener,
        .ready = ready[1],
        .build_sockets = sockets,
        .build_sockets_count = supervisor->builds_count,
        .suspects_page = supervisor->suspects,
    };
    start.suspects = fm_suspects_list(supervisor->suspects, &start.suspects_count);
    return supervisor->serve(&start);
}

static bool open_channels(struct supervisor *supervisor, int *server_sockets, int ready[2])
{
    if (pipe2(ready, O_CLOEXEC) != 0)
        return false;
    for (size_t i = 0; i < supervisor->builds_count; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
            return false;
        supervisor->builds[i].socket = pair[0];
        server_sockets[i] = pair[1];
    }
    return true;
}

static void start_server(struct supervisor *supervisor)
{
    int sockets[BUILDS_MAX];
    int ready[2] = {-1, -1};
    memset(sockets, -1, sizeof(sockets));
    bool open = open_channels(supervisor, sockets, ready);
    pid_t parent = getpid();
    pid_t pid = open ? fork() : -1;
    if (pid == 0) {
        supervisor->is_server = true;
        supervisor->exit_code = become_server(supervisor, sockets, ready, parent);
        return;
    }
    for (size_t i = 0; i < supervisor->builds_count; i++)
        close_fd(&sockets[i]);
    close_fd(&ready[1]);
    supervisor->started_ns = fm_clock_monotonic_ns();
    if (pid < 0) {
        fm_log(FM_LOG_ERROR, "server_start_failed", "reason", strerror(errno), NULL);
        close_fd(&ready[0]);
        for (size_t i = 0; i < supervisor->builds_count; i++)
            close_fd(&supervisor->builds[i].socket);
        supervisor->start_at_ns = supervisor->started_ns + BACKOFF_MAX_NS;
        return;
    }
    supervisor->server = pid;
    supervisor->ready = ready[0];
}

static void log_death(int status, uint64_t pause_ns)
{
    char how[64];
    char pause[32];
    if (WIFSIGNALED(status))
        (void)snprintf(how, sizeof(how), "signal %d", WTERMSIG(status));
    else
        (void)snprintf(how, sizeof(how), "exit code %d", WEXITSTATUS(status));
    (void)snprintf(pause, sizeof(pause), "%llu", (unsigned long long)(pause_ns / FM_NS_PER_MS));
    fm_log(FM_LOG_ERROR, "server_died", "how", how, "restart_in_ms", pause, NULL);
}

static void server_ended(struct supervisor *supervisor, int status)
{
    uint64_t now_ns = fm_clock_monotonic_ns();
    supervisor->server = 0;
    close_fd(&supervisor->ready);
    fm_suspects_collect(supervisor->suspects, status);
    for (size_t i = 0; i < supervisor->builds_count; i++) {
        close_fd(&supervisor->builds[i].socket);
        if (supervisor->builds[i].pid > 0) {
            supervisor->builds[i].orphan = true;
            (void)kill(supervisor->builds[i].pid, SIGKILL);
        }
    }
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (supervisor->stopping || !supervisor->ever_ready) {
        supervisor->exit_code = code;
        supervisor->stopping = true;
        return;
    }
    if (now_ns - supervisor->started_ns >= HEALTHY_NS)
        supervisor->backoff_ns = 0;
    supervisor->start_at_ns = now_ns + supervisor->backoff_ns;
    log_death(status, supervisor->backoff_ns);
    supervisor->backoff_ns = supervisor->backoff_ns == 0
                                 ? BACKOFF_MIN_NS
                                 : fm_min_u64(2 * supervisor->backoff_ns, BACKOFF_MAX_NS);
}

/* Not while there is one.  When a build has ended and not when it begins, which it would hold up.
 * Without it the next build starts its own. */
static void start_early(struct early *early)
{
    int pair[2];
    if (early->socket >= 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return;
    early->pid = fork();
    if (early->pid == 0)
        fm_compile_exec(&(struct fm_compile_files){{pair[1], pair[1], -1, -1}});
    (void)close(pair[1]); /* the child has its own */
    early->socket = pair[0];
    if (early->pid < 0)
        close_fd(&early->socket);
}

static void server_ready(struct supervisor *supervisor)
{
    char byte;
    ssize_t got = read(supervisor->ready, &byte, 1);
    if (got == 1) {
        supervisor->ever_ready = true;
        fm_suspects_forget(supervisor->suspects); /* that server knows them */
        start_early(&supervisor->early);
    }
    if (got >= 0 || errno != EINTR)
        close_fd(&supervisor->ready);
}

/* --- compile processes ------------------------------------------------------------------------ */

/* The process that will compile this: the one that waits, or a new one; negative: errno says why.
 */
static pid_t start_process(struct early *early, const struct fm_compile_files *files)
{
    bool sent = early->socket >= 0 && fm_compile_send(early->socket, files) == 0;
    close_fd(&early->socket); /* one that has died is reaped as nobody's */
    if (sent)
        return early->pid;
    pid_t pid = fork();
    if (pid == 0)
        fm_compile_exec(files);
    return pid;
}

static void start_build(struct build *build, struct early *early)
{
    struct fm_compile_files files;
    int got = fm_compile_receive(build->socket, false, &files);
    if (got < 0)
        close_fd(&build->socket);
    if (got <= 0)
        return;
    pid_t pid = start_process(early, &files);
    int errnum = errno;
    fm_compile_files_close(&files);
    if (pid < 0) {
        const struct fm_compile_reply reply = {.started = 0, .status = errnum};
        fm_compile_answer(build->socket, &reply);
        return;
    }
    build->pid = pid;
    build->kill_ns = fm_clock_monotonic_ns() + FM_COMPILE_WALL_S * FM_NS_PER_S;
}

static void build_ended(struct build *build, int status)
{
    const struct fm_compile_reply reply = {.started = 1, .status = status};
    bool wanted = build->socket >= 0 && !build->orphan; /* the socket may be a newer server's */
    build->pid = 0;
    build->orphan = false;
    if (wanted)
        fm_compile_answer(build->socket, &reply);
}

/* --- events ----------------------------------------------------------------------------------- */

static void reap(struct supervisor *supervisor)
{
    for (;;) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return;
        if (pid == supervisor->server) {
            server_ended(supervisor, status);
            continue;
        }
        if (pid == supervisor->early.pid)
            close_fd(&supervisor->early.socket);
        for (size_t i = 0; i < supervisor->builds_count; i++)
            if (supervisor->builds[i].pid == pid) {
                build_ended(&supervisor->builds[i], status);
                if (!supervisor->stopping)
                    start_early(&supervisor->early);
            }
    }
}

static void on_signal(struct supervisor *supervisor)
{
    struct signalfd_siginfo info;
    while (read(supervisor->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            continue; /* reap() below; one signal may stand for several children */
        supervisor->stopping = true;
        if (supervisor->server > 0)
            (void)kill(supervisor->server, SIGTERM); /* it may be gone already */
    }
    reap(supervisor);
}

/* Milliseconds until something is due; -1: nothing is. */
static int next_due_ms(struct supervisor *supervisor)
{
    uint64_t due_ns = UINT64_MAX;
    if (supervisor->server == 0 && !supervisor->stopping)
        due_ns = supervisor->start_at_ns;
    for (size_t i = 0; i < supervisor->builds_count; i++)
        if (supervisor->builds[i].pid > 0)
            due_ns = fm_min_u64(due_ns, supervisor->builds[i].kill_ns);
    if (due_ns == UINT64_MAX)
        return -1;
    uint64_t now_ns = fm_clock_monotonic_ns();
    return due_ns <= now_ns ? 0 : (int)((due_ns - now_ns) / FM_NS_PER_MS) + 1;
}

static void do_due(struct supervisor *supervisor)
{
    uint64_t now_ns = fm_clock_monotonic_ns();
    if (supervisor->server == 0 && !supervisor->stopping && supervisor->start_at_ns <= now_ns)
        start_server(supervisor);
    for (size_t i = 0; i < supervisor->builds_count; i++) {
        struct build *build = &supervisor->builds[i];
        if (build->pid > 0 && build->kill_ns <= now_ns) {
            (void)kill(build->pid, SIGKILL); /* its end comes as SIGCHLD */
            build->kill_ns = now_ns + FM_NS_PER_S;
        }
    }
}

static void wait_for_events(struct supervisor *supervisor)
{
    struct pollfd fds[BUILDS_MAX + 2] = {
        {.fd = supervisor->signals, .events = POLLIN},
        {.fd = supervisor->ready, .events = POLLIN},
    };
    for (size_t i = 0; i < supervisor->builds_count; i++) {
        const struct build *build = &supervisor->builds[i];
        /* A busy one's next request waits. */
        fds[i + 2] = (struct pollfd){.fd = build->pid > 0 ? -1 : build->socket, .events = POLLIN};
    }
    if (poll(fds, supervisor->builds_count + 2, next_due_ms(supervisor)) <= 0)
        return;
    if (fds[1].revents)
        server_ready(supervisor);
    for (size_t i = 0; i < supervisor->builds_count; i++)
        if (fds[i + 2].revents && supervisor->builds[i].socket >= 0)
            start_build(&supervisor->builds[i], &supervisor->early);
    if (fds[0].revents)
        on_signal(supervisor);
}

int fm_supervise(const struct fm_config *config, int listener,
                 int (*serve)(const struct fm_server_start *start))
{
    struct supervisor supervisor = {
        .config = config,
        .listener = listener,
        .serve = serve,
        .builds_count = (size_t)config->builds,
        .ready = -1,
        .early = {.socket = -1},
    };
    for (size_t i = 0; i < BUILDS_MAX; i++)
        supervisor.builds[i].socket = -1;
    sigset_t signals;
    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGCHLD);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    int failed = fm_suspects_new((unsigned)config->workers, &supervisor.suspects);
    if (failed) {
        fm_log(FM_LOG_ERROR, "supervisor_failed", "reason", fm_err_meaning(failed), NULL);
        return fm_err_exit_code(failed);
    }
    supervisor.signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (supervisor.signals < 0) {
        fm_log(FM_LOG_ERROR, "supervisor_failed", "reason", strerror(errno), NULL);
        fm_suspects_free(supervisor.suspects);
        return fm_err_exit_code(FM_ERR_IO);
    }
    while (!supervisor.is_server && (!supervisor.stopping || supervisor.server > 0)) {
        do_due(&supervisor);
        if (!supervisor.is_server)
            wait_for_events(&supervisor);
    }
    close_fd(&supervisor.signals);
    close_fd(&supervisor.early.socket); /* it ends */
    fm_suspects_free(supervisor.suspects);
    return supervisor.exit_code;
}
