/* test_run_files.c - a folder of the machine as a guest's: every operation, and every way out of
 * the folder that there might be. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cmd/run_files.h"
#include "torture.h"

#define READ FM_OPEN_READ
#define WRITE FM_OPEN_WRITE
#define BOTH (FM_OPEN_READ | FM_OPEN_WRITE)
#define CREATE FM_OPEN_CREATE
#define FOLDER FM_OPEN_FOLDER
#define FOLLOW FM_OPEN_FOLLOW

/*  scratch/secret                a file that no guest may reach
 *  scratch/inside/               the guest's folder
 *      plain  "hello"
 *      sub/deep/bottom  "low"
 *      to_plain -> plain         to_sub -> sub           loop -> loop      dangling -> nothing
 *      out -> ../secret          absolute -> SCRATCH/secret                up -> ..
 *      round -> ../inside/plain  (leads out and back in)
 *      pipe                      a named pipe */
static char scratch[256];
static struct fm_file *top;

static const char *in_scratch(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
    return path;
}

static void put(const char *name, const char *text)
{
    FILE *file = fopen(in_scratch(name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static bool holds(const char *name, const char *text)
{
    char data[64] = {0};
    FILE *file = fopen(in_scratch(name), "r");
    if (!file)
        return false;
    size_t got = fread(data, 1, sizeof(data) - 1, file);
    (void)fclose(file);
    return got == strlen(text) && memcmp(data, text, got) == 0;
}

static bool exists(const char *name)
{
    struct stat stat;
    return lstat(in_scratch(name), &stat) == 0;
}

static int remove_scratch(void)
{
    char command[300];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", scratch);
    return system(command);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(scratch, sizeof(scratch), "/tmp/faasm-run-files-XXXXXX");
    assert_non_null(mkdtemp(scratch));
    assert_int_equal(mkdir(in_scratch("inside"), 0777), 0);
    assert_int_equal(mkdir(in_scratch("inside/sub"), 0777), 0);
    assert_int_equal(mkdir(in_scratch("inside/sub/deep"), 0777), 0);
    put("secret", "secret");
    put("inside/plain", "hello");
    put("inside/sub/deep/bottom", "low");
    static const char *const links[][2] = {
        {"plain", "to_plain"},       {"sub", "to_sub"},    {"loop", "loop"},
        {"nothing", "dangling"},     {"../secret", "out"}, {"..", "up"},
        {"../inside/plain", "round"}};
    char name[64];
    for (size_t i = 0; i < FM_ARRAY_LENGTH(links); i++) {
        (void)snprintf(name, sizeof(name), "inside/%s", links[i][1]);
        assert_int_equal(symlink(links[i][0], in_scratch(name)), 0);
    }
    assert_int_equal(symlink(in_scratch("secret"), in_scratch("inside/absolute")), 0);
    assert_int_equal(mkfifo(in_scratch("inside/pipe"), 0666), 0);

    struct fm_error error = {0};
    assert_int_equal(fm_run_files_open(in_scratch("inside"), &top, &error), 0);
    assert_int_equal(top->type, FM_FILE_FOLDER);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    top->ops->close(top);
    return remove_scratch();
}

static struct fm_file *opened(const char *path, unsigned how)
{
    struct fm_file *file = NULL;
    assert_int_equal(top->ops->open(top, path, how, &file), 0);
    assert_non_null(file);
    return file;
}

/* What opening ends with; what it gave is closed. */
static int open_result(const char *path, unsigned how)
{
    struct fm_file *file = NULL;
    int result = top->ops->open(top, path, how, &file);
    assert_true(result == 0 || !file);
    if (file)
        file->ops->close(file);
    return result;
}

static int64_t read_at(struct fm_file *file, uint64_t offset, char *text, size_t bytes)
{
    memset(text, 0, bytes);
    return file->ops->read(file, offset, (uint8_t *)text, bytes);
}

static int64_t write_at(struct fm_file *file, uint64_t offset, const char *text)
{
    return file->ops->write(file, offset, (const uint8_t *)text, strlen(text));
}

/* --- open ------------------------------------------------------------------------------------- */

static void the_folder_itself(void **state)
{
    (void)state;
    struct fm_file *folder = NULL;
    struct fm_error error = {0};
    assert_int_equal(fm_run_files_open(in_scratch("nothing"), &folder, &error), FM_ERR_NOT_FOUND);
    assert_non_null(strstr(error.text, "nothing"));
    assert_int_equal(fm_run_files_open(in_scratch("secret"), &folder, &error), FM_ERR_NOT_FOUND);
    assert_null(folder);

    /* What the user names may be a link, and may lead anywhere. */
    assert_int_equal(symlink("inside", in_scratch("link")), 0);
    assert_int_equal(fm_run_files_open(in_scratch("link"), &folder, &error), 0);
    folder->ops->close(folder);
}

static void opening(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        unsigned how;
        int result;
    } rows[] = {
        {"plain", READ, 0},
        {"plain", BOTH, 0},
        {"plain", 0, 0},
        {"./sub/../sub//deep/./bottom", READ, 0},
        {"sub", READ, 0},
        {"sub/", READ, 0},
        {"sub///", FOLDER, 0},
        {".", FOLDER, 0},
        {"sub", WRITE, -EISDIR},
        {"plain", FOLDER, -ENOTDIR},
        {"plain/", READ, -ENOTDIR},
        {"plain/x", READ, -ENOTDIR},
        {"nothing", READ, -ENOENT},
        {"nothing/x", CREATE, -ENOENT},
        {"", READ, -ENOENT},
        {"", CREATE, -ENOENT},
        {"new", READ | CREATE, 0},
        {"new", READ | CREATE, 0},
        {"new", CREATE | FM_OPEN_EXCLUSIVE, -EEXIST},
        {"dangling", CREATE | FM_OPEN_EXCLUSIVE, -EEXIST},
        {"dangling", CREATE | FM_OPEN_EXCLUSIVE | FOLLOW, -EEXIST},
        {"newer/", CREATE, -EISDIR},
        {"newer", CREATE | FOLDER, -EINVAL},
        {"sub", FM_OPEN_TRUNCATE, -EISDIR},
        {"sub", CREATE, -EISDIR},
        {"to_plain", READ, -ELOOP},
        {"to_plain", READ | FOLLOW, 0},
        {"to_sub", FOLDER, -ELOOP},
        {"to_sub", FOLDER | FOLLOW, 0},
        {"to_plain", FOLDER, -ELOOP},
        {"to_plain", FOLDER | FOLLOW, -ENOTDIR},
        {"to_sub/deep/bottom", READ, 0},
        {"loop", READ, -ELOOP},
        {"loop", READ | FOLLOW, -ELOOP},
        {"dangling", READ | FOLLOW, -ENOENT},
        {"dangling", FOLDER, -ELOOP},
        {"pipe", READ, -EPERM},
        {"pipe", WRITE, -EPERM},
        {"pipe", BOTH, -EPERM},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        int result = open_result(rows[i].path, rows[i].how);
        if (result != rows[i].result)
            fail_msg("%s, 0x%x: %d, not %d", rows[i].path, rows[i].how, result, rows[i].result);
    }
    assert_true(holds("inside/plain", "hello"));
    assert_true(holds("inside/new", ""));
    assert_false(exists("inside/newer"));

    /* Through a dangling link a file is made, where it leads inside. */
    assert_int_equal(open_result("dangling", WRITE | CREATE | FOLLOW), 0);
    assert_true(holds("inside/nothing", ""));

    struct fm_file *file = opened("plain", WRITE | FM_OPEN_TRUNCATE);
    assert_int_equal(file->type, FM_FILE_PLAIN);
    assert_true(holds("inside/plain", ""));
    file->ops->close(file);
    assert_int_equal(open_result("sub/deep/bottom", FM_OPEN_TRUNCATE), 0);
    assert_true(holds("inside/sub/deep/bottom", ""));
}

static void long_paths(void **state)
{
    (void)state;
    static char path[FM_FILE_PATH_BYTES_MAX + 2];
    memset(path, '/', sizeof(path) - 1);
    memcpy(path, ".", 1);
    memcpy(path + FM_FILE_PATH_BYTES_MAX - 5, "plain", 6);
    assert_int_equal(strlen(path), FM_FILE_PATH_BYTES_MAX);
    assert_int_equal(open_result(path, READ), 0);
    assert_int_equal(top->ops->unlink(top, path), 0);
    memcpy(path + FM_FILE_PATH_BYTES_MAX - 4, "plain", 6);
    assert_int_equal(strlen(path), FM_FILE_PATH_BYTES_MAX + 1);
    assert_int_equal(open_result(path, READ), -ENAMETOOLONG);
    assert_int_equal(top->ops->unlink(top, path), -ENAMETOOLONG);
    assert_int_equal(top->ops->make_folder(top, path), -ENAMETOOLONG);

    char name[FM_FILE_NAME_BYTES_MAX + 2];
    memset(name, 'n', sizeof(name) - 1);
    name[FM_FILE_NAME_BYTES_MAX + 1] = '\0';
    assert_int_equal(top->ops->make_folder(top, name), -ENAMETOOLONG);
    name[FM_FILE_NAME_BYTES_MAX] = '\0';
    assert_int_equal(top->ops->make_folder(top, name), 0);
}

/* --- no way out ------------------------------------------------------------------------------- */

/* Every operation with a path that leads out. */
static void refused_everywhere(const char *path)
{
    const struct fm_file_ops *ops = top->ops;
    struct fm_file_stat stat;
    struct fm_file_times times = {0, 0};
    int results[] = {
        open_result(path, READ | FOLLOW),
        open_result(path, WRITE | CREATE | FOLLOW),
        open_result(path, WRITE | FM_OPEN_TRUNCATE | FOLLOW),
        ops->stat_at(top, path, true, &stat),
        ops->set_times_at(top, path, true, &times),
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(results); i++) {
        if (results[i] != -EPERM)
            fail_msg("%s, operation %zu: %d", path, i, results[i]);
    }
}

/* The same for those that do not follow the path's end. */
static void refused_in(const char *path)
{
    const struct fm_file_ops *ops = top->ops;
    struct fm_file_stat stat;
    struct fm_file_times times = {0, 0};
    char data[16];
    int results[] = {
        open_result(path, READ),
        open_result(path, WRITE | CREATE),
        ops->stat_at(top, path, false, &stat),
        ops->set_times_at(top, path, false, &times),
        ops->make_folder(top, path),
        ops->remove_folder(top, path),
        ops->unlink(top, path),
        ops->link(top, path, top, "stolen"),
        ops->link(top, "plain", top, path),
        ops->rename(top, path, top, "stolen"),
        ops->rename(top, "plain", top, path),
        ops->make_link(top, "plain", path),
        (int)ops->read_link(top, path, data, sizeof(data)),
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(results); i++) {
        if (results[i] != -EPERM)
            fail_msg("%s, operation %zu: %d", path, i, results[i]);
    }
}

static void nothing_leads_out(void **state)
{
    (void)state;
    static const char *const out[] = {
        "../secret",
        "..",
        "../",
        "sub/../../secret",
        "sub/../..",
        "sub/deep/../../..",
        "/",
        "//",
        "/etc/passwd",
        "/..",
        "up/secret",
        "../new",
        "up/new",
        "to_sub/../../secret",
        "up/inside/plain",
        "up/..",
        "../inside",
        "../inside/plain",
        "up/.",
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(out); i++) {
        refused_everywhere(out[i]);
        refused_in(out[i]);
    }
    static const char *const links[] = {"out", "absolute", "up", "round"};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(links); i++)
        refused_everywhere(links[i]);

    assert_true(holds("secret", "secret"));
    assert_false(exists("new"));
    assert_false(exists("inside/stolen"));
    assert_true(holds("inside/plain", "hello"));
}

/* A slash after a link means what it leads to. */
static void slashes_do_not_lead_out(void **state)
{
    (void)state;
    const struct fm_file_ops *ops = top->ops;
    char data[16];
    assert_int_equal(open_result("up/", READ), -EPERM);
    assert_int_equal(ops->link(top, "up/", top, "stolen"), -EPERM);
    assert_int_equal(ops->link(top, "out/", top, "stolen"), -EPERM);
    assert_int_equal(ops->read_link(top, "up/", data, sizeof(data)), -EPERM);
    assert_int_equal(ops->link(top, "sub/", top, "stolen"), -EPERM);
    assert_int_equal(ops->link(top, "plain/", top, "stolen"), -ENOTDIR);
    assert_int_equal(ops->link(top, "nothing/", top, "stolen"), -ENOENT);
    assert_int_equal(ops->remove_folder(top, "up/"), -ENOTDIR);
    assert_int_equal(ops->unlink(top, "up/"), -ENOTDIR);
    assert_int_equal(ops->make_folder(top, "up/"), -EEXIST);
    assert_int_equal(ops->make_link(top, "x", "up/"), -EEXIST);
    assert_int_equal(ops->rename(top, "up/", top, "stolen"), -ENOTDIR);
    assert_int_equal(ops->rename(top, "sub", top, "up/"), -ENOTDIR);
    assert_true(exists("inside/up"));
}

static void links_that_are_made_do_not_lead_out(void **state)
{
    (void)state;
    const struct fm_file_ops *ops = top->ops;
    assert_int_equal(ops->make_link(top, "/etc/passwd", "absolute2"), -EPERM);
    assert_int_equal(ops->make_link(top, "/", "absolute2"), -EPERM);
    assert_false(exists("inside/absolute2"));
    /* One that is relative may be meant for elsewhere; it is not followed out of here. */
    assert_int_equal(ops->make_link(top, "../../../../../../etc/passwd", "sub/far"), 0);
    assert_int_equal(open_result("sub/far", READ | FOLLOW), -EPERM);
    assert_int_equal(ops->rename(top, "sub/far", top, "far"), 0);
    assert_int_equal(open_result("far", READ | FOLLOW), -EPERM);

    /* A link that is harmless where it is made, and is moved. */
    assert_int_equal(ops->make_link(top, "../plain", "sub/near"), 0);
    assert_int_equal(open_result("sub/near", READ | FOLLOW), 0);
    assert_int_equal(ops->rename(top, "sub/near", top, "near"), 0);
    assert_int_equal(open_result("near", READ | FOLLOW), -EPERM);
    /* Or reached from the folder in which it lies. */
    struct fm_file *sub = opened("sub", FOLDER), *file = NULL;
    assert_int_equal(ops->make_link(sub, "../plain", "near"), 0);
    assert_int_equal(ops->open(sub, "near", READ | FOLLOW, &file), -EPERM);
    assert_int_equal(ops->open(sub, "../plain", READ, &file), -EPERM);
    sub->ops->close(sub);
}

/* A folder that is open is moved up, so that more `..` seem to fit. */
static void moved_folders_do_not_lead_out(void **state)
{
    (void)state;
    const struct fm_file_ops *ops = top->ops;
    struct fm_file *deep = opened("sub/deep", FOLDER), *file = NULL;
    assert_int_equal(ops->rename(top, "sub/deep", top, "deep"), 0);
    assert_int_equal(ops->open(deep, "bottom", READ, &file), 0);
    file->ops->close(file);
    assert_int_equal(ops->open(deep, "../plain", READ, &file), -EPERM);
    assert_int_equal(ops->open(deep, "../../secret", READ, &file), -EPERM);
    assert_int_equal(ops->rename(deep, "bottom", deep, "../stolen"), -EPERM);

    /* Or out of the guest's folder altogether, by somebody who may. */
    assert_int_equal(rename(in_scratch("inside/deep"), in_scratch("deep")), 0);
    assert_int_equal(ops->open(deep, "../secret", READ, &file), -EPERM);
    assert_int_equal(ops->unlink(deep, "../secret"), -EPERM);
    deep->ops->close(deep);

    /* A folder in place of which there is a link now. */
    assert_int_equal(ops->rename(top, "sub", top, "was_sub"), 0);
    assert_int_equal(ops->make_link(top, "..", "sub"), 0);
    assert_int_equal(open_result("sub/secret", READ), -EPERM);
    assert_int_equal(ops->unlink(top, "sub/secret"), -EPERM);
    assert_true(holds("secret", "secret"));
}

static void magic_links_are_not_followed(void **state)
{
    (void)state;
    struct fm_file *proc = NULL, *file = NULL;
    struct fm_error error = {0};
    assert_int_equal(fm_run_files_open("/proc/self", &proc, &error), 0);
    assert_true(proc->ops->open(proc, "root/etc", FOLDER, &file) < 0);
    assert_true(proc->ops->open(proc, "cwd", FOLDER | FOLLOW, &file) < 0);
    assert_true(proc->ops->open(proc, "fd/0", READ | FOLLOW, &file) < 0);
    proc->ops->close(proc);
}

/* --- files ------------------------------------------------------------------------------------ */

static void reading_and_writing(void **state)
{
    (void)state;
    char text[16];
    struct fm_file *file = opened("data", BOTH | CREATE);
    assert_int_equal(read_at(file, 0, text, sizeof(text)), 0);
    assert_int_equal(write_at(file, 0, "0123456789"), 10);
    assert_int_equal(read_at(file, 3, text, 4), 4);
    assert_memory_equal(text, "3456", 4);
    assert_int_equal(read_at(file, 8, text, sizeof(text)), 2);
    assert_int_equal(read_at(file, 10, text, sizeof(text)), 0);
    assert_int_equal(read_at(file, 1000, text, sizeof(text)), 0);
    assert_int_equal(write_at(file, FM_FILE_APPEND, "abc"), 3);
    assert_int_equal(write_at(file, 1, "xy"), 2);
    assert_true(holds("inside/data", "0xy3456789abc"));
    assert_int_equal(write_at(file, 5, ""), 0);

    /* Appending does not remember where the end was. */
    put("inside/data", "short");
    assert_int_equal(write_at(file, FM_FILE_APPEND, "er"), 2);
    assert_true(holds("inside/data", "shorter"));
    assert_int_equal(write_at(file, 9, "!"), 1);
    assert_int_equal(read_at(file, 0, text, sizeof(text)), 10);
    assert_memory_equal(text, "shorter\0\0!", 10);

    assert_int_equal(read_at(file, (uint64_t)INT64_MAX + 1, text, 1), -EINVAL);
    assert_int_equal(write_at(file, UINT64_MAX - 1, "x"), -EINVAL);
    file->ops->close(file);

    file = opened("data", READ);
    assert_int_equal(write_at(file, 0, "x"), -EBADF);
    file->ops->close(file);
    file = opened("data", WRITE);
    assert_int_equal(read_at(file, 0, text, 1), -EBADF);
    file->ops->close(file);
    file = opened("sub", READ);
    assert_int_equal(read_at(file, 0, text, 1), -EISDIR);
    file->ops->close(file);
}

static void sizes(void **state)
{
    (void)state;
    struct fm_file_stat stat;
    struct fm_file *file = opened("plain", BOTH);
    assert_int_equal(file->ops->set_size(file, 2), 0);
    assert_true(holds("inside/plain", "he"));
    assert_int_equal(file->ops->set_size(file, 1000), 0);
    assert_int_equal(file->ops->allocate(file, 0, 500), 0);
    assert_int_equal(file->ops->stat(file, &stat), 0);
    assert_int_equal(stat.bytes, 1000);
    assert_int_equal(file->ops->allocate(file, 900, 200), 0);
    assert_int_equal(file->ops->stat(file, &stat), 0);
    assert_int_equal(stat.bytes, 1100);
    assert_int_equal(file->ops->set_size(file, (uint64_t)INT64_MAX + 1), -EFBIG);
    assert_int_equal(file->ops->allocate(file, INT64_MAX, 1), -EFBIG);
    assert_int_equal(file->ops->allocate(file, UINT64_MAX, UINT64_MAX), -EFBIG);
    assert_int_equal(file->ops->allocate(file, 0, 0), -EINVAL);
    assert_int_equal(file->ops->sync(file, false), 0);
    assert_int_equal(file->ops->sync(file, true), 0);
    file->ops->close(file);
    assert_int_equal(top->ops->sync(top, false), 0);
}

static void what_stat_tells(void **state)
{
    (void)state;
    struct stat host;
    struct fm_file_stat stat, again;
    assert_int_equal(lstat(in_scratch("inside/plain"), &host), 0);
    assert_int_equal(top->ops->stat_at(top, "plain", false, &stat), 0);
    assert_int_equal(stat.device, host.st_dev);
    assert_int_equal(stat.inode, host.st_ino);
    assert_int_equal(stat.type, FM_FILE_PLAIN);
    assert_int_equal(stat.links, 1);
    assert_int_equal(stat.bytes, 5);
    assert_int_equal(stat.modified_ns,
                     (uint64_t)host.st_mtim.tv_sec * FM_NS_PER_S + (uint64_t)host.st_mtim.tv_nsec);
    struct fm_file *file = opened("to_plain", FOLLOW);
    assert_int_equal(file->ops->stat(file, &again), 0);
    assert_memory_equal(&stat, &again, sizeof(stat));
    file->ops->close(file);

    static const struct {
        const char *path;
        bool follow;
        int result;
        enum fm_file_type type;
    } rows[] = {
        {"to_plain", true, 0, FM_FILE_PLAIN}, {"to_plain", false, 0, FM_FILE_LINK},
        {"to_sub", false, 0, FM_FILE_LINK},   {"to_sub/", false, 0, FM_FILE_FOLDER},
        {"out", false, 0, FM_FILE_LINK},      {"dangling", false, 0, FM_FILE_LINK},
        {"dangling", true, -ENOENT, 0},       {"loop", true, -ELOOP, 0},
        {"pipe", false, 0, FM_FILE_UNKNOWN},  {".", false, 0, FM_FILE_FOLDER},
        {"sub/..", true, 0, FM_FILE_FOLDER},  {"", true, -ENOENT, 0},
        {"plain/", false, -ENOTDIR, 0},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        assert_int_equal(top->ops->stat_at(top, rows[i].path, rows[i].follow, &stat),
                         rows[i].result);
        if (rows[i].result == 0)
            assert_int_equal(stat.type, rows[i].type);
    }
}

static void times_are_set(void **state)
{
    (void)state;
    struct fm_file_stat stat, before;
    struct fm_file *file = opened("plain", READ);
    assert_int_equal(file->ops->set_times(file, &(struct fm_file_times){1000000001, 2000000002}),
                     0);
    assert_int_equal(file->ops->stat(file, &stat), 0);
    assert_int_equal(stat.accessed_ns, 1000000001);
    assert_int_equal(stat.modified_ns, 2000000002);
    assert_int_equal(file->ops->set_times(file, &(struct fm_file_times){UINT64_MAX, 7}), 0);
    assert_int_equal(file->ops->stat(file, &stat), 0);
    assert_int_equal(stat.accessed_ns, 1000000001);
    assert_int_equal(stat.modified_ns, 7);
    file->ops->close(file);

    /* Of a link, and of what it leads to. */
    const struct fm_file_times times = {UINT64_MAX, 9};
    assert_int_equal(top->ops->set_times_at(top, "to_plain", false, &times), 0);
    assert_int_equal(top->ops->stat_at(top, "to_plain", false, &stat), 0);
    assert_int_equal(stat.modified_ns, 9);
    assert_int_equal(top->ops->stat_at(top, "plain", false, &stat), 0);
    assert_int_equal(stat.modified_ns, 7);
    assert_int_equal(top->ops->set_times_at(top, "to_plain", true, &times), 0);
    assert_int_equal(top->ops->stat_at(top, "plain", false, &stat), 0);
    assert_int_equal(stat.modified_ns, 9);
    assert_int_equal(top->ops->set_times_at(top, "out", false, &times), 0);
    assert_int_equal(top->ops->set_times_at(top, "nothing", false, &times), -ENOENT);

    assert_int_equal(top->ops->stat_at(top, "sub", false, &before), 0);
    assert_int_equal(
        top->ops->set_times_at(top, "sub", false, &(struct fm_file_times){UINT64_MAX, UINT64_MAX}),
        0);
    assert_int_equal(top->ops->stat_at(top, "sub", false, &stat), 0);
    assert_int_equal(stat.modified_ns, before.modified_ns);
}

/* --- names ------------------------------------------------------------------------------------ */

static void folders_are_made_and_removed(void **state)
{
    (void)state;
    const struct fm_file_ops *ops = top->ops;
    assert_int_equal(ops->make_folder(top, "a"), 0);
    assert_int_equal(ops->make_folder(top, "a/b/"), 0);
    assert_int_equal(ops->make_folder(top, "a/./b/../c"), 0);
    assert_int_equal(ops->make_folder(top, "a"), -EEXIST);
    assert_int_equal(ops->make_folder(top, "plain"), -EEXIST);
    assert_int_equal(ops->make_folder(top, "dangling"), -EEXIST);
    assert_int_equal(ops->make_folder(top, "."), -EEXIST);
    assert_int_equal(ops->make_folder(top, "a/.."), -EEXIST);
    assert_int_equal(ops->make_folder(top, ""), -ENOENT);
    assert_int_equal(ops->make_folder(top, "x/y"), -ENOENT);
    assert_int_equal(ops->make_folder(top, "plain/y"), -ENOTDIR);

    assert_int_equal(ops->remove_folder(top, "a"), -ENOTEMPTY);
    assert_int_equal(ops->remove_folder(top, "a/."), -EINVAL);
    assert_int_equal(ops->remove_folder(top, "a/b/.."), -ENOTEMPTY);
    assert_int_equal(ops->remove_folder(top, "a/b///"), 0);
    assert_int_equal(ops->remove_folder(top, "a/c"), 0);
    assert_int_equal(ops->remove_folder(top, "a"), 0);
    assert_int_equal(ops->remove_folder(top, "a"), -ENOENT);
    assert_int_equal(ops->remove_folder(top, ""), -ENOENT);
    assert_int_equal(ops->remove_folder(top, "."), -EINVAL);
    assert_int_equal(ops->remove_folder(top, "plain"), -ENOTDIR);
    assert_int_equal(ops->remove_folder(top, "plain/"), -ENOTDIR);
    assert_int_equal(ops->remove_folder(top, "to_sub"), -ENOTDIR);

    assert_int_equal(ops->unlink(top, "sub"), -EISDIR);
    assert_int_equal(ops->unlink(top, "sub/"), -EISDIR);
    assert_int_equal(ops->unlink(top, "."), -EISDIR);
    assert_int_equal(ops->unlink(top, "sub/.."), -EISDIR);
    assert_int_equal(ops->unlink(top, ""), -ENOENT);
    assert_int_equal(ops->unlink(top, "plain/"), -ENOTDIR);
    assert_int_equal(ops->unlink(top, "nothing"), -ENOENT);
    assert_int_equal(ops->unlink(top, "to_plain"), 0); /* and not what it leads to */
    assert_int_equal(ops->unlink(top, "out"), 0);
    assert_int_equal(ops->unlink(top, "absolute"), 0);
    assert_int_equal(ops->unlink(top, "pipe"), 0);
    assert_true(holds("secret", "secret"));
    assert_int_equal(ops->unlink(top, "plain"), 0);
    assert_false(exists("inside/plain"));
}

static void links(void **state)
{
    (void)state;
    const struct fm_file_ops *ops = top->ops;
    struct fm_file_stat stat, other;
    char data[16] = "unchanged";
    struct fm_file *sub = opened("sub", FOLDER);
    assert_int_equal(ops->link(top, "plain", sub, "hard"), 0);
    assert_int_equal(ops->stat_at(top, "plain", false, &stat), 0);
    assert_int_equal(ops->stat_at(sub, "hard", false, &other), 0);
    assert_int_equal(stat.inode, other.inode);
    assert_int_equal(stat.links, 2);
    assert_int_equal(ops->link(sub, "hard", top, "plain"), -EEXIST);
    assert_int_equal(ops->link(top, "plain", top, "plain"), -EEXIST);
    assert_int_equal(ops->link(top, "plain", top, "sub"), -EEXIST);
    assert_int_equal(ops->link(top, "plain", top, "dangling"), -EEXIST);
    assert_int_equal(ops->link(top, "plain", top, "new/"), -ENOENT);
    assert_int_equal(ops->link(top, "plain", top, "."), -EEXIST);
    assert_int_equal(ops->link(top, "sub", top, "new"), -EPERM);
    assert_int_equal(ops->link(top, ".", top, "new"), -EPERM);
    assert_int_equal(ops->link(top, "sub/..", top, "new"), -EPERM);
    assert_int_equal(ops->link(top, "", top, "new"), -ENOENT);
    assert_int_equal(ops->link(top, "plain", top, ""), -ENOENT);
    assert_int_equal(ops->link(top, "out", top, "new"), 0); /* of the link itself */
    assert_int_equal(ops->stat_at(top, "new", false, &stat), 0);
    assert_int_equal(stat.type, FM_FILE_LINK);
    sub->ops->close(sub);

    assert_int_equal(ops->read_link(top, "to_plain", data, sizeof(data)), 5);
    assert_memory_equal(data, "plainnged", 10); /* no NUL */
    assert_int_equal(ops->read_link(top, "to_plain", data, 3), 3);
    assert_int_equal(ops->read_link(top, "to_plain", data, 0), 0);
    assert_int_equal(ops->read_link(top, "out", data, sizeof(data)), 9);
    assert_int_equal(ops->read_link(top, "plain", data, sizeof(data)), -EINVAL);
    assert_int_equal(ops->read_link(top, "sub", data, sizeof(data)), -EINVAL);
    assert_int_equal(ops->read_link(top, "to_sub/", data, sizeof(data)), -EINVAL);
    assert_int_equal(ops->read_link(top, ".", data, sizeof(data)), -EINVAL);
    assert_int_equal(ops->read_link(top, "nothing", data, sizeof(data)), -ENOENT);
    assert_int_equal(ops->read_link(top, "", data, sizeof(data)), -ENOENT);

    assert_int_equal(ops->make_link(top, "deep/bottom", "sub/l"), 0);
    assert_int_equal(open_result("sub/l", READ | FOLLOW), 0);
    assert_int_equal(ops->make_link(top, "x", "sub/l"), -EEXIST);
    assert_int_equal(ops->make_link(top, "x", "sub"), -EEXIST);
    assert_int_equal(ops->make_link(top, "x", "sub/"), -EEXIST);
    assert_int_equal(ops->make_link(top, "x", "fresh/"), -ENOENT);
    assert_int_equal(ops->make_link(top, "x", ""), -ENOENT);
    assert_int_equal(ops->make_link(top, "", "fresh"), -ENOENT);
}

static void renaming(void **state)
{
    (void)state;
    const struct fm_file_ops *ops = top->ops;
    struct fm_file *sub = opened("sub", FOLDER);
    assert_int_equal(ops->rename(top, "plain", sub, "plain"), 0);
    assert_true(holds("inside/sub/plain", "hello"));
    assert_int_equal(ops->rename(sub, "plain", top, "nothing"), 0);
    assert_int_equal(ops->rename(top, "nothing", top, "sub/deep/bottom"), 0);
    assert_true(holds("inside/sub/deep/bottom", "hello"));
    assert_int_equal(ops->rename(top, "sub/deep/", top, "deeper/"), 0);
    assert_int_equal(ops->rename(top, "deeper", sub, "."), -EBUSY);
    assert_int_equal(ops->rename(top, ".", top, "x"), -EBUSY);
    assert_int_equal(ops->rename(top, "sub/..", top, "x"), -EBUSY);
    assert_int_equal(ops->rename(top, "sub", top, "sub/x"), -EINVAL);
    assert_int_equal(ops->rename(top, "sub", top, "deeper"), -ENOTEMPTY);
    assert_int_equal(ops->rename(top, "deeper/bottom", top, "sub"), -EISDIR);
    assert_int_equal(ops->rename(top, "sub", top, "deeper/bottom"), -ENOTDIR);
    assert_int_equal(ops->rename(top, "deeper/bottom", top, "x/"), -ENOTDIR);
    assert_int_equal(ops->rename(top, "nothing", top, "x"), -ENOENT);
    assert_int_equal(ops->rename(top, "", top, "x"), -ENOENT);
    assert_int_equal(ops->rename(top, "sub", top, ""), -ENOENT);
    assert_int_equal(ops->rename(top, "deeper", top, "sub"), 0); /* which is empty */
    assert_true(holds("inside/sub/bottom", "hello"));
    /* The link, not what it leads to. */
    assert_int_equal(ops->rename(top, "out", top, "to_plain"), 0);
    assert_true(holds("secret", "secret"));
    sub->ops->close(sub);

    /* Of two folders of the user's. */
    struct fm_file *outer = NULL;
    struct fm_error error = {0};
    assert_int_equal(fm_run_files_open(scratch, &outer, &error), 0);
    assert_int_equal(ops->rename(outer, "secret", top, "mine"), 0);
    assert_int_equal(ops->link(top, "mine", outer, "secret"), 0);
    outer->ops->close(outer);
}

/* --- listing ---------------------------------------------------------------------------------- */

#define NAMES 1500 /* several reads of a folder */

static void fill(const char *folder)
{
    char name[64];
    assert_int_equal(mkdir(in_scratch(folder), 0777), 0);
    for (unsigned i = 0; i < NAMES; i++) {
        (void)snprintf(name, sizeof(name), "%s/a-file-with-a-name-%u", folder, i);
        put(name, "");
    }
}

static void what_a_listing_tells(void **state)
{
    (void)state;
    struct fm_file_entry entry;
    struct fm_file_stat stat;
    unsigned met = 0;
    static const struct {
        const char *name;
        enum fm_file_type type;
    } wanted[] = {{".", FM_FILE_FOLDER},   {"..", FM_FILE_FOLDER}, {"plain", FM_FILE_PLAIN},
                  {"sub", FM_FILE_FOLDER}, {"out", FM_FILE_LINK},  {"pipe", FM_FILE_UNKNOWN}};
    uint64_t from = 0;
    unsigned count = 0;
    while (top->ops->list(top, from, &entry) == 1) {
        assert_int_equal(strlen(entry.name), entry.name_length);
        for (unsigned i = 0; i < FM_ARRAY_LENGTH(wanted); i++) {
            if (strcmp(entry.name, wanted[i].name) != 0)
                continue;
            met |= 1u << i;
            assert_int_equal(entry.type, wanted[i].type);
            if (i != 1) { /* it is outside */
                assert_int_equal(top->ops->stat_at(top, entry.name, false, &stat), 0);
                assert_int_equal(entry.inode, stat.inode);
            }
        }
        from = entry.next;
        count++;
    }
    assert_int_equal(met, (1u << FM_ARRAY_LENGTH(wanted)) - 1);
    assert_int_equal(count, 13);
    assert_int_equal(top->ops->list(top, from, &entry), 0);
    assert_int_equal(top->ops->list(top, 0, &entry), 1); /* from the beginning */
    assert_true(top->ops->list(top, (uint64_t)INT64_MAX + 1, &entry) < 0);

    struct fm_file *file = opened("plain", READ);
    assert_int_equal(file->ops->list(file, 0, &entry), -ENOTDIR);
    file->ops->close(file);
}

static unsigned number_of(const struct fm_file_entry *entry)
{
    unsigned number = NAMES;
    (void)sscanf(entry->name, "a-file-with-a-name-%u", &number);
    return number;
}

/* Goes back to each place once, and finds what came then. */
static void listings_are_resumed_anywhere(void **state)
{
    (void)state;
    static uint64_t places[NAMES + 3];
    static unsigned numbers[NAMES + 3];
    fill("inside/many");
    struct fm_file *many = opened("many", FOLDER);
    struct fm_file_entry entry;
    size_t count = 0;
    places[0] = 0;
    while (many->ops->list(many, places[count], &entry) == 1) {
        numbers[count++] = number_of(&entry);
        assert_true(count < FM_ARRAY_LENGTH(places));
        places[count] = entry.next;
    }
    assert_int_equal(count, NAMES + 2);
    for (size_t i = 0; i < count; i++) {
        size_t at = i * 997 % count; /* a prime: all of them, in disorder */
        assert_int_equal(many->ops->list(many, places[at], &entry), 1);
        assert_int_equal(number_of(&entry), numbers[at]);
        assert_int_equal(entry.next, places[at + 1]);
    }
    many->ops->close(many);
}

/* As `rm -r` does it, by a guest whose buffer holds a few names: it asks again for the one that did
 * not fit. */
static void listings_go_on_while_names_go(void **state)
{
    (void)state;
    static unsigned met[NAMES];
    memset(met, 0, sizeof(met));
    fill("inside/many");
    struct fm_file *many = opened("many", FOLDER);
    struct fm_file_entry entry;
    char name[300];
    uint64_t from = 0;
    for (unsigned turn = 1; many->ops->list(many, from, &entry) == 1; turn++) {
        if (turn % 7 == 0) /* did not fit */
            assert_int_equal(many->ops->list(many, from, &entry), 1);
        from = entry.next;
        unsigned number = number_of(&entry);
        if (number == NAMES)
            continue;
        met[number]++;
        (void)snprintf(name, sizeof(name), "%s", entry.name);
        if (number % 2 == 0)
            assert_int_equal(many->ops->unlink(many, name), 0);
        if (turn % 5 == 0) {
            (void)snprintf(name, sizeof(name), "new-%u", number);
            assert_int_equal(many->ops->make_folder(many, name), 0);
        }
    }
    for (unsigned i = 0; i < NAMES; i++)
        assert_int_equal(met[i], 1);

    unsigned left = 0;
    for (from = 0; many->ops->list(many, from, &entry) == 1; from = entry.next)
        left += number_of(&entry) < NAMES;
    assert_int_equal(left, NAMES / 2);
    many->ops->close(many);
}

/* --- no memory -------------------------------------------------------------------------------- */

static int everything(void *data)
{
    (void)data;
    struct fm_file *folder = NULL, *file = NULL;
    struct fm_file_entry entry;
    struct fm_error error = {0};
    int failed = fm_run_files_open(in_scratch("inside"), &folder, &error);
    if (failed)
        return failed;
    failed = folder->ops->open(folder, "plain", READ, &file);
    if (!failed) {
        file->ops->close(file);
        failed = folder->ops->list(folder, 0, &entry) == 1 ? 0 : -ENOMEM;
    }
    folder->ops->close(folder);
    return failed;
}

static void without_memory(void **state)
{
    (void)state;
    assert_true(torture(everything, NULL) > 3);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(the_folder_itself),
        TEST(opening),
        TEST(long_paths),
        TEST(nothing_leads_out),
        TEST(slashes_do_not_lead_out),
        TEST(links_that_are_made_do_not_lead_out),
        TEST(moved_folders_do_not_lead_out),
        TEST(magic_links_are_not_followed),
        TEST(reading_and_writing),
        TEST(sizes),
        TEST(what_stat_tells),
        TEST(times_are_set),
        TEST(folders_are_made_and_removed),
        TEST(links),
        TEST(renaming),
        TEST(what_a_listing_tells),
        TEST(listings_are_resumed_anywhere),
        TEST(listings_go_on_while_names_go),
        TEST(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
