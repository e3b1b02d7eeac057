/* test_key.c - the secret of a data folder is made once, kept, and the server's alone. */
#include "store_fixture.h"

#include "store/key.h"

static int data_fd;
static int incoming_fd;

static int setup(void **state)
{
    (void)fixture_setup(state);
    assert_int_equal(mkdir(fixture_data, 0700), 0);
    assert_int_equal(mkdir(in_data("incoming"), 0700), 0);
    data_fd = open(fixture_data, O_RDONLY | O_DIRECTORY);
    incoming_fd = open(in_data("incoming"), O_RDONLY | O_DIRECTORY);
    return data_fd < 0 || incoming_fd < 0;
}

static int teardown(void **state)
{
    (void)close(incoming_fd);
    (void)close(data_fd);
    return fixture_teardown(state);
}

static int load(uint8_t key[FM_KEY_BYTES], struct fm_error *error)
{
    *error = (struct fm_error){0};
    return fm_key_load(data_fd, incoming_fd, fixture_data, key, error);
}

static void made_once(void **state)
{
    (void)state;
    struct fm_error error;
    uint8_t first[FM_KEY_BYTES] = {0};
    uint8_t second[FM_KEY_BYTES] = {0};
    faults_trace_begin();
    assert_int_equal(load(first, &error), 0);
    assert_string_equal(faults_trace_end(), "create RANDOM\n"
                                            "fsync RANDOM\n"
                                            "rename RANDOM key\n"
                                            "fsync data\n");
    struct stat status;
    assert_int_equal(stat(in_data("key"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(status.st_size, FM_KEY_BYTES);
    assert_int_equal(count_in("incoming"), 0);

    assert_int_equal(load(second, &error), 0);
    assert_memory_equal(first, second, FM_KEY_BYTES);

    assert_int_equal(unlink(in_data("key")), 0); /* another one is another secret */
    assert_int_equal(load(second, &error), 0);
    assert_memory_not_equal(first, second, FM_KEY_BYTES);
}

static void damaged(void **state)
{
    (void)state;
    struct fm_error error;
    uint8_t key[FM_KEY_BYTES] = {0};
    static const uint8_t bytes[FM_KEY_BYTES + 1] = {1, 2, 3};
    for (size_t size = FM_KEY_BYTES - 1; size <= FM_KEY_BYTES + 1; size++) {
        put_bytes(in_data("key"), bytes, size);
        int failed = load(key, &error);
        assert_int_equal(failed, size == FM_KEY_BYTES ? 0 : FM_ERR_IO);
        if (failed)
            assert_non_null(strstr(error.text, "damaged"));
        else
            assert_memory_equal(key, bytes, FM_KEY_BYTES);
    }
}

static void not_through_a_link(void **state)
{
    (void)state;
    struct fm_error error;
    uint8_t key[FM_KEY_BYTES];
    static const uint8_t bytes[FM_KEY_BYTES] = {1};
    put_bytes(in_data("elsewhere"), bytes, sizeof(bytes));
    assert_int_equal(symlink("elsewhere", in_data("key")), 0);
    assert_int_equal(load(key, &error), FM_ERR_IO);
}

static void rights(void **state)
{
    (void)state;
    struct fm_error error;
    uint8_t key[FM_KEY_BYTES];
    struct stat status;
    assert_int_equal(load(key, &error), 0);
    assert_int_equal(chmod(in_data("key"), 0644), 0);
    assert_int_equal(load(key, &error), 0);
    assert_int_equal(stat(in_data("key"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    if (geteuid() == 0) {
        assert_int_equal(chown(in_data("key"), 12345, (gid_t)-1), 0);
        assert_int_equal(load(key, &error), FM_ERR_FORBIDDEN);
        assert_non_null(strstr(error.text, "12345"));
    }
}

/* Whatever fails, the next start has a key that is whole. */
static void faults(void **state)
{
    (void)state;
    struct fm_error error;
    uint8_t key[FM_KEY_BYTES];
    for (int crash = 0; crash <= 1; crash++) {
        for (long nth = 1;; nth++) {
            (void)unlink(in_data("key"));
            faults_arm(nth, ENOSPC, crash);
            int failed = load(key, &error);
            bool struck = faults_disarm();
            if (!struck) {
                assert_int_equal(failed, 0);
                assert_true(nth > 5);
                break;
            }
            assert_int_equal(failed, FM_ERR_STORAGE_FULL);
            assert_int_equal(load(key, &error), 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_once, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged, setup, teardown),
        cmocka_unit_test_setup_teardown(not_through_a_link, setup, teardown),
        cmocka_unit_test_setup_teardown(rights, setup, teardown),
        cmocka_unit_test_setup_teardown(faults, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
