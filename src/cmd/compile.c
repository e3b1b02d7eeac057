/* compile.c - the compile process: `faasm compile`, module on descriptor 0, output on descriptor 1.
 *
 * Where descriptor 0 is a socket instead, it makes everything ready and waits there for the two:
 * half of the time in which a small module is compiled is the start of the process.
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
#define INPUT_FD 0
#define OUTPUT_FD 1
#define ARENA_BYTES_MAX FM_GIB /* what a module says of itself: as many imports as it may have */

static int write_all(const void *data, size_t bytes)
{
    const char *at = data;
    while (bytes > 0) {
        ssize_t written = write(OUTPUT_FD, at, bytes);
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
    int failed = write_all(text, length);
    if (!failed)
        failed = write_all(&footer, sizeof(footer));
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

static int compile(struct fm_engine *engine, const uint8_t *wasm, size_t bytes,
                   struct fm_arena *arena, struct fm_compile_result *result)
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
        failed = build(engine, binary ? binary : wasm, binary ? binary_bytes : bytes, arena,
                       &snapshot, &module, result);
    if (!failed)
        failed = fm_module_serialize(module, &image, &image_bytes, error);
    if (!failed && write_all(image, image_bytes) != 0)
        failed = fm_error_errno(error, errno, "cannot write the machine code");
    free(image);
    fm_module_free(module);
    free(snapshot.wasm);
    free(binary);
    return failed;
}

/* What does not depend on the module. */
static int make_engine(struct fm_engine **ret_engine, struct fm_error *error)
{
    struct fm_engine_config config;
    fm_engine_config_init(&config, false);
    config.compile_parallel = COMPILE_PARALLEL;
    struct fm_engine *engine = NULL;
    int failed = fm_engine_new(&config, &engine, error);
    if (!failed)
        failed = fm_guest_imports_add(engine, error);
    if (failed) {
        fm_engine_free(engine);
        return failed;
    }
    *ret_engine = engine;
    return 0;
}

/* The module that is on descriptor 0 by now.  The exit code. */
static int compile_input(struct fm_engine *engine, const struct fm_error *no_engine)
{
    struct stat info;
    struct fm_error error = {0};
    if (fstat(INPUT_FD, &info) != 0 || !S_ISREG(info.st_mode)) {
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
    struct fm_compile_result result = {.error = *no_engine};
    int failed = engine ? compile(engine, wasm, bytes, &arena, &result) : no_engine->code;
    result.error.code = failed;
    failed = write_result(&result);
    fm_arena_done(&arena);
    if (bytes)
        (void)munmap(wasm, bytes); /* at the end anyway */
    return failed ? fm_err_exit_code(failed) : 0;
}

/* Waits for the module and the output, and puts them where they belong.  False: nobody wants it. */
static bool receive_descriptors(void)
{
    int wasm_fd = -1;
    int output_fd = -1;
    if (fm_compile_receive(INPUT_FD, true, &wasm_fd, &output_fd) <= 0)
        return false;
    FM_ASSERT(wasm_fd > OUTPUT_FD && output_fd > OUTPUT_FD); /* these two are the socket's */
    bool placed = dup2(wasm_fd, INPUT_FD) >= 0 && dup2(output_fd, OUTPUT_FD) >= 0;
    return close(wasm_fd) == 0 && close(output_fd) == 0 && placed;
}

static int run_verb(int argc, char **argv)
{
    (void)argv;
    struct stat info;
    struct fm_error error = {0};
    struct fm_engine *engine = NULL;
    if (argc != 1) {
        (void)fm_error_set(&error, FM_ERR_BAD_REQUEST, "this verb is the server's own");
        return fm_cmd_fail(VERB, &error);
    }
    (void)!make_engine(&engine, &error); /* whose module it is learns of it */
    bool early = fstat(INPUT_FD, &info) == 0 && S_ISSOCK(info.st_mode);
    int code = 0;
    if (!early || receive_descriptors())
        code = compile_input(engine, &error);
    fm_engine_free(engine);
    return code;
}

const struct fm_verb fm_verb_compile = {
    .name = VERB,
    .usage = "Usage: faasm compile <MODULE >OUTPUT\n\nThe server's own: compiles one module.\n",
    .run = run_verb,
};
