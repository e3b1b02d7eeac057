/* limits.h - every maximum of the server in one place, with its unit.
 *
 * FM_LIMIT_MAP holds the limits of one function: they can be given at upload, are shown in its
 * metadata, and are bounded by a ceiling that the configuration can move.  The constants below it
 * bound the server's own structures. */
#pragma once

#include "base/error.h"
#include "base/units.h"

/* clang-format off */
#define FM_LIMIT_MAP(X)                                                                            \
    /* name         unit   default         min           ceiling   what it bounds, per call */     \
    X(wall_ms,      MS,    60000,          1,            3600000,  "time from arrival to the end") \
    X(cpu_ms,       MS,    10000,          1,            3600000,  "CPU time of the guest")        \
    X(memory_bytes, BYTES, 64 * FM_MIB,    64 * FM_KIB,  FM_GIB,   "linear memory")                \
    X(input_bytes,  BYTES, 16 * FM_MIB,    0,            FM_GIB,   "input")                        \
    X(output_bytes, BYTES, 16 * FM_MIB,    0,            FM_GIB,   "output")                       \
    X(log_bytes,    BYTES, 64 * FM_KIB,    0,            16 * FM_MIB, "standard error and log lines") \
    X(file_bytes,   BYTES, 64 * FM_MIB,    0,            FM_GIB,   "files that the call writes, and their names") \
    X(concurrency,  NONE,  1000,           1,            10000,    "calls of the function at once") \
    X(chain_fanout, NONE,  1000,           0,            100000,   "calls that one call chains or starts") \
    X(chain_depth,  NONE,  32,             0,            1000,     "calls above one another")      \
    X(children_bytes, BYTES, 64 * FM_MIB,  0,            FM_GIB,   "input and output held of the calls that it started") \
    X(attempts,     NONE,  1,              1,            100,      "attempts at an asynchronous call") \
    X(retry_ms,     MS,    1000,           1,            3600000,  "pause before its second attempt, doubled for each later one") \
    X(age_ms,       MS,    86400000,       1,            2592000000, "from when it is due to the start of its attempt") \
    X(retention_ms, MS,    3600000,        1,            2592000000, "how long its result is kept") \
    X(coredump_bytes, BYTES, 0,            0,            64 * FM_MIB, "core dump of the call, if it fails")
/* clang-format on */

struct fm_limits {
#define X(name, unit, initial, min, ceiling, what) uint64_t name;
    FM_LIMIT_MAP(X)
#undef X
};

/* One row of the table as data, for whatever walks it (JSON, query parameters, --help). */
struct fm_limit_row {
    const char *name;
    const char *what;
    enum fm_unit unit;
    uint64_t initial;
    uint64_t min;
    uint64_t ceiling;
    size_t offset; /* of its uint64_t in struct fm_limits */
};

extern const struct fm_limit_row fm_limit_rows[];
extern const size_t fm_limit_rows_count;

void fm_limits_defaults(struct fm_limits *limits);
void fm_limits_ceilings(struct fm_limits *limits);
uint64_t *fm_limits_at(struct fm_limits *limits, const struct fm_limit_row *row);
const struct fm_limit_row *fm_limit_row_find(const char *name); /* NULL: no such limit */

/* FM_ERR_BAD_REQUEST: out of range. */
FM_MUST_CHECK int fm_limit_check(const struct fm_limit_row *row, uint64_t value,
                                 struct fm_error *error);

/* Reads a value with its unit, and checks it. */
FM_MUST_CHECK int fm_limit_parse(const struct fm_limit_row *row, const char *text,
                                 uint64_t *ret_value, struct fm_error *error);

/* Names of users and functions: [A-Za-z0-9][A-Za-z0-9._-]{0,63} */
#define FM_NAME_LENGTH_MAX 64

/* What a function is given besides its limits (call/change.h). */
#define FM_FUNCTION_VARIABLES_MAX 1024            /* of its environment */
#define FM_FUNCTION_ARGS_MAX 1024                 /* arguments, without argv[0] */
#define FM_FUNCTION_TEXTS_BYTES_MAX (64 * FM_KIB) /* both together, each with its NUL */

#define FM_MODULE_BYTES_MAX_DEFAULT (64 * FM_MIB)    /* an uploaded module */
#define FM_GUEST_STACK_BYTES_DEFAULT FM_MIB          /* a guest's call stack */
#define FM_COMPILE_CACHE_MODULE_MIN (64 * FM_KIB)    /* a smaller module leaves no compile cache */
#define FM_COMPILE_CACHE_CODE_MAX 2                  /* times as large as the machine code */
#define FM_SNAPSHOT_CPU_MS 10000                     /* of an initialisation, at upload */
#define FM_SNAPSHOT_BYTES_MAX (64 * FM_MIB)          /* of the module that one makes */
#define FM_SNAPSHOT_MEMORY_BYTES (256 * FM_MIB)      /* linear memory of one */
#define FM_TABLE_ELEMENTS_MAX 100000                 /* entries of a guest's tables */
#define FM_IMPORTS_BYTES_MAX (512 * FM_KIB)          /* names of a module's imports in JSON */
#define FM_BACKTRACE_FRAMES_MAX 32                   /* frames shown of a trap */
#define FM_LOG_TAIL_BYTES_MAX (4 * FM_KIB)           /* of a log, shown with an error */
#define FM_SLICE_NS FM_NS_PER_MS                     /* guest time before others get their turn */
#define FM_GUEST_IOVECS_MAX 1024                     /* buffers of one fd_read or fd_write */
#define FM_GUEST_SUBSCRIPTIONS_MAX 1024              /* of one poll_oneoff or poll */
#define FM_GUEST_HANDLES_MAX 1024                    /* of one call_wait_any */
#define FM_GUEST_RANDOM_BYTES_PER_TURN (64 * FM_KIB) /* of a random_get, before others run */

#define FM_GUEST_DESCRIPTORS_MAX 1024 /* that a guest has open at once */

/* Files (files/). */
#define FM_FILE_PATH_BYTES_MAX 4095 /* of a path, without its NUL */
#define FM_FILE_NAME_BYTES_MAX 255  /* of one component of it */
#define FM_FILE_DEPTH_MAX 64        /* folders inside one another */
#define FM_FILE_LINKS_MAX 32        /* symbolic links followed for one path */
#define FM_OVERLAY_FILES_MAX 100000 /* files, folders, names that one call has touched */
#define FM_OVERLAY_FILE_BYTES_MAX (16 * FM_GIB) /* up to the last one written */
#define FM_TREE_FILES_MAX 100000                /* files of one user, and their folders */
#define FM_TREES_NAMES_MAX 1000000           /* the same of all users whose trees are in memory */
#define FM_TREES_KEPT_BYTES_MAX (4 * FM_GIB) /* on disk, of replaced files that calls may read */
#define FM_FILES_LIST_MAX 1000               /* names on a page of a list */

/* Calls that answer HTTP requests by themselves (http/web.h). */
#define FM_WEB_HEAD_BYTES_MAX (8 * FM_KIB)     /* of the answer's headers; of CGI's header block */
#define FM_WEB_HEADERS_MAX 100                 /* of the answer */
#define FM_WEB_KEPT_BYTES (64 * FM_KIB)        /* of a request's body: can be read again */
#define FM_WEB_BODY_BYTES_MAX (256 * FM_KIB)   /* of the rest: has come and was not read yet */
#define FM_WEB_HELD_BYTES_MAX FM_MIB           /* of output, before the body has ended */
#define FM_WEB_UNSENT_BYTES_MAX (256 * FM_KIB) /* of output, afterwards */

/* Asynchronous calls (queue/queue.h). */
#define FM_QUEUE_CRASH_ATTEMPTS 3                  /* when the server ends under them: at least */
#define FM_QUEUE_RETRY_NS_MAX (3600 * FM_NS_PER_S) /* the longest pause between two attempts */
#define FM_QUEUE_WRITING_MAX 4096    /* results that wait to be on disk, of a worker */
#define FM_QUEUE_DELAY_S_MAX 2592000 /* X-Faasm-Delay: 30 days */
#define FM_QUEUE_WAIT_S_MAX 300      /* of GET /calls/<id>?wait= */

/* Synchronous calls that have ended (call/recent.h). */
#define FM_RECENT_CALLS_MAX 1000 /* of a user, on one worker */

/* Core dumps (call/dump.h). */
#define FM_DUMPS_USER_MAX 8               /* of a user, on one worker */
#define FM_DUMPS_BYTES_MAX (256 * FM_MIB) /* of all, on one worker; of a user a quarter */
#define FM_DUMP_ASKED_BYTES (64 * FM_MIB) /* what `?coredump=1` allows */

/* Calls on disk (store/calls.h). */
#define FM_CALLS_INLINE_BYTES_MAX (16 * FM_KIB) /* contents in the database; larger: files */
#define FM_CALLS_WAITING_MAX 16384 /* writes of a kind (new or not, large or not) that wait */
#define FM_CALLS_WAITING_BYTES_MAX (256 * FM_MIB) /* of their contents; a lone one may be over */
#define FM_CALLS_BATCH_MAX 1000                   /* writes in one transaction */
#define FM_CALLS_BATCH_BYTES_MAX (8 * FM_MIB)     /* of contents in the database; the same */
#define FM_CALLS_READS_MAX 16384                  /* reads that wait */
#define FM_CALLS_ENTRIES_MAX 100000               /* calls in one write: the most of a fan-out */
#define FM_CALLS_KEY_BYTES_MAX 255                /* an Idempotency-Key */
#define FM_CALLS_STRIKES_MAX 2                    /* crashes of the server: then it is dead */
#define FM_CALLS_FORGET_MAX 250      /* calls that one write removes: others wait meanwhile */
#define FM_CALLS_LIST_MAX 1000       /* calls on a page of a list */
#define FM_CALLS_LIST_SCAN_MAX 10000 /* calls that are looked at for a page */
#define FM_CALLS_LIST_BYTES_MAX (8 * FM_MIB)   /* of texts and children's ids on a page */
#define FM_CALLS_ROW_BYTES 512                 /* a call without contents, for the count */
#define FM_CALLS_CHECK_BYTES_MAX (16 * FM_MIB) /* a larger database is not read at start */
#define FM_CALLS_WAL_BYTES (8 * FM_MIB)        /* of the log, then it is carried over */
