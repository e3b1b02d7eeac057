/* news.c - one piece of news to all workers, and a message back when all have applied it.
 *
 * One allocation holds a copy per worker; the last worker to apply it frees it. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "sched/news.h"
#include "sched/registry.h"
#include "sched/sched_private.h"

struct copy {
    struct fm_message message;
    struct fm_news *news;
    struct fm_sched *sched;
};

struct fm_news {
    enum fm_news_kind kind;
    struct fm_code *code;
    char user[FM_NAME_LENGTH_MAX + 1];
    char function[FM_NAME_LENGTH_MAX + 1];
    uint64_t sequence;
    struct fm_message *done;
    struct fm_mailbox *home;
    atomic_uint remaining;
    struct copy copies[];
};

static void apply(struct fm_sched *sched, const struct fm_news *news)
{
    struct fm_registry *registry = &sched->registry;
    switch (news->kind) {
    case FM_NEWS_PUBLISH:
        /* Without memory for a few hundred bytes the worker goes on with the old version. */
        if (fm_registry_publish(registry, news->code, news->sequence) != 0)
            sched->counts.news_lost++;
        return;
    case FM_NEWS_REMOVE:
        fm_registry_remove(registry, news->user, news->function, news->sequence);
        return;
    case FM_NEWS_EVICT:
        fm_registry_evict(registry, news->code);
        fm_code_release(registry->modules, news->code);
        return;
    case FM_NEWS_USER:
        fm_user_changed(sched, news->user);
        return;
    case FM_NEWS_FILES:
        fm_user_files_changed(sched, news->user);
        return;
    }
}

static void on_news(struct fm_message *message)
{
    struct copy *copy = FM_CONTAINER_OF(message, struct copy, message);
    struct fm_news *news = copy->news;
    apply(copy->sched, news);
    if (atomic_fetch_sub(&news->remaining, 1) != 1)
        return;
    struct fm_message *done = news->done;
    struct fm_mailbox *home = news->home;
    free(news);
    if (done)
        fm_mailbox_post(home, done);
}

int fm_news_tell(const struct fm_audience *audience, enum fm_news_kind kind, struct fm_code *code,
                 const char *user, const char *function, uint64_t sequence, struct fm_message *done,
                 struct fm_mailbox *home)
{
    struct fm_news *news = calloc(1, sizeof(*news) + audience->count * sizeof(news->copies[0]));
    if (!news)
        return FM_ERR_NOMEM;
    news->kind = kind;
    news->code = code;
    news->sequence = sequence;
    news->done = done;
    news->home = home;
    if (user) {
        FM_ASSERT(strlen(user) <= FM_NAME_LENGTH_MAX && strlen(function) <= FM_NAME_LENGTH_MAX);
        memcpy(news->user, user, strlen(user));
        memcpy(news->function, function, strlen(function));
    }
    atomic_init(&news->remaining, audience->count);
    for (unsigned i = 0; i < audience->count; i++) {
        struct copy *copy = &news->copies[i];
        copy->message.on_message = on_news;
        copy->news = news;
        copy->sched = audience->scheds[i];
    }
    /* A copy must not be touched after its post: the last worker may free all of them. */
    for (unsigned i = 0, count = audience->count; i < count; i++)
        fm_mailbox_post(fm_loop_mailbox(audience->scheds[i]->config.loop),
                        &news->copies[i].message);
    return 0;
}
