/* client.h - a connection, as long as the library has it.  Private to http/. */
#pragma once

#include <microhttpd.h>

#include "http/front.h"

struct fm_request;

struct fm_client {
    struct fm_http *http;
    struct MHD_Connection *connection;
    struct fm_request *request; /* NULL between two requests */
    struct fm_list link;        /* in http->clients */
    struct fm_list stir_link;   /* in http->to_stir */
    struct fm_deadline deadline;
    struct fm_watch watch; /* for the end of what the client sends, or of itself */
    bool half;             /* it has closed its sending side */
    bool gone;             /* it has closed both, or reset the connection */
    bool early;            /* was answered before its body came: is closed by lingering */
    bool served;           /* has had an answer: when it idles it is not slow */
    bool late;             /* is being closed for that */
};

/* The library's notice of a new or closed connection. */
void fm_client_notice(void *data, struct MHD_Connection *connection, void **context,
                      enum MHD_ConnectionNotificationCode code);

/* NULL: there was no memory for it, and the connection is being closed. */
struct fm_client *fm_client_of(struct MHD_Connection *connection);

int fm_client_socket(const struct fm_client *client);

/* Whether its call is to be given up. */
bool fm_client_has_left(const struct fm_client *client);
void fm_client_hang_up(struct fm_client *client); /* gives it up */

void fm_client_late(struct fm_deadline *deadline); /* closes it */
void fm_client_drain(struct fm_client *client);    /* closes it, if it idles */

/* After the library has run: has it look again at those whose end it may have missed. */
void fm_client_stir_all(struct fm_http *http);
