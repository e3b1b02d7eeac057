/* calls_open.c - the start: what is on the disk is checked, and kept aside if it is damaged.
 *
 *      calls.db good? -- no --> renamed: calls.db.damaged-<time>, and with it -wal, -shm, blobs/
 *          |                                                      |
 *          +<------------------------ a fresh one ----------------+
 *          |
 *      recovered (calls_recover.c)
 *
 * Only what speaks of the file itself counts as damage.  Where memory, descriptors or the disk give
 * out, the start fails and everything stays as it was: the next try may find it sound.
 *
 * What belongs to a database that is kept aside goes with it: SQLite would otherwise apply the log
 * of the old one to the new, and the sweep remove the blobs that only the old one names.  The
 * database is renamed first, so that a crash in between leaves a log or blobs without a database;
 * which is never a state of ours, and is kept aside by the next start.
 *
 * By one thread, before there are others. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/limits.h"
#include "store/blobs.h"
#include "store/calls_private.h"
#include "store/files.h"
#include "store/schema.h"
#include "store/tree.h"

#define WAL FM_CALLS_DB "-wal"
#define SHM FM_CALLS_DB "-shm"
#define ASIDE_SIZE 64
#define ASIDE_TRIES_MAX 100 /* names for one second */

/* --- keeping aside ---------------------------------------------------------------------------- */

/* 0 for what is not there, and for an empty folder. */
static int size_of(struct fm_calls *calls, const char *name, uint64_t *ret_bytes,
                   struct fm_error *error)
{
    struct stat status;
    *ret_bytes = 0;
    if (fstatat(calls->data_fd, name, &status, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : fm_files_error(error, errno, "look at", name);
    *ret_bytes = (uint64_t)status.st_size;
    return 0;
}

static bool any(const char *name)
{
    (void)name;
    return true;
}

static int count_blobs(struct fm_calls *calls, size_t *ret_count, struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int fd = -1;
    struct fm_names names = {0};
    *ret_count = 0;
    int failed = fm_files_folder_open(calls->data_fd, FM_CALLS_BLOBS, &fd, error);
    if (failed)
        return failed == FM_ERR_NOT_FOUND ? 0 : failed;
    failed = fm_tree_list(fd, any, &names, error);
    if (!failed)
        *ret_count = names.count;
    fm_names_done(&names);
    return failed;
}

/* Renames what is there and adds its new name to the notice. */
static int rename_aside(struct fm_calls *calls, const char *from, const char *to,
                        struct fm_calls_notice *notice, struct fm_error *error)
{
    if (renameat2(calls->data_fd, from, calls->data_fd, to, RENAME_NOREPLACE) != 0)
        return errno == ENOENT ? 0 : fm_files_error(error, errno, "keep aside", from);
    size_t length = strlen(notice->kept);
    (void)snprintf(notice->kept + length, sizeof(notice->kept) - length, "%s%s", length ? ", " : "",
                   to); /* four names fit */
    return 0;
}

/* A suffix that nothing here has yet. */
static void find_suffix(struct fm_calls *calls, char suffix[ASIDE_SIZE])
{
    char time_text[32];
    struct tm parts;
    time_t seconds = (time_t)(calls->config.now_real_ns / FM_NS_PER_S);
    (void)gmtime_r(&seconds, &parts); /* any time since 1970 can be told */
    (void)strftime(time_text, sizeof(time_text), "%Y%m%dT%H%M%SZ", &parts);
    for (int i = 0; i < ASIDE_TRIES_MAX; i++) {
        char name[2 * ASIDE_SIZE];
        char blobs[2 * ASIDE_SIZE];
        (void)snprintf(suffix, ASIDE_SIZE, i ? ".damaged-%s.%d" : ".damaged-%s", time_text, i);
        (void)snprintf(name, sizeof(name), FM_CALLS_DB "%s", suffix);
        (void)snprintf(blobs, sizeof(blobs), FM_CALLS_BLOBS "%s", suffix);
        if (faccessat(calls->data_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0 &&
            faccessat(calls->data_fd, blobs, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
            return;
    }
}

static int keep_aside(struct fm_calls *calls, const char *reason, struct fm_calls_notice *notice,
                      struct fm_error *error)
{
    char suffix[ASIDE_SIZE];
    char name[2 * ASIDE_SIZE];
    find_suffix(calls, suffix);
    notice->damaged = true;
    (void)snprintf(notice->reason, sizeof(notice->reason), "%s", reason);
    static const struct {
        const char *from;
        const char *end; /* as SQLite would look for them */
    } files[] = {{FM_CALLS_DB, ""}, {WAL, "-wal"}, {SHM, "-shm"}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(files); i++) {
        (void)snprintf(name, sizeof(name), FM_CALLS_DB "%s%s", suffix, files[i].end);
        int failed = rename_aside(calls, files[i].from, name, notice, error);
        if (failed)
            return failed;
    }
    (void)snprintf(name, sizeof(name), FM_CALLS_BLOBS "%s", suffix);
    int failed = rename_aside(calls, FM_CALLS_BLOBS, name, notice, error);
    return failed ? failed : fm_files_sync(calls->data_fd, "the data folder", error);
}

/* --- the database ----------------------------------------------------------------------------- */

/* Without a database there may be nothing that belongs to one. */
static int check_leftovers(struct fm_calls *calls, struct fm_calls_notice *notice,
                           struct fm_error *error)
{
    uint64_t db_bytes = 0;
    uint64_t wal_bytes = 0;
    size_t blobs = 0;
    int failed = size_of(calls, FM_CALLS_DB, &db_bytes, error);
    if (!failed)
        failed = size_of(calls, WAL, &wal_bytes, error);
    if (!failed && db_bytes == 0)
        failed = count_blobs(calls, &blobs, error);
    if (failed || db_bytes > 0 || (wal_bytes == 0 && blobs == 0))
        return failed;
    return keep_aside(calls, "calls.db is missing or empty, but what belonged to it is there",
                      notice, error);
}

/* Ours before SQLite makes it, with other rights.  No descriptor of the file stays open: closing it
 * later would drop the locks that SQLite has on it. */
static int make_file(struct fm_calls *calls, struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int fd = -1;
    uint64_t bytes = 0;
    int failed = fm_files_open(calls->data_fd, FM_CALLS_DB, &bytes, &fd, error);
    if (!failed)
        return fm_files_own(fd, calls->config.data, FM_CALLS_DB, error);
    if (failed != FM_ERR_NOT_FOUND)
        return failed;
    failed = fm_files_create(calls->data_fd, FM_CALLS_DB, &fd, error);
    if (!failed)
        failed = fm_files_sync(calls->data_fd, "the data folder", error);
    return failed;
}

static int try_open(struct fm_calls *calls, enum fm_schema_state *ret_state, struct fm_error *error)
{
    uint64_t db_bytes = 0;
    uint64_t wal_bytes = 0;
    int code = SQLITE_OK;
    *ret_state = FM_SCHEMA_GOOD;
    int failed = make_file(calls, error);
    if (!failed)
        failed = size_of(calls, FM_CALLS_DB, &db_bytes, error);
    if (!failed)
        failed = size_of(calls, WAL, &wal_bytes, error);
    if (failed)
        return failed;
    failed = fm_db_open(&calls->writer, calls->path, calls->vfs, &code, error);
    if (failed && fm_schema_damage(code)) {
        *ret_state = FM_SCHEMA_DAMAGED;
        return 0;
    }
    if (failed)
        return failed;
    bool read_all = db_bytes + wal_bytes <= calls->config.check_bytes_max;
    failed = fm_schema_check(&calls->writer, read_all, ret_state, error);
    if (failed || *ret_state == FM_SCHEMA_DAMAGED)
        fm_db_close(&calls->writer);
    return failed;
}

static int open_database(struct fm_calls *calls, struct fm_calls_notice *notice,
                         struct fm_error *error)
{
    enum fm_schema_state state = FM_SCHEMA_GOOD;
    struct fm_error cause = {0};
    int failed = check_leftovers(calls, notice, error);
    if (!failed)
        failed = try_open(calls, &state, &cause);
    if (!failed && state == FM_SCHEMA_DAMAGED) {
        failed = keep_aside(calls, cause.text, notice, error);
        if (failed)
            return failed;
        failed = try_open(calls, &state, &cause);
    }
    if (!failed && state == FM_SCHEMA_DAMAGED)
        failed = FM_ERR_IO; /* a fresh one, too */
    if (failed && cause.text[0] != '\0')
        return fm_error_set(error, failed, "%s", cause.text);
    return failed;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int open_folders(struct fm_calls *calls, struct fm_error *error)
{
    int failed = fm_files_folder_make(calls->data_fd, FM_CALLS_BLOBS, error);
    if (!failed)
        failed = fm_files_folder_open(calls->data_fd, FM_CALLS_BLOBS, &calls->blobs_fd, error);
    if (!failed)
        failed = fm_files_own(calls->blobs_fd, calls->config.data, FM_CALLS_BLOBS, error);
    return failed ? failed : fm_files_sync(calls->data_fd, "the data folder", error);
}

static int open_paths(struct fm_calls *calls, struct fm_error *error)
{
    char path[PATH_MAX];
    const char *data = calls->config.data;
    if (!realpath(data, path))
        return fm_files_error(error, errno, "find the data folder", data);
    calls->data_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (calls->data_fd < 0)
        return fm_files_error(error, errno, "open the data folder", data);
    if (asprintf(&calls->path, "%s/" FM_CALLS_DB, path) < 0) {
        calls->path = NULL;
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    }
    calls->vfs = calls->config.vfs ? strdup(calls->config.vfs) : NULL;
    if (calls->config.vfs && !calls->vfs)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    return 0;
}

int fm_calls_connect(const struct fm_calls *calls, struct fm_db *db, struct fm_error *error)
{
    int code = SQLITE_OK;
    int failed = fm_db_open(db, calls->path, calls->vfs, &code, error);
    if (failed)
        return failed;
    failed = fm_db_log(db);
    if (!failed)
        failed = fm_db_prepare(db);
    if (failed) {
        (void)fm_db_error(error, db, sqlite3_extended_errcode(db->sqlite), "use");
        fm_db_close(db);
    }
    return failed;
}

static int open_all(struct fm_calls *calls, struct fm_calls_notice *notice, struct fm_error *error)
{
    int failed = open_paths(calls, error);
    if (!failed)
        failed = open_database(calls, notice, error);
    if (!failed)
        failed = open_folders(calls, error);
    if (!failed)
        failed = fm_calls_recover(calls, notice, error);
    if (!failed)
        failed = fm_calls_connect(calls, &calls->reader, error);
    if (!failed)
        failed = fm_calls_connect(calls, &calls->carrier, error);
    if (!failed) {
        fm_calls_checkpoint_watch(calls);
        fm_db_tidy(&calls->writer); /* which is closed last */
    }
    return failed;
}

int fm_calls_open_idle(const struct fm_calls_config *config, struct fm_calls **ret_calls,
                       struct fm_calls_notice *ret_notice, struct fm_error *error)
{
    FM_ASSERT(config->data && config->pool && config->now_real_ns > 0);
    FM_ASSERT(config->batch_max > 0 && config->waiting_max > 0);
    struct fm_calls_notice notice = {0};
    struct fm_calls *calls = calloc(1, sizeof(*calls));
    if (!calls)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    calls->config = *config;
    calls->data_fd = -1;
    calls->blobs_fd = -1;
    atomic_init(&calls->checkpointing, false);
    fm_inbox_init(&calls->writes, config->waiting_max, config->waiting_bytes_max);
    fm_inbox_init(&calls->reads, FM_CALLS_READS_MAX, UINT64_MAX);
    int failed = open_all(calls, &notice, error);
    if (failed) {
        fm_calls_free(calls);
        return failed;
    }
    *ret_notice = notice;
    *ret_calls = calls;
    return 0;
}
