/* torture.h - runs a piece of code again and again, with the n-th allocation failing each time.
 *
 * `body` returns 0, or an error when an allocation failed; it must leak nothing and crash in
 * neither case (the sanitizers watch).  It ends with the first run in which nothing failed, which
 * must return 0. */
#pragma once

/* The number of runs; at least 1. */
int torture(int (*body)(void *data), void *data);

/* For finer use: the n-th allocation from now (1 is the next) fails, 0 none. */
void torture_fail_nth(long n);

/* No more failures.  Whether there was one since. */
int torture_stop(void);
