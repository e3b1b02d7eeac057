/* test_code.c - machine code is loaded only if this data folder's server made it for this version
 * and this engine; all else is made again. */
#include "store_fixture.h"

static int try_code(const struct fm_version *version, struct fm_error *error)
{
    char path[FM_FUNCTIONS_PATH_SIZE] = "untouched";
    *error = (struct fm_error){0};
    int failed = fm_functions_code(fixture_store, version, path, error);
    assert_int_equal(error->code, failed);
    if (failed)
        assert_string_equal(path, "untouched");
    else
        assert_string_equal(path, in_data("functions/%s/%s/%s/function.cwasm", version->user,
                                          version->function, version->id));
    return failed;
}

/* Stale, for this reason. */
static void assert_stale(const struct fm_version *version, const char *reason)
{
    struct fm_error error;
    assert_int_equal(try_code(version, &error), FM_ERR_CONFLICT);
    if (!strstr(error.text, reason))
        fail_msg("'%s' lacks '%s'", error.text, reason);
}

static void assert_good(const struct fm_version *version)
{
    struct fm_error error;
    if (try_code(version, &error) != 0)
        fail_msg("%s", error.text);
}

static int try_renew(const struct fm_version *version, const char *code, struct fm_error *error)
{
    char wasm[FM_FUNCTIONS_PATH_SIZE];
    char cwasm[FM_FUNCTIONS_PATH_SIZE];
    *error = (struct fm_error){0};
    fm_functions_code_paths(fixture_store, version, wasm, cwasm);
    if (code)
        put_file(cwasm, code);
    int failed = fm_functions_code_renew(fixture_store, version, cwasm, error);
    assert_int_equal(error->code, failed);
    assert_false(exists(cwasm));
    assert_int_equal(count_in("incoming"), 0);
    return failed;
}

static void renew(const struct fm_version *version, const char *wasm)
{
    char code[256];
    struct fm_error error;
    (void)snprintf(code, sizeof(code), "code of %s", wasm);
    if (try_renew(version, code, &error) != 0)
        fail_msg("%s", error.text);
    assert_whole(version, wasm);
}

static const char *file_of(const struct fm_version *version, const char *name)
{
    return in_data("functions/%s/%s/%s/%s", version->user, version->function, version->id, name);
}

static void changed_code(void **state)
{
    (void)state;
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    const struct fm_version *version = deployed.version;
    const char *path = file_of(version, "function.cwasm");
    assert_good(version);

    static const char *const other[] = {"", "code of modulE", "code of modul", "code of module "};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(other); i++) {
        put_file(path, other[i]);
        assert_stale(version, "hash does not fit");
        renew(version, "module");
    }
    assert_int_equal(unlink(path), 0);
    assert_stale(version, "function.cwasm");
    renew(version, "module");

    /* Good bytes, but not in a file of the version's own. */
    assert_int_equal(rename(path, in_data("code")), 0);
    assert_int_equal(symlink(in_data("code"), path), 0);
    assert_stale(version, "function.cwasm");
    renew(version, "module");
    assert_file(in_data("code"), "code of module");
    fm_version_free(deployed.version);
}

static void changed_meta(void **state)
{
    (void)state;
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    const struct fm_version *version = deployed.version;
    const char *path = file_of(version, "meta.json");
    char *good = get_file(path);

    static const char *const other[] = {
        "",
        "{}\n",
        "[]\n",
        "{\n  \"build\": \"engine 1\"\n}\n",
        "{\n  \"build\": 1,\n  \"code_hmac\": 2\n}\n",
        "{\n  \"build\": \"engine 1\",\n  \"code_hmac\": \"12\"\n}\n",
        "\n  \"build\": \"engine 1\"\n  \"code_hmac\": \"12"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(other); i++) {
        put_file(path, other[i]);
        assert_stale(version, "meta.json");
        renew(version, "module");
        assert_file(path, good); /* as it was: the same hash, and all the rest */
    }
    assert_int_equal(unlink(path), 0);
    assert_stale(version, "meta.json");
    renew(version, "module");

    char *digit = strstr(good, "code_hmac\": \"") + strlen("code_hmac\": \"");
    *digit = *digit == '0' ? '1' : '0';
    put_file(path, good);
    assert_stale(version, "hash does not fit");
    free(good);
    renew(version, "module");
    fm_version_free(deployed.version);
}

/* Proved code of one version, with its proof, is not code of another one. */
static void code_of_another(void **state)
{
    (void)state;
    static const char *const others[][2] = {{"simon", "echo"}, {"simon", "other"}, {"eve", "echo"}};
    open_store();
    struct deployed mine = deploy("simon", "echo", "module");
    for (size_t i = 0; i < FM_ARRAY_LENGTH(others); i++) {
        struct deployed theirs = deploy(others[i][0], others[i][1], "evil module");
        char *code = get_file(file_of(theirs.version, "function.cwasm"));
        char *meta = get_file(file_of(theirs.version, "meta.json"));
        put_file(file_of(mine.version, "function.cwasm"), code);
        assert_stale(mine.version, "hash does not fit");
        put_file(file_of(mine.version, "meta.json"), meta);
        assert_stale(mine.version, "hash does not fit");
        free(code);
        free(meta);
        assert_good(theirs.version);
        renew(mine.version, "module");
        fm_version_free(theirs.version);
    }
    fm_version_free(mine.version);
}

static void another_build(void **state)
{
    (void)state;
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    open_store_of("engine 2");
    struct seen seen;
    see(&seen); /* the version itself is as good as ever */
    assert_int_equal(seen.count, 1);
    assert_stale(seen.versions[0], "another build");
    renew(seen.versions[0], "module");
    open_store_of("engine 2");
    assert_good(seen.versions[0]);
    open_store();
    assert_stale(seen.versions[0], "another build");
    seen_done(&seen);
    see(&seen); /* a renewed version can be read */
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.bad_count, 0);
    assert_string_equal(seen.versions[0]->id, deployed.version->id);
    assert_string_equal(seen.versions[0]->env[1], "B=two=2");
    seen_done(&seen);
    fm_version_free(deployed.version);
}

static void another_key(void **state)
{
    (void)state;
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    assert_int_equal(unlink(in_data("key")), 0);
    open_store();
    assert_stale(deployed.version, "hash does not fit");
    renew(deployed.version, "module");
    fm_version_free(deployed.version);
}

static void version_that_is_gone(void **state)
{
    (void)state;
    struct fm_error error;
    open_store();
    struct deployed older = deploy("simon", "echo", "older");
    struct deployed newer = deploy("simon", "echo", "newer");
    fm_functions_drop(fixture_store, older.version);
    assert_int_equal(try_code(older.version, &error), FM_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, older.version->id));
    assert_int_equal(try_renew(older.version, "code of older", &error), FM_ERR_NOT_FOUND);
    assert_good(newer.version);
    fm_version_free(older.version);
    fm_version_free(newer.version);
}

static void paths(void **state)
{
    (void)state;
    char wasm[FM_FUNCTIONS_PATH_SIZE];
    char first[FM_FUNCTIONS_PATH_SIZE];
    char second[FM_FUNCTIONS_PATH_SIZE];
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    fm_functions_code_paths(fixture_store, deployed.version, wasm, first);
    fm_functions_code_paths(fixture_store, deployed.version, wasm, second);
    assert_file(wasm, "module");
    assert_string_not_equal(first, second); /* two may be at it */
    assert_false(exists(first));
    assert_ptr_equal(strstr(first, in_data("incoming/")), first);
    fm_version_free(deployed.version);
}

static void nothing_to_renew_with(void **state)
{
    (void)state;
    struct fm_error error;
    char wasm[FM_FUNCTIONS_PATH_SIZE];
    char cwasm[FM_FUNCTIONS_PATH_SIZE];
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    assert_int_equal(try_renew(deployed.version, NULL, &error), FM_ERR_INTERNAL);
    fm_functions_code_paths(fixture_store, deployed.version, wasm, cwasm);
    assert_int_equal(symlink(wasm, cwasm), 0); /* would make a user's bytes our code */
    assert_int_equal(fm_functions_code_renew(fixture_store, deployed.version, cwasm, &error),
                     FM_ERR_IO);
    assert_false(exists(cwasm));
    assert_whole(deployed.version, "module");
    fm_version_free(deployed.version);
}

/* First the code is there for good, then its hash. */
static void order_on_the_disk(void **state)
{
    (void)state;
    struct fm_error error;
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    open_store_of("engine 2");
    faults_trace_begin();
    assert_int_equal(try_renew(deployed.version, "code of module", &error), 0);
    assert_string_equal(faults_trace_end(), "fsync RANDOM\n"
                                            "create RANDOM\n"
                                            "fsync RANDOM\n"
                                            "rename RANDOM function.cwasm\n"
                                            "rename RANDOM meta.json\n"
                                            "fsync VERSION\n");
    fm_version_free(deployed.version);
}

/* A failed renewal leaves code that is stale or good, never wrong, and the next one succeeds. */
static void renew_with_faults(void **state)
{
    (void)state;
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    const struct fm_version *version = deployed.version;
    for (int crash = 0; crash <= 1; crash++) {
        unsigned unnoticed = 0; /* the removal of a compile cache, which is not there */
        for (long nth = 1;; nth++) {
            struct fm_error error = {0};
            char wasm[FM_FUNCTIONS_PATH_SIZE];
            char cwasm[FM_FUNCTIONS_PATH_SIZE];
            assert_true(nth < 100);
            put_file(file_of(version, "function.cwasm"), "damaged");
            fm_functions_code_paths(fixture_store, version, wasm, cwasm);
            put_file(cwasm, "code of module");
            faults_arm(nth, ENOSPC, crash);
            int failed = fm_functions_code_renew(fixture_store, version, cwasm, &error);
            bool struck = faults_disarm();
            unnoticed += struck && !failed ? 1 : 0;
            assert_true(!failed || (struck && failed == FM_ERR_STORAGE_FULL));
            open_store();
            assert_int_equal(count_in("incoming"), 0);
            if (try_code(version, &error) == 0)
                assert_whole(version, "module");
            else
                assert_int_equal(error.code, FM_ERR_CONFLICT);
            struct seen seen;
            see(&seen);
            assert_int_equal(seen.count, 1);
            assert_int_equal(seen.bad_count, 0);
            seen_done(&seen);
            renew(version, "module");
            if (!struck)
                break;
        }
        assert_int_equal(unnoticed, crash ? 0 : 1);
    }
    fm_version_free(deployed.version);
}

/* A disk error makes code stale; a lack of descriptors says nothing about it. */
static void check_with_faults(void **state)
{
    (void)state;
    static const int errnums[] = {EIO, EMFILE};
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    for (size_t i = 0; i < FM_ARRAY_LENGTH(errnums); i++) {
        for (long nth = 1;; nth++) {
            struct fm_error error;
            faults_arm(nth, errnums[i], false);
            int failed = try_code(deployed.version, &error);
            if (!faults_disarm()) {
                assert_int_equal(failed, 0);
                assert_true(nth > 8);
                break;
            }
            int wanted = errnums[i] == EMFILE ? FM_ERR_BUSY
                         : nth <= 3           ? FM_ERR_IO /* folders of user, function, version */
                                              : FM_ERR_CONFLICT;
            assert_int_equal(failed, wanted);
        }
    }
    fm_version_free(deployed.version);
}

static int check(void *data)
{
    struct fm_error error;
    int failed = try_code(data, &error);
    /* jansson takes some failures for text that is not JSON. */
    if (failed == FM_ERR_CONFLICT && strstr(error.text, "meta.json"))
        failed = FM_ERR_NOMEM;
    assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    return failed;
}

static int renew_once(void *data)
{
    struct fm_error error;
    int failed = try_renew(data, "code of module", &error);
    assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    return failed;
}

static void tortured(void **state)
{
    (void)state;
    open_store();
    struct deployed deployed = deploy("simon", "echo", "module");
    assert_true(torture(check, deployed.version) > 0);
    put_file(file_of(deployed.version, "function.cwasm"), "damaged");
    assert_true(torture(renew_once, deployed.version) > 20);
    assert_whole(deployed.version, "module");
    fm_version_free(deployed.version);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(changed_code),
        STORE_TEST(changed_meta),
        STORE_TEST(code_of_another),
        STORE_TEST(another_build),
        STORE_TEST(another_key),
        STORE_TEST(version_that_is_gone),
        STORE_TEST(paths),
        STORE_TEST(nothing_to_renew_with),
        STORE_TEST(order_on_the_disk),
        STORE_TEST(renew_with_faults),
        STORE_TEST(check_with_faults),
        STORE_TEST(tortured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
