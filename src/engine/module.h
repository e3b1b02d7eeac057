/* module.h - a module: machine code in memory, ready to be instantiated.
 *
 * Immutable after it is made, so any thread may use it; whoever made it frees it, after the last
 * sandbox of it is gone. */
#pragma once

#include "base/arena.h"
#include "base/error.h"

struct fm_engine;
struct fm_module; /* opaque */

/* --- from WebAssembly (compile process, tools) --------------------------------------------------
 */

/* A module in the text format as binary, from malloc; `*ret_wasm` is NULL if it is binary already.
 * FM_ERR_BAD_MODULE, FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_module_from_text(const uint8_t *text, size_t bytes, uint8_t **ret_wasm,
                                      size_t *ret_bytes, struct fm_error *error);

/* Also takes the text format.  FM_ERR_BAD_MODULE: malformed.  FM_ERR_UNSUPPORTED_MODULE: valid, but
 * needs a proposal that this server lacks, or more memory than it gives.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_module_compile(struct fm_engine *engine, const uint8_t *wasm, size_t bytes,
                                    struct fm_module **ret_module, struct fm_error *error);

/* Adds its source lines, if `wasm` has debug information: shown in backtraces from now on, and kept
 * with the machine code.  Takes up to some seconds.  `compiled` is what the module was made of:
 * `wasm`, or something made of that with the same code.  Both binary.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_module_lines(struct fm_module *module, const uint8_t *wasm, size_t bytes,
                                  const uint8_t *compiled, size_t compiled_bytes);

/* The machine code as a file's content, from malloc. */
FM_MUST_CHECK int fm_module_serialize(const struct fm_module *module, uint8_t **ret_data,
                                      size_t *ret_bytes, struct fm_error *error);

/* --- from machine code (server) ------------------------------------------------------------------
 */

/* `path` names a file that fm_module_serialize() made: it runs with this process's rights, so its
 * origin must be proved before.  Mapped, so the file must never change in place.
 * FM_ERR_CONFLICT: made by another build, for another CPU or with other settings; compile again.
 * FM_ERR_IO, FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_module_load(struct fm_engine *engine, const char *path,
                                 struct fm_module **ret_module, struct fm_error *error);

/* Links the module to the engine's imports; needed before a sandbox is made of it.  With
 * `stub_missing` a function that nobody provides traps, with its name, when it is called; otherwise
 * it is FM_ERR_UNSUPPORTED_MODULE. */
FM_MUST_CHECK int fm_module_prepare(struct fm_module *module, bool stub_missing,
                                    struct fm_error *error);

struct fm_module *fm_module_free(struct fm_module *module); /* NULL is fine; returns NULL */

/* Bytes of machine code and data mapped for it. */
size_t fm_module_image_bytes(const struct fm_module *module);

/* --- what it needs and offers ----------------------------------------------------------------- */

enum fm_extern_kind {
    FM_EXTERN_FUNCTION,
    FM_EXTERN_MEMORY,
    FM_EXTERN_TABLE,
    FM_EXTERN_GLOBAL,
    FM_EXTERN_OTHER, /* tags */
};

struct fm_extern {
    const char *module; /* NULL for an export */
    const char *name;
    enum fm_extern_kind kind;
    const char *signature;     /* of a function, as in import.h ("?" for other types); else "" */
    uint64_t memory_pages_min; /* of a memory, pages of 64 KiB */
};

struct fm_module_shape {
    const struct fm_extern *imports;
    size_t imports_count;
    const struct fm_extern *exports;
    size_t exports_count;
};

/* Everything comes from `arena`, names too (they may hold any bytes but NUL; a name with a NUL is
 * cut there).  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_module_shape(const struct fm_module *module, struct fm_arena *arena,
                                  struct fm_module_shape *ret_shape);
