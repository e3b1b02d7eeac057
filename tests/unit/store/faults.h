/* faults.h - a disk that fails: the linker sends the system calls of the tested code here (--wrap).
 *
 * Counted are openat, mkdirat, renameat, linkat, unlinkat, read, pread, write, fsync, fstat and
 * fchmod, on the calling thread. */
#pragma once

#include <stdbool.h>

/* The n-th call from now (1 is the next) fails with `errnum`; with `crash` all later ones do too,
 * as if the process had ended there. */
void faults_arm(long nth, int errnum, bool crash);

/* Instead: the n-th read, pread or write handles only half of its bytes. */
void faults_arm_short(long nth);

/* No more faults.  Whether one struck. */
bool faults_disarm(void);

/* Notes each call that changed the disk, or made a change durable, as a line of `verb name`. Random
 * names read RANDOM, those of versions VERSION. */
void faults_trace_begin(void);
const char *faults_trace_end(void);
