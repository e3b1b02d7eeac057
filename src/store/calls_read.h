/* calls_read.h - questions about calls on disk (calls.h has the writes and the rules).
 *
 * The reader has its own thread and its own connection: a read waits for no write, and sees what is
 * on disk, never more.  Contents that are files are read on the I/O pool.  As with writes: the
 * object is embedded and ours until on_done; answers are the asker's; any thread may ask. */
#pragma once

#include "store/calls.h"

struct fm_calls_read {
    void (*on_done)(struct fm_calls_read *read);
    int error; /* the answer */

    struct fm_message message; /* from here on: private */
    struct fm_mailbox *home;
    struct fm_calls *calls;
    struct fm_job job;
    const struct fm_calls_question *question;
    bool again; /* its blobs went while it was read */
};

/* A content that was wanted and is there: `data` from malloc and not NULL, even if empty. */
struct fm_calls_content {
    uint8_t *data; /* NULL: not wanted, or there is none */
    size_t bytes;

    char file[FM_CALLS_FILE_SIZE]; /* private */
};

/* One call.  FM_ERR_NOT_FOUND.  A call has an output and a log once it has ended (a log also
 * between attempts), and its input until it has ended or while it is DEAD. */
struct fm_calls_get {
    struct fm_calls_read read;
    struct fm_id id;
    bool want_input;
    bool want_output;
    bool want_log;
    bool want_log_of_error; /* its log, if an attempt of it has failed */

    struct fm_call_record record; /* answer */
    struct fm_calls_content input;
    struct fm_calls_content output;
    struct fm_calls_content log;
};

void fm_calls_get_done(struct fm_calls_get *get); /* frees the answers */

/* Calls, the latest first.  Looks at no more than FM_CALLS_LIST_SCAN_MAX calls and gathers no more
 * than FM_CALLS_LIST_BYTES_MAX: so it may find less than `limit`, even nothing, and yet say `next`.
 * FM_ERR_BAD_REQUEST: a limit that is not 1 to FM_CALLS_LIST_MAX. */
struct fm_calls_list {
    struct fm_calls_read read;
    const char *user;     /* NULL: all */
    const char *function; /* NULL: all */
    bool by_status;
    enum fm_call_status status; /* with by_status */
    uint32_t limit;
    struct fm_id
        after; /* those after (older than) this id, which need not exist; 0: from the start */

    struct fm_call_record *records; /* answer */
    size_t records_count;
    struct fm_id next; /* `after` of the page that follows; both words 0: this was the last */
};

void fm_calls_list_done(struct fm_calls_list *list); /* frees the answers */

/* How much there is.  Bytes are contents and texts, and FM_CALLS_ROW_BYTES a call. */
struct fm_calls_totals {
    struct fm_calls_read read;

    uint64_t rows; /* answer */
    uint64_t bytes;
    uint64_t rows_open; /* of these, not ended */
};

void fm_calls_get(struct fm_calls *calls, struct fm_calls_get *get, struct fm_mailbox *home);
void fm_calls_list(struct fm_calls *calls, struct fm_calls_list *list, struct fm_mailbox *home);
void fm_calls_totals(struct fm_calls *calls, struct fm_calls_totals *totals,
                     struct fm_mailbox *home);
