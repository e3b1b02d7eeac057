/* test_compile_cache.c - what is taken over makes the same machine code, is used and bounded, and a
 * cache that is damaged costs time and nothing else. */
#include "engine_fixture.h"

#include <stdio.h>

#include "engine/compile_cache.h"

/* Three functions, of which the last is chosen. */
#define MODULE(last)                                                                               \
    "(module (memory (export \"memory\") 1)"                                                       \
    " (func $a (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))"                    \
    " (func $b (param i32) (result i32) (i32.add (call $a (local.get 0)) (i32.const 5)))"          \
    " (func (export \"f\") (result i32) " last "))"

#define FIRST MODULE("(call $b (i32.const 7))")
#define SECOND MODULE("(call $a (call $b (i32.const 7)))")

#define HEADER_BYTES 12
#define ROW_BYTES 40

struct compiled {
    uint8_t *code;
    size_t code_bytes;
    uint8_t *left; /* for the next one */
    size_t left_bytes;
    uint64_t reused;
    uint64_t compiled;
};

static void compiled_done(struct compiled *compiled)
{
    free(compiled->code);
    free(compiled->left);
}

/* With what an earlier compilation has left; `uses` is whether it can be used at all. */
static struct compiled compile(const char *text, const uint8_t *earlier, size_t bytes, bool *uses)
{
    struct compiled compiled = {0};
    struct fm_engine_config config;
    struct fm_engine *engine = NULL;
    struct fm_module *module = NULL;
    struct fm_error error = {0};
    struct fm_compile_cache *cache = fm_compile_cache_new();
    fm_engine_config_init(&config, false);
    config.compile_parallel = false;
    config.compile_cache = cache;
    bool used = earlier && fm_compile_cache_fill(cache, earlier, bytes);
    if (uses)
        *uses = used;
    if (fm_engine_new(&config, &engine, &error) != 0 ||
        fm_module_compile(engine, (const uint8_t *)text, strlen(text), &module, &error) != 0 ||
        fm_module_serialize(module, &compiled.code, &compiled.code_bytes, &error) != 0)
        fail_msg("%s", error.text);
    fm_compile_cache_counts(cache, &compiled.reused, &compiled.compiled);
    assert_int_equal(fm_compile_cache_write(cache, SIZE_MAX, &compiled.left, &compiled.left_bytes),
                     0);
    fm_module_free(module);
    fm_engine_free(engine);
    fm_compile_cache_free(cache);
    return compiled;
}

static void assert_same_code(const struct compiled *a, const struct compiled *b)
{
    assert_int_equal(a->code_bytes, b->code_bytes);
    assert_memory_equal(a->code, b->code, a->code_bytes);
}

static void the_same_module_is_not_compiled_again(void **state)
{
    (void)state;
    bool used = false;
    struct compiled first = compile(FIRST, NULL, 0, NULL);
    assert_true(first.compiled >= 3);
    struct compiled again = compile(FIRST, first.left, first.left_bytes, &used);
    assert_true(used);
    assert_int_equal(again.compiled, 0);
    assert_int_equal(again.reused, first.compiled + first.reused);
    assert_same_code(&first, &again);
    assert_int_equal(again.left_bytes, first.left_bytes);
    assert_memory_equal(again.left, first.left, first.left_bytes);
    compiled_done(&first);
    compiled_done(&again);
}

static void one_function_that_changed_is_compiled(void **state)
{
    (void)state;
    struct compiled first = compile(FIRST, NULL, 0, NULL);
    struct compiled alone = compile(SECOND, NULL, 0, NULL);
    struct compiled after = compile(SECOND, first.left, first.left_bytes, NULL);
    assert_int_equal(after.compiled, 1);
    assert_same_code(&alone, &after);
    /* What is not part of it any more is gone. */
    assert_int_equal(after.left_bytes, alone.left_bytes);
    assert_memory_equal(after.left, alone.left, alone.left_bytes);
    compiled_done(&first);
    compiled_done(&alone);
    compiled_done(&after);
}

/* With the code of an engine that has no cache at all. */
static void the_code_is_that_of_any_engine(void **state)
{
    (void)state;
    struct compiled cached = compile(FIRST, NULL, 0, NULL);
    struct compiled plain = {0};
    struct fm_error error = {0};
    struct fm_engine *engine = fixture_engine(false, NULL, 0);
    struct fm_module *module = fixture_module(engine, FIRST);
    assert_int_equal(fm_module_serialize(module, &plain.code, &plain.code_bytes, &error), 0);
    assert_same_code(&cached, &plain);
    fm_module_free(module);
    fm_engine_free(engine);
    compiled_done(&cached);
    compiled_done(&plain);
}

static void bound(void **state)
{
    (void)state;
    struct compiled first = compile(FIRST, NULL, 0, NULL);
    struct fm_compile_cache *cache = fm_compile_cache_new();
    uint8_t *bytes = NULL;
    size_t length = 0;
    /* An empty one is its header. */
    assert_int_equal(fm_compile_cache_write(cache, HEADER_BYTES - 1, &bytes, &length),
                     FM_ERR_TOO_LARGE);
    assert_null(bytes);
    for (size_t most = HEADER_BYTES; most <= HEADER_BYTES + 1; most++) {
        assert_int_equal(fm_compile_cache_write(cache, most, &bytes, &length), 0);
        assert_int_equal(length, HEADER_BYTES);
        free(bytes);
    }
    assert_int_equal(fm_compile_cache_write(cache, SIZE_MAX, &bytes, &length), 0);
    bool used = false;
    struct compiled after = compile(FIRST, bytes, length, &used);
    assert_true(used);
    assert_int_equal(after.compiled, first.compiled);
    free(bytes);
    fm_compile_cache_free(cache);
    compiled_done(&first);
    compiled_done(&after);
}

static void put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* Compiled once more, with at least so many bodies that are not found. */
static void assert_missing(const struct compiled *first, size_t missing)
{
    struct compiled after = compile(FIRST, first->left, first->left_bytes, NULL);
    assert_in_range(after.compiled, missing, missing ? first->compiled : 0);
    assert_same_code(first, &after);
    compiled_done(&after);
}

/* With an index that leads elsewhere, or in another order. */
static void damaged_index(void **state)
{
    (void)state;
    struct compiled first = compile(FIRST, NULL, 0, NULL);
    uint8_t *entries = first.left + 8;
    uint8_t *last = first.left + HEADER_BYTES + (entries[0] - 1U) * ROW_BYTES;
    uint8_t kept[ROW_BYTES];
    memcpy(kept, last, sizeof(kept));
    assert_missing(&first, 0);
    for (size_t i = 0; i < 2; i++) { /* offset, length */
        static const uint32_t numbers[] = {UINT32_MAX, UINT32_MAX - 7, 0x7fffffff};
        for (size_t j = 0; j < FM_ARRAY_LENGTH(numbers); j++) {
            put_u32(last + ROW_BYTES - 8 + 4 * i, numbers[j]);
            assert_missing(&first, 1);
            memcpy(last, kept, sizeof(kept));
        }
    }
    memset(last, 0, ROW_BYTES - 8); /* a key before all others, and none that is asked for */
    assert_missing(&first, 1);
    memcpy(last, kept, sizeof(kept));
    put_u32(entries, UINT32_MAX); /* more than there are */
    assert_missing(&first, first.compiled);
    compiled_done(&first);
}

/* Cut anywhere, or with lengths of which each is too large. */
static void damage(void **state)
{
    (void)state;
    struct compiled first = compile(FIRST, NULL, 0, NULL);
    size_t entries = (first.left[8] + 256U * first.left[9]);
    size_t index_end = HEADER_BYTES + entries * ROW_BYTES;
    assert_true(entries >= 3 && index_end < first.left_bytes);
    for (size_t cut = 0; cut < first.left_bytes; cut += cut < index_end + 2 ? 1 : 97) {
        uint8_t *part = malloc(cut ? cut : 1); /* so that a sanitizer sees its end */
        assert_non_null(part);
        memcpy(part, first.left, cut);
        bool used = false;
        struct compiled after = compile(FIRST, part, cut, &used);
        assert_int_equal(used, cut >= index_end);
        assert_true(after.compiled > 0);
        assert_same_code(&first, &after);
        compiled_done(&after);
        free(part);
    }
    for (size_t i = 0; i < entries; i++) {
        uint8_t *row = first.left + HEADER_BYTES + i * ROW_BYTES;
        memset(row + ROW_BYTES - 4, 0xff, 4); /* lengths */
    }
    bool used = false;
    struct compiled after = compile(FIRST, first.left, first.left_bytes, &used);
    assert_true(used);
    assert_int_equal(after.compiled, first.compiled);
    assert_same_code(&first, &after);
    compiled_done(&after);

    first.left[0] ^= 1;
    after = compile(FIRST, first.left, first.left_bytes, &used);
    assert_false(used);
    assert_same_code(&first, &after);
    compiled_done(&after);
    compiled_done(&first);
}

/* What follows the end, such as somebody's proof, does not matter. */
static void more_than_there_is(void **state)
{
    (void)state;
    struct compiled first = compile(FIRST, NULL, 0, NULL);
    uint8_t *longer = calloc(1, first.left_bytes + 32);
    assert_non_null(longer);
    memcpy(longer, first.left, first.left_bytes);
    struct compiled after = compile(FIRST, longer, first.left_bytes + 32, NULL);
    assert_int_equal(after.compiled, 0);
    assert_int_equal(after.left_bytes, first.left_bytes);
    free(longer);
    compiled_done(&first);
    compiled_done(&after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_module_is_not_compiled_again),
        cmocka_unit_test(one_function_that_changed_is_compiled),
        cmocka_unit_test(the_code_is_that_of_any_engine),
        cmocka_unit_test(bound),
        cmocka_unit_test(damage),
        cmocka_unit_test(damaged_index),
        cmocka_unit_test(more_than_there_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
