/* private.h - a queue from the inside, for the files of queue/.
 *
 *      ARRIVING --> LATER --> READY --> CLAIMING --> RUNNING --> WRITING --> gone
 *         |           ^         ^           |           |           |
 *         |           +---------+-----------+-----------+-----------+   (tried again)
 *         +--> RUNNING             accepted together with its first claim */
#pragma once

#include "base/arena.h"
#include "base/id.h"
#include "base/limits.h"
#include "loop/loop.h"
#include "queue/ask.h"
#include "queue/ready.h"

enum fm_entry_state {
    FM_ENTRY_ARRIVING, /* its row is being written */
    FM_ENTRY_LATER,    /* waits for its time */
    FM_ENTRY_READY,    /* waits for its turn (target->calls) */
    FM_ENTRY_CLAIMING, /* its claim is being written */
    FM_ENTRY_RUNNING,  /* its claim is on disk, its call at the scheduler */
    FM_ENTRY_WRITING,  /* the attempt's end is being written, or waits to be */
};

struct fm_attempt;

/* A call that has not ended, or whose end is not yet on disk. */
struct fm_queue_entry {
    struct fm_map_node node; /* in queue->entries, by id */
    struct fm_list link;     /* in target->calls, or queue->unwritten */
    struct fm_list waits;    /* fm_queue_wait.link */
    struct fm_timer timer;   /* its time, or its maximum age; always armed, perhaps for never */
    struct fm_queue *queue;
    struct fm_target *target;
    struct fm_user *user;       /* in whose backlog it has a place */
    struct fm_attempt *attempt; /* from CLAIMING to WRITING */
    struct fm_id id;
    struct fm_id parent;
    uint64_t run_at_real_ns;
    uint64_t age_ns; /* after run_at: until when its attempt must have begun */
    uint8_t *input;  /* NULL: on disk */
    size_t input_bytes;
    enum fm_entry_state state;
    uint32_t number; /* of the latest attempt; 0: none */
    uint32_t attempts_max;
    uint32_t depth;
    bool claimed; /* `number` is on disk and was not yet begun */
    bool placed;  /* holds a place of the target */
    bool expired;
};

/* One attempt, from its claim to its end.  Thousands of calls may be parked, each with one. */
struct fm_attempt {
    struct fm_queue_entry *entry;
    struct fm_call *call;            /* NULL: none was made, or it has gone */
    bool broken_off;                 /* by us, at the end of the process */
    struct fm_queue_batch *children; /* that are written with its end; NULL: none */
    union {                          /* one write after the other */
        struct fm_calls_claim claim;
        struct fm_calls_finish finish;
    };
};

/* New entries, written together. */
struct fm_queue_batch {
    struct fm_queue *queue;
    size_t count;
    size_t room;
    struct fm_calls_entry *rows;
    struct fm_queue_entry **entries;
    struct fm_arena arena; /* versions, keys */
};

struct fm_queue {
    struct fm_queue_config config;
    struct fm_map entries; /* by id */
    struct fm_ready ready;
    struct fm_id_generator ids;
    struct fm_message wake; /* to ourselves: there may be something to start */
    bool wake_posted;
    bool pumping;
    bool draining;
    bool stopped;

    struct fm_list unwritten; /* entries whose end the store did not take */
    struct fm_timer disk;     /* when to try again; always armed */
    bool disk_paused;
    uint32_t disk_failures; /* one after another */
    uint64_t ends_bytes;    /* outputs and logs of entries that are WRITING */
    uint32_t ends;          /* these */

    struct fm_timer forget_timer; /* always armed */
    struct fm_calls_forget forget;
    bool forgetting;
    bool forget_again;
    uint64_t ends_since; /* calls that ended since the last time */

    uint32_t busy; /* entries that are neither LATER nor READY, and other writes */
    struct fm_queue_counts counts;
};

/* What an entry is made of. */
struct fm_entry_birth {
    struct fm_id id;
    const char *user;
    const char *function;
    uint8_t *input;
    size_t input_bytes;
    bool accepted;
};

/* --- entries.c -------------------------------------------------------------------------------- */

/* An entry that is ARRIVING; takes `input` (NULL: on disk) only if it succeeds.  FM_ERR_QUOTA: over
 * the user's queue_length; not if the call was `accepted` before.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_entry_new(struct fm_queue *queue, const struct fm_entry_birth *birth,
                               struct fm_queue_entry **ret_entry);
void fm_entry_free(struct fm_queue_entry *entry); /* tells those who wait */
struct fm_queue_entry *fm_entry_find(struct fm_queue *queue, const struct fm_id *id);
void fm_entry_set_state(struct fm_queue_entry *entry, enum fm_entry_state state);
void fm_entry_input_drop(struct fm_queue_entry *entry);

/* No attempt is under way: waits for its time or its turn. */
void fm_entry_wait(struct fm_queue_entry *entry);
void fm_entry_wait_first(struct fm_queue_entry *entry); /* before the others of its function */

/* Its call was taken by the door and has not begun: its age still counts. */
void fm_entry_wait_behind_door(struct fm_queue_entry *entry);

/* Everything but its write is over: it has ended on disk. */
void fm_entry_end(struct fm_queue_entry *entry, enum fm_call_status status);

struct fm_id fm_queue_id(struct fm_queue *queue, uint64_t now_real_ns);
uint64_t fm_queue_random(struct fm_queue *queue); /* 32 bits */
uint64_t fm_queue_retention_ns(const struct fm_queue *queue, const struct fm_limits *limits);
uint64_t fm_queue_age_ns(const struct fm_function *function);              /* NULL is fine */
struct fm_function *fm_entry_function(const struct fm_queue_entry *entry); /* NULL: gone */

/* --- accept.c --------------------------------------------------------------------------------- */

/* The children of `parent`.  0, or the error with its text. */
FM_MUST_CHECK int fm_batch_children(struct fm_queue *queue, const struct fm_call *parent,
                                    struct fm_queue_batch **ret_batch, struct fm_error *error);
void fm_batch_settle(
    struct fm_queue_batch *batch);                /* it is on disk: frees it, starts its entries */
void fm_batch_drop(struct fm_queue_batch *batch); /* it is not; NULL is fine */

/* --- attempt.c, outcome.c --------------------------------------------------------------------- */

void fm_queue_pump(struct fm_queue *queue); /* starts what can be started */
void fm_queue_wake(struct fm_queue *queue); /* the same, from the loop */
void fm_attempt_expire(struct fm_queue_entry *entry);

/* Whether its call waits behind the door; takes it back from there: it is as if refused. */
bool fm_attempt_waits(const struct fm_queue_entry *entry);
void fm_attempt_withdraw(struct fm_queue_entry *entry);

/* The attempt's call is DONE: its end is to be written. */
void fm_attempt_conclude(struct fm_attempt *attempt);

/* It ends without a guest: FAILED with `error`, or QUEUED again without having lost the attempt. */
void fm_attempt_fail(struct fm_attempt *attempt, int error, const char *detail);
void fm_attempt_give_back(struct fm_attempt *attempt, uint64_t pause_ns);
void fm_attempt_write_again(struct fm_queue *queue); /* all that could not be written */
FM_MUST_CHECK int fm_attempt_begin(struct fm_queue_entry *entry); /* makes entry->attempt */
void fm_attempt_end(struct fm_queue_entry *entry);                /* frees it and its call */

/* --- disk.c ----------------------------------------------------------------------------------- */

/* What the store said to a write: after an error nothing is claimed for a while. */
void fm_disk_answer(struct fm_queue *queue, int error);
void fm_disk_init(struct fm_queue *queue);
FM_MUST_CHECK int fm_disk_start(struct fm_queue *queue);
void fm_disk_stop(struct fm_queue *queue);

/* A call ended that is to be kept until then. */
void fm_forget_note(struct fm_queue *queue, uint64_t keep_until_real_ns);

/* --- sync.c ----------------------------------------------------------------------------------- */

/* What is known of a call that has not ended; texts are on loan. */
void fm_sync_lend(const struct fm_call *call, struct fm_call_record *ret_record);

/* --- ask.c ------------------------------------------------------------------------------------ */

void fm_waits_over(struct fm_list *waits);     /* tells all of them */
void fm_ask_under_way(struct fm_queue *queue); /* hears of the ends of calls in that table */
void fm_ask_stop(struct fm_queue *queue);
