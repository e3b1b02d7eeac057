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
    struct fm_deadline deadline;
    struct fm_watch watch; /* for a hang-up while a call is waited for; added when first needed */
    bool early;            /* was answered before its body came: is closed by lingering */
    bool served;           /* has had an answer: when it idles it is not slow */
    bool late;             /* is being closed for that */
};

/* The library's notice of a new or closed connection. */
void fm_client_notice(void *data, struct MHD_Connection *connection, void **context,
                      enum MHD_ConnectionNotificationCode code);

/* NULL: there was no memory for it, and the connection is being closed. */
struct fm_client *fm_client_of(struct MHD_Connection *connection);

void fm_client_watch(struct fm_client *client);    /* for a hang-up, from now on; best effort */
void fm_client_late(struct fm_deadline *deadline); /* closes it */
void fm_client_drain(struct fm_client *client);    /* closes it, if it idles */
