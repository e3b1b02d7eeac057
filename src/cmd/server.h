/* server.h - the server process: everything that its threads share, and its life from start to
 * drain.  Private to cmd/. */
#pragma once

#include "cmd/supervisor.h"
#include "cmd/worker.h"
#include "sched/news.h"

struct fm_server {
    const struct fm_config *config;
    struct fm_engine *engine;
    struct fm_functions *functions;
    struct fm_calls *calls; /* asynchronous calls, on disk */
    struct fm_pool *pool;   /* files, loading */
    struct fm_pool *builds; /* deployments, which wait for compile processes */
    struct fm_compile_client *compiler;
    struct fm_modules *modules;
    struct fm_deployer *deployer;
    struct fm_ticker *ticker;
    struct fm_user_files *user_files;
    struct fm_users *users;
    struct fm_user_trees *trees; /* users' files */
    struct fm_peers *peers;
    struct fm_acceptor *acceptor;
    struct fm_swap_guard *swap_guard;

    struct fm_worker *workers;
    unsigned workers_count; /* that have been initialised */
    struct fm_sched **scheds;
    struct fm_queue **queues;
    struct fm_audience audience;
    uint64_t started_ns;
    atomic_bool draining;
};

/* The whole life of the server process; an entry for fm_supervise(). */
int fm_server_run(const struct fm_server_start *start);

/* Before the threads start: makes a version known to all workers.  Takes it.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_server_publish(struct fm_server *server, struct fm_version *version);

/* --- calls.c ---------------------------------------------------------------------------------- */

/* Opens the store of calls, and logs what was found. */
FM_MUST_CHECK int fm_server_calls_open(struct fm_server *server,
                                       const struct fm_server_start *start, struct fm_error *error);

/* Before the threads start: what an earlier process has left enters the queues. */
FM_MUST_CHECK int fm_server_calls_restore(struct fm_server *server, struct fm_error *error);

/* --- samples.c: functions from a folder, installed where they are missing or differ ----------- */

/* `folder` holds <user>/<function>.wasm.  A file that cannot be installed is logged and skipped. */
void fm_samples_install(struct fm_server *server, const char *folder);

/* --- metrics.c -------------------------------------------------------------------------------- */

/* The text of /metrics; `data` is the server.  Any worker's thread. */
FM_MUST_CHECK int fm_metrics_text(void *data, struct fm_buffer *text);

/* --- acceptor.c: takes connections on worker 0's loop and hands them to the least busy worker - */

FM_MUST_CHECK int fm_acceptor_new(struct fm_server *server, int listener,
                                  struct fm_acceptor **ret_acceptor);
void fm_acceptor_stop(struct fm_acceptor *acceptor); /* on worker 0's thread; NULL is fine */
struct fm_acceptor *fm_acceptor_free(struct fm_acceptor *acceptor);
