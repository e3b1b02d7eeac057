/* lines.c - looks places up in the table of source lines.
 *
 *      header     rows, frames, string bytes, code offset
 *      rows       {address, frame}...                 by address
 *      frames     {function, file, line, column, outer}...
 *      strings
 *
 * The server never reads debug information, which is made by strangers: a table of numbers is made
 * of it where modules are compiled.  Even so every number is checked against the table's size,
 * since checking costs nothing where a guest has just trapped.
 *
 * A table lies behind the machine code, in the same file and under the same keyed hash, and is
 * mapped: it costs memory once a backtrace is shown.
 *
 * No state; any thread. */
#include "engine/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/wt.h"

#define HEADER_BYTES 16
#define ROW_BYTES 8
#define FRAME_BYTES 20
#define BUDGET_MS 5000 /* for one table; the largest modules need a second */

/* --- the table -------------------------------------------------------------------------------- */

struct view {
    const uint8_t *rows;
    const uint8_t *frames;
    const char *strings;
    uint32_t rows_count;
    uint32_t frames_count;
    uint32_t strings_bytes;
};

static uint32_t number_at(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static bool look(const struct fm_lines *lines, struct view *ret_view)
{
    if (lines->table_bytes < HEADER_BYTES)
        return false;
    uint64_t rows = number_at(lines->table);
    uint64_t frames = number_at(lines->table + 4);
    uint64_t strings = number_at(lines->table + 8);
    if (HEADER_BYTES + rows * ROW_BYTES + frames * FRAME_BYTES + strings != lines->table_bytes ||
        strings == 0 || lines->table[lines->table_bytes - 1] != '\0')
        return false;
    ret_view->rows = lines->table + HEADER_BYTES;
    ret_view->frames = ret_view->rows + rows * ROW_BYTES;
    ret_view->strings = (const char *)ret_view->frames + frames * FRAME_BYTES;
    ret_view->rows_count = (uint32_t)rows;
    ret_view->frames_count = (uint32_t)frames;
    ret_view->strings_bytes = (uint32_t)strings;
    return true;
}

/* The frame of the last row at or before the address; 0: none. */
static uint32_t find_row(const struct view *view, uint64_t address)
{
    uint32_t low = 0;
    uint32_t high = view->rows_count;
    while (low <
           high) { /* rows before `low` are at or before the address, from `high` on after it */
        uint32_t middle = low + (high - low) / 2;
        if (number_at(view->rows + (size_t)middle * ROW_BYTES) <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low == 0 ? 0 : number_at(view->rows + (size_t)(low - 1) * ROW_BYTES + 4);
}

static const char *string_at(const struct view *view, uint32_t offset)
{
    return offset < view->strings_bytes ? view->strings + offset : "";
}

size_t fm_lines_find(const struct fm_lines *lines, size_t offset,
                     struct fm_line_frame ret_frames[FM_LINES_INLINED_MAX])
{
    struct view view;
    if (offset < lines->code_offset || !look(lines, &view))
        return 0;
    size_t count = 0;
    uint32_t number = find_row(&view, offset - lines->code_offset);
    while (number > 0 && number <= view.frames_count && count < FM_LINES_INLINED_MAX) {
        const uint8_t *frame = view.frames + (size_t)(number - 1) * FRAME_BYTES;
        ret_frames[count++] = (struct fm_line_frame){
            .function = string_at(&view, number_at(frame)),
            .file = string_at(&view, number_at(frame + 4)),
            .line = number_at(frame + 8),
            .column = number_at(frame + 12),
        };
        number = number_at(frame + 16);
    }
    return count;
}

size_t fm_lines_shown(const struct fm_lines *lines, size_t offset)
{
    if (!lines->offsets_known || offset < lines->code_offset)
        return offset;
    return offset - lines->code_offset + lines->shown_offset;
}

/* --- making it -------------------------------------------------------------------------------- */

int fm_lines_make(struct fm_lines *lines, const uint8_t *wasm, size_t wasm_bytes,
                  const uint8_t *compiled, size_t compiled_bytes)
{
    FM_ASSERT(!lines->table);
    size_t code_offset = fm_wt_code_offset(compiled, compiled_bytes);
    size_t shown_offset = fm_wt_code_offset(wasm, wasm_bytes);
    if (code_offset > UINT32_MAX || shown_offset > UINT32_MAX)
        return 0; /* no code, or more than a module can have */
    lines->offsets_known = true;
    lines->code_offset = (uint32_t)code_offset;
    lines->shown_offset = (uint32_t)shown_offset;
    wasm_byte_vec_t table;
    if (!fm_wt_lines(wasm, wasm_bytes, BUDGET_MS, &table))
        return 0;
    uint8_t *copy = malloc(table.size);
    if (copy) {
        memcpy(copy, table.data, table.size);
        lines->table = copy;
        lines->table_bytes = table.size;
    }
    wasm_byte_vec_delete(&table);
    return copy ? 0 : FM_ERR_NOMEM;
}

bool fm_lines_footer(const struct fm_lines *lines, struct fm_lines_footer *ret_footer)
{
    if (!lines->offsets_known ||
        (lines->table_bytes == 0 && lines->code_offset == lines->shown_offset))
        return false;
    *ret_footer = (struct fm_lines_footer){
        .table_bytes = lines->table_bytes,
        .code_offset = lines->code_offset,
        .shown_offset = lines->shown_offset,
    };
    memcpy(ret_footer->magic, FM_LINES_MAGIC, sizeof(ret_footer->magic));
    return true;
}

/* --- finding it ------------------------------------------------------------------------------- */

static int map_table(struct fm_lines *lines, int fd, uint64_t table_start, uint64_t table_bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t start = table_start / page * page;
    size_t bytes = (size_t)(table_start - start + table_bytes);
    void *mapping = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, fd, (off_t)start);
    if (mapping == MAP_FAILED)
        return errno == ENOMEM ? FM_ERR_NOMEM : FM_ERR_IO;
    lines->mapping = mapping;
    lines->mapping_bytes = bytes;
    lines->table = (const uint8_t *)mapping + (table_start - start);
    lines->table_bytes = (size_t)table_bytes;
    return 0;
}

static int read_footer(struct fm_lines *lines, int fd)
{
    struct stat info;
    struct fm_lines_footer footer;
    if (fstat(fd, &info) != 0)
        return FM_ERR_IO;
    uint64_t size = (uint64_t)info.st_size;
    if (size < sizeof(footer))
        return 0;
    if (pread(fd, &footer, sizeof(footer), (off_t)(size - sizeof(footer))) != sizeof(footer))
        return FM_ERR_IO;
    if (memcmp(footer.magic, FM_LINES_MAGIC, sizeof(footer.magic)) != 0 ||
        footer.table_bytes > size - sizeof(footer))
        return 0;
    lines->offsets_known = true;
    lines->code_offset = footer.code_offset;
    lines->shown_offset = footer.shown_offset;
    if (footer.table_bytes == 0)
        return 0;
    return map_table(lines, fd, size - sizeof(footer) - footer.table_bytes, footer.table_bytes);
}

int fm_lines_map(struct fm_lines *lines, const char *path)
{
    FM_ASSERT(!lines->table);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENFILE || errno == EMFILE || errno == ENOMEM ? FM_ERR_NOMEM : FM_ERR_IO;
    int failed = read_footer(lines, fd);
    (void)close(fd); /* only read */
    return failed;
}

void fm_lines_done(struct fm_lines *lines)
{
    if (lines->mapping)
        (void)munmap(lines->mapping, lines->mapping_bytes); /* our own: cannot fail */
    else
        free((void *)(uintptr_t)lines->table); /* from malloc, const only for readers */
    *lines = (struct fm_lines){0};
}
