/* crash.h - proves that a programmer's mistake ends the process (FM_ASSERT). */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `mistake` in a process of its own; true when that was ended by abort(). */
static inline bool crashes(void (*mistake)(void))
{
    pid_t child = fork();
    if (child < 0)
        return false;
    if (child == 0) {
        struct rlimit no_core = {0, 0};
        int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (null >= 0)
            (void)dup2(null, STDERR_FILENO); /* else the report is shown, which does no harm */
        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(SIGABRT, SIG_DFL); /* the test framework reports it otherwise */
        mistake();
        _exit(0);
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}
