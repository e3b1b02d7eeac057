/* metrics_users.c - what single users consume, for /metrics, with bounded cardinality.
 *
 * The `metrics_users` users that have had the most CPU time have a label each; all others are
 * summed under user="".  So a scrape costs the same with ten thousand users.  A user that comes
 * into the first or leaves them takes its counts along: the sums over all labels are what is
 * steady. */
#include <stdlib.h>
#include <string.h>

#include "cmd/config.h"
#include "cmd/metrics_private.h"
#include "cmd/server.h"
#include "sched/users.h"

struct entry {
    const char *name; /* the account's, which stays */
    struct fm_use use;
};

struct table {
    struct entry *first; /* the most CPU time first; one more than its size, for the last to fall */
    size_t size;
    size_t count;
    struct fm_use rest;
};

static void add(struct fm_use *sum, const struct fm_use *use)
{
#define X(name) sum->name += use->name;
    FM_USE_MAP(X)
#undef X
}

static void visit(const struct fm_user_state *state, void *data)
{
    struct table *table = data;
    size_t place = table->count;
    while (place > 0 && table->first[place - 1].use.cpu_ns < state->use.cpu_ns)
        place--;
    memmove(&table->first[place + 1], &table->first[place],
            (table->count - place) * sizeof(table->first[0]));
    table->first[place] = (struct entry){.name = state->name, .use = state->use};
    if (table->count < table->size)
        table->count++;
    else
        add(&table->rest, &table->first[table->size].use);
}

struct row {
    const char *name;
    const char *type;
    const char *help;
    size_t offset; /* in struct fm_use */
    double unit;
};

#define ROW(name, type, field, unit, help)                                                         \
    {                                                                                              \
        "faasm_user_" name, type, help, offsetof(struct fm_use, field), unit                       \
    }

static const struct row rows[] = {
    ROW("cpu_seconds", "counter", cpu_ns, 1e9, "CPU time of a user's guests."),
    ROW("wall_seconds", "counter", wall_ns, 1e9, "Time from arrival to end of its calls."),
    ROW("requests", "counter", requests, 1, "Its calls that came to the door."),
    ROW("calls_refused", "counter", refused, 1, "Of these, refused for a quota."),
    ROW("calls_finished", "counter", finished, 1, "Its calls that ended."),
    ROW("calls_failed", "counter", failed, 1, "Of these, with an error."),
    ROW("received_bytes", "counter", bytes_in, 1, "Input of these."),
    ROW("sent_bytes", "counter", bytes_out, 1, "Output of these."),
    ROW("calls", "gauge", calls, 1, "Its calls that have not ended."),
    ROW("calls_waiting", "gauge", queued, 1, "Of these, waiting for their first turn."),
    ROW("async_accepted", "gauge", accepted, 1, "Its asynchronous calls that have not ended."),
    ROW("memory_bytes", "gauge", memory_bytes, 1, "Linear memory of its guests."),
};

static int put_row(struct fm_buffer *text, const struct table *table, const struct row *row)
{
    int failed = 0;
    for (size_t i = 0; !failed && i <= table->count; i++) {
        bool rest = i == table->count;
        const struct fm_use *use = rest ? &table->rest : &table->first[i].use;
        uint64_t value = *(const uint64_t *)(const void *)((const char *)use + row->offset);
        char labels[96]; /* names hold nothing that must be escaped */
        (void)snprintf(labels, sizeof(labels), "{user=\"%s\"}", rest ? "" : table->first[i].name);
        failed = fm_metrics_put(text, row->name, row->type, i == 0 ? row->help : NULL, labels,
                                (double)value / row->unit);
    }
    return failed;
}

int fm_metrics_users(struct fm_server *server, struct fm_buffer *text)
{
    struct table table = {.size = (size_t)server->config->metrics_users};
    table.first = calloc(table.size + 1, sizeof(table.first[0]));
    if (!table.first)
        return FM_ERR_NOMEM;
    fm_users_each(server->users, visit, &table);
    int failed = 0;
    for (size_t i = 0; !failed && i < FM_ARRAY_LENGTH(rows); i++)
        failed = put_row(text, &table, &rows[i]);
    free(table.first);
    return failed;
}
