/* store_fixture.h - what the tests of store/ share: a fresh folder, a store in it, uploads of small
 * texts in place of modules, and what fm_functions_each() shows. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>
#include <jansson.h>

#include "faults.h"
#include "store/functions.h"
#include "store/tree.h"
#include "torture.h"

#define BUILD "engine 1"
#define SEEN_MAX 64

static char fixture_root[64];
static char fixture_data[128]; /* the data folder, in the root */
static struct fm_functions *fixture_store;

static inline int fixture_setup(void **state)
{
    (void)state;
    json_set_alloc_funcs(malloc, free); /* so that torture reaches jansson too */
    (void)strcpy(fixture_root, "/tmp/faasm-store-XXXXXX");
    assert_non_null(mkdtemp(fixture_root));
    (void)snprintf(fixture_data, sizeof(fixture_data), "%s/data", fixture_root);
    return 0;
}

static inline int fixture_teardown(void **state)
{
    (void)state;
    (void)faults_disarm();
    fixture_store = fm_functions_close(fixture_store);
    struct fm_error error = {0};
    int root = open(fixture_root, O_RDONLY | O_DIRECTORY);
    assert_true(root >= 0);
    int data = openat(root, "data", O_RDONLY | O_DIRECTORY);
    if (data >= 0) {
        for (const char *const *name =
                 (const char *const[]){"functions", "incoming", "trash", "users", "files", NULL};
             *name; name++)
            (void)fm_tree_remove(data, *name, &error);
        (void)close(data);
    }
    if (fm_tree_empty(root, &error) != 0)
        fail_msg("%s", error.text);
    (void)close(root);
    assert_int_equal(rmdir(fixture_root), 0);
    return 0;
}

#define STORE_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

static inline void open_store_of(const char *build)
{
    struct fm_error error = {0};
    fixture_store = fm_functions_close(fixture_store);
    if (fm_functions_open(fixture_data, build, &fixture_store, &error) != 0)
        fail_msg("%s", error.text);
}

static inline void open_store(void)
{
    open_store_of(BUILD);
}

/* --- files ------------------------------------------------------------------------------------ */

/* A path in the data folder; 64 of them can be in use at once. */
FM_PRINTF(1, 2) static inline const char *in_data(const char *format, ...)
{
    static char paths[64][4096];
    static unsigned next;
    char *path = paths[next++ % 64];
    size_t length = (size_t)snprintf(path, sizeof(paths[0]), "%s/", fixture_data);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(path + length, sizeof(paths[0]) - length, format, arguments);
    va_end(arguments);
    return path;
}

static inline void put_bytes(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static inline void put_file(const char *path, const char *text)
{
    put_bytes(path, text, strlen(text));
}

static inline bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

/* NUL-ended, from malloc. */
static inline char *get_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 65536);
    assert_non_null(text);
    size_t length = fread(text, 1, 65535, file);
    assert_true(length < 65535);
    (void)fclose(file);
    return text;
}

static inline void assert_file(const char *path, const char *wanted)
{
    char *text = get_file(path);
    assert_string_equal(text, wanted);
    free(text);
}

static inline bool any_name(const char *name)
{
    (void)name;
    return true;
}

static inline size_t count_in(const char *folder)
{
    struct fm_names names = {0};
    int fd = open(in_data("%s", folder), O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return 0;
    assert_int_equal(fm_tree_list(fd, any_name, &names, NULL), 0);
    size_t count = names.count;
    fm_names_done(&names);
    (void)close(fd);
    return count;
}

/* --- uploads ---------------------------------------------------------------------------------- */

static const char *const fixture_imports[] = {"faasm.input_size", "faasm.output_write"};
static const char *const fixture_env[] = {"A=1", "B=two=2", NULL};
static const char *const fixture_args[] = {"-v", "", NULL};

static inline struct fm_version wanted_version(const char *user, const char *function)
{
    struct fm_version wanted = {
        .user = user,
        .function = function,
        .facts = {.abi = FM_ABI_FAASM,
                  .memory_pages_min = 2,
                  .imports = fixture_imports,
                  .imports_count = FM_ARRAY_LENGTH(fixture_imports)},
        .env = fixture_env,
        .env_count = 2,
        .args = fixture_args,
        .args_count = 2,
    };
    fm_limits_defaults(&wanted.limits);
    return wanted;
}

struct deployed {
    struct fm_version *version;
    bool replaced;
    uint64_t sequence;
};

/* All steps of an upload.  The machine code of module M is "code of M". */
static inline int try_deploy_wanted(const struct fm_version *wanted, const char *wasm,
                                    struct deployed *ret, struct fm_error *error)
{
    struct fm_upload *upload = NULL;
    int failed = fm_upload_begin(fixture_store, &upload, error);
    if (!failed)
        failed = fm_upload_write(upload, (const uint8_t *)wasm, strlen(wasm), error);
    if (!failed)
        failed = fm_upload_written(upload, error);
    if (!failed) {
        FILE *file = fopen(fm_upload_cwasm_path(upload), "wb");
        assert_non_null(file);
        (void)fprintf(file, "code of %s", wasm);
        assert_int_equal(fclose(file), 0);
        failed =
            fm_upload_commit(upload, wanted, &ret->version, &ret->replaced, &ret->sequence, error);
    }
    fm_upload_end(upload);
    return failed;
}

static inline int try_deploy(const char *user, const char *function, const char *wasm,
                             struct deployed *ret, struct fm_error *error)
{
    struct fm_version wanted = wanted_version(user, function);
    return try_deploy_wanted(&wanted, wasm, ret, error);
}

static inline struct deployed deploy(const char *user, const char *function, const char *wasm)
{
    struct deployed deployed = {0};
    struct fm_error error = {0};
    if (try_deploy(user, function, wasm, &deployed, &error) != 0)
        fail_msg("%s", error.text);
    return deployed;
}

/* For tests that need only its id: copied. */
static inline void deploy_id(const char *user, const char *function, const char *wasm, char id[37])
{
    struct deployed deployed = deploy(user, function, wasm);
    (void)strcpy(id, deployed.version->id);
    fm_version_free(deployed.version);
}

/* --- what there is ---------------------------------------------------------------------------- */

struct seen {
    struct fm_version *versions[SEEN_MAX];
    size_t count;
    char bad_folders[SEEN_MAX][512];
    char bad_reasons[SEEN_MAX][512];
    size_t bad_count;
};

static inline int see_version(struct fm_version *version, void *data)
{
    struct seen *seen = data;
    assert_true(seen->count < SEEN_MAX);
    seen->versions[seen->count++] = version;
    return 0;
}

static inline void see_bad(const char *folder, const char *reason, void *data)
{
    struct seen *seen = data;
    assert_true(seen->bad_count < SEEN_MAX);
    (void)snprintf(seen->bad_folders[seen->bad_count], 512, "%s", folder);
    (void)snprintf(seen->bad_reasons[seen->bad_count], 512, "%s", reason);
    seen->bad_count++;
}

static inline void seen_done(struct seen *seen)
{
    for (size_t i = 0; i < seen->count; i++)
        fm_version_free(seen->versions[i]);
    seen->count = 0;
    seen->bad_count = 0;
}

static inline void see(struct seen *seen)
{
    struct fm_error error = {0};
    *seen = (struct seen){.count = 0};
    if (fm_functions_each(fixture_store, see_version, see_bad, seen, &error) != 0)
        fail_msg("%s", error.text);
}

/* The module of a version, byte for byte, and its code, proved. */
static inline void assert_whole(const struct fm_version *version, const char *wasm)
{
    char path[FM_FUNCTIONS_PATH_SIZE];
    char code[4096];
    struct fm_error error = {0};
    (void)snprintf(path, sizeof(path), "%.2000s/function.wasm", version->folder);
    assert_file(path, wasm);
    if (fm_functions_code(fixture_store, version, path, &error) != 0)
        fail_msg("%s", error.text);
    (void)snprintf(code, sizeof(code), "code of %s", wasm);
    assert_file(path, code);
}
