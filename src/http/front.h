/* front.h - one worker's HTTP front from the inside.  Private to http/.
 *
 *      fm_http --- clients ---> fm_client (a connection) ---> fm_request (the one under way)
 */
#pragma once

#include "base/list.h"
#include "http/deadlines.h"
#include "http/http.h"
#include "http/linger.h"
#include "loop/loop.h"

struct MHD_Daemon;

#define FM_HTTP_DROP_BYTES_MAX (8 * FM_MIB)    /* of a body that was refused while it came */
#define FM_HTTP_DROP_TIME_NS (5 * FM_NS_PER_S) /* ... and for how long */
#define FM_HTTP_SMALL_BODY_BYTES (64 * FM_KIB) /* of a request that takes none, or is refused */
#define FM_HTTP_BODIES_BYTES_DEFAULT (256 * FM_MIB) /* in memory at once, of a worker */
#define FM_HTTP_UPLOADS_MAX 64                      /* at once, of a worker */
#define FM_HTTP_CONFIGURATIONS_MAX 16               /* the same: changes of functions */
#define FM_HTTP_FILE_PUTS_MAX 256                   /* the same: files that come */
#define FM_HTTP_FILE_GETS_MAX 1024                  /* ... and that go, or folders */
#define FM_HTTP_TEXT_BYTES_MAX (256 * FM_MIB)       /* of an answer that is made here */
#define FM_HTTP_STALL_MS 60000                      /* that a client may leave an answer unread */
#define FM_HTTP_FREE_REQUESTS_MAX 32                /* kept for the next ones, of a worker */
#define FM_HTTP_KEEP_BYTES (64 * FM_KIB)            /* of the body buffer of such a one */

struct fm_http {
    struct fm_http_config config;
    struct MHD_Daemon *daemon;
    struct fm_watch watch; /* of the library's epoll descriptor */
    bool due;              /* the library has something to do */
    struct fm_timer kick;  /* ends the loop's wait when that came up after the pass's turn */
    bool draining;
    bool closed;   /* nothing is started any more */
    uint64_t pass; /* counts runs of the library; a function that was found is good for one */

    struct fm_list clients;
    struct fm_list to_stir;    /* clients whose end the library may miss */
    struct fm_list waits;      /* of GET /calls/<id>?wait= (calls.c) */
    struct fm_deadlines heads; /* for the request line and the headers */
    struct fm_deadlines bodies;
    struct fm_deadlines drops;
    struct fm_linger linger;

    struct fm_list free_requests;
    uint32_t free_requests_count;
    uint64_t bodies_bytes; /* of the bodies in memory now */
    uint32_t uploads;      /* now */
    uint32_t configurations;
    uint32_t file_puts; /* now */
    uint32_t file_gets; /* now */
    struct fm_http_counts counts;
};

/* The library has something to do that its descriptor does not tell: it gets its turn in this pass
 * or the next, which does not wait then.  (server.c) */
void fm_http_kick(struct fm_http *http);
