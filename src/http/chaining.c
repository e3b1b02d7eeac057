/* chaining.c - between the end of a call and its answer, where the call has chained others.
 *
 * A client that has its 200 may rely on the rest being run.  A client that left meanwhile does not
 * change that; the call has succeeded.
 *
 * Threading: the worker's. */
#include "http/chaining.h"

#include <stdlib.h>

#include "call/call.h"
#include "http/front.h"

struct fm_chaining {
    struct fm_queue_chains chains;
    struct fm_request *request;
    void (*on_done)(struct fm_request *request, const struct fm_queue_chains *chains);
};

bool fm_chaining_needed(const struct fm_call *call)
{
    return FM_UNLIKELY(call->chains_count > 0) && call->error == 0;
}

static void end_chaining(struct fm_chaining *chaining)
{
    struct fm_request *request = chaining->request;
    request->chaining = NULL;
    chaining->on_done(request, &chaining->chains);
    free(chaining->chains.children);
    free(chaining);
}

static void on_chained(struct fm_queue_chains *chains)
{
    struct fm_chaining *chaining = FM_CONTAINER_OF(chains, struct fm_chaining, chains);
    chaining->request->http->counts.operations--;
    end_chaining(chaining);
}

void fm_chaining_start(struct fm_request *request,
                       void (*on_done)(struct fm_request *request,
                                       const struct fm_queue_chains *chains))
{
    struct fm_http *http = request->http;
    struct fm_chaining *chaining = calloc(1, sizeof(*chaining));
    if (!chaining) {
        static const struct fm_queue_chains no_memory = {.error = {FM_ERR_NOMEM, "out of memory"}};
        on_done(request, &no_memory);
        return;
    }
    chaining->request = request;
    chaining->on_done = on_done;
    chaining->chains.parent = request->call;
    chaining->chains.on_done = on_chained;
    request->chaining = chaining;
    if (fm_queue_chains(http->config.queue, &chaining->chains) != 0) {
        end_chaining(chaining);
        return;
    }
    http->counts.operations++;
}
