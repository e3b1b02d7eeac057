/* found.h - what those writes share that change a call which is there.  Private to store/.
 *
 * The writer's thread, inside of its transaction; fm_calls_record() whoever has a connection. */
#pragma once

#include "store/calls_write.h"
#include "store/db.h"

/* What a write must know of the call that it changes. */
struct fm_calls_found {
    int64_t seq;
    enum fm_call_status status;
    bool cancelled;
    uint32_t attempt;
    uint64_t input_bytes;
    uint64_t bytes; /* in the sums */
    char input_file[FM_CALLS_FILE_SIZE];
    char output_file[FM_CALLS_FILE_SIZE];
    char log_file[FM_CALLS_FILE_SIZE];
};

/* An error of this one write: returns 0 while the transaction stands, else the error. */
FM_MUST_CHECK int fm_calls_write_error(struct fm_calls *calls, struct fm_calls_write *write,
                                       int error);

/* FM_ERR_NOT_FOUND. */
FM_MUST_CHECK int fm_calls_find(struct fm_calls *calls, struct fm_id id,
                                struct fm_calls_found *ret_found);
FM_MUST_CHECK int fm_calls_record(struct fm_db *db, int64_t seq, struct fm_call_record *ret_record);
void fm_calls_doom_found(struct fm_calls *calls, const struct fm_calls_found *found, bool input);

/* The call's bytes in the sums become `bytes`. */
void fm_calls_resize(struct fm_calls *calls, const struct fm_calls_found *found, uint64_t bytes);
