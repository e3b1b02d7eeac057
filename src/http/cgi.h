/* cgi.h - the header block with which a command's output begins (RFC 3875, 6).
 *
 *      Status: 404 Not Found
 *      Content-Type: text/plain
 *
 *      and here the body
 *
 * It comes in pieces, as the command writes.  Private to http/. */
#pragma once

#include "http/reply.h"

struct fm_cgi {
    struct fm_reply *reply; /* where it goes; borrowed */
    struct fm_buffer line;  /* the one that is not complete yet */
    size_t bytes;           /* of the block so far */
    unsigned lines;
    bool complete; /* its empty line has come */
};

void fm_cgi_init(struct fm_cgi *cgi, struct fm_reply *reply);
void fm_cgi_done(struct fm_cgi *cgi);

/* Takes what belongs to the block and says how much: all of it, unless that completes the block.
 * FM_ERR_BAD_RESPONSE: this is no header block, or one that is over FM_WEB_HEAD_BYTES_MAX or
 * FM_WEB_HEADERS_MAX; `error` says in which line.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_cgi_take(struct fm_cgi *cgi, const uint8_t *data, size_t bytes,
                              size_t *ret_taken, struct fm_error *error);

/* The command has ended.  FM_ERR_BAD_RESPONSE: in the middle of the block. */
FM_MUST_CHECK int fm_cgi_end(const struct fm_cgi *cgi, struct fm_error *error);
