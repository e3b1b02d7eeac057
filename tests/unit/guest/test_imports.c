/* test_imports.c - the tables of host functions as a whole: complete, linkable, and safe against
 * whatever numbers a guest passes. */
#include "guest_fixture.h"

#include "call/call.h"

/* The specification's list. */
static const char *const wasi_names[] = {
    "args_get",
    "args_sizes_get",
    "environ_get",
    "environ_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_get",
    "fd_prestat_dir_name",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "sched_yield",
    "random_get",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
};

static void test_wasi_is_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < FM_ARRAY_LENGTH(wasi_names); i++)
        if (!fm_guest_import_find("wasi_snapshot_preview1", wasi_names[i]))
            fail_msg("%s is missing", wasi_names[i]);
    assert_null(fm_guest_import_find("wasi_snapshot_preview1", "input_size"));
    assert_null(fm_guest_import_find("wasi", "fd_read"));
    size_t count = 0;
    for (size_t i = 0; i < fm_guest_tables_count; i++)
        if (strcmp(fm_guest_tables[i].module, "wasi_snapshot_preview1") == 0)
            count = fm_guest_tables[i].count;
    assert_int_equal(count, FM_ARRAY_LENGTH(wasi_names));
}

/* A module may import everything that its ABI has at once. */
static void test_all_link(void **state)
{
    (void)state;
    run_free(run_wat("wasi", "(func (export \"_start\"))", "", ""));
    run_free(run_wat("faasm", "(func (export \"_start\"))", "", ""));
    run_free(run_wat("later", "(func (export \"_start\"))", "", ""));
    run_free(run_wat("env",
                     "(func (export \"run\") (param i32 i32 i32 i32) (result i32) (i32.const 0))",
                     "", ""));
}

/* A second registration of the same names is refused, not silently shadowed. */
static void test_only_once(void **state)
{
    (void)state;
    struct fm_error error = {0};
    assert_int_equal(fm_guest_imports_add(fixture_engine, &error), FM_ERR_INTERNAL);
    assert_true(error.text[0]);
}

/* --- hostile numbers
 * --------------------------------------------------------------------------------- */

/* Calls one function again and again, each time with one hostile value among harmless ones (or
 * with hostile values alone), between two pages of memory that it must leave alone. */
static const char *const hostile[] = {
    "-1", "-8", "0x7fffffff", "0x80000000", "0x10000", "0xffff", "0xfffc", "0x1ffff", "0x20000",
};
static const char *const harmless[] = {"0", "1", "2", "64"};

static void put_call(struct fm_buffer *text, const struct fm_import *row, size_t hostile_at,
                     const char *bad, const char *good)
{
    const char *colon = strchr(row->signature, ':');
    size_t count = (size_t)(colon - row->signature);
    assert_int_equal(fm_buffer_printf(text, "(call $%s", row->name), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(fm_buffer_printf(text, " (%s.const %s)",
                                          row->signature[i] == 'i' ? "i32" : "i64",
                                          i == hostile_at || hostile_at == count ? bad : good),
                         0);
    assert_int_equal(fm_buffer_append_text(text, colon[1] ? ") drop\n" : ")\n"), 0);
}

/* How such a run may end: by itself, or by one of the ways that are the guest's own fault. */
static void assert_harmless_end(const struct fm_call *call, const char *name)
{
    switch (call->error) {
    case 0:
    case FM_ERR_GUEST_EXIT:
    case FM_ERR_GUEST_LIMIT:
    case FM_ERR_CHAIN_TARGET:
        return;
    case FM_ERR_GUEST_TRAP:
        if (strcmp(call->trap, "bad_pointer") == 0 || strcmp(call->trap, "deadlock") == 0)
            return;
        break;
    default:
        break;
    }
    fail_msg("%s ends with %s, %s, %s", name, fm_err_code(call->error), call->trap, call->detail);
}

/* True: every call was made; false: one of them ended or parked the guest. */
static bool run_hostile(const char *which, const char *calls, const char *name)
{
    struct fm_buffer entry;
    fm_buffer_init(&entry, 4 * FM_MIB);
    bool legacy = strcmp(which, "env") == 0;
    assert_int_equal(fm_buffer_printf(&entry,
                                      "(func (export \"%s\") %s %s (call $keep (i32.const 42)) %s)",
                                      legacy ? "run" : "_start",
                                      legacy ? "(param i32 i32 i32 i32) (result i32)" : "", calls,
                                      legacy ? "(i32.const 0)" : ""),
                     0);
    assert_int_equal(fm_buffer_append(&entry, "", 1), 0);
    char *text = module_text(which, (const char *)entry.data, "");
    fm_buffer_done(&entry);
    struct run *run = run_module(text);
    free(text);
    run_call(run, "some input", 10);
    struct fm_guest_wait wait = {0};
    bool ended = run_on(run, &wait);
    bool whole = ended && kept(run, 0) == 42;
    if (ended)
        assert_harmless_end(run->call, name);
    run_free(run);
    return whole;
}

static void torment(const char *which, const struct fm_import *row)
{
    size_t count = (size_t)(strchr(row->signature, ':') - row->signature);
    for (size_t bad = 0; bad < FM_ARRAY_LENGTH(hostile); bad++) {
        struct fm_buffer all;
        fm_buffer_init(&all, FM_MIB);
        for (size_t good = 0; good < FM_ARRAY_LENGTH(harmless); good++)
            for (size_t at = 0; at <= count; at++)
                put_call(&all, row, at, hostile[bad], harmless[good]);
        assert_int_equal(fm_buffer_append(&all, "", 1), 0);
        bool whole = run_hostile(which, (const char *)all.data, row->name);
        fm_buffer_done(&all);
        if (whole)
            continue;
        /* Something ended or parked the guest: each call in a guest of its own, then. */
        for (size_t good = 0; good < FM_ARRAY_LENGTH(harmless); good++) {
            for (size_t at = 0; at <= count; at++) {
                struct fm_buffer one;
                fm_buffer_init(&one, FM_MIB);
                put_call(&one, row, at, hostile[bad], harmless[good]);
                assert_int_equal(fm_buffer_append(&one, "", 1), 0);
                (void)run_hostile(which, (const char *)one.data, row->name);
                fm_buffer_done(&one);
            }
        }
    }
}

static void test_hostile_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < fm_guest_tables_count; i++) {
        const struct fm_import_table *table = &fm_guest_tables[i];
        const char *which = table_word(table);
        for (size_t row = 0; row < table->count; row++)
            torment(which, &table->rows[row]);
    }
}

/* Functions that write to the guest's memory write nothing when they fail. */
static void test_errors_write_nothing(void **state)
{
    (void)state;
    struct fm_buffer calls;
    fm_buffer_init(&calls, FM_MIB);
    const struct fm_import_table *wasi = &fm_guest_tables[1];
    assert_string_equal(wasi->module, "wasi_snapshot_preview1");
    for (size_t row = 0; row < wasi->count; row++) {
        const struct fm_import *import = &wasi->rows[row];
        size_t count = (size_t)(strchr(import->signature, ':') - import->signature);
        /* All parameters hostile: every function that has a pointer must refuse. */
        if (count > 0 && import->signature[count + 1] == 'i')
            put_call(&calls, import, count, "-1", "");
    }
    struct fm_buffer entry;
    fm_buffer_init(&entry, FM_MIB);
    assert_int_equal(fm_buffer_append(&calls, "", 1), 0);
    assert_int_equal(
        fm_buffer_printf(&entry,
                         "(func (export \"_start\")"
                         "(memory.fill (i32.const 0) (i32.const 170) (i32.const 65536))"
                         "%s)",
                         (const char *)calls.data),
        0);
    assert_int_equal(fm_buffer_append(&entry, "", 1), 0);
    struct run *run = run_wat("wasi", (const char *)entry.data, "", "input");
    fm_buffer_done(&calls);
    fm_buffer_done(&entry);
    assert_int_equal(run->call->error, 0);
    const uint8_t *memory = run_memory(run, 0, 65536);
    for (uint32_t at = 0; at < 65536; at++)
        if (memory[at] != 170)
            fail_msg("byte %u was written", at);
    assert_int_equal(run->call->output.length, 0);
    assert_int_equal(run->guest->input_offset, 0);
    run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wasi_is_complete),
        cmocka_unit_test(test_all_link),
        cmocka_unit_test(test_only_once),
        cmocka_unit_test(test_hostile_numbers),
        cmocka_unit_test(test_errors_write_nothing),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
