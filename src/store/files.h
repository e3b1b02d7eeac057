/* files.h - the few file operations of store/, each relative to an open folder.
 *
 * Names are one component and never followed through a symbolic link, so what is reached below the
 * data folder lies there.  Private to store/.  Any thread.
 *
 * Errors: FM_ERR_STORAGE_FULL (no space, no quota), FM_ERR_NOMEM and FM_ERR_BUSY (memory or
 * descriptors ran out: says nothing about the file), FM_ERR_NOT_FOUND where it is mentioned, and
 * FM_ERR_IO for the rest.  `name` appears in the text. */
#pragma once

#include <unistd.h>

#include "base/buffer.h"
#include "base/error.h"

/* For FM_CLEANUP.  Nothing here relies on what close(2) returns: fsync has said it before. */
static inline void fm_files_close(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

/* "cannot WHAT 'NAME': reason" */
int fm_files_error(struct fm_error *error, int errnum, const char *what, const char *name);

/* Whether a failure came from the process and not from the file. */
bool fm_files_shortage(int code);

FM_MUST_CHECK int fm_files_sync(int fd, const char *name, struct fm_error *error);

/* One that is there already is fine.  The caller syncs `folder`. */
FM_MUST_CHECK int fm_files_folder_make(int folder, const char *name, struct fm_error *error);

/* FM_ERR_NOT_FOUND: nothing, or no folder (a symbolic link is none). */
FM_MUST_CHECK int fm_files_folder_open(int folder, const char *name, int *ret_fd,
                                       struct fm_error *error);

/* A plain file, for reading.  FM_ERR_NOT_FOUND. */
FM_MUST_CHECK int fm_files_open(int folder, const char *name, uint64_t *ret_bytes, int *ret_fd,
                                struct fm_error *error);

/* Appends a plain file's whole content.  FM_ERR_NOT_FOUND, FM_ERR_TOO_LARGE. */
FM_MUST_CHECK int fm_files_read(int folder, const char *name, struct fm_buffer *buffer,
                                struct fm_error *error);

/* What is open must belong to this process's user, and to nobody else: other users' rights are
 * taken away.  FM_ERR_FORBIDDEN, with `path`, a slash and `name` in the text. */
FM_MUST_CHECK int fm_files_own(int fd, const char *path, const char *name, struct fm_error *error);

/* A new file, mode 0600, for writing.  One that is there already is FM_ERR_IO. */
FM_MUST_CHECK int fm_files_create(int folder, const char *name, int *ret_fd,
                                  struct fm_error *error);

FM_MUST_CHECK int fm_files_write(int fd, const char *name, const void *data, size_t bytes,
                                 struct fm_error *error);

/* A new file with this content, fsynced; never left half-written.  The caller syncs `folder`. */
FM_MUST_CHECK int fm_files_put(int folder, const char *name, const void *data, size_t bytes,
                               struct fm_error *error);

/* Another name of a plain file, in another folder.  FM_ERR_NOT_FOUND.  The caller syncs `to`. */
FM_MUST_CHECK int fm_files_link(int from, int to, const char *name, struct fm_error *error);

#define FM_FILES_RANDOM_SIZE 33 /* 32 hexadecimal digits and a NUL */

/* A name that no one else has. */
void fm_files_random_name(char name[FM_FILES_RANDOM_SIZE]);

/* Lower-case hexadecimal digits and a NUL. */
void fm_files_hex(const uint8_t *data, size_t bytes, char *ret_text);

/* The reverse, of so many bytes.  FM_ERR_BAD_REQUEST: not such a text. */
FM_MUST_CHECK int fm_files_unhex(const char *text, size_t bytes, uint8_t *ret_data);
