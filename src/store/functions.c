/* functions.c - the data folder: opened at start, locked, and read once.
 *
 * Every folder that is used often stays open, and all work goes relative to these descriptors.  The
 * path of the data folder is made absolute, without links, at the start: it is only used to name
 * files to others (the compile process, the engine).
 *
 * One server at a time: an flock(2) on the data folder itself, which the kernel drops when the
 * process ends, however it ends.  A file with a process id was discarded: it survives its process.
 *
 * Lifetime: one struct fm_functions for the process.  Threading: after fm_functions_open() any
 * thread; the mutex covers ids, the sequence, and every change of names below functions/. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/encode.h"
#include "base/name.h"
#include "store/files.h"
#include "store/private.h"
#include "store/text.h"
#include "store/tree.h"
#include "store/versions.h"

/* What follows the data folder in the longest path: two names, a version and a file. */
#define PATH_ROOM                                                                                  \
    (sizeof("/functions///" FM_STORE_CWASM) + 2 * FM_NAME_LENGTH_MAX + FM_ID_TEXT_SIZE)

void fm_functions_lock(struct fm_functions *functions)
{
    int failed = pthread_mutex_lock(&functions->mutex);
    FM_ASSERT(!failed);
}

void fm_functions_unlock(struct fm_functions *functions)
{
    int failed = pthread_mutex_unlock(&functions->mutex);
    FM_ASSERT(!failed);
}

void fm_functions_path(const struct fm_functions *functions, char path[FM_FUNCTIONS_PATH_SIZE],
                       const char *format, ...)
{
    int base = snprintf(path, FM_FUNCTIONS_PATH_SIZE, "%s/", functions->data);
    FM_ASSERT(base > 0 && base < FM_FUNCTIONS_PATH_SIZE);
    va_list arguments;
    va_start(arguments, format);
    int rest = vsnprintf(path + base, FM_FUNCTIONS_PATH_SIZE - (size_t)base, format, arguments);
    va_end(arguments);
    FM_ASSERT(rest > 0 && rest < FM_FUNCTIONS_PATH_SIZE - base); /* PATH_ROOM was checked */
}

/* --- open ------------------------------------------------------------------------------------- */

static int open_data(struct fm_functions *functions, const char *data, struct fm_error *error)
{
    bool made = mkdirat(AT_FDCWD, data, 0700) == 0;
    if (!made && errno != EEXIST)
        return fm_files_error(error, errno, "make the data folder", data);
    functions->data_fd = openat(AT_FDCWD, data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (functions->data_fd < 0)
        return fm_files_error(error, errno, "open the data folder", data);
    if (flock(functions->data_fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK)
            return fm_error_set(error, FM_ERR_CONFLICT, "another server uses the data folder '%s'",
                                data);
        return fm_files_error(error, errno, "lock the data folder", data);
    }
    if (made) {
        FM_CLEANUP(fm_files_close) int parent_fd = -1;
        int failed = fm_files_folder_open(functions->data_fd, "..", &parent_fd, error);
        if (!failed)
            failed = fm_files_sync(parent_fd, "..", error);
        if (failed)
            return failed;
    }

    char path[PATH_MAX];
    if (!realpath(data, path))
        return fm_files_error(error, errno, "find the data folder", data);
    if (strlen(path) > FM_FUNCTIONS_PATH_SIZE - PATH_ROOM)
        return fm_error_set(error, FM_ERR_BAD_REQUEST,
                            "the path of the data folder '%.80s...' is too long", path);
    functions->data = strdup(path);
    return functions->data ? 0 : fm_error_set(error, FM_ERR_NOMEM, "out of memory");
}

static int open_folder(struct fm_functions *functions, const char *name, int *ret_fd,
                       struct fm_error *error)
{
    struct fm_error cause = {0};
    int failed = fm_files_folder_make(functions->data_fd, name, &cause);
    if (!failed)
        failed = fm_files_folder_open(functions->data_fd, name, ret_fd, &cause);
    if (!failed)
        return fm_files_own(*ret_fd, functions->data, name, error);
    if (failed == FM_ERR_NOT_FOUND)
        failed = FM_ERR_IO; /* made, yet no folder: something else is there */
    return fm_error_set(error, failed, "%s: %s", functions->data, cause.text);
}

static int open_folders(struct fm_functions *functions, struct fm_error *error)
{
    int failed = open_folder(functions, "functions", &functions->functions_fd, error);
    if (!failed)
        failed = open_folder(functions, "incoming", &functions->incoming_fd, error);
    if (!failed)
        failed = open_folder(functions, "trash", &functions->trash_fd, error);
    if (!failed)
        failed = fm_files_sync(functions->data_fd, functions->data, error);
    if (failed)
        return failed;
    /* What cannot be deleted now costs space and nothing else; the next start tries again. */
    (void)fm_tree_empty(functions->incoming_fd, NULL);
    (void)fm_tree_empty(functions->trash_fd, NULL);
    return 0;
}

static int open_all(struct fm_functions *functions, const char *data, const char *build_id,
                    struct fm_error *error)
{
    functions->build_id = strdup(build_id);
    if (!functions->build_id)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    int failed = open_data(functions, data, error);
    if (!failed)
        failed = open_folders(functions, error);
    if (!failed)
        failed = fm_key_load(functions->data_fd, functions->incoming_fd, functions->data,
                             functions->key, error);
    if (!failed && fm_id_generator_init(&functions->ids) != 0)
        failed = fm_error_set(error, FM_ERR_IO, "the system gives no random bytes");
    return failed;
}

int fm_functions_open(const char *data, const char *build_id, struct fm_functions **ret_functions,
                      struct fm_error *error)
{
    FM_ASSERT(build_id[0] != '\0' && fm_utf8_text_valid(build_id));
    struct fm_functions *functions = calloc(1, sizeof(*functions));
    if (!functions)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    functions->data_fd = -1;
    functions->functions_fd = -1;
    functions->incoming_fd = -1;
    functions->trash_fd = -1;
    if (pthread_mutex_init(&functions->mutex, NULL) != 0) {
        free(functions);
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    }
    int failed = open_all(functions, data, build_id, error);
    if (failed) {
        fm_functions_close(functions);
        return failed;
    }
    *ret_functions = functions;
    return 0;
}

struct fm_functions *fm_functions_close(struct fm_functions *functions)
{
    if (!functions)
        return NULL;
    fm_files_close(&functions->trash_fd);
    fm_files_close(&functions->incoming_fd);
    fm_files_close(&functions->functions_fd);
    fm_files_close(&functions->data_fd);            /* drops the lock */
    (void)pthread_mutex_destroy(&functions->mutex); /* not held */
    explicit_bzero(functions->key, sizeof(functions->key));
    free(functions->build_id);
    free(functions->data);
    free(functions);
    return NULL;
}

/* --- each ------------------------------------------------------------------------------------- */

struct each {
    struct fm_functions *functions;
    int (*visit)(struct fm_version *version, void *data);
    struct fm_versions_report report;
    bool sweep;
    struct fm_error *error;
};

static bool is_name(const char *name)
{
    return fm_name_valid(name, strlen(name));
}

/* Removes the versions before `first_kept`, which an earlier run of the server left.  What fails is
 * tried again by the next. */
static void sweep(struct fm_functions *functions, struct fm_versions *versions, size_t first_kept)
{
    fm_functions_lock(functions);
    for (size_t i = 0; i < first_kept; i++) {
        const char *name = versions->names.names[i];
        char trash_name[FM_FILES_RANDOM_SIZE];
        if (!fm_text_id_valid(name)) /* a tombstone: after what is older */
            continue;
        if (fm_versions_trash(functions, versions, name, trash_name, NULL) != 0)
            break;
        (void)fm_tree_remove(functions->trash_fd, trash_name, NULL);
    }
    fm_versions_tidy(functions, versions);
    fm_functions_unlock(functions);
}

static int each_version(struct each *each, struct fm_versions *versions)
{
    struct fm_version *version = NULL;
    size_t index = versions->names.count;
    size_t bad_before = each->report.count;
    int failed = fm_versions_current(each->functions, versions, &each->report, &version, &index,
                                     each->error);
    if (failed)
        return failed;
    /* A damaged version stays, and the ones before it, for the operator to look at. */
    bool clean = each->report.count == bad_before;
    if (each->sweep && clean && (index > 0 || versions->names.count == 0))
        sweep(each->functions, versions, index);
    return version ? each->visit(version, each->report.data) : 0;
}

/* A failure that concerns one folder is told; one that concerns the process ends the walk. */
static int tell(struct each *each, const char *path, const struct fm_error *cause)
{
    if (fm_files_shortage(cause->code))
        return fm_error_set(each->error, cause->code, "%s", cause->text);
    each->report.count++;
    if (each->report.on_bad)
        each->report.on_bad(path, cause->text, each->report.data);
    return 0;
}

static int each_function(struct each *each, const char *user, const char *function)
{
    struct fm_versions versions;
    struct fm_error cause = {0};
    int failed = fm_versions_open(each->functions, user, function, false, &versions, &cause);
    if (failed == FM_ERR_NOT_FOUND) /* not a folder: not ours */
        return 0;
    if (failed) {
        char path[FM_FUNCTIONS_PATH_SIZE];
        fm_functions_path(each->functions, path, "functions/%s/%s", user, function);
        return tell(each, path, &cause);
    }
    failed = each_version(each, &versions);
    fm_versions_done(&versions);
    return failed;
}

/* The folder of a user who has no functions; fails, as it should, if there is anything in it. */
static void sweep_user(struct fm_functions *functions, const char *user)
{
    fm_functions_lock(functions);
    (void)unlinkat(functions->functions_fd, user, AT_REMOVEDIR);
    fm_functions_unlock(functions);
}

static int each_user(struct each *each, const char *user)
{
    FM_CLEANUP(fm_files_close) int user_fd = -1;
    FM_CLEANUP(fm_names_done) struct fm_names names = {0};
    struct fm_error cause = {0};
    int failed = fm_files_folder_open(each->functions->functions_fd, user, &user_fd, &cause);
    if (failed == FM_ERR_NOT_FOUND)
        return 0;
    if (!failed)
        failed = fm_tree_list(user_fd, is_name, &names, &cause);
    if (failed) {
        char path[FM_FUNCTIONS_PATH_SIZE];
        fm_functions_path(each->functions, path, "functions/%s", user);
        return tell(each, path, &cause);
    }
    for (size_t i = 0; !failed && i < names.count; i++)
        failed = each_function(each, user, names.names[i]);
    if (each->sweep && names.count == 0)
        sweep_user(each->functions, user);
    return failed;
}

int fm_functions_each(struct fm_functions *functions,
                      int (*visit)(struct fm_version *version, void *data),
                      void (*on_bad)(const char *folder, const char *reason, void *data),
                      void *data, struct fm_error *error)
{
    FM_CLEANUP(fm_names_done) struct fm_names users = {0};
    struct each each = {
        .functions = functions,
        .visit = visit,
        .report = {.on_bad = on_bad, .data = data},
        .sweep = !functions->swept,
        .error = error,
    };
    functions->swept = true;
    int failed = fm_tree_list(functions->functions_fd, is_name, &users, error);
    for (size_t i = 0; !failed && i < users.count; i++)
        failed = each_user(&each, users.names[i]);
    return failed;
}
