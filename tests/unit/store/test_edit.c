/* test_edit.c - another configuration for the same module: a version like any other, with the
 * machine code that was there, and none of two edits lost. */
#include "store_fixture.h"

#include <pthread.h>

static const char *const other_env[] = {"C=3", NULL};

struct edit {
    int fails;
    char id[37]; /* of the version that was edited */
};

static int edit_once(void *data, struct fm_version *version, struct fm_error *error)
{
    struct edit *edit = data;
    (void)strcpy(edit->id, version->id);
    if (edit->fails)
        return fm_error_set(error, edit->fails, "the edit says");
    version->env = other_env;
    version->env_count = 1;
    version->limits.wall_ms = 1234;
    return 0;
}

static int try_edit(const char *function, struct edit *edit, struct deployed *ret,
                    struct fm_error *error)
{
    *error = (struct fm_error){0};
    int failed = fm_functions_edit(fixture_store, "simon", function, edit_once, edit, &ret->version,
                                   &ret->sequence, error);
    assert_int_equal(error->code, failed);
    return failed;
}

static struct deployed edit(const char *function)
{
    struct deployed edited = {0};
    struct edit how = {0};
    struct fm_error error;
    if (try_edit(function, &how, &edited, &error) != 0)
        fail_msg("%s", error.text);
    return edited;
}

static const char *file_of(const struct fm_version *version, const char *name)
{
    return in_data("functions/%s/%s/%s/%s", version->user, version->function, version->id, name);
}

static void assert_stale(const struct fm_version *version, const char *reason)
{
    char path[FM_FUNCTIONS_PATH_SIZE];
    struct fm_error error = {0};
    assert_int_equal(fm_functions_code(fixture_store, version, path, &error), FM_ERR_CONFLICT);
    if (!strstr(error.text, reason))
        fail_msg("'%s' lacks '%s'", error.text, reason);
}

static void a_version_like_any_other(void **state)
{
    (void)state;
    open_store();
    struct deployed before = deploy("simon", "echo", "module");
    struct edit how = {0};
    struct deployed after = {0};
    struct fm_error error;
    assert_int_equal(try_edit("echo", &how, &after, &error), 0);
    assert_string_equal(how.id, before.version->id);
    assert_int_equal(after.sequence, before.sequence + 1);
    assert_true(strcmp(after.version->id, before.version->id) > 0);
    assert_string_equal(after.version->folder,
                        in_data("functions/simon/echo/%s", after.version->id));
    assert_string_equal(after.version->sha256, before.version->sha256);
    assert_int_equal(after.version->size, before.version->size);
    assert_int_equal(after.version->facts.imports_count, 2);
    assert_string_equal(after.version->env[0], "C=3");
    assert_string_equal(after.version->args[0], "-v");
    assert_int_equal(after.version->limits.wall_ms, 1234);
    assert_whole(after.version, "module");
    assert_whole(before.version, "module"); /* for the calls that still run it */
    assert_int_equal(count_in("incoming"), 0);

    struct seen seen;
    open_store();
    see(&seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.bad_count, 0);
    assert_string_equal(seen.versions[0]->id, after.version->id);
    assert_int_equal(seen.versions[0]->env_count, 1);
    assert_whole(seen.versions[0], "module");
    assert_int_equal(count_in("functions/simon/echo"), 1); /* the old one was swept */
    seen_done(&seen);
    fm_version_free(before.version);
    fm_version_free(after.version);
}

/* Either of two versions may go first, and either's code be made again. */
static void files_are_shared_and_yet_apart(void **state)
{
    (void)state;
    char wasm[FM_FUNCTIONS_PATH_SIZE];
    char cwasm[FM_FUNCTIONS_PATH_SIZE];
    struct stat first;
    struct stat second;
    open_store();
    struct deployed before = deploy("simon", "echo", "module");
    struct deployed after = edit("echo");
    assert_int_equal(stat(file_of(before.version, "function.wasm"), &first), 0);
    assert_int_equal(stat(file_of(after.version, "function.wasm"), &second), 0);
    assert_int_equal(first.st_ino, second.st_ino);

    put_file(in_data("code"), "code of module");
    assert_int_equal(rename(in_data("code"), file_of(after.version, "function.cwasm")), 0);
    assert_whole(after.version, "module");
    fm_functions_code_paths(fixture_store, after.version, wasm, cwasm);
    put_file(cwasm, "other code");
    assert_int_equal(fm_functions_code_renew(fixture_store, after.version, cwasm, NULL), 0);
    assert_whole(before.version, "module");
    fm_functions_drop(fixture_store, before.version);
    assert_false(exists(before.version->folder));
    assert_file(file_of(after.version, "function.wasm"), "module");
    assert_file(file_of(after.version, "function.cwasm"), "other code");
    assert_int_equal(fm_functions_code(fixture_store, after.version, wasm, NULL), 0);

    struct deployed third = edit("echo"); /* of an edit, with code that was made again */
    assert_int_equal(fm_functions_code(fixture_store, third.version, wasm, NULL), 0);
    fm_version_free(before.version);
    fm_version_free(after.version);
    fm_version_free(third.version);
}

static void order_on_the_disk(void **state)
{
    (void)state;
    open_store();
    struct deployed before = deploy("simon", "echo", "module");
    faults_trace_begin();
    struct deployed after = edit("echo");
    assert_string_equal(faults_trace_end(), "mkdir RANDOM\n"
                                            "link function.wasm\n"
                                            "link function.cwasm\n"
                                            "create meta.json\n"
                                            "fsync meta.json\n"
                                            "fsync RANDOM\n"
                                            "rename RANDOM VERSION\n"
                                            "fsync echo\n"
                                            "fsync incoming\n");
    fm_version_free(before.version);
    fm_version_free(after.version);
}

/* --- machine code ----------------------------------------------------------------------------- */

/* What the old proof does not vouch for is not vouched for by a new one. */
static void code_without_a_proof(void **state)
{
    (void)state;
    static const char *const fields[] = {"build", "code_sha256", "code_hmac"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(fields); i++) {
        for (int damaged = 0; damaged <= 1; damaged++) {
            char field[64];
            open_store();
            struct deployed before = deploy("simon", "echo", "module");
            char *meta = get_file(file_of(before.version, "meta.json"));
            (void)snprintf(field, sizeof(field), "\"%s\": \"", fields[i]);
            char *found = strstr(meta, field);
            assert_non_null(found);
            if (damaged)
                found[strlen(field)] = found[strlen(field)] == '0' ? '1' : '0';
            else
                found[1] = 'x'; /* another name */
            put_file(file_of(before.version, "meta.json"), meta);
            free(meta);
            struct deployed after = edit("echo");
            assert_file(file_of(after.version, "function.wasm"), "module");
            assert_false(exists(file_of(after.version, "function.cwasm")));
            assert_stale(after.version, "has no hash of it");
            fm_version_free(before.version);
            fm_version_free(after.version);
        }
    }
}

static void code_that_was_changed(void **state)
{
    (void)state;
    open_store();
    struct deployed before = deploy("simon", "echo", "module");
    put_file(file_of(before.version, "function.cwasm"), "evil");
    struct deployed after = edit("echo");
    assert_stale(after.version, "hash does not fit");
    assert_int_equal(unlink(file_of(after.version, "function.cwasm")), 0);
    struct deployed third = edit("echo"); /* none at all */
    assert_stale(third.version, "has no hash of it");
    fm_version_free(before.version);
    fm_version_free(after.version);
    fm_version_free(third.version);
}

/* Another engine, or another key: the code is as stale as it was, and made again. */
static void code_of_another_build(void **state)
{
    (void)state;
    char wasm[FM_FUNCTIONS_PATH_SIZE];
    char cwasm[FM_FUNCTIONS_PATH_SIZE];
    open_store();
    struct deployed before = deploy("simon", "echo", "module");
    open_store_of("engine 2");
    struct deployed after = edit("echo");
    assert_stale(after.version, "has no hash of it");
    fm_functions_code_paths(fixture_store, after.version, wasm, cwasm);
    assert_file(wasm, "module");
    put_file(cwasm, "code of module");
    assert_int_equal(fm_functions_code_renew(fixture_store, after.version, cwasm, NULL), 0);
    assert_whole(after.version, "module");
    assert_int_equal(unlink(in_data("key")), 0);
    open_store_of("engine 2");
    struct deployed third = edit("echo");
    assert_stale(third.version, "has no hash of it");
    fm_version_free(before.version);
    fm_version_free(after.version);
    fm_version_free(third.version);
}

/* A proof that was copied from another function does not become one of this function's. */
static void a_proof_of_another(void **state)
{
    (void)state;
    open_store();
    struct deployed mine = deploy("simon", "echo", "module");
    struct deployed theirs = deploy("eve", "echo", "evil module");
    char *code = get_file(file_of(theirs.version, "function.cwasm"));
    char *meta = get_file(file_of(mine.version, "meta.json"));
    char *evil = get_file(file_of(theirs.version, "meta.json"));
    put_file(file_of(mine.version, "function.cwasm"), code);
    static const char *const fields[] = {"\"code_sha256\": \"", "\"code_hmac\": \""};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(fields); i++)
        memcpy(strstr(meta, fields[i]) + strlen(fields[i]),
               strstr(evil, fields[i]) + strlen(fields[i]), 64);
    put_file(file_of(mine.version, "meta.json"), meta);
    struct deployed after = edit("echo");
    assert_stale(after.version, "has no hash of it");
    free(code);
    free(meta);
    free(evil);
    fm_version_free(mine.version);
    fm_version_free(theirs.version);
    fm_version_free(after.version);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void refused(const char *function, int fails, int wanted, const char *why)
{
    struct edit how = {.fails = fails};
    struct deployed edited = {.sequence = 77};
    struct fm_error error;
    assert_int_equal(try_edit(function, &how, &edited, &error), wanted);
    assert_non_null(strstr(error.text, why));
    assert_null(edited.version);
    assert_int_equal(edited.sequence, 77);
    assert_int_equal(count_in("incoming"), 0);
}

static void refusals(void **state)
{
    (void)state;
    uint64_t sequence;
    open_store();
    refused("echo", 0, FM_ERR_NOT_FOUND, "no function simon/echo");
    struct deployed deployed = deploy("simon", "echo", "module");
    refused("echo", FM_ERR_TOO_LARGE, FM_ERR_TOO_LARGE, "the edit says");
    assert_int_equal(count_in("functions/simon/echo"), 1);
    assert_int_equal(fm_functions_remove(fixture_store, "simon", "echo", &sequence, NULL), 0);
    refused("echo", 0, FM_ERR_NOT_FOUND, "no function simon/echo");
    assert_false(exists(in_data("functions/simon/other")));
    fm_version_free(deployed.version);
}

/* What serves then is older, and whoever edits it would undo what he cannot see. */
static void the_newest_is_damaged(void **state)
{
    (void)state;
    open_store();
    struct deployed older = deploy("simon", "echo", "module");
    struct deployed newer = edit("echo");
    put_file(file_of(newer.version, "meta.json"), "{");
    refused("echo", 0, FM_ERR_IO, "cannot be read");
    assert_int_equal(count_in("functions/simon/echo"), 2);
    struct deployed third = deploy("simon", "echo", "module");
    fm_version_free(edit("echo").version);
    fm_version_free(older.version);
    fm_version_free(newer.version);
    fm_version_free(third.version);
}

static int edit_badly(void *data, struct fm_version *version, struct fm_error *error)
{
    (void)data;
    (void)error;
    version->limits.wall_ms = 0;
    return 0;
}

static void what_no_start_could_read(void **state)
{
    (void)state;
    struct deployed edited = {0};
    struct fm_error error = {0};
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    assert_int_equal(fm_functions_edit(fixture_store, "simon", "echo", edit_badly, NULL,
                                       &edited.version, &edited.sequence, &error),
                     FM_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.text, "limits.wall_ms"));
    assert_int_equal(count_in("incoming"), 0);
    assert_int_equal(count_in("functions/simon/echo"), 1);
    fm_version_free(deployed.version);
}

/* --- together --------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 25

struct worker {
    pthread_t thread;
    unsigned number;
};

/* Adds one to a limit: a counter that shows every edit that is lost. */
static int add_one(void *data, struct fm_version *version, struct fm_error *error)
{
    (void)data;
    (void)error;
    version->limits.wall_ms++;
    return 0;
}

static void *edit_often(void *data)
{
    struct worker *worker = data;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct deployed edited = {0};
        if (fm_functions_edit(fixture_store, "simon", "echo", add_one, NULL, &edited.version,
                              &edited.sequence, NULL) != 0)
            return worker;
        fm_functions_drop(fixture_store, edited.version); /* if it is the current one: nothing */
        fm_version_free(edited.version);
    }
    return NULL;
}

static void none_is_lost(void **state)
{
    (void)state;
    struct worker workers[THREADS];
    struct seen seen;
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    uint64_t before = deployed.version->limits.wall_ms;
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, edit_often, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(workers[i].thread, &failed), 0);
        assert_null(failed);
    }
    see(&seen);
    assert_int_equal(seen.versions[0]->limits.wall_ms, before + (uint64_t)THREADS * ROUNDS);
    assert_whole(seen.versions[0], "module");
    seen_done(&seen);
    fm_version_free(deployed.version);
}

static int edit_tortured(void *data)
{
    struct edit how = {0};
    struct deployed edited = {0};
    struct fm_error error;
    (void)data;
    int failed = try_edit("echo", &how, &edited, &error);
    fm_version_free(edited.version);
    assert_int_equal(count_in("incoming"), 0);
    if (failed == FM_ERR_IO) /* jansson takes some failures for text that is not JSON */
        failed = FM_ERR_NOMEM;
    return failed;
}

static void tortured(void **state)
{
    (void)state;
    struct seen seen;
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    assert_true(torture(edit_tortured, NULL) > 100);
    open_store();
    see(&seen);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.bad_count, 0);
    assert_file(file_of(seen.versions[0], "function.wasm"), "module");
    seen_done(&seen);
    fm_version_free(deployed.version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(a_version_like_any_other),
        STORE_TEST(files_are_shared_and_yet_apart),
        STORE_TEST(order_on_the_disk),
        STORE_TEST(code_without_a_proof),
        STORE_TEST(code_that_was_changed),
        STORE_TEST(code_of_another_build),
        STORE_TEST(a_proof_of_another),
        STORE_TEST(refusals),
        STORE_TEST(the_newest_is_damaged),
        STORE_TEST(what_no_start_could_read),
        STORE_TEST(none_is_lost),
        STORE_TEST(tortured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
