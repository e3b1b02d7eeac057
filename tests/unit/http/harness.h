/* harness.h - the whole HTTP front on a real loop with real sockets, and with everything behind it
 * faked: the scheduler, the queue and the deployer do what a test says, when it says so, and the
 * clock stands still until it is moved.  Server and clients take turns in one thread: no test can
 * depend on who is faster.
 *
 * To be included once by a program; the fakes take the place of the libraries' functions. */
#pragma once

#pragma GCC diagnostic ignored "-Wunused-function" /* a program uses what it needs */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "call/call.h"
#include "call/change.h"
#include "call/dump.h"
#include "call/function.h"
#include "call/under_way.h"
#include "call/web.h"
#include "http/http.h"
#include "loop/loop.h"
#include "loop/pool.h"
#include "queue/ask.h"
#include "sched/deploy.h"
#include "sched/sched.h"
#include "sched/users_change.h"
#include "store/functions.h"

/* --- the clock
 * ------------------------------------------------------------------------------------ */

static uint64_t fake_now_ns = 1000 * FM_NS_PER_S;

uint64_t fm_clock_monotonic_ns(void)
{
    return fake_now_ns;
}

uint64_t fm_clock_real_ns(void)
{
    return fake_now_ns;
}

uint64_t fm_clock_thread_cpu_ns(void)
{
    return 0;
}

void fm_clock_format(uint64_t real_ns, char text[FM_CLOCK_TEXT_SIZE])
{
    (void)snprintf(text, FM_CLOCK_TEXT_SIZE, "T%llu", (unsigned long long)(real_ns / FM_NS_PER_S));
}

/* --- the scheduler
 * -------------------------------------------------------------------------------- */

#define CALLS_MAX 64

struct fm_function {
    struct fm_version *version;
};

static struct fm_function functions[8];
static size_t functions_count;
static struct fm_call *waiting_calls[CALLS_MAX]; /* of function `later` */
static size_t waiting_count;
static unsigned calls_made;
static unsigned calls_freed;
static unsigned calls_cancelled;
static unsigned chains_started;
static int call_new_fails;

static void add_function(const char *name, uint64_t input_bytes)
{
    struct fm_version from = {
        .user = "u",
        .function = name,
        .id = "v1",
        .folder = "",
        .sha256 = "0000000000000000000000000000000000000000000000000000000000000000",
    };
    fm_limits_defaults(&from.limits);
    from.limits.input_bytes = input_bytes;
    assert_int_equal(fm_version_new(&from, &functions[functions_count].version), 0);
    functions_count++;
}

struct fm_function *fm_sched_function(struct fm_sched *sched, const char *user, size_t user_length,
                                      const char *function, size_t function_length)
{
    (void)sched;
    for (size_t i = 0; i < functions_count; i++) {
        const char *name = functions[i].version->function;
        if (user_length == 1 && user[0] == 'u' && strlen(name) == function_length &&
            memcmp(name, function, function_length) == 0)
            return &functions[i];
    }
    return NULL;
}

const struct fm_version *fm_function_version(const struct fm_function *function)
{
    return function->version;
}

void fm_function_counts(const struct fm_function *function, uint64_t *ret_total,
                        uint64_t *ret_failed)
{
    (void)function;
    *ret_total = 7;
    *ret_failed = 2;
}

void fm_sched_functions_each(struct fm_sched *sched, const char *user,
                             bool (*visit)(const struct fm_function *function, void *data),
                             void *data)
{
    (void)sched;
    for (size_t i = 0; i < functions_count; i++)
        if (strcmp(user, "u") == 0 && !visit(&functions[i], data))
            return;
}

int fm_sched_call_new(struct fm_sched *sched, struct fm_function *function,
                      struct fm_call **ret_call)
{
    (void)sched;
    if (call_new_fails)
        return call_new_fails;
    int failed = fm_call_new(function->version, ret_call);
    if (failed)
        return failed;
    calls_made++;
    (*ret_call)->id = (struct fm_id){.high = UINT64_C(0x0123456789ab7001), .low = calls_made};
    return 0;
}

void fm_sched_call_free(struct fm_sched *sched, struct fm_call *call)
{
    (void)sched;
    calls_freed++;
    fm_call_free(call);
}

static void end_call(struct fm_call *call)
{
    fm_call_set_state(call, FM_CALL_DONE, fake_now_ns);
}

/* What a web call answers is written by the test. */
static void echo(struct fm_call *call)
{
    if (call->web && !call->error)
        call->web->end(call);
    if (call->web)
        return;
    int failed = fm_buffer_append(&call->output, call->input, call->input_bytes);
    if (failed)
        fm_call_fail(call, failed, NULL);
}

enum fm_submit fm_sched_submit(struct fm_sched *sched, struct fm_call *call)
{
    (void)sched;
    const char *name = call->version->function;
    if (strcmp(name, "later") == 0) {
        assert_true(waiting_count < CALLS_MAX);
        fm_call_set_state(call, FM_CALL_QUEUED, fake_now_ns);
        waiting_calls[waiting_count++] = call;
        return FM_SUBMIT_LATER;
    }
    echo(call);
    call->cpu_ns = 1234 * FM_NS_PER_US;
    if (strcmp(name, "exit") == 0) {
        fm_call_fail(call, FM_ERR_GUEST_EXIT, NULL);
        call->exit_code = 3;
    } else if (strcmp(name, "busy") == 0) {
        fm_call_fail(call, FM_ERR_BUSY, "too much");
    } else if (strcmp(name, "chain") == 0) {
        assert_int_equal(fm_call_chain(call, "next", 4, NULL, 0), 0);
    }
    end_call(call);
    return FM_SUBMIT_DONE;
}

static void take_out(struct fm_call *call)
{
    for (size_t i = 0; i < waiting_count; i++) {
        if (waiting_calls[i] == call) {
            memmove(&waiting_calls[i], &waiting_calls[i + 1],
                    (waiting_count - i - 1) * sizeof(waiting_calls[0]));
            waiting_count--;
            return;
        }
    }
    fail_msg("a call that does not wait");
}

void fm_sched_cancel(struct fm_sched *sched, struct fm_call *call, int error)
{
    (void)sched;
    take_out(call);
    calls_cancelled++;
    fm_call_fail(call, error, NULL);
    end_call(call);
    call->on_done(call);
}

static unsigned wakes; /* of guests */

void fm_sched_wake(struct fm_sched *sched, struct fm_call *call)
{
    (void)sched;
    assert_true(call->pinned);
    wakes++;
}

/* The oldest call that waits ends well. */
static void finish_waiting(void)
{
    assert_true(waiting_count > 0);
    struct fm_call *call = waiting_calls[0];
    take_out(call);
    echo(call);
    end_call(call);
    call->on_done(call);
}

/* --- the queue and the store of calls
 * ------------------------------------------------------------- */

/* What they are asked stays here until pump(), or, while `answers_held`, until a test answers. */
static bool answers_held;
static struct fm_queue_submit *submitted;
static struct fm_queue_chains *chaining;
static struct fm_queue_ask *asked_queue;
static struct fm_queue_wait *waiting;
static struct fm_queue_list *asked_memory;
static struct fm_calls_get *asked;
static struct fm_calls_list *asked_disk;

static int submit_fails;  /* when it is written */
static bool submit_found; /* a key that is known */
static uint64_t submitted_delay_ns;
static char submitted_key[300];
static int chains_fail; /* at once */
static int chains_fail_later;
static const struct fm_call_record *disk_has; /* NULL: not found */
static const char *disk_output;
static const struct fm_call_record *memory_has; /* the same */
static const char *memory_dump;                 /* NULL: there is no core dump */
static int queue_fails;
static enum fm_queue_verb asked_verb;
static bool asked_for_output;
static bool asked_for_log;
static unsigned waits_made;
static unsigned waits_stopped;
static struct fm_call_record *list_disk; /* the latest first, as far as ids go */
static size_t list_disk_count;
static struct fm_id list_disk_next;
static struct fm_call_record *list_memory;
static size_t list_memory_count;
static struct fm_under_way under_way;

static bool queue_full;
static uint64_t request_retry_ns; /* 0: it may */

int fm_sched_request(struct fm_sched *sched, struct fm_function *function, uint64_t *ret_retry_ns)
{
    (void)sched;
    assert_non_null(function);
    *ret_retry_ns = request_retry_ns;
    return request_retry_ns ? FM_ERR_QUOTA : 0;
}

int fm_queue_submit(struct fm_queue *queue, struct fm_queue_submit *submit, struct fm_error *error)
{
    (void)queue;
    assert_null(submitted);
    if (strcmp(submit->function->version->function, "busy") == 0)
        return fm_error_set(error, FM_ERR_BUSY, "too many");
    if (queue_full)
        return fm_error_set(error, FM_ERR_QUOTA, "too many of the user");
    submitted = submit;
    submitted_delay_ns = submit->delay_ns;
    (void)snprintf(submitted_key, sizeof(submitted_key), "%s", submit->key ? submit->key : "-");
    return 0;
}

static void finish_submit(void)
{
    struct fm_queue_submit *submit = submitted;
    submitted = NULL;
    free(submit->input);
    submit->error = submit_fails;
    submit->id = (struct fm_id){.high = UINT64_C(0x0123456789ab7002), .low = submit->input_bytes};
    submit->status = submit_found ? FM_STATUS_SUCCEEDED : FM_STATUS_QUEUED;
    submit->on_done(submit);
}

int fm_queue_chains(struct fm_queue *queue, struct fm_queue_chains *chains)
{
    (void)queue;
    assert_int_equal(chains->parent->chains_count, 1);
    assert_null(chaining);
    if (chains_fail)
        return fm_error_set(&chains->error, chains_fail, "no function 'u/next'");
    chaining = chains;
    return 0;
}

static void finish_chains(void)
{
    struct fm_queue_chains *chains = chaining;
    chaining = NULL;
    if (chains_fail_later)
        (void)fm_error_set(&chains->error, chains_fail_later, "cannot be stored");
    else
        chains_started++;
    chains->on_done(chains);
}

void fm_sched_remember(struct fm_sched *sched, const struct fm_call *call,
                       const struct fm_error *chains_error, const struct fm_id *chained,
                       size_t chained_count)
{
    (void)sched;
    (void)chains_error;
    (void)chained;
    (void)chained_count;
    assert_int_equal(call->state, FM_CALL_DONE);
}

void fm_queue_ask(struct fm_queue *queue, struct fm_queue_ask *ask)
{
    (void)queue;
    assert_null(asked_queue);
    asked_queue = ask;
    asked_verb = ask->verb;
}

static void answer_queue(void)
{
    struct fm_queue_ask *ask = asked_queue;
    asked_queue = NULL;
    if (ask->verb == FM_QUEUE_DUMP) {
        ask->dump =
            memory_dump ? fm_dump_new((uint8_t *)strdup(memory_dump), strlen(memory_dump)) : NULL;
        ask->error = queue_fails ? queue_fails : memory_dump ? 0 : FM_ERR_NOT_FOUND;
        ask->on_answer(ask);
        return;
    }
    ask->error = queue_fails ? queue_fails : memory_has ? 0 : FM_ERR_NOT_FOUND;
    if (memory_has) {
        assert_int_equal(fm_call_record_copy(memory_has, &ask->record), 0);
        if (memory_has->log_bytes > 0 && ask->verb == FM_QUEUE_RECALL)
            ask->log = (uint8_t *)strdup("ml");
    }
    ask->on_answer(ask);
}

void fm_queue_wait(struct fm_queue *queue, struct fm_queue_wait *wait)
{
    (void)queue;
    assert_null(waiting);
    waits_made++;
    waiting = wait;
}

/* Its call has ended, or waiting for it has. */
static void finish_wait(void)
{
    struct fm_queue_wait *wait = waiting;
    waiting = NULL;
    wait->on_end(wait);
}

static bool wait_stopped;

void fm_queue_wait_stop(struct fm_queue_wait *wait)
{
    assert_ptr_equal(wait, waiting);
    assert_false(wait_stopped);
    waits_stopped++;
    wait_stopped = true;
}

void fm_queue_list(struct fm_queue *queue, struct fm_queue_list *list)
{
    (void)queue;
    asked_memory = list;
}

static void answer_memory(void)
{
    struct fm_queue_list *list = asked_memory;
    asked_memory = NULL;
    list->records = list_memory;
    list->records_count = list_memory_count < list->limit ? list_memory_count : list->limit;
    list->on_answer(list);
}

void fm_queue_list_done(struct fm_queue_list *list)
{
    list->records = NULL;
    list->records_count = 0;
}

void fm_calls_get(struct fm_calls *calls, struct fm_calls_get *get, struct fm_mailbox *home)
{
    (void)calls;
    (void)home;
    assert_null(asked);
    asked = get;
    asked_for_output = get->want_output;
    asked_for_log = get->want_log;
}

static void give(struct fm_calls_content *content, bool wanted)
{
    if (!wanted || !disk_output)
        return;
    content->data = (uint8_t *)strdup(disk_output);
    content->bytes = strlen(disk_output);
}

static void answer_disk(void)
{
    struct fm_calls_get *get = asked;
    asked = NULL;
    get->read.error = disk_has ? 0 : FM_ERR_NOT_FOUND;
    if (disk_has) {
        assert_int_equal(fm_call_record_copy(disk_has, &get->record), 0);
        give(&get->output, get->want_output);
        give(&get->log, get->want_log);
    }
    get->read.on_done(&get->read);
}

void fm_calls_get_done(struct fm_calls_get *get)
{
    fm_call_record_done(&get->record);
    free(get->output.data);
    free(get->log.data);
}

void fm_calls_list(struct fm_calls *calls, struct fm_calls_list *list, struct fm_mailbox *home)
{
    (void)calls;
    (void)home;
    asked_disk = list;
}

static void answer_list(void)
{
    struct fm_calls_list *list = asked_disk;
    asked_disk = NULL;
    list->read.error = 0;
    list->records = list_disk;
    list->records_count = list_disk_count < list->limit ? list_disk_count : list->limit;
    list->next = list_disk_next;
    list->read.on_done(&list->read);
}

void fm_calls_list_done(struct fm_calls_list *list)
{
    list->records = NULL;
    list->records_count = 0;
}

/* True: somebody was answered. */
static bool give_answers(void)
{
    if (wait_stopped) {
        wait_stopped = false;
        finish_wait();
    } else if (answers_held) {
        return false;
    } else if (submitted) {
        finish_submit();
    } else if (chaining) {
        finish_chains();
    } else if (asked_queue) {
        answer_queue();
    } else if (asked_memory) {
        answer_memory();
    } else if (asked_disk) {
        answer_list();
    } else if (asked) {
        answer_disk();
    } else {
        return false;
    }
    return true;
}

static void forget_questions(void)
{
    answers_held = submit_found = queue_full = false;
    request_retry_ns = 0;
    submit_fails = chains_fail_later = queue_fails = 0;
    disk_has = memory_has = NULL;
    memory_dump = NULL;
    disk_output = NULL;
    waits_made = waits_stopped = 0;
    list_disk = list_memory = NULL;
    list_disk_count = list_memory_count = 0;
    list_disk_next = (struct fm_id){0, 0};
}

/* --- the deployer
 * --------------------------------------------------------------------------------- */

static int deploy_fails;
static struct fm_deploy *deploying;    /* the last one */
static struct fm_refusal deploy_lacks; /* what it says with an error */

int fm_deploy_start(struct fm_deployer *deployer, struct fm_deploy *deploy, struct fm_mailbox *home)
{
    (void)deployer;
    (void)home;
    if (deploy_fails)
        return deploy_fails;
    deploying = deploy;
    return 0;
}

void fm_deploy_done(struct fm_deploy *deploy)
{
    deploy->version = fm_version_free(deploy->version);
}

/* A change is applied to the first function. */
static void finish_deploy(int error)
{
    struct fm_deploy *deploy = deploying;
    bool removal = !deploy->upload && !deploy->change;
    deploying = NULL;
    deploy->upload = fm_upload_end(deploy->upload);
    deploy->error = (struct fm_error){.code = error, .text = "the deployer says"};
    if (error)
        deploy->refusal = deploy_lacks;
    if (!error && !removal) {
        struct fm_version from = deploy->change ? *functions[0].version : deploy->wanted;
        struct fm_arena arena;
        fm_arena_init(&arena, FM_MIB);
        if (deploy->change)
            assert_int_equal(fm_change_apply(deploy->change, &arena, &from, NULL), 0);
        from.id = "v2";
        from.folder = "";
        from.sha256 = functions[0].version->sha256;
        assert_int_equal(fm_version_new(&from, &deploy->version), 0);
        fm_arena_done(&arena);
    }
    deploy->on_done(deploy);
}

/* --- users
 * ---------------------------------------------------------------------------------------- */

static int change_fails;
static struct fm_users_change *changing; /* the last one */
static struct fm_quotas quotas_now;

void fm_users_state(struct fm_users *users, const char *name, struct fm_user_state *ret_state)
{
    (void)users;
    *ret_state = (struct fm_user_state){.quotas = quotas_now,
                                        .use = {.calls = 3, .cpu_ns = strlen(name) * 1000000}};
}

int fm_users_change_start(struct fm_users *users, struct fm_users_change *change,
                          struct fm_mailbox *home)
{
    (void)users;
    (void)home;
    if (change_fails)
        return change_fails;
    changing = change;
    return 0;
}

static void finish_change(int error)
{
    struct fm_users_change *change = changing;
    changing = NULL;
    if (!error)
        fm_quota_set_apply(&change->set, &quotas_now);
    change->error = (struct fm_error){.code = error, .text = "the disk says"};
    change->on_done(change);
}

/* --- the server
 * ----------------------------------------------------------------------------------- */

#define MS FM_NS_PER_MS

static struct fm_loop *loop;
static struct fm_http *http;
static struct fm_pool *pool;
static int listener = -1;
static struct sockaddr_in address;
static bool ready_now = true;
static char folder[64];
static struct fm_functions *store;

static int metrics_text(void *data, struct fm_buffer *text)
{
    (void)data;
    return fm_buffer_append_text(text, "faasm_up 1\n");
}

static bool is_ready(void *data)
{
    (void)data;
    return ready_now;
}

static struct fm_http_config default_config(void)
{
    return (struct fm_http_config){
        .loop = loop,
        .under_way = &under_way,
        .functions = store,
        .pool = pool,
        .connections_max = 20,
        .module_bytes_max = 1000000,
        .bodies_bytes_max = 300000,
        .header_bytes_max = 8192,
        .header_time_ns = 1000 * MS,
        .body_time_ns = 3000 * MS,
        .cancel_on_half_close = true,
        .metrics = metrics_text,
        .ready = is_ready,
    };
}

static void start_http(const struct fm_http_config *config)
{
    struct fm_error error = {0};
    int failed = fm_http_new(config, &http, &error);
    if (failed)
        fail_msg("%s", error.text);
}

static void restart_http(const struct fm_http_config *config)
{
    http = fm_http_free(http);
    start_http(config);
}

static int setup(void **state)
{
    (void)state;
    waiting_count = 0;
    calls_made = calls_freed = calls_cancelled = chains_started = 0;
    call_new_fails = chains_fail = deploy_fails = 0;
    forget_questions();
    fm_under_way_init(&under_way);
    deploying = NULL;
    change_fails = 0;
    changing = NULL;
    fm_quotas_defaults(&quotas_now);
    deploy_lacks = (struct fm_refusal){0};
    ready_now = true;
    functions_count = 0;
    add_function("echo", 100000);
    add_function("later", 100000);
    add_function("exit", 100000);
    add_function("busy", 100000);
    add_function("chain", 100000);
    add_function("small", 10);
    assert_int_equal(fm_loop_new(&loop), 0);
    assert_int_equal(fm_pool_new(1, 8, &pool), 0);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener, 100), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    struct fm_http_config config = default_config();
    start_http(&config);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    http = fm_http_free(http);
    pool = fm_pool_free(pool);
    loop = fm_loop_free(loop);
    for (size_t i = 0; i < functions_count; i++)
        functions[i].version = fm_version_free(functions[i].version);
    assert_int_equal(calls_made, calls_freed); /* nothing leaks, whatever the test did */
    assert_int_equal(waiting_count, 0);
    fm_under_way_done(&under_way);
    (void)close(listener);
    return 0;
}

static int setup_store(void **state)
{
    struct fm_error error = {0};
    strcpy(folder, "/tmp/faasm-http-XXXXXX");
    assert_non_null(mkdtemp(folder));
    assert_int_equal(fm_functions_open(folder, "build", &store, &error), 0);
    return setup(state);
}

static int teardown_store(void **state)
{
    (void)teardown(state);
    store = fm_functions_close(store);
    char command[100];
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static struct fm_http_counts counts(void)
{
    struct fm_http_counts now;
    fm_http_counts(http, &now);
    return now;
}

/* Lets the server do all that it can do now. */
static void pump(void)
{
    for (int quiet = 0; quiet < 3;) {
        fm_loop_pass(loop, 0);
        bool more = give_answers();
        quiet = fm_http_turn(http) || more ? 0 : quiet + 1;
    }
}

/* Time passes; timers fire. */
static void advance(uint64_t ns)
{
    pump();
    fake_now_ns += ns;
    pump();
}

/* Waits for what the pool's thread does, at most 20 s. */
static void pump_until(bool (*condition)(void))
{
    for (int i = 0; i < 20000 && !condition(); i++) {
        pump();
        (void)poll(NULL, 0, condition() ? 0 : 1);
    }
    assert_true(condition());
}

/* --- clients
 * -------------------------------------------------------------------------------------- */

struct peer {
    int fd;
    char *text; /* received, and not yet looked at */
    size_t length;
    bool ended; /* the server closed its side */
    bool reset;
};

struct reply {
    int status;
    char head[2048];
    char *body; /* NUL-ended, from malloc */
    size_t length;
};

static struct peer dial(void)
{
    struct peer peer = {.fd = socket(AF_INET, SOCK_STREAM, 0), .text = calloc(1, 1)};
    assert_int_equal(connect(peer.fd, (struct sockaddr *)&address, sizeof(address)), 0);
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(peer.fd, F_SETFL, O_NONBLOCK), 0);
    int yes = 1; /* nothing here waits for an acknowledgement */
    assert_int_equal(setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes)), 0);
    fm_http_connection(http, fd);
    return peer;
}

static void hang_up(struct peer *peer)
{
    (void)close(peer->fd);
    free(peer->text);
    *peer = (struct peer){.fd = -1};
}

/* Closes with a reset instead of a FIN. */
static void hang_up_hard(struct peer *peer)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    hang_up(peer);
}

static void hear(struct peer *peer)
{
    static char piece[65536];
    ssize_t got = 0;
    while (!peer->ended && (got = recv(peer->fd, piece, sizeof(piece), 0)) != -1) {
        peer->ended = got == 0;
        peer->text = realloc(peer->text, peer->length + (size_t)got + 1);
        memcpy(peer->text + peer->length, piece, (size_t)got);
        peer->length += (size_t)got;
        peer->text[peer->length] = '\0';
    }
    if (got == -1 && errno != EAGAIN)
        peer->reset = peer->ended = true;
}

/* Sends it all while the server works; false: the server has closed. */
static bool say_bytes(struct peer *peer, const char *data, size_t bytes)
{
    for (int idle = 0; bytes > 0 && idle < 1000;) {
        ssize_t sent = send(peer->fd, data, bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            return false;
        idle = sent > 0 ? 0 : idle + 1;
        data += sent > 0 ? sent : 0;
        bytes -= sent > 0 ? (size_t)sent : 0;
        if (bytes > 0)
            pump();
        if (idle > 10)
            (void)poll(NULL, 0, 1); /* for the pool's thread */
    }
    return bytes == 0;
}

static void say(struct peer *peer, const char *text)
{
    assert_true(say_bytes(peer, text, strlen(text)));
}

static const char *header_of(const struct reply *reply, const char *name)
{
    static char value[512];
    char start[100];
    (void)snprintf(start, sizeof(start), "\r\n%s: ", name);
    const char *found = strstr(reply->head, start);
    if (!found)
        return NULL;
    found += strlen(start);
    (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(found, "\r"), found);
    return value;
}

/* True: a whole answer has come; it is taken out of what was received. */
static bool take_reply(struct peer *peer, struct reply *ret_reply, bool head_only)
{
    const char *end = strstr(peer->text, "\r\n\r\n");
    if (!end)
        return false;
    size_t head_length = (size_t)(end - peer->text) + 4;
    assert_true(head_length < sizeof(ret_reply->head));
    memcpy(ret_reply->head, peer->text, head_length);
    ret_reply->head[head_length] = '\0';
    assert_int_equal(sscanf(peer->text, "HTTP/1.1 %d ", &ret_reply->status), 1);
    const char *length_text = header_of(ret_reply, "Content-Length");
    size_t length = length_text && !head_only ? (size_t)atol(length_text) : 0;
    if (peer->length < head_length + length)
        return false;
    ret_reply->body = calloc(1, length + 1);
    memcpy(ret_reply->body, peer->text + head_length, length);
    ret_reply->length = length;
    peer->length -= head_length + length;
    memmove(peer->text, peer->text + head_length + length, peer->length + 1);
    return true;
}

static struct reply listen_for(struct peer *peer, bool head_only)
{
    struct reply reply = {0};
    for (int i = 0; i < 1000; i++) {
        pump();
        hear(peer);
        if (take_reply(peer, &reply, head_only))
            return reply;
        if (peer->ended)
            fail_msg("closed%s after '%s'", peer->reset ? " by a reset" : "", peer->text);
        (void)poll(NULL, 0, i > 10 ? 1 : 0); /* for the pool's thread */
    }
    fail_msg("no answer, but '%s'", peer->text);
    return reply;
}

static void assert_no_reply(struct peer *peer)
{
    pump();
    hear(peer);
    assert_int_equal(peer->length, 0);
    assert_false(peer->ended);
}

static void assert_closed(struct peer *peer)
{
    for (int i = 0; i < 100 && !peer->ended; i++) {
        pump();
        hear(peer);
    }
    assert_int_equal(peer->length, 0);
    assert_true(peer->ended);
}

/* An answer with this status and exactly this body. */
static void expect_body(struct peer *peer, int status, const char *body)
{
    struct reply reply = listen_for(peer, false);
    if (reply.status != status || strcmp(reply.body, body) != 0)
        fail_msg("expected %d '%s', got %d '%s'", status, body, reply.status, reply.body);
    free(reply.body);
}

/* A problem with this status, this code, and `detail` somewhere in its text. */
static void expect_problem(struct peer *peer, int status, const char *code, const char *detail)
{
    struct reply reply = listen_for(peer, false);
    char text[100];
    (void)snprintf(text, sizeof(text), "\"code\":\"%s\"", code);
    if (reply.status != status || !strstr(reply.body, text) || !strstr(reply.body, detail))
        fail_msg("expected %d %s '%s', got %d '%s'", status, code, detail, reply.status,
                 reply.body);
    assert_string_equal(header_of(&reply, "Content-Type"), "application/problem+json");
    if (status == 429 || status == 503)
        assert_string_equal(header_of(&reply, "Retry-After"), "1");
    free(reply.body);
}

static void post(struct peer *peer, const char *path, const char *body)
{
    char text[1024];
    (void)snprintf(text, sizeof(text),
                   "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s", path,
                   strlen(body), body);
    say(peer, text);
}

static void request(struct peer *peer, const char *method, const char *path)
{
    char text[1024];
    (void)snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: h\r\n\r\n", method, path);
    say(peer, text);
}
