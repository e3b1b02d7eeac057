/* private.h - a call's guest from the inside, for the files of guest/. */
#pragma once

#include "call/call.h"
#include "engine/import.h"
#include "engine/sandbox.h"
#include "guest/descriptors.h"
#include "guest/guest.h"

#define FM_2018_FILES_COUNT 8      /* files that a guest of 2018 has open at once */
#define FM_NOT_WAITING UINT64_C(0) /* parked, but only to let others run: poll again at once */

/* An open file of 2018: one of the constant texts. */
struct fm_2018_file {
    const char *text; /* NULL: not open */
    uint32_t length;
    uint32_t offset; /* <= length, or beyond after a seek */
};

enum fm_guest_step {
    FM_STEP_INSTANTIATE, /* the instance, and the module's start function */
    FM_STEP_ALLOCATE,    /* a first `malloc`, where it matters (later.c) */
    FM_STEP_INITIALIZE,  /* `_initialize`, where there is one */
    FM_STEP_ENTRY,       /* `_start`, `run` or `handle` */
    FM_STEP_DUMP,        /* the outcome is set; a core dump is made of what is left */
    FM_STEP_ENDED,
};

struct fm_coredump;
struct fm_overlay;

struct fm_guest {
    struct fm_call *call;
    struct fm_sandbox *sandbox;
    int (*on_tick)(void *call);
    enum fm_guest_step step;
    bool under_way; /* the sandbox is to be polled for this step */

    /* How it ended. */
    bool exited; /* by asking for it; then FM_ERR_GUEST_EXIT is no error in itself */
    int exit_code;
    int output_error; /* of the first write of output that failed: no success any more; or 0 */
    const char *trap; /* static name of a trap that a host function made; NULL: not one */
    struct fm_coredump *coredump; /* that is being made; NULL: none */

    /* Standard input. */
    uint64_t input_offset;
    bool input_ended; /* a read has found the end */

    /* The host function that is parked; there is at most one. */
    uint64_t park_until_ns; /* monotonic, UINT64_MAX or FM_NOT_WAITING */
    uint64_t park_start_ns; /* when a poll began: relative times count from here */
    bool park_stream;       /* it waits for call->web */
    uint32_t random_done;   /* bytes that random_get has filled */
    uint32_t stream_done;   /* bytes that a write to call->web has got rid of */

    struct fm_descriptors descriptors;
    struct fm_overlay *overlay; /* NULL: no file was used yet */

    /* path_open is parked: what it waits for, then how that came out. */
    struct fm_content *content; /* NULL: it does not wait; the overlay holds it */
    bool content_loaded;        /* the answer is there; without an error its pin is ours */
    int content_error;

    /* Of programs that import names of later (later.c). */
    bool later_allocates; /* outputs of children get memory: later_at <= later_end */
    uint64_t later_at;
    uint64_t later_end;

    /* Of ABI faasm-2018. */
    uint32_t regions; /* address of the input region; the others follow */
    struct fm_2018_file files[FM_2018_FILES_COUNT];
};

/* --- guest.c: how host functions end a guest -------------------------------------------------- */

/* Both return what the import must return. */
FM_MUST_CHECK int fm_guest_exit(struct fm_guest *guest, uint32_t code);
FM_MUST_CHECK int fm_guest_trap(struct fm_guest *guest, const char *trap, const char *detail);

/* --- stream.c: input, output and log, under the call's limits --------------------------------- */

/* From the input's present position on; 0 at the end, or FM_ERR_*. */
FM_MUST_CHECK int64_t fm_stream_read(struct fm_guest *guest, uint8_t *data, size_t bytes);

/* 0, FM_ERR_GUEST_LIMIT (nothing is written; the call will fail), FM_ERR_NOMEM, FM_ERR_IO. */
FM_MUST_CHECK int fm_stream_write(struct fm_guest *guest, const uint8_t *data, size_t bytes);
void fm_stream_log(struct fm_guest *guest, const uint8_t *data, size_t bytes);

/* This is the output, in place of what was written before; if that fails the call will fail. */
void fm_stream_set(struct fm_guest *guest, const uint8_t *data, size_t bytes);

/* The same for a descriptor's stream, which must be FM_STREAM_OUTPUT or FM_STREAM_LOG. */
FM_MUST_CHECK int fm_stream_write_to(struct fm_guest *guest, enum fm_stream stream,
                                     const uint8_t *data, size_t bytes);

/* --- later.c ---------------------------------------------------------------------------------- */

/* Whether a first call of `malloc` was started in the sandbox, for FM_STEP_ALLOCATE. */
FM_MUST_CHECK bool fm_later_begin(struct fm_guest *guest);

/* --- abi_2018.c ------------------------------------------------------------------------------- */

#define FM_2018_INPUT_BYTES 65536u

/* Makes the regions behind the guest's memory and fills the input; the arguments of `run`.  On
 * failure the call is failed. */
FM_MUST_CHECK int fm_2018_place(struct fm_guest *guest, int32_t arguments[4]);

/* After `run`: output and chained calls, from the regions into the call. */
void fm_2018_collect(struct fm_guest *guest);

/* --- imports.c -------------------------------------------------------------------------------- */

struct fm_import_table {
    const char *module;
    const struct fm_import *rows;
    size_t count;
};

extern const struct fm_import_table fm_guest_tables[];
extern const size_t fm_guest_tables_count;

const struct fm_import *fm_guest_import_find(const char *module, const char *name); /* or NULL */
