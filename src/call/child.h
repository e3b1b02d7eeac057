/* child.h - the calls that a call has started (call_start), as its guest sees them.
 *
 * guest/ knows what a guest asks, sched/ runs the children; this is what they say to each other.
 * The children of one call are numbered from 1 in the order of their start: these are the handles.
 *
 * Threading: the worker's. */
#pragma once

#include "base/error.h"

struct fm_call;

/* One child; it belongs to sched/ and lives until its parent has ended. */
struct fm_child {
    /* Set by guest/ to the parent's `waits` while the parent waits for it; when it ends, sched/
     * wakes the parent if the two are still the same. */
    uint64_t awaited;

    bool ended;
    uint64_t order; /* of its end among its siblings: 1, 2... */
    int error;      /* 0 or FM_ERR_* */
    int exit_code;
    uint8_t *output; /* NULL when there is none */
    size_t output_bytes;
};

/* What a call may do with children; set by whoever runs it.  NULL in a call: it can have none. */
struct fm_child_ops {
    /* Starts a call of `name`, of the same user; the input is copied.  A handle > 0, or
     * FM_ERR_BAD_NAME, FM_ERR_NOT_FOUND, FM_ERR_TOO_LARGE (over the target's input_bytes),
     * FM_ERR_QUOTA (chain_depth, chain_fanout, children_bytes, concurrency), FM_ERR_BUSY,
     * FM_ERR_NOMEM. */
    int64_t (*start)(struct fm_call *parent, const char *name, size_t name_length,
                     const uint8_t *input, size_t input_bytes);

    /* NULL: no such handle. */
    struct fm_child *(*find)(struct fm_call *parent, int64_t handle);
};
