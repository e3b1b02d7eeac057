/* call.h - the call: one invocation of one function.
 *
 *      NEW --> QUEUED --> RUNNING <--> PARKED
 *       |        |          |            |
 *       |        |          +--> QUEUED  |         (its slice is over)
 *       +--------+----------+------------+--> DONE
 *
 * The HTTP front, a chaining guest and the command line all make a call and hand it to the same
 * door (sched/).  Whoever made a call owns it and frees it after DONE.  One thread at a time; only
 * sched/ (and `faasm run`, which is its own scheduler) moves it, by fm_call_set_state(). */
#pragma once

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/id.h"
#include "base/limits.h"
#include "base/list.h"

struct fm_call;
struct fm_child_ops; /* child.h */
struct fm_dump;      /* dump.h */
struct fm_node;      /* files/tree.h */
struct fm_preopen;   /* files/file_system.h */
struct fm_version;   /* function.h */
struct fm_web_ops;   /* web.h */

enum fm_call_state {
    FM_CALL_NEW,     /* made, not yet submitted */
    FM_CALL_QUEUED,  /* waits for its turn, or for its module to be loaded */
    FM_CALL_RUNNING, /* its guest is on a worker now */
    FM_CALL_PARKED,  /* its guest waits for an event: a timer, the end of a child */
    FM_CALL_DONE,    /* holds an output or an error, for good */
};

/* Where a guest's standard streams lead.  The default reads call->input and appends to call->output
 * and call->log under their limits; `faasm run` leads them to its own descriptors. */
struct fm_call_io {
    /* Copies input bytes from `offset` on; returns how many (0 at the end), or FM_ERR_*. */
    int64_t (*read_input)(struct fm_call *call, uint64_t offset, uint8_t *data, size_t bytes);
    /* 0, FM_ERR_GUEST_LIMIT (over output_bytes; nothing is appended), FM_ERR_NOMEM, FM_ERR_IO. */
    int (*write_output)(struct fm_call *call, const uint8_t *data, size_t bytes);
    /* The same, in place of all that was written before; on failure that is gone or still there. */
    int (*set_output)(struct fm_call *call, const uint8_t *data, size_t bytes);
    /* Never fails: over log_bytes the rest is dropped and log_truncated set. */
    void (*write_log)(struct fm_call *call, const uint8_t *data, size_t bytes);
};

#define FM_CALL_CHILDREN_LISTED_MAX 1000 /* ids kept of the calls that one call has started */

/* One call that a guest asked for by chain(); started after its parent has succeeded. */
struct fm_chain {
    struct fm_list link; /* in call->chains, in the guest's order */
    const char *name;    /* all of it lives in the parent's arena */
    size_t name_length;
    const uint8_t *input;
    size_t input_bytes;
};

struct fm_call {
    enum fm_call_state state;
    struct fm_id id;
    struct fm_id parent;              /* both words 0: none */
    uint32_t attempt;                 /* 1 is the first */
    const char *principal;            /* who asks; "anonymous" until there are tokens */
    const struct fm_version *version; /* what runs; borrowed, outlives the call */
    struct fm_limits limits;          /* the version's, possibly lowered */
    const struct fm_call_io *io;
    const struct fm_web_ops *web; /* NULL: input and output are `io`'s; else they are streams */
    const char *const
        *env; /* "NAME=value", after the version's; borrowed from the owner until DONE */
    size_t env_count;
    const char *initialize; /* NULL; else what is called, without arguments, instead of the entry */
    bool pinned;            /* stays on the worker that made it; set before it is submitted */
    bool wait_for_quota;    /* over a quota it waits at the door, instead of being refused */

    const uint8_t *input; /* borrowed from the owner until DONE */
    size_t input_bytes;
    struct fm_buffer output;
    size_t output_expected;  /* by what an earlier call wrote; 0: nothing is known */
    uint64_t streamed_bytes; /* of output that is not kept: call->web's */
    struct fm_buffer log;
    bool log_truncated;
    struct fm_list chains; /* struct fm_chain.link */
    uint32_t chains_count;
    uint32_t depth; /* calls above this one */

    /* Files.  Both are borrowed from whoever runs the call, for as long as it has a guest. */
    struct fm_node *files;             /* its user's, under an overlay of the call's; NULL: none */
    const struct fm_preopen *preopens; /* NULL: that overlay, as "/"; else these, perhaps none */
    size_t preopens_count;

    const struct fm_child_ops *child_ops; /* NULL: it can start no calls */
    uint32_t children_started;            /* by call_start; chains_count is not in it */
    struct fm_id *children;               /* the first of these, in the arena */
    uint32_t children_count;              /* <= FM_CALL_CHILDREN_LISTED_MAX */
    uint32_t children_refused;            /* for want of child_ops */
    uint64_t waits;                       /* times that the guest began to wait for children */

    uint64_t created_real_ns;
    uint64_t created_ns; /* the rest: monotonic; 0: not yet */
    uint64_t started_ns;
    uint64_t finished_ns;
    uint64_t deadline_ns;
    uint64_t cpu_ns;
    uint64_t memory_bytes; /* of its linear memory, at the end */
    bool cold;             /* its module had to be loaded */

    /* The outcome.  Texts live in the arena or are static. */
    int error; /* 0 or FM_ERR_* */
    int exit_code;
    const char *limit;     /* FM_ERR_GUEST_LIMIT, FM_ERR_QUOTA: which; "" otherwise */
    uint64_t retry_ns;     /* FM_ERR_QUOTA: when it is worth trying again; 0: not known */
    const char *trap;      /* FM_ERR_GUEST_TRAP: its name; "" otherwise */
    const char *detail;    /* one sentence; "" when there is none */
    const char *backtrace; /* of a trap, or where a limit ended it; "" when there is none */

    struct fm_dump *dump; /* of a guest that failed, where one was asked for; NULL: none */
    bool dump_omitted;    /* it would have been over coredump_bytes, or over the memory there is */

    struct fm_arena arena;
    void *guest_room; /* for the guest, kept from call to call; NULL: none yet; from malloc */

    void (*on_done)(struct fm_call *call); /* set by the owner before it submits */
    void *owner;                           /* the owner's; not for sched/ */
    void *task;                            /* sched/'s */
};

/* A call in state NEW.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_call_new(const struct fm_version *version, struct fm_call **ret_call);
struct fm_call *fm_call_free(struct fm_call *call); /* NEW or DONE only; NULL is fine */

/* Lets go of the outcome of a finished call, which is kept for a next one: of its memory only what
 * is small stays. */
void fm_call_forget(struct fm_call *call);

/* Makes a finished (or new) call as good as one from fm_call_new(), keeping its memory. */
void fm_call_reset(struct fm_call *call, const struct fm_version *version);

/* The one setter: asserts that the move is legal, stamps `now_ns` where a time is due. */
void fm_call_set_state(struct fm_call *call, enum fm_call_state state, uint64_t now_ns);
const char *fm_call_state_text(enum fm_call_state state);

/* Sets the outcome, once: the first reason stays.  `detail` is copied; NULL is fine. */
void fm_call_fail(struct fm_call *call, int error, const char *detail);

/* The same for a limit of base/limits.h, by name (a static string). */
void fm_call_fail_limit(struct fm_call *call, const char *limit, uint64_t value);

/* What fm_call_io does by default. */
extern const struct fm_call_io fm_call_io_memory;

/* Counts a child that was started, and keeps its id among call->children while there is room. */
void fm_call_child_add(struct fm_call *call, struct fm_id id);

/* What it has written, kept or not. */
uint64_t fm_call_output_bytes(const struct fm_call *call);

/* The real time of the deadline, milliseconds since 1970; 0: it has none. */
uint64_t fm_call_deadline_unix_ms(const struct fm_call *call);

/* Adds to call->chains, copying.  FM_ERR_QUOTA (chain_fanout), FM_ERR_NOMEM, FM_ERR_BAD_NAME. */
FM_MUST_CHECK int fm_call_chain(struct fm_call *call, const char *name, size_t name_length,
                                const uint8_t *input, size_t input_bytes);
