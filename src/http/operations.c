/* operations.c - what operators and their machines ask: is it alive, is it ready, what does it do.
 *
 * `/healthz` says only that this worker answers; `/readyz` says whether calls are welcome, so that
 * a load balancer stops sending them before the server goes.  What the metrics are is not known
 * here: their text is made by whoever knows all workers.
 *
 * Queries are ignored: probes like to add things.  Threading: the worker's. */
#include "http/routes.h"

#define FM_TYPE_METRICS "application/openmetrics-text; version=1.0.0; charset=utf-8"

static void answer_literal(struct fm_request *request, const char *text)
{
    int failed = fm_buffer_append_text(&request->text, text);
    fm_answer_text(request, MHD_HTTP_OK, FM_TYPE_TEXT, failed);
}

static void run_health(struct fm_request *request)
{
    answer_literal(request, "ok\n");
}

static void run_ready(struct fm_request *request)
{
    const struct fm_http_config *config = &request->http->config;
    if (config->ready(config->data) && !request->http->draining) {
        answer_literal(request, "ready\n");
        return;
    }
    struct fm_problem problem = {.error = FM_ERR_BUSY, .detail = "the server takes no calls now"};
    fm_answer_problem(request, &problem);
}

static void run_metrics(struct fm_request *request)
{
    const struct fm_http_config *config = &request->http->config;
    int failed = config->metrics(config->data, &request->text);
    fm_answer_text(request, MHD_HTTP_OK, FM_TYPE_METRICS, failed);
}

const struct fm_handler fm_health_handler = {.run = run_health};
const struct fm_handler fm_ready_handler = {.run = run_ready};
const struct fm_handler fm_metrics_handler = {.run = run_metrics};
