/* test_module.c - compiling, refusing, serializing, loading, and what a module says of itself. */
#include "engine_fixture.h"

#include <stdio.h>
#include <unistd.h>

static int import_nothing(struct fm_sandbox *sandbox, void *host, union fm_value *values)
{
    (void)sandbox;
    (void)host;
    (void)values;
    return 0;
}

static const struct fm_import imports[] = {{"t", "nothing", ":", import_nothing, NULL}};

static int try_compile(struct fm_engine *engine, const char *wasm, size_t bytes,
                       struct fm_error *error)
{
    struct fm_module *module = NULL;
    *error = (struct fm_error){0};
    int failed = fm_module_compile(engine, (const uint8_t *)wasm, bytes, &module, error);
    assert_true(failed || module);
    fm_module_free(module);
    return failed;
}

static void bad_modules_are_told_from_unsupported_ones(void **state)
{
    (void)state;
    struct fm_engine *engine = fixture_engine(false, imports, 1);
    struct fm_error error;
    static const struct {
        const char *text;
        int error;
        const char *word; /* in the message */
    } cases[] = {
        {"(module)", 0, ""},
        {"(module (func (export \"f\") (result v128) (v128.const i32x4 1 2 3 4)))", 0, ""},
        {"(module (tag $t) (func (throw $t)))", 0, ""},
        {"(module (table 1 funcref) (table 2 externref))", 0, ""},
        {"(module (func $f (return_call $f)))", 0, ""},
        {"(module (func (result i32)))", FM_ERR_BAD_MODULE, "type mismatch"},
        {"(module (oops))", FM_ERR_BAD_MODULE, "oops"},
        {"(module (memory i64 1))", FM_ERR_UNSUPPORTED_MODULE, "memory64"},
        {"(module (memory 1 2 shared))", FM_ERR_UNSUPPORTED_MODULE, "threads"},
        {"(module (memory 1) (memory 1))", FM_ERR_UNSUPPORTED_MODULE, "multi"},
        {"(module (type (struct (field i32))))", FM_ERR_UNSUPPORTED_MODULE, "gc"},
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        int failed = try_compile(engine, cases[i].text, strlen(cases[i].text), &error);
        if (failed != cases[i].error || !strstr(error.text, cases[i].word))
            fail_msg("%s: %d '%s'", cases[i].text, failed, error.text);
    }
    assert_int_equal(try_compile(engine, "", 0, &error), FM_ERR_BAD_MODULE);
    assert_int_equal(try_compile(engine, "\0asm", 4, &error), FM_ERR_BAD_MODULE);
    assert_int_equal(try_compile(engine, "\0asm\1\0\0\0\xff", 9, &error), FM_ERR_BAD_MODULE);
    assert_int_equal(try_compile(engine,
                                 "\x7f"
                                 "ELF",
                                 4, &error),
                     FM_ERR_BAD_MODULE);
    fm_engine_free(engine);
}

/* try ... catch_all ... end, as older compilers write it. */
static void legacy_exceptions_are_refused_by_name(void **state)
{
    (void)state;
    static const char wasm[] = "\0asm\1\0\0\0"
                               "\1\4\1\x60\0\0"                /* type: () -> () */
                               "\3\2\1\0"                      /* one function */
                               "\12\10\1\6\0\6\x40\x19\13\13"; /* try catch_all end end */
    struct fm_engine *engine = fixture_engine(false, imports, 1);
    struct fm_error error;
    assert_int_equal(try_compile(engine, wasm, sizeof(wasm) - 1, &error),
                     FM_ERR_UNSUPPORTED_MODULE);
    assert_non_null(strstr(error.text, "legacy form of exception handling"));
    fm_engine_free(engine);
}

static void machine_code_travels_from_a_tool_to_a_pooled_engine(void **state)
{
    (void)state;
    struct fm_engine *tool = fixture_engine(false, imports, 1);
    struct fm_engine *server = fixture_engine(true, imports, 1);
    struct fm_module *compiled =
        fixture_module(tool, "(module (memory (export \"memory\") 1)"
                             " (func (export \"f\") (result i32) (i32.const 99)))");
    uint8_t *image = NULL;
    size_t bytes = 0;
    struct fm_error error = {0};
    assert_int_equal(fm_module_serialize(compiled, &image, &bytes, &error), 0);

    char path[] = "/tmp/faasm-test-module-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, image, bytes), (ssize_t)bytes);
    struct fm_module *loaded = NULL;
    if (fm_module_load(server, path, &loaded, &error) != 0)
        fail_msg("%s", error.text);
    assert_true(fm_module_image_bytes(loaded) > 0);
    assert_int_equal(fm_module_prepare(loaded, false, &error), 0);
    struct fm_sandbox *sandbox = fixture_sandbox(loaded, NULL, NULL);
    assert_int_equal(fixture_call(sandbox, "f").error, 0);
    assert_int_equal(fm_sandbox_result(sandbox), 99);
    fm_sandbox_free(sandbox);
    fm_module_free(loaded);

    /* Not machine code at all, and none. */
    assert_int_equal(ftruncate(fd, 16), 0);
    assert_int_equal(fm_module_load(server, path, &loaded, &error), FM_ERR_CONFLICT);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fm_module_load(server, path, &loaded, &error), FM_ERR_CONFLICT);
    assert_int_equal(close(fd), 0);
    free(image);
    fm_module_free(compiled);
    fm_engine_free(server);
    fm_engine_free(tool);
}

static void a_shape_names_imports_and_exports(void **state)
{
    (void)state;
    struct fm_engine *engine = fixture_engine(false, imports, 1);
    const char *text = "(module (import \"a\" \"b\" (func (param i32 i64 f32 f64) (result i32)))"
                       " (import \"c\" \"m\" (memory 3))"
                       " (import \"c\" \"g\" (global i32)) (import \"c\" \"t\" (table 1 funcref))"
                       " (func (export \"\") (param externref) (result i32 i64)"
                       "  (i32.const 0) (i64.const 0)))";
    struct fm_module *module = NULL;
    struct fm_error error = {0};
    assert_int_equal(
        fm_module_compile(engine, (const uint8_t *)text, strlen(text), &module, &error), 0);
    struct fm_arena arena;
    fm_arena_init(&arena, FM_MIB);
    struct fm_module_shape shape;
    assert_int_equal(fm_module_shape(module, &arena, &shape), 0);
    assert_int_equal(shape.imports_count, 4);
    assert_string_equal(shape.imports[0].module, "a");
    assert_string_equal(shape.imports[0].name, "b");
    assert_string_equal(shape.imports[0].signature, "iIfF:i");
    assert_int_equal(shape.imports[1].kind, FM_EXTERN_MEMORY);
    assert_int_equal(shape.imports[1].memory_pages_min, 3);
    assert_int_equal(shape.imports[2].kind, FM_EXTERN_GLOBAL);
    assert_int_equal(shape.imports[3].kind, FM_EXTERN_TABLE);
    assert_int_equal(shape.exports_count, 1);
    assert_string_equal(shape.exports[0].name, "");
    assert_string_equal(shape.exports[0].signature, "?:iI");
    fm_arena_done(&arena);
    fm_arena_init(&arena, 8); /* a ceiling that is too low */
    assert_int_equal(fm_module_shape(module, &arena, &shape), FM_ERR_NOMEM);
    fm_arena_done(&arena);
    fm_module_free(module);
    fm_engine_free(engine);
}

static void an_impossible_engine_is_an_error(void **state)
{
    (void)state;
    struct fm_engine_config config;
    fm_engine_config_init(&config, true);
    config.slots = 4000000; /* 16 PiB of addresses */
    struct fm_engine *engine = NULL;
    struct fm_error error = {0};
    assert_int_equal(fm_engine_new(&config, &engine, &error), FM_ERR_BAD_REQUEST);
    assert_null(engine);
    assert_true(strlen(error.text) > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_modules_are_told_from_unsupported_ones),
        cmocka_unit_test(legacy_exceptions_are_refused_by_name),
        cmocka_unit_test(machine_code_travels_from_a_tool_to_a_pooled_engine),
        cmocka_unit_test(a_shape_names_imports_and_exports),
        cmocka_unit_test(an_impossible_engine_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
