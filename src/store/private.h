/* private.h - what the files behind functions.h share. */
#pragma once

#include <pthread.h>

#include "base/id.h"
#include "store/functions.h"
#include "store/key.h"

#define FM_STORE_WASM "function.wasm"
#define FM_STORE_CWASM "function.cwasm"
#define FM_STORE_CACHE "function.cache"
#define FM_STORE_META "meta.json"

/* Small enough for any such text, once read, to fit into the arena of a version. */
#define FM_STORE_META_BYTES_MAX FM_MIB

struct fm_functions {
    /* Never change after the start. */
    char *data;     /* absolute, free of links */
    char *build_id; /* of the engine */
    int data_fd;    /* also holds the flock(2) */
    int functions_fd;
    int incoming_fd;
    int trash_fd;
    uint8_t key[FM_KEY_BYTES];

    /* The mutex guards what follows, and every change of a name below functions/. */
    pthread_mutex_t mutex;
    struct fm_id_generator ids;
    uint64_t sequence; /* commits and removals so far */
    bool swept;        /* fm_functions_each() has removed what an earlier run left */
};

void fm_functions_lock(struct fm_functions *functions);
void fm_functions_unlock(struct fm_functions *functions);

/* A full path below the data folder; all of ours fit. */
void fm_functions_path(const struct fm_functions *functions, char path[FM_FUNCTIONS_PATH_SIZE],
                       const char *format, ...) FM_PRINTF(3, 4);
