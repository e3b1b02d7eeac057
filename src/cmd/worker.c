/* worker.c - the loop that a worker's thread runs.
 *
 *      wait --> descriptors, mailbox, timers --> HTTP --> about a slice of queued calls --> HTTP
 *
 * HTTP twice, if it has something to do: a request that comes while others burn CPU should wait for
 * the slice that runs, and not for another one before it is read and a third before it is answered.
 *
 * All that a worker owns is touched by its thread alone; others reach it by mailbox. */
#include "cmd/worker.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmd/server.h"
#include "engine/engine.h"
#include "loop/loop.h"

struct handover {
    struct fm_message message;
    struct fm_worker *worker;
    int fd;
};

static void on_drain(struct fm_message *message)
{
    struct fm_worker *worker = FM_CONTAINER_OF(message, struct fm_worker, drain_message);
    worker->draining = true;
    if (worker->index == 0)
        fm_acceptor_stop(worker->server->acceptor);
    fm_queue_drain(worker->queue);
    fm_sched_drain(worker->sched);
    fm_http_drain(worker->http);
}

static void on_stop(struct fm_message *message)
{
    struct fm_worker *worker = FM_CONTAINER_OF(message, struct fm_worker, stop_message);
    worker->stopping = true;
}

static bool is_ready(void *data)
{
    struct fm_server *server = data;
    return !atomic_load(&server->draining);
}

/* What a child chained, on its way through the queue. */
struct chaining {
    struct fm_queue_chains stored;
    struct fm_sched_chains *chains;
};

static void hand_over(struct fm_sched_chains *chains, const struct fm_queue_chains *stored)
{
    chains->error = stored->error;
    chains->children = stored->children;
    chains->children_count = stored->children_count;
}

static void on_chains_stored(struct fm_queue_chains *stored)
{
    struct chaining *chaining = FM_CONTAINER_OF(stored, struct chaining, stored);
    struct fm_sched_chains *chains = chaining->chains;
    hand_over(chains, stored);
    free(chaining);
    chains->on_done(chains);
}

static int store_chains(void *data, struct fm_sched_chains *chains)
{
    const struct fm_worker *worker = data;
    struct chaining *chaining = calloc(1, sizeof(*chaining));
    if (!chaining)
        return fm_error_set(&chains->error, FM_ERR_NOMEM, "out of memory");
    chaining->chains = chains;
    chaining->stored.parent = chains->call;
    chaining->stored.on_done = on_chains_stored;
    int failed = fm_queue_chains(worker->queue, &chaining->stored);
    if (!failed)
        return 0;
    hand_over(chains, &chaining->stored);
    free(chaining);
    return failed;
}

/* A quarter of a worker's slots is left to synchronous calls. */
static uint32_t running_max(uint32_t slots)
{
    return slots - slots / 4;
}

static int make_queue(struct fm_worker *worker, uint32_t slots)
{
    struct fm_server *server = worker->server;
    const struct fm_config *config = server->config;
    const struct fm_queue_config queue = {
        .worker = worker->index,
        .loop = worker->loop,
        .sched = worker->sched,
        .calls = server->calls,
        .recent = worker->recent,
        .under_way = &worker->under_way,
        .calls_max = (uint32_t)config->records,
        .running_max = running_max(slots),
        .inputs_bytes_max = config->records_bytes,
        .retention_ns_max = config->retention_ms * FM_NS_PER_MS,
        .stored_rows_max = config->stored_calls,
        .stored_bytes_max = config->stored_bytes,
        .all = server->queues,
        .all_count = (unsigned)config->workers,
    };
    return fm_queue_new(&queue, &worker->queue);
}

static int make_parts(struct fm_worker *worker, volatile struct fm_id *suspect,
                      struct fm_error *error)
{
    struct fm_server *server = worker->server;
    const struct fm_config *config = server->config;
    unsigned workers = (unsigned)config->workers;
    int failed = fm_loop_new(&worker->loop);
    if (!failed)
        failed = fm_recent_new(config->recent_bytes, &worker->recent);
    const struct fm_sched_config sched = {
        .worker = worker->index,
        .workers = workers,
        .loop = worker->loop,
        .modules = server->modules,
        .ticker = server->ticker,
        .engine = server->engine,
        .trees = server->trees,
        .pool = server->pool,
        .users = server->users,
        .peers = server->peers,
        .recent = worker->recent,
        .under_way = &worker->under_way,
        .suspect = suspect,
        .calls_max =
            (uint32_t)(config->slots / workers + (worker->index < config->slots % workers)),
        .queue_max = (uint32_t)config->queue_length,
        .await_depth = (uint32_t)config->await_depth,
        .chains = store_chains,
        .data = worker,
    };
    if (!failed)
        failed = fm_sched_new(&sched, &worker->sched);
    if (!failed)
        failed = make_queue(worker, sched.calls_max);
    if (failed)
        return fm_error_set(error, failed, "cannot make a worker: %s", fm_err_meaning(failed));
    const struct fm_http_config http = {
        .worker = worker->index,
        .loop = worker->loop,
        .sched = worker->sched,
        .queue = worker->queue,
        .under_way = &worker->under_way,
        .calls = server->calls,
        .functions = server->functions,
        .deployer = server->deployer,
        .users = server->users,
        .trees = server->trees,
        .pool = server->pool,
        .connections_max = (uint32_t)config->connections,
        .module_bytes_max = config->module_bytes,
        .file_bytes_max = config->user_file_bytes,
        .header_bytes_max = config->header_bytes,
        .header_time_ns = config->header_ms * FM_NS_PER_MS,
        .body_time_ns = config->body_ms * FM_NS_PER_MS,
        .cancel_on_half_close = config->cancel_on_half_close,
        .metrics = fm_metrics_text,
        .ready = is_ready,
        .data = server,
    };
    return fm_http_new(&http, &worker->http, error);
}

int fm_worker_init(struct fm_worker *worker, struct fm_server *server, unsigned index,
                   volatile struct fm_id *suspect, struct fm_error *error)
{
    *worker = (struct fm_worker){.index = index, .server = server};
    worker->drain_message.on_message = on_drain;
    worker->stop_message.on_message = on_stop;
    atomic_init(&worker->closed, 0);
    fm_under_way_init(&worker->under_way);
    if (pthread_mutex_init(&worker->counts_mutex, NULL) != 0)
        return fm_error_set(error, FM_ERR_NOMEM, "out of memory");
    int failed = make_parts(worker, suspect, error);
    if (failed)
        fm_worker_done(worker);
    return failed;
}

void fm_worker_done(struct fm_worker *worker)
{
    FM_ASSERT(!worker->running);
    worker->http = fm_http_free(worker->http);
    worker->queue = fm_queue_free(worker->queue);
    worker->sched = fm_sched_free(worker->sched);
    fm_under_way_done(&worker->under_way);
    worker->recent = fm_recent_free(worker->recent);
    worker->loop = fm_loop_free(worker->loop);
    (void)pthread_mutex_destroy(&worker->counts_mutex); /* not held */
}

/* --- connections ------------------------------------------------------------------------------ */

static void on_handover(struct fm_message *message)
{
    struct handover *handover = FM_CONTAINER_OF(message, struct handover, message);
    struct fm_worker *worker = handover->worker;
    int fd = handover->fd;
    free(handover);
    worker->received++;
    fm_http_connection(worker->http, fd);
}

int fm_worker_connection(struct fm_worker *worker, int fd)
{
    struct handover *handover = malloc(sizeof(*handover));
    if (!handover)
        return FM_ERR_NOMEM;
    *handover =
        (struct handover){.message = {.on_message = on_handover}, .worker = worker, .fd = fd};
    worker->handed++;
    fm_mailbox_post(fm_loop_mailbox(worker->loop), &handover->message);
    return 0;
}

/* --- the thread ------------------------------------------------------------------------------- */

static bool drained(const struct fm_worker *worker, const struct fm_worker_counts *counts)
{
    return worker->draining && fm_sched_drained(worker->sched) && counts->http.open == 0 &&
           counts->http.operations == 0 && counts->queue.busy == 0;
}

static void publish_counts(struct fm_worker *worker)
{
    struct fm_worker_counts counts = {.passes = worker->passes, .pass_ns_max = worker->pass_ns_max};
    fm_sched_counts(worker->sched, &counts.sched);
    fm_http_counts(worker->http, &counts.http);
    fm_queue_counts(worker->queue, &counts.queue);
    counts.drained = drained(worker, &counts);
    atomic_store_explicit(&worker->closed, worker->received - counts.http.open,
                          memory_order_relaxed);
    int failed = pthread_mutex_lock(&worker->counts_mutex);
    FM_ASSERT(!failed);
    worker->counts = counts;
    failed = pthread_mutex_unlock(&worker->counts_mutex);
    FM_ASSERT(!failed);
}

void fm_worker_counts(struct fm_worker *worker, struct fm_worker_counts *ret_counts)
{
    int failed = pthread_mutex_lock(&worker->counts_mutex);
    FM_ASSERT(!failed);
    *ret_counts = worker->counts;
    failed = pthread_mutex_unlock(&worker->counts_mutex);
    FM_ASSERT(!failed);
}

/* Not before it is told: a worker that has drained is still asked by those that have not. */
static void *run(void *data)
{
    struct fm_worker *worker = data;
    fm_engine_thread_init();
    bool more = false;
    while (!worker->stopping) {
        fm_loop_pass(worker->loop, more ? 0 : UINT64_MAX);
        uint64_t woken_ns = fm_loop_now_ns(worker->loop);
        (void)fm_http_turn(worker->http); /* what has come is read before a slice begins */
        fm_sched_turn(worker->sched);
        more = fm_http_turn(worker->http); /* what has ended is answered before the next */
        more |= fm_sched_busy(worker->sched);
        worker->passes++;
        worker->pass_ns_max = fm_max_u64(worker->pass_ns_max, fm_clock_monotonic_ns() - woken_ns);
        publish_counts(worker);
    }
    return NULL;
}

int fm_worker_start(struct fm_worker *worker)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    /* The engine needs these for traps. */
    (void)sigdelset(&all, SIGSEGV);
    (void)sigdelset(&all, SIGILL);
    (void)sigdelset(&all, SIGFPE);
    (void)sigdelset(&all, SIGBUS);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&worker->thread, NULL, run, worker);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return FM_ERR_BUSY;
    char name[16];
    (void)snprintf(name, sizeof(name), "faasm-%u", worker->index);
    (void)pthread_setname_np(worker->thread, name); /* only a name */
    worker->running = true;
    return 0;
}

void fm_worker_drain(struct fm_worker *worker)
{
    fm_mailbox_post(fm_loop_mailbox(worker->loop), &worker->drain_message);
}

void fm_worker_stop(struct fm_worker *worker)
{
    fm_mailbox_post(fm_loop_mailbox(worker->loop), &worker->stop_message);
}
