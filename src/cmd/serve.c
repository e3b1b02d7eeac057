/* serve.c - `faasm serve`: reads the settings, opens the listening socket, hands over to the
 * supervisor. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "cmd/cmd.h"
#include "cmd/config.h"
#include "cmd/server.h"
#include "cmd/supervisor.h"

#define VERB "serve"
#define BACKLOG 4096
#define HOST_SIZE 256
#define PORT_SIZE 16

/* --- the listening socket --------------------------------------------------------------------- */

static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits <= 5 && text[digits] == '\0' && atoi(text) <= UINT16_MAX;
}

/* "127.0.0.1:8080", "[::1]:8080", "localhost:8080", ":8080" (loopback). */
static int split_address(const char *text, char *host, size_t host_size, char *port,
                         size_t port_size, struct fm_error *error)
{
    const char *colon = strrchr(text, ':');
    if (!colon)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "'%s' is not ADDRESS:PORT", text);
    if (!is_port(colon + 1)) /* getaddrinfo() would take it modulo 2^16 */
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "'%s': a port is a number up to %d", text,
                            UINT16_MAX);
    const char *start = text;
    const char *end = colon;
    if (*start == '[' && end > start && end[-1] == ']') {
        start++;
        end--;
    }
    size_t length = (size_t)(end - start);
    if (length >= host_size)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "'%s' is not ADDRESS:PORT", text);
    memcpy(host, start, length);
    host[length] = '\0';
    if (length == 0)
        (void)snprintf(host, host_size, "127.0.0.1");
    (void)snprintf(port, port_size, "%s", colon + 1);
    return 0;
}

static bool is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)address;
        return (ntohl(four->sin_addr.s_addr) >> 24) == 127;
    }
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)address;
    return address->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&six->sin6_addr);
}

static int listen_at(const struct fm_config *config, const struct addrinfo *info, int *ret_fd,
                     struct fm_error *error)
{
    if (!config->insecure && !is_loopback(info->ai_addr))
        return fm_error_set(error, FM_ERR_FORBIDDEN,
                            "%s is not a loopback address, and there is no authentication yet: "
                            "whoever reaches the port can upload and run functions. If that is "
                            "what you want, add --insecure",
                            config->listen);
    const int on = 1;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fm_error_errno(error, errno, "cannot make a socket");
    /* Accepted sockets inherit TCP_NODELAY. */
    bool listening = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                     setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
                     bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
    if (!listening) {
        int failed = fm_error_errno(error, errno, "cannot listen on %s", config->listen);
        (void)close(fd); /* never used */
        return failed;
    }
    *ret_fd = fd;
    return 0;
}

static int open_listener(const struct fm_config *config, int *ret_fd, struct fm_error *error)
{
    char host[HOST_SIZE];
    char port[PORT_SIZE];
    int failed = split_address(config->listen, host, sizeof(host), port, sizeof(port), error);
    if (failed)
        return failed;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(host, port, &hints, &found);
    if (code != 0)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "cannot listen on %s: %s", config->listen,
                            gai_strerror(code));
    failed = listen_at(config, found, ret_fd, error);
    freeaddrinfo(found);
    return failed;
}

static void log_listening(int fd)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    char host[64] = "";
    char port[16] = "";
    char text[96];
    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
        getnameinfo((struct sockaddr *)&address, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        (void)snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
        fm_log(FM_LOG_INFO, "listening", "address", text, NULL);
    }
}

/* Each connection and each loaded module takes a descriptor; take what we may. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* fewer connections then */
    }
}

/* --- arguments -------------------------------------------------------------------------------- */

enum {
    OPTION_LISTEN = 1,
    OPTION_DATA,
    OPTION_SAMPLES,
    OPTION_WORKERS,
    OPTION_CONFIG,
    OPTION_SET,
    OPTION_INSECURE,
    OPTION_CHECK,
};

static const struct option options[] = {
    {"listen", required_argument, NULL, OPTION_LISTEN},
    {"data", required_argument, NULL, OPTION_DATA},
    {"samples", required_argument, NULL, OPTION_SAMPLES},
    {"workers", required_argument, NULL, OPTION_WORKERS},
    {"config", required_argument, NULL, OPTION_CONFIG},
    {"set", required_argument, NULL, OPTION_SET},
    {"insecure", no_argument, NULL, OPTION_INSECURE},
    {"check", no_argument, NULL, OPTION_CHECK},
    {NULL, 0, NULL, 0},
};

static int apply_key(struct fm_config *config, const char *key, struct fm_error *error)
{
    char text[4096];
    (void)snprintf(text, sizeof(text), "%s=%s", key, optarg);
    return fm_config_set(config, text, error);
}

/* `files` true: only --config; false: everything else, since a flag beats the file. */
static int parse(struct fm_config *config, int argc, char **argv, bool files, bool *ret_check,
                 struct fm_error *error)
{
    opterr = 0;
    optind = 1;
    for (;;) {
        int option = getopt_long(argc, argv, "+:", options, NULL);
        int failed = 0;
        if (option == -1)
            break;
        if (option == ':')
            return fm_error_set(error, FM_ERR_BAD_REQUEST, "%s wants a value", argv[optind - 1]);
        if (option == '?')
            return fm_error_set(error, FM_ERR_BAD_REQUEST, "bad option '%s'", argv[optind - 1]);
        if (files != (option == OPTION_CONFIG))
            continue;
        if (option == OPTION_CONFIG)
            failed = fm_config_read(config, optarg, error);
        else if (option == OPTION_SET)
            failed = fm_config_set(config, optarg, error);
        else if (option == OPTION_INSECURE)
            config->insecure = true;
        else if (option == OPTION_CHECK)
            *ret_check = true;
        else
            failed = apply_key(config, options[option - OPTION_LISTEN].name, error);
        if (failed)
            return failed;
    }
    if (optind < argc)
        return fm_error_set(error, FM_ERR_BAD_REQUEST, "what is '%s'?", argv[optind]);
    return 0;
}

/* FM_ERR_BAD_REQUEST: a mistake of whoever typed it. */
static int read_all(struct fm_config *config, int argc, char **argv, bool *ret_check,
                    struct fm_error *error)
{
    int failed = parse(config, argc, argv, true, ret_check, error);
    if (!failed)
        failed = parse(config, argc, argv, false, ret_check, error);
    if (!failed && !config->data[0])
        failed =
            fm_error_set(error, FM_ERR_BAD_REQUEST, "where to keep functions? Give --data DIR");
    char host[HOST_SIZE];
    char port[PORT_SIZE];
    if (!failed)
        failed = split_address(config->listen, host, sizeof(host), port, sizeof(port), error);
    if (failed)
        return failed;
    fm_config_derive(config);
    if (config->slots >= config->workers)
        return 0;
    return fm_error_set(error, FM_ERR_BAD_REQUEST,
                        "%llu workers need at least as many slots, not %llu",
                        (unsigned long long)config->workers, (unsigned long long)config->slots);
}

static void show(const struct fm_config *config)
{
    (void)printf("listen = %s\ndata = %s\n%s%s%s\n", config->listen, config->data,
                 config->samples[0] ? "samples = " : "", config->samples,
                 config->samples[0] ? "\n" : "");
    fm_config_print(config, stdout);
}

static int serve(const struct fm_config *config)
{
    struct fm_error error = {0};
    int listener = -1;
    int failed = open_listener(config, &listener, &error);
    if (failed)
        return fm_cmd_fail(VERB, &error);
    raise_descriptors();
    log_listening(listener);
    if (config->insecure)
        fm_log(FM_LOG_WARNING, "insecure", "reason",
               "no authentication: whoever reaches the port can upload and run functions", NULL);
    int code = fm_supervise(config, listener, fm_server_run);
    (void)close(listener); /* nothing to lose */
    return code;
}

static int run_verb(int argc, char **argv)
{
    struct fm_config config;
    struct fm_error error = {0};
    bool check = false;
    int code = 0;
    fm_config_init(&config);
    int failed = read_all(&config, argc, argv, &check, &error);
    if (failed == FM_ERR_BAD_REQUEST)
        code = fm_cmd_usage(VERB, "%s", error.text);
    else if (failed)
        code = fm_cmd_fail(VERB, &error);
    else if (check)
        show(&config);
    else
        code = serve(&config);
    fm_config_done(&config);
    return code;
}

const struct fm_verb fm_verb_serve = {
    .name = VERB,
    .summary = "serve functions over HTTP",
    .usage = "Usage: faasm serve --data DIR [OPTION...]\n"
             "\n"
             "Takes WebAssembly functions over HTTP and runs them, until SIGTERM or Ctrl-C.\n"
             "\n"
             "  --listen ADDR:PORT  where to listen (default 127.0.0.1:8080; port 0: any)\n"
             "  --data DIR          where functions and calls are kept; made if missing\n"
             "  --samples DIR       functions to install at start: DIR/USER/FUNCTION.wasm\n"
             "  --workers N         threads that run calls (default: one a core)\n"
             "  --config FILE       settings, one `key = value` a line\n"
             "  --set KEY=VALUE     one setting; beats the file\n"
             "  --insecure          allow an address that is not loopback: there is no\n"
             "                      authentication yet\n"
             "  --check             print all settings with their meaning, and do not serve\n"
             "\n"
             "Upload:  curl -X PUT http://ADDR:PORT/f/USER/FUNCTION -T function.wasm\n"
             "Call:    curl -X POST http://ADDR:PORT/f/USER/FUNCTION -d 'input'\n",
    .run = run_verb,
};
