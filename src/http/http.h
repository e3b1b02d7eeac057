/* http.h - one worker's HTTP front: connections to requests, requests to calls, and back.
 *
 * GNU libmicrohttpd parses and writes HTTP/1.1; its daemon has no thread and no listening socket of
 * its own: it sits on the worker's loop, and connections are given to it.  All functions are for
 * the worker's thread. */
#pragma once

#include "base/error.h"

struct fm_buffer;
struct fm_calls;
struct fm_deployer;
struct fm_functions;
struct fm_http; /* opaque */
struct fm_loop;
struct fm_pool;
struct fm_queue;
struct fm_sched;
struct fm_under_way;
struct fm_user_trees;
struct fm_users;

struct fm_http_config {
    unsigned worker; /* index */
    struct fm_loop *loop;
    struct fm_sched *sched;
    struct fm_queue *queue;
    struct fm_under_way *under_way; /* of this worker */
    struct fm_calls *calls;         /* asked about calls that the queue has handed over to it */
    struct fm_functions *functions;
    struct fm_deployer *deployer;
    struct fm_users *users;
    struct fm_user_trees *trees; /* NULL: nobody has files */
    struct fm_pool *pool;        /* for reading and writing files */

    uint32_t connections_max;
    uint64_t module_bytes_max; /* of an upload */
    uint64_t file_bytes_max;   /* of a user's file */
    uint64_t bodies_bytes_max; /* of other bodies in memory at once; 0: 256 MiB */
    uint64_t header_bytes_max; /* request line and headers */
    uint64_t
        header_time_ns; /* from the connection's start, or the last answer, to complete headers */
    uint64_t body_time_ns;     /* from the headers to the body's end */
    bool cancel_on_half_close; /* a client that ends its side hangs up */

    /* The text of /metrics, summed over all workers; set by cmd/.  Appends to `text`. */
    int (*metrics)(void *data, struct fm_buffer *text);
    bool (*ready)(void *data); /* /readyz: 200 or 503 */
    void *data;
};

FM_MUST_CHECK int fm_http_new(const struct fm_http_config *config, struct fm_http **ret_http,
                              struct fm_error *error);

/* Closes all connections at once and starts nothing any more: calls that are waited for are
 * cancelled. What cannot be called back (uploads, deployments, questions) is still under way for a
 * while: see fm_http_counts.operations. */
void fm_http_close(struct fm_http *http);

/* The same, if it was not done before; then waits on this loop for what is under way, whose answers
 * must still come: from pool and queues, and from the deployer unless it has none left.  NULL is
 * fine; returns NULL. */
struct fm_http *fm_http_free(struct fm_http *http);

/* Takes a connected, non-blocking socket.  Over connections_max it is answered 503 and closed. */
void fm_http_connection(struct fm_http *http, int fd);

/* To be called once a pass, after the loop's.  True: there is more to do at once, do not wait. */
bool fm_http_turn(struct fm_http *http);

/* Stops keep-alive: every connection is closed after its present answer, idle ones now.  Over when
 * counts.open and counts.operations are 0. */
void fm_http_drain(struct fm_http *http);

struct fm_http_counts {
    uint64_t connections;  /* accepted so far */
    uint64_t requests;     /* answered so far */
    uint64_t responses[6]; /* by class: [2] is 2xx... */
    uint64_t hangups;      /* clients that left while their call was under way */
    uint64_t timeouts;     /* connections closed for slow headers or bodies */
    uint64_t bytes_in;     /* of bodies */
    uint64_t bytes_out;    /* of bodies */
    uint32_t open;         /* connections now */
    uint32_t suspended;    /* requests that wait for a call, a file or an answer, now */
    uint32_t
        operations; /* uploads, deployments and questions under way, with a client or without */
};

void fm_http_counts(const struct fm_http *http, struct fm_http_counts *ret_counts);
