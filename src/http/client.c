/* client.c - what we keep of a connection, and how it ends.
 *
 * Three ways lead out: the library closes it (after an error, or when an answer says so), its time
 * is over, or the client hangs up.  In all of them it is the library that closes the socket, so the
 * latter two only make it want to: by a shutdown(2) that it reads as the end, or by an answer of
 * "no" from the handler.
 *
 * The socket is also in our own epoll, for its end alone (EPOLLRDHUP, once); bytes are none of our
 * business.  There are two reasons.
 *
 * First, the library does not look at a suspended connection, and a client that leaves while its
 * call is waited for must give the call up.
 *
 * Second, the library (0.9.75) asks for edges and stops reading after a short read.  So an end that
 * comes together with the last bytes is never seen, and such a connection would stay until its time
 * is over.  What is still there after the library's next run is therefore stirred: suspended and
 * resumed at once, which makes it read once more.
 *
 * Lifetime: from the library's notice of the new connection to that of the closed one.  Threading:
 * the worker's. */
#include "http/client.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "http/request.h"

int fm_client_socket(const struct fm_client *client)
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
    (void)shutdown(fm_client_socket(client),
                   SHUT_RDWR); /* fails only when the client is gone already */
    /* Should the library be in a state in which it does not read, its own timeout ends it. */
    (void)MHD_set_connection_option(client->connection, MHD_CONNECTION_OPTION_TIMEOUT, 1u);
}

void fm_client_drain(struct fm_client *client)
{
    /* Only the reading side: what has already arrived is still read, and answered. */
    if (!client->request)
        (void)shutdown(fm_client_socket(client), SHUT_RD);
}

/* --- hanging up
 * ----------------------------------------------------------------------------------- */

bool fm_client_has_left(const struct fm_client *client)
{
    return client->gone || (client->half && client->http->config.cancel_on_half_close);
}

void fm_client_hang_up(struct fm_client *client)
{
    client->http->counts.hangups++;
    fm_request_cut(client->request);
}

static void on_end(struct fm_watch *watch, uint32_t events)
{
    struct fm_client *client = FM_CONTAINER_OF(watch, struct fm_client, watch);
    struct fm_request *request = client->request;
    client->half = true;
    client->gone |= (events & (EPOLLHUP | EPOLLERR)) != 0;
    if (!request || !request->suspended) {
        fm_list_remove(&client->stir_link);
        fm_list_push_back(&client->http->to_stir, &client->stir_link);
        client->http->due = true; /* its turn comes in this pass */
    } else if (request->handler->cancel && fm_client_has_left(client)) {
        fm_client_hang_up(client);
    } /* else it is resumed some time, and then the library reads */
}

void fm_client_stir_all(struct fm_http *http)
{
    struct fm_list *link = NULL;
    while ((link = fm_list_pop_front(&http->to_stir)) != NULL) {
        struct fm_client *client = FM_LIST_ENTRY(link, struct fm_client, stir_link);
        if (client->request && client->request->suspended)
            continue;
        MHD_suspend_connection(client->connection);
        MHD_resume_connection(client->connection);
        http->due = true;
    }
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
    client->watch = (struct fm_watch){.fd = -1, .on_ready = on_end};
    fm_list_init(&client->stir_link);
    fm_deadline_init(&client->deadline);
    fm_deadline_set(&http->heads, &client->deadline);
    fm_list_push_back(&http->clients, &client->link);
    http->counts.connections++;
    http->counts.open++;
    /* Without memory for it a call goes on although its client may have left, and time ends the
     * rest. */
    (void)!fm_loop_watch_add(http->config.loop, &client->watch, fm_client_socket(client),
                             EPOLLRDHUP | EPOLLET);
}

static void closed(struct fm_client *client)
{
    struct fm_http *http = client->http;
    if (client->request) /* some broken requests are closed without a word about them */
        fm_request_leave(client->request);
    fm_loop_watch_remove(http->config.loop, &client->watch);
    fm_deadline_clear(&client->deadline);
    fm_list_remove(&client->link);
    fm_list_remove(&client->stir_link);
    http->counts.open--;
    if (client->early && !client->late) {
        /* The library closes its descriptor in a moment; the socket lives on in this one. */
        int fd = fcntl(fm_client_socket(client), F_DUPFD_CLOEXEC, 0);
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
