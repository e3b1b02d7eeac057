/* entries.c - new calls: accepted from outside, or the children of a call that ends.
 *
 * A key (Idempotency-Key) is looked up in the same transaction that would insert, so two requests
 * with one key can never both become calls, however they race.  What was in the request is compared
 * by its SHA-256.
 *
 * Several are inserted one after the other; should an id be taken, those before it are deleted
 * again.  A savepoint would do the same, but costs every write of this kind something, for a case
 * that only a broken generator of ids can bring.  They stand together: one writer, so their rows
 * have consecutive numbers.
 *
 * Threading: prepare on the asker's thread, blobs on the pool, the rest on the writer's. */
#include <string.h>

#include <nettle/sha2.h>

#include "base/limits.h"
#include "store/blobs.h"
#include "store/calls_private.h"
#include "store/files.h"
#include "store/found.h"
#include "store/rows.h"

_Static_assert(sizeof(((struct fm_calls_entry *)0)->input_sha256) == SHA256_DIGEST_SIZE,
               "one size of digest");

static void hash_input(struct fm_calls_entry *entry)
{
    struct sha256_ctx context;
    sha256_init(&context);
    sha256_update(&context, entry->input_bytes, entry->input);
    sha256_digest(&context, sizeof(entry->input_sha256), entry->input_sha256);
}

/* --- before the transaction ------------------------------------------------------------------- */

static int prepare_key(struct fm_calls_entry *entry)
{
    size_t length = strlen(entry->key);
    if (length == 0 || length > FM_CALLS_KEY_BYTES_MAX)
        return FM_ERR_BAD_REQUEST;
    if (entry->input_file[0] == '\0')
        hash_input(entry); /* a large one is hashed where it is written */
    return 0;
}

int fm_entries_prepare(struct fm_calls *calls, struct fm_calls_write *write,
                       struct fm_calls_entry *entries, size_t count)
{
    if (count > FM_CALLS_ENTRIES_MAX)
        return FM_ERR_TOO_LARGE;
    for (size_t i = 0; i < count; i++) {
        struct fm_calls_entry *entry = &entries[i];
        FM_ASSERT(!fm_id_none(entry->id) && entry->user[0] && entry->function[0] &&
                  entry->version[0]);
        FM_ASSERT(!entry->key || (count == 1 && write->kind->lane == FM_LANE_ACCEPTS));
        write->bytes += entry->input_bytes;
        entry->input_file[0] = '\0';
        if (entry->input_bytes > calls->config.inline_bytes_max) {
            fm_blobs_name(entry->id, "input", entry->input_file);
            write->blobs = true;
        } else {
            write->inline_bytes += entry->input_bytes;
        }
        int failed = entry->key ? prepare_key(entry) : 0;
        if (failed)
            return failed;
    }
    return 0;
}

static void unlink_blobs(struct fm_calls *calls, struct fm_calls_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (entries[i].input_file[0] != '\0')
            (void)unlinkat(calls->blobs_fd, entries[i].input_file, 0); /* the next start would */
    }
}

int fm_entries_blobs(struct fm_calls *calls, struct fm_calls_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct fm_calls_entry *entry = &entries[i];
        if (entry->input_file[0] == '\0')
            continue;
        int failed = fm_blobs_write(calls, entry->input_file, entry->input, entry->input_bytes);
        if (failed) {
            unlink_blobs(calls, entries, i);
            return failed;
        }
        if (entry->key)
            hash_input(entry);
    }
    return 0;
}

void fm_entries_doom(struct fm_calls *calls, const struct fm_calls_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fm_blobs_doom(calls, entries[i].input_file);
}

/* --- in the transaction ----------------------------------------------------------------------- */

static uint64_t entry_bytes(const struct fm_calls_entry *entry)
{
    return FM_CALLS_ROW_BYTES + entry->input_bytes;
}

static int insert(struct fm_calls *calls, const struct fm_calls_entry *entry, bool *ret_taken)
{
    bool running = entry->started_real_ns != 0;
    uint8_t id[FM_DB_ID_BYTES];
    uint8_t parent[FM_DB_ID_BYTES];
    fm_db_id_bytes(entry->id, id);
    fm_db_id_bytes(entry->parent, parent);
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_INSERT);
    fm_query_bytes(&query, id, sizeof(id));
    fm_query_text(&query, entry->user);
    fm_query_text(&query, entry->function);
    fm_query_text(&query, entry->version);
    fm_query_number(&query, running ? FM_STATUS_RUNNING : FM_STATUS_QUEUED);
    fm_query_number(&query, running ? 1 : 0);
    fm_query_number(&query, entry->attempts_max);
    fm_query_number(&query, entry->depth);
    if (fm_id_none(entry->parent))
        fm_query_null(&query);
    else
        fm_query_bytes(&query, parent, sizeof(parent));
    fm_query_count(&query, entry->created_real_ns);
    fm_query_count(&query, entry->run_at_real_ns);
    fm_query_time(&query, entry->started_real_ns);
    fm_query_count(&query, entry->input_bytes);
    fm_query_count(&query, entry_bytes(entry));
    fm_query_text(&query, entry->key);
    if (entry->key)
        fm_query_bytes(&query, entry->input_sha256, sizeof(entry->input_sha256));
    else
        fm_query_null(&query);
    fm_query_text(&query, entry->input_file);
    if (entry->input_file[0] != '\0')
        fm_query_null(&query);
    else
        fm_query_bytes(&query, entry->input, entry->input_bytes);
    int failed = fm_query_run(&query);
    *ret_taken = query.rc == SQLITE_CONSTRAINT_UNIQUE;
    return *ret_taken ? 0 : failed;
}

static int delete_since(struct fm_calls *calls, size_t count)
{
    if (count == 0)
        return 0;
    int64_t last = sqlite3_last_insert_rowid(calls->writer.sqlite);
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_UNINSERT);
    fm_query_number(&query, last - (int64_t)count + 1);
    fm_query_number(&query, last);
    return fm_query_run(&query);
}

int fm_entries_insert(struct fm_calls *calls, const struct fm_calls_entry *entries, size_t count,
                      bool *ret_taken)
{
    const struct fm_calls_sums before = calls->sums;
    for (size_t i = 0; i < count; i++) {
        bool taken = false;
        int failed = insert(calls, &entries[i], &taken);
        if (failed)
            return failed;
        if (taken) {
            calls->sums = before;
            *ret_taken = true;
            return delete_since(calls, i);
        }
        calls->sums.rows += 1;
        calls->sums.rows_open += 1;
        calls->sums.bytes += entry_bytes(&entries[i]);
    }
    *ret_taken = false;
    return 0;
}

/* --- accept ----------------------------------------------------------------------------------- */

static struct fm_calls_accept *accept_of(struct fm_calls_write *write)
{
    return FM_CONTAINER_OF(write, struct fm_calls_accept, write);
}

static int accept_prepare(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_accept *accept = accept_of(write);
    FM_ASSERT(accept->entries_count > 0);
    return fm_entries_prepare(calls, write, accept->entries, accept->entries_count);
}

static int accept_blobs(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_accept *accept = accept_of(write);
    int failed = fm_entries_blobs(calls, accept->entries, accept->entries_count);
    if (failed)
        return failed;
    failed = fm_blobs_sync(calls);
    if (failed)
        unlink_blobs(calls, accept->entries, accept->entries_count);
    return failed;
}

/* Looks for a call with the key.  `*ret_found` false: there is none. */
static int find_key(struct fm_calls *calls, struct fm_calls_accept *accept, bool *ret_found)
{
    const struct fm_calls_entry *entry = &accept->entries[0];
    struct fm_id id = {0, 0};
    bool row = false;
    bool same = false;
    struct fm_query query = fm_query_begin(&calls->writer, FM_SQL_BY_KEY);
    fm_query_text(&query, entry->user);
    fm_query_text(&query, entry->function);
    fm_query_text(&query, entry->key);
    int failed = fm_query_row(&query, &row);
    if (!failed && row) {
        const void *hash = sqlite3_column_blob(query.statement, 0);
        same = hash &&
               sqlite3_column_bytes(query.statement, 0) == (int)sizeof(entry->input_sha256) &&
               memcmp(hash, entry->input_sha256, sizeof(entry->input_sha256)) == 0;
        id = fm_rows_id(&query, 1);
    }
    fm_query_end(&query);
    *ret_found = row;
    if (failed || !row)
        return failed;
    if (!same)
        return FM_ERR_CONFLICT;
    struct fm_calls_found found;
    failed = fm_calls_find(calls, id, &found);
    return failed ? failed : fm_calls_record(&calls->writer, found.seq, &accept->existing);
}

static int accept_apply(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_accept *accept = accept_of(write);
    bool found = false;
    bool taken = false;
    int failed = accept->entries[0].key ? find_key(calls, accept, &found) : 0;
    if (failed)
        return fm_calls_write_error(calls, write, failed);
    accept->found = found;
    if (found)
        return 0;
    failed = fm_entries_insert(calls, accept->entries, accept->entries_count, &taken);
    if (!failed && taken)
        write->error = FM_ERR_CONFLICT;
    return failed;
}

static void accept_undo(struct fm_calls_write *write)
{
    struct fm_calls_accept *accept = accept_of(write);
    accept->found = false;
    fm_call_record_done(&accept->existing);
}

static void accept_unused(struct fm_calls *calls, struct fm_calls_write *write)
{
    struct fm_calls_accept *accept = accept_of(write);
    if (write->error || accept->found)
        fm_entries_doom(calls, accept->entries, accept->entries_count);
}

void fm_calls_accept(struct fm_calls *calls, struct fm_calls_accept *accept,
                     struct fm_mailbox *home)
{
    static const struct fm_calls_kind kind = {
        .lane = FM_LANE_ACCEPTS,
        .prepare = accept_prepare,
        .blobs = accept_blobs,
        .apply = accept_apply,
        .undo = accept_undo,
        .unused = accept_unused,
    };
    accept->found = false;
    accept->existing = (struct fm_call_record){0};
    fm_calls_write_ask(calls, &accept->write, &kind, home);
}
