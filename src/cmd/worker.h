/* worker.h - one worker: a thread with its loop, its scheduler, its queue and its HTTP front. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "base/error.h"
#include "call/under_way.h"
#include "http/http.h"
#include "loop/mailbox.h"
#include "queue/queue.h"
#include "sched/life.h"
#include "sched/sched.h"

struct fm_config;
struct fm_server;

/* What a worker tells others about itself; copied once a pass, under a mutex of its own. */
struct fm_worker_counts {
    struct fm_sched_counts sched;
    struct fm_http_counts http;
    struct fm_queue_counts queue;
    uint64_t passes;
    uint64_t pass_ns_max; /* longest time from the end of one wait to the start of the next */
    bool drained;         /* it has nothing left to do, but for those that have */
};

struct fm_worker {
    unsigned index;
    struct fm_server *server;
    struct fm_loop *loop;
    struct fm_recent *recent;
    struct fm_under_way under_way;
    struct fm_sched *sched;
    struct fm_queue *queue;
    struct fm_http *http;

    pthread_t thread;
    bool running;
    bool draining;
    bool stopping;
    struct fm_message drain_message;
    struct fm_message stop_message;
    uint64_t received;            /* sockets so far; its own count */
    uint64_t handed;              /* sockets given to it so far; the acceptor's own count */
    atomic_uint_least64_t closed; /* of these; once a pass */

    uint64_t passes;
    uint64_t pass_ns_max;
    pthread_mutex_t counts_mutex;
    struct fm_worker_counts counts;
};

/* Everything but the thread.  `suspect`: see fm_sched_config.  FM_ERR_*. */
FM_MUST_CHECK int fm_worker_init(struct fm_worker *worker, struct fm_server *server, unsigned index,
                                 volatile struct fm_id *suspect, struct fm_error *error);
void fm_worker_done(struct fm_worker *worker); /* its thread has ended, or never began */

FM_MUST_CHECK int fm_worker_start(struct fm_worker *worker);

/* The acceptor's thread: gives a connected socket to the worker.  FM_ERR_NOMEM: the caller closes
 * it. */
FM_MUST_CHECK int fm_worker_connection(struct fm_worker *worker, int fd);

/* Any thread, once each: no new calls, connections end with their present answer; ends the thread
 * (calls under way are cancelled). */
void fm_worker_drain(struct fm_worker *worker);
void fm_worker_stop(struct fm_worker *worker);

void fm_worker_counts(struct fm_worker *worker, struct fm_worker_counts *ret_counts);
