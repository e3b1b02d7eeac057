/* vfs.h - a disk for SQLite that fails, is full, or stands still: a VFS around the usual one.
 *
 * Counts and gates hold for all threads, since it is other threads that write. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define VFS_NAME "faulty"

void vfs_install(void); /* once in a program */

/* The n-th operation from now (1 is the next) fails: reading, writing, syncing, truncating,
 * opening, asking for a size, deleting, mapping the shared index.  `full`: a write fails as on a
 * full disk (and what does not write is counted, but does not fail).  `sticky`: all later ones,
 * too. */
void vfs_fail(long nth, bool full, bool sticky);

/* No more failures.  Whether there was one. */
bool vfs_disarm(void);

/* Files may grow by so many bytes in all; then they are full.  -1: without end. */
void vfs_space(int64_t bytes);

enum vfs_file { VFS_DATABASE, VFS_LOG };

/* Whoever syncs that file next waits at the gate. */
void vfs_gate_close(enum vfs_file file);
void vfs_gate_wait(void); /* until somebody waits there */
void vfs_gate_open(void);
