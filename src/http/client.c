/* client.c - what we keep of a connection, and how it ends.
 *
 * Three ways lead out: the library closes it (after an error, or an answer with `Connection:
 * close`), its time is over, or the client hangs up.  In all of them it is the library that closes
 * the socket, so the latter two only make it want to: a shutdown(2) that it reads as the end, or an
 * answer of "no" from the handler.
 *
 * Hang-up.  The library does not look at a suspended connection, so while a call is waited for, the
 * socket is in our own epoll as well, for EPOLLRDHUP alone (bytes of a pipelined request are none
 * of our business).  It stays there once it was added: two system calls a connection instead of two
 * a call.  A notice while nothing is waited for takes it out again; the library sees that end
 * itself.
 *
 * Lifetime: from the library's notice of the new connection to that of the closed one.  Threading:
 * the worker's. */
#include "http/client.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "http/request.h"

static int socket_of(const struct fm_client *client)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(client->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    FM_ASSERT(info);
    return info->connect_fd;
}

struct fm_client *fm_client_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    FM_ASSERT(info);
    return info->socket_context;
}

/* --- the end ---------------------------------------------------------------------------------- */

void fm_client_late(struct fm_deadline *deadline)
{
    struct fm_client *client = FM_CONTAINER_OF(deadline, struct fm_client, deadline);
    if (client->request || !client->served)
        client->http->counts.timeouts++;
    client->late = true;
    (void)shutdown(socket_of(client), SHUT_RDWR); /* fails only when the client is gone already */
    /* Should the library be in a state in which it does not read, its own timeout ends it. */
    (void)MHD_set_connection_option(client->connection, MHD_CONNECTION_OPTION_TIMEOUT, 1u);
}

void fm_client_drain(struct fm_client *client)
{
    /* Only the reading side: what has already arrived is still read, and answered. */
    if (!client->request)
        (void)shutdown(socket_of(client), SHUT_RD);
}

static void on_hang_up(struct fm_watch *watch, uint32_t events)
{
    (void)events; /* there is only one that can be meant */
    struct fm_client *client = FM_CONTAINER_OF(watch, struct fm_client, watch);
    struct fm_request *request = client->request;
    fm_loop_watch_remove(client->http->config.loop, watch);
    if (!request || !request->suspended || !request->handler->cancel)
        return;
    client->http->counts.hangups++;
    fm_request_cut(request);
}

void fm_client_watch(struct fm_client *client)
{
    if (client->watch.fd >= 0)
        return;
    struct fm_http *http = client->http;
    uint32_t events = http->config.cancel_on_half_close ? EPOLLRDHUP : 0; /* and a reset, always */
    /* Without memory for it the call runs to its end although its client may have left. */
    (void)!fm_loop_watch_add(http->config.loop, &client->watch, socket_of(client), events);
}

/* --- the library's notices -------------------------------------------------------------------- */

static void started(struct fm_http *http, struct MHD_Connection *connection, void **context)
{
    struct fm_client *client = calloc(1, sizeof(*client));
    *context = client;
    if (!client) { /* no deadline would ever end it */
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        (void)shutdown(info->connect_fd, SHUT_RDWR);
        return;
    }
    client->http = http;
    client->connection = connection;
    client->watch = (struct fm_watch){.fd = -1, .on_ready = on_hang_up};
    fm_deadline_init(&client->deadline);
    fm_deadline_set(&http->heads, &client->deadline);
    fm_list_push_back(&http->clients, &client->link);
    http->counts.connections++;
    http->counts.open++;
}

static void closed(struct fm_client *client)
{
    struct fm_http *http = client->http;
    if (client->request) /* some broken requests are closed without a word about them */
        fm_request_leave(client->request);
    fm_loop_watch_remove(http->config.loop, &client->watch);
    fm_deadline_clear(&client->deadline);
    fm_list_remove(&client->link);
    http->counts.open--;
    if (client->early && !client->late) {
        /* The library closes its descriptor in a moment; the socket lives on in this one. */
        int fd = fcntl(socket_of(client), F_DUPFD_CLOEXEC, 0);
        if (fd >= 0)
            fm_linger_take(&http->linger, fd);
    }
    free(client);
}

void fm_client_notice(void *data, struct MHD_Connection *connection, void **context,
                      enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        started(data, connection, context);
    else if (*context)
        closed(*context);
}
