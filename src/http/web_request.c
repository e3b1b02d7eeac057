/* web_request.c - what a function learns of the request that it answers: headers, and the variables
 * of RFC 3875 in its environment.
 *
 * Everything is copied into the call's arena, since the library's copy goes with the connection.
 * Headers of one name become one, as RFC 9110 (5.2) allows, with commas; of Cookie, with
 * semicolons.
 *
 * A header X-Y becomes the variable HTTP_X_Y.  Left out are those whose names hold anything but
 * letters, digits and hyphens (X_Y would become the same variable, and pass for what a proxy has
 * set), those that are about this connection alone, and Proxy: many libraries take HTTP_PROXY for
 * the proxy that they are to use ("httpoxy").  Nor does a variable of the request take the place of
 * one that the function was given at its upload.
 *
 * PATH_INFO is the rest of the path as it came, escapes included: decoded, `%2f` could not be told
 * from a slash, and `%00` would end it.
 *
 * Threading: the worker's. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "base/arena.h"
#include "call/function.h"
#include "http/client.h"
#include "http/web.h"

#define FIXED_VARIABLES 14
#define ADDRESS_SIZE (INET6_ADDRSTRLEN + 16) /* text and port */

/* --- headers ---------------------------------------------------------------------------------- */

struct collecting {
    struct fm_web *web;
    size_t room; /* of the list */
    bool failed;
};

static struct fm_web_header *find(const struct fm_web *web, const char *name, size_t length)
{
    for (size_t i = 0; i < web->headers_count; i++)
        if (fm_header_is(name, length, web->headers[i].name))
            return &web->headers[i];
    return NULL;
}

static const char *join(struct fm_arena *arena, const struct fm_web_header *header,
                        const char *value)
{
    const char *between = strcasecmp(header->name, "cookie") == 0 ? "; " : ", ";
    size_t first = strlen(header->value);
    size_t second = strlen(value);
    char *text = fm_arena_alloc(arena, first + second + 3);
    if (!text)
        return NULL;
    memcpy(text, header->value, first);
    memcpy(text + first, between, 2);
    memcpy(text + first + 2, value, second + 1);
    return text;
}

static enum MHD_Result count_header(void *data, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    (void)kind;
    (void)name;
    (void)value;
    ((struct collecting *)data)->room++;
    return MHD_YES;
}

static enum MHD_Result collect_header(void *data, enum MHD_ValueKind kind, const char *name,
                                      const char *value)
{
    (void)kind;
    struct collecting *collecting = data;
    struct fm_web *web = collecting->web;
    struct fm_arena *arena = &web->call->arena;
    const char *text = value ? value : "";
    struct fm_web_header *header = find(web, name, strlen(name));
    if (header) {
        header->value = join(arena, header, text);
    } else {
        FM_ASSERT(web->headers_count < collecting->room);
        header = &web->headers[web->headers_count++];
        header->name = fm_arena_strndup(arena, name, strlen(name));
        header->value = fm_arena_strndup(arena, text, strlen(text));
    }
    collecting->failed = !header->name || !header->value;
    return collecting->failed ? MHD_NO : MHD_YES;
}

static bool collect_headers(struct fm_web *web)
{
    struct MHD_Connection *connection = web->request->client->connection;
    struct collecting collecting = {.web = web};
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, count_header, &collecting);
    web->headers =
        fm_arena_alloc(&web->call->arena, (collecting.room + 1) * sizeof(web->headers[0]));
    if (!web->headers)
        return false;
    (void)MHD_get_connection_values(connection, MHD_HEADER_KIND, collect_header, &collecting);
    return !collecting.failed;
}

static const char *path_of(const struct fm_web *web)
{
    const struct fm_buffer *path = &web->request->path;
    return path->length > 0 ? (const char *)path->data : "";
}

static const char *query_of(const struct fm_web *web)
{
    const struct fm_buffer *query = &web->request->query;
    return query->length > 0 ? (const char *)query->data : "";
}

const char *fm_web_find(const struct fm_web *web, const char *name, size_t name_length)
{
    if (fm_header_is(name, name_length, ":method"))
        return web->request->method;
    if (fm_header_is(name, name_length, ":path"))
        return path_of(web);
    if (fm_header_is(name, name_length, ":query"))
        return query_of(web);
    const struct fm_web_header *header = find(web, name, name_length);
    return header ? header->value : NULL;
}

static const char *value_of(const struct fm_web *web, const char *name)
{
    const struct fm_web_header *header = find(web, name, strlen(name));
    return header ? header->value : NULL;
}

/* --- variables -------------------------------------------------------------------------------- */

struct variables {
    struct fm_web *web;
    const char **list;
    size_t count;
    bool failed;
};

static bool was_given(const struct fm_version *version, const char *name, size_t length)
{
    for (size_t i = 0; i < version->env_count; i++)
        if (strncmp(version->env[i], name, length) == 0 && version->env[i][length] == '=')
            return true;
    return false;
}

static bool is_there(const struct variables *variables, const char *name, size_t length)
{
    for (size_t i = 0; i < variables->count; i++)
        if (strncmp(variables->list[i], name, length) == 0 && variables->list[i][length] == '=')
            return true;
    return false;
}

static void add(struct variables *variables, const char *name, const char *value)
{
    struct fm_call *call = variables->web->call;
    size_t name_length = strlen(name);
    size_t value_length = value ? strlen(value) : 0;
    if (!value || was_given(call->version, name, name_length) ||
        is_there(variables, name, name_length))
        return;
    char *text = fm_arena_alloc(&call->arena, name_length + value_length + 2);
    if (!text) {
        variables->failed = true;
        return;
    }
    memcpy(text, name, name_length);
    text[name_length] = '=';
    memcpy(text + name_length + 1, value, value_length + 1);
    variables->list[variables->count++] = text;
}

static bool becomes_variable(const char *name)
{
    static const char *const left_out[] = {
        "connection", "content-length", "content-type", "keep-alive", "proxy",
        "te",         "trailer",        "upgrade",      "expect",     "transfer-encoding",
    };
    for (size_t i = 0; i < FM_ARRAY_LENGTH(left_out); i++)
        if (strcasecmp(name, left_out[i]) == 0)
            return false;
    for (const char *c = name; *c; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        if (!letter && !(*c >= '0' && *c <= '9') && *c != '-')
            return false;
    }
    return name[0] != '\0';
}

static void add_header(struct variables *variables, const struct fm_web_header *header)
{
    static const char prefix[] = "HTTP_";
    if (!becomes_variable(header->name))
        return;
    size_t length = strlen(header->name);
    char *name = fm_arena_alloc(&variables->web->call->arena, sizeof(prefix) + length);
    if (!name) {
        variables->failed = true;
        return;
    }
    memcpy(name, prefix, sizeof(prefix) - 1);
    for (size_t i = 0; i <= length; i++) {
        char c = header->name[i];
        if (c == '-')
            c = '_';
        else if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        name[sizeof(prefix) - 1 + i] = c;
    }
    add(variables, name, header->value);
}

/* One end of the connection as text; "" where there is none to tell (a test's socket pair). */
static void address_of(const struct fm_web *web, bool peer, char text[ADDRESS_SIZE], char port[8])
{
    struct sockaddr_storage address = {0};
    socklen_t bytes = sizeof(address);
    int fd = fm_client_socket(web->request->client);
    text[0] = '\0';
    strcpy(port, "0");
    int failed = peer ? getpeername(fd, (struct sockaddr *)&address, &bytes)
                      : getsockname(fd, (struct sockaddr *)&address, &bytes);
    const void *at = NULL;
    in_port_t number = 0;
    if (!failed && address.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)&address;
        at = &in->sin_addr;
        number = in->sin_port;
    } else if (!failed && address.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&address;
        at = &in->sin6_addr;
        number = in->sin6_port;
    }
    if (!at || !inet_ntop(address.ss_family, at, text, INET6_ADDRSTRLEN))
        return;
    (void)snprintf(port, 8, "%u", ntohs(number));
}

/* The name by which the client has asked, if it is a plain one; else the address that it came to.
 */
static const char *server_name(struct fm_web *web, const char *address)
{
    const char *host = value_of(web, "host");
    size_t length = host ? strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                        "0123456789.-")
                         : 0;
    bool plain = length > 0 && (host[length] == '\0' || host[length] == ':');
    return plain ? fm_arena_strndup(&web->call->arena, host, length) : address;
}

int fm_web_request(struct fm_web *web)
{
    const struct fm_request *request = web->request;
    struct fm_call *call = web->call;
    if (!collect_headers(web))
        return FM_ERR_NOMEM;
    struct variables variables = {.web = web};
    variables.list = fm_arena_alloc(&call->arena, (web->headers_count + FIXED_VARIABLES) *
                                                      sizeof(variables.list[0]));
    if (!variables.list)
        return FM_ERR_NOMEM;
    char here[ADDRESS_SIZE];
    char port[8];
    char there[ADDRESS_SIZE];
    char there_port[8];
    char script[sizeof("/h//") + 2 * FM_NAME_LENGTH_MAX];
    char length[24];
    address_of(web, false, here, port);
    address_of(web, true, there, there_port);
    (void)snprintf(script, sizeof(script), "/h/%s/%s", call->version->user,
                   call->version->function);
    (void)snprintf(length, sizeof(length), "%llu", (unsigned long long)request->content_length);

    add(&variables, "GATEWAY_INTERFACE", "CGI/1.1");
    add(&variables, "SERVER_SOFTWARE", "faasm/" FAASM_VERSION);
    add(&variables, "SERVER_PROTOCOL", request->version);
    add(&variables, "SERVER_NAME", server_name(web, here));
    add(&variables, "SERVER_PORT", port);
    add(&variables, "REMOTE_ADDR", there);
    add(&variables, "REQUEST_METHOD", request->method);
    add(&variables, "SCRIPT_NAME", script);
    add(&variables, "PATH_INFO", path_of(web));
    add(&variables, "QUERY_STRING", query_of(web));
    add(&variables, "CONTENT_TYPE", value_of(web, "content-type"));
    add(&variables, "CONTENT_LENGTH", request->has_length ? length : NULL);
    for (size_t i = 0; i < web->headers_count; i++)
        add_header(&variables, &web->headers[i]);
    call->env = variables.list;
    call->env_count = variables.count;
    return variables.failed ? FM_ERR_NOMEM : 0;
}
