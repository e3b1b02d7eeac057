/* head.h - checks a request's headers.  Private to http/. */
#pragma once

#include "http/request.h"

/* Fills in what is known of the body.  FM_ERR_BAD_REQUEST (request->broken is set when it is the
 * framing: nothing behind the headers can be trusted then), FM_ERR_TOO_LARGE, or what was found
 * wrong with the target earlier; with a text in request->error. */
FM_MUST_CHECK int fm_head_check(struct fm_request *request, const char *version);
