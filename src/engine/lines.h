/* lines.h - source lines of a module: read from a table that was made where it was compiled.
 *
 * Private to engine/.  The table is described, and made, in wasmtime/src/lines.rs.  A file of
 * machine code carries it behind the code:
 *
 *      [machine code][table, may be empty][struct fm_lines_footer]
 */
#pragma once

#include "base/error.h"

#define FM_LINES_MAGIC "FMLINES1"
#define FM_LINES_INLINED_MAX 16 /* as in lines.rs */

/* Whatever follows machine code; a file without it has no table. */
struct fm_lines_footer {
    uint64_t table_bytes;
    uint32_t code_offset;  /* where code begins in the module that was compiled */
    uint32_t shown_offset; /* and in the one that the user has: another one after a snapshot */
    char magic[8];
};

/* All of it may be empty: then nothing is known. */
struct fm_lines {
    const uint8_t *table;
    size_t table_bytes;
    bool offsets_known; /* the two that follow */
    uint32_t code_offset;
    uint32_t shown_offset;
    void *mapping; /* what is to be unmapped; NULL: `table` is from malloc */
    size_t mapping_bytes;
};

/* Makes the table of a binary module, as far as that can be done within a bounded time; takes as
 * long as that.  `compiled` is what the machine code was made of, `wasm` what the user has.
 * FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_lines_make(struct fm_lines *lines, const uint8_t *wasm, size_t wasm_bytes,
                                const uint8_t *compiled, size_t compiled_bytes);

/* Maps that of a file of machine code; a file without one leaves `lines` empty.  FM_ERR_IO,
 * FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_lines_map(struct fm_lines *lines, const char *path);

void fm_lines_done(struct fm_lines *lines); /* one that is zeroed is fine */

/* False: there is nothing that a file of machine code should carry. */
bool fm_lines_footer(const struct fm_lines *lines, struct fm_lines_footer *ret_footer);

/* One function at a place; texts are the table's, printable, "" where nothing is known. */
struct fm_line_frame {
    const char *function;
    const char *file;
    uint32_t line; /* 0: not known */
    uint32_t column;
};

/* Where an offset in the compiled module is in the user's. */
size_t fm_lines_shown(const struct fm_lines *lines, size_t offset);

/* What stands at that offset of the compiled module, innermost first, all but the last inlined.
 * How many; 0: nothing is known. */
size_t fm_lines_find(const struct fm_lines *lines, size_t offset,
                     struct fm_line_frame ret_frames[FM_LINES_INLINED_MAX]);
