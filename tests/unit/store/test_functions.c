/* test_functions.c - the data folder at start: made, locked, cleaned, and read whatever it holds.
 */
#include "store_fixture.h"

#include <inttypes.h>
#include <limits.h>

/* --- open ------------------------------------------------------------------------------------- */

static unsigned mode_of(const char *path)
{
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    return status.st_mode & 0777;
}

static int try_open(const char *data, struct fm_error *error)
{
    *error = (struct fm_error){0};
    struct fm_functions *store = NULL;
    int failed = fm_functions_open(data, BUILD, &store, error);
    assert_int_equal(error->code, failed);
    assert_int_equal(failed != 0, store == NULL);
    fm_functions_close(store);
    return failed;
}

static void makes_what_is_missing(void **state)
{
    (void)state;
    open_store();
    assert_int_equal(mode_of(fixture_data), 0700);
    assert_int_equal(mode_of(in_data("functions")), 0700);
    assert_int_equal(mode_of(in_data("incoming")), 0700);
    assert_int_equal(mode_of(in_data("trash")), 0700);
    assert_int_equal(mode_of(in_data("key")), 0600);
    assert_null(fm_functions_close(NULL));
}

static void takes_rights_from_others(void **state)
{
    (void)state;
    open_store();
    fixture_store = fm_functions_close(fixture_store);
    assert_int_equal(chmod(in_data("functions"), 0777), 0);
    open_store();
    assert_int_equal(mode_of(in_data("functions")), 0700);
    fixture_store = fm_functions_close(fixture_store);
    if (geteuid() == 0) {
        struct fm_error error;
        assert_int_equal(chown(in_data("functions"), 12345, (gid_t)-1), 0);
        assert_int_equal(try_open(fixture_data, &error), FM_ERR_FORBIDDEN);
        assert_non_null(strstr(error.text, in_data("functions")));
    }
}

static void one_server_at_a_time(void **state)
{
    (void)state;
    struct fm_error error;
    open_store();
    assert_int_equal(try_open(fixture_data, &error), FM_ERR_CONFLICT);
    assert_non_null(strstr(error.text, fixture_data));
    fixture_store = fm_functions_close(fixture_store);
    assert_int_equal(try_open(fixture_data, &error), 0);
}

static void bad_folders(void **state)
{
    (void)state;
    struct fm_error error;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/absent/data", fixture_root);
    assert_int_equal(try_open(path, &error), FM_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, path));
    (void)snprintf(path, sizeof(path), "%s/file", fixture_root);
    put_file(path, "x");
    assert_int_not_equal(try_open(path, &error), 0);
    assert_non_null(strstr(error.text, path));

    assert_int_equal(mkdir(fixture_data, 0700), 0);
    put_file(in_data("incoming"), "not a folder");
    assert_int_equal(try_open(fixture_data, &error), FM_ERR_IO);
    assert_non_null(strstr(error.text, "incoming"));
    assert_non_null(strstr(error.text, fixture_data));
    assert_int_equal(unlink(in_data("incoming")), 0);
    assert_int_equal(symlink(fixture_root, in_data("incoming")), 0); /* would be emptied! */
    assert_int_equal(try_open(fixture_data, &error), FM_ERR_IO);
    assert_true(exists(path));
    assert_int_equal(unlink(in_data("incoming")), 0);
    assert_int_equal(try_open(fixture_data, &error), 0);
}

/* The longest path that leaves room for the names below it, and one more. */
static void long_paths(void **state)
{
    (void)state;
    struct fm_error error;
    char start[PATH_MAX];
    assert_non_null(getcwd(start, sizeof(start)));
    size_t room = sizeof("/functions///function.cwasm") + 64 + 64 + 37;
    size_t longest = FM_FUNCTIONS_PATH_SIZE - room;
    for (size_t wanted = longest - 1; wanted <= longest + 1; wanted++) {
        assert_int_equal(chdir(fixture_root), 0);
        size_t length = strlen(fixture_root);
        while (length < wanted) { /* folders of up to 200 letters, in one another */
            char name[256];
            size_t left = wanted - length - 1;
            size_t letters = left > 220 ? 200 : left;
            memset(name, 'd', letters);
            name[letters] = '\0';
            assert_true(mkdir(name, 0700) == 0 || errno == EEXIST);
            assert_int_equal(chdir(name), 0);
            length += 1 + letters;
        }
        int failed = try_open(".", &error);
        assert_int_equal(failed, wanted <= longest ? 0 : FM_ERR_BAD_REQUEST);
        if (failed)
            assert_non_null(strstr(error.text, "too long"));
    }
    assert_int_equal(chdir(start), 0);
    char command[128]; /* deeper than our own deletion goes */
    (void)snprintf(command, sizeof(command), "rm -rf '%s'/ddd*", fixture_root);
    assert_int_equal(system(command), 0);
}

static void paths_are_absolute(void **state)
{
    (void)state;
    struct fm_error error = {0};
    char start[PATH_MAX];
    char link[128];
    struct deployed deployed;
    assert_non_null(getcwd(start, sizeof(start)));
    assert_int_equal(mkdir(fixture_data, 0700), 0);
    (void)snprintf(link, sizeof(link), "%s/link", fixture_root);
    assert_int_equal(symlink("data", link), 0);
    assert_int_equal(chdir(fixture_root), 0);
    assert_int_equal(fm_functions_open("./link/", BUILD, &fixture_store, &error), 0);
    assert_int_equal(chdir("/"), 0);
    deployed = deploy("simon", "echo", "module");
    assert_string_equal(deployed.version->folder,
                        in_data("functions/simon/echo/%s", deployed.version->id));
    assert_whole(deployed.version, "module");
    fm_version_free(deployed.version);
    assert_int_equal(chdir(start), 0);
}

static void empties_incoming_and_trash(void **state)
{
    (void)state;
    open_store();
    char id[37];
    deploy_id("simon", "echo", "module", id);
    fixture_store = fm_functions_close(fixture_store);
    static const char *const folders[] = {"incoming", "trash"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(folders); i++) {
        assert_int_equal(mkdir(in_data("%s/abc", folders[i]), 0700), 0);
        assert_int_equal(mkdir(in_data("%s/abc/def", folders[i]), 0700), 0);
        put_file(in_data("%s/abc/def/function.wasm", folders[i]), "x");
        put_file(in_data("%s/file", folders[i]), "x");
        assert_int_equal(symlink("../functions", in_data("%s/link", folders[i])), 0);
    }
    open_store();
    assert_int_equal(count_in("incoming"), 0);
    assert_int_equal(count_in("trash"), 0);
    assert_true(exists(in_data("functions/simon/echo/%s/function.wasm", id)));
}

static int open_and_close(void *data)
{
    (void)data;
    struct fm_error error;
    int failed = try_open(fixture_data, &error);
    assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    return failed;
}

static void open_tortured(void **state)
{
    (void)state;
    assert_true(torture(open_and_close, NULL) > 3);
}

/* A start that fails leaves nothing behind that stops the next one, and no other secret. */
static void open_with_faults(void **state)
{
    (void)state;
    open_store();
    char id[37];
    struct seen seen;
    deploy_id("simon", "echo", "module", id);
    fixture_store = fm_functions_close(fixture_store);
    put_file(in_data("incoming/left"), "x");
    for (int crash = 0; crash <= 1; crash++) {
        for (long nth = 1;; nth++) {
            struct fm_error error;
            assert_true(nth < 200);
            faults_arm(nth, EIO, crash);
            int failed = try_open(fixture_data, &error);
            bool struck = faults_disarm();
            assert_true(failed == 0 || (struck && failed == FM_ERR_IO));
            open_store();
            see(&seen);
            assert_int_equal(seen.count, 1);
            assert_int_equal(seen.bad_count, 0);
            assert_whole(seen.versions[0], "module");
            seen_done(&seen);
            fixture_store = fm_functions_close(fixture_store);
            if (!struck)
                break;
        }
    }
}

/* --- each ------------------------------------------------------------------------------------- */

static void in_order(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"zoe", "a"},  {"anna", "z"}, {"Bob", "x"},
                                           {"anna", "b"}, {"bob", "x"},  {"anna", "Z"}};
    static const char *const wanted[][2] = {{"Bob", "x"},  {"anna", "Z"}, {"anna", "b"},
                                            {"anna", "z"}, {"bob", "x"},  {"zoe", "a"}};
    open_store();
    for (size_t i = 0; i < FM_ARRAY_LENGTH(names); i++) {
        char id[37];
        deploy_id(names[i][0], names[i][1], names[i][0], id);
    }
    for (int start = 0; start < 2; start++) {
        struct seen seen;
        see(&seen);
        assert_int_equal(seen.count, FM_ARRAY_LENGTH(wanted));
        assert_int_equal(seen.bad_count, 0);
        for (size_t i = 0; i < seen.count; i++) {
            assert_string_equal(seen.versions[i]->user, wanted[i][0]);
            assert_string_equal(seen.versions[i]->function, wanted[i][1]);
            assert_whole(seen.versions[i], wanted[i][0]);
        }
        seen_done(&seen);
        open_store();
    }
}

static void nothing_there(void **state)
{
    (void)state;
    struct seen seen;
    open_store();
    see(&seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(seen.bad_count, 0);
}

static void ignores_what_is_not_ours(void **state)
{
    (void)state;
    char id[37];
    open_store();
    deploy_id("simon", "echo", "module", id);
    put_file(in_data("functions/file"), "x");
    put_file(in_data("functions/.hidden"), "x");
    put_file(in_data("functions/simon/file"), "x");
    put_file(in_data("functions/simon/echo/notes.txt"), "x");
    put_file(in_data("functions/simon/echo/.removed"), "x");
    put_file(in_data("functions/simon/echo/ffffffff.removed"), "x");
    put_file(in_data("functions/simon/echo/ffffffff-ffff-7fff-bfff-ffffffffffff.removed"), "");
    assert_int_equal(mkdir(in_data("functions/lost+found"), 0700), 0);
    assert_int_equal(mkdir(in_data("functions/.git"), 0700), 0);
    assert_int_equal(mkdir(in_data("functions/simon/.echo"), 0700), 0);
    assert_int_equal(mkdir(in_data("functions/simon/echo/v2"), 0700), 0);
    assert_int_equal(symlink("simon", in_data("functions/linked")), 0);
    assert_int_equal(symlink("echo", in_data("functions/simon/linked")), 0);
    for (int start = 0; start < 2; start++) {
        struct seen seen;
        see(&seen);
        assert_int_equal(seen.count, 1);
        assert_int_equal(seen.bad_count, 0);
        assert_string_equal(seen.versions[0]->id, id);
        seen_done(&seen);
        open_store();
    }
    assert_true(exists(in_data("functions/simon/echo/notes.txt")));
    assert_true(exists(in_data("functions/simon/echo/v2")));
    assert_true(exists(in_data("functions/linked")));
}

/* Each way in which a version can be damaged; `file` is to be replaced by `text` (NULL: removed).
 */
static const struct damage {
    const char *name;
    const char *file;
    const char *text;
    const char *reason;
} damages[] = {
    {"no meta", "meta.json", NULL, "meta.json"},
    {"empty meta", "meta.json", "", "meta.json"},
    {"cut off meta", "meta.json", "{\"user\": \"simon\", ", "meta.json: line 1"},
    {"no object", "meta.json", "[]\n", "object"},
    {"field missing", "meta.json", "{\n  \"user\": \"simon\"\n}\n", "function: is missing"},
    {"no newline", "meta.json", "{\n  \"user\": \"simon\"\n}", "not in the form"},
    {"more behind it", "meta.json", "{\n  \"user\": \"simon\"\n}\n\n", "not in the form"},
    {"another form", "meta.json", "{\"user\": \"simon\"}\n", "not in the form"},
    {"field twice", "meta.json", "{\"user\": \"simon\", \"user\": \"simon\"}", "duplicate"},
    {"no module", "function.wasm", NULL, "function.wasm"},
    {"module too short", "function.wasm", "new modul", "function.wasm has 9 bytes instead of 10"},
    {"module too long", "function.wasm", "new module!", "function.wasm has 11 bytes instead of 10"},
};

static void damage(const char *id, const struct damage *how)
{
    const char *path = in_data("functions/simon/echo/%s/%s", id, how->file);
    assert_int_equal(unlink(path), 0);
    if (how->text)
        put_file(path, how->text);
}

static void an_older_one_takes_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(damages); i++) {
        char ids[3][37];
        struct seen seen;
        open_store();
        deploy_id("simon", "echo", "oldest", ids[0]);
        deploy_id("simon", "echo", "older", ids[1]);
        deploy_id("simon", "echo", "new module", ids[2]);
        damage(ids[2], &damages[i]);
        for (int start = 0; start < 2; start++) { /* it stays so, and the evidence too */
            open_store();
            see(&seen);
            assert_int_equal(seen.count, 1);
            assert_whole(seen.versions[0], "older");
            assert_int_equal(seen.bad_count, 1);
            assert_string_equal(seen.bad_folders[0], in_data("functions/simon/echo/%s", ids[2]));
            if (!strstr(seen.bad_reasons[0], damages[i].reason))
                fail_msg("%s: '%s'", damages[i].name, seen.bad_reasons[0]);
            seen_done(&seen);
        }
        /* A new upload replaces the one that is in use, and clears up. */
        struct deployed deployed = deploy("simon", "echo", "newest");
        assert_true(deployed.replaced);
        fm_version_free(deployed.version);
        open_store();
        see(&seen);
        assert_int_equal(seen.count, 1);
        assert_int_equal(seen.bad_count, 0);
        assert_whole(seen.versions[0], "newest");
        seen_done(&seen);
        assert_int_equal(count_in("functions/simon/echo"), 1);
        uint64_t sequence;
        assert_int_equal(fm_functions_remove(fixture_store, "simon", "echo", &sequence, NULL), 0);
        open_store();
        see(&seen);
        assert_int_equal(seen.count, 0);
    }
}

static void all_damaged(void **state)
{
    (void)state;
    char ids[2][37];
    struct seen seen;
    uint64_t sequence = 77;
    struct fm_error error = {0};
    open_store();
    deploy_id("simon", "echo", "older", ids[0]);
    deploy_id("simon", "echo", "new module", ids[1]);
    damage(ids[0], &damages[0]);
    damage(ids[1], &damages[9]);
    open_store();
    assert_int_equal(fm_functions_each(fixture_store, see_version, NULL, &seen, NULL), 0);
    see(&seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(seen.bad_count, 2);
    assert_int_equal(fm_functions_remove(fixture_store, "simon", "echo", &sequence, &error),
                     FM_ERR_NOT_FOUND);
    assert_int_equal(sequence, 77);
    struct deployed deployed = deploy("simon", "echo", "newest");
    assert_false(deployed.replaced);
    assert_true(strcmp(deployed.version->id, ids[1]) > 0);
    fm_version_free(deployed.version);
}

/* A folder that was copied by hand must not make one user's function another's. */
static void in_the_wrong_place(void **state)
{
    (void)state;
    char id[37];
    struct seen seen;
    open_store();
    deploy_id("simon", "echo", "module", id);
    assert_int_equal(mkdir(in_data("functions/eve"), 0700), 0);
    assert_int_equal(rename(in_data("functions/simon/echo"), in_data("functions/eve/echo")), 0);
    see(&seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(seen.bad_count, 1);
    assert_non_null(strstr(seen.bad_reasons[0], "simon/echo"));
}

static void links_are_not_versions(void **state)
{
    (void)state;
    static const char newer[] = "09932c07-209c-7000-8000-0123456789ab";
    char id[37];
    struct seen seen;
    open_store();
    deploy_id("simon", "echo", "module", id);
    assert_int_equal(symlink(id, in_data("functions/simon/echo/%s", newer)), 0);
    see(&seen);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.versions[0]->id, id);
    assert_int_equal(seen.bad_count, 1);
    seen_done(&seen);

    assert_int_equal(unlink(in_data("functions/simon/echo/%s", newer)), 0);
    const char *meta = in_data("functions/simon/echo/%s/meta.json", id);
    assert_int_equal(rename(meta, in_data("meta")), 0);
    assert_int_equal(symlink("../../../../meta", meta), 0);
    see(&seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(seen.bad_count, 1);
}

static void older_ones_go_at_the_next_start(void **state)
{
    (void)state;
    char ids[3][37];
    struct seen seen;
    open_store();
    see(&seen); /* the first walk: from now on versions may be in use */
    for (int i = 0; i < 3; i++)
        deploy_id("simon", "echo", "module", ids[i]);
    see(&seen);
    seen_done(&seen);
    assert_int_equal(count_in("functions/simon/echo"), 3);
    open_store();
    assert_int_equal(count_in("functions/simon/echo"), 3);
    see(&seen);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.versions[0]->id, ids[2]);
    seen_done(&seen);
    assert_int_equal(count_in("functions/simon/echo"), 1);
    assert_int_equal(count_in("trash"), 0);
}

static void empty_folders_go(void **state)
{
    (void)state;
    struct seen seen;
    open_store();
    assert_int_equal(mkdir(in_data("functions/simon"), 0700), 0);
    assert_int_equal(mkdir(in_data("functions/simon/echo"), 0700), 0);
    assert_int_equal(mkdir(in_data("functions/zoe"), 0700), 0);
    see(&seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(seen.bad_count, 0);
    assert_int_equal(count_in("functions"), 0);
}

static int stop_at_second(struct fm_version *version, void *data)
{
    int *count = data;
    fm_version_free(version);
    return ++*count == 2 ? FM_ERR_BUSY : 0;
}

static void stops_when_told(void **state)
{
    (void)state;
    int count = 0;
    char id[37];
    open_store();
    deploy_id("a", "f", "x", id);
    deploy_id("b", "f", "x", id);
    deploy_id("c", "f", "x", id);
    assert_int_equal(fm_functions_each(fixture_store, stop_at_second, NULL, &count, NULL),
                     FM_ERR_BUSY);
    assert_int_equal(count, 2);
}

static int walk(void *data)
{
    (void)data;
    struct seen seen = {.count = 0};
    struct fm_error error = {0};
    int failed = fm_functions_each(fixture_store, see_version, see_bad, &seen, &error);
    assert_true(failed == 0 || failed == FM_ERR_NOMEM);
    assert_int_equal(error.code, failed);
    /* jansson takes some failures for text that is not JSON. */
    for (size_t i = 0; i < seen.bad_count; i++)
        assert_ptr_equal(strstr(seen.bad_reasons[i], "meta.json: "), seen.bad_reasons[i]);
    if (!failed && seen.bad_count > 0)
        failed = FM_ERR_NOMEM;
    if (!failed)
        assert_int_equal(seen.count, 3);
    seen_done(&seen);
    return failed;
}

static void each_tortured(void **state)
{
    (void)state;
    char id[37];
    struct seen seen;
    open_store();
    see(&seen); /* the first walk clears up */
    deploy_id("a", "f", "older", id);
    deploy_id("a", "f", "x", id);
    deploy_id("a", "g", "x", id);
    deploy_id("b", "f", "x", id);
    assert_true(torture(walk, NULL) > 100);
    assert_int_equal(count_in("functions/a/f"), 2); /* the older one was never touched */
}

/* A disk error while one version is read is told about, and concerns no other function. */
static void each_with_faults(void **state)
{
    (void)state;
    char id[37];
    open_store();
    deploy_id("a", "f", "x", id);
    deploy_id("b", "f", "x", id);
    long bad = 0;
    for (long nth = 1;; nth++) {
        struct seen seen = {.count = 0};
        struct fm_error error = {0};
        faults_arm(nth, EIO, false);
        int failed = fm_functions_each(fixture_store, see_version, see_bad, &seen, &error);
        bool struck = faults_disarm();
        if (failed) {
            assert_int_equal(failed, FM_ERR_IO); /* functions/ itself cannot be read */
            assert_int_equal(nth, 1);
        } else {
            assert_int_equal(seen.count, seen.bad_count ? 1 : 2);
            bad += seen.bad_count != 0;
        }
        seen_done(&seen);
        if (!struck)
            break;
    }
    assert_true(bad >= 10);
    for (long nth = 2;; nth++) { /* but without descriptors there is no answer at all */
        struct seen seen = {.count = 0};
        struct fm_error error = {0};
        faults_arm(nth, EMFILE, false);
        int failed = fm_functions_each(fixture_store, see_version, see_bad, &seen, &error);
        bool struck = faults_disarm();
        assert_int_equal(failed, struck ? FM_ERR_BUSY : 0);
        assert_int_equal(seen.bad_count, 0);
        seen_done(&seen);
        if (!struck)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_TEST(makes_what_is_missing),
        STORE_TEST(takes_rights_from_others),
        STORE_TEST(one_server_at_a_time),
        STORE_TEST(bad_folders),
        STORE_TEST(long_paths),
        STORE_TEST(paths_are_absolute),
        STORE_TEST(empties_incoming_and_trash),
        STORE_TEST(open_tortured),
        STORE_TEST(open_with_faults),
        STORE_TEST(in_order),
        STORE_TEST(nothing_there),
        STORE_TEST(ignores_what_is_not_ours),
        STORE_TEST(an_older_one_takes_its_place),
        STORE_TEST(all_damaged),
        STORE_TEST(in_the_wrong_place),
        STORE_TEST(links_are_not_versions),
        STORE_TEST(older_ones_go_at_the_next_start),
        STORE_TEST(empty_folders_go),
        STORE_TEST(stops_when_told),
        STORE_TEST(each_tortured),
        STORE_TEST(each_with_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
