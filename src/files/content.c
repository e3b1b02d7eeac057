/* content.c - contents in memory, under one mutex and one budget.
 *
 *      idle   least recently used -> ... -> most recently used     in memory, and not pinned
 *      gone   a, b, ...                                            held by nobody any more
 *
 * Small files are read into memory, for a mapping costs a page and some microseconds of the kernel;
 * large ones are mapped, with all their pages, so that the page cache's copy is the only one and no
 * worker waits for a disk.  The kernel bounds how many mappings a process has, and the sandboxes
 * need most of them: hence files_max.  A file that is cut short while it is mapped would kill the
 * process (SIGBUS); nothing of ours changes a file in place, and operators are told not to.
 *
 * Giving memory back (a large munmap takes milliseconds) and deleting files is no work for the
 * thread of a worker, which is where a content is mostly given up: it only asks for somebody to
 * tidy.
 *
 * A path is walked folder by folder, without following links: it may be longer than what one
 * open(2) takes, and nothing but the files of a user's folder is ever to be read.  While a file
 * moves to another name nobody may be on the way to it, so walks share a lock that moves have
 * alone. Discarded: an open descriptor for each content, which would be thousands.
 *
 * Two who load the same content at once: one does, the other waits for it. */
#include "files/content.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/limits.h"
#include "base/list.h"

#define READ_BYTES_MAX (256 * FM_KIB) /* larger files are mapped */

struct fm_content {
    struct fm_contents *contents;
    uint64_t bytes; /* never changes */
    char *path;     /* changes under `moves` */
    bool moved;     /* the same; the file is kept for this content, and deleted with it */
    bool lost;      /* the same; there is no file any more */

    /* Under the mutex. */
    uint32_t holders;
    uint32_t pins;
    bool loading;
    bool loaded;
    bool mapped;
    uint8_t *data;       /* NULL: not loaded, or empty */
    struct fm_list link; /* in contents->idle, or ->gone */
};

struct fm_contents {
    struct fm_contents_config config;
    pthread_rwlock_t moves; /* taken before the mutex, if both are */
    pthread_mutex_t mutex;
    pthread_cond_t loaded; /* somebody has loaded, or failed to */
    struct fm_list idle;
    struct fm_list gone;
    uint64_t held;     /* contents that are */
    uint64_t kept;     /* bytes of those that were moved, until they are deleted */
    uint64_t bytes;    /* in memory; also of those that are being loaded */
    uint32_t mappings; /* the same */
    struct fm_contents_counts counts;
};

int fm_contents_new(const struct fm_contents_config *config, struct fm_contents **ret_contents)
{
    struct fm_contents *contents = calloc(1, sizeof(*contents));
    if (!contents)
        return FM_ERR_NOMEM;
    contents->config = *config;
    fm_list_init(&contents->idle);
    fm_list_init(&contents->gone);
    int error = pthread_rwlock_init(&contents->moves, NULL);
    FM_ASSERT(error == 0); /* needs no memory on Linux, nor do the next */
    error = pthread_mutex_init(&contents->mutex, NULL);
    FM_ASSERT(error == 0);
    error = pthread_cond_init(&contents->loaded, NULL);
    FM_ASSERT(error == 0);
    *ret_contents = contents;
    return 0;
}

struct fm_contents *fm_contents_free(struct fm_contents *contents)
{
    if (!contents)
        return NULL;
    fm_contents_tidy(contents);
    FM_ASSERT(contents->held == 0 && contents->bytes == 0);
    (void)pthread_cond_destroy(&contents->loaded);
    (void)pthread_mutex_destroy(&contents->mutex); /* not held */
    (void)pthread_rwlock_destroy(&contents->moves);
    free(contents);
    return NULL;
}

static void lock(struct fm_contents *contents)
{
    int failed = pthread_mutex_lock(&contents->mutex);
    FM_ASSERT(!failed);
}

static void unlock(struct fm_contents *contents)
{
    int failed = pthread_mutex_unlock(&contents->mutex);
    FM_ASSERT(!failed);
}

/* --- memory ----------------------------------------------------------------------------------- */

struct memory {
    uint8_t *data;
    uint64_t bytes;
    bool mapped;
};

static void give_back(const struct memory *memory)
{
    if (!memory->mapped) {
        free(memory->data);
        return;
    }
    int failed = munmap(memory->data, memory->bytes);
    FM_ASSERT(!failed);
}

/* Under the mutex.  The caller gives the memory back, without it. */
static struct memory unload(struct fm_content *content)
{
    struct fm_contents *contents = content->contents;
    struct memory memory = {
        .data = content->data, .bytes = content->bytes, .mapped = content->mapped};
    FM_ASSERT(content->pins == 0 && content->loaded);
    fm_list_remove(&content->link);
    contents->bytes -= content->bytes;
    contents->mappings -= content->mapped;
    contents->counts.bytes -= content->bytes;
    contents->counts.files--;
    content->data = NULL;
    content->loaded = false;
    content->mapped = false;
    return memory;
}

/* Under the mutex, which is given away meanwhile.  Room for `bytes` more, as far as there is what
 * can go. */
static void make_room(struct fm_contents *contents, uint64_t bytes)
{
    uint64_t bytes_max = contents->config.bytes_max;
    while (!fm_list_empty(&contents->idle) &&
           (contents->bytes > bytes_max || bytes > bytes_max - contents->bytes)) {
        struct memory memory = unload(FM_LIST_ENTRY(contents->idle.next, struct fm_content, link));
        unlock(contents);
        give_back(&memory);
        lock(contents);
    }
}

/* Held by nobody, and in no list. */
static void destroy(struct fm_content *content)
{
    struct memory memory = {
        .data = content->data, .bytes = content->bytes, .mapped = content->mapped};
    struct fm_contents *contents = content->contents;
    give_back(&memory);
    if (content->moved) {
        (void)unlink(content->path); /* what is left goes at the next start */
        lock(contents);
        contents->kept -= content->bytes;
        unlock(contents);
    }
    free(content->path);
    free(content);
}

void fm_contents_tidy(struct fm_contents *contents)
{
    struct fm_list *link = NULL;
    lock(contents);
    make_room(contents, 0);
    while ((link = fm_list_pop_front(&contents->gone)) != NULL) {
        struct fm_content *content = FM_LIST_ENTRY(link, struct fm_content, link);
        unlock(contents);
        destroy(content);
        lock(contents);
    }
    unlock(contents);
}

static void tidy_soon(struct fm_contents *contents)
{
    if (contents->config.untidy)
        contents->config.untidy(contents->config.data);
    else
        fm_contents_tidy(contents);
}

/* --- contents --------------------------------------------------------------------------------- */

int fm_content_new(struct fm_contents *contents, const char *path, uint64_t bytes,
                   struct fm_content **ret_content)
{
    struct fm_content *content = calloc(1, sizeof(*content));
    if (!content)
        return FM_ERR_NOMEM;
    content->contents = contents;
    content->bytes = bytes;
    content->holders = 1;
    content->path = strdup(path);
    fm_list_init(&content->link);
    if (!content->path) {
        free(content);
        return FM_ERR_NOMEM;
    }
    lock(contents);
    contents->held++;
    unlock(contents);
    *ret_content = content;
    return 0;
}

struct fm_content *fm_content_hold(struct fm_content *content)
{
    lock(content->contents);
    FM_ASSERT(content->holders > 0);
    content->holders++;
    unlock(content->contents);
    return content;
}

struct fm_content *fm_content_release(struct fm_content *content)
{
    if (!content)
        return NULL;
    struct fm_contents *contents = content->contents;
    lock(contents);
    FM_ASSERT(content->holders > 0);
    bool last = --content->holders == 0;
    bool costly = last && (content->moved || content->data); /* else it may just be moved */
    if (last) {
        FM_ASSERT(content->pins == 0 && !content->loading); /* who does that holds it */
        contents->held--;
        fm_list_remove(&content->link);
        contents->bytes -= content->loaded ? content->bytes : 0;
        contents->mappings -= content->mapped;
        contents->counts.bytes -= content->loaded ? content->bytes : 0;
        contents->counts.files -= content->loaded;
        if (costly)
            fm_list_push_back(&contents->gone, &content->link);
    }
    unlock(contents);
    if (last && costly)
        tidy_soon(contents);
    else if (last)
        destroy(content);
    return NULL;
}

uint64_t fm_content_bytes(const struct fm_content *content)
{
    return content->bytes;
}

/* Under the mutex. */
static void pin(struct fm_content *content)
{
    if (content->pins++ == 0)
        fm_list_remove(&content->link);
}

bool fm_content_pin(struct fm_content *content, const uint8_t **ret_data, uint64_t *ret_bytes)
{
    lock(content->contents);
    bool loaded = content->loaded;
    if (loaded) {
        pin(content);
        *ret_data = content->data;
        *ret_bytes = content->bytes;
    }
    unlock(content->contents);
    return loaded;
}

void fm_content_unpin(struct fm_content *content)
{
    struct fm_contents *contents = content->contents;
    lock(contents);
    FM_ASSERT(content->pins > 0);
    if (--content->pins == 0)
        fm_list_push_back(&contents->idle, &content->link);
    bool over = contents->bytes > contents->config.bytes_max && !fm_list_empty(&contents->idle);
    unlock(contents);
    if (over)
        tidy_soon(contents);
}

/* --- files ------------------------------------------------------------------------------------ */

static void close_file(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd); /* only read */
    *fd = -1;
}

/* One of the three that are told. */
static int told(int errnum)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR: /* a folder on the way has become something else */
    case ELOOP:
        return -ENOENT;
    case ENOMEM:
    case ENFILE:
    case EMFILE:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

/* Folder by folder; a negative errno. */
static int walk(const char *path, int *ret_fd)
{
    FM_CLEANUP(close_file) int folder = -1;
    while (strchr(path, '/')) {
        char name[FM_FILE_NAME_BYTES_MAX + 1] = "/"; /* an absolute path begins with no name */
        size_t length = strcspn(path, "/");
        if (length >= sizeof(name))
            return -EIO;
        if (length > 0) {
            memcpy(name, path, length);
            name[length] = '\0';
        }
        path += length + 1;
        if (length == 0 && folder >= 0)
            continue; /* two slashes */
        int next = openat(folder >= 0 ? folder : AT_FDCWD, name,
                          O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            return told(errno);
        close_file(&folder);
        folder = next;
    }
    int fd = openat(folder >= 0 ? folder : AT_FDCWD, path,
                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return told(errno);
    *ret_fd = fd;
    return 0;
}

int fm_content_open(struct fm_content *content, int *ret_fd)
{
    FM_CLEANUP(close_file) int fd = -1;
    struct stat status;
    int error = pthread_rwlock_rdlock(&content->contents->moves);
    FM_ASSERT(error == 0);
    int failed = content->lost ? -EIO : walk(content->path, &fd);
    error = pthread_rwlock_unlock(&content->contents->moves);
    FM_ASSERT(error == 0);
    if (failed)
        return failed;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
        (uint64_t)status.st_size != content->bytes)
        return -EIO; /* somebody has put another file there */
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int read_all(int fd, uint8_t *data, uint64_t bytes)
{
    for (uint64_t done = 0; done < bytes;) {
        ssize_t got = pread(fd, data + done, (size_t)(bytes - done), (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -EIO;
        done += (uint64_t)got;
    }
    return 0;
}

static int read_file(struct fm_content *content, struct memory *memory)
{
    FM_CLEANUP(close_file) int fd = -1;
    int failed = fm_content_open(content, &fd);
    if (failed || memory->bytes == 0)
        return failed;
    if (memory->mapped) {
        void *data = mmap(NULL, memory->bytes, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
        if (data == MAP_FAILED)
            return told(errno);
        memory->data = data;
        return 0;
    }
    uint8_t *data = malloc(memory->bytes);
    if (!data)
        return -ENOMEM;
    failed = read_all(fd, data, memory->bytes);
    if (failed) {
        free(data);
        return failed;
    }
    memory->data = data;
    return 0;
}

/* Under the mutex, which is given away meanwhile. */
static int load(struct fm_content *content)
{
    struct fm_contents *contents = content->contents;
    struct memory memory = {.bytes = content->bytes};
    content->loading = true;
    make_room(contents, content->bytes);
    memory.mapped =
        content->bytes > READ_BYTES_MAX && contents->mappings < contents->config.files_max;
    contents->bytes += memory.bytes;
    contents->mappings += memory.mapped;
    unlock(contents);
    int failed = read_file(content, &memory);
    lock(contents);
    content->loading = false;
    if (failed) {
        contents->bytes -= memory.bytes;
        contents->mappings -= memory.mapped;
    } else {
        content->data = memory.data;
        content->mapped = memory.mapped;
        content->loaded = true;
        contents->counts.loads++;
        contents->counts.bytes += memory.bytes;
        contents->counts.files++;
    }
    int error = pthread_cond_broadcast(&contents->loaded);
    FM_ASSERT(error == 0);
    return failed;
}

int fm_content_load(struct fm_content *content)
{
    struct fm_contents *contents = content->contents;
    int failed = 0;
    lock(contents);
    while (content->loading) {
        int error = pthread_cond_wait(&contents->loaded, &contents->mutex);
        FM_ASSERT(error == 0);
    }
    if (!content->loaded)
        failed = load(content);
    if (!failed)
        pin(content);
    unlock(contents);
    return failed;
}

/* Whether there is room for one more file that is kept.  Then it is taken. */
static bool take_room(struct fm_contents *contents, uint64_t bytes)
{
    lock(contents);
    uint64_t most = contents->config.kept_bytes_max;
    bool fits = contents->kept == 0 || (contents->kept <= most && bytes <= most - contents->kept);
    contents->kept += fits ? bytes : 0;
    unlock(contents);
    return fits;
}

static void give_room(struct fm_contents *contents, uint64_t bytes)
{
    lock(contents);
    contents->kept -= bytes;
    unlock(contents);
}

int fm_content_move(struct fm_content *content, const char *path,
                    int (*move)(void *data, bool keep), void *data)
{
    struct fm_contents *contents = content->contents;
    char *copy = strdup(path);
    if (!copy)
        return FM_ERR_NOMEM;
    int error = pthread_rwlock_wrlock(&contents->moves);
    FM_ASSERT(error == 0);
    FM_ASSERT(!content->moved && !content->lost);
    bool keep = take_room(contents, content->bytes);
    int failed = move(data, keep);
    if (!failed) {
        char *old = content->path;
        content->path = copy;
        content->moved = keep;
        content->lost = !keep;
        copy = old;
    } else if (keep) {
        give_room(contents, content->bytes);
    }
    error = pthread_rwlock_unlock(&contents->moves);
    FM_ASSERT(error == 0);
    free(copy);
    return failed;
}

void fm_contents_counts(struct fm_contents *contents, struct fm_contents_counts *ret_counts)
{
    lock(contents);
    *ret_counts = contents->counts;
    unlock(contents);
}
