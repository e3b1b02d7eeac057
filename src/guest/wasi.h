/* wasi.h - WASI preview 1: its numbers, and the functions of imports_wasi.h.
 *
 * Numbers and layouts are those of the specification (wasi_snapshot_preview1.witx). */
#pragma once

#include "engine/import.h"
#include "files/file_system.h"
#include "guest/imports_wasi.h"
#include "guest/rights.h"

struct fm_guest;

enum fm_wasi_errno {
    FM_WASI_SUCCESS = 0,
    FM_WASI_2BIG = 1,
    FM_WASI_ACCES = 2,
    FM_WASI_AGAIN = 6,
    FM_WASI_ALREADY = 7,
    FM_WASI_BADF = 8,
    FM_WASI_BUSY = 10,
    FM_WASI_DQUOT = 19,
    FM_WASI_EXIST = 20,
    FM_WASI_FAULT = 21,
    FM_WASI_FBIG = 22,
    FM_WASI_ILSEQ = 25,
    FM_WASI_INTR = 27,
    FM_WASI_INVAL = 28,
    FM_WASI_IO = 29,
    FM_WASI_ISDIR = 31,
    FM_WASI_LOOP = 32,
    FM_WASI_MFILE = 33,
    FM_WASI_MLINK = 34,
    FM_WASI_NAMETOOLONG = 37,
    FM_WASI_NFILE = 41,
    FM_WASI_NODEV = 43,
    FM_WASI_NOENT = 44,
    FM_WASI_NOMEM = 48,
    FM_WASI_NOSPC = 51,
    FM_WASI_NOSYS = 52,
    FM_WASI_NOTDIR = 54,
    FM_WASI_NOTEMPTY = 55,
    FM_WASI_NOTSOCK = 57,
    FM_WASI_NOTSUP = 58,
    FM_WASI_NXIO = 60,
    FM_WASI_OVERFLOW = 61,
    FM_WASI_PERM = 63,
    FM_WASI_PIPE = 64,
    FM_WASI_ROFS = 69,
    FM_WASI_SPIPE = 70,
    FM_WASI_TIMEDOUT = 73,
    FM_WASI_TXTBSY = 74,
    FM_WASI_XDEV = 75,
    FM_WASI_NOTCAPABLE = 76,
};

enum fm_wasi_clock {
    FM_WASI_CLOCK_REALTIME,
    FM_WASI_CLOCK_MONOTONIC,
    FM_WASI_CLOCK_PROCESS_CPUTIME,
    FM_WASI_CLOCK_THREAD_CPUTIME,
};

#define FM_WASI_FDFLAGS_APPEND 1u
#define FM_WASI_FDFLAGS_ALL 0x1fu /* append, dsync, nonblock, rsync, sync */

enum fm_wasi_filetype {
    FM_WASI_FILETYPE_UNKNOWN = 0,
    FM_WASI_FILETYPE_DIRECTORY = 3,
    FM_WASI_FILETYPE_REGULAR_FILE = 4,
    FM_WASI_FILETYPE_SYMBOLIC_LINK = 7,
};

/* `in` holds the parameters; the result is an errno. */
#define X(name, signature)                                                                         \
    uint32_t fm_wasi_##name(struct fm_guest *guest, const union fm_value *in);
FM_WASI_IMPORTS(X)
#undef X

fm_import_fn fm_wasi_path_open;
fm_import_fn fm_wasi_path_open_again;
fm_import_fn fm_wasi_poll_oneoff;
fm_import_fn fm_wasi_poll_oneoff_again;
fm_import_fn fm_wasi_proc_exit;
fm_import_fn fm_wasi_random_get;
fm_import_fn fm_wasi_random_get_again;

/* --- shared by the files of WASI -------------------------------------------------------------- */

/* EBADF unless it is open for that (a stream either reads or writes), EISDIR for a folder that is
 * to be read or written, ENOTCAPABLE without the right (of rights.h), else 0. */
uint32_t fm_wasi_can(struct fm_guest *guest, uint32_t fd, uint64_t right);

/* The same for what only files can: a stream is `stream_errno`.  Several rights are all needed. */
uint32_t fm_wasi_file(struct fm_guest *guest, uint32_t fd, uint64_t rights, uint32_t stream_errno,
                      struct fm_file **ret_file);

uint32_t fm_wasi_errno(int64_t error); /* of a negative errno of Linux; 0 is 0 */
uint8_t fm_wasi_filetype(enum fm_file_type type);

/* 64 bytes.  False: not inside the memory. */
FM_MUST_CHECK bool fm_wasi_put_filestat(struct fm_guest *guest, uint32_t address,
                                        const struct fm_file_stat *stat);

/* EINVAL: flags that are unknown, or contradict each other. */
uint32_t fm_wasi_times(uint64_t accessed_ns, uint64_t modified_ns, uint32_t flags,
                       struct fm_file_times *ret_times);

/* Checks the array of a read or a write, its buffers, and where the number of bytes goes. */
struct fm_iovecs;
uint32_t fm_wasi_iovecs(struct fm_guest *guest, const union fm_value *in, uint32_t result,
                        struct fm_iovecs *ret_iovecs);

/* For a failed write of output: a limit is told as ENOSPC. */
uint32_t fm_wasi_output_errno(int error);

/* Nanoseconds of a clock; EINVAL: no such clock. */
uint32_t fm_wasi_clock_now(const struct fm_guest *guest, uint32_t clock, uint64_t *ret_ns);
