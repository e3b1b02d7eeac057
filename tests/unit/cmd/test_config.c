/* test_config.c - settings from text and files: bounds, units, mistakes with their place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cmd/config.h"
#include "engine/engine.h"

static struct fm_config config;
static struct fm_error error;

static int set(const char *text)
{
    error = (struct fm_error){0};
    return fm_config_set(&config, text, &error);
}

static int setup(void **state)
{
    (void)state;
    fm_config_init(&config);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fm_config_done(&config);
    return 0;
}

static void values_have_units_and_bounds(void **state)
{
    (void)state;
    assert_int_equal(set("module_bytes=2MiB"), 0);
    assert_int_equal(config.module_bytes, 2 * FM_MIB);
    assert_int_equal(set(" drain_ms = 1.5s "), 0);
    assert_int_equal(config.drain_ms, 1500);
    assert_int_equal(set("cancel_on_half_close=off"), 0);
    assert_int_equal(config.cancel_on_half_close, 0);
    assert_int_equal(set("cancel_on_half_close=on"), 0);
    assert_int_equal(config.cancel_on_half_close, 1);

    assert_int_equal(set("workers=0"), FM_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.text, "workers must be from 1 to 256"));
    assert_int_equal(set("workers=1"), 0);
    assert_int_equal(set("workers=256"), 0);
    assert_int_equal(set("workers=257"), FM_ERR_BAD_REQUEST);
    assert_int_equal(config.workers, 256);
    assert_int_equal(set("workers=auto"), 0);
    assert_int_equal(set("await_depth=0"), 0);
    assert_int_equal(set("await_depth=1000"), 0);
    assert_int_equal(set("await_depth=1001"), FM_ERR_BAD_REQUEST);
    assert_int_equal(config.await_depth, 1000);
    assert_int_equal(set("drain_ms=auto"), FM_ERR_BAD_REQUEST); /* its default is a number */
}

static void mistakes_are_named(void **state)
{
    (void)state;
    assert_int_equal(set("wrokers=1"), FM_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.text, "'wrokers'"));
    assert_int_equal(set("workers"), FM_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.text, "KEY=VALUE"));
    assert_int_equal(set("workers=two"), FM_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.text, "'two'"));
    assert_int_equal(set("page_scanning=1"), FM_ERR_BAD_REQUEST);
    assert_int_equal(set("data="), FM_ERR_BAD_REQUEST);
    char path[2100];
    memset(path, 'x', sizeof(path));
    memcpy(path, "data=", 5);
    path[5 + 2047] = '\0';
    assert_int_equal(set(path), 0);
    path[5 + 2047] = 'x';
    path[5 + 2048] = '\0';
    assert_int_equal(set(path), FM_ERR_BAD_REQUEST);
}

static void read_content(const char *content, int expected)
{
    char path[] = "/tmp/faasm-test-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), (ssize_t)strlen(content));
    assert_int_equal(close(fd), 0);
    error = (struct fm_error){0};
    assert_int_equal(fm_config_read(&config, path, &error), expected);
    assert_int_equal(unlink(path), 0);
}

static void files_have_comments_and_line_numbers(void **state)
{
    (void)state;
    read_content("# all of it\n\n  workers = 3 # three\nlisten = [::1]:80\n\tslots=7", 0);
    assert_int_equal(config.workers, 3);
    assert_int_equal(config.slots, 7);
    assert_string_equal(config.listen, "[::1]:80");
    read_content("workers = 1\n\noops = 2\n", FM_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.text, ":3: "));
    char line[5000];
    memset(line, ' ', sizeof(line));
    memcpy(line, "workers=2", 9);
    line[sizeof(line) - 2] = '\n';
    line[sizeof(line) - 1] = '\0';
    read_content(line, FM_ERR_BAD_REQUEST);
    assert_non_null(strstr(error.text, ":1: "));
    assert_int_equal(fm_config_read(&config, "/nonexistent/faasm.conf", &error), FM_ERR_NOT_FOUND);
}

static struct fm_quotas quotas_of(const char *user)
{
    struct fm_quotas quotas;
    fm_quotas_defaults(&quotas);
    fm_config_quotas(&config, user, &quotas);
    return quotas;
}

static void sections_hold_quotas_of_users(void **state)
{
    (void)state;
    assert_int_equal(quotas_of("ada").weight, 100); /* without any section */
    read_content("workers = 3\n"
                 "[user ada] # the first\n"
                 "weight = 200\n"
                 "memory_bytes=1.5MiB\n"
                 "\n"
                 "  [ user  * ]\n"
                 "weight = 50\n"
                 "concurrency = 7\n"
                 "[user Zoe.x]\n",
                 0);
    assert_int_equal(config.workers, 3);
    assert_int_equal(quotas_of("ada").weight, 200);
    assert_int_equal(quotas_of("ada").concurrency, 7); /* its own section does not say it */
    assert_int_equal(quotas_of("ada").memory_bytes, 3 << 19);
    assert_int_equal(quotas_of("bob").weight, 50);
    assert_int_equal(quotas_of("bob").memory_bytes, 0);
    assert_int_equal(quotas_of("Zoe.x").weight, 50);
    assert_int_equal(config.users_count, 3);
}

static void mistakes_in_sections_have_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *content;
        const char *text;
    } rows[] = {
        {"[user ada]\nweight = 0\n", ":2: weight must be from 1 to 10000"},
        {"[user ada]\nweight = 10001\n", ":2: weight must be from 1 to 10000"},
        {"[user ada]\n\nwieght = 1\n", ":3: no quota is called 'wieght'"},
        {"[user ada]\nworkers = 1\n", ":2: no quota is called 'workers'"},
        {"[user ada]\nweight\n", ":2: 'weight' is not KEY=VALUE"},
        {"[user ada]\nweight = x\n", ":2: 'x' is no value for weight"},
        {"[user ..]\n", ":1: '..' is no name"},
        {"[user]\n", ":1: '' is no name"},
        {"[group ada]\n", ":1: a section must be [user NAME]"},
        {"[user ada\n", ":1: '[user ada' lacks"},
        {"[user ada]\n[user bob]\n[user ada]\n", "two sections [user ada]"},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(rows); i++) {
        read_content(rows[i].content, FM_ERR_BAD_REQUEST);
        if (!strstr(error.text, rows[i].text))
            fail_msg("'%s' instead of '%s'", error.text, rows[i].text);
        fm_config_done(&config);
    }
}

static void what_is_printed_can_be_read_again(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    read_content("[user ada]\nweight=7\nmemory_bytes=64MiB\n[user *]\ncpu_percent=50\n", 0);
    fm_config_derive(&config);
    FILE *out = open_memstream(&text, &bytes);
    assert_non_null(out);
    fm_config_print(&config, out);
    assert_int_equal(fclose(out), 0);
    struct fm_config before = config;
    fm_config_init(&config);
    read_content(text, 0);
    assert_int_equal(config.users_count, before.users_count);
    for (size_t i = 0; i < config.users_count; i++)
        assert_memory_equal(&config.users[i], &before.users[i], sizeof(config.users[i]));
    fm_config_done(&before);
    assert_memory_equal(&config, &before, offsetof(struct fm_config, listen));
    free(text);
}

static void nothing_stays_automatic(void **state)
{
    (void)state;
    fm_config_derive(&config);
    assert_true(config.workers >= 1 && config.workers <= 256);
    assert_true(config.slots >= 1 && config.slots <= 10000);
    assert_true(config.warm_slots <= config.slots);
    assert_true(config.page_scanning <= 1);
    assert_true(config.modules_bytes >= FM_MIB && config.modules_bytes != FM_CONFIG_AUTO);
    assert_true(config.records_bytes >= FM_MIB && config.records_bytes != FM_CONFIG_AUTO);
}

/* What the machine allows is enough for all, unless what lies beside the slots takes half of it. */
static void slots_leave_room_for_children(void **state)
{
    (void)state;
    uint64_t ceiling = fm_engine_slots_ceiling();
    const uint64_t depths[] = {0, 1, 32, 1000};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(depths); i++) {
        fm_config_init(&config);
        config.workers = 2;
        config.await_depth = depths[i];
        fm_config_derive(&config);
        uint64_t beside = fm_config_slots_beside(&config);
        assert_int_equal(beside, 2 * (depths[i] + FM_ENGINE_SLOTS_CLEARING));
        assert_true(config.slots >= 1);
        assert_true(config.slots + fm_min_u64(beside, ceiling / 2) <= ceiling);
    }
    config.slots = 10000; /* what is said holds */
    fm_config_derive(&config);
    assert_int_equal(config.slots, 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_have_units_and_bounds, setup, teardown),
        cmocka_unit_test_setup_teardown(mistakes_are_named, setup, teardown),
        cmocka_unit_test_setup_teardown(files_have_comments_and_line_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(sections_hold_quotas_of_users, setup, teardown),
        cmocka_unit_test_setup_teardown(mistakes_in_sections_have_their_line, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_printed_can_be_read_again, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_stays_automatic, setup, teardown),
        cmocka_unit_test_setup_teardown(slots_leave_room_for_children, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
