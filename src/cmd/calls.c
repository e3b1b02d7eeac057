/* calls.c - the store of asynchronous calls, as the server opens it, and their way into the queues.
 *
 * A damaged database does not keep the server from starting: it was kept aside, and the log says
 * where.  Whatever else is wrong with the disk does: a server that cannot keep its promises should
 * not make any. */
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "cmd/server.h"
#include "store/calls.h"

static void log_notice(const struct fm_calls_notice *notice, size_t suspects)
{
    char numbers[5][24];
    const uint64_t values[5] = {notice->requeued, notice->cancelled, notice->dead, suspects,
                                notice->orphans};
    for (size_t i = 0; i < FM_ARRAY_LENGTH(values); i++)
        (void)snprintf(numbers[i], sizeof(numbers[i]), "%llu", (unsigned long long)values[i]);
    if (notice->damaged)
        fm_log(FM_LOG_ERROR, "database_set_aside", "kept", notice->kept, "reason", notice->reason,
               NULL);
    if (notice->requeued + notice->cancelled + notice->dead + notice->orphans > 0)
        fm_log(FM_LOG_INFO, "calls_recovered", "requeued", numbers[0], "cancelled", numbers[1],
               "dead", numbers[2], "suspects", numbers[3], "orphans", numbers[4], NULL);
}

int fm_server_calls_open(struct fm_server *server, const struct fm_server_start *start,
                         struct fm_error *error)
{
    struct fm_limits limits;
    struct fm_calls_config config;
    struct fm_calls_notice notice = {0};
    fm_limits_defaults(&limits);
    fm_calls_config_defaults(&config);
    config.data = server->config->data;
    config.pool = server->pool;
    config.now_real_ns = fm_clock_real_ns();
    config.suspects = start->suspects;
    config.suspects_count = start->suspects_count;
    config.retention_ns =
        fm_min_u64(limits.retention_ms, server->config->retention_ms) * FM_NS_PER_MS;
    int failed = fm_calls_open(&config, &server->calls, &notice, error);
    if (notice.damaged || !failed)
        log_notice(&notice, start->suspects_count);
    return failed;
}

static int restore(const struct fm_calls_open_call *call, void *data)
{
    struct fm_server *server = data;
    return fm_queue_restore(server->queues, server->workers_count, call);
}

int fm_server_calls_restore(struct fm_server *server, struct fm_error *error)
{
    return fm_calls_each_open(server->calls, restore, server, error);
}
