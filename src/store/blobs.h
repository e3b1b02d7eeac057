/* blobs.h - contents that are too large for the database, a file each.  Private to store/ and its
 * tests.
 *
 * Names, writing and reading: any thread.  The rest: the writer's, or the start's. */
#pragma once

#include "store/calls.h"

void fm_blobs_name(struct fm_id id, const char *kind, char ret_file[FM_CALLS_FILE_SIZE]);
FM_MUST_CHECK int fm_blobs_write(struct fm_calls *calls, const char *file, const uint8_t *data,
                                 size_t bytes);
FM_MUST_CHECK int fm_blobs_sync(struct fm_calls *calls); /* their folder */
FM_MUST_CHECK int fm_blobs_read(struct fm_calls *calls, const char *file, uint64_t bytes,
                                uint8_t **ret_data, size_t *ret_bytes);

/* Without memory for the name the blob stays until the next start.  "" is fine. */
void fm_blobs_doom(struct fm_calls *calls, const char *file);
void fm_blobs_spare(struct fm_calls *calls, size_t from); /* forgets those named since */
void fm_blobs_remove_doomed(struct fm_calls *calls);

/* Removes those that no call names. */
FM_MUST_CHECK int fm_blobs_sweep(struct fm_calls *calls, uint64_t *ret_removed,
                                 struct fm_error *error);
