/* user_files.c - one small JSON file a user.
 *
 * Not a table in a database: there are few of them, they change rarely, and an operator may want to
 * read them.  The reader trusts nothing, as in meta.c: a quota that it does not know, or a value
 * out of range, makes the file bad, since a bound that somebody set must not be dropped silently.
 */
#include "store/user_files.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/name.h"
#include "store/files.h"
#include "store/private.h"
#include "store/tree.h"

#define FOLDER "users"
#define SUFFIX ".json"
#define NAME_SIZE (FM_NAME_LENGTH_MAX + sizeof(SUFFIX))
#define FILE_BYTES_MAX (64 * FM_KIB)

struct fm_user_files {
    const struct fm_functions *functions;
    int folder_fd;
};

int fm_user_files_open(const struct fm_functions *functions, struct fm_user_files **ret_files,
                       struct fm_error *error)
{
    struct fm_user_files *files = malloc(sizeof(*files));
    if (!files)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    *files = (struct fm_user_files){.functions = functions, .folder_fd = -1};
    int failed = fm_files_folder_make(functions->data_fd, FOLDER, error);
    if (!failed)
        failed = fm_files_folder_open(functions->data_fd, FOLDER, &files->folder_fd, error);
    if (!failed)
        failed = fm_files_own(files->folder_fd, functions->data, FOLDER, error);
    if (!failed)
        failed = fm_files_sync(functions->data_fd, functions->data, error);
    if (failed) {
        fm_user_files_close(files);
        return failed == FM_ERR_NOT_FOUND ? FM_ERR_IO : failed; /* made, yet no folder */
    }
    *ret_files = files;
    return 0;
}

struct fm_user_files *fm_user_files_close(struct fm_user_files *files)
{
    if (!files)
        return NULL;
    fm_files_close(&files->folder_fd);
    free(files);
    return NULL;
}

/* --- writing ---------------------------------------------------------------------------------- */

/* From malloc; NULL: out of memory. */
static char *write_json(const struct fm_quota_set *changed)
{
    json_auto_t *json = json_object();
    for (size_t i = 0; i < fm_quota_rows_count; i++) {
        const struct fm_quota_row *row = &fm_quota_rows[i];
        if (!fm_quota_set_has(changed, row))
            continue;
        json_t *value = json_integer((json_int_t)fm_quotas_value(&changed->values, row));
        if (json_object_set_new(json, row->name, value) != 0) /* takes `value`, also NULL */
            return NULL;
    }
    return json_dumps(json, JSON_COMPACT); /* NULL gives NULL */
}

static int replace(const struct fm_user_files *files, const char *name, const char *text,
                   struct fm_error *error)
{
    int incoming_fd = files->functions->incoming_fd; /* emptied at the next start */
    char random[FM_FILES_RANDOM_SIZE];
    fm_files_random_name(random);
    int failed = fm_files_put(incoming_fd, random, text, strlen(text), error);
    if (failed)
        return failed;
    if (renameat(incoming_fd, random, files->folder_fd, name) == 0)
        return 0;
    failed = fm_files_error(error, errno, "make", name);
    (void)unlinkat(incoming_fd, random, 0); /* the first failure is the one to tell */
    return failed;
}

static int drop(const struct fm_user_files *files, const char *name, struct fm_error *error)
{
    if (unlinkat(files->folder_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    return fm_files_error(error, errno, "delete", name);
}

int fm_user_files_put(const struct fm_user_files *files, const char *user,
                      const struct fm_quota_set *changed, struct fm_error *error)
{
    char name[NAME_SIZE];
    FM_ASSERT(fm_name_valid(user, strlen(user)));
    (void)snprintf(name, sizeof(name), "%s" SUFFIX, user);
    int failed = 0;
    if (changed->given) {
        char *text = write_json(changed);
        if (!text)
            return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
        failed = replace(files, name, text, error);
        free(text);
    } else {
        failed = drop(files, name, error);
    }
    return failed ? failed : fm_files_sync(files->folder_fd, FOLDER, error);
}

/* --- reading ---------------------------------------------------------------------------------- */

static int read_json(const json_t *json, struct fm_quota_set *ret_changed, struct fm_error *error)
{
    struct fm_quota_set changed = {0};
    const char *key = NULL;
    json_t *value = NULL;
    if (!json_is_object(json))
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "not an object");
    /* The macro wants an object that it could change; it does not. */
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        const struct fm_quota_row *row = fm_quota_row_find(key);
        if (!row)
            return fm_error_set(error, FM_ERR_BAD_REQUEST, "no quota is called '%.64s'", key);
        json_int_t number = json_integer_value(value);
        if (!json_is_integer(value) || number < 0)
            return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s: not a number from 0", key);
        int failed = fm_quota_check(row, (uint64_t)number, error);
        if (failed)
            return failed;
        fm_quota_set_put(&changed, row, (uint64_t)number);
    }
    *ret_changed = changed;
    return 0;
}

static int read_file(const struct fm_user_files *files, const char *name,
                     struct fm_quota_set *ret_changed, struct fm_error *error)
{
    struct fm_buffer text;
    fm_buffer_init(&text, FILE_BYTES_MAX);
    int failed = fm_files_read(files->folder_fd, name, &text, error);
    if (!failed) {
        json_error_t why = {0};
        json_auto_t *json =
            json_loadb((const char *)text.data, text.length, JSON_REJECT_DUPLICATES, &why);
        if (!json && (why.text[0] == '\0' || json_error_code(&why) == json_error_out_of_memory))
            failed = fm_error_set(error, FM_ERR_NOMEM, "out of memory");
        else if (!json)
            failed = fm_error_set(error, FM_ERR_BAD_REQUEST, "line %d: %s", why.line, why.text);
        else
            failed = read_json(json, ret_changed, error);
    }
    fm_buffer_done(&text);
    return failed;
}

static bool wanted(const char *name)
{
    size_t length = strlen(name);
    size_t suffix = strlen(SUFFIX);
    return length > suffix && strcmp(name + length - suffix, SUFFIX) == 0 &&
           fm_name_valid(name, length - suffix);
}

int fm_user_files_each(const struct fm_user_files *files,
                       int (*visit)(const char *user, const struct fm_quota_set *changed,
                                    void *data),
                       void (*on_bad)(const char *name, const char *reason, void *data), void *data,
                       struct fm_error *error)
{
    struct fm_names names = {0};
    int failed = fm_tree_list(files->folder_fd, wanted, &names, error);
    for (size_t i = 0; !failed && i < names.count; i++) {
        char *name = names.names[i];
        struct fm_quota_set changed = {0};
        struct fm_error cause = {0};
        failed = read_file(files, name, &changed, &cause);
        if (failed && !fm_files_shortage(failed)) { /* its own fault, and not the process's */
            on_bad(name, cause.text, data);
            failed = 0;
            continue;
        }
        name[strlen(name) - strlen(SUFFIX)] = '\0';
        failed = failed ? fm_error_set(error, failed, "%s: %s", name, cause.text)
                        : visit(name, &changed, data);
    }
    fm_names_done(&names);
    return failed;
}
