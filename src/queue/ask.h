/* ask.h - the way to every call that somebody asks for by its id: asynchronous ones that have not
 * ended, and others (synchronous, or started by a call), under way or remembered.
 *
 * What has ended on disk is not here: that is read from the store (store/calls_read.h).
 *
 * Objects that an asker embeds are ours until their callback, which is called on the asker's loop,
 * never before the asking function has returned. */
#pragma once

#include "base/list.h"
#include "queue/queue.h"

/* --- questions, from any worker to a call's home ---------------------------------------------- */

enum fm_queue_verb {
    FM_QUEUE_RECALL,  /* what memory has of a synchronous call */
    FM_QUEUE_DUMP,    /* the core dump of any call; FM_ERR_NOT_FOUND: none, or of no call known */
    FM_QUEUE_CANCEL,  /* ends it, if it has not ended; any call.  Answered when that is on disk or,
                         of a call that is not there, when it has ended */
    FM_QUEUE_REDRIVE, /* DEAD -> QUEUED.  FM_ERR_CONFLICT: it is not DEAD.  FM_ERR_BUSY */
};

struct fm_queue_ask {
    enum fm_queue_verb verb;
    struct fm_id id;
    void (*on_answer)(struct fm_queue_ask *ask); /* on the asker's loop */

    int error;                    /* answer: FM_ERR_NOT_FOUND, and those of the store */
    struct fm_call_record record; /* answer: the asker's; as it is now; also with FM_ERR_CONFLICT */
    uint8_t *log;                 /* answer to RECALL: from malloc, the asker's; NULL: empty */
    struct fm_dump *dump;         /* answer to DUMP and RECALL: with a reference that is the
                                     asker's; NULL: there is none */

    struct fm_message message; /* private */
    struct fm_queue *target;
    struct fm_mailbox *asker;
    union {
        struct fm_calls_cancel cancel;
        struct fm_calls_redrive redrive;
    };
    struct fm_list link; /* in fm_under_way_call.cancels */
};

void fm_queue_ask(struct fm_queue *queue, struct fm_queue_ask *ask);

/* Waits for the end of a call: on_end is called when it has ended (and its end can be read), when
 * no such call is under way, or after fm_queue_wait_stop(). */
struct fm_queue_wait {
    struct fm_id id;
    void (*on_end)(struct fm_queue_wait *wait); /* on the asker's loop */

    struct fm_message message; /* private */
    struct fm_message stop;
    struct fm_list link;
    struct fm_queue *target;
    struct fm_mailbox *asker;
    bool stopped; /* the asker's: stop is under way or back */
    bool over;    /* the asker's: message is back */
};

void fm_queue_wait(struct fm_queue *queue, struct fm_queue_wait *wait);

/* Gives up waiting; on_end follows.  Once, and before on_end. */
void fm_queue_wait_stop(struct fm_queue_wait *wait);

/* Synchronous calls of all workers, under way or remembered: the latest first. */
struct fm_queue_list {
    struct fm_recent_filter filter; /* texts are the asker's */
    uint32_t limit;                 /* at least 1 */
    void (*on_answer)(struct fm_queue_list *list);

    int error;                      /* answer: FM_ERR_NOMEM; then there are no records */
    struct fm_call_record *records; /* answer: from malloc, the asker's */
    size_t records_count;

    struct fm_message message; /* private */
    struct fm_queue *target;
    struct fm_mailbox *asker;
};

void fm_queue_list(struct fm_queue *queue, struct fm_queue_list *list);
void fm_queue_list_done(struct fm_queue_list *list); /* frees the answer */
