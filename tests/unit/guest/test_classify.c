/* test_classify.c - how a module runs, and every way in which an upload is refused. */
#include "guest_fixture.h"

#define MEMORY "(memory (export \"memory\") 3)"
#define START "(func (export \"_start\"))"
#define RUN "(func (export \"run\") (param i32 i32 i32 i32) (result i32) (i32.const 0))"
#define HANDLE "(func (export \"handle\") (result i32) (i32.const 0))"
#define FAASM_SIZE "(import \"faasm\" \"input_size\" (func (result i32)))"
#define WASI_EXIT "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param i32)))"
#define ENV_ABORT "(import \"env\" \"abort\" (func))"
#define ENV_BRK "(import \"env\" \"__syscall_brk\" (func (param i32) (result i32)))"

static struct fm_missing_imports missing; /* of the last one; its texts are the arena's */

static int classify(const char *fields, struct fm_arena *arena, struct fm_module_facts *facts,
                    struct fm_error *error)
{
    missing = (struct fm_missing_imports){0};
    struct fm_buffer text;
    struct fm_module *module = NULL;
    fm_buffer_init(&text, 4 * FM_MIB);
    assert_int_equal(fm_buffer_printf(&text, "(module %s)", fields), 0);
    if (fm_module_compile(fixture_engine, text.data, text.length, &module, error) != 0)
        fail_msg("%s", error->text);
    fm_buffer_done(&text);
    int result = fm_guest_classify(module, arena, facts, &missing, error);
    if (result == 0)
        assert_int_equal(fm_guest_prepare(module, facts->abi, error), 0);
    fm_module_free(module);
    return result;
}

static struct fm_module_facts accepted(const char *fields)
{
    struct fm_arena arena;
    struct fm_module_facts facts;
    struct fm_error error = {0};
    fm_arena_init(&arena, FM_MIB);
    if (classify(fields, &arena, &facts, &error) != 0)
        fail_msg("%s", error.text);
    assert_int_equal(missing.count, 0);
    fm_arena_done(&arena);
    facts.imports = NULL;
    return facts;
}

static void refused(const char *fields, const char *text)
{
    struct fm_arena arena;
    struct fm_module_facts facts = {.memory_pages_min = 12345};
    struct fm_error error = {0};
    fm_arena_init(&arena, FM_MIB);
    assert_int_equal(classify(fields, &arena, &facts, &error), FM_ERR_UNSUPPORTED_MODULE);
    assert_string_equal(error.text, text);
    assert_int_equal(facts.memory_pages_min, 12345); /* untouched */
    assert_int_equal(missing.count > 0, strncmp(text, "the module imports", 18) == 0);
    fm_arena_done(&arena);
}

/* Refused, and the list is this: texts, NULL at the end. */
static void lacks(const char *fields, const char *const *names)
{
    struct fm_arena arena;
    struct fm_module_facts facts;
    struct fm_error error = {0};
    fm_arena_init(&arena, FM_MIB);
    assert_int_equal(classify(fields, &arena, &facts, &error), FM_ERR_UNSUPPORTED_MODULE);
    size_t count = 0;
    for (; names[count]; count++) {
        assert_true(count < missing.count);
        assert_string_equal(missing.names[count], names[count]);
    }
    assert_int_equal(missing.count, count);
    fm_arena_done(&arena);
}

static void test_abis(void **state)
{
    (void)state;
    assert_int_equal(accepted(MEMORY START).abi, FM_ABI_WASI);
    assert_int_equal(accepted(WASI_EXIT MEMORY START).abi, FM_ABI_WASI);
    assert_int_equal(accepted(FAASM_SIZE MEMORY START).abi, FM_ABI_FAASM);
    assert_int_equal(accepted(FAASM_SIZE WASI_EXIT MEMORY START).abi, FM_ABI_FAASM);
    assert_int_equal(accepted(FAASM_SIZE MEMORY HANDLE).abi, FM_ABI_REACTOR);
    assert_int_equal(accepted(MEMORY HANDLE).abi, FM_ABI_REACTOR);
    assert_int_equal(accepted(MEMORY START HANDLE).abi, FM_ABI_WASI);
    assert_int_equal(accepted(MEMORY START).memory_pages_min, 3);
    assert_int_equal(accepted(MEMORY START).imports_count, 0);
}

/* `run` makes a function of 2018 only where nothing speaks for something newer. */
static void test_abi_2018(void **state)
{
    (void)state;
    assert_int_equal(accepted(MEMORY RUN).abi, FM_ABI_FAASM_2018);
    assert_int_equal(accepted(ENV_ABORT MEMORY RUN START).abi, FM_ABI_FAASM_2018);
    assert_int_equal(accepted(ENV_ABORT ENV_BRK MEMORY RUN START).abi, FM_ABI_FAASM_2018);
    assert_int_equal(accepted(WASI_EXIT MEMORY RUN).abi, FM_ABI_FAASM_2018);
    assert_int_equal(accepted(WASI_EXIT MEMORY RUN START).abi, FM_ABI_WASI);
    assert_int_equal(accepted(FAASM_SIZE MEMORY RUN START).abi, FM_ABI_FAASM);
    assert_int_equal(accepted(FAASM_SIZE MEMORY RUN HANDLE).abi, FM_ABI_REACTOR);
}

/* A `run` of another type is just a function. */
static void test_another_run(void **state)
{
    (void)state;
    const char *other = "(func (export \"run\") (param i32) (result i32) (i32.const 0))";
    char fields[400];
    (void)snprintf(fields, sizeof(fields), "%s %s %s", MEMORY, START, other);
    assert_int_equal(accepted(fields).abi, FM_ABI_WASI);
    (void)snprintf(fields, sizeof(fields), "%s %s", MEMORY, other);
    refused(fields, "the module exports `run` with the type (i32)->i32 instead of "
                    "(i32,i32,i32,i32)->i32");
}

static void test_initialize(void **state)
{
    (void)state;
    const char *init = "(func (export \"_initialize\"))";
    char fields[400];
    assert_false(accepted(MEMORY HANDLE).has_initialize);
    (void)snprintf(fields, sizeof(fields), "%s %s %s", MEMORY, HANDLE, init);
    assert_true(accepted(fields).has_initialize);
    (void)snprintf(fields, sizeof(fields), "%s %s %s", MEMORY, RUN, init);
    assert_true(accepted(fields).has_initialize);
    /* A command starts by itself. */
    (void)snprintf(fields, sizeof(fields), "%s %s %s", MEMORY, START, init);
    assert_false(accepted(fields).has_initialize);

    refused(MEMORY HANDLE "(func (export \"_initialize\") (result i64) (i64.const 0))",
            "the module exports `_initialize` with the type ()->i64 instead of ()->()");
}

static void test_no_entry(void **state)
{
    (void)state;
    static const char none[] = "the module exports no entry: `_start`, `handle` or, for functions "
                               "of 2018, `run`";
    refused(MEMORY, none);
    refused(MEMORY "(func (export \"main\"))", none);
    /* Not functions: */
    refused(MEMORY "(global (export \"_start\") i32 (i32.const 0))", none);
    refused(MEMORY "(func (export \"_start\") (param i32))",
            "the module exports `_start` with the type (i32)->() instead of ()->()");
    refused(MEMORY "(func (export \"handle\") (param f32 f64))",
            "the module exports `handle` with the type (f32,f64)->() instead of ()->i32");
    /* A wrong `_start` does not hide a good `handle`. */
    assert_int_equal(accepted(MEMORY HANDLE "(func (export \"_start\") (param i32))").abi,
                     FM_ABI_REACTOR);
}

static void test_no_memory(void **state)
{
    (void)state;
    static const char none[] = "the module exports no memory named `memory`";
    refused(START, none);
    refused("(memory 1)" START, none);
    refused("(memory (export \"mem\") 1)" START, none);
    refused("(global (export \"memory\") i32 (i32.const 0))" HANDLE, none);
}

#define LATER(name, type) "(import \"env\" \"__faasm_" name "\" (func " type "))"
#define LATER_READ LATER("read_input", "(param i32 i32) (result i32)")
#define LATER_WRITE LATER("write_output", "(param i32 i32)")
#define LATER_PTR LATER("chain_ptr", "(param i32 i32 i32) (result i32)")

/* The names of the Faasm that came later. */
static void test_later_names(void **state)
{
    (void)state;
    assert_int_equal(accepted(LATER_READ MEMORY START).abi, FM_ABI_FAASM);
    assert_int_equal(accepted(LATER_READ LATER_WRITE WASI_EXIT FAASM_SIZE MEMORY START).abi,
                     FM_ABI_FAASM);
    assert_int_equal(accepted(LATER_READ MEMORY HANDLE).abi, FM_ABI_REACTOR);
    assert_int_equal(accepted(LATER_READ MEMORY RUN START).abi, FM_ABI_FAASM);
    refused(LATER_READ ENV_ABORT ENV_BRK MEMORY START,
            "the module imports what this server lacks: env.abort, env.__syscall_brk");
    refused(LATER("write_output", "(param i32 i32) (result i32)") MEMORY START,
            "the module imports what this server lacks: env.__faasm_write_output of type "
            "(i32,i32)->i32 (it is (i32,i32)->())");
    refused(LATER_PTR MEMORY START,
            "the module imports what this server lacks: env.__faasm_chain_ptr; calls are made by "
            "name, not by function pointer");
    refused(LATER("push_state", "(param i32)") LATER("s3_list_keys", "(param i32 i32 i32)")
                MEMORY START,
            "the module imports what this server lacks: env.__faasm_push_state, "
            "env.__faasm_s3_list_keys; there is no object storage");
    refused(LATER_READ MEMORY RUN, "the module exports no entry: `_start`, `handle` or, for "
                                   "functions of 2018, `run`");
    lacks(LATER_PTR LATER_READ LATER("zz", "") ENV_ABORT MEMORY START,
          (const char *const[]){"env.__faasm_chain_ptr", "env.__faasm_zz", "env.abort", NULL});
}

static void test_missing_imports(void **state)
{
    (void)state;
    refused("(import \"faasm\" \"state_read\" (func (param i32)))" FAASM_SIZE
            "(import \"wasi_snapshot_preview1\" \"fd_fly\" (func))"
            "(import \"wasi_unstable\" \"fd_read\" (func))" MEMORY START,
            "the module imports what this server lacks: faasm.state_read, "
            "wasi_snapshot_preview1.fd_fly, wasi_unstable.fd_read");
    /* System calls of 2018 are for functions of 2018. */
    refused(ENV_BRK MEMORY START, "the module imports what this server lacks: env.__syscall_brk");
    refused(ENV_ABORT MEMORY HANDLE, "the module imports what this server lacks: env.abort");
    refused("(import \"wasi_snapshot_preview1\" \"fd_fly\" (func))" ENV_ABORT MEMORY RUN,
            "the module imports what this server lacks: wasi_snapshot_preview1.fd_fly");
    refused("(import \"other\" \"thing\" (func))" MEMORY RUN,
            "the module imports what this server lacks: other.thing");
}

static void test_imports_that_are_no_functions(void **state)
{
    (void)state;
    refused("(import \"env\" \"memory\" (memory 1)) (import \"env\" \"t\" (table 1 funcref))"
            "(import \"env\" \"g\" (global i32)) (export \"memory\" (memory 0))" RUN,
            "the module imports what this server lacks: memory env.memory, table env.t, "
            "global env.g");
    refused("(import \"env\" \"x\" (tag (param i32)))" MEMORY START,
            "the module imports what this server lacks: tag env.x");
    refused("(import \"wasi_snapshot_preview1\" \"proc_exit\" (global i32))" MEMORY START,
            "the module imports what this server lacks: global wasi_snapshot_preview1.proc_exit");
}

static void test_wrong_types(void **state)
{
    (void)state;
    refused("(import \"faasm\" \"input_size\" (func (param i64) (result f32)))" MEMORY START,
            "the module imports what this server lacks: faasm.input_size of type (i64)->f32 "
            "(it is ()->i32)");
    refused("(import \"env\" \"__syscall_brk\" (func (param i32)))" MEMORY RUN,
            "the module imports what this server lacks: env.__syscall_brk of type (i32)->() "
            "(it is (i32)->i32)");
    refused(
        "(import \"wasi_snapshot_preview1\" \"proc_exit\" (func (param externref)))" MEMORY START,
        "the module imports what this server lacks: wasi_snapshot_preview1.proc_exit of type "
        "(other)->() (it is (i32)->())");
}

static void test_the_list_of_missing_imports(void **state)
{
    (void)state;
    /* Sorted, each once, whatever it is and whatever is wrong with it; not what is there. */
    lacks("(import \"z\" \"b\" (func)) (import \"env\" \"memory\" (memory 1))" FAASM_SIZE
          "(import \"z\" \"b\" (func)) (import \"z\" \"a\" (func))"
          "(import \"z\" \"b\" (func (param i32))) (import \"env\" \"t\" (table 1 funcref))"
          "(import \"faasm\" \"chain\" (func)) (import \"env\" \"x\" (tag (param i32)))"
          "(export \"memory\" (memory 0))" START,
          (const char *const[]){"env.memory", "env.t", "env.x", "faasm.chain", "z.a", "z.b", NULL});
    /* The right type of one that is imported twice does not excuse the wrong one. */
    lacks(FAASM_SIZE "(import \"faasm\" \"input_size\" (func))" MEMORY START,
          (const char *const[]){"faasm.input_size", NULL});
    /* What becomes a stub is not missing. */
    lacks(ENV_ABORT "(import \"env\" \"__syscall_brk\" (func))"
                    "(import \"wasi_snapshot_preview1\" \"fd_fly\" (func))" MEMORY RUN,
          (const char *const[]){"env.__syscall_brk", "wasi_snapshot_preview1.fd_fly", NULL});
    /* As they are: it is for who shows them to escape them. */
    lacks("(import \"m\\0a\" \"caf\\c3\\a9\" (func)) (import \"\" \"\" (func))" MEMORY START,
          (const char *const[]){".", "m\n.caf\xc3\xa9", NULL});
}

/* The message is bounded, and says what it leaves out; the list has all. */
static void test_many_missing(void **state)
{
    (void)state;
    char fields[16384] = "";
    size_t used = 0;
    for (int i = 0; i < 100; i++)
        used += (size_t)snprintf(fields + used, sizeof(fields) - used,
                                 "(import \"m\" \"function_number_%03d\" (func))", i);
    /* What is short enough to fit is not told either, once something was left out. */
    (void)snprintf(fields + used, sizeof(fields) - used, "(import \"m\" \"z\" (func)) %s",
                   MEMORY START);
    struct fm_arena arena;
    struct fm_module_facts facts;
    struct fm_error error = {0};
    fm_arena_init(&arena, FM_MIB);
    assert_int_equal(classify(fields, &arena, &facts, &error), FM_ERR_UNSUPPORTED_MODULE);
    assert_int_equal(missing.count, 101);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(strtoul(missing.names[i] + 18, NULL, 10), i);
    assert_string_equal(missing.names[100], "m.z");
    fm_arena_done(&arena);

    int named = 0;
    for (const char *at = error.text; (at = strstr(at, "m.function_number_")); at++)
        assert_int_equal(strtol(at + 18, NULL, 10), named++);
    assert_true(named > 10 && named < 100);
    char end[40];
    (void)snprintf(end, sizeof(end), " and %d more", 101 - named);
    assert_string_equal(strstr(error.text, " and "), end);
}

/* Imports of `module` whose names take `bytes` in all, in pieces as long as the engine allows. */
static char *long_imports(const char *module, size_t bytes, const char *rest)
{
    char *fields = malloc(bytes + 4000);
    assert_non_null(fields);
    size_t used = 0;
    while (bytes > 0) {
        size_t piece = fm_min_u64(bytes, 99000);
        size_t length = piece - strlen(module) - strlen("\"\",.");
        used += (size_t)sprintf(fields + used, "(import \"%s\" \"", module);
        memset(fields + used, 'a' + (char)(bytes % 26), length);
        used += length;
        used += (size_t)sprintf(fields + used, "\" (func))");
        bytes -= piece;
    }
    (void)strcpy(fields + used, rest);
    return fields;
}

/* Over the bound there is no list, but its length; and for a module that lacks nothing it is the
 * bound that is broken. */
static void test_names_at_their_limit(void **state)
{
    (void)state;
    for (size_t bytes = FM_IMPORTS_BYTES_MAX - 1; bytes <= FM_IMPORTS_BYTES_MAX + 1; bytes++) {
        struct fm_arena arena;
        struct fm_module_facts facts;
        struct fm_error error = {0};
        bool fits = bytes <= FM_IMPORTS_BYTES_MAX;
        fm_arena_init(&arena, 64 * FM_MIB);
        char *fields = long_imports("m", bytes, MEMORY START);
        assert_int_equal(classify(fields, &arena, &facts, &error), FM_ERR_UNSUPPORTED_MODULE);
        assert_int_equal(missing.count, 6);
        assert_int_equal(missing.names != NULL, fits);
        if (fits)
            assert_int_equal(fm_imports_bytes(missing.names, missing.count), bytes);
        free(fields);
        fields = long_imports("env", bytes, MEMORY RUN);
        assert_int_equal(classify(fields, &arena, &facts, &error),
                         fits ? 0 : FM_ERR_UNSUPPORTED_MODULE);
        assert_int_equal(missing.count, 0);
        if (!fits)
            assert_string_equal(error.text, "the names of the module's imports take 524289 bytes, "
                                            "at most 524288 are accepted");
        free(fields);
        fm_arena_done(&arena);
    }
}

/* Names are the module's: they must neither break a line nor fill the message. */
static void test_hostile_names(void **state)
{
    (void)state;
    refused("(import \"m\\0a\\1b[31m\" \"caf\\c3\\a9 x\" (func))" MEMORY START,
            "the module imports what this server lacks: m??[31m.caf???x");
    char fields[1000];
    char name[301];
    char text[300];
    memset(name, 'n', 300);
    name[300] = '\0';
    (void)snprintf(fields, sizeof(fields), "(import \"m\" \"%s\" (func)) %s", name, MEMORY START);
    (void)snprintf(text, sizeof(text), "the module imports what this server lacks: m.%.80s...",
                   name);
    refused(fields, text);
}

static void test_facts_imports(void **state)
{
    (void)state;
    struct fm_arena arena;
    struct fm_module_facts facts;
    struct fm_error error = {0};
    fm_arena_init(&arena, FM_MIB);
    assert_int_equal(classify(WASI_EXIT FAASM_SIZE FAASM_SIZE MEMORY START, &arena, &facts, &error),
                     0);
    assert_int_equal(facts.imports_count, 2); /* sorted, each once */
    assert_string_equal(facts.imports[0], "faasm.input_size");
    assert_string_equal(facts.imports[1], "wasi_snapshot_preview1.proc_exit");
    fm_arena_done(&arena);
}

/* Without room for the facts it is out of memory, at every size; with room it is not. */
static void test_small_arena(void **state)
{
    (void)state;
    size_t room = 0;
    for (int result = FM_ERR_NOMEM; result != 0; room += 8) {
        struct fm_arena arena;
        struct fm_module_facts facts = {.memory_pages_min = 12345};
        struct fm_error error = {0};
        fm_arena_init(&arena, room);
        result = classify(WASI_EXIT FAASM_SIZE MEMORY START, &arena, &facts, &error);
        if (result != 0) {
            assert_int_equal(result, FM_ERR_NOMEM);
            assert_int_equal(facts.memory_pages_min, 12345);
        }
        fm_arena_done(&arena);
        assert_true(room < 64 * FM_KIB);
    }
    room = 0;
    for (int result = FM_ERR_NOMEM; result != FM_ERR_UNSUPPORTED_MODULE; room += 8) {
        struct fm_arena arena;
        struct fm_module_facts facts;
        struct fm_error error = {0};
        fm_arena_init(&arena, room);
        result =
            classify("(import \"m\" \"a\" (func))" FAASM_SIZE MEMORY START, &arena, &facts, &error);
        assert_int_equal(missing.count, result == FM_ERR_UNSUPPORTED_MODULE);
        assert_true(missing.count == 1 || result == FM_ERR_NOMEM);
        fm_arena_done(&arena);
        assert_true(room < 64 * FM_KIB);
    }
    assert_true(room > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abis),
        cmocka_unit_test(test_abi_2018),
        cmocka_unit_test(test_later_names),
        cmocka_unit_test(test_another_run),
        cmocka_unit_test(test_initialize),
        cmocka_unit_test(test_no_entry),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_missing_imports),
        cmocka_unit_test(test_imports_that_are_no_functions),
        cmocka_unit_test(test_wrong_types),
        cmocka_unit_test(test_the_list_of_missing_imports),
        cmocka_unit_test(test_many_missing),
        cmocka_unit_test(test_names_at_their_limit),
        cmocka_unit_test(test_hostile_names),
        cmocka_unit_test(test_facts_imports),
        cmocka_unit_test(test_small_arena),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
