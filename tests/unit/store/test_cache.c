/* test_cache.c - a compile cache is given out for the function that it was made for, and only as it
 * was written; nothing else depends on it. */
#include "store_fixture.h"

#define PROOF_BYTES 32

/* An upload that has its machine code, and no cache yet. */
static struct fm_upload *compiled_upload(void)
{
    struct fm_upload *upload = NULL;
    assert_int_equal(fm_upload_begin(fixture_store, &upload, NULL), 0);
    assert_int_equal(fm_upload_write(upload, (const uint8_t *)"module", 6, NULL), 0);
    assert_int_equal(fm_upload_written(upload, NULL), 0);
    put_file(fm_upload_cwasm_path(upload), "code of module");
    return upload;
}

/* An upload that leaves this cache; NULL: none. */
static struct fm_version *deploy_with(const char *user, const char *function, const char *cache)
{
    struct fm_version wanted = wanted_version(user, function);
    struct fm_upload *upload = compiled_upload();
    struct fm_version *version = NULL;
    bool replaced;
    uint64_t sequence;
    if (cache)
        put_file(fm_upload_cache_path(upload), cache);
    assert_int_equal(fm_upload_commit(upload, &wanted, &version, &replaced, &sequence, NULL), 0);
    fm_upload_end(upload);
    return version;
}

static const char *cache_of(const struct fm_version *version)
{
    return in_data("functions/%s/%s/%s/function.cache", version->user, version->function,
                   version->id);
}

/* NULL: none is given out. */
static void assert_cache(const char *user, const char *function, const char *wanted)
{
    int fd = fm_functions_cache_open(fixture_store, user, function);
    if (!wanted) {
        assert_int_equal(fd, -1);
        return;
    }
    char text[256] = "";
    assert_true(fd >= 0);
    ssize_t got = pread(fd, text, sizeof(text) - 1, 0);
    assert_int_equal(got, strlen(wanted) + PROOF_BYTES);
    assert_memory_equal(text, wanted, strlen(wanted));
    (void)close(fd);
}

static void given_out_for_its_function(void **state)
{
    (void)state;
    open_store();
    assert_cache("simon", "echo", NULL);
    fm_version_free(deploy_with("simon", "echo", "first"));
    assert_cache("simon", "echo", "first");
    assert_cache("simon", "other", NULL);
    assert_cache("ada", "echo", NULL);
    fm_version_free(deploy_with("simon", "echo", "second"));
    assert_cache("simon", "echo", "second");
    open_store();
    assert_cache("simon", "echo", "second");
    open_store_of("engine 2");
    assert_cache("simon", "echo", NULL);
    open_store();
    fm_version_free(deploy_with("simon", "echo", NULL));
    assert_cache("simon", "echo", NULL); /* the current version's, or none */
    uint64_t sequence;
    fm_version_free(deploy_with("simon", "echo", "third"));
    assert_int_equal(fm_functions_remove(fixture_store, "simon", "echo", &sequence, NULL), 0);
    assert_cache("simon", "echo", NULL);
}

static void nothing_worth_a_proof(void **state)
{
    (void)state;
    open_store();
    struct fm_version *version = deploy_with("simon", "echo", "");
    assert_false(exists(cache_of(version)));
    fm_version_free(version);
    assert_cache("simon", "echo", NULL);
    version = deploy_with("simon", "echo", "x");
    assert_cache("simon", "echo", "x");
    fm_version_free(version);
}

/* A link would have the server write a proof into, and vouch for, whatever it leads to. */
static void no_plain_file(void **state)
{
    (void)state;
    open_store();
    struct fm_version wanted = wanted_version("simon", "echo");
    struct fm_version *version = NULL;
    struct fm_upload *upload = compiled_upload();
    bool replaced;
    uint64_t sequence;
    put_file(in_data("elsewhere"), "text");
    assert_int_equal(symlink(in_data("elsewhere"), fm_upload_cache_path(upload)), 0);
    assert_int_equal(fm_upload_commit(upload, &wanted, &version, &replaced, &sequence, NULL), 0);
    fm_upload_end(upload);
    assert_false(exists(cache_of(version)));
    assert_file(in_data("elsewhere"), "text");
    fm_version_free(version);
}

/* Every byte of it counts, the proof's too, and the end. */
static void changed(void **state)
{
    (void)state;
    open_store();
    struct fm_version *version = deploy_with("simon", "echo", "content");
    const char *path = cache_of(version);
    uint8_t whole[7 + PROOF_BYTES + 1] = {0};
    int fd = open(path, O_RDONLY);
    assert_int_equal(pread(fd, whole, sizeof(whole), 0), sizeof(whole) - 1);
    (void)close(fd);
    for (size_t i = 0; i < sizeof(whole) - 1; i++) {
        whole[i] ^= 0x10;
        put_bytes(path, whole, sizeof(whole) - 1);
        assert_cache("simon", "echo", NULL);
        whole[i] ^= 0x10;
    }
    for (size_t bytes = 0; bytes < sizeof(whole) - 1; bytes++) {
        put_bytes(path, whole, bytes);
        assert_cache("simon", "echo", NULL);
    }
    put_bytes(path, whole, sizeof(whole));
    assert_cache("simon", "echo", NULL);
    put_bytes(path, whole, sizeof(whole) - 1);
    assert_cache("simon", "echo", "content");
    fm_version_free(version);
}

/* Not in the place of another user's, nor of another function's of the same user. */
static void moved(void **state)
{
    (void)state;
    open_store();
    struct fm_version *mine = deploy_with("simon", "echo", "mine");
    struct fm_version *own = deploy_with("simon", "other", "own");
    struct fm_version *theirs = deploy_with("ada", "echo", "theirs");
    assert_int_equal(rename(cache_of(theirs), cache_of(mine)), 0);
    assert_cache("simon", "echo", NULL);
    assert_cache("ada", "echo", NULL);
    assert_int_equal(rename(cache_of(own), cache_of(mine)), 0);
    assert_cache("simon", "echo", NULL);
    fm_version_free(mine);
    fm_version_free(own);
    fm_version_free(theirs);
}

static int no_change(void *data, struct fm_version *version, struct fm_error *error)
{
    (void)data;
    (void)version;
    (void)error;
    return 0;
}

/* An edit hands it on, machine code that was made again ends it. */
static void later(void **state)
{
    (void)state;
    open_store();
    struct fm_version *first = deploy_with("simon", "echo", "content");
    struct fm_version *edited = NULL;
    uint64_t sequence;
    assert_int_equal(fm_functions_edit(fixture_store, "simon", "echo", no_change, NULL, &edited,
                                       &sequence, NULL),
                     0);
    assert_cache("simon", "echo", "content");
    fm_functions_drop(fixture_store, first);
    assert_false(exists(first->folder));
    assert_cache("simon", "echo", "content");

    char wasm[FM_FUNCTIONS_PATH_SIZE];
    char cwasm[FM_FUNCTIONS_PATH_SIZE];
    fm_functions_code_paths(fixture_store, edited, wasm, cwasm);
    put_file(cwasm, "code of module");
    assert_int_equal(fm_functions_code_renew(fixture_store, edited, cwasm, NULL), 0);
    assert_false(exists(cache_of(edited)));
    assert_cache("simon", "echo", NULL);
    fm_version_free(first);
    fm_version_free(edited);
}

static int open_and_close(void *data)
{
    bool *found = data;
    int fd = fm_functions_cache_open(fixture_store, "simon", "echo");
    *found = fd >= 0;
    if (fd >= 0)
        (void)close(fd);
    return *found ? 0 : FM_ERR_NOMEM;
}

/* Whatever fails while it is looked for, there is just none. */
static void failures_of_reading(void **state)
{
    (void)state;
    bool found = false;
    bool struck = true;
    open_store();
    fm_version_free(deploy_with("simon", "echo", "content"));
    for (long nth = 1; struck; nth++) {
        faults_arm(nth, EIO, false);
        (void)open_and_close(&found);
        struck = faults_disarm();
        assert_int_equal(found, !struck);
    }
    assert_true(torture(open_and_close, &found) > 1);
    for (long nth = 1; nth <= 2; nth++) {
        faults_arm_short(nth);
        (void)open_and_close(&found);
        assert_true(faults_disarm());
    }
    assert_cache("simon", "echo", "content");
}

/* Whatever fails while it gets its proof, the upload goes on without it. */
static void failures_of_sealing(void **state)
{
    (void)state;
    struct fm_version wanted = wanted_version("simon", "echo");
    unsigned without = 0;
    unsigned with = 0;
    bool struck = true;
    open_store();
    for (long nth = 1; struck; nth++) {
        struct fm_upload *upload = compiled_upload();
        struct fm_version *version = NULL;
        bool replaced;
        uint64_t sequence;
        put_file(fm_upload_cache_path(upload), "content");
        faults_arm(nth, ENOSPC, false);
        int failed = fm_upload_commit(upload, &wanted, &version, &replaced, &sequence, NULL);
        struck = faults_disarm();
        fm_upload_end(upload);
        if (failed)
            continue;
        bool there = exists(cache_of(version));
        without += there ? 0 : 1;
        with += there ? 1 : 0;
        int fd = fm_functions_cache_open(fixture_store, "simon", "echo");
        assert_int_equal(fd >= 0, there);
        if (fd >= 0)
            (void)close(fd);
        fm_version_free(version);
    }
    assert_true(without >= 3 && with >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(given_out_for_its_function),
        STORE_TEST(nothing_worth_a_proof),
        STORE_TEST(no_plain_file),
        STORE_TEST(changed),
        STORE_TEST(moved),
        STORE_TEST(later),
        STORE_TEST(failures_of_reading),
        STORE_TEST(failures_of_sealing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
