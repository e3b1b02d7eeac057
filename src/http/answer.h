/* answer.h - answers, made for a request and sent when the library next asks.  Private to http/.
 *
 * Exactly one for each request.  When there is no memory for it the connection is closed instead.
 */
#pragma once

#include "http/problem.h"
#include "http/request.h"

#define FM_TYPE_JSON "application/json"
#define FM_TYPE_TEXT "text/plain; charset=utf-8"
#define FM_TYPE_WASM "application/wasm"
#define FM_TYPE_BYTES "application/octet-stream"

void fm_answer_empty(struct fm_request *request, unsigned status);

/* `data` must stay where it is until the handler's leave() is called. */
void fm_answer_bytes(struct fm_request *request, unsigned status, const char *type, uint8_t *data,
                     size_t bytes);

/* `bytes` of them (UINT64_MAX: who knows how many), that `read` gives when it is asked, until
 * handler->leave() is called: an MHD_ContentReaderCallback with `data`, which may have the request
 * wait and give none. */
void fm_answer_stream(struct fm_request *request, unsigned status, const char *type, uint64_t bytes,
                      MHD_ContentReaderCallback read, void *data);

/* What was written to request->text; `failed` is how that went. */
void fm_answer_text(struct fm_request *request, unsigned status, const char *type, int failed);

void fm_answer_error(struct fm_request *request, const struct fm_error *error);

/* request->error or, if a step that sets none has failed with `failed`, what that code means. */
void fm_answer_failed(struct fm_request *request, int failed);
void fm_answer_problem(struct fm_request *request, const struct fm_problem *problem);

/* To the answer that was just given. */
void fm_answer_header(struct fm_request *request, const char *name, const char *value);
void fm_answer_number(struct fm_request *request, const char *name, uint64_t number);
