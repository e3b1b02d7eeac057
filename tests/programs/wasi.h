/* wasi.h - included before each source of a program that wants more than the packaged C library for
 * WebAssembly has. Nothing here does anything: a system without users, modes and other programs. */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#ifndef L_tmpnam
#define L_tmpnam 20
#endif

static inline int wasi_lacks(void)
{
    errno = ENOSYS;
    return -1;
}

#define chmod(path, mode) (0)
#define fchmod(file, mode) (0)
#define chown(path, user, group) (0)
#define fchown(file, user, group) (0)
#define umask(mode) (0)
#define system(command) (wasi_lacks())
#define tmpnam(name) ((void)wasi_lacks(), NULL)
#define tmpfile() ((void)wasi_lacks(), NULL)
