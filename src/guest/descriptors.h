/* descriptors.h - what a guest has open: the three streams, folders that it was given, files.
 *
 *      0 input   1 output   2 log   3.. folders that were given   then what it opens itself
 *
 * A new descriptor gets the lowest free number.  Private to guest/. */
#pragma once

#include "base/base.h"

struct fm_file;
struct fm_guest;
struct fm_preopen;

/* What a descriptor leads to. */
enum fm_stream {
    FM_STREAM_CLOSED,
    FM_STREAM_INPUT,
    FM_STREAM_OUTPUT,
    FM_STREAM_LOG,
    FM_STREAM_FILE, /* a plain file or a folder */
};

struct fm_descriptor {
    enum fm_stream stream;
    uint16_t flags;      /* fdflags of WASI; on a stream they have no effect */
    uint64_t rights;     /* of WASI: a guest can only give them up */
    uint64_t inheriting; /* the most that what is opened through it can have */
    uint64_t offset;     /* of a plain file: where reading and writing go on */

    /* Of FM_STREAM_FILE. */
    struct fm_file *file;             /* NULL: the overlay's top, which does not exist yet */
    const struct fm_preopen *preopen; /* it was given, as this; NULL: the guest opened it */
};

/* That cost no allocation: the streams, a folder, a file.  Each call has room for them. */
#define FM_DESCRIPTORS_FIRST 5

struct fm_descriptors {
    struct fm_descriptor *list;
    uint32_t count; /* length of the list: open or free */
    struct fm_descriptor first[FM_DESCRIPTORS_FIRST];
};

/* The streams as the ABI wants them, and the folders. */
void fm_descriptors_init(struct fm_guest *guest);
void fm_descriptors_done(struct fm_guest *guest); /* closes all */

/* NULL: closed, or there never was one. */
struct fm_descriptor *fm_descriptor_get(struct fm_guest *guest, uint32_t fd);

/* A free number.  -EMFILE: FM_GUEST_DESCRIPTORS_MAX are open.  -ENOMEM.  Other descriptors may have
 * moved. */
FM_MUST_CHECK int fm_descriptor_find_free(struct fm_guest *guest, uint32_t *ret_fd);

void fm_descriptor_close(struct fm_descriptor *descriptor);

/* Of FM_STREAM_FILE: makes the call's overlay if it is the first to be used.  -ENOMEM. */
FM_MUST_CHECK int fm_descriptor_file(struct fm_guest *guest, struct fm_descriptor *descriptor,
                                     struct fm_file **ret_file);
