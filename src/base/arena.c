/* arena.c - allocation by moving a mark, release by forgetting.
 *
 *      arena.chunks -> [ used | free ] -> [ used ] -> [ used ]     the oldest is kept by a reset
 *
 * Only the newest chunk is allocated from.  A chunk is twice as large as the one before it, up to
 * CHUNK_BYTES_MAX, and larger only for one large allocation.  What is left over in an older chunk
 * is lost until the reset; since the allocation that did not fit was larger than the loss, and
 * chunks never exceed what the ceiling still allows, an arena takes at most about twice its ceiling
 * from the machine.
 *
 * The ceiling counts rounded sizes, and a zero-byte allocation as one unit: a guest that causes a
 * million tiny allocations must not get sixteen times its share.
 *
 * Not a free list, not a realloc: all dies together, so there is nothing to give back early.  Not
 * mmap: the first chunk, which most calls never outgrow, is smaller than a page.
 *
 * Under AddressSanitizer every allocation is a chunk of exactly its own size, so that overruns and
 * uses after a reset are found; the ceiling stays the same.
 *
 * The struct holds no pointer to itself, so it may be moved by assignment.  One thread at a time.
 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define UNIT_BYTES alignof(max_align_t)
#define CHUNK_BYTES_MIN (4 * FM_KIB - sizeof(struct fm_arena_chunk))
#define CHUNK_BYTES_MAX (256 * FM_KIB - sizeof(struct fm_arena_chunk))

#ifndef __has_feature
#define __has_feature(name) 0 /* clang's way to ask what gcc says with a macro */
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define EACH_ALONE true
#else
#define EACH_ALONE false
#endif

struct fm_arena_chunk {
    struct fm_arena_chunk *older;
    size_t bytes; /* of data */
    size_t used;
    alignas(max_align_t) unsigned char data[];
};

void fm_arena_init(struct fm_arena *arena, size_t bytes_max)
{
    FM_ASSERT(bytes_max <= PTRDIFF_MAX); /* so that sums of two sizes cannot wrap */
    *arena = (struct fm_arena){.bytes_max = bytes_max};
}

/* Frees all chunks; but one of the ordinary first size, if it is the oldest, is returned when
 * `keep_oldest` asks for it. */
static struct fm_arena_chunk *release(struct fm_arena_chunk *chunk, bool keep_oldest)
{
    while (chunk) {
        struct fm_arena_chunk *older = chunk->older;
        if (!older && keep_oldest && chunk->bytes <= CHUNK_BYTES_MIN)
            return chunk;
        free(chunk);
        chunk = older;
    }
    return NULL;
}

void fm_arena_reset(struct fm_arena *arena)
{
    arena->chunks = release(arena->chunks, !EACH_ALONE);
    if (arena->chunks)
        arena->chunks->used = 0;
    arena->bytes = 0;
}

void fm_arena_done(struct fm_arena *arena)
{
    (void)release(arena->chunks, false); /* keeps nothing, so returns nothing */
    arena->chunks = NULL;
    arena->bytes = 0;
}

static struct fm_arena_chunk *chunk_new(struct fm_arena_chunk *older, size_t bytes)
{
    struct fm_arena_chunk *chunk = malloc(sizeof(*chunk) + bytes);
    if (!chunk)
        return NULL;
    chunk->older = older;
    chunk->bytes = bytes;
    chunk->used = 0;
    return chunk;
}

/* How large the next chunk is, for an allocation of `bytes` (rounded). */
static size_t next_chunk_bytes(const struct fm_arena *arena, size_t bytes)
{
    uint64_t wanted = arena->chunks ? 2 * arena->chunks->bytes : CHUNK_BYTES_MIN;
    wanted = fm_min_u64(wanted, CHUNK_BYTES_MAX);
    wanted = fm_min_u64(wanted, arena->bytes_max - arena->bytes);
    return fm_max_u64(wanted, bytes);
}

void *fm_arena_alloc(struct fm_arena *arena, size_t bytes)
{
    size_t left = arena->bytes_max - arena->bytes;
    if (bytes > left)
        return NULL;
    size_t rounded = (fm_max_u64(bytes, 1) + UNIT_BYTES - 1) / UNIT_BYTES * UNIT_BYTES;
    if (rounded > left)
        return NULL;

    struct fm_arena_chunk *chunk = arena->chunks;
    if (EACH_ALONE || !chunk || rounded > chunk->bytes - chunk->used) {
        chunk = chunk_new(chunk, EACH_ALONE ? bytes : next_chunk_bytes(arena, rounded));
        if (!chunk)
            return NULL;
        arena->chunks = chunk;
    }

    void *data = chunk->data + chunk->used;
    chunk->used += rounded;
    arena->bytes += rounded;
    return data;
}

char *fm_arena_strndup(struct fm_arena *arena, const char *text, size_t length)
{
    if (length == SIZE_MAX)
        return NULL; /* no room for the NUL in a size_t */
    char *copy = fm_arena_alloc(arena, length + 1);
    if (!copy)
        return NULL;
    if (length > 0)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}
