/* blobs.c - contents that are too large for the database, one file each.
 *
 *      <id of the call>.<input, output or log>.<8 random digits>
 *
 * The id says whose it is, so that the sweep at the start needs no list of all names that are in
 * use: it asks for each file whether its call names it.  The random part keeps the output of one
 * attempt apart from that of the next, which may be written while the old one is read.
 *
 * Files are written and synced on the I/O pool, before their row goes to the writer, so that a
 * large body does not hold up the transactions of others; and removed there, too, after the row is
 * gone.  A file whose removal fails, or is forgotten by a crash or for want of memory, costs space
 * until the next start and nothing else.
 *
 * Threading: writing and reading on any thread; the list of the doomed is the writer's. */
#include "store/blobs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/calls_private.h"
#include "store/files.h"
#include "store/rows.h"
#include "store/tree.h"

#define RANDOM_DIGITS 8

void fm_blobs_name(struct fm_id id, const char *kind, char ret_file[FM_CALLS_FILE_SIZE])
{
    char text[FM_ID_TEXT_SIZE];
    char random[FM_FILES_RANDOM_SIZE];
    fm_id_format(id, text);
    fm_files_random_name(random);
    int length =
        snprintf(ret_file, FM_CALLS_FILE_SIZE, "%s.%s.%.*s", text, kind, RANDOM_DIGITS, random);
    FM_ASSERT(length > 0 && length < FM_CALLS_FILE_SIZE);
}

int fm_blobs_write(struct fm_calls *calls, const char *file, const uint8_t *data, size_t bytes)
{
    return fm_files_put(calls->blobs_fd, file, data, bytes, NULL);
}

int fm_blobs_sync(struct fm_calls *calls)
{
    return fm_files_sync(calls->blobs_fd, FM_CALLS_BLOBS, NULL);
}

int fm_blobs_read(struct fm_calls *calls, const char *file, uint64_t bytes, uint8_t **ret_data,
                  size_t *ret_bytes)
{
    struct fm_buffer buffer;
    fm_buffer_init(&buffer, (size_t)fm_min_u64(bytes, PTRDIFF_MAX));
    int failed = fm_files_read(calls->blobs_fd, file, &buffer, NULL);
    if (failed == FM_ERR_TOO_LARGE || (!failed && (buffer.length != bytes || bytes == 0)))
        failed = FM_ERR_IO; /* not what was written */
    if (failed) {
        fm_buffer_done(&buffer);
        return failed;
    }
    *ret_data = fm_buffer_take(&buffer, ret_bytes);
    return 0;
}

/* --- the doomed ------------------------------------------------------------------------------- */

void fm_blobs_doom(struct fm_calls *calls, const char *file)
{
    struct fm_calls_files *doomed = &calls->doomed;
    if (file[0] == '\0')
        return;
    if (doomed->count == doomed->capacity) {
        size_t capacity = doomed->capacity ? 2 * doomed->capacity : 16;
        char(*names)[FM_CALLS_FILE_SIZE] =
            realloc(doomed->names, capacity * sizeof(doomed->names[0]));
        if (!names)
            return;
        doomed->names = names;
        doomed->capacity = capacity;
    }
    (void)snprintf(doomed->names[doomed->count], FM_CALLS_FILE_SIZE, "%s", file); /* fits */
    doomed->count += 1;
}

void fm_blobs_spare(struct fm_calls *calls, size_t from)
{
    FM_ASSERT(from <= calls->doomed.count);
    calls->doomed.count = from;
}

struct removal {
    struct fm_job job;
    struct fm_calls *calls;
    struct fm_calls_files files;
};

static void remove_files(struct fm_calls *calls, const struct fm_calls_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        (void)unlinkat(calls->blobs_fd, files->names[i], 0); /* else the next start removes it */
}

static void run_removal(struct fm_job *job)
{
    struct removal *removal = FM_CONTAINER_OF(job, struct removal, job);
    struct fm_calls *calls = removal->calls;
    remove_files(calls, &removal->files);
    free(removal->files.names);
    free(removal);
    fm_inbox_job_done(&calls->writes);
}

void fm_blobs_remove_doomed(struct fm_calls *calls)
{
    struct fm_calls_files *doomed = &calls->doomed;
    if (doomed->count == 0)
        return;
    struct removal *removal = malloc(sizeof(*removal));
    if (removal) {
        *removal = (struct removal){.job.run = run_removal, .calls = calls, .files = calls->doomed};
        if (fm_inbox_job(&calls->writes, calls->config.pool, &removal->job) == 0) {
            *doomed = (struct fm_calls_files){0};
            return;
        }
        free(removal);
    }
    remove_files(calls, doomed);
    doomed->count = 0;
}

/* --- the sweep -------------------------------------------------------------------------------- */

static bool any(const char *name)
{
    (void)name;
    return true;
}

static int is_named(struct fm_calls *calls, const char *name, bool *ret_named)
{
    struct fm_id id;
    bool row = false;
    bool named = false;
    size_t length = strlen(name);
    if (length < FM_ID_TEXT_SIZE || fm_id_parse(name, FM_ID_TEXT_SIZE - 1, &id) != 0) {
        *ret_named = false;
        return 0;
    }
    uint8_t bytes[FM_DB_ID_BYTES];
    fm_db_id_bytes(id, bytes);
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_FILES);
    fm_query_bytes(&query, bytes, sizeof(bytes));
    int failed = fm_query_row(&query, &row);
    for (int column = 0; !failed && row && column < 3; column++) {
        char file[FM_CALLS_FILE_SIZE];
        failed = fm_rows_file(&query, column, file);
        named = named || (!failed && strcmp(file, name) == 0);
    }
    fm_query_end(&query);
    if (!failed)
        *ret_named = named;
    return failed;
}

int fm_blobs_sweep(struct fm_calls *calls, uint64_t *ret_removed, struct fm_error *error)
{
    struct fm_names names = {0};
    uint64_t removed = 0;
    int failed = fm_tree_list(calls->blobs_fd, any, &names, error);
    for (size_t i = 0; !failed && i < names.count; i++) {
        bool named = false;
        failed = is_named(calls, names.names[i], &named);
        if (failed)
            (void)fm_error_set(error, failed, "cannot look for the call of '%s' in calls.db",
                               names.names[i]);
        else if (!named && unlinkat(calls->blobs_fd, names.names[i], 0) == 0)
            removed += 1;
    }
    fm_names_done(&names);
    if (!failed)
        *ret_removed = removed;
    return failed;
}
