/* test_cgroup.c - control groups in a folder of our own, laid out as the kernel does. */
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

#include "base/cgroup.h"
#include "base/error.h"

static char root[64];
static uint64_t machine_bytes;

/* `path` is below the root; the folders above it are made. */
static void write_file(const char *path, const char *text)
{
    char full[2 * FM_CGROUP_PATH_SIZE];
    assert_true((size_t)snprintf(full, sizeof(full), "%s%s", root, path) < sizeof(full));
    for (char *at = full + strlen(root) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
        *at = '\0';
        (void)mkdir(full, 0700); /* perhaps it is there */
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    (void)state;
    strcpy(root, "/tmp/faasm-cgroup-XXXXXX");
    assert_non_null(mkdtemp(root));
    machine_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char command[100];
    (void)snprintf(command, sizeof(command), "rm -rf %s", root);
    return system(command);
}

static void be_in(const char *group)
{
    char line[2 * FM_CGROUP_PATH_SIZE];
    (void)snprintf(line, sizeof(line), "0::%s\n", group);
    write_file("/proc/self/cgroup", line);
}

static void test_no_group(void **state)
{
    (void)state;
    struct fm_cgroup group = {.top_length = 77};
    assert_int_equal(fm_cgroup_find(root, &group), FM_ERR_NOT_FOUND);
    write_file("/sys/fs/cgroup/memory.max", "1000\n"); /* nobody's that we know */
    write_file("/proc/self/cgroup", "");
    assert_int_equal(fm_cgroup_find(root, &group), FM_ERR_NOT_FOUND);
    write_file("/proc/self/cgroup", "4:memory:/a\n0::/a\n"); /* version 1 is there too */
    assert_int_equal(fm_cgroup_find(root, &group), FM_ERR_NOT_FOUND);
    write_file("/proc/self/cgroup", "0::/"); /* half a line */
    assert_int_equal(fm_cgroup_find(root, &group), FM_ERR_NOT_FOUND);
    write_file("/proc/self/cgroup", "0::a\n");
    assert_int_equal(fm_cgroup_find(root, &group), FM_ERR_NOT_FOUND);
    assert_int_equal(group.top_length, 77); /* untouched */
    assert_true(fm_cgroup_memory_bytes(root) == machine_bytes);
}

/* In a container its own group is the topmost one that can be seen. */
static void test_topmost_group(void **state)
{
    (void)state;
    be_in("/");
    assert_true(fm_cgroup_memory_bytes(root) == machine_bytes); /* the machine's root: no file */
    write_file("/sys/fs/cgroup/memory.max", "max\n");
    assert_true(fm_cgroup_memory_bytes(root) == machine_bytes);
    write_file("/sys/fs/cgroup/memory.max", "33554432\n");
    assert_true(fm_cgroup_memory_bytes(root) == 32 * FM_MIB);
}

static void test_the_least_limit_counts(void **state)
{
    (void)state;
    be_in("/a.slice/b/c");
    write_file("/sys/fs/cgroup/a.slice/b/c/memory.max", "33554432\n");
    assert_true(fm_cgroup_memory_bytes(root) == 32 * FM_MIB);
    write_file("/sys/fs/cgroup/a.slice/memory.max", "33554431\n"); /* none between: it is skipped */
    assert_true(fm_cgroup_memory_bytes(root) == 32 * FM_MIB - 1);
    write_file("/sys/fs/cgroup/a.slice/b/memory.max", "33554430\n");
    assert_true(fm_cgroup_memory_bytes(root) == 32 * FM_MIB - 2);
    write_file("/sys/fs/cgroup/memory.max", "33554429\n");
    assert_true(fm_cgroup_memory_bytes(root) == 32 * FM_MIB - 3);
    write_file("/sys/fs/cgroup/a.slice/b/c/memory.max", "33554428\n");
    assert_true(fm_cgroup_memory_bytes(root) == 32 * FM_MIB - 4);
    write_file("/sys/fs/cgroup/other/memory.max", "1\n"); /* not ours */
    assert_true(fm_cgroup_memory_bytes(root) == 32 * FM_MIB - 4);
}

static void test_the_machine_bounds_what_a_group_promises(void **state)
{
    (void)state;
    char text[32];
    be_in("/a");
    for (uint64_t bytes = machine_bytes - 1; bytes <= machine_bytes + 1; bytes++) {
        (void)snprintf(text, sizeof(text), "%llu\n", (unsigned long long)bytes);
        write_file("/sys/fs/cgroup/a/memory.max", text);
        assert_true(fm_cgroup_memory_bytes(root) == fm_min_u64(bytes, machine_bytes));
    }
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t number;
    } good[] = {{"0\n", 0},
                {"1\n", 1},
                {"max\n", UINT64_MAX},
                {"18446744073709551614\n", UINT64_MAX - 1},
                {"18446744073709551615\n", UINT64_MAX}};
    static const char *const bad[] = {"",
                                      "\n",
                                      "1",
                                      "-1\n",
                                      "1 2\n",
                                      "0x10\n",
                                      " 1\n",
                                      "maxi\n",
                                      "18446744073709551616\n",
                                      "99999999999999999999\n",
                                      "000000000000000000000000001\n"};
    struct fm_cgroup group;
    uint64_t number = 5;
    be_in("/a");
    assert_int_equal(fm_cgroup_find(root, &group), 0);
    assert_int_equal(fm_cgroup_number(&group, "memory.swap.max", &number), FM_ERR_NOT_FOUND);
    for (size_t i = 0; i < FM_ARRAY_LENGTH(bad); i++) {
        write_file("/sys/fs/cgroup/a/memory.swap.max", bad[i]);
        assert_int_equal(fm_cgroup_number(&group, "memory.swap.max", &number), FM_ERR_NOT_FOUND);
    }
    assert_int_equal(number, 5); /* untouched */
    for (size_t i = 0; i < FM_ARRAY_LENGTH(good); i++) {
        write_file("/sys/fs/cgroup/a/memory.swap.max", good[i].text);
        assert_int_equal(fm_cgroup_number(&group, "memory.swap.max", &number), 0);
        assert_true(number == good[i].number);
    }
}

/* A group above what this process can see must not lead to files elsewhere. */
static void test_groups_out_of_sight(void **state)
{
    (void)state;
    static const char *const outside[] = {"/..", "/../x", "/a/..", "/a/../x"};
    struct fm_cgroup group;
    write_file("/sys/fs/x/memory.max", "1\n");
    write_file("/sys/fs/memory.max", "1\n");
    for (size_t i = 0; i < FM_ARRAY_LENGTH(outside); i++) {
        be_in(outside[i]);
        assert_int_equal(fm_cgroup_find(root, &group), FM_ERR_NOT_FOUND);
        assert_true(fm_cgroup_memory_bytes(root) == machine_bytes);
    }
    be_in("/..a/b..");
    write_file("/sys/fs/cgroup/..a/b../memory.max", "33554432\n");
    assert_true(fm_cgroup_memory_bytes(root) == 32 * FM_MIB);
}

/* The longest path that there can be, and one more. */
static void test_long_names(void **state)
{
    (void)state;
    struct fm_cgroup group;
    char name[2 * FM_CGROUP_PATH_SIZE];
    size_t most = FM_CGROUP_PATH_SIZE - 1 - strlen(root) - strlen("/sys/fs/cgroup");
    for (size_t length = most - 1; length <= most + 1; length++) {
        memset(name, 'x', length);
        name[0] = '/';
        name[length] = '\0';
        be_in(name);
        assert_int_equal(fm_cgroup_find(root, &group), length <= most ? 0 : FM_ERR_NOT_FOUND);
    }
    memset(name, 'x', sizeof(name) - 10); /* more than a line may have */
    name[0] = '/';
    name[sizeof(name) - 10] = '\0';
    be_in(name);
    assert_int_equal(fm_cgroup_find(root, &group), FM_ERR_NOT_FOUND);
}

/* Whatever this machine has, there is some memory. */
static void test_this_machine(void **state)
{
    (void)state;
    uint64_t bytes = fm_cgroup_memory_bytes("");
    assert_true(bytes > FM_MIB && bytes <= machine_bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_group),
        TEST(test_topmost_group),
        TEST(test_the_least_limit_counts),
        TEST(test_the_machine_bounds_what_a_group_promises),
        TEST(test_numbers),
        TEST(test_groups_out_of_sight),
        TEST(test_long_names),
        TEST(test_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
