/* test_faasm_calls.c - module `faasm`: children and call_info, with children that the test makes.
 */
#include "guest_fixture.h"

#include "call/call.h"
#include "call/child.h"

#define START(body) "(func (export \"_start\")" body ")"
#define CHILDREN_MAX 3

/* --- children of the test's own --------------------------------------------------------------- */

static struct {
    int64_t answer; /* of start */
    unsigned starts;
    char name[300];
    size_t name_length;
    uint8_t input[8];
    size_t input_bytes;
    struct fm_child children[CHILDREN_MAX]; /* handles 1, 2, 3 */
    unsigned finds;
} fake;

static int64_t fake_start(struct fm_call *parent, const char *name, size_t name_length,
                          const uint8_t *input, size_t input_bytes)
{
    (void)parent;
    fake.starts++;
    assert_true(name_length < sizeof(fake.name));
    memcpy(fake.name, name, name_length);
    fake.name_length = name_length;
    fake.input_bytes = input_bytes;
    memcpy(fake.input, input, fm_min_u64(input_bytes, sizeof(fake.input)));
    return fake.answer;
}

static struct fm_child *fake_find(struct fm_call *parent, int64_t handle)
{
    (void)parent;
    fake.finds++;
    return handle >= 1 && handle <= CHILDREN_MAX ? &fake.children[handle - 1] : NULL;
}

static const struct fm_child_ops fake_ops = {.start = fake_start, .find = fake_find};

static void end_child(int handle, uint64_t order, int error, int exit_code, const char *output)
{
    struct fm_child *child = &fake.children[handle - 1];
    child->ended = true;
    child->order = order;
    child->error = error;
    child->exit_code = exit_code;
    child->output = (uint8_t *)(uintptr_t)output; /* only read */
    child->output_bytes = output ? strlen(output) : 0;
}

static int reset(void **state)
{
    (void)state;
    memset(&fake, 0, sizeof(fake));
    return 0;
}

static struct run *prepared(const char *body, const char *more)
{
    char entry[4000];
    assert_true(snprintf(entry, sizeof(entry), START("%s"), body) < (int)sizeof(entry));
    char *text = module_text("faasm", entry, more);
    struct run *run = run_module(text);
    free(text);
    run_call(run, "", 0);
    run->call->child_ops = &fake_ops;
    return run;
}

static struct run *finished(const char *body, const char *more)
{
    struct run *run = prepared(body, more);
    assert_true(run_on(run, NULL));
    return run;
}

/* Handles as the guest has them in memory. */
#define KEEP_I64                                                                                   \
    "(func $keep64 (param i64) (call $keep (i32.wrap_i64 (local.get 0)))"                          \
    "  (call $keep (i32.wrap_i64 (i64.shr_s (local.get 0) (i64.const 32)))))"

/* --- starting --------------------------------------------------------------------------------- */

#define START_CHILD                                                                                \
    "(call $keep64 (call $call_start (i32.const 0) (i32.const 4) (i32.const 10) (i32.const 3)))"

static void a_start_gives_the_handle(void **state)
{
    (void)state;
    fake.answer = INT64_C(0x100000007);
    struct run *run = finished(START_CHILD, KEEP_I64 "(data (i32.const 0) \"next\")"
                                                     "(data (i32.const 10) \"x\\00y\")");
    KEPT(run, 7, 1);
    assert_int_equal(fake.starts, 1);
    assert_int_equal(fake.name_length, 4);
    assert_memory_equal(fake.name, "next", 4);
    assert_int_equal(fake.input_bytes, 3);
    assert_memory_equal(fake.input, "x\0y", 3);
    run_free(run);
}

static void refusals_are_numbers_of_errno(void **state)
{
    (void)state;
    const struct {
        int error;
        int32_t told;
    } cases[] = {{FM_ERR_BAD_NAME, -28}, {FM_ERR_NOT_FOUND, -44}, {FM_ERR_TOO_LARGE, -1},
                 {FM_ERR_QUOTA, -6},     {FM_ERR_BUSY, -6},       {FM_ERR_NOMEM, -48}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        fake.answer = cases[i].error;
        struct run *run = finished(START_CHILD, KEEP_I64);
        KEPT(run, cases[i].told, -1);
        run_free(run);
    }
}

/* As `faasm run` has it. */
static void without_anybody_to_run_children_there_is_no_room(void **state)
{
    (void)state;
    struct run *run =
        prepared(START_CHILD "(call $keep (call $call_wait (i64.const 1) (i64.const -1)))"
                             "(call $keep (call $call_output_size (i64.const 1)))",
                 KEEP_I64);
    run->call->child_ops = NULL;
    assert_true(run_on(run, NULL));
    KEPT(run, -6, -1, -44, -44);
    assert_int_equal(run->call->children_refused, 1);
    assert_int_equal(fake.starts, 0);
    run_free(run);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void a_wait_tells_how_the_child_ended(void **state)
{
    (void)state;
    const struct {
        int error;
        int exit_code;
        int32_t told;
    } cases[] = {{0, 0, 0},
                 {0, 3, 3}, /* ABI faasm-2018: no error */
                 {FM_ERR_GUEST_EXIT, 255, 255},
                 {FM_ERR_GUEST_EXIT, 256, 1}, /* not 0, so it stays */
                 {FM_ERR_GUEST_EXIT, 257, 1},
                 {FM_ERR_GUEST_EXIT, -1, 255},
                 {FM_ERR_CANCELLED, 0, -11},
                 {FM_ERR_GUEST_TRAP, 0, -21},
                 {FM_ERR_GUEST_LIMIT, 0, -19},
                 {FM_ERR_DEADLINE, 0, -19},
                 {FM_ERR_CHAIN_TARGET, 0, -29},
                 {FM_ERR_TOO_LARGE, 0, -1},
                 {FM_ERR_BUSY, 0, -6},
                 {FM_ERR_NOMEM, 0, -48},
                 {FM_ERR_INTERNAL, 0, -29}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        end_child(2, 1, cases[i].error, cases[i].exit_code, NULL);
        struct run *run =
            finished("(call $keep (call $call_wait (i64.const 2) (i64.const -1)))", "");
        KEPT(run, cases[i].told);
        run_free(run);
    }
}

static void bad_handles_and_times(void **state)
{
    (void)state;
    end_child(1, 1, 0, 0, NULL);
    struct run *run =
        finished("(call $keep (call $call_wait (i64.const 0) (i64.const -1)))"
                 "(call $keep (call $call_wait (i64.const -1) (i64.const -1)))"
                 "(call $keep (call $call_wait (i64.const 4) (i64.const 0)))"
                 "(call $keep (call $call_wait (i64.const 0x100000001) (i64.const 0)))"
                 "(call $keep (call $call_wait (i64.const 0x8000000000000000) (i64.const 0)))"
                 "(call $keep (call $call_wait (i64.const 1) (i64.const -2)))"
                 "(call $keep (call $call_wait (i64.const 9) (i64.const 0x8000000000000000)))"
                 "(call $keep (call $call_wait (i64.const 1) (i64.const 0x7fffffffffffffff)))",
                 "");
    KEPT(run, -44, -44, -44, -44, -44, -28, -28, 0);
    run_free(run);
}

static void a_poll_does_not_wait(void **state)
{
    (void)state;
    struct run *run = finished("(call $keep (call $call_wait (i64.const 1) (i64.const 0)))"
                               "(call $keep (call $call_wait_any (i32.const 0) (i32.const 2)"
                               "  (i64.const 0)))",
                               "(data (i32.const 0) \"\\01\\00\\00\\00\\00\\00\\00\\00\\02\")");
    KEPT(run, -73, -73);
    run_free(run);
}

static void a_wait_is_over_in_time(void **state)
{
    (void)state;
    struct run *run = finished("(call $keep (call $call_wait (i64.const 1) (i64.const 1)))"
                               "(call $keep (call $call_wait_any (i32.const 0) (i32.const 2)"
                               "  (i64.const 1)))",
                               "(data (i32.const 0) \"\\01\\00\\00\\00\\00\\00\\00\\00\\02\")");
    KEPT(run, -73, -73);
    run_free(run);
}

/* Parks, whatever it is asked meanwhile; marks what it waits for and nothing else. */
static void a_wait_parks_until_the_child_has_ended(void **state)
{
    (void)state;
    struct run *run = prepared("(call $keep (call $call_wait (i64.const 2) (i64.const -1)))"
                               "(call $keep (call $call_wait (i64.const 3) (i64.const 3600000)))",
                               "");
    struct fm_guest_wait wait;
    assert_false(run_on(run, &wait));
    assert_true(wait.until_ns == UINT64_MAX);
    assert_int_equal(run->call->waits, 1);
    assert_int_equal(fake.children[1].awaited, 1);
    assert_int_equal(fake.children[0].awaited, 0);
    assert_false(run_on(run, &wait)); /* woken for nothing */

    end_child(2, 1, FM_ERR_GUEST_EXIT, 9, NULL);
    uint64_t before_ns = fm_clock_monotonic_ns();
    assert_false(run_on(run, &wait));
    assert_true(wait.until_ns >= before_ns + 3600000 * FM_NS_PER_MS);
    assert_true(wait.until_ns < before_ns + 3700000 * FM_NS_PER_MS);
    assert_int_equal(run->call->waits, 2);
    assert_int_equal(fake.children[2].awaited, 2);
    assert_int_equal(fake.children[1].awaited, 1);
    end_child(3, 2, 0, 0, NULL);
    assert_true(run_on(run, NULL));
    KEPT(run, 9, 0);
    run_free(run);
}

#define WAIT_ANY "(call $keep (call $call_wait_any (i32.const 0) (i32.const %u) (i64.const %lld)))"
#define THREE                                                                                      \
    "(data (i32.const 0) "                                                                         \
    "\"\\03\\00\\00\\00\\00\\00\\00\\00\\01\\00\\00\\00\\00\\00\\00\\00\\02\")"

static void the_first_of_several_to_end_is_told(void **state)
{
    (void)state;
    char body[200];
    (void)snprintf(body, sizeof(body), WAIT_ANY, 3, -1LL);
    struct run *run = prepared(body, THREE);
    struct fm_guest_wait wait;
    assert_false(run_on(run, &wait));
    for (int i = 0; i < CHILDREN_MAX; i++)
        assert_int_equal(fake.children[i].awaited, run->call->waits);
    end_child(3, 2, 0, 0, NULL); /* index 0, but the second to end */
    end_child(2, 1, FM_ERR_GUEST_TRAP, 0, NULL);
    assert_true(run_on(run, NULL));
    KEPT(run, 2);
    run_free(run);
}

static void a_list_of_handles_is_checked(void **state)
{
    (void)state;
    end_child(3, 1, 0, 0, NULL);
    const struct {
        unsigned count;
        long long timeout_ms;
        int32_t told;
    } cases[] = {{0, -1, -28}, {1, -1, 0},  {1, -2, -28},
                 {3, 0, 0},    {4, 0, -44}, /* the fourth is 0 */
                 {4, -1, -44}};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(cases); i++) {
        char body[200];
        (void)snprintf(body, sizeof(body), WAIT_ANY, cases[i].count, cases[i].timeout_ms);
        struct run *run = finished(body, THREE);
        KEPT(run, cases[i].told);
        run_free(run);
    }
}

/* The same handle as often as there is room, and once more. */
static void a_list_of_handles_at_its_limit(void **state)
{
    (void)state;
    end_child(1, 1, 0, 0, NULL);
    for (unsigned count = FM_GUEST_HANDLES_MAX - 1; count <= FM_GUEST_HANDLES_MAX + 1; count++) {
        char body[500];
        (void)snprintf(body, sizeof(body),
                       "(local $at i32) (loop $more"
                       "  (i64.store (local.get $at) (i64.const 1))"
                       "  (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at)"
                       "    (i32.const 8))) (i32.const %u))))" WAIT_ANY,
                       8 * count, count, -1LL);
        struct run *run = finished(body, "");
        KEPT(run, count > FM_GUEST_HANDLES_MAX ? -28 : 0);
        run_free(run);
    }
}

/* --- output ----------------------------------------------------------------------------------- */

static void output_is_read_in_pieces(void **state)
{
    (void)state;
    end_child(1, 1, 0, 0, "0123456789");
    end_child(2, 2, FM_ERR_GUEST_TRAP, 0, NULL);
#define READ(handle, offset, length)                                                               \
    "(call $keep (call $call_output_read (i64.const " handle ") (i32.const " offset ")"            \
    "  (i32.const 100) (i32.const " length ")))"
    struct run *run = finished("(call $keep (call $call_output_size (i64.const 1)))"
                               "(call $keep (call $call_output_size (i64.const 2)))"
                               "(call $keep (call $call_output_size (i64.const 3)))"
                               "(call $keep (call $call_output_size (i64.const 4)))" /* */
                               READ("1", "0", "4") READ("1", "10", "4") READ("1", "-1", "4")
                                   READ("1", "5", "0") READ("2", "0", "4") READ("3", "0", "4")
                                       READ("-1", "0", "4") READ("1", "4", "1000"),
                               "");
    KEPT(run, 10, 0, -6, -44, 4, 0, 0, 0, 0, -6, -44, 6);
    assert_memory_equal(run_memory(run, 100, 7), "456789\0", 7);
    run_free(run);
}

/* --- call_info -------------------------------------------------------------------------------- */

#define INFO(field, at, length)                                                                    \
    "(call $keep (call $call_info (i32.const " field ") (i32.const " at ") (i32.const " length ")" \
    ")"                                                                                            \
    ")"

static void a_call_is_told_about_itself(void **state)
{
    (void)state;
    struct run *run =
        prepared(INFO("0", "0", "100") INFO("1", "100", "100") INFO("2", "200", "100")
                     INFO("3", "300", "100") INFO("4", "400", "100") INFO("5", "500", "100")
                         INFO("6", "600", "100") INFO("7", "700", "100") INFO("-1", "700", "100"),
                 "");
    struct fm_call *call = run->call;
    call->id = (struct fm_id){0x0123456789ab7def, 0x8123456789abcdef};
    call->parent = (struct fm_id){0x0fff456789ab7def, 0x8fff456789abcdef};
    call->attempt = 4000000000;
    call->created_real_ns = UINT64_C(1700000000000) * FM_NS_PER_MS;
    call->created_ns = 1;
    call->deadline_ns = 1 + 60 * FM_NS_PER_S;
    assert_true(run_on(run, NULL));
    KEPT(run, 36, 5, 4, 1, 10, 13, 36, -28, -28);
    char text[FM_ID_TEXT_SIZE];
    fm_id_format(call->id, text);
    assert_memory_equal(run_memory(run, 0, 37), text, 37); /* no NUL is written: it was there */
    assert_memory_equal(run_memory(run, 100, 6), "simon", 6);
    assert_memory_equal(run_memory(run, 200, 5), "echo", 5);
    assert_memory_equal(run_memory(run, 300, 2), "1", 2);
    assert_memory_equal(run_memory(run, 400, 11), "4000000000", 11);
    assert_memory_equal(run_memory(run, 500, 14), "1700000060000", 14);
    fm_id_format(call->parent, text);
    assert_memory_equal(run_memory(run, 600, 37), text, 37);
    run_free(run);
}

static void what_there_is_not_is_empty_and_room_is_kept_to(void **state)
{
    (void)state;
    struct run *run =
        prepared(INFO("0", "0", "9") INFO("5", "0", "9") INFO("6", "0", "9") INFO("4", "0", "9")
                     INFO("1", "100", "4") INFO("1", "200", "0") INFO("1", "65536", "0"),
                 "");
    assert_true(run_on(run, NULL));
    KEPT(run, 0, 0, 0, 1, 5, 5, 5);
    assert_memory_equal(run_memory(run, 0, 2), "1", 2);
    assert_memory_equal(run_memory(run, 100, 5), "simo", 5);
    assert_int_equal(run_memory(run, 200, 1)[0], 0);
    run_free(run);
}

/* --- bad pointers ----------------------------------------------------------------------------- */

static void assert_bad_pointer(const char *body, const char *span)
{
    char detail[200];
    struct run *run = finished(body, "");
    assert_int_equal(run->call->error, FM_ERR_GUEST_TRAP);
    assert_string_equal(run->call->trap, "bad_pointer");
    (void)snprintf(detail, sizeof(detail), "%s are not inside the memory of 65536 bytes", span);
    assert_string_equal(run->call->detail, detail);
    assert_int_equal(fake.starts, 0);
    assert_int_equal(fake.finds, 0);
    run_free(run);
}

static void pointers_outside_trap(void **state)
{
    (void)state;
    end_child(1, 1, 0, 0, "output");
    assert_bad_pointer("(drop (call $call_start (i32.const 65536) (i32.const 1) (i32.const 0)"
                       "  (i32.const 0)))",
                       "1 bytes at 65536");
    assert_bad_pointer("(drop (call $call_start (i32.const 0) (i32.const 1) (i32.const 1)"
                       "  (i32.const -1)))",
                       "4294967295 bytes at 1");
    assert_bad_pointer("(drop (call $call_output_read (i64.const 1) (i32.const 0)"
                       "  (i32.const 65535) (i32.const 2)))",
                       "2 bytes at 65535");
    assert_bad_pointer("(drop (call $call_output_read (i64.const 1) (i32.const 0)"
                       "  (i32.const -1) (i32.const -1)))",
                       "4294967295 bytes at 4294967295");
    assert_bad_pointer("(drop (call $call_info (i32.const 1) (i32.const 65537) (i32.const 0)))",
                       "0 bytes at 65537");
    assert_bad_pointer("(drop (call $call_wait_any (i32.const 65529) (i32.const 1)"
                       "  (i64.const -1)))",
                       "8 bytes at 65529");
    assert_bad_pointer("(drop (call $call_wait_any (i32.const 0) (i32.const -1) (i64.const 0)))",
                       "34359738360 bytes at 0");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, reset)
    const struct CMUnitTest tests[] = {
        TEST(a_start_gives_the_handle),
        TEST(refusals_are_numbers_of_errno),
        TEST(without_anybody_to_run_children_there_is_no_room),
        TEST(a_wait_tells_how_the_child_ended),
        TEST(bad_handles_and_times),
        TEST(a_poll_does_not_wait),
        TEST(a_wait_is_over_in_time),
        TEST(a_wait_parks_until_the_child_has_ended),
        TEST(the_first_of_several_to_end_is_told),
        TEST(a_list_of_handles_is_checked),
        TEST(a_list_of_handles_at_its_limit),
        TEST(output_is_read_in_pieces),
        TEST(a_call_is_told_about_itself),
        TEST(what_there_is_not_is_empty_and_room_is_kept_to),
        TEST(pointers_outside_trap),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
