/* file_get.c - GET /files/<user>/<path>: a file's bytes, or a folder's names.
 *
 *      tree in memory? --no--> the pool reads the folder --+
 *            | yes                                         |
 *            v                                             v
 *      a folder: its page          a file: the pool opens it and reads the first piece
 *                                            |
 *                         whole: an answer   +-- more: a stream, piece by piece
 *
 * The library asks for the body of a stream as the client takes it.  While the pool reads the next
 * piece the connection is put aside; a worker never waits for the disk, and never holds more of a
 * file than a piece.  Discarded: giving the library the descriptor, whose sendfile(2) would wait.
 *
 * What is sent is the version that the tree had when it was looked up, whatever happens to the file
 * meanwhile: the tree is held until the end.
 *
 * The object outlives its client while a job is under way.  Threading: the worker's, but for the
 * run functions: those run on a thread of the pool, which has the object to itself then. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files/content.h"
#include "files/tree.h"
#include "http/files.h"
#include "loop/loop.h"
#include "loop/pool.h"
#include "store/user_trees.h"

#define PIECE_BYTES (64 * FM_KIB)
#define TAG_SIZE 40

struct fm_file_get {
    struct fm_http *http;
    struct fm_request *request; /* NULL: it has gone */
    struct fm_job job;
    bool working; /* the job is under way */
    struct fm_error error;
    char user[FM_NAME_LENGTH_MAX + 1];
    char *path;
    struct fm_file_page page;

    struct fm_user_tree tree; /* root NULL: not looked up yet */
    struct fm_node *file;     /* in that */
    uint64_t from;            /* what is asked for of the file */
    uint64_t end;
    unsigned status;
    int fd;
    uint8_t *piece;    /* PIECE_BYTES */
    uint64_t piece_at; /* where in the file */
    size_t piece_bytes;
};

static void free_get(struct fm_file_get *get)
{
    FM_ASSERT(!get->working && !get->request);
    get->http->file_gets--;
    if (get->fd >= 0)
        (void)close(get->fd); /* only read */
    fm_node_release(get->tree.root);
    free(get->page.after);
    free(get->piece);
    free(get->path);
    free(get);
}

/* Puts the request aside; `on_done` wakes it, if it is still there.  FM_ERR_BUSY. */
static int start(struct fm_file_get *get, void (*run)(struct fm_job *job),
                 void (*on_done)(struct fm_job *job))
{
    struct fm_http *http = get->http;
    get->job.run = run;
    get->job.on_done = on_done;
    int failed = fm_pool_submit(http->config.pool, &get->job, fm_loop_mailbox(http->config.loop));
    if (failed)
        return fm_error_set(&get->error, failed, "too many files are being read, try again");
    get->working = true;
    http->counts.operations++;
    if (!get->request->suspended)
        fm_request_wait(get->request, false);
    return 0;
}

/* The job is done.  The request, if somebody still waits. */
static struct fm_request *done(struct fm_file_get *get)
{
    struct fm_request *request = get->request;
    get->working = false;
    get->http->counts.operations--;
    if (!request)
        free_get(get);
    return request;
}

static struct fm_file_get *get_of(struct fm_job *job)
{
    return FM_CONTAINER_OF(job, struct fm_file_get, job);
}

/* --- a file's bytes --------------------------------------------------------------------------- */

/* On a thread of the pool. */
static void read_piece(struct fm_file_get *get, uint64_t at)
{
    uint64_t wanted = fm_min_u64(PIECE_BYTES, get->end - at);
    get->piece_at = at;
    get->piece_bytes = 0;
    while (get->piece_bytes < wanted) {
        ssize_t got = pread(get->fd, get->piece + get->piece_bytes, wanted - get->piece_bytes,
                            (off_t)(at + get->piece_bytes));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            (void)fm_error_errno(&get->error, errno, "cannot read the file");
        else if (got == 0)
            (void)fm_error_set(&get->error, FM_ERR_IO, "the file became shorter");
        if (got <= 0)
            return;
        get->piece_bytes += (size_t)got;
    }
}

static void run_open(struct fm_job *job)
{
    struct fm_file_get *get = get_of(job);
    int failed = fm_content_open(fm_node_content(get->file), &get->fd);
    if (failed == -ENOMEM)
        (void)fm_error_set(&get->error, FM_ERR_BUSY, "no memory or descriptors are left");
    else if (failed)
        (void)fm_error_set(&get->error, FM_ERR_IO, "the file cannot be opened: %s",
                           strerror(-failed));
    else
        read_piece(get, get->from);
}

static void run_read(struct fm_job *job)
{
    struct fm_file_get *get = get_of(job);
    read_piece(get, get->piece_at + get->piece_bytes);
}

static void on_read(struct fm_job *job)
{
    struct fm_request *request = done(get_of(job));
    if (request && request->suspended)
        fm_request_wake(request);
}

/* Called by the library: the bytes from `position` of the answer's body on. */
static ssize_t give(void *data, uint64_t position, char *buffer, size_t room)
{
    struct fm_file_get *get = data;
    uint64_t at = get->from + position;
    FM_ASSERT(get->request && !get->working && at >= get->piece_at);
    if (get->error.code || get->request->hung_up)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    uint64_t used = at - get->piece_at;
    if (used < get->piece_bytes) {
        size_t bytes = fm_min_u64(room, get->piece_bytes - used);
        memcpy(buffer, get->piece + used, bytes);
        return (ssize_t)bytes;
    }
    return start(get, run_read, on_read) == 0 ? 0 : MHD_CONTENT_READER_END_WITH_ERROR;
}

/* --- headers ---------------------------------------------------------------------------------- */

static const char *header(const struct fm_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->client->connection, MHD_HEADER_KIND, name);
}

/* No two versions of a file have the same time: store/ sees to that. */
static void write_tag(const struct fm_file_get *get, char tag[TAG_SIZE])
{
    (void)snprintf(tag, TAG_SIZE, "\"%llx-%llx\"",
                   (unsigned long long)fm_node_modified_ns(get->file),
                   (unsigned long long)fm_node_bytes(get->file));
}

static bool is_known(const struct fm_file_get *get, const char *tag)
{
    const char *known = header(get->request, MHD_HTTP_HEADER_IF_NONE_MATCH);
    return known && (strcmp(known, "*") == 0 || strstr(known, tag));
}

/* Digits at `*text`, and steps over them.  False: there are none, or too many. */
static bool parse_number(const char **text, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *start = *text;
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        if (number > UINT64_MAX / 10 - 1)
            return false;
        number = number * 10 + (uint64_t)(**text - '0');
    }
    *ret_number = number;
    return *text != start;
}

/* One range of bytes; what is none, and several, are ignored, as RFC 9110 (14.2) allows, and as it
 * wants for HEAD.  False: it has none of the file. */
static bool parse_range(struct fm_file_get *get)
{
    const char *text = header(get->request, MHD_HTTP_HEADER_RANGE);
    uint64_t bytes = get->end;
    uint64_t first = 0;
    uint64_t last = UINT64_MAX;
    if (!text || strncmp(text, "bytes=", 6) != 0 || get->request->head ||
        header(get->request, MHD_HTTP_HEADER_IF_RANGE))
        return true;
    text += 6;
    bool suffix = *text == '-';
    if (!suffix && !parse_number(&text, &first))
        return true;
    if (*text++ != '-')
        return true;
    bool open = *text == '\0';
    if (open ? suffix : !parse_number(&text, &last))
        return true;
    if (*text != '\0' || last < first)
        return true;
    if (suffix && last > 0)
        first = bytes - fm_min_u64(last, bytes);
    if (first >= bytes || (suffix && last == 0))
        return false;
    get->from = first;
    get->end = suffix ? bytes : fm_min_u64(last, bytes - 1) + 1;
    get->status = MHD_HTTP_PARTIAL_CONTENT;
    return true;
}

/* Beside those of any answer. */
static void add_headers(const struct fm_file_get *get)
{
    struct fm_request *request = get->request;
    char tag[TAG_SIZE];
    char range[96];
    write_tag(get, tag);
    fm_answer_header(request, MHD_HTTP_HEADER_ETAG, tag);
    fm_answer_header(request, MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes");
    if (get->status != MHD_HTTP_PARTIAL_CONTENT)
        return;
    (void)snprintf(range, sizeof(range), "bytes %llu-%llu/%llu", (unsigned long long)get->from,
                   (unsigned long long)get->end - 1, (unsigned long long)fm_node_bytes(get->file));
    fm_answer_header(request, MHD_HTTP_HEADER_CONTENT_RANGE, range);
}

static void answer_file(struct fm_file_get *get)
{
    uint64_t bytes = get->end - get->from;
    if (get->error.code) {
        fm_answer_error(get->request, &get->error);
        return;
    }
    if (bytes > get->piece_bytes) /* also for HEAD, which reads nothing */
        fm_answer_stream(get->request, get->status, FM_TYPE_BYTES, bytes, give, get);
    else
        fm_answer_bytes(get->request, get->status, FM_TYPE_BYTES, get->piece, get->piece_bytes);
    add_headers(get);
}

static void answer_no_range(struct fm_file_get *get)
{
    struct fm_request *request = get->request;
    char range[64];
    request->status = MHD_HTTP_RANGE_NOT_SATISFIABLE;
    (void)fm_error_set(&request->error, FM_ERR_BAD_REQUEST, "the file has %llu bytes",
                       (unsigned long long)get->end);
    fm_answer_error(request, &request->error);
    (void)snprintf(range, sizeof(range), "bytes */%llu", (unsigned long long)get->end);
    fm_answer_header(request, MHD_HTTP_HEADER_CONTENT_RANGE, range);
}

static void on_opened(struct fm_job *job)
{
    struct fm_file_get *get = get_of(job);
    struct fm_request *request = done(get);
    if (!request)
        return;
    answer_file(get);
    fm_request_wake(request);
}

/* Gives an answer, or has the request wait for one. */
static void look_at_file(struct fm_file_get *get)
{
    struct fm_request *request = get->request;
    char tag[TAG_SIZE];
    get->end = fm_node_bytes(get->file);
    get->status = MHD_HTTP_OK;
    write_tag(get, tag);
    if (get->page.seen) {
        (void)fm_error_set(&request->error, FM_ERR_BAD_REQUEST,
                           "a file has no pages: 'limit' and 'after' are for folders");
        fm_answer_error(request, &request->error);
    } else if (is_known(get, tag)) {
        fm_answer_empty(request, MHD_HTTP_NOT_MODIFIED);
        fm_answer_header(request, MHD_HTTP_HEADER_ETAG, tag);
    } else if (!parse_range(get)) {
        answer_no_range(get);
    } else if (request->head || get->end == 0) {
        answer_file(get);
    } else {
        get->piece = malloc(PIECE_BYTES);
        int failed = get->piece ? start(get, run_open, on_opened) : FM_ERR_NOMEM;
        if (failed && !get->error.code)
            (void)fm_error_set(&get->error, failed, "%s", fm_err_meaning(failed));
        if (failed)
            fm_answer_error(request, &get->error);
    }
}

/* --- looking it up ---------------------------------------------------------------------------- */

/* The tree is there. */
static void look(struct fm_file_get *get)
{
    struct fm_request *request = get->request;
    struct fm_node *node = get->tree.exists ? fm_tree_find(get->tree.root, get->path) : NULL;
    if (!node) {
        (void)fm_error_set(&request->error, FM_ERR_NOT_FOUND, "there is no such file or folder");
        fm_answer_error(request, &request->error);
    } else if (fm_node_is_folder(node)) {
        fm_answer_text(request, MHD_HTTP_OK, FM_TYPE_JSON,
                       fm_file_page_write(&get->page, node, &request->text));
    } else {
        get->file = node;
        look_at_file(get);
    }
}

static void run_load(struct fm_job *job)
{
    struct fm_file_get *get = get_of(job);
    int failed = fm_user_trees_load(get->http->config.trees, get->user, &get->tree, &get->error);
    if (failed && !get->error.code)
        (void)fm_error_set(&get->error, failed, "%s", fm_err_meaning(failed));
}

static void on_loaded(struct fm_job *job)
{
    struct fm_file_get *get = get_of(job);
    struct fm_request *request = done(get);
    if (!request)
        return;
    if (get->error.code)
        fm_answer_error(request, &get->error);
    else
        look(get);
    if (!get->working) /* else it goes on waiting, for the file's bytes */
        fm_request_wake(request);
}

static int begin(struct fm_request *request)
{
    struct fm_http *http = request->http;
    int failed = fm_files_check(request, false);
    if (failed)
        return failed;
    if (http->file_gets == FM_HTTP_FILE_GETS_MAX)
        return fm_error_set(&request->error, FM_ERR_BUSY,
                            "too many files are under way, try again later");
    struct fm_file_get *get = calloc(1, sizeof(*get));
    char *path = strdup(fm_files_path(request));
    if (!get || !path) {
        free(get);
        free(path);
        return fm_error_set(&request->error, FM_ERR_NOMEM, "%s", fm_err_meaning(FM_ERR_NOMEM));
    }
    get->http = http;
    get->request = request;
    get->path = path;
    get->fd = -1;
    memcpy(get->user, fm_files_user(request), strlen(fm_files_user(request)));
    request->file_get = get;
    http->file_gets++;
    return fm_file_page_parse(request, &get->page);
}

static void run(struct fm_request *request)
{
    struct fm_file_get *get = request->file_get;
    if (fm_user_trees_get(request->http->config.trees, get->user, &get->tree))
        look(get);
    else if (start(get, run_load, on_loaded) != 0)
        fm_answer_error(request, &get->error);
}

static bool leave(struct fm_request *request)
{
    struct fm_file_get *get = request->file_get;
    if (!get)
        return true;
    request->file_get = NULL;
    get->request = NULL;
    if (!get->working)
        free_get(get);
    return true;
}

const struct fm_handler fm_file_get_handler = {.begin = begin, .run = run, .leave = leave};
