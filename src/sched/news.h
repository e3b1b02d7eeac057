/* news.h - what all workers must hear: a version was published, a function removed, a module should
 * go.  Each gets a copy in its mailbox; whoever sent it hears when all have applied it.
 * Messages of one sender arrive in their order; between senders the sequence number decides. */
#pragma once

#include "base/error.h"
#include "loop/mailbox.h"

struct fm_code;
struct fm_sched;

enum fm_news_kind {
    FM_NEWS_PUBLISH, /* of `code`; one hold per worker travels with it */
    FM_NEWS_REMOVE,  /* of user and function */
    FM_NEWS_EVICT,   /* of `code`; one hold per worker travels with it */
    FM_NEWS_USER,    /* the quotas of `user` have changed */
    FM_NEWS_FILES,   /* the files of `user` have changed */
};

struct fm_news; /* opaque */

/* Who listens: one mailbox per worker, filled in before the first broadcast. */
struct fm_audience {
    unsigned count;
    struct fm_sched *const *scheds;
};

/* Tells all workers.  `done` (may be NULL) is posted to `home` when all have applied it.
 * FM_ERR_NOMEM: nothing was told; holds stay the caller's.  Any thread. */
FM_MUST_CHECK int fm_news_tell(const struct fm_audience *audience, enum fm_news_kind kind,
                               struct fm_code *code, const char *user, const char *function,
                               uint64_t sequence, struct fm_message *done, struct fm_mailbox *home);
