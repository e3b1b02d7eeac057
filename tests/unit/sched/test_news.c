/* test_news.c - what a worker hears, and what it does when it has no memory for it. */
#include "stage.h"

#include "loop/loop.h"
#include "sched/life.h"
#include "sched/news.h"
#include "sched/sched.h"
#include "torture.h"

#define NOTHING "(module" GUEST_MEMORY " (func (export \"_start\")))"

struct fixture {
    struct fm_loop *loop;
    struct stage stage;
    struct fm_sched *sched;
    struct fm_sched *scheds[1];
    struct fm_audience audience;
    struct fm_message done;
    unsigned heard;
};

static void on_heard(struct fm_message *message)
{
    FM_CONTAINER_OF(message, struct fixture, done)->heard++;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    assert_int_equal(fm_loop_new(&f->loop), 0);
    stage_begin(&f->stage, 1, 1, 16);
    const struct fm_sched_config sched = {
        .workers = 1,
        .loop = f->loop,
        .modules = f->stage.modules,
        .ticker = f->stage.ticker,
        .calls_max = 1,
    };
    assert_int_equal(fm_sched_new(&sched, &f->sched), 0);
    f->scheds[0] = f->sched;
    f->audience = (struct fm_audience){.count = 1, .scheds = f->scheds};
    f->done.on_message = on_heard;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fm_sched_free(f->sched);
    stage_end(&f->stage);
    fm_loop_free(f->loop);
    free(f);
    return 0;
}

/* Tells that there is a new version; `nth` as in torture_fail_nth(), while it is heard. */
static void publish(struct fixture *f, const char *name, long nth)
{
    struct fm_limits limits;
    fm_limits_defaults(&limits);
    struct fm_code *code = stage_code(&f->stage, "ada", name, NOTHING, &limits);
    unsigned before = f->heard;
    assert_int_equal(fm_news_tell(&f->audience, FM_NEWS_PUBLISH, code, NULL, NULL,
                                  f->stage.sequence, &f->done, fm_loop_mailbox(f->loop)),
                     0);
    torture_fail_nth(nth);
    while (f->heard == before)
        fm_loop_pass(f->loop, UINT64_MAX);
    torture_fail_nth(0);
}

static struct fm_function *find(struct fixture *f, const char *name)
{
    return fm_sched_function(f->sched, "ada", 3, name, strlen(name));
}

static uint64_t lost(struct fixture *f)
{
    struct fm_sched_counts counts;
    fm_sched_counts(f->sched, &counts);
    return counts.news_lost;
}

static void test_publish_and_remove(void **state)
{
    struct fixture *f = *state;
    publish(f, "echo", 0);
    assert_non_null(find(f, "echo"));
    assert_int_equal(fm_news_tell(&f->audience, FM_NEWS_REMOVE, NULL, "ada", "echo",
                                  ++f->stage.sequence, &f->done, fm_loop_mailbox(f->loop)),
                     0);
    while (f->heard < 2)
        fm_loop_pass(f->loop, UINT64_MAX);
    assert_null(find(f, "echo"));
    assert_int_equal(lost(f), 0);
}

/* What got lost is counted, the sender hears all the same, and the old version stays. */
static void test_without_memory(void **state)
{
    struct fixture *f = *state;
    publish(f, "new", 1);
    assert_null(find(f, "new"));
    assert_int_equal(lost(f), 1);
    publish(f, "old", 0);
    const struct fm_version *before = fm_function_version(find(f, "old"));
    publish(f, "old", 1);
    assert_ptr_equal(fm_function_version(find(f, "old")), before);
    assert_int_equal(lost(f), 2);
    publish(f, "old", 0); /* the next one is as good as ever */
    assert_ptr_not_equal(fm_function_version(find(f, "old")), before);
    assert_int_equal(lost(f), 2);
    assert_int_equal(f->heard, 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_publish_and_remove),
        TEST(test_without_memory),
    };
    return cmocka_run_group_tests(tests, guests_setup, guests_teardown);
}
