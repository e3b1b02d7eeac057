/* test_modules.c - modules in memory: who has them, and when they go. */
#include "guests.h"

#define NOTHING "(module" GUEST_MEMORY " (func (export \"_start\")))"
#define CODES 3

struct fixture {
    struct fm_modules *modules;
    struct fm_code *codes[CODES];
    unsigned evictions;
    struct fm_code *evicted; /* the last one */
};

static void on_evict(void *data, struct fm_code *code)
{
    struct fixture *f = data;
    f->evictions++;
    f->evicted = code;
}

static struct fm_module *make_module(struct fm_version *from)
{
    struct fm_module *module = NULL;
    struct fm_error error = {0};
    assert_int_equal(
        fm_module_compile(engine, (const uint8_t *)NOTHING, strlen(NOTHING), &module, &error), 0);
    from->facts.abi = FM_ABI_WASI;
    assert_int_equal(fm_guest_prepare(module, from->facts.abi, &error), 0);
    return module;
}

/* A code that its maker holds, with a module for its first user. */
static void make_code(struct fixture *f, size_t index)
{
    struct fm_version from = {
        .user = "ada", .function = "f", .id = "v", .folder = "", .sha256 = ""};
    struct fm_version *version = NULL;
    fm_limits_defaults(&from.limits);
    struct fm_module *module = make_module(&from);
    assert_int_equal(fm_version_new(&from, &version), 0);
    assert_int_equal(fm_code_new(f->modules, version, &f->codes[index]), 0);
    fm_code_module_ahead(f->modules, f->codes[index], module);
}

static void make_modules(struct fixture *f, uint64_t bytes_max)
{
    const struct fm_modules_config config = {
        .engine = engine, .workers = 1, .bytes_max = bytes_max, .evict = on_evict, .data = f};
    assert_int_equal(fm_modules_new(&config, &f->modules), 0);
}

static uint64_t loaded(struct fixture *f)
{
    struct fm_modules_counts counts;
    fm_modules_counts(f->modules, &counts);
    return counts.loaded;
}

static void test_the_first_user_takes_it(void **state)
{
    (void)state;
    struct fixture f = {0};
    make_modules(&f, FM_GIB);
    make_code(&f, 0);
    assert_int_equal(loaded(&f), 1);
    struct fm_module *module = fm_modules_get(f.modules, f.codes[0]);
    assert_non_null(module);
    assert_ptr_equal(fm_modules_get(f.modules, f.codes[0]), module);
    fm_modules_put(f.modules, f.codes[0]);
    assert_int_equal(loaded(&f), 1);
    fm_modules_put(f.modules, f.codes[0]);
    assert_int_equal(loaded(&f), 0);
    assert_null(fm_modules_get(f.modules, f.codes[0]));
    fm_code_release(f.modules, f.codes[0]);
    fm_modules_free(f.modules);
}

static void test_without_a_user_it_goes_with_its_code(void **state)
{
    (void)state;
    struct fixture f = {0};
    make_modules(&f, FM_GIB);
    make_code(&f, 0);
    fm_code_hold(f.modules, f.codes[0], 1);
    fm_code_release(f.modules, f.codes[0]);
    assert_int_equal(loaded(&f), 1);
    fm_code_release(f.modules, f.codes[0]);
    assert_int_equal(loaded(&f), 0);
    fm_modules_free(f.modules);
}

/* One without a user goes at once; one with a user when that puts it back. */
static void test_over_the_budget(void **state)
{
    (void)state;
    struct fixture f = {0};
    make_modules(&f, 1);
    make_code(&f, 0);
    assert_int_equal(f.evictions, 0); /* the newest stays, whatever its size */
    make_code(&f, 1);
    assert_int_equal(f.evictions, 1);
    assert_ptr_equal(f.evicted, f.codes[0]);
    assert_int_equal(loaded(&f), 1);
    assert_null(fm_modules_get(f.modules, f.codes[0]));

    assert_non_null(fm_modules_get(f.modules, f.codes[1]));
    make_code(&f, 2);
    assert_ptr_equal(f.evicted, f.codes[1]);
    assert_int_equal(loaded(&f), 2);
    fm_modules_put(f.modules, f.codes[1]);
    assert_int_equal(loaded(&f), 1);
    for (size_t i = 0; i < CODES; i++)
        fm_code_release(f.modules, f.codes[i]);
    assert_int_equal(loaded(&f), 0);
    fm_modules_free(f.modules);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_user_takes_it),
        cmocka_unit_test(test_without_a_user_it_goes_with_its_code),
        cmocka_unit_test(test_over_the_budget),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
