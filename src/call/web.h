/* web.h - a call that answers an HTTP request by itself (/h/...), as its guest sees it.
 *
 * guest/ knows what a guest asks, http/ has the connection; this is what they say to each other.
 * Input and output are streams then: where there is nothing to read yet, or no room to write, the
 * answer is FM_WEB_WAIT, the guest parks, and http/ has it woken (fm_sched_wake()) to ask again.
 *
 * Threading: the worker's; such a call is pinned to it. */
#pragma once

#include "base/error.h"

struct fm_call;

#define FM_WEB_WAIT INT64_MIN /* no error: not now */

/* Whether reading or writing would have to wait, and how much can be moved at once. */
struct fm_web_ready {
    bool readable; /* also at the end, where there are no bytes */
    bool ended;
    bool writable;
    uint64_t readable_bytes;
    uint64_t writable_bytes;
};

struct fm_web_ops {
    /* Bytes of the request's body from `offset` on: how many, 0 at its end, FM_WEB_WAIT.  But for
     * its beginning (FM_WEB_KEPT_BYTES) what lies before them is given up; FM_ERR_BAD_REQUEST: that
     * has happened to these. */
    int64_t (*read)(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes);

    /* The size of the body.  FM_WEB_WAIT: it is on its way, and may fit.  FM_ERR_BUSY: nobody knows
     * before it is read. */
    int64_t (*size)(struct fm_call *call);

    /* Takes some of the bytes (at least one): how many, FM_WEB_WAIT.  FM_ERR_GUEST_LIMIT: over
     * output_bytes.  With another error the call has failed, and its guest must end. */
    int64_t (*write)(struct fm_call *call, const uint8_t *data, size_t bytes);

    void (*ready)(struct fm_call *call, uint64_t offset, struct fm_web_ready *ret_ready);

    /* A header of the request, or `:method`, `:path`, `:query`.  NULL: it has none. */
    const char *(*header)(struct fm_call *call, const char *name, size_t name_length);

    /* FM_ERR_BAD_REQUEST: not a status, name or value.  FM_ERR_CONFLICT: it has been sent.
     * FM_ERR_TOO_LARGE: over FM_WEB_HEADERS_MAX or FM_WEB_HEAD_BYTES_MAX.  FM_ERR_NOMEM. */
    int (*set_status)(struct fm_call *call, uint32_t status);
    int (*set_header)(struct fm_call *call, const char *name, size_t name_length, const char *value,
                      size_t value_length);
    void (*flush)(struct fm_call *call); /* what was written is to be sent now */

    /* The guest has ended without an error; what it wrote may be one. */
    void (*end)(struct fm_call *call);
};
