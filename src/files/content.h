/* content.h - the bytes of the files of users' trees, shared by all calls without copying.
 *
 *      on disk --load--> pinned --unpin--> in memory --over budget--> on disk
 *                           ^                |
 *                           +----- pin ------+
 *
 * A content is one version of one file; what lies on the disk under its path never changes in
 * place.  It is mapped, or read into memory if it is small, when it is first opened, and stays
 * until memory is needed for another: least recently used first, never one that is pinned.
 *
 * When its file is replaced or deleted, it goes on under another name (fm_content_move()) until
 * nobody holds the content: a call reads what it saw at its start.
 *
 * Any thread; one mutex guards it all.  Opening a file takes it, reading one does not. */
#pragma once

#include "base/base.h"

struct fm_content;  /* counted */
struct fm_contents; /* opaque; one for the process */

struct fm_contents_config {
    uint64_t bytes_max; /* of contents in memory; what is pinned may be over it */
    uint32_t files_max; /* of mappings; more are read into memory instead */

    /* Of files on disk that were replaced or deleted, and are kept for those who hold their
     * contents; one alone may be over it. */
    uint64_t kept_bytes_max;

    /* Asks for an fm_contents_tidy() soon, on a thread that may block.  Any thread; must not block.
     * NULL: whoever gives something up tidies at once. */
    void (*untidy)(void *data);
    void *data;
};

/* FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_contents_new(const struct fm_contents_config *config,
                                  struct fm_contents **ret_contents);
struct fm_contents *fm_contents_free(struct fm_contents *contents); /* no content is left */

/* Gives back the memory that is over the budget, and memory and files of what nobody holds. */
void fm_contents_tidy(struct fm_contents *contents);

/* Held once by the caller; `path` is copied.  FM_ERR_NOMEM. */
FM_MUST_CHECK int fm_content_new(struct fm_contents *contents, const char *path, uint64_t bytes,
                                 struct fm_content **ret_content);
struct fm_content *fm_content_hold(struct fm_content *content);    /* returns it */
struct fm_content *fm_content_release(struct fm_content *content); /* NULL is fine; returns NULL */

uint64_t fm_content_bytes(const struct fm_content *content);

/* True: it is in memory, and stays there until the unpin.  `data` may be NULL if it is empty. */
FM_MUST_CHECK bool fm_content_pin(struct fm_content *content, const uint8_t **ret_data,
                                  uint64_t *ret_bytes);
void fm_content_unpin(struct fm_content *content);

/* Brings it into memory and pins it.  Blocks.  A negative errno of Linux: -ENOENT, -EIO, -ENOMEM.
 */
FM_MUST_CHECK int fm_content_load(struct fm_content *content);

/* Its file, for reading; the same errors.  Blocks. */
FM_MUST_CHECK int fm_content_open(struct fm_content *content, int *ret_fd);

/* The content's file is replaced or deleted, by `move`: with `keep` so that it has the name `path`
 * afterwards, where it is deleted after the last release; else (kept_bytes_max) who opens it later
 * gets -EIO.  Nobody opens it meanwhile.  FM_ERR_NOMEM, or an error of `move`: then nothing has
 * changed.  Once for a content.  Blocks. */
FM_MUST_CHECK int fm_content_move(struct fm_content *content, const char *path,
                                  int (*move)(void *data, bool keep), void *data);

struct fm_contents_counts {
    uint64_t loads;
    uint64_t bytes; /* in memory, now */
    uint64_t files; /* the same */
};

void fm_contents_counts(struct fm_contents *contents, struct fm_contents_counts *ret_counts);
