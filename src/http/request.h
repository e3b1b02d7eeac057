/* request.h - a request, from its request line until nobody works for it any more.
 *
 * Private to http/; for the worker's thread. */
#pragma once

#include <microhttpd.h>

#include "base/buffer.h"
#include "call/under_way.h"
#include "http/client.h"
#include "http/target.h"

struct fm_accepting;
struct fm_ask;
struct fm_call;
struct fm_chaining;
struct fm_configuration;
struct fm_file_get;
struct fm_file_put;
struct fm_file_removal;
struct fm_function;
struct fm_listing;
struct fm_patch;
struct fm_put;
struct fm_removal;
struct fm_request;
struct fm_route;
struct fm_show;
struct fm_web;

/*      HEAD --> BODY --> WORK --> ANSWER
 *        |       |  ^     |         ^ ^
 *        |       |  |     +--> CLOSE| |
 *        |       +--+--> DROP ------+ |
 *        +---------------^            |
 *        +----------------------------+        refused before its body came */
enum fm_request_phase {
    FM_REQUEST_HEAD,   /* waits for the end of the headers */
    FM_REQUEST_BODY,   /* waits for the body, which the handler gets */
    FM_REQUEST_DROP,   /* is refused; waits for the rest of the body, which nobody gets */
    FM_REQUEST_WORK,   /* is whole; waits for what the handler does for it */
    FM_REQUEST_ANSWER, /* waits for its answer to be sent */
    FM_REQUEST_CLOSE,  /* waits for its connection to be closed, without an answer */
};

enum fm_intake {
    FM_INTAKE_NONE,   /* a small body is ignored, a larger one refused */
    FM_INTAKE_KEEP,   /* the body is collected in request->body, up to its length_max */
    FM_INTAKE_STREAM, /* the handler takes it piece by piece */
};

/* What answers one method of one route.  Functions that are NULL have nothing to do. */
struct fm_handler {
    enum fm_intake intake;
    /* The headers are complete.  An error (with its text in request->error) refuses the request. */
    int (*begin)(struct fm_request *request);
    /* STREAM only: takes some of `data` and says how much; less than all only when it has the
     * request wait.  An error refuses the request. */
    int (*take)(struct fm_request *request, const uint8_t *data, size_t bytes, size_t *ret_taken);
    /* The request is whole: gives an answer, or has it wait. */
    void (*run)(struct fm_request *request);
    /* It was woken, and has no answer yet: the same.  NULL: whoever wakes it has given one. */
    void (*resume)(struct fm_request *request);
    /* The client has left a request that waits: ends the work soon, and then wakes the request. */
    void (*cancel)(struct fm_request *request);
    /* The library has let go of the request, answered or not: ends what is under way for it. False:
     * that takes longer, and fm_request_free() will be called by then. */
    bool (*leave)(struct fm_request *request);
};

struct fm_request {
    struct fm_http *http;
    struct fm_client *client; /* NULL: the library has let go of it */
    enum fm_request_phase phase;
    const struct fm_route *route;     /* NULL: not found (yet) */
    const struct fm_handler *handler; /* NULL: not found (yet) */
    bool head;                        /* the method is HEAD */
    const char *method;               /* the library's, as long as it has the request */
    const char *version;              /* of HTTP; the same */
    const char *principal;            /* who asks; "anonymous" until there are tokens */
    struct fm_target target;
    const char *raw_target; /* only to be compared with the library's other pointers */
    size_t raw_length;

    uint64_t content_length; /* 0: none, or not known */
    bool has_length;
    bool chunked;
    uint64_t head_bytes; /* what its head takes of the connection's memory, about */
    bool expects;        /* Expect: 100-continue: the body is held back until we say so */
    const char *broken;  /* what is wrong with its framing (static); NULL: nothing */

    bool suspended;      /* the library looks away */
    bool patient;        /* see fm_request_wait() */
    bool hung_up;        /* the client has left */
    uint64_t drop_bytes; /* of the body, ignored so far */
    struct fm_buffer body;
    struct fm_buffer query; /* a copy with its NUL; decoded in place as it is read */
    /* With its NUL.  Of a file: what follows `/files/<user>/`, decoded.  Of a web page: what
     * follows
     * `/h/<user>/<function>`, as it came. */
    struct fm_buffer path;
    bool path_slash;       /* of a file: a slash stood behind it */
    struct fm_buffer text; /* of an answer that is made here */
    struct fm_error error; /* why it was refused */
    const char *quota;     /* the one of an FM_ERR_QUOTA (static text); NULL: another error */

    struct MHD_Response *response; /* made, and not yet given to the library */
    unsigned status; /* of the answer; before that: of the refusal, if it is special */
    uint64_t answer_bytes;

    struct fm_function *function; /* good while function_pass == http->pass */
    uint64_t function_pass;
    struct fm_call *call; /* these are the handler's */
    bool call_ended;      /* until then the call may be another worker's */
    struct fm_under_way_call under_way;
    struct fm_chaining *chaining;
    struct fm_put *put;
    struct fm_configuration *configuration;
    struct fm_removal *removal;
    struct fm_accepting *accepting;
    struct fm_ask *ask;
    struct fm_patch *patch;
    struct fm_listing *listing;
    struct fm_file_get *file_get;
    struct fm_file_put *file_put;
    struct fm_file_removal *file_removal;
    struct fm_show *show;
    struct fm_web *web;
    uint64_t wait_ns;

    struct fm_list link; /* in http->free_requests */
};

/* The library's callbacks. */
void *fm_request_start(void *data, const char *target, struct MHD_Connection *connection);
enum MHD_Result fm_request_step(void *data, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *upload_data,
                                size_t *upload_bytes, void **context);
void fm_request_completed(void *data, struct MHD_Connection *connection, void **context,
                          enum MHD_RequestTerminationCode code);

void fm_request_leave(struct fm_request *request); /* the library lets go of it */
void fm_request_free(struct fm_request *request);  /* or keeps it for a next one */
void fm_request_free_all(struct fm_http *http);    /* those that were kept */

/* Gives the body, which is whole, to the caller: from malloc, NULL if it is empty. */
uint8_t *fm_request_take_body(struct fm_request *request, size_t *ret_bytes);

/* The body has been read and nobody needs it any more, however long its answer takes to send. */
void fm_request_forget_body(struct fm_request *request);

/* Puts the request aside until fm_request_wake().  With `hang_up`, a client that leaves meanwhile
 * is noticed and handler->cancel called. */
void fm_request_wait(struct fm_request *request, bool hang_up);
void fm_request_wake(struct fm_request *request);

/* The client of a waiting request has left, or has to: its connection is closed without an answer
 * (or the rest of one), as soon as the handler lets go. */
void fm_request_cut(struct fm_request *request);
void fm_request_close(struct fm_request *request); /* at once */

/* FM_ERR_BAD_REQUEST, with a text in request->error, when there is any parameter. */
FM_MUST_CHECK int fm_request_no_query(struct fm_request *request);
