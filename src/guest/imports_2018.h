/* imports_2018.h - module `env`: the system calls that the C library of 2018 imported.
 *
 * A row is our function, the import's name and its signature.  The first list returns a result or a
 * negative errno (Linux numbers); the functions of the second see to themselves.  Any other
 * function of `env` (abort, _Exit, __syscall_kill...) is a trap with its name when it is called. */
#pragma once

#define FM_2018_IMPORTS(X)                                                                         \
    X(brk, "__syscall_brk", "i:i")                                                                 \
    X(clock_gettime, "__syscall_clock_gettime", "ii:i")                                            \
    X(close, "__syscall_close", "i:i")                                                             \
    X(fcntl, "__syscall_fcntl64", "iii:i")                                                         \
    X(gettimeofday, "__syscall_gettimeofday", "ii:i")                                              \
    X(ioctl, "__syscall_ioctl", "iiiiii:i")                                                        \
    X(ioctl_plain, "ioctl", "iii:i")                                                               \
    X(llseek, "__syscall_llseek", "iiiii:i")                                                       \
    X(madvise, "__syscall_madvise", "iii:i")                                                       \
    X(mmap, "__syscall_mmap", "iiiiii:i")                                                          \
    X(mmap2, "__syscall_mmap2", "iiiiii:i")                                                        \
    X(mremap, "__syscall_mremap", "iiiii:i")                                                       \
    X(munmap, "__syscall_munmap", "ii:i")                                                          \
    X(open, "__syscall_open", "iii:i")                                                             \
    X(puts, "puts", "i:i")                                                                         \
    X(read, "__syscall_read", "iii:i")                                                             \
    X(readv, "__syscall_readv", "iii:i")                                                           \
    X(socketcall, "__syscall_socketcall", "ii:i")                                                  \
    X(writev, "__syscall_writev", "iii:i")

/* function, name, signature, function that is asked again while it is parked */
#define FM_2018_IMPORTS_SPECIAL(X)                                                                 \
    X(exit, "__syscall_exit", "i:i", NULL)                                                         \
    X(exit_group, "__syscall_exit_group", "i:i", NULL)                                             \
    X(futex, "__syscall_futex", "iiiiii:i", NULL)                                                  \
    X(poll, "__syscall_poll", "iii:i", fm_2018_poll_again)
