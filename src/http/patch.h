/* patch.h - bodies of PATCH: merge patches (RFC 7396).  Private to http/; for the worker's thread.
 */
#pragma once

#include <jansson.h>

#include "http/answer.h"

/* For a handler's begin(): the body is kept, if it is one that can be a patch.
 * FM_ERR_BAD_REQUEST: another Content-Type.  FM_ERR_TOO_LARGE.  Texts in request->error. */
FM_MUST_CHECK int fm_patch_begin(struct fm_request *request);

/* The body as an object, which the caller owns.  FM_ERR_BAD_REQUEST: it is none, or not JSON, with
 * its place; FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_patch_parse(const struct fm_buffer *body, json_t **ret_patch,
                                 struct fm_error *error);
