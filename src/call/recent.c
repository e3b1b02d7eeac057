/* recent.c - rings of records, one a user.
 *
 *      recent.users (the latest caller first)
 *         "ada"   tags     [ 7f3a.. | 09c1.. | ...        ]   32 bits of each id
 *                 records  [ record | record | ...        ]   the same places
 *                             | first                  ^ next
 *                             +--> texts (only of calls that have some)
 *
 * A ring for each user and not one for all, so that a user with many calls cannot push out those of
 * a user with few.  A ring begins small and doubles: most users make a few calls, and then are
 * quiet.
 *
 * Calls stand in the order in which they ended, so an id has to be looked for.  That is done in the
 * tags, 4 bytes a call that lie side by side: all that a worker remembers is some hundred KiB of
 * them.  Discarded: a hash table by id, which would cost each call of the hot path two more lines
 * of cache for a question that is rarely asked.
 *
 * Bounded twice: by calls a user, and by bytes of all.  Over the latter the ring of whoever called
 * longest ago goes; only when that is the caller itself are its own oldest records dropped.
 *
 * Names belong to a fm_recent_function, which is counted: by the slot of the version, and by each
 * record.  Lifetime: the worker's.  One thread. */
#include "call/recent.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/list.h"
#include "base/map.h"
#include "call/call.h"
#include "call/dump.h"
#include "call/function.h"

#define CACHE_LINE 64
#define RING_MIN 16 /* records; then doubled, up to FM_RECENT_CALLS_MAX */

struct fm_recent {
    struct fm_map users;  /* by name */
    struct fm_list order; /* user.link of those with a ring, the latest caller first */
    uint64_t bytes_max;
    uint64_t bytes; /* of rings and texts */
    uint64_t calls;
    struct fm_dumps *dumps; /* not part of `bytes`: they have bounds of their own */
};

/* One block from malloc. */
struct texts {
    size_t bytes; /* of the block */
    const char *limit;
    const char *trap;
    const char *detail;
    const char *backtrace;
    const uint8_t *log;
    size_t log_bytes;
    size_t children_count;
    struct fm_id children[];
};

struct kept {
    struct fm_id id;
    struct fm_id parent;
    struct fm_recent_function *function; /* held */
    struct texts *texts;                 /* NULL: none */
    uint64_t created_real_ns;
    uint64_t started_ns; /* since its creation; UINT64_MAX: never */
    uint64_t wall_ns;
    uint64_t cpu_ns;
    uint64_t memory_bytes;
    uint64_t input_bytes;
    uint64_t output_bytes;
    int32_t error;
    int32_t exit_code;
    uint32_t depth;
    uint32_t attempt;
    bool log_truncated;
};

struct user {
    struct fm_map_node node; /* by name */
    struct fm_list link;     /* in recent.order */
    struct fm_recent *recent;
    char *name;
    uint32_t functions; /* that name it */
    uint32_t capacity;
    uint32_t first; /* place of the oldest */
    uint32_t count;
    struct kept *records; /* both NULL while capacity is 0 */
    uint32_t *tags;
};

struct fm_recent_function {
    struct user *user;
    uint64_t references; /* the slot's, and one a record */
    char *function;
    char *version;
};

/* --- users and functions ---------------------------------------------------------------------- */

static struct user *user_at(struct fm_list *link)
{
    return FM_LIST_ENTRY(link, struct user, link);
}

static uint64_t ring_bytes(uint32_t capacity)
{
    return (uint64_t)capacity * (sizeof(struct kept) + sizeof(uint32_t));
}

static void free_ring(struct user *user)
{
    FM_ASSERT(user->count == 0);
    user->recent->bytes -= ring_bytes(user->capacity);
    free(user->records);
    free(user->tags);
    user->records = NULL;
    user->tags = NULL;
    user->capacity = 0;
    user->first = 0;
    fm_list_remove(&user->link);
}

static void free_user_if_unused(struct user *user)
{
    if (user->functions > 0)
        return;
    free_ring(user);
    fm_map_remove(&user->recent->users, &user->node);
    free(user->name);
    free(user);
}

static struct user *find_user(const struct fm_recent *recent, const char *name)
{
    struct fm_map_node *node = fm_map_get(&recent->users, name, strlen(name));
    return node ? FM_CONTAINER_OF(node, struct user, node) : NULL;
}

static int ensure_user(struct fm_recent *recent, const char *name, struct user **ret_user)
{
    struct user *user = find_user(recent, name);
    if (!user) {
        user = calloc(1, sizeof(*user));
        char *copy = strdup(name);
        int failed = user && copy ? 0 : FM_ERR_NOMEM;
        if (!failed)
            failed = fm_map_put(&recent->users, &user->node, copy, strlen(copy));
        if (failed) {
            free(copy);
            free(user);
            return failed;
        }
        user->name = copy;
        user->recent = recent;
        fm_list_init(&user->link);
    }
    *ret_user = user;
    return 0;
}

int fm_recent_function_new(struct fm_recent *recent, const struct fm_version *version,
                           struct fm_recent_function **ret_function)
{
    struct user *user = NULL;
    int failed = ensure_user(recent, version->user, &user);
    if (failed)
        return failed;
    struct fm_recent_function *function = calloc(1, sizeof(*function));
    if (function) {
        function->function = strdup(version->function);
        function->version = strdup(version->id);
    }
    if (!function || !function->function || !function->version) {
        if (function) {
            free(function->function);
            free(function->version);
        }
        free(function);
        free_user_if_unused(user);
        return FM_ERR_NOMEM;
    }
    function->user = user;
    function->references = 1;
    user->functions++;
    *ret_function = function;
    return 0;
}

void fm_recent_function_drop(struct fm_recent_function *function)
{
    if (!function || --function->references > 0)
        return;
    struct user *user = function->user;
    user->functions--;
    free(function->function);
    free(function->version);
    free(function);
    free_user_if_unused(user);
}

/* --- the ring --------------------------------------------------------------------------------- */

static uint32_t place_of(const struct user *user, uint32_t index)
{
    uint32_t place = user->first + index;
    return place < user->capacity ? place : place - user->capacity;
}

/* The user may be gone afterwards, unless somebody else still names it. */
static void drop_oldest(struct user *user)
{
    struct kept *oldest = &user->records[user->first];
    struct fm_recent *recent = user->recent;
    if (oldest->texts) { /* most have none */
        recent->bytes -= oldest->texts->bytes;
        free(oldest->texts);
    }
    user->first = place_of(user, 1);
    user->count--;
    recent->calls--;
    fm_recent_function_drop(oldest->function);
}

/* Makes room for one more record, by a larger ring or at the cost of the oldest.  False: no memory
 * for a first one. */
static bool make_place(struct user *user)
{
    if (user->count < user->capacity)
        return true;
    if (user->capacity == FM_RECENT_CALLS_MAX) {
        drop_oldest(user); /* the function that adds holds the user */
        return true;
    }
    uint32_t capacity = user->capacity ? 2 * user->capacity : RING_MIN;
    if (capacity > FM_RECENT_CALLS_MAX)
        capacity = FM_RECENT_CALLS_MAX;
    struct kept *records = malloc(capacity * sizeof(*records));
    uint32_t *tags = malloc(capacity * sizeof(*tags));
    if (!records || !tags) {
        free(records);
        free(tags);
        if (user->count > 0)
            drop_oldest(user);
        return user->capacity > 0;
    }
    for (uint32_t i = 0; i < user->count; i++) {
        records[i] = user->records[place_of(user, i)];
        tags[i] = user->tags[place_of(user, i)];
    }
    free(user->records);
    free(user->tags);
    user->recent->bytes += ring_bytes(capacity) - ring_bytes(user->capacity);
    user->records = records;
    user->tags = tags;
    user->first = 0;
    user->capacity = capacity;
    return true;
}

static void clear_user(struct user *user)
{
    user->functions++; /* so that it outlives its last record */
    while (user->count > 0)
        drop_oldest(user);
    free_ring(user);
    user->functions--;
    free_user_if_unused(user);
}

/* What is over the bound goes; `user` is the caller and was moved to the front. */
static void shrink(struct fm_recent *recent, struct user *user)
{
    while (recent->bytes > recent->bytes_max) {
        struct user *last = user_at(recent->order.prev);
        if (last != user)
            clear_user(last);
        else if (user->count > 1)
            drop_oldest(user);
        else
            return;
    }
}

void fm_recent_expect(const struct fm_recent_function *function)
{
    const struct user *user = function->user;
    if (user->count < FM_RECENT_CALLS_MAX)
        return; /* the next place is next to the last one's */
    const char *record = (const char *)&user->records[user->first];
    for (size_t at = 0; at < sizeof(struct kept); at += CACHE_LINE)
        __builtin_prefetch(record + at, 1);
    __builtin_prefetch(&user->tags[user->first], 1);
}

/* --- adding ----------------------------------------------------------------------------------- */

static size_t text_bytes(const char *text)
{
    return text && text[0] ? strlen(text) + 1 : 0;
}

static const char *put_text(char **at, const char *text)
{
    size_t bytes = text_bytes(text);
    if (bytes == 0)
        return NULL;
    char *copy = *at;
    memcpy(copy, text, bytes);
    *at += bytes;
    return copy;
}

/* NULL: it has none, or there was no memory for them. */
static struct texts *make_texts(const struct fm_recent *recent, const struct fm_recent_end *end,
                                bool *ret_log_dropped)
{
    const struct fm_call *call = end->call;
    size_t bytes = text_bytes(call->limit) + text_bytes(call->trap) + text_bytes(end->detail) +
                   text_bytes(call->backtrace);
    size_t log_bytes = call->log.length;
    size_t children_count = call->children_count + end->chained_count;
    if (bytes + log_bytes + children_count == 0)
        return NULL;
    bytes += sizeof(struct texts) + children_count * sizeof(struct fm_id);
    *ret_log_dropped = log_bytes > 0 && bytes + log_bytes > recent->bytes_max / 2;
    if (*ret_log_dropped)
        log_bytes = 0;
    struct texts *texts = malloc(bytes + log_bytes);
    if (!texts) {
        *ret_log_dropped = call->log.length > 0;
        return NULL;
    }
    *texts = (struct texts){.bytes = bytes + log_bytes, .log_bytes = log_bytes};
    texts->children_count = children_count;
    struct fm_id *children = texts->children; /* those that it started stand first */
    if (call->children_count > 0)
        memcpy(children, call->children, call->children_count * sizeof(*children));
    if (end->chained_count > 0)
        memcpy(children + call->children_count, end->chained,
               end->chained_count * sizeof(*children));
    char *at = (char *)(children + children_count);
    texts->limit = put_text(&at, call->limit);
    texts->trap = put_text(&at, call->trap);
    texts->detail = put_text(&at, end->detail);
    texts->backtrace = put_text(&at, call->backtrace);
    if (log_bytes > 0)
        texts->log = memcpy(at, call->log.data, log_bytes);
    return texts;
}

void fm_recent_add(struct fm_recent_function *function, const struct fm_recent_end *end)
{
    struct user *user = function->user;
    struct fm_recent *recent = user->recent;
    const struct fm_call *call = end->call;
    fm_recent_dump_add(recent, call);
    if (!make_place(user))
        return;
    bool log_dropped = false;
    struct texts *texts = NULL;
    if (FM_UNLIKELY(end->error || call->log.length > 0 ||
                    call->children_count + end->chained_count > 0))
        texts = make_texts(recent, end, &log_dropped);
    uint64_t begun_ns =
        fm_max_u64(call->started_ns, call->created_ns); /* the loop's time is older */
    uint32_t place = place_of(user, user->count);
    user->tags[place] = (uint32_t)(call->id.low >> 16);
    user->records[place] = (struct kept){
        .id = call->id,
        .parent = call->parent,
        .function = function,
        .texts = texts,
        .created_real_ns = call->created_real_ns,
        .started_ns = call->started_ns ? begun_ns - call->created_ns : UINT64_MAX,
        .wall_ns = call->finished_ns - call->created_ns,
        .cpu_ns = call->cpu_ns,
        .memory_bytes = call->memory_bytes,
        .input_bytes = call->input_bytes,
        .output_bytes = fm_call_output_bytes(call),
        .error = end->error,
        .exit_code = call->exit_code,
        .depth = call->depth,
        .attempt = call->attempt,
        .log_truncated = call->log_truncated || log_dropped,
    };
    function->references++;
    user->count++;
    recent->calls++;
    if (texts)
        recent->bytes += texts->bytes;
    if (recent->order.next != &user->link) {
        fm_list_remove(&user->link);
        fm_list_push_front(&recent->order, &user->link);
    }
    if (FM_UNLIKELY(recent->bytes > recent->bytes_max))
        shrink(recent, user);
}

/* --- reading ---------------------------------------------------------------------------------- */

static enum fm_call_status status_of(const struct kept *kept)
{
    if (kept->error == 0)
        return FM_STATUS_SUCCEEDED;
    return kept->error == FM_ERR_CANCELLED ? FM_STATUS_CANCELLED : FM_STATUS_FAILED;
}

/* Texts are borrowed: a record says char *, but nobody writes to them. */
static char *lend(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void lend_record(const struct user *user, const struct kept *kept,
                        struct fm_call_record *ret_record)
{
    const struct texts *texts = kept->texts;
    bool started = kept->started_ns != UINT64_MAX;
    *ret_record = (struct fm_call_record){
        .id = kept->id,
        .status = status_of(kept),
        .attempt = started ? kept->attempt : 0,
        .attempts_max = 1,
        .depth = kept->depth,
        .user = user->name,
        .function = kept->function->function,
        .version = kept->function->version,
        .parent = kept->parent,
        .created_real_ns = kept->created_real_ns,
        .started_real_ns = started ? kept->created_real_ns + kept->started_ns : 0,
        .finished_real_ns = kept->created_real_ns + kept->wall_ns,
        .cpu_ns = kept->cpu_ns,
        .wall_ns = kept->wall_ns,
        .memory_bytes = kept->memory_bytes,
        .input_bytes = kept->input_bytes,
        .output_bytes = kept->output_bytes,
        .log_bytes = texts ? texts->log_bytes : 0,
        .log_truncated = kept->log_truncated,
        .error = kept->error,
        .exit_code = kept->exit_code,
    };
    if (!texts)
        return;
    ret_record->limit = lend(texts->limit);
    ret_record->trap = lend(texts->trap);
    ret_record->detail = lend(texts->detail);
    ret_record->backtrace = lend(texts->backtrace);
    ret_record->children = (struct fm_id *)(uintptr_t)texts->children;
    ret_record->children_count = texts->children_count;
}

static const struct kept *find_in(const struct user *user, const struct fm_id *id)
{
    uint32_t tag = (uint32_t)(id->low >> 16);
    for (uint32_t i = 0; i < user->count; i++) {
        uint32_t place = place_of(user, i);
        if (user->tags[place] != tag)
            continue;
        const struct kept *kept = &user->records[place];
        if (kept->id.high == id->high && kept->id.low == id->low)
            return kept;
    }
    return NULL;
}

int fm_recent_get(const struct fm_recent *recent, const struct fm_id *id,
                  struct fm_call_record *ret_record, uint8_t **ret_log)
{
    FM_LIST_FOREACH(&recent->order, link)
    {
        const struct user *user = user_at(link);
        const struct kept *kept = find_in(user, id);
        if (!kept)
            continue;
        struct fm_call_record lent;
        lend_record(user, kept, &lent);
        uint8_t *log = NULL;
        if (ret_log && lent.log_bytes > 0) {
            log = malloc(lent.log_bytes);
            if (!log)
                return FM_ERR_NOMEM;
            memcpy(log, kept->texts->log, lent.log_bytes);
        }
        int failed = fm_call_record_copy(&lent, ret_record);
        if (failed) {
            free(log);
            return failed;
        }
        if (ret_log)
            *ret_log = log;
        return 0;
    }
    return FM_ERR_NOT_FOUND;
}

void fm_recent_dump_add(struct fm_recent *recent, const struct fm_call *call)
{
    if (call->dump)
        fm_dumps_add(recent->dumps, &call->id, call->version->user, call->dump);
}

struct fm_dump *fm_recent_dump_get(const struct fm_recent *recent, const struct fm_id *id)
{
    return fm_dumps_get(recent->dumps, id);
}

static bool older(const struct fm_id *a, const struct fm_id *b)
{
    return a->high != b->high ? a->high < b->high : a->low < b->low;
}

bool fm_recent_fits(const struct fm_recent_filter *filter, const struct fm_call_record *record)
{
    return (fm_id_none(filter->after) || older(&record->id, &filter->after)) &&
           (!filter->by_status || filter->status == record->status) &&
           (!filter->user || strcmp(filter->user, record->user) == 0) &&
           (!filter->function || strcmp(filter->function, record->function) == 0);
}

void fm_recent_each(const struct fm_recent *recent, const struct fm_recent_filter *filter,
                    void (*visit)(const struct fm_call_record *record, void *data), void *data)
{
    FM_LIST_FOREACH(&recent->order, link)
    {
        const struct user *user = user_at(link);
        if (filter->user && strcmp(filter->user, user->name) != 0)
            continue;
        for (uint32_t i = 0; i < user->count; i++) {
            struct fm_call_record lent;
            lend_record(user, &user->records[place_of(user, i)], &lent);
            if (fm_recent_fits(filter, &lent))
                visit(&lent, data);
        }
    }
}

void fm_recent_counts(const struct fm_recent *recent, struct fm_recent_counts *ret_counts)
{
    *ret_counts = (struct fm_recent_counts){.calls = recent->calls, .bytes = recent->bytes};
}

/* --- life ------------------------------------------------------------------------------------- */

int fm_recent_new(uint64_t bytes_max, struct fm_recent **ret_recent)
{
    struct fm_recent *recent = calloc(1, sizeof(*recent));
    if (!recent)
        return FM_ERR_NOMEM;
    if (fm_dumps_new(&recent->dumps) != 0) {
        free(recent);
        return FM_ERR_NOMEM;
    }
    fm_map_init(&recent->users);
    fm_list_init(&recent->order);
    recent->bytes_max = bytes_max;
    *ret_recent = recent;
    return 0;
}

struct fm_recent *fm_recent_free(struct fm_recent *recent)
{
    if (!recent)
        return NULL;
    while (!fm_list_empty(&recent->order))
        clear_user(user_at(recent->order.next)); /* goes with its last record */
    FM_ASSERT(recent->bytes == 0 && recent->calls == 0);
    fm_map_done(&recent->users);
    fm_dumps_free(recent->dumps);
    free(recent);
    return NULL;
}
