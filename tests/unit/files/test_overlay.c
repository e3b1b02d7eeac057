/* test_overlay.c - the files of a call: what it writes, over a tree that it shares with others. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <errno.h>
#include <setjmp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/limits.h"
#include "files/content.h"
#include "files/file_system.h"
#include "files/overlay.h"
#include "files/tree.h"
#include "torture.h"

#define WRITE_NEW (FM_OPEN_READ | FM_OPEN_WRITE | FM_OPEN_CREATE)

static struct fm_overlay *fresh(struct fm_node *tree, uint64_t bytes_max)
{
    struct fm_overlay *overlay = NULL;
    const struct fm_overlay_config config = {.tree = tree, .bytes_max = bytes_max};
    assert_int_equal(fm_overlay_new(&config, &overlay), 0);
    return overlay;
}

static struct fm_file *open_at(struct fm_file *folder, const char *path, unsigned how)
{
    struct fm_file *file = NULL;
    int failed = folder->ops->open(folder, path, how, &file);
    if (failed)
        fail_msg("open of '%s' gives %d", path, failed);
    return file;
}

static int open_error(struct fm_file *folder, const char *path, unsigned how)
{
    struct fm_file *file = NULL;
    int failed = folder->ops->open(folder, path, how, &file);
    if (!failed)
        fail_msg("open of '%s' succeeds", path);
    return failed;
}

static void close_file(struct fm_file *file)
{
    file->ops->close(file);
}

static void put(struct fm_file *folder, const char *path, const char *text)
{
    struct fm_file *file = open_at(folder, path, WRITE_NEW | FM_OPEN_TRUNCATE);
    assert_int_equal(file->ops->write(file, 0, (const uint8_t *)text, strlen(text)), strlen(text));
    close_file(file);
}

static void assert_text(struct fm_file *folder, const char *path, const char *text)
{
    char got[256] = "";
    struct fm_file *file = open_at(folder, path, FM_OPEN_READ | FM_OPEN_FOLLOW);
    int64_t bytes = file->ops->read(file, 0, (uint8_t *)got, sizeof(got) - 1);
    assert_true(bytes >= 0);
    got[bytes] = '\0';
    assert_string_equal(got, text);
    close_file(file);
}

static struct fm_file_stat stat_of(struct fm_file *folder, const char *path)
{
    struct fm_file_stat stat;
    int failed = folder->ops->stat_at(folder, path, false, &stat);
    if (failed)
        fail_msg("stat of '%s' gives %d", path, failed);
    return stat;
}

static int stat_error(struct fm_file *folder, const char *path, bool follow)
{
    struct fm_file_stat stat;
    return folder->ops->stat_at(folder, path, follow, &stat);
}

#define OK(call) assert_int_equal(call, 0)
#define IS(call, error) assert_int_equal(call, -(error))

/* All names but the dots, in order, with a blank after each. */
static void assert_names(struct fm_file *folder, const char *names)
{
    char got[1024] = "";
    struct fm_file_entry entry;
    uint64_t from = 0;
    int more;
    while ((more = folder->ops->list(folder, from, &entry)) == 1) {
        if (from >= 2) {
            strncat(got, entry.name, entry.name_length);
            strcat(got, " ");
        } else {
            assert_string_equal(entry.name, from == 0 ? "." : "..");
            assert_int_equal(entry.type, FM_FILE_FOLDER);
        }
        from = entry.next;
    }
    assert_int_equal(more, 0);
    assert_string_equal(got, names);
}

/* --- contents --------------------------------------------------------------------------------- */

static void contents(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_MIB);
    struct fm_file *top = fm_overlay_root(overlay);
    put(top, "a", "hello");
    assert_text(top, "a", "hello");
    struct fm_file *file = open_at(top, "a", FM_OPEN_READ | FM_OPEN_WRITE);
    assert_int_equal(file->type, FM_FILE_PLAIN);
    assert_int_equal(file->ops->write(file, FM_FILE_APPEND, (const uint8_t *)" you", 4), 4);
    assert_int_equal(file->ops->write(file, 1, (const uint8_t *)"a", 1), 1);
    assert_text(top, "a", "hallo you");
    OK(file->ops->set_size(file, 3));
    OK(file->ops->set_size(file, 6)); /* what was cut off does not come back */
    char got[8] = "xxxxxxx";
    assert_int_equal(file->ops->read(file, 0, (uint8_t *)got, 8), 6);
    assert_memory_equal(got, "hal\0\0\0x", 8);
    assert_int_equal(file->ops->read(file, 6, (uint8_t *)got, 8), 0);
    assert_int_equal(file->ops->read(file, UINT64_MAX - 1, (uint8_t *)got, 8), 0);
    assert_int_equal(file->ops->write(file, 3, NULL, 0), 0);
    IS(file->ops->write(file, INT64_MAX, (const uint8_t *)"x", 1), EFBIG);
    IS(file->ops->set_size(file, (uint64_t)INT64_MAX + 1), EFBIG);
    OK(file->ops->sync(file, true));
    close_file(file);
    fm_overlay_free(overlay);
}

/* Holes are zeros and cost nothing but pointers; pieces that cross chunks come back as they were.
 */
static void sparse(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_MIB);
    struct fm_file *top = fm_overlay_root(overlay);
    struct fm_file *file = open_at(top, "a", WRITE_NEW);
    uint8_t block[10000];
    uint8_t got[sizeof(block)];
    for (size_t i = 0; i < sizeof(block); i++)
        block[i] = (uint8_t)(i * 7 + 1);
    assert_int_equal(file->ops->write(file, 100 * FM_MIB - 5000, block, sizeof(block)),
                     sizeof(block));
    assert_true(fm_overlay_bytes(overlay) < 600 * FM_KIB);
    assert_int_equal(file->ops->read(file, 100 * FM_MIB - 5000, got, sizeof(got)), sizeof(got));
    assert_memory_equal(got, block, sizeof(got));
    assert_int_equal(file->ops->read(file, 5 * FM_MIB + 1, got, sizeof(got)), sizeof(got));
    for (size_t i = 0; i < sizeof(got); i++)
        assert_int_equal(got[i], 0);
    assert_int_equal(file->ops->read(file, 100 * FM_MIB - 10000, got, sizeof(got)), sizeof(got));
    assert_memory_equal(got + 5000, block, 5000);
    assert_int_equal(got[4999], 0);
    IS(file->ops->write(file, 4 * FM_GIB, block, 1), ENOSPC); /* too many pointers */
    IS(file->ops->allocate(file, 0, 0), EINVAL);
    IS(file->ops->allocate(file, 200 * FM_MIB, FM_MIB), ENOSPC);
    OK(file->ops->allocate(file, 5, 10));
    OK(file->ops->allocate(file, 100 * FM_MIB, FM_KIB * 10));
    struct fm_file_stat stat;
    OK(file->ops->stat(file, &stat));
    assert_int_equal(stat.bytes, 100 * FM_MIB + FM_KIB * 10);
    close_file(file);
    fm_overlay_free(overlay);
}

/* One byte far out needs pointers up to it, all at once: how far out it can be has a bound. */
static void far_out(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_GIB);
    struct fm_file *top = fm_overlay_root(overlay);
    struct fm_file *file = open_at(top, "a", WRITE_NEW);
    const uint8_t byte = 'x';
    uint8_t got = 0;
    IS(file->ops->write(file, FM_OVERLAY_FILE_BYTES_MAX, &byte, 1), EFBIG);
    IS(file->ops->write(file, FM_OVERLAY_FILE_BYTES_MAX + FM_GIB, &byte, 1), EFBIG);
    assert_int_equal(file->ops->write(file, FM_OVERLAY_FILE_BYTES_MAX / 2, &byte, 1), 1);
    assert_int_equal(file->ops->write(file, FM_OVERLAY_FILE_BYTES_MAX - 1, &byte, 1), 1);
    assert_int_equal(file->ops->read(file, FM_OVERLAY_FILE_BYTES_MAX - 1, &got, 1), 1);
    assert_int_equal(got, 'x');
    assert_true(fm_overlay_bytes(overlay) < 33 * FM_MIB);
    OK(file->ops->set_size(file, 2 * FM_OVERLAY_FILE_BYTES_MAX)); /* a hole costs nothing */
    close_file(file);
    fm_overlay_free(overlay);
}

/* --- the limit -------------------------------------------------------------------------------- */

static void limit(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_MIB);
    struct fm_file *top = fm_overlay_root(overlay);
    struct fm_file *file = open_at(top, "a", WRITE_NEW);
    static const uint8_t chunk[4096];
    uint64_t offset = 0;
    while (file->ops->write(file, offset, chunk, sizeof(chunk)) > 0)
        offset += sizeof(chunk);
    assert_true(fm_overlay_bytes(overlay) <= FM_MIB);
    assert_true(fm_overlay_bytes(overlay) > FM_MIB - 2 * sizeof(chunk));
    struct fm_file_stat stat;
    OK(file->ops->stat(file, &stat));
    assert_int_equal(stat.bytes, offset); /* the write that failed has changed nothing */
    assert_int_equal(file->ops->write(file, offset - 9, chunk, 9),
                     9); /* what is there can change */
    IS(file->ops->write(file, offset - 9, chunk, 4096), ENOSPC);
    close_file(file);
    OK(top->ops->unlink(top, "a"));
    assert_int_equal(fm_overlay_bytes(overlay), 0); /* all of it is given back */
    fm_overlay_free(overlay);

    /* Exactly enough for one empty file, and one byte less. */
    overlay = fresh(NULL, FM_MIB);
    top = fm_overlay_root(overlay);
    put(top, "name", "");
    uint64_t needed = fm_overlay_bytes(overlay);
    fm_overlay_free(overlay);
    for (int64_t more = -1; more <= 1; more++) {
        overlay = fresh(NULL, needed + (uint64_t)more);
        top = fm_overlay_root(overlay);
        if (more < 0)
            IS(open_error(top, "name", WRITE_NEW), ENOSPC);
        else
            put(top, "name", "");
        assert_int_equal(fm_overlay_bytes(overlay), more < 0 ? 0 : needed);
        fm_overlay_free(overlay);
    }
}

static void depth(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_MIB);
    struct fm_file *top = fm_overlay_root(overlay);
    char path[2 * FM_FILE_DEPTH_MAX + 16] = "";
    for (int i = 0; i < FM_FILE_DEPTH_MAX; i++) {
        strcat(path, i == 0 ? "d" : "/d");
        OK(top->ops->make_folder(top, path));
    }
    put(top, "f", "");
    OK(top->ops->make_folder(top, "e"));
    strcat(path, "/d");
    IS(top->ops->make_folder(top, path), ENAMETOOLONG);
    IS(top->ops->rename(top, "e", top, path), ENAMETOOLONG);
    OK(top->ops->rename(top, "f", top, path)); /* a file may be there */
    fm_overlay_free(overlay);
}

static void many_files(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_GIB);
    struct fm_file *top = fm_overlay_root(overlay);
    char name[32];
    for (int i = 1; i < FM_OVERLAY_FILES_MAX; i++) { /* the top is one */
        (void)snprintf(name, sizeof(name), "%d", i);
        close_file(open_at(top, name, WRITE_NEW));
    }
    IS(open_error(top, "more", WRITE_NEW), ENOSPC);
    OK(top->ops->unlink(top, "77"));
    close_file(open_at(top, "more", WRITE_NEW));
    fm_overlay_free(overlay);
}

/* Further names of a file count as well: who goes on with a listing may have to walk them all. */
static void many_names(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_GIB);
    struct fm_file *top = fm_overlay_root(overlay);
    char name[32];
    put(top, "a", "");
    for (int i = 1; i < FM_OVERLAY_FILES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        OK(top->ops->link(top, "a", top, name));
    }
    IS(top->ops->link(top, "a", top, "more"), ENOSPC);
    IS(open_error(top, "more", WRITE_NEW), ENOSPC);
    OK(top->ops->rename(top, "77", top, "moved")); /* makes none */
    OK(top->ops->unlink(top, "moved"));
    OK(top->ops->link(top, "a", top, "more"));
    fm_overlay_free(overlay);
}

/* --- paths ------------------------------------------------------------------------------------ */

static void paths(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_MIB);
    struct fm_file *top = fm_overlay_root(overlay);
    OK(top->ops->make_folder(top, "dir"));
    OK(top->ops->make_folder(top, "dir/nested"));
    put(top, "dir/nested/file", "x");
    assert_text(top, "dir/nested/file", "x");
    assert_text(top, "dir/.//nested/../../dir/nested///file", "x");
    IS(open_error(top, "", FM_OPEN_READ), ENOENT);
    IS(open_error(top, "/dir/nested/file", FM_OPEN_READ), EPERM);
    IS(open_error(top, "..", FM_OPEN_READ), EPERM);
    IS(open_error(top, "dir/../..", FM_OPEN_READ), EPERM);
    IS(open_error(top, "dir/nested/../../../dir/nested/file", FM_OPEN_READ), EPERM);
    IS(open_error(top, "dir/nested/file/", FM_OPEN_READ), ENOTDIR);
    IS(open_error(top, "dir/nested/file/x", FM_OPEN_READ), ENOTDIR);
    IS(open_error(top, "dir/nested/file/..", FM_OPEN_READ), ENOTDIR);
    IS(open_error(top, "none/file", WRITE_NEW), ENOENT);
    IS(open_error(top, "new/", WRITE_NEW), EISDIR);
    IS(open_error(top, "new", WRITE_NEW | FM_OPEN_FOLDER), EINVAL);
    IS(open_error(top, "dir", WRITE_NEW), EISDIR);
    IS(open_error(top, "dir", FM_OPEN_READ | FM_OPEN_WRITE), EISDIR);
    IS(open_error(top, "dir", FM_OPEN_TRUNCATE), EISDIR);
    IS(open_error(top, "dir/nested/file", FM_OPEN_FOLDER), ENOTDIR);
    IS(open_error(top, "dir/nested/file", FM_OPEN_CREATE | FM_OPEN_EXCLUSIVE), EEXIST);

    /* A folder is its own top: what lies above it is out of reach. */
    struct fm_file *nested = open_at(top, "dir/nested/", FM_OPEN_READ | FM_OPEN_FOLDER);
    assert_int_equal(nested->type, FM_FILE_FOLDER);
    assert_text(nested, "file", "x");
    assert_text(nested, "./file", "x");
    IS(open_error(nested, "../nested/file", FM_OPEN_READ), EPERM);

    char name[FM_FILE_NAME_BYTES_MAX + 2];
    memset(name, 'n', sizeof(name));
    name[FM_FILE_NAME_BYTES_MAX + 1] = '\0';
    IS(open_error(nested, name, WRITE_NEW), ENAMETOOLONG);
    name[FM_FILE_NAME_BYTES_MAX] = '\0';
    put(nested, name, "long");
    assert_text(nested, name, "long");
    OK(nested->ops->unlink(nested, name));

    IS(top->ops->make_folder(top, "dir"), EEXIST);
    IS(top->ops->make_folder(top, "."), EEXIST);
    IS(top->ops->make_folder(top, ".."), EPERM);
    OK(top->ops->make_folder(top, "slash/"));
    IS(top->ops->remove_folder(top, "dir"), ENOTEMPTY);
    IS(top->ops->remove_folder(top, "dir/."), EINVAL);
    IS(top->ops->remove_folder(top, "dir/nested/.."), ENOTEMPTY);
    IS(top->ops->remove_folder(top, "dir/nested/file"), ENOTDIR);
    IS(top->ops->remove_folder(top, "dir/nested/file/"), ENOTDIR);
    IS(top->ops->remove_folder(top, "none"), ENOENT);
    OK(top->ops->remove_folder(top, "slash/"));
    IS(top->ops->unlink(top, "dir"), EISDIR);
    IS(top->ops->unlink(top, "dir/"), EISDIR);
    IS(top->ops->unlink(top, "."), EISDIR);
    IS(top->ops->unlink(top, "dir/nested/file/"), ENOTDIR);
    IS(top->ops->unlink(top, "none"), ENOENT);
    OK(top->ops->unlink(top, "dir/nested/file"));

    /* A folder that was removed while it is open holds nothing, and takes nothing. */
    OK(top->ops->remove_folder(top, "dir/nested"));
    IS(open_error(nested, "file", WRITE_NEW), ENOENT);
    IS(nested->ops->make_folder(nested, "x"), ENOENT);
    assert_names(nested, "");
    close_file(nested);
    fm_overlay_free(overlay);
}

/* --- links ------------------------------------------------------------------------------------ */

static void symbolic_links(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_MIB);
    struct fm_file *top = fm_overlay_root(overlay);
    OK(top->ops->make_folder(top, "dir"));
    put(top, "dir/file", "x");
    OK(top->ops->make_link(top, "dir/file", "to_file"));
    OK(top->ops->make_link(top, "dir", "to_dir"));
    OK(top->ops->make_link(top, "../dir/../to_file", "dir/around"));
    OK(top->ops->make_link(top, "nothing", "dangling"));
    OK(top->ops->make_link(top, "loop", "loop"));
    OK(top->ops->make_link(top, "../out", "out"));
    IS(top->ops->make_link(top, "/dir", "absolute"), EPERM);
    IS(top->ops->make_link(top, "", "empty"), ENOENT);
    IS(top->ops->make_link(top, "x", "to_dir"), EEXIST);
    IS(top->ops->make_link(top, "x", "new/"), ENOENT);

    IS(open_error(top, "to_file", FM_OPEN_READ), ELOOP);
    assert_text(top, "to_file", "x");
    assert_text(top, "to_dir/file", "x");
    assert_text(top, "to_dir/around", "x");
    close_file(open_at(top, "to_dir/", FM_OPEN_READ));
    close_file(open_at(top, "to_dir", FM_OPEN_READ | FM_OPEN_FOLDER | FM_OPEN_FOLLOW));
    IS(open_error(top, "loop", FM_OPEN_READ | FM_OPEN_FOLLOW), ELOOP);
    IS(open_error(top, "loop/x", FM_OPEN_READ), ELOOP);
    IS(open_error(top, "out", FM_OPEN_READ | FM_OPEN_FOLLOW), EPERM);
    IS(open_error(top, "out", WRITE_NEW | FM_OPEN_FOLLOW), EPERM);
    IS(open_error(top, "dangling", FM_OPEN_READ | FM_OPEN_FOLLOW), ENOENT);
    IS(open_error(top, "dangling", WRITE_NEW | FM_OPEN_EXCLUSIVE | FM_OPEN_FOLLOW), EEXIST);

    struct fm_file *dir = open_at(top, "dir", FM_OPEN_READ);
    IS(open_error(dir, "around", FM_OPEN_READ | FM_OPEN_FOLLOW), EPERM); /* it leads out of dir */
    close_file(dir);

    close_file(open_at(top, "dangling", WRITE_NEW | FM_OPEN_FOLLOW));
    assert_int_equal(stat_of(top, "nothing").type, FM_FILE_PLAIN);
    assert_int_equal(stat_of(top, "dangling").type, FM_FILE_LINK);
    assert_int_equal(stat_of(top, "dangling").bytes, 7);
    assert_int_equal(stat_error(top, "dangling", true), 0);

    char target[16] = "..............";
    assert_int_equal(top->ops->read_link(top, "to_file", target, sizeof(target)), 8);
    assert_memory_equal(target, "dir/file......", 14);
    assert_int_equal(top->ops->read_link(top, "to_file", target, 3), 3);
    IS(top->ops->read_link(top, "dir/file", target, 3), EINVAL);
    IS(top->ops->read_link(top, "none", target, 3), ENOENT);
    OK(top->ops->unlink(top, "to_dir"));
    IS(top->ops->unlink(top, "loop/"), ENOTDIR);
    assert_text(top, "dir/file", "x");

    /* As many as may be followed, and one more. */
    char from[16] = "dir/file";
    for (int i = 1; i <= FM_FILE_LINKS_MAX + 1; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "l%d", i);
        OK(top->ops->make_link(top, from, name));
        if (i <= FM_FILE_LINKS_MAX)
            assert_text(top, name, "x");
        else
            IS(open_error(top, name, FM_OPEN_READ | FM_OPEN_FOLLOW), ELOOP);
        strcpy(from, name);
    }
    fm_overlay_free(overlay);
}

static void hard_links(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_MIB);
    struct fm_file *top = fm_overlay_root(overlay);
    OK(top->ops->make_folder(top, "dir"));
    put(top, "a", "one");
    OK(top->ops->link(top, "a", top, "dir/b"));
    assert_int_equal(stat_of(top, "a").links, 2);
    assert_int_equal(stat_of(top, "a").inode, stat_of(top, "dir/b").inode);
    put(top, "dir/b", "two");
    assert_text(top, "a", "two");
    IS(top->ops->link(top, "a", top, "dir/b"), EEXIST);
    IS(top->ops->link(top, "a", top, "a"), EEXIST);
    IS(top->ops->link(top, "a", top, "c/"), ENOENT);
    IS(top->ops->link(top, "dir", top, "c"), EPERM);
    IS(top->ops->link(top, "none", top, "c"), ENOENT);
    OK(top->ops->rename(top, "a", top, "dir/b")); /* one file: nothing happens */
    assert_int_equal(stat_of(top, "a").links, 2);
    OK(top->ops->unlink(top, "a"));
    assert_int_equal(stat_of(top, "dir/b").links, 1);
    assert_text(top, "dir/b", "two");

    /* Open and without a name it lives on. */
    struct fm_file *file = open_at(top, "dir/b", FM_OPEN_READ | FM_OPEN_WRITE);
    OK(top->ops->unlink(top, "dir/b"));
    struct fm_file_stat stat;
    OK(file->ops->stat(file, &stat));
    assert_int_equal(stat.links, 0);
    char got[4] = "";
    assert_int_equal(file->ops->read(file, 0, (uint8_t *)got, 3), 3);
    assert_string_equal(got, "two");
    close_file(file);
    fm_overlay_free(overlay);
}

/* --- moves ------------------------------------------------------------------------------------ */

static void renames(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_MIB);
    struct fm_file *top = fm_overlay_root(overlay);
    OK(top->ops->make_folder(top, "d"));
    OK(top->ops->make_folder(top, "d/e"));
    put(top, "a", "A");
    put(top, "b", "B");
    OK(top->ops->rename(top, "a", top, "b"));
    IS(stat_error(top, "a", false), ENOENT);
    assert_text(top, "b", "A");
    IS(top->ops->rename(top, "none", top, "b"), ENOENT);
    IS(top->ops->rename(top, "b", top, "none/b"), ENOENT);
    IS(top->ops->rename(top, "b", top, "d"), EISDIR);
    IS(top->ops->rename(top, "b", top, "c/"), ENOTDIR);
    IS(top->ops->rename(top, "b/", top, "c"), ENOTDIR);
    IS(top->ops->rename(top, "d", top, "b"), ENOTDIR);
    IS(top->ops->rename(top, "d", top, "d/e/f"), EINVAL);
    IS(top->ops->rename(top, "d", top, "d/d"), EINVAL);
    IS(top->ops->rename(top, "d/.", top, "x"), EBUSY);
    IS(top->ops->rename(top, "d/e/..", top, "x"), EBUSY);
    OK(top->ops->make_folder(top, "empty"));
    IS(top->ops->rename(top, "empty", top, "d"), ENOTEMPTY);
    OK(top->ops->rename(top, "d", top, "empty"));
    OK(top->ops->rename(top, "empty/", top, "d/"));
    OK(top->ops->rename(top, "b", top, "d/e/b"));
    struct fm_file *e = open_at(top, "d/e", FM_OPEN_READ);
    OK(top->ops->rename(top, "d/e", top, "e"));
    assert_text(top, "e/b", "A");
    assert_text(e, "b", "A"); /* still the same folder */
    IS(open_error(e, "../e/b", FM_OPEN_READ), EPERM);
    close_file(e);
    assert_names(top, "d e ");
    OK(top->ops->rename(top, "e/b", top, "e/b"));
    assert_text(top, "e/../e/b", "A"); /* the way up leads to the new place */
    fm_overlay_free(overlay);
}

/* --- listing ---------------------------------------------------------------------------------- */

static void listing(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_MIB);
    struct fm_file *top = fm_overlay_root(overlay);
    char name[16];
    for (int i = 0; i < 9; i++) {
        (void)snprintf(name, sizeof(name), "f%d", i);
        put(top, name, "");
    }
    /* In the middle: one before goes, one after goes, one comes. */
    struct fm_file_entry entry;
    uint64_t from = 0;
    for (int i = 0; i < 6; i++) {
        assert_int_equal(top->ops->list(top, from, &entry), 1);
        from = entry.next;
    }
    assert_string_equal(entry.name, "f3");
    OK(top->ops->unlink(top, "f1"));
    OK(top->ops->unlink(top, "f3"));
    OK(top->ops->unlink(top, "f5"));
    put(top, "g", "");
    assert_int_equal(top->ops->list(top, from, &entry), 1);
    assert_string_equal(entry.name, "f4");
    assert_int_equal(entry.inode, stat_of(top, "f4").inode);
    assert_int_equal(entry.type, FM_FILE_PLAIN);
    assert_int_equal(top->ops->list(top, entry.next, &entry), 1);
    assert_string_equal(entry.name, "f6");
    assert_int_equal(top->ops->list(top, UINT64_MAX, &entry), 0);
    assert_names(top, "f0 f2 f4 f6 f7 f8 g ");
    fm_overlay_free(overlay);
}

static void times(void **state)
{
    (void)state;
    struct fm_overlay *overlay = fresh(NULL, FM_MIB);
    struct fm_file *top = fm_overlay_root(overlay);
    put(top, "a", "x");
    OK(top->ops->make_link(top, "a", "l"));
    struct fm_file_times set = {.accessed_ns = 5, .modified_ns = UINT64_MAX};
    uint64_t modified_ns = stat_of(top, "a").modified_ns;
    assert_true(modified_ns > 0);
    OK(top->ops->set_times_at(top, "a", false, &set));
    assert_int_equal(stat_of(top, "a").accessed_ns, 5);
    assert_int_equal(stat_of(top, "a").modified_ns, modified_ns);
    set = (struct fm_file_times){.accessed_ns = UINT64_MAX, .modified_ns = 7};
    OK(top->ops->set_times_at(top, "l", true, &set));
    assert_int_equal(stat_of(top, "a").modified_ns, 7);
    assert_int_equal(stat_of(top, "a").accessed_ns, 5);
    assert_true(stat_of(top, "l").modified_ns != 7);
    assert_true(stat_of(top, "a").changed_ns >= modified_ns);
    struct fm_file *file = open_at(top, "a", FM_OPEN_READ | FM_OPEN_WRITE);
    assert_int_equal(file->ops->write(file, 0, (const uint8_t *)"y", 1), 1);
    assert_true(stat_of(top, "a").modified_ns >= modified_ns);
    set.modified_ns = 9;
    OK(file->ops->set_times(file, &set));
    assert_int_equal(stat_of(top, "a").modified_ns, 9);
    close_file(file);
    fm_overlay_free(overlay);
}

/* --- over a tree ------------------------------------------------------------------------------ */

struct shelf {
    char folder[32];
    struct fm_contents *contents;
    struct fm_node *tree;
};

static void shelve(struct shelf *shelf, const char *path, const char *text)
{
    char file[64];
    static int number;
    struct fm_content *content = NULL;
    struct fm_node *tree = NULL;
    (void)snprintf(file, sizeof(file), "%s/%d", shelf->folder, number++);
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    assert_int_equal(fputs(text, out) >= 0, 1);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(fm_content_new(shelf->contents, file, strlen(text), &content), 0);
    assert_int_equal(fm_tree_put(shelf->tree, path, 1000, content, &tree), 0);
    fm_content_release(content);
    fm_node_release(shelf->tree);
    shelf->tree = tree;
}

static void shelf_init(struct shelf *shelf)
{
    const struct fm_contents_config config = {.bytes_max = FM_MIB, .files_max = 10};
    strcpy(shelf->folder, "/tmp/faasm-overlay-XXXXXX");
    assert_non_null(mkdtemp(shelf->folder));
    assert_int_equal(fm_contents_new(&config, &shelf->contents), 0);
    assert_int_equal(fm_node_folder_new(1000, &shelf->tree), 0);
    shelve(shelf, "data/a", "alpha");
    shelve(shelf, "data/b", "beta");
    shelve(shelf, "data/deep/c", "gamma");
    shelve(shelf, "top", "level");
    shelve(shelf, "empty", "");
}

static void shelf_done(struct shelf *shelf)
{
    char command[64];
    fm_node_release(shelf->tree);
    fm_contents_free(shelf->contents);
    (void)snprintf(command, sizeof(command), "rm -r %s", shelf->folder);
    assert_int_equal(system(command), 0);
}

/* As the scheduler does it: what an open waits for is loaded, and the same is tried again. */
static struct fm_file *open_loaded(struct fm_overlay *overlay, const char *path, unsigned how)
{
    struct fm_file *top = fm_overlay_root(overlay);
    struct fm_file *file = NULL;
    int result = top->ops->open(top, path, how, &file);
    if (result == FM_FILE_WAIT) {
        struct fm_content *content = fm_overlay_awaited(overlay);
        assert_int_equal(fm_content_load(content), 0);
        result = top->ops->open(top, path, how, &file);
        fm_content_unpin(content);
    }
    assert_int_equal(result, 0);
    return file;
}

static void assert_loaded_text(struct fm_overlay *overlay, const char *path, const char *text)
{
    char got[64] = "";
    struct fm_file *file = open_loaded(overlay, path, FM_OPEN_READ);
    assert_int_equal(file->ops->read(file, 0, (uint8_t *)got, sizeof(got) - 1), strlen(text));
    assert_string_equal(got, text);
    close_file(file);
}

static void global_read(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf);
    struct fm_overlay *overlay = fresh(shelf.tree, 0); /* nothing may be written: nothing is */
    struct fm_file *top = fm_overlay_root(overlay);
    IS(open_error(top, "data/a", FM_OPEN_READ), -FM_FILE_WAIT);
    IS(open_error(top, "data/none", FM_OPEN_READ), ENOENT);
    assert_loaded_text(overlay, "data/a", "alpha");
    assert_loaded_text(overlay, "data/deep/c", "gamma");
    assert_text(top, "data/a", "alpha"); /* it is in memory now */
    assert_text(top, "empty", "");       /* nothing to wait for */
    close_file(open_at(top, "data/b", 0));
    assert_int_equal(stat_of(top, "data/b").bytes, 4);
    assert_int_equal(stat_of(top, "data/b").modified_ns, 1000);
    assert_int_equal(stat_of(top, "data/b").links, 1);
    assert_int_equal(stat_of(top, "data/b").inode, stat_of(top, "data/b").inode);
    assert_true(stat_of(top, "data/b").inode != stat_of(top, "data/a").inode);
    assert_int_equal(stat_of(top, "data").type, FM_FILE_FOLDER);
    struct fm_file *data = open_at(top, "data", FM_OPEN_READ);
    assert_names(data, "a deep b "); /* those that were met first come first */
    assert_names(top, "data empty top ");
    close_file(data);
    IS(open_error(top, "new", WRITE_NEW), ENOSPC);
    IS(top->ops->make_folder(top, "new"), ENOSPC);
    OK(top->ops->unlink(top, "data/a")); /* taking away needs no room */
    IS(open_error(top, "data/a", FM_OPEN_READ), ENOENT);
    assert_int_equal(fm_overlay_bytes(overlay), 0);
    fm_overlay_free(overlay);
    shelf_done(&shelf);
}

static void local_write(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf);
    struct fm_overlay *one = fresh(shelf.tree, FM_MIB);
    struct fm_overlay *other = fresh(shelf.tree, FM_MIB);
    struct fm_file *top = fm_overlay_root(one);
    struct fm_file *file = open_loaded(one, "data/a", FM_OPEN_READ | FM_OPEN_WRITE);
    assert_int_equal(file->ops->write(file, 1, (const uint8_t *)"LPH", 3), 3);
    assert_int_equal(file->ops->write(file, FM_FILE_APPEND, (const uint8_t *)"!", 1), 1);
    close_file(file);
    assert_text(top, "data/a", "aLPHa!");
    assert_loaded_text(other, "data/a", "alpha");

    /* Cut short and grown: zeros, though the tree has more. */
    file = open_loaded(one, "data/b", FM_OPEN_READ | FM_OPEN_WRITE);
    OK(file->ops->set_size(file, 2));
    close_file(file);
    assert_text(top, "data/b", "be");
    file = open_loaded(one, "data/b", FM_OPEN_READ | FM_OPEN_WRITE);
    OK(file->ops->set_size(file, 4));
    char got[4] = "xxx";
    assert_int_equal(file->ops->read(file, 0, (uint8_t *)got, 4), 4);
    assert_memory_equal(got, "be\0\0", 4);
    close_file(file);

    /* Truncating does not need what is there. */
    close_file(open_at(top, "data/deep/c", FM_OPEN_WRITE | FM_OPEN_TRUNCATE));
    assert_text(top, "data/deep/c", "");

    /* Names come and go. */
    OK(top->ops->rename(top, "data/deep", top, "moved"));
    IS(stat_error(top, "data/deep/c", false), ENOENT);
    OK(top->ops->unlink(top, "top"));
    put(top, "top", "mine");
    OK(top->ops->unlink(top, "empty"));
    OK(top->ops->make_folder(top, "empty"));
    IS(top->ops->remove_folder(top, "data"), ENOTEMPTY);
    OK(top->ops->unlink(top, "data/a"));
    OK(top->ops->unlink(top, "data/b"));
    OK(top->ops->remove_folder(top, "data"));
    assert_names(top, "moved top empty ");
    assert_text(top, "top", "mine");

    assert_names(fm_overlay_root(other), "data empty top ");
    assert_loaded_text(other, "data/deep/c", "gamma");
    fm_overlay_free(one);
    fm_overlay_free(other);
    shelf_done(&shelf);
}

/* --- out of memory ---------------------------------------------------------------------------- */

static int everything(void *tree)
{
    struct fm_overlay *overlay = NULL;
    struct fm_file *file = NULL;
    const struct fm_overlay_config config = {.tree = tree, .bytes_max = FM_MIB};
    int failed = fm_overlay_new(&config, &overlay);
    if (failed)
        return failed;
    struct fm_file *top = fm_overlay_root(overlay);
    struct fm_file_entry entry;
    const struct fm_file_ops *ops = top->ops;
    failed = ops->make_folder(top, "folder");
    if (!failed)
        failed = ops->make_link(top, "folder", "link");
    if (!failed)
        failed = ops->open(top, "link/file", WRITE_NEW, &file);
    if (!failed) {
        int64_t put = ops->write(file, 100000, (const uint8_t *)"x", 1);
        failed = put < 0 ? (int)put : 0;
        ops->close(file);
    }
    if (!failed)
        failed = ops->link(top, "folder/file", top, "other");
    if (!failed)
        failed = ops->rename(top, "other", top, "folder/third");
    if (!failed)
        failed = ops->unlink(top, "data/a");
    if (!failed) {
        int more = ops->list(top, 2, &entry);
        failed = more < 0 ? more : 0;
    }
    fm_overlay_free(overlay);
    return failed == -ENOMEM ? FM_ERR_NOMEM : failed;
}

static void out_of_memory(void **state)
{
    (void)state;
    struct shelf shelf;
    shelf_init(&shelf);
    assert_true(torture(everything, shelf.tree) > 10);
    shelf_done(&shelf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contents),       cmocka_unit_test(sparse),
        cmocka_unit_test(far_out),        cmocka_unit_test(limit),
        cmocka_unit_test(depth),          cmocka_unit_test(many_files),
        cmocka_unit_test(many_names),     cmocka_unit_test(paths),
        cmocka_unit_test(symbolic_links), cmocka_unit_test(hard_links),
        cmocka_unit_test(renames),        cmocka_unit_test(listing),
        cmocka_unit_test(times),          cmocka_unit_test(global_read),
        cmocka_unit_test(local_write),    cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
