/* web.h - a call that answers its HTTP request by itself, and the request.  Private to http/.
 *
 *      client --> library --> kept, body --> guest --> head --> output --> library --> client
 *                 (take)      (read)                   (write)  (reader)
 *
 * The arrows are pieces, and each can have to wait for the next: then the connection is put aside,
 * or the guest parks. */
#pragma once

#include "base/fifo.h"
#include "call/call.h"
#include "call/web.h"
#include "http/cgi.h"
#include "http/reply.h"
#include "http/request.h"

struct fm_web_header {
    const char *name; /* as it came */
    const char *value;
};

struct fm_web {
    struct fm_request *request;
    struct fm_http *http;
    struct fm_call *call;
    bool cgi; /* its output begins with a header block */

    /* The request, in the call's arena (web_request.c). */
    struct fm_web_header *headers;
    size_t headers_count;

    /* Its body. */
    struct fm_buffer kept;  /* the beginning, which stays: up to FM_WEB_KEPT_BYTES */
    struct fm_fifo body;    /* what has come of the rest, and was not read yet */
    uint64_t body_start;    /* where that begins: the rest before it is gone */
    uint64_t body_bytes;    /* that have come */
    uint64_t counted_bytes; /* of memory, in http->bodies_bytes */
    bool body_ended;
    bool intake_waits; /* the connection is put aside: no room for more of the body */
    bool wants_room;   /* the guest waits for some, perhaps among other things, */
    bool blocked;      /* or does nothing but write */

    /* The answer. */
    struct fm_reply reply;
    struct fm_cgi head;
    struct fm_fifo output; /* what was not sent yet */
    uint64_t sent_bytes;   /* of its body */
    bool committed;        /* it is to begin before the end of the call: its head is fixed */
    bool sending;          /* it has begun */
    bool reader_waits;     /* the connection is put aside: nothing to send */
    bool over;             /* the call has ended, and what it chained is on disk */
    bool broken;           /* ... with an error, or nobody is there */
    struct fm_error chains_error;
};

/* web_request.c: the request as the guest sees it, into the call: call->env, web->headers.
 * FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_web_request(struct fm_web *web);
const char *fm_web_find(const struct fm_web *web, const char *name, size_t name_length);

/* web_io.c: the guest's side. */
extern const struct fm_web_ops fm_web_ops;
extern const struct fm_call_io fm_web_io; /* for imports that know no streams: they fail */

/* Takes what there is room for of a piece of the body.  FM_ERR_BUSY, FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_web_put_body(struct fm_web *web, const uint8_t *data, size_t bytes,
                                  size_t *ret_put);
void fm_web_end_body(struct fm_web *web);

/* More than fits: true when there will never be room, since the guest does not read before what it
 * has written is sent, which is not before all of the body has come. */
FM_MUST_CHECK bool fm_web_is_stuck(struct fm_web *web);

/* Has it fail for that; its guest is still to be ended. */
void fm_web_fail_stuck(struct fm_web *web);

/* Some of the output was sent: a guest that waits for room goes on. */
void fm_web_sent(struct fm_web *web);

/* Whether this status, and this method, have no body: what is written for it goes nowhere. */
bool fm_web_bodiless(const struct fm_web *web);

/* web.c: there is something to send. */
void fm_web_notify(struct fm_web *web);
