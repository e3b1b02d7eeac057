/* quickjs-libc.h - included before all of QuickJS's sources, for its target.
 *
 * What they take for WASI has no limit for the call stack, so that a recursion without end would be
 * a trap and not an error that a script can catch. What they take for Emscripten has one, and suits
 * otherwise: no threads, no computed jumps. The C library's headers do need to know of WASI, so all
 * that QuickJS includes comes first. */
#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#undef __wasi__
#define EMSCRIPTEN 1
#define FE_DOWNWARD 0 /* there is one way of rounding */
#define FE_UPWARD 0
