/* test_wasi_process.c - arguments, environment, signals, yield, random numbers. */
#include "guest_fixture.h"

static struct run *with_strings(const char *const *body, const char *const *args,
                                const char *const *env)
{
    struct run *run = run_body("wasi", body, "");
    run->description.args = args;
    run->description.env = env;
    while (args && args[run->description.args_count])
        run->description.args_count++;
    while (env && env[run->description.env_count])
        run->description.env_count++;
    run_to_end(run, "");
    assert_int_equal(run->call->error, 0);
    return run;
}

static const char *const get_arguments[] = {"(call $args_sizes_get (i32.const 0) (i32.const 4))",
                                            "(call $args_get (i32.const 16) (i32.const 101))",
                                            NULL};

static void test_arguments(void **state)
{
    (void)state;
    const char *const args[] = {"-v", "", "two words", NULL};
    struct run *run = with_strings(get_arguments, args, NULL);
    assert_int_equal(kept(run, 0), 0);
    assert_int_equal(kept(run, 1), 0);
    static const char all[] = "echo\0-v\0\0two words"; /* argument 0 is the function's name */
    assert_int_equal(word_at(run, 0), 4);
    assert_int_equal(word_at(run, 4), sizeof(all));
    assert_memory_equal(run_memory(run, 101, sizeof(all)), all, sizeof(all));
    const uint32_t offsets[] = {0, 5, 8, 9};
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(word_at(run, 16 + 4 * i), 101 + offsets[i]);
    assert_int_equal(word_at(run, 32), 0); /* nothing behind them */
    run_free(run);

    run = with_strings(get_arguments, NULL, NULL);
    assert_int_equal(word_at(run, 0), 1);
    assert_int_equal(word_at(run, 4), 5);
    run_free(run);
}

static const char *const get_environment[] = {
    "(call $environ_sizes_get (i32.const 0) (i32.const 4))",
    "(call $environ_get (i32.const 16) (i32.const 100))", NULL};

static void test_environment(void **state)
{
    (void)state;
    const char *const env[] = {"A=1", "EMPTY=", NULL};
    struct run *run = with_strings(get_environment, NULL, env);
    static const char all[] = "A=1\0EMPTY=";
    assert_int_equal(word_at(run, 0), 2);
    assert_int_equal(word_at(run, 4), sizeof(all));
    assert_memory_equal(run_memory(run, 100, sizeof(all)), all, sizeof(all));
    assert_int_equal(word_at(run, 16), 100);
    assert_int_equal(word_at(run, 20), 104);
    run_free(run);

    /* Nothing of the server's environment is there. */
    run = with_strings(get_environment, NULL, NULL);
    assert_int_equal(word_at(run, 0), 0);
    assert_int_equal(word_at(run, 4), 0);
    assert_int_equal(kept(run, 1), 0);
    run_free(run);
}

/* Up to the last byte of the memory, and one beyond. */
static void test_strings_at_the_end_of_memory(void **state)
{
    (void)state;
    struct run *run = with_strings(BODY("(call $args_get (i32.const 65532) (i32.const 65527))",
                                        "(call $args_get (i32.const 65533) (i32.const 0))",
                                        "(call $args_get (i32.const 0) (i32.const 65532))",
                                        "(call $args_sizes_get (i32.const 65532) (i32.const 0))",
                                        "(call $args_sizes_get (i32.const 65533) (i32.const 0))",
                                        "(call $args_sizes_get (i32.const 0) (i32.const -1))"),
                                   NULL, NULL);
    KEPT(run, 0, 21, 21, 0, 21, 21);
    assert_memory_equal(run_memory(run, 65527, 5), "echo", 5);
    run_free(run);
}

static void test_signals(void **state)
{
    (void)state;
    struct run *run =
        run_wasi(BODY("(call $proc_raise (i32.const 0))", "(call $proc_raise (i32.const 6))",
                      "(call $proc_raise (i32.const 30))", "(call $proc_raise (i32.const 31))",
                      "(call $proc_raise (i32.const -1))", "(call $sched_yield)"),
                 "");
    KEPT(run, 0, 58, 58, 28, 28, 0);
    run_free(run);
}

/* --- random numbers --------------------------------------------------------------------------- */

static void test_random(void **state)
{
    (void)state;
    struct run *run = run_wasi(BODY("(call $random_get (i32.const 8) (i32.const 16))",
                                    "(call $random_get (i32.const 24) (i32.const 16))",
                                    "(call $random_get (i32.const 65536) (i32.const 0))",
                                    "(call $random_get (i32.const 65535) (i32.const 2))"),
                               "");
    KEPT(run, 0, 0, 0, 21);
    static const uint8_t zeros[24];
    assert_memory_equal(run_memory(run, 0, 8), zeros, 8);
    assert_memory_not_equal(run_memory(run, 8, 16), zeros, 16); /* 2^-128 */
    assert_memory_not_equal(run_memory(run, 24, 16), run_memory(run, 8, 16), 16);
    assert_memory_equal(run_memory(run, 40, 24), zeros, 24);
    run_free(run);
}

/* A large request lets others run after each 64 KiB, and fills everything. */
static void test_random_in_turns(void **state)
{
    (void)state;
    const struct {
        uint32_t bytes;
        int turns;
    } cases[] = {{65536 - 1, 1}, {65536, 1}, {65536 + 1, 2}, {3 * 65536 + 5, 4}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        char entry[300];
        (void)snprintf(entry, sizeof(entry),
                       "(func (export \"_start\") (drop (memory.grow (i32.const 4)))"
                       "(call $keep (call $random_get (i32.const 65536) (i32.const %u))))",
                       cases[i].bytes);
        char *text = module_text("wasi", entry, "");
        struct run *run = run_module(text);
        free(text);
        run_call(run, NULL, 0);
        int turns = 1;
        for (; fm_guest_run(run->guest) == FM_GUEST_YIELDED; turns++)
            ;
        assert_int_equal(turns, cases[i].turns);
        assert_int_equal(run->call->error, 0);
        assert_int_equal(kept(run, 0), 0);

        const uint8_t *data = run_memory(run, 65536, cases[i].bytes + 64);
        static const uint8_t zeros[64];
        for (uint32_t at = 0; at + 64 <= cases[i].bytes; at += 32)
            assert_memory_not_equal(data + at, zeros, 32);
        assert_memory_not_equal(data + cases[i].bytes - 16, zeros, 16);
        assert_memory_equal(data + cases[i].bytes, zeros, 64); /* and not more */
        run_free(run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_strings_at_the_end_of_memory),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_random_in_turns),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
