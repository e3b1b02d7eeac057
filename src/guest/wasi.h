/* wasi.h - WASI preview 1: its numbers, and the functions of imports_wasi.h.
 *
 * Numbers and layouts are those of the specification (wasi_snapshot_preview1.witx). */
#pragma once

#include "engine/import.h"
#include "guest/imports_wasi.h"

struct fm_guest;
struct fm_descriptor;

enum fm_wasi_errno {
    FM_WASI_SUCCESS = 0,
    FM_WASI_2BIG = 1,
    FM_WASI_AGAIN = 6,
    FM_WASI_BADF = 8,
    FM_WASI_DQUOT = 19,
    FM_WASI_FAULT = 21,
    FM_WASI_INVAL = 28,
    FM_WASI_IO = 29,
    FM_WASI_NOENT = 44,
    FM_WASI_NOMEM = 48,
    FM_WASI_NOSPC = 51,
    FM_WASI_NOTDIR = 54,
    FM_WASI_NOTSOCK = 57,
    FM_WASI_NOTSUP = 58,
    FM_WASI_SPIPE = 70,
    FM_WASI_TIMEDOUT = 73,
    FM_WASI_NOTCAPABLE = 76,
};

enum fm_wasi_clock {
    FM_WASI_CLOCK_REALTIME,
    FM_WASI_CLOCK_MONOTONIC,
    FM_WASI_CLOCK_PROCESS_CPUTIME,
    FM_WASI_CLOCK_THREAD_CPUTIME,
};

#define FM_WASI_RIGHT_FD_READ (UINT64_C(1) << 1)
#define FM_WASI_RIGHT_FD_FDSTAT_SET_FLAGS (UINT64_C(1) << 3)
#define FM_WASI_RIGHT_FD_WRITE (UINT64_C(1) << 6)
#define FM_WASI_RIGHT_FD_FILESTAT_GET (UINT64_C(1) << 21)
#define FM_WASI_RIGHT_POLL_FD_READWRITE (UINT64_C(1) << 27)

/* `in` holds the parameters; the result is an errno. */
#define X(name, signature)                                                                         \
    uint32_t fm_wasi_##name(struct fm_guest *guest, const union fm_value *in);
FM_WASI_IMPORTS(X)
#undef X

fm_import_fn fm_wasi_poll_oneoff;
fm_import_fn fm_wasi_poll_oneoff_again;
fm_import_fn fm_wasi_proc_exit;
fm_import_fn fm_wasi_random_get;
fm_import_fn fm_wasi_random_get_again;

/* --- shared by the files of WASI -------------------------------------------------------------- */

/* NULL: closed, or there never was one. */
struct fm_descriptor *fm_wasi_descriptor(struct fm_guest *guest, uint32_t fd);

/* EBADF unless it is open for that (one of RIGHT_FD_READ and RIGHT_FD_WRITE), ENOTCAPABLE when the
 * right was given up, else 0. */
uint32_t fm_wasi_can(struct fm_guest *guest, uint32_t fd, uint64_t right);

/* For a failed write of output: a limit is told as ENOSPC. */
uint32_t fm_wasi_output_errno(int error);

/* Nanoseconds of a clock; EINVAL: no such clock. */
uint32_t fm_wasi_clock_now(const struct fm_guest *guest, uint32_t clock, uint64_t *ret_ns);
