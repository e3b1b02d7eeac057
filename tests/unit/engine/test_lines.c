#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>

#include <cmocka.h>

#include "engine/lines.h"

/* Two places: 0x10 to 0x20 is `inner` inlined into `outer`, from 0x20 on nothing is known. */
static const uint32_t numbers[] = {
    2,    2, 30,   0x40,                     /* header */
    0x10, 2, 0x20, 0,                        /* rows */
    1,    7, 3,    5,    0, 13, 19, 8, 0, 1, /* frames: {function, file, line, column, outer} */
};
static const char strings[30] = "\0outer\0a.c\0\0\0inner\0b.h\0\0\0\0\0\0";

static size_t make(uint8_t *table)
{
    for (size_t i = 0; i < FM_ARRAY_LENGTH(numbers); i++)
        for (size_t byte = 0; byte < 4; byte++)
            table[4 * i + byte] = (uint8_t)(numbers[i] >> 8 * byte);
    memcpy(table + sizeof(numbers), strings, sizeof(strings));
    return sizeof(numbers) + sizeof(strings);
}

static void places_are_found_with_what_is_inlined(void **state)
{
    (void)state;
    uint8_t table[sizeof(numbers) + sizeof(strings)];
    struct fm_line_frame frames[FM_LINES_INLINED_MAX];
    const struct fm_lines lines = {.table = table,
                                   .table_bytes = make(table),
                                   .offsets_known = true,
                                   .code_offset = 0x100,
                                   .shown_offset = 0x40};
    assert_int_equal(fm_lines_find(&lines, 0xff, frames), 0); /* before the code */
    assert_int_equal(fm_lines_find(&lines, 0x10f, frames), 0);
    assert_int_equal(fm_lines_find(&lines, 0x110, frames), 2);
    assert_int_equal(fm_lines_find(&lines, 0x11f, frames), 2);
    assert_string_equal(frames[0].function, "inner");
    assert_string_equal(frames[0].file, "b.h");
    assert_int_equal(frames[0].line, 8);
    assert_int_equal(frames[0].column, 0);
    assert_string_equal(frames[1].function, "outer");
    assert_string_equal(frames[1].file, "a.c");
    assert_int_equal(frames[1].line, 3);
    assert_int_equal(frames[1].column, 5);
    assert_int_equal(fm_lines_find(&lines, 0x120, frames), 0);
    assert_int_equal(fm_lines_find(&lines, SIZE_MAX, frames), 0);
    assert_int_equal(fm_lines_shown(&lines, 0x110), 0x50);
    assert_int_equal(fm_lines_shown(&lines, 0x10), 0x10);
}

static void a_damaged_table_is_only_useless(void **state)
{
    (void)state;
    uint8_t table[sizeof(numbers) + sizeof(strings)];
    struct fm_line_frame frames[FM_LINES_INLINED_MAX];
    size_t bytes = make(table);
    struct fm_lines lines = {.table = table, .offsets_known = true};
    for (lines.table_bytes = 0; lines.table_bytes < bytes; lines.table_bytes++)
        assert_int_equal(fm_lines_find(&lines, 0x10, frames), 0);
    for (size_t i = 0; i < bytes; i++) { /* each byte in turn; the sanitizers watch */
        (void)make(table);
        table[i] = 0xff;
        size_t count = fm_lines_find(&lines, 0x10, frames);
        for (size_t frame = 0; frame < count; frame++)
            (void)(strlen(frames[frame].function) + strlen(frames[frame].file));
    }
    (void)make(table);
    table[sizeof(numbers) - 4] = 2; /* a frame that is inlined into itself */
    assert_int_equal(fm_lines_find(&lines, 0x10, frames), FM_LINES_INLINED_MAX);
}

static void a_file_gives_back_its_table(void **state)
{
    (void)state;
    char path[] = "/tmp/faasm_lines_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    uint8_t table[sizeof(numbers) + sizeof(strings)];
    struct fm_line_frame frames[FM_LINES_INLINED_MAX];
    struct fm_lines lines = {
        .table = table, .table_bytes = make(table), .offsets_known = true, .code_offset = 0x100};
    struct fm_lines_footer footer;
    struct fm_lines read = {0};

    static const uint8_t code[5000];
    assert_int_equal(write(fd, code, sizeof(code)), sizeof(code));
    assert_int_equal(fm_lines_map(&read, path), 0);
    assert_null(read.table);

    assert_true(fm_lines_footer(&lines, &footer));
    assert_int_equal(write(fd, table, sizeof(table)), sizeof(table));
    assert_int_equal(write(fd, &footer, sizeof(footer)), sizeof(footer));
    assert_int_equal(fm_lines_map(&read, path), 0);
    assert_int_equal(fm_lines_find(&read, 0x110, frames), 2);
    assert_string_equal(frames[1].function, "outer");
    fm_lines_done(&read);

    lines.table_bytes = 0; /* without a table the offsets alone, if they differ */
    assert_true(fm_lines_footer(&lines, &footer));
    assert_int_equal(ftruncate(fd, sizeof(code)), 0);
    assert_int_equal(pwrite(fd, &footer, sizeof(footer), sizeof(code)), sizeof(footer));
    assert_int_equal(fm_lines_map(&read, path), 0);
    assert_int_equal(fm_lines_shown(&read, 0x110), 0x10);
    fm_lines_done(&read);
    lines.shown_offset = 0x100;
    assert_false(fm_lines_footer(&lines, &footer));

    footer.table_bytes = UINT64_MAX; /* more than the file has */
    assert_int_equal(pwrite(fd, &footer, sizeof(footer), sizeof(code)), sizeof(footer));
    assert_int_equal(fm_lines_map(&read, path), 0);
    assert_null(read.table);
    assert_int_equal(close(fd), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fm_lines_map(&read, path), FM_ERR_IO);
}

static void a_module_without_debug_information_has_no_table(void **state)
{
    (void)state;
    static const uint8_t empty[] = {0, 'a', 's', 'm', 1, 0, 0, 0};
    static const uint8_t broken[] = {0, 'a', 's', 'm', 1, 0, 0, 0, 10, 200};
    struct fm_lines lines = {0};
    assert_int_equal(fm_lines_make(&lines, empty, sizeof(empty), empty, sizeof(empty)), 0);
    assert_null(lines.table);
    assert_int_equal(fm_lines_make(&lines, broken, sizeof(broken), broken, sizeof(broken)), 0);
    assert_null(lines.table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_found_with_what_is_inlined),
        cmocka_unit_test(a_damaged_table_is_only_useless),
        cmocka_unit_test(a_file_gives_back_its_table),
        cmocka_unit_test(a_module_without_debug_information_has_no_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
