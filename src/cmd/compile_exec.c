/* compile_exec.c - from a forked supervisor to a compile process: limits, descriptors, exec.
 *
 * Between fork and exec only plain system calls.  The new program image has nothing of the
 * supervisor's memory. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/base.h"
#include "cmd/compile.h"

/* The sanitizers reserve terabytes of addresses for themselves. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ADDRESS_BYTES_MAX RLIM_INFINITY
#else
#define ADDRESS_BYTES_MAX FM_COMPILE_MEMORY_BYTES
#endif

#define SELF "/proc/self/exe"
#define EXIT_NO_EXEC 71 /* EX_OSERR */

static bool limit(int what, uint64_t most)
{
    const struct rlimit value = {.rlim_cur = most, .rlim_max = most};
    return setrlimit((__rlimit_resource_t)what, &value) == 0;
}

void fm_compile_exec(const struct fm_compile_files *files)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    bool ready = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 &&
                 prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                 limit(RLIMIT_CPU, FM_COMPILE_CPU_S) && limit(RLIMIT_AS, ADDRESS_BYTES_MAX) &&
                 limit(RLIMIT_FSIZE, FM_COMPILE_OUTPUT_BYTES) && limit(RLIMIT_CORE, 0);
    struct fm_compile_files own = *files;
    const unsigned above = (unsigned)fm_compile_places[FM_COMPILE_FILES - 1] + 1;
    ready = ready && fm_compile_files_place(&own) && close_range(above, ~0U, 0) == 0 &&
            limit(RLIMIT_NOFILE, 32);
    if (ready) {
        char *const arguments[] = {(char[]){"faasm"}, (char[]){"compile"}, NULL};
        char *const environment[] = {NULL};
        (void)execve(SELF, arguments, environment);
    }
    _exit(EXIT_NO_EXEC);
}
