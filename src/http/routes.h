/* routes.h - which function answers which request, and what the handlers share.  Private to http/.
 */
#pragma once

#include "http/answer.h"

struct fm_version;

/* Sets request->route and request->handler.  FM_ERR_NOT_FOUND, FM_ERR_BAD_NAME,
 * FM_ERR_METHOD_NOT_ALLOWED (then there is a route), with a text in request->error. */
FM_MUST_CHECK int fm_route_find(struct fm_request *request, const char *method);

#define FM_ALLOW_SIZE 64

/* The value of the header Allow; NULL: of the server as a whole. */
void fm_route_allow(const struct fm_route *route, char text[FM_ALLOW_SIZE]);

/* Checks the names of user and function, finds the function and readies request->body for an input.
 * FM_ERR_BAD_NAME, FM_ERR_NOT_FOUND, FM_ERR_TOO_LARGE.  (invoke.c) */
FM_MUST_CHECK int fm_invoke_begin(struct fm_request *request);

/* The function again, when the body is complete: much may have happened meanwhile. */
FM_MUST_CHECK int fm_invoke_find(struct fm_request *request, struct fm_function **ret_function);

/* The names in `/f/<user>/<function>`: FM_ERR_BAD_NAME. */
FM_MUST_CHECK int fm_invoke_names(struct fm_request *request);

/* Answers with the problem that the call's outcome is, or `chains`; adds the headers that tell of
 * the call. */
void fm_invoke_failed(struct fm_request *request, const struct fm_error *chains);
void fm_invoke_headers(struct fm_request *request, const struct fm_call *call);
void fm_invoke_headers_early(struct fm_request *request,
                             const struct fm_call *call); /* known then */

/* Nobody waits for the end of a call any more (`?wait=`): all are answered.  (calls.c) */
void fm_calls_waits_end(struct fm_http *http);

/* Answers with the function JSON of `version` and this worker's counts.  (functions.c) */
void fm_function_answer(struct fm_request *request, unsigned status,
                        const struct fm_version *version);

extern const struct fm_handler fm_invoke_handler;          /* POST /f/<user>/<function> */
extern const struct fm_handler fm_web_handler;             /* ANY /h/<user>/<function>/... */
extern const struct fm_handler fm_put_handler;             /* PUT */
extern const struct fm_handler fm_function_get_handler;    /* GET */
extern const struct fm_handler fm_function_delete_handler; /* DELETE */
extern const struct fm_handler fm_function_patch_handler;  /* PATCH */
extern const struct fm_handler fm_function_list_handler;   /* GET /f/<user> */
extern const struct fm_handler fm_async_handler;           /* POST /fa/<user>/<function> */
extern const struct fm_handler fm_call_list_handler;       /* GET /calls */
extern const struct fm_handler fm_call_get_handler;        /* GET /calls/<id> */
extern const struct fm_handler fm_call_delete_handler;     /* DELETE */
extern const struct fm_handler fm_call_redrive_handler;    /* POST /calls/<id>/redrive */
extern const struct fm_handler fm_call_output_handler;     /* GET /calls/<id>/output */
extern const struct fm_handler fm_call_log_handler;        /* GET /calls/<id>/log */
extern const struct fm_handler fm_call_coredump_handler;   /* GET /calls/<id>/coredump */
extern const struct fm_handler fm_user_get_handler;        /* GET /users/<user> */
extern const struct fm_handler fm_user_patch_handler;      /* PATCH */
extern const struct fm_handler fm_file_put_handler;        /* PUT /files/<user>/<path> */
extern const struct fm_handler fm_file_get_handler;        /* GET, and GET /files/<user> */
extern const struct fm_handler fm_file_delete_handler;     /* DELETE of the same */
extern const struct fm_handler fm_health_handler;          /* GET /healthz */
extern const struct fm_handler fm_ready_handler;           /* GET /readyz */
extern const struct fm_handler fm_metrics_handler;         /* GET /metrics */
extern const struct fm_handler fm_options_handler;         /* OPTIONS */
