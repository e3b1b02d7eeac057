/* metrics.c - /metrics, in the text format of OpenMetrics 1.0.
 *
 * One row per number; the cardinality is bounded: of what users name only the busiest users' own
 * names become labels (metrics_users.c). */
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "cmd/compile.h"
#include "cmd/metrics_private.h"
#include "cmd/server.h"
#include "engine/engine.h"
#include "files/content.h"
#include "sched/modules.h"
#include "sched/ticker.h"
#include "store/user_trees.h"

struct sums {
    uint64_t calls_submitted, calls_finished, calls_failed, calls_cancelled, calls_inlined;
    uint64_t slices, guest_cpu_ns, cold, given, news_lost, queued, parked, sandboxes, calls;
    uint64_t children, away;
    uint64_t connections, requests, responses[6], hangups, timeouts, bytes_in, bytes_out;
    uint64_t open, suspended, passes, pass_ns_max;
    uint64_t accepted, attempts, retries, ended, ended_failed, ended_cancelled, dead, forgotten;
    uint64_t writes, write_errors, due, later, running, writing, inputs_bytes;
    uint64_t recent, recent_bytes;
};

static void add_queue(struct sums *sums, const struct fm_queue_counts *queue)
{
    sums->accepted += queue->accepted;
    sums->attempts += queue->attempts;
    sums->retries += queue->retries;
    sums->ended += queue->ended;
    sums->ended_failed += queue->failed;
    sums->ended_cancelled += queue->cancelled;
    sums->dead += queue->dead;
    sums->forgotten += queue->forgotten;
    sums->writes += queue->writes;
    sums->write_errors += queue->write_errors;
    sums->due += queue->due;
    sums->later += queue->later;
    sums->running += queue->running;
    sums->writing += queue->writing;
    sums->inputs_bytes += queue->inputs_bytes;
    sums->recent += queue->recent;
    sums->recent_bytes += queue->recent_bytes;
}

static void add(struct sums *sums, const struct fm_worker_counts *counts)
{
    const struct fm_sched_counts *sched = &counts->sched;
    const struct fm_http_counts *http = &counts->http;
    sums->calls_submitted += sched->submitted;
    sums->calls_finished += sched->finished;
    sums->calls_failed += sched->failed;
    sums->calls_cancelled += sched->cancelled;
    sums->calls_inlined += sched->inlined;
    sums->slices += sched->slices;
    sums->guest_cpu_ns += sched->guest_cpu_ns;
    sums->cold += sched->cold;
    sums->given += sched->given;
    sums->news_lost += sched->news_lost;
    sums->queued += sched->queued;
    sums->parked += sched->parked;
    sums->sandboxes += sched->sandboxes;
    sums->calls += sched->calls;
    sums->children += sched->children;
    sums->away += sched->away;
    sums->connections += http->connections;
    sums->requests += http->requests;
    for (int i = 0; i < 6; i++)
        sums->responses[i] += http->responses[i];
    sums->hangups += http->hangups;
    sums->timeouts += http->timeouts;
    sums->bytes_in += http->bytes_in;
    sums->bytes_out += http->bytes_out;
    sums->open += http->open;
    sums->suspended += http->suspended;
    sums->passes += counts->passes;
    sums->pass_ns_max = fm_max_u64(sums->pass_ns_max, counts->pass_ns_max);
}

struct row {
    const char *name;
    const char *type; /* counter or gauge */
    const char *help;
    size_t offset; /* in struct sums */
};

#define ROW(name, type, field, help)                                                               \
    {                                                                                              \
        "faasm_" name, type, help, offsetof(struct sums, field)                                    \
    }

static const struct row rows[] = {
    ROW("calls_submitted", "counter", calls_submitted, "Calls that came to the door."),
    ROW("calls_finished", "counter", calls_finished, "Calls that ended."),
    ROW("calls_failed", "counter", calls_failed, "Calls that ended with an error."),
    ROW("calls_cancelled", "counter", calls_cancelled, "Calls that were cancelled."),
    ROW("calls_inlined", "counter", calls_inlined, "Calls that ran to their end at once."),
    ROW("calls_cold", "counter", cold, "Calls that waited for their module."),
    ROW("calls_given", "counter", given, "Times that a call went to another worker."),
    ROW("slices", "counter", slices, "Times that a guest was given a thread."),
    ROW("calls", "gauge", calls, "Calls that have not ended."),
    ROW("calls_children", "gauge", children, "Of these, calls that another call has started."),
    ROW("calls_queued", "gauge", queued, "Calls that wait for their turn."),
    ROW("calls_parked", "gauge", parked, "Calls that wait for an event."),
    ROW("calls_away", "gauge", away, "Calls that are with another worker than their own."),
    ROW("sandboxes", "gauge", sandboxes, "Instances that exist."),
    ROW("http_connections_opened", "counter", connections, "Connections accepted."),
    ROW("http_connections", "gauge", open, "Connections open."),
    ROW("http_requests", "counter", requests, "Requests answered."),
    ROW("http_requests_suspended", "gauge", suspended, "Requests that wait."),
    ROW("http_hangups", "counter", hangups, "Clients that left during their call."),
    ROW("http_timeouts", "counter", timeouts, "Connections closed for slowness."),
    ROW("http_received_bytes", "counter", bytes_in, "Bytes of request bodies."),
    ROW("http_sent_bytes", "counter", bytes_out, "Bytes of response bodies."),
    ROW("news_lost", "counter", news_lost, "Uploads that a worker missed for want of memory."),
    ROW("async_accepted", "counter", accepted, "Asynchronous calls accepted, chained ones too."),
    ROW("async_attempts", "counter", attempts, "Attempts at them that were begun."),
    ROW("async_retries", "counter", retries, "Attempts that another one follows."),
    ROW("async_ended", "counter", ended, "Asynchronous calls that ended."),
    ROW("async_failed", "counter", ended_failed, "Of these, failed."),
    ROW("async_cancelled", "counter", ended_cancelled, "Of these, cancelled."),
    ROW("async_dead", "counter", dead, "Of these, dead."),
    ROW("async_forgotten", "counter", forgotten, "Results removed, by time or for want of room."),
    ROW("async_writes", "counter", writes, "Writes that the store of calls answered."),
    ROW("async_write_errors", "counter", write_errors,
        "Of these, failed for want of disk or memory."),
    ROW("async_due", "gauge", due, "Asynchronous calls that wait for their turn."),
    ROW("async_later", "gauge", later, "Asynchronous calls that wait for their time."),
    ROW("async_running", "gauge", running, "Asynchronous calls that are claimed."),
    ROW("async_writing", "gauge", writing, "Ends of attempts that are not on disk yet."),
    ROW("async_inputs_bytes", "gauge", inputs_bytes, "Their inputs in memory."),
    ROW("recent_calls", "gauge", recent, "Synchronous calls that are remembered."),
    ROW("recent_bytes", "gauge", recent_bytes, "Memory of these."),
    ROW("loop_passes", "counter", passes, "Passes of the workers' loops."),
};

int fm_metrics_put(struct fm_buffer *text, const char *name, const char *type, const char *help,
                   const char *labels, double value)
{
    bool counter = type[0] == 'c';
    int failed = 0;
    if (help)
        failed = fm_buffer_printf(text, "# TYPE %s %s\n# HELP %s %s\n", name, type, name, help);
    if (!failed)
        failed =
            fm_buffer_printf(text, "%s%s%s %.17g\n", name, counter ? "_total" : "", labels, value);
    return failed;
}

static int put_responses(struct fm_buffer *text, const struct sums *sums)
{
    int failed = 0;
    for (int i = 1; !failed && i < 6; i++) {
        char labels[24];
        (void)snprintf(labels, sizeof(labels), "{class=\"%dxx\"}", i);
        failed = fm_metrics_put(text, "faasm_http_responses", "counter",
                                i == 1 ? "Answers by class of status." : NULL, labels,
                                (double)sums->responses[i]);
    }
    return failed;
}

static double resident_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%*u %llu", &pages) != 1)
        pages = 0;
    (void)fclose(file); /* only read */
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static int put_process(struct fm_server *server, struct fm_buffer *text, const struct sums *sums)
{
    struct fm_modules_counts modules;
    struct fm_user_trees_counts trees;
    struct fm_contents_counts files;
    struct fm_compile_counts bodies;
    fm_compile_client_counts(server->compiler, &bodies);
    fm_modules_counts(server->modules, &modules);
    fm_user_trees_counts(server->trees, &trees, &files);
    const struct {
        const char *name;
        const char *type;
        const char *help;
        double value;
    } values[] = {
        {"faasm_guest_cpu_seconds", "counter", "CPU time of guests.",
         (double)sums->guest_cpu_ns / 1e9},
        {"faasm_loop_pass_seconds_max", "gauge", "Longest pass of a worker's loop so far.",
         (double)sums->pass_ns_max / 1e9},
        {"faasm_compiled_bodies", "counter",
         "Functions' bodies compiled, of modules with a compile cache.", (double)bodies.compiled},
        {"faasm_reused_bodies", "counter", "Bodies of these that were found in it.",
         (double)bodies.reused},
        {"faasm_modules_loaded", "gauge", "Modules in memory.", (double)modules.loaded},
        {"faasm_modules_bytes", "gauge", "Bytes mapped for them.", (double)modules.bytes},
        {"faasm_module_loads", "counter", "Modules loaded.", (double)modules.loads},
        {"faasm_module_evictions", "counter", "Modules asked to go.", (double)modules.evictions},
        {"faasm_files_loaded", "gauge", "Users' files in memory.", (double)files.files},
        {"faasm_files_bytes", "gauge", "Bytes of these.", (double)files.bytes},
        {"faasm_file_loads", "counter", "Users' files brought into memory.", (double)files.loads},
        {"faasm_trees_loaded", "gauge", "Users whose folders are in memory.", (double)trees.users},
        {"faasm_trees_names", "gauge", "Files and folders in these.", (double)trees.names},
        {"faasm_tree_loads", "counter", "Folders of users read from disk.", (double)trees.scans},
        {"faasm_page_scanning", "gauge", "1 while slots are cleaned by page scanning.",
         fm_engine_page_scanning(server->engine) ? 1 : 0},
        {"faasm_kept_bytes", "gauge", "Memory that free slots keep for their next calls.",
         (double)fm_engine_kept_bytes(server->engine)},
        {"faasm_ticks", "counter", "Ticks of the preemption clock.",
         (double)fm_ticker_ticks(server->ticker)},
        {"faasm_workers", "gauge", "Threads that run calls.", (double)server->workers_count},
        {"faasm_uptime_seconds", "gauge", "Since this server process started.",
         (double)(fm_clock_monotonic_ns() - server->started_ns) / 1e9},
        {"faasm_resident_bytes", "gauge", "Resident memory of the server process.",
         resident_bytes()},
    };
    int failed = 0;
    for (size_t i = 0; !failed && i < FM_ARRAY_LENGTH(values); i++)
        failed = fm_metrics_put(text, values[i].name, values[i].type, values[i].help, "",
                                values[i].value);
    return failed;
}

int fm_metrics_text(void *data, struct fm_buffer *text)
{
    struct fm_server *server = data;
    struct sums sums = {0};
    for (unsigned i = 0; i < server->workers_count; i++) {
        struct fm_worker_counts counts;
        fm_worker_counts(&server->workers[i], &counts);
        add(&sums, &counts);
        add_queue(&sums, &counts.queue);
    }
    int failed = 0;
    for (size_t i = 0; !failed && i < FM_ARRAY_LENGTH(rows); i++) {
        uint64_t value = *(const uint64_t *)(const void *)((const char *)&sums + rows[i].offset);
        failed = fm_metrics_put(text, rows[i].name, rows[i].type, rows[i].help, "", (double)value);
    }
    if (!failed)
        failed = put_responses(text, &sums);
    if (!failed)
        failed = put_process(server, text, &sums);
    if (!failed)
        failed = fm_metrics_users(server, text);
    return failed ? failed : fm_buffer_append_text(text, "# EOF\n");
}
