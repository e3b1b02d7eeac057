/* versions.c - the folder of one function: its versions, tombstones and which one is current.
 *
 * The folder is the only truth: which version is current is read from it each time, by the one rule
 * below, at start as well as by a commit, a removal or a drop.  Those are rare, and so no table in
 * memory can come to differ from the disk.
 *
 *      from the newest name downwards:   tombstone -> there is no function
 *                                        complete  -> this one is current
 *                                        damaged   -> reported, go on
 *
 * A removal adds a tombstone, an empty file, and touches nothing else.  So it is one step on the
 * disk, works on a full one, and the paths of removed versions stay as they were for the calls that
 * still run them.  Discarded: renaming the function's folder away, which changes these paths under
 * a worker that is about to load one; and removing the current version alone, after which an older
 * one that a call still holds would be current again if the server crashed.
 *
 * Damage is never a reason to delete: jansson cannot always tell a text that is not JSON from
 * memory that ran out, and somebody may want to look at it.
 *
 * A version is complete when its meta.json is right and its module has the size that stands there.
 * Machine code does not count: it can be made again.
 *
 * Threading: reading needs no lock, since versions appear and go by rename; changes are made under
 * the lock of struct fm_functions. */
#include "store/versions.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/name.h"
#include "store/meta.h"
#include "store/text.h"

#define TOMBSTONE ".removed"
#define NAME_SIZE (FM_ID_TEXT_SIZE + sizeof(TOMBSTONE) - 1)

/* --- names ------------------------------------------------------------------------------------ */

static bool is_tombstone(const char *name)
{
    char id[FM_ID_TEXT_SIZE];
    size_t length = strlen(name);
    if (length != NAME_SIZE - 1 || strcmp(name + sizeof(id) - 1, TOMBSTONE) != 0)
        return false;
    memcpy(id, name, sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    return fm_text_id_valid(id);
}

static bool is_ours(const char *name)
{
    return fm_text_id_valid(name) || is_tombstone(name);
}

static int open_folders(const struct fm_functions *functions, bool make,
                        struct fm_versions *versions, struct fm_error *error)
{
    int failed = 0;
    if (make)
        failed = fm_files_folder_make(functions->functions_fd, versions->user, error);
    if (!failed)
        failed = fm_files_folder_open(functions->functions_fd, versions->user, &versions->user_fd,
                                      error);
    if (!failed && make)
        failed = fm_files_folder_make(versions->user_fd, versions->function, error);
    if (!failed)
        failed = fm_files_folder_open(versions->user_fd, versions->function, &versions->folder_fd,
                                      error);
    if (!failed)
        failed = fm_tree_list(versions->folder_fd, is_ours, &versions->names, error);
    return failed;
}

int fm_versions_open(const struct fm_functions *functions, const char *user, const char *function,
                     bool make, struct fm_versions *ret_versions, struct fm_error *error)
{
    FM_ASSERT(fm_name_valid(user, strlen(user)) && fm_name_valid(function, strlen(function)));
    struct fm_versions versions = {
        .user = user, .function = function, .user_fd = -1, .folder_fd = -1};
    int failed = open_folders(functions, make, &versions, error);
    if (failed) {
        if (make)
            fm_versions_tidy(functions, &versions);
        fm_versions_done(&versions);
        if (make && failed == FM_ERR_NOT_FOUND) /* made, yet no folder: something else is there */
            failed = fm_error_set(error, FM_ERR_IO, "functions/%s/%s cannot be a folder", user,
                                  function);
        return failed;
    }
    *ret_versions = versions;
    return 0;
}

void fm_versions_done(struct fm_versions *versions)
{
    fm_names_done(&versions->names);
    fm_files_close(&versions->folder_fd);
    fm_files_close(&versions->user_fd);
}

/* --- reading ---------------------------------------------------------------------------------- */

/* Whether the version that was read is the one that lies in this folder, and whole. */
static int check_version(const struct fm_versions *versions, int version_fd, const char *id,
                         const struct fm_version *version, struct fm_error *error)
{
    if (strcmp(version->user, versions->user) != 0 ||
        strcmp(version->function, versions->function) != 0 || strcmp(version->id, id) != 0)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s is of %s/%s, version %s", FM_STORE_META,
                            version->user, version->function, version->id);
    FM_CLEANUP(fm_files_close) int fd = -1;
    uint64_t bytes = 0;
    int failed = fm_files_open(version_fd, FM_STORE_WASM, &bytes, &fd, error);
    if (!failed && bytes != version->size)
        failed = fm_error_set(error, FM_ERR_BAD_REQUEST, "%s has %llu bytes instead of %llu",
                              FM_STORE_WASM, (unsigned long long)bytes,
                              (unsigned long long)version->size);
    return failed;
}

static int read_version(const struct fm_versions *versions, const char *id, const char *path,
                        struct fm_version **ret_version, struct fm_error *error)
{
    FM_CLEANUP(fm_files_close) int fd = -1;
    json_auto_t *json = NULL;
    struct fm_version *version = NULL;
    int failed = fm_files_folder_open(versions->folder_fd, id, &fd, error);
    if (!failed)
        failed = fm_versions_meta_read(fd, &json, error);
    if (!failed)
        failed = fm_meta_from_json(json, path, &version, error);
    if (!failed)
        failed = check_version(versions, fd, id, version, error);
    if (failed) {
        fm_version_free(version);
        return failed;
    }
    *ret_version = version;
    return 0;
}

int fm_versions_current(const struct fm_functions *functions, const struct fm_versions *versions,
                        struct fm_versions_report *report, struct fm_version **ret_version,
                        size_t *ret_index, struct fm_error *error)
{
    const struct fm_names *names = &versions->names;
    struct fm_version *version = NULL;
    for (size_t i = names->count; i > 0 && !is_tombstone(names->names[i - 1]); i--) {
        const char *id = names->names[i - 1];
        char path[FM_FUNCTIONS_PATH_SIZE];
        fm_functions_path(functions, path, "functions/%s/%s/%s", versions->user, versions->function,
                          id);
        struct fm_error cause = {0};
        int failed = read_version(versions, id, path, &version, &cause);
        if (!failed) {
            *ret_index = i - 1;
            break;
        }
        if (fm_files_shortage(failed))
            return fm_error_set(error, failed, "%s", cause.text);
        report->count++;
        if (report->on_bad)
            report->on_bad(path, cause.text, report->data);
    }
    *ret_version = version;
    return 0;
}

/* --- changes ---------------------------------------------------------------------------------- */

void fm_versions_next_id(struct fm_functions *functions, const struct fm_versions *versions,
                         uint64_t now_ns, char ret_id[FM_ID_TEXT_SIZE])
{
    const struct fm_names *names = &versions->names;
    if (names->count > 0) {
        struct fm_id newest;
        int failed = fm_id_parse(names->names[names->count - 1], FM_ID_TEXT_SIZE - 1, &newest);
        FM_ASSERT(!failed); /* the list holds nothing else */
        now_ns = fm_max_u64(now_ns, ((newest.high >> 16) + 1) * FM_NS_PER_MS);
    }
    fm_id_format(fm_id_next(&functions->ids, now_ns), ret_id);
}

/* An empty file; or, where even that finds no room, another name of one that is there. */
static int make_tombstone(const struct fm_versions *versions, const char *current_id,
                          const char *name, struct fm_error *error)
{
    struct fm_error cause = {0};
    int failed = fm_files_put(versions->folder_fd, name, NULL, 0, &cause);
    if (!failed)
        return 0;
    char meta[FM_ID_TEXT_SIZE + sizeof("/" FM_STORE_META)];
    (void)snprintf(meta, sizeof(meta), "%s/%s", current_id, FM_STORE_META); /* just fits */
    if (failed == FM_ERR_STORAGE_FULL &&
        linkat(versions->folder_fd, meta, versions->folder_fd, name, 0) == 0)
        return 0;
    return fm_error_set(error, failed, "%s", cause.text);
}

int fm_versions_bury(const struct fm_versions *versions, const char *current_id, const char *id,
                     struct fm_error *error)
{
    char name[NAME_SIZE];
    (void)snprintf(name, sizeof(name), "%s%s", id, TOMBSTONE); /* just fits */
    int failed = make_tombstone(versions, current_id, name, error);
    if (failed)
        return failed;
    failed = fm_files_sync(versions->folder_fd, versions->function, error);
    if (failed) {
        (void)unlinkat(versions->folder_fd, name, 0); /* as if nothing had happened */
        (void)fsync(versions->folder_fd);
    }
    return failed;
}

/* A version that is newer than the current one is damaged, or seemed so because memory ran out: it
 * is never past. */
bool fm_versions_past(const struct fm_versions *versions, const char *id,
                      const struct fm_version *current)
{
    const struct fm_names *names = &versions->names;
    if (current && strcmp(id, current->id) < 0)
        return true;
    for (size_t i = names->count; i > 0 && strcmp(id, names->names[i - 1]) < 0; i--)
        if (is_tombstone(names->names[i - 1]))
            return true;
    return false;
}

int fm_versions_trash(const struct fm_functions *functions, const struct fm_versions *versions,
                      const char *name, char ret_trash_name[FM_FILES_RANDOM_SIZE],
                      struct fm_error *error)
{
    fm_files_random_name(ret_trash_name);
    if (renameat(versions->folder_fd, name, functions->trash_fd, ret_trash_name) != 0)
        return fm_files_error(error, errno, "move to the trash", name);
    return 0;
}

void fm_versions_tidy(const struct fm_functions *functions, struct fm_versions *versions)
{
    fm_names_done(&versions->names);
    /* A tombstone may only go when all older ones are gone for good, hence the fsync. */
    if (versions->folder_fd >= 0 &&
        fm_tree_list(versions->folder_fd, is_ours, &versions->names, NULL) == 0) {
        const struct fm_names *names = &versions->names;
        bool synced =
            names->count > 0 && is_tombstone(names->names[0]) && fsync(versions->folder_fd) == 0;
        for (size_t i = 0; synced && i < names->count && is_tombstone(names->names[i]); i++)
            (void)unlinkat(versions->folder_fd, names->names[i], 0);
    }
    /* These fail for folders that are in use: that is what makes them safe to try. */
    if (versions->user_fd >= 0)
        (void)unlinkat(versions->user_fd, versions->function, AT_REMOVEDIR);
    (void)unlinkat(functions->functions_fd, versions->user, AT_REMOVEDIR);
}

/* --- meta.json -------------------------------------------------------------------------------- */

/* Two spaces of indentation and a newline at the end: for people and their editors. */
#define META_FORM JSON_INDENT(2)

static int out_of_memory(struct fm_error *error)
{
    return fm_error_set(error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
}

struct dump {
    struct fm_buffer *text;
    int failed;
};

static int append_dump(const char *text, size_t bytes, void *data)
{
    struct dump *dump = data;
    dump->failed = fm_buffer_append(dump->text, text, bytes);
    return dump->failed ? -1 : 0;
}

static int put_proof(const struct fm_functions *functions, const struct fm_version *version,
                     const uint8_t digest[FM_DIGEST_BYTES], json_t *json)
{
    char sha256[FM_DIGEST_TEXT_SIZE];
    char hash[FM_DIGEST_TEXT_SIZE];
    fm_files_hex(digest, FM_DIGEST_BYTES, sha256);
    fm_keyed_hash(functions->key, version, functions->build_id, digest, hash);
    if (json_object_set_new(json, "build", json_string(functions->build_id)) != 0 ||
        json_object_set_new(json, "code_sha256", json_string(sha256)) != 0 ||
        json_object_set_new(json, "code_hmac", json_string(hash)) != 0)
        return FM_ERR_NOMEM;
    return 0;
}

int fm_versions_meta_text(const struct fm_functions *functions, const struct fm_version *version,
                          const uint8_t digest[FM_DIGEST_BYTES], struct fm_buffer *text,
                          struct fm_error *error)
{
    json_auto_t *json = NULL;
    int failed = fm_meta_build(version, &json, error);
    if (failed)
        return failed;
    if (digest && put_proof(functions, version, digest, json) != 0)
        return out_of_memory(error);
    struct dump dump = {.text = text};
    if (json_dump_callback(json, append_dump, &dump, META_FORM) == 0 &&
        append_dump("\n", 1, &dump) == 0)
        return 0;
    if (dump.failed == FM_ERR_TOO_LARGE)
        return fm_error_set(error, dump.failed,
                            "the function's metadata (imports, env, args) has over %zu bytes",
                            text->length_max);
    return out_of_memory(error);
}

struct comparison {
    const char *rest;
    size_t bytes;
};

static int compare_dump(const char *text, size_t bytes, void *data)
{
    struct comparison *comparison = data;
    if (bytes > comparison->bytes || memcmp(text, comparison->rest, bytes) != 0)
        return -1;
    comparison->rest += bytes;
    comparison->bytes -= bytes;
    return 0;
}

/* jansson's reader may cut a text when memory runs out, and say nothing.  So what was read is
 * written again and must give the same bytes. */
static bool says_the_same(const json_t *json, const struct fm_buffer *text)
{
    struct comparison comparison = {(const char *)text->data, text->length};
    return json_dump_callback(json, compare_dump, &comparison, META_FORM) == 0 &&
           comparison.bytes == 1 && comparison.rest[0] == '\n';
}

int fm_versions_meta_parse(const struct fm_buffer *text, json_t **ret_json, struct fm_error *error)
{
    json_error_t cause = {0};
    json_auto_t *json =
        json_loadb((const char *)text->data, text->length, JSON_REJECT_DUPLICATES, &cause);
    if (!json && (cause.text[0] == '\0' || json_error_code(&cause) == json_error_out_of_memory))
        return out_of_memory(error);
    if (!json)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s: line %d: %s", FM_STORE_META, cause.line,
                            cause.text);
    if (!says_the_same(json, text))
        return fm_error_set(error, FM_ERR_BAD_REQUEST,
                            "%s: not in the form in which this server writes it", FM_STORE_META);
    *ret_json = json_incref(json);
    return 0;
}

int fm_versions_meta_read(int version_fd, json_t **ret_json, struct fm_error *error)
{
    struct fm_buffer text;
    fm_buffer_init(&text, FM_STORE_META_BYTES_MAX);
    int failed = fm_files_read(version_fd, FM_STORE_META, &text, error);
    if (!failed)
        failed = fm_versions_meta_parse(&text, ret_json, error);
    fm_buffer_done(&text);
    return failed;
}
