/* compile.c - the compile process: `faasm compile`, module on descriptor 0, output on descriptor 1;
 * on 3 and 4, where they are files, a compile cache to be used, and the one to be written.
 *
 * Where descriptor 0 is a socket instead, it makes everything ready and waits there for these
 * files: half of the time in which a small module is compiled is the start of the process.
 *
 * It has its own limits of memory, CPU time and file size, no other descriptors, and dies with its
 * parent.  It is also where a module is initialised, if it wants that once and not per call
 * (snapshot.h): the one place besides the workers where a stranger's code runs, sandboxed as there.
 * Whatever goes wrong inside it (a bug of the compiler, a module made to explode) ends one
 * upload. */
#include "cmd/compile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "cmd/cmd.h"
#include "cmd/compile_format.h"
#include "cmd/snapshot.h"
#include "engine/compile_cache.h"
#include "engine/engine.h"
#include "engine/module.h"
#include "engine/snapshot.h"
#include "guest/guest.h"

/* The thread sanitizer does not see how the engine's threads agree. */
#if defined(__SANITIZE_THREAD__)
#define COMPILE_PARALLEL false
#else
#define COMPILE_PARALLEL true
#endif

#define VERB "compile"
#define INPUT_FD fm_compile_places[FM_COMPILE_WASM]
#define OUTPUT_FD fm_compile_places[FM_COMPILE_OUTPUT]
#define CACHE_FD fm_compile_places[FM_COMPILE_CACHE]
#define NEW_CACHE_FD fm_compile_places[FM_COMPILE_NEW_CACHE]
#define ARENA_BYTES_MAX FM_GIB /* what a module says of itself: as many imports as it may have */

struct tools {
    struct fm_compile_cache *cache; /* NULL: there is none to be used, nor to be written */
    struct fm_engine *engine;       /* NULL: `error` says why */
    struct fm_error error;
    size_t code_bytes; /* of machine code that was made */
};

static int write_all(int fd, const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t written = write(fd, at, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return FM_ERR_IO;
        at += written;
        bytes -= (size_t)written;
    }
    return 0;
}

static int write_result(const struct fm_compile_result *result)
{
    char *text = fm_compile_result_write(result);
    if (!text)
        return FM_ERR_NOMEM;
    uint64_t length = strlen(text);
    struct fm_compile_footer footer = {.json_length = length};
    memcpy(footer.magic, FM_COMPILE_MAGIC, sizeof(footer.magic));
    int failed = write_all(OUTPUT_FD, text, length);
    if (!failed)
        failed = write_all(OUTPUT_FD, &footer, sizeof(footer));
    free(text);
    return failed;
}

/* From WebAssembly, perhaps initialised, to machine code and facts. */
static int build(struct fm_engine *engine, const uint8_t *wasm, size_t bytes,
                 struct fm_arena *arena, struct fm_snapshot *snapshot,
                 struct fm_module **ret_module, struct fm_compile_result *result)
{
    struct fm_error *error = &result->error;
    bool wanted = fm_snapshot_wanted(wasm, bytes);
    int failed = 0;
    if (wanted)
        failed = fm_snapshot_make(wasm, bytes, COMPILE_PARALLEL, arena, snapshot, &result->refusal,
                                  error);
    const uint8_t *source = wanted ? snapshot->wasm : wasm;
    size_t source_bytes = wanted ? snapshot->bytes : bytes;
    if (!failed)
        failed = fm_module_compile(engine, source, source_bytes, ret_module, error);
    if (!failed)
        failed =
            fm_guest_classify(*ret_module, arena, &result->facts, &result->refusal.missing, error);
    if (!failed && fm_module_lines(*ret_module, wasm, bytes, source, source_bytes) != 0)
        failed = fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    result->facts.snapshot = wanted;
    result->facts.snapshot_us = snapshot->took_ns / FM_NS_PER_US;
    return failed;
}

/* --- the compile cache ------------------------------------------------------------------------ */

static bool is_file(int fd, struct stat *info)
{
    return fstat(fd, info) == 0 && S_ISREG(info->st_mode);
}

/* What the version before has left, if it has.  It stays mapped. */
static void fill_cache(struct fm_compile_cache *cache)
{
    struct stat info;
    if (!is_file(CACHE_FD, &info) || info.st_size == 0)
        return;
    const void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, CACHE_FD, 0);
    if (bytes != MAP_FAILED)
        (void)fm_compile_cache_fill(cache, bytes, (size_t)info.st_size);
}

/* For the next version, if it is not too large beside the machine code.  The last thing that is
 * written: where there is no room for it, all the rest is there. */
static void write_cache(const struct tools *tools)
{
    struct stat info;
    uint8_t *bytes = NULL;
    size_t length = 0;
    size_t most =
        fm_min_u64(tools->code_bytes * FM_COMPILE_CACHE_CODE_MAX, FM_COMPILE_OUTPUT_BYTES);
    if (tools->cache && is_file(NEW_CACHE_FD, &info) &&
        fm_compile_cache_write(tools->cache, most, &bytes, &length) == 0 &&
        write_all(NEW_CACHE_FD, bytes, length) != 0)
        (void)!ftruncate(NEW_CACHE_FD, 0); /* half of one would be of no use */
    free(bytes);
}

/* --- the module ------------------------------------------------------------------------------- */

static int compile(struct tools *tools, const uint8_t *wasm, size_t bytes, struct fm_arena *arena,
                   struct fm_compile_result *result)
{
    struct fm_error *error = &result->error;
    struct fm_module *module = NULL;
    struct fm_snapshot snapshot = {0};
    uint8_t *binary = NULL;
    uint8_t *image = NULL;
    size_t binary_bytes = 0;
    size_t image_bytes = 0;
    int failed = fm_module_from_text(wasm, bytes, &binary, &binary_bytes, error);
    if (!failed)
        failed = build(tools->engine, binary ? binary : wasm, binary ? binary_bytes : bytes, arena,
                       &snapshot, &module, result);
    if (!failed)
        failed = fm_module_serialize(module, &image, &image_bytes, error);
    if (!failed && write_all(OUTPUT_FD, image, image_bytes) != 0)
        failed = fm_error_errno(error, errno, "cannot write the machine code");
    if (!failed && tools->cache)
        fm_compile_cache_counts(tools->cache, &result->bodies.reused, &result->bodies.compiled);
    tools->code_bytes = failed ? 0 : image_bytes;
    free(image);
    fm_module_free(module);
    free(snapshot.wasm);
    free(binary);
    return failed;
}

static void tools_done(struct tools *tools)
{
    fm_engine_free(tools->engine);
    fm_compile_cache_free(tools->cache);
}

/* Whose module it is learns of what fails. */
static void make_engine(struct tools *tools)
{
    struct fm_engine_config config;
    fm_engine_config_init(&config, false);
    config.compile_parallel = COMPILE_PARALLEL;
    config.compile_cache = tools->cache;
    (void)!fm_engine_new(&config, &tools->engine, &tools->error);
}

/* When the files are there.  An engine that has a cache works by it even where there is nothing in
 * it, so most modules get one that has none. */
static void make_cached_engine(struct tools *tools)
{
    struct stat info;
    if (!is_file(CACHE_FD, &info) && !is_file(NEW_CACHE_FD, &info))
        return;
    tools->engine = fm_engine_free(tools->engine);
    tools->cache = fm_compile_cache_new();
    fill_cache(tools->cache);
    make_engine(tools);
}

/* The module that is on descriptor 0 by now.  The exit code. */
static int compile_input(struct tools *tools)
{
    struct stat info;
    struct fm_error error = {0};
    if (!is_file(INPUT_FD, &info)) {
        (void)fm_error_set(&error, FM_ERR_BAD_REQUEST, "this verb is the server's own");
        return fm_cmd_fail(VERB, &error);
    }
    size_t bytes = (size_t)info.st_size;
    void *wasm = bytes ? mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, INPUT_FD, 0) : NULL;
    if (wasm == MAP_FAILED) {
        (void)fm_error_errno(&error, errno, "cannot map the module");
        return fm_cmd_fail(VERB, &error);
    }
    struct fm_arena arena;
    fm_arena_init(&arena, ARENA_BYTES_MAX);
    make_cached_engine(tools);
    struct fm_compile_result result = {.error = tools->error};
    int failed = tools->engine ? compile(tools, wasm, bytes, &arena, &result) : tools->error.code;
    result.error.code = failed;
    failed = write_result(&result);
    if (!failed)
        write_cache(tools);
    fm_arena_done(&arena);
    if (bytes)
        (void)munmap(wasm, bytes); /* at the end anyway */
    return failed ? fm_err_exit_code(failed) : 0;
}

/* Waits for the files, and puts them where they belong.  False: nobody wants it. */
static bool receive_files(void)
{
    struct fm_compile_files files;
    return fm_compile_receive(INPUT_FD, true, &files) > 0 && fm_compile_files_place(&files);
}

static int run_verb(int argc, char **argv)
{
    (void)argv;
    struct stat info;
    struct tools tools = {0};
    if (argc != 1) {
        (void)fm_error_set(&tools.error, FM_ERR_BAD_REQUEST, "this verb is the server's own");
        return fm_cmd_fail(VERB, &tools.error);
    }
    make_engine(&tools);
    bool early = fstat(INPUT_FD, &info) == 0 && S_ISSOCK(info.st_mode);
    int code = 0;
    if (!early || receive_files())
        code = compile_input(&tools);
    tools_done(&tools);
    return code;
}

const struct fm_verb fm_verb_compile = {
    .name = VERB,
    .usage = "Usage: faasm compile <MODULE >OUTPUT\n\nThe server's own: compiles one module.\n",
    .run = run_verb,
};
