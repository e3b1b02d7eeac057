/* test_upload.c - from bytes to a version: what is kept, in which order it reaches the disk, and
 * what a commit refuses. */
#include "store_fixture.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/id.h"
#include "store/private.h"

static void everything_is_kept(void **state)
{
    (void)state;
    open_store();
    uint64_t before_ns = fm_clock_real_ns();
    struct deployed deployed = deploy("simon", "echo", "abc");
    uint64_t after_ns = fm_clock_real_ns();
    const struct fm_version *version = deployed.version;
    assert_false(deployed.replaced);
    assert_int_equal(deployed.sequence, 1);
    assert_string_equal(version->user, "simon");
    assert_string_equal(version->function, "echo");
    assert_string_equal(version->sha256, /* of "abc", FIPS 180-4 */
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(version->size, 3);
    assert_true(version->created_ns + FM_NS_PER_US > before_ns && version->created_ns <= after_ns);
    assert_string_equal(version->folder, in_data("functions/simon/echo/%s", version->id));
    assert_whole(version, "abc");
    assert_int_equal(count_in("incoming"), 0);

    struct seen seen;
    open_store();
    see(&seen);
    assert_int_equal(seen.count, 1);
    const struct fm_version *again = seen.versions[0];
    assert_string_equal(again->id, version->id);
    assert_string_equal(again->folder, version->folder);
    assert_int_equal(again->created_ns, version->created_ns);
    assert_string_equal(again->sha256, version->sha256);
    assert_int_equal(again->facts.abi, FM_ABI_FAASM);
    assert_int_equal(again->facts.memory_pages_min, 2);
    assert_int_equal(again->facts.imports_count, 2);
    assert_string_equal(again->facts.imports[1], "faasm.output_write");
    assert_int_equal(again->env_count, 2);
    assert_string_equal(again->env[1], "B=two=2");
    assert_int_equal(again->args_count, 2);
    assert_string_equal(again->args[1], "");
    assert_memory_equal(&again->limits, &version->limits, sizeof(again->limits));
    seen_done(&seen);
    fm_version_free(deployed.version);
}

static void the_newest_is_current(void **state)
{
    (void)state;
    char last[37] = "";
    open_store();
    for (int i = 0; i < 20; i++) { /* faster than the clock's milliseconds */
        char wasm[32];
        (void)snprintf(wasm, sizeof(wasm), "module %d", i);
        struct deployed deployed = deploy("simon", "echo", wasm);
        assert_int_equal(deployed.replaced, i > 0);
        assert_int_equal(deployed.sequence, i + 1);
        assert_true(strcmp(deployed.version->id, last) > 0);
        (void)strcpy(last, deployed.version->id);
        fm_version_free(deployed.version);
    }
    struct seen seen;
    open_store();
    see(&seen);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.versions[0]->id, last);
    assert_whole(seen.versions[0], "module 19");
    seen_done(&seen);
}

/* The clock was a year ahead when the last version was made. */
static void a_clock_that_went_back(void **state)
{
    (void)state;
    char future[37];
    struct fm_id id = {.high = (fm_clock_real_ns() / FM_NS_PER_MS + UINT64_C(31536000000)) << 16 |
                               7 << 12 | 0xfff,
                       .low = UINT64_MAX >> 2 | UINT64_C(2) << 62};
    fm_id_format(id, future);
    open_store();
    assert_int_equal(mkdir(in_data("functions/simon"), 0700), 0);
    assert_int_equal(mkdir(in_data("functions/simon/echo"), 0700), 0);
    assert_int_equal(mkdir(in_data("functions/simon/echo/%s", future), 0700), 0);
    struct deployed deployed = deploy("simon", "echo", "module");
    assert_true(strcmp(deployed.version->id, future) > 0);
    fm_version_free(deployed.version);
}

static void order_on_the_disk(void **state)
{
    (void)state;
    char id[37];
    open_store();
    faults_trace_begin();
    deploy_id("simon", "echo", "first", id);
    assert_string_equal(faults_trace_end(), "mkdir RANDOM\n"
                                            "create function.wasm\n"
                                            "fsync function.wasm\n"
                                            "fsync function.cwasm\n"
                                            "mkdir simon\n"
                                            "mkdir echo\n"
                                            "create meta.json\n"
                                            "fsync meta.json\n"
                                            "fsync RANDOM\n"    /* the version's folder */
                                            "fsync simon\n"     /* holds echo */
                                            "fsync functions\n" /* holds simon */
                                            "rename RANDOM VERSION\n"
                                            "fsync echo\n"
                                            "fsync incoming\n");
    faults_trace_begin();
    deploy_id("simon", "echo", "second", id);
    assert_string_equal(faults_trace_end(), "mkdir RANDOM\n"
                                            "create function.wasm\n"
                                            "fsync function.wasm\n"
                                            "fsync function.cwasm\n"
                                            "create meta.json\n"
                                            "fsync meta.json\n"
                                            "fsync RANDOM\n"
                                            "rename RANDOM VERSION\n"
                                            "fsync echo\n"
                                            "fsync incoming\n");
}

static void in_pieces(void **state)
{
    (void)state;
    struct fm_upload *upload = NULL;
    struct deployed deployed = {0};
    struct fm_version wanted = wanted_version("simon", "echo");
    open_store();
    assert_int_equal(fm_upload_begin(fixture_store, &upload, NULL), 0);
    assert_int_equal(fm_upload_bytes(upload), 0);
    assert_int_equal(fm_upload_write(upload, (const uint8_t *)"ab", 2, NULL), 0);
    assert_int_equal(fm_upload_write(upload, (const uint8_t *)"", 0, NULL), 0);
    faults_arm_short(1);
    assert_int_equal(fm_upload_write(upload, (const uint8_t *)"cdefg", 5, NULL), 0);
    assert_true(faults_disarm());
    assert_int_equal(fm_upload_bytes(upload), 7);
    assert_int_equal(fm_upload_written(upload, NULL), 0);
    assert_int_equal(fm_upload_written(upload, NULL), 0); /* once more does not matter */
    assert_file(fm_upload_wasm_path(upload), "abcdefg");
    put_file(fm_upload_cwasm_path(upload), "code of abcdefg");
    assert_int_equal(fm_upload_commit(upload, &wanted, &deployed.version, &deployed.replaced,
                                      &deployed.sequence, NULL),
                     0);
    assert_null(fm_upload_end(upload));
    assert_string_equal(deployed.version->sha256, /* Python's hashlib */
                        "7d1a54127b222502f5b79b5fb0803061152a44f92b37e23c6527baf665d4da9a");
    assert_whole(deployed.version, "abcdefg");
    fm_version_free(deployed.version);
}

static void given_up(void **state)
{
    (void)state;
    struct fm_upload *upload = NULL;
    open_store();
    assert_null(fm_upload_end(NULL));
    assert_int_equal(fm_upload_begin(fixture_store, &upload, NULL), 0);
    assert_int_equal(count_in("incoming"), 1);
    assert_null(fm_upload_end(upload));
    assert_int_equal(count_in("incoming"), 0);

    assert_int_equal(fm_upload_begin(fixture_store, &upload, NULL), 0);
    assert_int_equal(fm_upload_write(upload, (const uint8_t *)"ab", 2, NULL), 0);
    assert_int_equal(fm_upload_written(upload, NULL), 0);
    put_file(fm_upload_cwasm_path(upload), "code");
    assert_null(fm_upload_end(upload));
    assert_int_equal(count_in("incoming"), 0);
    assert_int_equal(count_in("functions"), 0);
}

/* --- refusals --------------------------------------------------------------------------------- */

static int commit_of(const struct fm_version *wanted, struct fm_error *error)
{
    struct deployed deployed = {0};
    *error = (struct fm_error){0};
    int failed = try_deploy_wanted(wanted, "module", &deployed, error);
    assert_int_equal(error->code, failed);
    assert_int_equal(failed == 0, deployed.version != NULL);
    fm_version_free(deployed.version);
    assert_int_equal(count_in("incoming"), 0);
    return failed;
}

static void bad_wishes(void **state)
{
    (void)state;
    static const char *const twice[] = {"A=1", "A=2"};
    static const char *const latin[] = {"\xe4"};
    struct fm_error error;
    open_store();
    struct fm_version wanted = wanted_version("simon", "echo");
    wanted.env = twice;
    assert_int_equal(commit_of(&wanted, &error), FM_ERR_BAD_REQUEST);
    assert_string_equal(error.text, "env: 'A' is given twice");
    wanted = wanted_version("simon", "echo");
    wanted.args = latin;
    wanted.args_count = 1;
    assert_int_equal(commit_of(&wanted, &error), FM_ERR_BAD_REQUEST);
    wanted = wanted_version("simon", "echo");
    wanted.limits.wall_ms = 0;
    assert_int_equal(commit_of(&wanted, &error), FM_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.text, "limits.wall_ms"));
    assert_false(exists(in_data("functions/simon"))); /* no trace of it */
}

/* meta.json of the largest size that a start reads, and of one byte more. */
static void largest_meta(void **state)
{
    (void)state;
    struct fm_error error;
    struct stat status;
    char *arg = malloc(FM_STORE_META_BYTES_MAX + 1);
    assert_non_null(arg);
    memset(arg, 'a', FM_STORE_META_BYTES_MAX);
    arg[1000] = '\0';
    const char *const args[] = {arg, NULL};
    struct fm_version wanted = wanted_version("simon", "echo");
    wanted.args = args;
    wanted.args_count = 1;
    open_store();
    struct deployed deployed = {0};
    assert_int_equal(try_deploy_wanted(&wanted, "module", &deployed, &error), 0);
    assert_int_equal(
        stat(in_data("functions/simon/echo/%s/meta.json", deployed.version->id), &status), 0);
    fm_version_free(deployed.version);
    size_t rest = (size_t)status.st_size - 1000;
    for (size_t size = FM_STORE_META_BYTES_MAX - 1; size <= FM_STORE_META_BYTES_MAX + 1; size++) {
        memset(arg, 'a', FM_STORE_META_BYTES_MAX);
        arg[size - rest] = '\0';
        bool fits = size <= FM_STORE_META_BYTES_MAX;
        assert_int_equal(commit_of(&wanted, &error), fits ? 0 : FM_ERR_TOO_LARGE);
        struct seen seen;
        open_store();
        see(&seen);
        assert_int_equal(seen.count, 1);
        assert_int_equal(seen.bad_count, 0);
        assert_int_equal(strlen(seen.versions[0]->args[0]),
                         (fits ? size : FM_STORE_META_BYTES_MAX) - rest);
        seen_done(&seen);
    }
    free(arg);
}

static void no_machine_code(void **state)
{
    (void)state;
    static const char *const kinds[] = {"none", "link", "folder"};
    open_store();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(kinds); i++) {
        struct fm_upload *upload = NULL;
        struct deployed deployed = {0};
        struct fm_error error = {0};
        struct fm_version wanted = wanted_version("simon", "echo");
        assert_int_equal(fm_upload_begin(fixture_store, &upload, NULL), 0);
        assert_int_equal(fm_upload_written(upload, NULL), 0);
        if (i == 1)
            assert_int_equal(symlink("function.wasm", fm_upload_cwasm_path(upload)), 0);
        if (i == 2)
            assert_int_equal(mkdir(fm_upload_cwasm_path(upload), 0700), 0);
        int failed = fm_upload_commit(upload, &wanted, &deployed.version, &deployed.replaced,
                                      &deployed.sequence, &error);
        assert_int_equal(failed, i == 0 ? FM_ERR_INTERNAL : FM_ERR_IO);
        assert_null(deployed.version);
        fm_upload_end(upload);
        assert_int_equal(count_in("functions"), 0);
        assert_int_equal(count_in("incoming"), 0);
    }
}

/* Nobody's folder leads into another place. */
static void links_in_the_way(void **state)
{
    (void)state;
    struct fm_error error;
    char outside[128];
    struct fm_version wanted = wanted_version("simon", "echo");
    open_store();
    (void)snprintf(outside, sizeof(outside), "%s/outside", fixture_root);
    assert_int_equal(mkdir(outside, 0700), 0);
    assert_int_equal(symlink(outside, in_data("functions/simon")), 0);
    assert_int_equal(commit_of(&wanted, &error), FM_ERR_IO);
    assert_true(exists(in_data("functions/simon")));
    assert_int_equal(unlink(in_data("functions/simon")), 0);
    assert_int_equal(mkdir(in_data("functions/simon"), 0700), 0);
    assert_int_equal(symlink(outside, in_data("functions/simon/echo")), 0);
    assert_int_equal(commit_of(&wanted, &error), FM_ERR_IO);
    put_file(in_data("functions/eve"), "x");
    wanted = wanted_version("eve", "echo");
    assert_int_equal(commit_of(&wanted, &error), FM_ERR_IO);
    assert_int_equal(rmdir(outside), 0); /* still empty */
}

static void failed_once_failed_for_good(void **state)
{
    (void)state;
    struct fm_upload *upload = NULL;
    struct fm_error error = {0};
    struct deployed deployed = {0};
    struct fm_version wanted = wanted_version("simon", "echo");
    open_store();
    assert_int_equal(fm_upload_begin(fixture_store, &upload, NULL), 0);
    faults_arm(1, EDQUOT, false);
    assert_int_equal(fm_upload_write(upload, (const uint8_t *)"ab", 2, &error),
                     FM_ERR_STORAGE_FULL);
    assert_true(faults_disarm());
    assert_int_equal(fm_upload_bytes(upload), 0);
    assert_int_equal(fm_upload_write(upload, (const uint8_t *)"ab", 2, &error),
                     FM_ERR_STORAGE_FULL);
    assert_int_equal(fm_upload_written(upload, &error), FM_ERR_STORAGE_FULL);
    put_file(fm_upload_cwasm_path(upload), "code");
    assert_int_equal(fm_upload_commit(upload, &wanted, &deployed.version, &deployed.replaced,
                                      &deployed.sequence, &error),
                     FM_ERR_STORAGE_FULL);
    assert_non_null(strstr(error.text, "failed before"));
    fm_upload_end(upload);
    assert_int_equal(count_in("incoming"), 0);
}

/* --- together --------------------------------------------------------------------------------- */

#define THREADS 8
#define ROUNDS 10

struct worker {
    pthread_t thread;
    unsigned number;
    struct deployed deployed[ROUNDS];
};

static void *upload_all(void *data)
{
    struct worker *worker = data;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char wasm[64];
        char user[16];
        struct fm_error error = {0};
        (void)snprintf(wasm, sizeof(wasm), "module %u of %u", i, worker->number);
        (void)snprintf(user, sizeof(user), "user%u", i % 2); /* new folders at the same time too */
        if (try_deploy(user, "echo", wasm, &worker->deployed[i], &error) != 0)
            return worker;
        if (i > 1) /* the one before of this user: whoever replaced it, it is not current */
            fm_functions_drop(fixture_store, worker->deployed[i - 2].version);
    }
    return NULL;
}

static int compare_sequences(const void *a, const void *b)
{
    const struct deployed *x = a;
    const struct deployed *y = b;
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

static void many_at_once(void **state)
{
    (void)state;
    static struct worker workers[THREADS];
    static struct deployed all[THREADS * ROUNDS];
    open_store();
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.number = i};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, upload_all, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(workers[i].thread, &failed), 0);
        assert_null(failed);
        memcpy(&all[i * ROUNDS], workers[i].deployed, sizeof(workers[i].deployed));
    }
    qsort(all, FM_ARRAY_LENGTH(all), sizeof(all[0]), compare_sequences);
    const struct fm_version *last[2] = {NULL, NULL};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(all); i++) {
        unsigned user = all[i].version->user[4] == '1';
        assert_int_equal(all[i].sequence, i + 1); /* each once */
        assert_int_equal(all[i].replaced, last[user] != NULL);
        if (i > 0)
            assert_true(strcmp(all[i].version->id, all[i - 1].version->id) > 0);
        last[user] = all[i].version;
    }
    struct seen seen;
    see(&seen);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.bad_count, 0);
    for (unsigned user = 0; user < 2; user++)
        assert_string_equal(seen.versions[user]->id, last[user]->id);
    seen_done(&seen);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(all); i++)
        fm_version_free(all[i].version);
    assert_int_equal(count_in("incoming"), 0);
    assert_int_equal(count_in("trash"), 0);
}

static int deploy_second(void *data)
{
    struct deployed *deployed = data;
    struct fm_error error = {0};
    if (deployed->version) { /* some failures can be borne; each run begins with one version */
        int folder = open(in_data("functions/simon/echo"), O_RDONLY | O_DIRECTORY);
        assert_int_equal(fm_tree_remove(folder, deployed->version->id, NULL), 0);
        (void)close(folder);
    }
    fm_version_free(deployed->version);
    *deployed = (struct deployed){0};
    int failed = try_deploy("simon", "echo", "second", deployed, &error);
    assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    assert_int_equal(error.code, failed);
    assert_int_equal(failed == 0, deployed->version != NULL);
    return failed;
}

static void tortured(void **state)
{
    (void)state;
    struct deployed deployed = {0};
    open_store();
    char id[37];
    deploy_id("simon", "echo", "first", id);
    assert_true(torture(deploy_second, &deployed) > 100);
    assert_true(deployed.replaced);
    assert_whole(deployed.version, "second");
    fm_version_free(deployed.version);
    assert_int_equal(count_in("functions/simon/echo"), 2);
    assert_int_equal(count_in("incoming"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(everything_is_kept),
        STORE_TEST(the_newest_is_current),
        STORE_TEST(a_clock_that_went_back),
        STORE_TEST(order_on_the_disk),
        STORE_TEST(in_pieces),
        STORE_TEST(given_up),
        STORE_TEST(bad_wishes),
        STORE_TEST(largest_meta),
        STORE_TEST(no_machine_code),
        STORE_TEST(links_in_the_way),
        STORE_TEST(failed_once_failed_for_good),
        STORE_TEST(many_at_once),
        STORE_TEST(tortured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
