/* key.h - the secret of a data folder.  Private to store/. */
#pragma once

#include "base/error.h"

#define FM_KEY_BYTES 32

/* Reads <data>/key, or makes it, by way of `incoming`.  FM_ERR_FORBIDDEN: it belongs to somebody
 * else.  FM_ERR_IO, FM_ERR_STORAGE_FULL; the texts name it by `path`, the data folder's. */
FM_MUST_CHECK int fm_key_load(int data_fd, int incoming_fd, const char *path,
                              uint8_t ret_key[FM_KEY_BYTES], struct fm_error *error);
