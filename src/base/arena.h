/* arena.h - memory that is released all at once.
 *
 * One arena per call: everything whose life ends with the call comes from it.  It grows in chunks
 * up to a ceiling.  Reset keeps the first chunk for the next call, unless a large allocation made
 * it larger than usual.  Under AddressSanitizer every allocation is its own malloc, so that the
 * sanitizer sees overruns.  One thread at a time. */
#pragma once

#include "base/base.h"

struct fm_arena_chunk;

struct fm_arena {
    struct fm_arena_chunk *chunks; /* newest first; the oldest survives a reset */
    size_t bytes;                  /* handed out since the last reset, each rounded up to 16 */
    size_t bytes_max;
};

/* Allocates nothing yet; `bytes_max` is at most PTRDIFF_MAX. */
void fm_arena_init(struct fm_arena *arena, size_t bytes_max);
void fm_arena_reset(struct fm_arena *arena);
void fm_arena_done(struct fm_arena *arena);

/* NULL when the ceiling or the machine's memory is reached.  Aligned for any type, not cleared.
 * Zero bytes give a valid pointer; every allocation counts as 16 bytes or a multiple of it. */
FM_MUST_CHECK void *fm_arena_alloc(struct fm_arena *arena, size_t bytes);

/* Exactly `length` bytes, whatever they hold, and a NUL. */
FM_MUST_CHECK char *fm_arena_strndup(struct fm_arena *arena, const char *text, size_t length);
