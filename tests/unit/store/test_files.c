/* test_files.c - the file operations: what they refuse, and what they leave behind. */
#include "store_fixture.h"

#include <sys/resource.h>

#include "store/files.h"

static int root_fd;

static int setup(void **state)
{
    (void)fixture_setup(state);
    root_fd = open(fixture_root, O_RDONLY | O_DIRECTORY);
    return root_fd < 0;
}

static int teardown(void **state)
{
    (void)close(root_fd);
    return fixture_teardown(state);
}

static const char *in_root(const char *name)
{
    static char paths[2][256];
    static unsigned next;
    char *path = paths[next++ % 2];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", fixture_root, name);
    return path;
}

static void errors(void **state)
{
    (void)state;
    static const struct {
        int errnum;
        int code;
        bool shortage;
    } rows[] = {
        {ENOSPC, FM_ERR_STORAGE_FULL, false},
        {EDQUOT, FM_ERR_STORAGE_FULL, false},
        {ENOMEM, FM_ERR_NOMEM, true},
        {EMFILE, FM_ERR_BUSY, true},
        {ENFILE, FM_ERR_BUSY, true},
        {ENOENT, FM_ERR_NOT_FOUND, false},
        {EIO, FM_ERR_IO, false},
        {EACCES, FM_ERR_IO, false},
        {EEXIST, FM_ERR_IO, false},
        {ENOTEMPTY, FM_ERR_IO, false},
        {EFBIG, FM_ERR_IO, false},
        {EROFS, FM_ERR_IO, false},
        {ENAMETOOLONG, FM_ERR_IO, false},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        struct fm_error error = {0};
        int code = fm_files_error(&error, rows[i].errnum, "write", "a/b");
        char wanted[256];
        (void)snprintf(wanted, sizeof(wanted), "cannot write 'a/b': %s", strerror(rows[i].errnum));
        assert_int_equal(code, rows[i].code);
        assert_int_equal(error.code, rows[i].code);
        assert_string_equal(error.text, wanted);
        assert_int_equal(fm_files_error(NULL, rows[i].errnum, "write", "a/b"), code);
        assert_int_equal(fm_files_shortage(code), rows[i].shortage);
    }
}

static int read_file(const char *name, size_t length_max, char text[64])
{
    struct fm_buffer buffer;
    struct fm_error error = {0};
    fm_buffer_init(&buffer, length_max);
    int failed = fm_files_read(root_fd, name, &buffer, &error);
    assert_int_equal(error.code, failed);
    if (!failed) {
        assert_true(buffer.length < 64);
        if (buffer.length > 0)
            memcpy(text, buffer.data, buffer.length);
        text[buffer.length] = '\0';
    }
    fm_buffer_done(&buffer);
    return failed;
}

static void reads_under_a_ceiling(void **state)
{
    (void)state;
    char text[64];
    put_file(in_root("nine"), "123456789");
    put_file(in_root("empty"), "");
    assert_int_equal(read_file("nine", 8, text), FM_ERR_TOO_LARGE);
    assert_int_equal(read_file("nine", 9, text), 0);
    assert_string_equal(text, "123456789");
    assert_int_equal(read_file("nine", 10, text), 0);
    assert_string_equal(text, "123456789");
    assert_int_equal(read_file("empty", 0, text), 0);
    assert_string_equal(text, "");
    assert_int_equal(read_file("absent", 9, text), FM_ERR_NOT_FOUND);

    for (long nth = 1;; nth++) { /* short reads are continued */
        faults_arm_short(nth);
        assert_int_equal(read_file("nine", 9, text), 0);
        assert_string_equal(text, "123456789");
        if (!faults_disarm())
            break;
        assert_true(nth < 10);
    }
}

/* Everything but a plain file is refused at once: a FIFO without a writer must not hold us. */
static void opens_plain_files_only(void **state)
{
    (void)state;
    put_file(in_root("plain"), "x");
    assert_int_equal(mkdir(in_root("folder"), 0700), 0);
    assert_int_equal(mkfifo(in_root("fifo"), 0600), 0);
    assert_int_equal(symlink("plain", in_root("link")), 0);
    static const char *const refused[] = {"folder", "fifo", "link"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(refused); i++) {
        struct fm_error error = {0};
        int fd = -2;
        uint64_t bytes = 77;
        assert_int_equal(fm_files_open(root_fd, refused[i], &bytes, &fd, &error), FM_ERR_IO);
        assert_non_null(strstr(error.text, refused[i]));
        assert_int_equal(fd, -2);
        assert_int_equal(bytes, 77);
    }
    int fd = -1;
    uint64_t bytes = 0;
    assert_int_equal(fm_files_open(root_fd, "plain", &bytes, &fd, NULL), 0);
    assert_int_equal(bytes, 1);
    fm_files_close(&fd);
    assert_int_equal(fd, -1);
}

static void opens_real_folders_only(void **state)
{
    (void)state;
    int fd = -1;
    put_file(in_root("plain"), "x");
    assert_int_equal(fm_files_folder_make(root_fd, "folder", NULL), 0);
    assert_int_equal(fm_files_folder_make(root_fd, "folder", NULL), 0); /* there already */
    struct stat status;
    assert_int_equal(stat(in_root("folder"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0700);
    assert_int_equal(symlink("folder", in_root("link")), 0);
    assert_int_equal(fm_files_folder_open(root_fd, "plain", &fd, NULL), FM_ERR_NOT_FOUND);
    assert_int_equal(fm_files_folder_open(root_fd, "link", &fd, NULL), FM_ERR_NOT_FOUND);
    assert_int_equal(fm_files_folder_open(root_fd, "absent", &fd, NULL), FM_ERR_NOT_FOUND);
    assert_int_equal(fd, -1);
    assert_int_equal(fm_files_folder_open(root_fd, "folder", &fd, NULL), 0);
    fm_files_close(&fd);
}

static void puts_whole_files(void **state)
{
    (void)state;
    struct fm_error error = {0};
    assert_int_equal(fm_files_put(root_fd, "new", "content", 7, &error), 0);
    assert_file(in_root("new"), "content");
    struct stat status;
    assert_int_equal(stat(in_root("new"), &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);

    /* Never over something that is there, be it a link to nowhere. */
    assert_int_equal(symlink("nowhere", in_root("link")), 0);
    assert_int_equal(fm_files_put(root_fd, "new", "other", 5, &error), FM_ERR_IO);
    assert_int_equal(fm_files_put(root_fd, "link", "other", 5, &error), FM_ERR_IO);
    assert_file(in_root("new"), "content");
    assert_false(exists(in_root("nowhere")));

    for (long nth = 1;; nth++) { /* nothing half-written stays */
        assert_true(nth < 10);
        faults_arm(nth, ENOSPC, false);
        int failed = fm_files_put(root_fd, "other", "content", 7, &error);
        if (!faults_disarm()) {
            assert_int_equal(failed, 0);
            break;
        }
        assert_int_equal(failed, FM_ERR_STORAGE_FULL);
        assert_false(exists(in_root("other")));
    }
    faults_arm_short(1); /* a short write is continued */
    assert_int_equal(fm_files_put(root_fd, "short", "content", 7, &error), 0);
    assert_true(faults_disarm());
    assert_file(in_root("short"), "content");
    faults_arm(2, EINTR, false); /* the write, after the open */
    assert_int_equal(fm_files_put(root_fd, "interrupted", "content", 7, &error), 0);
    assert_true(faults_disarm());
    assert_file(in_root("interrupted"), "content");
}

static void takes_rights_from_others(void **state)
{
    (void)state;
    struct fm_error error = {0};
    struct stat status;
    put_file(in_root("open"), "x");
    assert_int_equal(chmod(in_root("open"), 0666), 0);
    int fd = open(in_root("open"), O_RDONLY);
    assert_int_equal(fm_files_own(fd, "/data", "open", &error), 0);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    if (geteuid() == 0) { /* only root can give a file away */
        assert_int_equal(fchown(fd, 12345, (gid_t)-1), 0);
        assert_int_equal(fm_files_own(fd, "/data", "open", &error), FM_ERR_FORBIDDEN);
        assert_string_equal(error.text,
                            "'/data/open' belongs to user 12345, and this server runs as user 0");
    }
    (void)close(fd);
}

static void tells_shortage_of_descriptors(void **state)
{
    (void)state;
    char text[64];
    struct rlimit limit;
    put_file(in_root("plain"), "x");
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int failed = read_file("plain", 9, text);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(failed, FM_ERR_BUSY);
}

static void names(void **state)
{
    (void)state;
    char a[FM_FILES_RANDOM_SIZE];
    char b[FM_FILES_RANDOM_SIZE];
    char text[9];
    fm_files_random_name(a);
    fm_files_random_name(b);
    assert_int_equal(strspn(a, "0123456789abcdef"), 32);
    assert_int_equal(strlen(a), 32);
    assert_string_not_equal(a, b);
    fm_files_hex((const uint8_t *)"\x00\x9f\xa0\xff", 4, text);
    assert_string_equal(text, "009fa0ff");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),
        cmocka_unit_test_setup_teardown(reads_under_a_ceiling, setup, teardown),
        cmocka_unit_test_setup_teardown(opens_plain_files_only, setup, teardown),
        cmocka_unit_test_setup_teardown(opens_real_folders_only, setup, teardown),
        cmocka_unit_test_setup_teardown(puts_whole_files, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_rights_from_others, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_shortage_of_descriptors, setup, teardown),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
